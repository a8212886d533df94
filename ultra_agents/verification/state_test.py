"""The test of candidates for one state, as it runs where the simulators are.

What goes there is the claim, what comes back the verdict. The policy's own rollouts at the state stay there for later
tests; where they were lost, what was tested before is played again, so that every test finds, and costs, the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ultra_agents.records import Array, TestResult
from ultra_agents.verification.candidates import Candidate, RestoredState, bring
from ultra_agents.verification.host import Host
from ultra_agents.verification.jobs import Course
from ultra_agents.verification.replays import replays
from ultra_agents.verification.sequential import Rule, decide, interval


@dataclass(frozen=True)
class Tested:
    """What came of a candidate.

    Attributes:
        result: The measurement; None where the cap does not pay for a first look.
        steps: Environment steps it took.
        fault: Why it could not be measured, or empty.
    """

    result: TestResult | None
    steps: int
    fault: str


@dataclass(frozen=True)
class Halving:
    """How candidates for a state are told apart.

    Attributes:
        rule: When to stop.
        screen_pairs: Pairs of the first look; 0: there is none.
        screen_horizon: Steps after which it is cut, or with the plan, whichever is later.
        horizon: Steps after the plan at which the other looks are cut.
        cap: Environment steps that a candidate may take.
    """

    rule: Rule
    screen_pairs: int
    screen_horizon: int
    horizon: int
    cap: int


@dataclass(frozen=True, eq=False)
class StateTest:
    """Candidates for one state.

    Attributes:
        address: Episode and step.
        snapshot: The simulator state.
        plans: One `(length, *action_shape)` array per candidate.
        before: The same of the tests at this state that came before, in their order.
        halving: How they are told apart.
        first: The observation there; None where the first pair of replays is not to be told step by step.
        usual: The reward that steps earn as a rule; None where there is none.
    """

    address: tuple[int, int]
    snapshot: bytes
    plans: tuple[Array, ...]
    before: tuple[tuple[Array, ...], ...]
    halving: Halving
    first: Array | None
    usual: float | None

    def course(self, host: Host) -> Course[tuple[Tested, ...]]:
        """Test them, by successive halving, and tell how it went."""
        state = host.states.get(self.address)
        if state is None:
            state = RestoredState(self.address, self.snapshot, traced=self.first is not None)
            for plans in self.before:
                yield from self._halve(state, plans, host)
            host.states[self.address] = state
        found = yield from self._halve(state, self.plans, host)
        return tuple(self._told(state, one, host) for one in found)

    def _halve(self, state: RestoredState, plans: Sequence[Array], host: Host) -> Course[list[_Tried]]:
        halving, rule = self.halving, self.halving.rule
        tried = [_Tried(index, plan) for index, plan in enumerate(plans)]
        live = tried
        stages = [(count, False) for count in rule.looks]
        if halving.screen_pairs and halving.screen_horizon < halving.horizon:
            stages.insert(0, (min(halving.screen_pairs, rule.looks[-1]), True))
        for number, (pairs, screened) in enumerate(stages):
            for one in live:
                length = len(one.plan)
                one.until = max(length, halving.screen_horizon) if screened else length + halving.horizon
            live = [one for one in live if one.affords(state, pairs, halving.cap)]
            yield from bring(state, live, pairs, host.player.slots)
            doubted: list[_Tried] = []
            for one in live:
                if one.fault:
                    continue
                found = one.differences(state, pairs)
                if screened:
                    verdict = "hopeless" if max(found) <= rule.min_gain / 2 else None
                else:
                    verdict = decide(found, rule) or ("pairs" if number + 1 == len(stages) else None)
                one.conclude(found, rule, verdict)
                if verdict is None:
                    doubted.append(one)
            doubted.sort(key=lambda one: -(one.result.gain if one.result else 0.0))
            live = doubted[: math.ceil(len(doubted) / 2)]
            for one in doubted[len(live) :]:
                one.stop("outdone")
        return tried

    def _told(self, state: RestoredState, one: _Tried, host: Host) -> Tested:
        """A candidate's outcome, its replays told."""
        result = one.result
        if result is not None and not one.fault:
            own = [state.bases[pair] for pair in range(result.pairs)]
            found = [one.rollouts[pair] for pair in range(result.pairs)]
            told = replays(host.environment, self.first, own, found, one.shown, len(one.plan), self.usual)
            result = replace(result, replays=told)
        return Tested(result, one.steps, one.fault)


@dataclass
class _Tried(Candidate):
    """A candidate under test."""

    result: TestResult | None = None
    shown: int = 0
    """Steps of the look that `result` is of."""

    def affords(self, state: RestoredState, pairs: int, cap: int) -> bool:
        """Whether a look fits into the cap in the worst case; stops the candidate if not."""
        worst = sum(self.cost(state, pair) for pair in range(max(pairs, len(self.rollouts))))
        if worst > cap:
            self.stop("steps")
        return worst <= cap

    def conclude(self, found: list[float], rule: Rule, verdict: str | None) -> None:
        """Put down what is known."""
        ends, self.shown = interval(found, rule), self.until
        better, worse = (sum(sign * each > 1e-9 for each in found) for sign in (1, -1))
        self.result = TestResult(
            ends.mean, ends.low, ends.high, len(found), self.steps, verdict == "good", verdict or "", better, worse
        )

    def stop(self, why: str) -> None:
        """End for a reason other than the measurement; without a measurement there is no result."""
        if self.result is not None:
            self.result = replace(self.result, stopped=why)
