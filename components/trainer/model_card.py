"""The model card: a README.md that says what a model is, measured and made of.

It holds no text of a review. Names that come from a user's data or config are
escaped: they can neither break the header's YAML nor become Markdown or HTML.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from reviewbeam.components.common.model_directory import (
    HUGGING_FACE,
    KERAS_FILE,
    SAVED_MODEL,
    ModelMetadata,
)
from reviewbeam.components.common.train_config import is_custom
from reviewbeam.components.trainer.card_header import (
    METRICS,
    header,
    in_order,
    model_name,
)
from reviewbeam.components.trainer.markdown import escape, names_text, table

_FEW = 100  # training examples of a label


def model_card(
    metadata: ModelMetadata,
    history: Mapping[str, Any],
    *,
    by_language: Mapping[str | None, Mapping[str, Any]],
    hf_obstacle: str | None,
    hf_compared: bool,
) -> str:
    """Writes the card as Markdown with the metadata header of the Hugging Face hub.

    Args:
      metadata: of the model.
      history: what history.json holds; of it `validation`, metrics or None.
      by_language: language -> metrics on validation; empty: there are none.
      hf_obstacle: why there is no Hugging Face directory; None: there is one.
      hf_compared: it was run by PyTorch and gave the same probabilities.
    """
    sections = [
        header(metadata, history, by_language),
        _summary(metadata),
        _use(metadata, hf_obstacle, hf_compared),
        _data(metadata),
        _validation(metadata, history, by_language),
        _calibration(metadata),
        _limits(metadata),
        _configuration(metadata),
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _summary(metadata) -> str:
    labels = metadata.labels
    kinds = {
        "binary": "one of two labels",
        "multiclass": "one of several labels",
        "multilabel": "any number of several labels",
        "ordinal": "one of several labels in order, from low to high",
    }
    names = "\n".join(f"{i}. {escape(name)}" for i, name in enumerate(labels.names))
    return (
        f"# {model_name(metadata)}\n\nAn XLM-R classifier of reviews, trained by "
        f"reviewbeam. It gives a review {kinds[labels.type]} ({labels.type}), in the "
        f"order of its outputs:\n\n{names}"
    )


def _use(metadata, hf_obstacle: str | None, hf_compared: bool) -> str:
    custom = [
        name
        for name in (metadata.config.model.pooling, metadata.config.loss.name)
        if is_custom(name)
    ]
    imports = "".join(f"import {name.split(':')[0]}\n" for name in custom)
    needed = (
        "It needs no objects of ours or of the user's own."
        if not custom
        else f"It needs what these modules register with Keras: {names_text(custom)}."
    )
    if hf_obstacle:
        hugging_face = f"There is none. {hf_obstacle}"
    else:
        compared = (
            "PyTorch gave the same probabilities as the SavedModel, within 1e-5."
            if hf_compared
            else "It was not compared with the SavedModel: PyTorch was not installed."
        )
        hugging_face = (
            f"`AutoModelForSequenceClassification.from_pretrained('{HUGGING_FACE}')`. "
            f"{compared} Neither calibration nor thresholds are in it, and its fast "
            "tokenizer is not the model's own rules: it breaks ties between "
            "segmentations another way (1.6 % of real reviews), reads special tokens "
            "that stand in a text, and cuts a long text at its end"
            f"{_other_rules(metadata)}."
        )
    return f"""## Use

- reviewbeam: `reviewbeam predict --model DIRECTORY 'a text'`, with its text rules,
  calibration and thresholds.
- TensorFlow: `tf.saved_model.load('{SAVED_MODEL}').signatures['serving_default']`
  takes `token_ids` and `padding_mask`, int32 [batch, length], padded with 1, and
  gives `probabilities`, float32 [batch, {len(metadata.labels.names)}].
- Keras: as below. {needed}
- transformers: {hugging_face}

```python
import keras
import keras_hub
{imports}
model = keras.models.load_model('{KERAS_FILE}', compile=False)
```"""


def _other_rules(metadata) -> str:
    rules = []
    if metadata.text.truncate != "head":
        rules.append("where the model keeps its head and its tail")
    if metadata.text.unicode != "none":
        rules.append(f"without {metadata.text.unicode}")
    return ", " + ", ".join(rules) if rules else ""


def _data(metadata) -> str:
    statistics = metadata.training_statistics
    splits = table(
        ["split", "examples", "tokens"],
        (
            [name, found.get("examples", ""), found.get("tokens", "")]
            for name, found in statistics.items()
            if name != "predictions"
        ),
    )
    names = metadata.labels.names
    train = statistics.get("train", {})
    counts = [["all", *(train.get("labels", {}).get(name, 0) for name in names)]]
    for language, labels in sorted(train.get("languages", {}).items()):
        if isinstance(labels, Mapping):
            counts.append(
                [language or "not known", *(labels.get(name, 0) for name in names)]
            )
    return (
        f"## Data\n\nDataset `{metadata.dataset_fingerprint}`.\n\n{splits}\n\n"
        "Training examples by language and label:\n\n"
        f"{table(['language', *names], counts)}"
    )


def _validation(metadata, history, by_language) -> str:
    found = history.get("validation")
    if not found:
        return "## Validation\n\nThere was no validation split: nothing was measured."
    slices = [("all", found)]
    slices += [
        (code or "not known", metrics) for code, metrics in in_order(by_language)
    ]
    keys = [
        key
        for key in METRICS
        if any(metrics.get(key) is not None for _, metrics in slices)
    ]
    rows = [[name, *(metrics.get(key) for key in keys)] for name, metrics in slices]
    chose = metadata.config.training.early_stopping_metric != "none"
    return (
        "## Validation\n\nBefore calibration. "
        + ("The epoch was chosen by these rows; " * chose)
        + "`reviewbeam evaluate` measures on the test split.\n\n"
        + f"{table(['language', *(METRICS[key] for key in keys)], rows)}"
    )


def _calibration(metadata) -> str:
    calibration = metadata.calibration
    fitted = (
        "Fitted on validation" if calibration.rows else "Not fitted, for want of rows"
    )
    slices = [("all", calibration), *sorted(calibration.languages.items())]
    rows = [
        [
            name,
            part.rows,
            part.temperature,
            ", ".join(f"{threshold:.3f}" for threshold in part.thresholds) or "none",
        ]
        for name, part in slices
    ]
    return (
        f"## Calibration\n\n{fitted}; the files here give probabilities before it, and "
        "reviewbeam applies it.\n\n"
        + table(["language", "examples", "temperature", "thresholds"], rows)
    )


def _limits(metadata) -> str:
    train = metadata.training_statistics.get("train", {})
    seen = sorted(code for code in train.get("languages", {}) if code)
    counts = train.get("labels", {})
    few = [n for n in metadata.labels.names if 0 < counts.get(n, 0) < _FEW]
    none = [name for name in metadata.labels.names if counts.get(name) == 0]
    ends = {
        "head": "of a longer text the first are read",
        "head_tail": "of a longer text the first and the last are read",
    }
    lines = [
        f"It has learned from texts in {names_text(seen) or 'unknown languages'}; how "
        "well it does in any other was not measured.",
        f"It reads at most {metadata.text.max_tokens} tokens; "
        f"{ends[metadata.text.truncate]}.",
        "It knows reviews; it was not made for other texts, nor to judge people.",
    ]
    if few:
        lines.append(
            f"It has seen fewer than {_FEW} training examples of {names_text(few)}: "
            "their figures are rough."
        )
    if none:
        lines.append(f"It has seen no training example of {names_text(none)}.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _configuration(metadata) -> str:
    config = metadata.config.model_dump(mode="json", exclude={"encoder"})
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=False)
    fingerprints = {
        "model": metadata.core_fingerprint(),
        "weights": metadata.weights_sha256,
        "encoder": metadata.encoder_fingerprint,
        "dataset": metadata.dataset_fingerprint,
        "vocabulary": metadata.vocabulary_sha256,
        "initial model": metadata.initial_model or "none",
    }
    return (
        "## Configuration\n\n```yaml\n"
        + text.replace("`", "'")  # nothing may end the block
        + "```\n\n## Versions and fingerprints\n\n"
        + table(["package", "version"], metadata.versions.items())
        + "\n\n"
        + table(["of", "SHA-256"], fingerprints.items())
    )
