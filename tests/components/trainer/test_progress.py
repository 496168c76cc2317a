import dataclasses
import json

import pytest

from reviewbeam.components.trainer.metrics import ValidationMetrics
from reviewbeam.components.trainer.progress import Progress


@pytest.mark.parametrize("best", [None, ValidationMetrics(0.1 + 0.2, 1 / 3, 0.5, 0.7)])
def test_a_checkpoint_s_json_gives_it_back(best):
    progress = Progress(
        step=12,
        epoch=1,
        batch=3,
        loss=0.1 * 3,
        history=[{"epoch": 1, "validation": None}],
        best_epoch=1,
        best=best,
        finished=True,
        loss_scale=2.0**14,
        good_steps=5,
    )
    written = json.dumps(dataclasses.asdict(progress))
    assert Progress.from_state(json.loads(written)) == progress
