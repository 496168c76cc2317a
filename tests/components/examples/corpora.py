"""Random corpora, and MakeExamples without a runner."""

import datetime
import pickle
from collections import Counter

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import strategies as st

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.examples import make
from reviewbeam.components.examples.conflicts import facts
from reviewbeam.components.examples.splits import needs_groups
from tests.components.examples.reviews import (
    MULTILABEL,
    SCHEMA,
    prepare_config,
    reviews,
)

START = datetime.datetime(2024, 1, 1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["a", "A ", "ａ", "b", "b!", "c", "C\t", "d", "e"]),
            "file": st.sampled_from(["f1", "f2", "f3"]),
            "id": st.sampled_from(["x", "y", "z", "u", "v", "w"]),
            "group": st.sampled_from([None, None, "", "g", "h", "k"]),
            "hours": st.integers(0, 96),
            "given_split": st.sampled_from(["train", "train", "dev", "test"]),
            "classes": st.frozensets(st.integers(0, 2), max_size=2),
        }
    ),
    min_size=1,
    max_size=16,
)
DIVISIONS = {
    "hash": {"validation": 0.3, "test": 0.3},
    "time": {"validation": 0.3, "time_column": "at", "test_days": 1.5},
    "column": {"column": "part"},
    "column without validation": {
        "validation": 0.4,
        "column": "part",
        "values": {"train": "train", "dev": "train", "test": "test"},
    },
}


@st.composite
def corpora(draw, divisions=tuple(DIVISIONS)):
    """(rows, config): reviews as validation hands them on, ids included."""
    split = DIVISIONS[draw(st.sampled_from(divisions))]
    split = split | {"salt": draw(st.sampled_from("stuvw"))}
    if draw(st.booleans()):
        split["group_by"] = "author"
    columns = {"text": "text", "label": "label", "id": "id"}
    if not draw(st.integers(0, 3)):
        del columns["id"]
    config = prepare_config(
        draw(st.sampled_from(["multiclass", "multilabel"])),
        columns=columns,
        split=split,
        duplicates={
            "on_conflict": draw(st.sampled_from(["majority", "drop", "keep_all"]))
        },
        rules={"actions": {"id_repeated": draw(st.sampled_from(["reject", "allow"]))}},
    )
    return corpus_rows(draw(ROWS), config), config


def corpus_rows(drawn, config):
    """Rows of what was drawn, as far as the config would have them read."""
    rows = []
    for number, values in enumerate(drawn):
        row = dict(values) | {"row": number, "byte_offset": 100 * number}
        classes, hours = sorted(row.pop("classes")), row.pop("hours")
        if config.labels.type == "multilabel":
            row["label_index"] = classes
        else:
            row["label_index"] = classes[0] if classes else 2
        if config.split.time_column:
            row["time"] = (START + datetime.timedelta(hours=hours)).isoformat()
        if not config.split.group_by:
            row["group"] = None
        if not config.columns.id:
            row["id"] = f"of {row['text']} {row['label_index']}"
        rows.append(row)
    return rows


def as_batch(rows, config):
    multilabel = config.labels.type == "multilabel"
    return reviews(rows, MULTILABEL if multilabel else SCHEMA)


def as_batches(rows, config, size):
    whole = as_batch(rows, config)
    return [whole.slice(start, size) for start in range(0, len(rows), size)]


# === MakeExamples in memory ===


def make_in_memory(batches, config, partitions):
    """What the steps of MakeExamples give, without a runner, as plain data."""
    rejects_ids = config.rules.action("id_repeated") == "reject"
    keyed = [make._with_keys(batch, rejects_ids) for batch in batches]
    latest = None
    if config.split.time_column:
        latest = max(max(batch.column("time").to_pylist()) for batch in keyed)
    told = {"examples": [], "outcomes": [], "rejects": [], "conflicts": []}
    arriving = {}

    def sort_out(items):
        for item in items:
            if isinstance(item, beam.pvalue.TaggedOutput):
                told[item.tag].append(item.value)
            else:
                arriving.setdefault(item[0], []).append(item[1])

    for batch in keyed:
        sort_out(make._by_text(batch, partitions))
    if config.columns.id:
        for met in _meet(keyed, "id", partitions):
            sort_out(make._FindRepeatedIds(config, partitions).process(met))
    if needs_groups(config.split):
        for met in _meet(keyed, "group", partitions):
            finder = make._FindGroupConflicts(config, partitions)
            sort_out(finder.process(met, latest))
    for element in arriving.items():
        for item in make._Settle(config).process(element, latest):
            if isinstance(item, beam.pvalue.TaggedOutput):
                told[item.tag].append(item.value)
            else:
                told["examples"].append(item)
    return _plain(told)


def _meet(keyed, column, partitions):
    met = {}
    for batch in keyed:
        for number, data in facts(batch, column, partitions):
            met.setdefault(number, []).append(data)
    return met.items()


# === MakeExamples in a pipeline ===


def make_in_pipeline(batches, config, partitions, folder):
    """The same from a runner, by way of files in a folder."""
    register_record_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        made = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "MakeExamples" >> make.MakeExamples(config, partitions)
        )
        for name, collection in made.items():
            _ = (
                collection
                | f"List{name}" >> beam.combiners.ToList()
                | f"Keep{name}" >> beam.Map(_keep, folder / name)
            )
    return _plain({name: pickle.loads((folder / name).read_bytes()) for name in made})


def _keep(items, path):
    path.write_bytes(pickle.dumps(items))


def _plain(told):
    """Rows as dicts and sums, in an order of their own."""
    examples = [
        row | {"partition": partition}
        for partition, batch in told["examples"]
        for row in batch.to_pylist()
    ]
    rejects = [row for batch in told["rejects"] for row in batch.to_pylist()]
    outcomes = Counter()
    for (file, outcome), rows in told["outcomes"]:
        outcomes[file, outcome] += rows
    return {
        "examples": sorted(examples, key=lambda row: row["row"]),
        "rejects": sorted(rejects, key=lambda row: row["row"]),
        "outcomes": outcomes,
        "conflicts": sum(number for number, _ in told["conflicts"]),
    }
