from __future__ import annotations

from datetime import timedelta

from dts.domain.policies import DEFAULTS, describe, effective
from dts.pb.dts.v1 import Backoff, Overlap, Policies, Resources


def test_a_task_that_says_nothing_has_the_defaults():
    assert effective(None) == effective(Policies()) == DEFAULTS


def test_what_a_task_says_wins_over_the_default():
    said = Policies(
        overlap=Overlap.ALLOW, retries=0, backoff=Backoff(initial=timedelta(seconds=2)), resources=Resources(cpus=0.5)
    )
    values = effective(said)
    assert (values.overlap, values.backoff_initial, values.backoff_factor, values.cpus) == (
        Overlap.ALLOW,
        timedelta(seconds=2),
        DEFAULTS.backoff_factor,
        0.5,
    )


def test_each_value_is_shown_with_its_source():
    shown = {
        value.name: (value.value, value.source)
        for value in describe(Policies(timeout=timedelta(minutes=30), retries=0))
    }
    assert shown["timeout"] == ("30m", "task")
    assert shown["retries"] == ("0", "task")
    assert shown["overlap"] == ("skip", "default")
    assert shown["catchup_window"] == ("the smaller of the interval and 1h", "default")
    assert len(shown) == len(DEFAULTS.__dataclass_fields__)
