import pytest

from reviewbeam.components.reporting.dataset_page import dataset_page
from tests.components.reporting.pages import FILE, dataset_facts
from tests.components.reporting.test_page import check


def test_a_good_dataset_says_so_first():
    seen = check(dataset_page(dataset_facts(rows=100)))
    assert "100 rows of 1 file (jsonl)" in seen
    assert "Good Published: 100 of 100 rows are examples." in seen
    assert "There was no baseline" in seen
    assert "The statistics hold against the schema." in seen
    assert seen.index("Published") < seen.index("What came in")


def test_figures_are_those_of_the_manifest():
    facts = dataset_facts(rows=100, languages=("en", "fr"))
    facts["inputs"].append(
        FILE
        | {
            "file": "b.csv", "format": "csv", "rows": 100, "duplicates": 30,
            "rejected": {"text_empty": 7, "label_unknown": 3},
            "left_out": {"excluded_id": 60}, "written": {},
        }
    )  # fmt: skip
    seen = check(dataset_page(facts, allowed_rejects=0.02))
    assert "200 rows of 2 files (csv, jsonl)" in seen
    assert "Rejected 5.0 % 10 rows, 2.0 % allowed" in seen
    assert "Duplicates 15.0 % 30 rows" in seen
    assert "rejected text_empty 7 3.5 %" in seen
    assert "left out excluded_id 60 30.0 %" in seen
    assert "b.csv csv 1.0 kB 100 0 10 30 60" in seen
    assert "train 100 2,000 64 2.0 % 50 50" in seen
    assert "en 50 50.0 % 50 fr 50 50.0 % 50" in seen
    assert "Copies of another row: 30." in seen


def test_a_stopped_dataset_says_why():
    facts = dataset_facts()
    for later in ("text", "anomalies", "drift", "fingerprint"):
        del facts[later]  # not known when the gate is met without examples
    seen = check(dataset_page(facts, problems=["12 of 72 rows are rejects"]))
    assert "Stopped The data gate stopped this dataset; nothing was published." in seen
    assert "12 of 72 rows are rejects" in seen
    assert "Good" not in seen and "report.json" in seen


def test_a_schema_has_no_splits():
    facts = dataset_facts() | {"splits": {}}
    seen = check(dataset_page(facts))
    assert (
        "Schema report" in seen and "The schema follows from 100 usable rows." in seen
    )
    assert "What came out" not in seen


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"anomalies": ["language: new value xx"]}, "language: new value xx"),
        (
            {"label_values": {"mapped": {"1": 5, "2": 0}, "unknown": {"9": 4}}},
            "Outside of the mapping: 4 labels. "
            "No review has these labels of the mapping: 2.",
        ),
    ],
)
def test_what_should_be_looked_at_is_said(changes, words):
    seen = check(dataset_page(dataset_facts() | changes))
    assert f"Look at this Published: 100 of 100 rows are examples. {words}" in seen


def test_drift_beyond_its_threshold_comes_first():
    drift = [
        {"feature": feature, "measure": "L_INFTY", "figure": figure, "threshold": 0.1,
         "value": value}
        for feature, figure, value in (("label", 0.02, None), ("language", 0.3, "fi"))
    ]  # fmt: skip
    seen = check(dataset_page(dataset_facts() | {"drift": drift}))
    assert (
        "language 0.300 0.100 too far, most of all fi l infty "
        "label 0.020 0.100 like the baseline l infty"
    ) in seen


def test_conflicts_show_texts_only_where_there_are_any():
    some = [{"file": "a", "row": 7, "labels": {"bad": 1, "good": 2}, "text": None}]
    facts = dataset_facts() | {"label_conflicts": {"texts": 30, "some": some}}
    seen = check(dataset_page(facts))
    assert "30 texts with copies that disagree on the label" in seen
    assert "a 7 1 × bad, 2 × good … and 29 more" in seen
    some[0]["text"] = "so so"
    assert "2 × good so so" in check(dataset_page(facts))


@pytest.mark.parametrize(
    "size",
    [
        {"rows": 0},
        {"rows": 0, "files": 0},
        {"labels": ("only",)},
        {"languages": [f"l{n:02}" for n in range(40)], "rows": 4000},
        {"labels": [f"label {n}" for n in range(300)], "rows": 30_000},
        {"rows": 1_000_000, "files": 5_000, "languages": ("en", "fr", "")},
    ],
    ids=["no row", "no file", "one label", "40 languages", "300 labels", "1 M rows"],
)
def test_any_size_is_a_page(size):
    text = dataset_page(dataset_facts(**size))
    check(text)
    assert len(text) < 200_000


def test_the_same_manifest_gives_the_same_page():
    assert dataset_page(dataset_facts()) == dataset_page(dataset_facts())
