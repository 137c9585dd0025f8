"""Why nothing was due at an instant."""

from __future__ import annotations

from dts.domain.explain_facts import Facts, clock_step, deleted_words, note, standing_step, when
from dts.domain.explain_words import sentence, verdict_of
from dts.domain.ids import MICROSECOND
from dts.pb.dts.v1 import ExplainStep, ExplainTaskResponse


def not_due(facts: Facts) -> ExplainTaskResponse:
    """The answer for an instant at which the schedule has no tick."""
    verdict, message, advice = _verdict(facts)
    return ExplainTaskResponse(
        task=facts.name,
        at=facts.at,
        verdict=verdict,
        message=message,
        steps=[
            ExplainStep(step="schedule", ok=False, detail=_nothing(facts)),
            *clock_step(facts),
            *standing_step(facts),
            *_neighbours(facts),
        ],
        advice=advice,
    )


def never(facts: Facts) -> tuple[str, str, str]:
    """A schedule without a further tick: in a word, in a sentence, and what to do."""
    bound = facts.schedule.ends_at if facts.schedule else None
    if facts.spent:
        words = "the task has run as often as max_runs allows"
    elif bound is not None and bound <= facts.now:
        words = f"the schedule has no further tick: it ended {when(facts, bound)}"
    else:
        words = "the schedule has no further tick"
    return "never", words, f"`dts task edit {facts.name}` gives it another one"


def _verdict(facts: Facts) -> tuple[str, str, str]:
    at, name = facts.at, facts.name
    assert at is not None
    if facts.deleted and facts.task.updated_at is not None and at >= facts.task.updated_at:
        return "never", deleted_words(facts.task), f"`dts task history {name}` has its definition"
    if facts.born is not None and at < facts.born - MICROSECOND:
        words = f"the task did not exist at that time: it was made {when(facts, facts.born)}"
        return "never", words, f"`dts task backfill {name} --since …` runs past ticks"
    if facts.before is None and facts.following is None:
        return never(facts)
    if facts.paused:
        words = f"nothing was due, and the task is paused{note(facts.task)}"
        return "paused", words, f"resume it with `dts task resume {name}`"
    return "not_due", _sentence(facts), _advice(facts)


def _sentence(facts: Facts) -> str:
    assert facts.at is not None
    verb = "is" if facts.at > facts.now else "was"
    around = [
        f"the tick before {'is' if facts.before.at > facts.now else 'was'} {when(facts, facts.before.at)}"
        if facts.before
        else "",
        _next(facts),
        facts.clock,
    ]
    return f"nothing {verb} due then: {'; '.join(text for text in around if text)}"


def _next(facts: Facts) -> str:
    if facts.spent:
        return "none follows, for the task has run as often as max_runs allows"
    return f"the next one is {when(facts, facts.following.at)}" if facts.following else "none follows"


def _advice(facts: Facts) -> str:
    if facts.before is None:
        return f"`dts schedule --task {facts.name}` lists what comes"
    return f"`dts explain {facts.name} --at {facts.before.at:%Y-%m-%dT%H:%M:%SZ}` tells of the tick before"


def _nothing(facts: Facts) -> str:
    assert facts.at is not None
    return f"has no tick {when(facts, facts.at)}, and none in the minute before"


def _neighbours(facts: Facts) -> list[ExplainStep]:
    steps = []
    if facts.before is not None:
        steps.append(ExplainStep(step="before", ok=True, detail=f"due {when(facts, facts.before.at)}{_fate(facts)}"))
    if facts.following is not None and not facts.spent:
        excluded = ", but the date is excluded" if facts.following.excluded else ""
        detail = f"due {when(facts, facts.following.at)}{excluded}"
        steps.append(ExplainStep(step="after", ok=True, detail=detail))
    return steps


def _fate(facts: Facts) -> str:
    """What became of the tick before."""
    run = facts.before_run
    return f": {verdict_of(run)}, {sentence(run, facts.now)}" if run is not None else ""
