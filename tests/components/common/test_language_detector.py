import importlib.metadata
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from reviewbeam.components.common import language_detector
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_detector import (
    LanguageDetector,
    check_same,
    describe_detector,
)

SENTENCES = {
    "en": "The battery lasts two days, and the screen is bright enough outside.",
    "fr": "La batterie tient deux jours et l'écran est assez lumineux dehors.",
    "de": "Der Akku hält zwei Tage, und der Bildschirm ist draußen hell genug.",
    "es": "Me encanta esta aplicación, funciona muy bien y es fácil de usar.",
    "ha": "Wannan waya tana da kyau sosai, amma batirin ba ya daɗewa.",
    "id": "Baterainya tahan dua hari dan layarnya cukup terang di luar ruangan.",
    "ig": "Ihe nkiri a masịrị m nke ukwuu, mana ọ dị ogologo karịa.",
    "jv": "Filmé apik banget, nanging kursiné ora kepenak lan regané larang.",
    "ko": "배터리는 이틀이나 가고 화면도 밖에서 충분히 밝아요.",
    "ru": "Отличное приложение, всё работает быстро и удобно.",
    "su": "Pilemna saé pisan, tapi korsina henteu ngeunah sareng hargana awis.",
    "yo": "Fíìmù yìí dára púpọ̀, ṣùgbọ́n ó ti gùn jù fún mi.",
    "ja": "電池は二日もちますし、画面は外でも十分に明るいです。",
    "zh": "电池可以用两天,屏幕在室外也足够亮。",
    "ar": "البطارية تدوم يومين والشاشة ساطعة بما يكفي في الخارج.",
    "bih": "ई मोबाइल बहुत नीमन बा, बाकिर बैटरी जल्दी खतम हो जाला।",  # Bhojpuri
    "he": "הסוללה מחזיקה יומיים והמסך בהיר מספיק בחוץ.",
}


@pytest.fixture(scope="module")
def detector():
    return LanguageDetector()


def _detect(detector, *texts):
    return detector.detect(pa.array(texts, pa.string())).to_pylist()


def _pretend_missing(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "pycld2", None)
    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(("code", "text"), SENTENCES.items())
def test_detects(detector, code, text):
    assert _detect(detector, text) == [code]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_accents_in_parts_are_the_same_letters(detector, form):
    texts = [unicodedata.normalize(form, text) for text in SENTENCES.values()]
    assert _detect(detector, *texts) == list(SENTENCES)


def test_traditional_chinese_has_the_code_of_chinese(detector):
    text = "電池可以用兩天,螢幕在室外也夠亮,這個價錢很划算。"
    assert _detect(detector, text) == ["zh"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " \n\t",
        "12345 / 67,8 %",
        "!!! ... ???",
        "👍👍👍 😍",
        "\x00\x01\x7f",
        "x",
        "ok",
        "Top",  # English, French or German
        "Bien",  # French or Spanish
        "good quality, 배송 빠름",
        "ᨕᨙᨄᨛ ᨔᨗᨉᨗ ᨑᨗᨕᨔᨙ",  # a script, for CLD2, that several languages share
    ],
)
def test_null_where_it_cannot_tell(detector, text):
    assert _detect(detector, text) == [None]


def test_a_language_cld2_does_not_know_is_not_guessed(detector):
    # Toba Batak, for which CLD2 would have a guess.
    text = "Pardalanan on mansai denggan jala sude halak las rohana."
    assert _detect(detector, text) == [None]


def test_what_cld2_refuses_hides_no_text(detector):
    refused = [*range(0x20), *range(0x7F, 0xA0), *range(0xFDD0, 0xFDF0)]
    for plane in range(17):
        refused += [plane * 0x10000 + 0xFFFE, plane * 0x10000 + 0xFFFF]
    texts = [f"{SENTENCES['en']}{chr(point)}" for point in refused]
    assert set(_detect(detector, *texts)) == {"en"}


def test_angle_brackets_and_entities_are_text(detector):
    assert _detect(detector, f"<{SENTENCES['fr']}>") == ["fr"]


def test_arrays_of_any_shape(detector):
    texts = pa.array(["x", SENTENCES["ko"], None, SENTENCES["fr"]])
    expected = pa.array(["ko", None], pa.string())
    assert detector.detect(texts[1:3]).equals(expected)
    assert detector.detect(texts[1:3].cast(pa.large_string())).equals(expected)
    assert detector.detect(texts[:0]).equals(pa.array([], pa.string()))
    assert detector.detect(pa.nulls(2)).equals(pa.nulls(2, pa.string()))


def test_threads_find_the_same(detector):
    texts = list(SENTENCES.values()) * 50
    expected = list(SENTENCES) * 50
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _detect(detector, *texts), range(16)))
    assert found == [expected] * 16
    assert _detect(detector, *reversed(texts)) == expected[::-1]


def test_describes_itself(detector):
    described = describe_detector()
    assert described["name"] == "pycld2"
    assert described["version"] == importlib.metadata.version("pycld2")
    assert described == {
        "name": detector.name,
        "version": detector.version,
        "settings": detector.settings,
    }
    check_same(described)
    check_same({"name": detector.name, "version": detector.version})


def test_nothing_is_loaded_before_it_is_needed():
    script = f"""
import sys
from {language_detector.__name__} import describe_detector
describe_detector()
sys.exit("pycld2" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("use", [LanguageDetector, describe_detector])
def test_says_how_to_install_what_is_missing(monkeypatch, use):
    _pretend_missing(monkeypatch)
    with pytest.raises(UserError, match=r"pip install 'reviewbeam\[language\]'$"):
        use()


def test_another_version_is_refused():
    with pytest.raises(UserError, match="pycld2 0.40, and pycld2 .* is installed") as e:
        check_same({**describe_detector(), "version": "0.40"})
    assert str(e.value).endswith("pip install 'pycld2==0.40'")


def test_no_version_is_refused(monkeypatch):
    described = describe_detector()
    _pretend_missing(monkeypatch)
    with pytest.raises(UserError, match="pycld2 isn't installed") as e:
        check_same(described)
    assert str(e.value).endswith(f"pip install 'pycld2=={described['version']}'")


@pytest.mark.parametrize("change", [{"name": "other"}, {"settings": "other"}])
def test_another_detector_is_refused(change):
    with pytest.raises(UserError, match="other.*make it again"):
        check_same({**describe_detector(), **change})
