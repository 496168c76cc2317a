import pyarrow as pa
import pytest

from reviewbeam.components.common.text_features import text_features


def test_texts_are_measured():
    found = text_features(
        pa.array(["größe 👍", ""]), pa.array([8, 2], pa.int32()), pa.array([2, 0])
    )
    assert {name: column.type for name, column in found.items()} == {
        "characters": pa.int64(),
        "tokens": pa.int64(),
        "unknown_token_share": pa.float32(),
        "emoji_share": pa.float32(),
        "non_letter_share": pa.float32(),
    }
    assert found["characters"].to_pylist() == [7, 0]
    assert found["tokens"].to_pylist() == [8, 2]
    assert found["unknown_token_share"].to_pylist() == [0.25, 0]
    assert found["emoji_share"].to_pylist() == [pytest.approx(1 / 7), 0]


@pytest.mark.parametrize(
    ("text", "emoji", "others"),
    [
        ("Gut", 0, 0),
        ("Très bien", 0, 0),
        ("ab 12", 0, 0.4),
        ("5/5!", 0, 1),
        ("好，。", 0, 2 / 3),
        ("किताब", 0, 0),  # vowel signs are marks
        ("o\u0308", 0, 0),  # so are combining accents
        ("a\u00a0\t\u3000", 0, 0),  # white space of any script
        ("© 20°", 0, 0.8),  # symbols, but no emoji
        ("😀😀ab", 0.5, 0.5),
        ("☀", 1, 1),
        ("👍🏽", 1, 1),  # with a skin tone
        ("🇩🇪 ok", 0.4, 0.4),  # a flag is two characters
    ],
)
def test_shares_of_characters(text, emoji, others):
    found = text_features(pa.array([text]), pa.array([3]), pa.array([0]))
    assert found["emoji_share"].to_pylist() == [pytest.approx(emoji)]
    assert found["non_letter_share"].to_pylist() == [pytest.approx(others)]
