"""Opens a model with one library; called by open_elsewhere.sh in each environment."""

import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TOLERANCE = 1e-5
TEXTS = (
    "This phone is great and it fits perfectly.",
    "Leider nach einer Woche kaputt, ich bin sehr enttäuscht.",
    "Correct pour le prix, mais la couleur n'est pas celle de la photo.",
    "质量太差，第一天就坏了，客服没有回复。",
    "10/10 👍 love it ... !!!",
    "x",
)


def reference(model: Path) -> dict:
    """Token ids, padding mask and uncalibrated probabilities, by reviewbeam."""
    import numpy as np
    import pyarrow as pa

    from reviewbeam.components.common.model_directory import open_model
    from reviewbeam.components.inference.engines import TENSORFLOW, load_engine
    from reviewbeam.components.inference.faults import pad
    from reviewbeam.components.tokenization.tokenizer import Tokenizer

    opened = open_model(str(model))
    tokens = Tokenizer(opened.vocabulary, opened.metadata.text).encode(pa.array(TEXTS))
    lists = tokens["token_ids"]
    offsets = np.asarray(lists.offsets)
    ids, mask = pad(np.asarray(lists.values), offsets[:-1], np.diff(offsets))
    engine = load_engine(
        TENSORFLOW,
        opened.path,
        core_fingerprint=opened.core_fingerprint,
        classes=len(opened.metadata.labels.names),
        threads=len(os.sched_getaffinity(0)),
    )
    probabilities = engine.probabilities(ids, mask)
    return {
        "token_ids": ids.tolist(),
        "padding_mask": mask.tolist(),
        "probabilities": probabilities.tolist(),
    }


def by_keras(model: Path, ids, mask):
    import keras
    import keras_hub  # noqa: F401

    loaded = keras.models.load_model(model / "model.keras", compile=False)
    return loaded.predict({"token_ids": ids, "padding_mask": mask}, verbose=0)


def by_tensorflow(model: Path, ids, mask):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model / "saved_model"))
    serve = loaded.signatures["serving_default"]
    tensors = {"token_ids": tf.constant(ids), "padding_mask": tf.constant(mask)}
    return serve(**tensors)["probabilities"].numpy()


def by_transformers(model: Path, ids, mask):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model / "hf")
    encoded = tokenizer(list(TEXTS), padding=True, truncation=True)["input_ids"]
    equal = sum(
        [i for i in line if i != 1] == [i for i in ours if i != 1]
        for line, ours in zip(encoded, ids.tolist(), strict=True)
    )
    print(f"transformers: its tokenizer agrees on {equal} of {len(TEXTS)} texts")
    loaded = AutoModelForSequenceClassification.from_pretrained(model / "hf").eval()
    with torch.no_grad():
        logits = loaded(
            input_ids=torch.tensor(ids.tolist()),
            attention_mask=torch.tensor(mask.tolist()),
        ).logits
    several = loaded.config.problem_type == "multi_label_classification"
    return (logits.sigmoid() if several else logits.softmax(-1)).numpy()


def main() -> None:
    """Runs what the arguments name: LIBRARY MODEL REFERENCE."""
    library, model, path = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if library == "reference":
        path.write_text(json.dumps(reference(model)))
        return
    import numpy as np

    if importlib.util.find_spec("reviewbeam"):
        sys.exit("reviewbeam is installed here: that is not elsewhere")
    if library == "transformers" and not (model / "hf").is_dir():
        print("transformers: the model has no hf/; its README.md says why")
        return
    told = json.loads(path.read_text())
    ids, mask = (np.array(told[n], np.int32) for n in ("token_ids", "padding_mask"))
    found = globals()[f"by_{library}"](model, ids, mask)
    difference = float(np.abs(found - np.array(told["probabilities"])).max())
    version = importlib.metadata.version(library)
    print(f"{library} {version}: differs from reviewbeam by at most {difference:.2g}")
    if not difference <= TOLERANCE:
        sys.exit(f"{library}: more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
