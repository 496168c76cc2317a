"""What of a text may be shown to people besides the examples and the rejects."""

import re

from reviewbeam.components.common.prepare_config import PrivacyRules

_AT = "@\uff20\ufe6b"  # and its full-width and small forms
_WORD = rf"[^\s{_AT}<>()\[\],;:\"«»“”、，。（）：；]"
_END = _WORD[:-1] + r".!?…'’*]"  # a word's last character, not a sentence's
# Patterns begin where a word does, or they would look at long ones again and again.
_MAIL = re.compile(
    rf"(?<!{_WORD}){_WORD}+[{_AT}]{_WORD}*{_END}"
    rf"|(?<![\w.+-])[\w.+-]+[ ]?(?:[{_AT}]|[\[({{]at[\])}}])[ ]?"
    r"[\w-]+(?:(?:[.．]|[ ]?[\[({]dot[\])}][ ]?)[\w-]+)+",
    re.IGNORECASE,
)
_HANDLE = re.compile(rf"(?<!\w)[{_AT}]{_WORD}*{_END}")
_LINK = re.compile(
    r"\b(?:[a-z][a-z+]{1,11}://|www\.)\S+"
    r"|(?<![\w.-])[\w-]+(?:\.[\w-]+)*\."
    r"(?:(?:com|net|org|info|biz|io|app|ru|de|fr|eu|uk|kr|jp|cn)\b(?:/\S*)?"
    r"|[a-z]{2,12}/\S+)",
    re.IGNORECASE,
)
# Digits of any script, with what people put between those of a telephone number.
_NUMBER = re.compile(
    r"[+＋(（]{0,2}\d(?:(?:[.,．，]"
    r"|[\s()（）/／_~·•\-\u2010-\u2015\u2212－ー\u200b-\u200f\u2060\ufe0f\u20e3]{0,5})"
    r"\d)+[\ufe0f\u20e3]*"
)
_ROW_OF_DIGITS = re.compile(r"\d{3}")
_MANY_DIGITS = 5


def redacted(text: str) -> str:
    """Returns a text with mails, links, handles and numbers masked.

    Numbers are those with three digits in a row, or five in all: 5,99 and 10/10 stay.
    """
    text = _MAIL.sub("[mail]", text)
    text = _LINK.sub("[link]", text)
    text = _HANDLE.sub("[handle]", text)
    return _NUMBER.sub(_masked_number, text)


def _masked_number(match: re.Match) -> str:
    digits = sum(map(str.isdecimal, match[0]))
    many = digits >= _MANY_DIGITS or _ROW_OF_DIGITS.search(match[0])
    return "[number]" if many else match[0]


def shown(text: str, rules: PrivacyRules) -> str | None:
    """Returns what a report may show of a text; None for nothing."""
    if rules.text == "full":
        return text
    return redacted(text) if rules.text == "redacted" else None
