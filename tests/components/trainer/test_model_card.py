import pytest
import yaml
from markdown_it import MarkdownIt

from reviewbeam.components.trainer.model_card import model_card
from tests.components.trainer.classifiers import HASH, make_metadata

LABELS = {"type": "multiclass", "names": ("negative", "neutral", "positive")}
STATISTICS = {
    "train": {
        "examples": 330,
        "tokens": 9000,
        "labels": {"negative": 30, "neutral": 0, "positive": 300},
        "languages": {
            "de": {"negative": 10, "positive": 100},
            "en": {"negative": 20, "positive": 200},
            "": {"negative": 0},
        },
    },
    "validation": {"examples": 50, "tokens": 1000},
    "predictions": None,
}
METRICS = {"loss": 0.5, "accuracy": 0.81234, "macro_f1": 0.7, "error": None}
BY_LANGUAGE = {
    "en": {"rows": 40, "accuracy": 0.9, "macro_f1": 0.8},
    None: {"rows": 10, "accuracy": 0.4, "macro_f1": 0.3},
}


def make_card(labels=LABELS, model=None, **changes):
    names = labels["names"]
    metadata = make_metadata(
        "/home/somebody/encoder",
        labels,
        model,
        text={"max_tokens": 64, "unicode": changes.pop("unicode", "none")},
        training_statistics=changes.pop("statistics", STATISTICS),
        class_weights=(1.0,) * len(names),
        calibration=changes.pop("calibration", {}),
        config={
            "encoder": "/home/somebody/encoder",
            "model": model or {},
            "training": changes.pop("training", {}),
        },
    )
    given = {
        "history": {"validation": METRICS},
        "by_language": BY_LANGUAGE,
        "hf_obstacle": "It pools by mean.",
        "hf_compared": False,
    }
    history = changes.pop("history", given.pop("history"))
    return model_card(metadata, history, **(given | changes))


def parts(card):
    """(the header's data, the HTML of the rest)."""
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), MarkdownIt().enable("table").render(body)


def test_the_header_is_what_the_hub_reads():
    header, _ = parts(make_card())
    assert list(header) == [
        "language",
        "library_name",
        "pipeline_tag",
        "tags",
        "model-index",
    ]
    assert header["language"] == ["de", "en"]
    assert header["pipeline_tag"] == "text-classification"
    (index,) = header["model-index"]
    overall, english = index["results"]
    assert "config" not in overall["dataset"] and english["dataset"]["config"] == "en"
    assert overall["metrics"] == [
        {"type": "accuracy", "name": "accuracy", "value": 0.81234},
        {"type": "f1", "name": "macro F1", "value": 0.7},
        {"type": "loss", "name": "loss", "value": 0.5},
    ]


def test_the_card_tells_data_metrics_and_limits():
    calibration = {
        "rows": 50,
        "temperature": 1.25,
        "thresholds": [0.5, 0.5, 1],
        "languages": {
            "en": {"rows": 40, "temperature": 2, "thresholds": [0.25, 0.5, 0.75]}
        },
    }
    card = make_card(LABELS | {"type": "multilabel"}, calibration=calibration)
    for line in (
        "| train | 330 | 9000 |",
        "| all | 30 | 0 | 300 |",
        "| de | 10 | 0 | 100 |",
        "| not known | 0 | 0 | 0 |",
        "| all |  | 0.8123 | 0.7 | 0.5 |",
        "| en | 40 | 0.9 | 0.8 |  |",
        "| not known | 10 | 0.4 | 0.3 |  |",
        "| all | 50 | 1.25 | 0.500, 0.500, 1.000 |",
        "| en | 40 | 2 | 0.250, 0.500, 0.750 |",
        f"| dataset | {HASH} |",
        "- It has learned from texts in de, en; how well it does in any other was not "
        "measured.",
        "- It reads at most 64 tokens; of a longer text the first are read.",
        "- It has seen no training example of neutral.",
    ):
        assert f"\n{line}\n" in card, line
    assert "fewer than 100 training examples of negative:" in card
    assert "transformers: There is none. It pools by mean." in card
    assert "no objects of ours or of the user's own" in card
    assert "somebody" not in card  # a path of the machine that trained


def test_a_model_without_validation_says_so():
    card = make_card(history={"validation": None}, by_language={})
    header, _ = parts(card)
    assert "model-index" not in header
    assert "There was no validation split: nothing was measured." in card
    assert "Not fitted, for want of rows; the files here" in card


@pytest.mark.parametrize(
    ("compared", "text"),
    [(True, "PyTorch gave the same"), (False, "It was not compared")],
)
def test_the_card_says_what_the_hugging_face_directory_lacks(compared, text):
    card = make_card(hf_obstacle=None, hf_compared=compared)
    assert text in card
    assert "Neither calibration nor thresholds are in it" in card
    assert "1.6 % of real reviews" in card
    assert "cuts a long text at its end.\n" in card
    card = make_card(hf_obstacle=None, unicode="NFKC")
    assert "cuts a long text at its end, without NFKC.\n" in card


@pytest.mark.parametrize("metric", ["macro_f1", "none"])
def test_the_card_says_whether_validation_chose_the_epoch(metric):
    card = make_card(training={"early_stopping_metric": metric})
    chose = "The epoch was chosen by these rows; " if metric != "none" else ""
    told = f"Before calibration. {chose}`reviewbeam evaluate` measures on the test"
    assert told in card


def test_the_card_names_what_must_be_imported():
    card = make_card(model={"pooling": "shop.layers:Pool"})
    assert "\nimport keras_hub\nimport shop.layers\n" in card
    assert "these modules register with Keras: shop.layers\\:Pool." in card


HOSTILE = (
    "a | b\n---\n# c",
    '<script>alert("1")</script>',
    "[x](javascript:1) ![y](http://z) `code` *b* _i_ ~~s~~ {{ 7*7 }}",
)


def test_hostile_names_break_nothing():
    statistics = {
        "train": {
            "examples": 9,
            "tokens": 9,
            "labels": dict.fromkeys(HOSTILE, 3),
            "languages": {name: dict.fromkeys(HOSTILE, 1) for name in HOSTILE},
        }
    }
    card = make_card(
        {"type": "multiclass", "names": HOSTILE},
        statistics=statistics,
        by_language={name: {"rows": 1, "accuracy": 1.0} for name in HOSTILE},
        calibration={"languages": {name: {} for name in HOSTILE}},
    )
    header, body = parts(card)
    assert header["language"] == []
    assert len(header["model-index"][0]["results"]) == 1  # names of theirs stay out
    for tag in ("<script", "<a ", "<img", "<em", "<strong", "<s>"):
        assert tag not in body
    assert body.count("<h1>") == 1
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in body
    assert "a | b --- # c" in body


def test_tables_have_heads_and_texts_are_cut_as_the_model_says():
    _, body = parts(make_card())
    for heads in (["split", "examples", "tokens"], ["package", "version"]):
        assert "\n".join(f"<th>{head}</th>" for head in heads) in body
    assert "keeps its head and its tail" not in body
