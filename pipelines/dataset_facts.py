"""What a dataset's manifest says, made of what the workers told."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NoReturn

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.prepare_config import (
    AUGMENTED,
    SPLITS,
    PrepareConfig,
)
from reviewbeam.components.common.privacy import redacted
from reviewbeam.components.examples.settle import SHOWN_CONFLICTS
from reviewbeam.components.examples.shards import shard_name, write_shard
from reviewbeam.components.examples.write import ShardInfo
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.read import (
    SliceSummary,
    check_summaries,
    line_offsets,
)
from reviewbeam.components.validation.limits import by_rule
from reviewbeam.components.validation.places import Key, place_texts

_UNKNOWN_LABELS = 20  # values that are named
_LABEL_LENGTH = 30  # characters of a value that is named
# What became of a row; together they are all rows. The notes are of rows that go on.
_FATES = ("written", "rejected", "left_out")
_NOTES = ("repaired", "allowed")


class DatasetFacts:
    """The facts of a dataset.

    Attributes:
      inputs: of each file what became of its rows.
      label_values: which values the label column held, and which the mapping waits
        for.
      written: how many examples there are, those augmented aside.
    """

    def __init__(
        self,
        config: PrepareConfig,
        files: list[CorpusFile],
        told: dict[str, Any],
    ):
        """Reads what the workers told, and refuses files that are wrong as a whole.

        Raises:
          UserError: a file is damaged, of another format, or has no mapped column;
            or there is no record at all.
          RuntimeError: rows were lost or doubled, which is a fault of ours.
        """
        self._config = config
        self._told = told
        summaries = [SliceSummary(**item) for item in told["summaries"]]
        if config.on_damaged_file == "fail":
            refuse_damaged(files, summaries)
        check_summaries(config, files, summaries)
        outcomes = {tuple(key): rows for key, rows in told["outcomes"]}
        self._offsets = line_offsets(summaries)
        self.inputs = account(files, summaries, outcomes)
        self.label_values = describe_labels(config, told["labels"])
        self.written = sum(sum(entry["written"].values()) for entry in self.inputs)

    def places(self) -> dict[Key, str]:
        """Returns where the values of features come from."""
        places = [((feature, w), place) for (feature, w), place in self._told["places"]]
        return place_texts(places, self._offsets)

    def complete_shards(self, staging: Place, partitions: int) -> list[ShardInfo]:
        """Adds the shards of partitions that no text fell into; returns all."""
        written = {item["name"]: ShardInfo(**item) for item in self._told["shards"]}
        shards = []
        for split in self._splits():
            for partition in range(partitions):
                name = shard_name(split, partition, partitions)
                if name not in written:
                    digest = write_shard(str(staging / name), [])
                    written[name] = ShardInfo(split, name, digest, 0, 0, 0, 0, {})
                shards.append(written[name])
        return shards

    def describe(self, shards: list[ShardInfo]) -> dict[str, Any]:
        """Returns the facts for the manifest."""
        described = {split: self._split(split, shards) for split in self._splits()}
        augmented = described.pop(AUGMENTED, None)
        return {
            "labels": self._config.labels.model_dump(mode="json"),
            "splits": described,
            "augmented": augmented,
            "label_values": self.label_values,
            "label_conflicts": self._conflicts(),
            "inputs": self.inputs,
        }

    def _splits(self) -> tuple[str, ...]:
        return (*SPLITS, AUGMENTED) if self._config.augment.copies else SPLITS

    def _split(self, split: str, shards: list[ShardInfo]) -> dict[str, Any]:
        mine = [shard for shard in shards if shard.split == split]
        labels: Counter = Counter()
        languages: dict[str, Counter] = defaultdict(Counter)
        for shard in mine:
            for language, counts in shard.labels.items():
                labels.update(counts)
                languages[language].update(counts)
        return {
            "examples": sum(shard.examples for shard in mine),
            "tokens": sum(shard.tokens for shard in mine),
            "longest": max((shard.longest for shard in mine), default=0),
            "truncated": sum(shard.truncated for shard in mine),
            "labels": {name: labels[name] for name in self._config.labels.names},
            "languages": {
                language: dict(sorted(languages[language].items()))
                for language in sorted(languages)
            },
            # Of the reviews that the examples stand for, copies too.
            "histograms": dict(self._told["histograms"]).get(split),
            "shards": [{"name": s.name, "examples": s.examples} for s in mine],
        }

    def _conflicts(self) -> dict[str, Any]:
        told = self._told["conflicts"]
        some = sorted(
            (c for _, some in told for c in some), key=lambda c: c["text_key"]
        )
        return {
            "texts": sum(texts for texts, _ in told),
            "some": [
                {
                    "file": conflict["file"],
                    "row": conflict["row"]
                    + self._offsets[conflict["file"], conflict["slice"]],
                    "labels": conflict["labels"],
                    "text": conflict["text"],
                }
                for conflict in some[:SHOWN_CONFLICTS]
            ],
        }


def refuse_damaged(files: list[CorpusFile], summaries: list[SliceSummary]) -> None:
    """Stops at a file whose bytes end or break before its content does.

    Raises:
      UserError: names the file and the damage.
    """
    paths = {file.name: file.path for file in files}
    for summary in summaries:
        if summary.damaged:
            raise UserError(
                f"{paths[summary.file]} is damaged: {summary.damaged}, after "
                f"{summary.rows} records. Copy the file again, or set on_damaged_file: "
                "salvage to take what is before the damage."
            )


def account(
    files: list[CorpusFile],
    summaries: list[SliceSummary],
    outcomes: dict[tuple[str, str], int],
) -> list[dict[str, Any]]:
    """Says of each file what became of its rows.

    Raises:
      UserError: there is no record at all.
      RuntimeError: rows were lost or doubled, which is a fault of ours.
    """
    rows: Counter = Counter()
    damaged = {
        summary.file: summary.damaged for summary in summaries if summary.damaged
    }
    for summary in summaries:
        rows[summary.file] += summary.rows
    if not rows.total():
        raise UserError("The input files hold no record at all. Check the --input.")
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (name, outcome), count in sorted(outcomes.items()):
        found[name][outcome] = count
    accounts = []
    for file in files:
        groups = {
            group: {
                what.removeprefix(f"{group}."): n
                for what, n in found[file.name].items()
                if what.startswith(f"{group}.")
            }
            for group in (*_FATES, *_NOTES)
        }
        duplicates = found[file.name].get("duplicates", 0)
        settled = duplicates + sum(sum(groups[fate].values()) for fate in _FATES)
        if settled != rows[file.name]:
            raise RuntimeError(
                f"{file.name}: {rows[file.name]} rows were read, {settled} came out: "
                f"{found[file.name]}"
            )
        accounts.append(
            {
                "file": file.name,
                "format": file.format,
                "sha256": file.sha256,
                "bytes": file.size,
                "damaged": damaged.get(file.name),
                "rows": rows[file.name],
                "duplicates": duplicates,
                **groups,
            }
        )
    return accounts


def describe_labels(
    config: PrepareConfig, counts: Iterable[tuple[str, int]]
) -> dict[str, dict[str, int]]:
    """Says which values the label column held, and which the mapping waits for.

    Returns:
      `mapped`: value of the mapping -> usable rows, 0 for one never met; and
      `unknown`: other values -> rows. Where these are many or long they may be
      anything, review texts too, and only their number is told.
    """
    found = Counter(dict(counts))
    mapping = config.labels.class_index()
    unknown = {v: n for v, n in sorted(found.items()) if v not in mapping}
    if len(unknown) > _UNKNOWN_LABELS or any(len(v) > _LABEL_LENGTH for v in unknown):
        unknown = {f"({len(unknown)} different values or more)": sum(unknown.values())}
    shown: Counter = Counter()
    for value, rows in unknown.items():
        shown[redacted(value)] += rows
    return {
        "mapped": {value: found[value] for value in mapping},
        "unknown": dict(shown),
    }


def refuse_all(facts: DatasetFacts, config: PrepareConfig) -> NoReturn:
    """Stops where no row became an example.

    Raises:
      UserError: tells what became of the rows instead.
    """
    fates: Counter = Counter()
    for entry in facts.inputs:
        for fate in _FATES:
            fates.update(entry[fate])
    raise UserError(
        f"None of the {sum(entry['rows'] for entry in facts.inputs)} rows became an "
        f"example: {by_rule(fates)}. The column {config.columns.label!r} "
        f"held {_met(facts.label_values)}. Correct columns, labels or rules."
    )


def check_classes(facts: dict[str, Any], config: PrepareConfig) -> None:
    """Refuses a class that no review has: the mapping, or the column, is wrong.

    Raises:
      UserError: names the class, and what was found instead.
    """
    found = sum(
        (Counter(split["labels"]) for split in facts["splits"].values()), Counter()
    )
    missing = [name for name in config.labels.names if not found[name]]
    if not missing:
        return
    index = config.labels.class_index()
    values = [v for v, place in index.items() if config.labels.names[place] in missing]
    raise UserError(
        f"No usable review has the label {listing(missing)}: the column "
        f"{config.columns.label!r} would have to hold {listing(values)}. It held "
        f"{_met(facts['label_values'])}. Correct labels.mapping, labels.names or "
        "columns.label."
    )


def _met(label_values: dict[str, dict[str, int]]) -> dict[str, int]:
    """Returns the label values that were met, those outside of the mapping too."""
    mapped = {v: n for v, n in label_values["mapped"].items() if n}
    return mapped | label_values["unknown"]
