"""The page of a dataset: the verdict, key figures, then all that its manifest tells."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reviewbeam.components.reporting.charts import NOT_KNOWN
from reviewbeam.components.reporting.dataset_figures import DatasetFigures
from reviewbeam.components.reporting.page import Tile, Verdict, render
from reviewbeam.components.reporting.shown import count, percent

_MANIFEST = "manifest.json"
_REPORT = "report.json"
_MUCH_TRUNCATED = 0.1  # of the examples


def dataset_page(
    facts: Mapping[str, Any],
    *,
    problems: Sequence[str] = (),
    allowed_rejects: float | None = None,
) -> str:
    """Returns the page of a dataset, or of one that the data gate stopped.

    It follows from its arguments alone, and shows no text of a review but those of
    label conflicts, where the manifest has them.

    Args:
      facts: of the manifest, as far as they were made. Without splits it is that of a
        schema.
      problems: why the gate stopped it; none: it was published.
      allowed_rejects: the share of rows that may be rejects.
    """
    figures = DatasetFigures(facts, _REPORT if problems else _MANIFEST)
    return render(
        "dataset.html.jinja",
        page=figures,
        title=f"{figures.kind.capitalize()} report",
        kind=figures.kind,
        subtitle=_subtitle(figures),
        verdict=_verdict(figures, problems),
        tiles=list(_tiles(figures, allowed_rejects)),
    )


def _subtitle(figures: DatasetFigures) -> str:
    files, formats = figures.inputs, sorted({i["format"] for i in figures.inputs})
    noun = "file" if len(files) == 1 else "files"
    return (
        f"{count(figures.rows)} rows of {count(len(files))} {noun} "
        f"({', '.join(formats)})"
    )


def _verdict(figures: DatasetFigures, problems: Sequence[str]) -> Verdict:
    if problems:
        words = "The data gate stopped this dataset; nothing was published."
        return Verdict("bad", words, problems)
    made, rows = count(figures.written), count(figures.rows)
    done = f"Published: {made} of {rows} rows are examples."
    if figures.kind == "schema":
        done = f"The schema follows from {made} usable rows."
    concerns = list(_concerns(figures))
    return Verdict("warning" if concerns else "good", done, concerns)


def _concerns(figures: DatasetFigures) -> Iterator[str]:
    """Yields what didn't stop the dataset, and should be looked at all the same."""
    yield from figures.anomalies
    if damaged := [item for item in figures.inputs if item["damaged"]]:
        yield f"{count(len(damaged))} damaged files were taken as far as they go."
    values = figures.facts["label_values"]
    if unknown := sum(values["unknown"].values()):
        yield f"{count(unknown)} labels are outside of the mapping."
    if never := [value for value, rows in values["mapped"].items() if not rows]:
        yield f"No review has these labels of the mapping: {', '.join(never)}."
    for name, split in figures.splits.items():
        missing = [label for label in figures.labels if not split["labels"][label]]
        if missing:
            yield f"The {name} split has no example of: {', '.join(missing)}."
    if (share := figures.truncated_share()) > _MUCH_TRUNCATED:
        yield f"{percent(share)} of the examples are truncated."


def _tiles(figures: DatasetFigures, allowed_rejects: float | None) -> Iterator[Tile]:
    yield Tile("Rows read", count(figures.rows))
    made = "Usable rows" if figures.kind == "schema" else "Examples"
    kept = f"{percent(figures.share(figures.written))} of the rows"
    yield Tile(made, count(figures.written), kept)
    rejected = figures.rejected.total()
    share, note, tone = figures.share(rejected), f"{count(rejected)} rows", "plain"
    if allowed_rejects is not None and allowed_rejects < 1:
        note += f", {percent(allowed_rejects)} allowed"
        tone = "bad" if share > allowed_rejects else "plain"
    yield Tile("Rejected", percent(share), note, tone)
    note = f"{count(figures.duplicates)} rows"
    yield Tile("Duplicates", percent(figures.share(figures.duplicates)), note)
    if figures.languages:
        first = next(iter(figures.languages)) or NOT_KNOWN
        yield Tile("Languages", count(len(figures.languages)), f"most of all {first}")
    if figures.splits and figures.text:
        note = f"longer than {figures.text['max_tokens']} tokens"
        yield Tile("Truncated", percent(figures.truncated_share()), note)
