"""A model directory in which anything was changed is refused.

Whoever changed it has written the hashes of its files anew.
"""

import json
import shutil

import pytest

from reviewbeam.components.common.artifacts import (
    describe_files,
    files_below,
    fingerprint,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import model_name, open_model
from tests.pipelines.fake_models import told_by, write_model
from tests.pipelines.test_poisoned_models import change_json, rehash


@pytest.fixture(scope="module")
def sound(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    told = told_by(tiny_encoder)
    write_model(folder / "other", told, tiny_encoder, {"temperature": 2.0})
    return write_model(folder / "model", told, tiny_encoder)


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


def rehash_files(directory):
    """Writes the files' hashes anew, and nothing else."""

    def change(manifest):
        names = [n for n in files_below(directory) if n != "manifest.json"]
        manifest["files"] = describe_files(directory, names)

    change_json(directory / "manifest.json", change)


def _swapped_labels(directory, sound):
    change_json(directory / "model.json", lambda d: d["labels"]["names"].reverse())


def _other_vocabulary(directory, sound):
    with (directory / "tokenizer/sentencepiece.bpe.model").open("ab") as file:
        file.write(b"\n")


def _truncated_variables(directory, sound):
    path = directory / "saved_model/variables/variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])


def _other_program(directory, sound):
    path = directory / "saved_model/saved_model.pb"
    path.write_bytes(path.read_bytes() + path.read_bytes()[-1:])


def _other_calibration(directory, sound):
    shutil.copy(sound.parent / "other" / "model.json", directory)


def _other_texts(directory, sound):
    (directory / "training_texts.u64").write_bytes(bytes(8))


def _other_core(directory, sound):
    change_json(
        directory / "manifest.json", lambda data: data.update(core_fingerprint="0" * 64)
    )


def _other_origin(directory, sound):
    change_json(
        directory / "manifest.json", lambda data: data.update(fingerprint="other")
    )


CHANGES = [
    _swapped_labels,
    _other_vocabulary,
    _truncated_variables,
    _other_program,
    _other_calibration,
    _other_texts,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_refused(copy, sound, change):
    open_model(str(copy))
    change(copy, sound)
    with pytest.raises(UserError, match="is not the file that its manifest describes"):
        open_model(str(copy))


@pytest.mark.parametrize("change", [*CHANGES, _other_core, _other_origin])
def test_hashes_of_files_written_anew_don_t_help(copy, sound, change):
    change(copy, sound)
    rehash_files(copy)
    with pytest.raises(UserError, match="its manifest was changed after"):
        open_model(str(copy))


@pytest.mark.parametrize("name", ["core_fingerprint", "content_fingerprint"])
def test_a_fingerprint_left_out_is_refused(copy, name):
    change_json(copy / "manifest.json", lambda data: data.pop(name))
    with pytest.raises(UserError, match="its manifest was changed after"):
        open_model(str(copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swapped_labels, "labels, text rules, weights or calibration in model.json"),
        (_other_calibration, "text rules, weights or calibration in model.json"),
        (_other_vocabulary, "sentencepiece.bpe.model is not the vocabulary that"),
    ],
)
def test_nor_does_the_manifest_s_own_hash(copy, sound, change, message):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(copy, sound)
    for name in manifest["files"]:
        manifest["files"] |= describe_files(copy, [name])
    del manifest["content_fingerprint"]
    content = {"content_fingerprint": fingerprint(manifest)}
    (copy / "manifest.json").write_text(json.dumps(manifest | content))
    with pytest.raises(UserError, match=message):
        open_model(str(copy))


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_named_by_its_content_holds_that_content(copy, sound, change):
    """There not even the one who hashes everything anew gets by."""
    named = copy.rename(
        copy.with_name(model_name(open_model(str(copy)).content_fingerprint))
    )
    open_model(str(named))
    change(named, sound)
    rehash(named)
    with pytest.raises(UserError, match="it holds m-[0-9a-f]{16}"):
        open_model(str(named))
    open_model(str(named.rename(named.with_name("anywhere"))))  # another model


def test_what_lies_beside_the_core_changes_nothing(copy):
    before = open_model(str(copy)).content_fingerprint
    (copy / "BLESSED").write_text("{}")
    (copy / "openvino-int8").mkdir()
    (copy / "openvino-int8" / "model.xml").write_text("<net/>")
    assert open_model(str(copy)).content_fingerprint == before
