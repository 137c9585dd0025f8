"""Several schedulers without a leader: one may be killed or frozen, and every tick still runs exactly once."""

from __future__ import annotations

import signal

from dts.pb.dts.v1 import CreateTaskRequest
from support.each_second import agrees, finished, more_than, witness
from support.polling import eventually
from support.postgres import TestServer, open_directory
from support.system import TOKEN, Program, System, five, start


async def second_scheduler(system: System, dsn: str) -> Program:
    home = system.data / "scheduler2"
    home.mkdir()
    environment = {
        "DTS_TOKEN": TOKEN,
        "DTS_DATA": str(home),
        "DTS_DSN": dsn,
        "DTS_DATABASE_ADDR": system.programs["database"].grpc,
    }
    arguments = ("serve", "--role", "scheduler", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    return await start(*arguments, environment=environment, log=system.data / "scheduler2.log")


async def test_a_frozen_scheduler_holds_nothing_up_and_nothing_runs_twice(postgres: TestServer):
    dsn = await postgres.create()
    with open_directory() as data:
        folder = data / "witness"
        folder.mkdir(mode=0o777)
        async with five(data, environment={"DTS_DSN": dsn}) as system, system.calls() as calls:
            other = await second_scheduler(system, dsn)
            for n in range(3):
                await calls.tasks.create_task(CreateTaskRequest(spec=witness(f"w{n}", folder)))
            await eventually(lambda: more_than(calls, "w0", 3), within=30)
            other.process.send_signal(signal.SIGSTOP)
            count = len(await finished(calls, "w0"))
            await eventually(lambda: more_than(calls, "w0", count + 5), within=30)
            other.process.send_signal(signal.SIGCONT)
            await eventually(lambda: more_than(calls, "w0", count + 8), within=30)
            await other.kill()
            await eventually(lambda: more_than(calls, "w0", count + 11), within=30)
            for n in range(3):
                await eventually(lambda name=f"w{n}": agrees(calls, name, folder))
    await postgres.drop(dsn)
