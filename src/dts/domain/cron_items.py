"""One field of a cron expression: its items, each checked strictly in its dialect.

Plain items are written out anew for croniter, which expands them; what croniter cannot expand is kept as values.
The rules of the dialects are those of entry.c of cronie and parser.go of robfig/cron v3; `H` is Jenkins', and `L`, `W`
and `#` are Quartz'.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from dts.domain.cron_fields import CronError
from dts.pb.dts.v1 import Dialect

MOST_ITEMS = 60
LAST_HASHED_DAY = 28


@dataclass(frozen=True, slots=True)
class Column:
    """One field of an expression. The largest value of days of the week is 7, which is Sunday again."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


SECOND = Column("second", 0, 59)
MINUTE = Column("minute", 0, 59)
HOUR = Column("hour", 0, 23)
DAY = Column("day of month", 1, 31)
MONTH = Column("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))
WEEKDAY = Column("day of week", 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
COLUMNS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class Items:
    """What a field says.

    plain: items that croniter expands.
    whole: an item is a star, with a step of one at most: the field restricts nothing.
    last_days, near, nth: as in `DayRule`.
    """

    plain: tuple[str, ...] = ()
    whole: bool = False
    last_days: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def union(cls, items: Iterable[Items]) -> Items:
        """What several say together."""
        listed = list(items)
        return cls(
            plain=tuple(text for each in listed for text in each.plain),
            whole=any(each.whole for each in listed),
            last_days=frozenset().union(*(each.last_days for each in listed)),
            near=frozenset().union(*(each.near for each in listed)),
            nth=frozenset().union(*(each.nth for each in listed)),
        )


def shown(text: str) -> str:
    """The text in quotes, if it is short enough to be shown."""
    return f"'{text}'" if len(text) <= 64 else "the expression"


def clipped(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= 32 else f"{text[:29]}..."


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Reads the items of one field of one expression. key: the seed of `H`."""

    expression: str
    dialect: Dialect
    column: Column
    key: str

    def read(self, text: str) -> Items:
        """What the field says.

        Raises:
            CronError: an item is refused.
        """
        items = text.split(",")
        if len(items) > MOST_ITEMS:
            raise self._wrong("list", f"is a list of {len(items)} items; at most {MOST_ITEMS} are allowed")
        return Items.union(self._item(item) for item in items)

    def _item(self, item: str) -> Items:
        if self.dialect is Dialect.DTS:
            if (special := self._special(item.upper())) is not None:
                return special
            if item[:1] in {"H", "h"}:
                return Items(plain=self._hashed(item))
        if self.dialect is Dialect.ROBFIG and item.startswith("?"):
            item = f"*{item[1:]}"
        return self._star(item) if item.startswith("*") else Items(plain=(self._range(item),))

    # -- plain items

    def _star(self, item: str) -> Items:
        match = re.fullmatch(r"\*(?:/(.*))?", item)
        if match is None:
            raise self._not_understood(item)
        if match[1] is None:
            return Items(plain=("*",), whole=True)
        step = self._step(match[1], self.column.low, self.column.high)
        return Items(plain=(f"*/{step}",), whole=step == 1)

    def _range(self, item: str) -> str:
        match = re.fullmatch(r"([^-/]+)(?:-([^-/]+))?(?:/(.*))?", item)
        if match is None:
            raise self._not_understood(item)
        first, final, step = match.groups()
        low = self._value(first)
        if step is not None and final is None:
            return _plain(low, self._top, self._step_after(low, step))
        high = low if final is None else self._value(final)
        if low > high:
            raise self._wrong("reversed_range", f"{clipped(item)} runs backwards; {self._unwound(first, final, step)}")
        return _plain(low, high, 1 if step is None else self._step(step, low, high))

    def _step_after(self, low: int, step: str) -> int:
        """The step of `N/STEP`, which only robfig knows: it begins at N."""
        if self.dialect is Dialect.ROBFIG:
            return self._step(step, low, self._top)
        item = f"{low}/{clipped(step)}"
        hint = f"write {low}-{self._top}/{clipped(step)}" if low < self._top else f"write {low}"
        raise self._wrong("step", f"{item} has a step without a range; {hint}")

    def _value(self, text: str) -> int:
        if text.upper() in self.column.names:
            return self.column.low + self.column.names.index(text.upper())
        if not text.isdecimal():
            allowed = f"a number from {self.column.low} to {self._high}"
            if names := self.column.names:
                allowed += f" or a name from {names[0]} to {names[-1]}"
            code = "name" if text[0].isalpha() else "syntax"
            raise self._wrong(code, f"{clipped(text)} is not {allowed}{self._hint(text)}")
        if not self.column.low <= int(text) <= self._high:
            raise self._wrong("out_of_range", f"{clipped(text)} is not in {self.column.low}..{self._high}")
        return int(text)

    def _step(self, text: str, low: int, high: int) -> int:
        # From 0 to 7 there are seven days, because 7 is 0 again.
        span = min(high - low + 1, 7) if self.column is WEEKDAY else high - low + 1
        if not text.isdecimal() or int(text) == 0:
            raise self._wrong("step", f"step {clipped(text) or 'of nothing'} is not in 1..{span}")
        if int(text) > span:
            raise self._wrong("step", f"step {clipped(text)} is larger than the range: it is not in 1..{span}")
        return int(text)

    @property
    def _high(self) -> int:
        """The largest value that may be written."""
        return 6 if self.column is WEEKDAY and self.dialect is Dialect.ROBFIG else self.column.high

    @property
    def _top(self) -> int:
        """The largest value that is not another one again."""
        return 6 if self.column is WEEKDAY else self.column.high

    def _unwound(self, first: str, final: str, step: str | None) -> str:
        """How to write a range that wraps around."""
        if step is not None:
            return "write two ranges with a comma"
        names = self.column.names
        low, high = (names[0], names[-1]) if names and first[0].isalpha() else (self.column.low, self._top)
        ends = ((first, str(high)), (str(low), final))
        return f"write {','.join(a if a.upper() == b.upper() else f'{a}-{b}' for a, b in ends)}"

    # -- what only the dialect dts has

    def _hashed(self, item: str) -> tuple[str, ...]:
        """`H`, `H(0-29)`, `H/15` and `H(0-29)/10`: stable for a task, spread over tasks."""
        match = re.fullmatch(r"H(?:\(([^-()]+)-([^-()]+)\))?(?:/(.*))?", item, re.IGNORECASE)
        if match is None:
            raise self._wrong("hash", f"{clipped(item)} is not H, H(LOW-HIGH), H/STEP or H(LOW-HIGH)/STEP")
        low, high = self.column.low, LAST_HASHED_DAY if self.column is DAY else self._top
        if match[1] is not None:
            low, high = self._hashed_range(match[1], match[2], high)
        digest = hashlib.sha256(f"{self.column.name}\0{self.key}".encode(errors="surrogatepass")).digest()
        number = int.from_bytes(digest[:8], "big")
        if match[3] is None:
            return (str(low + number % (high - low + 1)),)
        step = self._step(match[3], low, high)
        return tuple(str(value) for value in range(low + number % step, high + 1, step))

    def _hashed_range(self, first: str, final: str, most: int) -> tuple[int, int]:
        low, high = self._value(first), self._value(final)
        if low > high:
            raise self._wrong("reversed_range", f"H({first}-{final}) runs backwards; write H({final}-{first})")
        # A day that some months lack would make the task skip them, for some names and not for others.
        if self.column is DAY and high > most:
            raise self._wrong("out_of_range", f"H({first}-{final}) is not in {self.column.low}..{most}")
        return low, high

    def _special(self, item: str) -> Items | None:
        if self.column is DAY:
            return self._special_day(item)
        if self.column is WEEKDAY:
            return self._special_weekday(item)
        return None

    def _special_day(self, item: str) -> Items | None:
        """`L` the last day, `L-3` three days before it, `15W` the weekday nearest to a day, `LW` the last weekday."""
        if match := re.fullmatch(r"L(?:-(\d+))?", item):
            before = int(match[1] or 0)
            if before > 30:
                raise self._wrong("out_of_range", f"{clipped(item)} is not in L-0..L-30")
            return Items(last_days=frozenset({before}))
        if match := re.fullmatch(r"(\d+|L)W", item):
            return Items(near=frozenset({0 if match[1] == "L" else self._value(match[1])}))
        return None

    def _special_weekday(self, item: str) -> Items | None:
        """`FRI#2` the second Friday, `5L`, `FRIL` or `L5` the last one."""
        if match := re.fullmatch(r"(\w+)#(.*)", item):
            weekday = self._value(match[1]) % 7
            if match[2] not in {"1", "2", "3", "4", "5"}:
                raise self._wrong("nth", f"{clipped(item)}: what follows # is not in 1..5")
            return Items(nth=frozenset({(weekday, int(match[2]))}))
        if match := re.fullmatch(r"(\d+|[A-Z]{3})L|L(\d+)", item):
            return Items(nth=frozenset({(self._value(match[1] or match[2]) % 7, -1)}))
        return None

    # -- refusals

    def _not_understood(self, item: str) -> CronError:
        if not item:
            return self._wrong("syntax", "is a list with an empty item")
        return self._wrong("syntax", f"{clipped(item)} is not a value, range, list or step{self._hint(item)}")

    def _hint(self, item: str) -> str:
        if "~" in item or re.fullmatch(r"R(\(.*)?", item, re.IGNORECASE):
            return "; for a time that is spread over tasks write H, in the dialect dts"
        if "?" in item:
            return "; ? belongs to the dialect robfig, write *"
        if not re.search(r"#|L$|^L|W$|^H", item, re.IGNORECASE):
            return ""
        if self.dialect is not Dialect.DTS:
            return "; H, L, W and # belong to the dialect dts"
        return "; L and W belong to the day of month, FRI#2 and FRIL to the day of week"

    def _wrong(self, code: str, message: str) -> CronError:
        return CronError(code, f"{shown(self.expression)}: {self.column.name} {message}")


def _plain(low: int, high: int, step: int) -> str:
    # croniter reads a range of one value with a step as the whole field.
    if low == high:
        return str(low)
    return f"{low}-{high}" if step == 1 else f"{low}-{high}/{step}"
