"""SavedModels for the tests of engines: small, and each with a trait of its own."""

import numpy as np
import tensorflow as tf

CLASSES = 3
_SPECS = [
    tf.TensorSpec([None, None], tf.int32, name)
    for name in ("token_ids", "padding_mask")
]


def save_model(directory, trait=None, *, seed=0):
    """Writes DIRECTORY/saved_model: an embedding, a masked mean, a softmax.

    Args:
      directory: of the model.
      trait: called with token ids [rows, length]; what it returns, a float, is added
        to the logits.
      seed: of the weights.
    """

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            random = np.random.default_rng(seed)
            self.table = tf.Variable(random.normal(size=(64, 16)).astype(np.float32))
            self.head = tf.Variable(random.normal(size=(16, 3)).astype(np.float32))

        @tf.function(input_signature=_SPECS)
        def serve(self, token_ids, padding_mask):
            mask = tf.cast(padding_mask, tf.float32)[:, :, None]
            hidden = tf.gather(self.table, token_ids % 64) * mask
            pooled = tf.reduce_sum(hidden, 1) / tf.reduce_sum(mask, 1)
            logits = pooled @ self.head
            if trait is not None:
                logits += trait(token_ids)
            return {"probabilities": tf.nn.softmax(logits)}

    module = Module()
    path = str(directory / "saved_model")
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    return directory


def memory_above(tokens):
    """A trait: batches of more tokens than that need 2^38 bytes."""

    def trait(token_ids):
        shape = tf.where(tf.size(token_ids) > tokens, [2**22, 2**14], [1, 1])
        return tf.reduce_sum(tf.fill(shape, 0.0))

    return trait


def fails_on(marker):
    """A trait: a row with this id makes the batch fail."""

    def trait(token_ids):
        found = tf.reduce_any(token_ids == marker)
        with tf.control_dependencies([tf.debugging.Assert(~found, ["marked"])]):
            return tf.constant(0.0)

    return trait


def nan_for(marker):
    """A trait: rows with this id get no number."""

    def trait(token_ids):
        found = tf.reduce_any(token_ids == marker, 1, keepdims=True)
        return tf.where(found, np.float32("nan"), 0.0)

    return trait
