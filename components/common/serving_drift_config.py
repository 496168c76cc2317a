"""How far new reviews may be from those that a model was trained on."""

from typing import Literal

import pydantic

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Fraction, Name
from reviewbeam.components.common.errors import listing, nearest

Kind = Literal["numbers", "categories", "predictions", "confidence"]
# What is compared, and which threshold it has.
FEATURES: dict[str, Kind] = {
    "characters": "numbers",
    "tokens": "numbers",
    "unknown_token_share": "numbers",
    "emoji_share": "numbers",
    "non_letter_share": "numbers",
    "truncated": "categories",
    "language": "categories",
    "predicted_label": "predictions",
    "confidence": "confidence",
}


class ServingDriftRules(Config):
    """What is compared with the model's training, and what stops the scores."""

    enabled: bool = True  # whether anything is compared
    # Jensen–Shannon divergence of a number's distribution, from 0 to 1.
    numbers: Fraction = 0.1
    # The largest difference of a category's share, from 0 to 1.
    categories: Fraction = 0.1
    predictions: Fraction = 0.1  # as that, of the labels that the model gives
    confidence: Fraction = 0.1  # Jensen–Shannon divergence of the model's confidence
    features: dict[str, Fraction] = {}  # a threshold of its own for a feature
    # Exit 3 where a threshold is exceeded: of any feature, or of those named.
    fatal: bool | tuple[Name, ...] = False

    @pydantic.model_validator(mode="after")
    def _check(self):
        fatal = () if isinstance(self.fatal, bool) else self.fatal
        for key, names in (("features", self.features), ("fatal", fatal)):
            for name in names:
                if name not in FEATURES:
                    raise ValueError(
                        f"{key} names {name!r}, which is no feature"
                        f"{nearest(name, FEATURES)}. Use some of: {listing(FEATURES)}"
                    )
        if self.fatal and not self.enabled:
            raise ValueError("fatal needs a comparison, and enabled is false")
        return self

    def threshold(self, feature: str) -> float:
        """Returns how far a feature may be from training."""
        return self.features.get(feature, getattr(self, FEATURES[feature]))

    def is_fatal(self, feature: str) -> bool:
        """Tells whether the scores stop at a feature that is too far."""
        return self.fatal if isinstance(self.fatal, bool) else feature in self.fatal
