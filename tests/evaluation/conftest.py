from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.evaluation.cases import REFUTED, case, explained
from ultra_agents.config import Config, PluginConfig, PolicyConfig
from ultra_agents.contracts import ReferenceReturns
from ultra_agents.evaluation.report import ReportInputs
from ultra_agents.records import CurvePoint, MethodResult, Narration, Note, Returns, Usage

SEEDS = tuple(range(900, 916))


def make_returns(offset: float) -> Returns:
    noise = np.random.default_rng(0).normal(0, 4, len(SEEDS))
    return Returns(tuple(float(value) for value in noise + offset), SEEDS, tuple([50] * len(SEEDS)))


def make_method(name: str, last: float, env_steps: dict[str, int], **more: Any) -> MethodResult:
    jitter = np.random.default_rng(sum(map(ord, name))).normal(0, 1, len(SEEDS))
    base = make_returns(last)
    values = tuple(float(value) for value in base.values + jitter)
    curve = (CurvePoint(0, -12.0), CurvePoint(500, last - 2), CurvePoint(900, last))
    defaults: dict[str, Any] = {"curve": curve, "metrics": {"return_mean": float("nan")}, "seconds": 3.5}
    return MethodResult(
        name, make_returns(-12.0), Returns(values, SEEDS, base.lengths), make_returns(last + 1), 500, env_steps,
        **{**defaults, **more},
    )  # fmt: skip


@pytest.fixture
def make_inputs() -> Callable[..., ReportInputs]:
    def make(**changes: Any) -> ReportInputs:
        config = Config(
            name="demo",
            seed=7,
            environment=PluginConfig(name="pong"),
            policy=PolicyConfig(shipped="100k"),
        )
        explanation = explained(
            case(rationale="the ball passes below", advice="move now", critique="plausible"),
            case(30, REFUTED),
            case(36, REFUTED),
            notes=(Note("advise", "malformed reply"),),
        )
        segment = explanation.segment
        fields: dict[str, Any] = {
            "config": config,
            "config_hash": config.hash(),
            "versions": {"python": "3.11", "plugins": {"pong": "1.0"}},
            "results": [
                make_method("ultra-ra", -3.0, {"collect": 40, "test": 60, "refine": 900}),
                make_method("continue", -4.0, {"refine": 1000}),
            ],
            "explanations": [explanation],
            "narrations": {segment.name: Narration(segment, "step 24: ball at (3, 4)", (24,), 12)},
            "usage": {"identifier": Usage(2, 1, 100, 20, 1.5), "advisor": Usage(3, 0, 200, 30, 2.5)},
            "frames": {(0, 24): np.full((20, 16, 3), 90, np.uint8)},
            "env_steps_by_purpose": {"collect": 40, "test": 60, "refine:ultra-ra": 900, "refine:continue": 1000},
            "table": {"entries": 1, "radius": np.float32(0.5), "hit_rate": 0.1},
            "command": "ultra run examples/pong.yaml",
            "started": "2026-02-03T10:00:00+00:00",
            "finished": "2026-02-03T10:01:30+00:00",
            "seconds_by_stage": {"collect": 5.0, "refine": 60.0},
            "reference": ReferenceReturns(-20.7, 14.6, "a paper"),
            "peak_memory_mb": 512.0,
            "warnings": ["something odd"],
        }
        return ReportInputs(**{**fields, **changes})

    return make
