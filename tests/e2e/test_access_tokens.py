"""People with tokens of their own, in one process and through a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dts.domain import errors
from dts.pb.dts.v1 import (
    AccessServiceStub,
    CancelRunRequest,
    CreateTaskRequest,
    CreateTokenRequest,
    Kind,
    ListTaskVersionsRequest,
    ListTokensRequest,
    NoopKind,
    PauseTaskRequest,
    ProcessKind,
    RevokeTokenRequest,
    SchedulerServiceStub,
    Scope,
    TailLogsRequest,
    TailLogsResponse,
    TaskDefinitionServiceStub,
    TaskSpec,
    TriggerTaskRequest,
)
from dts.rpc.stubs import stub
from support.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def made(system: System, name: str, scope: Scope) -> str:
    async with system.channel() as channel:
        return (await stub(AccessServiceStub, channel).create_token(CreateTokenRequest(name=name, scope=scope))).secret


async def ended(answers: AsyncIterator[TailLogsResponse]) -> None:
    async for _ in answers:
        pass


async def test_the_history_of_a_task_names_the_person(system):
    secret = await made(system, "anna", Scope.OPERATOR)
    async with system.channel(secret) as channel:
        tasks = stub(TaskDefinitionServiceStub, channel)
        await tasks.create_task(CreateTaskRequest(spec=TaskSpec(name="annas", kind=Kind(noop=NoopKind()))))
        paused = await tasks.pause_task(PauseTaskRequest(task="annas", note="wait"))
        assert paused.task.paused_by == "anna"
        versions = (await tasks.list_task_versions(ListTaskVersionsRequest(task="annas"))).versions
        assert {version.actor for version in versions} == {"anna"}
        with pytest.raises(errors.PermissionDenied, match="needs the scope admin; anna has the scope operator"):
            await stub(AccessServiceStub, channel).list_tokens(ListTokensRequest())


async def test_a_stream_ends_within_five_seconds_of_the_revocation(system):
    spec = TaskSpec(name="talker", kind=Kind(process=ProcessKind(command=["sh", "-c", "echo hello; sleep 60"])))
    async with system.channel() as channel:
        await stub(TaskDefinitionServiceStub, channel).create_task(CreateTaskRequest(spec=spec))
        run = (await stub(SchedulerServiceStub, channel).trigger_task(TriggerTaskRequest(task="talker"))).run
    secret = await made(system, "leaver", Scope.VIEWER)
    async with system.channel(secret) as channel, system.channel() as admin:
        answers = stub(SchedulerServiceStub, channel).tail_logs(TailLogsRequest(run=run.id, follow=True))
        async with asyncio.timeout(30):
            await anext(answers)
        await stub(AccessServiceStub, admin).revoke_token(RevokeTokenRequest(token="leaver"))
        with pytest.raises(errors.Unauthenticated, match="the token leaver was revoked"):
            await asyncio.wait_for(ended(answers), 5)
        await stub(SchedulerServiceStub, admin).cancel_run(CancelRunRequest(run=run.id))
