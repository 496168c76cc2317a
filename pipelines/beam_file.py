"""The file of Beam's options that `--beam` names."""

from pathlib import Path
from typing import Any

from reviewbeam.components.common.config import parse_yaml
from reviewbeam.components.common.errors import UserError, why_unread


def read_beam_file(path: str) -> dict[str, Any]:
    """Reads a YAML mapping of option to value.

    Raises:
      UserError: the file can't be read, or is no mapping.
    """
    try:
        settings = parse_yaml(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"Can't read --beam {path!r}: {why_unread(error)}. A YAML file of Beam's "
            "options was expected; configs/beam/ has examples."
        ) from None
    if not isinstance(settings, dict):
        raise UserError(f"--beam {path!r} must hold a mapping of option to value.")
    return settings
