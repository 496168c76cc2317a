"""What a dataset's manifest says of its input files and its splits."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reviewbeam.components.common.errors import DataGateError, UserError, listing
from reviewbeam.components.common.job_configs import PrepareConfig
from reviewbeam.components.examples.keys import SPLITS
from reviewbeam.components.examples.shards import shard_name, write_shard
from reviewbeam.components.examples.write import ShardInfo
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.read import SliceSummary

_UNKNOWN_LABELS = 20  # values that are named
_LABEL_LENGTH = 30  # characters of a value that is named


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
                f"{summary.rows} records. Copy the file again."
            )


def account(
    files: list[CorpusFile],
    summaries: list[SliceSummary],
    outcomes: dict[tuple[str, str], int],
) -> list[dict[str, Any]]:
    """Says of each file what became of its rows.

    Raises:
      RuntimeError: rows were lost or doubled, which is a fault of ours.
    """
    rows = Counter()
    for summary in summaries:
        rows[summary.file] += summary.rows
    if not sum(rows.values()):
        raise UserError("The input files hold no record at all. Check the --input.")
    fates: dict[str, dict[str, int]] = defaultdict(dict)
    for (name, outcome), count in sorted(outcomes.items()):
        fates[name][outcome] = count
    accounts = []
    for file in files:
        mine = fates[file.name]
        if sum(mine.values()) != rows[file.name]:
            raise RuntimeError(
                f"{file.name}: {rows[file.name]} rows were read, {mine} came out"
            )
        accounts.append(
            {
                "file": file.name,
                "sha256": file.sha256,
                "bytes": file.size,
                "rows": rows[file.name],
                "duplicates": mine.get("duplicates", 0),
                **{
                    group: {
                        what.removeprefix(f"{group}."): n
                        for what, n in mine.items()
                        if what.startswith(f"{group}.")
                    }
                    for group in ("written", "rejected", "left_out")
                },
            }
        )
    return accounts


def check_rejects(config: PrepareConfig, inputs: list[dict[str, Any]]) -> None:
    """Holds the share of rejects against `rules.max_reject_fraction`.

    Raises:
      DataGateError: there are more.
    """
    rows = sum(item["rows"] for item in inputs)
    rules = sum((Counter(item["rejected"]) for item in inputs), Counter())
    share = rules.total() / rows
    if share > config.rules.max_reject_fraction:
        raise DataGateError(
            f"{rules.total()} of {rows} rows are rejects ({share:.1%}); "
            f"rules.max_reject_fraction allows {config.rules.max_reject_fraction:.1%}. "
            f"By rule: {dict(rules.most_common())}. Nothing was published."
        )


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
    return {
        "mapped": {value: found[value] for value in mapping},
        "unknown": unknown,
    }


def check_classes(
    config: PrepareConfig, splits: dict[str, Any], label_values: dict[str, Any]
) -> None:
    """Refuses a class that no review has: the mapping, or the column, is wrong.

    Raises:
      UserError: names the class, and what was found instead.
    """
    found = sum((Counter(split["labels"]) for split in splits.values()), Counter())
    missing = [name for name in config.labels.names if not found[name]]
    if not missing:
        return
    index = config.labels.class_index()
    values = [v for v, place in index.items() if config.labels.names[place] in missing]
    met = {v: n for v, n in label_values["mapped"].items() if n}
    raise UserError(
        f"No usable review has the label {listing(missing)}: the column "
        f"{config.columns.label!r} would have to hold {listing(values)}. It held "
        f"{met | label_values['unknown']}. Correct labels.mapping, labels.names or "
        "columns.label."
    )


def with_empty_shards(
    shards: Iterable[ShardInfo], staging: Path, partitions: int
) -> list[ShardInfo]:
    """Adds the shards of partitions that no text fell into, in order."""
    written = {shard.name: shard for shard in shards}
    everything = []
    for split in SPLITS:
        for partition in range(partitions):
            name = shard_name(split, partition, partitions)
            if name not in written:
                digest = write_shard(os.fspath(staging / name), [])
                written[name] = ShardInfo(split, name, digest, 0, 0, 0, 0, {}, {})
            everything.append(written[name])
    return everything


def describe_split(
    split: str, shards: Iterable[ShardInfo], config: PrepareConfig
) -> dict[str, Any]:
    """Adds up the shards of one split for the manifest."""
    mine = [shard for shard in shards if shard.split == split]
    labels = sum((Counter(shard.labels) for shard in mine), Counter())
    languages = sum((Counter(shard.languages) for shard in mine), Counter())
    return {
        "examples": sum(shard.examples for shard in mine),
        "tokens": sum(shard.tokens for shard in mine),
        "longest": max(shard.longest for shard in mine),
        "truncated": sum(shard.truncated for shard in mine),
        "labels": {name: labels[name] for name in config.labels.names},
        "languages": dict(sorted(languages.items())),
        "shards": [{"name": shard.name, "examples": shard.examples} for shard in mine],
    }
