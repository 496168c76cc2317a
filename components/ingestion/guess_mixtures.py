"""Tells where a corpus mixes labels of several kinds, which a person must settle."""

from collections.abc import Sequence

from reviewbeam.components.ingestion.guess_labels import LabelGuess, number_of
from reviewbeam.components.ingestion.sample import SampledFile

FileClasses = tuple[str, tuple[str, ...]]  # a file's path, and classes in order


def numbers_and_words(labels: LabelGuess) -> tuple[list[str], list[str]] | None:
    """Returns the classes that are numbers and those that are words, where both are.

    One number alone may be a word, as 3D is. Several labels of a review are tags, of
    which a year may be one.
    """
    if labels.type == "multilabel":
        return None
    numbers = [name for name in labels.names if number_of(name) is not None]
    others = [name for name in labels.names if name not in numbers]
    return (numbers, others) if len(numbers) > 1 and others else None


def classes_apart(
    files: Sequence[SampledFile], column: str, labels: LabelGuess
) -> tuple[FileClasses, FileClasses] | None:
    """Returns two files that have no class in common, nor by way of other files.

    None: there are no such files, or each file has one class, as where the folders of
    a corpus are its classes.

    Args:
      files: with their sampled rows.
      column: of the labels.
      labels: what its values mean.
    """
    groups: list[tuple[int, set[str]]] = []  # (place of the first file, all classes)
    for place, file in enumerate(files):
        rows = (labels.classes_of(row.get(column)) for row in file.rows)
        found = {name for classes in rows for name in classes if name is not None}
        for group in [g for g in groups if not g[1].isdisjoint(found)]:
            groups.remove(group)
            place, found = min(place, group[0]), found | group[1]
        if found:
            groups.append((place, found))
    if len(groups) < 2 or all(len(classes) == 1 for _, classes in groups):
        return None
    one, other = (
        (files[place].path, tuple(name for name in labels.names if name in classes))
        for place, classes in sorted(groups)[:2]
    )
    return one, other
