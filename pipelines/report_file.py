"""How a job leaves its report: as a page beside the artifact, at no risk to that."""

from collections.abc import Callable

from reviewbeam.components.common.artifacts import remove_unfinished, write_bytes
from reviewbeam.components.common.places import Place
from reviewbeam.pipelines.console import note

REPORT_PAGE = "report.html"


def put_report(path: Place, make: Callable[[], str]) -> bool:
    """Writes a page; where that fails, says so and lets the job go on.

    Args:
      path: of the page.
      make: returns its HTML. Imports of what draws belong in there too.

    Returns:
      Whether it was written.
    """
    try:
        remove_unfinished(path)
        write_bytes(path, make().encode())
    except Exception as error:  # a page is worth no artifact; its words may be data
        note(f"reviewbeam: {path.name} could not be made: {type(error).__name__}.")
        return False
    return True


def page_beside(artifact: Place) -> dict[str, str | None]:
    """Returns `report`, the name of the page in an artifact; None: it has none."""
    return {"report": REPORT_PAGE if (artifact / REPORT_PAGE).exists() else None}
