"""Loads a job's typed config from YAML and `--set`, and explains what is wrong."""

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import pydantic
import yaml

from reviewbeam.components.common.errors import UserError, listing, nearest

ConfigType = TypeVar("ConfigType", bound="Config")
_MERGE = "tag:yaml.org,2002:merge"  # of the key in `<<: *other`


class Config(pydantic.BaseModel):
    """Base of all configs: immutable, unknown keys refused."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe YAML loader that refuses a key given twice.

    A key is the text that was written: the labels `no` and `4.50` are neither False
    nor 4.5.
    """

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
            if key.tag != _MERGE:
                key.tag = self.DEFAULT_SCALAR_TAG
        return node


def parse_yaml(text: str, origin: str) -> Any:
    """Parses one YAML document with the safe loader.

    Raises:
      UserError: the text is no YAML, or a key stands twice.
    """
    try:
        return _UniqueKeyLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the date 2024-13-45
        raise UserError(f"{origin} is not valid YAML: {error}") from None


def load_config(
    config_type: type[ConfigType], path: str, overrides: Sequence[str] = ()
) -> ConfigType:
    """Reads a YAML file, applies `a.b=c` overrides, and checks every key.

    Raises:
      UserError: the file is missing or wrong; the message lists every problem.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(
            f"Can't read the config {path!r}: {reason}. "
            "Give --config the path of a YAML file; configs/ has examples."
        ) from None
    data = parse_yaml(text, path)
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise UserError(
            f"{path} holds a {type(data).__name__} where a mapping of keys was "
            "expected; see the files in configs/ for the layout."
        )
    for override in overrides:
        _apply_override(data, override)
    return check_config(config_type, data, path)


def check_config(
    config_type: type[ConfigType], data: Mapping[str, Any], origin: str
) -> ConfigType:
    """Validates plain data against a config type.

    Raises:
      UserError: with one line for each wrong key or value.
    """
    try:
        return config_type.model_validate(data)
    except pydantic.ValidationError as error:
        lines = [_explain(config_type, problem) for problem in error.errors()]
        raise UserError(
            f"{origin} can't be used:\n" + "\n".join(f"  - {line}" for line in lines)
        ) from None


def dotted_keys(config_type: type[Config]) -> dict[str, Any]:
    """Returns the annotation of every key, those of sections as in `a.b`."""
    found = {}
    for name, field in config_type.model_fields.items():
        found[name] = field.annotation
        section = _config_in(field.annotation)
        if hasattr(section, "model_fields"):
            found |= {f"{name}.{key}": a for key, a in dotted_keys(section).items()}
    return found


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UserError(
            f"--set {override!r} was not understood: expected KEY=VALUE, "
            "for example --set training.epochs=2."
        )
    *parents, last = key.split(".")
    node = data
    for parent in parents:
        child = node.setdefault(parent, {})
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise UserError(f"--set {override!r}: {parent!r} holds no further keys.")
        node = child
    node[last] = _value(value, override)


def _value(text: str, override: str) -> Any:
    """Reads a list, a mapping, a number, or what else is no text by YAML's rules."""
    if text.lstrip()[:1] in ("[", "{", '"', "'"):
        return parse_yaml(text, f"--set {override!r}")
    try:
        value = parse_yaml(text, "")
    except UserError:
        return text
    if value is None:
        return text if text.strip().lower() not in ("", "~", "null") else None
    # Texts: `body: text`, and `5 # of them`, of which YAML takes a part.
    return text if isinstance(value, str | dict | list) or "#" in text else value


def _explain(config_type: type[Config], problem: Mapping[str, Any]) -> str:
    location = problem["loc"]
    name = ".".join(str(part) for part in location) or "the config"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(config_type, location[:-1])
        return (
            f"unknown key {name!r}{nearest(str(location[-1]), known)}; "
            f"known here: {listing(sorted(known), most=30)}"
        )
    if problem["type"] == "missing":
        return f"the key {name!r} is missing"
    found = problem.get("input")
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list")  # YAML knows no tuples
    if isinstance(found, str | int | float | bool) or found is None:
        return f"{name}: {message}; found {found!r}"
    return f"{name}: {message}"


def _known_keys(config_type: Any, location: Sequence[Any]) -> set[str]:
    """The keys allowed at a place in a nested config."""
    for part in location:
        field = getattr(config_type, "model_fields", {}).get(part)
        if field is None:
            return set()
        config_type = _config_in(field.annotation)
    return set(getattr(config_type, "model_fields", {}))


def _config_in(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        for choice in get_args(annotation):
            if isinstance(choice, type) and issubclass(choice, Config):
                return choice
    return annotation
