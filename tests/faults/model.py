"""What a fault run leaves behind: all that the checker may look at, and nothing of dts.

Words: a *tick* is an instant at which a task is due, a *row* is what the ledger says became of it, a *try* is one
attempt at it, a *witness* is what the work itself wrote on the node that it ran on. Instants are aware and in UTC; all
of them come from clocks of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, auto

# -- what was asked for


@dataclass(frozen=True, slots=True)
class Every:
    """Each multiple of `period` since the epoch, moved by `phase`."""

    period: timedelta
    phase: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Minutely:
    """The minutes that are named, in every hour, day and month of UTC: `m,m,… * * * *` in cron's words."""

    minutes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Once:
    """One instant."""

    at: datetime


Plan = Every | Minutely | Once
"""A schedule, in words that the oracle knows; it shares no code with dts."""


class Overlap(StrEnum):
    """What becomes of a tick while the run before it is not over."""

    SKIP = auto()
    QUEUE_ONE = auto()
    QUEUE_ALL = auto()
    CANCEL_OTHER = auto()
    ALLOW = auto()


class Catchup(StrEnum):
    """What becomes of ticks that passed while nothing could run."""

    NONE = auto()
    LATEST = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Definition:
    """A task as it was asked for.

    Attributes:
        plan: when it is due.
        overlap: see there.
        catchup: see there; ticks older than `catchup_window` need not run.
        catchup_window: how old a tick may be and still run.
        catchup_max: how many ticks are caught up at once, under ALL.
        tolerance: how late a start may be while nothing is broken (ε).
        lasts: how long the work takes when nobody stops it.
        timeout: after which dts stops it.
        code: the exit code that the work ends with by itself.
        lines: how many numbered lines it prints: `line 1` to `line N` on stdout, and as many on stderr.
        witnessed: whether the work writes a witness; a no-op does not.
        at_most_once: a run whose node fell silent is never tried elsewhere, so tries of one task may never run at once.
        retries: how many more tries there may be after a failed one.
        ooms: whether the work uses more memory than it may, and is killed for it.
        end_is_kept: whether something else than the executor knows when the work ended, as an engine does. Where not,
            an end during a fault is known when the executor is there again.
    """

    plan: Plan
    overlap: Overlap = Overlap.SKIP
    catchup: Catchup = Catchup.LATEST
    catchup_window: timedelta = timedelta(hours=1)
    catchup_max: int = 100
    tolerance: timedelta = timedelta(seconds=2)
    lasts: timedelta = timedelta(0)
    timeout: timedelta = timedelta(hours=1)
    code: int = 0
    lines: int = 0
    witnessed: bool = True
    at_most_once: bool = True
    retries: int = 0
    ooms: bool = False
    end_is_kept: bool = True


# -- what was done


class Verb(StrEnum):
    """A change of a task that somebody asked for."""

    CREATE = auto()
    UPDATE = auto()
    PAUSE = auto()
    RESUME = auto()
    DELETE = auto()
    TRIGGER = auto()
    CANCEL = auto()


class Outcome(StrEnum):
    """How an operation ended, in Jepsen's words. INFO: nobody knows; it may have happened, or happen yet."""

    OK = auto()
    FAIL = auto()
    INFO = auto()


@dataclass(frozen=True, slots=True)
class Operation:
    """A call that was made. `invoked` before it was sent, `completed` after its answer; None where none came.

    definition: for CREATE and UPDATE. run_id: for TRIGGER and CANCEL, where it is known.
    """

    task: str
    verb: Verb
    invoked: datetime
    completed: datetime | None
    outcome: Outcome
    definition: Definition | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was broken on purpose.

    Attributes:
        name: of the kind, such as `kill scheduler`.
        target: which part, such as `scheduler-2`.
        begun: just before it was done.
        healed: just after it was undone, or the part was there again.
        recovery: how long after `healed` everything must be on time again (R).
        spares_work: whether running work goes on; False where the fault itself ends it.
    """

    name: str
    target: str
    begun: datetime
    healed: datetime
    recovery: timedelta
    spares_work: bool = True


# -- what was seen


@dataclass(frozen=True, slots=True)
class Witness:
    """What the work of one try wrote about one start of it.

    Attributes:
        run_id: which run it was told that it is.
        number: which try it was told that it is.
        task: which task it was told that it is.
        node: on whose disk the file is.
        scheduled_at: the tick that it was told.
        started: by its own clock.
        ended: None if it did not come to its end.
        code: that it was about to end with.
        seen: its last sign of life, if it gives any: it proves that work without an end was there until then.
    """

    run_id: str
    number: int
    task: str
    node: str
    scheduled_at: datetime
    started: datetime
    ended: datetime | None = None
    code: int | None = None
    seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, as the ledger has it. state and reason: dts's words, lower case. exit_code: None if unknown."""

    number: int
    node: str
    state: str
    reason: str
    assigned: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ledger at the end of the run.

    trigger: `schedule`, `manual`, `backfill` or `retry`. ticks: how many this row stands for, from `scheduled_at` to
    `last_scheduled_at`. tries: the last one last.
    """

    run_id: str
    task: str
    trigger: str
    scheduled_at: datetime
    state: str
    reason: str
    created: datetime
    last_scheduled_at: datetime | None = None
    ticks: int = 1
    blocked_by: str = ""
    finished: datetime | None = None
    tries: Sequence[Try] = ()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A state in which a row was seen while the run went on.

    gone: it had been seen and was not there. task, scheduled_at: of the row, where they are known; a row that is not
    due yet may go when its task is changed.
    """

    at: datetime
    run_id: str
    state: str
    attempt: int
    gone: bool = False
    task: str = ""
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """What is stored of what a try printed. truncated: the store says that something is missing in the middle."""

    run_id: str
    number: int
    stdout: Sequence[str]
    stderr: Sequence[str]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """A container or process of dts that was still there at the end. run_id: empty where it does not say."""

    node: str
    handle: str
    run_id: str
    number: int
    running: bool


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """What an engine said of a container of dts to our own subscriber. action: `create`, `start`, `die`, `destroy`."""

    at: datetime
    node: str
    container: str
    action: str
    run_id: str
    number: int
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A task that dts lists at the end. enabled: whether it is not paused."""

    task: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Text:
    """Something that a stranger might read: a log file, an answer, a label, a dump."""

    where: str
    content: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All of one fault run.

    Attributes:
        seed: makes the run again.
        begun: after which ticks are judged.
        read: just before the ledger was read last; everything had been healed, and time to catch up given. Witnesses
            of later starts are not judged.
        operations: in the order of their invocation.
        faults: in the order of their beginning.
        witnesses: of all nodes.
        rows: the whole ledger.
        sightings: in the order of their instants.
        logs: of the tries that were asked for.
        leftovers: at the end.
        events: of all engines; empty where there is none.
        canaries: secrets that nobody may ever see, by name.
        texts: in which they are looked for.
        stale_refused: how many reports of tries that were over dts says that it refused; None where it does not say.
        listed: all tasks of dts at the end; None where nobody asked.
        settled: up to when every tick had its time; None where the run was read while it went on.
    """

    seed: int
    begun: datetime
    read: datetime
    operations: Sequence[Operation] = ()
    faults: Sequence[Fault] = ()
    witnesses: Sequence[Witness] = ()
    rows: Sequence[Row] = ()
    sightings: Sequence[Sighting] = ()
    logs: Sequence[Log] = ()
    leftovers: Sequence[Leftover] = ()
    events: Sequence[EngineEvent] = ()
    canaries: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[Text] = ()
    stale_refused: int | None = None
    listed: Sequence[Listed] | None = None
    settled: datetime | None = None


# -- what the checker says


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. promise: `P1` to `P13`; what: a sentence with the figures in it."""

    promise: str
    task: str
    what: str
    run_id: str = ""
