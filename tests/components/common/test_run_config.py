"""The config of `run`, whose sections may be files beside it."""

import pytest
import yaml

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.run_config import RunConfig

PREPARE = {
    "input": ["in/*"],
    "encoder": "e",
    "columns": {"text": "text", "label": "label"},
    "labels": {"type": "binary", "names": ["a", "b"]},
    "text": {"max_tokens": 128},
}
FILES = {
    "prepare.yaml": PREPARE,
    "train.yaml": {"encoder": "e"},
    "score.yaml": {"input": ["new/*"], "columns": {"text": "text"}},
}
NAMES = {"prepare": "prepare.yaml", "train": "train.yaml", "score": "score.yaml"}


@pytest.fixture
def load(tmp_path):
    """Returns a function: sections, and files -> the config that they make."""

    def load(*overrides, files=None, **sections):
        folder = tmp_path / "my"
        folder.mkdir(exist_ok=True)
        given = {"output": "runs/my", **NAMES, **sections}
        for name, content in (FILES | (files or {}) | {"run.yaml": given}).items():
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (folder / name).write_text(text)
        return load_config(RunConfig, str(folder / "run.yaml"), overrides)

    return load


def problems(error):
    """The lines of a message that name a problem."""
    return [line.strip("- ") for line in str(error.value).splitlines()[1:]]


def test_sections_of_files_are_as_if_they_stood_there(load):
    written = {job: FILES[name] for job, name in NAMES.items()}
    assert load() == load(**written)
    assert load(evaluate="e.yaml", files={"e.yaml": ""}) == load()
    assert load(score=None).score is None


def test_a_change_of_the_file_is_one_of_the_run(load):
    changed = PREPARE | {"text": {"max_tokens": 64}}
    assert load(files={"prepare.yaml": changed}).prepare.text.max_tokens == 64


def test_overrides_reach_into_the_files(load):
    config = load("prepare.text.max_tokens=32", "evaluate.split=validation")
    assert config.prepare.text.max_tokens == 32
    assert config.prepare.columns.label == "label"
    assert config.evaluate.split == "validation"


def test_a_file_in_a_folder_below(load, tmp_path):
    (tmp_path / "my/jobs").mkdir(parents=True)
    (tmp_path / "my/jobs/train.yaml").write_text("encoder: other")
    assert load(train="jobs/train.yaml").train.encoder == "other"


def test_links_within_the_folder(load, tmp_path):
    """As Kubernetes mounts the keys of a ConfigMap."""
    (tmp_path / "my/..data").mkdir(parents=True)
    (tmp_path / "my/..data/a.yaml").write_text("encoder: linked")
    (tmp_path / "my/linked.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "other").symlink_to("my")
    assert load(train="linked.yaml").train.encoder == "linked"
    config = load_config(RunConfig, str(tmp_path / "other/run.yaml"))
    assert config.train.encoder == "linked"


@pytest.mark.parametrize(
    "name, why",
    [
        ("none.yaml", "can't be read: no file has that name."),
        ("", "can't be read: no file has that name."),
        ("folder", "can't be read: no file has that name."),
        ("x" * 300, "can't be read: File name too long."),
        ("a\0b", "can't be read: "),
        ("loop", "can't be read: "),
        ("latin.yaml", "can't be read: it is not UTF-8 text."),
        ("list.yaml", "holds a list where a mapping of keys was expected"),
        ("text.yaml", "holds a str where a mapping of keys was expected"),
        ("broken.yaml", "is not valid YAML: "),
        ("/etc/hostname", "lies outside of the folder of run.yaml."),
        ("../train.yaml", "lies outside of the folder of run.yaml."),
        ("folder/../train.yaml", "lies outside of the folder of run.yaml."),
        ("out.yaml", "lies outside of the folder of run.yaml."),
    ],
)
def test_a_file_that_is_no_section(load, tmp_path, name, why):
    my = tmp_path / "my"
    (my / "folder").mkdir(parents=True)
    (tmp_path / "train.yaml").write_text("encoder: e")
    (my / "out.yaml").symlink_to("../train.yaml")
    (my / "loop").symlink_to("loop")
    (my / "latin.yaml").write_bytes(b"encoder: \xe9")
    (my / "list.yaml").write_text("[encoder]")
    (my / "text.yaml").write_text("encoder")
    (my / "broken.yaml").write_text("encoder: [")
    with pytest.raises(UserError) as error:
        load(train=name)
    said = f"{my}/run.yaml: the section train is said to be the file {name!r}, which "
    assert str(error.value).startswith(said + why)


def test_what_is_wrong_in_a_file_is_told_by_its_name(load, tmp_path):
    wrong = {
        "columns": {"text": "text", "lable": "y"},
        "labels": PREPARE["labels"],
        "text": {"max_tokens": -1},
    }
    with pytest.raises(UserError) as error:
        load(files={"prepare.yaml": wrong | {"input": ["a"]}}, train={"encoder": 1})
    file = tmp_path / "my/prepare.yaml"
    assert str(error.value).startswith(f"{tmp_path}/my/run.yaml can't be used:")
    found = problems(error)
    assert found[0].startswith(
        f"{file}: unknown key 'columns.lable' (did you mean 'label'?)"
    )
    assert found[1] == f"{file}: the key 'encoder' is missing"
    assert found[2].startswith(f"{file}: text.max_tokens: ")
    assert found[2].endswith("found -1")
    assert found[3].startswith("train.encoder: ")


def test_what_is_wrong_in_an_override_is_none_of_the_files(load):
    with pytest.raises(UserError) as error:
        load("prepare.text.max_tokens=-1", "prepare.labels.nmaes=[a]")
    assert sorted(problem.split(":")[0] for problem in problems(error)) == [
        "prepare.text.max_tokens",
        "unknown key 'prepare.labels.nmaes' (did you mean 'names'?); known here",
    ]


def test_other_sections_are_no_files(load):
    with pytest.raises(UserError, match="prepare.columns: .* found 'columns.yaml'"):
        load(prepare=PREPARE | {"columns": "columns.yaml"})
