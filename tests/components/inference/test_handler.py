import pickle
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.progress import ProgressFile, rows_in_progress
from reviewbeam.components.inference.faults import PAD_ID
from reviewbeam.components.inference.handler import ClassifierHandler, LoadedModel
from reviewbeam.components.inference.resolve import ResolvedInference

CLASSES = 3
NEVER, NAN = 777, 778  # ids of rows that a model can't take


def make_handler(path="the/model", classes=CLASSES, budget=64, cls=None, **options):
    """A handler of a multilabel model: any three numbers from 0 to 1 will do."""
    settings = {"kind": "multilabel", "max_faults": 100} | options
    return (cls or ClassifierHandler)(
        ModelDirectory(Path(path), None, "core", "content"),
        ResolvedInference("tensorflow", budget, threads=2),
        classes=classes,
        **settings,
    )


class FakeModel:
    """Stands for an engine: a row's probabilities tell its own real tokens."""

    concurrency = 1

    def __init__(self):
        self.shapes = []

    def probabilities(self, token_ids, mask):
        assert token_ids.dtype == mask.dtype == np.int32
        assert token_ids.shape == mask.shape
        assert set(np.unique(mask)) <= {0, 1}
        assert (token_ids[mask == 0] == PAD_ID).all()
        assert (np.diff(mask, axis=1) <= 0).all()  # padding is behind the tokens
        assert mask[:, -1].any()  # some row is as long as the batch
        self.shapes.append(token_ids.shape)
        if (token_ids == NEVER).any():
            raise RuntimeError("no such token")
        told = _told(mask.sum(1), (token_ids * mask).sum(1), token_ids[:, 0])
        return np.where((token_ids == NAN).any(1, keepdims=True), np.nan, told)


SCALE = np.float32(2.0**-20)  # exact, and makes probabilities of all of them


def _told(length, total, first):
    return np.stack([length, total, first], axis=1).astype(np.float32) * SCALE


def _chunk(rows):
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"r{i}" for i in range(len(rows))], pa.string()),
            pa.array(rows, pa.list_(pa.int32())),
        ],
        names=["id", "token_ids"],
    )


def _expected(rows):
    return [[x * SCALE for x in (len(ids), sum(ids), ids[0])] for ids in rows]


def _infer(chunk, budget=64, model=None, **options):
    handler = make_handler(budget=budget, **options)
    (inferred,) = handler.run_inference([chunk], LoadedModel(model or FakeModel()))
    return inferred


ROWS = st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=20), max_size=30)


@given(rows=ROWS, budget=st.integers(8, 100))
def test_rows_keep_their_order_under_the_budget(rows, budget):
    model = FakeModel()
    chunk = _chunk(rows)
    inferred = _infer(chunk, budget, model)
    scored = inferred.batch

    assert scored.schema.names == ["id", "token_ids", "probabilities", "fault"]
    assert scored.column("probabilities").to_pylist() == _expected(rows)
    assert scored.column("probabilities").type == pa.list_(pa.float32())
    assert scored.column("id").equals(chunk.column("id"))
    assert scored.column("fault").null_count == len(rows)
    assert scored.column("fault").type == pa.string()
    assert inferred.calls == len(model.shapes)
    assert inferred.tokens == sum(map(len, rows))
    assert inferred.padded_tokens == sum(r * length for r, length in model.shapes)
    assert sum(count for count, _ in model.shapes) == len(rows)
    for count, length in model.shapes:
        assert count == 1 or count * length <= budget
    lengths = [length for _, length in model.shapes]
    assert lengths == sorted(lengths, reverse=True)  # little padding, largest first


@given(rows=ROWS, data=st.data())
def test_a_slice_of_a_chunk(rows, data):
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    part = _chunk(rows).slice(start, length)

    found = _infer(part).batch.column("probabilities").to_pylist()
    assert found == _expected(rows[start : start + length])


def test_no_rows_need_no_model():
    model = FakeModel()
    scored = _infer(_chunk([]), model=model).batch

    assert (scored.num_rows, model.shapes) == (0, [])
    assert scored.schema == _infer(_chunk([[0, 2]])).batch.schema


def test_a_chunk_of_one():
    model = FakeModel()
    scored = _infer(_chunk([[0, 5, 2]]), model=model).batch

    assert scored.column("probabilities").to_pylist() == _expected([[0, 5, 2]])
    assert model.shapes == [(1, 3)]


def test_a_row_above_the_budget_is_alone():
    model = FakeModel()
    _infer(_chunk([[0] * 3, [0] * 50, [0] * 3]), budget=8, model=model)

    assert model.shapes == [(1, 50), (2, 3)]


def test_other_integers_become_int32():
    chunk = pa.RecordBatch.from_pydict({"token_ids": [[0, 250_001, 2]]})  # int64
    assert chunk.column("token_ids").type == pa.list_(pa.int64())

    found = _infer(chunk).batch.column("probabilities").to_pylist()
    assert found == _expected([[0, 250_001, 2]])


def test_a_fault_has_a_rule_and_no_probabilities():
    rows = [[0, 5, 2], [0, NEVER, 2], [0, 6], [NAN, 2, 2, 2], [0, 7, 2]]
    inferred = _infer(_chunk(rows))

    faults = [None, "model_failed", None, "model_output_invalid", None]
    expected = [
        None if fault else values
        for fault, values in zip(faults, _expected(rows), strict=True)
    ]
    assert inferred.batch.column("fault").to_pylist() == faults
    assert inferred.batch.column("probabilities").to_pylist() == expected
    assert inferred.calls > 1


def test_too_many_faults_stop_the_run():
    chunk = _chunk([[0, NEVER, 2]] * 3 + [[0, 5]] * 20)
    with pytest.raises(ReviewbeamError, match="3 texts of one chunk of 23") as raised:
        _infer(chunk, max_faults=2)
    assert raised.value.exit_code == 1


def test_progress_is_told_in_a_file(tmp_path, monkeypatch):
    handler = make_handler(budget=8)
    model = LoadedModel(FakeModel(), ProgressFile(str(tmp_path)))
    handler.run_inference([_chunk([[0, 5, 2]] * 10)], model)
    assert rows_in_progress(str(tmp_path)) == 10

    handler.run_inference([_chunk([[0, 5, 2]] * 4)], model)
    other = LoadedModel(FakeModel(), ProgressFile(str(tmp_path)))
    handler.run_inference([_chunk([[0, NEVER, 2]] * 3)], other)
    assert rows_in_progress(str(tmp_path)) == 17
    assert len(list(tmp_path.iterdir())) == 2

    writes = []
    monkeypatch.setattr(ProgressFile, "_write", lambda self: writes.append(1))
    handler.run_inference([_chunk([[0, 5, 2]] * 100)], model)
    assert len(writes) == 1  # 50 batches within two seconds


def test_what_beam_asks_of_a_handler():
    handler = make_handler()
    chunk = _chunk([[0, 5, 2]] * 1000)

    assert handler.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}
    assert handler.get_metrics_namespace() == "reviewbeam"
    assert handler.get_num_bytes([chunk]) == chunk.nbytes
    small = handler.get_num_bytes([chunk.slice(10, 10), chunk.slice(0, 10)])
    assert small < chunk.nbytes / 40  # of the rows, and not of all they were cut from
    assert pickle.loads(pickle.dumps(handler)).get_metrics_namespace() == "reviewbeam"


class FakeHandler(ClassifierHandler):
    def load_model(self):
        return LoadedModel(FakeModel())


def test_in_a_pipeline():
    register_record_batch_coder()
    chunks = [[[0, 5, 2], [0, 2]], [[0, 7, 7, 2]]]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        scored = (
            pipeline
            | "Create" >> beam.Create([_chunk(rows) for rows in chunks])
            | "RunInference" >> RunInference(make_handler(cls=FakeHandler, budget=8))
            | "AsLists"
            >> beam.Map(lambda i: i.batch.column("probabilities").to_pylist())
        )
        assert_that(scored, equal_to([_expected(rows) for rows in chunks]), label="All")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """Path of a model directory with a SavedModel under the signature of ours."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)  # what is loaded has to keep it alive

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None], tf.int32, "token_ids"),
                tf.TensorSpec([None, None], tf.int32, "padding_mask"),
            ]
        )
        def serve(self, token_ids, padding_mask):
            total = tf.reduce_sum(token_ids * padding_mask, 1)
            length = tf.reduce_sum(padding_mask, 1)
            columns = tf.cast(tf.stack([total, length], 1), tf.float32)
            return {"probabilities": self.scale * columns / 64}

    module = Module()
    path = tmp_path_factory.mktemp("model")
    signatures = {"serving_default": module.serve}
    tf.saved_model.save(module, str(path / "saved_model"), signatures=signatures)
    return path


def test_a_model_of_other_classes_is_not_run(saved_model):
    handler = make_handler(saved_model, classes=3)
    with pytest.raises(UserError, match="gives 2 probabilities .* names 3 labels"):
        handler.load_model()


def test_other_probabilities_than_the_metadata_names_are_told():
    handler = make_handler(classes=4)
    told = r"the/model gave .* shape \[1, 3\] for 1 texts.* names 4 labels"
    with pytest.raises(UserError, match=told):
        handler.run_inference([_chunk([[0, 5, 2]])], LoadedModel(FakeModel()))


def test_runs_a_saved_model(saved_model):
    handler = make_handler(saved_model, classes=2, budget=8)
    model = handler.load_model()
    (inferred,) = handler.run_inference([_chunk([[0, 2], [0, 5, 2]])], model)

    found = np.array(inferred.batch.column("probabilities").to_pylist()) * 64
    assert found.tolist() == [[4.0, 4.0], [14.0, 6.0]]
