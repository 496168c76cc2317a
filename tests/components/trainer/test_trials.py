import pytest

from reviewbeam.components.trainer.trials import (
    Trial,
    failures,
    ranked,
    trials_csv,
    trials_report,
    trials_table,
)

METRICS = {"macro_f1": 0.5, "accuracy": 0.75, "loss": 0.625, "error": None}
TRIALS = [
    Trial(1, {"lr": 1e-4, "b": {"x": 0.5}}, {}, METRICS, None, 3, 2, 12.4),
    Trial(2, {"lr": 0.1, "b": None}, {}, failure="the loss is NaN", seconds=1.6),
    Trial(
        3,
        {"lr": 1e-3, "b": 7},
        {},
        METRICS | {"macro_f1": 0.25, "loss": 0.5},
        epochs=1,
        best_epoch=1,
        same_as=1,
    ),
]


@pytest.mark.parametrize(
    ("objective", "numbers"), [("macro_f1", [1, 3, 2]), ("loss", [3, 1, 2])]
)
def test_the_best_is_first_and_failures_are_last(objective, numbers):
    assert [trial.number for trial in ranked(TRIALS, objective)] == numbers


def test_the_table_has_a_row_for_each():
    assert trials_table(TRIALS, "macro_f1") == [
        ["trial", "macro_f1", "accuracy", "loss", "epochs", "seconds", "b", "lr"],
        ["1", "0.5000", "0.7500", "0.6250", "2 of 3", "12", "{x: 0.5}", "0.0001"],
        ["3", "0.2500", "0.7500", "0.5000", "1 of 1", "-", "7", "0.001"],
        ["2", "failed", "", "", "", "2", "None", "0.1"],
    ]


def test_the_report_tells_why_trials_failed():
    lines = trials_report(TRIALS, "macro_f1").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["trial", "1", "3", "2"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4:] == failures(TRIALS) == ["trial 2 failed: the loss is NaN"]


def test_the_csv_has_a_line_for_each_in_order():
    assert trials_csv(TRIALS).splitlines() == [
        "number,b,lr,macro_f1,accuracy,loss,error,"
        "status,best_epoch,epochs,seconds,failure,same_as",
        "1,{x: 0.5},0.0001,0.5,0.75,0.625,,finished,2,3,12.4,,",
        "2,None,0.1,,,,,failed,0,0,1.6,the loss is NaN,",
        "3,7,0.001,0.25,0.75,0.5,,finished,1,1,0.0,,1",
    ]


@pytest.mark.parametrize("trial", TRIALS)
def test_it_is_read_as_it_was_told(trial):
    assert Trial.of_public(trial.public()) == trial
