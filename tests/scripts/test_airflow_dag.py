"""The DAG for Airflow: each exit code leads to its state.

Airflow is not among what this project installs: what the DAG takes of it is stood in
for here. With Airflow itself: `airflow dags test reviewbeam_score`.
"""

import datetime
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from reviewbeam.pipelines.cli import parse

ROOT = Path(__file__).parents[2]
DAG = ROOT / "configs" / "schedule" / "airflow_dag.py"


class Retried(Exception):
    """Airflow's AirflowException."""


class Final(Retried):
    """Airflow's AirflowFailException."""


class Operator:
    """What the DAG uses of Airflow's BashOperator: runs its command."""

    made: list = []

    def __init__(self, *, task_id, bash_command, cwd, env, append_env):
        assert append_env
        self.task_id, self.bash_command, self.cwd = task_id, bash_command, cwd
        self.subprocess_hook = self
        self.after = []
        Operator.made.append(self)

    def __rshift__(self, other):
        self.after.append(other.task_id)
        return other

    def get_env(self, context):
        return None

    def run_command(self, *, command, env, cwd):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        (*_, last) = done.stdout.splitlines() or [""]
        return types.SimpleNamespace(exit_code=done.returncode, output=last)


class Dag:
    """What the DAG uses of Airflow's."""

    made: dict = {}

    def __init__(self, name, **settings):
        Dag.made[name] = settings

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def module(monkeypatch):
    """The DAG's file, run with the stand-ins."""
    stand_ins = {
        "airflow.exceptions": {
            "AirflowException": Retried,
            "AirflowFailException": Final,
        },
        "airflow.providers.standard.operators.bash": {"BashOperator": Operator},
        "airflow.sdk": {"DAG": Dag},
    }
    for name, content in stand_ins.items():
        parts = name.split(".")
        for end in range(1, len(parts)):
            package = types.ModuleType(".".join(parts[:end]))
            package.__path__ = []
            monkeypatch.setitem(sys.modules, package.__name__, package)
        made = types.ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setattr(Operator, "made", [])
    monkeypatch.setattr(Dag, "made", {})
    module = types.ModuleType("airflow_dag")
    exec(compile(DAG.read_text(), DAG, "exec"), module.__dict__)
    return module


def _ends(module, code, output=""):
    """What the task of a command raises that prints this and ends so."""
    command = f"echo {shlex.quote(output)}; exit {code}"
    task = module.ReviewbeamOperator(
        task_id="score", bash_command=command, cwd="/", env={}, append_env=True
    )
    try:
        task.execute({})
    except Retried as error:
        return type(error), str(error)
    return None, ""


def test_exit_codes(module):
    assert _ends(module, 0) == (None, "")
    for code in (1, 75, 137):
        kind, message = _ends(module, code)
        assert kind is Retried and f"exit code {code};" in message
    for code in (2, 3, 4):
        kind, message = _ends(module, code)
        assert kind is Final and f"exit code {code}, " in message
    assert _ends(module, 75, '{"stopped": true}')[0] is Final
    assert _ends(module, 75, '{"stopped": false}')[0] is Retried


def test_what_failed_for_good_is_told(module, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ALERT", f"cat >{tmp_path}/alert")
    task = types.SimpleNamespace(dag_id="d", task_id="t", try_number=4)
    module.alert({"task_instance": task, "run_id": "r", "exception": Final("why")})
    assert (tmp_path / "alert").read_text() == (
        "reviewbeam: d.t of r failed at attempt 4: why\n"
    )


def test_the_dags(module):
    assert Dag.made.keys() == {"reviewbeam_score", "reviewbeam_retrain"}
    for settings in Dag.made.values():
        assert not settings["catchup"] and settings["max_active_runs"] == 1
        defaults = settings["default_args"]
        assert defaults["retries"] == 3
        assert defaults["retry_delay"] == datetime.timedelta(minutes=10)
        assert defaults["on_failure_callback"] is module.alert
    assert {task.task_id: task.after for task in Operator.made} == {
        "score": [],
        "prepare": ["train"],
        "train": ["evaluate"],
        "evaluate": ["promote"],
        "promote": [],
    }


@pytest.mark.parametrize("in_service", [False, True])
def test_its_commands_are_ones_that_exist(module, tmp_path, in_service):
    if in_service:
        (tmp_path / "runs/models").mkdir(parents=True)
        (tmp_path / "runs/models/SERVING").touch()
    for task in Operator.made:
        stub = 'reviewbeam() { printf "%s\\n" "$@"; }; set -f; '
        words = subprocess.run(
            ["bash", "-c", stub + task.bash_command],
            capture_output=True,
            check=True,
            text=True,
            cwd=tmp_path,
        ).stdout.splitlines()
        arguments = parse(words)
        assert arguments.json
        if "config" in arguments:
            assert (ROOT / arguments.config).is_file()
        if task.task_id == "evaluate":
            assert arguments.baseline == ("runs/models" if in_service else None)
