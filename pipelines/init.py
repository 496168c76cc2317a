"""`init`: looks at a user's files, and writes the configs that fit them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_detector import (
    LanguageDetector,
    describe_detector,
)
from reviewbeam.components.ingestion.guess import CorpusGuess, Detect, guess_corpus
from reviewbeam.components.ingestion.sample import Sample, sample_corpus
from reviewbeam.pipelines import init_configs

ENCODER = "runs/encoder-e5-small"  # that scripts/quickstart.sh brings


@dataclasses.dataclass(frozen=True)
class InitReport:
    """What was looked at, guessed and written."""

    sample: Sample
    guess: CorpusGuess
    folder: Path
    files: tuple[str, ...]  # names of the configs
    left: tuple[str, ...]  # names of configs that were there, and not replaced
    no_encoder: str | None  # why the encoder can't be used, and what brings it


def init(
    folder: Path,
    globs: Sequence[str],
    *,
    encoder: str = ENCODER,
    given: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> InitReport:
    """Guesses a corpus's format, columns, labels and languages; writes its configs.

    Args:
      folder: to write; new or empty.
      globs: of the corpus.
      encoder: that the configs name; it needn't be there yet.
      given: role (text, label, language, id) -> column, where the user knows better.
      overwrite: replace configs that an earlier call wrote into the folder.

    Raises:
      UserError: the folder holds what is not to be replaced, or the files tell too
        little.
    """
    init_configs.check_folder(folder, overwrite=overwrite)
    sample = sample_corpus(globs)
    guess = guess_corpus(sample, given or {}, _detector())
    positions = no_encoder = None
    try:
        positions = open_encoder(encoder).architecture.positions
    except UserError as error:
        no_encoder = str(error)
    files = init_configs.render(guess, folder, globs, encoder, positions)
    left = init_configs.write(files, folder)
    return InitReport(sample, guess, folder, tuple(files), left, no_encoder)


def _detector() -> Detect | None:
    """What tells languages from texts, where it is installed."""
    try:
        describe_detector()
    except UserError:
        return None
    detector = LanguageDetector()
    return lambda texts: detector.detect(pa.array(texts, pa.string())).to_pylist()
