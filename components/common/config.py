"""Loads a job's typed config from YAML and `--set`, and explains what is wrong."""

import operator
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

import pydantic
import yaml

from reviewbeam.components.common.errors import UserError, listing, nearest, why_unread

ConfigType = TypeVar("ConfigType", bound="Config")
_MERGE = "tag:yaml.org,2002:merge"  # of the key in `<<: *other`


class Config(pydantic.BaseModel):
    """Base of all configs: immutable, unknown keys refused."""

    # Sections that may be the name of a YAML file beside the one that they stand in.
    file_sections: ClassVar[tuple[str, ...]] = ()

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

    Sections that are the names of files are read first: overrides reach into them.

    Raises:
      UserError: the file is missing or wrong; the message lists every problem.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"Can't read the config {path!r}: {why_unread(error)}. "
            "Give --config the path of a YAML file; configs/ has examples."
        ) from None
    data = _mapping(text, path)
    files = {}
    for key in config_type.file_sections:
        if isinstance(name := data.get(key), str):
            data[key] = _read_section(Path(path), key, name)
            files[key] = str(Path(path).parent / name)
    for override in overrides:
        _apply_override(data, override)
    set_keys = [override.partition("=")[0].split(".") for override in overrides]
    return _checked(config_type, data, path, files, set_keys)


def check_config(
    config_type: type[ConfigType], data: Mapping[str, Any], origin: str
) -> ConfigType:
    """Validates plain data against a config type.

    Raises:
      UserError: with one line for each wrong key or value.
    """
    return _checked(config_type, data, origin, {}, ())


def _checked(
    config_type: type[ConfigType],
    data: Mapping[str, Any],
    origin: str,
    files: Mapping[str, str],
    set_keys: Sequence[Sequence[str]],
) -> ConfigType:
    """Validates data, of which some sections are of files and some keys of `--set`."""
    try:
        return config_type.model_validate(data)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            place = [str(part) for part in problem["loc"]]
            # One that `--set` gave a part of isn't the file's, or not alone.
            is_set = any(all(map(operator.eq, place, key)) for key in set_keys)
            file = files.get(place[0]) if place and not is_set else None
            lines.append(_explain(config_type, problem, file))
        raise UserError(
            f"{origin} can't be used:\n" + "\n".join(f"  - {line}" for line in lines)
        ) from None


def _mapping(text: str, origin: str) -> dict[str, Any]:
    """Parses the keys of a config; an empty file has none."""
    data = parse_yaml(text, origin)
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise UserError(
            f"{origin} holds a {type(data).__name__} where a mapping of keys was "
            "expected; see the files in configs/ for the layout."
        )
    return data


def _read_section(path: Path, key: str, name: str) -> dict[str, Any]:
    """Reads the file that a section of the config at `path` names."""
    where = f"{path}: the section {key} is said to be the file {name!r}"
    try:
        folder = path.parent.resolve()
        file = (folder / name).resolve()
        leads_out = ".." in Path(name).parts or not file.is_relative_to(folder)
        if Path(name).is_absolute() or leads_out:
            raise UserError(
                f"{where}, which lies outside of the folder of {path.name}. Name a "
                "file beside it, or put the section's keys there."
            )
        if not file.is_file():
            raise FileNotFoundError("no file has that name")
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a loop of links
        raise UserError(
            f"{where}, which can't be read: {why_unread(error)}. Name a YAML file in "
            f"the folder of {path.name}, or put the section's keys there."
        ) from None
    return _mapping(text, f"{where}, which")


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


def _explain(
    config_type: type[Config], problem: Mapping[str, Any], file: str | None
) -> str:
    """Tells a problem; where its section is a file, by the file and its own key."""
    location = problem["loc"]
    keys = ".".join(str(part) for part in location[file is not None :])
    name, prefix = keys or "the config", f"{file}: " if file else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(config_type, location[:-1])
        return (
            f"{prefix}unknown key {name!r}{nearest(str(location[-1]), known)}; "
            f"known here: {listing(sorted(known), most=30)}"
        )
    if problem["type"] == "missing":
        return f"{prefix}the key {name!r} is missing"
    found = problem.get("input")
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list")  # YAML knows no tuples
    if isinstance(found, str | int | float | bool) or found is None:
        return f"{prefix}{name}: {message}; found {found!r}"
    return f"{prefix}{name}: {message}"


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
