"""What a dataset's manifest tells, as tables and plots."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from reviewbeam.components.common.prepare_config import SPLITS
from reviewbeam.components.reporting.charts import (
    NOT_KNOWN,
    binned,
    by_count,
    label_mix,
    largest_first,
    total_of,
)
from reviewbeam.components.reporting.page import Table

_FATES = ("written", "rejected")
_MARKED = ("repaired", "allowed")
_LABELS = 12  # columns of a table; with more, labels have a table of their own


class DatasetFigures:
    """Figures, tables and plots of a dataset; the template asks for them by name.

    Attributes:
      facts: of the manifest, as far as they were made.
      where: the file that has all of them.
      kind: `dataset`, or `schema` for one without examples.
    """

    def __init__(self, facts: Mapping[str, Any], where: str):
        """Adds up what the manifest tells by file and by split."""
        self.facts = facts
        self.where = where
        self.kind = "dataset" if facts["splits"] else "schema"
        self.inputs = facts["inputs"]
        self.rows = sum(item["rows"] for item in self.inputs)
        self.duplicates = sum(item["duplicates"] for item in self.inputs)
        self.rejected = total_of(self.inputs, "rejected")
        self.left_out = total_of(self.inputs, "left_out")
        self.written = total_of(self.inputs, "written").total()
        self.splits = {s: facts["splits"][s] for s in SPLITS if s in facts["splits"]}
        self.labels = facts["labels"]["names"]
        self.conflicts = facts["label_conflicts"]
        self.anomalies = facts.get("anomalies", [])
        self.drift = facts.get("drift", [])
        self.augmented = facts.get("augmented")
        self.text = facts.get("text")
        self.languages = self._languages()

    def share(self, rows: int) -> float:
        """Returns the share of all rows."""
        return rows / self.rows if self.rows else 0.0

    def truncated_share(self) -> float:
        """Returns the share of the examples that were cut."""
        examples = sum(split["examples"] for split in self.splits.values())
        truncated = sum(split["truncated"] for split in self.splits.values())
        return truncated / examples if examples else 0.0

    def _languages(self) -> dict[str, Counter]:
        """Returns language -> label -> examples, of all splits."""
        languages: dict[str, Counter] = {}
        for split in self.splits.values():
            for name, labels in split["languages"].items():
                languages.setdefault(name, Counter()).update(labels)
        return largest_first(languages)

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
                *(sum(item[fate].values()) for fate in _FATES),
                item["duplicates"],
                sum(item["left_out"].values()),
                item["damaged"],
            ]
            for item in ordered
        )
        if not any(item["damaged"] for item in self.inputs):
            columns, rows = columns[:-1], (row[:-1] for row in rows)
        return Table.cut(columns, rows, where=self.where, limit=20)

    def rules_table(self) -> Table:
        """Lists what each rule did."""
        rows = [
            (name.replace("_", " "), rule, rows, self.share(rows))
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
        """Lists what the label column held, and what became of it."""
        values = self.facts["label_values"]
        mapping = self.facts["labels"]["mapping"]
        rows = [
            (value, rows, "none: outside of the mapping")
            for value, rows in Counter(values["unknown"]).most_common()
        ]
        rows += [
            (value, rows, mapping.get(value, value))
            for value, rows in values["mapped"].items()
        ]
        columns = [("Value in the column", "text"), ("Rows", "count")]
        return Table.cut([*columns, ("Class", "text")], rows, where=self.where)

    # What came out

    def splits_table(self) -> Table:
        """Lists the splits, and what augmentation added."""
        splits = dict(self.splits)
        if self.augmented:
            splits["augmented"] = self.augmented
        columns = [("Split", "text"), ("Examples", "count"), ("Tokens", "count")]
        columns += [("Longest", "count"), ("Truncated", "percent")]
        columns += [(label, "count") for label in self.labels[:_LABELS]]
        rows = [
            [
                name,
                *(split[key] for key in ("examples", "tokens", "longest")),
                split["truncated"] / (split["examples"] or 1),
                *(split["labels"][label] for label in self.labels[:_LABELS]),
            ]
            for name, split in splits.items()
        ]
        return Table(columns, rows)

    def labels_plot(self):
        """Draws labels per language."""
        describe = "Share of each label in the examples of each language"
        return label_mix(self.languages, self.labels, describe)

    def splits_plot(self):
        """Draws labels per split."""
        splits = {name: split["labels"] for name, split in self.splits.items()}
        describe = "Share of each label in the examples of each split"
        return label_mix(splits, self.labels, describe)

    def languages_table(self) -> Table:
        """Lists languages with their examples by split."""
        examples = sum(counts.total() for counts in self.languages.values())
        columns = [("Language", "text"), ("Labels in all", "count")]
        columns += [("Of all", "percent"), *((s, "count") for s in self.splits)]
        rows = (
            [
                name or NOT_KNOWN,
                self.languages[name].total(),
                self.languages[name].total() / (examples or 1),
                *(
                    sum(split["languages"].get(name, {}).values())
                    for split in self.splits.values()
                ),
            ]
            for name in self.languages
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
