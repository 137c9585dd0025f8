"""What the ledger plans after an outage: in pieces of any size the same as at once, and the newest is what counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.ledger import HORIZON, ON_TIME, Cursor, Gap, Page, beside, plan_page
from dts.domain.policies import Effective
from dts.domain.schedule import CompiledSchedule, Tick, compile_schedule
from dts.pb.dts.v1 import Catchup, Cron, DateRange, Interval, Reason, Rule, Schedule

NOW = datetime(2026, 3, 20, 4, 0, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RUN = "run"


def compiled(*rules: Rule, **fields) -> CompiledSchedule:
    return compile_schedule(Schedule(rules=list(rules), timezone="Europe/Berlin", **fields), key="t")


def every(period: timedelta) -> Rule:
    return Rule(every=Interval(period=period))


def cron(expression: str) -> Rule:
    return Rule(cron=Cron(expression=expression))


@pytest.mark.parametrize("catchup", [Catchup.NONE, Catchup.LATEST, Catchup.ALL])
@pytest.mark.parametrize("rule", ["0 5 20 3 *", "0 5 29 2 *"])
def test_a_tick_that_comes_years_after_the_one_before_is_planned_by_the_first_visit(catchup, rule):
    schedule = compiled(cron(rule))
    due = schedule.next_after(NOW).at
    before = schedule.last_before(NOW, after=NOW - 9 * 365 * DAY).at
    page = plan_page(schedule, Effective(catchup=catchup), Cursor(before, None), now=due - 2 * SECOND)
    assert [tick.at for tick in page.due] == [due]


def pages(schedule: CompiledSchedule, policies: Effective, cursor: Cursor, limit: int) -> Iterator[Page]:
    """Visits until none is due any more."""
    while True:
        page = plan_page(schedule, policies, cursor, now=NOW, limit=limit)
        yield page
        if page.visit_at is None or page.visit_at > NOW:
            return
        assert page.cursor.upto > cursor.upto, "a visit that does not get on is the last that there ever is"
        cursor = page.cursor


def said(schedule: CompiledSchedule, found: list[Page]) -> dict[datetime, object]:
    """What the pages say of each tick; of each once."""
    fates: dict[datetime, object] = {}
    for page in found:
        told = [(tick.at, RUN) for tick in page.due]
        told += [(tick.at, gap.reason) for gap in page.gaps for tick in covered(schedule, gap)]
        assert not fates.keys() & dict(told).keys()
        assert len(told) == len(dict(told))
        fates |= dict(told)
    return fates


def covered(schedule: CompiledSchedule, gap: Gap) -> list[Tick]:
    ticks = schedule.between(gap.first - timedelta(microseconds=1), gap.last, limit=10**6)
    assert (ticks[0].at, ticks[-1].at, len(ticks)) == (gap.first, gap.last, gap.ticks)
    return ticks


def by_hand(schedule: CompiledSchedule, policies: Effective, cursor: Cursor) -> dict[datetime, object]:
    """What becomes of each tick, found by listing all of them."""
    ticks = schedule.between(cursor.upto, NOW + HORIZON, limit=10**6)
    overdue = [tick for tick in ticks if tick.at <= NOW - ON_TIME]
    window = policies.catchup_window or HOUR
    wanted = [tick.at for tick in overdue if not tick.excluded and NOW - tick.at < window]
    kept = set(wanted[-policies.catchup_max :]) if policies.catchup is Catchup.ALL else set()
    if policies.catchup is Catchup.LATEST and overdue and not any(NOW - ON_TIME < tick.at <= NOW for tick in ticks):
        kept = latest(schedule, policies, overdue[-1])
    fates: dict[datetime, object] = {}
    for tick in ticks:
        if tick.at in kept or (tick.at > NOW - ON_TIME and not tick.excluded):
            fates[tick.at] = RUN
        elif not tick.excluded:
            dropped = policies.catchup is Catchup.ALL and tick.at in wanted
            fates[tick.at] = Reason.DROPPED_CAP if dropped else Reason.MISSED
        elif tick.at > NOW:  # written when it is due
            return fates
        else:
            fates[tick.at] = Reason.EXCLUDED
    return fates


def latest(schedule: CompiledSchedule, policies: Effective, tick: Tick) -> set[datetime]:
    following = schedule.next_after(tick.at)
    interval = following.at - tick.at if following else HOUR
    window = policies.catchup_window or min(interval, HOUR)
    return {tick.at} if not tick.excluded and NOW - tick.at <= window else set()


def ran_or_why_not(schedule: CompiledSchedule, cursor: Cursor, fates: dict[datetime, object]) -> dict[datetime, object]:
    """A stretch that was passed over may hold excluded ticks: they did not run either way."""
    ticks = schedule.between(cursor.upto, NOW + HORIZON, limit=10**6)
    excluded = {tick.at for tick in ticks if tick.excluded}
    return {at: "not" if at in excluded and fate is not RUN else fate for at, fate in fates.items()}


rules = st.one_of(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */3 * * *", "30 2 * * *"]).map(cron),
    st.sampled_from([61.5, 600, 5000, 86_400]).map(lambda seconds: every(timedelta(seconds=seconds))),
)
policies = st.builds(
    Effective,
    catchup=st.sampled_from([Catchup.LATEST, Catchup.NONE, Catchup.ALL]),
    catchup_window=st.sampled_from([None, timedelta(minutes=10), 3 * HOUR, 3 * DAY]),
    catchup_max=st.sampled_from([1, 2, 7, 100, 10_000]),
)


@given(
    st.lists(rules, min_size=1, max_size=3),
    policies,
    st.timedeltas(timedelta(0), DAY),
    st.integers(5, 200),
    st.lists(st.sampled_from(["2026-03-18", "2026-03-19", "2026-03-20"]), max_size=2),
)
@settings(max_examples=400, deadline=None)
def test_pieces_of_any_size_say_together_what_is_found_by_listing_every_tick(some, policy, outage, limit, days):
    schedule = compiled(*some, exclude=[DateRange(first=day) for day in days])
    cursor = Cursor(NOW - outage)
    found = list(pages(schedule, policy, cursor, limit))
    assert all(len(page.due) <= limit for page in found)
    expected = by_hand(schedule, policy, cursor)
    told = ran_or_why_not(schedule, cursor, said(schedule, found))
    assert told == ran_or_why_not(schedule, cursor, expected)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pieces_use_up_as_many_runs_as_are_left_and_the_same(limit):
    schedule, policy = compiled(every(HOUR)), Effective(catchup=Catchup.ALL, catchup_window=DAY, catchup_max=10)
    found = list(pages(schedule, policy, Cursor(NOW - DAY, runs_left=5), limit))
    assert [tick.at.hour for page in found for tick in page.due] == [18, 19, 20, 21, 22]
    assert (found[-1].cursor.runs_left, found[-1].visit_at) == (0, None)


def test_of_more_than_a_million_missed_ticks_the_newest_run_and_each_is_told():
    schedule = compiled(every(SECOND))
    policy = Effective(catchup=Catchup.ALL, catchup_window=30 * DAY, catchup_max=3)
    cursor = Cursor(NOW - 20 * DAY)
    (page,) = pages(schedule, policy, cursor, 1000)
    overdue = [tick.at for tick in page.due if tick.at <= NOW - ON_TIME]
    assert overdue == [NOW - ON_TIME - number * SECOND for number in (2, 1, 0)]
    assert sum(gap.ticks for gap in page.gaps) + len(page.due) == (NOW + HORIZON - cursor.upto) // SECOND


def test_a_year_of_missed_ticks_costs_no_list_of_them():
    """A visit is one transaction; its limits are some seconds. Of these ticks there are 30 million."""
    listed = 0

    class Counting(CompiledSchedule):
        __slots__ = ()

        def _tick(self, instant: datetime) -> Tick:
            nonlocal listed
            listed += 1
            return super()._tick(instant)

    plain = compiled(cron("* * * * * *"), every(7 * SECOND))
    schedule = Counting(*(getattr(plain, name) for name in CompiledSchedule.__slots__))
    policy = Effective(catchup=Catchup.ALL, catchup_window=300 * DAY, catchup_max=1000)
    found = pages(schedule, policy, Cursor(NOW - 360 * DAY), 500)
    page = next(page for page in found if page.due)
    assert len(page.due) == 500
    assert listed < 10_000


def test_a_clock_that_was_wrong_by_decades_is_made_good_in_pieces():
    schedule = compiled(every(SECOND))
    cursor = Cursor(datetime(1970, 1, 1, tzinfo=UTC))
    found = list(pages(schedule, Effective(), cursor, 1000))
    assert len(found) > 600
    assert all(gap.last - gap.first <= 31 * DAY for page in found for gap in page.gaps)
    told = sum(len(page.due) + sum(gap.ticks for gap in page.gaps) for page in found)
    assert told == schedule.count(cursor.upto, NOW + HORIZON).ticks


def test_an_excluded_time_that_is_longer_than_a_piece_is_one_row():
    schedule = compiled(every(timedelta(minutes=1)), exclude=[DateRange(first="2026-03-19")])
    policy = Effective(catchup=Catchup.ALL, catchup_window=3 * DAY, catchup_max=10_000)
    gaps = [gap for page in pages(schedule, policy, Cursor(NOW - 2 * DAY), 50) for gap in page.gaps]
    assert sum(gap.ticks for gap in gaps) == 24 * 60
    assert len(gaps) <= 2


@given(st.data(), st.integers(1, 20))
def test_what_is_left_of_a_gap_beside_known_ticks_is_all_of_it_but_those(data, ticks):
    known = data.draw(st.sets(st.integers(5, 5 + ticks - 1)))
    schedule = compiled(every(HOUR))
    begin = NOW.replace(second=0)
    at = {number: begin + number * HOUR for number in range(40)}
    gap = Gap(at[5], at[5 + ticks - 1], ticks, Reason.MISSED)
    left = beside(schedule, gap, [(at[number], at[number]) for number in sorted(known)])
    found = [tick.at for piece in left for tick in covered(schedule, piece)]
    assert found == [at[number] for number in range(5, 5 + ticks) if number not in known]
