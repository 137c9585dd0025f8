"""An engine that is stopped, killed, reset or full, and people who lay hands on what dts runs on it (F12 to F22)."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from dts.pb.dts.v1 import ExecKind, Kind, LogStream, Reason, WorkSpec
from dts.roles.executor.exec.runner import ExecRunner
from dts.roles.executor.executor import DESCRIBE_SECONDS
from dts.roles.executor.node import Describer, Identity, Machine
from dts.roles.executor.work import Job, Refused
from support.container_bench import SCHEDULED_AT, Bench, key
from support.engine import NoEngine, PrivateEngine
from support.polling import eventually

pytestmark = pytest.mark.docker

READY = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done"
MIB = 1 << 20


@pytest.fixture
async def own_bench(own_engine):
    async with Bench.on(own_engine.host) as bench:
        yield bench


def touch(pid: int) -> None:
    """Lets a `READY` script go on without asking the engine."""
    Path(f"/proc/{pid}/root/tmp/go").touch()


async def watched(bench, job):
    """The work and who waits for its end, once it runs; and its process."""
    work = await bench.start(job)
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    return work, waiting, bench.api.inspect(work.handle)["State"]["Pid"]


# -- an engine that stops (F12, F13, F15)


@pytest.mark.parametrize("script", ["sleep 100", "trap 'exit 0' TERM; while :; do sleep 0.02; done"])
@pytest.mark.parametrize("heard", ["while it stops", "when it is back"])
async def test_what_an_engine_stopped_with_itself_is_lost_not_failed_and_no_success(
    own_bench, own_engine, script, heard
):
    """SIGTERM of the engine, as at a shut-down of the machine; work may even answer its stop signal with 0."""
    _, waiting, _ = await watched(own_bench, own_bench.job(f"echo ready; {script}"))
    if heard == "while it stops":
        await asyncio.to_thread(own_engine.stop)
    else:
        own_engine.stop()  # nobody listens meanwhile: the answer is read when the next engine is there
    own_engine.start()
    assert (await asyncio.wait_for(waiting, 30)).exit_code is None


async def test_a_command_in_a_container_that_an_engine_stopped_is_no_success(own_bench, own_engine, tmp_path):
    work = await own_bench.start(own_bench.job("while :; do sleep 0.02; done"))
    container = own_bench.api.inspect(work.handle)["Name"].removeprefix("/")
    runner = ExecRunner(engine=own_bench.engine, home=tmp_path / "execs", node="n1")
    command = ["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done"]
    spec = WorkSpec(task="vacuum", kind=Kind(exec=ExecKind(command=command, container=container)))
    run = await runner.prepare(Job(uuid4(), 1, SCHEDULED_AT, None, spec, {}, math.inf))
    await run.start()
    waiting = asyncio.create_task(run.wait(own_bench.printed.emit))
    await own_bench.has_printed("ready")
    await asyncio.to_thread(own_engine.stop)
    own_engine.start()
    assert (await asyncio.wait_for(waiting, 30)).exit_code != 0


@pytest.mark.parametrize("code", [0, 7])
async def test_an_end_while_the_engine_was_dead_is_never_told_wrong(own_bench, own_engine, code):
    _, waiting, pid = await watched(own_bench, own_bench.job(f"{READY}; exit {code}"))
    own_engine.kill()
    touch(pid)
    await eventually(
        lambda: not Path(f"/proc/{pid}").exists() or "Z (zombie)" in Path(f"/proc/{pid}/status").read_text()
    )
    own_engine.start()
    told = (await asyncio.wait_for(waiting, 30)).exit_code
    assert told == code or (code == 0 and told is None)


async def test_a_reset_of_the_machine_makes_no_success_of_what_ran(own_bench, own_engine):
    """Engine, containerd, shims and work die at once, and what was in /run is gone."""
    _, waiting, pid = await watched(own_bench, own_bench.job("echo ready; sleep 100"))
    own_engine.kill()
    own_engine.lose_containerd(pid)
    shutil.rmtree(own_engine.directory / "exec", ignore_errors=True)
    own_engine.start()
    assert (await asyncio.wait_for(waiting, 30)).exit_code is None


# -- an engine that hangs (F14)


async def test_a_node_whose_engine_hangs_says_so_within_ten_seconds(own_bench, own_engine):
    describe = Describer(
        Identity("n1", "i1"), Machine(), {"container": own_bench.runner}, engine=own_bench.engine.membership
    )
    assert "container" in (await describe()).kinds
    own_engine.pause()
    try:
        clock = asyncio.get_running_loop().time
        begun = clock()
        node = await describe()
        took = clock() - begun
    finally:
        own_engine.resume()
    assert "in time" in node.missing_kinds["container"] or "no answer" in node.missing_kinds["container"]
    assert took + DESCRIBE_SECONDS <= 10.5
    assert "container" in (await describe()).kinds


# -- a full disk (F16)


@contextmanager
def on_a_small_disk() -> Iterator[PrivateEngine]:
    """An engine whose data are on a file system of their own."""
    if os.geteuid() != 0:
        pytest.skip("it takes root to make a file system")
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="dts-docker-")))
    data = engine.directory / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
    try:
        engine.start()
        engine.api.load_image()
        yield engine
    except NoEngine as error:
        pytest.skip(str(error))
    finally:
        (data / "ballast").unlink(missing_ok=True)
        engine.close()


def fill(engine: PrivateEngine) -> Path:
    """Not a byte more can be written."""
    ballast = engine.directory / "data" / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return ballast


ON_SIGNAL = "trap 'exit 4' USR1; echo ready; while :; do sleep 0.02; done"


async def test_a_full_disk_makes_no_success_of_a_failure_and_work_goes_on_afterwards():
    """The engine cannot note the ends; when it is started again it says that both ended with 0 (rule W)."""
    with on_a_small_disk() as engine:
        async with Bench.on(engine.host) as bench:
            _, waiting, heard = await watched(bench, bench.job(ON_SIGNAL))
            job = bench.job(ON_SIGNAL)
            work = await bench.start(job)
            unheard = bench.api.inspect(work.handle)["State"]["Pid"]
            ballast = await asyncio.to_thread(fill, engine)
            with pytest.raises(Refused, match="no space left") as refused:
                await bench.start(bench.job("true"))
            assert refused.value.reason is Reason.ENGINE_ERROR
            for pid in (heard, unheard):
                os.kill(pid, signal.SIGUSR1)
            assert (await asyncio.wait_for(waiting, 30)).exit_code == 4
            await eventually(lambda: not Path(f"/proc/{unheard}").exists())
            ballast.unlink()
            engine.stop()
            engine.start()
            async with bench.successor() as next_one:
                found = await next_one.runner.find([job])
                told = await asyncio.wait_for(found[key(job)].wait(next_one.printed.emit), 30)
                assert told.exit_code in {4, None}
                assert (await next_one.run(next_one.job("exit 3"))).exit_code == 3


# -- floods, F21


def peak() -> int:
    """The most memory that this process had since it was last forgotten, in bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """It is counted anew from what is used now."""
    Path("/proc/self/clear_refs").write_text("5")


LINES = "yes 0123456789abcdef0123456789abcdef0123456789abcdef | head -c 20971520"


@pytest.mark.parametrize("flood", ["head -c 104857600 /dev/zero", LINES], ids=["a line of 100 MiB", "20 MiB of lines"])
async def test_a_flood_of_what_is_printed_takes_little_memory_and_holds_up_no_end(bench, flood):
    """Of a log that keeps nothing, as one at its limit. The engine keeps 60 MiB, and may forget what was not read."""
    await bench.run(bench.job("true"))
    printed = 0

    async def count(_stream: LogStream, content: bytes) -> None:
        nonlocal printed
        printed += len(content)

    forget_peak()
    before = peak()
    work = await bench.start(bench.job(f"{flood}; exit 5"))
    ended = await asyncio.wait_for(work.wait(count), 60)
    await work.discard()
    assert ended.exit_code == 5
    assert printed >= 10 * MIB
    assert peak() - before < 10 * MIB


# -- somebody else's hands (F22)


async def test_what_somebody_restarts_does_not_count_as_a_success_and_does_not_run_on(bench):
    work, waiting, _ = await watched(bench, bench.job("echo ready; sleep 100"))
    bench.api.call("POST", f"/containers/{work.handle}/restart?t=1")
    assert (await asyncio.wait_for(waiting, 10)).exit_code != 0
    await work.discard()
    assert bench.containers() == {}


async def test_what_somebody_renames_is_found_and_ends_as_it_does(bench):
    job = bench.job(f"{READY}; exit 6")
    work, waiting, pid = await watched(bench, job)
    bench.api.call("POST", f"/containers/{work.handle}/rename?name=mine-{job.run_id}")
    waiting.cancel()
    async with bench.successor() as next_one:
        found = await next_one.runner.find([job])
        again = asyncio.create_task(found[key(job)].wait(next_one.printed.emit))
        await next_one.has_printed("ready")
        touch(pid)
        assert (await asyncio.wait_for(again, 10)).exit_code == 6
        await found[key(job)].discard()
    assert bench.containers() == {}
