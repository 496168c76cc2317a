import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelMetadata


def metadata(kind, names, calibration):
    data = {
        "labels": {"type": kind, "names": names},
        "text": {},
        "split": {},
        "config": {"encoder": "e"},
        "language_detector": None,
        "vocabulary_sha256": "v",
        "weights_sha256": "w",
        "encoder_fingerprint": "e",
        "dataset_fingerprint": "d",
        "class_weights": [1.0] * len(names),
        "initial_model": None,
        "calibration": calibration,
        "training_statistics": {},
        "versions": {},
    }
    return check_config(ModelMetadata, data, "model.json")


@pytest.mark.parametrize(
    ("kind", "names", "count"),
    [
        ("binary", "ab", 1),
        ("multilabel", "abc", 3),
        ("multiclass", "abc", 0),
        ("ordinal", "abc", 0),
    ],
)
def test_thresholds_are_as_many_as_the_labels_take(kind, names, count):
    right = {"thresholds": [0.5] * count}
    model = metadata(kind, list(names), right | {"languages": {"de": right}})
    assert model.calibration.languages["de"].thresholds == (0.5,) * count
    for wrong in {0, 1, 2, 3, 4} - {count}:
        other = {"thresholds": [0.5] * wrong}
        told = f"has {wrong} thresholds; {len(names)} {kind} labels take {count}"
        with pytest.raises(UserError, match=f"model.json.*\n.* of all rows {told}"):
            metadata(kind, list(names), other)
        with pytest.raises(UserError, match=f"calibration of de {told}"):
            metadata(kind, list(names), right | {"languages": {"de": other}})
