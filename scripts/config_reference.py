"""Writes configs/REFERENCE.md: every key of every job's config, and what it means.

A key's meaning is the comment at its field in components/common/*_config.py: above
it, behind it, or both. What it may be and its default are pydantic's JSON schema.

  scripts/config_reference.py [--check]    --check: only tell whether it is current
"""

import ast
import inspect
import io
import json
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Any

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.common.tune_config import TuneConfig

REFERENCE = Path(__file__).parents[1] / "configs" / "REFERENCE.md"
JOBS = {
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "tune": TuneConfig,
    "evaluate": EvaluateConfig,
    "score": ScoreConfig,
    "run": RunConfig,
}
_HEAD = """\
# Every key of every config

Written by `scripts/config_reference.py` from `components/common/*_config.py`; change
the comments there, not this page. A dot reaches into a section: `text.max_tokens` is

```yaml
text:
  max_tokens: 128
```

or `--set text.max_tokens=128`. `null` stands for a value that is left out, `[]` behind
a key for each item of its list. A key that isn't here is refused.
"""
_TABLE = "| key | may be | default | meaning |\n| --- | --- | --- | --- |"
_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "gt": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}
_TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
}


def reference() -> str:
    """Returns the page."""
    parts = [_HEAD, *(_section(job, config) for job, config in JOBS.items())]
    return "\n".join(parts)


def meanings(config: type[Config]) -> dict[str, str]:
    """Returns what each field's comments say, of the class itself and its bases."""
    bases = [c for c in reversed(config.__mro__) if issubclass(c, Config)]
    found: dict[str, str] = {}
    for base in bases:
        found |= _comments(base) if base is not Config else {}
    return found


def _comments(config: type[Config]) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(config))
    lines = source.splitlines()
    comments: dict[int, str] = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        first = node.lineno
        while lines[first - 2].lstrip().startswith("#"):
            first -= 1
        places = range(first, node.end_lineno + 1)
        above = " ".join(comments.get(n, "") for n in places if n < node.lineno)
        behind = " ".join(comments.get(n, "") for n in places if n >= node.lineno)
        if above.strip() and behind.strip() and above.rstrip()[-1] not in ".;:":
            above = above.strip() + ";"
        found[node.target.id] = " ".join(f"{above} {behind}".split())
    return found


def _section(job: str, config: type[Config]) -> str:
    schema = config.model_json_schema()
    rows = list(_rows(config, schema, schema["$defs"], ""))
    body = "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)
    return f"## {job}\n\n{_TABLE}\n{body}\n"


def _rows(config: type[Config], schema: dict, defs: dict, prefix: str):
    """Yields (key, what it may be, default, meaning), sections before their keys."""
    said = meanings(config)
    for name, field in config.model_fields.items():
        key, entry = prefix + name, schema["properties"][name]
        inner, many = _inner(field.annotation)
        default = "needed" if field.is_required() else f"`{_json(entry['default'])}`"
        if inner is None:
            yield f"`{key}`", _may_be(entry, defs), default, said[name]
            continue
        meaning = said[name] or inner.__doc__.splitlines()[0]
        if inner in JOBS.values():
            job = next(job for job, config in JOBS.items() if config is inner)
            default = default if field.is_required() or entry["default"] is None else ""
            kind = f"a config of [{job}](#{job})"
            if name in config.file_sections:
                kind += ", or the name of its file beside this one"
            yield f"`{key}`", kind, default, meaning
            continue
        optional = not field.is_required() and entry["default"] in (None, [])
        kind = "list of sections" if many == "list" else "section"
        if many == "map":
            kind = "text → " + _may_be(entry["additionalProperties"], defs)
        yield f"`{key}`", kind, default if optional or many else "", meaning
        mark = {"list": "[].", "map": ".KEY."}.get(many, ".")
        yield from _rows(inner, defs[inner.__name__], defs, key + mark)


def _inner(annotation: Any) -> tuple[type[Config] | None, str | None]:
    """Finds the config within an annotation, and what it lies in: list, map or none."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return annotation, None
    origin = getattr(annotation, "__origin__", None)
    for argument in getattr(annotation, "__args__", ()):
        if (found := _inner(argument))[0]:
            many = {tuple: "list", dict: "map"}.get(origin, found[1])
            return found[0], many
    return None, None


def _may_be(entry: dict, defs: dict) -> str:
    if "anyOf" in entry:
        kinds = [_may_be(choice, defs) for choice in entry["anyOf"]]
        kind = " or ".join(dict.fromkeys(kinds))
        kind = kind.replace("integer or number", "number")
    elif "$ref" in entry:
        keys = defs[entry["$ref"].rsplit("/")[-1]]["properties"]
        kind = f"`{{{', '.join(keys)}}}`"
    elif "const" in entry:
        kind = f"`{_json(entry['const'])}`"
    elif "enum" in entry:
        kind = ", ".join(f"`{_json(value)}`" for value in entry["enum"])
    elif entry.get("type") == "array":
        kind = f"list of {_may_be(entry['items'], defs) or 'values'}"
    elif entry.get("type") == "object":
        kind = f"text → {_may_be(entry['additionalProperties'], defs)}"
    else:
        kind = _TYPES.get(entry.get("type"), "")
    if "pattern" in entry:
        kind += f" like `{entry['pattern']}`"
    limits = [t.format(entry[k]) for k, t in _LIMITS.items() if k in entry]
    return " ".join([kind, " and ".join(limits)]).strip()


def _json(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")  # <s> is a token


def main(arguments: list[str]) -> int:
    """Writes the page, or with --check compares it; 1 where it isn't current."""
    page = reference()
    if "--check" not in arguments:
        REFERENCE.write_text(page, encoding="utf-8")
        return 0
    if REFERENCE.read_text(encoding="utf-8") == page:
        return 0
    print(f"{REFERENCE} is not current: run scripts/config_reference.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
