"""Beam's coder of record batches, registered on import."""

import apache_beam as beam
import pyarrow as pa

from reviewbeam.components.common.columns import from_bytes, to_bytes


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a `pyarrow.RecordBatch` as a compressed Arrow stream.

    Beam would pickle a batch, and with a slice all of its parent's buffers.
    """

    def encode(self, batch):
        """Returns the batch as bytes."""
        return to_bytes(batch)

    def decode(self, data):
        """Returns the batch of some bytes."""
        return from_bytes(data)

    def estimate_size(self, batch):
        """Returns the bytes of the batch; Beam would encode it to know."""
        return batch.nbytes

    def to_type_hint(self):
        """Returns the type that this coder is for."""
        return pa.RecordBatch


def register_record_batch_coder() -> None:
    """Makes the coder Beam's own for record batches.

    Called by each job after its imports: tfx_bsl registers one too, and the last
    one counts.
    """
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


register_record_batch_coder()
