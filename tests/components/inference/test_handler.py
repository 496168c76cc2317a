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
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.handler import PAD_ID, SavedModelHandler, pad

CLASSES = 3


class FakeModel:
    """Stands for a LoadedModel: a row's probabilities tell its own real tokens."""

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
        return _told(mask.sum(1), (token_ids * mask).sum(1), token_ids[:, 0])


def _told(length, total, first):
    return np.stack([length, total, first], axis=1).astype(np.float32)


def _chunk(rows):
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"r{i}" for i in range(len(rows))], pa.string()),
            pa.array(rows, pa.list_(pa.int32())),
        ],
        names=["id", "token_ids"],
    )


def _expected(rows):
    return [[len(ids), sum(ids), ids[0]] for ids in rows]


def _infer(chunk, budget=64, model=None):
    handler = SavedModelHandler("unused", classes=CLASSES, batch_tokens=budget)
    (scored,) = handler.run_inference([chunk], model or FakeModel())
    return scored


ROWS = st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=20), max_size=30)


@given(rows=ROWS, budget=st.integers(8, 100))
def test_rows_keep_their_order_under_the_budget(rows, budget):
    model = FakeModel()
    chunk = _chunk(rows)
    scored = _infer(chunk, budget, model)

    assert scored.schema.names == ["id", "token_ids", "probabilities"]
    assert scored.column("probabilities").to_pylist() == _expected(rows)
    assert scored.column("probabilities").type == pa.list_(pa.float32())
    assert scored.column("id").equals(chunk.column("id"))
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

    found = _infer(part).column("probabilities").to_pylist()
    assert found == _expected(rows[start : start + length])


def test_no_rows_need_no_model():
    model = FakeModel()
    scored = _infer(_chunk([]), model=model)

    assert (scored.num_rows, model.shapes) == (0, [])
    assert scored.schema == _infer(_chunk([[0, 2]])).schema


def test_a_chunk_of_one():
    model = FakeModel()
    scored = _infer(_chunk([[0, 5, 2]]), model=model)

    assert scored.column("probabilities").to_pylist() == [[3, 7, 0]]
    assert model.shapes == [(1, 3)]


def test_a_row_above_the_budget_is_alone():
    model = FakeModel()
    _infer(_chunk([[0] * 3, [0] * 50, [0] * 3]), budget=8, model=model)

    assert model.shapes == [(1, 50), (2, 3)]


def test_other_integers_become_int32():
    chunk = pa.RecordBatch.from_pydict({"token_ids": [[0, 250_001, 2]]})  # int64
    assert chunk.column("token_ids").type == pa.list_(pa.int64())

    assert _infer(chunk).column("probabilities").to_pylist() == [[3, 250_003, 0]]


def test_padding():
    ids = np.array([10, 11, 12, 20, 30, 31], np.int32)
    token_ids, mask = pad(ids, np.array([3, 0, 4]), np.array([1, 3, 2]))

    assert token_ids.tolist() == [[20, 1, 1], [10, 11, 12], [30, 31, 1]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert token_ids.dtype == mask.dtype == np.int32


def test_what_beam_asks_of_a_handler():
    handler = SavedModelHandler("unused", classes=CLASSES, batch_tokens=8)
    chunk = _chunk([[0, 5, 2]] * 1000)

    assert handler.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}
    assert handler.get_metrics_namespace() == "reviewbeam"
    assert handler.get_num_bytes([chunk]) == chunk.nbytes
    small = handler.get_num_bytes([chunk.slice(10, 10), chunk.slice(0, 10)])
    assert small < chunk.nbytes / 40  # of the rows, and not of all they were cut from


class FakeHandler(SavedModelHandler):
    def load_model(self):
        return FakeModel()


def test_in_a_pipeline():
    register_record_batch_coder()
    chunks = [[[0, 5, 2], [0, 2]], [[0, 7, 7, 2]]]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        scored = (
            pipeline
            | "Create" >> beam.Create([_chunk(rows) for rows in chunks])
            | "RunInference"
            >> RunInference(FakeHandler("unused", classes=CLASSES, batch_tokens=8))
            | "AsLists" >> beam.Map(lambda b: b.column("probabilities").to_pylist())
        )
        assert_that(scored, equal_to([_expected(rows) for rows in chunks]), label="All")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """Path of a SavedModel under the signature of ours."""

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
            return {"probabilities": self.scale * columns}

    module = Module()
    path = str(tmp_path_factory.mktemp("saved") / "model")
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    return path


def test_a_model_of_other_classes_is_not_run(saved_model):
    handler = SavedModelHandler(saved_model, classes=3, batch_tokens=8)
    with pytest.raises(UserError, match="gives 2 probabilities .* names 3 labels"):
        handler.load_model()


def test_other_probabilities_than_the_metadata_names_are_told():
    handler = SavedModelHandler("the/model", classes=4, batch_tokens=8)
    told = r"the/model gave .* shape \[1, 3\] for 1 texts.* names 4 labels"
    with pytest.raises(UserError, match=told):
        handler.run_inference([_chunk([[0, 5, 2]])], FakeModel())


def test_runs_a_saved_model(saved_model):
    handler = SavedModelHandler(saved_model, classes=2, batch_tokens=8)
    model = handler.load_model()
    (scored,) = handler.run_inference([_chunk([[0, 2], [0, 5, 2]])], model)

    assert scored.column("probabilities").to_pylist() == [[4.0, 4.0], [14.0, 6.0]]
