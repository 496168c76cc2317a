import datetime
import json

import pyarrow as pa
import pytest

from reviewbeam.components.common.columns import review_schema
from tests.components.ingestion.mapped import (
    corpus_config,
    map_csv,
    map_json,
    map_parquet,
    prepare_config,
)


def _json(record, **columns):
    return map_json(json.dumps(record), **columns)


def test_a_batch_has_the_schema_of_reviews():
    batch = map_json('{"text": "a", "x": 1}', keep=("x", "y")).batch

    assert batch.schema == review_schema(("x", "y"))
    assert batch.to_pylist() == [
        {
            **{"file": "f", "slice": 0, "row": 1, "byte_offset": 0},
            **{"raw": b'{"text": "a", "x": 1}', "problem": None, "repairs": None},
            **{"text": "a", "id": None, "label": None, "language": None},
            **{"group": None, "time": None, "given_split": None},
            **{"keep.x": "1", "keep.y": None},
        }
    ]


def test_dots_reach_into_nested_values():
    nested = {"review": {"body": {"text": "a"}}, "review.stars": 4, "lang": None}
    columns = {"text": "review.body.text", "label": "review.stars", "id": "review.id"}

    assert _json(nested, **columns).values == [["a", None, "4", None, None]]
    for other in ({"review": "flat"}, {"review": {"body": ["text"]}}, {}):
        assert _json(other, **columns).values[0][0] is None


@pytest.mark.parametrize(
    ("field", "value", "problem", "mended"),
    [
        ("text", 7, "text_wrong_type", "7"),
        ("text", 1.5, "text_wrong_type", "1.5"),
        ("text", True, "text_wrong_type", None),
        ("text", ["a"], "text_wrong_type", None),
        ("text", {"body": "a"}, "text_wrong_type", None),
        ("id", ["a"], "id_wrong_type", None),
        ("id", {}, "id_wrong_type", None),
        ("lang", 7, "language_wrong_type", None),
        ("lang", ["de"], "language_wrong_type", None),
    ],
)
def test_a_wrong_type_is_a_reject_or_mended(field, value, problem, mended):
    record = {"text": "a", "id": "b", "stars": 5, "lang": "de", field: value}
    place = ["text", "id", "stars", "lang"].index(field)

    mapped = _json(record)
    assert (mapped.problems, mapped.repairs) == ([problem], [None])
    mapped = _json(record, config=corpus_config({problem: "repair"}))
    assert (mapped.problems, mapped.repairs) == ([None], [problem])
    assert mapped.values[0][place] == mended


@pytest.mark.parametrize("value", [[5], {"value": 5}])
def test_a_label_of_the_wrong_type_is_a_reject(value):
    mapped = _json({"text": "a", "stars": value})

    assert mapped.problems == ["label_wrong_type"]
    assert mapped.column("label") == [None]


def test_the_first_of_several_problems_counts():
    wrong = {"text": 7, "id": [], "lang": 8}
    assert _json(wrong).problems == ["text_wrong_type"]

    config = corpus_config({"text_wrong_type": "repair"})
    mapped = _json(wrong, config=config)
    assert mapped.problems == ["id_wrong_type"]
    assert mapped.repairs == ["text_wrong_type"]


def test_all_that_was_mended_is_named():
    names = ("text_wrong_type", "id_wrong_type", "language_wrong_type")
    config = corpus_config(dict.fromkeys(("lone_surrogates", *names), "repair"))
    mapped = map_json(
        b'{"text": 7, "id": [], "lang": 8}\n{"text": "a"}\n{"text": 8, "x": "\\ud83d"}',
        config,
    )

    assert mapped.problems == [None] * 3
    assert mapped.repairs == [
        "text_wrong_type,id_wrong_type,language_wrong_type",
        None,
        "lone_surrogates,text_wrong_type",
    ]


def test_a_line_that_cannot_be_read_has_its_own_problem_only():
    mapped = map_json(b'oops\n{"text": 7}\n')

    assert mapped.problems == ["malformed_json", "text_wrong_type"]


def test_equal_values_of_different_types_are_told_apart():
    stars = b"1 true 1.0 1.5 0 false -0.0".split()
    mapped = map_json(b"\n".join(b'{"stars": %s}' % value for value in stars * 2))

    assert mapped.column("label") == ["1", "true", "1", "1.5", "0", "false", "0"] * 2


def test_ids_as_text():
    mapped = map_json(b'{"id": 12}\n{"id": "012"}\n{"id": 1.5}\n{"id": null}\n')

    assert mapped.column("id") == ["12", "012", "1.5", None]


def test_group_by_reads_its_column():
    config = prepare_config(split={"group_by": "shop.id"})
    mapped = map_json(b'{"shop": {"id": 7}}\n{"shop": {"id": [7]}}\n{}\n', config)

    assert mapped.column("group") == ["7", None, None]
    assert mapped.problems == [None, "group_wrong_type", None]
    assert mapped.mapper.present == {"shop.id"}
    assert mapped.mapper.wanted == {"text", "id", "stars", "lang", "shop.id"}


def test_a_time_column_is_read_as_utc():
    config = prepare_config(split={"time_column": "at", "test_days": 1})
    mapped = map_json(
        b'{"at": "2024-05-01T09:30:00+02:00"}\n{"at": 1714556400}\n'
        b'{"at": "soon"}\n{}\n',
        config,
    )

    assert mapped.column("time") == [
        *("2024-05-01T07:30:00", "2024-05-01T09:40:00", None, None)
    ]
    assert mapped.problems == [None, None, "time_invalid", None]
    assert mapped.column("given_split") == [None] * 4


def test_times_of_csv_and_parquet():
    config = prepare_config(split={"time_column": "at", "test_days": 1})
    content = "text,at\na,2024-05-01\nb,1714556400000\nc,\n"
    assert map_csv(content, config=config).column("time") == [
        *("2024-05-01T00:00:00", "2024-05-01T09:40:00", None)
    ]

    zone = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=zone)
    for array, expected in (
        (pa.array([moment], pa.timestamp("ms", tz="Europe/Berlin")), "T07:30:00"),
        (pa.array([1714556400000000001], pa.timestamp("ns")), "T09:40:00"),
        (pa.array([moment.date()]), "T00:00:00"),
    ):
        mapped = map_parquet(pa.table({"text": ["a"], "at": array}), config=config)
        assert mapped.column("time") == ["2024-05-01" + expected]
        assert mapped.problems == [None]


def test_a_given_split_is_read_as_it_is():
    config = prepare_config(split={"column": "part"})
    mapped = map_json(
        b'{"part": " dev"}\n{"part": 3}\n{"part": ["a"]}\n{"part": null}\n', config
    )

    assert mapped.column("given_split") == [" dev", "3", None, None]
    assert mapped.problems == [None, None, "split_wrong_type", None]
    assert mapped.column("time") == [None] * 4


def test_labels_of_a_multilabel_corpus():
    labels = {"type": "multilabel", "names": ("a", "b"), "delimiter": "|"}
    content = (
        b'{"stars": ["b", "a"]}\n{"stars": "a| b |"}\n{"stars": []}\n'
        b'{"stars": [["a"]]}\n{"stars": ""}\n{"stars": null}\n{"stars": 7}\n'
    )
    mapped = map_json(content, prepare_config(labels=labels))

    assert mapped.column("label") == [
        *("\x1fb\x1fa", "\x1fa\x1fb", "", None, "", None, "\x1f7")
    ]
    assert mapped.problems == [None] * 3 + ["label_wrong_type"] + [None] * 3


def test_kept_values_are_text_or_json():
    record = {
        "a": "as it is ",
        "b": 5.0,
        "c": {"k": [1, None, "é"]},
        "d": True,
        "e": None,
        "f": "",
    }

    assert _json(record, keep=tuple("abcdefg")).values[0][5:] == [
        *("as it is ", "5.0", '{"k":[1,null,"é"]}', "true", None, "", None)
    ]


def test_a_kept_value_nested_too_deeply_is_one_reject():
    lines = [b'{"x": %s1%s}' % (b"[" * n, b"]" * n) for n in (100, 1000)]
    mapped = map_json(b"\n".join(lines), keep=("x",))

    assert mapped.problems == [None, "unreadable_value"]
    assert mapped.column("keep.x") == ["[" * 100 + "1" + "]" * 100, None]


def test_one_column_may_have_two_uses():
    mapped = _json({"text": 7, "id": [1]}, keep=("text", "id"))

    assert mapped.problems == ["text_wrong_type"]
    assert mapped.values[0] == ["7", None, None, None, None, "7", "[1]"]


def test_notes_the_columns_it_met():
    content = b'oops\n{"text": "a", "q": 1}\n{"lang": null, "z": 2}\n'
    mapper = map_json(content, keep=("extra",)).mapper

    assert mapper.known == ["text", "q"]  # of the first record
    assert mapper.present == {"text", "lang"}
