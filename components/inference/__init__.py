"""Length batching and scoring with a SavedModel."""
