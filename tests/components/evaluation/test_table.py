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
    )

    assert metrics_table(metrics) == EXPECTED


def test_long_names_keep_the_columns():
    names = ("a name that is far too long for its column", "b")
    true = np.array([0, 1])
    lines = metrics_table(evaluate_predictions(true, true, ["de"] * 2, names)).split(
        "\n"
    )

    assert lines[7] == (
        "a name that is far t            1        1.000        1.000        1.000"
    )
    assert lines[13] == "                     a name that             b"
    assert lines[14] == "a name that is far t            1            0"
