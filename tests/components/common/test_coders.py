import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from reviewbeam.components.common import coders
from reviewbeam.components.common.coders import (
    RecordBatchCoder,
    register_record_batch_coder,
)


@pytest.fixture(params=["beam alone", "with TFDV"])
def registry(request):
    """Beam's registry of coders after a job's imports and its registration."""
    if request.param == "with TFDV":
        import tensorflow_data_validation  # noqa: F401, registers a coder of its own
    register_record_batch_coder()
    return beam.coders.registry


def _batch(rows=1000):
    text = [
        bytes(r).hex() for r in np.random.default_rng(0).integers(256, size=(rows, 9))
    ]
    return pa.RecordBatch.from_pydict({"row": range(rows), "text": text})


def test_round_trip():
    coder, batch = RecordBatchCoder(), _batch(10).slice(3, 4)

    assert coder.decode(coder.encode(batch)).equals(batch)
    assert coder.to_type_hint() is pa.RecordBatch


def test_no_batch_is_a_key():
    """Bits behind the last row of a slice may differ between equal batches."""
    assert not RecordBatchCoder().is_deterministic()


def test_beam_takes_our_coder_for_record_batches(registry):
    assert isinstance(registry.get_coder(pa.RecordBatch), RecordBatchCoder)


def test_steps_hand_batches_over_by_our_coder(registry, monkeypatch):
    sizes = []
    pack = coders.to_bytes

    def note(batch):
        data = pack(batch)
        sizes.append((batch.num_rows, len(data)))
        return data

    def cut(batch) -> list[pa.RecordBatch]:
        return [batch.slice(0, 10), batch.slice(500, 10)]

    monkeypatch.setattr(coders, "to_bytes", note)
    whole = _batch()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        parts = (
            pipeline
            | "Create" >> beam.Create([whole]).with_output_types(pa.RecordBatch)
            | "Cut" >> beam.FlatMap(cut).with_output_types(pa.RecordBatch)
            | "Spread" >> beam.Reshuffle()
        )
        rows = parts | "List" >> beam.FlatMap(lambda batch: batch.to_pylist())
        expected = whole.slice(0, 10).to_pylist() + whole.slice(500, 10).to_pylist()
        assert_that(rows, equal_to(expected), label="Rows")

    slices = [size for rows, size in sizes if rows == 10]
    assert len(slices) >= 2
    assert max(slices) < 1500  # the whole one has 18,000 characters of text
