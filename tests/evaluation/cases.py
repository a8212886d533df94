"""Critical states with one attempt each, and explanations made of them."""

from __future__ import annotations

from typing import Any

from ultra_agents.records import Attempt, CriticalState, Critique, Explanation, Note, Plan, Segment, TestResult

HELD = TestResult(0.5, 0.2, 0.8, 12, 700, True, "good")
REFUTED = TestResult(-0.5, -0.8, -0.2, 12, 700, False, "bad")
SEGMENT = Segment(0, 0, 60, "point lost")


def case(step: int = 24, test: TestResult | None = HELD, **changes: Any) -> CriticalState:
    """A state with one attempt: accepted unless its test failed or something else is asked."""
    fields: dict[str, Any] = {
        "rationale": "why", "advice": "how", "critique": "ok", "action": "UP", "hold": 4, "reward": 0.6,
        "importance": 0.8, "joint": None, "fate": "accepted" if test is None or test.passed else "rejected", **changes,
    }  # fmt: skip
    attempt = Attempt(
        plan=Plan(((fields["action"], fields["hold"]), *fields.get("then", ()))),
        rationale=fields["advice"],
        critique=Critique("accept", fields["reward"], -0.4, fields["critique"]),
        test=test,
    )
    lost = fields["fate"] != "accepted"
    return CriticalState(
        step=step,
        rationale=fields["rationale"],
        importance=fields["importance"],
        taken_action="STAY",
        attempts=(attempt,),
        fate=fields["fate"],
        stage=fields.get("stage", "test") if lost else "",
        reason=fields.get("reason", "no gain") if lost else "",
        joint=fields["joint"],
    )


def explained(*states: CriticalState, notes: tuple[Note, ...] = (), **changes: Any) -> Explanation:
    """The explanation of one segment."""
    fields: dict[str, Any] = {"segment": SEGMENT, "env_steps": 700, "source": "tiny-llm", **changes}
    return Explanation(states=states, notes=notes, **fields)
