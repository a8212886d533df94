"""Segments on a Ray cluster: the state machine of each is a task there, and the same machine as here.

What there is once a run stays where the run was begun, for good reasons: the gateway (spending caps and rate limits
are those of the run, the answer cache and the transcript are files of one writer, an embedded model is a server of
this machine) and the counterfactual test (candidates at one state share the policy's own rollouts; the rollouts
themselves are the cluster's, `verification/ray_pool.py`). The tasks ask for both through a desk, an actor on the
cluster that keeps every question and its answer: a task whose worker is lost is begun again, asks the same questions
and is given the same answers, at no cost and without being heard twice.

A finished segment is put into the checkpoint file; one that was interrupted asks again, and is answered from the
cache. The `oracle` stays here: its expert plays on in a simulator of the run's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from ultra_agents.agents.state import Context, State
from ultra_agents.cluster import connected
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.errors import PluginError, UltraError
from ultra_agents.events import Event
from ultra_agents.records import Suggestion, TestResult, Trajectory

if TYPE_CHECKING:
    from ultra_agents.agents.graph import Minds

Key: TypeAlias = tuple[str, str, int]
"""Segment, digest of the question, and how often it was asked there before."""
_POLL_S, _SERVING = 0.2, 32


class RaySegments:
    """Runs segments on a cluster, for `runner.SegmentRunner`.

    Args:
        ray: The library, connected.
        attempts: Times a segment is begun before its worker's death counts.
    """

    def __init__(self, ray: Any, attempts: int) -> None:
        self._ray = ray
        self._contexts: dict[str, Context] = {}
        options = {"num_cpus": 0, "max_retries": attempts - 1, "scheduling_strategy": "SPREAD"}  # it waits, mostly
        self._begin = ray.remote(**options)(_explain)
        self._desk = ray.remote(num_cpus=0, max_concurrency=1000, **_here(ray))(_Desk).remote()
        self._closing = threading.Event()
        self._clerks = ThreadPoolExecutor(_SERVING, "desk")
        self._thread = threading.Thread(target=self._serve, name="desk", daemon=True)
        self._thread.start()

    def invoke(self, minds: Callable[[], Minds], limit: int, begin: State, context: Context) -> State:
        """Run one segment from its beginning to its end, on whatever node has room; waits for it.

        A task that is left behind ends with the desk: `ray.cancel` of one that has just ended brings Ray down (2.60).

        Raises:
            Interrupted: The run is to stop.
            UltraError: Whatever the machine here would have raised.
        """
        ray, name = self._ray, context.segment
        self._contexts[name] = context
        plain = replace(context, gateway=_NOBODY, tester=None, emit=_NOBODY, stop=_NOBODY)
        task = self._begin.remote(minds, limit, begin, plain, context.tester is not None, self._desk)
        try:
            while not ray.wait([task], timeout=_POLL_S)[0]:
                context.check()
            state: State = ray.get(task)
            return state
        except ray.exceptions.RayTaskError as error:
            raise _own(error, ray) from None
        except ray.exceptions.RayError as error:
            raise PluginError(
                f"the worker that explained {name} on the Ray cluster died again and again",
                found=" ".join(str(error).split())[:300], hint="engine: local shows the failure in this process",
            ) from error  # fmt: skip

    def close(self) -> None:
        """End the desk; tasks that still wait for it fail."""
        self._closing.set()
        self._thread.join()
        self._clerks.shutdown(wait=True, cancel_futures=True)
        self._ray.kill(self._desk)

    def _serve(self) -> None:
        while not self._closing.is_set():
            for key, question in self._ray.get(self._desk.take.remote(_POLL_S)):
                self._clerks.submit(self._answer, key, question)

    def _answer(self, key: Key, question: bytes) -> None:
        """Do what was asked for and tell the desk, whatever comes of it."""
        parcel, context = self._ray.cloudpickle, self._contexts[key[0]]  # a message of this run, never a file
        try:
            kind, asked = parcel.loads(question)
            found = (True, _DOES[kind](context, asked))
        except Exception as error:
            found = (False, error)
        self._desk.answer.remote(key, parcel.dumps(found))


@contextmanager
def ray_segments(engine: RunEngineConfig) -> Iterator[RaySegments]:
    """A cluster to explain segments on.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    with connected(engine.address) as ray:
        segments = RaySegments(ray, engine.attempts)
        try:
            yield segments
        finally:
            segments.close()


# -- what is done here for a segment that is explained elsewhere -----------------------------------------------------


def _ask(context: Context, asked: Mapping[str, Any]) -> Any:
    context.check()
    return context.gateway.ask(**asked).value.model_dump()


def _test(context: Context, suggestion: Suggestion) -> TestResult | None:
    context.check()
    assert context.tester is not None, "it is asked only where there is one"
    return context.tester(context.trajectory, suggestion)


def _emit(context: Context, event: Event) -> None:
    context.emit(event)


_DOES: dict[str, Callable[[Context, Any], Any]] = {"ask": _ask, "test": _test, "emit": _emit}


class _Desk:
    """Keeps questions and answers; lives on the cluster, one for all segments of a run."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[tuple[Key, bytes]] = asyncio.Queue()
        self._answers: dict[Key, asyncio.Future[bytes]] = {}

    async def ask(self, key: Key, question: bytes) -> bytes:
        """Wait for the answer; a question that was asked before is not asked again."""
        if key not in self._answers:
            self._answers[key] = asyncio.get_running_loop().create_future()
            self._asked.put_nowait((key, question))
        return await asyncio.shield(self._answers[key])

    async def take(self, patience: float) -> list[tuple[Key, bytes]]:
        """The questions nobody took yet; waits up to `patience` seconds for the first."""
        try:
            found = [await asyncio.wait_for(self._asked.get(), patience)]
        except TimeoutError:
            return []
        while not self._asked.empty():
            found.append(self._asked.get_nowait())
        return found

    async def answer(self, key: Key, answer: bytes) -> None:
        """Answer a question."""
        if not self._answers[key].done():
            self._answers[key].set_result(answer)


# -- on a node of the cluster ----------------------------------------------------------------------------------------


class _Window:
    """The desk as one segment sees it: its gateway, its tester and its events.

    Args:
        ray: The library.
        desk: The actor.
        segment: Whose questions these are.
    """

    def __init__(self, ray: Any, desk: Any, segment: str) -> None:
        self._ray, self._desk, self._segment = ray, desk, segment
        self._before: Counter[str] = Counter()
        self._lock = threading.Lock()

    def put(self, kind: str, asked: Any, same: object) -> Any:
        """Ask, and wait; `same` is what tells one question from another, on every attempt."""
        digest = blake2b(repr((kind, same)).encode(), digest_size=16).hexdigest()
        with self._lock:
            key = (self._segment, digest, self._before[digest])
            self._before[digest] += 1
        question = self._ray.cloudpickle.dumps((kind, asked))
        fine, found = self._ray.cloudpickle.loads(self._ray.get(self._desk.ask.remote(key, question)))
        if not fine:
            raise found
        return found

    def ask(self, **asked: Any) -> Any:
        """As `state.Asks`."""
        found = self.put("ask", asked, [asked[name] for name in ("agent", "models", "messages")])
        return _Answer(asked["reply"].model_validate(found))

    def test(self, trajectory: Trajectory, suggestion: Suggestion) -> TestResult | None:
        """As `state.Tester`; the episode is known at the desk."""
        found: TestResult | None = self.put("test", suggestion, suggestion)
        return found

    def emit(self, event: Event) -> None:
        """As `events.Emit`."""
        self.put("emit", event, event)


@dataclass(frozen=True)
class _Answer:
    value: Any


class _Nobody:
    """In the place of what is not sent to the cluster."""

    def __call__(self, *_: object) -> Any:
        return False

    def ask(self, **_: Any) -> Any:
        raise RuntimeError("a segment on the cluster asks at the desk")


_NOBODY = _Nobody()


def _explain(minds: Callable[[], Minds], limit: int, begin: State, context: Context, tested: bool, desk: Any) -> State:
    """One segment, where Ray put it."""
    import ray

    from ultra_agents.agents.graph import build_graph

    window = _Window(ray, desk, context.segment)
    here = replace(context, gateway=window, tester=window.test if tested else None, emit=window.emit)
    made: Any = build_graph(None, minds()).invoke(begin, {"recursion_limit": limit}, context=here)
    return made  # type: ignore[no-any-return]


def _here(ray: Any) -> dict[str, Any]:
    """Options that keep an actor on this node, where it can be; a client of a cluster has no node."""
    if ray.util.client.ray.is_connected():
        return {}
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=True)}


def _own(error: Any, ray: Any) -> BaseException:
    """What a task raised, without Ray's wrapping."""
    cause = getattr(error, "cause", None)
    while isinstance(cause, ray.exceptions.RayTaskError):
        cause = getattr(cause, "cause", None)
    if isinstance(cause, UltraError):
        return cause
    return PluginError("explaining a segment on the Ray cluster failed", found=f"{type(cause).__name__}: {cause}")
