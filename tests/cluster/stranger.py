"""An ordinary Beam pipeline, by somebody who has never heard of reviewbeam.

python stranger.py --output FOLDER --runner=FlinkRunner ...
"""

import argparse
import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_data_validation as tfdv
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

ROWS = 1000
SCHEMA = pa.schema([("id", pa.int64()), ("stars", pa.int64()), ("above", pa.bool_())])


class Model:
    def predict(self, texts):
        return np.array([len(text) for text in texts]) / 10


class LengthHandler(ModelHandler):
    def load_model(self):
        return Model()

    def run_inference(self, batch, model, inference_args=None):
        scores = model.predict([text for _, text in batch])
        return [PredictionResult(*pair) for pair in zip(batch, scores, strict=True)]


def make_row(number):
    text = " ".join(["good"] * (number % 7 + 1))
    return {"id": number, "stars": number % 5 + 1, "text": text}


def compare(row, mean):
    return {"id": row["id"], "stars": row["stars"], "above": row["stars"] > mean}


class MakeTable(beam.DoFn):
    def process(self, rows):
        yield pa.Table.from_pylist(rows, SCHEMA)


def to_record_batch(rows):
    return pa.RecordBatch.from_arrays(
        [
            pa.array([[row["stars"]] for row in rows]),
            pa.array([[row["text"].encode()] for row in rows]),
        ],
        ["stars", "text"],
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    known, rest = parser.parse_known_args()
    with beam.Pipeline(options=PipelineOptions(rest)) as pipeline:
        rows = (
            pipeline
            | beam.Create(range(ROWS))
            | beam.Reshuffle()
            | "Make rows" >> beam.Map(make_row)
        )
        mean = (
            rows
            | "Get stars" >> beam.Map(lambda row: row["stars"])
            | beam.combiners.Mean.Globally()
        )
        (
            rows
            | "Compare" >> beam.Map(compare, beam.pvalue.AsSingleton(mean))
            | "Batch for Parquet" >> beam.BatchElements(50, 200)
            | beam.ParDo(MakeTable())
            | beam.io.WriteToParquetBatched(f"{known.output}/rows", SCHEMA)
        )
        scored = (
            rows
            | "Get text" >> beam.Map(lambda row: (row["id"], row["text"]))
            | RunInference(LengthHandler())
        )
        (
            scored
            | "As bytes" >> beam.Map(lambda r: f"{r.example[0]} {r.inference}".encode())
            | beam.io.WriteToTFRecord(f"{known.output}/scores", num_shards=3)
        )
        (
            scored
            | "By score" >> beam.Map(lambda r: (float(r.inference), r.example[0]))
            | beam.GroupByKey()
            | "As JSON"
            >> beam.MapTuple(lambda key, ids: json.dumps([key, sorted(ids)]))
            | beam.io.WriteToText(f"{known.output}/groups")
        )
        (
            rows
            | "Batch for TFDV" >> beam.BatchElements(50, 200)
            | beam.Map(to_record_batch)
            | tfdv.GenerateStatistics()
            | "Serialize" >> beam.Map(lambda statistics: statistics.SerializeToString())
            | "Write statistics"
            >> beam.io.WriteToTFRecord(f"{known.output}/statistics", num_shards=1)
        )


if __name__ == "__main__":
    main()
