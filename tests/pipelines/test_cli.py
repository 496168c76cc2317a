"""Each mistake of a user gives one readable message and the right exit code."""

import copy
import gzip
import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import SAMPLE


@pytest.fixture
def prepare(command, write_config, configs, tmp_path):
    """Returns a function that prepares with changed config data, into `out`."""

    def run(*options, change=None, reviews=SAMPLE / "reviews.jsonl"):
        data = copy.deepcopy(configs["prepare"])
        (change or (lambda data: None))(data)
        inputs = ["--input", reviews] if reviews else []
        return command(
            "prepare", "--config", write_config(data), *inputs,
            "--output", tmp_path / "out", *options,
        )  # fmt: skip

    return run


@pytest.fixture
def refused(prepare, tmp_path):
    """Returns a function that checks that prepare refuses, and says these words."""

    def check(*words, options=(), change=None, reviews=SAMPLE / "reviews.jsonl"):
        code, out, err = prepare(*options, change=change, reviews=reviews)
        assert code == 2, err
        for word in words:
            assert str(word) in err
        assert "Traceback" not in err + out
        assert not list(tmp_path.glob("out*"))

    return check


def test_a_typo_in_a_config_key(refused):
    def change(data):
        data["columns"]["langauge"] = data["columns"].pop("language")

    refused("'columns.langauge'", "did you mean 'language'", change=change)


def test_every_problem_of_a_config_is_listed(refused):
    def change(data):
        data["text"]["max_tokens"] = 9999
        data["split"]["salty"] = 1

    refused("text.max_tokens", "9999", "'split.salty'", change=change)


def test_a_typo_in_an_option_of_ours(refused):
    refused("'--overwrit'", "did you mean '--overwrite'", options=["--overwrit"])


def test_a_typo_in_an_option_of_beam(refused):
    refused(
        "'--direct_num_worker'",
        "did you mean '--direct_num_workers'",
        options=["--direct_num_worker=2"],
    )


def test_a_word_that_is_no_option(refused):
    refused("'extra'", options=["extra"])


def test_a_missing_option(command):
    code, _, err = command("prepare", "--config", "x.yaml")
    assert code == 2
    assert "--output" in err and "Traceback" not in err
    code, _, err = command("prepare", "--config", "x.yaml", "--otput", "y")
    assert code == 2 and "'--otput' (did you mean '--output'?)" in err
    code, _, err = command("prepare", "--config", "x.yaml", "--flink_master=y")
    assert code == 2 and "required: --output" in err


@pytest.mark.parametrize("place", ["cli.parse", "job_log.JobLog"])
def test_a_stop_before_the_job_begins(command, monkeypatch, place):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"reviewbeam.pipelines.{place}", stopped)
    code, out, err = command("doctor")
    assert (code, out) == (75, "")
    assert (
        err == "reviewbeam: stopped. The same command goes on from what was finished.\n"
    )


@pytest.mark.parametrize("limit", ["0", "-5", "ten", "1.5"])
def test_a_limit_that_is_none(command, limit):
    words = ("--config", "configs/score.yaml", "--model", "x", "--output", "y")
    code, _, err = command("score", *words, f"--limit={limit}")
    assert code == 2 and f"'{limit}' is no number of rows above 0" in err


def test_an_unknown_job(command):
    code, _, err = command("prepair")
    assert code == 2 and "prepare" in err


@pytest.mark.parametrize("job", ["score", "evaluate", "train", "predict"])
def test_what_is_no_artifact_is_told_before_libraries_are_loaded(configs, job):
    options = {
        "score": ["--model=.", "--input=x", "--output=x"],
        "predict": ["--model=."],
    }
    options["evaluate"] = ["--model=.", "--dataset=.", "--output=x"]
    options["train"] = ["--dataset=.", "--output=x"]
    words = [job, *options[job]]
    if job != "predict":
        words += ["--config", f"configs/laptop/{job}.yaml"]
    script = (
        "import sys\nfrom reviewbeam.pipelines import cli\n"
        f"code = cli.main({words!r})\n"
        "heavy = {'tensorflow', 'apache_beam', 'sklearn'} & set(sys.modules)\n"
        "assert code == 2 and not heavy, (code, heavy)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and "is not a finished" in run.stderr, run.stderr


@pytest.mark.parametrize(
    "role",
    [
        "language",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("text", "id", "label")),
    ],
)
def test_a_column_in_no_row(refused, role):
    refused(
        "reviews.jsonl",
        "has no column 'langage'",
        f"columns.{role}",
        "did you mean 'language'",
        change=lambda data: data["columns"].update({role: "langage"}),
    )


def test_a_kept_column_in_no_row(refused):
    refused(
        "'prodct'",
        "did you mean 'product'",
        change=lambda data: data["columns"].update(keep=["prodct"]),
    )


def test_a_group_column_in_no_row(refused):
    refused(
        "split.group_by", change=lambda data: data["split"].update(group_by="author")
    )


def test_a_column_in_no_row_of_parquet(refused, tmp_path):
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"txt": ["a"], "label": ["positive"]}), path)
    refused("has no column 'text'", "did you mean 'txt'", reviews=path)


def test_a_class_that_no_label_leads_to(refused):
    def change(data):
        data["labels"]["mapping"] = {
            "negative": "negative",
            "netural": "neutral",
            "positive": "positive",
        }

    refused("'neutral'", "'netural'", "{'negative': 179", change=change)


def test_a_mapping_to_an_unknown_class(refused):
    refused(
        "'neutrl'",
        change=lambda data: data["labels"].update(mapping={"a": "neutrl"}),
    )


def test_an_empty_glob(refused, tmp_path):
    refused("matches no file", reviews=tmp_path / "none-*.jsonl")


def test_no_input(refused):
    refused("No input was given", reviews=None)


def test_an_empty_corpus(refused, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    refused("no record at all", reviews=tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.jsonl.gz", b'{"text": "a"}\n', ["is no gzip file"]),
        ("r.jsonl", gzip.compress(b'{"text": "a"}\n', mtime=0), ["is a gzip file"]),
        ("r.parquet", b'{"text": "a"}\n', ["is no parquet file"]),
        ("r.jsonl", b"PAR1....PAR1", ["is a parquet file"]),
        ("r.jsonl", b"id,text,label\n1,a,positive\n", ["is no jsonl file"]),
        ("r.txt", b"hello", ["the ending tells no format", ".jsonl"]),
        ("r.parquet", b"PAR1....PAR1", ["is damaged", "Parquet footer"]),
    ],
)
def test_a_file_that_is_not_what_its_name_says(refused, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused(name, *words, reviews=tmp_path / name)


@pytest.mark.parametrize(
    "kept", [0.9, *(pytest.param(k, marks=pytest.mark.slow) for k in (0.2, 0.999))]
)
def test_a_gzip_cut_short(refused, tmp_path, kept):
    whole = gzip.compress((SAMPLE / "reviews.jsonl").read_bytes())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused("cut.jsonl.gz is damaged", "ends before its end mark", reviews=path)


def test_a_missing_encoder(refused, tmp_path):
    where = str(tmp_path / "no-encoder")
    refused(
        where,
        "reviewbeam encoder --from",
        change=lambda data: data.update(encoder=where),
    )


def test_an_encoder_of_the_hub_that_was_not_brought(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "cache"))
    refused(
        "reviewbeam encoder --from hf://FacebookAI/xlm-roberta-base",
        change=lambda data: data.update(encoder="hf://FacebookAI/xlm-roberta-base"),
    )


def test_more_tokens_than_the_encoder_has(refused, tiny_encoder, tmp_path):
    other = tmp_path / "short"
    other.mkdir()
    for path in tiny_encoder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["max_position_embeddings"] = 34
    (other / "config.json").write_text(json.dumps(config))
    refused("at most 32", change=lambda data: data.update(encoder=str(other)))


def test_an_output_that_exists(prepare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    code, _, err = prepare()
    assert code == 2 and "was not made by reviewbeam" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_the_same_again_does_nothing_and_another_config_is_refused(prepare, tmp_path):
    assert prepare()[0] == 0
    made = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert prepare()[0] == 0
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == made

    def change(data):
        data["split"]["salt"] = "pepper"

    code, _, err = prepare(change=change)
    assert code == 2 and "--overwrite" in err
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == made
    assert prepare("--overwrite", change=change)[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["split"]["salt"] == "pepper"
    assert {p.name for p in tmp_path.iterdir()} == {"config.yaml", "out", "out.log"}


def test_a_folder_in_use(prepare, tmp_path):
    staging = tmp_path / "out.staged"
    staging.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, os, sys, time\n"
         "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
         "print('held', flush=True)\ntime.sleep(60)", str(staging)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        code, _, err = prepare()
        assert code == 75 and "Another run is writing" in err
    finally:
        holder.kill()
        holder.wait()
    assert prepare()[0] == 0


@pytest.mark.parametrize("job", ["evaluate", "train", "score", "predict"])
def test_a_missing_dataset_or_model(job, command, write_config, configs, tmp_path):
    config = ["--config", write_config(configs.get(job, {}))]
    output = ["--output", tmp_path / "out"]
    absent = tmp_path / "absent"
    arguments = {
        "evaluate": [*config, *output, "--model", absent, "--dataset", absent],
        "train": [*config, *output, "--dataset", absent],
        "score": [*config, *output, "--model", absent, "--input", "*.jsonl"],
        "predict": ["--model", absent, "text"],
    }
    code, _, err = command(job, *arguments[job])
    assert code == 2
    assert "absent" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_dataset_in_the_place_of_a_model(command, dataset):
    code, _, err = command("predict", "--model", dataset, "text")
    assert code == 2
    assert "is of kind 'dataset'; 'model' was expected" in err


def test_a_fault_of_ours_is_one_line_and_exit_1(prepare, monkeypatch, tmp_path):
    from reviewbeam.pipelines import prepare as module

    def fails(*arguments):
        raise ZeroDivisionError("how odd")

    monkeypatch.setattr(module, "find_files", fails)
    code, _, err = prepare()
    assert code == 1
    assert "ZeroDivisionError: how odd" in err and "--verbose" in err
    assert "Traceback" not in err
    assert "Traceback" in prepare("--verbose")[2]


def test_json_is_the_last_line(prepare):
    code, out, _ = prepare("--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["kind"] == "dataset"


def test_predict_answers_each_text_in_order(command, model, monkeypatch):
    code, out, _ = command("predict", "--model", model, "--json", "good", "  ", "bad")
    answers = json.loads(out)
    assert code == 0
    assert [a["text"] for a in answers] == ["good", "  ", "bad"]
    assert answers[1]["label"] is None and answers[1]["reject"] == "text_empty"
    assert answers[0]["label"] in ("negative", "neutral", "positive")
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_predict_reads_lines_of_any_bytes(command, model, monkeypatch):
    lines = b"gut\nschlecht\r\n" + b"caf\xe9\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    code, out, _ = command("predict", "--model", model, "--json")
    answers = json.loads(out)
    assert code == 0
    assert [answer["reject"] for answer in answers] == [None, None, "invalid_utf8"]


@pytest.mark.slow
def test_the_processor_guard_stands_in_every_process(tmp_path):
    """Whatever of ours a worker imports first, the limit is set by then."""
    script = (
        "import os, pathlib\n"
        "real = pathlib.Path.read_text\n"
        "text = 'flags\\t: amx_tile\\ncpuid level\\t: 22\\n'\n"
        "pathlib.Path.read_text = lambda self, *a, **k: (\n"
        "    text if str(self) == '/proc/cpuinfo' else real(self, *a, **k))\n"
        "import reviewbeam.components.inference.handler\n"
        "print(os.environ['ONEDNN_MAX_CPU_ISA'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["AVX512_CORE_FP16"]
