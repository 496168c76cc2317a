import math

import pydantic
import pytest

from reviewbeam.components.common.config import (
    Config,
    check_config,
    load_config,
    parse_yaml,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import LabelRules, PrepareConfig
from reviewbeam.components.common.train_config import TrainConfig, TrainingConfig


class Shape(Config):
    width: int = 1
    height: float = 1.0


class Drawing(Config):
    name: str
    shape: Shape = Shape()
    border: Shape | None = None
    tags: tuple[str, ...] = ()


@pytest.fixture
def load(tmp_path):
    """Returns a function that loads YAML text as a drawing."""

    def load(text, *overrides):
        path = tmp_path / "drawing.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(Drawing, str(path), overrides)

    return load


def _problems(error):
    """The lines of a message that name a problem."""
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_loads_a_typed_config(load):
    drawing = load("name: Größe\nshape: {width: 3}\ntags: [a, b]\n")

    assert drawing == Drawing(name="Größe", shape=Shape(width=3), tags=("a", "b"))
    assert drawing.shape.height == 1.0
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        drawing.name = "other"


def test_unknown_keys_name_the_nearest(load):
    with pytest.raises(UserError) as error:
        load("nam: x\nname: y\nshape: {widht: 1}\nborder: {heigth: 2}\n")

    assert _problems(error) == [
        "- unknown key 'shape.widht' (did you mean 'width'?); "
        "known here: 'height', 'width'",
        "- unknown key 'border.heigth' (did you mean 'height'?); "
        "known here: 'height', 'width'",
        "- unknown key 'nam' (did you mean 'name'?); "
        "known here: 'border', 'name', 'shape', 'tags'",
    ]


def test_every_problem_is_listed(load):
    with pytest.raises(UserError) as error:
        load("shape: {width: wide, height: .nan}\ntags: 7\n")

    missing, width, height, tags = _problems(error)
    assert str(error.value).splitlines()[0].endswith("drawing.yaml can't be used:")
    assert missing == "- the key 'name' is missing"
    assert width.startswith("- shape.width: Input should be a valid integer")
    assert width.endswith("found 'wide'")
    assert height == "- shape.height: Input should be a finite number; found nan"
    assert tags.startswith("- tags: Input should be a list; found 7")


def test_a_problem_of_the_whole_config_has_a_name():
    with pytest.raises(UserError, match="the config: .*dictionary.*; found 7"):
        check_config(Drawing, 7, "here")


def test_own_checks_are_told_without_pydantics_words():
    data = {"type": "binary", "names": ["a", "b", "c"]}
    with pytest.raises(UserError) as error:
        check_config(LabelRules, data, "here")

    assert "binary takes exactly two names, found 3" in str(error.value)
    assert "Value error" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("name: a\nshape: {width: 1, width: 2}\n", "the key 'width' stands twice"),
        ("name: [a\n", "is not valid YAML"),
        ("name: \x00\n", "is not valid YAML"),
        ("name: a\n---\nname: b\n", "expected a single document"),
        ("name: !!python/object/apply:os.getcwd []\n", "could not determine a const"),
        ("name: !!python/name:os.system\n", "could not determine a constructor"),
        ("!!python/object/new:os.system [ls]\n", "could not determine a constructor"),
        ("name: a\ntags: [2024-13-45]\n", "is not valid YAML: month must be in 1..12"),
        ("? [a]\n: b\n", "unhashable key"),
        ("- name\n", "holds a list where a mapping of keys was expected"),
        ("name\n", "holds a str where a mapping of keys was expected"),
    ],
)
def test_wrong_yaml_is_one_message(load, text, message):
    with pytest.raises(UserError) as error:
        load(text)

    assert "drawing.yaml" in str(error.value)
    assert message in str(error.value)


def test_a_key_is_the_text_that_was_written():
    text = "1: a\ntrue: b\nno: c\n4.50: d\n2024-01-01: e\n~: f\n'5': g\n"
    keys = ["1", "true", "no", "4.50", "2024-01-01", "~", "5"]

    assert list(parse_yaml(text, "here")) == keys
    with pytest.raises(UserError, match="the key '1' stands twice"):
        parse_yaml("1: a\n'1': b\n", "here")


def test_values_keep_their_types():
    assert parse_yaml("{a: 1, b: true, c: no, d: ~, e: 1.5}", "here") == {
        "a": 1,
        "b": True,
        "c": False,
        "d": None,
        "e": 1.5,
    }


def test_merge_keys_give_what_is_not_given_again():
    text = "base: &base {width: 1, height: 2}\nshape: {<<: *base, width: 3}\n"

    assert parse_yaml(text, "here")["shape"] == {"width": 3, "height": 2}


def test_an_empty_file_has_the_defaults(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing set\n")

    assert load_config(TrainingConfig, str(path)) == TrainingConfig()


def test_overrides_win(load):
    text = "name: a\nshape: {width: 1, height: 2.5}\nborder:\n"
    drawing = load(text, "shape.width=4", "border.height=9", "tags=[x, y]", "name=b=c")

    assert drawing == Drawing(
        name="b=c",
        shape=Shape(width=4, height=2.5),
        border=Shape(height=9),
        tags=("x", "y"),
    )


def test_later_overrides_win(load):
    assert load("name: a", "name=b", "name=c").name == "c"


@pytest.mark.parametrize(
    "text", ["ref #", "body: text", "|", ",", "- a", "@id", "%x", "&a", "a, b", "*"]
)
def test_an_override_of_a_text_is_taken_as_it_is(load, text):
    assert load("name: a\n", f"name={text}").name == text


def test_an_override_in_quotes_is_yaml(load):
    assert load("name: a\n", 'name="12"').name == "12"
    assert load("name: a\n", r'name="\t"').name == "\t"


@pytest.mark.parametrize("nothing", ["", " ", "~", "null", "Null"])
def test_an_override_may_empty_a_value(load, nothing):
    assert load("name: a\nborder: {width: 2}", f"border={nothing}").border is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name", "--set 'name' was not understood: expected KEY=VALUE"),
        ("=x", "--set '=x' was not understood"),
        ("name.first=x", "--set 'name.first=x': 'name' holds no further keys"),
        ("shape.width=[", "--set 'shape.width=[' is not valid YAML"),
        ("shape.depth=1", "unknown key 'shape.depth'"),
        ("shape.width=x", "shape.width: Input should be a valid integer"),
    ],
)
def test_wrong_overrides(load, override, message):
    with pytest.raises(UserError) as error:
        load("name: a\n", override)

    assert message in str(error.value)


def test_an_override_of_a_label_replaces_it(tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text("type: binary\nnames: [bad, good]\nmapping: {1: bad, 2: good}\n")
    rules = load_config(LabelRules, str(path), ["mapping.1=good", "mapping.0=bad"])

    assert rules.mapping == {"1": "good", "2": "good", "0": "bad"}


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="No such file or directory.*Give --config"):
        load_config(Drawing, str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="Is a directory"):
        load_config(Drawing, str(tmp_path))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Größe".encode("latin-1"))
    with pytest.raises(UserError, match="it is not UTF-8 text"):
        load_config(Drawing, str(latin))


def test_no_number_without_bounds_passes_for_one():
    with pytest.raises(UserError, match="learning_rate: .*finite number; found inf"):
        check_config(TrainingConfig, {"learning_rate": math.inf}, "here")


def test_keys_are_known_below_nested_configs():
    data = {"encoder": "e", "training": {"epoch": 2}, "model": {"poling": "cls"}}
    with pytest.raises(UserError) as error:
        check_config(TrainConfig, data, "here")

    model, training = _problems(error)
    assert model.startswith("- unknown key 'model.poling' (did you mean 'pooling'?)")
    assert training.startswith("- unknown key 'training.epoch' (did you mean 'epochs'?")
    with pytest.raises(UserError, match="did you mean 'language'"):
        check_config(PrepareConfig, {"columns": {"langage": "x"}}, "here")
