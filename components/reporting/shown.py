"""Values from outside, made fit to be looked at: short, and with no hidden powers."""

import math
import re
import unicodedata

from markupsafe import Markup, escape

LONGEST = 80  # characters of a value that a page shows
_TITLE = 300  # characters that its tool tip shows
# What turns the direction of text around it, or hides.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # words of Persian and Hindi, and emoji, need them
_CONTROL_PICTURES = 0x2400
_MARKS = 4  # combining marks on one character; more pile up over other lines


def plain(value: object, longest: int = LONGEST) -> str:
    """Returns a value as one line of visible characters, at most so many.

    Control characters become their pictures (U+2400 on), what is invisible or turns
    the writing direction becomes `[U+202E]`, and white space becomes single spaces.
    Nothing becomes `(empty)`.
    """
    if not isinstance(value, str):
        value = str(value)
    # A character gives at least one of what is shown, so the rest is never looked at.
    cut = re.sub(r"[ \t\r\n\f\v]+", " ", value[: 4 * longest]).strip()
    text = "".join(_visible(cut))
    if len(text) > longest or len(value) > 4 * longest:
        return text[: longest - 1] + "…"
    return text or "(empty)"


def _visible(text: str):
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS:
            continue
        if category not in _UNSEEN or character in _JOINERS:
            yield character
        elif ord(character) < 32:
            yield chr(_CONTROL_PICTURES + ord(character))
        else:
            yield f"[U+{ord(character):04X}]"


def shown(value: object, longest: int = LONGEST) -> Markup:
    """Returns a value from outside as HTML: short, escaped, its direction its own."""
    text = plain(value, longest)
    more = plain(value, _TITLE) if text.endswith("…") else ""
    title = Markup(' title="{}"').format(more) if more else Markup("")
    return Markup('<bdi dir="auto"{}>{}</bdi>').format(title, escape(text))


def count(value: float | None) -> str:
    """Returns a number of things: `1,234,567`."""
    return "–" if value is None else f"{value:,.0f}"


def things(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 file`, `1,234 files`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def percent(share: float | None) -> str:
    """Returns a share of one in percent; what is not nothing is not shown as 0."""
    if share is None or not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "<0.1 %"
    if 1 > share > 0.999:
        return ">99.9 %"
    return f"{share:.1%}".replace("%", " %")


def figure(value: float | None) -> str:
    """Returns a measure: `0.846`."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.3f}"


def duration(seconds: float | None) -> str:
    """Returns a time as a person says it: `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def size(number: float | None) -> str:
    """Returns bytes as a person says them: `3.2 MB`."""
    if number is None:
        return "–"
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return (
                f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
            )
        number /= 1000
    return f"{number:,.1f} TB"
