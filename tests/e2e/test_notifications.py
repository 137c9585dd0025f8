"""People are told, by a dts as a user starts it: the command line, real receivers, and a kill at the worst moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from support.inbox import Inbox, receiving
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import System, dev, five

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAILING = ("--process", "--", "sh", "-c", "exit 3")


def settings(dsn: str, data: Path) -> dict[str, str]:
    policy = data / "policy.yaml"
    policy.write_text("private_addresses: [127.0.0.0/8]\n")
    return {"DTS_DSN": dsn, "DTS_POLICY_FILE": str(policy)}


@pytest_asyncio.fixture(loop_scope="module")
async def dsn(postgres: TestServer) -> AsyncIterator[str]:
    found = await postgres.create()
    yield found
    await postgres.drop(found)


@pytest_asyncio.fixture(loop_scope="module")
async def inbox() -> AsyncIterator[Inbox]:
    async with receiving() as found:
        yield found


async def make(system: System, *arguments: str, given: str | None = None) -> str:
    done = await system.dts(*arguments, given=given)
    assert done.code == 0, done
    return done.out


async def test_a_kill_between_sending_and_noting_it_loses_no_message(dsn: str, inbox: Inbox):
    with open_directory() as data:
        environment = settings(dsn, data)
        async with dev(data, environment=environment) as system:
            address = f"{inbox.address}/s3cret"
            await make(system, "channel", "create", "ops", "--target-file", "-", given=address)
            await make(system, "task", "create", "backup", *FAILING)

            async def die() -> None:
                inbox.before_answer = None
                await system.programs["dev"].kill()

            inbox.before_answer = die
            await make(system, "task", "trigger", "backup")
            await eventually(lambda: inbox.arrivals, within=20)
            await system.programs["dev"].process.wait()
        connection = await asyncpg.connect(dsn)
        # As if the twenty seconds for which the message was lent were over.
        assert await connection.execute("UPDATE delivery SET due_at = now()") == "UPDATE 1"
        async with dev(data, environment=environment):
            await eventually(lambda: len(inbox.arrivals) >= 2, within=20)
            first, second = inbox.arrivals
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert first.body == second.body
            assert json.loads(first.body)["type"] == "task.failed"
            await eventually(lambda: _none_left(connection))
        assert len(inbox.arrivals) == 2
        await connection.close()
        assert "s3cret" not in (data / "dts.log").read_text()


async def _none_left(connection: asyncpg.Connection) -> bool:
    return await connection.fetchval("SELECT count(*) FROM delivery") == 0


async def _kept(dsn: str) -> tuple[int, int]:
    """How many channels PostgreSQL has, and of how many it could tell where they lead."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT channel::text || encode(sealed, 'escape') FROM channel")
    await connection.close()
    return len(rows), sum("s3cret" in text for (text,) in rows)


async def test_channels_are_made_tried_used_and_deleted_by_the_command_line_over_five_roles(dsn: str, inbox: Inbox):
    with open_directory() as data:
        target = data / "target"
        target.write_text(f"{inbox.address}/s3cret\n")
        async with five(data, environment=settings(dsn, data), secure=True) as system:
            nothing = await system.dts("channel", "list")
            assert "there is no channel" in nothing.out + nothing.err
            key = await make(system, "channel", "create", "ops", "--target-file", str(target))
            assert key.startswith("whsec_")
            ping = ("channel", "create", "dead-man", "--kind", "ping", "--task", "backup", "--target-file", str(target))
            assert await make(system, *ping) == ""
            refused = await system.dts("channel", "create", "x", "--on", "faild", "--target-file", str(target))
            assert refused.code == 2
            assert "--on" in refused.err
            assert "s3cret" not in refused.err

            assert await make(system, "channel", "test", "ops") == "the message arrived\n"
            inbox.status = 503
            failed = await system.dts("channel", "test", "ops")
            assert (failed.code, failed.err) == (1, "the message did not arrive: 127.0.0.1 answered 503\n")
            inbox.status = 204
            inbox.arrivals.clear()

            await make(system, "task", "create", "backup", *FAILING)
            await make(system, "task", "trigger", "backup")
            await eventually(lambda: len(inbox.arrivals) >= 3, within=20)
            paths = [arrival.path.partition("?")[0] for arrival in inbox.arrivals]
            assert sorted(paths) == ["/s3cret", "/s3cret/fail", "/s3cret/start"]
            assert paths.index("/s3cret/start") < paths.index("/s3cret/fail")

            shown = await make(system, "channel", "list")
            listed = json.loads(await make(system, "channel", "list", "-o", "json"))
            assert [channel["name"] for channel in listed] == ["dead-man", "ops"]
            assert listed[1]["where"] == inbox.address
            assert "s3cret" not in shown + json.dumps(listed)
            assert key.strip() not in shown + json.dumps(listed)
            update = ("channel", "update", "ops")
            await make(system, *update, "--on", "failed", "--quiet", "22:00-07:00")
            assert await make(system, *update, "--label", "team=db", "--quiet", "") == "ops changed\n"
            _, changed = json.loads(await make(system, "channel", "list", "-o", "json"))
            assert (changed["events"], changed["labels"], changed["quiet"]) == (["failed"], {"team": "db"}, None)
            assert changed["late_after_seconds"] == listed[1]["late_after_seconds"]
            assert await _kept(dsn) == (2, 0)
            assert await make(system, "channel", "delete", "ops") == "ops deleted\n"
        assert all("s3cret" not in log.read_text() for log in data.glob("*.log"))
        assert len(list(data.glob("*.log"))) == 5
