import pytest
import sentencepiece

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.encoder.vocabulary import (
    XLMR_PIECES,
    build_vocabulary,
    check_vocabulary,
)

PIECES = [("▁", -3.0), ("▁good", -1.0), ("▁go", -2.0), ("od", -2.0), ("é", -4.0)]


def _load(data):
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def test_builds_a_unigram_model_of_the_pieces():
    processor = _load(build_vocabulary(PIECES))

    names = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    assert names == ["<unk>", "<s>", "</s>", "▁", "▁good", "▁go", "od", "é"]
    assert processor.get_score(4) == -1.0
    assert processor.encode("good", out_type=str) == ["▁good"]  # -1 beats -2 - 2
    assert processor.encode("goodod good") == [4, 6, 4]
    assert processor.encode("x") == [3, 0]
    assert processor.is_control(1) and processor.is_unknown(0)


def test_normalises_by_nmt_nfkc():
    processor = _load(build_vocabulary(PIECES))

    # Full-width letters, a combining accent, a control character, spaces.
    assert processor.encode("ｇｏｏｄ", out_type=str) == ["▁good"]
    assert processor.encode("e\u0301", out_type=str) == ["▁", "é"]
    assert processor.encode(" go\u0001od\u3000 good ", out_type=str) == ["▁good"] * 2


def test_gives_the_same_bytes_every_time():
    assert build_vocabulary(PIECES) == build_vocabulary(iter(PIECES))


def test_accepts_a_small_vocabulary_without_golden_ids(tmp_path):
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_bytes(build_vocabulary(PIECES))

    assert check_vocabulary(str(path), embedding_rows=9) is False


def test_refuses_more_pieces_than_embeddings(tmp_path):
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_bytes(build_vocabulary(PIECES))  # 8 pieces: ids up to 8

    with pytest.raises(UserError, match="8 pieces, so ids up to 8, and .* embeds 8"):
        check_vocabulary(str(path), embedding_rows=8)


def test_refuses_wrong_ids_under_the_size_of_xlmr(tmp_path):
    path = tmp_path / "sentencepiece.bpe.model"
    made_up = ((f"piece{i}", -float(i)) for i in range(XLMR_PIECES - 3))
    path.write_bytes(build_vocabulary(made_up))

    with pytest.raises(UserError, match="'Hello world!' into .* where XLM-R has"):
        check_vocabulary(str(path), embedding_rows=250_002)


def test_refuses_what_is_no_sentencepiece_model(tmp_path):
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(UserError, match="is not a SentencePiece model"):
        check_vocabulary(str(path), embedding_rows=10)


def test_refuses_other_special_pieces(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"]),
        model_prefix=str(tmp_path / "t5"),
        vocab_size=9,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )

    with pytest.raises(UserError, match="begins with the pieces .'<pad>'"):
        check_vocabulary(str(tmp_path / "t5.model"), embedding_rows=100)
