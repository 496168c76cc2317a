"""A pooling with weights of its own, as a user writes one."""

import keras


@keras.saving.register_keras_serializable("tests")
class AttentionPool(keras.layers.Layer):
    """A weighted mean of the real tokens, the weights learned."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = keras.layers.Dense(1)

    def build(self, hidden_shape, padding_mask_shape=None):
        """Builds the inner layer."""
        self.score.build(hidden_shape)

    def call(self, hidden, padding_mask):
        """Pools float [batch, length, width] to [batch, width]."""
        mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
        weights = keras.ops.softmax(self.score(hidden) - 1e9 * (1 - mask), axis=1)
        return keras.ops.sum(weights * hidden, axis=1)
