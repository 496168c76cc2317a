"""Duplicates, splits, tf.Examples and TFRecord shards."""
