import json
import os

import keras
import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.checkpoint import Checkpoints, remove_left_over


def make_variables(fill=0):
    return [
        keras.Variable(np.full((3, 2), fill), dtype="float32", name="kernel"),
        keras.Variable(np.int64(fill), dtype="int64", name="iterations"),
        keras.Variable(np.full(2, fill), dtype="uint32", name="seed"),
        keras.Variable(np.float32(fill), dtype="float32", name="learning_rate"),
        keras.Variable(np.zeros(0), dtype="float32", name="nothing"),
        keras.Variable(np.full(2, fill), dtype="bfloat16", name="half"),
    ]


VALUES = [
    np.array([[1e-40, -0.0], [np.float32(0.1), 3e38], [-1.5, 7]], np.float32),
    np.int64(2**40 + 1),
    np.array([2**32 - 1, 5], np.uint32),
    np.float32(1e-9),
    np.zeros(0, np.float32),
]


def drawn_variables():
    variables = make_variables()
    for variable, value in zip(variables, VALUES, strict=False):
        variable.assign(value)
    return variables


def assert_equal(variables, others):
    for one, other in zip(variables, others, strict=True):
        one, other = np.asarray(one.numpy()), np.asarray(other.numpy())
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def state(step, **changes):
    return {"step": step, "best_epoch": 0, "loss": 0.1 + 0.2} | changes


def names(checkpoints):
    return sorted(os.listdir(checkpoints.folder))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "model"


def test_what_is_restored_is_what_was_saved_to_the_bit(output):
    saved = drawn_variables()
    Checkpoints(output, "a").save(state(7, history=[{"epoch": 1}]), saved)
    opened = Checkpoints(output, "a")
    assert opened.state() == state(7, history=[{"epoch": 1}])
    found = make_variables(fill=1)
    opened.restore(found)
    assert_equal(found, saved)


def test_the_folder_stands_beside_the_output(output):
    checkpoints = Checkpoints(output, "a")
    assert checkpoints.folder == output.parent / "model.training"
    assert names(checkpoints) == ["run.json"]
    assert checkpoints.state() is None
    checkpoints.remove()
    assert list(output.parent.iterdir()) == []
    checkpoints.remove()  # it may be gone


def test_the_newest_wins_and_the_older_is_removed(output):
    checkpoints = Checkpoints(output, "a")
    for step in (9, 10):  # 9 comes after 10 in the order of letters
        checkpoints.save(state(step), make_variables(step))
    assert names(checkpoints) == ["checkpoint-10", "run.json"]
    # Killed before the older one was removed.
    os.rename(
        checkpoints.folder / "checkpoint-10", checkpoints.folder / "checkpoint-100"
    )
    checkpoints._write("checkpoint-9", make_variables(9), state(9))
    opened = Checkpoints(output, "a")
    assert opened.state()["step"] == 10
    found = make_variables()
    opened.restore(found)
    assert_equal(found, make_variables(10))


def test_the_best_epoch_stays_until_a_better_one_is_in_the_state(output):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save_best(1, make_variables(1))
    checkpoints.save(state(5, best_epoch=1), make_variables(5))
    checkpoints.save(state(10, best_epoch=1), make_variables(10))
    assert names(checkpoints) == ["best-1", "checkpoint-10", "run.json"]
    checkpoints.save_best(3, make_variables(3))
    # Killed here, the run goes on from step 10, whose best epoch is 1.
    assert names(checkpoints) == ["best-1", "best-3", "checkpoint-10", "run.json"]
    found = make_variables()
    checkpoints.restore_best(1, found)
    assert_equal(found, make_variables(1))
    checkpoints.save(state(15, best_epoch=3), make_variables(15))
    assert names(checkpoints) == ["best-3", "checkpoint-15", "run.json"]
    checkpoints.restore_best(3, found)
    assert_equal(found, make_variables(3))
    checkpoints.save_best(3, make_variables(33))  # an epoch that is done again
    checkpoints.restore_best(3, found)
    assert_equal(found, make_variables(33))


def test_what_is_not_whole_is_not_taken_up(output, monkeypatch):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("reviewbeam.components.trainer.checkpoint.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state(6), make_variables(6))
    monkeypatch.undo()
    assert "checkpoint-6.partial" in names(checkpoints)
    opened = Checkpoints(output, "a")
    assert opened.state()["step"] == 5
    # The step comes again, and what was there by half doesn't hinder it.
    opened.save(state(6), make_variables(6))
    assert names(opened) == ["checkpoint-6", "run.json"]
    found = make_variables()
    Checkpoints(output, "a").restore(found)
    assert_equal(found, make_variables(6))


def test_another_run_s_checkpoint_is_refused_and_kept(output):
    Checkpoints(output, "a").save(state(5), make_variables(5))
    with pytest.raises(UserError, match="checkpoint-5.* another config.*--overwrite"):
        Checkpoints(output, "b")
    assert Checkpoints(output, "a").state()["step"] == 5


def test_overwrite_discards_another_run_s_checkpoint(output):
    Checkpoints(output, "a").save(state(5), make_variables(5))
    assert Checkpoints(output, "a", overwrite=True).state()["step"] == 5  # its own
    other = Checkpoints(output, "b", overwrite=True)
    assert other.state() is None
    assert names(other) == ["run.json"]
    assert json.loads((other.folder / "run.json").read_text()) == {"fingerprint": "b"}


def test_another_run_without_a_checkpoint_is_nothing_to_lose(output):
    first = Checkpoints(output, "a")
    (first.folder / "logs").mkdir()
    assert names(Checkpoints(output, "b")) == ["run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_someone_else_are_never_touched(output, overwrite):
    folder = output.parent / "model.training"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="files that reviewbeam did not write"):
        Checkpoints(output, "a", overwrite=overwrite)
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert os.listdir(folder) == ["thesis.txt"]


def test_an_empty_folder_may_be_taken(output):
    (output.parent / "model.training").mkdir()
    assert Checkpoints(output, "a").state() is None


@pytest.mark.parametrize("bytes_left", [0, 7, 100, -8])
def test_a_checkpoint_cut_short_is_told(output, bytes_left):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))
    file = checkpoints.folder / "checkpoint-5" / "variables.safetensors"
    file.write_bytes(file.read_bytes()[:bytes_left])
    with pytest.raises(UserError, match="checkpoint-5' can't be used .*Remove"):
        checkpoints.restore(make_variables())


def test_a_checkpoint_of_other_variables_is_told(output):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))
    with pytest.raises(UserError, match="it has 6 variables"):
        checkpoints.restore(make_variables()[:-1])
    others = make_variables()
    others[0] = keras.Variable(np.zeros((2, 2)), name="kernel")
    with pytest.raises(UserError, match="can't be used"):
        checkpoints.restore(others)
    (checkpoints.folder / "checkpoint-5" / "variables.safetensors").unlink()
    with pytest.raises(UserError, match="can't be used"):
        checkpoints.restore(make_variables())


def test_what_a_run_left_when_it_was_killed_at_its_very_end_is_removed(output):
    checkpoints = Checkpoints(output, "a")
    remove_left_over(output, "b")
    assert checkpoints.folder.is_dir()
    remove_left_over(output, "a")
    assert not checkpoints.folder.exists()
    remove_left_over(output, "a")


def test_a_checkpoint_that_is_written_again_is_never_missing(output, monkeypatch):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))
    rename = os.rename

    def killed(source, target):
        if str(source).endswith(".partial"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state(5), make_variables(6))
    monkeypatch.undo()
    opened = Checkpoints(output, "a")
    assert opened.state()["step"] == 5
    found = make_variables()
    opened.restore(found)
    assert_equal(found, make_variables(5))
    opened.save(state(5), make_variables(7))
    assert names(opened) == ["checkpoint-5", "run.json"]


def test_a_removal_that_is_killed_leaves_what_shows_whose_it_is(output, monkeypatch):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))

    def killed(path, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.remove()
    monkeypatch.undo()
    remove_left_over(output, "a")
    assert not checkpoints.folder.exists()


def test_a_trace_of_a_cut_off_write_is_no_ones_file(output):
    folder = output.parent / "model.training"
    folder.mkdir()
    (folder / ".run.json.12.tmp").write_text("{")
    assert Checkpoints(output, "a").state() is None


def test_a_state_that_is_empty_is_told(output):
    checkpoints = Checkpoints(output, "a")
    checkpoints.save(state(5), make_variables(5))
    (checkpoints.folder / "checkpoint-5" / "state.json").write_text("")
    with pytest.raises(UserError, match="can't be used"):
        checkpoints.state()
