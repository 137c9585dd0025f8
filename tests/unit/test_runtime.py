from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC

import pytest

from dts.runtime import clock
from dts.runtime.logs import about, configure
from dts.runtime.stop import stop_signals


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], root.level = before[0], before[1]


def last_line(log: io.StringIO) -> str:
    return log.getvalue().splitlines()[-1]


def test_the_clock_gives_aware_utc_and_never_goes_back() -> None:
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    assert 0 <= clock.chance() < 1


def test_a_record_is_one_line_of_key_and_value_for_people(log: io.StringIO) -> None:
    configure(form="text", stream=log)
    logging.getLogger("dts.roles.x").info("claimed\n%s", "runs", extra={"runs": 3, "node": "a b", "note": ""})
    assert last_line(log).endswith(r'INFO    roles.x: claimed\nruns runs=3 node="a b" note=""')


def test_what_others_say_moves_nothing_on_the_terminal(log: io.StringIO) -> None:
    configure(form="text", stream=log)
    logging.getLogger("dts.x").info("node %s", "\x1b[2J\r\x07\x9b1m\u202e", extra={"said": "\x1b]0;x\x07"})
    assert last_line(log).endswith(r"x: node \x1b[2J\r\x07\x9b1m\u202e said=\x1b]0;x\x07")


def test_a_record_is_one_object_for_machines(log: io.StringIO) -> None:
    configure(stream=log)  # not a terminal
    logging.getLogger("dts.x").warning("late", extra={"lateness": 1.5})
    line = json.loads(last_line(log))
    assert line.pop("at").endswith("Z")
    assert line == {"level": "warning", "logger": "dts.x", "message": "late", "lateness": 1.5}


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_struck_out_wherever_they_stand(log: io.StringIO, form: str) -> None:
    configure(form=form, secrets=['pa"ss', "token-1", ""], stream=log)
    error = ValueError('pa"ss in an error')
    logging.getLogger("dts").error('dsn with pa"ss', exc_info=error, extra={"header": "Bearer token-1"})
    assert "token-1" not in log.getvalue()
    assert "pa" + '"ss' not in log.getvalue()
    assert r"pa\"ss" not in log.getvalue()
    assert "***" in log.getvalue()


def test_the_trace_of_an_exception_is_a_field_for_machines(log: io.StringIO) -> None:
    configure(form="json", stream=log)
    logging.getLogger("dts").error("failed", exc_info=ValueError("why"))
    assert "ValueError: why" in json.loads(last_line(log))["exception"]


def test_the_level_is_ours_and_libraries_only_warn(log: io.StringIO) -> None:
    configure(level="DEBUG", form="text", stream=log)
    logging.getLogger("dts.x").debug("seen")
    logging.getLogger("grpclib.server").info("unseen")
    assert "seen" in log.getvalue()
    assert "unseen" not in log.getvalue()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_the_first_signal_asks_to_stop_and_the_second_leaves_at_once(number: signal.Signals) -> None:
    left: list[int] = []
    with stop_signals(left.append) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
        assert left == []
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            while not left:  # noqa: ASYNC110 - set from a callback that knows no event
                await asyncio.sleep(0.01)
    assert left == [128 + number]


def test_a_hang_up_that_is_to_be_ignored_stays_ignored() -> None:
    program = (
        "import asyncio, os, signal\n"
        "from dts.runtime.stop import stop_signals\n"
        "async def main():\n"
        "    with stop_signals() as stop:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        await asyncio.sleep(0.1)\n"
        "        print(stop.is_set())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        ["nohup", sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "False"


async def test_a_signal_that_is_ignored_for_us_is_not_ignored_for_what_we_start():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            child = subprocess.run(["sh", "-c", "kill -HUP $$; echo alive"], capture_output=True, check=False)  # noqa: ASYNC221 - it ends at once
            assert (child.returncode, child.stdout) == (-signal.SIGHUP, b"")
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_lines_say_which_run_they_are_about_and_no_other(log: io.StringIO) -> None:
    configure(stream=log)

    async def attempt(run: str) -> None:
        about(run=run, task="backup")
        await asyncio.sleep(0)
        logging.getLogger("dts.docker").warning("odd", extra={"attempt": 1})

    await asyncio.gather(attempt("r1"), attempt("r2"))
    logging.getLogger("dts").warning("even")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line.get("run"), line.get("task"), line.get("attempt")) for line in lines] == [
        ("r1", "backup", 1),
        ("r2", "backup", 1),
        (None, None, None),
    ]
