"""Which model a job uses: the given one, or the one that is in service."""

from pathlib import Path

from reviewbeam.components.common.blessed import read_blessing
from reviewbeam.components.common.errors import ModelGateError
from reviewbeam.components.common.models_folder import pinned, unblessed
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.pipelines import console


def model_to_score_with(config: ScoreConfig, model: Path) -> Path:
    """Returns the model for this run, whatever is promoted meanwhile.

    Args:
      config: says whether it must be blessed.
      model: a model's directory, or a models folder.

    Raises:
      UserError: it is neither, or no model is in service.
      ModelGateError: it must be blessed, and isn't.
    """
    chosen = pinned(model)
    if config.require_blessing is False or read_blessing(chosen) is not None:
        return chosen
    if config.require_blessing is True or chosen != model:
        raise ModelGateError(
            f"{unblessed(chosen)} Or set require_blessing: false to score with it all "
            "the same."
        )
    console.note(f"reviewbeam: warning: {unblessed(chosen)}")
    return chosen
