"""Models that fail on some rows: each such row is one reject, every other is scored."""

import json

import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.inference.tensorflow_engine import TensorFlowEngine
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from tests.pipelines.fake_models import Formula, write_model
from tests.testdata.make_tiny_encoder import SENTENCES

MOST_TOKENS = 400  # rows x length that fit into memory
POISON = {0, 7, 63, 64, 100, 149}
NAMES = {f"r{i:03d}" for i in POISON}


class Fails(Formula):
    """Breaks on a marker, by what it was made to do.

    Args:
      how: `assert`: a batch with the marker raises an error; `nan`: a row with it has
        no probabilities; `spoil`: nor has any other row of its batch; `memory`: more
        than MOST_TOKENS tokens in a batch need more memory than there is; `none`: not
        at all.
      marker: a token id.
    """

    def __init__(self, classes, kind, how, marker):
        super().__init__(classes, kind)
        self._how = how
        self._marker = marker

    def answer(self, token_ids, padding_mask):
        probabilities = super().answer(token_ids, padding_mask)
        marked = tf.reduce_any(token_ids == self._marker, axis=1)
        if self._how == "none":
            return probabilities
        if self._how == "memory":
            fits = tf.size(token_ids, tf.int64) <= MOST_TOKENS
            needed = tf.where(fits, tf.constant(1, tf.int64), 2**50)
            nothing = tf.reduce_sum(tf.fill([needed], tf.constant(0.0)))
            return probabilities + nothing
        if self._how == "assert":
            fine = ~tf.reduce_any(marked)
            with tf.control_dependencies([tf.debugging.Assert(fine, ["poison"])]):
                return tf.identity(probabilities)
        if self._how == "spoil":
            marked = tf.fill(tf.shape(marked), tf.reduce_any(marked))
        return tf.where(marked[:, None], float("nan"), probabilities)


@pytest.fixture
def score_with(command, write_config, dataset, tiny_encoder, tmp_path):
    """Returns a function that scores records by a model: code, stdout, stderr."""

    def run(how, records, **changes):
        plain = write_model(tmp_path / "formula", dataset, tiny_encoder)
        opened = open_model(str(plain))
        tokenizer = Tokenizer(opened.vocabulary, opened.metadata.text)
        ids = tokenizer.encode(pa.array(["☠"]))["token_ids"][0].as_py()
        model = write_model(
            tmp_path / how,
            dataset,
            tiny_encoder,
            module=Fails(3, "multiclass", how, ids[-2]),
        )
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        config = write_config(
            {
                "columns": {"text": "text", "id": "id"},
                "inference": {
                    "engine": "tensorflow", "batch_tokens": 1024, "threads": 1,
                    "chunk_rows": 64,
                },
            }
            | changes
        )  # fmt: skip
        codes = []
        for name, folder in ((plain, "plain"), (model, "scores")):
            codes.append(
                command(
                    *("score", "--config", config, "--model", name),
                    *("--input", path, "--output", tmp_path / folder),
                )
            )
        assert codes[0][0] == 0
        return codes[1]

    return run


@pytest.fixture
def records():
    """Reviews, some of them with a marker that is in no other."""
    return [
        {
            "id": f"r{i:03d}",
            "text": SENTENCES[i % len(SENTENCES)] + " ☠" * (i in POISON),
        }
        for i in range(150)
    ]


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ("assert", "model_failed"),
        ("nan", "model_output_invalid"),
        ("spoil", "model_output_invalid"),
    ],
)
def test_poison_rows_leave_alone(score_with, records, tmp_path, how, rule):
    code, out, err = score_with(how, records)
    assert code == 0, err
    plain, scores = (
        pd.read_parquet(tmp_path / name).set_index("id").drop(columns="model_version")
        for name in ("plain", "scores")
    )
    assert set(plain.index) - set(scores.index) == NAMES
    kept = plain.loc[scores.index]
    for column in ("label", "score", "margin"):
        assert (kept[column] == scores[column]).all()
    files = [*tmp_path.glob("scores/_rejects/*/*")]
    rejects = pd.concat(map(pd.read_parquet, files))
    assert sorted(rejects["row"]) == sorted(i + 1 for i in POISON)
    assert set(rejects["rule"]) == {rule}
    assert {json.loads(raw)["id"] for raw in rejects["raw"]} == NAMES
    assert f"rejected, {rule}: {len(POISON)}" in out


def _refuse_large_batches(monkeypatch):
    """What TensorFlow raises for want of memory, without its wait for some."""
    real = TensorFlowEngine.probabilities

    def probabilities(engine, token_ids, mask):
        if token_ids.size > MOST_TOKENS:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return real(engine, token_ids, mask)

    monkeypatch.setattr(TensorFlowEngine, "probabilities", probabilities)


# TensorFlow waits ten seconds for memory before it gives up, a batch.
@pytest.mark.parametrize(
    "how", ["none", pytest.param("memory", marks=pytest.mark.slow)]
)
def test_batches_that_do_not_fit_are_halved(
    score_with, records, tmp_path, monkeypatch, how
):
    if how == "none":
        _refuse_large_batches(monkeypatch)
    code, out, err = score_with(how, records)
    assert code == 0, err
    assert len(pd.read_parquet(tmp_path / "scores")) == 150
    assert "batches halved for want of memory" in out


def test_a_model_that_always_fails_stops_the_run(score_with, tmp_path):
    records = [{"id": f"r{i}", "text": f"{SENTENCES[0]} ☠"} for i in range(40)]
    inference = {
        "engine": "tensorflow", "batch_tokens": 1024, "threads": 1, "max_faults": 5,
    }  # fmt: skip
    code, _, err = score_with("assert", records, inference=inference)
    assert code == 1
    assert "Traceback" not in err and SENTENCES[0] not in err
    assert not list(tmp_path.glob("scores/model_version=*"))


def test_a_model_that_fails_on_all_there_is_gives_no_rejects(score_with, tmp_path):
    records = [{"id": f"r{i}", "text": f"{SENTENCES[0]} ☠"} for i in range(12)]
    code, _, err = score_with("nan", records)
    assert code == 1 and "failed on all of the 12 rows" in err
    assert not list(tmp_path.glob("scores/model_version=*"))
    assert not list(tmp_path.glob("scores/_staged/*/chunk-*"))


def test_too_many_poison_rows_are_held_back(score_with, records, tmp_path):
    code, _, err = score_with("nan", records, rules={"max_reject_fraction": 0.01})
    assert code == 3 and "6 of 150 rows are rejects" in err
    assert not list(tmp_path.glob("scores/model_version=*"))
