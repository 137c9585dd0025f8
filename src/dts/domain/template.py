"""Values of a run in commands and environments: `{{ scheduled_at | date }}`. Nothing else: no code, no loops."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from dts.domain.ids import EPOCH

Value = str | int | datetime | None

NAMES = ("scheduled_at", "previous_success_at", "task", "run_id", "attempt", "node")
PARAMETER = "param."
SECOND = timedelta(seconds=1)
SHOWN = 32
"""So much of an unknown word is looked at and repeated."""
FILTERS: dict[str, Callable[[datetime], str]] = {
    "iso": lambda instant: instant.isoformat().replace("+00:00", "Z"),
    "date": lambda instant: f"{instant:%Y-%m-%d}",
    "time": lambda instant: f"{instant:%H:%M:%S}",
    "unix": lambda instant: str((instant - EPOCH) // SECOND),
}
"""How an instant in UTC is written; `iso` if nothing is said."""

_INSTANTS = {"scheduled_at", "previous_success_at"}
_PLACE = re.compile(r"\{\{([^{}]*)\}\}")
_INSIDE = re.compile(r"\s*([a-z_]+|param\.[A-Za-z_][A-Za-z0-9_]{0,62})\s*(?:\|\s*([a-z]+)\s*)?", re.ASCII)


def check_template(text: str) -> str | None:
    """What is wrong with the places in a text, in a sentence; None if nothing is."""
    if "{{" in _PLACE.sub(" ", text):
        return "has a {{ without its }}"
    return next((wrong for place in _PLACE.findall(text) if (wrong := _wrong(place))), None)


def render(text: str, values: Mapping[str, Value]) -> str:
    """Fills in the places of a text that was checked.

    Args:
        text: as `check_template` accepts it.
        values: by name; instants are aware. What is None or missing becomes empty.
    """
    return _PLACE.sub(lambda match: _fill(match[1], values), text)


def _wrong(place: str) -> str | None:
    match = _INSIDE.fullmatch(place)
    if match is None:
        return "has a place that is not {{ name }} or {{ name | filter }}"
    name, chosen = match.groups()
    if not name.startswith(PARAMETER) and name not in NAMES:
        return f"names {name[:SHOWN]}, which is not known{_near(name, [*NAMES, 'param.NAME'])}"
    if chosen is None:
        return None
    if name not in _INSTANTS:
        return f"applies {chosen[:SHOWN]} to {name[:SHOWN]}; filters are for {' and '.join(sorted(_INSTANTS))}"
    return None if chosen in FILTERS else f"applies {chosen[:SHOWN]}, which is not known{_near(chosen, list(FILTERS))}"


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word[:SHOWN], known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _fill(place: str, values: Mapping[str, Value]) -> str:
    match = _INSIDE.fullmatch(place)
    if match is None:
        return ""
    name, chosen = match.groups()
    value = values.get(name)
    if isinstance(value, datetime):
        return FILTERS.get(chosen or "iso", FILTERS["iso"])(value.astimezone(UTC))
    return "" if value is None else str(value)
