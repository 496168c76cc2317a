"""What a person sees: steps on standard error, results on standard output."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reviewbeam.components.common import journal
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.evaluation.blessing_text import blessing_text
from reviewbeam.components.evaluation.table import heading, summary_tables
from reviewbeam.components.reporting.shown import count, things
from reviewbeam.components.trainer.trials import Trial, trials_table

_log = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
_WIDE = 1000
_SAY_EVERY = 60.0  # seconds, where nobody watches
_TICK = 1.0
_LANGUAGES = 10  # that are named, of a dataset
_out = Console(highlight=False, emoji=False, soft_wrap=True)


class Step:
    """Says that a job begins, how far it is, and how long it took."""

    def __init__(self, text: str, *, live: bool = True):
        """Names the step; one that shows its own progress is not live."""
        self._text = text
        self._live = live
        self._state = ""
        self._started = time.monotonic()
        self._status = _log.status(f"{escape(text)} …")
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Step":
        """Shows that the step runs."""
        if self._live and _log.is_terminal:
            self._status.start()
            journal.keep(f"{self._text} …")
        else:
            note(f"{self._text} …")
        if self._live:
            self._ticker.start()
        return self

    def update(self, state: Any) -> None:
        """Takes how far it is; a person sees it with the next tick."""
        self._state = f"{state}"

    def _tick(self) -> None:
        """Shows it each second on a terminal, else once a minute; the log has that."""
        said = self._started
        while not self._over.wait(_TICK):
            now = time.monotonic()
            passed = timedelta(seconds=round(now - self._started))
            line = f"{self._text}: {self._state or 'at work'}, {passed}"
            self._status.update(f"{escape(line)} …")  # seen where it was started
            if now - said < _SAY_EVERY:
                continue
            said = now
            journal.keep(line) if _log.is_terminal else note(line)

    def __exit__(self, kind, error, trace) -> None:
        """Says how it ended."""
        self._over.set()
        if self._live:
            self._ticker.join()
        self._status.stop()
        seconds = time.monotonic() - self._started
        how = "done" if kind is None else "failed"
        if isinstance(error, ReviewbeamError | KeyboardInterrupt):
            how = "stopped"
        note(f"{self._text}: {how} after {seconds:.1f} s")


def say(text: str = "", style: str | None = None) -> None:
    """Prints a line of the result."""
    text = text.encode("utf-8", errors="replace").decode()
    _out.print(text, markup=False, style=style)
    journal.keep(text)


def note(text: str) -> None:
    """Prints a line about the way, not the result."""
    _log.print(text, markup=False)
    journal.keep(text)


def say_json(data: Any) -> None:
    """Prints the line for programs."""
    sys.stdout.write(json.dumps(data, sort_keys=True) + "\n")


def say_table(header: list[str], rows: list[list[Any]]) -> None:
    """Prints a table; the first column is text, the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        justify = "left" if index == 0 else "right"
        table.add_column(escape(name), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    if not _out.is_terminal:  # a file has lines of any length
        _out.width = _WIDE
    _out.print(table)
    for row in (header, *rows):
        journal.keep("  ".join(map(str, row)))


def say_dataset(manifest: dict[str, Any], output: Path) -> None:
    """Prints what came in, what came out, and where it lies."""
    inputs = manifest["inputs"]
    rejected = total_of(inputs, "rejected")
    left_out = total_of(inputs, "left_out")
    written = total_of(inputs, "written").total()
    duplicates = sum(item["duplicates"] for item in inputs)
    rows = sum(item["rows"] for item in inputs)
    say(
        f"{manifest['kind'].capitalize()}: {things(rows, 'row')} read from "
        f"{things(len(inputs), 'file')}; {count(written)} "
        f"{'written' if manifest['kind'] == 'dataset' else 'usable'}, "
        f"{count(rejected.total())} rejected, {things(duplicates, 'duplicate')}, "
        f"{count(left_out.total())} left out"
    )
    say_rules("rejected", rejected)
    say_rules("left out", left_out)
    for what in ("repaired", "allowed"):
        say_rules(what, total_of(inputs, what))
    for item in inputs:
        if item["damaged"]:
            say(f"  salvaged, {item['file']}: {item['damaged']}")
    if conflicts := manifest["label_conflicts"]["texts"]:
        say(f"  texts whose copies disagree on the label: {conflicts}")
    figures, labels = ("examples", "tokens", "truncated"), manifest["labels"]["names"]
    splits = dict(manifest["splits"])
    if manifest["augmented"]:
        splits["augmented"] = manifest["augmented"]
    table = [
        [
            f"  {name}",
            *(split[key] for key in figures),
            *(split["labels"][label] for label in labels),
        ]
        for name, split in splits.items()
    ]
    if table:  # a schema has no splits
        say_table(["  split", *figures, *labels], table)
        say(f"  languages: {_languages(splits.values())}")
    for distance in manifest["drift"]:
        say(
            f"  drift of {distance['feature']}: {distance['figure']:.3f} (allowed "
            f"{distance['threshold']:.3f})"
        )
    values = manifest["label_values"]
    if values["unknown"]:
        say(f"  labels outside of the mapping: {values['unknown']}")
    if never := [value for value, rows in values["mapped"].items() if not rows]:
        say(f"  labels of the mapping that no review has: {never}")
    for anomaly in manifest["anomalies"]:
        say(f"  anomaly: {anomaly}")
    names = [name for name in (manifest["report"], rejected and "rejects/") if name]
    say(f"  in {output}" + (f": {', '.join(names)}" if names else ""))


def _languages(splits: Iterable[dict[str, Any]]) -> str:
    """Says how many examples each language has, the most first."""
    rows: Counter[str] = Counter()
    for split in splits:
        if split["histograms"] is not None:  # it has examples
            rows.update(split["histograms"]["counts"]["language"])
    said = [f"{name} {count(number)}" for name, number in rows.most_common(_LANGUAGES)]
    rest = len(rows) - len(said)
    return ", ".join(said) + (f" and {rest} more" if rest else "") or "none"


def say_model(summary: dict[str, Any]) -> None:
    """Prints how well a new model does, and against the one that it began with."""
    validation = summary["validation"]
    figures = ""
    if validation:
        figures = (
            f", validation accuracy {validation['accuracy']:.3f} and macro F1 "
            f"{validation['macro_f1']:.3f}"
        )
    best = summary["best_epoch"]
    say(f"Model: best of {summary['epochs']} epochs is {best}{figures}")
    if against := summary["against_initial"]:
        say("  on the validation split, the model that was begun with -> this one:")
        say_table(
            ["  language", "rows", "accuracy", "macro F1"],
            [
                [
                    f"  {entry['language'] or 'unknown'}",
                    entry["rows"],
                    *(
                        f"{entry['before'][name]:.3f} -> {entry['after'][name]:.3f}"
                        for name in ("accuracy", "macro_f1")
                    ),
                ]
                for entry in against
            ],
        )
    names = "saved_model/", "model.keras", "model.json", summary["report"]
    say(f"  in {summary['output']}: {', '.join(filter(None, names))}")


def say_tuning(summary: dict[str, Any]) -> None:
    """Prints the trials, best first."""
    trials, objective = summary["trials"], summary["objective"]
    failed = [trial for trial in trials if trial["failure"]]
    best = summary["best"]
    say(
        f"Tuning: {len(trials)} trials, {len(failed)} of them failed; the best is "
        f"trial {best['number']}, {objective} {best['metrics'][objective]:.4f}"
    )
    header, *rows = trials_table([Trial.of_public(t) for t in trials], objective)
    say_table([f"  {header[0]}", *header[1:]], [[f"  {n}", *r] for n, *r in rows])
    for trial in failed:
        say(f"  trial {trial['number']} failed: {trial['failure']}")
    say(f"  in {summary['output']}: best.yaml, trials.json, trials.csv, report.txt")


def say_metrics(metrics: dict[str, Any], output: Path) -> None:
    """Prints the figures overall, per language, the worst slices and the verdicts."""
    say(f"{heading(metrics)}:")
    for table in summary_tables(metrics):
        say(f"  {table.title}")
        header, *rows = [
            [f"  {row[0]}", *row[1:]] for row in (table.header, *table.rows)
        ]
        say_table(header, rows)
        if table.note:
            say(f"  {table.note}")
        say()
    names = "metrics.json", "report.txt", "predictions/", metrics["report"]
    say(f"  in {output}: {', '.join(filter(None, names))}")


def say_blessing(verdict: dict[str, Any] | None) -> None:
    """Prints what the rules said, and how the model compares."""
    for line in blessing_text(verdict).splitlines() if verdict else ():
        say(line)


def say_serving(serving: Any, models: Path, how: str) -> None:
    """Prints which model is in service."""
    say(f"In service: {serving.current}{how}")
    before = ", ".join(serving.previous) or "none"
    say(f"  in {models}; before it: {before}")


def say_quantized(manifest: dict[str, Any], model: Path) -> None:
    """Prints how often the labels of the int8 model are the exact one's."""
    told = manifest["agreement"]
    say("The int8 model's labels and the exact model's, on validation:")
    slices = {"all rows": told["all"], **told["languages"]}
    say_table(
        ["  language", "rows", "agree"],
        [
            [f"  {n}", str(s["rows"]), f"{s['agreement']:.2%}"]
            for n, s in slices.items()
        ],
    )
    say(f"  probabilities differ by at most {told['largest_difference']:.3f}")
    say(f"  in {model}/openvino-int8; inference.engine: openvino-int8 uses it")


def say_predictions(predictions: list[Any]) -> None:
    """Prints a line for each text: scores, labels, text."""
    for answer in predictions:
        labels, scores = answer.label, answer.score
        if answer.reject is not None:
            labels, scores = [f"rejected: {answer.reject}"], []
        elif not isinstance(labels, list):
            labels, scores = [labels], [scores]
        label = ", ".join(labels) or "(none)"
        score = ", ".join(f"{score:.3f}" for score in scores)
        say(f"{score:<5}  {label:<20}  {' '.join(answer.text.split())}")


def total_of(items: list[dict[str, Any]], key: str) -> Counter:
    """Adds up the counters that items have under a key."""
    return sum((Counter(item[key]) for item in items), Counter())


def say_rules(what: str, rules: Counter) -> None:
    """Prints a line for each rule, the most frequent one first."""
    for rule, rows in rules.most_common():
        say(f"  {what}, {rule}: {count(rows)}")
