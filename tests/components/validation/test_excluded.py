import pytest

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.validation.excluded import load_excluded_ids
from reviewbeam.components.validation.rules import ReviewRules
from tests.components.validation.rows import GOOD, as_read


def _apply(rows, excluded, **rules):
    rules = ReviewRules(RecordRules(), excluded_ids=frozenset(excluded), **rules)
    return rules.apply(as_read(rows))


def _derived(**row):
    """The id of a row that gives none."""
    checked = ReviewRules(RecordRules()).apply(as_read([row]))
    return checked.reviews.column("id")[0].as_py()


# === The file ===


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (b"r1\nr2\n", {"r1", "r2"}),
        (b"\xef\xbb\xbfr1\r\n\r\n  \nr2", {"r1", "r2"}),  # as Windows writes it
        ("é\n日 本\n".encode(), {"é", "日 本"}),
        (b" r1 \n", {" r1 "}),  # ids are as they are given
        ("a\u2028b\x0cc\n".encode(), {"a\u2028b\x0cc"}),
    ],
)
def test_ids_stand_one_a_line(tmp_path, content, ids):
    (tmp_path / "ids.txt").write_bytes(content)

    assert load_excluded_ids(str(tmp_path / "ids.txt")) == ids


def test_no_file_excludes_nothing():
    assert load_excluded_ids(None) == frozenset()


@pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_ids_is_a_mistake(tmp_path, content):
    (tmp_path / "ids.txt").write_bytes(content)

    with pytest.raises(UserError, match="ids.txt' holds no id. Leave exclude_ids out"):
        load_excluded_ids(str(tmp_path / "ids.txt"))


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path):
    (tmp_path / "ids.gz").write_bytes(b"\x1f\x8b\x08\xff")

    with pytest.raises(UserError, match="ids.gz' can't be read: it is not UTF-8 text"):
        load_excluded_ids(str(tmp_path / "ids.gz"))
    with pytest.raises(UserError, match="none' can't be read: No such file"):
        load_excluded_ids(str(tmp_path / "none"))
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        load_excluded_ids(str(tmp_path))


# === The rows ===


def test_rows_with_an_excluded_id_are_nowhere():
    rows = [
        GOOD,
        GOOD | {"id": "r2"},
        GOOD | {"id": "r2", "text": None},  # would be a reject
        GOOD | {"id": "r2", "problem": "label_wrong_type"},
        GOOD | {"id": "r22"},
        GOOD | {"id": "R2"},
    ]
    checked = _apply(rows, {"r2", "met nowhere"})

    assert checked.reviews.column("id").to_pylist() == ["r1", "r22", "R2"]
    assert checked.rejects.num_rows == 0
    assert checked.excluded == 3
    assert checked.outcomes() == {"left_out.excluded_id": 3}


def test_derived_ids_are_excluded_too():
    rows = [{"text": "a"}, {"text": "b"}, {"text": " b ", "id": ""}]
    checked = _apply(rows, {_derived(text="b")})

    assert checked.reviews.column("text").to_pylist() == ["a"]
    assert checked.excluded == 2
    # An id that was given is not compared with the content.
    assert _apply([{"text": "b", "id": "r1"}], {_derived(text="b")}).excluded == 0


def test_a_reject_with_a_derived_id_is_excluded_too():
    excluded = {_derived(text="b", label="?")}
    labels = LabelRules(type="binary", names=("no", "yes"))
    rows = [{"text": "b", "label": "?"}, {"text": "c", "label": "?"}]
    checked = _apply(rows, excluded, labels=labels)

    assert checked.rejects.column("row").to_pylist() == [2]
    assert checked.excluded == 1


def test_what_excluded_rows_broke_is_not_noted():
    rows = [{"text": "b\x00"}, {"text": "b\x00", "id": "r1"}, {"text": "c\x00"}]
    checked = _apply(rows, {_derived(text="b"), "r1"})

    assert checked.outcomes() == {
        "left_out.excluded_id": 2,
        "repaired.nul_characters": 1,
        "repaired.id_missing": 1,
        "allowed.language_missing": 1,
    }


def test_rows_without_content_are_not_excluded():
    rows = [{"problem": "malformed_json"}] * 2
    checked = _apply(rows, {"r1"})

    assert (checked.excluded, checked.rejects.num_rows) == (0, 2)
