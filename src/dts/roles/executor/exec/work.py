"""One attempt as a command in one container, or in several at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from dts.docker.execs import ExecOutput, Execs, ExecState
from dts.domain.errors import Conflict, DeadlineExceeded, DtsError, NotFound, Unavailable
from dts.pb.dts.v1 import LogStream, Reason
from dts.roles.executor.exec.signal import send_signal
from dts.roles.executor.process.census import ATTEMPT, RUN_ID
from dts.roles.executor.work import Emit, Ended, Refused

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
UNSTARTED_LOOKS = 6
"""So often, for about a second, an engine may say of a command that it never began before it is believed."""

STOP_LOOK_SECONDS = 0.1
KILL_SECONDS = 10.0
LINE_BYTES = 64 * 1024
"""A longer line, of several containers, is handed on in parts."""

IDLE_SECONDS = 5.0
"""Output that is silent so long after the end of the command belongs to something that it left behind."""

NOT_STARTED = 126
"""The exit code of a command in one of several containers, where it could not be started; as a shell has it."""

BROKE_OFF = b"[dts: the engine broke off the output; the command was ended]\n"

_STREAMS = {1: LogStream.STDOUT, 2: LogStream.STDERR}


@dataclass(slots=True)
class Command:
    """A command in a container. name: of the container. user: who runs it; empty for the container's own.

    output: once it was started.

    lost: nobody listens any more, so what its engine says of its end is not true.

    over_at: by the loop's clock, when it was seen to run no more.
    """

    name: str
    container: str
    exec_id: str
    user: str = ""
    output: ExecOutput | None = field(default=None, compare=False)
    listening: asyncio.Task[None] | None = field(default=None, compare=False)
    failure: str = ""
    lost: bool = False
    over_at: float = 0.0

    def begins(self, state: ExecState) -> bool:
        """Whether what looks as if it never began still may: its output is open."""
        return state.unstarted and self.listening is not None and not self.listening.done()


class ExecWork:
    """Commands that were prepared, or that an earlier process left.

    Args:
        execs: of their engine.
        commands: one for each container.
        key: the attempt.
        discarded: told at the end.
    """

    def __init__(
        self, execs: Execs, commands: Sequence[Command], *, key: tuple[UUID, int], discarded: Callable[[], None]
    ) -> None:
        self._execs = execs
        self._commands = commands
        self._marks = (f"{RUN_ID}={key[0]}", f"{ATTEMPT}={key[1]}")
        self._discarded = discarded
        self._stopping = False

    @property
    def handle(self) -> str:
        """The containers' names."""
        return ",".join(command.name for command in self._commands)

    @property
    def image_digest(self) -> str:
        """None is chosen here."""
        return ""

    async def start(self) -> None:
        """Starts all of them.

        Raises:
            Refused: none could be started.
        """
        await asyncio.gather(*(self._start(command) for command in self._commands))
        failures = [command.failure for command in self._commands]
        if all(failures):
            raise Refused(Reason.ENGINE_ERROR, failures[0])

    async def _start(self, command: Command) -> None:
        try:
            command.output = await self._execs.start(command.exec_id)
        except (Unavailable, DeadlineExceeded, Conflict) as error:
            # In doubt: `wait` asks the engine what became of it. If it began all the same, nobody listens.
            command.lost = True
            log.warning("the start of a command in %s is in doubt: %s", command.name, error)
        except DtsError as error:
            command.failure = f"the command could not be started in {command.name}: {error}"

    async def started_ago(self) -> timedelta | None:
        """Engines take no note of it."""
        return None

    async def wait(self, emit: Emit) -> Ended:
        """Hands on what they print, each line with the name of its container if there are several."""
        lines = [Lines(emit, command.name if len(self._commands) > 1 else "") for command in self._commands]
        ends = await asyncio.gather(
            *(self._ended(command, of) for command, of in zip(self._commands, lines, strict=True))
        )
        if all(command.failure for command in self._commands):
            raise Refused(Reason.ENGINE_ERROR, self._commands[0].failure)
        failed = [code for code in ends if code]
        ended = Ended(failed[0] if failed else None if None in ends else 0)
        over_at = max(command.over_at for command in self._commands)
        return ended.told_after(asyncio.get_running_loop().time() - over_at)

    async def _ended(self, command: Command, lines: Lines) -> int | None:
        if command.failure:
            await lines.take(LogStream.STDERR, f"{command.failure}\n".encode())
            return NOT_STARTED
        listening = asyncio.create_task(_listen(command, lines), name=f"output of a command in {command.name}")
        command.listening = listening
        try:
            state = await self._over(command)
            command.over_at = asyncio.get_running_loop().time()
            if state is not None and state.unstarted and command.output is None:
                command.failure = f"the command was never started in {command.name}"
                return await self._ended(command, lines)
            if self._stopping:
                await self._end_rest(command)
            await _silent(listening, lines)
            if command.lost:
                await lines.take(LogStream.STDERR, BROKE_OFF)
                await self._end_rest(command)
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            if command.output is not None:
                command.output.close()
        await lines.finish()
        return None if state is None or command.lost else state.exit_code

    async def _end_rest(self, command: Command) -> None:
        """Kills what it started and is still there: whoever was stopped leaves nothing behind."""
        try:
            await self._signal_in(command, "KILL")
        except DtsError as error:
            log.warning("what the command in %s left behind cannot be ended: %s", command.name, error)

    async def _over(self, command: Command) -> ExecState | None:
        """Where it stands when it does not run; None if its container, or the engine's memory of it, is gone.

        An engine answers a start before it has begun: what it says of a command then looks like one that never began.
        """
        pause, unstarted = FIRST_PAUSE, 0
        while True:
            try:
                state = await self._execs.look(command.exec_id)
            except NotFound:
                return None
            except DtsError as error:
                log.info("the command in %s: %s", command.name, error)
            else:
                unstarted += state.unstarted and not command.begins(state)
                if not state.running and not (state.unstarted and unstarted < UNSTARTED_LOOKS):
                    return state
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def stop(self, *, grace: timedelta) -> None:
        """Sends SIGTERM to them and all that they started, and SIGKILL after the grace.

        Raises:
            DtsError: they cannot be reached, or go on all the same.
        """
        self._stopping = True
        await self._signal("TERM")
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._gone()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Kills them with all that they started.

        Raises:
            DtsError: they cannot be reached, or go on all the same.
        """
        self._stopping = True
        await self._signal("KILL")
        try:
            async with asyncio.timeout(KILL_SECONDS):
                await self._gone()
        except TimeoutError:
            raise Unavailable(f"the command in {self.handle} goes on after SIGKILL") from None

    async def end_all(self) -> None:
        """Kills them, though their engine may not count them as running: after their listener went away.

        Raises:
            DtsError: they cannot be reached.
        """
        await self._in_each(self._commands, "KILL")

    async def discard(self) -> None:
        """Closes what is open, and forgets."""
        for command in self._commands:
            if command.output is not None:
                command.output.close()
        self._discarded()

    async def _gone(self) -> None:
        while True:
            if not any([await self._runs(command) for command in self._commands]):
                return
            await asyncio.sleep(STOP_LOOK_SECONDS)

    async def _runs(self, command: Command) -> bool:
        try:
            state = await self._execs.look(command.exec_id)
            return state.running or command.begins(state)
        except NotFound:
            return False

    async def _signal(self, signal: str) -> None:
        await self._in_each([command for command in self._commands if await self._runs(command)], signal)

    async def _in_each(self, commands: Sequence[Command], signal: str) -> None:
        """In all of them, even if one cannot be reached."""
        done = await asyncio.gather(*(self._signal_in(one, signal) for one in commands), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    async def _signal_in(self, command: Command, signal: str) -> None:
        await send_signal(
            self._execs, command.container, signal, marks=self._marks, name=command.name, user=command.user
        )


class Lines:
    """Hands on what a command prints; with a name, line by line behind it."""

    def __init__(self, emit: Emit, name: str) -> None:
        self.taken = 0
        self.busy = 0
        self._emit = emit
        self._mark = f"{name}| ".encode() if name else b""
        self._rest: dict[LogStream, bytes] = {}

    async def take(self, stream: LogStream, content: bytes) -> None:
        """Takes what came."""
        self.taken += 1
        self.busy += 1
        try:
            await self._emit(stream, content) if not self._mark else await self._by_line(stream, content)
        finally:
            self.busy -= 1

    async def _by_line(self, stream: LogStream, content: bytes) -> None:
        *whole, rest = (self._rest.get(stream, b"") + content).split(b"\n")
        if len(rest) >= LINE_BYTES:
            whole, rest = [*whole, rest], b""
        self._rest[stream] = rest
        if whole:
            await self._emit(stream, b"".join(self._mark + line + b"\n" for line in whole))

    async def finish(self) -> None:
        """Hands on what has no end of line."""
        for stream, rest in self._rest.items():
            if rest:
                await self._emit(stream, self._mark + rest + b"\n")
        self._rest.clear()


async def _silent(listening: asyncio.Task[None], lines: Lines) -> None:
    """Waits until all is heard, or nothing more is said. A log that takes its time is no silence."""
    while not listening.done():
        before = lines.taken
        await asyncio.wait([listening], timeout=IDLE_SECONDS)
        if lines.taken == before and not lines.busy:
            return


async def _listen(command: Command, lines: Lines) -> None:
    try:
        if command.output is not None:
            async for stream, content in command.output.pieces():
                await lines.take(_STREAMS.get(stream, LogStream.STDERR), content)
    except DtsError as error:
        log.warning("the output of the command in %s broke off: %s", command.name, error)
        command.lost = True
