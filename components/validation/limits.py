"""How many rejects a job puts up with."""

from collections import Counter
from typing import Any

from reviewbeam.components.common.corpus_config import RecordRules


def reject_problems(rules: RecordRules, inputs: list[dict[str, Any]]) -> list[str]:
    """Returns why there are too many rejects, in all or in a file.

    Args:
      rules: with `max_reject_fraction` and `max_reject_fraction_per_file`.
      inputs: of each file its name, `rows` and `rejected` (rule -> rows).
    """
    problems = []
    rows = sum(item["rows"] for item in inputs)
    rejected = sum((Counter(item["rejected"]) for item in inputs), Counter())
    allowed = rules.max_reject_fraction
    if rows and rejected.total() / rows > allowed:
        problems.append(
            f"{rejected.total()} of {rows} rows are rejects "
            f"({rejected.total() / rows:.1%}); rules.max_reject_fraction allows "
            f"{allowed:.1%}. By rule: {by_rule(rejected)}."
        )
    allowed = rules.max_reject_fraction_per_file
    for item in inputs:
        mine = Counter(item["rejected"])
        if item["rows"] and mine.total() / item["rows"] > allowed:
            problems.append(
                f"{item['file']}: {mine.total()} of {item['rows']} rows are rejects "
                f"({mine.total() / item['rows']:.1%}); "
                f"rules.max_reject_fraction_per_file allows {allowed:.1%}. By rule: "
                f"{by_rule(mine)}."
            )
    return problems


def by_rule(rejected: Counter) -> str:
    """Returns rules and their rows as a message names them, the most rows first."""
    return ", ".join(f"{rule} {rows}" for rule, rows in rejected.most_common())
