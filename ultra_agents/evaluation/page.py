"""`report.html`: one self-contained page made from `report.json`, frames and narrations.

No script, no network, no file beside it. Text by language models is untrusted: everything is escaped, and a content
policy in the page's head forbids it to load or run anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from ultra_agents.config import baseline_of, colours_of
from ultra_agents.errors import EnvironmentFault
from ultra_agents.evaluation import advice_charts, charts, rules_charts
from ultra_agents.evaluation.advice_page import A_PERSON, WHO, facts, fidelity_rows, in_training
from ultra_agents.evaluation.frames import label_frame, png_data_uri
from ultra_agents.evaluation.rules_page import rules_protocol, rules_view
from ultra_agents.evaluation.video import Video
from ultra_agents.evaluation.wording import digits_for, interval, number
from ultra_agents.records import HUMAN, Array, Narration
from ultra_agents.runs.lineage import Paid
from ultra_agents.yaml_text import write_yaml

CARDS = 12
"""Advice shown in full; the rest goes into a table."""
LONGEST = 1500
"""Characters of one agent's text shown on a card."""
WIDE, NARROW = 840, 380
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def render_html(
    report: Mapping[str, Any],
    frames: Mapping[tuple[int, int], Array] | None = None,
    narrations: Mapping[str, Narration] | None = None,
    video: Video | None = None,
) -> str:
    """The page for a report made by `build_report`.

    Args:
        report: Content of `report.json`.
        frames: Rendered critical states `(H, W, 3)` uint8 by `(episode, step)`.
        narrations: What the agents were shown, by segment name.
        video: The starting and a refined policy side by side, or the reason why not.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    methods, measures = report["methods"], report.get("measures") or {}
    digits = digits_for([row["returns_last"] for row in methods.values()])
    engine = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {
        "num": lambda value, places=digits: minus(number(value, places)),
        "signed": lambda value, places=2: minus(number(value, places, sign=True)),
        "span": lambda row, places=digits: minus(_ends(row, places)),
        "signed_span": lambda row, places=digits: minus(interval(row, places)),
        "prose": minus,
        "said": said,
        "seconds": duration,
        "percent": lambda value: f"{100 * value:.0f} %",
    }
    template = engine.get_template("report.html.j2")
    colours = colours_of(methods)
    cards, others = _cards(report["advice"]["rows"], frames or {}, narrations or {})
    return template.render(
        report=report,
        methods=methods,
        **_fork(report.get("parent")),
        colours=colours,
        protocol=_protocol(report),
        curves=_both(partial(_curves, report, colours), Markup),
        gaps=_both(partial(_gaps, report, colours), Markup),
        facts=[*facts(measures), *in_training(report)] if measures else [],
        fidelity=fidelity_rows(measures) if measures else [],
        trials=_both(partial(_trials, measures), Markup),
        windows=_both(partial(_windows, measures), Markup),
        cards=cards,
        rules=rules_view(report, frames or {}),
        decided=_both(partial(_decided, report), Markup),
        ruled=any(row["returns_after_with_rules"] for row in methods.values()),
        moves_shown=_has_moves(report),
        others=others,
        video=video,
        frames_shown=any(card["picture"] for card in cards),
        versions=_flat(report["versions"]),
        config_yaml=write_yaml(report["config"]),
    )


def _fork(parent: Mapping[str, Any] | None) -> dict[str, str]:
    """Where the report of a fork's parent is, as seen from this one, and what the shared stages cost there."""
    if parent is None:
        return {"parent_page": "", "inherited": ""}
    return {"parent_page": quote(f"{parent['place']}/report.html"), "inherited": Paid(**parent["paid"]).words}


def _has_moves(report: Mapping[str, Any]) -> bool:
    """Advice was, or could have been, moves at single steps."""
    return report["rules"] is None or report["flow"]["segments"] > 0


def _template(name: str) -> str:
    return files("ultra_agents.evaluation").joinpath(name).read_text(encoding="utf-8")


def minus(text: str) -> str:
    """Typographic minus signs before numbers, for the page only."""
    return re.sub(r"(?<![\w.-])-(?=[\d.])", "\u2212", text)


def said(text: str) -> str:
    """An agent's text without control and direction characters, cut to `LONGEST` characters."""
    clean = _CONTROL.sub("", text).strip()
    return clean if len(clean) <= LONGEST else clean[:LONGEST].rstrip() + " \u2026"


def duration(seconds: float | None) -> str:
    """Seconds for people: "48 s", "3 min 20 s", "1 h 5 min"."""
    if seconds is None:
        return "\u2013"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _ends(row: Mapping[str, Any], digits: int) -> str:
    return "" if row["low"] is None else f"[{number(row['low'], digits)}, {number(row['high'], digits)}]"


def _both(draw: Any, markup: Any) -> tuple[Any, Any]:
    """A chart in two widths, for large screens and phones; CSS shows one."""
    return markup(draw(WIDE)), markup(draw(NARROW))


def _curves(report: Mapping[str, Any], colours: Mapping[str, int], width: int) -> str:
    curves = []
    for name, row in report["methods"].items():
        points = [point for point in row["curve"] if point["value"] is not None]
        steps = row["env_steps"]
        before = steps["total"] - steps.get("refine", steps["total"])
        curves.append(
            charts.Curve(
                row["label"], colours[name], tuple(before + p["steps"] for p in points),
                tuple(p["value"] for p in points), before,
            )
        )  # fmt: skip
    starts = [row["returns_before"]["mean"] for row in report["methods"].values()]
    return charts.learning_curves(curves, starts[0] if starts else None, width, 380 if width == WIDE else 330)


def _gaps(report: Mapping[str, Any], colours: Mapping[str, int], width: int) -> str:
    rows = [
        charts.DifferenceRow(
            report["methods"][name]["label"] + what, colours[name], row["mean"], row["low"], row["high"],
            tuple(row["differences"]),
        )
        for name, found in report["comparison"].items()
        for what, row in ((", with its rules", found["with_rules"]), ("", found))
        if row is not None
    ]  # fmt: skip
    if not rows:
        return ""
    against = next(iter(report["comparison"].values()))["against"]
    return charts.differences(rows, report["methods"][against]["label"], width)


def _trials(measures: Mapping[str, Any], width: int) -> str:
    return advice_charts.gains(measures.get("trials", ()), width)


def _windows(measures: Mapping[str, Any], width: int) -> str:
    return advice_charts.fidelity((measures.get("fidelity") or {}).get("scores", ()), width)


def _decided(report: Mapping[str, Any], width: int) -> str:
    decided = (report["rules"] or {}).get("map")
    return "" if decided is None else rules_charts.decision(decided, width)


def _cards(
    rows: Sequence[Mapping[str, Any]],
    frames: Mapping[tuple[int, int], Array],
    narrations: Mapping[str, Narration],
) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]]]:
    """The advice with the largest gains as cards, the rest as plain rows."""

    def rank(row: Mapping[str, Any]) -> tuple[bool, float, int, int]:
        worth = (row["test"] or {}).get("gain")
        return worth is None, -(row["importance"] if worth is None else worth), row["episode"], row["step"]

    ordered = sorted(rows, key=rank)
    tests = [row["test"] for row in ordered[:CARDS] if row["test"]]
    low = min([0.0, *(test["low"] for test in tests if test["low"] is not None)])
    high = max([0.0, *(test["high"] for test in tests if test["high"] is not None)])
    cards = []
    for row in ordered[:CARDS]:
        told = narrations.get(row["segment"])
        cards.append(
            {
                "row": row,
                "picture": _picture(frames.get((row["episode"], row["step"])), row),
                "bar": _bar(row["test"], low, high),
                "narration": None if told is None else told.text,
            }
        )
    return cards, ordered[CARDS:]


def _picture(frame: Array | None, row: Mapping[str, Any]) -> str | None:
    if frame is None:
        return None
    try:
        return png_data_uri(label_frame(frame, row["step"], row["taken_action"], row["moves"][0][0]))
    except EnvironmentFault:  # a broken renderer must not prevent the report of a finished run
        return None


def _bar(test: Mapping[str, Any] | None, low: float, high: float) -> dict[str, float] | None:
    """Places in percent on an axis that all cards share, so that their gains can be compared by eye."""
    if test is None or None in (test["low"], test["high"], test["gain"]) or high <= low:
        return None

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / (high - low), 2)

    left, right = place(test["low"]), place(test["high"])
    return {"zero": place(0.0), "left": left, "width": round(right - left, 2), "dot": place(test["gain"])}


def _protocol(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was compared and how, as (term, sentence)."""
    config = report["config"]
    policy, refine, test = config["policy"], config["refine"], config["verification"]
    start = (
        f"trained from scratch for {policy['train_steps']:,} environment steps" if policy["train_steps"]
        else f"{policy['shipped']!r}, shipped with the environment" if policy["shipped"] else str(policy["path"])
    )  # fmt: skip
    names = [row["label"] for row in report["methods"].values()]
    tested = {
        "none": "not tested; the critic's word counts",
        "reflect": "the critic's own reflection only, no simulator",
        "simulate": "paired rollouts in the simulator from the stored state",
        "both": "the critic's reflection, then paired rollouts in the simulator from the stored state",
    }[test["mode"]]
    modulation, advice = config["modulation"], config["advice"]
    used = (
        f"matched by {advice['match']} state; followed with probability {modulation['probability']:g} "
        f"({modulation['schedule']}), learnt as {modulation['learn']!r}; implicit reward {modulation['reward']!r} "
        f"with beta {modulation['beta']:g}"
    )
    rows = [
        ("Environment", config["environment"]["name"]),
        ("Starting policy", start),
        ("Methods", ", ".join(names) + (": same starting policy, same training seed" if len(names) > 1 else "")),
        (
            "Budget",
            f"{refine['steps']:,} environment steps for each method; steps spent on collecting episodes and on "
            "testing advice are charged to the methods that use the advice",
        ),
        *(_refined_with(told) if (told := report.get("refining")) else ()),
        (
            "Scoring",
            f"{config['evaluate']['episodes']} episodes without any advice or shaping, on seeds never trained on, the "
            "same for every policy. The best checkpoint is chosen on other seeds. Scoring is charged to nobody",
        ),
    ]
    if any(name != baseline_of(report["methods"]) for name in report["methods"]):
        rows.append(
            ("Advice by", WHO[config["proposer"]] + (f", and {A_PERSON}" if _a_person_advised(report) else ""))
        )
        if report["rules"] is not None:
            rows += rules_protocol(config)
        if _has_moves(report):
            rows += [("Advice tested by", tested), ("Advice used", used)]
    return rows


def _a_person_advised(report: Mapping[str, Any]) -> bool:
    proposals = (report["rules"] or {}).get("proposals", ())
    return bool(report["advice"]["human"]) or any(one["source"] == HUMAN for one in proposals)


def _refined_with(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What every method refined with, and where that comes from."""
    unused = f". Of the starting policy's file: {said(told['unused'])}" if told["unused"] else ""
    return [("Refined with", f"{said(told['words'])}. The same for every method{unused}")]


def _flat(versions: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in versions.items():
        if isinstance(value, Mapping):
            rows += [(f"{inner}", f"{version}") for inner, version in value.items()]
        else:
            rows.append((name, str(value)))
    return rows
