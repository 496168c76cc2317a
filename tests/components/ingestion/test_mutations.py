"""Thousands of broken records: each is a review or a reject, and none is lost."""

import bz2
import csv
import datetime
import decimal
import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from reviewbeam.components.common.columns import review_schema
from reviewbeam.components.common.corpus_config import RuleActions
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.ingestion.files import find_files, slice_file
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.validation.rules import ReviewRules

BOM = b"\xef\xbb\xbf"
PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
}
COLUMNS = {
    "text": "text",
    "id": "id",
    "label": "stars",
    "language": "lang",
    "keep": ("n", "shop", "shop.name", "none"),
}
NAMES = ("text", "id", "stars", "lang", "n", "shop", "at", "part")
KINDS = {
    "multiclass": {"type": "multiclass", "names": ("1", "2", "5")},
    "multilabel": {"type": "multilabel", "names": ("1", "2", "5"), "delimiter": "|"},
}
ACTIONS = {
    "reject": RuleActions(
        **{
            name: "reject"
            for name in RuleActions.model_fields
            if name not in ("language_missing", "id_missing")
        }
    ),
    "repair": RuleActions(
        text_wrong_type="repair",
        text_too_short="allow",
        text_too_long="repair",
        invalid_utf8="repair",
        lone_surrogates="repair",
        not_nfc="repair",
        language_wrong_type="repair",
        id_wrong_type="repair",
    ),
}
STRINGS = (
    "gut",
    "",
    " \t\n ",
    "größer 👍🏽 दुरुस्त 日本語",
    "e\u0301" * 3,
    "\x00",
    "a\x00b\x01\x1b[0m\x7f\x85",
    "\ufeff\u200b\u2028\u2029\ufffe",
    'say "hi", she\nsaid\r\n',
    "null",
    "NaN",
    "1e999",
    "\x1f1\x1f2",
    "1|2|5",
    "2024-05-01T09:30:00+02:00",
    "0001-01-01T00:00:00+14:00",
    "-1",
    "x" * 3000,
    "\U0010ffff",
)
NUMBERS = (
    *(0, 1, 5, -1, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40, 1714556400000),
    *(0.5, 5.0, 1e308, -0.0, 1e-320),
)


def _config(folder, kind="multiclass", actions="reject", time=False, **changes):
    split = ({"time_column": "at", "test_days": 3} if time else {"column": "part"}) | {
        "group_by": "shop.name"
    }
    return PrepareConfig(
        encoder="none",
        input=(f"{folder}/*",),
        columns=COLUMNS,
        labels=KINDS[kind],
        rules={"actions": ACTIONS[actions], "languages": ("de", "fr")},
        split=split,
        on_damaged_file="salvage",
        **changes,
    )


def _fates(path, config, slice_bytes=5000, batch_rows=100):
    """Reads a corpus of one file; returns (rows, reviews, rejects by rule).

    Every row is a review, a reject or excluded, and the summaries agree.
    """
    (file,) = find_files(config.model_copy(update={"input": (str(path),)}))
    rules = ReviewRules(
        config.rules,
        config.labels,
        config.split,
        excluded_ids=frozenset({"1", "gut"}),
    )
    count = reviews = excluded = 0
    rejects: dict[str, int] = {}
    for piece in slice_file(file, slice_bytes):
        reader = SliceReader(piece, config, batch_rows)
        rows = 0
        for batch in reader.batches():
            assert batch.schema == review_schema(config.columns.keep)
            assert 0 < batch.num_rows <= batch_rows
            batch.validate(full=True)
            checked = rules.apply(batch)
            checked.reviews.validate(full=True)
            checked.rejects.validate(full=True)
            rejected = checked.rejected()
            assert (
                checked.reviews.num_rows + sum(rejected.values()) + checked.excluded
                == batch.num_rows
            )
            rows += batch.num_rows
            reviews += checked.reviews.num_rows
            excluded += checked.excluded
            for rule, broken in rejected.items():
                rejects[rule] = rejects.get(rule, 0) + broken
        assert reader.summary.rows == rows
        count += rows
    return count, reviews, rejects


# === Values ===


def _value(rng, depth=0):
    """Any JSON value."""
    kind = rng.randrange(10 if depth < 3 else 8)
    if kind < 4:
        return rng.choice(STRINGS)
    if kind < 6:
        return rng.choice(NUMBERS)
    if kind < 8:
        return rng.choice((None, True, False))
    items = [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return items
    return {rng.choice(("name", "id", "", "a.b", "\x00")): item for item in items}


def _record(rng):
    """A sound record, but for some of its values now and then."""
    number = rng.randrange(10**6)
    record = {
        "text": f"review {number} größer",
        "id": f"r{number}",
        "stars": rng.choice([1, 2, 5]),
        "lang": rng.choice(["de", "fr"]),
        "n": number,
        "shop": {"name": f"s{number % 7}"},
        "at": rng.choice(["2024-05-01T09:30:00Z", 1714556400, 1714556400000]),
        "part": rng.choice(["train", "test"]),
    }
    while rng.random() < 0.4:
        name = rng.choice(NAMES)
        if rng.random() < 0.2:
            record.pop(name, None)
        else:
            record[name] = _value(rng)
    return record


# === JSON Lines ===


def _anywhere(rng, line, what):
    place = rng.randrange(len(line) + 1)
    return line[:place] + what + line[place:]


def _with_member(line, member):
    """A member more, such as Python's json would not write."""
    return line[:-1] + b', "text": ' + member + b"}" if line.endswith(b"}") else line


JSON_FAULTS = (
    lambda rng, line: _anywhere(rng, line, rng.choice([b"\xff", b"\xf0\x9f", b"\xc0"])),
    lambda rng, line: _anywhere(rng, line, rng.choice([b"\0", b"\x01", b"\x7f"])),
    lambda rng, line: _anywhere(
        rng, line, rng.choice([b"\r", b"\n", b"\r\n", b"\n\r"])
    ),
    lambda rng, line: _anywhere(rng, line, BOM),
    lambda rng, line: _anywhere(rng, line, rng.choice([b'"', b"\\", b"{", b"]", b","])),
    lambda rng, line: line[: rng.randrange(len(line) + 1)],
    lambda rng, line: line[rng.randrange(len(line) + 1) :],
    lambda rng, line: BOM + line,
    lambda rng, line: line + rng.choice([b"", b" ", b","]) + line,
    lambda rng, line: line + b",",
    lambda rng, line: line.replace(b", ", b",\n"),
    lambda rng, line: line[:-1] + b",}",
    lambda rng, line: line.replace(b'"', b"'"),
    lambda rng, line: line.decode("utf-8", "replace").encode("utf-16"),
    lambda rng, line: line.decode("utf-8", "replace").encode("utf-16-le"),
    lambda rng, line: line.decode("utf-8", "replace").encode("latin-1", "replace"),
    lambda rng, line: _with_member(line, rng.choice([b"NaN", b"-Infinity", b"1e999"])),
    lambda rng, line: _with_member(line, rng.choice([b"9" * 30, b"9" * 5000, b"01"])),
    lambda rng, line: _with_member(line, rb'"\ud83d \udc00 \ud83d\ude00"'),
    lambda rng, line: _with_member(line, rb'"\u0000 \u001f \uffff"'),
    lambda rng, line: _with_member(line, b'"twice"'),
    lambda rng, line: line[:-1] + rb', "\udead": 1, "n": ["\ud800"]}',
    lambda rng, line: line[:-1] + b', "' + b"k" * 9000 + b'": 1}',
    lambda rng, line: line[:-1] + b', "n": ' + _nested(rng) + b"}",
    lambda rng, line: _nested(rng),
    lambda rng, line: rng.choice([b"null", b"7", b'"a"', b"[1]", b"true", b"{}"]),
    lambda rng, line: rng.choice([b"", b" ", b"\r", b"\t\x0b\x0c", BOM, b"\0"]),
    lambda rng, line: rng.randbytes(rng.randrange(40)),
)


def _nested(rng):
    depth = rng.choice([3, 200, 253, 254, 255, 256, 500, 1000, 1023, 1025, 20_000])
    opened, closed = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return opened * depth + b"1" + closed * depth


def _json_lines(rng, count):
    lines = []
    for _ in range(count):
        line = json.dumps(_record(rng), ensure_ascii=rng.random() < 0.3).encode(
            errors="surrogatepass"
        )
        while rng.random() < 0.4:
            line = rng.choice(JSON_FAULTS)(rng, line)
        lines.append(line)
        lines.append(rng.choice([b"\n"] * 12 + [b"\r\n", b"\n\r", b"\n\n", b"\r"]))
    return b"".join(lines)


def _lines_with_content(content):
    return sum(bool(line.strip()) for line in content.removeprefix(BOM).split(b"\n"))


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("actions", ACTIONS)
def test_every_json_line_is_a_review_or_a_reject(tmp_path, ending, actions):
    rng = random.Random(f"jsonl {ending} {actions}")
    met = set()
    for turn in range(4):
        content = _json_lines(rng, 250)
        path = tmp_path / f"{turn}.jsonl{ending}"
        path.write_bytes(PACKERS[ending](content))
        kind = rng.choice(list(KINDS))
        config = _config(tmp_path, kind, actions, time=turn % 2 == 0)

        rows, reviews, rejects = _fates(path, config)
        assert rows == _lines_with_content(content)
        assert reviews > 40
        met.update(rejects)
    assert {"malformed_json", "not_an_object"} <= met
    assert {"invalid_utf8", "lone_surrogates"} & met == (
        {"invalid_utf8", "lone_surrogates"} if actions == "reject" else set()
    )
    assert "damaged_file" not in met


# === CSV ===

CSV_FAULTS = (
    lambda rng, line: _anywhere(rng, line, b'"'),
    lambda rng, line: _anywhere(rng, line, b'""'),
    lambda rng, line: _anywhere(
        rng, line, rng.choice([b"\r", b"\n", b"\r\n", b"\n\r"])
    ),
    lambda rng, line: _anywhere(rng, line, rng.choice([b"\0", b"\x01", b"\xff", BOM])),
    lambda rng, line: _anywhere(rng, line, rng.choice([b",", b"\t", b";"])),
    lambda rng, line: line.rstrip(b"\r\n"),
    lambda rng, line: line.decode("utf-8", "replace").encode("utf-16"),
    lambda rng, line: rng.choice(
        [b"\n", b"\r\n", b"\r", b" \n", b",,\n", b'"\n', b'""\n']
    ),
    lambda rng, line: rng.randbytes(rng.randrange(40)),
)


def _csv_lines(rng, count, delimiter):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(NAMES)
    lines = [sink.getvalue().encode()]
    for _ in range(count):
        sink = io.StringIO()
        writer = csv.writer(
            sink,
            delimiter=delimiter,
            lineterminator=rng.choice(["\n", "\r\n"]),
            quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        )
        record = _record(rng)
        writer.writerow([record.get(name) for name in NAMES])
        line = sink.getvalue().encode()
        while rng.random() < 0.3:
            line = rng.choice(CSV_FAULTS)(rng, line)
        lines.append(line)
    return b"".join(lines)


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_every_csv_record_is_a_review_or_a_reject(tmp_path, ending, name):
    rng = random.Random(f"{name} {ending}")
    for turn in range(4):
        content = _csv_lines(rng, 250, "\t" if name == "tsv" else ",")
        path = tmp_path / f"{turn}.{name}{ending}"
        path.write_bytes(PACKERS[ending](content))
        actions = rng.choice(list(ACTIONS))
        config = _config(tmp_path, rng.choice(list(KINDS)), actions, time=turn == 0)

        rows, reviews, rejects = _fates(path, config)
        assert reviews > 10
        assert {"malformed_csv", "wrong_field_count"} <= set(rejects)
        assert "damaged_file" not in rejects
        _check_no_line_is_lost(path, config, content)


def _check_no_line_is_lost(path, config, content):
    """The records' bytes are the file's, in order, but for blank lines."""
    (file,) = find_files(config.model_copy(update={"input": (str(path),)}))
    (piece,) = slice_file(file, 10**9)
    end = content.index(b"\n") + 1
    for batch in SliceReader(piece, config, 100).batches():
        for offset, raw in zip(
            batch.column("byte_offset").to_pylist(),
            batch.column("raw").to_pylist(),
            strict=True,
        ):
            assert offset >= end and not content[end:offset].strip()
            assert content[offset : offset + len(raw)] == raw
            end = offset + len(raw) + 1
    assert not content[end:].strip()


# === Parquet ===


def _strings_of_any_bytes(rng, rows):
    parts = [rng.choice([b"gut", b"\xff", b"\xed\xa0\x80", b""]) for _ in range(rows)]
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    starts = pa.array(offsets, pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(rows, starts, pa.py_buffer(b"".join(parts)))


def _array(kind, pick):
    def make(rng, rows):
        values = [None if rng.random() < 0.2 else pick(rng) for _ in range(rows)]
        return pa.array(values, kind)

    return make


def _choice(*values):
    return lambda rng: rng.choice(values)


WIDE = 2**62
ANY_STRING = _choice(*STRINGS)
MOMENTS = _choice(0, 1714556400, WIDE, -WIDE, 253402300800, 253402300800000000)
PARQUET_COLUMNS = (
    _strings_of_any_bytes,
    lambda rng, rows: pa.nulls(rows),
    _array(pa.string(), ANY_STRING),
    _array(pa.large_string(), ANY_STRING),
    lambda rng, rows: _array(pa.string(), ANY_STRING)(rng, rows).dictionary_encode(),
    lambda rng, rows: _array(pa.int32(), _choice(1, 5))(rng, rows).dictionary_encode(),
    _array(pa.binary(), _choice(b"gut", b"\xff", b"")),
    _array(pa.large_binary(), _choice(b"gut", b"\xff", b"")),
    _array(pa.binary(2), _choice(b"ab", b"\xff\x00")),
    _array(pa.bool_(), _choice(True, False)),
    _array(pa.int8(), _choice(1, 2, 5)),
    _array(pa.uint64(), _choice(1, 2**64 - 1)),
    _array(pa.int64(), _choice(1, -(2**63), 1714556400000)),
    _array(pa.float32(), _choice(1.0, 2.5, float("nan"))),
    _array(
        pa.float64(), _choice(5.0, float("inf"), float("-inf"), float("nan"), 1e300)
    ),
    _array(pa.decimal128(20, 2), _choice(decimal.Decimal("5.00"))),
    _array(pa.decimal256(60, 0), _choice(decimal.Decimal(10**50))),
    _array(pa.date32(), _choice(0, 2**31 - 1, -(2**31))),
    _array(pa.date64(), _choice(0, 86400000)),
    _array(pa.timestamp("s"), _choice(0, 1714556400, 253402300800)),
    _array(pa.timestamp("ms"), _choice(0, WIDE // 1000, -WIDE // 1000)),
    _array(pa.timestamp("us"), MOMENTS),
    _array(pa.timestamp("ns"), MOMENTS),
    _array(pa.timestamp("us", tz="Europe/Berlin"), MOMENTS),
    _array(pa.timestamp("us", tz="+02:00"), MOMENTS),
    _array(pa.timestamp("us", tz="Mars/Olympus"), MOMENTS),
    _array(pa.time32("ms"), _choice(0, 86399999)),
    _array(pa.time64("ns"), _choice(0, 1)),
    _array(pa.duration("us"), _choice(0, WIDE, 1)),
    _array(pa.list_(pa.string()), _choice([], ["1", "5"], [None], ["\x1f"])),
    _array(pa.list_(pa.float64()), _choice([], [1.0], [float("nan")])),
    _array(pa.list_(pa.list_(pa.int64())), _choice([[1], []], [None])),
    _array(pa.map_(pa.string(), pa.int64()), _choice([("a", 1)], [])),
    _array(pa.map_(pa.int64(), pa.string()), _choice([(1, "a"), (1, "b")])),
    _array(
        pa.struct(
            [
                ("name", pa.string()),
                ("at", pa.timestamp("us")),
                ("raw", pa.binary()),
                ("price", pa.decimal128(9, 2)),
            ]
        ),
        lambda rng: {
            "name": rng.choice(STRINGS),
            "at": rng.choice([0, WIDE, None]),
            "raw": rng.choice([b"\xff", None]),
            "price": decimal.Decimal("1.50"),
        },
    ),
    _array(
        pa.struct([("name", pa.struct([("deep", pa.list_(pa.date32()))]))]),
        lambda rng: {"name": {"deep": [datetime.date(2024, 5, 1)]}},
    ),
)
SOUND = {
    "text": _array(pa.string(), lambda rng: f"review {rng.random()}"),
    "id": _array(pa.string(), lambda rng: f"r{rng.random()}"),
    "stars": _array(pa.float64(), _choice(1.0, 2.0, 5.0)),
    "lang": _array(pa.string(), _choice("de", "fr")),
    "n": _array(pa.int64(), _choice(7)),
    "shop": _array(pa.struct([("name", pa.string())]), _choice({"name": "s"})),
    "at": _array(pa.timestamp("us", tz="UTC"), _choice(1714556400000000)),
    "part": _array(pa.string(), _choice("train", "test")),
}


def _parquet_file(rng, path):
    """Writes a table of odd columns in odd row groups; returns how many rows it has."""
    rows = rng.choice([0, 1, 2, 50, 300])
    share = rng.choice([0.1, 0.5])
    columns = {}
    for name, sound in SOUND.items():
        make = rng.choice(PARQUET_COLUMNS) if rng.random() < share else sound
        columns[name] = make(rng, rows)
    if rng.random() < 0.2:
        del columns[rng.choice(NAMES)]
    table = pa.table(columns)
    written = 0
    with pq.ParquetWriter(
        path,
        table.schema,
        version="2.6",  # has nanoseconds
        compression=rng.choice(["none", "snappy", "gzip", "zstd"]),
        use_dictionary=rng.random() < 0.5,
    ) as writer:
        for _ in range(rng.choice([0, 1, 1, 3])):
            part = table.slice(0, rng.choice([0, rows, rows]))
            writer.write_table(part, row_group_size=rng.choice([7, 1000]))
            written += part.num_rows
    return written


def test_every_parquet_record_is_a_review_or_a_reject(tmp_path):
    rng = random.Random("parquet")
    total = 0
    for turn in range(90):
        path = tmp_path / f"{turn}.parquet"
        rows = _parquet_file(rng, path)
        config = _config(
            tmp_path,
            rng.choice(list(KINDS)),
            rng.choice(list(ACTIONS)),
            time=turn % 2 == 0,
        )

        found, _, rejects = _fates(path, config, slice_bytes=3000)
        assert (found, "damaged_file" in rejects) == (rows, False)
        total += rows
    assert total > 4000


# === Giants ===

GOOD = (
    b'{"text": "gut", "id": "r", "stars": 1, "lang": "de", "n": 1, '
    b'"shop": {"name": "s"}, "at": 0, "part": "test"}\n'
)


@pytest.mark.parametrize(
    ("name", "content", "fates"),
    [
        ("a.jsonl", b"[" * 20_000_000, {"record_too_long": 1}),
        ("a.jsonl", b'{"text": "%s"}' % (b"x" * 10**7), {"text_too_long": 1}),
        ("a.jsonl", b"[" * 100_000 + b"\n" + b'{"a":' * 100_000, {"malformed_json": 2}),
        ("a.jsonl", b"\n" * 300_000, {}),
        (
            "a.jsonl.gz",
            gzip.compress(bytes(50_000_000), 1, mtime=0),
            {"record_too_long": 1},
        ),
        ("a.jsonl.zst", zstandard.compress(b"\n" * 300_000), {}),
        ("a.csv", b"text\n" + b"x" * 20_000_000, {"malformed_csv": 1}),
        ("a.csv", b"text\n" + b"\n" * 300_000, {}),
        ("a.csv", b"text\n" + b'"a\n' * 2000, {"malformed_csv": 2000}),
    ],
    ids=[
        *("a line of 20 MB", "a text of 10 MB", "nesting", "blank lines"),
        *("gzip of zeros", "zstd of blank lines"),
        *("a CSV line of 20 MB", "blank CSV lines", "open quotes"),
    ],
)
def test_giants_cost_one_reject_each(tmp_path, name, content, fates):
    packers = {".gz": gzip.compress, ".zst": zstandard.compress}
    pack = packers.get("." + name.rsplit(".", 1)[1], bytes)
    (tmp_path / name).write_bytes(content + pack(b"\n" + GOOD * name.count("json")))

    rows, reviews, rejects = _fates(tmp_path / name, _config(tmp_path), 10**9)
    assert rejects == fates
    assert reviews == name.count("json")
    assert rows == reviews + sum(fates.values())
