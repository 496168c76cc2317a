"""A verdict as a text that a person reads."""

from collections.abc import Mapping
from typing import Any

from reviewbeam.components.common.blessing_config import HOLDS

_SHOWN = ("accuracy", "macro_f1", "log_loss", "ece")  # differences, where there are


def blessing_text(verdict: Mapping[str, Any]) -> str:
    """Returns what `Judge.judge` found, and how many rows were left out."""
    reason = f": {verdict['reason']}" if verdict["reason"] else ""
    left_out = verdict["left_out_rows"]
    lines = [
        f"Verdict: {verdict['verdict']}{reason}",
        f"  judged by {verdict['judged_rows']} of {verdict['evaluated_rows']} rows; "
        f"{left_out} were left out, since a model was trained on their texts",
    ]
    lines += [
        f"  {rule['verdict']}: {rule_text(rule)}" for rule in worst_first(verdict)
    ]
    differences = verdict.get("differences", {})
    lines += [
        f"  {name}: {_compared(differences[name])}"
        for name in _SHOWN
        if name in differences
    ]
    if test := verdict.get("mcnemar"):
        lines.append(
            f"  right where the baseline is wrong: {test['only_model_right']} rows; "
            f"wrong where it is right: {test['only_baseline_right']} (McNemar's test: "
            f"p = {test['p_value']:.2g})"
        )
    return "\n".join(lines) + "\n"


def worst_first(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the rules of a verdict, those that don't hold first."""
    return sorted(verdict["rules"], key=lambda rule: rule["verdict"] == HOLDS)


def rule_text(rule: Mapping[str, Any]) -> str:
    """Returns what a rule asked for, and what was found."""
    if rule["rule"] != "must_not_lose":
        found = "no figure" if rule["model"] is None else f"{rule['model']:.4f}"
        least = "at least" if rule["rule"] == "min" else "at most"
        return f"{rule['metric']} {found}, {least} {rule['bound']:g} was asked for"
    where = f" of {rule['slice']} {rule['value']}" if rule["slice"] else ""
    found = f", {_compared(rule)}" if "difference" in rule else ""
    return (
        f"{rule['metric']}{where} must not lose more than {rule['margin']:g}{found}, "
        f"{rule['rows']} rows"
    )


def _compared(found: Mapping[str, Any]) -> str:
    """`0.7130 against 0.7000, +0.0130 [-0.0020, 0.0270]`."""
    interval = found["interval"]
    shown = f" [{interval[0]:+.4f}, {interval[1]:+.4f}]" if interval else ""
    return (
        f"{found['model']:.4f} against {found['baseline']:.4f}, "
        f"{found['difference']:+.4f}{shown}"
    )
