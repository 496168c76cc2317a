"""Which model a job uses, and which one `run` puts in service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import read_json
from reviewbeam.components.common.blessed import BLESSING, read_blessing
from reviewbeam.components.common.blessing_config import YES
from reviewbeam.components.common.errors import ModelGateError
from reviewbeam.components.common.host_copies import host_copy
from reviewbeam.components.common.model_directory import (
    model_fingerprints,
    model_name,
)
from reviewbeam.components.common.models_folder import (
    pinned,
    promote,
    read_serving,
    unblessed,
)
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.pipelines import console


def model_to_score_with(config: ScoreConfig, model: Place) -> Path:
    """Returns the model for this run, whatever is promoted meanwhile.

    Args:
      config: says whether it must be blessed.
      model: a model's directory, or a models folder; one in a store is copied.

    Raises:
      UserError: it is neither, or no model is in service.
      ModelGateError: it must be blessed, and isn't.
    """
    found = pinned(model)
    chosen = host_copy(found)
    if config.require_blessing is False or read_blessing(chosen) is not None:
        return chosen
    if config.require_blessing is True or found != model:
        raise ModelGateError(
            f"{unblessed(chosen)} Or set require_blessing: false to score with it all "
            "the same."
        )
    console.note(f"reviewbeam: warning: {unblessed(chosen)}")
    return chosen


def rival(model: Path, models: Path, evaluation: Path) -> Path | None:
    """Returns the model that a new one is held against: that which it would replace.

    Where the new one is in service already, that is the one that its evaluation was
    made with, so that it stands. None: there is none.

    Args:
      model: the new one.
      models: the models folder.
      evaluation: where the new one's is, or will be.
    """
    serving = read_serving(models)
    if serving is None:
        return None
    if serving.current != _name(model):
        return pinned(models)
    if not (evaluation / BLESSING).is_file():
        return None
    before = read_json(evaluation / BLESSING)["baseline"]
    path = models / model_name(before or "")
    return path if path.is_dir() else None


def promote_blessed(
    model: Path, models: Path, verdict: Mapping[str, Any]
) -> str | None:
    """Puts a model in service by its verdict.

    One that is there stays, by force too, and is blessed there where it is now.

    Returns:
      Why it isn't put in service, or is not to be used there; None: it is.
    """
    serving = read_serving(models)
    name = _name(model)
    if serving is not None and serving.current == name:
        if verdict["verdict"] != YES:
            before = f"; for the one before it: reviewbeam rollback --models {models}"
            return (
                f"nothing was scored: {name}, in service in {str(models)!r}, is "
                f"{_reason(verdict)}. It stays there"
                + (before if serving.previous else "")
            )
        if read_blessing(model) is not None and read_blessing(models / name) is None:
            promote(model, models)
        return None
    reason = None
    if verdict["verdict"] != YES:
        reason = _reason(verdict)
    elif read_blessing(model) is None:
        reason = "a later evaluation took its blessing back"
    elif serving is not None and name in serving.rolled_back:
        reason = (
            f"rollback took it out of service. To bring it back: reviewbeam promote "
            f"{model} --models {models}"
        )
    if reason is not None:
        stays = "no model is" if serving is None else f"{serving.current} stays"
        return (
            f"nothing was scored, and {stays} in service in {str(models)!r}: the new "
            f"model {name} is not put there: {reason}"
        )
    promote(model, models)
    return None


def _reason(verdict: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (verdict["verdict"], verdict["reason"])))


def _name(model: Path) -> str:
    return model_name(model_fingerprints(model)[1])
