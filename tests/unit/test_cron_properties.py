"""Expressions that are made up together with their meaning, which shares no code with dts.

A day is judged on its own, by counting days of the calendar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as datetime_time
from itertools import takewhile

import pytest
from croniter import croniter
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dts.domain.cron import CronError, parse_cron
from dts.pb.dts.v1 import Dialect

DTS, CRONIE, ROBFIG = Dialect.DTS, Dialect.CRONIE, Dialect.ROBFIG
DIALECTS = st.sampled_from([DTS, CRONIE, ROBFIG])
KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=63)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
ONE_DAY = timedelta(days=1)

YEARS = st.one_of(st.sampled_from([1900, 2000, 2024, 2026, 2028, 2100]), st.integers(1900, 9998))


@dataclass(frozen=True)
class Item:
    """An item with its meaning. star: it begins with one. whole: it is one."""

    text: str
    holds: Callable[[int], bool] | Callable[[date], bool]
    star: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Field:
    items: tuple[Item, ...]

    @property
    def text(self):
        return ",".join(item.text for item in self.items)

    def holds(self, value):
        return any(item.holds(value) for item in self.items)


def spelled(draw, value, names, first):
    """A value as a number or as a name."""
    number = "0" * draw(st.integers(0, 1)) + str(value)
    if not names or value - first >= len(names):
        return number
    name = names[value - first]
    return draw(st.sampled_from([number, name, name.lower(), name.title()]))


@st.composite
def numeric_items(draw, dialect, low, high, names=(), most=None):
    """Plain items. most: the number of distinct values, if there are fewer than numbers."""
    top = low + most - 1 if most else high
    kinds = ["star", "star step", "value", "range", "range step", *(["from", "?"] if dialect is ROBFIG else [])]
    kind = draw(st.sampled_from(kinds))
    if kind in {"star", "?"}:
        return Item("*" if kind == "star" else "?", lambda _: True, star=True, whole=True)
    if kind == "star step":
        step = draw(st.integers(1, top - low + 1))
        return Item(f"*/{step}", lambda value: (value - low) % step == 0, star=True, whole=step == 1)
    first = draw(st.integers(low, high))
    if kind == "value":
        return Item(spelled(draw, first, names, low), lambda value: value == first)
    final = draw(st.integers(first, high))
    if kind == "range":
        text = f"{spelled(draw, first, names, low)}-{spelled(draw, final, names, low)}"
        return Item(text, lambda value: first <= value <= final)
    if kind == "from":
        step = draw(st.integers(1, high - first + 1))
        return Item(f"{spelled(draw, first, names, low)}/{step}", lambda v: v >= first and (v - first) % step == 0)
    step = draw(st.integers(1, min(final - first + 1, top - low + 1)))
    text = f"{spelled(draw, first, names, low)}-{spelled(draw, final, names, low)}/{step}"
    return Item(text, lambda value: first <= value <= final and (value - first) % step == 0)


def month_of(day):
    """All days of the month of a day."""
    first = day.replace(day=1)
    return list(takewhile(lambda each: each.month == day.month, (first + n * ONE_DAY for n in range(31))))


def nearest_workday(month, wanted):
    return min((day for day in month if day.isoweekday() <= 5), key=lambda day: abs(day - wanted))


def near(number):
    def holds(day):
        month = month_of(day)
        return number <= len(month) and nearest_workday(month, month[number - 1]) == day

    return holds


def on_weekday(weekday):
    return lambda day: WEEKDAYS[weekday % 7].title() == day.strftime("%a")


@st.composite
def day_items(draw, dialect):
    kind = draw(st.sampled_from(["L", "L-", "W", "LW"])) if dialect is DTS and draw(st.booleans()) else "number"
    if kind == "L":
        return Item("L", lambda day: month_of(day)[-1] == day)
    if kind == "L-":
        before = draw(st.integers(0, 30))
        return Item(f"L-{before}", lambda day: day + before * ONE_DAY == month_of(day)[-1])
    if kind == "W":
        number = draw(st.integers(1, 31))
        return Item(f"{number}W", near(number))
    if kind == "LW":
        return Item("LW", lambda day: nearest_workday(month_of(day), month_of(day)[-1]) == day)
    item = draw(numeric_items(dialect, 1, 31))
    return Item(item.text, lambda day: item.holds(day.day), item.star, item.whole)


@st.composite
def weekday_items(draw, dialect):
    kind = draw(st.sampled_from(["#", "L"])) if dialect is DTS and draw(st.booleans()) else "number"
    high = 6 if dialect is ROBFIG else 7
    if kind == "number":
        item = draw(numeric_items(dialect, 0, high, WEEKDAYS, most=7))
        # Sunday is 0, and 7 where there is a 7.
        numbers = [number for number in range(high + 1) if item.holds(number)]
        return Item(item.text, lambda day: any(on_weekday(n)(day) for n in numbers), item.star, item.whole)
    weekday = draw(st.integers(0, 7))
    word = draw(st.sampled_from([str(weekday), WEEKDAYS[weekday % 7]]))
    if kind == "L":
        text = draw(st.sampled_from([f"{word}L", f"L{weekday}"]))
        return Item(text, lambda day: on_weekday(weekday)(day) and (day + 7 * ONE_DAY).month != day.month)
    number = draw(st.integers(1, 5))

    def holds(day):
        same = [each for each in month_of(day) if on_weekday(weekday)(each)]
        return day in same[number - 1 : number]

    return Item(f"{word}#{number}", holds)


def fields_of(items):
    return st.lists(items, min_size=1, max_size=4).map(lambda listed: Field(tuple(listed)))


@dataclass(frozen=True)
class Expression:
    dialect: Dialect
    seconds: Field | None
    minutes: Field
    hours: Field
    days: Field
    months: Field
    weekdays: Field

    @property
    def text(self):
        fields = (self.seconds, self.minutes, self.hours, self.days, self.months, self.weekdays)
        return " ".join(field.text for field in fields if field is not None)

    def holds(self, day):
        if not self.months.holds(day.month):
            return False
        by_date, by_weekday = self.days.holds(day), self.weekdays.holds(day)
        if self.dialect is CRONIE:
            both = self.days.items[0].star or self.weekdays.items[0].star
        else:
            both = any(item.whole for item in (*self.days.items, *self.weekdays.items))
        return (by_date and by_weekday) if both else (by_date or by_weekday)


@st.composite
def expressions(draw):
    dialect = draw(DIALECTS)
    sixty = fields_of(numeric_items(dialect, 0, 59))
    return Expression(
        dialect,
        draw(sixty) if dialect is not CRONIE and draw(st.booleans()) else None,
        draw(sixty),
        draw(fields_of(numeric_items(dialect, 0, 23))),
        draw(fields_of(day_items(dialect))),
        draw(fields_of(numeric_items(dialect, 1, 12, MONTHS))),
        draw(fields_of(weekday_items(dialect))),
    )


@settings(max_examples=300, deadline=None)
@given(expressions())
def test_times_and_months_are_those_that_the_items_mean(expression):
    fields = parse_cron(expression.text, expression.dialect, key="k")
    seconds = (0,) if expression.seconds is None else tuple(filter(expression.seconds.holds, range(60)))
    assert fields.seconds == seconds
    assert fields.minutes == tuple(filter(expression.minutes.holds, range(60)))
    assert fields.hours == tuple(filter(expression.hours.holds, range(24)))
    assert fields.months == tuple(filter(expression.months.holds, range(1, 13)))
    assert fields.elapsed == (expression.minutes.items[0].star or expression.hours.items[0].star)


@settings(max_examples=300, deadline=None)
@given(expressions(), YEARS, st.integers(1, 12))
def test_days_are_those_that_a_reader_of_single_days_finds(expression, year, month):
    fields = parse_cron(expression.text, expression.dialect, key="k")
    days = month_of(date(year, month, 1))
    expected = tuple(day.day for day in days if expression.holds(day))
    assert fields.days_of(year, month) == expected
    assert tuple(day.day for day in days if fields.matches_day(day)) == expected


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1970, 2200), st.integers(1, 12))
def test_croniter_finds_the_same_days_where_it_is_right(data, year, month):
    # croniter knows no L-3 and no LW, takes W only alone, and mixes neither nth days nor L5 with a day of the month;
    # it reads 31W as the last weekday where there is no 31st, which is LW, and it matches nothing in far years.
    days = data.draw(st.sampled_from(["*", "1", "7-9", "1,15,31", "*/5", "L", "1W", "15W", "28W"]))
    weekdays = {"*": ["*", "5#2", "SUN#5", "L5", "L0", "7"], "1": ["MON", "0"], "7-9": ["1-5/2"], "*/5": ["7"]}
    text = f"0 0 {days} * {data.draw(st.sampled_from(weekdays.get(days, ['*'])))}"
    midnights = [datetime.combine(day, datetime_time(), UTC) for day in month_of(date(year, month, 1))]
    expected = tuple(midnight.day for midnight in midnights if croniter.match(text, midnight))
    assert parse_cron(text, DTS, key="k").days_of(year, month) == expected


COLUMNS = {"second": 0, "minute": 1, "hour": 2, "day": 3, "month": 4, "weekday": 5}
RANGES = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day": (1, 28), "month": (1, 12), "weekday": (0, 6)}


def hashed(column, item, key):
    """The values of an item, read from the field in which it stands alone."""
    texts = ["0", "0", "0", "*", "*", "*"]
    texts[COLUMNS[column]] = item
    fields = parse_cron(" ".join(texts), DTS, key=key)
    if column == "day":
        return fields.days_of(2024, 1)
    if column == "weekday":
        # January 2023 begins on a Sunday.
        return tuple(day - 1 for day in fields.days_of(2023, 1) if day <= 7)
    return {"second": fields.seconds, "minute": fields.minutes, "hour": fields.hours, "month": fields.months}[column]


@settings(max_examples=200, deadline=None)
@given(KEYS, st.sampled_from(sorted(RANGES)), st.data())
def test_h_is_stable_and_in_its_range(key, column, data):
    low, high = RANGES[column]
    first = data.draw(st.integers(low, high))
    final = data.draw(st.integers(first, high))
    step = data.draw(st.integers(1, final - first + 1))
    (plain,) = hashed(column, "H", key)
    (bounded,) = hashed(column, f"H({first}-{final})", key)
    stepped = hashed(column, f"H({first}-{final})/{step}", key)
    assert low <= plain <= high
    assert first <= bounded <= final
    assert first <= stepped[0] < first + step
    assert stepped == tuple(range(stepped[0], final + 1, step))
    assert hashed(column, f"h({first}-{final})/{step}", key) == stepped
    assert hashed(column, "H", key) == (plain,)


ODD = st.text("0123456789*/-,#LWHR?~@ ()=:+._abcMONFRIJAN\t\n\x00\u0660\uff11é", max_size=80)
PLAIN_WORDS = ["*", "*/2", "0", "1-5", "1-5/2", "5/5", "MON", "JAN", "?", "?/2", "@daily", "@every", "5m", "TZ=UTC"]
SPECIAL_WORDS = ["H", "H/5", "H(1-5)", "L", "LW", "L-3", "15W", "5#2", "5L", "L5"]
WRONG_WORDS = ["60", "*/90", "*/0", "**", "-1", "+1", "1.5", "5-1", "FRI-SUN", "0~9", ",", "1,,", "-", "/", "#", "~"]
BROKEN_WORDS = ["H(", "W", "5#6", "@reboot", "CRON_TZ=", "\uff15"]
WORDS = st.sampled_from([*PLAIN_WORDS, *SPECIAL_WORDS, *WRONG_WORDS, *BROKEN_WORDS])


@settings(max_examples=500, deadline=None)
@given(st.one_of(ODD, st.text(max_size=300), st.lists(WORDS, max_size=8).map(" ".join)), DIALECTS, st.text(max_size=70))
@example("0" * 300, DTS, "")
@example("@every " + "9" * 240, ROBFIG, "k")
@example("0 0 * * H", DTS, "\ud800")
def test_any_text_is_read_or_refused_in_a_sentence(text, dialect, key):
    fields, refused = read_or_refusal(text, dialect, key)
    if refused is not None:
        assert refused.code.startswith("schedule.cron.")
        assert str(refused).isascii()
        assert str(refused).isprintable()
        assert len(str(refused)) < 400
    elif fields.every is None:
        assert all((fields.seconds, fields.minutes, fields.hours, fields.months))
        assert all(1 <= day <= 29 for day in fields.days_of(2024, 2))


def read_or_refusal(text, dialect, key):
    try:
        return parse_cron(text, dialect, key=key), None
    except CronError as error:
        return None, error


@settings(max_examples=100, deadline=None)
@given(expressions())
def test_reading_twice_says_the_same(expression):
    assume(len(expression.text) <= 250)
    first = parse_cron(expression.text, expression.dialect, key="k")
    again = parse_cron(f" {expression.text.lower().replace('w', 'W')}  \n", expression.dialect, key="other")
    assert first == again


@pytest.mark.parametrize("dialect", [DTS, CRONIE, ROBFIG])
def test_every_single_value_of_every_field_is_read_and_its_neighbours_outside_are_refused(dialect):
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6 if dialect is ROBFIG else 7)]
    for place, (low, high) in enumerate(bounds):
        for value in range(-1, 70):
            texts = ["*"] * 5
            texts[place] = str(value)
            if low <= value <= high:
                parse_cron(" ".join(texts), dialect, key="k")
            else:
                with pytest.raises(CronError):
                    parse_cron(" ".join(texts), dialect, key="k")
