from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from dts.docker.engine import Engine
from dts.domain.errors import Conflict, Unavailable
from dts.pb.dts.v1 import Reason
from dts.roles.executor.work import Refused
from support.container_bench import Bench, key, name
from support.engine import IMAGE
from support.polling import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
async def own_bench(own_engine):
    async with Bench.on(own_engine.host) as bench:
        yield bench


class Slow:
    """Takes what is printed slowly, so that there is always more to come."""

    def __init__(self, printed) -> None:
        self._printed = printed

    async def emit(self, stream, content) -> None:
        await asyncio.sleep(0.002)
        await self._printed.emit(stream, content)


def starts(bench, job) -> int:
    """How often the engine started the job's container."""
    path = f"/events?since=1&until={int(time.time()) + 1}&filters=%7B%22event%22%3A%5B%22start%22%5D%7D"
    return bench.api.call("GET", path).decode().count(f'"name":"{name(job)}"')


# -- names (rule N)


async def test_a_container_that_was_created_before_is_taken_over(bench):
    job = bench.job("echo once")
    await bench.runner.prepare(job)
    async with bench.successor() as next_one:
        work = await next_one.start(job)
        assert (await work.wait(next_one.printed.emit)).exit_code == 0
    assert next_one.printed.out == "once\n"


async def test_what_was_started_before_is_not_started_again(bench):
    job = bench.job("echo once; sleep 0.3")
    await bench.start(job)
    async with bench.successor() as next_one:
        work = await next_one.start(job)
        assert (await work.wait(next_one.printed.emit)).exit_code == 0
        again = await next_one.start(job)
        assert (await again.wait(next_one.printed.emit)).exit_code == 0
    assert next_one.printed.out == "once\nonce\n"
    assert starts(bench, job) == 1


async def test_a_name_that_somebody_else_has_is_refused(bench):
    job = bench.job()
    body = f'{{"Image": "{IMAGE}", "Cmd": ["true"], "Labels": {{"dts.owner": "{bench.owner}"}}}}'
    bench.api.call("POST", f"/containers/create?name={name(job)}", body.encode(), content="application/json")
    with pytest.raises(Refused, match="another container has the name") as refused:
        await bench.runner.prepare(job)
    assert refused.value.reason is Reason.ENGINE_ERROR


# -- the next incarnation of the executor


async def test_a_successor_finds_what_runs_and_hands_on_its_log_from_the_beginning(bench):
    job = bench.job("echo first; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last; exit 5")
    work = await bench.start(job)
    watching = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("first")
    watching.cancel()
    async with bench.successor() as next_one:
        found = await next_one.runner.find([job])
        assert list(found) == [key(job)]
        adopted = found[key(job)]
        assert adopted.handle == work.handle
        assert adopted.image_digest == work.image_digest
        waiting = asyncio.create_task(adopted.wait(next_one.printed.emit))
        await next_one.has_printed("first")
        await next_one.touch(adopted.handle, "/tmp/go")
        assert (await waiting).exit_code == 5
        await adopted.discard()
    assert next_one.printed.out == "first\nlast\n"
    assert bench.containers() == {}


async def test_a_successor_knows_when_what_it_finds_began_and_ended(bench):
    job = bench.job("sleep 0.1")
    begun = time.monotonic()
    work = await bench.start(job)
    ran = await work.started_ago()
    await eventually(lambda: bench.containers() == {name(job): "exited"})
    over = time.monotonic()
    await asyncio.sleep(1)
    async with bench.successor() as next_one:
        adopted = (await next_one.runner.find([job]))[key(job)]
        found = await adopted.started_ago()
        end = await adopted.wait(next_one.printed.emit)
    assert ran is not None
    assert found is not None
    assert ran < found < timedelta(seconds=time.monotonic() - begun)
    assert timedelta(seconds=1) < end.ago < found
    assert end.ago >= timedelta(seconds=time.monotonic() - over - 0.5)


@pytest.mark.parametrize("code", [0, 6])
async def test_a_successor_finds_what_ended_while_nobody_looked(bench, code):
    job = bench.job(f"echo done; exit {code}")
    await bench.start(job)
    await eventually(lambda: bench.containers() == {name(job): "exited"})
    async with bench.successor() as next_one:
        found = await next_one.runner.find([job])
        assert (await found[key(job)].wait(next_one.printed.emit)).exit_code == code
    assert next_one.printed.out == "done\n"


async def test_a_successor_removes_what_belongs_to_none_of_the_jobs(bench):
    kept, orphan, unstarted, ended = (bench.job("sleep 100") for _ in range(4))
    await bench.start(kept)
    await bench.start(orphan)
    await bench.runner.prepare(unstarted)
    await (await bench.start(ended)).kill()
    async with Bench.on(bench.api.host) as other:
        strange = other.job("sleep 100")
        await other.start(strange)
        async with bench.successor() as next_one:
            found = await next_one.runner.find([kept, unstarted])
            assert list(found) == [key(kept)]
            assert next_one.containers() == {name(kept): "running"}
        assert other.containers() == {name(strange): "running"}


async def test_what_an_engine_made_after_it_was_given_up_is_removed(bench, monkeypatch):
    made = asyncio.Event()
    create = Engine.create

    async def creates(*config):
        await create(*config)
        made.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Engine, "create", creates)
    preparing = asyncio.create_task(bench.runner.prepare(bench.job("sleep 100")))
    await made.wait()
    preparing.cancel()
    await asyncio.wait([preparing])
    await bench.runner.find([])
    assert bench.containers() == {}


async def test_an_attempt_that_comes_again_does_not_take_over_what_is_being_removed(bench, monkeypatch):
    job = bench.job("echo again")
    removing, remove = asyncio.Event(), Engine.remove

    async def removes(engine, container, *, force):
        removing.set()
        await asyncio.sleep(0.3)
        await remove(engine, container, force=force)

    async with bench.successor() as earlier:
        await earlier.runner.prepare(job)
        monkeypatch.setattr(Engine, "remove", removes)
        tidying = asyncio.create_task(bench.runner.find([]))
        await removing.wait()
        assert (await bench.run(job)).exit_code == 0
        await tidying
        assert bench.containers() == {}


async def test_a_container_that_somebody_else_removes_is_gone_only_when_it_does_not_run(bench, monkeypatch):
    work = await bench.start(bench.job("trap '' TERM; sleep 100"))

    async def conflicts(*_, **__):
        raise Conflict("removal of container is already in progress")

    monkeypatch.setattr(Engine, "remove", conflicts)
    discarding = asyncio.create_task(work.discard())
    await asyncio.sleep(0.3)
    assert not discarding.done()
    bench.api.remove(work.handle)
    await discarding


async def test_looking_for_old_work_leaves_new_work_alone(bench):
    job = bench.job("sleep 100")
    await bench.start(job)
    assert await bench.runner.find([]) == {}
    assert bench.containers() == {name(job): "running"}


# -- somebody else's hands


async def test_what_somebody_removed_by_force_is_lost_not_failed(bench):
    work = await bench.start(bench.job("echo ready; sleep 100"))
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    bench.api.remove(work.handle)
    assert (await waiting).exit_code is None


async def test_what_somebody_removed_before_its_start_is_refused(bench):
    work = await bench.runner.prepare(bench.job())
    bench.api.remove(work.handle)
    with pytest.raises(Refused, match="removed before it was started"):
        await work.start()


# -- the engine's own faults (rule W)


async def test_what_an_engine_took_along_when_it_was_killed_is_lost_not_failed(own_bench, own_engine):
    work = await own_bench.start(own_bench.job("echo ready; sleep 100"))
    waiting = asyncio.create_task(work.wait(own_bench.printed.emit))
    await own_bench.has_printed("ready")
    own_engine.kill()
    assert "no Docker engine answers" in await own_bench.runner.missing()
    own_engine.start()
    ended = await asyncio.wait_for(waiting, 30)
    assert ended.exit_code is None
    assert await own_bench.runner.missing() == ""
    await work.discard()
    assert own_bench.containers() == {}


async def test_a_success_that_only_a_restarted_engine_remembers_is_not_known(own_bench, own_engine):
    job = own_bench.job("true")
    await own_bench.start(job)
    await eventually(lambda: own_bench.containers() == {name(job): "exited"})
    own_engine.stop()
    own_engine.directory.joinpath("docker.pid").unlink(missing_ok=True)
    own_engine.start()
    own_engine.directory.joinpath("docker.pid").unlink()
    async with own_bench.successor() as next_one:
        found = await next_one.runner.find([job])
        assert (await found[key(job)].wait(next_one.printed.emit)).exit_code is None


async def test_a_failure_stays_one_through_a_restart_of_the_engine(own_bench, own_engine):
    job = own_bench.job("exit 4")
    await own_bench.start(job)
    await eventually(lambda: own_bench.containers() == {name(job): "exited"})
    own_engine.stop()
    own_engine.start()
    async with own_bench.successor() as next_one:
        found = await next_one.runner.find([job])
        assert (await found[key(job)].wait(next_one.printed.emit)).exit_code == 4


async def test_a_success_that_an_engine_made_up_is_not_known(own_bench, own_engine):
    """A killed container becomes `exit 0` when the engine is back and its containerd knows nothing any more."""
    work = await own_bench.start(own_bench.job("echo ready; sleep 100"))
    waiting = asyncio.create_task(work.wait(own_bench.printed.emit))
    await own_bench.has_printed("ready")
    pid = own_bench.api.inspect(work.handle)["State"]["Pid"]
    own_engine.kill()
    own_engine.lose_containerd(pid)
    own_engine.start()
    ended = await asyncio.wait_for(waiting, 30)
    state = own_bench.api.inspect(work.handle)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert ended.exit_code is None


async def test_nor_is_one_that_was_made_up_before_the_engine_was_started_once_more(own_bench, own_engine):
    job = own_bench.job("echo ready; sleep 100")
    await own_bench.start(job)
    pid = own_bench.api.inspect(name(job))["State"]["Pid"]
    own_engine.kill()
    own_engine.lose_containerd(pid)
    own_engine.start()
    await asyncio.sleep(1.1)  # further from the next start than two clocks may differ
    own_engine.stop()
    own_engine.start()
    async with own_bench.successor() as next_one:
        found = await next_one.runner.find([job])
        assert (await found[key(job)].wait(next_one.printed.emit)).exit_code is None


async def test_connections_that_break_lose_nothing_and_double_nothing(proxy):
    count = "i=0; while [ $i -lt 3000 ]; do echo $i; echo e$i >&2; i=$((i+1)); done"
    script = f"{count}; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 5"
    async with Bench.on(proxy.host, behind=proxy.engine) as bench:
        work = await bench.start(bench.job(script))
        slow = Slow(bench.printed)
        waiting = asyncio.create_task(work.wait(slow.emit))
        for wanted in ("100", "900", "2500"):
            await bench.has_printed(f"\n{wanted}\n")
            proxy.break_all()
        await bench.touch(work.handle, "/tmp/go")
        assert (await asyncio.wait_for(waiting, 30)).exit_code == 5
    assert bench.printed.out.split() == [str(i) for i in range(3000)]
    assert bench.printed.err.split() == [f"e{i}" for i in range(3000)]


async def test_a_success_during_a_broken_connection_to_the_same_engine_counts(proxy):
    async with Bench.on(proxy.host, behind=proxy.engine) as bench:
        work = await bench.start(bench.job("while [ ! -e /tmp/go ]; do sleep 0.02; done"))
        waiting = asyncio.create_task(work.wait(bench.printed.emit))
        async with proxy.down():
            await bench.touch(work.handle, "/tmp/go")
            await eventually(lambda: bench.api.inspect(work.handle)["State"]["Status"] == "exited")
        assert (await asyncio.wait_for(waiting, 30)).exit_code == 0


async def test_an_engine_that_hangs_loses_nothing(own_bench, own_engine):
    job = own_bench.job("echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last; exit 3")
    work = await own_bench.start(job)
    waiting = asyncio.create_task(work.wait(own_bench.printed.emit))
    await own_bench.has_printed("ready")
    own_engine.pause()
    try:
        assert "in time" in await own_bench.runner.missing()
    finally:
        own_engine.resume()
    await own_bench.touch(work.handle, "/tmp/go")
    assert (await waiting).exit_code == 3
    assert own_bench.printed.out == "ready\nlast\n"


async def test_a_start_that_the_engine_did_not_confirm_is_never_sent_twice(own_bench, own_engine, monkeypatch):
    monkeypatch.setattr("dts.docker.engine.CHANGE_SECONDS", 0.5)
    monkeypatch.setattr("dts.docker.engine.CALL_SECONDS", 0.5)
    job = own_bench.job("echo once")
    work = await own_bench.runner.prepare(job)
    own_engine.pause()
    starting = asyncio.create_task(work.start())
    await asyncio.sleep(1.2)
    own_engine.resume()
    with suppress(Refused):  # it was taken back before it ran
        await starting
        assert (await work.wait(own_bench.printed.emit)).exit_code == 0
    assert starts(own_bench, job) <= 1


async def test_without_an_engine_it_says_so(tmp_path):
    engine = Engine.connect(f"unix://{tmp_path}/none.sock")
    missing = await engine.missing()
    with pytest.raises(Unavailable):
        await engine.labelled("dts.owner", "x")
    await engine.close()
    assert missing == f"no Docker engine answers at unix://{tmp_path}/none.sock: No such file or directory"


async def test_a_container_that_cannot_be_removed_now_is_removed_later(own_bench, own_engine):
    work = await own_bench.start(own_bench.job("sleep 100"))
    own_engine.stop()
    await work.discard()
    own_engine.start()
    await own_bench.runner.missing()
    assert own_bench.containers() == {}


async def test_a_stop_that_the_engine_does_not_hear_is_an_error(own_bench, own_engine):
    work = await own_bench.start(own_bench.job("sleep 100"))
    own_engine.stop()
    with pytest.raises(Unavailable):
        await work.stop(grace=timedelta(seconds=1))
