"""A Flink cluster by its REST interface: which jobs it runs, and how they end."""

import dataclasses
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import requests

from reviewbeam.components.common.errors import ReviewbeamError

_ENDED = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}
_SECONDS = 10.0  # for one answer
_LOOK_EVERY = 0.5
_PATIENCE = 120.0  # until a job that was cancelled has ended


class UnreachableError(ReviewbeamError):
    """No cluster answers at the address."""


@dataclasses.dataclass(frozen=True)
class FlinkCluster:
    """A cluster, by the address of its REST interface."""

    address: str  # http://HOST:PORT

    @classmethod
    def of(cls, master: str) -> "FlinkCluster":
        """Takes the address as Beam's --flink_master has it."""
        has_scheme = master.startswith(("http://", "https://"))
        return cls((master if has_scheme else f"http://{master}").rstrip("/"))

    def jobs(self, name: str) -> dict[str, bool]:
        """Returns the ids of the jobs of a name, and whether they have ended.

        Raises:
          UnreachableError: no cluster answers.
        """
        jobs = self._ask("GET", "jobs/overview")["jobs"]
        return {
            job["jid"]: job["state"] in _ENDED for job in jobs if job["name"] == name
        }

    def end(self, name: str, *, appears_within: float = 0.0) -> None:
        """Cancels the jobs of a name and waits until they have ended.

        Args:
          name: of the jobs.
          appears_within: seconds in which a job that was submitted just now may show.

        Raises:
          UnreachableError: no cluster answers.
          ReviewbeamError: one did not end.
        """
        cancelled: set[str] = set()
        started = time.monotonic()
        while True:
            jobs = self.jobs(name)
            running = {job for job, has_ended in jobs.items() if not has_ended}
            for job in running - cancelled:
                self._ask("PATCH", f"jobs/{job}")
            cancelled |= running
            waited = time.monotonic() - started
            if not running and (jobs or waited >= appears_within):
                return
            if waited > _PATIENCE:
                raise ReviewbeamError(
                    f"The Flink job {name} at {self.address} was cancelled and has not "
                    f"ended after {_PATIENCE:.0f} s. Look at it there, and run this "
                    "again when it is gone."
                )
            time.sleep(_LOOK_EVERY)

    def cores_of_a_task_manager(self) -> int | None:
        """Returns the cores for each task manager on the host that has the fewest.

        None: there are no task managers, perhaps not yet.

        Raises:
          UnreachableError: no cluster answers.
        """
        managers = self._ask("GET", "taskmanagers")["taskmanagers"]
        # As in pekko.tcp://flink@10.0.0.7:41137/user/rpc/taskmanager_0.
        hosts = [urlsplit(manager["path"]).hostname for manager in managers]
        sharing = Counter(hosts)
        shares = [
            manager["hardware"]["cpuCores"] // sharing[host]
            for manager, host in zip(managers, hosts, strict=True)
        ]
        return max(1, min(shares)) if shares else None

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        url = f"{self.address}/{path}"
        try:
            answer = requests.request(method, url, timeout=_SECONDS)
            if method == "PATCH" and answer.status_code == requests.codes.not_found:
                return {}  # it has ended meanwhile
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise UnreachableError(
                f"No Flink cluster answers at {self.address}: {type(error).__name__}. "
                "Correct --flink_master, or start the cluster: scripts/flink/up."
            ) from None
