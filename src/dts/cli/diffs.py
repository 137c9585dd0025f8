"""What `dts diff` tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dts.cli.errors import say
from dts.cli.lookahead import Pair, Span
from dts.cli.output import Format, dump
from dts.cli.times import local
from dts.domain.schedule import schedule_of
from dts.domain.tick_changes import Move, TickChanges, tick_changes
from dts.domain.words import rfc3339


@dataclass(frozen=True, slots=True)
class Difference:
    """A task whose definition would change. change: created, updated or deleted."""

    name: str
    change: str
    paused: bool
    ticks: TickChanges


def differences(pairs: Iterable[Pair], span: Span, *, listed: int) -> Iterator[Difference]:
    """Of each task whose definition would change. A paused task has no ticks, before or after."""
    for pair in pairs:
        before = pair.before.spec if pair.before else None
        if before == pair.after:
            continue
        old, new = (schedule_of(before), schedule_of(pair.after)) if pair.owes else (None, None)
        ticks = (
            TickChanges() if old == new else tick_changes(old, new, since=span.since, until=span.until, listed=listed)
        )
        yield Difference(pair.name, _change(pair), not pair.owes, ticks)


def show_differences(found: Sequence[Difference], span: Span, form: Format) -> None:
    """Prints them; those without a difference in their ticks are left to scripts."""
    if form is not Format.TABLE:
        dump([_shape(each) for each in found], form)
        return
    others = [each for each in found if not each.ticks.differ]
    for each in found:
        if each.ticks.differ:
            _tell(each)
    if len(others) == len(found):
        print(f"every tick stays as it is up to {local(span.until)}")
    if others:
        say(f"{', '.join(each.name for each in others)}: changed, but no tick is: `dts apply --dry-run` shows how")


def _tell(each: Difference) -> None:
    ticks = each.ticks
    counted = [(ticks.appear, "appear"), (ticks.vanish, "vanish"), (ticks.move, "move"), (ticks.stay, "stay")]
    print(f"{each.name} {each.change}: ticks: {', '.join(f'{count} {verb}' for count, verb in counted if count)}")
    for move in ticks.first:
        print(f"  {_line(move)}")
    left = ticks.appear + ticks.vanish + ticks.move - len(ticks.first)
    if left:
        print(f"  … and {left} more")


def _line(move: Move) -> str:
    old, new = move
    if old is None:
        return f"+ {local(new)}"
    return f"- {local(old)}" if new is None else f"~ {local(old)} → {local(new)}"


def _change(pair: Pair) -> str:
    if pair.before is None:
        return "created"
    return "deleted" if pair.after is None else "updated"


def _shape(each: Difference) -> dict[str, Any]:
    ticks = each.ticks
    return {
        "task": each.name,
        "change": each.change,
        "paused": each.paused,
        "stay": ticks.stay,
        "appear": ticks.appear,
        "vanish": ticks.vanish,
        "move": ticks.move,
        "ticks": [{"from": rfc3339(old), "to": rfc3339(new)} for old, new in ticks.first],
    }
