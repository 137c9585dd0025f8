"""Whatever the tasks: a faultless run keeps every promise, and one corruption of it breaks the promise meant for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from faults.model import (
    Catchup,
    Definition,
    Every,
    Leftover,
    Minutely,
    Observed,
    Once,
    Operation,
    Outcome,
    Overlap,
    Sighting,
    Text,
    Verb,
)
from support.fault_worlds import (
    SECOND,
    at,
    broken,
    change_end,
    change_row,
    change_try,
    change_witness,
    play,
    play_changing,
    together,
    without_row,
)

READ = 125
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])

plans = st.one_of(
    st.builds(
        Every,
        st.integers(2, 40).map(lambda seconds: seconds * SECOND),
        st.integers(0, 39).map(lambda seconds: seconds * SECOND),
    ),
    st.builds(Minutely, st.frozensets(st.integers(0, 59), min_size=1)),
    st.builds(Once, st.integers(1, 100).map(at)),
)
definitions = st.builds(
    Definition,
    plan=plans,
    overlap=st.sampled_from(Overlap),
    catchup=st.sampled_from(Catchup),
    lasts=st.floats(0, 30).map(lambda seconds: seconds * SECOND),
    timeout=st.sampled_from([timedelta(hours=1), 5 * SECOND]),
    code=st.sampled_from([0, 0, 3]),
    lines=st.integers(0, 5),
    at_most_once=st.booleans(),
)
some_tasks = st.lists(definitions, min_size=1, max_size=4)


def world(tasks: list[Definition]) -> Observed:
    return together(*(play(one, task=f"task-{place}", until=READ) for place, one in enumerate(tasks)))


@few
@given(some_tasks)
def test_a_faultless_run_keeps_every_promise(tasks: list[Definition]) -> None:
    assert broken(world(tasks)) == set()


# -- changes


@dataclass(frozen=True)
class Change:
    """An operation, and when it really happened; None if never."""

    operation: Operation
    happened: float | None


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """What somebody asked for, one after the other, from the creation of a task on."""
    made, instant = list[Change](), -5.0
    for verb in [Verb.CREATE, *draw(st.lists(st.sampled_from([Verb.UPDATE, Verb.PAUSE, Verb.RESUME, Verb.DELETE])))]:
        definition = Definition(Every(draw(st.integers(1, 20)) * SECOND), overlap=Overlap.ALLOW)
        answered = instant + draw(st.floats(0, 4))
        if answered > READ:
            break  # the ledger is read when nobody changes anything any more
        outcome = draw(st.sampled_from([Outcome.OK, Outcome.OK, Outcome.FAIL, Outcome.INFO]))
        happened = {
            Outcome.OK: draw(st.floats(instant, answered)),
            Outcome.FAIL: None,
            Outcome.INFO: draw(st.one_of(st.none(), st.floats(instant, instant + 60))),
        }[outcome]
        completed = None if outcome is Outcome.INFO else at(answered)
        made.append(Change(Operation("a", verb, at(instant), completed, outcome, definition), happened))
        instant = answered + draw(st.floats(0, 40))
    return made


def ticks_of(history: list[Change]) -> list[tuple[datetime, Definition]]:
    """The ticks that are due if dts does each change when it happens, and what applies to them; second by second."""
    done = sorted(
        ((one.happened, one.operation) for one in history if one.happened is not None), key=lambda one: one[0]
    )
    definition, paused, due = None, False, list[tuple[datetime, Definition]]()
    for second in range(-60, READ):
        while done and done[0][0] <= second:
            definition, paused = after(done.pop(0)[1], definition, paused)
        if definition and not paused and (at(second) - EPOCH) % definition.plan.period == 0 * SECOND:
            due.append((at(second), definition))
    return due


def after(operation: Operation, definition: Definition | None, paused: bool) -> tuple[Definition | None, bool]:
    match operation.verb:
        case Verb.CREATE:
            return definition or operation.definition, paused
        case Verb.UPDATE:
            return definition and operation.definition, paused
        case Verb.DELETE:
            return None, False
        case _:
            return definition, operation.verb is Verb.PAUSE and definition is not None


@settings(few, max_examples=200)
@given(histories())
def test_a_faultless_dts_keeps_every_promise_whatever_is_changed(history: list[Change]) -> None:
    observed = play_changing(ticks_of(history), [change.operation for change in history], until=READ)
    assert broken(observed) == set()


# -- one corruption


@dataclass(frozen=True)
class Corruption:
    """promise: that is meant for it. places: of rows or witnesses that it can be done to. do: it."""

    promise: str
    places: Callable[[Observed], list[int]]
    do: Callable[[Observed, int], Observed]


def judged_rows(observed: Observed) -> list[int]:
    return [place for place, row in enumerate(observed.rows) if row.scheduled_at <= at(READ - 10)]


def ended_witnesses(observed: Observed) -> list[int]:
    return [place for place, one in enumerate(observed.witnesses) if one.ended and one.started < at(READ - 5)]


def successes(observed: Observed) -> list[int]:
    return [place for place, row in enumerate(observed.rows) if row.state == "succeeded"]


def witness_of(observed: Observed, place: int) -> int:
    run_id = observed.rows[place].run_id
    return next(number for number, one in enumerate(observed.witnesses) if one.run_id == run_id)


def end_is_lost(observed: Observed, place: int) -> Observed:
    return change_witness(observed, witness_of(observed, place), ended=None, code=None)


def doubled_witness(observed: Observed, place: int) -> Observed:
    return replace(observed, witnesses=[*observed.witnesses, replace(observed.witnesses[place], node="node-9")])


def doubled_row(observed: Observed, place: int) -> Observed:
    double = replace(observed.rows[place], run_id="double", tries=(), state="skipped", reason="missed")
    return replace(observed, rows=[*observed.rows, double])


def shifted(by: float) -> Callable[[Observed, int], Observed]:
    def shift(observed: Observed, place: int) -> Observed:
        witness = observed.witnesses[place]
        return change_witness(observed, place, started=witness.scheduled_at + by * SECOND)

    return shift


def starts_late(observed: Observed, place: int) -> Observed:
    witness = observed.witnesses[place]
    return change_witness(observed, place, started=witness.started + 2.5 * SECOND)


def together_with_the_next(observed: Observed, place: int) -> Observed:
    """Work lasts until after the start of the next work of its task."""
    one = observed.witnesses[place]
    following = min(w.started for w in observed.witnesses if w.task == one.task and w.started > one.started)
    return change_witness(observed, place, ended=following + SECOND)


def followed(observed: Observed) -> list[int]:
    overlaps = {one.task: one.definition.overlap for one in observed.operations if one.definition}
    return [
        place
        for place in ended_witnesses(observed)
        for one in [observed.witnesses[place]]
        if overlaps[one.task] is not Overlap.ALLOW
        and any(other.task == one.task and other.started > one.started for other in observed.witnesses)
    ]


def last_line_is_lost(observed: Observed, place: int) -> Observed:
    log = observed.logs[place]
    return replace(observed, logs=[replace(log, stdout=log.stdout[:-1])])


CORRUPTIONS = {
    "a row is dropped": Corruption("P1", judged_rows, without_row),
    "a row is doubled": Corruption("P2", judged_rows, doubled_row),
    "a witness is doubled": Corruption("P2", ended_witnesses, doubled_witness),
    "a row says that it is missed": Corruption(
        "P1", judged_rows, lambda seen, place: change_row(seen, place, state="skipped", reason="missed")
    ),
    "a run never ends": Corruption(
        "P1",
        lambda seen: [place for place in successes(seen) if (seen.rows[place].finished or at(READ)) < at(60)],
        lambda seen, place: change_end(seen, place, "unknown", "", finished=None),
    ),
    "work starts early": Corruption("P3", ended_witnesses, shifted(-0.1)),
    "work starts late": Corruption("P4", ended_witnesses, starts_late),
    "work runs at once": Corruption("P6", followed, together_with_the_next),
    "a success is a failure": Corruption(
        "P7", successes, lambda seen, place: change_row(seen, place, state="failed", reason="exit_code")
    ),
    "a code is another": Corruption(
        "P8", successes, lambda seen, place: change_end(seen, place, "failed", "exit_code", exit_code=1)
    ),
    "the end of a success is lost": Corruption("P8", successes, end_is_lost),
    "work ran elsewhere": Corruption("P8", successes, lambda seen, place: change_try(seen, place, node="node-9")),
    "the ledger's clock is wrong": Corruption(
        "P8",
        successes,
        lambda seen, place: change_try(seen, place, started=seen.rows[place].scheduled_at + 200 * SECOND),
    ),
    "a container is left behind": Corruption(
        "P10",
        lambda seen: [place for place in successes(seen) if (seen.rows[place].finished or at(READ)) < at(100)],
        lambda seen, place: replace(
            seen, leftovers=[Leftover("node-1", "c", seen.rows[place].run_id, 1, running=False)]
        ),
    ),
    "history is rewritten": Corruption(
        "P11",
        successes,
        lambda seen, place: replace(
            seen, sightings=[*seen.sightings, Sighting(at(124), seen.rows[place].run_id, "failed", 1)]
        ),
    ),
    "a line is lost": Corruption(
        "P12", lambda seen: [place for place, log in enumerate(seen.logs) if log.stdout], last_line_is_lost
    ),
    "a secret is told": Corruption(
        "P13",
        judged_rows,
        lambda seen, _: replace(seen, canaries={"key": "canary"}, texts=[Text("a label", "a canary sings")]),
    ),
}


@settings(few, max_examples=250)
@given(some_tasks, st.sampled_from(sorted(CORRUPTIONS)), st.integers(0, 9999))
def test_one_corruption_breaks_the_promise_that_is_meant_for_it(tasks, name, number) -> None:
    observed = world(tasks)
    corruption = CORRUPTIONS[name]
    places = corruption.places(observed)
    assume(places)
    corrupted = corruption.do(observed, places[number % len(places)])
    assert corruption.promise in broken(corrupted), name
