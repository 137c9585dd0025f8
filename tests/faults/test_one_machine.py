"""Thousands of ticks while one part after another breaks: nothing lost, nothing twice, nothing false."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from faults.breakages import CATALOGUE
from faults.checker.picture import draw
from faults.checker.report import Summary, as_dict, as_text, summary
from faults.run import fault_run
from support.postgres import open_directory
from swarm.images import PROJECT

log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1800)

SEED = int(os.environ.get("DTS_FAULT_SEED", "1"))
FAULTS = int(os.environ.get("DTS_FAULTS", str(len(CATALOGUE))))
TICKS = 5000
KEPT = PROJECT / "build" / "faults"
"""Where the report, the picture and the logs of the parts are kept."""


async def test_every_promise_holds_while_one_thing_after_another_breaks():
    KEPT.mkdir(parents=True, exist_ok=True)
    with open_directory("dts-faults-") as data:
        try:
            observed = await fault_run(data, seed=SEED, faults=FAULTS, say=log.info)
        finally:
            keep_logs(data)
    run = summary(observed)
    keep(run)
    assert run.kept, as_text(run)
    assert len(observed.faults) >= FAULTS
    assert sum(row.ticks for row in observed.rows) >= TICKS


def keep(run: Summary) -> None:
    (KEPT / "report.txt").write_text(as_text(run))
    (KEPT / "report.json").write_text(json.dumps(as_dict(run), indent=1))
    (KEPT / "picture.svg").write_text(draw(run.observed, run.violations))


def keep_logs(data: Path) -> None:
    for part in data.glob("*.log"):
        (KEPT / part.name).write_bytes(part.read_bytes())
