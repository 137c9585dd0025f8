"""kill -9 of `dts dev`, again and again, under load: every tick of the gap is in the ledger exactly once."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import asyncpg

from dts.pb.dts.v1 import (
    Catchup,
    CreateTaskRequest,
    Interval,
    Kind,
    NoopKind,
    Policies,
    ProcessKind,
    Rule,
    Schedule,
    TaskSpec,
)
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import TOKEN, System, start

KILLS = 20
ROWS = """
SELECT t.name, t.created_at, h.scheduled_at AS first, coalesce(h.last_scheduled_at, h.scheduled_at) AS last, h.ticks
FROM run_history h JOIN task t ON t.id = h.task_id
WHERE h.scheduled_at BETWEEN $1 AND $2
ORDER BY t.name, first
"""
SECOND = timedelta(seconds=1)


def each_second(name: str, catchup: Catchup, kind: Kind) -> TaskSpec:
    schedule = Schedule(rules=[Rule(every=Interval(period=SECOND))])
    window = timedelta(hours=1) if catchup is Catchup.ALL else None
    policies = Policies(catchup=catchup, catchup_window=window, catchup_max=10, start_deadline=timedelta(minutes=1))
    return TaskSpec(name=name, schedule=schedule, kind=kind, policies=policies)


async def settled_until(connection: asyncpg.Connection) -> datetime | None:
    """Up to where every tick of every task has its last state."""
    return await connection.fetchval(
        "SELECT least((SELECT min(scheduled_at) FROM run), (SELECT min(upto) FROM task_cursor))"
    )


async def test_twenty_kills_lose_no_tick_and_double_none(postgres: TestServer):
    dsn = await postgres.create()
    chance = random.Random(7)
    with open_directory() as data:
        environment = {"DTS_TOKEN": TOKEN, "DTS_DATA": str(data), "DTS_DSN": dsn, "DTS_LOG_LEVEL": "WARNING"}
        arguments = ("dev", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
        connection = await asyncpg.connect(dsn)
        try:
            begun = await connection.fetchval("SELECT now()")
            for kill in range(KILLS + 1):
                program = await start(*arguments, environment=environment, log=data / "dts.log")
                system = System(program.grpc, program.http, data, environment)
                if kill == 0:
                    await define(system)
                moment = await connection.fetchval("SELECT now()") + timedelta(seconds=chance.uniform(0, 2))
                if kill < KILLS:
                    await eventually(lambda until=moment: passed(connection, until))
                    await program.kill()
            end = await connection.fetchval("SELECT now()")

            async def all_settled() -> bool:
                until = await settled_until(connection)
                return until is not None and until > end

            await eventually(all_settled, within=60)
            await program.stop()
            await check(connection, begun, end)
        finally:
            await connection.close()
    await postgres.drop(dsn)


async def passed(connection: asyncpg.Connection, moment: datetime) -> bool:
    return await connection.fetchval("SELECT now() >= $1", moment)


async def define(system: System) -> None:
    noop, process = Kind(noop=NoopKind()), Kind(process=ProcessKind(command=["true"]))
    specs = [each_second(f"noop-{n}", Catchup.LATEST, noop) for n in range(20)]
    specs += [each_second(f"all-{n}", Catchup.ALL, noop) for n in range(5)]
    specs += [each_second(f"process-{n}", Catchup.NONE, process) for n in range(3)]
    async with system.calls() as calls:
        for spec in specs:
            await calls.tasks.create_task(CreateTaskRequest(spec=spec))


async def check(connection: asyncpg.Connection, begun: datetime, end: datetime) -> None:
    """From the first tick of a task to the end: no instant is missing, none is there twice."""
    rows = await connection.fetch(ROWS, begun, end)
    names = {row["name"] for row in rows}
    assert len(names) == 28
    for name in names:
        due = next(row["created_at"] for row in rows if row["name"] == name)
        due = due.replace(microsecond=0) + SECOND
        for row in (row for row in rows if row["name"] == name):
            assert row["first"] == due, (name, dict(row))
            assert row["last"] - row["first"] == (row["ticks"] - 1) * SECOND
            due = row["last"] + SECOND
        assert due > end - 2 * SECOND
