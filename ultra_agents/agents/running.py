"""Many state machines side by side, each remembered after every node.

A finished one is never run again, an interrupted one goes on at the node it was in.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from ultra_agents.agents.checkpoint import CheckpointPlace

Stop: TypeAlias = Callable[[], bool]


@dataclass(frozen=True)
class Task:
    """One run of the state machine.

    Attributes:
        name: Its thread in the checkpoint.
        fingerprint: What its conversation depends on: a state that was kept under another one is not used.
        context: What its nodes work with, given what asks whether to stop.
        result: The key of the state that is filled in the end.
    """

    name: str
    fingerprint: str
    context: Callable[[Stop], Any]
    result: str


def run_side_by_side(
    tasks: Sequence[Task],
    graph_with: Callable[[BaseCheckpointSaver[Any] | None], Any],
    *,
    checkpoint: CheckpointPlace | None,
    concurrency: int,
    most_nodes: int,
    stop: Stop,
    finished: Callable[[str, int], object],
) -> list[Mapping[str, Any]]:
    """Run `tasks`, `concurrency` at a time; their last states in the order of the tasks, whatever came first.

    The first error, or `stop()`, lets running questions end and starts nothing more; the checkpoint keeps what there
    is.

    Args:
        tasks: What is run.
        graph_with: The compiled state machine, given what remembers (langgraph is heavy, so it is made late).
        checkpoint: Where the progress of each task is kept; None remembers nothing.
        concurrency: Tasks at a time.
        most_nodes: Nodes that no task passes: langgraph's guard against graphs that never end.
        stop: Polled; true ends everything.
        finished: Told of each task that finished, and how many did.

    Raises:
        Interrupted: `stop()` became true before all tasks were finished.
        UltraError: Whatever else ended a task: a spending cap, an unreachable model, a faulty plugin.
    """
    halted = threading.Event()
    first: list[BaseException] = []
    done: list[str] = []
    counting = threading.Lock()

    def run(task: Task) -> Mapping[str, Any]:
        try:
            thread = thread_of(checkpoint, task.name)
            state = _last_state(task, thread, graph, saver, most_nodes, lambda: halted.is_set() or stop())
            with counting:
                done.append(task.name)
                finished(task.name, len(done))
            return state
        except BaseException as error:
            if not halted.is_set():
                first.append(error)  # those that follow are only its consequence
            halted.set()
            raise

    from ultra_agents.agents.checkpoint import open_checkpoint, thread_of

    with ExitStack() as opened:
        saver = None if checkpoint is None else opened.enter_context(open_checkpoint(checkpoint))
        graph = graph_with(saver)
        pool = opened.enter_context(ThreadPoolExecutor(max(concurrency, 1), "explain"))
        futures: list[Future[Mapping[str, Any]]] = []
        try:
            futures += [pool.submit(run, task) for task in tasks]
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            halted.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if first:
            raise first[0]
        return [future.result() for future in futures]


def _last_state(
    task: Task, thread: str, graph: Any, saver: BaseCheckpointSaver[Any] | None, most_nodes: int, stop: Stop
) -> Mapping[str, Any]:
    config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": most_nodes}
    context = task.context(stop)
    context.check()
    begin: Mapping[str, Any] | None = {"fingerprint": task.fingerprint}
    if saver is not None:
        known = graph.get_state(config)
        if known.values.get("fingerprint") == task.fingerprint:
            if known.values.get(task.result):
                values: Mapping[str, Any] = known.values
                return values
            begin = None
        elif known.config["configurable"].get("checkpoint_id"):
            saver.delete_thread(thread)
    state: Mapping[str, Any] = graph.invoke(
        begin, config, context=context, durability="sync" if saver is not None else None
    )
    return state


def digest(values: object) -> str:
    """Sixteen hex digits that change with any of the JSON-able `values`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
