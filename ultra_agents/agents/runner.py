"""Segments through the state machine, many side by side, each remembered after every node.

A finished segment is never run again, an interrupted one goes on at the node it was in: the checkpoint file (SQLite,
one thread per segment) holds JSON values only, packed as msgpack; nothing in it is ever unpickled.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ultra_agents.agents.state import Context, Row, State
from ultra_agents.errors import RunError
from ultra_agents.events import Emit, StageProgress
from ultra_agents.records import (
    Advice,
    CriticalState,
    Drop,
    Explanation,
    Narration,
    Segment,
    Suggestion,
    TestResult,
    Trajectory,
    Trial,
)

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.sqlite import SqliteSaver

    from ultra_agents.agents.graph import Graph, Minds
    from ultra_agents.agents.ray_segments import RaySegments

Item: TypeAlias = tuple[Trajectory, Narration]
Stop: TypeAlias = Callable[[], bool]


def never() -> bool:
    """A `stop` that never stops."""
    return False


class SegmentRunner:
    """Runs segments through the graph.

    Args:
        checkpoint: SQLite file that remembers; None remembers nothing.
        minds: Makes the nodes that decide (made late: langgraph is heavy).
        context: What the nodes of one segment work with.
        fingerprint: What one segment's conversation depends on; where it changed, the segment starts anew.
        limit: More nodes than any segment passes.
        emit: Hears of every finished segment, as progress of the stage `explain`.
        cluster: Runs segments elsewhere; None runs them in this process.
    """

    def __init__(
        self,
        *,
        checkpoint: Path | None,
        minds: Callable[[], Minds],
        context: Callable[[Trajectory, Narration, Stop], Context],
        fingerprint: Callable[[Narration], str],
        limit: int,
        emit: Emit,
        cluster: RaySegments | None = None,
    ) -> None:
        self._cluster = cluster
        self._checkpoint = checkpoint
        self._minds = minds
        self._context = context
        self._fingerprint = fingerprint
        self._limit = limit
        self._emit = emit

    def run(self, items: Sequence[Item], concurrency: int, stop: Stop) -> list[Explanation]:
        """Explain `items`, `concurrency` at a time; results in the order of the items.

        The first error, or `stop()`, lets running questions end and starts nothing more; the checkpoint keeps what
        there is.

        Raises:
            Interrupted: `stop()` became true before all segments were finished.
            UltraError: Whatever else ended a segment: a spending cap, an unreachable model, a faulty plugin.
        """
        names = [narration.segment.name for _, narration in items]
        if len(set(names)) != len(names):
            raise ValueError(f"a segment is there twice: {sorted(names)}")
        halted = threading.Event()
        first: list[BaseException] = []
        finished: list[str] = []
        counting = threading.Lock()

        def explain(item: Item) -> Explanation:
            try:
                made = self._explain(graph, saver, item, lambda: halted.is_set() or stop())
                with counting:
                    finished.append(item[1].segment.name)
                    self._emit(StageProgress("explain", len(finished), len(items), finished[-1]))
                return made
            except BaseException as error:
                if not halted.is_set():
                    first.append(error)  # those that follow are only its consequence
                halted.set()
                raise

        with (
            self._opened() as (graph, saver),
            ThreadPoolExecutor(max(concurrency, 1), "explain") as pool,
        ):
            futures: list[Future[Explanation]] = []
            try:
                futures += [pool.submit(explain, item) for item in items]
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                halted.set()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            if first:
                raise first[0]
            return [future.result() for future in futures]

    def _explain(self, graph: Graph, saver: SqliteSaver | None, item: Item, stop: Stop) -> Explanation:
        trajectory, narration = item
        name = narration.segment.name
        config: RunnableConfig = {"configurable": {"thread_id": name}, "recursion_limit": self._limit}
        context = self._context(trajectory, narration, stop)
        context.check()
        fingerprint = self._fingerprint(narration)
        begin: State | None = {"fingerprint": fingerprint}
        if saver is not None:
            known = graph.get_state(config)
            if known.values.get("fingerprint") == fingerprint:
                if known.values.get("explanation"):
                    return explanation_from_json(known.values["explanation"])
                begin = None
            elif known.config["configurable"].get("checkpoint_id"):
                saver.delete_thread(name)
        if self._cluster is not None and begin is not None:
            ended = self._cluster.invoke(self._minds, self._limit, begin, context)
            if saver is not None:
                graph.update_state(config, ended, as_node="finish")
            return explanation_from_json(ended["explanation"] or {})
        state = graph.invoke(begin, config, context=context, durability="sync" if saver is not None else None)
        return explanation_from_json(state["explanation"])

    @contextmanager
    def _opened(self) -> Iterator[tuple[Graph, SqliteSaver | None]]:
        from ultra_agents.agents.graph import build_graph

        if self._checkpoint is None:
            yield build_graph(None, self._minds()), None
            return
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
        from langgraph.checkpoint.sqlite import SqliteSaver

        # `allowed_msgpack_modules=None`: plain values only, no class is ever rebuilt from the file.
        serde = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
        with closing(_connect(self._checkpoint)) as connection:
            saver = SqliteSaver(connection, serde=serde)
            yield build_graph(saver, self._minds()), saver


def _connect(path: Path) -> sqlite3.Connection:
    connection: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        problems = connection.execute("PRAGMA quick_check").fetchone()[0]
        if problems == "ok":
            return connection
    except (sqlite3.Error, OSError) as error:
        problems = str(error)
    if connection is not None:
        connection.close()
    raise RunError(
        "the checkpoint of the agents cannot be used",
        found=f"{path}: {problems}",
        expected="a writable SQLite file",
        hint="delete the file to explain these episodes again; answered questions come from the answer cache",
    )


def explanation_from_json(row: Row) -> Explanation:
    """Rebuild what the `finish` node wrote."""
    return Explanation(
        segment=Segment(**row["segment"]),
        critical=tuple(CriticalState(**one) for one in row["critical"]),
        proposed=row["proposed"],
        advice=tuple(Advice.from_json(one) for one in row["advice"]),
        drops=tuple(Drop(**one) for one in row["drops"]),
        env_steps=row["env_steps"],
        trials=tuple(_trial(one) for one in row.get("trials", [])),
    )


def _trial(row: Row) -> Trial:
    suggestion, result = Suggestion(**row["suggestion"]), TestResult(**row["result"])
    return Trial(suggestion, result, float(row["importance"]), float(row["reward"]))
