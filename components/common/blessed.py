"""`BLESSED`: what says beside a model's core that it passed the rules of `evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import read_json, write_json
from reviewbeam.components.common.model_directory import model_fingerprints

BLESSED = "BLESSED"
WITHDRAWN = "BLESSED.withdrawn"
BLESSING = "blessing.json"  # in an evaluation: the verdict


def read_blessing(model: Path) -> dict[str, Any] | None:
    """Returns what a model's blessing says; None: it has none that is its own.

    One that names other fingerprints than the model's was written for another model,
    or before a file changed, and counts for nothing.

    Raises:
      UserError: it is no model.
    """
    return _read(model, BLESSED)


def latest_verdict(model: Path) -> str:
    """Returns the date of the evaluation that blessed a model, or took that back.

    A later one has the last word, not one that is run again. Without any: ``.
    """
    found = (_read(model, name) or {} for name in (BLESSED, WITHDRAWN))
    return max(str(said.get("date", "")) for said in found)


def write_blessing(model: Path, facts: Mapping[str, Any]) -> None:
    """Writes that a model is blessed, bound to its fingerprints.

    Args:
      model: the model's directory.
      facts: `date` and `evaluation` (its fingerprint), and whatever is to be known.
    """
    write_json(model / BLESSED, {**facts, **_bound_to(model)})
    (model / WITHDRAWN).unlink(missing_ok=True)


def withdraw_blessing(model: Path, evaluation: str, date: str) -> None:
    """Takes a blessing back; a file that tells so stays.

    Args:
      model: the model's directory, which is blessed.
      evaluation: fingerprint of that which said no.
      date: of it.
    """
    taken_back = {"date": date, "withdrawn_by": evaluation}
    write_json(model / WITHDRAWN, read_blessing(model) | taken_back)
    (model / BLESSED).unlink()


def _read(model: Path, name: str) -> dict[str, Any] | None:
    bound = _bound_to(model)
    try:
        found = read_json(model / name)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not bound.items() <= found.items():
        return None
    return found


def _bound_to(model: Path) -> dict[str, str]:
    core, content = model_fingerprints(model)
    return {"core_fingerprint": core, "content_fingerprint": content}
