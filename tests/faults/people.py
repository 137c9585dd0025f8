"""People of a fault run: they change tasks while things break, and remember what they were told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dts.domain.errors import DeadlineExceeded, DtsError, Internal, Unavailable
from dts.pb.dts.v1 import (
    CreateTaskRequest,
    DeleteTaskRequest,
    PauseTaskRequest,
    ResumeTaskRequest,
    SchedulerServiceStub,
    TaskDefinitionServiceStub,
    TaskSpec,
    TriggerTaskRequest,
    UpdateTaskRequest,
)
from dts.rpc.channel import Channel
from dts.rpc.stubs import stub
from faults.load import changing, spec
from faults.model import Definition, Operation, Outcome, Verb

PATIENCE = 5.0
"""Seconds after which a person gives a call up, and does not know what became of it."""

UNKNOWN = (Unavailable, DeadlineExceeded, Internal)
"""Answers that do not tell whether it happened."""


@dataclass
class People:
    """They call the gateway, wherever it is.

    Attributes:
        channel: the way to it.
        spec: a task in dts's words.
        changing: what they may make of a task that they edit again and again.
        operations: what they did, in the order in which they did it.
    """

    channel: Callable[[], Channel]
    spec: Callable[[str, Definition], TaskSpec] = spec
    changing: Callable[[random.Random], Definition] = changing
    operations: list[Operation] = field(default_factory=list)

    async def create(self, name: str, definition: Definition) -> Outcome:
        """Creates a task."""
        request = CreateTaskRequest(spec=self.spec(name, definition))
        return await self._do(name, Verb.CREATE, lambda t, _: t.create_task(request), definition)

    async def update(self, name: str, definition: Definition) -> Outcome:
        """Defines a task anew."""
        request = UpdateTaskRequest(task=name, spec=self.spec(name, definition))
        return await self._do(name, Verb.UPDATE, lambda t, _: t.update_task(request), definition)

    async def pause(self, name: str) -> Outcome:
        """Pauses a task."""
        request = PauseTaskRequest(task=name, note="a fault run")
        return await self._do(name, Verb.PAUSE, lambda t, _: t.pause_task(request))

    async def resume(self, name: str) -> Outcome:
        """Lets it go on."""
        request = ResumeTaskRequest(task=name)
        return await self._do(name, Verb.RESUME, lambda t, _: t.resume_task(request))

    async def delete(self, name: str) -> Outcome:
        """Deletes a task."""
        request = DeleteTaskRequest(task=name)
        return await self._do(name, Verb.DELETE, lambda t, _: t.delete_task(request))

    async def trigger(self, name: str) -> Outcome:
        """Asks for a run."""
        request = TriggerTaskRequest(task=name)
        return await self._do(name, Verb.TRIGGER, lambda _, s: s.trigger_task(request))

    async def change_tasks(self, names: list[str], chance: random.Random, *, pause: Callable[[], float]) -> None:
        """Goes on changing these tasks until cancelled, each time another way; a pause between two changes.

        What may have been deleted has its name for good: the next task in its place has another.
        """
        numbers = Counter[str]()
        while True:
            name = chance.choice(names)
            await self._one_of(f"{name}.{numbers[name]}", chance)
            last = self.operations[-1]
            numbers[name] += last.verb is Verb.DELETE and last.outcome is not Outcome.FAIL
            await asyncio.sleep(pause())

    async def _one_of(self, name: str, chance: random.Random) -> None:
        match chance.choice(list(Verb)):
            case Verb.CREATE:
                await self.create(name, self.changing(chance))
            case Verb.UPDATE:
                await self.update(name, self.changing(chance))
            case Verb.PAUSE:
                await self.pause(name)
            case Verb.RESUME | Verb.CANCEL:
                await self.resume(name)
            case Verb.DELETE if chance.random() < 0.3:  # else there would be little to change
                await self.delete(name)
            case Verb.DELETE | Verb.TRIGGER:
                await self.trigger(name)

    async def _do(
        self,
        task: str,
        verb: Verb,
        call: Callable[[TaskDefinitionServiceStub, SchedulerServiceStub], Awaitable[object]],
        definition: Definition | None = None,
    ) -> Outcome:
        """One call, and what it came to. Nobody tries again: what happened the first time would not be known."""
        invoked = datetime.now(UTC)
        completed: datetime | None = None
        outcome = Outcome.INFO
        run_id = ""
        try:
            async with asyncio.timeout(PATIENCE):
                with closing(self.channel()) as channel:
                    answer = await call(stub(TaskDefinitionServiceStub, channel), stub(SchedulerServiceStub, channel))
            completed, outcome = datetime.now(UTC), Outcome.OK
            run_id = getattr(getattr(answer, "run", None), "id", "")
        except (TimeoutError, *UNKNOWN):
            pass
        except DtsError:
            completed, outcome = datetime.now(UTC), Outcome.FAIL
        finally:
            self.operations.append(Operation(task, verb, invoked, completed, outcome, definition, run_id))
        return outcome
