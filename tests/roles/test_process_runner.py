"""Real processes, and a real kill -9 of what started them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dts.pb.dts.v1 import Kind, LogStream, ProcessKind, Reason, WorkSpec
from dts.roles.executor.process import shim
from dts.roles.executor.process.census import Mark, look
from dts.roles.executor.process.runner import ProcessRunner
from dts.roles.executor.process.shim import EXIT_FILE, PID_FILE, read_stat
from dts.roles.executor.process.tail import Tail
from dts.roles.executor.work import Ended, Job, Refused, Work
from support.polling import eventually

SCHEDULED_AT = datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2)))
LONG = timedelta(seconds=30)

Printed = dict[LogStream, bytearray]


def make_runner(root: Path, **changes) -> ProcessRunner:
    told = {"path": [], "environment": {}, "node": "node-1", "allowed": True, "owner": "me"} | changes
    return ProcessRunner(root=root, **told)


def make_job(*command: str, run_id: UUID | None = None, attempt: int = 1, parameters=None, **kind) -> Job:
    spec = WorkSpec(task="backup", kind=Kind(process=ProcessKind(command=list(command), **kind)))
    return Job(run_id or uuid4(), attempt, SCHEDULED_AT, None, spec, parameters or {})


def shell(script: str, **more) -> Job:
    return make_job("/bin/sh", "-c", script, **more)


@pytest.fixture
def runner(tmp_path) -> ProcessRunner:
    return make_runner(tmp_path / "runs")


async def ended(work: Work) -> tuple[Ended, Printed]:
    printed: Printed = {LogStream.STDOUT: bytearray(), LogStream.STDERR: bytearray()}

    async def emit(stream: LogStream, content: bytes) -> None:
        printed[stream] += content

    return await asyncio.wait_for(work.wait(emit), 30), printed


async def run(runner: ProcessRunner, job: Job) -> tuple[Ended, Printed]:
    work = await runner.prepare(job)
    await work.start()
    try:
        return await ended(work)
    finally:
        await work.discard()


async def output(runner: ProcessRunner, job: Job) -> str:
    end, printed = await run(runner, job)
    assert end.exit_code == 0, printed
    return printed[LogStream.STDOUT].decode()


async def started(runner: ProcessRunner, job: Job, *, says: str = "ready") -> tuple[Work, asyncio.Task]:
    """Starts a job and returns when it has said that it is ready."""
    work = await runner.prepare(job)
    await work.start()
    heard = bytearray()

    async def emit(_: LogStream, content: bytes) -> None:
        heard.extend(content)

    waiting = asyncio.create_task(work.wait(emit))
    await eventually(lambda: says.encode() in heard)
    return work, waiting


async def refusal(call: Callable[[], Awaitable[object]]) -> Refused:
    with pytest.raises(Refused) as caught:
        await call()
    return caught.value


def below(job: Job) -> list[int]:
    """What lives of a job's processes."""
    return [stat.pid for stat in look([Mark(str(job.run_id), job.attempt, None)])[0]]


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
async def test_the_exit_code_is_the_commands(runner, code):
    end, _ = await run(runner, shell(f"exit {code}"))
    assert end.exit_code == code


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "SEGV", "HUP", "USR1"])
async def test_a_command_that_a_signal_ended_has_128_and_its_number(runner, name):
    end, printed = await run(runner, shell(f"ulimit -c 0; kill -{name} $$"))
    assert end.exit_code == 128 + signal.Signals[f"SIG{name}"]
    assert printed == {LogStream.STDOUT: b"", LogStream.STDERR: b""}


async def test_both_streams_arrive_whole_and_in_order(runner):
    count = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    end, printed = await run(runner, shell(count))
    assert end.exit_code == 0
    for stream, word in ((LogStream.STDOUT, "out"), (LogStream.STDERR, "err")):
        assert printed[stream].decode().splitlines() == [f"{word} {i}" for i in range(2000)]


async def test_five_mebibytes_arrive_unchanged(runner):
    program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * (5 * 4096))"
    end, printed = await run(runner, make_job(sys.executable, "-c", program))
    assert end.exit_code == 0
    assert printed[LogStream.STDOUT] == bytes(range(256)) * (5 * 4096)


async def test_a_program_that_opens_its_output_anew_is_still_heard(runner):
    job = shell("echo a long first line; sleep 0.3; echo second >/dev/stdout; sleep 0.3; echo third line, longer yet")
    assert await output(runner, job) == "a long first line\nsecond\nthird line, longer yet\n"


async def test_the_environment_tells_the_run_who_it_is(tmp_path):
    runner = make_runner(tmp_path / "runs", environment={"DTS_DATA": "/data"}, path=[Path("/opt/first")])
    job = make_job(
        "env",
        env={"MINE": "{{ task }} at {{ scheduled_at | time }}", "DTS_RUN_ID": "not this"},
        parameters={"day": "monday", "dry-run": "yes"},
        attempt=3,
    )
    lines = dict(line.split("=", 1) for line in (await output(runner, job)).splitlines())
    assert lines["PATH"].startswith("/opt/first:")
    told = {
        "DTS_RUN_ID": str(job.run_id),
        "DTS_TASK": "backup",
        "DTS_ATTEMPT": "3",
        "DTS_SCHEDULED_AT": "2026-03-29T01:30:00Z",
        "DTS_PREVIOUS_SUCCESS_AT": "",
        "DTS_NODE": "node-1",
        "DTS_DATA": "/data",
        "DTS_PARAM_DAY": "monday",
        "DTS_PARAM_DRY_RUN": "yes",
        "MINE": "backup at 01:30:00",
    }
    assert told.items() <= lines.items()


async def test_nothing_of_the_executors_environment_leaks(runner, monkeypatch):
    monkeypatch.setenv("DTS_SECRET_OF_THE_EXECUTOR", "x")
    assert "DTS_SECRET_OF_THE_EXECUTOR" not in await output(runner, make_job("env"))
    assert "_dts" not in await output(runner, make_job("env"))


async def test_templates_are_filled_in_the_command(runner):
    job = make_job("echo", "{{ run_id }}", "{{ attempt }} {{ node }}", "{{ param.day }}", parameters={"day": "monday"})
    assert await output(runner, job) == f"{job.run_id} 1 node-1 monday\n"


async def test_arguments_reach_the_program_as_they_are(runner):
    exotic = [
        "",
        " ",
        "a b",
        "$HOME",
        "`id`",
        "'",
        '"',
        "\\",
        "*",
        "\n",
        "-x",
        "--",
        "ü€😀",
        "; exit 9",
        "$(exit 9)",
        "&",
    ]
    job = make_job(sys.executable, "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *exotic)
    assert json.loads(await output(runner, job)) == exotic


@pytest.mark.parametrize("name", ["exit", "cd", "read", "trap", "export"])
async def test_a_shells_own_command_is_no_program(runner, name):
    refused = await refusal(lambda: runner.prepare(make_job(name)))
    assert refused.reason is Reason.INVALID
    assert refused.message == f"the program '{name}' was not found in PATH on this node"


async def test_a_program_keeps_the_name_that_it_was_called_by(runner):
    job = make_job("python-of-mine", "-c", "import sys; print(sys.orig_argv[0])", env={"PATH": "{{ param.bin }}"})
    directory = runner._root.parent / "bin"
    directory.mkdir()
    (directory / "python-of-mine").symlink_to(sys.executable)
    job.parameters["bin"] = str(directory)
    assert await output(runner, job) == "python-of-mine\n"


async def test_a_program_has_its_three_streams_and_no_other_descriptor(runner):
    program = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))"
    assert (
        await output(runner, make_job(sys.executable, "-c", program)) == "[0, 1, 2, 3]\n"
    )  # 3: the directory it lists
    assert await output(runner, make_job("cat")) == ""


@pytest.mark.parametrize("other", ["bash", "busybox"])
async def test_any_posix_shell_will_do_as_supervisor(runner, tmp_path, monkeypatch, other):
    path = shutil.which(other)
    if path is None:
        pytest.skip(f"{other} is not installed")
    (tmp_path / "sh").symlink_to(path)
    monkeypatch.setattr(shim, "SHELL", str(tmp_path / "sh"))
    for script, code in {"exit 7": 7, "kill -KILL $$": 137, "kill -INT $$": 130, "kill 0; sleep 9": 143}.items():
        end, printed = await run(runner, shell(script))
        assert (end.exit_code, printed[LogStream.STDERR]) == (code, b"")
    assert await output(runner, make_job("echo", "-n", "$HOME", "'")) == "$HOME '"


async def test_what_the_supervisor_wrote_counts_when_the_kernel_does_not_tell(runner):
    work = await runner.prepare(shell("exit 8"))
    await work.start()
    await asyncio.to_thread(os.waitpid, int(work.handle), 0)
    end, _ = await ended(work)
    assert end.exit_code == 8


async def test_the_stop_signal_may_be_the_kill(runner):
    work, waiting = await started(runner, shell("echo ready; sleep 600", stop_signal="KILL"))
    await work.stop(grace=LONG)
    assert (await waiting).exit_code == 137


async def test_a_run_has_a_directory_of_its_own(runner, tmp_path):
    job = make_job("pwd")
    assert await output(runner, job) == f"{tmp_path}/runs/{job.run_id}-1/work\n"
    assert list((tmp_path / "runs").iterdir()) == []


async def test_a_run_may_name_its_directory(runner, tmp_path):
    assert await output(runner, make_job("pwd", working_dir=str(tmp_path))) == f"{tmp_path}\n"


async def test_nobody_else_may_look_into_the_directory(runner, tmp_path):
    job = make_job("true")
    work = await runner.prepare(job)
    directory = tmp_path / "runs" / f"{job.run_id}-1"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "stdout").stat().st_mode & 0o777 == 0o600
    await work.discard()
    await work.discard()
    assert not directory.exists()


@pytest.mark.parametrize(
    ("job", "sentence", "final"),
    [
        (make_job("no-such-program"), "the program 'no-such-program' was not found in PATH on this node", False),
        (make_job("/no/such/program"), "the program '/no/such/program' does not exist on this node", False),
        (make_job("/etc/passwd"), "the program '/etc/passwd' is not executable on this node", False),
        (make_job("/tmp"), "the program '/tmp' does not exist on this node", False),
        (
            make_job("true", working_dir="/no/where"),
            "the working directory '/no/where' does not exist on this node",
            False,
        ),
        (make_job("true", working_dir="here"), "the working directory must be an absolute path; it is 'here'", True),
        (make_job("true", "a\0b"), "argument 1 must not contain a NUL character", True),
        (
            make_job("true", env={"a-b": "x"}),
            "a variable's name consists of letters, digits and _ and does not begin",
            True,
        ),
        (make_job("true", stop_signal="SIGNAL"), "the stop signal must be the name of a signal, such as SIGTERM", True),
        (make_job(), "the command of a process must name a program", True),
        (make_job("true", "{{ nonsense }}"), "argument 1 names nonsense, which is not known", True),
    ],
)
async def test_what_cannot_run_is_refused_before_it_is_due(runner, tmp_path, job, sentence, final):
    refused = await refusal(lambda: runner.prepare(job))
    assert refused.message.startswith(sentence)
    assert (refused.reason, refused.final) == (Reason.INVALID, final)
    assert not list(tmp_path.glob("runs/*"))


async def test_a_node_may_forbid_processes(tmp_path):
    runner = make_runner(tmp_path, allowed=False)
    assert await runner.missing() == "processes are not allowed on this node (DTS_ALLOW_PROCESS)"
    refused = await refusal(lambda: runner.prepare(make_job("true")))
    assert (refused.reason, refused.final) == (Reason.POLICY_DENIED, False)


async def test_a_node_that_allows_processes_lacks_nothing(runner):
    assert await runner.missing() == ""


async def test_a_command_that_is_too_long_for_the_system_is_refused_at_the_start(runner):
    work = await runner.prepare(make_job("true", "x" * 200_000))
    refused = await refusal(work.start)
    assert refused.message == "the process could not be started: Argument list too long"
    assert refused.final
    await work.discard()


async def test_time_and_memory_are_told(runner):
    program = "import time\nx = bytearray(300 << 20)\nwhile time.process_time() < 0.3: pass"
    end, _ = await run(runner, make_job(sys.executable, "-c", program))
    assert timedelta(seconds=0.3) <= end.cpu_time < timedelta(seconds=3)
    # A kernel that reclaims pages early may have taken some before the last were touched.
    assert 150 << 20 < end.peak_memory < 600 << 20


async def test_the_memory_of_the_executor_is_not_the_works(runner):
    ballast = bytearray(400 << 20)
    end, _ = await run(runner, make_job("sleep", "0.6"))
    assert len(ballast) > end.peak_memory > 0
    assert end.peak_memory < 50 << 20


async def test_a_stop_lets_the_work_tidy_up(runner):
    job = shell("trap 'echo tidy; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    work = await runner.prepare(job)
    await work.start()
    waiting = asyncio.create_task(ended(work))
    stdout = runner._root / f"{job.run_id}-1" / "stdout"
    await eventually(lambda: stdout.read_bytes() == b"ready\n")
    await work.stop(grace=LONG)
    end, printed = await waiting
    assert end.exit_code == 3
    assert printed[LogStream.STDOUT] == b"ready\ntidy\n"
    assert below(job) == []


@pytest.mark.parametrize("name", ["SIGINT", "QUIT", "SIGUSR2", "SIGRTMIN"])
async def test_the_stop_signal_is_the_tasks(runner, name):
    number = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    work, waiting = await started(
        runner, shell(f"trap 'exit 5' {int(number)}; echo ready; while :; do sleep 0.05; done", stop_signal=name)
    )
    await work.stop(grace=LONG)
    assert (await waiting).exit_code == 5


async def test_work_that_ignores_the_stop_is_killed_after_the_grace(runner):
    work, waiting = await started(runner, shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"))
    before = time.monotonic()
    await work.stop(grace=timedelta(seconds=0.3))
    assert 0.3 <= time.monotonic() - before < 3
    assert (await waiting).exit_code == 137


async def test_what_is_left_has_the_rest_of_the_grace_when_the_command_ends_first(runner, tmp_path):
    done = tmp_path / "done"
    child = f"trap 'sleep 0.3; touch {done}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    work, waiting = await started(runner, make_job("sh", "-c", 'sh -c "$1" & wait', "x", child))
    await work.stop(grace=LONG)
    assert (await waiting).exit_code == 143
    assert done.exists()


async def test_a_kill_reaches_halted_work(runner):
    job = shell("echo ready; kill -STOP 0; echo never")
    work, waiting = await started(runner, job)
    await work.kill()
    assert (await waiting).exit_code == 137
    assert below(job) == []


DAEMON = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        for fd in (0, 1, 2): os.close(fd)\n"
    "        open(os.environ['MARKER'], 'w').write(str(os.getpid()))\n"
    "        time.sleep(600)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "while not os.path.exists(os.environ['MARKER']): time.sleep(0.01)\n"
    "print('ready', flush=True)\n"
)


async def test_a_daemon_does_not_outlive_the_command_that_started_it(runner, tmp_path):
    job = make_job(sys.executable, "-c", DAEMON, env={"MARKER": str(tmp_path / "marker")})
    end, printed = await run(runner, job)
    assert (end.exit_code, printed[LogStream.STDOUT]) == (0, b"ready\n")
    assert below(job) == []
    assert _gone(int((tmp_path / "marker").read_text()))


async def test_a_daemon_is_killed_with_the_rest(runner, tmp_path):
    job = make_job(sys.executable, "-c", DAEMON + "time.sleep(600)", env={"MARKER": str(tmp_path / "marker")})
    work, waiting = await started(runner, job)
    assert len(below(job)) == 3
    await work.kill()
    await waiting
    assert below(job) == []
    assert _gone(int((tmp_path / "marker").read_text()))


def _gone(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.gone


async def test_a_child_without_the_cookie_is_killed_too(runner):
    job = shell("env -i sleep 601 & echo ready; exit 0")
    await run(runner, job)
    left = [p for p in _command_lines() if b"sleep\x00601" in p]
    assert left == []


def _command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


async def test_other_runs_are_left_alone(runner):
    mine, waiting = await started(runner, shell("echo ready; sleep 60"))
    other, other_waiting = await started(runner, shell("echo ready; sleep 60"))
    await mine.kill()
    await waiting
    assert not other_waiting.done()
    await other.kill()
    assert (await other_waiting).exit_code == 137


async def test_a_slow_reader_slows_nothing_but_itself(runner):
    job = shell("head -c 300000 /dev/zero; echo ready >&2; exit 4")
    work = await runner.prepare(job)
    await work.start()
    gate = asyncio.Event()
    sizes = []

    async def emit(_: LogStream, content: bytes) -> None:
        await gate.wait()
        sizes.append(len(content))

    waiting = asyncio.create_task(work.wait(emit))
    await eventually((runner._root / f"{job.run_id}-1" / EXIT_FILE).exists)
    gate.set()
    assert (await waiting).exit_code == 4
    assert sum(sizes) == 300_006
    await work.discard()


def test_what_was_handed_on_gives_its_place_back(tmp_path):
    path = tmp_path / "stdout"
    path.write_bytes(b"x" * (40 << 20))
    tail = Tail(path, LogStream.STDOUT)
    before = path.stat().st_blocks
    while tail.read():
        tail.give_back()
    assert path.stat().st_blocks < before * 0.6
    assert path.stat().st_size == 40 << 20
    tail.close()
    again = Tail(path, LogStream.STDOUT)
    read = b"".join(iter(again.read, b""))
    again.close()
    assert read.startswith(b"x" * (16 << 20) + b"\n[dts: ")
    assert b"\0" not in read


def test_what_nobody_reads_does_not_grow_for_ever(tmp_path):
    path = tmp_path / "stdout"
    path.touch()
    tail = Tail(path, LogStream.STDOUT)
    with path.open("ab") as file:
        for _ in range(70):
            file.write(b"y" * (1 << 20))
            file.flush()
            tail.give_back()
    assert path.stat().st_blocks * 512 < 60 << 20
    assert tail.read() == b"\n[dts: %d bytes dropped here]\n" % (33 << 20)
    assert tail.read().startswith(b"yyyy")
    tail.close()


STARTER = """
import asyncio, json, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from dts.pb.dts.v1 import Kind, ProcessKind, WorkSpec
from dts.roles.executor.process.runner import ProcessRunner
from dts.roles.executor.work import Job

async def main():
    root, scripts = Path(sys.argv[1]), json.loads(sys.argv[2])
    runner = ProcessRunner(root=root, path=[], environment={}, node="node-1", allowed=True, owner="me")
    works = []
    for run_id, script in scripts.items():
        spec = WorkSpec(task="t", kind=Kind(process=ProcessKind(command=["/bin/sh", "-c", script])))
        work = await runner.prepare(Job(UUID(run_id), 1, datetime.now(UTC), None, spec, {}))
        if script:
            await work.start()
        works.append(work)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def killed_executor(root: Path, *jobs: Job) -> None:
    """An executor that started the jobs and was killed with -9. An empty script is prepared and not started."""
    scripts = {str(job.run_id): job.spec.kind.process.command[2] for job in jobs}
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTER, str(root), json.dumps(scripts))
    assert await starter.wait() == -signal.SIGKILL


async def test_work_survives_a_killed_executor_and_is_adopted_by_the_next(tmp_path):
    go = tmp_path / "go"
    running = shell(f"echo before; until [ -e {go} ]; do sleep 0.02; done; echo after; exit 6")
    await killed_executor(tmp_path / "runs", running)
    found = await make_runner(tmp_path / "runs").find([running])
    work = found[running.key]
    assert int(work.handle) in below(running)
    waiting = asyncio.create_task(ended(work))
    go.touch()
    end, printed = await waiting
    assert end.exit_code == 6
    assert printed[LogStream.STDOUT] == b"before\nafter\n"
    await work.discard()
    assert list((tmp_path / "runs").iterdir()) == []


async def test_what_ended_while_no_executor_was_there_has_its_true_exit_code(tmp_path):
    over = shell("echo out; echo err >&2; exit 9")
    await killed_executor(tmp_path / "runs", over)
    await eventually(lambda: not below(over))
    (written,) = (tmp_path / "runs").glob("*/exit")
    long_ago = written.stat().st_mtime - 100
    os.utime(written, (long_ago, long_ago))
    found = await make_runner(tmp_path / "runs").find([over])
    end, printed = await ended(found[over.key])
    assert end.exit_code == 9
    assert 100 <= end.ago.total_seconds() < 130
    assert printed == {LogStream.STDOUT: b"out\n", LogStream.STDERR: b"err\n"}


async def test_a_log_that_is_taken_slowly_makes_no_end_later(runner):
    work = await runner.prepare(shell("echo out"))
    began = time.monotonic()
    await work.start()
    over = work._over

    async def emit(_stream: LogStream, _content: bytes) -> None:
        await asyncio.wait([over])
        await asyncio.sleep(0.3)

    end = await asyncio.wait_for(work.wait(emit), 30)
    assert 0.3 <= end.ago.total_seconds() <= time.monotonic() - began
    await work.discard()


async def test_a_process_that_is_found_again_knows_when_it_began(tmp_path):
    job = shell("sleep 600")
    began = time.monotonic()
    await killed_executor(tmp_path / "runs", job)
    work = (await make_runner(tmp_path / "runs").find([job]))[job.key]
    ago = await work.started_ago()
    assert ago is not None
    # The clock that stamps files moves as seldom as each hundredth of a second.
    assert 0 <= ago.total_seconds() <= time.monotonic() - began + 0.01
    await work.kill()
    await work.discard()


async def test_looking_for_leftovers_leaves_alone_what_is_held(runner, tmp_path):
    prepared = await runner.prepare(shell("true"))
    held, waiting = await started(runner, shell("echo ready; exec sleep 600"))
    left = tmp_path / "runs" / f"{uuid4()}-1"
    left.mkdir()
    assert await runner.find([]) == {}
    assert not left.exists()
    await prepared.start()
    assert (await ended(prepared))[0].exit_code == 0
    assert not waiting.done()
    await held.kill()
    assert (await waiting).exit_code == 137
    for work in (prepared, held):
        await work.discard()
    assert list((tmp_path / "runs").iterdir()) == []


async def test_what_was_found_again_is_held(tmp_path):
    job = shell("sleep 600")
    await killed_executor(tmp_path / "runs", job)
    runner = make_runner(tmp_path / "runs")
    work = (await runner.find([job]))[job.key]
    assert await runner.find([]) == {}
    assert set(await runner.find([job])) == {job.key}  # as after a look that failed halfway
    assert int(work.handle) in below(job)
    await work.kill()
    await work.discard()


async def test_what_may_not_be_killed_does_not_keep_the_end_of_what_left_it_behind(runner, monkeypatch, caplog):
    """As a child of sudo: it is not ours to end."""
    job = shell("setsid sleep 600 & exit 4")
    kill = os.kill

    def refuses(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuses)
    end, _ = await run(runner, job)
    assert end.exit_code == 4
    assert "may not be ended by us" in caplog.text
    monkeypatch.undo()
    for pid in below(job):
        kill(pid, signal.SIGKILL)


async def test_what_was_adopted_can_be_stopped(tmp_path):
    job = shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    await killed_executor(tmp_path / "runs", job)
    stdout = tmp_path / "runs" / f"{job.run_id}-1" / "stdout"
    await eventually(lambda: stdout.read_bytes() == b"ready\n")
    work = (await make_runner(tmp_path / "runs").find([job]))[job.key]
    await work.stop(grace=LONG)
    end, _ = await ended(work)
    assert end.exit_code == 3


async def test_what_was_adopted_and_ignores_the_stop_is_killed(tmp_path):
    job = shell("trap '' TERM; setsid sleep 600 & echo ready; while :; do sleep 0.05; done")
    await killed_executor(tmp_path / "runs", job)
    stdout = tmp_path / "runs" / f"{job.run_id}-1" / "stdout"
    await eventually(lambda: stdout.read_bytes() == b"ready\n")
    work = (await make_runner(tmp_path / "runs").find([job]))[job.key]
    await work.stop(grace=timedelta(seconds=0.1))
    end, _ = await ended(work)
    assert end.exit_code == 137
    assert below(job) == []


async def test_a_supervisor_that_had_no_time_to_say_who_it_is_is_found_by_its_cookie(tmp_path):
    job = shell("echo ready; sleep 0.5; exit 4")
    await killed_executor(tmp_path / "runs", job)
    pid_file = tmp_path / "runs" / f"{job.run_id}-1" / PID_FILE
    await eventually(lambda: pid_file.exists() and pid_file.read_text())
    pid = pid_file.read_text().split()[0]
    pid_file.unlink()
    work = (await make_runner(tmp_path / "runs").find([job]))[job.key]
    assert work.handle == pid
    end, _ = await ended(work)
    assert end.exit_code == 4


async def test_what_belongs_to_no_job_is_killed_and_removed(tmp_path):
    stray, unstarted = shell("echo ready; sleep 600"), shell("")
    await killed_executor(tmp_path / "runs", stray, unstarted)
    assert below(stray)
    assert await make_runner(tmp_path / "runs").find([]) == {}
    assert below(stray) == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_what_was_prepared_and_never_started_is_not_found(tmp_path):
    unstarted = shell("")
    await killed_executor(tmp_path / "runs", unstarted)
    assert await make_runner(tmp_path / "runs").find([unstarted]) == {}
    assert list((tmp_path / "runs").iterdir()) == []


async def test_another_owners_work_is_left_alone(tmp_path):
    job = shell("echo ready; sleep 600")
    await killed_executor(tmp_path / "runs", job)
    assert await make_runner(tmp_path / "runs", owner="someone else").find([]) == {}
    assert below(job)
    await make_runner(tmp_path / "runs").find([])
    assert below(job) == []


async def test_work_whose_end_nobody_saw_ends_without_an_exit_code(tmp_path):
    job = shell("echo ready; sleep 600")
    await killed_executor(tmp_path / "runs", job)
    supervisor = int((tmp_path / "runs" / f"{job.run_id}-1" / PID_FILE).read_text().split()[0])
    os.kill(supervisor, signal.SIGKILL)
    await eventually(lambda: _gone(supervisor))
    found = await make_runner(tmp_path / "runs").find([job])
    end, _ = await ended(found[job.key])
    assert end.exit_code is None
    assert below(job) == []


async def test_a_strangers_process_with_the_same_number_is_not_taken_for_the_work(tmp_path):
    job = shell("exit 0")
    await killed_executor(tmp_path / "runs", job)
    await eventually(lambda: not below(job))
    directory = tmp_path / "runs" / f"{job.run_id}-1"
    (directory / EXIT_FILE).unlink()
    stranger = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    stat = read_stat(stranger.pid)
    _, rest = (directory / PID_FILE).read_text().split(" ", 1)
    own_start = rest.split()[20]
    for line in (f"{stranger.pid} {rest}", f"{stranger.pid} {rest}".replace(own_start, str(stat.started))):
        (directory / PID_FILE).write_text(line)
        found = await make_runner(tmp_path / "runs").find([job])
        end, _ = await ended(found[job.key])
        assert end.exit_code is None
        assert stranger.returncode is None
    await found[job.key].discard()
    stranger.terminate()
    assert await stranger.wait() == -signal.SIGTERM


async def test_starts_are_quick(runner):
    """Prints what a start costs; a shared machine decides how much that is."""
    jobs = [make_job("true") for _ in range(200)]
    works = [await runner.prepare(job) for job in jobs]
    took = []
    for work in works:
        before = time.perf_counter()
        await work.start()
        took.append(time.perf_counter() - before)
    begun = time.perf_counter()
    ends = await asyncio.gather(*(ended(work) for work in works))
    print(  # noqa: T201 - the figures are for who runs it
        f"start: median {sorted(took)[100] * 1e3:.2f} ms, p99 {sorted(took)[197] * 1e3:.2f} ms, "
        f"{len(took) / sum(took):.0f}/s; all over {time.perf_counter() - begun:.2f} s after the last"
    )
    assert all(end.exit_code == 0 for end, _ in ends)
    for work in works:
        await work.discard()
    assert sorted(took)[100] < 0.1


async def test_a_sustained_rate_of_runs_ends_cleanly(runner):
    begun = time.perf_counter()
    latency = []

    async def one() -> None:
        before = time.perf_counter()
        end, _ = await run(runner, make_job("true"))
        latency.append(time.perf_counter() - before)
        assert end.exit_code == 0

    async with asyncio.TaskGroup() as runs:
        for index in range(400):
            runs.create_task(one())
            await asyncio.sleep(max(0.0, begun + index / 200 - time.perf_counter()))
    took = time.perf_counter() - begun
    latency.sort()
    print(f"400 runs in {took:.2f} s, median {latency[200]:.3f} s, worst {latency[-1]:.3f} s")  # noqa: T201 - the same
    assert not list(runner._root.iterdir())
