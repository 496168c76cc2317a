"""Rows of a dataset on their way to the predictions of `evaluate`."""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reviewbeam.components.common.columns import (
    KEEP_PREFIX,
    parquet_bytes,
    with_columns,
    without_columns,
)
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.evaluation.predictions import COLUMNS, kept_names
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.inference.decide import with_labels
from reviewbeam.components.inference.handler import Inferred
from reviewbeam.components.tokenization.tokenizer import Tokenizer

PREDICTIONS = "predictions"
_SHARD, _PART = ".tfrecord.gz", ".parquet"


@dataclasses.dataclass(frozen=True)
class ReadExamples:
    """Shard of a dataset -> (shard, its examples), on a worker.

    The examples have `tokens` and `truncated` besides, and no text. An example doesn't
    tell how long its text was before truncation: texts that fill all the tokens there
    are get tokenized again.

    Attributes:
      dataset: its directory.
      multilabel: whether a row may have several labels.
      keep: names of the kept columns.
      vocabulary: path of the SentencePiece model that the dataset was made with.
      text: how its texts became tokens.
    """

    dataset: str
    multilabel: bool
    keep: tuple[str, ...]
    vocabulary: str
    text: TextRules

    def __call__(self, shard: str) -> tuple[str, pa.RecordBatch]:
        """Reads a shard.

        Raises:
          UserError: it was cut short or changed.
        """
        records = read_shard(os.path.join(self.dataset, shard))
        batch = decode_examples(records, multilabel=self.multilabel, keep=self.keep)
        tokens = np.array(pc.list_value_length(batch.column("token_ids")), np.int32)
        full = np.flatnonzero(tokens >= self.text.max_tokens)
        if len(full):
            texts = batch.column("text").take(pa.array(full))
            tokens[full] = _tokenizer(self.vocabulary, self.text).encode(texts)[
                "tokens"
            ]
        batch = with_columns(
            batch,
            tokens=pa.array(tokens),
            truncated=pa.array(tokens > self.text.max_tokens),
        )
        return shard, without_columns(batch, "text")


def write_predictions(
    element: tuple[str, Inferred], model: ModelMetadata, directory: str
) -> None:
    """Writes the predictions of a shard's examples as a Parquet file.

    Args:
      element: the shard's name, which the file takes; and its examples, with the
        columns of `ReadExamples`, behind the model.
      model: that predicted them.
      directory: the folder of the predictions.

    Raises:
      ReviewbeamError: some examples got no probabilities.
    """
    shard, inferred = element[0], element[1].batch
    faults = inferred.column("fault").drop_null()
    if len(faults):
        raise ReviewbeamError(
            f"{len(faults)} examples of {shard} got no probabilities (the first: "
            f"{faults[0]}); figures without them would say too much. Try another "
            "inference.engine, or train the model again."
        )
    predicted, labels = with_labels(inferred, model), model.labels
    names = pa.array(labels.names, pa.string())
    indices = predicted.column("label_index")
    if labels.type == "multilabel":
        flat = names.take(indices.flatten())
        true = pa.ListArray.from_arrays(indices.offsets, flat)
    else:
        true = names.take(indices)
    predicted = with_columns(predicted, true_label=true)
    kept = [name for name in predicted.schema.names if name.startswith(KEEP_PREFIX)]
    renamed = kept_names([name.removeprefix(KEEP_PREFIX) for name in kept])
    arrays = [predicted.column(name) for name in (*COLUMNS, *kept)]
    table = pa.table(arrays, names=[*COLUMNS, *renamed.values()])
    path = Path(directory, shard.replace(_SHARD, _PART))
    path.write_bytes(parquet_bytes(table))


class Parts:
    """The written predictions, and where their rows come from."""

    def __init__(self, directory: Path):
        """Reads all parts, in the order of their names."""
        paths = sorted(directory.glob(f"*{_PART}"))
        tables = [pq.read_table(path) for path in paths]
        self.table = pa.concat_tables(tables)
        self._shards = [path.name.replace(_PART, _SHARD) for path in paths]
        self._ends = np.cumsum([table.num_rows for table in tables])

    def texts(self, rows: list[int], dataset: Path, multilabel: bool) -> list[str]:
        """Returns the texts of some rows, from the dataset's shards."""
        places = np.searchsorted(self._ends, rows, side="right")
        texts = {}
        for place in set(places.tolist()):
            records = read_shard(os.fspath(dataset / self._shards[place]))
            examples = decode_examples(records, multilabel=multilabel)
            start = self._ends[place] - examples.num_rows
            for row in (
                row for row, at in zip(rows, places, strict=True) if at == place
            ):
                texts[row] = examples.column("text")[row - start].as_py()
        return [texts[row] for row in rows]


@functools.lru_cache(1)
def _tokenizer(vocabulary: str, text: TextRules) -> Tokenizer:
    return Tokenizer(vocabulary, text)
