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
        curve=[{"step": 1, "loss": 0.1, "rows": 3, "learning_rate": 0.1 + 0.2}],
        best_epoch=1,
        best=best,
        finished=True,
        loss_scale=2.0**14,
        good_steps=5,
    )
    written = json.dumps(dataclasses.asdict(progress))
    assert Progress.from_state(json.loads(written)) == progress


def test_a_short_training_has_a_point_for_each_step():
    progress = Progress()
    progress.count_step(0.5, 4, 0.1, planned=2)
    progress.count_step(0.25, 2, 0.2, planned=2)
    assert (progress.step, progress.loss) == (2, 2.5)
    assert progress.points() == [
        {"step": 1, "learning_rate": 0.1, "loss": 0.5},
        {"step": 2, "learning_rate": 0.2, "loss": 0.25},
    ]


@pytest.mark.parametrize("planned", [200, 201, 1000, 1001])
def test_a_long_training_has_few_points_of_many_steps(planned):
    progress = Progress()
    for step in range(planned):
        rows = 1 + step % 3
        progress.count_step(step / rows, rows, step, planned=planned)
    points = progress.points()
    assert 100 <= len(points) <= 200
    assert points[-1]["step"] == planned
    ends = [0, *(point["step"] for point in points)]
    for point, start, end in zip(points, ends, ends[1:], strict=False):
        rows = sum(1 + step % 3 for step in range(start, end))
        assert point["loss"] == pytest.approx(sum(range(start, end)) / rows)
        assert point["learning_rate"] == end - 1


def test_an_earlier_release_s_checkpoint_goes_on():
    state = dataclasses.asdict(Progress(step=7))
    del state["curve"]
    progress = Progress.from_state(state)
    progress.count_step(0.5, 4, 0.1, planned=1000)
    assert progress.points() == [{"step": 8, "learning_rate": 0.1, "loss": 0.5}]
