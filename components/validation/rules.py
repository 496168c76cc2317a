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
    REPAIR_SEPARATOR,
    is_value,
    raw_records,
    reject_batch,
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
    unknown_values,
)

_language_detector = functools.cache(LanguageDetector)  # one a process

EXCLUDED = "left_out.excluded_id"
_VALUE_CHARACTERS = 200  # of a wrong label or language in a reject
_OF_THE_READER = ("raw", "problem", "repairs")
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
        verdict = _Verdict(self.records, batch.column("problem"))
        columns = {
            name: batch.column(name)
            for name in batch.schema.names
            if name not in _OF_THE_READER
        }
        columns["text"] = self._judge_text(columns["text"], verdict)
        columns["language"] = self._judge_language(columns, verdict)
        if self.labels is not None:
            columns["label_index"] = self._judge_label(columns["label"], verdict)
        self._judge_id_and_split(columns, verdict)
        as_given = columns | {"language": batch.column("language")}
        columns["id"] = self._ids(as_given, verdict)
        kept = self._not_excluded(columns["id"])
        usable = pc.and_(kept, pc.is_null(verdict.rule))
        rejected = pc.and_(kept, pc.is_valid(verdict.rule))
        reviews = pa.RecordBatch.from_arrays(
            list(columns.values()), names=list(columns)
        ).filter(usable)
        return Checked(
            reviews=reviews,
            rejects=self._rejects(
                batch.filter(rejected),
                verdict.rule.filter(rejected),
                columns["language"].filter(rejected),
            ),
            excluded=pc.sum(pc.invert(kept), min_count=0).as_py(),
            notes=verdict.notes(usable) + _repairs(batch["repairs"].filter(usable)),
        )

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
        too_long = pc.greater(pc.utf8_length(text), rules.max_characters)
        shortened = functools.partial(texts.shortened, characters=rules.max_characters)
        text = verdict.judge_and_mend("text_too_long", too_long, text, shortened)
        # Of the mended text: what is left may be nothing.
        verdict.judge("text_empty", texts.is_blank(text))
        too_short = pc.less(pc.utf8_length(text), rules.min_characters)
        verdict.judge("text_too_short", too_short)
        return text

    def _judge_language(
        self, columns: dict[str, pa.Array], verdict: "_Verdict"
    ) -> pa.Array:
        language = columns["language"]
        if self.detect_language:
            missing = verdict.still_good(pc.is_null(language))
            told = _language_detector().detect(columns["text"].filter(missing))
            language = pc.replace_with_mask(language, missing, told)
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
        return language

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

    def _ids(self, columns: dict[str, pa.Array], verdict: "_Verdict") -> pa.Array:
        """Derives an id from the content where none is given."""
        ids = columns["id"]
        missing = pc.and_(_is_missing(ids), pc.is_valid(columns["text"]))
        if not self.excluded_ids:
            missing = verdict.still_good(missing)  # nobody asks for a reject's
        if not pc.any(missing).as_py():
            return ids
        names = [n for n in columns if is_value(n) and columns[n].null_count < len(ids)]
        rows = pa.RecordBatch.from_arrays([columns[n] for n in names], names=names)
        derived = map(_content_id, rows.filter(missing).to_pylist())
        return pc.replace_with_mask(ids, missing, pa.array(derived, pa.string()))

    def _not_excluded(self, ids: pa.Array) -> pa.Array:
        if not self.excluded_ids:
            return pc.is_valid(pc.fill_null(ids, ""))
        # A set, because Arrow would hash all excluded ids for each batch.
        excluded = self.excluded_ids
        return pa.array([i not in excluded for i in ids.to_pylist()], pa.bool_())

    def _rejects(
        self, rows: pa.RecordBatch, rule: pa.Array, language: pa.Array
    ) -> pa.RecordBatch:
        if not self.keep_raw:
            return reject_batch(rows, rule)
        value, raw = self._wrong_value(rows, rule, language), raw_records(rows)
        if self.excluded_ids:  # one may stand in a record that can't be read
            unread = pc.is_null(rows.column("id"))
            raw = pc.if_else(unread, pa.scalar(None, raw.type), raw)
        return reject_batch(rows, rule, value=value, raw=raw)

    def _wrong_value(
        self, rows: pa.RecordBatch, rule: pa.Array, language: pa.Array
    ) -> pa.Array:
        """Returns the label or language that broke a rule, null for other rules."""
        value = pc.if_else(
            pc.equal(rule, "language_not_allowed"),
            language,
            pa.scalar(None, pa.string()),
        )
        if self.labels is not None:
            label = unknown_values(rows.column("label"), self.labels)
            of_label = pc.is_in(rule, pa.array(LABEL_RULES))
            value = pc.if_else(of_label, label, value)
        return pc.utf8_slice_codeunits(value, 0, _VALUE_CHARACTERS)


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
        broken = self.still_good(broken)
        self.judge(name, broken)
        if self._rules.action(name) != "repair" or not pc.any(broken).as_py():
            return values
        return pc.replace_with_mask(values, broken, mended(values.filter(broken)))

    def note(self, what: str, rows: pa.Array) -> None:
        """Remembers rows that broke a rule and go on."""
        self._notes.append((what, rows))

    def notes(self, usable: pa.Array) -> Counter:
        """Counts usable rows by what is noted of them."""
        return +Counter(
            {
                what: pc.sum(pc.and_(rows, usable), min_count=0).as_py()
                for what, rows in self._notes
            }
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


def _content_id(row: dict[str, str | None]) -> str:
    given = {name: value for name, value in row.items() if value}
    data = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()[:20]
