"""Who belongs to a run: a look at every process of the machine, one look for all who ask at the same time.

A process belongs to a run if it is in the session or group of the run's supervisor, if its parent belongs to the run,
or if it carries the run's cookie, which is DTS_RUN_ID and DTS_ATTEMPT in the environment it was started with. A daemon
leaves session and parent behind, but not its environment.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from dts.roles.executor.process.shim import EXHAUSTED, Shim, Stat, read_all, read_stat

RUN_ID = "DTS_RUN_ID"
ATTEMPT = "DTS_ATTEMPT"

SHORTEST_GAP = 0.005
"""Between two looks, in seconds: runs that end in a burst share one."""

MOST_LISTINGS = 8
"""A machine on which somebody ends all the time is not listed for ever."""

Cookie = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells the processes of one attempt. shim: None if there is none any more that could be named."""

    run_id: str
    attempt: int
    shim: Shim | None

    @property
    def cookie(self) -> Cookie:
        """What stands in the environment of everything that the attempt started."""
        return self.run_id.encode(), str(self.attempt).encode()


class Census:
    """Answers who belongs to a run. Those who ask during a look share the next one."""

    def __init__(self) -> None:
        self._asked: list[tuple[Mark, asyncio.Future[list[Stat]]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def members(self, mark: Mark) -> list[Stat]:
        """Every living process of the attempt, the supervisor too.

        Raises:
            OSError: the system had no descriptor or no memory left for a look.
        """
        answer: asyncio.Future[list[Stat]] = asyncio.get_running_loop().create_future()
        self._asked.append((mark, answer))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await answer

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                begun = clock()
                await _answer(asked)
                # A look is long where there are many processes: at most half of the time is spent on it.
                await asyncio.sleep(max(clock() - begun, SHORTEST_GAP))
        finally:
            self._looking = None


async def _answer(asked: list[tuple[Mark, asyncio.Future[list[Stat]]]]) -> None:
    """Takes one look for all who asked."""
    try:
        found = await asyncio.to_thread(look, [mark for mark, _ in asked])
    except OSError as error:
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(error)
        return
    for (_, answer), members in zip(asked, found, strict=True):
        if not answer.done():
            answer.set_result(members)


def look(marks: list[Mark]) -> list[list[Stat]]:
    """Who belongs to each of the marks, in one pass over /proc.

    Raises:
        OSError: the system had no descriptor or no memory left for it.
    """
    oldest = min((mark.shim.started if mark.shim else 0 for mark in marks), default=0)
    everyone, cookies = _everyone(oldest)
    carriers: dict[Cookie, set[int]] = {mark.cookie: set() for mark in marks}
    for pid, cookie in cookies.items():
        if cookie in carriers:
            carriers[cookie].add(pid)
    return [_belonging(mark, everyone, carriers[mark.cookie]) for mark in marks]


def carries(pid: int, cookie: Cookie) -> bool:
    """Whether a process was started with the cookie."""
    return _cookie_in(_environment(pid)) == cookie


def _everyone(oldest: int) -> tuple[dict[int, Stat], dict[int, Cookie]]:
    """Every living process but this one, and the cookies of those that are not older than `oldest`.

    Who ends between the listing and the look may have left a child that was not listed: then who came since is
    looked at as well.
    """
    everyone: dict[int, Stat] = {}
    cookies: dict[int, Cookie] = {}
    seen = {os.getpid()}
    for _ in range(MOST_LISTINGS):
        newcomers = _listed() - seen
        seen |= newcomers
        living = {pid: stat for pid in newcomers if (stat := read_stat(pid)) and not stat.gone}
        told = {pid: _environment(pid) for pid, stat in living.items() if stat.started >= oldest}
        everyone |= living
        cookies |= {pid: _cookie_in(environment) for pid, environment in told.items()}
        if len(living) == len(newcomers) and all(told.values()):
            break
    return everyone, cookies


def _listed() -> set[int]:
    names = os.listdir("/proc")  # noqa: PTH208 - a Path for each process costs more than the look at it
    return {int(name) for name in names if name.isdecimal()}


def _environment(pid: int) -> bytes:
    """The environment that a process was started with; empty if it has ended or is none of ours."""
    try:
        return read_all(f"/proc/{pid}/environ")
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return b""


def _cookie_in(environment: bytes) -> Cookie:
    """The cookie in an environment; two empty values if there is none."""
    return _value(environment, RUN_ID), _value(environment, ATTEMPT)


def _value(environment: bytes, name: str) -> bytes:
    """The value of a variable; empty if there is none."""
    _, found, rest = (b"\0" + environment).partition(b"\0" + name.encode() + b"=")
    return rest.partition(b"\0")[0] if found else b""


def _belonging(mark: Mark, everyone: dict[int, Stat], carriers: set[int]) -> list[Stat]:
    """Those of the mark: what carries its cookie, shares the supervisor's session or group, and all below."""
    shim = mark.shim
    members = set(carriers)
    if shim is not None and _is_still(shim, everyone):
        members |= {s.pid for s in everyone.values() if shim.pid in (s.pid, s.session, s.group)}
    return [everyone[pid] for pid in _with_children(members, everyone)]


def _is_still(shim: Shim, everyone: dict[int, Stat]) -> bool:
    """Whether the supervisor's number is still its own: nobody else's session must be taken for the run's."""
    holder = everyone.get(shim.pid)
    return holder is None or holder.started == shim.started


def _with_children(members: set[int], everyone: dict[int, Stat]) -> set[int]:
    """Members and all below them."""
    children: dict[int, list[int]] = {}
    for stat in everyone.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    reached: set[int] = set()
    to_visit = list(members)
    while to_visit:
        pid = to_visit.pop()
        if pid not in reached:
            reached.add(pid)
            to_visit.extend(children.get(pid, ()))
    return reached
