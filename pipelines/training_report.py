"""`train` and what it leaves beside a model: a page on how its training went."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reviewbeam.components.common.artifacts import RUN_FILE, read_json
from reviewbeam.components.common.model_directory import (
    HISTORY,
    METADATA,
    ModelMetadata,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.pipelines.report_file import REPORT_PAGE, page_beside, put_report

if TYPE_CHECKING:
    from reviewbeam.components.reporting.training import Training


def train_and_report(
    config: TrainConfig, dataset: Path, output: Path, **options: Any
) -> dict[str, Any]:
    """Trains a model, and writes a page beside it, outside of its manifest.

    Takes what `train` takes, and raises what it raises.

    Returns:
      The summary, and under `report` the page's name, None: it could not be made.
    """
    from reviewbeam.components.trainer.train import train

    def make() -> str:
        from reviewbeam.components.reporting.model_page import model_page

        return model_page(read_training(output))

    summary = train(config, dataset, output, **options)
    path = output / REPORT_PAGE
    if not (summary["done_before"] and path.is_file()):
        put_report(path, make)
    return summary | page_beside(output)


def read_training(model: Path) -> "Training":
    """Reads what a model directory tells of its training."""
    from reviewbeam.components.reporting.training import Training

    metadata = ModelMetadata.model_validate(read_json(model / METADATA))
    return Training(metadata, _told(model / HISTORY), _told(model / RUN_FILE))


def _told(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
