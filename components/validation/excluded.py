"""Ids whose reviews must be left out: requests for erasure."""

from pathlib import Path

from reviewbeam.components.common.errors import UserError, why_unread


def load_excluded_ids(path: str | None) -> frozenset[str]:
    """Reads a file of ids, one a line in UTF-8; blank lines are passed over.

    Raises:
      UserError: it can't be read, or holds no id: a wrong file must not pass for
        nothing to erase.
    """
    if path is None:
        return frozenset()
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"exclude_ids {path!r} can't be read: {why_unread(error)}. Give a text "
            "file with one id a line."
        ) from None
    ids = frozenset(line.removesuffix("\r") for line in lines if line.strip())
    if not ids:
        raise UserError(
            f"exclude_ids {path!r} holds no id. Leave exclude_ids out if nothing is to "
            "be excluded."
        )
    return ids
