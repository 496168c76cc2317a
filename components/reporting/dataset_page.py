"""The page of a dataset: all that its manifest tells, for a person."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reviewbeam.components.reporting.charts import (
    binned,
    by_count,
    largest,
    mix_by_language,
    total_of,
)
from reviewbeam.components.reporting.page import Table, Tile, Verdict, render
from reviewbeam.components.reporting.shown import count, percent

_MANIFEST = "manifest.json"
_REPORT = "report.json"
_FATES = ("written", "rejected", "left_out")
_MARKED = ("repaired", "allowed")


def dataset_page(
    facts: Mapping[str, Any],
    *,
    kind: str = "dataset",
    problems: Sequence[str] = (),
    allowed_rejects: float | None = None,
) -> str:
    """Returns the page of a dataset, or of one that the data gate stopped.

    It follows from its arguments alone, and shows no text of a review but those of
    label conflicts, where the manifest has them.

    Args:
      facts: of the manifest, as far as they were made.
      kind: `dataset`, or `schema` for one without examples.
      problems: why the gate stopped it; none: it was published.
      allowed_rejects: the share of rows that may be rejects.
    """
    page = _DatasetPage(facts, kind, problems, allowed_rejects)
    return render("dataset.html.jinja", page=page, **page.head())


class _DatasetPage:
    """Figures, tables and plots; the template asks for them by name."""

    def __init__(
        self,
        facts: Mapping[str, Any],
        kind: str,
        problems: Sequence[str],
        allowed_rejects: float | None,
    ):
        self.facts = facts
        self.kind = kind
        self.problems = problems
        self.where = _REPORT if problems else _MANIFEST
        self._allowed = allowed_rejects
        self.inputs = facts["inputs"]
        self.rows = sum(item["rows"] for item in self.inputs)
        self.duplicates = sum(item["duplicates"] for item in self.inputs)
        self.rejected = total_of(self.inputs, "rejected")
        self.left_out = total_of(self.inputs, "left_out")
        self.written = total_of(self.inputs, "written").total()
        self.splits: Mapping[str, Any] = facts["splits"]
        self.labels = facts["labels"]["names"]
        self.conflicts = facts["label_conflicts"]
        self.anomalies = facts.get("anomalies", [])
        self.drift = facts.get("drift", [])
        self.augmented = facts.get("augmented")
        self.text = facts.get("text")
        self.languages = self._languages()

    def head(self) -> dict[str, Any]:
        """Returns what every page has."""
        what = "Schema" if self.kind == "schema" else "Dataset"
        return {
            "title": f"{what} report",
            "kind": self.kind,
            "subtitle": self._subtitle(),
            "verdict": self._verdict(),
            "tiles": list(self._tiles()),
        }

    def _subtitle(self) -> str:
        files, formats = len(self.inputs), sorted({i["format"] for i in self.inputs})
        noun = "file" if files == 1 else "files"
        return (
            f"{count(self.rows)} rows of {count(files)} {noun} ({', '.join(formats)})"
        )

    def _verdict(self) -> Verdict:
        if self.problems:
            words = "The data gate stopped this dataset; nothing was published."
            return Verdict("bad", words, self.problems)
        done = (
            f"Published: {count(self.written)} of {count(self.rows)} rows are examples."
        )
        if self.kind == "schema":
            done = f"The schema follows from {count(self.written)} usable rows."
        concerns = list(self._concerns())
        return Verdict("warning" if concerns else "good", done, concerns)

    def _concerns(self) -> Iterator[str]:
        """Yields what didn't stop the dataset, and should be looked at all the same."""
        yield from self.anomalies
        if damaged := [item for item in self.inputs if item["damaged"]]:
            yield f"{count(len(damaged))} damaged files were taken as far as they go."
        values = self.facts["label_values"]
        if unknown := sum(values["unknown"].values()):
            yield f"{count(unknown)} labels are outside of the mapping."
        if never := [value for value, rows in values["mapped"].items() if not rows]:
            yield f"No review has the labels of the mapping: {', '.join(never)}."
        for name, split in self.splits.items():
            missing = [label for label in self.labels if not split["labels"][label]]
            if missing:
                yield f"The {name} split has no example of: {', '.join(missing)}."
        if (share := self._truncated_share()) > 0.1:
            yield f"{percent(share)} of the examples are truncated."

    def _tiles(self) -> Iterator[Tile]:
        yield Tile("Rows read", count(self.rows))
        made = "usable rows" if self.kind == "schema" else "examples"
        kept = f"{percent(self._share(self.written))} of the rows"
        yield Tile(made.capitalize(), count(self.written), kept)
        rejected = self.rejected.total()
        note = f"{count(rejected)} rows"
        if self._allowed is not None and self._allowed < 1:
            note += f", {percent(self._allowed)} allowed"
        beyond = self._allowed is not None and self._share(rejected) > self._allowed
        tone = "bad" if beyond else "plain"
        yield Tile("Rejected", percent(self._share(rejected)), note, tone)
        note = f"{count(self.duplicates)} rows"
        yield Tile("Duplicates", percent(self._share(self.duplicates)), note)
        if self.languages:
            first = largest(self.languages)[0] or "not known"
            yield Tile("Languages", count(len(self.languages)), f"most of all {first}")
        if self.splits and self.text:
            note = f"longer than {self.text['max_tokens']} tokens"
            yield Tile("Truncated", percent(self._truncated_share()), note)

    def _share(self, rows: int) -> float:
        return rows / self.rows if self.rows else 0.0

    def _truncated_share(self) -> float:
        examples = sum(split["examples"] for split in self.splits.values())
        truncated = sum(split["truncated"] for split in self.splits.values())
        return truncated / examples if examples else 0.0

    def _languages(self) -> dict[str, Counter]:
        """Returns language -> label -> examples, of all splits."""
        languages: dict[str, Counter] = {}
        for split in self.splits.values():
            for name, labels in split["languages"].items():
                languages.setdefault(name, Counter()).update(labels)
        return languages

    # What came in

    def fates_plot(self):
        """Draws what became of the rows."""
        fates = {
            "examples": self.written,
            "duplicates": self.duplicates,
            "rejected": self.rejected.total(),
            "left out": self.left_out.total(),
        }
        return by_count(fates, "What became of the rows that were read")

    def files_table(self) -> Table:
        """Lists the files, those with most rejects first."""
        columns = [("File", "text"), ("Format", "text"), ("Size", "size")]
        fates = ("Rows", "Examples", "Rejected", "Duplicates", "Left out")
        columns += [(name, "count") for name in fates]
        columns.append(("Damage", "text"))
        ordered = sorted(self.inputs, key=lambda item: -sum(item["rejected"].values()))
        rows = (
            [
                *(item["file"], item["format"], item["bytes"], item["rows"]),
                *(sum(item[fate].values()) for fate in _FATES[:2]),
                item["duplicates"],
                sum(item["left_out"].values()),
                item["damaged"],
            ]
            for item in ordered
        )
        if not any(item["damaged"] for item in self.inputs):
            columns, rows = columns[:-1], (row[:-1] for row in rows)
        return Table.cut(columns, rows, where=self.where)

    def rules_table(self) -> Table:
        """Lists what each rule did."""
        rows = [
            (name.replace("_", " "), rule, rows, self._share(rows))
            for name in ("rejected", "left_out", *_MARKED)
            for rule, rows in total_of(self.inputs, name).most_common()
        ]
        columns = [
            ("Rows were", "text"), ("By the rule", "text"),
            ("Rows", "count"), ("Of all", "percent"),
        ]  # fmt: skip
        return Table.cut(columns, rows, where=self.where)

    def rejects_plot(self):
        """Draws rejects by rule."""
        return by_count(self.rejected, "Rejected rows by rule")

    def values_table(self) -> Table:
        """Lists what the label column held."""
        values = self.facts["label_values"]
        rows = [(value, rows, "") for value, rows in values["mapped"].items()]
        unknown = Counter(values["unknown"]).most_common()
        rows = [
            (value, rows, "outside of the mapping") for value, rows in unknown
        ] + rows
        columns = [("Value in the column", "text"), ("Rows", "count"), ("", "text")]
        return Table.cut(columns, rows, where=self.where, limit=20)

    # What came out

    def splits_table(self) -> Table:
        """Lists the splits, and what augmentation added."""
        splits = dict(self.splits)
        if self.augmented:
            splits["augmented"] = self.augmented
        columns = [("Split", "text"), ("Examples", "count"), ("Tokens", "count")]
        columns += [("Longest", "count"), ("Truncated", "percent")]
        columns += [(label, "count") for label in self.labels[:12]]
        rows = [
            [
                name,
                *(split[key] for key in ("examples", "tokens", "longest")),
                split["truncated"] / (split["examples"] or 1),
                *(split["labels"][label] for label in self.labels[:12]),
            ]
            for name, split in splits.items()
        ]
        return Table(columns, rows)

    def labels_plot(self):
        """Draws labels per language."""
        describe = "Share of each label in the examples of each language"
        return mix_by_language(self.languages, self.labels, describe)

    def splits_plot(self):
        """Draws labels per split."""
        splits = {name: split["labels"] for name, split in self.splits.items()}
        describe = "Share of each label in the examples of each split"
        return mix_by_language(splits, self.labels, describe)

    def languages_table(self) -> Table:
        """Lists languages with their examples by split."""
        examples = sum(counts.total() for counts in self.languages.values())
        columns = [("Language", "text"), ("Labels in all", "count")]
        columns += [("Of all", "percent"), *((s, "count") for s in self.splits)]
        rows = (
            [
                name or "not known",
                self.languages[name].total(),
                self.languages[name].total() / (examples or 1),
                *(
                    sum(split["languages"].get(name, {}).values())
                    for split in self.splits.values()
                ),
            ]
            for name in largest(self.languages)
        )
        if self.facts["labels"]["type"] != "multilabel":
            columns[1] = ("Examples", "count")
        return Table.cut(columns, rows, where=self.where)

    def many_labels_table(self) -> Table:
        """Lists labels with their examples by split, where bars can't show them all."""
        columns = [("Label", "text"), *((s, "count") for s in self.splits)]
        rows = (
            [label, *(split["labels"][label] for split in self.splits.values())]
            for label in sorted(
                self.labels,
                key=lambda label: (
                    -sum(s["labels"][label] for s in self.splits.values())
                ),
            )
        )
        return Table.cut(columns, rows, where=self.where)

    def has_lengths(self) -> bool:
        """Tells whether lengths were counted."""
        return bool(self.text and self._histograms("tokens"))

    def lengths_plot(self):
        """Draws lengths in tokens, with the line at which texts are cut."""
        most = self.text["max_tokens"]
        total = {"all": self._histograms("tokens")}
        marker = (most, f"cut at {most} tokens")
        return binned("tokens", total, "Lengths in tokens", "tokens, up to", marker)

    def characters_plot(self):
        """Draws lengths in characters."""
        total = {"all": self._histograms("characters")}
        return binned("characters", total, "Lengths in characters", "characters, up to")

    def _histograms(self, feature: str) -> Counter:
        found = [s["histograms"] for s in self.splits.values() if s.get("histograms")]
        return total_of([histogram["counts"] for histogram in found], feature)

    # What to look at

    def conflicts_table(self) -> Table:
        """Lists texts whose copies have different labels."""
        columns = [("File", "text"), ("Row", "count"), ("Labels of its copies", "text")]
        some = self.conflicts["some"]
        if shown := any(conflict["text"] is not None for conflict in some):
            columns.append(("Text", "text"))
        rows = [
            [
                conflict["file"],
                conflict["row"],
                ", ".join(f"{n} × {label}" for label, n in conflict["labels"].items()),
                conflict["text"],
            ][: 4 if shown else 3]
            for conflict in some
        ]
        left = max(0, self.conflicts["texts"] - len(some))
        return Table(columns, rows[:40], left + max(0, len(rows) - 40))

    def drift_table(self) -> Table:
        """Lists the distances from the baseline, those beyond their threshold first."""
        columns = [("Feature", "text"), ("Distance", "figure"), ("Allowed", "figure")]
        columns += [("Verdict", "text"), ("Measure", "text")]
        rows = [
            (
                distance["feature"],
                distance["figure"],
                distance["threshold"],
                _drifted(distance),
                distance["measure"].replace("_", " ").lower(),
            )
            for distance in sorted(
                self.drift, key=lambda d: d["threshold"] - d["figure"]
            )
        ]
        return Table.cut(columns, rows, where=self.where)


def _drifted(distance: Mapping[str, Any]) -> str:
    if distance["figure"] <= distance["threshold"]:
        return "like the baseline"
    most = f", most of all {distance['value']}" if distance["value"] else ""
    return f"too far{most}"
