"""Everything that the node holds: what waits, what runs, and what was given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator

from dts.pb.dts.v1 import Assignments, Capacity, Recall, Resources, RunState
from dts.roles.executor.assigned import Assigned, AssignmentReader
from dts.roles.executor.attempt import Attempt, Cause, Phase, Tools
from dts.roles.executor.keys import Key, read_keys, words
from dts.roles.executor.noop import Noops
from dts.roles.executor.work import Work

log = logging.getLogger(__name__)

REMEMBERED = 50_000
"""How many names of attempts that were given back or done are kept. An assignment may be overtaken by its recall."""

GiveBack = Callable[[list[Key]], None]


class Roster:
    """The attempts of the node. `give_back` is told what had not started and never will."""

    def __init__(self, tools: Tools) -> None:
        self.give_back: GiveBack = lambda _: None
        self.leaving = False
        """Nothing new is taken."""
        self.unable = asyncio.Event()
        """A kind turned out to be missing."""
        self.noops = Noops(tools.timetable, tools.outbox, tools.lease, tools.monotonic)
        self._tools = tools
        self._reader = AssignmentReader()
        self._attempts: dict[Key, Attempt] = {}
        self._tasks: dict[Key, dict[asyncio.Task[None], Attempt]] = {}
        """All lives of an attempt: one that was given up may not be tidied up when the next begins."""
        self._fenced: dict[Key, str] = {}
        """Attempts that run without leave, with their task."""
        self._done_with: dict[Key, None] = {}

    def __len__(self) -> int:
        """Attempts that are not over."""
        return len(self._attempts) + len(self.noops)

    def __iter__(self) -> Iterator[Attempt]:
        """Attempts that have a task of their own."""
        return iter(list(self._attempts.values()))

    def held(self, now: float) -> dict[Key, int]:
        """Every attempt that is not over: microseconds since it started, −1 if it has not."""
        noops: dict[Key, int] = dict.fromkeys(self.noops, -1)
        return noops | {key: _ago(attempt.started, now) for key, attempt in self._attempts.items()}

    def used(self) -> Capacity:
        """What the attempts take. A noop takes nothing."""
        reserved = [attempt.assigned.job.spec.resources or Resources() for attempt in self]
        resources = Resources(cpus=sum(item.cpus for item in reserved), memory=sum(item.memory for item in reserved))
        return Capacity(slots=len(reserved), resources=resources)

    # -- orders

    def assign(self, message: Assignments) -> None:
        """Takes attempts; what it holds already, or is done with, is not taken twice."""
        batch = self._reader.read(message, received_at=self._tools.monotonic(), clock=self._tools.clock)
        for (due, start_by), keys in batch.noops.items():
            if new := self._new(keys):
                self.noops.add(new, due=due, start_by=start_by)
        for assigned in batch.others:
            if self._new([assigned.key]):
                self._begin(assigned)

    def adopt(self, assigned: Assigned, found: Awaitable[Work | None], started: float) -> None:
        """Goes on with what an earlier process started."""
        attempt = Attempt(assigned, self._tools)
        self._enter(attempt, attempt.resume(found, started))

    def recall(self, recall: Recall) -> None:
        """Gives back what has not started, stops what has."""
        back = [key for key in read_keys(recall.attempts) if self._gives_back(key, recall)]
        if recall.fenced:
            self._tools.journal.forget(self._tools.outbox.acknowledge(back))
            self.remember(back)
        elif back:
            self._return(back)

    def give_up(self) -> list[Key]:
        """Forgets everything that has not started, without a word: the lease is over, or nobody is attached."""
        keys = self.noops.give_up()
        for key in self._waiting():
            self._drop(key)
            keys.append(key)
        return keys

    def leave(self) -> None:
        """Takes nothing more and gives back what has not started."""
        self.leaving = True
        if keys := self.give_up():
            self._return(keys)

    def remember(self, keys: Iterable[Key]) -> None:
        """These are done with: should one of them be handed over again, it is given back and never starts."""
        self._done_with.update(dict.fromkeys(keys))
        while len(self._done_with) > REMEMBERED:
            del self._done_with[next(iter(self._done_with))]

    async def idle(self) -> None:
        """Waits until every attempt is over."""
        while tasks := self._lives():
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Lets go of everything; what has started goes on without us."""
        tasks = self._lives()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- how

    def _new(self, keys: list[Key]) -> list[Key]:
        if self.leaving:
            self._return(keys)
            return []
        if self._done_with:
            self._return([key for key in keys if key in self._done_with])
        outbox, noops, attempts, back = self._tools.outbox, self.noops, self._attempts, self._done_with
        return [
            key for key in keys if key not in outbox and key not in noops and key not in attempts and key not in back
        ]

    def _begin(self, assigned: Assigned) -> None:
        attempt = Attempt(assigned, self._tools)
        self._enter(attempt, self._after(self._in_the_way(assigned), attempt))

    def _in_the_way(self, assigned: Assigned) -> list[asyncio.Task[None]]:
        """What must be gone first: earlier lives of the attempt, and what of its task runs without leave.

        The ledger has given that up, and with it the place that it held; that it still lives is known here alone.
        """
        task = assigned.job.spec.task_id
        keys = {assigned.key, *(key for key, of in self._fenced.items() if of == task)}
        return [life for key in keys for life in self._tasks.get(key, ())]

    async def _after(self, earlier: list[asyncio.Task[None]], attempt: Attempt) -> None:
        if earlier:
            left = attempt.assigned.start_by - self._tools.monotonic()
            await asyncio.wait(earlier, timeout=max(0.0, left))
        await attempt.live()

    def _enter(self, attempt: Attempt, life: Coroutine[None, None, None]) -> None:
        key = attempt.assigned.key
        self._attempts[key] = attempt
        task = asyncio.create_task(life, name=words(key))
        self._tasks.setdefault(key, {})[task] = attempt
        task.add_done_callback(lambda task: self._leave(key, attempt, task))

    def _leave(self, key: Key, attempt: Attempt, task: asyncio.Task[None]) -> None:
        if self._attempts.get(key) is attempt:
            del self._attempts[key]
        del self._tasks[key][task]
        if not self._tasks[key]:
            del self._tasks[key]
            self._fenced.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s was lost inside the executor", words(key), exc_info=error)
        if attempt.unable:
            self.unable.set()
            self._return([key])

    def _gives_back(self, key: Key, recall: Recall) -> bool:
        """Whether the attempt will never start; stops it if it has and is to stop."""
        attempt = self._attempts.get(key)
        if attempt is None:
            self.noops.drop(key)
            return recall.fenced or key not in self._tools.outbox
        if attempt.phase is Phase.WAITING:
            self._drop(key)
            return True
        if recall.fenced:
            self._fenced[key] = attempt.assigned.job.spec.task_id
        if not recall.unstarted_only:
            attempt.stop(_cause(recall), kill=recall.kill)
        return False

    def _drop(self, key: Key) -> None:
        attempt = self._attempts.pop(key)
        attempt.phase = Phase.OVER
        for task, of in self._tasks[key].items():
            if of is attempt:
                task.cancel()
        self._tools.journal.forget([key])

    def _lives(self) -> list[asyncio.Task[None]]:
        return [task for lives in self._tasks.values() for task in lives]

    def _waiting(self) -> list[Key]:
        return [key for key, attempt in self._attempts.items() if attempt.phase is Phase.WAITING]

    def _return(self, keys: list[Key]) -> None:
        if keys:
            self.remember(keys)
            self.give_back(keys)


def _cause(recall: Recall) -> Cause:
    return Cause(RunState.CANCELLED, recall.reason, "it was stopped", fenced=recall.fenced)


def _ago(started: float | None, now: float) -> int:
    return -1 if started is None else max(0, round((now - started) * 1_000_000))
