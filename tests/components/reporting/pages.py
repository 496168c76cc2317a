"""What jobs would tell, of any size and as hostile as one likes."""

from reviewbeam.components.common.serving_drift_config import FEATURES
from reviewbeam.components.reporting.scores_figures import ScoresRun, Speed
from tests.browser import HOSTILE

FILE = {
    "format": "jsonl", "sha256": "0", "bytes": 1000, "damaged": None, "duplicates": 0,
    "rejected": {}, "left_out": {}, "repaired": {}, "allowed": {},
}  # fmt: skip


def dataset_facts(*, rows=100, files=1, languages=("en",), labels=("bad", "good")):
    """A manifest in which every language has every label, as evenly as it goes."""
    each = rows // (files or 1)
    inputs = [
        FILE | {"file": f"day-{number}.jsonl", "rows": each, "written": {"train": each}}
        for number in range(files)
    ]
    share = rows // (len(languages) * len(labels) or 1)
    split = {
        "examples": rows, "tokens": rows * 20, "longest": 64, "truncated": rows // 50,
        "labels": {label: share * len(languages) for label in labels},
        "languages": {name: dict.fromkeys(labels, share) for name in languages},
        "histograms": {
            "rows": rows, "squares": rows,
            "counts": {"tokens": {"16": rows}, "characters": {"64": rows}},
        } if rows else None,
        "shards": [],
    }  # fmt: skip
    mapped = {label: share * len(languages) for label in labels}
    return {
        "inputs": inputs,
        "splits": {"train": split},
        "labels": {"type": "multiclass", "names": list(labels), "mapping": {}},
        "label_values": {"mapped": mapped, "unknown": {}},
        "label_conflicts": {"texts": 0, "some": []},
        "text": {"max_tokens": 64},
        "augmented": None,
        "anomalies": [],
        "drift": [],
        "fingerprint": "f" * 64,
    }


def hostile_dataset():
    """A manifest whose every word comes from an enemy."""
    evil = list(HOSTILE)
    facts = dataset_facts(languages=evil, labels=evil)
    facts["inputs"] = [
        FILE
        | {
            "file": word, "rows": 9, "written": {"train": 1}, "damaged": word,
            "rejected": {word: 2}, "left_out": {word: 2}, "repaired": {word: 1},
            "allowed": {word: 1}, "duplicates": 4, "format": word,
        }
        for word in evil
    ]  # fmt: skip
    facts["label_values"] |= {"unknown": dict.fromkeys(evil, 3)}
    facts["labels"]["mapping"] = dict(zip(evil, reversed(evil), strict=True))
    facts["label_conflicts"] = {
        "texts": 50,
        "some": [
            {"file": word, "row": 3, "labels": {word: 1, "b": 2}, "text": word}
            for word in evil
        ],
    }
    facts["anomalies"] = evil
    facts["drift"] = [
        {"feature": word, "measure": "L_INFTY", "figure": 0.5, "threshold": 0.1,
         "value": word}
        for word in evil
    ]  # fmt: skip
    facts["augmented"] = facts["splits"]["train"] | {"examples": 7}
    facts["fingerprint"] = evil[0]
    return facts


def entry(file, rows=10, rejected=None):
    """A file of a run of score."""
    rejected = rejected or {}
    written = rows - sum(rejected.values())
    return {
        "file": file, "bytes": 100, "rows": rows, "written": written,
        "rejected": rejected, "left_out": {}, "complete": True,
    }  # fmt: skip


def drift_of(feature, **changes):
    """What is told of a feature that is as in training."""
    return {
        "feature": feature, "measure": "L_INFTY", "threshold": 0.1, "figure": 0.01,
        "exceeded": False, "fatal": False, "value": "en", "share": 0.5,
        "training_share": 0.49, "not_measured": None,
    } | changes  # fmt: skip


def scores_run(
    *, rows=100, files=1, languages=("en",), labels=("bad", "good"), **changes
):
    """A run of score, and what differs from it in its report or besides."""
    share = rows // (len(languages) * len(labels) or 1)
    by_language = {f"{n}\t{label}": share for n in languages for label in labels}
    counts = {
        "predicted_label": dict.fromkeys(labels, share * len(languages)),
        "label_by_language": by_language,
        "language": dict.fromkeys(languages, share * len(labels)),
        "confidence": {"0.9": rows},
        "tokens": {"16": rows},
    }
    report = {
        "version": "m-1", "known": 0, "damaged": {}, "removed": [], "unfinished": 0,
        "inference": {
            "engine": "tensorflow", "batch_tokens": 4096, "threads": 2, "calls": 3,
            "tokens": 2000, "padded_tokens": 2500,
        },
        "drift": [drift_of(feature) for feature in FEATURES],
        "stopped": False, "total": rows, "page": None,
        "scored": [entry(f"n-{n}.jsonl", rows // files) for n in range(files)],
    }  # fmt: skip
    training = {
        "train": {
            "labels": dict.fromkeys(labels, 50),
            "languages": {name: dict.fromkeys(labels, 5) for name in languages},
            "histograms": {"counts": counts},
        },
        "predictions": {"histograms": {"counts": counts}},
    }
    about = {
        "started": "2026-11-23 01:00 UTC",
        "statistics": {"rows": rows, "squares": rows, "counts": counts},
        "training": training,
        "labels": labels,
        "max_tokens": 64,
        "speed": Speed(rows=rows, tokens=2000, padded_tokens=2500, seconds=4.0),
        "versions": [
            {"name": "m-1", "files": files, "rows": rows, "written": rows,
             "rejected": 0},
        ],
        "model": {"Model": "abc"},
    }  # fmt: skip
    own = {key: changes.pop(key) for key in list(changes) if key in report}
    return ScoresRun(report=report | own, **(about | changes))


def hostile_scores():
    """A run of score whose every word comes from an enemy."""
    evil = list(HOSTILE)
    return scores_run(
        languages=evil,
        labels=evil,
        scored=[entry(word, 10, {word: 2}) for word in evil],
        damaged=dict(zip(evil, reversed(evil), strict=True)),
        removed=evil,
        drift=[drift_of(word, value=word, exceeded=True) for word in evil]
        + [drift_of(word, figure=None, not_measured=word) for word in evil],
        model={word: word for word in evil},
        versions=[
            {"name": word, "files": 1, "rows": 2, "written": 1, "rejected": 1}
            for word in evil
        ],
        stopped=True,
        unfinished=3,
        version=evil[0],
    )
