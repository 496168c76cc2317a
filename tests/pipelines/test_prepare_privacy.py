"""What personal data may show up in: the examples and the rejects, nothing else."""

import functools
import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml

from tests.pipelines.launches import Launch
from tests.pipelines.test_prepare_rules import (
    reviews,
    run_command,
    run_prepare,
    settings,
    settled,
    write,
)

_MAILS = [f"anna.{i}@mail{i}.example.org" for i in range(12)]
_PHONES = [f"+49 170 55501{i:02}" for i in range(12)]
_SECRETS = [*_MAILS, *_PHONES]
_EXCLUDED = "erase-me@private.example.org"  # an id
_ERASED = "0151 77712345"  # in the text of a review to be erased


def _corpus(folder):
    """Personal data in every kind of row, of three formats, and a file of ids."""
    mails, phones = iter(_MAILS), iter(_PHONES)
    rows = [r | {"at": f"2024-05-{n % 28 + 1:02}"} for n, r in enumerate(reviews(60))]

    def row(number, **changes):
        return {**rows[1], "id": f"p{number}", **changes}

    rows += [
        row(0, text=f"Call me: {next(phones)}, or write to {next(mails)}!"),
        row(1, text=f"Mine is {next(mails)}", note=f"her number: {next(phones)}"),
        *(
            row(10 + star, text=f"Same text, {conflict}", stars=star)
            for star in (1, 3, 5)
            for conflict in (_MAILS[2],)
        ),
    ]
    assert next(mails) == _MAILS[2]
    rows += [
        row(20, text="A label", stars=next(mails)),
        row(21, text="Another label", stars=next(phones)),
        row(30, text="A language", lang=next(mails)),
        row(31, text="Another language", lang=next(phones)),
        row(40, text=f"long {next(phones)} " * 30),
        row(41, text=f"bell \a {next(mails)}"),
        row(42, text=int("49170555" + "0190")),
        row(43, text="A time", at=next(mails)),
        row(44, text="A group", user=next(mails)),
        row(45, text="A list", lang=[next(phones)]),
        row(0, text=f"The same id, {next(phones)}"),
        row(46, text="An id", id=next(mails)),
        b'{"id": "w1", "text": "never closed ' + next(phones).encode(),
        b'{"id": "w2", "text": "caf\xe9 ' + next(mails).encode() + b'"}',
        b'["' + next(phones).encode() + b'"]',
        row(47, text=f"Forget {_ERASED}", id=_EXCLUDED),
    ]
    write(folder / "rows.jsonl", rows)
    mail, phone = next(mails), next(phones)
    lines = [
        "id,text,stars,lang,at,user,note",
        f"c0,In CSV {mail},1,en,2024-05-01,,",
        f"c1,A field more,1,en,2024-05-01,,,{phone}",
    ]
    (folder / "rows.csv").write_text("\n".join([*lines, ""]))
    mail, phone = next(mails), next(phones)
    table = [row(50, text=f"In Parquet {mail}"), row(51, text="!", note=phone)]
    names = ("id", "text", "stars", "lang", "at", "user", "note")
    table = [{name: r.get(name) for name in names} for r in table]
    table[1]["stars"] = None
    pq.write_table(
        pa.Table.from_pylist(table).set_column(5, "user", pa.nulls(2, pa.string())),
        folder / "rows.parquet",
    )
    (folder / "excluded.txt").write_text(f"{_EXCLUDED}\nsomebody\n")


def _settings(encoder, folder, **changes):
    data = settings(
        encoder, folder / "rows.*",
        exclude_ids=str(folder / "excluded.txt"),
        rules={"max_characters": 500, "actions": {"id_repeated": "reject",
                                                  "control_characters": "reject"}},
        split={"time_column": "at", "test_days": 3, "group_by": "user"},
    )  # fmt: skip
    data["columns"]["keep"] = ["note"]
    return data | changes


def _command(folder, config, output):
    config = folder / f"{config}.yaml"
    return "prepare", "--config", config, "--output", folder / output, "--verbose"


def _go_on(folder, names):
    """Runs more command lines in the same process, and one with a fault of ours."""
    from reviewbeam.components.tokenization.tokenizer import Tokenizer
    from reviewbeam.pipelines.cli import main

    commands = [_command(folder, name, name) for name in names]
    codes = [main(list(map(str, command))) for command in commands]
    Tokenizer.encode = lambda self, texts: texts.no_such_attribute
    return [*codes, main(list(map(str, _command(folder, "good", "good-fault"))))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "in").mkdir()
    _corpus(folder / "in")
    return folder


@pytest.fixture(scope="module")
def verbose(folder, tiny_encoder, tmp_path_factory):
    """One verbose process: a success, a failed gate, mistakes, and a fault of ours.

    Returns their exit codes, and all that they wrote to their streams.
    """
    data = _settings(tiny_encoder, folder / "in")
    wrong_label = data["columns"] | {"label": "text"}
    wrong_name = data["columns"] | {"label": "rating"}
    jobs = {
        "good": data,
        "gate": data | {"rules": data["rules"] | {"max_reject_fraction_per_file": 0.1}},
        "label": data | {"columns": wrong_label},
        "name": data | {"columns": wrong_name},
    }
    for name, job in jobs.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    first, *others = jobs
    after = functools.partial(_go_on, folder, others)
    run = Launch(
        tmp_path_factory.mktemp("streams"), *_command(folder, first, first), after=after
    )
    return [run.end(), *run.result], run.err


@pytest.fixture(scope="module")
def shown(folder, verbose, tiny_encoder):
    """The manifests of runs that differ in privacy.text only, and their Runs."""
    runs = {
        text: run_prepare(
            folder, _settings(tiny_encoder, folder / "in", privacy={"text": text}),
            "--json", name=text,
        )
        for text in ("redacted", "full")
    }  # fmt: skip
    manifests = {text: run.manifest for text, run in runs.items()}
    manifests["none"] = json.loads((folder / "good" / "manifest.json").read_text())
    return manifests, runs


def _places(output):
    """(file, column) -> all that stands there, of everything below a folder."""
    for path in sorted(output.rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(output).as_posix()
        data = path.read_bytes()
        if name.endswith(".parquet"):
            for column in (frame := pd.read_parquet(path)):
                yield (name, column), repr(frame[column].tolist()).encode()
        elif name.endswith(".tfrecord.gz"):
            rest = gzip.decompress(data)
            for record in tf.data.TFRecordDataset([str(path)], "GZIP"):
                example = tf.train.Example.FromString(record.numpy())
                for feature, values in example.features.feature.items():
                    for value in values.bytes_list.value:
                        yield (name, feature), value
                        rest = rest.replace(value, b"", 1) if value else rest
            yield (name, "between the values"), rest
        else:
            yield (name, "bytes"), data


def _found(output):
    """(file, column) of all places that hold personal data -> which."""
    found = {}
    for place, data in _places(output):
        held = {s for s in (*_SECRETS, _EXCLUDED, _ERASED) if s.encode() in data}
        if held:
            found.setdefault(place, set()).update(held)
    return found


def test_the_corpus_has_personal_data_in_rows_of_every_fate(verbose, folder):
    codes, told = verbose
    assert codes == [0, 3, 2, 2, 1], told[-3000:]
    inputs = json.loads((folder / "good" / "manifest.json").read_text())["inputs"]
    assert [settled(entry) for entry in inputs] == [e["rows"] for e in inputs]
    csv_file, json_file, parquet_file = inputs
    assert csv_file["rejected"] == {"wrong_field_count": 1}
    assert parquet_file["rejected"] == {"label_missing": 1}
    assert json_file["rejected"] == dict.fromkeys(
        ("control_characters", "id_repeated", "invalid_utf8", "label_unknown",
         "language_wrong_type", "malformed_json", "not_an_object", "text_too_long",
         "text_wrong_type", "time_invalid"), 1
    ) | {"label_unknown": 2}  # fmt: skip
    assert json_file["left_out"] == {"excluded_id": 1}


@pytest.mark.parametrize("name", ["good", "gate.failed"])
def test_personal_data_is_in_examples_and_rejects_alone(name, verbose, folder):
    allowed = {"text", "note", "id", "language"}
    found = _found(folder / name)
    for file, column in found:
        if file.startswith("rejects/"):
            assert column in ("raw", "value"), (file, column)
        else:
            assert file.endswith(".tfrecord.gz") and column in allowed, (file, column)
    everywhere = set().union(*found.values())
    assert not everywhere & {_EXCLUDED, _ERASED}
    assert len(everywhere) >= (18 if name == "good" else 8)


def test_nothing_else_is_left_behind(verbose, folder):
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) in (
        ["gate.failed", "good", "in"],
        ["full", "gate.failed", "good", "in", "redacted"],
    )


def test_no_message_holds_personal_data_even_when_verbose(verbose):
    _, told = verbose
    assert "Traceback" in told and "reviewbeam: " in told  # both streams are here
    for secret in (*_SECRETS, _EXCLUDED, _ERASED):
        assert secret not in told, secret
    for text in ("Lamp number", "Same text", "never closed"):
        assert text not in told


def test_no_log_holds_personal_data(verbose, folder):
    logs = {path.name: path.read_text() for path in folder.glob("*.log")}
    # A mistake leaves none.
    assert {"good.log", "gate.log", "good-fault.log"} <= set(logs)
    assert not {"label.log", "name.log"} & set(logs)
    assert "Z AttributeError\n" in logs["good-fault.log"]
    for name, text in logs.items():
        for secret in (*_SECRETS, _EXCLUDED, _ERASED, "Lamp number", "never closed"):
            assert secret not in text, (name, secret)


def test_privacy_changes_the_texts_of_conflicts_alone(shown):
    manifests, _ = shown
    texts = {}
    for name, manifest in manifests.items():
        (conflict,) = manifest["label_conflicts"]["some"]
        texts[name] = conflict.pop("text")
        del manifest["fingerprint"]
    assert texts == {
        "none": None,
        "redacted": "Same text, [mail]",
        "full": f"Same text, {_MAILS[2]}",
    }
    assert manifests["none"] == manifests["redacted"] == manifests["full"]


def test_a_mask_shows_no_personal_data(shown):
    run = shown[1]["redacted"]
    assert run.code == 0
    files = {file for file, _ in _found(run.output)}
    assert files and all(f.endswith((".tfrecord.gz", ".parquet")) for f in files)
    for secret in (*_SECRETS, _EXCLUDED, _ERASED):
        assert secret not in run.out + run.err
    languages = set().union(*(s["languages"] for s in run.manifest["splits"].values()))
    assert languages == {"en", "de", "ja", "other"}


def test_examples_keep_what_reviews_hold(shown):
    run = shown[1]["full"]
    assert f"In CSV {_MAILS[10]}" in run.texts()
    assert "An id" in run.texts() and not any(_ERASED in t for t in run.texts())
    assert {e["note"] for e in run.examples()} - {None} == {f"her number: {_PHONES[1]}"}


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_a_file_without_ids_to_exclude_is_a_mistake(
    content, folder, tiny_encoder, tmp_path
):
    (tmp_path / "ids.txt").write_text(content)
    data = _settings(tiny_encoder, folder / "in")
    data["exclude_ids"] = str(tmp_path / "ids.txt")
    run = run_prepare(tmp_path, data)
    assert run.code == 2
    assert "ids.txt' holds no id" in run.err and "Traceback" not in run.err
    assert not list(tmp_path.glob("dataset*/"))


@pytest.fixture(scope="module")
def scored(model, folder):
    """The same corpus scored without the excluded ids."""
    columns = {"text": "text", "id": "id", "language": "lang"}
    config = folder / "score.yaml"
    data = {"columns": columns, "exclude_ids": str(folder / "in" / "excluded.txt")}
    data["inference"] = {"engine": "tensorflow", "batch_tokens": 4096}  # unmeasured
    config.write_text(yaml.safe_dump(data | {"input": [str(folder / "in" / "rows.*")]}))
    return run_command(
        "score", "--config", config, "--model", model, output=folder / "scores"
    )


def test_score_leaves_excluded_reviews_out_and_counts_them(scored, folder):
    assert scored.code == 0, scored.err
    manifest = json.loads((scored.output / "_manifest.json").read_text())
    ((_, version),) = manifest["versions"].items()
    for entry in version["files"]:
        fates = sum(entry["rejected"].values()) + sum(entry["left_out"].values())
        assert entry["rows"] == entry["written"] + fates
    left_out = [entry["left_out"] for entry in version["files"]]
    assert left_out == [{}, {"excluded_id": 1}, {}]
    frame = pd.read_parquet(scored.output)
    assert len(frame) == sum(entry["written"] for entry in version["files"])
    assert _EXCLUDED not in set(frame["id"]) and "p0" in set(frame["id"])


def test_scores_hold_no_text(scored):
    for (file, column), held in _found(scored.output).items():
        assert file.endswith(".parquet"), (file, held)
        if file.startswith("_rejects/"):
            assert column in ("raw", "value")
        else:
            assert column in ("id", "language")
        assert not held & {_EXCLUDED, _ERASED}
    for secret in (*_SECRETS, _EXCLUDED, _ERASED):
        assert secret not in scored.out + scored.err


@pytest.mark.parametrize("content", ["", None])
def test_score_refuses_a_file_without_ids_to_exclude(content, model, folder, tmp_path):
    config, ids = tmp_path / "score.yaml", tmp_path / "ids.txt"
    if content is not None:
        ids.write_text(content)
    data = {"columns": {"text": "text"}, "exclude_ids": str(ids)}
    config.write_text(yaml.safe_dump(data | {"input": [str(folder / "in" / "*")]}))
    run = run_command(
        "score", "--config", config, "--model", model, output=tmp_path / "scores"
    )
    assert run.code == 2
    assert "exclude_ids" in run.err and "Traceback" not in run.err
    assert not (tmp_path / "scores").exists()
