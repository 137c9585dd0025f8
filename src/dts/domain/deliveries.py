"""How long a message is tried, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from dts.domain.localtime import after_gap, find_zone, instants_of
from dts.pb.dts.v1 import ChannelKind, QuietHours

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=30)

GIVE_UP = {
    ChannelKind.WEBHOOK: timedelta(hours=24),
    ChannelKind.APPRISE: timedelta(hours=24),
    # Whoever waits for a ping has told by then that it did not come.
    ChannelKind.PING: timedelta(hours=1),
}
"""After what time a message that does not arrive is given up."""


MOST_WAITING = 10_000
"""So many messages may wait for a channel. What is beyond is given up: it takes less than there is to tell."""


def pause_after(attempt: int, *, rand: float) -> timedelta:
    """How long to wait after a try that failed: 5 s, doubled with each, at most half an hour; half of it is jitter.

    Args:
        attempt: the number of the try, from 1.
        rand: in [0, 1).
    """
    doublings = min(max(attempt, 1) - 1, 16)
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE) * (0.5 + 0.5 * rand)


def quiet_until(quiet: QuietHours | None, now: datetime) -> datetime:
    """When people may be told: now, or at the end of their quiet hours."""
    if quiet is None:
        return now
    zone = find_zone(quiet.zone)
    here = now.astimezone(zone)
    start, end = parse_time(quiet.start), parse_time(quiet.end)
    inside = start <= here.time() < end if start < end else here.time() >= start or here.time() < end
    if not inside:
        return now
    day = here.date() if here.time() < end else here.date() + timedelta(days=1)
    local = datetime.combine(day, end)
    instants = [instant for instant in instants_of(local, zone) if instant > now]
    return instants[0] if instants else max(after_gap(local, zone), now)


def told_at(quiet: QuietHours | None, digest_every: timedelta | None, now: datetime) -> datetime:
    """When a message goes out: now, or when those that are gathered with it do, and never in quiet hours."""
    if digest_every is None:
        return quiet_until(quiet, now)
    gathered = (now - _EPOCH) % digest_every
    return quiet_until(quiet, now - gathered + digest_every)


def parse_time(text: str) -> time:
    """Reads a time of day such as 07:00.

    Raises:
        ValueError: it is none.
    """
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isascii() and hour.isdigit() and minute.isascii() and minute.isdigit()):
        raise ValueError("is no time of day such as 22:00")
    return time(int(hour), int(minute))
