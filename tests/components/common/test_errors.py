import pytest

from reviewbeam.components.common.errors import (
    BusyError,
    DataGateError,
    ReviewbeamError,
    UserError,
    listing,
    nearest,
)


def test_exit_codes_for_schedulers():
    codes = {kind: kind("why").exit_code for kind in (UserError, DataGateError)}

    assert ReviewbeamError("why").exit_code == 1
    assert codes == {UserError: 2, DataGateError: 3}
    assert BusyError("why").exit_code == 75


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("langage", " (did you mean 'language'?)"),
        ("Text", " (did you mean 'text'?)"),
        ("zzz", ""),
    ],
)
def test_nearest_name(name, answer):
    assert nearest(name, ["text", "language", "label"]) == answer


def test_nearest_of_nothing():
    assert nearest("text", []) == ""


def test_nearest_takes_another_cutoff():
    assert nearest("text", ["test"], cutoff=0.9) == ""


def test_listing():
    assert listing([]) == "none"
    assert listing("ab") == "'a', 'b'"
    assert listing("abc", most=3) == "'a', 'b', 'c'"
    assert listing((c for c in "abcd"), most=2) == "'a', 'b', … (2 more)"
