"""A Flink cluster by its REST interface: which jobs it runs, and how they end."""

import dataclasses
import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from reviewbeam.components.common.errors import ReviewbeamError

_ENDED = {"FINISHED", "FAILED", "CANCELED"}
_HERE = ("localhost", "127.0.0.1", "::1")  # no proxy leads there
_NOT_TO_CANCEL = (404, 409)  # it is gone, or ending
_SECONDS = 10.0  # for one answer
_LOOK_EVERY = 0.5
_PATIENCE = 120.0  # for a cluster that is busy, and a job that is cancelled
_GONE_AFTER = 10.0  # of refused connections


class UnreachableError(ReviewbeamError):
    """No cluster answers at the address."""


class GoneError(UnreachableError):
    """Nobody listens at the address: the cluster has ended, and its jobs with it."""


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
        jobs = self._ask("GET", "jobs/overview", "jobs")
        return {
            job["jid"]: job["state"] in _ENDED for job in jobs if job["name"] == name
        }

    def end(self, name: str, *, appears_within: float = 0.0) -> bool:
        """Cancels the jobs of a name and waits until they have ended.

        Args:
          name: of the jobs.
          appears_within: seconds in which a job that was submitted just now may show.

        Returns:
          Whether there were any.

        Raises:
          GoneError: there is no cluster.
          ReviewbeamError: one did not end, or the cluster doesn't say.
        """
        cancelled: set[str] = set()
        started = time.monotonic()
        while True:
            jobs = self._jobs_patiently(name)
            running = {job for job, has_ended in jobs.items() if not has_ended}
            for job in running - cancelled:
                self._ask("PATCH", f"jobs/{job}")
            cancelled |= running
            waited = time.monotonic() - started
            if not running and (jobs or waited >= appears_within):
                return bool(jobs)
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
        managers = self._ask("GET", "taskmanagers", "taskmanagers")
        # As in pekko.tcp://flink@10.0.0.7:41137/user/rpc/taskmanager_0.
        hosts = [urlsplit(manager["path"]).hostname for manager in managers]
        sharing = Counter(hosts)
        shares = [
            manager["hardware"]["cpuCores"] // sharing[host]
            for manager, host in zip(managers, hosts, strict=True)
        ]
        return max(1, min(shares)) if shares else None

    def _jobs_patiently(self, name: str) -> dict[str, bool]:
        """Returns `jobs`, of a cluster that may be busy or begin anew."""
        started = time.monotonic()
        while True:
            try:
                return self.jobs(name)
            except UnreachableError as error:
                gone = isinstance(error, GoneError)
                waited = time.monotonic() - started
                if waited > (_GONE_AFTER if gone else _PATIENCE):
                    raise
            time.sleep(_LOOK_EVERY)

    def _ask(self, method: str, path: str, wanted: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", method=method)
        handlers = []
        if urlsplit(self.address).hostname in _HERE:
            handlers.append(urllib.request.ProxyHandler({}))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=_SECONDS) as answer:
                told = json.load(answer)
            return told[wanted] if wanted else told
        except urllib.error.HTTPError as error:
            if method == "PATCH" and error.code in _NOT_TO_CANCEL:
                return {}
            problem = f"{error.code} {error.reason}"
        except urllib.error.URLError as error:
            problem = str(error.reason)
            if isinstance(error.reason, ConnectionRefusedError | socket.gaierror):
                raise GoneError(self._says(problem)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = str(error) or type(error).__name__
        except (KeyError, TypeError):
            problem = "another service answers"
        raise UnreachableError(self._says(problem))

    def _says(self, problem: str) -> str:
        return (
            f"No Flink cluster answers at {self.address}: {problem}. Correct "
            "--flink_master, or start the cluster: scripts/flink/up."
        )
