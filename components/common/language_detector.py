"""Tells which language a text is in, for reviews that don't say it.

CLD2 does it, by way of pycld2: the optional extra `language`, which nothing here
imports before a detector is made. scripts/benchmarks/language.py compares it with
others.
"""

import importlib
import importlib.metadata
import re
import unicodedata
from collections.abc import Mapping

import pyarrow as pa

from reviewbeam.components.common.errors import UserError

_LIBRARY = "pycld2"

# How texts reach CLD2 and which of its answers count: whoever changes that so that an
# answer changes, changes this too.
_SETTINGS = "plain text, NFC, only reliable answers"

# CLD2 calls these invalid UTF-8: control characters, and code points that will never
# be characters.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(end - 2) + chr(end - 1) for end in range(0x10000, 0x120000, 0x10000))
    + "]"
)

# What CLD2 says and ISO 639 has another code for; `bh` is a group of languages, `un`
# unknown.
_CODES = {"bh": "bih", "iw": "he", "jw": "jv", "un": None, "zh-Hant": "zh"}


class LanguageDetector:
    """Finds the language of texts; several threads may share one.

    Attributes:
      name: the library's name on PyPI.
      version: its version; another one may answer otherwise.
      settings: how it is used here, equal for equal answers.
    """

    def __init__(self):
        try:
            self._library = importlib.import_module(_LIBRARY)
        except ImportError as error:
            raise _missing() from error
        described = describe_detector()
        self.name = described["name"]
        self.version = described["version"]
        self.settings = described["settings"]

    def detect(self, texts: pa.Array) -> pa.Array:
        """Returns a language for each text.

        Args:
          texts: strings, which may be null.

        Returns:
          Strings: the ISO 639-1 code where there is one, else that of ISO 639-3, or
          639-5 for a group of languages. Null where CLD2 isn't sure, as of many texts
          of a word or two, and where there are no letters.
        """
        return pa.array(map(self._detect_one, texts.to_pylist()), pa.string())

    def _detect_one(self, text: str | None) -> str | None:
        if text is None:
            return None
        # CLD2 knows accented letters only whole: of Yoruba reviews that have them in
        # parts it recognizes 67 %, in NFC 95 %. (Arrow's NFC takes them apart.)
        text = _REFUSED.sub(" ", unicodedata.normalize("NFC", text))
        # Not `bestEffort`: what that adds, mostly on texts of a word or two, is right
        # in 58 % of cases, and it names a language for nearly every text in one that
        # CLD2 doesn't know. Without it 98 % of the answers are right.
        reliable, _, (best, *_) = self._library.detect(text, isPlainText=True)
        name, code = best[:2]
        # `X_` is a script without a language, or a joke such as Pig Latin.
        if not reliable or name.startswith("X_"):
            return None
        return _CODES.get(code, code)


def describe_detector() -> dict[str, str]:
    """Returns what decides a detector's answers, without loading it.

    Raises:
      UserError: the library isn't installed.
    """
    version = _installed_version()
    if version is None:
        raise _missing()
    return {"name": _LIBRARY, "version": version, "settings": _SETTINGS}


def check_same(described: Mapping[str, str]) -> None:
    """Checks that a detector made here answers as the one described would.

    Args:
      described: what `describe_detector` returned when an artifact was made.

    Raises:
      UserError: it wouldn't, or there is none.
    """
    name, version = described["name"], described["version"]
    settings = described.get("settings", _SETTINGS)
    if (name, settings) != (_LIBRARY, _SETTINGS):
        raise UserError(
            f"languages were detected with {name} {version} ({settings}), and this "
            f"reviewbeam has {_LIBRARY} ({_SETTINGS}); use the reviewbeam that made "
            "it, or make it again with this one"
        )
    installed = _installed_version()
    if installed != version:
        found = f"{name} {installed} is" if installed else f"{name} isn't"
        raise UserError(
            f"languages were detected with {name} {version}, and {found} installed; "
            f"install the same: pip install '{name}=={version}'"
        )


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version(_LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing() -> UserError:
    return UserError(
        f"detecting languages needs {_LIBRARY}, which isn't installed; install it: "
        "pip install 'reviewbeam[language]'"
    )
