import pytest
import tensorflow as tf

from reviewbeam.components.trainer.board import Board
from reviewbeam.components.trainer.metrics import ValidationMetrics


def values(folder):
    """(step, tf.Summary.Value) of all files."""
    for file in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                yield event.step, value


def read(folder):
    """(step, value) of each curve, as TensorBoard reads them."""
    curves = {}
    for step, value in values(folder):
        number = tf.make_ndarray(value.tensor).item()
        curves.setdefault(value.tag, []).append((step, number))
    return curves


def test_curves_are_what_tensorboard_itself_would_write(tmp_path):
    pytest.importorskip("tensorboard")  # which the older TensorFlow brings
    with tf.summary.create_file_writer(str(tmp_path / "its")).as_default(7):
        tf.summary.scalar("training/loss", 0.1)
    with Board(tmp_path / "ours") as board:
        board.step(7, loss=0.1)
    assert list(values(tmp_path / "ours")) == list(values(tmp_path / "its"))


def test_curves_can_be_read_back(tmp_path):
    with Board(tmp_path / "logs") as board:
        board.step(1, loss=0.5, learning_rate=1e-3)
        board.step(2, loss=0.25, learning_rate=2e-3)
        board.validation(2, ValidationMetrics(0.75, 0.5, 0.125))
        board.step(3, loss=0.125, learning_rate=0.0)
    assert read(tmp_path / "logs") == {
        "training/loss": [(1, 0.5), (2, 0.25), (3, 0.125)],
        "training/learning_rate": [
            (1, pytest.approx(1e-3)),
            (2, pytest.approx(2e-3)),
            (3, 0),
        ],
        "validation/loss": [(2, 0.75)],
        "validation/accuracy": [(2, 0.5)],
        "validation/macro_f1": [(2, 0.125)],
    }


def test_ordinal_labels_have_an_error_besides(tmp_path):
    with Board(tmp_path) as board:
        board.validation(4, ValidationMetrics(0.75, 0.5, 0.125, error=1.5))
    assert read(tmp_path)["validation/error"] == [(4, 1.5)]


def test_a_training_that_is_taken_up_goes_on_in_another_file(tmp_path):
    for step in (1, 2):
        with Board(tmp_path) as board:
            board.step(step, loss=step / 2)
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(read(tmp_path)["training/loss"]) == [(1, 0.5), (2, 1.0)]


def test_an_epoch_s_curves_are_there_when_a_later_step_is_killed(tmp_path):
    board = Board(tmp_path)
    board.step(1, loss=0.5)
    board.validation(1, ValidationMetrics(0.75, 0.5, 0.125))
    assert read(tmp_path)["training/loss"] == [(1, 0.5)]
    board.__exit__()
