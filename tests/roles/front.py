"""The dashboard over HTTP, before services that say the worst, and a browser before it."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp

from dts.domain.errors import NotFound
from dts.domain.tokens import hash_of
from dts.pb.dts import v1
from dts.pb.dts.v1 import (
    AccessToken,
    ExplainStep,
    FindTokenResponse,
    LogChunk,
    LogStream,
    Run,
    RunState,
    Scope,
    Task,
    TokenState,
)
from dts.roles.gateway.web.dashboard import routes
from dts.roles.gateway.web.person import Services
from dts.roles.gateway.web.session import Sessions
from dts.rpc.caller import current
from dts.rpc.gate import Gate
from dts.rpc.http import HttpServer
from dts.runtime import clock
from support.rpc import LOOPBACK

NASTY = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
MOMENT = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = "0b8c66a4-66b4-4a8e-9d0c-3f5e5b0f8a11"
HERE = {"Sec-Fetch-Site": "same-origin"}


def secret(name):
    return "dts_" + name.ljust(43, "0")


class Tokens:
    def __init__(self):
        names = {"viewer": Scope.VIEWER, "operator": Scope.OPERATOR}
        self.known = {
            hash_of(secret(name)): AccessToken(name=f"anna-{name}", scope=scope, state=TokenState.ACTIVE)
            for name, scope in names.items()
        }

    async def find_token(self, message, /):
        return FindTokenResponse(token=self.known.get(message.sha256))

    def revoke(self):
        for token in self.known.values():
            token.state = TokenState.REVOKED


def nasty_run(**fields):
    told = {"message": NASTY, "node": NASTY, "parameters": {NASTY: NASTY}, "labels": {NASTY: NASTY}, "task": NASTY}
    attempt = v1.Attempt(number=1, node=NASTY, message=NASTY, image_digest=NASTY, handle=NASTY, state=RunState.FAILED)
    return Run(id=RUN, task_id="i", scheduled_at=MOMENT, started_at=MOMENT, attempts=[attempt], **(told | fields))


class Scheduler(v1.SchedulerServiceBase):
    def __init__(self):
        self.asked: list[tuple[str, str]] = []
        self.state = RunState.RUNNING
        self.missing = False
        self.unknown: set[str] = set()
        self.ledger: list[Run] | None = None
        self.explained: v1.ExplainTaskRequest | None = None

    def _note(self, what):
        self.asked.append((current().name, what))

    async def get_status(self, message):  # noqa: ARG002 - all alike
        return v1.GetStatusResponse(parts=[v1.PartStatus(part=NASTY, well=False, detail=NASTY)])

    async def list_nodes(self, message):  # noqa: ARG002
        capacity = v1.Capacity(slots=4, resources=v1.Resources(cpus=2, memory=1 << 30))
        node = v1.Node(
            id=NASTY, hostname=NASTY, state=v1.NodeState.READY, labels={NASTY: NASTY}, kinds=[NASTY], capacity=capacity
        )
        node.missing_kinds, node.drain_note, node.engine_labels = {NASTY: NASTY}, NASTY, {NASTY: NASTY}
        bare = v1.Node(id="bare", hostname="bare", state=v1.NodeState.READY, capacity=capacity)
        return v1.ListNodesResponse(nodes=[node, bare])

    async def list_runs(self, message):
        self._note("list_runs")
        if message.task and message.task in self.unknown:
            raise NotFound(f"no task {message.task}", code="task.unknown")
        if self.ledger is not None:
            return self._page_of_ledger(message)
        return v1.ListRunsResponse(runs=[nasty_run(state=self.state)], next_page_token="x")

    def _page_of_ledger(self, message):
        until = message.until or datetime.max.replace(tzinfo=UTC)
        states = message.states or list(RunState)
        found = [run for run in self.ledger if run.state in states and run.scheduled_at < until]
        shown = found[: message.page_size]
        return v1.ListRunsResponse(runs=shown, next_page_token="x" if len(shown) < len(found) else "")

    async def list_outcomes(self, message):  # noqa: ARG002
        if self.ledger == []:
            return v1.ListOutcomesResponse()
        told = v1.TaskOutcomes(task_id="i", states=[RunState.SUCCEEDED], took=[5_000_000], late=[3])
        return v1.ListOutcomesResponse(tasks=[told])

    async def list_run_counts(self, message):
        one = {name: [1] for name in ("succeeded", "failed", "cancelled", "skipped")}
        spans = {name: [1000] for name in ("took_median", "took_p95", "late_median", "late_p95")}
        nodes = [NASTY] if message.by_node else []
        return v1.ListRunCountsResponse(steps=[1], nodes=nodes, counted_since=MOMENT, **one, **spans)

    async def list_tick_counts(self, message):  # noqa: ARG002
        herd = v1.Herd(at=MOMENT, ticks=9, tasks=[NASTY], task_count=9)
        nodes = [v1.NodeTicks(hostname=NASTY, slots=2, peaks=[9, 0, 0.5])]
        return v1.ListTickCountsResponse(
            since=MOMENT, ticks=[9, 0, 3], task_peaks=[9, 0, 3], herds=[herd], tasks=2, nodes=nodes
        )

    async def list_upcoming(self, message):  # noqa: ARG002
        return v1.ListUpcomingResponse(ticks=[v1.Tick(task=NASTY, scheduled_at=MOMENT, timezone=NASTY)])

    async def get_run(self, message):
        if self.missing:
            raise NotFound(f"no run {NASTY}", code="run.unknown")
        self._note(f"get_run {message.run}")
        return v1.GetRunResponse(run=nasty_run(state=self.state))

    async def explain_task(self, message):
        self.explained = message
        steps = [ExplainStep(step=NASTY, ok=False, detail=NASTY)]
        return v1.ExplainTaskResponse(task=NASTY, message=NASTY, verdict="failed", steps=steps, advice=NASTY)

    async def tail_logs(self, message):  # noqa: ARG002
        chunk = {"attempt": 1, "at": MOMENT}
        yield v1.TailLogsResponse(
            chunks=[LogChunk(content=NASTY.encode() + b"\n\x1b[31mred\x1b[0m", stream=LogStream.STDERR, **chunk)]
        )

    async def cancel_run(self, message):
        self._note(f"cancel_run {message.run}")
        return v1.CancelRunResponse(run=nasty_run())


class Definition(v1.TaskDefinitionServiceBase):
    def __init__(self):
        self.created: list[v1.TaskSpec] = []
        self.listed: list[str] = []
        self.deleted: list[str] = []

    def _task(self):
        schedule = v1.Schedule(rules=[v1.Rule(cron=v1.Cron(expression=NASTY))], timezone=NASTY)
        kind = v1.Kind(process=v1.ProcessKind(command=["sh", NASTY], env={"A": NASTY + "\nmore", NASTY: "x"}))
        spec = v1.TaskSpec(name=NASTY, description=NASTY, schedule=schedule, kind=kind, labels={NASTY: NASTY})
        return Task(id="i", spec=spec, version=3, pause_note=NASTY, paused_by=NASTY, last_run=nasty_run())

    async def list_tasks(self, message):
        self.listed.append(message.name_part)
        return v1.ListTasksResponse(tasks=[self._task()], next_page_token="x")

    async def get_task(self, message):  # noqa: ARG002
        value = v1.EffectiveValue(name=NASTY, value=NASTY, source="task")
        return v1.GetTaskResponse(task=self._task(), effective=[value])

    async def list_task_versions(self, message):  # noqa: ARG002
        old = v1.TaskSpec(name="old", description=NASTY)
        versions = [
            v1.TaskVersion(version=number, spec=spec, actor=NASTY, change=NASTY, note=NASTY, created_at=MOMENT)
            for number, spec in ((2, self._task().spec), (1, old))
        ]
        return v1.ListTaskVersionsResponse(versions=versions)

    async def preview_schedule(self, message):  # noqa: ARG002
        notice = v1.Notice(field=NASTY, message=NASTY)
        change = v1.ClockChange(at=MOMENT, effect=NASTY)
        ticks = [
            v1.Tick(scheduled_at=MOMENT + n * timedelta(seconds=1), local_time=NASTY, timezone=NASTY) for n in (0, 1)
        ]
        return v1.PreviewScheduleResponse(ticks=ticks, clock_changes=[change], warnings=[notice])

    async def create_task(self, message):
        if not message.dry_run:
            self.created.append(message.spec)
        return v1.CreateTaskResponse(
            task=Task(id="n", spec=message.spec), warnings=[v1.Notice(field=NASTY, message=NASTY)]
        )

    async def delete_task(self, message):
        self.deleted.append(message.task)
        return v1.DeleteTaskResponse()

    async def update_task(self, message):
        return v1.UpdateTaskResponse(task=Task(id="i", spec=message.spec))


class Front:
    """A gateway's dashboard, and a browser without JavaScript before it."""

    def __init__(self, session, tokens, scheduler, definition):
        self.http, self.tokens, self.scheduler, self.definition = session, tokens, scheduler, definition
        self.stopping = False
        self.now = datetime.now(UTC)

    async def get(self, path, **options):
        async with self.http.get(path, allow_redirects=False, **options) as response:
            return response, await response.text()

    async def post(self, path, fields, headers=HERE):
        async with self.http.post(path, data=fields, headers=headers, allow_redirects=False) as response:
            return response, await response.text()

    async def sign_in(self, name="operator", back="/"):
        return await self.post("/sign-in", {"token": secret(name), "back": back})

    async def form_token(self, path="/"):
        _, text = await self.get(path)
        return re.search(r'name="form_token" value="([^"]+)"', text)[1]


@asynccontextmanager
async def fronting():
    tokens, scheduler, definition = Tokens(), Scheduler(), Definition()
    front = Front(None, tokens, scheduler, definition)
    served = routes(
        Services(definition, scheduler),
        gate=Gate(None, tokens=tokens),
        sessions=Sessions(b"secret", now=lambda: front.now, rand=clock.random_bits),
        clock=clock.now,
        version="9.9",
        stopping=lambda: front.stopping,
    )

    async def well():
        return []

    server = HttpServer(status=well, routes=served)
    port = await server.start(LOOPBACK, 0)
    jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}", cookie_jar=jar) as session:
        front.http = session
        yield front
        front.stopping = True
    await server.stop()
