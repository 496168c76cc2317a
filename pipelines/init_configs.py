"""Writes the configs that `init` guessed: commented YAML, checked, all or none."""

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from reviewbeam.components.common.config import Config, check_config, parse_yaml
from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.ingestion.guess import MAX_CHARACTERS, CorpusGuess

_TYPES: dict[str, type[Config]] = {
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "score": ScoreConfig,
    "run": RunConfig,
}
_COMMANDS = {
    "prepare": "--output {run}/dataset",
    "train": "--dataset {run}/dataset --output {run}/model",
    "evaluate": "--model {run}/model --dataset {run}/dataset --output {run}/evaluation",
    "score": "--model {run}/model --output {run}/scores",
}
_MARK = "# Written by reviewbeam init, whose --overwrite replaces files that begin so."
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./*-]*")
_SHARES = ((60, 0.25), (300, 0.2), (1000, 0.15))  # texts below -> of validation, test


def render(
    guess: CorpusGuess,
    folder: Path,
    globs: Sequence[str],
    encoder: str,
    positions: int | None,
) -> dict[str, str]:
    """Returns the name of each config -> its text; score alone where none can train.

    Args:
      guess: what the corpus was found to be.
      folder: that the configs are for.
      globs: of the corpus.
      encoder: as the configs name it.
      positions: tokens of the encoder's longest text, where it is there.

    Raises:
      UserError: a name of a column can't be one in a config.
    """
    values = {
        "guess": guess,
        "input": globs,
        "encoder": encoder,
        "command": command("run", folder),
        "run": str(output_of(folder)),
        "max_characters": MAX_CHARACTERS,
        "max_tokens": min(guess.max_tokens, positions or guess.max_tokens),
        "share": next((s for most, s in _SHARES if guess.texts < most), 0.1),
    }
    environment = _environment()
    bodies = {}
    for job in (
        ["prepare", "train", "evaluate", "score"] if guess.can_train else ["score"]
    ):
        template = environment.get_template(f"init_{job}.jinja")
        bodies[job] = template.render(values, training=job == "prepare").strip()
    files = {
        f"{job}.yaml": f"# {command(job, folder)}\n{body}\n"
        for job, body in bodies.items()
    }
    if guess.can_train:
        files["run.yaml"] = environment.get_template("init_run.jinja").render(values)
    read = {}
    for name, text in files.items():
        job = name.removesuffix(".yaml")
        read[job] = parse_yaml(text, name)
        data = read[job] | {key: read[key] for key in _TYPES[job].file_sections}
        check_config(_TYPES[job], data, name)
    return {name: f"{_MARK}\n{text}" for name, text in files.items()}


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Checks that the configs may be written.

    Raises:
      UserError: the folder is a file, or holds something and isn't to be overwritten.
    """
    if not str(folder).isprintable():
        raise UserError(f"{str(folder)!r}: the name of a folder was expected.")
    with _told_as_mistake(folder):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{str(folder)!r} is a file; a folder was expected.")
        found = sorted(os.listdir(folder)) if folder.is_dir() else []
    if found and not overwrite:
        ours = [name for name in _configs_in(folder) if _is_ours(folder / name)]
        replaced = "none of them" if not ours else f"only {listing(ours)}"
        replaced = "them" if len(ours) == len(found) else replaced
        raise UserError(
            f"{str(folder)!r} is not empty: {listing(found, most=6)}. Name a new "
            f"folder, or add --overwrite, which replaces {replaced}."
        )


def write(files: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """Writes the files into a folder, all or none of them where it is new or empty.

    Returns:
      The names of other configs that the folder holds, which are left as they are.

    Raises:
      UserError: a file that `init` didn't write has the name of one of these, or
        the folder can't be made.
    """
    folder = folder.resolve()  # a link to a folder stays one
    found = _configs_in(folder)
    if foreign := [n for n in found if n in files and not _is_ours(folder / n)]:
        raise UserError(
            f"{str(folder)!r} holds {listing(foreign)} that init didn't write, by the "
            "first line, and won't replace. Name a new folder, or move what is there."
        )
    with _told_as_mistake(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for name, text in files.items():
            (staged / name).write_text(text, encoding="utf-8")
        staged.chmod(0o777 & ~_umask())
        if not folder.is_dir() or not any(folder.iterdir()):
            os.rename(staged, folder)
        else:
            for name in files:
                os.replace(staged / name, folder / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return tuple(name for name in found if name not in files)


@contextlib.contextmanager
def _told_as_mistake(folder: Path) -> Iterator[None]:
    """Tells the user to name another folder where this one can't be made or read."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Can't write to the folder {str(folder)!r}: {error.strerror}. Name one "
            "that can be made, or written to."
        ) from None


def _configs_in(folder: Path) -> list[str]:
    """The names of the configs that a folder holds, whoever wrote them."""
    names = (f"{job}.yaml" for job in _TYPES)
    return [name for name in names if os.path.lexists(folder / name)]


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(len(_MARK) + 2).strip() == _MARK.encode()


def output_of(folder: Path) -> Path:
    """Returns the folder that the jobs write to, by the configs in a folder."""
    return Path("runs") / folder.resolve().name


def command(job: str, folder: Path) -> str:
    """Returns the command line that runs a job by the config in a folder."""
    config = shlex.quote(str(folder / f"{job}.yaml"))
    rest = _COMMANDS.get(job, "").format(run=shlex.quote(str(output_of(folder))))
    return f"reviewbeam {job} --config {config} {rest}".rstrip()


def yaml_scalar(value: Any, quoted: bool = False) -> str:
    """Returns a value as YAML on one line that reads back as the same value.

    Args:
      value: perhaps hostile text, such as a column's name.
      quoted: put it in quotes also where it needs none.
    """
    if not isinstance(value, str):
        return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    if not quoted and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    dumped = yaml.safe_dump(
        value, default_style='"', allow_unicode=True, width=float("inf")
    )
    return dumped.strip()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # YAML, not HTML: `yaml` quotes what is data
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = yaml_scalar
    return environment


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
