"""Input, model, losses, training loop and export."""

import os

# The trainer is written for TensorFlow; a user's own keras.json may name another.
os.environ["KERAS_BACKEND"] = "tensorflow"
