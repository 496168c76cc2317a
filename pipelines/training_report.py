"""The page beside a model: how its training went."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reviewbeam.components.common.artifacts import RUN_FILE, read_json
from reviewbeam.components.common.model_directory import (
    HISTORY,
    METADATA,
    ModelMetadata,
)
from reviewbeam.pipelines.report_file import REPORT_PAGE, put_report

if TYPE_CHECKING:
    from reviewbeam.components.reporting.training import Training


def put_model_report(model: Path, *, new: bool) -> str | None:
    """Writes the page of a published model, beside what its manifest describes.

    Args:
      model: its directory.
      new: it was trained just now; else a page that stands is left.

    Returns:
      The page's name; None: it could not be made.
    """

    def make() -> str:
        from reviewbeam.components.reporting.model import model_page

        return model_page(read_training(model))

    path = model / REPORT_PAGE
    if (path.is_file() and not new) or put_report(path, make):
        return REPORT_PAGE
    return None


def read_training(model: Path) -> "Training":
    """Reads what a model directory tells of its training."""
    from reviewbeam.components.reporting.training import Training

    metadata = ModelMetadata.model_validate(read_json(model / METADATA))
    return Training(metadata, _told(model / HISTORY), _told(model / RUN_FILE))


def _told(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
