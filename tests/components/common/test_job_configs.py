import pytest

from reviewbeam.components.common.config import check_config, load_config
from reviewbeam.components.common.corpus_config import (
    CorpusConfig,
    RecordRules,
    TextRules,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.job_configs import ScoreConfig, TrainingConfig
from reviewbeam.components.common.prepare_config import (
    LabelRules,
    PrepareConfig,
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
        ({"type": "multi"}, "type: Input should be 'binary' or 'multiclass'"),
    ],
)
def test_labels_that_cannot_be(changes, message):
    with pytest.raises(UserError) as error:
        _labels(**changes)

    assert message in str(error.value)


@pytest.mark.parametrize("name", ["text", "label", "id", "token_ids", "count"])
def test_a_dataset_keeps_no_column_under_a_name_of_its_own(name):
    with pytest.raises(UserError, match="columns.keep"):
        _prepare({"keep": ["product", name]})


@pytest.mark.parametrize("name", ["label", "score", "id", "model_version"])
def test_scores_keep_no_column_under_a_name_of_their_own(name):
    with pytest.raises(UserError, match="columns.keep"):
        check_config(ScoreConfig, {"columns": {"text": "t", "keep": [name]}}, "score")


def test_a_column_is_kept_once():
    with pytest.raises(UserError, match="columns.keep has a name twice"):
        _prepare({"keep": ["product", "shop", "product"]})


def test_a_list_of_languages_needs_their_column():
    rules = {"languages": ["de", "fr"]}
    with pytest.raises(UserError, match="rules.languages needs columns.language"):
        _prepare({}, rules=rules)
    with pytest.raises(UserError, match="rules.languages needs columns.language"):
        check_config(ScoreConfig, {"columns": {"text": "t"}, "rules": rules}, "score")

    assert _prepare({"language": "lang"}, rules=rules).rules.languages == ("de", "fr")


def test_score_reads_no_labels():
    with pytest.raises(UserError, match="columns.label has no use here"):
        check_config(ScoreConfig, {"columns": {"text": "t", "label": "l"}}, "score")


def test_other_columns_may_be_kept():
    assert _prepare({"keep": ["product", "stars"]}).columns.keep == ("product", "stars")


def test_prepare_needs_labels():
    with pytest.raises(UserError, match="columns.label is missing: training needs lab"):
        _prepare({"label": None})


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (1, 0), (0.7, 0.6)])
def test_splits_leave_something_to_train_on(validation, test):
    with pytest.raises(UserError, match="leave nothing to train on"):
        check_config(SplitRules, {"validation": validation, "test": test}, "split")


@pytest.mark.parametrize(
    ("config_type", "data"),
    [
        (SplitRules, {"test": -0.1}),
        (SplitRules, {"validation": 1.5}),
        (SplitRules, {"salt": ""}),
        (TextRules, {"max_tokens": 2}),
        (TextRules, {"max_tokens": 513}),
        (TextRules, {"truncate": "tail"}),
        (TextRules, {"head_fraction": 1.1}),
        (RecordRules, {"min_characters": 0}),
        (RecordRules, {"min_characters": 9, "max_characters": 8}),
        (RecordRules, {"max_reject_fraction": 2}),
        (TrainingConfig, {"epochs": 0}),
        (TrainingConfig, {"learning_rate": 0}),
        (TrainingConfig, {"logical_cpus": 0}),
        (CorpusConfig, {"columns": {"text": ""}}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": ""}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": "||"}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": '"'}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": "\n"}),
        (CorpusConfig, {"columns": {"text": "t"}, "format": "xml"}),
        (CorpusConfig, {"columns": {"text": "t"}, "slice_bytes": 10}),
    ],
)
def test_values_out_of_bounds(config_type, data):
    with pytest.raises(UserError):
        check_config(config_type, data, "here")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", "§"])
def test_delimiters_are_one_character(delimiter):
    data = {"columns": {"text": "t"}, "csv_delimiter": delimiter}

    assert check_config(CorpusConfig, data, "here").csv_delimiter == delimiter
