"""Record rules: which rows are usable reviews, and why the others are not."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import (
    KEEP_PREFIX,
    ORIGIN,
    REJECTS,
    VALUES,
    select_columns,
    with_columns,
)
from reviewbeam.components.common.job_configs import LabelRules, RecordRules

# A character that shows: neither white space nor control, format or private use.
_VISIBLE = r"[^\p{C}\p{Z}\s]"
_RAW_BYTES = 2**16  # of a record in a reject; its place tells the rest
_VALUE_CHARACTERS = 200  # of a wrong label or language in a reject
LABEL_UNKNOWN = "label_unknown"
_RULES_ON_A_VALUE = (LABEL_UNKNOWN, "language_not_allowed")
_UNKNOWN_LABELS = 30  # counted in a batch, so that free text can't flood the counts


@dataclasses.dataclass(frozen=True)
class ReviewRules:
    """The record rules of a job; without label rules, labels are left alone."""

    records: RecordRules
    labels: LabelRules | None = None

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Divides rows as they were read into usable reviews and rejects.

        Args:
          batch: under `columns.review_schema`.

        Returns:
          Reviews: the batch's usable rows without `raw` and `problem`, the text
          trimmed of white space, an id for every row and, with label rules,
          `label_index` (int32) at the end; and rejects under `columns.REJECTS`.
          Together they are all rows.
        """
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns["text"] = pc.utf8_trim_whitespace(columns["text"])
        rule = columns.pop("problem")
        for name, broken in self._tests(columns):
            broken = pc.and_(pc.is_null(rule), pc.fill_null(broken, False))
            rule = pc.if_else(broken, pa.scalar(name), rule)
        usable = pc.is_null(rule)
        rejects = _rejects(batch, rule)
        columns.pop("raw")
        reviews = pa.RecordBatch.from_arrays(
            list(columns.values()), names=list(columns)
        ).filter(usable)
        if self.labels is not None:
            index = class_indices(reviews.column("label"), self.labels)
            reviews = with_columns(reviews, label_index=index)
        return _with_ids(reviews), rejects

    def _tests(self, columns: dict[str, pa.Array]) -> Iterable[tuple[str, pa.Array]]:
        """Yields each rule's name and the rows that break it, in order of rank."""
        text, rules = columns["text"], self.records
        length = pc.utf8_length(text)
        yield "text_missing", pc.is_null(text)
        yield "text_empty", pc.invert(pc.match_substring_regex(text, _VISIBLE))
        yield "text_too_short", pc.less(length, rules.min_characters)
        yield "text_too_long", pc.greater(length, rules.max_characters)
        if rules.languages is not None:
            language = columns["language"]
            yield "language_missing", pc.is_null(language)
            allowed = pa.array(rules.languages, pa.string())
            yield "language_not_allowed", pc.invert(pc.is_in(language, allowed))
        if self.labels is not None:
            label = columns["label"]
            yield "label_missing", pc.or_kleene(pc.is_null(label), pc.equal(label, ""))
            yield LABEL_UNKNOWN, pc.is_null(class_indices(label, self.labels))


def class_indices(labels: pa.Array, rules: LabelRules) -> pa.Array:
    """Returns the class index (int32) of each label; null for an unknown one."""
    index = rules.class_index()
    place = pc.index_in(labels, pa.array(list(index), pa.string()))
    return pa.array(list(index.values()), pa.int32()).take(place)


def count_rules(rejects: pa.RecordBatch) -> dict[str, int]:
    """Returns how often each rule was broken."""
    counts = pc.value_counts(rejects.column("rule")).to_pylist()
    return {item["values"]: item["counts"] for item in counts}


def count_labels(reviews: pa.RecordBatch, rejects: pa.RecordBatch) -> dict[str, int]:
    """Counts the label values of usable rows, and the commonest unknown ones."""
    unknown = rejects.filter(pc.equal(rejects.column("rule"), LABEL_UNKNOWN))
    known = Counter(reviews.column("label").to_pylist())
    values = Counter(unknown.column("value").to_pylist()).most_common(_UNKNOWN_LABELS)
    return {label: rows for label, rows in [*known.items(), *values] if label}


def _rejects(batch: pa.RecordBatch, rule: pa.Array) -> pa.RecordBatch:
    rejected = pc.is_valid(rule)
    rule, rows = rule.filter(rejected), batch.filter(rejected)
    raws, values = [], []
    for row, name in zip(rows.to_pylist(), rule.to_pylist(), strict=True):
        subject = row[name.split("_")[0]] if name in _RULES_ON_A_VALUE else None
        values.append(subject and subject[:_VALUE_CHARACTERS])
        raw = row["raw"]
        if raw is None:  # Parquet has no line: the values stand for it
            raw = orjson.dumps({name: row[name] for name in _value_columns(batch)})
        raws.append(raw[:_RAW_BYTES])
    return pa.RecordBatch.from_arrays(
        [
            *(rows.column(field.name) for field in ORIGIN),
            rule,
            pa.array(values, pa.string()),
            pa.array(raws, pa.binary()),
        ],
        schema=REJECTS,
    )


def _value_columns(batch: pa.RecordBatch) -> list[str]:
    return [n for n in batch.schema.names if n in VALUES or n.startswith(KEEP_PREFIX)]


def _with_ids(reviews: pa.RecordBatch) -> pa.RecordBatch:
    """Derives an id from the content where none is given."""
    ids = reviews.column("id")
    missing = pc.or_kleene(pc.is_null(ids), pc.equal(ids, ""))
    if not pc.any(missing).as_py():
        return reviews
    content = select_columns(reviews, _value_columns(reviews)).to_pylist()
    derived = [
        hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()[:20]
        for row in content
    ]
    ids = pc.if_else(pc.fill_null(missing, True), pa.array(derived, pa.string()), ids)
    return with_columns(reviews, id=ids)
