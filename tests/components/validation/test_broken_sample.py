"""Each broken row of the sample corpus, from the file to its rule."""

from pathlib import Path

from reviewbeam.components.common.corpus_config import CorpusConfig, RecordRules
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.ingestion.files import find_files, slice_file
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.validation.rules import ReviewRules

PATH = Path(__file__).parents[2] / "testdata" / "sample" / "broken.jsonl"

# Line -> rule; testdata/sample/broken.md says what is wrong with each.
EXPECTED = {
    **dict.fromkeys([2, 3, 21, 22, 23, 24, 26, 27, 31, 32], "malformed_json"),
    **dict.fromkeys([4, 5, 6, 33], "not_an_object"),
    15: "lone_surrogates",
    **dict.fromkeys([14, 34], "invalid_utf8"),
    **dict.fromkeys([7, 8, 25], "text_empty"),
    **dict.fromkeys([9, 10, 28], "text_missing"),
    **dict.fromkeys([11, 12, 13, 30], "text_wrong_type"),
    **dict.fromkeys([17, 18], "label_missing"),
    19: "label_unknown",
    20: "label_wrong_type",
    29: "language_wrong_type",
}


def test_every_broken_row_has_its_rule():
    config = CorpusConfig(
        input=(str(PATH),),
        columns={"text": "text", "label": "label", "language": "language", "id": "id"},
    )
    (file,) = find_files(config)
    (piece,) = slice_file(file, config.slice_bytes)
    (batch,) = SliceReader(piece, config, 100).batches()
    labels = LabelRules(type="multiclass", names=("negative", "neutral", "positive"))
    checked = ReviewRules(RecordRules(), labels).apply(batch)

    found = zip(
        checked.rejects.column("row").to_pylist(),
        checked.rejects.column("rule").to_pylist(),
        strict=True,
    )
    assert dict(found) == EXPECTED
    assert checked.reviews.column("row").to_pylist() == [1, 16, 35]
