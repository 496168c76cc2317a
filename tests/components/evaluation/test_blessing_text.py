"""A verdict as text: what a reader of it is told, figure by figure."""

from reviewbeam.components.evaluation.blessing_text import blessing_text, rule_text

FOUND = {
    "model": 0.713,
    "baseline": 0.7,
    "difference": 0.013,
    "interval": [-0.002, 0.027],
}
LOSS = {
    "rule": "must_not_lose",
    "metric": "f1",
    "slice": None,
    "value": None,
    "margin": 0.01,
    "rows": 250,
}


def test_what_a_rule_asked_for_and_found():
    compared = "0.7130 against 0.7000, +0.0130 [-0.0020, +0.0270]"
    asked = "must not lose more than 0.01"
    assert rule_text(LOSS | FOUND) == f"f1 {asked}, {compared}, 250 rows"
    assert (
        rule_text(LOSS | FOUND | {"slice": "language", "value": "de", "interval": None})
        == f"f1 of language de {asked}, 0.7130 against 0.7000, +0.0130, 250 rows"
    )
    assert rule_text(LOSS) == f"f1 {asked}, 250 rows"  # too few to compare
    bound = {"rule": "min", "metric": "accuracy", "bound": 0.8, "model": 0.75}
    assert rule_text(bound) == "accuracy 0.7500, at least 0.8 was asked for"
    bound |= {"rule": "max", "model": None}
    assert rule_text(bound) == "accuracy no figure, at most 0.8 was asked for"


def test_a_verdict_line_by_line():
    verdict = {
        "verdict": "not blessed",
        "reason": "1 of 2 rules don't hold",
        "judged_rows": 250,
        "evaluated_rows": 300,
        "left_out_rows": 50,
        "rules": [
            LOSS | {"verdict": "holds"},
            LOSS | {"metric": "ece", "verdict": "broken"},
        ],
    }
    lines = [
        "Verdict: not blessed: 1 of 2 rules don't hold",
        "  judged by 250 of 300 rows; 50 were left out, since a model was trained on "
        "their texts",
        "  broken: ece must not lose more than 0.01, 250 rows",
        "  holds: f1 must not lose more than 0.01, 250 rows",
    ]
    assert blessing_text(verdict).splitlines() == lines
    verdict |= {
        "differences": {"accuracy": FOUND},
        "mcnemar": {
            "only_model_right": 30,
            "only_baseline_right": 11,
            "p_value": 0.0042,
        },
    }
    assert blessing_text(verdict).splitlines() == [
        *lines,
        "  accuracy: 0.7130 against 0.7000, +0.0130 [-0.0020, +0.0270]",
        "  right where the baseline is wrong: 30 rows; wrong where it is right: 11 "
        "(McNemar's test: p = 0.0042)",
    ]
    told = blessing_text(verdict | {"verdict": "blessed", "reason": None})
    assert told.startswith("Verdict: blessed\n")
