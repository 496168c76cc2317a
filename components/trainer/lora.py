"""Low-rank adaptation by Keras's own `enable_lora`, and its merging."""

from collections.abc import Iterable, Iterator

import keras

from reviewbeam.components.common.train_config import ModelConfig

_ATTENTION = ("query", "value")  # Hu et al. 2021 adapt these two


def add_lora(layers: Iterable[keras.layers.Layer], config: ModelConfig) -> None:
    """Freezes transformer layers and gives their dense layers trainable factors.

    Args:
      layers: KerasHub `TransformerEncoder`s; those that are frozen stay as they are.
      config: with `lora`.
    """
    for layer in layers:
        if not layer.trainable:
            continue
        for variable in layer.trainable_variables:
            variable.trainable = False
        for dense in _dense_layers(layer):
            if config.lora.targets == "all" or dense.name in _ATTENTION:
                dense.enable_lora(config.lora.rank, lora_alpha=config.lora.alpha)


def merge_lora(classifier: keras.Model) -> None:
    """Adds the factors' products to the weights; the factors then add nothing."""
    for layer in _dense_layers(classifier):
        if layer.lora_enabled:
            layer._kernel.assign(layer.kernel)
            layer.lora_kernel_b.assign(keras.ops.zeros_like(layer.lora_kernel_b))


def is_factor(variable: keras.Variable) -> bool:
    """Tells a factor from the weights of the model itself."""
    return variable.name.startswith("lora_")


def _dense_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for inner in layer._flatten_layers(include_self=False):
        if isinstance(inner, keras.layers.Dense | keras.layers.EinsumDense):
            yield inner
