"""`score --dry-run`: what there is to score, and how long it should take."""

import contextlib
import dataclasses
import io
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.common.model_directory import ModelDirectory, open_model
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.inference.parts import read_chunks
from reviewbeam.components.inference.resolve import ResolvedInference
from reviewbeam.components.ingestion.files import CorpusFile, FileSlice
from reviewbeam.components.ingestion.lines import DamagedFileError, read_blocks
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.score_engine import resolve_for_output
from reviewbeam.pipelines.score_files import find_score_files
from reviewbeam.pipelines.score_settings import (
    classifier,
    review_rules,
    settings,
    staging_conditions,
)
from reviewbeam.pipelines.scores_folder import ScoresVersion
from reviewbeam.pipelines.scores_manifest import Manifest

_FILES, _ROWS = 5, 64  # of the sample: files, and rows of each
_COMPRESSED_BYTES = 2**20  # of a file, to see how far it expands


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a run would do; `rows` and `seconds` are estimates by a sample."""

    files: int  # new or changed
    bytes: int  # of these
    known: int  # files that were scored before
    damaged: dict[str, str]  # path -> why it can't be read
    removed: list[str]  # files that were scored once and are gone
    rows: int
    staged: int  # of these, by an earlier run
    rows_per_second: float | None  # of the sample; None: it has no usable row
    seconds: float | None  # without the start


def preview(
    config: ScoreConfig, model: Path, output: Place, options: PipelineOptions
) -> Preview:
    """Looks at the files and times the model on a few rows; writes nothing.

    Raises:
      UserError: the config, the model, the corpus or the output can't be used.
    """
    directory = open_model(os.fspath(model))
    rules = review_rules(config, directory.metadata)
    manifest = Manifest.read(output)
    found = find_score_files(config, manifest, verify=False)
    resolved = resolve_for_output(config, directory, manifest, None, options)
    conditions = staging_conditions(config, rules)
    version = ScoresVersion(
        output.absolute(),
        manifest,
        settings(config, directory, resolved),
        conditions,
    )
    new = [file for file in found.files if not version.has(file)]
    rows, rate = _estimate(new, config, rules, directory, resolved)
    staged = sum(chunk.rows for chunk in read_chunks(version.staging))
    return Preview(
        files=len(new),
        bytes=sum(file.size for file in new),
        known=len(found.files) - len(new),
        damaged=found.unreadable,
        removed=found.removed,
        rows=rows,
        staged=min(staged, rows),
        rows_per_second=rate,
        seconds=(rows - min(staged, rows)) / rate if rate else None,
    )


def _estimate(
    files: list[CorpusFile],
    config: ScoreConfig,
    rules: ReviewRules,
    model: ModelDirectory,
    resolved: ResolvedInference,
) -> tuple[int, float | None]:
    """Returns how many rows files have, roughly, and how many a second are inferred."""
    heads = [
        (file, head)
        for file in files[:: max(1, len(files) // _FILES)]
        if (head := _head(file, config)) is not None
    ]
    if not heads:
        return 0, None
    share = sum(file.size for file, _ in heads) / sum(file.size for file in files)
    rows = round(sum(_rows(file, head) for file, head in heads) / share)
    tokenizer = Tokenizer(model.vocabulary, model.metadata.text)
    chunks = []
    for _, head in heads:
        reviews = rules.apply(head).reviews
        tokens = tokenizer.encode(reviews.column("text"))
        chunks.append(with_columns(reviews, **tokens))
    if not any(chunk.num_rows for chunk in chunks):
        return rows, None
    handler = classifier(config, model, resolved)
    loaded = handler.load_model()
    handler.run_inference(chunks, loaded)  # the first time it compiles
    started = time.monotonic()
    handler.run_inference(chunks, loaded)
    seconds = time.monotonic() - started
    return rows, sum(head.num_rows for _, head in heads) / seconds


def _head(file: CorpusFile, config: ScoreConfig) -> pa.RecordBatch | None:
    """Returns the first rows of a file, if it has any."""
    stop = -1 if file.format == "parquet" else file.size
    reader = SliceReader(FileSlice(file, 0, 0, stop), config, _ROWS)
    return next(reader.batches(), None)


def _rows(file: CorpusFile, head: pa.RecordBatch) -> float:
    """Returns how many rows a file has, by its first ones."""
    with open_binary(file.path) as source:
        if file.format == "parquet":
            return pq.ParquetFile(source).metadata.num_rows
        first = source.read(_COMPRESSED_BYTES)
    size = 0
    with contextlib.suppress(DamagedFileError):  # it goes on behind these bytes
        for block in read_blocks(io.BytesIO(first), file.compression):
            size += len(block)
    read = pc.sum(pc.binary_length(head.column("raw"))).as_py() + head.num_rows
    return file.size * size / len(first) / read * head.num_rows
