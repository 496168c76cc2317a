"""Guesses what the values of a label column mean: its type, classes and mapping."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from reviewbeam.components.common.columns import LABEL_SEPARATOR
from reviewbeam.components.ingestion import guess_words as words
from reviewbeam.components.ingestion.guess_profile import MOST_LABELS, Profile
from reviewbeam.components.ingestion.values import label_value, labels_value

_DELIMITERS = ("|", ";", ",")
_STARS = re.compile(r"(★+)[☆✩]*")
_OUT_OF = re.compile(r"\D*?(-?\d+(?:\.\d+)?)\s*(?:/|out of|von|sur|de|из)\s*\d+\D*")
_AND_WORD = re.compile(r"(-?\d+(?:\.\d+)?)\s*[^\W\d]{1,12}\.?")  # 5 stars, 4 étoiles
_SCALE = ("negative", "neutral", "positive")
_FEW_ROWS = 2  # of a class, on average; with fewer a column is no label
_PARTED = 0.1  # share of the texts with a delimiter, where they hold several labels
_STRAY = 0.002  # share of the rows of a number that isn't of the scale


@dataclasses.dataclass(frozen=True)
class LabelGuess:
    """Labels as `labels` of a config has them, and how often they stand.

    Attributes:
      type: binary, multiclass or multilabel.
      names: the classes, in the order of the model's outputs.
      mapping: value -> class; empty where each value is its class's name.
      delimiter: of a multilabel text; None: another type, or lists.
      values: value -> rows of the sample.
      why: how the values were understood, for a person.
      says_sentiment: the values themselves say negative or positive.
      scale: the values from low to high, where they are one.
    """

    type: str
    names: tuple[str, ...]
    mapping: dict[str, str]
    values: dict[str, int]
    why: str
    delimiter: str | None = None
    says_sentiment: bool = False
    scale: tuple[str, ...] = ()

    def class_of(self, value: str) -> str | None:
        """Returns the class of a value; None: prepare will reject its rows."""
        if self.mapping:
            return self.mapping.get(value)
        return value if value in self.names else None

    @property
    def classes(self) -> dict[str, int]:
        """Class -> rows of the sample."""
        found = dict.fromkeys(self.names, 0)
        for value, rows in self.values.items():
            if (name := self.class_of(value)) is not None:
                found[name] += rows
        return found

    def classes_of(self, value: object) -> list[str | None]:
        """Returns the class of each label of a row; None for one that has none."""
        if value is None:
            return [None]
        if self.type == "multilabel":
            text, wrong = labels_value(value, self.delimiter or ",")
            found = (text or "").split(LABEL_SEPARATOR)[1:]
            return [None] if wrong else [self.class_of(item) for item in found]
        text, wrong = label_value(value)
        return [None if wrong else self.class_of(text or "")]

    def is_labelled(self, value: object) -> bool:
        """Tells whether a row with this value, or None, has labels that are known."""
        return None not in self.classes_of(value)


def guess_labels(profile: Profile) -> LabelGuess | None:
    """Guesses the labels of a column; None: its values are none, or all the same."""
    if not profile.values:
        return None
    if profile.lists:
        return _several(profile, None)
    counts = profile.counts or Counter()
    used = {v: n for v, n in counts.items() if v.lower() not in words.NO_VALUES and v}
    is_few = len(used) >= 2 and sum(used.values()) >= _FEW_ROWS * len(used)
    if is_few and (numbers := _numbers(used)):
        return _of_numbers(profile.name, counts, numbers)
    for delimiter in _DELIMITERS:
        parts = sum(delimiter in text for text in profile.texts)
        if parts >= _PARTED * len(profile.values):
            return _several(profile, delimiter)
    if not is_few:
        return None
    return _of_words(profile.name, counts, used)


def _several(profile: Profile, delimiter: str | None) -> LabelGuess | None:
    counts: Counter = Counter()
    rows = 0
    for value in profile.values:
        text, wrong = labels_value(value, delimiter or ",")
        if wrong:
            return None
        found = dict.fromkeys((text or "").split(LABEL_SEPARATOR)[1:])
        counts.update(list(found))
        rows += bool(found)
        if len(counts) > MOST_LABELS:
            return None
    if len(counts) < 2 or counts.total() < _FEW_ROWS * len(counts):
        return None
    each = counts.total() / max(rows, 1)
    how = f"split at {delimiter!r}" if delimiter else "lists"
    return LabelGuess(
        "multilabel",
        tuple(sorted(counts)),
        {},
        dict(counts.most_common()),
        f"several labels of a review ({how}, {each:.1f} on average)",
        delimiter=delimiter,
    )


def _numbers(values: Mapping[str, int]) -> dict[str, float] | None:
    """Value -> the number that it says; None: not all of them say one."""
    found = {value: number_of(value) for value in values}
    return None if None in found.values() else found


def number_of(value: str) -> float | None:
    """Returns the number that a value says, as `4`, `4/5`, `★★★★` and `4 stars` do."""
    value = value.strip()
    if stars := _STARS.fullmatch(value):
        return float(len(stars[1]))
    for pattern in (_OUT_OF, _AND_WORD):
        if match := pattern.fullmatch(value):
            return float(match[1])
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        return None
    return number if abs(number) < 1e6 else None


def _of_numbers(
    column: str, counts: Counter, numbers: Mapping[str, float]
) -> LabelGuess | None:
    total = sum(counts[value] for value in numbers)
    least = _STRAY * total if total >= 500 else 0
    kept = {v: n for v, n in numbers.items() if counts[v] > least}
    ordered = sorted(kept, key=lambda value: (kept[value], value))
    levels = sorted(set(kept.values()))
    if len(levels) < 2 or len(levels) > MOST_LABELS:
        return None
    if len(levels) == 2:
        return _of_two(column, counts, kept)
    ends = _ends(column, levels)
    if ends is None:
        if any(level % 1 for level in levels):
            return None  # measured, not chosen
        return _as_they_are(counts, ordered, "classes as they stand")
    low, high = ends
    whole = {str(n): float(n) for n in range(low, high + 1)}
    mapping = {}
    plain = set(ordered) <= set(whole)
    for value, number in (whole if plain else kept).items():
        part = (number - low) / (high - low)
        mapping[value] = _SCALE[0 if part < 0.4 else 1 if part <= 0.6 else 2]
    seen = {mapping[value] for value in ordered}
    names = tuple(name for name in _SCALE if name in seen)
    mapping = {value: name for value, name in mapping.items() if name in names}
    return LabelGuess(
        "binary" if len(names) == 2 and "neutral" not in names else "multiclass",
        names,
        mapping,
        _sorted(counts, ordered),
        f"a scale from {low} to {high}",
        scale=tuple(mapping),
    )


def _ends(column: str, levels: Sequence[float]) -> tuple[int, int] | None:
    """The ends of the scale that numbers are of; None: they may be just names."""
    if any(level * 2 % 1 for level in levels):
        return None
    low, high = levels[0], levels[-1]
    full = set(levels) >= {1, 5} and len(levels) >= 4
    if not (words.named(column, words.SCALE) or (low == 1 and high <= 10 and full)):
        return None
    if (low, high) in ((-1, 1), (0, 2), (1, 3), (0, 4)):
        return int(low), int(high)
    for ends in ((1, 5), (0, 5), (1, 10), (0, 10), (-2, 2), (-5, 5)):
        if ends[0] <= low and high <= ends[1]:
            return ends
    return None


def _of_two(column: str, counts: Counter, kept: Mapping[str, float]) -> LabelGuess:
    low = min(kept.values())
    polar = words.named(column, words.SCALE | {"label", "labels", "target", "y"})
    if polar:
        names = ("negative", "positive")
    elif set(kept.values()) == {0.0, 1.0}:
        names = _named_after(column)
    else:
        names = tuple(sorted(kept, key=lambda value: kept[value])[:2])
    mapping = {value: names[number != low] for value, number in kept.items()}
    mapping = {} if all(v == name for v, name in mapping.items()) else mapping
    ordered = sorted(kept, key=lambda value: kept[value])
    return LabelGuess(
        "binary", names, mapping, _sorted(counts, ordered), "one of two numbers"
    )


def _named_after(column: str) -> tuple[str, str]:
    """Two classes named after a column, as in `is_spam`: not_spam, spam."""
    found = [word for word in words.words_of(column) if word not in ("is", "has")]
    name = "_".join(found) or "yes"
    return f"not_{name}", name


def _of_words(
    column: str, counts: Counter, used: Mapping[str, int]
) -> LabelGuess | None:
    variants: dict[str, list[str]] = {}  # folded -> as they stand, the commonest first
    for value in sorted(used, key=lambda v: (-used[v], v.swapcase())):
        variants.setdefault(value.casefold(), []).append(value)
    if len(variants) < 2:
        return None
    folded = sorted(variants)
    places = {word: words.SENTIMENT_OF.get(word) for word in folded}
    says_sentiment = None not in places.values() and len(set(places.values())) > 1
    if says_sentiment:
        folded.sort(key=lambda word: places[word])
    for pair in words.YES_NO:
        if set(folded) == set(pair):
            names = _named_after(column)
            by_name = zip(names, pair, strict=True)
            mapping = {v: name for name, word in by_name for v in variants[word]}
            ordered = sorted(mapping, key=lambda value: names.index(mapping[value]))
            return LabelGuess(
                "binary", names, mapping, _sorted(counts, ordered), "yes or no"
            )
    names = tuple(variants[word][0] for word in folded)
    mapping = {value: variants[w][0] for w in folded for value in variants[w]}
    is_binary = says_sentiment and len(names) == 2
    return LabelGuess(
        "binary" if is_binary else "multiclass",
        names,
        {} if len(mapping) == len(names) else mapping,
        _sorted(counts, list(mapping)),
        "sentiments, by their words" if says_sentiment else "classes as they stand",
        says_sentiment=says_sentiment,
    )


def _as_they_are(counts: Counter, ordered: Sequence[str], why: str) -> LabelGuess:
    kind = "multiclass"
    return LabelGuess(kind, tuple(ordered), {}, _sorted(counts, ordered), why)


def _sorted(counts: Counter, ordered: Sequence[str]) -> dict[str, int]:
    """The counts, those that have a class first, in their order."""
    rest = [value for value, _ in counts.most_common() if value not in ordered]
    return {value: counts[value] for value in (*ordered, *rest)}
