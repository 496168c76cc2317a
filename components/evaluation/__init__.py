"""Sliced metrics of a model on a dataset."""
