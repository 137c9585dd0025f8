"""The alert rules as Prometheus reads them: each one fires on what it is about, and is silent otherwise."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ALERTS = Path(__file__).parents[2] / "deploy" / "alerts.yml"
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's package prometheus")


@dataclass(frozen=True)
class Case:
    """fires, silent: values of series every 30 s, in promtool's words. at: when it is asked."""

    fires: dict[str, str]
    silent: dict[str, str]
    at: str = "10m"


CASES = {
    "DtsStartsBehind": Case(
        {"dts_scheduler_oldest_wait_seconds": "40x20"}, {"dts_scheduler_oldest_wait_seconds": "5x20"}
    ),
    "DtsNobodyClaims": Case(
        {'dts_loop_age_seconds{loop="sweep"}': "0x20"},
        {'dts_loop_age_seconds{loop="claim",instance="a"}': "900x20", 'dts_loop_age_seconds{loop="claim"}': "1x20"},
    ),
    "DtsLoopFails": Case(
        {'dts_loop_failing_passes{loop="claim"}': "11x20"}, {'dts_loop_failing_passes{loop="claim"}': "3x20"}
    ),
    "DtsExecutorAlone": Case({"dts_executor_attached": "0x20"}, {"dts_executor_attached": "0 1 0 1x20"}),
    "DtsResultsWait": Case(
        {"dts_executor_outbox_results": "7x20"}, {"dts_executor_outbox_results": "7 0 7 0 7x20"}, at="5m"
    ),
    "DtsNodeFull": Case(
        {"dts_executor_used_slots": "4x80", "dts_executor_slots": "4x80"},
        {"dts_executor_used_slots": "3x80", "dts_executor_slots": "4x80"},
        at="35m",
    ),
    "DtsStartsLate": Case(
        {
            'dts_executor_start_lateness_seconds_bucket{le="1"}': "0x40",
            'dts_executor_start_lateness_seconds_bucket{le="5"}': "0+10x40",
            'dts_executor_start_lateness_seconds_bucket{le="+Inf"}': "0+10x40",
        },
        {
            'dts_executor_start_lateness_seconds_bucket{le="1"}': "0+10x40",
            'dts_executor_start_lateness_seconds_bucket{le="5"}': "0+10x40",
            'dts_executor_start_lateness_seconds_bucket{le="+Inf"}': "0+10x40",
        },
        at="15m",
    ),
    "DtsTicksMissed": Case(
        {'dts_ticks_total{state="skipped",reason="missed"}': "0+1x20"},
        {'dts_ticks_total{state="skipped",reason="skipped_paused"}': "0+1x20"},
    ),
    "DtsManyRunsFail": Case(
        {'dts_ticks_total{state="failed"}': "0+3x80", 'dts_ticks_total{state="succeeded"}': "0+7x80"},
        {'dts_ticks_total{state="failed"}': "0+1x80", 'dts_ticks_total{state="succeeded"}': "0+9x80"},
        at="35m",
    ),
    "DtsNodesLost": Case(
        {'dts_scheduler_swept_runs_total{what="lost"}': "0x10 2x10"},
        {
            'dts_scheduler_swept_runs_total{what="lost"}': "2x20",
            'dts_scheduler_swept_runs_total{what="unknown"}': "0+1x20",
        },
    ),
    "DtsTaskWithoutSuccess": Case(
        {'dts_task_last_success_timestamp_seconds{task="payroll"}': "0x20"},
        {'dts_task_last_success_timestamp_seconds{task="payroll"}': "1700000000x20"},
    ),
    "DtsPeopleAreNotTold": Case(
        {"dts_scheduler_oldest_unsent_seconds": "1000x20"}, {"dts_scheduler_oldest_unsent_seconds": "60x20"}
    ),
    "DtsMessagesGivenUp": Case(
        {'dts_scheduler_messages_total{outcome="given_up"}': "0x10 1x10"},
        {
            'dts_scheduler_messages_total{outcome="given_up"}': "1x20",
            'dts_scheduler_messages_total{outcome="sent"}': "0+1x20",
        },
    ),
    "DtsDatabaseBusy": Case(
        {"dts_database_pool_used_connections": "8x20", "dts_database_pool_max_connections": "8x20"},
        {"dts_database_pool_used_connections": "8 8 8 2 8x20", "dts_database_pool_max_connections": "8x20"},
        at="5m",
    ),
}


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_can_be_read():
    assert f"{len(CASES)} rules found" in promtool("check", "rules", ALERTS)


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=list(CASES))
def test_an_alert_fires_on_what_it_is_about_and_on_nothing_else(name, case, tmp_path):
    asked = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    tests = [
        {
            "interval": "30s",
            "input_series": [{"series": series, "values": values} for series, values in told.items()],
            "promql_expr_test": [{"expr": asked, "eval_time": case.at, "exp_samples": expected}],
        }
        for told, expected in ((case.fires, [{"labels": "{}", "value": 1}]), (case.silent, []))
    ]
    written = tmp_path / "alerts_test.yml"
    written.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "30s", "tests": tests}))
    promtool("test", "rules", written)
