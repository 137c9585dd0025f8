"""Sentences made for a terminal, as a page says them: with its buttons in place of commands that do the same."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_QUOTED = re.compile(r"`([^`]*)`")
_BUTTONS = {
    re.compile(r"dts run logs \S+( -f)?"): "the output of the run",
    re.compile(r"dts run retry \S+"): "“Run again”",
    re.compile(r"dts run show \S+"): "the link to it",
    re.compile(r"dts run cancel \S+"): "“Cancel” on its page",
    re.compile(r"dts node (list|show \S+)"): "the page Nodes",
    re.compile(r"dts node resume \S+"): "“Resume” on the page Nodes",
    re.compile(r"dts task trigger \S+"): "“Run now”",
    re.compile(r"dts task edit \S+"): "“Edit”",
    re.compile(r"dts task resume \S+"): "“Resume”",
    re.compile(r"dts status"): "the page Now",
}
"""What does the same as a command."""


def by_hand(text: str) -> Markup:
    """The sentence; what stays between backticks is shown as code."""
    return Markup("").join(
        _instead(part) if number % 2 else escape(part) for number, part in enumerate(_QUOTED.split(text))
    )


def _instead(command: str) -> Markup:
    for pattern, button in _BUTTONS.items():
        if pattern.fullmatch(command):
            return escape(button)
    return Markup("<code>{}</code>").format(command)
