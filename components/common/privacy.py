"""What of a text may be shown to people besides the examples and the rejects."""

import re

from reviewbeam.components.common.prepare_config import PrivacyRules

_MAIL = re.compile(r"[^\s@<>()\[\],;:\"]+@[^\s@<>()\[\],;:\"]+")
_HANDLE = re.compile(r"(?<![\w@])@\w+")
_LINK = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
# Three digits or more, with what people put between those of a telephone number.
_NUMBER = re.compile(r"[+(]?\d(?:[\s()./-]{0,3}\d){2,}")


def redacted(text: str) -> str:
    """Returns a text with mails, links, handles and numbers masked."""
    text = _MAIL.sub("[mail]", text)
    text = _LINK.sub("[link]", text)
    text = _HANDLE.sub("[handle]", text)
    return _NUMBER.sub("[number]", text)


def shown(text: str, rules: PrivacyRules) -> str | None:
    """Returns what a report may show of a text; None for nothing."""
    if rules.text == "full":
        return text
    return redacted(text) if rules.text == "redacted" else None
