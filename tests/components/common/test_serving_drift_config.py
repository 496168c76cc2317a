import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.serving_drift_config import (
    FEATURES,
    ServingDriftRules,
)


def _rules(**data):
    return check_config(ServingDriftRules, data, "score.yaml")


def test_thresholds_are_of_the_kind_unless_a_feature_has_its_own():
    rules = _rules(
        numbers=0.1,
        categories=0.2,
        predictions=0.3,
        confidence=0.4,
        features={"tokens": 0.5},
    )
    assert {name: rules.threshold(name) for name in FEATURES} == {
        "characters": 0.1,
        "tokens": 0.5,
        "unknown_token_share": 0.1,
        "emoji_share": 0.1,
        "non_letter_share": 0.1,
        "truncated": 0.2,
        "language": 0.2,
        "predicted_label": 0.3,
        "confidence": 0.4,
    }


def test_what_is_fatal():
    assert not any(_rules().is_fatal(name) for name in FEATURES)
    assert all(_rules(fatal=True).is_fatal(name) for name in FEATURES)
    some = _rules(fatal=["language", "confidence"])
    assert {n for n in FEATURES if some.is_fatal(n)} == {"language", "confidence"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"features": {"token": 0.2}},
            "features names 'token', which is no feature (did you mean 'tokens'?). "
            "Use some of: 'characters', 'tokens', ",
        ),
        (
            {"fatal": ["tokens", "predictions"]},
            "fatal names 'predictions', which is no feature (did you mean "
            "'predicted_label'?)",
        ),
        ({"fatal": True, "enabled": False}, "fatal needs a comparison"),
        ({"confidence": 2}, "confidence: Input should be less than or equal to 1"),
        ({"number": 0.2}, "unknown key 'number' (did you mean 'numbers'?)"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises(UserError) as error:
        _rules(**data)
    assert message in str(error.value)
