"""Cuts rows into slices: by language, by length, by whatever a column says."""

from collections.abc import Iterable

import numpy as np

from reviewbeam.components.common.errors import UserError, listing, nearest
from reviewbeam.components.common.language_codes import shown_language
from reviewbeam.components.evaluation.predictions import Predictions

UNKNOWN_LANGUAGE = "(unknown)"
MISSING = "(missing)"
OWN = ("language", "length", "truncated")
_LENGTHS = (16, 32, 64, 128, 256, 512)  # most tokens of a bucket
_MOST_VALUES = 1000  # of a column, or the report is a copy of it


def check_slices(wanted: Iterable[str], kept: Iterable[str]) -> None:
    """Refuses a slice that the predictions have no column for.

    Args:
      wanted: names from the config.
      kept: names of the kept columns.

    Raises:
      UserError: names the nearest known slice.
    """
    known = [*OWN, *kept]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"slices names {name!r}{nearest(name, known)}, which the dataset's "
                f"examples don't have; known: {listing(known)}. Prepare the dataset "
                "with it in columns.keep, or leave it out."
            )


def slice_rows(predictions: Predictions, name: str) -> dict[str, np.ndarray]:
    """Returns the rows of each slice: value -> indices, int [rows of the slice].

    Args:
      predictions: all rows.
      name: one of OWN, or a kept column's.

    Raises:
      UserError: a column has so many values that they are no slices.
    """
    if name == "length":
        buckets = np.searchsorted(_LENGTHS, predictions.tokens)
        bounds = [1, *(bound + 1 for bound in _LENGTHS)]
        values = [f"{a}-{b} tokens" for a, b in zip(bounds, _LENGTHS, strict=False)]
        values.append(f"{bounds[-1]} tokens or more")
        return _grouped(buckets, values)
    if name == "truncated":
        return _grouped(predictions.truncated.astype(np.int64), ["no", "yes"])
    if name == "language":
        shown = [
            shown_language(value) if value else UNKNOWN_LANGUAGE
            for value in predictions.languages
        ]
    else:
        shown = [MISSING if v is None else v for v in predictions.kept[name]]
    values = sorted(set(shown))
    if len(values) > _MOST_VALUES:
        raise UserError(
            f"slices names {name!r}, which has {len(values)} different values; at most "
            f"{_MOST_VALUES} make slices. Leave it out."
        )
    places = {value: place for place, value in enumerate(values)}
    return _grouped(np.array([places[value] for value in shown], np.int64), values)


def _grouped(places: np.ndarray, values: list[str]) -> dict[str, np.ndarray]:
    order = np.argsort(places, kind="stable")
    cuts = np.cumsum(np.bincount(places, minlength=len(values)))[:-1]
    rows = np.split(order, cuts)
    return {v: mine for v, mine in zip(values, rows, strict=True) if len(mine)}
