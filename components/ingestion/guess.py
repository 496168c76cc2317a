"""Guesses what the configs of a corpus must say, from a sample of its rows."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from reviewbeam.components.common.errors import UserError, listing, nearest
from reviewbeam.components.ingestion import guess_columns as columns
from reviewbeam.components.ingestion.checks import shown_name
from reviewbeam.components.ingestion.guess_columns import GIVEN, Choice
from reviewbeam.components.ingestion.guess_ids import guess_id, repeated_ids
from reviewbeam.components.ingestion.guess_labels import LabelGuess, guess_labels
from reviewbeam.components.ingestion.guess_mixtures import FileClasses, classes_apart
from reviewbeam.components.ingestion.guess_profile import Profile, profile
from reviewbeam.components.ingestion.sample import Sample, SampledFile
from reviewbeam.components.ingestion.sample_rows import Row

MAX_CHARACTERS = 20_000  # of a text, in the configs that are written
FEWEST = 30  # different labelled texts; with fewer, a split may come out empty
_DETECTED = 500  # texts whose language is detected
_MIXED = 0.03  # share of the second language of a corpus that counts as mixed
_SHOWN_LANGUAGES = 60

Detect = Callable[[Sequence[str]], Sequence[str | None]]


@dataclasses.dataclass(frozen=True)
class CorpusGuess:
    """What was guessed.

    Attributes:
      roles: text, label, language, id, group, time and split -> the column.
      labels: what the values of the label column mean.
      languages: language -> rows of the sample, of the column or as detected.
      detects: the language is to be told from the text.
      format: of all files, or auto: their names tell it.
      delimiter: of CSV.
      rejects: rule -> share of the rows that `prepare` will reject by it.
      texts: different texts that have labels, in the sample.
      max_tokens: that most texts fit in.
      damaged: a file that ends before its content does; None: there is none.
      slices: a column to measure slices by; None: no column suits.
      repeated_ids: ids that stand more than once in the sample, and all ids.
      apart: two files whose labels have nothing in common; None: there are none.
    """

    roles: dict[str, Choice]
    labels: LabelGuess | None
    languages: dict[str, int]
    detects: bool
    format: str
    delimiter: str
    rejects: dict[str, float]
    texts: int
    max_tokens: int
    damaged: str | None
    slices: str | None
    repeated_ids: tuple[int, int]
    apart: tuple[FileClasses, FileClasses] | None

    def column(self, role: str) -> str | None:
        """Returns the column of a role."""
        return self.roles[role].column

    @property
    def can_train(self) -> bool:
        """Whether there are labels, and enough texts that have them."""
        return self.labels is not None and self.texts >= FEWEST

    def max_rejects(self, *, of_labels: bool) -> float:
        """Returns a bound for the rejects that leaves room above those expected.

        Args:
          of_labels: also of those that labels cause.
        """
        expected = sum(
            share
            for rule, share in self.rejects.items()
            if of_labels or not rule.startswith("label")
        )
        if expected <= 0.02:
            return 0.05
        return min(math.ceil((1.25 * expected + 0.05) * 20) / 20, 1.0)


def guess_corpus(
    sample: Sample, given: Mapping[str, str], detect: Detect | None
) -> CorpusGuess:
    """Guesses columns, labels, languages and settings.

    Args:
      sample: rows from all over the corpus.
      given: role -> column, which the user has said.
      detect: gives the languages of texts; None: there is no detector.

    Raises:
      UserError: no column can be the text, a given one isn't there or has no
        labels, or the files can't be read by one config.
    """
    file_format, delimiter = _reading(sample.files)
    rows = sample.rows
    names = sample.columns()
    _check_given(given, names, sample.partial_columns())
    profiles = {name: profile(name, rows) for name in names}
    roles, labels = _roles(profiles, given)
    if roles["text"].column is None:
        raise _no_text(profiles, given)
    text = roles["text"].column
    texts = [value for row in rows if isinstance(value := row.get(text), str)]
    language, identity = roles["language"].column, roles["id"].column
    taken = {choice.column for choice in roles.values()}
    detected = language is None and detect is not None and _detected(texts, detect)
    if language:
        counts = profiles[language].counts or Counter()
        languages = dict(counts.most_common(_SHOWN_LANGUAGES))
    else:
        languages = dict(detected or {})
    return CorpusGuess(
        roles=roles,
        labels=labels,
        languages=languages,
        detects=bool(detected) and _is_mixed(detected),
        format=file_format,
        delimiter=delimiter,
        rejects=_rejects(sample, rows, roles, labels),
        texts=_labelled_texts(rows, roles, labels),
        max_tokens=_max_tokens(texts),
        damaged=next((f.path for f in sample.files if f.damaged), None),
        slices=roles["group"].column
        or columns.guess_slice([p for p in profiles.values() if p.name not in taken]),
        repeated_ids=repeated_ids(profiles[identity]) if identity else (0, 0),
        apart=labels and classes_apart(sample.files, roles["label"].column, labels),
    )


def _check_given(
    given: Mapping[str, str], names: Sequence[str], partial: Sequence[str]
) -> None:
    role_of: dict[str, str] = {}
    for role, column in given.items():
        if role_of.setdefault(column, role) != role:
            raise UserError(
                f"--{role_of[column]} and --{role} both name the column {column!r}: "
                "a column has one role. Leave out one of them."
            )
        if column in names:
            continue
        if column in partial:
            raise UserError(
                f"Only some of the files have the column {column!r}. Give --input "
                "those that do."
            )
        shown = [shown_name(name) for name in names]
        raise UserError(
            f"No column {column!r}{nearest(column, shown)}. Columns that all files "
            f"have: {listing(shown)}."
        )


def _no_text(profiles: Mapping[str, Profile], given: Mapping[str, str]) -> UserError:
    taken = {column: f"the {role}, as you said" for role, column in given.items()}
    seen = [
        f"{shown_name(name)!r} ({taken.get(name) or columns.why_no_text(found)})"
        for name, found in profiles.items()
    ]
    return UserError(
        "No column looks like the text of reviews, which is prose that seldom "
        f"repeats. Columns that all files have: {', '.join(seen[:12]) or 'none'}"
        f"{', …' * (len(seen) > 12)}. Say which it is: --text COLUMN."
    )


def _roles(
    profiles: Mapping[str, Profile], given: Mapping[str, str]
) -> tuple[dict[str, Choice], LabelGuess | None]:
    """The column of each role; a column has one role at most."""
    roles = {role: Choice(column, GIVEN) for role, column in given.items()}
    labels = None

    def free() -> list[Profile]:
        taken = {choice.column for choice in roles.values()}
        return [p for p in profiles.values() if p.name not in taken]

    if "text" not in roles:
        roles["text"] = columns.guess_text(free())
    if "language" not in roles:
        roles["language"] = columns.guess_language(free())
    if "label" not in roles:
        roles["label"], labels = columns.guess_label(free())
    else:
        labels = guess_labels(profiles[given["label"]])
        if labels is None:
            raise UserError(
                f"The column {given['label']!r} can't hold labels: from 2 to 100 "
                "different values were expected, each in some rows. Leave out --label "
                "to write a config for score alone."
            )
    if "id" not in roles:
        roles["id"] = guess_id(free())
    for role in ("split", "group", "time"):
        roles[role] = getattr(columns, f"guess_{role}")(free())
    return roles, labels


def _reading(files: Sequence[SampledFile]) -> tuple[str, str]:
    """Returns `format` and `csv_delimiter` of a config that reads all files."""
    read = [file for file in files if file.read]
    found = {file.format.found for file in read}
    delimiters = {f.format.delimiter: f.path for f in read if f.format.found == "csv"}
    if len(delimiters) > 1:
        (one, first), (other, second), *_ = delimiters.items()
        raise UserError(
            f"{first} has {one!r} between its fields, {second} has {other!r}: one "
            "config reads one kind of CSV. Call init for each kind, or convert them."
        )
    file_format = "auto"
    if untold := [file for file in read if file.format.named != file.format.found]:
        if len(found) > 1:
            raise UserError(
                f"{untold[0].path} is {untold[0].format.found}, which its name doesn't "
                f"tell, and other files are not: {listing(sorted(found))}. Rename it."
            )
        (file_format,) = found
    return file_format, next(iter(delimiters), ",") or ","


def _detected(texts: Sequence[str], detect: Detect) -> Counter:
    step = max(len(texts) // _DETECTED, 1)
    found = detect(texts[::step])
    return Counter(language for language in found if language)


def _is_mixed(languages: Counter) -> bool:
    second = languages.most_common(2)[1:]
    return bool(second) and second[0][1] >= _MIXED * languages.total()


def _rejects(
    sample: Sample,
    rows: Sequence[Row],
    roles: Mapping[str, Choice],
    labels: LabelGuess | None,
) -> dict[str, float]:
    """Rule -> share of all rows."""
    read = sum(file.read for file in sample.files)
    broken = sum((file.problems for file in sample.files), Counter())
    shares = {rule: count / read for rule, count in broken.most_common()}
    counts: Counter = Counter()
    for row in rows:
        rule = _broken_rule(row, roles, labels)
        counts[rule] += rule is not None
    left = 1 - broken.total() / read
    for rule, count in counts.most_common():
        if count:
            shares[rule] = left * count / len(rows)
    return shares


def _broken_rule(
    row: Row, roles: Mapping[str, Choice], labels: LabelGuess | None
) -> str | None:
    text = row.get(roles["text"].column)
    if text is None:
        return "text_missing"
    if not isinstance(text, str):
        return "text_wrong_type"
    if not text.strip():
        return "text_empty"
    if len(text.strip()) > MAX_CHARACTERS:
        return "text_too_long"
    if labels is None:
        return None
    label = row.get(roles["label"].column)
    if label is None or (isinstance(label, str) and not label.strip()):
        return "label_missing"
    return None if labels.is_labelled(label) else "label_unknown"


def _labelled_texts(
    rows: Sequence[Row], roles: Mapping[str, Choice], labels: LabelGuess | None
) -> int:
    text = roles["text"].column
    usable = (row for row in rows if _broken_rule(row, roles, labels) is None)
    return len({" ".join(row[text].casefold().split()) for row in usable})


def _max_tokens(texts: Sequence[str]) -> int:
    """128 where nine of ten texts fit, at some four characters a token, else 256."""
    lengths = sorted(map(len, texts))
    return 128 if not lengths or lengths[len(lengths) * 9 // 10] <= 450 else 256
