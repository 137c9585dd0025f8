"""Who belongs to a run: a look at every process of the machine, one look for all who ask at the same time.

A process belongs to a run if it is in the session or group of the run's supervisor, if its parent belongs to the run,
or if it carries the run's cookie, which is DTS_RUN_ID and DTS_ATTEMPT in the environment it was started with. A daemon
leaves session and parent behind, but not its environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dts.roles.executor.process_shim import EXHAUSTED, Shim, Stat, read_stat

RUN_ID = "DTS_RUN_ID"
ATTEMPT = "DTS_ATTEMPT"

_LARGEST_ENVIRONMENT = 4 * 1024 * 1024

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
                await asyncio.sleep(clock() - begun if self._asked else 0)
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
    """Who belongs to each of the marks, in one pass over /proc."""
    everyone = {stat.pid: stat for stat in _everyone()}
    oldest = min((mark.shim.started if mark.shim else 0 for mark in marks), default=0)
    cookies = _cookies((stat for stat in everyone.values() if stat.started >= oldest), {m.cookie for m in marks})
    return [_belonging(mark, everyone, cookies.get(mark.cookie, set())) for mark in marks]


def carries(pid: int, cookie: Cookie) -> bool:
    """Whether a process was started with the cookie."""
    return _cookie(pid) == cookie


def _everyone() -> Iterator[Stat]:
    """Every living process but this one."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path for each process costs more than the look at it
        if name.isdecimal() and (stat := read_stat(int(name))) and not stat.gone and stat.pid != os.getpid():
            yield stat


def _cookies(stats: Iterable[Stat], wanted: set[Cookie]) -> dict[Cookie, set[int]]:
    """The processes that carry one of the cookies."""
    found: dict[Cookie, set[int]] = {}
    for stat in stats:
        cookie = _cookie(stat.pid)
        if cookie in wanted and cookie is not None:
            found.setdefault(cookie, set()).add(stat.pid)
    return found


def _cookie(pid: int) -> Cookie | None:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - ten times as fast, per process
            environment = file.read(_LARGEST_ENVIRONMENT) or b""
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None
    run_id, attempt = _value(environment, RUN_ID), _value(environment, ATTEMPT)
    return (run_id, attempt) if run_id and attempt else None


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
