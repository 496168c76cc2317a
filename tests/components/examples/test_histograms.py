import pyarrow as pa

from reviewbeam.components.examples.describe import describe
from reviewbeam.components.examples.histograms import histograms_by_split


def test_each_split_is_counted_with_its_copies():
    examples = pa.RecordBatch.from_pydict(
        {
            "split": ["train", "test", "train"],
            "label_index": pa.array([0, 0, 1], pa.int32()),
            "language": pa.array(["de", None, "a mail"], pa.string()),
            "text": ["gut", "ok 👍", "größe"],
            "tokens": pa.array([3, 5, 90], pa.int32()),
            "unknown_tokens": pa.array([0, 1, 9], pa.int32()),
            "truncated": [False, False, True],
            "count": [4, 1, 1],
            "file": ["f"] * 3,
            "slice": pa.array([0] * 3, pa.int64()),
            "row": pa.array([1, 2, 3], pa.int64()),
        }
    )
    found = dict(histograms_by_split(describe(examples, ("bad", "good"))))
    assert found == {
        "train": {
            "rows": 5,
            "squares": 17,
            "counts": {
                "characters": {"3": 4, "6": 1},
                "tokens": {"3": 4, "91": 1},
                "unknown_token_share": {"0": 4, "0.1": 1},
                "emoji_share": {"0": 5},
                "non_letter_share": {"0": 5},
                "truncated": {"no": 4, "yes": 1},
                "language": {"de": 4, "other": 1},
            },
        },
        "test": {
            "rows": 1,
            "squares": 1,
            "counts": {
                "characters": {"4": 1},
                "tokens": {"6": 1},
                "unknown_token_share": {"0.2": 1},
                "emoji_share": {"0.3": 1},
                "non_letter_share": {"0.3": 1},
                "truncated": {"no": 1},
                "language": {"(none)": 1},
            },
        },
    }
