"""One Flink cluster for all tests that need one."""

import os
import shutil

import pytest

from tests.cluster.flink import SOFTWARE, Flink, is_open


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "cluster":
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def needs_flink():
    """Skips where Java or Maven is missing, but never in CI."""
    needed = ["java"]
    if not (SOFTWARE / "job-server.jar").exists():
        needed += ["javac", "mvn"]
    missing = [name for name in needed if shutil.which(name) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"needs {' and '.join(missing)}")


@pytest.fixture(scope="package")  # the tests behind it have the machine to themselves
def flink(needs_flink, store_server, tmp_path_factory):
    """A cluster of two task managers of one slot; leave it whole, with no job.

    Its workers find the object store, and have another cache than a launcher.
    """
    cache = {"REVIEWBEAM_CACHE": str(tmp_path_factory.mktemp("cache-of-workers"))}
    folder = tmp_path_factory.mktemp("flink")
    cluster = Flink(folder, store_server.environment | cache)
    try:
        cluster.up("--software", SOFTWARE)
        yield cluster
        ports = cluster.listens()
        assert ports
    finally:
        cluster.down()
    assert cluster.processes() == []
    assert [where for where in ports if is_open(*where)] == []
