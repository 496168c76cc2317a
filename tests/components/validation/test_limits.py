import pytest

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.validation.limits import reject_problems


def _file(name, rows, **rejected):
    return {"file": name, "rows": rows, "rejected": rejected}


def _problems(*inputs, **limits):
    return reject_problems(RecordRules(**limits), list(inputs))


def test_without_limits_everything_may_be_rejected():
    assert _problems(_file("a", 2, text_empty=2), _file("b", 0)) == []


def test_too_many_rejects_in_all():
    inputs = [
        _file("a", 60, text_empty=1, label_unknown=3),
        _file("b", 40, text_empty=1),
    ]

    assert _problems(*inputs, max_reject_fraction=0.05) == []
    assert _problems(*inputs, max_reject_fraction=0.049) == [
        "5 of 100 rows are rejects (5.0%); rules.max_reject_fraction allows 4.9%. "
        "By rule: label_unknown 3, text_empty 2."
    ]


def test_too_many_rejects_in_a_file():
    inputs = [_file("a", 10, text_empty=1, label_unknown=2), _file("b", 990)]

    assert _problems(*inputs, max_reject_fraction_per_file=0.3) == []
    assert _problems(
        *inputs, max_reject_fraction=0.01, max_reject_fraction_per_file=0.2
    ) == [
        "a: 3 of 10 rows are rejects (30.0%); rules.max_reject_fraction_per_file "
        "allows 20.0%. By rule: label_unknown 2, text_empty 1."
    ]


@pytest.mark.parametrize("rows", [10, 29, 100, 1000])
def test_a_share_that_is_just_allowed_is_allowed(rows):
    for rejected in range(rows + 1):  # 0.29 * 100 is below 29
        file = _file("a", rows, text_empty=rejected)
        share = rejected / rows
        limits = {"max_reject_fraction": share, "max_reject_fraction_per_file": share}
        assert _problems(file, **limits) == []
        if rejected:
            below = {key: share - 1e-9 for key in limits}
            assert len(_problems(file, **below)) == 2


def test_nothing_allowed_and_nothing_there():
    limits = {"max_reject_fraction": 0, "max_reject_fraction_per_file": 0}

    assert _problems(**limits) == []
    assert _problems(_file("a", 0), _file("b", 5), **limits) == []
    assert len(_problems(_file("a", 10**6, text_empty=1), **limits)) == 2
