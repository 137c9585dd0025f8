"""The checker of fault runs: nothing lost, nothing twice, nothing false.

`check` is given all that one run left behind and says which of the promises of faults.md §3.4 were not kept. It shares
no code with dts. Where it cannot know, it believes dts: each violation is one.

    oracle       when tasks are due              starts       P2 once, P6 not at once
    matching     windows and runs, blindly       results      P7 fenced, P8 true
    evidence     what was seen, arranged         definitions  P9 changes hold
    complete     P1, with `reasons`              endings      P10 no leftovers, P11 history
    timing       P3 P4 P5                        outputs      P12 logs, P13 secrets
    report       a page of figures               picture      the run as one drawing
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from faults.checker.complete import p01_complete
from faults.checker.definitions import p09_definitions
from faults.checker.endings import p10_no_leftovers, p11_history
from faults.checker.outputs import p12_logs, p13_secrets
from faults.checker.results import p07_fenced, p08_true
from faults.checker.starts import p02_once, p06_no_overlap
from faults.checker.timing import p03_not_early, p04_timely, p05_recovers
from faults.model import Observed, Violation

Promise = Callable[[Observed], Iterator[Violation]]

PROMISES: Mapping[str, Promise] = {
    "P1": p01_complete,
    "P2": p02_once,
    "P3": p03_not_early,
    "P4": p04_timely,
    "P5": p05_recovers,
    "P6": p06_no_overlap,
    "P7": p07_fenced,
    "P8": p08_true,
    "P9": p09_definitions,
    "P10": p10_no_leftovers,
    "P11": p11_history,
    "P12": p12_logs,
    "P13": p13_secrets,
}


def check(observed: Observed) -> list[Violation]:
    """What was promised and not kept, promise by promise."""
    return [violation for promise in PROMISES.values() for violation in promise(observed)]
