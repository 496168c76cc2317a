import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.corpus_config import (
    CorpusConfig,
    RecordRules,
    RejectRules,
    RuleActions,
    TextRules,
)
from reviewbeam.components.common.errors import UserError


@pytest.mark.parametrize(
    ("config_type", "data"),
    [
        (TextRules, {"max_tokens": 2}),
        (TextRules, {"max_tokens": 513}),
        (TextRules, {"truncate": "tail"}),
        (TextRules, {"head_fraction": 1.1}),
        (TextRules, {"language": "auto"}),
        (RecordRules, {"min_characters": 0}),
        (RecordRules, {"min_characters": 9, "max_characters": 8}),
        (RecordRules, {"languages": []}),  # would reject everything
        (RecordRules, {"languages": [""]}),
        (RecordRules, {"max_reject_fraction": 2}),
        (RecordRules, {"max_reject_fraction_per_file": -0.1}),
        (RejectRules, {"keep_raw": "some"}),
        (CorpusConfig, {"columns": {"text": ""}}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": ""}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": "||"}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": '"'}),
        (CorpusConfig, {"columns": {"text": "t"}, "csv_delimiter": "\n"}),
        (CorpusConfig, {"columns": {"text": "t"}, "format": "xml"}),
        (CorpusConfig, {"columns": {"text": "t"}, "slice_bytes": 10}),
        (CorpusConfig, {"columns": {"text": "t"}, "exclude_ids": ""}),
    ],
)
def test_values_out_of_bounds(config_type, data):
    with pytest.raises(UserError):
        check_config(config_type, data, "here")


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        (
            {"text_too_long": "cut"},
            "actions.text_too_long: Input should be 'reject', 'repair' or 'allow'; "
            "found 'cut'",
        ),
        (
            {"language_missing": "repair"},
            "actions.language_missing: Input should be 'reject' or 'allow'; "
            "found 'repair'",
        ),
        ({"text_to_long": "repair"}, "(did you mean 'text_too_long'?); known here:"),
        # What can't be mended always rejects.
        ({"label_unknown": "allow"}, "unknown key 'actions.label_unknown'"),
        ("repair", "actions: Input should be a valid dictionary"),
    ],
)
def test_actions_that_cannot_be(actions, problem):
    with pytest.raises(UserError) as error:
        check_config(RecordRules, {"actions": actions}, "here")

    assert problem in str(error.value)


def test_actions_by_default():
    assert RuleActions().model_dump() == {
        "text_wrong_type": "reject",
        "text_too_short": "reject",
        "text_too_long": "reject",
        "invalid_utf8": "reject",
        "lone_surrogates": "reject",
        "nul_characters": "repair",
        "control_characters": "repair",
        "not_nfc": "allow",
        "language_wrong_type": "reject",
        "language_missing": None,
        "language_not_allowed": "reject",
        "id_wrong_type": "reject",
        "id_missing": "repair",
        "id_repeated": "allow",
    }
    assert RecordRules().action("not_nfc") == "allow"
    assert RecordRules(actions={"not_nfc": "reject"}).action("not_nfc") == "reject"


def test_a_missing_language_is_rejected_where_languages_are_named():
    def action(**rules):
        return RecordRules(**rules).action("language_missing")

    assert (action(), action(languages=["de"])) == ("allow", "reject")
    # What is said goes before that.
    assert action(actions={"language_missing": "reject"}) == "reject"
    allowed = {"language_missing": "allow"}
    assert action(languages=["de"], actions=allowed) == "allow"


def test_a_list_is_asked_for_where_one_is_needed():
    with pytest.raises(UserError, match="languages: Input should be a list; found 'de"):
        check_config(RecordRules, {"languages": "de"}, "here")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", "§"])
def test_delimiters_are_one_character(delimiter):
    data = {"columns": {"text": "t"}, "csv_delimiter": delimiter}

    assert check_config(CorpusConfig, data, "here").csv_delimiter == delimiter
