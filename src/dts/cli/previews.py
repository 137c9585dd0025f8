"""A preview of a schedule, as people read it."""

from __future__ import annotations

from datetime import timedelta

from dts.cli.errors import say
from dts.cli.output import Format, dump
from dts.cli.shapes import tick_shape
from dts.domain.words import rfc3339
from dts.pb.dts.v1 import ClockChange, PreviewScheduleResponse, Tick


def show_preview(found: PreviewScheduleResponse, form: Format) -> None:
    """Prints ticks, changes of the clock, and what may surprise."""
    if form is not Format.TABLE:
        dump([tick_shape(tick) for tick in found.ticks], form)
        return
    for tick in found.ticks:
        print(tick_line(tick))
    if not found.ticks:
        print("no further tick")
    for change in found.clock_changes:
        print(change_line(change))
    for warning in found.warnings:
        say(f"warning: {warning.message}")


def tick_line(tick: Tick) -> str:
    """A tick in its zone and in UTC."""
    excluded = "  excluded" if tick.excluded else ""
    utc = f"{tick.scheduled_at:%Y-%m-%d %H:%M:%S}Z" if tick.scheduled_at else ""
    return f"{tick.local_time}  {tick.timezone}  {utc}{excluded}" if tick.timezone != "UTC" else f"{utc}{excluded}"


def change_line(change: ClockChange) -> str:
    """A change of the clock and what it does."""
    hours = timedelta(seconds=change.offset_after - change.offset_before)
    sign = "forward" if hours > timedelta(0) else "back"
    return f"clock {sign} {(rfc3339(change.at) or '')[:16]}Z: {change.effect}"
