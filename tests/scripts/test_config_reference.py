"""The config reference is current, and leaves no key without a word."""

import pytest

from reviewbeam.components.common.config import Config, dotted_keys
from reviewbeam.components.common.train_config import TrainConfig
from scripts import config_reference


def rows(job):
    """key -> (what it may be, default, meaning) of a job's table."""
    page = config_reference.reference()
    table = page.split(f"\n## {job}\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[3:] if line]
    return {cell[0].strip("`"): tuple(cell[1:]) for cell in cells}


def test_the_page_is_current(capsys):
    assert config_reference.main(["--check"]) == 0, "run scripts/config_reference.py"


def test_a_page_that_is_not_current_is_told(tmp_path, monkeypatch, capsys):
    page = tmp_path / "REFERENCE.md"
    monkeypatch.setattr(config_reference, "REFERENCE", page)
    page.write_text("# Before\n")
    assert config_reference.main(["--check"]) == 1
    assert "is not current" in capsys.readouterr().out
    assert config_reference.main([]) == 0
    assert config_reference.main(["--check"]) == 0


@pytest.mark.parametrize("job", config_reference.JOBS)
def test_every_key_has_a_type_and_a_meaning(job):
    found = rows(job)
    assert set(config_reference.JOBS[job].model_fields) <= set(found)
    for key, cells in found.items():
        assert len(cells) == 3, key
        assert cells[0].strip() and cells[2].strip(), f"{key} has no comment"


def test_a_table_holds_the_keys_that_set_takes():
    assert set(rows("train")) == set(dotted_keys(TrainConfig))


@pytest.mark.parametrize(
    "job, key, cells",
    [
        ("prepare", "encoder", ("text", "needed")),
        ("prepare", "text.max_tokens", ("integer ≥ 3 and ≤ 512", "`256`")),
        ("prepare", "text.truncate", ("`head`, `head_tail`", "`head`")),
        ("prepare", "labels.mapping", ("text → text", "`{}`")),
        ("train", "model.freeze_layers", ("`half` or integer ≥ 0", "`half`")),
        ("train", "model.lora", ("section", "`null`")),
        ("train", "training.learning_rate", ("number > 0", "`0.0003`")),
        ("tune", "train", ("a config of [train](#train)", "needed")),
        ("evaluate", "blessing.must_not_lose[].margin", ("number ≥ 0", "`0.0`")),
        ("score", "on_damaged_file", ("`skip`, `salvage`, `fail`", "`skip`")),
        ("score", "inference.chunk_rows", ("integer ≥ 1", "`16384`")),
        (
            "run",
            "score",
            (
                "a config of [score](#score), or the name of its file beside this one",
                "`null`",
            ),
        ),
    ],
)
def test_type_and_default_of_a_key(job, key, cells):
    assert rows(job)[key][:2] == cells


def test_a_meaning_is_the_comments_above_and_behind():
    class Both(Config):
        # How many, in
        # all
        first: int = 1  # at most

        second: int = 2
        third: dict[str, int] = {  # of each
            "a": 1,
        }

    assert config_reference.meanings(Both) == {
        "first": "How many, in all; at most",
        "second": "",
        "third": "of each",
    }
