"""`doctor`: looks at all that jobs need, and says what to do about what is wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reviewbeam.pipelines import doctor_machine as machine
from reviewbeam.pipelines import doctor_packages as packages
from reviewbeam.pipelines import doctor_tools as tools
from reviewbeam.pipelines.findings import BAD, Finding, kill_running

Check = Callable[[], Finding | Iterable[Finding]]


def diagnose(*, beam_file: str | None, outputs: list[str]) -> Iterator[Finding]:
    """Returns findings, one after the other; no check ends this, whatever it meets.

    Args:
      beam_file: Beam's options, which may name a Flink cluster; None: those of the
        cluster that scripts/flink/up started here, if there is one.
      outputs: folders that jobs are to write.

    Raises:
      UserError: Beam's options can't be read.
    """
    return _all_findings(tools.cluster_settings(beam_file), outputs)


def _all_findings(
    settings: Mapping[str, Any] | None, outputs: list[str]
) -> Iterator[Finding]:
    with ThreadPoolExecutor() as pool:
        # These take the longest, and meanwhile the others are done.
        gpus = pool.submit(machine.gpus)
        tensorflow = pool.submit(lambda: tools.tensorflow(gpus.result()[1]))
        openvino = pool.submit(tools.openvino)
        checks: dict[str, Check] = {
            "Python": packages.python,
            "glibc": packages.libc,
            "packages": packages.declared,
            "lock": packages.locked,
            "extras": packages.extras,
            "bytecode": packages.bytecode,
            "memory": machine.memory,
            "cores": machine.cores,
            "processor": machine.processor,
            "GPUs": lambda: gpus.result()[0],
            "disk": lambda: machine.disks(outputs),
            "encoder": tools.encoder,
            "Java": lambda: tools.java(settings),
            "Maven": tools.maven,
            "Flink": lambda: tools.flink(settings),
            "TensorFlow": tensorflow.result,
            "OpenVINO": openvino.result,
        }
        try:
            for name, check in checks.items():
                yield from _findings(name, check)
        finally:
            kill_running()  # where this was stopped, the pool would wait for it


def _findings(name: str, check: Check) -> Iterator[Finding]:
    try:
        found = check()
        yield from [found] if isinstance(found, Finding) else found
    except Exception as error:  # it is one line of many
        what = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(
            name, BAD, what, "The check itself failed; look at what it names."
        )
