"""The pages of datasets and scores, where people see them."""

import pytest

from reviewbeam.components.reporting.dataset_page import dataset_page
from reviewbeam.components.reporting.scores_page import scores_page
from tests.browser import chromium
from tests.components.reporting.pages import (
    dataset_facts,
    hostile_dataset,
    hostile_scores,
    scores_run,
)

pytestmark = pytest.mark.slow

LANGUAGES = [f"l{n:02}" for n in range(40)]
LABELS = [f"label {n}" for n in range(300)]
PAGES = {
    "dataset": (
        lambda: dataset_page(dataset_facts()),
        ("Published: 100 of 100 rows are examples.", "What came in", "en"),
    ),
    "stopped": (
        lambda: dataset_page(dataset_facts(), problems=["12 rows are rejects"]),
        ("The data gate stopped this dataset", "12 rows are rejects"),
    ),
    "empty dataset": (lambda: dataset_page(dataset_facts(rows=0)), ("0 of 0 rows",)),
    "large dataset": (
        lambda: dataset_page(
            dataset_facts(
                rows=1_000_000, files=5_000, languages=LANGUAGES, labels=LABELS
            )
        ),
        ("1,000,000", "l39", "label 39", "… and 4,980 more, in manifest.json"),
    ),
    "hostile dataset": (
        lambda: dataset_page(hostile_dataset()),
        ("<script>document.title='owned'</script>", "[U+202E]gnp.exe", "{{ 7 * 7 }}"),
    ),
    "scores": (
        lambda: scores_page(scores_run()),
        ("Published: 100 scores of 100 rows", "Rows/s 25", "these reviews"),
    ),
    "no scores": (
        lambda: scores_page(scores_run(rows=0, scored=[], statistics=None)),
        ("Nothing new",),
    ),
    "many scores": (
        lambda: scores_page(
            scores_run(rows=1_000_000, files=5_000, languages=LANGUAGES, labels=LABELS)
        ),
        ("1,000,000", "… and 4,980 more, in _manifest.json"),
    ),
    "hostile scores": (
        lambda: scores_page(hostile_scores()),
        ("<script>document.title='owned'</script>", "[U+202E]gnp.exe", "{{ 7 * 7 }}"),
    ),
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize(
    "bad",
    [
        "<script>document.title = 'owned'</script>",
        "<img src='x.png' alt=''>",
        "<img src='data:,' alt=''>",
        "<p style='width: 2000px'>wide</p>",
        "<p id='a'></p><p id='a'></p>",
        "<svg viewBox='0 0 1 1'></svg>",
    ],
)
def test_a_page_that_is_not_is_found_out(bad, browser, tmp_path):
    path = tmp_path / "report.html"
    page = dataset_page(dataset_facts(rows=0))
    path.write_text(page.replace("<footer>", f"{bad}<footer>"), encoding="utf-8")
    with pytest.raises(AssertionError):
        browser.open(path)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quiet_inert_and_fits(name, browser, tmp_path):
    make, texts = PAGES[name]
    path = tmp_path / "report.html"
    path.write_text(make(), encoding="utf-8")
    browser.open(path, *texts)
