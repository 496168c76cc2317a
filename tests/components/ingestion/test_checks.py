import bz2
import gzip

import pytest
import zstandard

from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import (
    LabelRules,
    PrepareConfig,
    SplitRules,
)
from reviewbeam.components.ingestion.checks import (
    check_columns,
    check_magic,
    mapped_columns,
)

HEADS = {
    "none": b'{"text": "x"}\n',
    "gzip": gzip.compress(b"x"),
    "bz2": bz2.compress(b"x"),
    "zstd": zstandard.compress(b"x"),
    "parquet": b"PAR1\x15\x04",
}


def test_mapped_columns_by_their_config_key():
    columns = {"text": "t", "id": "i", "label": "l", "language": "g", "keep": ["a"]}
    assert mapped_columns(CorpusConfig(columns={"text": "t"})) == {"columns.text": "t"}
    config = PrepareConfig(
        encoder="e",
        columns=columns,
        labels=LabelRules(type="binary", names=("no", "yes")),
        split={"group_by": "product", "time_column": "at", "test_days": 1},
    )

    assert mapped_columns(config) == {
        "columns.text": "t",
        "columns.id": "i",
        "columns.label": "l",
        "columns.language": "g",
        "split.group_by": "product",
        "split.time_column": "at",
        "columns.keep.a": "a",
    }
    config = config.model_copy(update={"split": SplitRules(column="part")})
    assert mapped_columns(config)["split.column"] == "part"
    assert "split.group_by" not in mapped_columns(config)


@pytest.mark.parametrize("found", HEADS)
@pytest.mark.parametrize("said", HEADS)
def test_a_file_is_what_its_name_says(said, found):
    file_format = "parquet" if said == "parquet" else "csv"
    compression = "none" if said == "parquet" else said
    if said == found:
        check_magic("f", HEADS[found], file_format, compression)
        return
    with pytest.raises(UserError) as error:
        check_magic("f", HEADS[found], file_format, compression)
    if said == "none":
        expected = f"f is a {found} file, though its name or format: says plain csv."
    else:
        expected = f"f is no {said} file, though its name or format: says so"
    assert expected in str(error.value)


def test_an_empty_file_is_no_compressed_one():
    check_magic("f", b"", "jsonl", "none")
    with pytest.raises(UserError, match="f is no gzip file.*it is empty"):
        check_magic("f", b"", "jsonl", "gzip")


def test_a_column_in_no_row_names_the_nearest():
    mapped = {"columns.text": "text", "columns.keep.prodct": "prodct"}
    check_columns("f", mapped, ["prodct", "text"], ["text", "prodct"])

    with pytest.raises(UserError) as error:
        check_columns("f", mapped, ["text"], ["text", "product"])
    assert str(error.value) == (
        "f has no column 'prodct', which columns.keep.prodct names (did you mean "
        "'product'?). Its columns: 'text', 'product'."
    )


@pytest.mark.parametrize(
    "header, told",
    [
        ("id;text", """by ';'? Set csv_delimiter: in the config, or --set 'csv_deli"""),
        ("id\ttext", r"""by '\t'? Set csv_delimiter: .* --set 'csv_delimiter="\t"'"""),
        ("id|text", """--set 'csv_delimiter="|"'"""),
    ],
)
def test_another_delimiter_is_told(header, told):
    with pytest.raises(UserError) as error:
        check_columns("a.csv", {"columns.text": "text"}, [], [header])
    for words in told.split(".*"):
        assert words in str(error.value)
    with pytest.raises(UserError) as error:
        check_columns("a.csv", {"columns.text": "text"}, [], ["id", "a;b"])
    assert "csv_delimiter" not in str(error.value)


def test_all_missing_columns_are_told_at_once():
    mapped = {"columns.text": "body", "columns.id": "number"}
    with pytest.raises(UserError) as error:
        check_columns("a.csv", mapped, [], ["text", "id"])
    assert str(error.value) == (
        "a.csv has no column 'body', which columns.text names, and no column 'number', "
        "which columns.id names. Its columns: 'text', 'id'."
    )
