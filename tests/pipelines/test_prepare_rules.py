"""Raw files to examples and rejects: formats, damaged files, the rules' actions."""

import bz2
import contextlib
import csv
import dataclasses
import gzip
import io
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
import zstandard

STARS = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass
class Run:
    """What a command line did."""

    code: int
    out: str
    err: str
    output: Path

    @property
    def manifest(self):
        return json.loads((self.output / "manifest.json").read_text())

    @property
    def entries(self):
        """What became of each file's rows, by its name."""
        return {entry["file"]: entry for entry in self.manifest["inputs"]}

    @property
    def rejects(self):
        return pd.read_parquet(self.output / "rejects")

    def rejected(self):
        """(row, rule) of each reject."""
        return list(self.rejects[["row", "rule"]].itertuples(index=False, name=None))

    def examples(self, *splits):
        """The features of each example of some splits, or of all."""
        found = []
        for split in splits or SPLITS:
            shards = self.manifest["splits"].get(split) or self.manifest[split]
            files = [str(self.output / s["name"]) for s in shards["shards"]]
            for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
                features = tf.train.Example.FromString(record.numpy()).features.feature
                found.append({name: _plain(f) for name, f in features.items()})
        return found

    def texts(self, *splits):
        return [example["text"] for example in self.examples(*splits)]


def _plain(feature):
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    values = [v.decode() if isinstance(v, bytes) else v for v in values]
    return values[0] if len(values) == 1 else values or None


def run_command(*arguments, output):
    """Runs a command line in this process; returns its Run."""
    from reviewbeam.pipelines.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, arguments), "--output", str(output)])
    return Run(code, out.getvalue(), err.getvalue(), output)


def run_prepare(folder, data, *arguments, name="dataset"):
    """Prepares `folder / name` from config data."""
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(data))
    return run_command(
        "prepare", "--config", config, *arguments, output=folder / name
    )  # fmt: skip


def settings(encoder, *inputs, **changes):
    """Config data for stars as labels."""
    return {
        "encoder": str(encoder),
        "input": [str(path) for path in inputs],
        "columns": {"text": "text", "label": "stars", "language": "lang", "id": "id"},
        "labels": {
            "type": "multiclass",
            "names": ["negative", "neutral", "positive"],
            "mapping": STARS,
        },
        "text": {"max_tokens": 64},
        "split": {"validation": 0.2, "test": 0.3},
    } | changes


def reviews(count, first=0, **changes):
    """Records of different texts, all stars and three languages among them."""
    return [
        {
            "id": f"r{number:04}",
            "text": f"Lamp number {number} shines, and the {number}th shade fits.",
            "stars": number % 5 + 1,
            "lang": ("en", "de", "ja")[number % 3],
        }
        | changes
        for number in range(first, first + count)
    ]


def json_lines(records):
    """The bytes of JSON Lines; a record of bytes is a line as it is."""
    return b"".join(
        (r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode())
        + b"\n"
        for r in records
    )


def write(path, records):
    path.write_bytes(json_lines(records))
    return path


def settled(entry):
    """How many of a file's rows have a fate."""
    fates = (entry[fate].values() for fate in ("written", "rejected", "left_out"))
    return entry["duplicates"] + sum(map(sum, fates))


def shards(run):
    return {path.name: path.read_bytes() for path in run.output.glob("*.tfrecord.gz")}


def _delimited(records, delimiter):
    target = io.StringIO()
    writer = csv.DictWriter(target, records[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return target.getvalue().encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rules")


@pytest.fixture(scope="module")
def formats(folder, tiny_encoder):
    """The same reviews nested in one JSON Lines file, and in eight files of a kind."""
    corpus = reviews(160)
    for record in corpus[::7]:
        record["text"] = f'He said: "{record["text"]};\nand\tleft", überall 良い'
    flat = [
        {"review.body": r["text"], "stars": r["stars"], "lang": r["lang"],
         "id": r["id"], "votes": i if i % 10 else None}
        for i, r in enumerate(corpus)
    ]  # fmt: skip
    nested = [{"review": {"body": f.pop("review.body")}} | f for f in map(dict, flat)]
    table = pa.Table.from_pylist(nested[60:100])
    table = table.set_column(2, "lang", table["lang"].dictionary_encode())
    parts = folder / "parts"
    (parts / "more").mkdir(parents=True)
    (parts / "a.jsonl").write_bytes(json_lines(nested[:20]))
    (parts / "b.csv").write_bytes(b"\xef\xbb\xbf" + _delimited(flat[20:40], ";"))
    (parts / "c.tsv").write_bytes(_delimited(flat[40:60], "\t"))
    pq.write_table(table, parts / "d.parquet", row_group_size=11)
    packed = gzip.compress(json_lines(nested[100:110]))
    packed += gzip.compress(json_lines(nested[110:120]))  # two members, as of pigz
    (parts / "more" / "e.jsonl.gz").write_bytes(packed)
    (parts / "more" / "f.csv.bz2").write_bytes(
        bz2.compress(_delimited(flat[120:140], ";"))
    )
    (parts / "more" / "g.tsv.zst").write_bytes(
        zstandard.compress(_delimited(flat[140:], "\t"))
    )
    write(folder / "one.jsonl", nested)
    data = settings(tiny_encoder, csv_delimiter=";")
    data["columns"] |= {"text": "review.body", "keep": ["votes"]}
    globs = [parts / "*.*", parts / "*" / "*.*"]
    return [
        run_prepare(folder, data | {"input": list(map(str, inputs))}, name=name)
        for name, inputs in (("one", [folder / "one.jsonl"]), ("many", globs))
    ]


def test_every_format_in_one_run_gives_the_same_bytes(formats):
    one, many = formats
    assert (one.code, many.code) == (0, 0), many.err
    assert len(one.texts()) == len(set(one.texts())) == 160
    assert shards(one) == shards(many)
    assert {e["id"]: e["votes"] for e in many.examples()} == {
        f"r{number:04}": str(number) if number % 10 else None for number in range(160)
    }


def test_each_file_is_counted_under_its_name_and_format(formats):
    found = [(e["file"], e["format"], e["rows"]) for e in formats[1].entries.values()]
    assert found == [
        ("a.jsonl", "jsonl", 20),
        ("b.csv", "csv", 20),
        ("c.tsv", "tsv", 20),
        ("d.parquet", "parquet", 40),
        ("more/e.jsonl.gz", "jsonl", 20),
        ("more/f.csv.bz2", "csv", 20),
        ("more/g.tsv.zst", "tsv", 20),
    ]


@pytest.fixture(scope="module")
def damaged(folder, tiny_encoder):
    """A corpus whose files are cut, but for one."""
    corpus = folder / "damaged"
    corpus.mkdir()
    records = reviews(400)
    packed = gzip.compress(json_lines(records[:100]), 0)  # stored as it is
    (corpus / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    parts = [
        compressor.compress(data) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for data in _delimited(records[100:200], ",").splitlines(keepends=True)
    ]
    (corpus / "cut.csv.zst").write_bytes(b"".join(parts[:51]))
    pq.write_table(pa.Table.from_pylist(records[200:300]), corpus / "foot.parquet")
    whole = (corpus / "foot.parquet").read_bytes()
    (corpus / "foot.parquet").write_bytes(whole[:-6])
    write(corpus / "sound.jsonl", records[300:])
    return settings(tiny_encoder, corpus / "*")


@pytest.fixture(scope="module")
def salvaged(folder, damaged):
    return run_prepare(
        folder, damaged | {"on_damaged_file": "salvage"}, name="salvaged"
    )


@pytest.mark.parametrize(
    "name, message",
    [
        ("foot.parquet", "its Parquet footer can't be read"),
        ("cut.jsonl.gz", "its gzip data ends before its end mark, after 50 records"),
    ],
)
def test_a_damaged_file_stops_all_and_is_named(name, message, damaged, tmp_path):
    corpus = Path(damaged["input"][0]).parent
    run = run_prepare(tmp_path, damaged | {"input": [str(corpus / name)]})
    assert run.code == 2
    assert f"{name} is damaged" in run.err and message in run.err
    assert not list(tmp_path.glob("dataset*/"))


def test_salvage_takes_what_is_before_the_damage(salvaged):
    assert salvaged.code == 0, salvaged.err
    entries = salvaged.entries
    assert {n: (e["rows"], e["rejected"]) for n, e in entries.items()} == {
        "cut.csv.zst": (51, {"damaged_file": 1}),
        "cut.jsonl.gz": (51, {"damaged_file": 1}),
        "foot.parquet": (1, {"damaged_file": 1}),
        "sound.jsonl": (100, {}),
    }
    assert all(settled(entry) == entry["rows"] for entry in entries.values())
    assert len(salvaged.texts()) == 200


def test_salvage_says_what_was_damaged(salvaged):
    damage = {name: entry["damaged"] for name, entry in salvaged.entries.items()}
    assert damage.pop("sound.jsonl") is None
    assert damage["cut.jsonl.gz"] == "its gzip data ends before its end mark"
    assert damage["cut.csv.zst"] == "its zstd data ends before its end mark"
    assert "Parquet" in damage["foot.parquet"]
    for name, what in damage.items():
        assert f"salvaged, {name}: {what}" in salvaged.out


def test_a_salvaged_file_has_one_reject_behind_its_last_row(salvaged):
    rejects = salvaged.rejects.set_index("file")
    assert dict(rejects["rule"]) == dict.fromkeys(rejects.index, "damaged_file")
    assert dict(rejects["row"]) == {
        "cut.csv.zst": 52,  # behind the header and fifty records
        "cut.jsonl.gz": 51,
        "foot.parquet": 1,
    }
    assert len(rejects) == 3


# What is wrong with a row -> the rule that it breaks.
_WRONG = [
    ({"text": None}, "text_missing"),
    ({"text": 12345}, "text_wrong_type"),
    ({"text": " \u3000 "}, "text_empty"),
    ({"text": "meh"}, "text_too_short"),
    ({"text": "long " * 41}, "text_too_long"),
    ({"text": "nul\0 in the text"}, "nul_characters"),
    ({"text": "bell\a in the text"}, "control_characters"),
    ({"text": "cafe\u0301 noir"}, "not_nfc"),
    (b'{"id": "w1", "text": "half \\ud83d pair", "stars": 1, "lang": "en"}',
     "lone_surrogates"),
    (b'{"id": "w2", "text": "caf\xe9 noir", "stars": 1, "lang": "en"}',
     "invalid_utf8"),
    (b'{"id": "w3", "text": "never closed', "malformed_json"),
    (b'["not", "an", "object"]', "not_an_object"),
    ({"stars": None}, "label_missing"),
    ({"stars": "great"}, "label_unknown"),
    ({"stars": 9}, "label_out_of_range"),
    ({"stars": {"of": 5}}, "label_wrong_type"),
    ({"lang": 7}, "language_wrong_type"),
    ({"lang": None}, "language_missing"),
    ({"lang": "tlh"}, "language_not_allowed"),
    ({"id": ["a", "list"]}, "id_wrong_type"),
    ({"id": ""}, "id_missing"),
    ({"id": "r0000"}, "id_repeated"),
]  # fmt: skip
_ALWAYS = {
    "text_missing", "text_empty", "malformed_json", "not_an_object", "label_missing",
    "label_unknown", "label_out_of_range", "label_wrong_type",
}  # fmt: skip
_REPAIRABLE = {
    "text_wrong_type", "text_too_long", "nul_characters", "control_characters",
    "not_nfc", "lone_surrogates", "invalid_utf8", "language_wrong_type",
    "id_wrong_type", "id_missing",
}  # fmt: skip
_ALLOWABLE = {
    "text_too_short", "language_missing", "language_not_allowed", "id_repeated"
}  # fmt: skip


@pytest.fixture(scope="module")
def wrong(folder):
    """Forty sound rows; then a blank line and a wrong row, in turns."""
    broken = [
        row if isinstance(row, bytes) else record | row
        for record, (row, _) in zip(
            reviews(len(_WRONG), 1000), _WRONG, strict=True
        )
    ]  # fmt: skip
    lines = [line for row in broken for line in (b"", row)]
    return write(folder / "wrong.jsonl", [*reviews(40), *lines])


def _of_actions(folder, encoder, wrong, name, repair, allow, **changes):
    actions = {rule: repair for rule in _REPAIRABLE}
    actions |= {rule: allow for rule in _ALLOWABLE}
    rules = {
        "min_characters": 4,
        "max_characters": 200,
        "languages": ["en", "de", "ja"],
        "actions": actions,
    }
    data = settings(encoder, wrong, rules=rules, **changes)
    return run_prepare(folder, data, name=name)


@pytest.fixture(scope="module")
def strict(folder, tiny_encoder, wrong):
    return _of_actions(
        folder, tiny_encoder, wrong, "strict", "reject", "reject", slice_bytes=1024
    )


@pytest.fixture(scope="module")
def lenient(folder, tiny_encoder, wrong):
    return _of_actions(
        folder, tiny_encoder, wrong, "lenient", "repair", "allow",
        rejects={"keep_raw": False},
    )  # fmt: skip


def _row(number):
    return 42 + 2 * number  # each wrong row is behind a blank line


def test_every_rule_rejects_its_row_and_no_other(strict):
    assert strict.code == 0, strict.err
    expected = [(_row(n), rule) for n, (_, rule) in enumerate(_WRONG)]
    repeated = expected.pop()
    found = strict.rejected()
    # Of two texts with one id the one with the lesser hash stays.
    assert sorted(set(found) - set(expected)) in ([(1, "id_repeated")], [repeated])
    assert len(found) == len(_WRONG)
    (entry,) = strict.entries.values()
    assert entry["rows"] == settled(entry) == 40 + len(_WRONG)
    assert entry["rejected"] == {rule: 1 for _, rule in _WRONG}
    assert len(strict.texts()) == 40


def test_row_numbers_and_offsets_hold_for_a_file_in_slices(strict, wrong):
    data = wrong.read_bytes()
    assert len(data) > 5 * 1024
    lines = data.split(b"\n")
    for reject in strict.rejects.itertuples():
        line = lines[reject.row - 1]
        assert data[int(reject.byte_offset) :].startswith(line)
        if reject.rule != "id_repeated":
            assert reject.raw == line
    values = strict.rejects.set_index("rule")["value"].dropna()
    assert dict(values) == {
        "label_unknown": "great",
        "label_out_of_range": "9",
        "language_not_allowed": "tlh",
    }


def test_repaired_and_allowed_rows_go_on_and_are_counted(lenient):
    assert lenient.code == 0, lenient.err
    (entry,) = lenient.entries.values()
    assert entry["rejected"] == dict.fromkeys(sorted(_ALWAYS), 1)
    assert entry["repaired"] == dict.fromkeys(sorted(_REPAIRABLE), 1) | {
        "id_missing": 2  # a wrong id is a missing one from then on
    }
    assert entry["allowed"] == dict.fromkeys(sorted(_ALLOWABLE), 1) | {
        "language_missing": 2
    }
    assert entry["rows"] == settled(entry)
    for rule in _REPAIRABLE:
        assert f"repaired, {rule}: " in lenient.out


def test_repairs_mend_the_text_and_nothing_else(lenient):
    texts = set(lenient.texts())
    assert len(texts) == 40 + len(_WRONG) - len(_ALWAYS)
    assert {
        "12345",
        "meh",
        ("long " * 40).strip(),
        "nul in the text",
        "bell in the text",
        "café noir",
        "half \ufffd pair",
        "caf\ufffd noir",
    } <= texts
    by_language = Counter(example.get("language") for example in lenient.examples())
    assert by_language["tlh"] == 1 and by_language[None] == 2


def test_rejects_without_raw_keep_only_their_place(lenient):
    rejects = lenient.rejects
    assert len(rejects) == len(_ALWAYS)
    assert rejects[["raw", "value"]].isna().all(axis=None)
    assert rejects["row"].tolist() == [
        _row(n) for n, (_, rule) in enumerate(_WRONG) if rule in _ALWAYS
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("jsonl", marks=pytest.mark.slow),
        "csv",
        pytest.param("parquet", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_column_is_told_with_the_nearest_name(kind, tiny_encoder, tmp_path):
    path = tmp_path / f"in.{kind}"
    records = reviews(10)
    if kind == "jsonl":
        write(path, records)
    elif kind == "csv":
        path.write_bytes(_delimited(records, ","))
    else:
        pq.write_table(pa.Table.from_pylist(records), path)
    data = settings(tiny_encoder, path)
    data["columns"]["label"] = "star"
    run = run_prepare(tmp_path, data)
    assert run.code == 2
    assert "has no column 'star', which columns.label names" in run.err
    assert "did you mean 'stars'?" in run.err
    assert "Its columns: 'id', 'text', 'stars', 'lang'" in run.err
    assert "Traceback" not in run.err
    assert not list(tmp_path.glob("dataset*/"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"spilt": {"test": 0.1}}, "did you mean 'split'?"),
        ({"rules": {"actions": {"not_nfc": "mend"}}}, "rules.actions.not_nfc"),
        ({"rules": {"actions": {"text_empty": "allow"}}}, "text_empty"),
        ({"split": {"column": "part", "values": {"a": "training"}}}, "split.values.a"),
        ({"split": {"column": "part", "values": {"a": "test"}}}, "no split train"),
        ({"split": {"time_column": "at"}}, "time_column and test_days need each other"),
        ({"split": {"validation": 0.5, "test": 0.5}}, "nothing to train on"),
        ({"duplicates": {"on_conflict": "first"}}, "duplicates.on_conflict"),
        ({"augment": {"copies": 2}}, "copies needs a way to differ"),
        ({"schema_rules": {"fatal": ["ENUM_TYPE"]}}, "no anomaly type of TFDV"),
        ({"schema_rules": {"schema_file": "no.pbtxt"}}, "schema_rules.schema_file"),
        ({"exclude_ids": "nowhere.txt"}, "exclude_ids 'nowhere.txt' can't be read"),
        ({"baseline": "nowhere"}, "'nowhere' is not a finished dataset"),
        ({"privacy": {"text": "some"}}, "privacy.text"),
    ],
)
def test_a_mistake_in_the_config_is_told_in_a_line(
    changes, message, folder, tiny_encoder, wrong, tmp_path
):
    run = run_prepare(tmp_path, settings(tiny_encoder, wrong) | changes)
    assert run.code == 2
    assert message in run.err, run.err
    assert "Traceback" not in run.err and "pydantic" not in run.err
    assert not list(tmp_path.glob("dataset*/"))
