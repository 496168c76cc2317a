"""The page of a run of `score`: the verdict, key figures, then what it told."""

from collections.abc import Iterator

from reviewbeam.components.reporting.page import Tile, Verdict, render
from reviewbeam.components.reporting.scores_figures import ScoresFigures, ScoresRun
from reviewbeam.components.reporting.shown import count, duration, percent, things


def scores_page(run: ScoresRun) -> str:
    """Returns the page. It shows no text of a review."""
    figures = ScoresFigures(run)
    return render(
        "scores.html.jinja",
        page=figures,
        title="Scores report",
        kind="scores",
        subtitle=f"by {run.model.get('Model', 'a model')} · run of {run.started}",
        verdict=_verdict(figures),
        tiles=list(_tiles(figures)),
    )


def _verdict(figures: ScoresFigures) -> Verdict:
    run, report = figures.run, figures.report
    if run.refused is not None:
        words = "Held back: nothing was published, and the finished work stays staged."
        lines = [line.strip(" -") for line in run.refused.splitlines()]
        # What introduces a list is said by the verdict.
        return Verdict("bad", words, [line for line in lines if line[-1:] not in ":"])
    concerns = list(_concerns(figures))
    written, rows = things(figures.written, "score"), things(figures.rows, "row")
    files = things(len(figures.scored), "new file")
    done = f"Published: {written} of {rows}, from {files}."
    if not figures.scored:
        known = things(report["known"], "file")
        done = f"Nothing new; scored before: {known}."
        if report["damaged"] or report["stopped"]:
            done = "Nothing was published by this run."
    tone = "warning" if concerns else "good"
    if report["damaged"] and not figures.scored:
        tone = "bad"
    return Verdict(tone, done, concerns)


def _concerns(figures: ScoresFigures) -> Iterator[str]:
    """Yields what a person should look at, or do."""
    report = figures.report
    if report["stopped"]:
        left = things(report["unfinished"], "file")
        yield (
            f"Stopped before its end, with rows left in {left}. The same command goes "
            "on."
        )
    if report["damaged"]:
        damaged = things(len(report["damaged"]), "damaged file")
        yield (
            f"Nothing was published of {damaged}. Deliver again what is damaged, and "
            "the next run scores it."
        )
    for distance in figures.drift:
        if distance["exceeded"]:
            yield (
                f"{distance['feature'].replace('_', ' ')} is far from the training: "
                f"{distance['figure']:.3f}, allowed {distance['threshold']:.3f}."
            )
    if figures.report["inference"].get("halved"):
        yield "Batches were made smaller for want of memory."


def _tiles(figures: ScoresFigures) -> Iterator[Tile]:
    speed = figures.run.speed
    files = things(len(figures.scored), "file")
    yield Tile("Rows of this run", count(figures.rows), f"in {files}")
    rejected = figures.rejected.total()
    share = rejected / figures.rows if figures.rows else None
    yield Tile("Rejected", percent(share), things(rejected, "row"))
    rate, tokens = speed.per_second(speed.rows), speed.per_second(speed.tokens)
    took = f"{things(speed.rows, 'row')} in {duration(speed.seconds)}"
    if rate is None:
        took = "no row was scored now"
    yield Tile("Rows/s", _rate(rate), took)
    yield Tile("Tokens/s", _rate(tokens), "without padding")
    yield Tile("Padding", percent(speed.padding()), "of the tokens computed")
    yield Tile("Scores in all", count(figures.report["total"]), "of this version")


def _rate(rate: float | None) -> str:
    return f"{rate:.1f}" if rate is not None and rate < 10 else count(rate)
