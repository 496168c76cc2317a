"""Guesses which columns of a corpus hold text, label, language, group and time."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence

from reviewbeam.components.common.prepare_config import SplitRules
from reviewbeam.components.ingestion import guess_words as words
from reviewbeam.components.ingestion.guess_labels import LabelGuess, guess_labels
from reviewbeam.components.ingestion.guess_profile import Profile
from reviewbeam.components.ingestion.values import time_value

SURE, LIKELY, UNSURE, GIVEN = "sure", "likely", "unsure", "as you said"
_LOCALE = re.compile(r"([a-z]{2,3})([-_][A-Za-z]{2,4})?")
_MOST_SLICES = 50
_SPLIT_VALUES = SplitRules.model_fields["values"].default


@dataclasses.dataclass(frozen=True)
class Choice:
    """A column that was chosen for a role, and those that it was chosen from."""

    column: str | None  # None: no column fits
    sure: str = SURE
    others: tuple[str, ...] = ()  # which fit less well
    # Of these, for ids: the share of different values.
    different: Mapping[str, float] = dataclasses.field(default_factory=dict)


def best(profiles: Sequence[Profile], rank: Callable[[Profile], float]) -> Choice:
    """Chooses the highest rank above 0; sure where it leads by 1 and is named so."""
    ranks = {p.name: rank(p) for p in profiles}
    fit = sorted((n for n in ranks if ranks[n] > 0), key=lambda n: -ranks[n])
    if not fit:
        return Choice(None)
    first, others = fit[0], tuple(fit[1:])
    lead = ranks[first] - (ranks[others[0]] if others else 0.0)
    sure = LIKELY if lead >= 0.5 else UNSURE
    if lead >= 1.0 and ranks[first] >= 2.0:
        sure = SURE
    return Choice(first, sure, others)


def guess_text(profiles: Sequence[Profile]) -> Choice:
    """Chooses the column of the reviews: prose, mostly different, by name and length.

    What a name says counts like a text four or eight times as long.
    """
    return best(profiles, _text_rank)


def guess_label(
    profiles: Sequence[Profile],
) -> tuple[Choice, LabelGuess | None]:
    """Chooses the column of the labels, by its name or by values that say a sentiment.

    Args:
      profiles: of the columns that have no role yet.
    """
    guesses = {p.name: guess_labels(p) for p in profiles}
    choice = best(profiles, lambda p: _label_rank(p, guesses[p.name]))
    if choice.column is None:
        others = [n for n, guess in guesses.items() if guess is not None]
        return Choice(None, others=tuple(others)), None
    return choice, guesses[choice.column]


def guess_language(profiles: Sequence[Profile]) -> Choice:
    """Chooses the column of languages: codes such as en and pt-BR, or by its name."""

    def rank(profile: Profile) -> float:
        counts = profile.counts
        if not counts or len(profile.texts) < len(profile.values):
            return 0.0
        codes = [_LOCALE.fullmatch(value) for value in counts]
        known = sum(
            counts[code[0]] for code in codes if code and code[1] in words.LANGUAGES
        )
        share = known / counts.total()
        if words.named(profile.name, words.LANGUAGE):
            return 2.0 + share
        return share if share >= 0.95 else 0.0

    return best(profiles, rank)


def guess_group(profiles: Sequence[Profile]) -> Choice:
    """Chooses what several reviews may share: a product, an author."""

    def rank(profile: Profile) -> float:
        named = words.named(profile.name, words.GROUP)
        repeats = 0.0 < profile.unique < 0.9 and len(set(profile.values)) >= 10
        return 2.0 if named and repeats and profile.filled > 0.9 else 0.0

    return best(profiles, rank)


def guess_time(profiles: Sequence[Profile]) -> Choice:
    """Chooses the column of the reviews' times: by name, and all can be read."""

    def rank(profile: Profile) -> float:
        if not words.named(profile.name, words.TIME) or profile.filled < 0.9:
            return 0.0
        wrong = sum(time_value(value)[1] is not None for value in profile.values)
        return 2.0 if wrong == 0 else 0.0

    return best(profiles, rank)


def guess_slice(profiles: Sequence[Profile]) -> str | None:
    """Returns the first column of some values that stand often, to tell rows apart."""

    def parts(profile: Profile) -> bool:
        few = profile.counts is not None and 2 <= len(profile.counts) <= _MOST_SLICES
        return few and profile.unique < 0.2 and profile.filled > 0.5

    return next((p.name for p in profiles if parts(p)), None)


def guess_split(profiles: Sequence[Profile]) -> Choice:
    """Chooses the column that names splits, where it names train and test."""

    def rank(profile: Profile) -> float:
        counts = profile.counts
        if not counts or not words.named(profile.name, words.SPLIT):
            return 0.0
        splits = {_SPLIT_VALUES.get(value) for value in counts}
        full = {"train", "test"} <= splits and None not in splits
        return 2.0 if full and profile.filled == 1.0 else 0.0

    return best(profiles, rank)


def why_no_text(profile: Profile) -> str | None:
    """Returns why a column can't be the reviews; None: it can."""
    if not profile.values:
        return "empty"
    if len(profile.texts) < 0.9 * len(profile.values):
        return "no text"
    if profile.prose < 0.5:
        return "no prose"
    return "values that repeat" if profile.unique < 0.2 else None


def _text_rank(profile: Profile) -> float:
    if why_no_text(profile):
        return 0.0
    rank = math.log2(max(profile.characters, 1)) / 2
    if words.named(profile.name, words.TEXT):
        rank += 3.0
    if words.named(profile.name, words.NO_TEXT):
        rank -= 2.0
    return max(rank * profile.filled, 0.01)


def _label_rank(profile: Profile, guess: LabelGuess | None) -> float:
    if guess is None or words.named(profile.name, words.NO_LABEL):
        return 0.0
    rank = 0.0
    if words.named(profile.name, words.LABEL):
        rank = 3.0 if words.named(profile.name, words.STRONG_LABEL) else 2.0
    if guess.says_sentiment:
        rank += 2.0
    return rank * (0.5 + profile.filled / 2)
