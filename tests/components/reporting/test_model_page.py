import dataclasses

import pytest

from reviewbeam.components.reporting.model_page import model_page
from reviewbeam.components.reporting.training_figures import _running_mean
from tests.browser import HOSTILE, chromium
from tests.components.reporting.made import (
    RUN,
    make_training,
    without_validation,
    words,
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def check(browser, tmp_path):
    """Returns a function that opens the page of a training in a browser."""

    def run(training, *texts):
        path = tmp_path / "report.html"
        path.write_text(model_page(training), encoding="utf-8")
        assert path.stat().st_size < 500_000
        browser.open(path, *texts)

    return run


def without(training, *names):
    """The same, with less known."""
    history = {k: v for k, v in training.history.items() if k not in names}
    return dataclasses.replace(training, history=history)


def test_it_tells_how_the_training_went(check):
    check(
        make_training(),
        "Macro F1 0.765 and accuracy 0.800 on 600 validation reviews",
        "Epoch 2 had the best macro F1 and is kept; training stopped after epoch 3 "
        "of 4.",
        "Macro F1 0.765 on validation",
        "Accuracy 0.800 one label for all: 0.333",
        "Training reviews 600 18,000 tokens",
        "Tokens a second 54,321",
        "Padding 3.4 %",
        "Waiting for input 25.0 %",
        "Time 1 h 02 min",
        "Devices 2 computing in bfloat16",
        "Most memory 7.7 GB GPU:0",
        "2 (kept) 200 0.500 0.900 0.765 0.800 3.0 %",
        "from 0.200 to 0.030",
        "all 600 1.400",
        "neutral 200 200 1.250",
        "training.epochs 4 3",
    )


def test_the_best_epoch_is_marked_in_the_curves():
    page = model_page(make_training())
    assert page.count("epoch 2, whose weights are kept") == 3
    for axis in ("Loss over the steps", "Learning rate over the steps"):
        assert axis in page
    assert "no calibration" not in page


def test_what_is_wrong_comes_first():
    training = make_training(
        validation={"accuracy": 0.3, "macro_f1": 0.1, "loss": 2.0, "error": None}
    )
    training.split("train")["labels"]["neutral"] = 0
    page = model_page(training)
    assert 'class="verdict warning"' in page
    first = page.index("No training review has the label")
    second = page.index("no better than always giving the most frequent label")
    assert page.index("Macro F1 0.100") < first < second < page.index("Epoch 2 had")
    assert "No training review has the label 'neutral': the model" in words(page)


def test_the_last_epoch_may_not_have_been_enough():
    training = make_training()
    best = training.history["epochs"][1]
    found = training.metadata.model_dump(mode="json")
    found["config"]["training"]["epochs"] = 2
    training = dataclasses.replace(
        training,
        metadata=type(training.metadata).model_validate(found),
        history=training.history | {"epochs": [best | {"epoch": 1}, best]},
    )
    assert "it was the last, so more epochs might do better" in model_page(training)


def test_without_a_validation_split():
    said = words(model_page(without_validation(make_training())))
    for text in (
        "Not measured: there was no validation split",
        "Not fitted: it takes 100 validation reviews.",
        "3 (kept) 300 0.333 3.0 %",
    ):
        assert text in said


def test_ordinal_labels_have_an_error():
    training = make_training(("1", "2", "3", "4", "5"), "ordinal")
    assert "Mean error 0.234" in words(model_page(training))


def test_thresholds_are_told_where_there_are_any():
    said = words(model_page(make_training(kind="multilabel")))
    assert "all 600 1.400 0.500, 0.500, 0.500 de 600" in said
    said = words(model_page(make_training()))
    assert "all 600 1.400 – de 600 1.400 – What" in said


def test_a_setting_may_be_none():
    assert "sampling none none" in words(model_page(make_training()))


def test_against_the_model_that_it_began_with():
    figures = {"accuracy": 0.5, "macro_f1": 0.25, "error": None}
    entry = {"language": None, "rows": 9, "before": figures, "after": figures}
    said = words(model_page(make_training(against_initial=[entry])))
    assert "Against the model it began with" in said
    assert "not known 9 0.250 0.250 0.500 0.500" in said
    assert "it began with" not in model_page(make_training())


def test_sampled_languages_are_told():
    seen = [{"language": "de", "rows": 10, "seen": 77}]
    said = words(model_page(make_training(seen=seen)))
    assert "seen an epoch de 10 77" in said


def test_a_model_of_an_earlier_release_has_fewer_plots():
    training = without(make_training(), "curve", "seen")
    predictions = training.split("predictions")["calibration"]
    for when in ("before", "after"):
        del predictions[when]["bins"]
    page = model_page(dataclasses.replace(training, run={}))
    assert "Macro F1 0.765" in page
    assert "Loss over the steps" in page
    assert "Accuracy by confidence" not in page


def test_many_labels_and_languages(check):
    names = [f"label {n}" for n in range(300)]
    codes = [f"{a}{b}" for a in "abcdefgh" for b in "vwxyz"]
    check(
        make_training(names, languages=codes, rows=1_000_000),
        "300 labels: label 0, label 1",
        "on 1,000,000 validation reviews",
        "… and 260 more, in model.json.",
        "others",
    )


def test_hostile_names_are_inert(check):
    names = [name.replace("\ud800", "") for name in HOSTILE if name]
    codes = [*names, ""]
    run = RUN | {"dataset": HOSTILE[0], "precision": HOSTILE[1]}
    training = make_training(names, languages=codes, run=run)
    training.split("train")["labels"][names[0]] = 0
    check(training, "<script>document.title='owned'</script>")


@pytest.mark.parametrize(
    ("losses", "drawn"),
    [
        ([], []),
        ([3, 1, 2], [3, 1, 2]),  # too few to be averaged
        ([*range(16)], [0, *(n - 0.5 for n in range(1, 16))]),
    ],
)
def test_the_loss_is_drawn_as_a_running_mean(losses, drawn):
    assert _running_mean(losses) == drawn
