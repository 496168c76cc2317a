import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from reviewbeam.components.common.train_config import SamplingConfig
from reviewbeam.components.trainer.sampling import described_mix, epoch_rows
from tests.components.trainer.splits import make_split


def split_of(languages):
    return make_split([([0, 2], 0)] * len(languages), languages or ["en"])


def sampling(alpha):
    return SamplingConfig(alpha=alpha)


def seen(split, rows):
    """How often each row is drawn."""
    assert rows.dtype == np.int64
    return np.bincount(rows, minlength=len(split))


def test_without_sampling_every_row_is_seen_once():
    split = split_of(["en", "de", None])
    assert epoch_rows(split, None, seed=1, epoch=3).tolist() == [0, 1, 2]


def test_shares_are_powers_of_shares_by_hand():
    split = split_of(["en"] * 81 + ["de"] * 16 + [None])
    # To the power of one half: 9 to 4 to 1, of 98 rows.
    counts = seen(split, epoch_rows(split, sampling(0.5), seed=1, epoch=0))
    found = [counts[:81].sum(), counts[81:97].sum(), counts[97]]
    assert found == [63, 28, 7]
    assert described_mix(split, sampling(0.5)) == [
        {"language": "en", "rows": 81, "seen": 63},
        {"language": "de", "rows": 16, "seen": 28},
        {"language": None, "rows": 1, "seen": 7},
    ]


def test_alpha_zero_makes_languages_equal():
    split = split_of(["en"] * 20 + ["de"] * 3 + ["fr"])
    mix = described_mix(split, sampling(0.0))
    assert [entry["seen"] for entry in mix] == [8, 8, 8]


@pytest.mark.parametrize("alpha", [1.0, None])
def test_alpha_one_leaves_the_mix_as_it_is(alpha):
    languages = ["en", "de", "en", None, "fr", "en", "de"]
    split = split_of(languages)
    config = alpha and sampling(alpha)
    for epoch in range(3):
        rows = epoch_rows(split, config, seed=1, epoch=epoch)
        assert rows.tolist() == list(range(7))
    mix = described_mix(split, config)
    assert all(entry["rows"] == entry["seen"] for entry in mix)
    assert [entry["rows"] for entry in mix] == [3, 2, 1, 1]


def test_what_is_left_over_goes_to_the_largest_remainders():
    # 6 rows, to equal parts over four languages: 1.5 each, two get one more.
    split = split_of(["en", "en", "en", "de", "fr", "it"])
    seen_of = [entry["seen"] for entry in described_mix(split, sampling(0.0))]
    assert sorted(seen_of) == [1, 1, 2, 2]


@hypothesis.given(
    st.lists(st.sampled_from(["en", "en", "en", "de", "fr", None]), min_size=1),
    st.floats(0, 1),
    st.integers(0, 99),
    st.integers(0, 9),
)
@hypothesis.settings(deadline=None)
def test_every_epoch_is_full_and_even(languages, alpha, seed, epoch):
    split = split_of(languages)
    rows = epoch_rows(split, sampling(alpha), seed, epoch)
    counts = seen(split, rows)
    assert len(rows) == len(split)
    assert (np.diff(rows) >= 0).all()
    mix = {entry["language"]: entry for entry in described_mix(split, sampling(alpha))}
    total = sum(entry["rows"] ** alpha for entry in mix.values())
    for language, entry in mix.items():
        own = counts[[i for i, value in enumerate(languages) if value == language]]
        assert len(own) == entry["rows"]
        # Of a language no row is seen two times more than another one.
        mean = own.sum() / len(own)
        assert set(own.tolist()) <= {int(np.floor(mean)), int(np.ceil(mean))}
        # It gets what its share to the power of alpha says, to the whole row.
        assert own.sum() == entry["seen"]
        exact = entry["rows"] ** alpha / total * len(split)
        assert abs(own.sum() - exact) < 1 + 1e-9
    np.testing.assert_array_equal(rows, epoch_rows(split, sampling(alpha), seed, epoch))


def test_epochs_and_seeds_choose_for_themselves():
    split = split_of(["en"] * 900 + ["de"] * 100)
    chosen = [
        epoch_rows(split, sampling(0.3), seed, epoch).tolist()
        for seed, epoch in [(1, 0), (1, 1), (1, 2), (2, 0)]
    ]
    assert all(a != b for i, a in enumerate(chosen) for b in chosen[:i])
    # Who was left out comes in later: after some epochs nearly all were seen.
    rows = [set(epoch_rows(split, sampling(0.3), 1, epoch)) for epoch in range(8)]
    first, all_epochs = len(rows[0]), len(set.union(*rows))
    assert first < 800
    assert all_epochs > 985
