"""`dts top` on the terminal: looks anew, and does what keys ask for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import ColorDepth

from dts.cli import top_screen
from dts.cli.client import Client
from dts.cli.top_data import LogView, Place, Snapshot, look
from dts.domain.errors import DtsError
from dts.domain.runs import FINAL
from dts.domain.words import word
from dts.pb.dts.v1 import CancelRunRequest, LogStream, RetryRunRequest, Run, TailLogsRequest
from dts.runtime.clock import now


class Top:
    """The whole terminal.

    Args:
        client: whom to ask.
        server: its address, to be shown.
        every: seconds between two looks.
    """

    def __init__(self, client: Client, server: str, *, every: float) -> None:
        self._client = client
        self._server = server
        self._every = every
        self._found = Snapshot(now())
        self._problem = ""
        self._place = Place()
        self._shown: list[Run] = []
        self._agreed: Callable[[], Awaitable[None]] | None = None
        self._tail: asyncio.Task[None] | None = None
        self._app: Application[None] = Application(
            layout=Layout(Window(FormattedTextControl(self._text, focusable=True, show_cursor=False))),
            key_bindings=self._keys(),
            full_screen=True,
            color_depth=ColorDepth.MONOCHROME if os.environ.get("NO_COLOR") else None,
        )

    async def show(self) -> None:
        """Until somebody quits.

        Raises:
            DtsError: the server gave no first answer.
        """
        self._found = await look(self._client, now())
        looking = asyncio.create_task(self._look())
        try:
            await self._app.run_async()
        finally:
            for task in (looking, self._tail):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._look_once()

    async def _look_once(self) -> None:
        try:
            self._found = await look(self._client, now())
            self._problem = ""
        except DtsError as error:
            self._problem = error.message
        self._app.invalidate()

    def _text(self) -> StyleAndTextTuples:
        size = self._app.output.get_size()
        if self._place.log is not None:
            screen = top_screen.log(self._place.log, self._place, width=size.columns, height=size.rows)
        else:
            screen = top_screen.lists(
                self._found,
                self._place,
                server=self._server,
                width=size.columns,
                height=size.rows,
                problem=self._problem,
            )
            self._shown = screen.runs
        text: StyleAndTextTuples = []
        for number, line in enumerate(screen.lines):
            text += [("", "\n")] if number else []
            text += line
        return text

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        bound: dict[tuple[str, ...], Callable[[], None]] = {
            ("up", "k"): lambda: self._move(-1),
            ("down", "j"): lambda: self._move(1),
            ("c",): self._ask_to_cancel,
            ("r",): self._ask_to_retry,
            ("l", "enter"): self._open_log,
            ("q", "escape", "c-c"): self._leave,
        }
        for names, action in bound.items():
            for name in names:
                keys.add(name, eager=name == "escape")(self._pressed(action))
        keys.add("y")(self._pressed(_nothing, agrees=True))
        keys.add(Keys.Any)(self._pressed(_nothing))
        return keys

    def _pressed(self, action: Callable[[], None], *, agrees: bool = False) -> Callable[[KeyPressEvent], None]:
        """What a key does: answers the question, if there is one, and its own work if not."""

        def act(_: KeyPressEvent) -> None:
            wanted, self._agreed = self._agreed, None
            self._place.message = ""
            if self._place.asked:
                self._place.asked = ""
                if agrees and wanted is not None:
                    self._app.create_background_task(self._do(wanted))
            else:
                action()

        return act

    def _move(self, step: int) -> None:
        if self._place.log is None:
            self._place.move(self._shown, step)

    def _ask_to_cancel(self) -> None:
        run = self._chosen()
        if run is None:
            return
        if run.state in FINAL:
            self._place.message = f"{run.id[:8]} is over already"
            return

        async def cancel() -> None:
            answer = (await self._client.scheduler.cancel_run(CancelRunRequest(run=run.id))).run or run
            asked = " is asked to stop" if answer.cancel_requested else f" {word(answer.state)}"
            self._place.message = f"{run.id[:8]}{asked}"

        self._ask(f"Cancel {run.id[:8]} {run.task}?", cancel)

    def _ask_to_retry(self) -> None:
        run = self._chosen()
        if run is None:
            return
        if run.state not in FINAL:
            self._place.message = f"{run.id[:8]} is not over yet"
            return

        async def retry() -> None:
            answer = (await self._client.scheduler.retry_run(RetryRunRequest(run=run.id))).run or run
            self._place.message = f"{run.id[:8]} runs again as {answer.id[:8]}"

        self._ask(f"Run {run.id[:8]} {run.task} again?", retry)

    def _ask(self, question: str, action: Callable[[], Awaitable[None]]) -> None:
        self._place.asked, self._agreed = question, action

    async def _do(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except DtsError as error:
            self._place.message = error.message
        await self._look_once()

    def _open_log(self) -> None:
        run = self._chosen()
        if run is not None:
            self._place.log = LogView(run)
            self._tail = self._app.create_background_task(self._follow(self._place.log))

    async def _follow(self, view: LogView) -> None:
        try:
            async for answer in self._client.scheduler.tail_logs(TailLogsRequest(run=view.run.id, follow=True)):
                for chunk in answer.chunks:
                    error = chunk.stream is LogStream.STDERR
                    view.add(chunk.content, error=error)
                self._app.invalidate()
            view.over = True
        except DtsError as error:
            self._place.message = error.message
        self._app.invalidate()

    def _leave(self) -> None:
        if self._place.log is None:
            self._app.exit()
            return
        self._place.log = None
        if self._tail is not None:
            self._tail.cancel()
            self._tail = None

    def _chosen(self) -> Run | None:
        return self._place.run(self._shown) if self._place.log is None else None


def _nothing() -> None:
    """What a key does that only answers a question."""
