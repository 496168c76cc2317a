"""A month of nights, simulated: new files each day, and all that goes wrong in a month.

    python scripts/soak.py [--days 30] [--seed 1] [--corpus FILE] [--work FOLDER]

A small model is trained, blessed and put in service; then each night
scripts/scheduled.sh runs `reviewbeam score` on what came that day, as cron would. Some
lines are damaged each day; some files are cut short, vanish while they are read, or are
delivered anew with other rows. Of 30 days, on day 12 a language comes that no model has
met (exit code 3, then accepted); on day 15 a worse model is trained (exit code 4, the
one before stays); on day 20 the whole process group is killed amid the work; on day 25
the disk of the scores is full. With --days all happens in proportion, from 8 days on.

At the end soak_recount.py counts the raw files, with no code of ours: every row of
every day is scored or rejected once, by the blessed model, and the alerts tell what
happened; else the exit code is 1.

The scores are on a file system of 64 MB in memory, which is really full on that day: it
takes root or user namespaces, and ends with this process. A copy of it stays in
FOLDER/scores_at_the_end.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from soak_corpus import UNSEEN, Reviews, deliver, encoded, lines
from soak_machine import Machine, kill
from soak_recount import read_raw, recount

EVENTS = {"drift": 12, "worse model": 15, "kill": 20, "full disk": 25}  # of 30 days
MISHAPS = ("truncated", "vanishing", "replaced", "")  # in turn, on the other days
ROWS = {"a.jsonl": 120, "b.jsonl.gz": 80, "c.csv": 40}  # of a day
MANY = 4000  # rows of a file that is to be met amid the work
MOUNTED = "REVIEWBEAM_SOAK_MOUNTED"
# What the alerts of a day say, in their order.
ALERTS = {
    "truncated": ["exit code 1, after 2 attempts"],
    "drift": ["language"],
    "worse model": ["exit code 4, the model gate said no"],
    "full disk": ["Make room on the disk"],
}


def plan(days: int) -> list[str]:
    """Returns what happens on each day, from day 1 on."""
    planned = [""] * days
    day = 0
    for event, of_30 in EVENTS.items():
        day = max(day + 1, -(-of_30 * days // 30))
        planned[day - 1] = event
    others = [i for i, event in enumerate(planned) if not event]
    for turn, i in enumerate(others):
        planned[i] = MISHAPS[turn % len(MISHAPS)]
    return planned


class Soak:
    """The month: what is delivered, what is run, and what must come of it."""

    def __init__(self, machine: Machine, reviews: Reviews, console: Console):
        self.machine = machine
        self.reviews = reviews
        self.console = console
        self.owed: dict[Path, bytes] = {}  # files that are to be delivered again
        self.wrong: list[str] = []
        self.table = Table("day", "event", "files", "rows", "exit codes", "s")

    def run(self, days: int) -> None:
        """Runs all days, and tells what is wrong in the end."""
        machine = self.machine
        machine.set_up()
        deliver(machine.labelled, b"\n".join(lines(self.reviews.take(2000))))
        self.night(0, "first model", self.first_model())
        model = machine.serving()
        events = plan(days)
        for day, event in enumerate(events, 1):
            self.night(day, event, self.day(day, event))
        self.night(days + 1, "", self.day(days + 1, ""))
        self.check(machine.serving() == model, "another model is in service")
        self.check((model / "BLESSED").is_file(), "the model is not blessed")
        told = json.loads((model / "manifest.json").read_text())
        self.wrong += recount(
            machine.incoming, machine.scores, told["core_fingerprint"]
        )
        self.check_alerts([word for e in events for word in ALERTS.get(e, ())])

    def first_model(self) -> Iterator[tuple[str, list, list]]:
        """Trains the model that is in service from then on; yields as `day` does."""
        yield "train", self.machine.retrain(0), [0]

    def day(self, day: int, event: str) -> Iterator[tuple[str, list, list]]:
        """Delivers a day's files, and runs its commands.

        Yields:
          What was run, its exit codes, and what they must be.
        """
        machine = self.machine
        for path, data in self.owed.items():
            deliver(path, data)
        self.owed.clear()
        folder = machine.incoming / f"day-{day:02d}"
        files = self.deliver_day(folder, day, event)
        before = machine.manifest()
        if event == "truncated":
            path = folder / "b.jsonl.gz"
            self.owed[path] = files[path]
            deliver(path, files[path][: len(files[path]) // 2])
            yield "score", machine.score(), [1, 1]
        elif event == "vanishing":
            path = folder / "a.jsonl"
            self.owed[path] = files[path]
            vanish = machine.when_staged("plan.json", 1, lambda _: path.unlink())
            yield "score", machine.score(meanwhile=vanish), [1, 0]
        elif event == "drift":
            yield "score", machine.score(), [3]
            self.check(machine.manifest() == before, "drift was published")
            yield "accepted", machine.score("--accept-drift"), [0]
        elif event == "worse model":
            worse = ["--set", "train.training.learning_rate=1e-9"]
            yield "train", machine.retrain(day, *worse), [4]
            yield "score", machine.score(), [0]
        elif event == "kill":
            amid = machine.when_staged("chunk-*", 3, kill)
            yield "score", machine.score(meanwhile=amid), ["killed"]
            finished = len(list(machine.scores.glob("_staged/*/chunk-*")))
            self.check(3 <= finished < MANY // 64, "it wasn't killed amid the work")
            self.check(machine.manifest() == before, "the killed run has published")
            yield "again", machine.score(), [0]
        elif event == "full disk":
            ballast = machine.fill_disk()
            yield "score", machine.score(), [1, 1]
            self.check(machine.manifest() == before, "published with a full disk")
            ballast.unlink()
            yield "with room", machine.score(), [0]
        else:
            yield "score", machine.score(), [0]

    def deliver_day(self, folder: Path, day: int, event: str) -> dict[Path, bytes]:
        """Writes the files of a day; returns path -> bytes."""
        language = UNSEEN if event == "drift" else None
        files = {}
        for name, rows in ROWS.items():
            if name == "a.jsonl" and event in ("kill", "full disk"):
                rows = MANY
            reviews = self.reviews.take(rows, language)
            files[folder / name] = encoded(name, reviews, day)
        if day % 3 == 0:
            files[folder / "empty.jsonl"] = b""
        if event == "replaced":  # the day before had other rows
            path = folder.with_name(f"day-{day - 1:02d}") / "a.jsonl"
            files[path] = encoded(path.name, self.reviews.take(90), day)
        for path, data in files.items():
            deliver(path, data)
        return files

    def night(
        self, day: int, event: str, steps: Iterator[tuple[str, list, list]]
    ) -> None:
        """Compares the exit codes of a day's commands with what they must be."""
        began, said = time.monotonic(), []
        for what, found, expected in steps:
            said.append(f"{what}: {' '.join(map(str, found))}")
            self.check(
                found == expected, f"day {day}, {what}: {found} instead of {expected}"
            )
        seconds = f"{time.monotonic() - began:.0f}"
        folder = self.machine.incoming / f"day-{day:02d}"
        files = [path for path in folder.glob("*") if path.name[0] != "."]
        rows = sum(len(ids) + len(bad) for ids, bad in map(_read, files))
        cells = (str(day), event, str(len(files)), str(rows), "; ".join(said), seconds)
        self.table.add_row(*cells)
        self.console.print(*cells, sep="  ")

    def check_alerts(self, expected: list[str]) -> None:
        """Holds the alerts against what happened, in its order."""
        text = self.machine.alerts.read_text()
        alerts = re.split(r"^(?=reviewbeam \w+ on .*: exit code)", text, flags=re.M)[1:]
        self.check(len(alerts) == len(expected), f"{len(alerts)} alerts: {alerts}")
        for alert, word in zip(alerts, expected, strict=False):
            self.check(word in " ".join(alert.split()), f"no {word!r} in {alert!r}")
        logs = (self.machine.work / "logs").glob("*.log")
        cut = [log.name for log in logs if " exit code " not in log.read_text()]
        self.check(len(cut) == 1, f"{cut} have no exit code, not only the killed run")

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def _read(path: Path) -> tuple[list, list]:
    try:
        return read_raw(path)
    except EOFError:  # it is cut short
        return [], []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", help="JSON Lines of text, label (1 to 5), language")
    parser.add_argument("--work", type=Path, help="a new folder; else a temporary one")
    arguments = parser.parse_args()
    if arguments.days < 8:
        parser.error("--days must be 8 or more")
    if MOUNTED not in os.environ:  # what is mounted is to end with this process
        os.environ[MOUNTED] = "1"
        user = [] if os.getuid() == 0 else ["--map-root-user"]
        os.execvp("unshare", ["unshare", *user, "--mount", sys.executable, *sys.argv])
    began = time.monotonic()
    console = Console(highlight=False)
    work = arguments.work or Path(tempfile.mkdtemp(prefix="soak-"))
    machine = Machine(work.absolute())
    soak = Soak(machine, Reviews(arguments.seed, arguments.corpus), console)
    soak.run(arguments.days)
    shutil.copytree(machine.scores, machine.work / "scores_at_the_end")
    console.print(soak.table)
    for problem in soak.wrong:
        console.print(f"WRONG: {problem}", style="bold red", markup=False)
    seconds = time.monotonic() - began
    console.print(f"{len(soak.wrong)} problems, {seconds:.0f} s; all is in {work}")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
