"""Writes SentencePiece vocabularies under XLM-R's scheme, and checks their ids.

XLM-R's ids are SentencePiece's + 1; `<s>` is 0, `<pad>` 1, `</s>` 2, unknown 3.
"""

import io
from collections.abc import Iterable

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from reviewbeam.components.common.errors import UserError

NORMALIZER = "nmt_nfkc"
XLMR_PIECES = 250_000  # in SentencePiece's numbering, without <pad> and <mask>

# fairseq, examples/xlmr/README.md.
GOLDEN_IDS = {
    "Hello world!": [0, 35378, 8999, 38, 2],
    "你好，世界": [0, 6, 124084, 4, 3221, 2],
    "नमस्ते दुनिया": [0, 68700, 97883, 29405, 2],
    "مرحبا بالعالم": [0, 665, 193478, 258, 1705, 77796, 2],
    "Bonjour le monde": [0, 84602, 95, 11146, 2],
}


def build_vocabulary(pieces: Iterable[tuple[str, float]]) -> bytes:
    """Serialises a unigram model of `<unk>`, `<s>`, `</s>` and the given pieces.

    Args:
      pieces: (piece, log probability) in the order of their ids.
    """
    model = sentencepiece_model_pb2.ModelProto()
    # The normaliser's table is compiled into the library; a model trained on
    # anything at all carries a copy.
    model.ParseFromString(_throw_away_model())
    del model.pieces[:]
    types = sentencepiece_model_pb2.ModelProto.SentencePiece
    model.pieces.add(piece="<unk>", score=0.0, type=types.UNKNOWN)
    model.pieces.add(piece="<s>", score=0.0, type=types.CONTROL)
    model.pieces.add(piece="</s>", score=0.0, type=types.CONTROL)
    for piece, score in pieces:
        model.pieces.add(piece=piece, score=score, type=types.NORMAL)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString(deterministic=True)


def check_vocabulary(path: str, embedding_rows: int) -> bool:
    """Checks that a vocabulary is XLM-R's kind and fits the embeddings.

    Args:
      path: a SentencePiece model.
      embedding_rows: rows of the word embeddings.

    Returns:
      Whether it is XLM-R's own vocabulary and gave the golden ids.

    Raises:
      UserError: it can't be loaded, has other special pieces, has more pieces
        than the embeddings have rows, or gives other ids than XLM-R's.
    """
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError):
        raise UserError(
            f"{path} is not a SentencePiece model. Copy it again from the checkpoint."
        ) from None
    pieces = processor.get_piece_size()
    specials = [processor.id_to_piece(i) for i in range(min(3, pieces))]
    if specials != ["<unk>", "<s>", "</s>"]:
        raise UserError(
            f"{path} begins with the pieces {specials}; XLM-R's vocabularies begin "
            "with <unk>, <s>, </s>. Give an XLM-R checkpoint."
        )
    if embedding_rows < pieces + 1:
        raise UserError(
            f"{path} has {pieces} pieces, so ids up to {pieces}, and the checkpoint "
            f"embeds {embedding_rows}. The vocabulary belongs to another checkpoint."
        )
    if pieces != XLMR_PIECES:
        return False
    for text, expected in GOLDEN_IDS.items():
        found = [0, *(i + 1 if i else 3 for i in processor.encode(text)), 2]
        if found != expected:
            raise UserError(
                f"{path} has as many pieces as XLM-R's vocabulary and splits {text!r} "
                f"into {found} where XLM-R has {expected}. The vocabulary is damaged "
                "or of another model: copy it again from the checkpoint."
            )
    return True


def _throw_away_model() -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"]),
        model_writer=written,
        model_type="unigram",
        vocab_size=8,
        hard_vocab_limit=False,
        normalization_rule_name=NORMALIZER,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()
