"""What a stopped run leaves in `OUTPUT.failed`."""

import os

import pytest

from reviewbeam.components.common.artifacts import RUN_FILE, write_manifest
from reviewbeam.components.common.errors import DataGateError, UserError
from reviewbeam.components.common.evidence import evidence_place, remove_evidence
from reviewbeam.components.common.places import place
from reviewbeam.components.common.publishing import staged_output

EVIDENCE = ("rejects", "report.json", "statistics.tfrecord")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "dataset"


@pytest.fixture
def failed(output):
    return output.with_name("dataset.failed")


def _run(output, *, stop=None, report="report", evidence=EVIDENCE, overwrite=False):
    """A run that raises `stop` when its files are written."""
    with staged_output(
        output, "prepare", evidence=evidence, overwrite=overwrite
    ) as staging:
        (staging / "rejects").mkdir()
        (staging / "rejects" / "one.parquet").write_text("reject")
        (staging / "report.json").write_text(report)
        (staging / "train").mkdir()
        (staging / "train" / "shard.tfrecord").write_text("examples")
        if stop is not None:
            raise stop
        write_manifest(staging, "dataset", "f1", files=["report.json"])


def _stop(output, **options):
    with pytest.raises(DataGateError, match="^too many$"):
        _run(output, stop=DataGateError("too many"), **options)


def _below(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_a_data_gate_leaves_what_shows_why(output, failed):
    _stop(output)

    assert os.listdir(output.parent) == ["dataset.failed"]
    assert _below(failed) == [
        "rejects",
        "rejects/one.parquet",
        "report.json",
        "run.json",
    ]
    assert (failed / "report.json").read_text() == "report"


def test_the_next_failure_replaces_the_evidence(output, failed):
    _stop(output, report="first")
    (failed / "statistics.tfrecord").write_text("of the first")
    _stop(output, report="second")

    assert (failed / "report.json").read_text() == "second"
    assert sorted(os.listdir(failed)) == ["rejects", "report.json", RUN_FILE]
    assert os.listdir(output.parent) == ["dataset.failed"]


def test_success_removes_the_evidence(output):
    _stop(output)
    _run(output)

    assert os.listdir(output.parent) == ["dataset"]
    _stop(output, overwrite=True)
    assert sorted(os.listdir(output.parent)) == ["dataset", "dataset.failed"]
    _run(output, overwrite=True)
    assert os.listdir(output.parent) == ["dataset"]


def test_an_older_output_stays_beside_the_evidence(output, failed):
    _run(output, report="old")
    _stop(output, report="new", overwrite=True)

    assert (output / "report.json").read_text() == "old"
    assert (failed / "report.json").read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError, UserError, KeyboardInterrupt])
def test_other_failures_leave_no_evidence(output, failed, failure):
    with pytest.raises(failure):
        _run(output, stop=failure("no"))
    assert os.listdir(output.parent) == []

    _stop(output)
    with pytest.raises(failure):
        _run(output, stop=failure("no"))
    assert (failed / "report.json").exists()  # of the gate, until the job succeeds
    assert os.listdir(output.parent) == ["dataset.failed"]


def test_a_job_without_evidence_leaves_none(output, failed):
    _stop(output, evidence=())
    assert os.listdir(output.parent) == []

    # Nor does it touch another job's.
    _stop(output)
    _run(output, evidence=())
    assert (failed / "report.json").exists()


def test_an_empty_folder_may_hold_the_evidence(output, failed):
    failed.mkdir(parents=True)
    _run(output)
    assert failed.exists()

    _stop(output, overwrite=True)
    assert (failed / "report.json").exists()


def _thesis(failed):
    failed.mkdir()
    (failed / "thesis.txt").write_text("years of work")


def _notes(failed):
    failed.mkdir()
    for name in (RUN_FILE, "report.json", "notes.txt"):
        (failed / name).write_text("{}")


def _dataset(failed):
    _run(failed)


def _file(failed):
    failed.write_text("a thesis")


def _link(failed):
    folder = failed.with_name("elsewhere")
    folder.mkdir()
    for name in (RUN_FILE, "report.json"):
        (folder / name).write_text("{}")
    failed.symlink_to(folder)


@pytest.mark.parametrize("someone", [_thesis, _notes, _dataset, _file, _link])
def test_what_is_not_ours_is_neither_removed_nor_replaced(output, failed, someone):
    output.parent.mkdir()
    someone(failed)
    before = _below(output.parent)

    for stop in (DataGateError("too many"), None):
        with pytest.raises(UserError, match="dataset.failed' is needed .*Move it, or"):
            _run(output, stop=stop)
        assert _below(output.parent) == before
    _run(output, evidence=())
    assert set(before) < set(_below(output.parent))


def test_what_appears_meanwhile_is_not_replaced(output, failed):
    """The gate's reasons are told all the same."""
    with pytest.raises(DataGateError, match="too many"):
        with staged_output(output, "prepare", evidence=EVIDENCE):
            _thesis(failed)
            raise DataGateError("too many")

    assert _below(output.parent) == ["dataset.failed", "dataset.failed/thesis.txt"]


def test_in_a_store_what_a_killed_run_left_is_cleared(bucket):
    output = place(bucket.url) / "dataset"
    failed = evidence_place(output, EVIDENCE)
    assert failed == place(bucket.url) / "dataset.failed"
    bucket.put("dataset.failed/rejects/one.parquet", b"of the first")  # and no record
    assert evidence_place(output, EVIDENCE) == failed

    with (
        pytest.raises(DataGateError),
        staged_output(output, "prepare", evidence=EVIDENCE) as staging,
    ):
        (staging / "report.json").write_bytes(b"report")
        raise DataGateError("too many")
    assert bucket.names() == [
        "dataset.failed/report.json",
        f"dataset.failed/{RUN_FILE}",
    ]

    bucket.put("dataset.failed/thesis.txt", b"years of work")
    with pytest.raises(UserError, match="dataset.failed' is needed .*Move it, or"):
        evidence_place(output, EVIDENCE)
    remove_evidence(failed, EVIDENCE)
    assert len(bucket.names()) == 3
    bucket.client.delete_object(Bucket=bucket.name, Key="dataset.failed/thesis.txt")
    remove_evidence(failed, EVIDENCE)
    assert bucket.names() == []


def test_it_is_known_again_wherever_its_removal_was_cut_off(
    output, failed, monkeypatch
):
    unlink, left = os.unlink, 0

    def cut_off(*arguments, **options):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        unlink(*arguments, **options)

    for count in range(3):  # a reject, the report, the record of the run
        _stop(output)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            left = count
            patch.setattr(os, "unlink", cut_off)
            remove_evidence(failed, EVIDENCE)
        assert failed.exists()
        assert evidence_place(output, EVIDENCE) == failed
    _run(output)
    assert os.listdir(output.parent) == ["dataset"]
