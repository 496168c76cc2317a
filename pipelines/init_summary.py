"""What `init` tells: columns, label values and counts, and no review's text."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reviewbeam.components.common.errors import listing
from reviewbeam.components.common.language_codes import shown_language
from reviewbeam.components.common.privacy import redacted
from reviewbeam.components.ingestion.checks import shown_name
from reviewbeam.components.ingestion.guess import FEWEST, CorpusGuess
from reviewbeam.components.ingestion.guess_columns import Choice
from reviewbeam.components.ingestion.guess_labels import LabelGuess
from reviewbeam.components.ingestion.guess_mixtures import numbers_and_words
from reviewbeam.pipelines import console
from reviewbeam.pipelines.init import InitReport
from reviewbeam.pipelines.init_configs import command, output_of
from reviewbeam.pipelines.job_options import ROLES

_CHARACTERS = 40  # of a value that is shown
_CLASSES = 4  # that a note names
_RARE = 10  # rows of a class that are too few to learn it from


def say_init(report: InitReport) -> None:
    """Prints what was seen, what was guessed and what to do next."""
    sample, guess = report.sample, report.guess
    kinds = Counter(_kind(file.format) for file in sample.files)
    console.say(
        f"Corpus: {len(sample.rows)} rows looked at, in {len(sample.files)} of "
        f"{sample.listed} files ({', '.join(kinds)})"
    )
    rows = []
    for role in (*ROLES, "split", "group", "time"):
        choice = guess.roles[role]
        if choice.column is None and role not in ROLES:
            continue
        others = ", ".join(_candidate(name, choice) for name in choice.others[:5])
        column, sure = choice.column, choice.sure
        if column is None:
            rows.append([f"  {role}", "none", "", others])
        else:
            rows.append([f"  {role}", _shown(column), sure, others])
    console.say_table(["  role", "column", "how sure", "other candidates"], rows)
    if guess.labels is not None:
        _say_labels(guess.labels)
    languages = _shown_languages(guess.languages)
    how = "by the column" if guess.column("language") else "detected in some texts"
    if languages:
        told = ", ".join(f"{name} {rows}" for name, rows in languages.items())
        console.say(f"Languages, {how}: {told}")
    for note in notes(report):
        console.say(f"Note: {note}")
    console.say(f"Written to {report.folder}: {', '.join(report.files)}")
    them = "them" if len(report.files) > 1 else "it"
    console.say(f"Look at {them}, then run:")
    if report.no_encoder:
        console.say(f"  {_how_to_bring(report.no_encoder)}")
    job = "run" if guess.can_train else "score"
    line = command(job, report.folder)
    if job == "score":
        line = line.replace(f"{output_of(report.folder)}/model", "MODEL")
    console.say(f"  {line}")


def notes(report: InitReport) -> list[str]:
    """Returns what a user should know before the configs are run."""
    sample, guess = report.sample, report.guess
    found = []
    if guess.labels is None:
        found.append(
            "no column looks like labels, so there is nothing to train on: only "
            "score.yaml is written. If one does hold them, say so: --label COLUMN."
        )
    elif not guess.can_train:
        found.append(
            f"only {guess.texts} different texts have labels; {FEWEST} are the least "
            "for three splits: only score.yaml is written."
        )
    if guess.labels is not None:
        classes = guess.labels.classes
        if rare := [name for name, rows in classes.items() if rows < _RARE]:
            found.append(
                f"classes with fewer than {_RARE} rows in the sample can't be learned: "
                f"{listing(map(_shown, rare))}. Map them to another, or leave them out."
            )
    training = guess.can_train
    found += _notes_on_ids(guess) + (_notes_on_mixtures(guess) if training else [])
    for rule, part in guess.rejects.items():
        if part >= 0.001 and (training or not rule.startswith("label")):
            found.append(f"{part:.1%} of the rows will be rejected: {rule}.")
    if guess.rejects.get("invalid_utf8"):
        found.append(
            "rows that are not UTF-8 are perhaps Latin-1: convert the file, as with "
            "iconv -f LATIN1 -t UTF-8."
        )
    if partial := sample.partial_columns():
        found.append(
            "only some of the files have these columns, so no config names them: "
            f"{listing(map(shown_name, partial), most=6)}."
        )
    if guess.damaged:
        found.append(f"{guess.damaged} ends before its content does.")
    if report.left:
        found.append(f"left as they were: {', '.join(report.left)}.")
    output = output_of(report.folder)
    if output.is_dir() and any(output.iterdir()):
        found.append(
            f"{output} holds something already: jobs refuse it, where that was made "
            "from other files or another config. --set output=DIR names another."
        )
    if not sample.whole:
        found.append("counts are of a sample, not of all rows.")
    return found


def _notes_on_ids(guess: CorpusGuess) -> list[str]:
    column = guess.column("id")
    if column is None:
        return [
            "no column is taken as the id, so scores carry ids derived from the "
            "content, and equal reviews share one. --id COLUMN names a column."
        ]
    repeated, different = guess.repeated_ids
    if not repeated:
        return []
    return [
        f"{repeated} of {different} values of {shown_name(column)!r}, the id, "
        f"stand{'s' * (repeated == 1)} twice or more in the sample, so it doesn't tell "
        "all rows apart. --id COLUMN names another."
    ]


def _notes_on_mixtures(guess: CorpusGuess) -> list[str]:
    kinds = numbers_and_words(guess.labels)
    if guess.apart:
        (one, its), (other, others) = guess.apart
        said = f"{one} and {other} have no class in common"
    elif kinds:
        its, others = kinds
        said = "some labels are numbers and some are words"
    else:
        return []
    return [
        f"{said} ({_some(its)}; {_some(others)}). Where they mean the same, give them "
        "one class by labels.mapping in prepare.yaml, or --input files of one kind."
    ]


def public(report: InitReport) -> dict[str, Any]:
    """Returns what was guessed for programs."""
    guess = report.guess
    labels = guess.labels
    return {
        "output": str(report.folder),
        "written": list(report.files),
        "left": list(report.left),
        "rows": len(report.sample.rows),
        "files": [
            {
                "path": file.path,
                "format": file.format.found,
                "compression": file.format.compression,
                "delimiter": file.format.delimiter,
                "records": file.read,
            }
            for file in report.sample.files
        ],
        "columns": {
            role: {"column": c.column, "sure": c.sure if c.column else None}
            for role, c in guess.roles.items()
        },
        "labels": labels
        and {
            "type": labels.type,
            "classes": _redacted_counts(labels.classes),
            "values": _redacted_counts(labels.values),
            "mapping": {
                redacted(value): redacted(name)
                for value, name in labels.mapping.items()
            },
        },
        "languages": _shown_languages(guess.languages),
        "rejects": guess.rejects,
        "notes": notes(report),
        "encoder": report.no_encoder,
    }


def _say_labels(labels: LabelGuess) -> None:
    console.say(f"Labels: {labels.type}, {labels.why}")
    table = []
    for name, rows in labels.classes.items():
        values = [_shown(v) for v in labels.values if labels.class_of(v) == name]
        table.append([f"  {_shown(name)}", ", ".join(values[:12]), rows])
    console.say_table(["  class", "values", "rows"], table)
    lost = {v: n for v, n in labels.values.items() if labels.class_of(v) is None}
    for value, rows in list(lost.items())[:5]:
        console.say(f"  no class: {_shown(value)}, {rows} rows")


def _kind(found: Any) -> str:
    kind = found.found
    if found.found == "csv" and found.delimiter != ",":
        kind += f" with {found.delimiter!r}"
    return kind if found.compression == "none" else f"{kind} in {found.compression}"


def _candidate(column: str, choice: Choice) -> str:
    """A column's name and, for an id, how many of its values differ."""
    name = shown_name(column)
    if column not in choice.different:
        return name
    percent = math.floor(1000 * choice.different[column]) / 10
    return f"{name} ({percent:g} % different)"


def _some(classes: Sequence[str]) -> str:
    more = ", …" * (len(classes) > _CLASSES)
    return ", ".join(map(_shown, classes[:_CLASSES])) + more


def _shown(value: str) -> str:
    """A name or a label without what a terminal would act on, or a mail."""
    value = redacted(value)
    value = value if value.isprintable() else ascii(value)
    return value if len(value) <= _CHARACTERS else f"{value[:_CHARACTERS]}…"


def _redacted_counts(rows: Mapping[str, int]) -> Counter[str]:
    """Rows of each value; those that look the same without their mails are one."""
    found: Counter[str] = Counter()
    for value, count in rows.items():
        found[redacted(value)] += count
    return found


def _shown_languages(rows: Mapping[str, int]) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for name, count in rows.items():
        found[shown_language(name)] += count
    return found


def _how_to_bring(why: str) -> str:
    """The command alone, where the message ends with one."""
    return why.rsplit("Run: ", 1)[-1] if "Run: " in why else f"# {why}"
