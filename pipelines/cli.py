"""The command line: `reviewbeam JOB …`.

Nothing heavy is imported here: `--help` must answer at once. Jobs are loaded from
`jobs` when one is to be run.
"""

import argparse
import gc
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Collection, Sequence
from importlib import metadata

from reviewbeam.components.common import journal
from reviewbeam.components.common.errors import ReviewbeamError, UserError, nearest
from reviewbeam.pipelines import failures
from reviewbeam.pipelines.job_options import HELP, add_optional

_EPILOG = (
    "Exit codes: 0 done, or nothing to do; 1 a fault that a rerun may cure; 2 a "
    "mistake in the command, config or input; 3 the data gate said no; 4 the model "
    "gate said no; 75 another run holds the output."
)
# job -> (what --help says, needed options, whether it runs on Beam)
JOBS = {
    "init": ("look at review files, and write configs that fit them", (), True),
    "encoder": ("bring a pretrained XLM-R encoder", ("--from",), False),
    "prepare": (
        "review files to a validated, tokenized dataset",
        ("--config", "--output"),
        True,
    ),
    "train": (
        "fine-tune a classifier on a dataset",
        ("--config", "--dataset", "--output"),
        False,
    ),
    "tune": (
        "search for the best config of train",
        ("--config", "--dataset", "--output"),
        False,
    ),
    "evaluate": (
        "figures of a model on a dataset, per class and language",
        ("--config", "--model", "--output"),
        True,
    ),
    "quantize": (
        "make a model's int8 twin for OpenVINO, and compare the two",
        ("--model", "--dataset"),
        False,
    ),
    "score": (
        "label new reviews; each run scores the files that are new",
        ("--config", "--model", "--output"),
        True,
    ),
    "predict": ("label a few texts", ("--model",), False),
    "promote": ("put a blessed model in service", ("--models",), False),
    "rollback": ("put the model in service that was before", ("--models",), False),
    "run": (
        "prepare, train, evaluate and score by one config",
        ("--config",),
        True,
    ),
    "doctor": ("look at all that jobs need, and say what to do", (), False),
}
_MAPPING_HELP = """\
`reviewbeam init DIR --input GLOB` guesses your columns and writes the configs. By
hand: copy configs/laptop/prepare.yaml and name your columns in it:

  columns: {text: review.body, label: stars, language: lang, id: review_id}
  labels:
    type: multiclass    # or binary, multilabel, ordinal
    names: [negative, neutral, positive]
    mapping: {1: negative, 2: negative, 3: neutral, 4: positive, 5: positive}

A dot reaches into nested values. A name that no row of a file has is refused, and
the nearest names that the file does have are shown. What your files lack may be left
out: without an id one is derived from the content; a missing language can be
detected (text: {language: detect}). Formats: .jsonl, .csv, .tsv, .parquet, plain or
with .gz, .bz2 or .zst behind.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are messages of ours."""

    def error(self, message: str):
        raise UserError(f"{message}. See: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """Makes the parser of all jobs."""
    parser = _Parser(
        prog="reviewbeam",
        description="Batch classification of multilingual reviews.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=metadata.version("reviewbeam")
    )
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    for name, (summary, needed, on_beam) in JOBS.items():
        epilog = _EPILOG
        if on_beam:
            epilog += " Beam's own options may follow, as in --runner=FlinkRunner."
        epilog = textwrap.fill(epilog, 79)
        if name == "prepare":
            epilog = f"{_MAPPING_HELP}\n{epilog}"
        job = jobs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for option in needed:
            job.add_argument(
                option,
                required=True,
                help=HELP[option],
                metavar=option.strip("-").upper(),
                dest={"--from": "source"}.get(option),
            )
        add_optional(job, name, needed, on_beam)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line; options for Beam are left under `beam_arguments`.

    Raises:
      UserError: an option is unknown, or a needed one is missing.
    """
    parser = build_parser()
    (jobs,) = (a for a in parser._actions if isinstance(a.choices, dict))
    known = {name: job._option_string_actions for name, job in jobs.choices.items()}
    try:
        arguments, unknown = parser.parse_known_args(argv)
    except UserError:
        # What is missing may be there, with a typo.
        if (job := next(iter(argv), None)) in known:
            options = [word for word in argv if word.startswith("--")]
            _refuse_unknown(job, known[job], options)
        raise
    _refuse_unknown(arguments.job, known[arguments.job], unknown)
    arguments.beam_arguments = unknown
    return arguments


def _refuse_unknown(job: str, known: Collection[str], words: Sequence[str]) -> None:
    """Refuses words that are neither options of a job, nor may be Beam's."""
    on_beam = JOBS[job][2]
    for word in words:
        name = word.split("=")[0]
        if name in known:
            continue
        # What is nearly one of ours was meant for us: a typo, not Beam's.
        if not on_beam or (name.startswith("--") and nearest(name, known, cutoff=0.8)):
            raise UserError(
                f"Unknown option {name!r}{nearest(name, known)}. "
                f"See: reviewbeam {job} --help"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one job and returns its exit code; as a program, ends with it."""
    code = _main(argv)
    if argv is None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # TensorFlow takes a second to tidy up what is gone anyway
    return code


def _main(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if argv is None:  # a program of its own
        # A scheduler stops a job by SIGTERM.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # TensorFlow's and Beam's imports make half a million objects, which all stay:
        # to look for garbage at every 700 of them takes a seventh of their time.
        gc.set_threshold(50_000)
    try:
        return _logged(words)
    except (UserError, KeyboardInterrupt) as error:  # before the job began
        return _tell(error)


def _logged(words: Sequence[str]) -> int:
    """Runs a job with its log, and returns the exit code.

    Raises:
      UserError: the command line is wrong.
    """
    arguments = parse(words)
    from reviewbeam.pipelines import job_log, quiet

    if not arguments.verbose:
        quiet.quiet_libraries()
    arguments.log = job_log.JobLog(words, arguments.beam_arguments)
    code = 1
    try:
        code = _run(arguments)
    finally:
        arguments.log.close_with(code)
    return code


def _run(arguments: argparse.Namespace) -> int:
    """Runs a job, tells what went wrong, and returns the exit code."""
    try:
        from reviewbeam.pipelines import jobs

        return jobs.run_job(arguments)
    except (Exception, KeyboardInterrupt) as error:
        ours = isinstance(error, ReviewbeamError | KeyboardInterrupt)
        if arguments.verbose and not ours:
            traceback.print_exc()
        failure = failures.explain(error, getattr(arguments, "output", None))
        where = ""
        if type(failure) is ReviewbeamError and not ours:
            arguments.log.line(failures.traceback_without_values(error))
            where = arguments.log.path and f" Where it was: {arguments.log.path}"
        return _tell(failure, where or "")


def _tell(failure: ReviewbeamError | KeyboardInterrupt, where: str = "") -> int:
    """Prints what went wrong; returns the exit code."""
    code, text = 75, "stopped. The same command goes on from what was finished."
    if isinstance(failure, ReviewbeamError):
        code, text = failure.exit_code, f"{failure}{where}"
    print(f"reviewbeam: {text}", file=sys.stderr)
    journal.keep(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
