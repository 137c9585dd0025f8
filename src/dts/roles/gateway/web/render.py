"""Templates, and the words in which pages tell values. Every value is escaped unless a template made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dts.domain import kinds, words
from dts.domain.sizes import UNITS
from dts.pb.dts.v1 import TaskSpec
from dts.roles.gateway.web.advice import by_hand
from dts.roles.gateway.web.assets import Assets

FOLDER = Path(__file__).parent / "templates"
SHORT_ID = 8


class Templates:
    """Fills templates.

    Args:
        assets: what pages link to.
        version: of dts.
        now: the wall clock.
    """

    def __init__(self, assets: Assets, *, version: str, now: Callable[[], datetime]) -> None:
        # Nothing is served that is not escaped: there is no template here that is not HTML.
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"asset": assets.path, "version": version, "now": now}
        self._environment.filters |= {
            "word": words.word,
            "plain": plain,
            "by_hand": by_hand,
            "short": lambda text: text[:SHORT_ID],
            "span": words.rounded,
            "brief": brief,
            "rfc3339": words.rfc3339,
            "clock": clock,
            "ago": lambda at: ago(at, now()),
            "size": size,
            "schedule": words.schedule_words,
            "zone": words.timezone,
            "kind": kind_of,
            "lateness": words.lateness,
            "took": words.took,
            "json_text": json.dumps,
        }

    def render(self, template: str, **values: Any) -> str:
        """The text of a page or of a part of one."""
        return self._environment.get_template(template).render(values)


def plain(member: IntEnum) -> str:
    """An enum value as people say it: `timed out`."""
    return words.word(member).replace("_", " ")


def kind_of(spec: TaskSpec | None) -> str:
    """What a task runs."""
    return kinds.kind_of(spec.kind) if spec else ""


def clock(at: datetime | None) -> str:
    """An instant to the second, in UTC; the browser puts its own clock in its place."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(at: datetime | None, now: datetime) -> str:
    """How far from now, in one unit: `3 min ago`, `in 2 h`."""
    if at is None:
        return ""
    distance = (at - now).total_seconds()
    near = brief(timedelta(seconds=abs(distance)))
    return f"in {near}" if distance > 0 else f"{near} ago"


def brief(span: timedelta | None) -> str:
    """A span in the one unit that says enough."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86400 * 2, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.2g} {name}" if seconds / unit < 10 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} d"


def size(count: int) -> str:
    """An amount of memory or text, to one digit."""
    for unit, factor in reversed(UNITS.items()):
        if count >= factor > 1:
            return f"{count / factor:.1f} {unit.upper()}iB".replace(".0 ", " ")
    return f"{count} B"
