"""`BLESSED`: what says beside a model's core that it passed the rules of `evaluate`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import read_json, write_json
from reviewbeam.components.common.model_directory import model_fingerprints

BLESSED = "BLESSED"
WITHDRAWN = "BLESSED.withdrawn"


def read_blessing(model: Path) -> dict[str, Any] | None:
    """Returns what a model's blessing says; None: it has none that is its own.

    One that names other fingerprints than the model's was written for another model,
    or before a file changed, and counts for nothing.

    Raises:
      UserError: it is no model.
    """
    return _read(model, BLESSED)


def write_blessing(model: Path, facts: Mapping[str, Any]) -> None:
    """Writes that a model is blessed, bound to its fingerprints.

    Args:
      model: the model's directory.
      facts: evaluation (its fingerprint), figures, rules, baseline and whatever else
        is to be known of it.
    """
    write_json(model / BLESSED, {**facts, **_bound_to(model)})
    (model / WITHDRAWN).unlink(missing_ok=True)


def withdraw_blessing(model: Path, evaluation: str) -> None:
    """Takes a blessing back; a file that tells so stays.

    Args:
      model: the model's directory.
      evaluation: fingerprint of that which said no.
    """
    blessing = read_blessing(model)
    if blessing is not None:
        write_json(model / WITHDRAWN, blessing | {"withdrawn_by": evaluation})
    (model / BLESSED).unlink(missing_ok=True)


def was_withdrawn(model: Path, evaluation: str) -> bool:
    """Tells whether the blessing that an evaluation gave was taken back since."""
    withdrawn = _read(model, WITHDRAWN)
    return withdrawn is not None and withdrawn.get("evaluation") == evaluation


def _read(model: Path, name: str) -> dict[str, Any] | None:
    bound = _bound_to(model)
    try:
        found = read_json(model / name)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not bound.items() <= found.items():
        return None
    return found


def _bound_to(model: str | os.PathLike) -> dict[str, str]:
    core, content = model_fingerprints(model)
    return {"core_fingerprint": core, "content_fingerprint": content}
