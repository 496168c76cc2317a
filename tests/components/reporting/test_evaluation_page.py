import pytest

from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.reporting.evaluation_page import evaluation_page
from tests.browser import HOSTILE, chromium
from tests.components.evaluation.rows import predictions_of, random_predictions
from tests.components.reporting.made import (
    NAMES,
    languages,
    make_evaluation,
    make_metrics,
    make_training,
    words,
)

FEW = EvaluateConfig.model_validate(
    {"bootstrap": {"resamples": 0}, "slices": ["language", "length"]}
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def check(browser, tmp_path):
    """Returns a function that opens the page of an evaluation in a browser."""

    def run(evaluation, training, *texts):
        path = tmp_path / "report.html"
        path.write_text(evaluation_page(evaluation, training), encoding="utf-8")
        assert path.stat().st_size < 1_000_000
        browser.open(path, *texts)

    return run


def said_of(metrics, verdict=None, training=None):
    return words(evaluation_page(make_evaluation(metrics, verdict), training))


def make_verdict(verdict, *rules, reason=None, **more):
    return {
        "verdict": verdict,
        "reason": reason,
        "rules": list(rules),
        "rules_given": {"min": {}},
        "judged_rows": 190,
        "evaluated_rows": 200,
        "left_out_rows": 10,
    } | more


def bound(verdict, found=0.75):
    return {
        "rule": "min",
        "metric": "macro_f1",
        "bound": 0.8,
        "model": found,
        "verdict": verdict,
    }


DIFFERENCE = {
    "model": 0.7,
    "baseline": 0.75,
    "difference": -0.05,
    "interval": [-0.08, -0.02],
}
LOSS = {
    "rule": "must_not_lose",
    "metric": "macro_f1",
    "slice": "language",
    "value": "de",
    "margin": 0.01,
    "undecided": "allow",
    "rows": 99,
    "verdict": "undecided",
} | DIFFERENCE


# === The verdict ===


def test_a_broken_rule_is_the_first_thing_on_the_page(check):
    metrics = make_metrics()
    verdict = make_verdict(
        "not blessed",
        bound("holds", 0.9),
        bound("broken"),
        reason="1 of 2 rules don't hold",
        differences={"macro_f1": DIFFERENCE, "accuracy": DIFFERENCE},
        mcnemar={"only_model_right": 12, "only_baseline_right": 34, "p_value": 0.0021},
    )
    check(
        make_evaluation(metrics, verdict),
        make_training(),
        "Stopped Not blessed: 1 of 2 rules don't hold broken: macro_f1 0.7500, at "
        "least 0.8 was asked for Macro F1 ",
        "Judged by 190 of 200 reviews; 10 were left out",
        "broken macro_f1 0.7500, at least 0.8 was asked for holds macro_f1 0.9000",
        "Macro F1 against the baseline -0.050 -0.080 to -0.020",
        "macro F1 0.700 0.750 -0.050 -0.080 to -0.020",
        "Only this model is right on 12 reviews, only the baseline on 34 "
        "(McNemar's test: p = 0.0021)",
        "How the model was trained Training reviews 600",
        "2 (kept) 200 0.500",
    )


def test_a_blessed_model_may_leave_rules_undecided():
    page = evaluation_page(
        make_evaluation(make_metrics(), make_verdict("blessed", bound("holds"), LOSS)),
        None,
    )
    assert 'class="verdict warning"' in page
    said = words(page)
    assert "Blessed: no rule is broken, 1 of 2 undecided undecided: macro_f1 of" in said
    assert '<span class="badge warning">undecided</span>' in page
    assert said.count("-0.0500 [-0.0800, -0.0200], 99 rows") == 2


def test_without_rules_nothing_is_judged():
    metrics = make_metrics()
    figures = metrics["overall"]["figures"]
    f1, accuracy = figures["macro_f1"], figures["accuracy"]["value"]
    low, high = f1["interval"]
    expected = (
        "Not judged: the config has no rules Macro F1 "
        f"{f1['value']:.3f} ({low:.3f} to {high:.3f}), accuracy {accuracy:.3f}"
    )
    assert expected in said_of(metrics)
    compared = make_verdict("no verdict", reason="no rules", rules_given=None)
    assert expected in said_of(metrics, compared)


def test_a_gold_set_is_told():
    metrics = make_metrics(config=FEW) | {"gold": True, "split": "all"}
    assert "Evaluation on the gold set" in said_of(metrics)


def test_too_few_rows_give_no_verdict():
    verdict = make_verdict("no verdict", reason="3 rows are left")
    page = evaluation_page(make_evaluation(make_metrics(), verdict), None)
    assert 'class="verdict warning"' in page
    assert "No verdict on the model 3 rows are left" in words(page)


# === Figures ===


def test_the_figures_are_those_of_the_metrics():
    metrics = make_metrics(config=FEW)
    overall, told = metrics["overall"], metrics["reliability"]["before"]
    ece = overall["figures"]["ece"]["value"]
    before = told["expected_calibration_error"]
    german = metrics["languages"]["de"]
    said = said_of(metrics)
    for text in (
        f"Accuracy {overall['accuracy']:.3f}",
        f"Macro F1 {overall['macro']['f1']:.3f}",
        f"Calibration error {ece:.3f} uncalibrated: {before:.3f}",
        f"Reviews {overall['rows']} 3 languages",
        f"de ({german['rows']})",
        f"de {german['rows']} {german['accuracy']:.3f} {german['macro']['f1']:.3f}",
        "before calibration",
        "Most confident mistakes",
    ):
        assert text in said
    cells = [str(n) for row in overall["confusion_matrix"] for n in row]
    assert [word for word in said.split() if word in cells][:9] == cells


def test_the_most_confused_labels_come_first():
    metrics = make_metrics(config=FEW)
    matrix = metrics["overall"]["confusion_matrix"]
    cells = [
        (matrix[t][p], NAMES[t], NAMES[p]) for t in range(3) for p in range(3) if t != p
    ]
    rows, true, predicted = max(cells)
    share = rows / sum(matrix[NAMES.index(true)])
    expected = f"{true} {predicted} {rows} {share:.1%}".replace("%", " %")
    said = said_of(metrics)
    assert f"share of the true label {expected}" in said


def test_the_worst_language_is_one_that_can_be_told():
    metrics = make_metrics(config=FEW)
    values = {"de": 0.4, "fr": 0.2, "(unknown)": 0.9}
    for language, value in values.items():
        measured = metrics["languages"][language]
        measured["figures"]["macro_f1"]["value"] = value
        measured["too_small"] = language == "fr"
    assert "Worst language 0.400 de" in said_of(metrics)


def test_texts_seen_in_training_are_a_warning():
    metrics = make_metrics(config=FEW) | {
        "seen_in_training": {"training": 50, "validation": 0}
    }
    said = said_of(metrics)
    assert "Seen before 50 texts that the model was trained on" in said
    assert "the model was trained on the texts of 50 rows" in said


@pytest.mark.parametrize("kind", ["binary", "ordinal", "multilabel"])
def test_other_types_of_labels(kind):
    names = NAMES[:2] if kind == "binary" else NAMES
    metrics = make_metrics(kind, names, config=FEW)
    page = evaluation_page(make_evaluation(metrics), None)
    said, overall = words(page), metrics["overall"]
    if kind == "multilabel":
        assert f"Micro F1 {overall['micro']['f1']:.3f}" in said
        assert f"Exact match {overall['accuracy']:.3f}" in said
        assert "Micro F1 by language" in page
        assert "true and predicted label" not in page
        assert "Most often confused" not in page
    else:
        assert "Macro F1 by language" in page
        assert "Reviews by true and predicted label" in page
    error = overall.get("mean_absolute_error")
    assert ("Mean error" in said) == (error is not None)


def test_lengths_are_in_their_order():
    drawn = random_predictions("multiclass", 3, 90, 3)
    tokens = drawn.tokens * 0 + [5, 20, 40, 100, 200, 300, 600, 33, 7] * 10
    page = evaluation_page(make_evaluation(make_metrics(rows=90, tokens=tokens)), None)
    places = [
        page.index(f">{name} (")
        for name in ("1-16 tokens", "17-32 tokens", "129-256 tokens")
    ]
    assert places == sorted(places)


def test_an_earlier_release_s_metrics_have_no_reliability():
    metrics = make_metrics(config=FEW)
    del metrics["reliability"]
    page = evaluation_page(make_evaluation(metrics), None)
    assert "Accuracy by confidence" not in page
    assert "uncalibrated" not in page
    assert "Calibration error" in page


# === Sizes, and hostile names ===


def test_forty_languages_of_a_million_reviews():
    metrics = make_metrics(config=FEW, languages=languages(40, 200))
    for measured in (metrics["overall"], *metrics["languages"].values()):
        measured["rows"] *= 5_000
    training = make_training(languages=languages(40, 80)[::2], rows=1_000_000)
    page = evaluation_page(make_evaluation(metrics), training)
    assert len(page) < 500_000
    assert "Reviews 1,000,000 40 languages" in words(page)
    # The largest first.
    assert page.index(">bn (610,000)<") < page.index(">aa (10,000)<")


def test_three_hundred_labels(check):
    names = tuple(f"label {n}" for n in range(300))
    metrics = make_metrics(names=names, rows=900, config=FEW)
    check(
        make_evaluation(metrics),
        make_training(names),
        "Most often confused",
        "F1 by label, the 20 lowest of 300",
        "more, in report.txt",
    )


@pytest.mark.parametrize("rows", [1, 30])
def test_one_class(rows):
    drawn = predictions_of(
        [0] * rows, [0] * rows, ["de"] * rows, [[0.8, 0.1, 0.1]] * rows
    )
    said = said_of(make_metrics(drawn=drawn, config=FEW))
    assert f"Reviews {rows} 1 language " in said
    assert "ROC AUC – " in said
    assert "No ROC AUC: a class has no row, or all rows." in said
    assert f"negative {rows} 1.000 1.000 1.000 neutral 0 0.000" in said


def test_hostile_names_and_texts_are_inert(check):
    names = tuple(name.replace("\ud800", "") for name in HOSTILE)
    rows = 20 * len(names)
    metrics = make_metrics(
        names=names,
        rows=rows,
        text=HOSTILE[0],
        languages=[name or None for name in names] * 20,
        ids=[f"{name}{n}" for n in range(20) for name in names],
        config=FEW,
    )
    verdict = make_verdict("blessed", LOSS | {"value": HOSTILE[0]})
    check(
        make_evaluation(metrics, verdict),
        make_training([name for name in names if name]),
        "<script>document.title='owned'</script>",
    )


def test_texts_are_there_only_where_they_were_given():
    text = "a told text, " + "word " * 30 + "END, " + "word " * 100
    assert "a told text" in said_of(make_metrics(config=FEW, text=text))
    assert "END, word" in said_of(make_metrics(config=FEW, text=text))
    assert "word " * 80 not in said_of(make_metrics(config=FEW, text=text))
    assert "text that" not in said_of(make_metrics(config=FEW))
