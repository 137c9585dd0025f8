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


async def test_a_line_of_100000_bytes_stays_one_line(bench):
    await bench.run(
        bench.job("yes x | head -n 100000 | while read a; do :; done; dd if=/dev/zero bs=100000 count=1; echo")
    )
    assert bytes(bench.printed.bytes[1]) == b"\0" * 100_000 + b"\n"


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
