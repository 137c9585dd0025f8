"""A terminal with a program in it, as somebody sits before it: tmux holds the screen and presses the keys."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from support.polling import eventually

TMUX = shutil.which("tmux")


@dataclass(frozen=True, slots=True)
class Terminal:
    """What it shows, and keys to press."""

    environment: Mapping[str, str]

    async def press(self, *keys: str) -> None:
        """Keys by the names that tmux has for them: Enter, Down, Tab, C-c, or a character."""
        await self._tmux("send-keys", *keys)

    async def type(self, text: str) -> None:
        """Text as it is."""
        await self._tmux("send-keys", "-l", text)

    async def screen(self, *, colored: bool = False) -> str:
        """All lines that are shown; colored: with the escapes of their colours."""
        return await self._tmux("capture-pane", "-p", *(["-e"] if colored else []))

    async def shows(self, *texts: str, within: float = 20.0) -> str:
        """Waits until all of these are on the screen at once; the screen."""

        async def check() -> str:
            screen = await self.screen()
            assert all(text in screen for text in texts), screen
            return screen

        return await eventually(check, within=within)

    async def _tmux(self, *arguments: str) -> str:
        return await _tmux(self.environment, *arguments)


@asynccontextmanager
async def terminal(
    command: Sequence[str], environment: Mapping[str, str], *, columns: int = 110, rows: int = 34
) -> AsyncIterator[Terminal]:
    """Starts a program in a terminal. When it ends its exit code is shown, as `ended 0`."""
    with tempfile.TemporaryDirectory(prefix="dts-tmux-") as directory:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("DTS_", "TMUX"))}
        whole = clean | {"TMUX_TMPDIR": directory, "LC_ALL": "C.UTF-8", **environment}
        size = ("-x", str(columns), "-y", str(rows))
        line = f"{shlex.join(command)}; echo ended $?; exec sleep 1000"
        await _tmux(whole, "new-session", "-d", *size, "sh", "-c", line)
        try:
            yield Terminal(whole)
        finally:
            await _tmux(whole, "kill-server")


async def _tmux(environment: Mapping[str, str], *arguments: str) -> str:
    assert TMUX is not None
    process = await asyncio.create_subprocess_exec(
        TMUX,
        *("-f", os.devnull, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (arguments, err)
    return out.decode()
