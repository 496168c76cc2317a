import numpy as np

from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    CalibrationLimits,
    EvaluateConfig,
)
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.mistakes import confident_mistakes
from reviewbeam.components.evaluation.table import heading, report, summary_tables
from tests.components.evaluation.rows import predictions_of, random_predictions

NAMES = ("negative", "neutral", "positive")
QUICK = EvaluateConfig(
    bootstrap=BootstrapConfig(resamples=0), slices=("language",), min_slice_rows=3
)
TRUE = np.array([0, 0, 0, 1, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 2])
EXPECTED = """\
Evaluation on the test split

All 6 rows
                      value  95 % interval
accuracy              0.667
balanced accuracy     0.722
macro precision       0.778
macro recall          0.722
macro F1              0.656
weighted F1           0.706
Matthews correlation  0.591
ROC AUC               0.794
PR AUC                0.611
log loss              0.916
Brier score           0.527
calibration error     0.133

Per class
class       rows  precision    recall       F1
negative       3      1.000     0.667    0.800
neutral        1      0.333     1.000    0.500
positive       2      1.000     0.500    0.667
(macro)               0.778     0.722    0.656
(weighted)            0.889     0.667    0.706

Per language
language               rows  accuracy    macro F1
all                       6     0.667       0.656
(unknown) (too small)     2     1.000       1.000
de                        4     0.500       0.267

Worst slices first
slice                            rows  macro F1
language: de                        4     0.267
language: (unknown) (too small)     2     1.000

Calibration
language   rows  error    if calibrated  verdict
(unknown)     2  0.200                –  not judged
de            4  0.300                –  calibrated
From 4 rows on, an error of 0.9 is allowed. Fewer are not judged without \
bootstrap.resamples.

True class by predicted class
          negative  neutral  positive
negative         2        1         0
neutral          0        1         0
positive         0        1         1

Most confident mistakes
id    language  true      label    confidence
r002  de        negative  neutral       0.800
r004  de        positive  neutral       0.800
"""


def _metrics(kind, config, predictions, names=NAMES):
    metrics = evaluate_predictions(predictions, names, kind, config)
    mistakes = confident_mistakes(predictions, names, kind, config.mistakes)
    described = [mistake.described for mistake in mistakes]
    told = {"split": "test", "gold": False, "mistakes": described}
    return told | {"seen_in_training": {"training": 0, "validation": 0}} | metrics


def _predictions():
    languages = ["de", "de", "de", None, "de", None]
    return predictions_of(TRUE, PREDICTED, languages, np.eye(3)[PREDICTED] * 0.7 + 0.1)


def test_report():
    limits = CalibrationLimits(min_rows=4, max_ece=0.9)
    config = QUICK.model_copy(update={"calibration": limits})
    assert report(_metrics("multiclass", config, _predictions())) == EXPECTED


def test_intervals_stand_beside():
    config = QUICK.model_copy(update={"bootstrap": BootstrapConfig(resamples=200)})
    metrics = _metrics("multiclass", config, _predictions())
    low, high = metrics["overall"]["figures"]["macro_f1"]["interval"]

    shown = f"{low:.3f} to {high:.3f}"
    lines = report(metrics).split("\n")
    assert [line for line in lines if line.startswith("macro F1")] == [
        f"macro F1              0.656  {shown}"
    ]
    assert any(line.startswith("all ") and shown in line for line in lines)
    assert "95 % intervals of 200 bootstrap resamples of the rows." in report(metrics)
    assert "one in twenty exceeds by chance" in report(metrics)


def test_a_figure_without_a_denominator_says_why():
    predictions = predictions_of([0, 0], [0, 0], ["de"] * 2, [[0.9, 0.1]] * 2)
    text = report(_metrics("binary", QUICK, predictions, NAMES[:2]))

    assert "Matthews correlation      –" in text
    assert "No ROC AUC: a class has no row, or all rows." in text
    assert "Most confident mistakes" not in text  # there are none


def test_texts_and_long_names_stay_on_their_line():
    metrics = _metrics("multiclass", QUICK, _predictions())
    first, second = metrics["mistakes"]
    first["text"], second["text"] = "Broke\n at once. " * 20, "fine"
    lines = report(metrics).split("\n")

    assert lines[-4].endswith("confidence  text")
    assert lines[-3].endswith(("Broke at once. " * 20)[:79] + "…")
    assert lines[-2].endswith("0.800  fine")


def test_several_labels():
    predictions = random_predictions("multilabel", 3, 30, 1)
    metrics = _metrics("multilabel", QUICK, predictions)
    text = report(metrics)

    for title in ("exact match", "hamming loss", "micro F1", "(micro)", "wrong label"):
        assert title in text
    assert "True class by predicted class" not in text
    (header,) = [line for line in text.split("\n") if line.startswith("slice")]
    assert header.split()[-2:] == ["micro", "F1"]


def test_a_scale():
    metrics = _metrics("ordinal", QUICK, random_predictions("ordinal", 3, 30, 1))
    text = report(metrics)
    for title in ("mean error", "within one", "quadratic kappa"):
        assert text.count(title) == 2  # of all rows, and a column of the languages


def test_the_first_line_says_what_was_evaluated():
    metrics = _metrics("multiclass", QUICK, _predictions())
    assert heading(metrics) == "Evaluation on the test split"
    metrics |= {"gold": True, "seen_in_training": {"training": 7, "validation": 2}}
    told = "Evaluation on the gold set; the model was trained on the texts of 7 rows"
    assert heading(metrics) == told
    assert report(metrics).startswith(f"{told}\n\nAll 6 rows\n")


def test_the_summary_is_short():
    shops = [f"s{i % 20:02d}" for i in range(200)]
    predictions = random_predictions("binary", 2, 200, 3, kept={"shop": shops})
    config = QUICK.model_copy(update={"slices": ("shop",)})
    tables = summary_tables(_metrics("binary", config, predictions, NAMES[:2]))

    titles = [table.title for table in tables]
    assert titles == [
        "All 200 rows",
        "Per language",
        "Worst slices first",
        "Calibration",
    ]
    assert len(tables[2].rows) == 10
    assert tables[2].note == "10 more in report.txt."
    assert all(len(row) == len(t.header) for t in tables for row in t.rows)
