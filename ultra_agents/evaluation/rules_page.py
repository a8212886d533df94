"""The report's section on rules, from `rules` and `start` of `report.json`: the answer, the set, where it acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ultra_agents.errors import EnvironmentFault
from ultra_agents.evaluation.frames import enlarge, png_data_uri, smaller
from ultra_agents.evaluation.rules_charts import axis_label, colours
from ultra_agents.evaluation.wording import digits_for, interval, number
from ultra_agents.records import Array
from ultra_agents.text import counted

Row = dict[str, Any]
VERDICTS = {
    "accepted": ("Held", "the gain is positive with the confidence asked for"),
    "rejected": ("Did not hold", "the gain is negative, or too small to be worth finding; no rule acts"),
    "undecided": ("Undecided", "neither a gain nor its absence is known, so no rule acts"),
    "untested": ("Untested", "believed as proposed: verification.mode asks for no test"),
    "reward only": ("A reward alone", "there is no rule that acts"),
    "none": ("No rules", "no usable set was proposed"),
}
STARTS = {
    "policy": "the policy",
    "copy": "a copy that learnt the rules",
    "policy+rules": "the policy with its rules in force",
    "copy+rules": "the copy with the rules in force",
}
"""Where refining can begin, in words."""
WHY_STOPPED = {
    "good": "surely better",
    "bad": "surely worse",
    "hopeless": "no gain worth finding",
    "pairs": "every pair was played",
    "steps": "the budget was spent",
}


def rules_view(report: Mapping[str, Any], frames: Mapping[tuple[int, int], Array]) -> Row | None:
    """What the template shows; None where the run had no rules."""
    rules = report.get("rules")
    if rules is None:
        return None
    word, meaning = VERDICTS[rules["verdict"]]
    return {
        "word": word,
        "meaning": meaning,
        "good": rules["held"],
        "answer": _answer(rules),
        "facts": _facts(report, rules),
        "starts": _starts(report.get("start")),
        "set": [{**row, "picture": _picture(frames, row["example"])} for row in rules["set"]],
        "weighed": any(row["weight"] is not None for row in rules["set"]),
        "legend": _legend(rules["map"]),
        "caption": _caption(rules["map"]),
        "others": [one for index, one in enumerate(rules["proposals"]) if index != rules["chosen"] and one["text"]],
        "notes": [note for one in rules["proposals"] for note in one["notes"]],
    }


def rules_protocol(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How rules were tested and used, as (term, sentence)."""
    apply, mode = config["advice"]["apply"], config["imitation"]["mode"]
    believed = config["verification"]["mode"] not in ("simulate", "both")
    tested = (
        "not tested; they are believed as proposed"
        if believed
        else "whole episodes in the simulator, in force against the policy alone, from the same seeds"
    )
    used = {
        "auto": "refining begins from what is surely better: a copy that learnt them before rules in force",
        "layer": f"in force over the policy{'' if believed else ', if that earns more than the policy alone'}",
        "imitate": "learnt by a copy of the policy, if that earns more than the policy",
        "both": "in force over the policy or over a copy that learnt them, if that earns more than the policy",
    }
    untested = {
        "auto": "learnt by a copy of the policy, which is not compared with it"
        if mode == "always"
        else "in force over the policy",
        "imitate": "learnt by a copy of the policy, which is not compared with it",
        "both": "in force over a copy that learnt them, which is compared with nothing",
    }
    uncopied = {
        **dict.fromkeys(("auto", "both"), used["layer"]),
        "imitate": "not used: they would be learnt by a copy, and none is made",
    }
    told = (used | (uncopied if mode == "never" else untested if believed or mode == "always" else {}))[apply]
    if mode == "better" and apply != "layer" and not believed:
        told += "; where nothing is sure, what earned most"
    return [("Rules tested by", tested), ("Rules used", told)]


def _answer(rules: Mapping[str, Any]) -> str:
    test = rules["test"]
    if test is None or not test["pairs"]:
        return rules["headline"] if test is None else "the budget did not pay for a first look"
    digits = digits_for([test])
    ends = interval({**test, "mean": test["gain"]}, digits)
    returns = f"{number(test['policy_return'], digits)} alone, {number(test['rules_return'], digits)} with the rules"
    return f"{ends} per episode in {test['pairs']} paired episodes: {returns}"


def _facts(report: Mapping[str, Any], rules: Mapping[str, Any]) -> list[tuple[str, str]]:
    test, rows = rules["test"], list[tuple[str, str]]()
    by = ", ".join(dict.fromkeys(one["source"] for one in rules["proposals"]))
    rows.append(("Proposed by", f"{by}; {counted(len(rules['proposals']), 'set')}"))
    if test is not None:
        terms = report["config"]["verification"]["rules"]
        stopped = WHY_STOPPED.get(test["stopped"], test["stopped"])
        rows.append(
            ("Tested", f"in force against the policy alone, on episodes that chose nothing; stopped: {stopped}. Each "
                       f"end of the interval with {100 * terms['confidence']:.0f} % confidence, all looks together")
        )  # fmt: skip
        if test["coverage"] is not None:
            rows.append(("They act at", f"{100 * test['coverage']:.3g} % of the steps with the rules in force"))
    if rules["env_steps"]:
        spent = {} if test is None else test["spent"]
        parts = ", ".join(f"{name} {steps:,}" for name, steps in spent.items() if steps)
        rows.append(("Steps paid", f"{rules['env_steps']:,}" + (f" ({parts})" if parts else "")))
    if (start := report.get("start")) is not None:
        untested = ", which was compared with nothing" if "copy" in start["chosen"] else ""
        why = ", by the paired comparison below" if start["gains"] else untested
        rows.append(("Refining began from", STARTS[start["chosen"]] + why))
        if start["labels"]:
            agreed = f"; it did what the rules do in {100 * start['agreement'][-1]:.1f} % of the states it met next" \
                if start["agreement"] else ""  # fmt: skip
            rows.append(
                ("The copy", f"{start['labels']:,} labelled states, {start['imitating']:,} environment steps{agreed}")
            )
    for row in report["methods"].values():
        rows += _endings(row)
    for kind in ("potential", "reward"):
        if rules[kind]:
            rows.append((f"Implicit {'reward' if kind == 'reward' else 'potential'}", _agreement(rules)))
    return rows


def _endings(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a method ended with, and whether that is what training made."""
    rows, digits = list[tuple[str, str]](), digits_for([row["returns_last"]])
    ruled, kept = row["returns_after_with_rules"], row["kept"]
    if ruled is not None:
        alone = number(row["returns_last"]["mean"], digits)
        rows.append((row["label"], f"{alone} by the network alone, {number(ruled['mean'], digits)} with its rules"))
    if kept is not None:
        what = "what training made was kept" if kept["what"] == "trained" else "what training made was not kept"
        measured = f"{interval({**kept, 'mean': kept['gain']}, digits_for([kept]))} over its start"
        rows.append((row["label"], f"{what}: {measured} in {kept['pairs']} paired episodes"))
    return rows


def _agreement(rules: Mapping[str, Any]) -> str:
    if (test := rules.get("reward_test")) is not None:
        return str(test["words"])
    rank = rules["reward_rank"]
    if rank is None:
        return "used; its sum over an episode cannot be held against the collected returns, which do not vary"
    used = "used" if rules["rewards"] else "not used"
    return f"{used}: rank correlation {rank:+.2f} of its sum with the return of the collected episodes"


def _starts(start: Mapping[str, Any] | None) -> list[Row]:
    """One row for each policy that was compared; the two of the rules' own test are told there."""
    if start is None or not start["gains"]:
        return []
    rows = []
    for name, returns in start["returns"].items():
        gain = start["gains"].get(name)
        ends = None if gain is None else {"mean": gain[0], "low": gain[1], "high": gain[2]}
        rows.append(
            {
                "name": STARTS[name],
                "mean": float(np.mean(returns)),
                "pairs": len(returns),
                "gain": "" if ends is None else interval(ends, digits_for([ends])),
                "taken": name == start["chosen"],
            }
        )
    return rows


def _picture(frames: Mapping[tuple[int, int], Array], example: Mapping[str, Any] | None) -> str | None:
    frame = None if example is None else frames.get((example["episode"], example["step"]))
    if frame is None or example is None:
        return None
    try:
        return png_data_uri(smaller(enlarge(frame)))
    except EnvironmentFault:  # a broken renderer must not prevent the report of a finished run
        return None


def _legend(decided: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Style of the swatch and name."""
    if decided is None:
        return []
    before = "" if decided["of"] == "action" else f"{decided['of']} "
    shown = colours(decided)
    return [
        (
            f"background: var({'--muted' if shown[sign][0] is None else f'--s{shown[sign][0]}'}); "
            f"opacity: {shown[sign][1]}",
            f"{before}{name}",
        )
        for sign, name in decided["legend"].items()
    ]


def _caption(decided: Mapping[str, Any] | None) -> str:
    if decided is None:
        return ""
    episode, step = decided["at"]
    held = ", ".join(f"{name} {value:.3g}" for name, value in decided["others"].items())
    rest = f" All else is as in episode {episode}, step {step}: {held}." if held else ""
    axes = f"{axis_label(decided['x'])} and {axis_label(decided['y'])}"
    return f"What is done over {axes}. Where nothing is coloured no rule acts, and the policy does.{rest}"
