import pytest

from reviewbeam.components.common.config import check_config, load_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import (
    AugmentRules,
    DriftRules,
    DuplicateRules,
    LabelRules,
    PrepareConfig,
    PrivacyRules,
    SchemaRules,
    SplitRules,
)

CLASSES = ["negative", "neutral", "positive"]


def _labels(**changes):
    return check_config(
        LabelRules, {"type": "multiclass", "names": CLASSES} | changes, "labels"
    )


def _prepare(columns, **changes):
    data = {
        "encoder": "e",
        "columns": {"text": "body", "label": "stars"} | columns,
        "labels": {"type": "multiclass", "names": CLASSES},
    }
    return check_config(PrepareConfig, data | changes, "prepare")


def _problem(config_type, data):
    """What the message says is wrong, without the heading."""
    with pytest.raises(UserError) as error:
        check_config(config_type, data, "here")
    heading, problem = str(error.value).split("\n")
    assert heading == "here can't be used:"
    return problem.removeprefix("  - ")


def test_class_index_without_a_mapping_is_the_names_order():
    assert _labels().class_index() == {"negative": 0, "neutral": 1, "positive": 2}


def test_class_index_of_a_mapping():
    mapping = {"1": "negative", "2": "negative", "3": "neutral", "5": "positive"}

    assert _labels(mapping=mapping).class_index() == {"1": 0, "2": 0, "3": 1, "5": 2}


def test_yaml_keys_stand_for_the_values_of_the_corpus(tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(
        "type: binary\nnames: [bad, good]\n"
        "mapping: {0: bad, false: bad, no: bad, 1: good, true: good, 4.5: good}\n"
    )
    rules = load_config(LabelRules, str(path))

    assert rules.class_index() == {
        "0": 0,
        "false": 0,
        "no": 0,
        "1": 1,
        "true": 1,
        "4.5": 1,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "binary"}, "binary takes exactly two names, found 3"),
        ({"names": ["one"]}, "names needs two classes or more, found"),
        ({"names": ["a", "b", "a"]}, "names has a name twice: ['a', 'b', 'a']"),
        ({"names": ["a", ""]}, "names.1: String should have at least 1 character"),
        ({"mapping": {"1": "bad"}}, "mapping leads to ['bad'], which is not among"),
        ({"mapping": ["1"]}, "mapping: Input should be a valid dictionary"),
        (
            {"type": "multi"},
            "type: Input should be 'binary', 'multiclass', 'multilabel' or 'ordinal'; "
            "found 'multi'",
        ),
        ({"type": "multilabel", "names": ["one"]}, "names needs two classes or more"),
        ({"type": "ordinal", "names": ["a", "a"]}, "names has a name twice"),
        ({"delimiter": ""}, "delimiter: String should have at least 1 character"),
    ],
)
def test_labels_that_cannot_be(changes, message):
    with pytest.raises(UserError) as error:
        _labels(**changes)

    assert message in str(error.value)


def test_every_type_of_labels_has_its_classes():
    for kind in ("multiclass", "multilabel", "ordinal"):
        assert _labels(type=kind).class_index() == {
            "negative": 0,
            "neutral": 1,
            "positive": 2,
        }
    assert _labels(type="multilabel").delimiter == ","
    assert _labels(type="multilabel", delimiter="; ").delimiter == "; "


@pytest.mark.parametrize("name", ["text", "label", "id", "token_ids", "count"])
def test_a_dataset_keeps_no_column_under_a_name_of_its_own(name):
    with pytest.raises(UserError, match="columns.keep"):
        _prepare({"keep": ["product", name]})


def test_a_column_is_kept_once():
    with pytest.raises(UserError, match="columns.keep has a name twice"):
        _prepare({"keep": ["product", "shop", "product"]})


def test_other_columns_may_be_kept():
    assert _prepare({"keep": ["product", "stars"]}).columns.keep == ("product", "stars")


def test_prepare_needs_labels():
    with pytest.raises(UserError, match="columns.label is missing: training needs lab"):
        _prepare({"label": None})


def test_a_list_of_languages_needs_their_column_or_their_detection():
    rules = {"languages": ["de", "fr"]}
    with pytest.raises(UserError, match="rules.languages needs columns.language, or t"):
        _prepare({}, rules=rules)

    assert _prepare({"language": "lang"}, rules=rules).rules.languages == ("de", "fr")
    assert _prepare({}, rules=rules, text={"language": "detect"}).text.max_tokens == 256


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (1, 0), (0.7, 0.6)])
def test_splits_leave_something_to_train_on(validation, test):
    with pytest.raises(UserError, match="leave nothing to train on"):
        check_config(SplitRules, {"validation": validation, "test": test}, "split")


@pytest.mark.parametrize(
    ("data", "test", "validation"),
    [
        ({}, 0.1, 0.1),
        ({"test": 0, "validation": 0}, 0, 0),
        ({"test": 0.3}, 0.3, 0.1),
        ({"time_column": "t", "test_days": 30, "validation": 0.2}, 0, 0.2),
        ({"column": "s"}, 0, 0),
        ({"column": "s", "values": {"a": "train", "b": "test"}}, 0, 0.1),
        ({"column": "s", "values": {"a": "train", "b": "validation"}}, 0, 0),
    ],
)
def test_the_hash_gives_what_nothing_else_gives(data, test, validation):
    split = check_config(SplitRules, data, "here")

    assert (split.test_share, split.validation_share) == (test, validation)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"test": 0.1, "time_column": "t", "test_days": 3},
            "the config: test is a share by hash; column or time_column tells it",
        ),
        (
            {"test": 0.1, "column": "s"},
            "the config: test is a share by hash; column or time_column tells it",
        ),
        ({"test_days": 3}, "the config: time_column and test_days need each other"),
        (
            {"time_column": "t"},
            "the config: time_column and test_days need each other",
        ),
        (
            {"time_column": "t", "test_days": 0},
            "test_days: Input should be greater than 0; found 0",
        ),
        (
            {"time_column": "t", "test_days": 3, "column": "s"},
            "the config: column and time_column both divide: give one of them",
        ),
        (
            {"values": {"x": "train"}},
            "the config: values are those of column, which is missing",
        ),
        (
            {"column": "s", "values": {"x": "holdout"}},
            "values.x: Input should be 'train', 'validation' or 'test'; "
            "found 'holdout'",
        ),
        (
            {"column": "s", "values": {"x": "test"}},
            "the config: values names no split train: nothing to train on",
        ),
        (
            {"time_column": "t", "test_days": 3, "validation": 1},
            "the config: validation and test together leave nothing to train on",
        ),
    ],
)
def test_splits_that_cannot_be(data, problem):
    assert _problem(SplitRules, data) == problem


@pytest.mark.parametrize(
    ("config_type", "data", "problem"),
    [
        (
            AugmentRules,
            {"copies": 2},
            "the config: copies needs a way to differ: delete_words, swap_words, "
            "subword_alpha",
        ),
        (
            AugmentRules,
            {"copies": 17, "swap_words": 0.1},
            "copies: Input should be less than or equal to 16; found 17",
        ),
        (
            AugmentRules,
            {"copies": 1, "subword_alpha": 0},
            "subword_alpha: Input should be greater than 0; found 0",
        ),
        (
            PrivacyRules,
            {"text": "masked"},
            "text: Input should be 'none', 'redacted' or 'full'; found 'masked'",
        ),
        (
            DuplicateRules,
            {"on_conflict": "first"},
            "on_conflict: Input should be 'majority', 'drop' or 'keep_all'; "
            "found 'first'",
        ),
        (SchemaRules, {"fatal": "all"}, "fatal: Input should be a list; found 'all'"),
        (
            SchemaRules,
            {"drift": {"features": {"length": 2}}},
            "drift.features.length: Input should be less than or equal to 1; found 2",
        ),
        (
            DriftRules,
            {"number": 0.2},
            "unknown key 'number' (did you mean 'numbers'?); known here: "
            "'categories', 'features', 'numbers'",
        ),
    ],
)
def test_what_is_wrong_is_told(config_type, data, problem):
    assert _problem(config_type, data) == problem


def test_copies_need_one_way_to_differ():
    for way in ({"delete_words": 0.1}, {"swap_words": 1}, {"subword_alpha": 0.5}):
        assert check_config(AugmentRules, {"copies": 16} | way, "here").copies == 16
    assert check_config(AugmentRules, {}, "here").copies == 0


def test_prepare_cannot_skip_a_damaged_file():
    with pytest.raises(UserError) as error:
        _prepare({}, on_damaged_file="skip", privacy={"texts": "full"})

    assert str(error.value).split("\n")[1:] == [
        "  - on_damaged_file: Input should be 'fail' or 'salvage'; found 'skip'",
        "  - unknown key 'privacy.texts' (did you mean 'text'?); known here: 'text'",
    ]


@pytest.mark.parametrize(
    "data", [{"test": -0.1}, {"validation": 1.5}, {"salt": ""}, {"time_column": ""}]
)
def test_split_values_out_of_bounds(data):
    with pytest.raises(UserError):
        check_config(SplitRules, data, "here")
