"""The models folder: immutable model directories, and which of them is in service.

MODELS/m-<16 hex>/   a model, named by its content; never changed, never removed here
MODELS/SERVING       names the one in service and those before it; replaced atomically

A reader pins what SERVING names when it starts: a promotion changes nothing for it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pydantic

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    read_json,
    remove_unfinished,
    write_json,
)
from reviewbeam.components.common.blessed import BLESSED, read_blessing
from reviewbeam.components.common.config import Config, check_config
from reviewbeam.components.common.errors import ModelGateError, UserError
from reviewbeam.components.common.folder_locks import folder_lock, make_folder
from reviewbeam.components.common.model_directory import (
    MODEL_NAME,
    model_name,
    open_model,
)
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.run_record import utc

SERVING = "SERVING"
_IN_THE_MAKING = shutil.ignore_patterns("*.staged", ".*")


class Serving(Config):
    """What SERVING says."""

    format: Literal[1] = 1
    current: str
    since: str  # UTC
    previous: tuple[str, ...] = ()  # what was in service before, the latest first
    rolled_back: tuple[str, ...] = ()  # what was taken out of service, the latest first

    @pydantic.model_validator(mode="after")
    def _check(self):
        for name in (self.current, *self.previous, *self.rolled_back):
            if not MODEL_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a model's folder")
        return self


def is_models_folder(path: Place) -> bool:
    """Tells a models folder from a model's, or from none."""
    if (path / MANIFEST).is_file() or not path.is_dir():
        return False
    return (path / SERVING).exists() or any(
        MODEL_NAME.fullmatch(entry.name) for entry in path.iterdir()
    )


def pinned(path: Place) -> Place:
    """Returns the model in service of a models folder, or the model that was given.

    Raises:
      UserError: no model is in service, SERVING is damaged, or it names none.
    """
    if not is_models_folder(path):
        return path
    serving = read_serving(path)
    if serving is None:
        raise UserError(
            f"No model of {str(path)!r} is in service. Put one in service with: "
            f"reviewbeam promote MODEL --models {path}"
        )
    model = path / serving.current
    if not (model / MANIFEST).is_file():
        raise UserError(
            f"{path / SERVING} names {serving.current}, which is no model in {path}. "
            f"Copy it back, or go back to the one before with: reviewbeam rollback "
            f"--models {path}"
        )
    return model


def read_serving(models: Place) -> Serving | None:
    """Returns what is in service; None: nothing yet.

    Raises:
      UserError: the file is not one that reviewbeam wrote.
    """
    path = models / SERVING
    try:
        data = read_json(path)
        if not isinstance(data, dict):
            raise ValueError("no mapping")
        return check_config(Serving, data, str(path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, IsADirectoryError, UserError):
        raise UserError(
            f"{path} is damaged: it doesn't say which model is in service. Bring it "
            "back from a copy; or remove it and promote a model, which forgets those "
            "before it."
        ) from None


def promote(model: Path, models: Path, *, force: bool = False) -> tuple[Serving, bool]:
    """Puts a model in service, by a copy of it in a models folder.

    Args:
      model: its directory.
      models: the models folder; made if it isn't there.
      force: promote it without a blessing.

    Returns:
      What is in service, and whether that is new.

    Raises:
      UserError: the model isn't sound, or the folder holds something else.
      ModelGateError: the model is not blessed.
      BusyError: another run changes the folder.
    """
    opened = open_model(os.fspath(model))
    if not force and read_blessing(model) is None:
        raise ModelGateError(unblessed(model))
    name = model_name(opened.content_fingerprint)
    if models.is_dir() and any(models.iterdir()) and not _is_ours(models):
        raise UserError(
            f"{str(models)!r} holds files that are no models in service. Choose an "
            "empty folder for --models, or one that promote made."
        )
    make_folder(models)
    with _held(models):
        serving = read_serving(models)
        _bring(model, models, name, opened.content_fingerprint)
        if serving is not None and serving.current == name:
            return serving, False
        before = () if serving is None else (serving.current, *serving.previous)
        withdrawn = () if serving is None else serving.rolled_back
        serving = Serving(
            current=name,
            since=utc(),
            previous=tuple(other for other in before if other != name),
            rolled_back=tuple(other for other in withdrawn if other != name),
        )
        write_json(models / SERVING, serving.model_dump(mode="json"))
    return serving, True


def rollback(models: Path) -> Serving:
    """Puts the model in service that was before.

    Raises:
      UserError: there was none before, or it isn't sound any more.
      BusyError: another run changes the folder.
    """
    if not is_models_folder(models):
        raise UserError(f"{str(models)!r} is no models folder, which promote makes.")
    with _held(models):
        serving = read_serving(models)
        if serving is None or not serving.previous:
            current = "no model" if serving is None else serving.current
            raise UserError(
                f"{current} is in service in {str(models)!r}, and none was before: "
                "there is nothing to go back to."
            )
        name, *older = serving.previous
        open_model(os.fspath(models / name))
        serving = Serving(
            current=name,
            since=utc(),
            previous=tuple(older),
            rolled_back=(serving.current, *serving.rolled_back),
        )
        write_json(models / SERVING, serving.model_dump(mode="json"))
    return serving


def unblessed(model: Path) -> str:
    """Returns the message of a model that needs a blessing and has none."""
    return (
        f"The model {str(model)!r} is not blessed: it has no BLESSED file that was "
        "written for it. Evaluate it by rules (blessing: in the config): "
        f"reviewbeam evaluate --config CONFIG --model {model} --dataset DATASET "
        "--output EVALUATION"
    )


@contextlib.contextmanager
def _held(models: Path) -> Iterator[None]:
    with folder_lock(models):
        remove_unfinished(models / SERVING)  # and what else killed runs left
        for staged in (*models.glob(".m-*.staged"), *models.glob("m-*/.*.staged")):
            if staged.is_dir():
                shutil.rmtree(staged)
            else:
                staged.unlink()
        yield


def _is_ours(models: Path) -> bool:
    names = (entry.name for entry in models.iterdir())
    return all(n == SERVING or MODEL_NAME.fullmatch(n) or n[0] == "." for n in names)


def _bring(model: Path, models: Path, name: str, content: str) -> None:
    """Copies a model to its name, whole or not at all, and its blessing."""
    target, staged = models / name, models / f".{name}.staged"
    if not target.exists():
        try:
            shutil.copytree(model, staged, ignore=_IN_THE_MAKING)
            if open_model(os.fspath(staged)).content_fingerprint != content:
                raise UserError(
                    f"{str(model)!r} changed while it was copied. Promote it again."
                )
            os.sync()  # the files before the name
            os.rename(staged, target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    elif target.resolve() != model.resolve():
        open_model(os.fspath(target))
        blessed = read_blessing(model) is not None
        names = {entry.name for entry in model.iterdir()}
        # What came later: BLESSED, another engine's form.
        for entry in sorted(names - _IN_THE_MAKING(model, names)):
            newer = entry == BLESSED and blessed
            if newer or not (target / entry).exists():
                _bring_entry(model / entry, target / entry)


def _bring_entry(source: Path, target: Path) -> None:
    staged = target.with_name(f".{target.name}.staged")
    if source.is_dir():
        shutil.copytree(source, staged)
    else:
        shutil.copyfile(source, staged)
    os.replace(staged, target)
