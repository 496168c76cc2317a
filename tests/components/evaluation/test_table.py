import numpy as np

from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.table import metrics_table

EXPECTED = """\
Per language
language                     rows     accuracy     macro F1
all                             6        0.667        0.656
(unknown)                       2        1.000        1.000
de                              4        0.500        0.267

Per class
class                        rows    precision       recall           F1
negative                        3        1.000        0.667        0.800
neutral                         1        0.333        1.000        0.500
positive                        2        1.000        0.500        0.667
(macro)                         6        0.778        0.722        0.656
(weighted)                      6        0.889        0.667        0.706

True class by predicted class
                         negative      neutral     positive
negative                        2            1            0
neutral                         0            1            0
positive                        0            1            1
"""


def test_table():
    metrics = evaluate_predictions(
        np.array([0, 0, 0, 1, 2, 2]),
        np.array([0, 0, 1, 1, 1, 2]),
        ["de", "de", "de", None, "de", None],
        ("negative", "neutral", "positive"),
        "multiclass",
    )

    assert metrics_table(metrics) == EXPECTED


def test_long_names_keep_the_columns():
    names = ("a name that is far too long for its column", "b")
    true = np.array([0, 1])
    metrics = evaluate_predictions(true, true, ["de"] * 2, names, "binary")
    lines = metrics_table(metrics).split("\n")

    assert lines[7] == (
        "a name that is far t            1        1.000        1.000        1.000"
    )
    assert lines[13] == "                     a name that             b"
    assert lines[14] == "a name that is far t            1            0"


MULTILABEL = """\
Per language
language                     rows  exact match     macro F1     micro F1 hamming loss
all                             4        0.500        0.533        0.727        0.250
de                              3        0.333        0.533        0.727        0.333
fr                              1        1.000        0.000        0.000        0.000

Per class
class                        rows    precision       recall           F1
battery                         2        0.667        1.000        0.800
price                           3        1.000        0.667        0.800
service                         1        0.000        0.000        0.000
(micro)                         4        0.800        0.667        0.727
(macro)                         4        0.556        0.556        0.533
(weighted)                      4        0.722        0.667        0.667
"""


def test_several_labels():
    metrics = evaluate_predictions(
        np.array([[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]]),
        np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]),
        ["de", "de", "de", "fr"],
        ("battery", "price", "service"),
        "multilabel",
    )
    assert metrics_table(metrics) == MULTILABEL


def test_a_scale():
    metrics = evaluate_predictions(
        np.array([0, 1, 2, 2]),
        np.array([0, 1, 2, 0]),
        ["de", "de", "de", "de"],
        ("low", "middle", "high"),
        "ordinal",
        np.array([[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.25, 0.75], [1, 0, 0]]),
    )

    lines = metrics_table(metrics).split("\n")
    assert lines[1:3] == [
        "language                     rows     accuracy     macro F1   mean error"
        "   within one        kappa",
        "all                             4        0.750        0.778        0.500"
        "        0.750        0.385",
    ]
    # Three of 0.75 are right, one of 1 is wrong.
    assert lines[-2:] == ["Expected calibration error 0.438", ""]
