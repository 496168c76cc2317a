"""What a run of `score` told, as tables and plots."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.common.serving_statistics import (
    NO_VALUE,
    Statistics,
    labels_by_language,
)
from reviewbeam.components.reporting.charts import (
    NOT_KNOWN,
    binned,
    by_count,
    label_mix,
    largest_first,
    total_of,
)
from reviewbeam.components.reporting.page import Table

_MANIFEST = "_manifest.json"
_NOW, _TRAINING, _VALIDATION = "these reviews", "training", "validation"
_PAIRS = 10  # languages that are drawn, each beside its training


@dataclasses.dataclass(frozen=True)
class Speed:
    """What the chunks that this very run finished took.

    Attributes:
      rows: of them.
      tokens: that the model was given, padding aside.
      padded_tokens: with padding.
      seconds: from the start of the workers to their end; models are loaded in them.
    """

    rows: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0

    def per_second(self, number: int) -> float | None:
        """Returns a rate; None: nothing was measured."""
        return number / self.seconds if self.seconds and self.rows else None

    def padding(self) -> float | None:
        """Returns the share of padding in all tokens; None: there are none."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else None


@dataclasses.dataclass(frozen=True)
class ScoresRun:
    """What the page of a run is made of.

    Attributes:
      report: what the run did, as `score --json` has it. Where the data gate refused
        the scores, `scored` is of the files that stay staged.
      started: when, for people.
      statistics: of the reviews that are published now, or stay staged; None: none.
      training: the model's statistics of its training.
      labels: names of the classes.
      max_tokens: at which texts are cut.
      speed: of this run.
      versions: of all that the folder holds now: `name`, `files`, `rows`, `written`
        and `rejected`.
      model: what is to be known of it, by name.
      refused: what the data gate said; None: it passed.
    """

    report: Mapping[str, Any]
    started: str
    statistics: Statistics | None
    training: Mapping[str, Any]
    labels: Sequence[str]
    max_tokens: int
    speed: Speed
    versions: Sequence[Mapping[str, Any]]
    model: Mapping[str, str]
    refused: str | None = None


class ScoresFigures:
    """Figures, tables and plots of a run; the template asks for them by name."""

    def __init__(self, run: ScoresRun):
        """Adds up what the run tells by file."""
        self.run = run
        self.report = run.report
        self.where = _MANIFEST
        self.scored = run.report["scored"]
        self.rows = sum(entry["rows"] for entry in self.scored)
        self.written = sum(entry["written"] for entry in self.scored)
        self.rejected = total_of(self.scored, "rejected")
        self.left_out = total_of(self.scored, "left_out")
        found = run.statistics or {"rows": 0, "counts": {}}
        self.counts: Mapping[str, Mapping[str, int]] = found["counts"]
        self.reviews = found["rows"]
        self.languages = largest_first(
            labels_by_language(found) if run.statistics else {}
        )
        self.drift = run.report["drift"]

    def engine(self) -> list[tuple[str, str]]:
        """Returns how the model was run."""
        told = self.report["inference"]
        facts = [("Engine", str(told["engine"]))]
        facts.append(("Tokens at once", f"{told['batch_tokens']:,}"))
        facts.append(("Threads of a process", str(told["threads"])))
        if told.get("calls"):
            facts.append(("Calls of the model", f"{told['calls']:,}"))
        if told.get("halved"):
            facts.append(("Batches halved for want of memory", f"{told['halved']:,}"))
        return facts

    def mix_plot(self) -> Markup:
        """Draws the labels of these reviews beside those of the training."""
        mixes = {_NOW: self.counts.get("predicted_label", {})}
        if validation := self._training("predictions", "predicted_label"):
            mixes[f"{_VALIDATION}, given"] = validation
        if true := self.run.training.get("train", {}).get("labels"):
            mixes[f"{_TRAINING}, true"] = true
        return label_mix(
            mixes, self.run.labels, "Shares of labels, now and in training"
        )

    def languages_plot(self) -> Markup:
        """Draws the labels of the largest languages beside those of the training."""
        training = self.run.training.get("train", {}).get("languages", {})
        rows = {}
        for name in list(self.languages)[:_PAIRS]:
            shown = _language(name)
            rows[shown] = self.languages[name]
            if of_training := _find(training, name):
                rows[f"{shown}, {_TRAINING}"] = of_training
        describe = "Shares of labels in each language, now and in training"
        return label_mix(rows, self.run.labels, describe)

    def languages_table(self) -> Table:
        """Lists languages with their shares, now and in training."""
        now = self.counts.get("language", {})
        training = self._training("train", "language")
        columns = [("Language", "text"), ("Reviews", "count"), ("Of all", "percent")]
        columns.append(("In training", "percent"))
        rows = (
            [
                _language(name),
                rows,
                rows / self.reviews,
                _share(training, name),
            ]
            for name, rows in Counter(now).most_common()
        )
        return Table.cut(columns, rows, where=self.where)

    def confidence_plot(self) -> Markup:
        """Draws how sure the model is, now and on validation."""
        sets = self._sets("confidence", "predictions", _VALIDATION)
        describe = "How sure the model is of its labels, now and on validation"
        return binned("confidence", sets, describe, "confidence, up to")

    def lengths_plot(self) -> Markup:
        """Draws lengths in tokens, now and in training."""
        most = self.run.max_tokens
        sets = self._sets("tokens", "train", _TRAINING)
        describe = "Lengths in tokens, now and in training"
        marker = (most, f"cut at {most} tokens")
        return binned("tokens", sets, describe, "tokens, up to", marker)

    def rejects_plot(self) -> Markup:
        """Draws rejects by rule."""
        return by_count(self.rejected, "Rejected rows by rule")

    def rules_table(self) -> Table:
        """Lists what each rule did."""
        columns = [("Rows were", "text"), ("By the rule", "text")]
        columns += [("Rows", "count"), ("Of all", "percent")]
        rows = [
            (what, rule, rows, rows / self.rows)
            for what, counts in (
                ("rejected", self.rejected),
                ("left out", self.left_out),
            )
            for rule, rows in counts.most_common()
        ]
        return Table.cut(columns, rows, where=self.where)

    def files_table(self) -> Table:
        """Lists the files of this run, those with most rejects first."""
        columns = [("File", "text"), ("Size", "size"), ("Rows", "count")]
        columns += [("Scores", "count"), ("Rejected", "count"), ("State", "text")]
        ordered = sorted(
            self.scored, key=lambda entry: -sum(entry["rejected"].values())
        )
        rows = (
            (
                *(entry["file"], entry["bytes"], entry["rows"], entry["written"]),
                sum(entry["rejected"].values()),
                "complete" if entry["complete"] else "not to its end yet",
            )
            for entry in ordered
        )
        return Table.cut(columns, rows, where=self.where, limit=20)

    def damaged_table(self) -> Table:
        """Lists files of which nothing was published."""
        rows = sorted(self.report["damaged"].items())
        columns = [("File", "text"), ("What is wrong", "text")]
        return Table.cut(columns, rows, where="--json")

    def removed_table(self) -> Table:
        """Lists scored files that are gone."""
        rows = ([name] for name in self.report["removed"])
        return Table.cut([("File", "text")], rows, where="--json", limit=10)

    def drift_table(self) -> Table:
        """Lists the distances from training, those beyond their threshold first."""
        columns = [("Feature", "text"), ("Distance", "figure"), ("Allowed", "figure")]
        columns += [("Verdict", "text"), ("Differs most in", "text")]
        columns += [("Now", "percent"), ("In training", "percent")]
        ordered = sorted(
            self.drift,
            key=lambda d: (d["figure"] is None, d["threshold"] - (d["figure"] or 0)),
        )
        rows = [
            (
                distance["feature"].replace("_", " "),
                *(distance["figure"], distance["threshold"]),
                _verdict(distance),
                *(distance[key] for key in ("value", "share", "training_share")),
            )
            for distance in ordered
        ]
        return Table.cut(columns, rows, where=self.where)

    def versions_table(self) -> Table:
        """Lists what the folder holds in all, this run's version first."""
        columns = [("Version", "text"), ("Files", "count"), ("Rows", "count")]
        columns += [("Scores", "count"), ("Rejected", "count")]
        mine = self.report["version"]
        rows = [
            (
                f"{v['name']} (this run's)" if v["name"] == mine else v["name"],
                *(v[key] for key in ("files", "rows", "written", "rejected")),
            )
            for v in sorted(self.run.versions, key=lambda v: v["name"] != mine)
        ]
        return Table.cut(columns, rows, where=self.where)

    def _training(self, split: str, feature: str) -> Mapping[str, int]:
        """Returns a histogram of the training; {}: the model has none."""
        histograms = (self.run.training.get(split) or {}).get("histograms") or {}
        return histograms.get("counts", {}).get(feature, {})

    def _sets(
        self, feature: str, split: str, name: str
    ) -> dict[str, Mapping[str, int]]:
        sets = {_NOW: self.counts.get(feature, {})}
        if training := self._training(split, feature):
            sets[name] = training
        return sets


def _language(name: str) -> str:
    return NOT_KNOWN if name in ("", NO_VALUE) else name


def _find(training: Mapping[str, Any], language: str) -> Any:
    """Returns what the training says of a language; one not known is `` there."""
    return training.get("" if language == NO_VALUE else language)


def _share(counts: Mapping[str, int], name: str) -> float | None:
    total = sum(counts.values())
    return counts.get(name, 0) / total if total else None


def _verdict(distance: Mapping[str, Any]) -> str:
    if distance["not_measured"]:
        return f"not known: {distance['not_measured']}"
    if not distance["exceeded"]:
        return "as in training"
    return "too far (fatal)" if distance["fatal"] else "too far"
