import math
from collections import Counter

import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import AugmentRules
from reviewbeam.components.tokenization.augment import Augmenter, _SegmentationSampler
from reviewbeam.components.tokenization.tokenizer import Tokenizer

TEXT = "This phone case is great and it fits perfectly"
TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        TEXT,
        "とても良い商品です。また買いたいと思います。",
        "gut  gut\ngut\tgut",
        "\u2603 \U0001f9ff e\u0301 ﬁt",  # the first two are not in the vocabulary
        "good " * 40,
    ]
)
WAYS = [
    {"delete_words": 0.3},
    {"swap_words": 0.3},
    {"subword_alpha": 0.2},
    {"delete_words": 0.2, "swap_words": 0.2, "subword_alpha": 0.2},
]


@pytest.fixture(scope="module")
def vocabulary(tiny_encoder):
    return str(tiny_encoder / "sentencepiece.bpe.model")


@pytest.fixture(scope="module")
def pieces(vocabulary):
    """SentencePiece itself."""
    return sentencepiece.SentencePieceProcessor(model_file=vocabulary)


def make_examples(vocabulary, texts, text_rules=None, ids=None):
    """Examples as prepare has them, with a column that is carried along."""
    column = pa.array(texts, pa.string())
    tokens = Tokenizer(vocabulary, text_rules or TextRules()).encode(column)
    ids = ids or [f"r{number}" for number in range(len(texts))]
    columns = {
        "id": pa.array(ids, pa.string()),
        "label": pa.array([len(text) for text in texts], pa.int64()),
        "text": column,
        **tokens,
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def augment(vocabulary, texts, text_rules=None, ids=None, **rules):
    """The copies as a list of rows."""
    text_rules = text_rules or TextRules()
    augmenter = Augmenter(vocabulary, text_rules, AugmentRules(**rules))
    examples = make_examples(vocabulary, texts, text_rules, ids)
    return augmenter.augment(examples).to_pylist()


def test_copies_as_recorded(vocabulary):
    """A dataset made again, years later, has the same bytes."""
    found = augment(
        vocabulary, [TEXT], copies=3, delete_words=0.2, swap_words=0.1, seed=7
    )
    assert [(row["id"], row["text"]) for row in found] == [
        ("r0#aug1", "This phone case is and it fits perfectly"),
        ("r0#aug2", "case phone This and fits"),
    ]  # the third is the text itself


@pytest.mark.parametrize("way", WAYS)
def test_columns_are_those_of_the_tokenizer(vocabulary, way):
    texts = [TEXT, *("good \u2603 phone " * size for size in range(1, 5))]
    rules = TextRules(max_tokens=12, truncate="head_tail")
    examples = make_examples(vocabulary, texts, rules)
    augmenter = Augmenter(vocabulary, rules, AugmentRules(copies=8, **way))
    copies = augmenter.augment(examples)

    assert copies.schema == examples.schema
    rows = copies.to_pylist()
    assert {row["id"][:2] for row in rows} == {"r0", "r1", "r2", "r3", "r4"}
    for row in rows:
        assert row["label"] == len(texts[int(row["id"][1])])  # carried along
        assert row["token_ids"][0] == 0 and row["token_ids"][-1] == 2
        assert len(row["token_ids"]) == min(row["tokens"], 12)
        assert row["truncated"] == (row["tokens"] > 12)
        assert row["unknown_tokens"] == row["text"].count("\u2603")
    if "subword_alpha" in way:
        assert {row["tokens"] for row in rows} & {13, 14}  # truncated by one or two
    else:
        again = make_examples(vocabulary, copies.column("text").to_pylist(), rules)
        for name in ("token_ids", "tokens", "unknown_tokens", "truncated"):
            assert copies.column(name).equals(again.column(name))


@given(texts=st.lists(TEXTS, max_size=6), way=st.sampled_from(WAYS), data=st.data())
def test_a_copy_depends_on_its_own_row_only(vocabulary, texts, way, data):
    examples = make_examples(vocabulary, texts)
    rules = AugmentRules(copies=2, **way)
    augmenter = Augmenter(vocabulary, TextRules(), rules)
    whole = {row["id"]: row for row in augmenter.augment(examples).to_pylist()}

    order = data.draw(st.permutations(range(len(texts))))
    cut = data.draw(st.integers(0, len(texts)))
    shuffled = pa.Table.from_batches([examples]).take(pa.array(order, pa.int64()))
    batches = pa.concat_tables([shuffled.slice(0, cut), shuffled.slice(cut)])
    another = Augmenter(vocabulary, TextRules(), rules)  # its cache is empty
    found = []
    for batch in batches.to_batches():
        found += another.augment(batch).to_pylist()
    assert {row["id"]: row for row in found} == whole
    assert len(found) == len(whole)
    # A slice, whose buffers hold other rows too.
    parts = [examples.slice(0, cut), examples.slice(cut)]
    assert [
        row for part in parts for row in augmenter.augment(part).to_pylist()
    ] == list(whole.values())


def test_seed_id_text_and_copy_each_change_the_draw(vocabulary):
    def texts(ids=("a",), seed=1, copies=1):
        text = " ".join(map(str, range(40)))
        found = augment(
            vocabulary, [text], ids=list(ids), copies=copies, seed=seed, swap_words=0.5
        )
        return [row["text"] for row in found]

    (first,) = texts()
    assert texts() == [first]
    assert texts(seed=2) != [first]
    assert texts(ids=("b",)) != [first]
    copies = texts(copies=3)
    assert copies[0] == first  # further copies don't change the first one
    assert len(set(copies)) == 3


def test_words_are_left_out_as_often_as_said(vocabulary):
    words = [f"w{number}" for number in range(20)]
    texts = [" ".join(words)] * 500
    found = augment(vocabulary, texts, copies=1, delete_words=0.1)
    left_out = Counter()
    for row in found:
        kept = row["text"].split()
        assert kept == [word for word in words if word in kept]  # in their order
        left_out.update(set(words) - set(kept))
    assert set(left_out) == set(words)
    assert sum(left_out.values()) / (500 * 20) == pytest.approx(0.1, abs=0.01)
    assert min(left_out.values()) > 25  # each place: 50, with a deviation of 7


def test_swaps_move_words_and_lose_none(vocabulary):
    words = [f"w{number}" for number in range(20)]
    found = augment(vocabulary, [" ".join(words)] * 500, copies=1, swap_words=0.05)
    moved = Counter()
    for row in found:
        kept = row["text"].split()
        assert sorted(kept) == sorted(words)
        moved[sum(a != b for a, b in zip(kept, words, strict=True))] += 1
    # 1 swap of 20 chances at 0.05 each moves two words: 0.377 of the texts.
    assert moved[2] / 500 == pytest.approx(0.377, abs=0.06)
    assert moved[1] == 0
    assert len(found) / 500 == pytest.approx(1 - 0.95**20, abs=0.05)


def test_one_word_stays_at_least(vocabulary):
    found = augment(vocabulary, [TEXT] * 20, copies=1, delete_words=1.0)
    assert {row["text"] for row in found} <= set(TEXT.split())
    assert len({row["text"] for row in found}) > 3  # and not always the same one


def test_one_word_that_stays_has_none_to_swap_with(vocabulary):
    rules = {"delete_words": 1.0, "swap_words": 1.0}
    found = augment(vocabulary, ["good phone"] * 20, copies=1, **rules)
    assert {row["text"] for row in found} == {"good", "phone"}


def test_texts_of_one_word_have_no_copies_by_words(vocabulary):
    texts = ["good", "  good\n", "", "とても良い商品です。"]
    rules = {"copies": 3, "delete_words": 0.5, "swap_words": 0.5}
    assert augment(vocabulary, texts, **rules) == []
    by_pieces = augment(vocabulary, texts, **rules, subword_alpha=0.1)
    assert {row["text"] for row in by_pieces} == {"good", "  good\n", texts[3]}


def test_the_unicode_form_comes_before_the_segmentation(vocabulary, monkeypatch):
    # What SentencePiece's own rule would do to the text, the form does before it.
    seen = []
    sample = _SegmentationSampler.sample
    monkeypatch.setattr(
        _SegmentationSampler,
        "sample",
        lambda self, text, key: seen.append(text) or sample(self, text, key),
    )
    for form in ("none", "NFC", "NFKC"):
        augment(
            vocabulary,
            ["ﬁt e\u0301"],
            TextRules(unicode=form),
            copies=1,
            subword_alpha=1,
        )
    assert seen == ["ﬁt e\u0301", "ﬁt \u00e9", "fit \u00e9"]


@pytest.mark.parametrize("form", ["none", "NFKC"])
def test_segmentations_are_of_the_same_text(vocabulary, pieces, form):
    text = f"{TEXT} ﬁt e\u0301 ½ \u3000 \u00b4 {TEXT}  "
    found = augment(
        vocabulary, [text], TextRules(unicode=form), copies=16, subword_alpha=0.1
    )
    (original,) = make_examples(vocabulary, [text], TextRules(unicode=form)).to_pylist()
    decoded = {
        pieces.decode([i - 1 for i in row["token_ids"][1:-1] if i != 3])
        for row in [original, *found]
    }
    assert len(decoded) == 1
    assert {row["text"] for row in found} == {text}
    assert len({tuple(row["token_ids"]) for row in found}) == len(found) == 16


def test_words_that_stay_keep_the_white_space_between_them(vocabulary):
    text = "good  phone\ncase\t"
    found = augment(vocabulary, [text], copies=4, swap_words=1e-9, subword_alpha=0.1)
    assert [row["text"] for row in found] == [text] * 4


def test_segmentations_come_by_their_probability(vocabulary, pieces):
    """Of one word: exp(alpha * score) over the sum of the n best ones."""
    alpha, rows = 0.1, 4000
    scored = {
        tuple(piece.id for piece in one.pieces): math.exp(alpha * one.score)
        for one in pieces.nbest_encode(
            "perfectly", nbest_size=16, out_type="immutable_proto"
        ).nbests
    }
    total = sum(scored.values())
    assert len(scored) > 4
    found = Counter(
        tuple(i - 1 for i in row["token_ids"][1:-1])
        for row in augment(
            vocabulary, ["perfectly"] * rows, copies=1, subword_alpha=alpha
        )
    )
    found[tuple(pieces.encode("perfectly"))] = rows - sum(found.values())  # left out
    assert set(found) <= set(scored)
    for segmentation, weight in scored.items():
        share = weight / total
        deviation = math.sqrt(share * (1 - share) / rows)
        assert abs(found[segmentation] / rows - share) < 4.5 * deviation


def test_copies_that_tell_nothing_new_are_left_out(vocabulary):
    # "a b" has two other forms: "b a", and with a word left out "a" and "b".
    found = augment(vocabulary, ["a b"] * 8, copies=16, swap_words=0.3)
    assert [row["text"] for row in found] == ["b a"] * 8
    assert len({row["id"].split("#")[0] for row in found}) == 8
    # What truncation hides tells nothing either.
    hidden = augment(
        vocabulary, ["a " * 50], TextRules(max_tokens=4), copies=4, delete_words=0.1
    )
    assert hidden == []


def test_none_at_all(vocabulary):
    assert augment(vocabulary, [TEXT], copies=0) == []
    for way in WAYS:
        assert augment(vocabulary, [], copies=2, **way) == []


def test_long_words_keep_their_best_segmentation(vocabulary):
    assert augment(vocabulary, ["great" * 41], copies=4, subword_alpha=0.1) == []
    assert augment(vocabulary, ["great" * 40], copies=4, subword_alpha=0.1)


def test_a_file_that_is_no_vocabulary(tmp_path):
    rules = AugmentRules(copies=1, subword_alpha=0.1)
    with pytest.raises(UserError, match="is no SentencePiece model"):
        Augmenter(str(tmp_path / "none"), TextRules(), rules)
