"""The page beside a dataset: what came in, what became of it, and what to look at."""

from collections.abc import Sequence
from typing import Any

from reviewbeam.components.common.places import Place
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.pipelines.report_file import put_report


def put_dataset_report(
    path: Place,
    facts: dict[str, Any],
    config: PrepareConfig,
    fingerprint: str | None = None,
    problems: Sequence[str] = (),
) -> None:
    """Writes the page; where that fails, the dataset is worth no less.

    Args:
      path: of the page.
      facts: for the manifest, as far as there are any.
      config: of the job.
      fingerprint: of the dataset; None: it got none.
      problems: why the data gate stopped the dataset; none: it is published.
    """

    def make() -> str:
        from reviewbeam.components.reporting.dataset_page import dataset_page

        allowed = config.rules.max_reject_fraction
        told = facts | ({"fingerprint": fingerprint} if fingerprint else {})
        return dataset_page(told, problems=problems, allowed_rejects=allowed)

    put_report(path, make)
