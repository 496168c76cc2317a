"""Rules that bless a model, and what they say of models that win, lose or tie."""

import numpy as np
import pytest

from reviewbeam.components.common.blessing_config import BlessingConfig
from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.evaluation.blessing import Judge
from reviewbeam.components.evaluation.predictions import Predictions

NAMES = ("negative", "neutral", "positive")


def make_predictions(true, right, languages):
    """Predictions that are right where it is said, else of the next class."""
    true, right = np.asarray(true), np.asarray(right, bool)
    predicted = np.where(right, true, (true + 1) % 3)
    probabilities = np.full((len(true), 3), 0.1, np.float32)
    probabilities[np.arange(len(true)), predicted] = 0.8
    return Predictions(
        ids=[str(i) for i in range(len(true))],
        languages=languages,
        true=true,
        predicted=predicted,
        probabilities=probabilities,
        tokens=np.full(len(true), 9),
        truncated=np.zeros(len(true), bool),
        count=np.ones(len(true), np.int64),
        kept={"product": ["p"] * len(true)},
    )


def make_judge(rules, kind="multiclass", **options):
    return Judge(
        rules and check_config(BlessingConfig, rules, "config"),
        LabelRules(type=kind, names=NAMES),
        BootstrapConfig(resamples=options.get("resamples", 400)),
        options.get("min_slice_rows", 50),
    )


@pytest.fixture(scope="module")
def rows():
    """600 rows of two languages and 20 of a third: true classes and languages."""
    random = np.random.default_rng(0)
    true = random.integers(0, 3, 620)
    return true, ["en"] * 300 + ["de"] * 300 + ["fr"] * 20


def half_right(count=620):
    return np.arange(count) % 4 != 0


def judge(rules, rows, model, baseline=None, unseen=None, **options):
    true, languages = rows
    made = [
        None if right is None else make_predictions(true, right, languages)
        for right in (model, baseline)
    ]
    unseen = np.ones(len(true), bool) if unseen is None else unseen
    return make_judge(rules, **options).judge(*made, unseen)


def verdicts(found):
    return [(r["rule"], r.get("value"), r["verdict"]) for r in found["rules"]]


def test_bounds_alone(rows):
    right = half_right()
    rules = {"min": {"accuracy": 0.75}, "max": {"brier": 0.6}, "min_rows": 1}
    found = judge(rules, rows, right)
    assert found["verdict"] == "blessed" and found["reason"] is None
    assert [rule["model"] for rule in found["rules"]] == [
        0.75, pytest.approx(0.75 * 0.06 + 0.25 * (0.64 + 0.81 + 0.01), abs=1e-6)
    ]  # fmt: skip
    found = judge(rules | {"min": {"accuracy": 0.7501, "f1": 0.1}}, rows, right)
    assert found["verdict"] == "not blessed"
    assert verdicts(found) == [
        ("min", None, "broken"), ("min", None, "holds"), ("max", None, "holds")
    ]  # fmt: skip
    found = judge(rules | {"max": {"brier": 0.3}}, rows, right)
    assert verdicts(found)[1] == ("max", None, "broken")


def test_too_few_rows_give_no_verdict(rows):
    unseen = np.zeros(620, bool)
    unseen[:199] = True
    rules = {"min": {"accuracy": 0.0}}
    found = judge(rules, rows, half_right(), unseen=unseen)
    assert found["verdict"] == "no verdict" and not found["rules"]
    assert "199 rows are left" in found["reason"] and "is 200" in found["reason"]
    unseen[199] = True
    assert judge(rules, rows, half_right(), unseen=unseen)["verdict"] == "blessed"


def test_only_rows_that_no_model_saw_are_judged(rows):
    right = half_right()
    unseen = right.copy()  # on what was left out both are wrong
    found = judge({"min": {"accuracy": 1.0}}, rows, right, right, unseen)
    assert found["verdict"] == "blessed"
    assert found["judged_rows"] == np.count_nonzero(unseen)
    assert found["differences"]["accuracy"]["baseline"] == 1.0


def test_a_rule_against_a_baseline_says_nothing_without_one(rows):
    rule = {"metric": "accuracy"}
    found = judge({"must_not_lose": rule}, rows, half_right())
    assert found["verdict"] == "no verdict" and "no baseline" in found["reason"]
    found = judge({"min": {"accuracy": 0.5}, "must_not_lose": rule}, rows, half_right())
    assert found["verdict"] == "blessed" and len(found["rules"]) == 1


def test_without_rules_figures_are_compared_and_nothing_is_judged(rows):
    found = judge(None, rows, np.ones(620), half_right())
    assert found["verdict"] == "no verdict" and "no rules" in found["reason"]
    assert found["differences"]["accuracy"]["difference"] == 0.25
    assert found["mcnemar"]["only_model_right"] == 155
    make_judge(None, resamples=0).check([])
    none = judge(None, rows, half_right(), half_right(), np.zeros(620, bool))
    assert none["verdict"] == "no verdict" and "differences" not in none


def test_the_same_model_loses_nothing(rows):
    rules = {"must_not_lose": [{"metric": "f1", "slice": "language"}]}
    found = judge(rules, rows, half_right(), half_right())
    assert found["verdict"] == "blessed"
    assert verdicts(found) == [
        ("must_not_lose", "de", "holds"),
        ("must_not_lose", "en", "holds"),
        ("must_not_lose", "fr", "too small"),
    ]
    assert found["mcnemar"]["p_value"] == 1.0
    assert found["differences"]["macro_f1"]["interval"] == [0.0, 0.0]


def test_a_loss_in_one_language_alone_breaks_the_rule(rows):
    old, new = half_right(), half_right()
    new[:300] = True  # en is better by far
    new[300:600] = np.arange(300) % 5 > 1  # de is worse: 0.6
    overall = {"must_not_lose": {"metric": "accuracy"}}
    found = judge(overall, rows, new, old)
    assert found["verdict"] == "blessed"
    assert found["differences"]["accuracy"]["interval"][0] > -0.05

    by_language = {"must_not_lose": {"metric": "accuracy", "slice": "language"}}
    found = judge(by_language, rows, new, old)
    assert found["verdict"] == "not blessed"
    assert verdicts(found)[0] == ("must_not_lose", "de", "broken")
    (rule,) = (rule for rule in found["rules"] if rule["value"] == "de")
    assert (rule["model"], rule["baseline"], rule["rows"]) == (0.6, 0.75, 300)
    asked = by_language["must_not_lose"] | {"margin": 0, "undecided": "allow"}
    assert {key: rule[key] for key in asked} == asked
    assert rule["difference"] == pytest.approx(-0.15) and rule["interval"][1] < 0
    by_language["must_not_lose"]["margin"] = 0.16
    found = judge(by_language, rows, new, old)
    assert found["verdict"] == "blessed"
    assert verdicts(found)[0][2] == "undecided"  # it may have lost more than the margin


def test_what_is_chance_is_undecided(rows):
    old, new = half_right(), half_right()
    new[[1, 2]], new[[4]] = False, True  # one row of 620 lost
    rule = {"metric": "accuracy"}
    found = judge({"must_not_lose": rule}, rows, new, old)
    assert found["rules"][0]["difference"] == pytest.approx(-1 / 620)
    assert verdicts(found)[0][2] == "undecided" and found["verdict"] == "blessed"
    found = judge({"must_not_lose": rule | {"undecided": "refuse"}}, rows, new, old)
    assert found["verdict"] == "not blessed"
    rule |= {"undecided": "refuse", "margin": 0.02}
    found = judge({"must_not_lose": rule}, rows, new, old)
    assert verdicts(found)[0][2] == "holds" and found["verdict"] == "blessed"


def test_a_rule_that_no_slice_is_large_enough_for_gives_no_verdict(rows):
    rules = {"must_not_lose": {"metric": "f1", "slice": "language"}}
    right = half_right()
    found = judge(rules, rows, right, right, min_slice_rows=301)
    assert {v for _, _, v in verdicts(found)} == {"too small"}
    assert (
        found["verdict"] == "no verdict"
        and "no language has the 301" in (found["reason"])
    )
    rules |= {"min": {"accuracy": 1.0}}  # broken whatever the languages say
    found = judge(rules, rows, right, right, min_slice_rows=301)
    assert found["verdict"] == "not blessed"


def test_of_an_error_less_is_more(rows):
    old, new = half_right(), half_right()
    new[:300] = np.arange(300) % 2 == 0
    for metric in ("log_loss", "brier", "accuracy"):
        rules = {"must_not_lose": {"metric": metric, "margin": 0.001}}
        assert judge(rules, rows, new, old)["verdict"] == "not blessed"
        assert judge(rules, rows, old, new)["verdict"] == "blessed"


def test_a_greater_error_by_chance_is_undecided(rows):
    old, new = half_right(), half_right()
    new[[1, 2]], new[[4]] = False, True
    found = judge({"must_not_lose": {"metric": "log_loss"}}, rows, new, old)
    assert found["rules"][0]["difference"] > 0
    assert verdicts(found)[0][2] == "undecided"


def test_of_a_slice_too_only_rows_that_no_model_saw_are_judged(rows):
    old, new = half_right(), half_right()
    new[300:400] = False  # lost in de, on rows that were trained on
    unseen = np.ones(620, bool)
    unseen[300:400] = False
    rules = {"must_not_lose": {"metric": "accuracy", "slice": "language"}}
    found = judge(rules, rows, new, old, unseen)
    assert verdicts(found)[0] == ("must_not_lose", "de", "holds")
    assert found["rules"][0]["rows"] == 200
    assert judge(rules, rows, new, old)["verdict"] == "not blessed"


def test_a_figure_that_no_resample_has_is_undecided(rows):
    true, languages = rows
    true = np.where(np.array(languages) == "de", 0, true)  # roc_auc has no meaning
    rule = {"metric": "roc_auc", "slice": "language"}
    found = judge(
        {"must_not_lose": rule}, (true, languages), half_right(), half_right()
    )
    assert [v for _, _, v in verdicts(found)] == ["undecided", "holds", "too small"]
    found = judge({"min": {"roc_auc": 0.1}}, (true * 0, languages), half_right())
    assert found["rules"][0]["model"] is None and found["verdict"] == "not blessed"


def test_rows_may_count_as_often_as_the_corpus_had_them(rows):
    true, languages = rows
    right = half_right()
    weights = np.where(right, 1.0, 3.0)  # a quarter of the rows is wrong
    made = make_predictions(true, right, languages)
    found = make_judge({"min": {"accuracy": 0.5}, "min_rows": 1}).judge(
        made, made, np.ones(620, bool), weights
    )
    assert found["rules"][0]["model"] == pytest.approx(0.5)
    assert found["differences"]["accuracy"]["model"] == pytest.approx(0.5)


def test_multilabel_rows_are_right_as_a_whole(rows):
    true = np.eye(3, dtype=np.int64)[rows[0]]
    right = half_right()
    predicted = np.where(right[:, None], true, np.roll(true, 1, axis=1))
    base = make_predictions(rows[0], right, rows[1])
    made = Predictions(**{**vars(base), "true": true, "predicted": predicted})
    judge = make_judge(
        {"min": {"accuracy": 0.75, "micro_f1": 0.7}, "max": {"hamming_loss": 0.2}},
        "multilabel",
    )
    judge.check(["language"])
    found = judge.judge(made, made, np.ones(620, bool))
    assert found["verdict"] == "blessed"
    assert found["rules"][2]["model"] == pytest.approx(0.25 * 2 / 3)
    assert found["mcnemar"]["only_model_right"] == 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"min": {"macro_f": 1}}, r"min names 'macro_f' \(did you mean 'macro_f1'\?\)"),
        ({"min": {"f1.neutrl": 1}}, "did you mean 'f1.neutral'"),
        ({"max": {"within_one": 1}}, "no figure of these labels"),
        (
            {"min": {"ece": 0.1}},
            r"the better the lower it is. Put it under blessing\.max\.",
        ),
        (
            {"max": {"f1": 0.1}},
            r"the better the higher it is. Put it under blessing\.min\.",
        ),
        (
            {"must_not_lose": {"metric": "macro_f1", "slice": "langauge"}},
            r"the slice 'langauge' \(did you mean 'language'\?\)",
        ),
        ({"must_not_lose": [{"metric": "F1"}]}, "did you mean 'f1'|names 'F1'"),
    ],
)
def test_a_rule_on_what_there_is_not_is_refused(rules, message):
    with pytest.raises(UserError, match=message):
        make_judge(rules).check(["language", "length", "product"])


def test_a_comparison_needs_resamples():
    rules = {"must_not_lose": {"metric": "f1", "slice": "product"}}
    make_judge(rules).check(["product"])
    with pytest.raises(UserError, match="resamples is 0"):
        make_judge(rules, resamples=0).check(["product"])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "names no rule"),
        ({"min_rows": 5}, "names no rule"),
        ({"mim": {"accuracy": 1}}, "did you mean 'min'"),
        ({"must_not_lose": {"metric": "f1", "margin": -0.1}}, "margin"),
        ({"must_not_lose": [{"slice": "language"}]}, "metric"),
    ],
)
def test_rules_are_checked_as_any_config_is(rules, message):
    with pytest.raises(UserError, match=message):
        check_config(BlessingConfig, rules, "config")


def test_one_rule_needs_no_list():
    rule = {"metric": "f1", "slice": "language", "margin": 0.01}
    one, many = (
        check_config(BlessingConfig, {"must_not_lose": given}, "config")
        for given in (rule, [rule])
    )
    assert one == many and one.must_not_lose[0].margin == 0.01
