from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from dts.pb.dts.v1 import PullPolicy, Reason, Resources, VolumeMount
from dts.roles.executor.work import Ended, Refused

pytestmark = pytest.mark.docker


def codes(ended: Ended) -> tuple[int | None, bool]:
    return ended.exit_code, ended.oom_killed


async def test_a_container_that_ends_well_is_a_success(bench):
    ended = await bench.run(bench.job("echo done"))
    assert codes(ended) == (0, False)
    assert bench.printed.out == "done\n"
    assert bench.containers() == {}


async def test_the_exit_code_is_the_command_s(bench):
    assert codes(await bench.run(bench.job("exit 3"))) == (3, False)


async def test_both_streams_are_handed_on_apart(bench):
    await bench.run(bench.job("echo to out; echo to err >&2; echo out again"))
    assert bench.printed.out == "to out\nout again\n"
    assert bench.printed.err == "to err\n"


async def test_what_is_printed_is_handed_on_byte_for_byte(bench):
    script = r"yes | head -c 70000 | cat - ; printf '\nä\000\377'; printf 'no end'"
    await bench.run(bench.job(script))
    expected = b"y\n" * 35000 + b"\n" + "ä".encode() + b"\0\xff" + b"no end"
    assert bytes(bench.printed.bytes[1]) == expected


async def test_a_long_line_stays_one_line_whatever_its_length(bench):
    lengths = (16_383, 16_384, 16_385, 100_000)
    await bench.run(bench.job("; ".join(f"head -c {length} /dev/zero; echo" for length in lengths) + "; echo after"))
    lines = bytes(bench.printed.bytes[1]).split(b"\n")
    assert [len(line) for line in lines] == [*lengths, len("after"), 0]


async def test_the_container_knows_who_it_is(bench):
    job = bench.job(
        "env; pwd", env={"AT": "{{ scheduled_at }} on {{ node }}", "COLOR": "{{ param.color }}"}, working_dir="/data"
    )
    await bench.run(job)
    told = set(bench.printed.out.splitlines())
    assert {
        f"DTS_RUN_ID={job.run_id}",
        f"DTS_ATTEMPT={job.attempt}",
        "DTS_TASK=night",
        "DTS_SCHEDULED_AT=2026-01-31T12:00:00Z",
        "DTS_PREVIOUS_SUCCESS_AT=",
        "DTS_NODE=n1",
        "DTS_PARAM_COLOR=red",
        "AT=2026-01-31T12:00:00Z on n1",
        "COLOR=red",
        "/data",
    } <= told


async def test_a_parameter_that_is_missing_is_empty_and_a_wrong_template_is_refused(bench):
    with pytest.raises(Refused, match=r"variable AT names scheduled") as refused:
        await bench.runner.prepare(bench.job(env={"AT": "{{ scheduled }}"}))
    assert (refused.value.reason, refused.value.final) == (Reason.INVALID, True)


async def test_mounts_user_and_a_read_only_root(bench):
    volume = f"{bench.owner}-data"
    mounts = [VolumeMount(volume=volume, target="/keep")]
    try:
        await bench.run(bench.job("echo kept > /keep/file", mounts=mounts))
        script = "cat /keep/file; id -u; touch /tmp/x || echo no"
        await bench.run(bench.job(script, mounts=mounts, user="1234", read_only=True))
    finally:
        bench.api.call("DELETE", f"/volumes/{volume}")
    assert bench.printed.out.splitlines() == ["kept", "1234", "no"]


# -- stopping


async def test_stop_sends_the_stop_signal(bench):
    work = await bench.start(bench.job("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done"))
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    await work.stop(grace=timedelta(seconds=20))
    assert (await waiting).exit_code == 9
    assert bench.printed.out == "ready\nbye\n"


async def test_stop_sends_the_signal_that_the_task_names(bench):
    work = await bench.start(
        bench.job("trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done", stop_signal="SIGUSR1")
    )
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    await work.stop(grace=timedelta(seconds=20))
    assert (await waiting).exit_code == 7


async def test_a_command_that_has_no_handler_ends_at_once_when_stopped(bench):
    work = await bench.start(bench.job(command=["sleep", "100"]))
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    begun = time.monotonic()
    await work.stop(grace=timedelta(seconds=20))
    assert (await waiting).exit_code == 143
    assert time.monotonic() - begun < 5


async def test_what_ignores_the_stop_signal_is_killed_after_the_grace(bench):
    work = await bench.start(bench.job("trap '' TERM; echo ready; while :; do sleep 0.05; done"))
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    begun = time.monotonic()
    await work.stop(grace=timedelta(seconds=1))
    assert (await waiting).exit_code == 137
    assert 1 <= time.monotonic() - begun < 3


async def test_kill_takes_everything_in_the_container_along(bench):
    work = await bench.start(bench.job("(trap '' TERM HUP; sleep 100) & echo ready; sleep 100"))
    waiting = asyncio.create_task(work.wait(bench.printed.emit))
    await bench.has_printed("ready")
    await work.kill()
    ended = await waiting
    assert codes(ended) == (137, False)
    with pytest.raises(OSError, match="is not running"):
        bench.api.call("GET", f"/containers/{work.handle}/top")
    await work.kill()
    await work.discard()
    await work.discard()
    assert bench.containers() == {}


# -- limits


async def test_a_container_that_needs_too_much_memory_is_told_from_one_that_was_killed(bench):
    hungry = "dd if=/dev/zero of=/dev/null bs=64M count=1"
    ended = await bench.run(bench.job(command=["sh", "-c", hungry], resources=Resources(memory=16 * 1024 * 1024)))
    assert codes(ended) == (137, True)


async def test_a_child_that_the_work_did_without_does_not_make_it_fail(bench):
    hungry = "dd if=/dev/zero of=/dev/null bs=64M count=1; echo went on"
    ended = await bench.run(bench.job(command=["sh", "-c", hungry], resources=Resources(memory=16 * 1024 * 1024)))
    assert codes(ended) == (0, False)
    assert bench.printed.out == "went on\n"


async def test_what_it_used_is_known(bench):
    ended = await bench.run(bench.job("i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done"))
    assert timedelta(seconds=0.1) < ended.cpu_time < timedelta(seconds=30)
    assert ended.peak_memory > 50_000


# -- what cannot be run


async def test_an_image_that_is_missing_and_never_pulled_is_refused(bench):
    with pytest.raises(Refused, match="does not have the image dts-none:1") as refused:
        await bench.runner.prepare(bench.job(image="dts-none:1", pull=PullPolicy.NEVER))
    assert refused.value.reason is Reason.IMAGE_PULL


async def test_an_image_whose_registry_is_not_there_is_refused(bench):
    with pytest.raises(Refused, match=r"127\.0\.0\.1:9/none:1") as refused:
        await bench.runner.prepare(bench.job(image="127.0.0.1:9/none:1", pull=PullPolicy.MISSING))
    assert refused.value.reason is Reason.IMAGE_PULL
    assert bench.containers() == {}


async def test_an_image_that_cannot_be_a_name_is_refused(bench):
    with pytest.raises(Refused, match="must be a reference"):
        await bench.runner.prepare(bench.job(image="../containers/json"))


async def test_a_command_that_the_image_does_not_have_ends_with_127_and_says_so(bench):
    assert codes(await bench.run(bench.job(command=["nope"]))) == (127, False)
    assert "nope" in bench.printed.err


async def test_what_the_engine_cannot_start_is_refused(bench):
    work = await bench.runner.prepare(bench.job(user="nobody-here"))
    with pytest.raises(Refused, match="nobody-here") as refused:
        await work.start()
    await work.discard()
    assert (refused.value.reason, refused.value.final) == (Reason.ENGINE_ERROR, False)
    assert bench.containers() == {}


async def test_a_definition_that_the_engine_does_not_take_is_refused_for_good(bench):
    with pytest.raises(Refused, match="refuses the definition") as refused:
        await bench.runner.prepare(bench.job(resources=Resources(memory=1)))
    assert (refused.value.reason, refused.value.final) == (Reason.INVALID, True)
