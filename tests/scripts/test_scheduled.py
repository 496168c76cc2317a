"""The wrapper for cron, with a `reviewbeam` that ends as it is told."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "scheduled.sh"
# Notes its arguments; ends with the next of the codes, at the last for ever.
STUB = """#!/usr/bin/env bash
echo "$*" >>"$STUB/calls"
code=$(head -n 1 "$STUB/codes")
[ "$(wc -l <"$STUB/codes")" = 1 ] || sed -i 1d "$STUB/codes"
echo "1 row"
echo "reviewbeam: because of $code" >&2
[ ! -e "$STUB/result" ] || cat "$STUB/result"
[ "$code" != wait ] || { trap 'kill $!; exit 75' TERM; sleep 60 & wait $!; }
[ "$code" != kill ] || kill -KILL $$
exit "$code"
"""


@pytest.fixture
def start(tmp_path):
    """Returns a function that starts the wrapper; its stub ends with these codes."""
    stub = tmp_path / "bin" / "reviewbeam"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)

    def start(*codes, result=None, words=("--input", "in/*.jsonl"), **settings):
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        if result is not None:
            (tmp_path / "result").write_text(json.dumps(result) + "\n")
        environment = {
            "PATH": f"{stub.parent}:{os.defpath}",
            "STUB": str(tmp_path),
            "REVIEWBEAM_ALERT": f"cat >>{tmp_path}/alerts",
            "REVIEWBEAM_LOGS": str(tmp_path / "logs"),
            "REVIEWBEAM_PAUSE": "0",
        }
        return subprocess.Popen(
            [SCRIPT, "score", *words],
            env=environment | settings,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    return start


@pytest.fixture
def run(start, tmp_path):
    """Returns a function that runs it: code, calls, alerts, results, stderr."""

    def run(*codes, **settings):
        process = start(*codes, **settings)
        _, err = process.communicate(timeout=60)
        return process.returncode, *told(tmp_path), err

    return run


def told(folder):
    """Command lines, alerts, and what is kept of each attempt."""
    texts = [
        path.read_text() if (path := folder / name).exists() else ""
        for name in ("calls", "alerts", "logs/results.jsonl")
    ]
    results = [json.loads(line) for line in texts[2].splitlines()]
    return texts[0].splitlines(), texts[1], results


def test_a_run_that_ends_well_is_told_to_nobody(run, tmp_path):
    code, calls, alerts, results, err = run(0, result={"total": 7})
    assert (code, alerts, err) == (0, "", "")
    assert calls == ["score --input in/*.jsonl --json"]  # no glob was expanded
    ((result),) = results
    assert (result["exit_code"], result["result"]) == (0, {"total": 7})
    kept, log = sorted((tmp_path / "logs").iterdir())
    assert kept.name == "results.jsonl"
    assert "because of 0" in log.read_text() and "1 row" in log.read_text()


@pytest.mark.parametrize("code", [2, 3, 4])
def test_what_needs_a_person_is_told_and_not_run_again(run, code):
    found, calls, alerts, results, err = run(code)
    assert (found, len(calls), err) == (code, 1, "")
    assert f"exit code {code}, " in alerts and f"because of {code}" in alerts
    assert [(r["exit_code"], r["result"]) for r in results] == [(code, None)]


@pytest.mark.parametrize("code", [1, 75, "kill"])
def test_a_fault_is_run_again(run, code):
    found, calls, alerts, results, _ = run(code, code, 0)
    assert (found, len(calls), alerts) == (0, 3, "")
    assert [r["attempt"] for r in results] == [1, 2, 3]


@pytest.mark.parametrize(("code", "expected"), [(1, 1), (75, 75), ("kill", 137)])
def test_but_not_for_ever(run, code, expected):
    found, calls, alerts, _, _ = run(code, REVIEWBEAM_ATTEMPTS="2")
    assert (found, len(calls)) == (expected, 2)
    assert alerts.count(f"exit code {expected}, after 2 attempts") == 1


def test_there_is_a_pause_between_two_attempts(run):
    began = time.monotonic()
    assert run(1, 0, REVIEWBEAM_PAUSE="1")[0] == 0
    assert time.monotonic() - began >= 1


def test_a_run_that_its_deadline_stopped_goes_on_next_time(run):
    code, calls, alerts, *_ = run(75, 0, result={"stopped": True, "total": 1})
    assert (code, len(calls)) == (75, 1) and "deadline" in alerts


@pytest.mark.parametrize("codes", [("wait",), (1,)])  # at work; in a pause
def test_a_signal_stops_the_command_and_the_attempts(start, tmp_path, codes):
    process = start(*codes, REVIEWBEAM_PAUSE="60")
    while "because" not in "".join(
        path.read_text() for path in tmp_path.glob("logs/*.log")
    ):
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    calls, alerts, _ = told(tmp_path)
    assert (process.returncode, len(calls)) == (75, 1) and "signal" in alerts


@pytest.mark.parametrize("alert", ["", "; exit 9"])  # then it goes to standard error
def test_values_that_may_be_secrets_are_told_to_nobody(run, tmp_path, alert):
    words = [
        "--config=configs/score.yaml",
        *("--input", "in/*.jsonl", "SECRET1"),
        "--s3_secret_access_key=SECRET2",
        *("--s3_access_key_id", "SECRET3", "SECRET 4"),
        *("--output", "runs/scores", "-pSECRET5", "--save_main_session"),
    ]
    log_alert = f"cat >>{tmp_path}/alerts{alert}"
    code, calls, alerts, _, err = run(3, words=words, REVIEWBEAM_ALERT=log_alert)
    assert code == 3 and calls == [f"score {' '.join(words)} --json"]
    texts = [path.read_text() for path in tmp_path.glob("logs/*")]
    assert not [text for text in (*texts, alerts, err) if "SECRET" in text]
    shown = (
        r"reviewbeam score --config=configs/score.yaml --input in/\*.jsonl ... "
        "--s3_secret_access_key=... --s3_access_key_id ... ... --output runs/scores "
        "... --save_main_session\n"
    )
    assert f"Command: {shown}" in alerts
    assert len([text for text in texts if f"attempt 1 of 3: {shown}" in text]) == 1


def test_an_option_is_no_job(tmp_path):
    environment = {"PATH": os.defpath, "REVIEWBEAM_ALERT": "cat >&2"}
    done = subprocess.run(
        [SCRIPT, "--s3_secret_access_key=SECRET", "score"],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "a job is needed" in done.stderr
    assert "SECRET" not in done.stderr and not list(tmp_path.iterdir())


def test_logs_are_their_owners_alone_and_nothing_else_is(run, tmp_path):
    stub = tmp_path / "bin" / "reviewbeam"
    stub.write_text(STUB.replace("echo", 'ls -l "$STUB"/logs >"$STUB/seen"\necho', 1))
    before = os.umask(0o022)
    try:
        run(3)
    finally:
        os.umask(before)
    _, *seen = (tmp_path / "seen").read_text().splitlines()
    assert [line[:10] for line in seen] == ["-rw-------"] * 3  # while it is at work
    left = {path.suffix: path.stat().st_mode for path in tmp_path.glob("logs/*")}
    assert {end: mode & 0o777 for end, mode in left.items()} == {
        ".log": 0o600,
        ".jsonl": 0o600,
    }
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o644


def test_without_an_alert_command_nothing_is_run(run):
    code, calls, _, _, err = run(0, REVIEWBEAM_ALERT="")
    assert (code, calls) == (2, []) and "REVIEWBEAM_ALERT" in err


def test_an_alert_that_fails_is_told_on_standard_error(run):
    code, *_, err = run(3, REVIEWBEAM_ALERT="exit 9")
    assert code == 3 and "alert command failed" in err and "because of 3" in err


@pytest.mark.parametrize(("path", "expected"), [("", 127), ("file", 2)])
def test_what_can_not_be_started_is_told(run, tmp_path, path, expected):
    (tmp_path / "file").touch()
    settings = {"REVIEWBEAM_LOGS": str(tmp_path / "file" / "x")} if path else {}
    if not path:
        (tmp_path / "bin" / "reviewbeam").write_text("#!/nowhere\n")
    code, calls, alerts, *_ = run(0, **settings)
    assert (code, calls) == (expected, []) and f"exit code {expected}" in alerts


def test_the_lines_for_cron_are_commands_that_exist():
    """A line's options are ones that the command line takes."""
    from reviewbeam.pipelines.cli import parse

    text = (ROOT / "configs/schedule/reviewbeam.cron").read_text()
    assert text.endswith("\n")  # else cron passes over the last line
    lines = [line for line in text.splitlines() if re.match(r"([\d*/,-]+ ){5}", line)]
    assert len(lines) == 2
    for line in lines:
        command = re.sub(r"(?<!\\)%.*", "", line).replace(r"\%", "%").split(" ", 5)[5]
        *_, script = command.partition("scripts/scheduled.sh ")
        words = subprocess.run(
            ["bash", "-c", f'printf "%s\\n" {script}'],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT / "scripts",
        ).stdout.splitlines()
        arguments = parse(words)
        assert (ROOT / arguments.config).is_file()
