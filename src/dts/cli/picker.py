"""Picking one of many on a terminal: type some letters of it, move with the arrows, Enter takes it."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, Dimension, FormattedTextControl, HSplit, Layout, VSplit, Window
from prompt_toolkit.styles import Style

from dts.cli.errors import printable
from dts.cli.fuzzy import matches

ROWS = 10
STYLE = Style.from_dict({"question": "bold", "at": "reverse", "count": "fg:ansibrightblack"})


class Picker:
    """The choices, those that match what was typed, and where the pointer is among them."""

    def __init__(self, question: str, choices: Sequence[str]) -> None:
        self._question = question
        self._choices = [printable(choice) for choice in choices]
        self._found = list(range(len(choices)))
        self._at = 0
        self._typed = Buffer(on_text_changed=lambda buffer: self._search(buffer.text), multiline=False)

    async def pick(self) -> int | None:
        """The place of the choice that was taken; None if none was."""
        app: Application[int | None] = Application(
            layout=Layout(self._layout(), focused_element=self._typed),
            key_bindings=self._keys(),
            style=STYLE,
            erase_when_done=True,
        )
        picked = await app.run_async()
        if picked is not None:
            print(f"{self._question} {self._choices[picked]}")
        return picked

    def _search(self, pattern: str) -> None:
        self._found = matches(pattern, self._choices)
        self._at = 0

    def _layout(self) -> HSplit:
        question = FormattedTextControl([("class:question", f"{self._question} ")])
        return HSplit(
            [
                VSplit(
                    [
                        Window(question, width=len(self._question) + 1, dont_extend_width=True),
                        Window(BufferControl(self._typed), height=1),
                    ]
                ),
                Window(FormattedTextControl(self._lines), height=Dimension(max=ROWS + 1), wrap_lines=False),
            ]
        )

    def _lines(self) -> StyleAndTextTuples:
        first = max(0, self._at - ROWS + 1)
        lines: StyleAndTextTuples = []
        for number, place in enumerate(self._found[first : first + ROWS], first):
            here = number == self._at
            lines.append(("class:at" if here else "", f"{'❯' if here else ' '} {self._choices[place]}"))
            lines.append(("", "\n"))
        lines.append(("class:count", f"  {len(self._found)} of {len(self._choices)}"))
        return lines

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("down")
        @keys.add("c-n")
        def _down(_: KeyPressEvent) -> None:
            self._at = min(self._at + 1, max(len(self._found) - 1, 0))

        @keys.add("up")
        @keys.add("c-p")
        def _up(_: KeyPressEvent) -> None:
            self._at = max(self._at - 1, 0)

        @keys.add("enter")
        def _take(event: KeyPressEvent) -> None:
            if self._found:
                event.app.exit(result=self._found[self._at])

        @keys.add("c-c")
        @keys.add("c-d")
        @keys.add("escape", eager=True)
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit(result=None)

        return keys
