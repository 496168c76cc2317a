"""The models folder: one sound model in service at every moment."""

import os
import shutil
import subprocess
import sys

import pytest

from reviewbeam.components.common.blessed import (
    read_blessing,
    write_blessing,
)
from reviewbeam.components.common.errors import BusyError, ModelGateError, UserError
from reviewbeam.components.common.model_directory import model_name, open_model
from reviewbeam.components.common.models_folder import (
    pinned,
    promote,
    read_serving,
    rollback,
)
from reviewbeam.components.common.publishing import folder_lock
from tests.pipelines.fake_models import told_by, write_model


@pytest.fixture(scope="module")
def sources(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    told = told_by(tiny_encoder)
    return [
        write_model(folder / name, told, tiny_encoder, {"temperature": temperature})
        for name, temperature in [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    ]


@pytest.fixture
def blessed(sources, tmp_path):
    """Copies of three models, each blessed."""
    copies = [shutil.copytree(path, tmp_path / path.name) for path in sources]
    for path in copies:
        write_blessing(path, {"evaluation": f"of {path.name}"})
    return copies


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def name_of(path):
    return model_name(open_model(str(path)).content_fingerprint)


def test_models_go_into_service_and_back(blessed, models):
    names = [name_of(path) for path in blessed]
    for path, name in zip(blessed, names, strict=True):
        serving, new = promote(path, models)
        assert new and serving.current == name
        assert pinned(models) == models / name
        assert read_blessing(pinned(models))["evaluation"] == f"of {path.name}"
    assert serving.previous == (names[1], names[0])

    assert rollback(models).current == names[1]
    serving = rollback(models)
    assert serving.current == names[0] and serving.previous == ()
    assert serving.rolled_back == (names[1], names[2])
    with pytest.raises(UserError, match=f"{names[0]} is in service .* none was before"):
        rollback(models)
    assert pinned(models) == models / names[0]

    serving, new = promote(blessed[2], models)  # a person may bring it back
    assert new and serving.previous == (names[0],)
    assert serving.rolled_back == (names[1],)


def test_promoting_twice_changes_nothing(blessed, models):
    promote(blessed[0], models)
    promote(blessed[1], models)
    before = {p: p.stat().st_mtime_ns for p in models.rglob("*")}
    serving, new = promote(blessed[1], models)
    assert not new and serving.previous == (name_of(blessed[0]),)
    promote(models / serving.current, models)
    after = {p: p.stat().st_mtime_ns for p in models.rglob("*") if p.is_file()}
    changed = {p.name for p, time in after.items() if before[p] != time}
    assert changed <= {"BLESSED"}


def test_the_source_may_change_or_go(blessed, models):
    promote(blessed[0], models)
    content = open_model(str(pinned(models))).content_fingerprint
    shutil.rmtree(blessed[0])
    assert open_model(str(pinned(models))).content_fingerprint == content


def test_what_came_later_follows(sources, models, tmp_path):
    path = shutil.copytree(sources[0], tmp_path / "a")
    promote(path, models, force=True)
    assert read_blessing(pinned(models)) is None
    write_blessing(path, {"evaluation": "e"})
    (path / "openvino-int8").mkdir()
    (path / "openvino-int8" / "model.bin").write_bytes(b"1")
    (path / "openvino-fp16.staged").mkdir()  # in the making
    assert not promote(path, models)[1]
    assert not list(pinned(models).glob("*.staged"))
    assert read_blessing(pinned(models))["evaluation"] == "e"
    assert (pinned(models) / "openvino-int8" / "model.bin").read_bytes() == b"1"


def test_only_a_blessed_model_is_promoted(sources, models, tmp_path):
    a, b = (shutil.copytree(path, tmp_path / path.name) for path in sources[:2])
    with pytest.raises(ModelGateError, match="not blessed.*reviewbeam evaluate"):
        promote(a, models)
    assert not models.exists()

    write_blessing(b, {})
    shutil.copy(b / "BLESSED", a)  # another model's
    with pytest.raises(ModelGateError):
        promote(a, models)
    for content in ("", "[]", "{", "[" * 100_000):
        (a / "BLESSED").write_text(content)
        with pytest.raises(ModelGateError):
            promote(a, models)
    assert promote(a, models, force=True)[1]


def test_an_unsound_model_is_not_promoted(blessed, models):
    (blessed[0] / "model.keras").write_bytes(b"changed")
    with pytest.raises(UserError, match="not the file that its manifest describes"):
        promote(blessed[0], models, force=True)
    with pytest.raises(UserError, match="not a finished model"):
        promote(blessed[0].parent, models)


def test_a_damaged_model_is_not_gone_back_to(blessed, models):
    promote(blessed[0], models)
    promote(blessed[1], models)
    (models / name_of(blessed[0]) / "model.keras").write_bytes(b"changed")
    with pytest.raises(UserError, match="not the file that its manifest describes"):
        rollback(models)
    assert pinned(models) == models / name_of(blessed[1])
    with pytest.raises(UserError, match="not the file that its manifest describes"):
        promote(blessed[0], models)  # nor covered up


@pytest.mark.parametrize("function", ["os.rename", "os.replace", "shutil.copytree"])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_reader_sees_a_sound_model_whatever_fails(
    blessed, models, monkeypatch, function, call
):
    promote(blessed[0], models)
    calls = []
    module, name = function.split(".")
    original = getattr({"os": os, "shutil": shutil}[module], name)

    def fail(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise OSError("the machine stopped")
        return original(*arguments, **options)

    monkeypatch.setattr(function, fail)
    try:
        promote(blessed[1], models)
        current = name_of(blessed[1])
    except OSError:
        current = name_of(blessed[0])
    monkeypatch.undo()
    assert open_model(str(pinned(models))).path.name == current
    assert not list(models.glob(".m-*"))

    promote(blessed[1], models)
    assert pinned(models).name == name_of(blessed[1])
    left = {path.name for path in models.iterdir()}
    assert {n for n in left if not n.startswith(".")} == {
        "SERVING", name_of(blessed[0]), name_of(blessed[1])
    }  # fmt: skip


def test_killed_at_any_moment_the_folder_stays_sound(blessed, models):
    """Ends the process at each of its renames in turn."""
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from reviewbeam.components.common.models_folder import promote\n"
        "left = int(sys.argv[3])\n"
        "def guarded(f):\n"
        "    def call(*a):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left < 0: os._exit(9)\n"
        "        return f(*a)\n"
        "    return call\n"
        "os.rename, os.replace = guarded(os.rename), guarded(os.replace)\n"
        "promote(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    promote(blessed[0], models)
    codes = []
    for moment in range(4):
        codes.append(
            subprocess.run(
                [sys.executable, "-c", script, blessed[1], models, str(moment)],
                check=False,
            ).returncode
        )
        expected = blessed[1] if codes[-1] == 0 else blessed[0]
        assert open_model(str(pinned(models))).path.name == name_of(expected)
        if codes[-1] == 0:
            break
    assert codes == [9, 9, 0]
    names = {"SERVING", name_of(blessed[0]), name_of(blessed[1])}
    assert {path.name for path in models.iterdir()} == names


def test_what_killed_runs_left_goes(blessed, models):
    promote(blessed[0], models)
    before = {path.relative_to(models) for path in models.rglob("*")}
    (models / ".m-0123456789abcdef.staged").mkdir()  # of a model that nobody brings
    (models / ".m-0123456789abcdef.staged" / "model.keras").write_bytes(b"half")
    (pinned(models) / ".BLESSED.staged").write_bytes(b"half")
    (pinned(models) / ".openvino-int8.staged").mkdir()
    promote(blessed[0], models)
    assert {path.relative_to(models) for path in models.rglob("*")} == before


def test_one_promotion_at_a_time(blessed, models):
    promote(blessed[0], models)
    with folder_lock(models), pytest.raises(BusyError):
        promote(blessed[1], models)
    assert pinned(models).name == name_of(blessed[0])  # a reader needs no lock


@pytest.mark.parametrize(
    "content",
    ["", "m-0123456789abcdef", "[]", "{}", '{"current": "../a", "since": "", "x": 1}',
     '{"current": "../../etc", "since": "now"}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_serving_is_told(blessed, models, content):
    promote(blessed[0], models)
    (models / "SERVING").write_text(content)
    for use in (pinned, rollback, lambda folder: promote(blessed[1], folder)):
        with pytest.raises(UserError, match="SERVING is damaged"):
            use(models)


def test_a_model_that_went_missing_is_told(blessed, models):
    promote(blessed[0], models)
    promote(blessed[1], models)
    shutil.rmtree(models / name_of(blessed[1]))
    with pytest.raises(UserError, match="names m-.*which is no model .*rollback"):
        pinned(models)
    rollback(models)
    assert pinned(models).name == name_of(blessed[0])


def test_a_folder_without_a_model_in_service(blessed, models):
    promote(blessed[0], models)
    (models / "SERVING").unlink()
    with pytest.raises(UserError, match="No model of .* is in service.*promote MODEL"):
        pinned(models)
    assert read_serving(models) is None


def test_other_folders_are_left_alone(blessed, models, tmp_path):
    assert pinned(blessed[0]) == blessed[0]
    assert pinned(tmp_path / "none") == tmp_path / "none"
    models.mkdir()
    (models / "letters.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no models"):
        promote(blessed[0], models)
    with pytest.raises(UserError, match="is no models folder"):
        rollback(models)
    assert [path.name for path in models.iterdir()] == ["letters.txt"]


def test_a_promotion_during_a_run_changes_nothing_for_it(blessed, models):
    promote(blessed[0], models)
    chosen = pinned(models)
    promote(blessed[1], models)
    assert open_model(str(chosen)).path.name == name_of(blessed[0])
