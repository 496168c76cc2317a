"""Airflow 2.11 or 3: new reviews every night, a new model every week.

Copy this file into the DAGs folder and edit what is in capitals. It calls the command
line and imports nothing of reviewbeam, so that Airflow can have an environment of its
own. A task's state follows from the exit code: 0 success; 1, 75 and a killed process
are retried; 2, 3 and 4 fail at once, since a person is needed, and so does a run that
its deadline stopped, which the next one goes on with. What has failed for good is told
to the alert command; what was published before stands, and the model in service stays.
Airflow shows and logs each command: keys of a store belong into a file that `--beam`
names.
"""

import os
import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator

# A clone with its .venv; the paths below, and in the configs, are relative to it.
HOME = os.environ.get("REVIEWBEAM_HOME", "/srv/reviewbeam")
# Takes the message on standard input; or `curl -fsS -d @- URL` of a webhook.
ALERT = os.environ.get("REVIEWBEAM_ALERT", "mail -s reviewbeam root")
CONFIGS = os.environ.get("REVIEWBEAM_CONFIGS", "configs")
NEW, LABELLED = "incoming/**", "labelled/**"
MODELS, SCORES = "runs/models", "runs/scores"
WEEK = "runs/weeks/{{ run_id }}"
RETRIES, PAUSE = 3, float(os.environ.get("REVIEWBEAM_PAUSE", "600"))  # seconds

FINAL = {
    2: "a mistake in the command, the config or the input",
    3: "the data gate said no; what was published before stands",
    4: "the model gate said no; the model before stays in service",
}


class ReviewbeamOperator(BashOperator):
    """Runs `reviewbeam`, and acts on its exit code; SIGTERM ends it at a chunk."""

    def execute(self, context):
        """Raises what Airflow retries, or what it doesn't."""
        result = self.subprocess_hook.run_command(
            command=["bash", "-c", self.bash_command],
            env=self.get_env(context),
            cwd=self.cwd,
        )
        code = result.exit_code
        if code in FINAL:
            raise AirflowFailException(f"exit code {code}, {FINAL[code]}")
        if code == 75 and '"stopped": true' in result.output:  # of the line of JSON
            raise AirflowFailException("exit code 75, stopped; the next run goes on")
        if code != 0:
            raise AirflowException(f"exit code {code}; it can be run again")


def alert(context):
    """Tells that a task has failed for good."""
    task = context["task_instance"]
    subprocess.run(
        ["bash", "-c", ALERT],
        input=f"reviewbeam: {task.dag_id}.{task.task_id} of {context['run_id']} failed "
        f"at attempt {task.try_number}: {context.get('exception')}\n",
        text=True,
        timeout=120,
        check=True,
    )


def dag(name, schedule):
    """Makes a DAG that never runs twice at once, and catches nothing up."""
    return DAG(
        name,
        schedule=schedule,
        start_date=datetime(2024, 1, 1),
        catchup=False,
        max_active_runs=1,
        default_args={
            "retries": RETRIES,
            "retry_delay": timedelta(seconds=PAUSE),
            "on_failure_callback": alert,
        },
    )


def reviewbeam(job, options, before=""):
    """Makes the task of a job."""
    return ReviewbeamOperator(
        task_id=job,
        bash_command=f"{before}reviewbeam {job} {options} --json",
        cwd=HOME,
        env={"PATH": f"{os.environ['PATH']}:{HOME}/.venv/bin"},
        append_env=True,
    )


with dag("reviewbeam_score", "15 1 * * *"):
    reviewbeam(
        "score",
        f"--config {CONFIGS}/score.yaml --model {MODELS} --input '{NEW}' "
        f"--output {SCORES}",
    )

with dag("reviewbeam_retrain", "0 9 * * 0"):
    prepare = reviewbeam(
        "prepare",
        f"--config {CONFIGS}/prepare.yaml --input '{LABELLED}' "
        f"--output '{WEEK}/dataset'",
    )
    train = reviewbeam(
        "train",
        f"--config {CONFIGS}/train.yaml --dataset '{WEEK}/dataset' "
        f"--output '{WEEK}/model'",
    )
    # Needs `blessing:` in its config. The first model has none to be held against; a
    # task that is cleared later is held against the one that is in service then.
    evaluate = reviewbeam(
        "evaluate",
        f"--config {CONFIGS}/evaluate.yaml --model '{WEEK}/model' --dataset "
        f"'{WEEK}/dataset' --output '{WEEK}/evaluation' --overwrite $baseline",
        before=f"[ ! -e {MODELS}/SERVING ] || baseline='--baseline {MODELS}'; ",
    )
    promote = reviewbeam("promote", f"'{WEEK}/model' --models {MODELS}")
    prepare >> train >> evaluate >> promote
