import gzip
import io
import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.tokenization import tokenizer
from reviewbeam.components.tokenization.tokenizer import (
    BEGIN_ID,
    END_ID,
    PAD_ID,
    UNKNOWN_ID,
    Tokenizer,
)

ROOT = Path(__file__).parents[3]
REVIEWS = ROOT.parent / "shared" / "data" / "reviews"
# Of fairseq's README for XLM-R.
GOLDEN_IDS = {
    "Hello world!": [0, 35378, 8999, 38, 2],
    "你好，世界": [0, 6, 124084, 4, 3221, 2],
    "नमस्ते दुनिया": [0, 68700, 97883, 29405, 2],
    "مرحبا بالعالم": [0, 665, 193478, 258, 1705, 77796, 2],
    "Bonjour le monde": [0, 84602, 95, 11146, 2],
}
TEXTS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(
        [
            "This phone case is great and it fits perfectly.",
            "とても良い商品です。また買いたいと思います。",
            "<s> </s> <pad> <unk> <mask>",
            "\u2603 \U0001f9ff",  # not in the vocabulary
            "\x00",
            " ",
        ]
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def vocabulary(tiny_encoder):
    return str(tiny_encoder / "sentencepiece.bpe.model")


@pytest.fixture(scope="module")
def pieces(vocabulary):
    """SentencePiece itself."""
    return sentencepiece.SentencePieceProcessor(model_file=vocabulary)


def _encode(vocabulary, texts, **rules):
    """Columns of `encode` as Python lists."""
    columns = Tokenizer(vocabulary, TextRules(**rules)).encode(
        pa.array(texts, pa.string())
    )
    return {name: column.to_pylist() for name, column in columns.items()}


def _xlmr_ids(pieces, text):
    """Ids without <s> and </s>, by the definition."""
    return [UNKNOWN_ID if i == pieces.unk_id() else i + 1 for i in pieces.encode(text)]


def _kept(ids, max_tokens, truncate, head_fraction):
    """What truncation leaves of a text's ids, in plain Python."""
    most = max_tokens - 2
    if len(ids) <= most:
        return ids
    if truncate == "head":
        return ids[:most]
    head = max(1, round(most * head_fraction))
    return ids[:head] + ids[len(ids) - (most - head) :]


def test_special_ids_are_xlmrs():
    assert (BEGIN_ID, PAD_ID, END_ID, UNKNOWN_ID) == (0, 1, 2, 3)


def test_columns(vocabulary, pieces):
    columns = Tokenizer(vocabulary, TextRules()).encode(pa.array(["Good quality"]))

    assert {name: column.type for name, column in columns.items()} == {
        "token_ids": pa.list_(pa.int32()),
        "tokens": pa.int32(),
        "unknown_tokens": pa.int32(),
        "truncated": pa.bool_(),
    }
    ids = [i + 1 for i in pieces.encode("Good quality")]
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "token_ids": [[0, *ids, 2]],
        "tokens": [len(ids) + 2],
        "unknown_tokens": [0],
        "truncated": [False],
    }


@given(texts=TEXTS)
def test_ids_are_sentencepieces_plus_one(vocabulary, pieces, texts):
    found = _encode(vocabulary, texts, max_tokens=512)

    expected = [_xlmr_ids(pieces, text) for text in texts]
    assert found["token_ids"] == [[0, *ids, 2] for ids in expected]
    assert found["tokens"] == [len(ids) + 2 for ids in expected]
    assert found["unknown_tokens"] == [ids.count(3) for ids in expected]
    assert found["truncated"] == [False] * len(texts)


def test_special_tokens_cannot_be_typed(vocabulary):
    found = _encode(vocabulary, ["<s></s><pad><mask>"])["token_ids"][0]

    assert not {BEGIN_ID, END_ID, PAD_ID} & set(found[1:-1])


@given(
    texts=TEXTS,
    max_tokens=st.integers(3, 14),
    truncate=st.sampled_from(["head", "head_tail"]),
    head_fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.99, 1.0]),
)
def test_truncation(vocabulary, pieces, texts, max_tokens, truncate, head_fraction):
    rules = {"truncate": truncate, "head_fraction": head_fraction}
    found = _encode(vocabulary, texts, max_tokens=max_tokens, **rules)

    whole = [_xlmr_ids(pieces, text) for text in texts]
    assert found["token_ids"] == [
        [0, *_kept(ids, max_tokens, truncate, head_fraction), 2] for ids in whole
    ]
    # Counted before truncation.
    assert found["tokens"] == [len(ids) + 2 for ids in whole]
    assert found["unknown_tokens"] == [ids.count(3) for ids in whole]
    assert found["truncated"] == [len(ids) + 2 > max_tokens for ids in whole]


def test_truncation_by_hand(vocabulary, pieces):
    text = "a b c d e f g h"
    ids = _xlmr_ids(pieces, text)
    assert len(ids) == 9

    def encode(**rules):
        return _encode(vocabulary, [text], **rules)["token_ids"][0]

    assert encode(max_tokens=11) == [0, *ids, 2]
    assert encode(max_tokens=10) == [0, *ids[:8], 2]
    assert encode(max_tokens=10, truncate="head_tail") == [0, *ids[:2], *ids[-6:], 2]
    assert encode(max_tokens=3) == encode(max_tokens=3, truncate="head_tail")
    assert encode(max_tokens=3) == [0, ids[0], 2]


def test_no_texts(vocabulary):
    columns = Tokenizer(vocabulary, TextRules()).encode(pa.array([], pa.string()))

    assert columns["token_ids"].type == pa.list_(pa.int32())
    assert [len(column) for column in columns.values()] == [0] * 4


def test_empty_texts_are_begin_and_end(vocabulary):
    assert _encode(vocabulary, ["", "a", "", ""])["token_ids"][::2] == [[0, 2], [0, 2]]


def test_a_slice_of_a_column(vocabulary):
    texts = pa.array(["first", "second", "third"]).slice(1, 1)
    found = Tokenizer(vocabulary, TextRules()).encode(texts)

    expected = _encode(vocabulary, ["second"])
    assert {name: column.to_pylist() for name, column in found.items()} == expected


def test_unknown_pieces_are_counted_in_their_own_text(vocabulary, monkeypatch):
    class Processor:
        """Unlike a real vocabulary's, its texts may begin with an unknown piece."""

        def encode(self, texts, num_threads):
            return [[], [0, 7, 0], [], [0], []]

    monkeypatch.setattr(tokenizer, "_load", lambda path: Processor())
    found = _encode(vocabulary, [""] * 5)

    assert found["unknown_tokens"] == [0, 2, 0, 1, 0]
    assert found["token_ids"] == [[0, 2], [0, 3, 8, 3, 2], [0, 2], [0, 3, 2], [0, 2]]


@pytest.mark.parametrize("form", ["none", "NFC", "NFKC"])
def test_unicode_forms_come_before_sentencepiece(vocabulary, pieces, form):
    text = "e\u0301 ﬁt ½ \u212b"
    seen = text if form == "none" else unicodedata.normalize(form, text)

    found = _encode(vocabulary, [text], unicode=form)["token_ids"]
    assert found == [[0, *_xlmr_ids(pieces, seen), 2]]


def test_threads_change_nothing(vocabulary):
    texts = pa.array([f"review {i} " + "gut " * (i % 7) for i in range(200)])
    one, four = (
        Tokenizer(vocabulary, TextRules(), threads=threads).encode(texts)
        for threads in (1, 4)
    )

    assert all(one[name].equals(four[name]) for name in one)


@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_file_that_is_no_vocabulary(tmp_path, content):
    path = tmp_path / "sentencepiece.bpe.model"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UserError, match="is no SentencePiece model. Bring the encoder"):
        Tokenizer(str(path), TextRules())


def test_the_largest_id(vocabulary, pieces):
    names = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    found = _encode(vocabulary, names, max_tokens=512)["token_ids"]

    largest = Tokenizer(vocabulary, TextRules()).largest_id
    assert largest == len(names)  # the last piece's id plus one
    assert max(max(ids) for ids in found) <= largest


def test_a_vocabulary_with_other_special_ids(tmp_path):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"] * 3),
        model_writer=written,
        vocab_size=20,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        minloglevel=2,
    )
    path = tmp_path / "other.model"
    path.write_bytes(written.getvalue())

    with pytest.raises(UserError, match=r"no vocabulary of XLM-R: .* ids \(1, 2, 3\)"):
        Tokenizer(str(path), TextRules())


@pytest.fixture
def real_vocabulary(real_encoder):
    return str(real_encoder / "sentencepiece.bpe.model")


@pytest.mark.slow
def test_golden_ids_of_the_real_vocabulary(real_vocabulary):
    found = _encode(real_vocabulary, list(GOLDEN_IDS))

    assert found["token_ids"] == list(GOLDEN_IDS.values())


@pytest.mark.slow
@pytest.mark.skipif(not REVIEWS.is_dir(), reason="no real reviews beside the project")
@pytest.mark.parametrize("name", ["mini_bar_stars", "nollysenti", "nsmc_ko", "nusax"])
def test_real_reviews_have_sentencepieces_ids(name, real_vocabulary):
    processor = sentencepiece.SentencePieceProcessor(model_file=real_vocabulary)
    with gzip.open(REVIEWS / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    assert len(texts) > 3000
    found = _encode(real_vocabulary, texts, max_tokens=512)

    for text, ids, tokens in zip(
        texts, found["token_ids"], found["tokens"], strict=True
    ):
        expected = _xlmr_ids(processor, text)
        assert ids == [0, *expected[:510], 2]
        assert tokens == len(expected) + 2
