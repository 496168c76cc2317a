"""Further training examples: words left out or moved, other segmentations.

Words: random deletion and random swap of Wei and Zou 2019, "EDA: Easy Data Augmentation
Techniques for Boosting Performance on Text Classification Tasks". Segmentations: Kudo
2018, "Subword Regularization".

SentencePiece's own sampling draws from a generator of each thread that can't be set
again, so its results depend on what the thread did before. Here each random number
comes from a hash of (seed, id, text, number of the copy): a copy is the same in any
batch, process or order.
"""

import bisect
import functools
import hashlib
import itertools
import math
import unicodedata
from array import array

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.prepare_config import AugmentRules
from reviewbeam.components.tokenization.tokenizer import Tokenizer

# Of each word. No piece of XLM-R's vocabulary reaches over a blank, so that n-best of
# the words allows n^words segmentations of a text; n-best of the text would change one
# or two of its words, and costs more.
_NBEST = 16
# SentencePiece's n-best search slows down on longer ones, and complains in the log:
# they keep their best segmentation.
_LONGEST_WORD = 200
_CACHED_WORDS = 2**15  # some 1.5 kB each


class Augmenter:
    """Makes further examples of those in the train split."""

    def __init__(
        self, vocabulary: str, text_rules: TextRules, augment_rules: AugmentRules
    ):
        """Loads a vocabulary.

        Args:
          vocabulary: path of a SentencePiece model file.
          text_rules: how texts become token ids.
          augment_rules: how many copies, and how they differ.

        Raises:
          UserError: the file is no SentencePiece model.
        """
        self._tokenizer = Tokenizer(vocabulary, text_rules)
        self._text_rules = text_rules
        self._rules = augment_rules
        self._sampler = None
        if augment_rules.subword_alpha is not None:
            self._sampler = _SegmentationSampler(
                vocabulary, augment_rules.subword_alpha
            )

    def augment(self, examples: pa.RecordBatch) -> pa.RecordBatch:
        """Makes the copies of some examples.

        A copy with the token ids of its original or of an earlier copy of it tells a
        model nothing new, and is left out.

        Args:
          examples: rows with the columns `id`, `text` and `token_ids`.

        Returns:
          The copies in the order of the examples, under the same schema: new `id`
          (`<id>#aug1` and so on; the numbers of copies left out are missing), `text`,
          `token_ids`, `tokens`, `unknown_tokens` and `truncated`; other columns as in
          the original.
        """
        rows, ids, texts, keys = [], [], [], []
        originals = zip(
            examples.column("id").to_pylist(),
            examples.column("text").to_pylist(),
            strict=True,
        )
        for row, (example_id, text) in enumerate(originals):
            words = text.split()
            for copy in range(1, self._rules.copies + 1):
                key = f"{self._rules.seed}:{copy}:{len(example_id)}:{example_id}{text}"
                rows.append(row)
                ids.append(f"{example_id}#aug{copy}")
                texts.append(self._change_words(text, words, key))
                keys.append(key)
        new = {
            "id": pa.array(ids, pa.string()),
            "text": pa.array(texts, pa.string()),
            **self._encode(texts, keys),
        }
        kept = pa.array(
            _distinct(examples.column("token_ids"), rows, new["token_ids"]), pa.int64()
        )
        kept_rows = pc.take(pa.array(rows, pa.int64()), kept)
        columns = [
            pc.take(new[field.name], kept).cast(field.type)
            if field.name in new
            else pc.take(examples.column(field.name), kept_rows)
            for field in examples.schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=examples.schema)

    def _change_words(self, text: str, words: list[str], key: str) -> str:
        """Returns a text with words left out and swapped; one word at least stays."""
        rules = self._rules
        if len(words) < 2 or not (rules.delete_words or rules.swap_words):
            return text
        leave, swap, where = np.split(_uniforms("words", key, 3 * len(words)), 3)
        kept = [words[i] for i in np.flatnonzero(leave >= rules.delete_words)]
        kept = kept or [words[leave.argmax()]]
        for i in np.flatnonzero(swap[: len(kept)] < rules.swap_words):
            if len(kept) > 1:
                other = int(where[i] * (len(kept) - 1))
                other += other >= i  # any place but its own
                kept[i], kept[other] = kept[other], kept[i]
        return text if kept == words else " ".join(kept)

    def _encode(self, texts: list[str], keys: list[str]) -> dict[str, pa.Array]:
        """Returns the columns of `Tokenizer.encode`."""
        if self._sampler is None:
            return self._tokenizer.encode(pa.array(texts, pa.string()))
        if self._text_rules.unicode != "none":
            normalize = functools.partial(
                unicodedata.normalize, self._text_rules.unicode
            )
            texts = map(normalize, texts)
        sampled = list(map(self._sampler.sample, texts, keys))
        lengths = np.fromiter(map(len, sampled), np.int64, len(sampled)) // 4
        flat = np.frombuffer(b"".join(sampled), np.int32)
        return self._tokenizer.columns(flat, lengths)


class _SegmentationSampler:
    """Draws segmentations, each by its probability to the power alpha."""

    def __init__(self, vocabulary: str, alpha: float):
        self._processor = sentencepiece.SentencePieceProcessor(model_file=vocabulary)
        self._alpha = alpha
        self._choices = functools.lru_cache(_CACHED_WORDS)(self._find_choices)

    def sample(self, text: str, key: str) -> bytes:
        """Returns SentencePiece's ids, int32 [pieces], as bytes."""
        words = text.split()
        drawn = []
        for word, uniform in zip(
            words, _uniforms("pieces", key, len(words)).tolist(), strict=True
        ):
            segmentations, cumulative = self._choices(word)
            drawn.append(segmentations[bisect.bisect(cumulative, uniform)])
        return b"".join(drawn)

    def _find_choices(self, word: str) -> tuple[list[bytes], array]:
        """Returns segmentations, and the sums of their probabilities but the last."""
        size = _NBEST if len(word) <= _LONGEST_WORD else 1
        found = self._processor.nbest_encode(word, nbest_size=size, out_type=int)
        # What is unknown is so in every segmentation: its score changes nothing.
        scores = [math.fsum(self._processor.get_score(ids)) for ids in found]
        weights = [math.exp(self._alpha * (score - max(scores))) for score in scores]
        total = math.fsum(weights)
        cumulative = itertools.accumulate(weight / total for weight in weights[:-1])
        packed = [np.array(ids, np.int32).tobytes() for ids in found]
        return packed, array("d", cumulative)


def _uniforms(purpose: str, key: str, count: int) -> np.ndarray:
    """Returns numbers from [0, 1) that depend on nothing but the arguments."""
    digest = hashlib.shake_128(f"{purpose}:{key}".encode()).digest(8 * count)
    return (np.frombuffer(digest, "<u8") >> 11) * 2.0**-53


def _distinct(
    originals: pa.ListArray, rows: list[int], token_ids: pa.ListArray
) -> list[int]:
    """Returns the copies that differ from their original and its earlier copies."""
    seen = [{ids} for ids in _row_bytes(originals)]
    kept = []
    for copy, (row, ids) in enumerate(zip(rows, _row_bytes(token_ids), strict=True)):
        if ids not in seen[row]:
            seen[row].add(ids)
            kept.append(copy)
    return kept


def _row_bytes(lists: pa.ListArray) -> list[bytes]:
    """Returns the ids of each row as bytes."""
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    ends = np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    return [part.tobytes() for part in np.split(values, ends[:-1])][: len(lists)]
