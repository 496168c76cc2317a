"""The figures of `score.py` side by side."""

import statistics
from typing import Any

import numpy as np

_INT8 = "openvino-int8"
# Ours, theirs, the figure that is compared, and how much faster it should be.
_GOALS = [
    ("fp32", "hf-32", "speed", 4.0),
    ("fp32", "hf-sorted", "speed", 1.3),
    ("fp32", "beam", "speed", 1.0),
    ("fp32", "bare", "speed", 0.9),
    ("fp32", "hf-32", "whole", 1.0),
    (_INT8, "hf-32", "speed", 8.0),
    (_INT8, "fp32", "speed", 1.8),
    (_INT8, "ctranslate2-int8", "speed", 1.3),
]


def compare_scores(found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Returns and prints how far each contender's scores are from the first one's."""
    first, expected = next(iter(found.items()))
    order = list(expected)
    reference = np.array([expected[key] for key in order])
    agreement = {}
    print(f"\nprobabilities, against those of {first}")
    for name, scores in found.items():
        matrix = np.array([scores[key] for key in order])
        differences = np.abs(matrix - reference).max(axis=1)
        same = (matrix.argmax(axis=1) == reference.argmax(axis=1)).mean()
        agreement[name] = {
            "largest_difference": float(differences.max()),
            "rows_beyond_1e-4": int((differences > 1e-4).sum()),
            "labels_agree": float(same),
        }
        print(
            f"{name:24}largest difference {differences.max():.1e}, beyond 1e-4 in "
            f"{agreement[name]['rows_beyond_1e-4']} rows; labels agree {same:.2%}"
        )
    return agreement


def ratios(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Returns and prints our speed as a multiple of the others', by round."""
    groups = {name: [name] for name in runs}
    exact = [name for name in ("tensorflow", "openvino") if name in runs]
    bounds = [n for n in runs if n.startswith("bare-") or n == "onnx"]
    groups |= {"fp32": exact, "bare": bounds}
    found = {}
    for mine, theirs, figure, goal in _GOALS:
        others = groups.get(theirs)
        if not groups.get(mine) or not others:
            continue
        of_rounds = [
            max(runs[n][i][figure] for n in groups[mine])
            / max(runs[n][i]["bare" if theirs == "bare" else figure] for n in others)
            for i in range(len(runs[others[0]]))
        ]
        title = f"{mine} / {theirs}, {'after load' if figure == 'speed' else figure}"
        found[title] = {"ratio": statistics.median(of_rounds), "goal": goal}
        print(
            f"{title:44}{found[title]['ratio']:6.2f} ({min(of_rounds):.2f} to "
            f"{max(of_rounds):.2f}), goal {goal}"
        )
    return found


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Returns the median of each figure."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def say(title: str, run: dict[str, float]) -> None:
    """Prints the figures of a run."""
    print(
        f"{title:26}{run['speed']:8.1f} reviews/s {run['tokens']:8.0f} tokens/s "
        f"{run['after load']:7.1f} s after load "
        f"{run['bare']:8.1f} bare {run['wall']:7.1f} s whole "
        f"{run['rss'] / 1e6:6.0f} MB {run['padding']:6.1%} padding "
        f"{run['others']:5.2f} others",
        flush=True,
    )
