"""Guesses the column of ids, by its name and by values that don't repeat."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

from reviewbeam.components.ingestion import guess_words as words
from reviewbeam.components.ingestion.guess_columns import Choice, best
from reviewbeam.components.ingestion.guess_profile import Profile
from reviewbeam.components.ingestion.values import time_value

_LONGEST = 64  # characters of an id
_DECIMALS = re.compile(r"\d*(?:[.,]\d+)+")
_SIGNS = "+-$€£¥₹₽₩%"  # before or behind a number that measures something
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(T.*)?")
_EPOCHS = [range(10**9 * unit, 4 * 10**9 * unit) for unit in (1, 10**3, 10**6, 10**9)]


def guess_id(profiles: Sequence[Profile]) -> Choice:
    """Chooses the column of ids: its name says so, and nearly no value repeats.

    The weaker the name says so, the less may repeat or be missing. Columns that have
    such values under another name are candidates, in their order.
    """
    choice = best(profiles, _rank)
    fit = [choice.column, *choice.others]
    more = [p.name for p in profiles if p.name not in fit and _may_be_id(p)]
    others = (*choice.others, *more)
    different = {p.name: p.unique for p in profiles if p.name in others}
    return dataclasses.replace(choice, others=others, different=different)


def repeated_ids(profile: Profile) -> tuple[int, int]:
    """Returns how many values stand more than once, and how many there are."""
    counts = Counter(map(str, profile.values))
    return sum(rows > 1 for rows in counts.values()), len(counts)


def _rank(profile: Profile) -> float:
    found = words.words_of(profile.name)
    if _is_of_another(profile.name) or not _are_scalars(profile):
        return 0.0
    is_reviews = not words.TEXT.isdisjoint(found)
    if words.named(profile.name, words.ID):
        if profile.unique < 0.98 or profile.filled < 0.9:
            return 0.0
        return 3.0 if len(found) == 1 or is_reviews else 2.0
    if profile.unique < 1.0 or profile.filled < 1.0 or not _sounds_like_id(profile):
        return 0.0
    if not _are_ids(profile):
        return 0.0
    return 2.5 if is_reviews else 1.5


def _may_be_id(profile: Profile) -> bool:
    """Tells whether a column that isn't taken is worth a look."""
    named = words.named(profile.name, words.ID) or _sounds_like_id(profile)
    if profile.unique < (0.5 if named else 0.98) or profile.filled < 0.9:
        return False
    if words.named(profile.name, words.NO_ID | words.TIME):
        return False
    if not _are_scalars(profile) or not _are_ids(profile):
        return False
    return named or _are_numbered(profile)


def _sounds_like_id(profile: Profile) -> bool:
    """Tells whether a name is one such as `review_no`, `Bestellnummer` or `ref`."""
    if words.named(profile.name, words.NO_ID | words.TIME):
        return False
    found = words.words_of(profile.name)
    ends = found and found[-1].endswith(words.ID_ENDS)
    return bool(ends) or words.named(profile.name, words.NUMBER)


def _is_of_another(column: str) -> bool:
    """Tells whether a name is one of a product's or a customer's id."""
    found = words.words_of(column)
    parts = words.named(column, words.GROUP)
    return parts or any(stem in word for word in found for stem in words.GROUP_STEMS)


def _are_scalars(profile: Profile) -> bool:
    return all(
        isinstance(value, str | int) and not isinstance(value, bool)
        for value in profile.values
    )


def _are_ids(profile: Profile) -> bool:
    """Tells whether values are short and of one word, and no dates, prices or texts."""
    shown = [str(value).strip() for value in profile.values]
    if not shown or profile.prose > 0 or not all(map(_is_short, shown)):
        return False
    if any(_is_measure(text) or _DATE.fullmatch(text) for text in shown):
        return False
    # 20240501 is a date, and 10000001 is none.
    dates = (len(text) == 8 and time_value(text)[1] is None for text in shown)
    return not all(dates)


def _is_short(text: str) -> bool:
    return len(text) <= _LONGEST and len(text.split()) == 1


def _is_measure(text: str) -> bool:
    number = text.strip(_SIGNS)
    if _DECIMALS.fullmatch(number):
        return True
    return number != text and number.isdecimal()


def _are_numbered(profile: Profile) -> bool:
    """Tells whether most values have a digit, as no names have, and aren't times."""
    shown = [str(value).strip() for value in profile.values]
    numbered = sum(any(map(str.isdigit, text)) for text in shown)
    if numbered < 0.5 * len(shown):
        return False
    if not all(map(str.isdecimal, shown)):
        return True
    return not any(all(int(text) in times for text in shown) for times in _EPOCHS)
