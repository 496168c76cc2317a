"""The files that a run of `score` meets: which are known, changed, unreadable, gone."""

import dataclasses
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from apache_beam.io.filesystems import FileSystems

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    ListedFile,
    absolute_glob,
    inspect_file,
    list_files,
)
from reviewbeam.components.ingestion.lines import DamagedFileError
from reviewbeam.components.ingestion.read import check_header
from reviewbeam.pipelines.scores_manifest import Manifest

_AT_ONCE = 8  # files that are hashed
_MOST_HEADERS = 20  # of files that are looked at beforehand


@dataclasses.dataclass(frozen=True)
class ScoreFiles:
    """What the globs match, and what they matched once."""

    files: list[CorpusFile]  # by name
    unreadable: dict[str, str]  # path -> why
    removed: list[str]  # paths of scored files that are gone


def find_score_files(
    config: ScoreConfig, manifest: Manifest, *, verify: bool
) -> ScoreFiles:
    """Expands the globs; hashes files whose path, size or time is not known.

    A file is known by its path, and called by its name below the glob; where another
    file has that name already, by its path: each night's files may be called alike.

    Args:
      config: of the job.
      manifest: of the output; it knows the hashes of files.
      verify: hash all files again.

    Raises:
      UserError: a glob or a format is wrong, or a file can't be read and
        `on_damaged_file` is `fail`.
    """
    known = {entry["path"]: entry for entry in manifest.files()}
    paths = {entry["file"]: entry["path"] for entry in known.values()}

    def inspect(listed: ListedFile) -> CorpusFile | str:
        entry = known.get(listed.path)
        same = entry and (listed.size, listed.modified) == (
            entry["bytes"],
            entry["modified"],
        )
        try:
            sha256 = entry["sha256"] if same and not verify else None
            return inspect_file(listed, config, sha256)
        except DamagedFileError as error:
            return str(error)
        except UserError as error:
            if config.on_damaged_file != "skip":
                raise
            return str(error)

    # A folder that holds nothing any more is no mistake if it once did.
    emptied = [glob for glob in config.input if any(map(_pattern(glob).match, known))]
    listed = [_named(file, known, paths) for file in list_files(config, emptied)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(inspect, listed))
    files = [file for file in results if isinstance(file, CorpusFile)]
    unreadable = {
        file.path: result
        for file, result in zip(listed, results, strict=True)
        if isinstance(result, str)
    }
    if unreadable and config.on_damaged_file == "fail":
        path, reason = min(unreadable.items())
        raise damaged_error(path, reason)
    removed = _removed(config, set(known) - {file.path for file in listed})
    return ScoreFiles(sorted(files, key=lambda f: f.name), unreadable, removed)


def check_headers(config: ScoreConfig, files: Sequence[CorpusFile]) -> None:
    """Looks for a mistake in the mapped columns before anything takes long.

    Raises:
      UserError: the first file hasn't got them; or, where files are skipped that are
        wrong, no file has.
    """
    problems = []
    for file in files[:_MOST_HEADERS]:
        try:
            check_header(config, file)
            return
        except UserError as error:
            if config.on_damaged_file != "skip":
                raise
            problems.append(error)
    if problems and len(problems) == len(files):
        raise problems[0]


def damaged_error(path: str, damage: str) -> UserError:
    """What a run that fails on damaged files says."""
    return UserError(
        f"{path} is damaged: {damage}. Deliver it again, or set "
        "on_damaged_file: skip or salvage."
    )


def _named(file: ListedFile, known: dict, paths: dict[str, str]) -> ListedFile:
    if file.path in known:
        name = known[file.path]["file"]
    else:
        name = file.name if file.name not in paths else file.path
    return dataclasses.replace(file, name=name)


def _pattern(glob: str) -> re.Pattern:
    glob = absolute_glob(glob)
    return re.compile(FileSystems.get_filesystem(glob).translate_pattern(glob))


def _removed(config: ScoreConfig, paths: set[str]) -> list[str]:
    """Returns which of these paths a glob would match."""
    patterns = [_pattern(glob) for glob in config.input]
    return sorted(
        path for path in paths if any(pattern.match(path) for pattern in patterns)
    )
