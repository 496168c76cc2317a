"""Record rules: which rows are usable reviews, and why the others are not."""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import (
    ORIGIN,
    RAW_BYTES,
    REJECTS,
    REPAIR_SEPARATOR,
    raw_of_values,
    select_columns,
    value_columns,
    with_columns,
)
from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.language_detector import LanguageDetector
from reviewbeam.components.common.prepare_config import LabelRules, SplitRules
from reviewbeam.components.validation import texts
from reviewbeam.components.validation.labels import (
    LABEL_OUT_OF_RANGE,
    LABEL_RULES,
    LABEL_UNKNOWN,
    class_indices,
    out_of_range,
)

_language_detector = functools.cache(LanguageDetector)  # one a process

EXCLUDED = "left_out.excluded_id"
_VALUE_CHARACTERS = 200  # of a wrong label or language in a reject
_RULES_ON_A_VALUE = (*LABEL_RULES, "language_not_allowed")
_DONE = {"repair": "repaired", "allow": "allowed"}


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the rules made of a batch; reviews, rejects and excluded are all rows.

    Attributes:
      reviews: the usable rows without `raw`, `problem` and `repairs`, the text
        trimmed of white space, an id for every row and, with label rules,
        `label_index` (int32, or list<int32> for multilabel) at the end.
      rejects: under `columns.REJECTS`.
      excluded: rows with an id that is to be left out.
      notes: `repaired.<rule>` or `allowed.<rule>` -> usable rows that broke it.
    """

    reviews: pa.RecordBatch
    rejects: pa.RecordBatch
    excluded: int
    notes: Counter

    def rejected(self) -> dict[str, int]:
        """Returns how often each rule was broken."""
        counts = pc.value_counts(self.rejects.column("rule")).to_pylist()
        return {item["values"]: item["counts"] for item in counts}

    def outcomes(self) -> Counter:
        """Returns what became of the rows that are not just usable."""
        outcomes = Counter({EXCLUDED: self.excluded}) + self.notes
        outcomes.update({f"rejected.{k}": n for k, n in self.rejected().items()})
        return outcomes


@dataclasses.dataclass(frozen=True)
class ReviewRules:
    """The record rules of a job.

    Attributes:
      records: what a usable review is.
      labels: the classes; without them, labels are left alone.
      split: tells which columns a row needs to be given a split.
      detect_language: tell a missing language from the text.
      excluded_ids: of reviews that are left out.
      keep_raw: a reject holds its record as it was.
    """

    records: RecordRules
    labels: LabelRules | None = None
    split: SplitRules | None = None
    detect_language: bool = False
    excluded_ids: frozenset[str] = frozenset()
    keep_raw: bool = True

    def apply(self, batch: pa.RecordBatch) -> Checked:
        """Divides rows as they were read, under `columns.review_schema`."""
        batch, excluded = self._without_excluded(batch)
        verdict = _Verdict(self.records, batch.column("problem"))
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name in ("raw", "problem"):
            columns.pop(name)
        repairs = columns.pop("repairs")
        columns["text"] = self._judge_text(columns["text"], verdict)
        self._judge_language(columns, verdict)
        if self.labels is not None:
            columns["label_index"] = self._judge_label(columns["label"], verdict)
        self._judge_id_and_split(columns, verdict)
        rejects = _rejects(batch, verdict.rule, self.keep_raw)
        usable = pc.is_null(verdict.rule)
        reviews = pa.RecordBatch.from_arrays(
            list(columns.values()), names=list(columns)
        ).filter(usable)
        reviews = _with_ids(reviews)
        notes = verdict.notes() + _repairs(repairs.filter(usable))
        if self.excluded_ids:  # derived ids are known now
            reviews, more = self._without_excluded(reviews)
            excluded += more
        return Checked(reviews, rejects, excluded, notes)

    def _judge_text(self, text: pa.Array, verdict: "_Verdict") -> pa.Array:
        rules = self.records
        verdict.judge("text_missing", pc.is_null(text))
        for name, broken, mended in (
            ("nul_characters", texts.has_nul, texts.without_nul),
            ("control_characters", texts.has_control, texts.without_control),
            ("not_nfc", texts.is_not_nfc, texts.composed),
        ):
            text = verdict.judge_and_mend(name, broken(text), text, mended)
        text = pc.utf8_trim_whitespace(text)
        verdict.judge("text_empty", texts.is_blank(text))
        length = pc.utf8_length(text)
        verdict.judge("text_too_short", pc.less(length, rules.min_characters))
        shortened = functools.partial(texts.shortened, characters=rules.max_characters)
        too_long = pc.greater(length, rules.max_characters)
        return verdict.judge_and_mend("text_too_long", too_long, text, shortened)

    def _judge_language(self, columns: dict[str, pa.Array], verdict: "_Verdict"):
        language = columns["language"]
        if self.detect_language:
            missing = verdict.still_good(pc.is_null(language))
            told = _language_detector().detect(columns["text"].filter(missing))
            language = pc.replace_with_mask(language, missing, told)
            columns["language"] = language
            verdict.note(
                "repaired.language_missing", pc.and_(missing, pc.is_valid(language))
            )
        verdict.judge("language_missing", pc.is_null(language))
        if self.records.languages is not None:
            allowed = pa.array(self.records.languages, pa.string())
            unknown = pc.invert(pc.is_in(language, allowed))
            verdict.judge(
                "language_not_allowed", pc.and_(unknown, pc.is_valid(language))
            )

    def _judge_label(self, label: pa.Array, verdict: "_Verdict") -> pa.Array:
        missing = pc.is_null(label)
        if self.labels.type != "multilabel":  # where it means that no class fits
            missing = pc.or_kleene(missing, pc.equal(label, ""))
        verdict.judge("label_missing", missing)
        index = class_indices(label, self.labels)
        unknown = pc.is_null(index)
        if pc.any(unknown).as_py():
            verdict.judge(LABEL_OUT_OF_RANGE, out_of_range(label, self.labels))
            verdict.judge(LABEL_UNKNOWN, unknown)
        return index

    def _judge_id_and_split(self, columns: dict[str, pa.Array], verdict: "_Verdict"):
        verdict.judge("id_missing", _is_missing(columns["id"]))
        split = self.split
        if split is not None and split.time_column:
            verdict.judge("time_missing", pc.is_null(columns["time"]))
        if split is not None and split.column:
            given = columns["given_split"]
            verdict.judge("split_missing", _is_missing(given))
            known = pc.is_in(given, pa.array(list(split.values), pa.string()))
            verdict.judge("split_unknown", pc.invert(known))

    def _without_excluded(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        if not self.excluded_ids:
            return batch, 0
        kept = pc.invert(pc.is_in(batch.column("id"), self._excluded))
        found = batch.filter(kept)
        return found, batch.num_rows - found.num_rows

    @functools.cached_property
    def _excluded(self) -> pa.Array:
        return pa.array(sorted(self.excluded_ids), pa.string())


class _Verdict:
    """Which rule each row of a batch broke first, and which ones it may break."""

    def __init__(self, rules: RecordRules, problem: pa.Array):
        self.rule = problem  # string; null for a row that is usable so far
        self._rules = rules
        self._notes: list[tuple[str, pa.Array]] = []

    def still_good(self, mask: pa.Array) -> pa.Array:
        """Returns a mask of rows without those that are rejects already."""
        return pc.and_(pc.is_null(self.rule), pc.fill_null(mask, False))

    def judge(self, name: str, broken: pa.Array) -> None:
        """Applies a rule: bool [rows], null for a row that it doesn't concern."""
        broken = self.still_good(broken)
        if not pc.any(broken).as_py():
            return
        action = self._rules.action(name)
        if action == "reject":
            self.rule = pc.if_else(broken, pa.scalar(name), self.rule)
        else:
            self.note(f"{_DONE[action]}.{name}", broken)

    def judge_and_mend(
        self, name: str, broken: pa.Array, values: pa.Array, mended: Callable
    ) -> pa.Array:
        """Applies a rule; returns the values, mended where its action says so."""
        self.judge(name, broken)
        if self._rules.action(name) != "repair" or not pc.any(broken).as_py():
            return values
        return mended(values)

    def note(self, what: str, rows: pa.Array) -> None:
        """Remembers rows that broke a rule and go on."""
        self._notes.append((what, rows))

    def notes(self) -> Counter:
        """Counts the rows that are still usable, by what is noted of them."""
        return +Counter(
            {what: pc.sum(self.still_good(rows)).as_py() for what, rows in self._notes}
        )


def _repairs(column: pa.Array) -> Counter:
    """Counts what the reader mended."""
    counts: Counter = Counter()
    for pair in pc.value_counts(column.drop_null()).to_pylist():
        for rule in set(pair["values"].split(REPAIR_SEPARATOR)):
            counts[f"repaired.{rule}"] += pair["counts"]
    return counts


def _is_missing(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(column, ""), True)


def _rejects(batch: pa.RecordBatch, rule: pa.Array, keep_raw: bool) -> pa.RecordBatch:
    rejected = pc.is_valid(rule)
    rule, rows = rule.filter(rejected), batch.filter(rejected)
    raws = values = [None] * rows.num_rows
    if keep_raw:
        values = [
            row[name.split("_")[0]][:_VALUE_CHARACTERS]
            if name in _RULES_ON_A_VALUE
            else None
            for row, name in zip(rows.to_pylist(), rule.to_pylist(), strict=True)
        ]
        raws = [
            of_values if raw is None else raw[:RAW_BYTES]  # Parquet has no lines
            for raw, of_values in zip(
                rows.column("raw").to_pylist(), raw_of_values(rows), strict=True
            )
        ]
    return pa.RecordBatch.from_arrays(
        [
            *(rows.column(field.name) for field in ORIGIN),
            rule,
            pa.array(values, pa.string()),
            pa.array(raws, pa.binary()),
        ],
        schema=REJECTS,
    )


def _with_ids(reviews: pa.RecordBatch) -> pa.RecordBatch:
    """Derives an id from the content where none is given."""
    missing = _is_missing(reviews.column("id"))
    if not pc.any(missing).as_py():
        return reviews
    content = select_columns(reviews, value_columns(reviews)).to_pylist()
    derived = pa.array(map(_content_id, content), pa.string())
    return with_columns(reviews, id=pc.if_else(missing, derived, reviews.column("id")))


def _content_id(row: dict[str, str | None]) -> str:
    given = {name: value for name, value in row.items() if value}
    data = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()[:20]
