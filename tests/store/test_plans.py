"""The hot statements keep to their indexes, whatever lies beside what they need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from dts.store.queries import sql

FILL = """
INSERT INTO task (id, name, version, spec, labels, created_at, updated_at)
SELECT gen_random_uuid(), 't' || n, 1, '', '{}', now(), now() FROM generate_series(1, 5000) n;

INSERT INTO task_cursor (task_id, version, upto, next_due_at, visit_at)
SELECT id, 1, now(), now() + interval '1 day', now() + interval '1 day' FROM task;

INSERT INTO task_version (task_id, version, spec, change, actor, note, created_at)
SELECT id, 1, '', 'create', '', '', now() FROM task;

INSERT INTO node (id, hostname, incarnation, about, lease_until, last_seen_at, registered_at)
SELECT 'n' || n, 'n' || n, gen_random_uuid(), '', now() + interval '1 minute', now(), now()
FROM generate_series(1, 50) n;

INSERT INTO run (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, claim_at, start_by, start_within,
    weightless, serial, state, node_id, attempt
)
SELECT gen_random_uuid(), id, 1, 'schedule', due, now(), due, due, due + interval '5 minutes', interval '5 minutes',
    n % 2 = 0, true, CASE WHEN n = 1 THEN 'running' ELSE 'pending' END::run_state, CASE WHEN n = 1 THEN 'n1' END, 0
FROM task, generate_series(1, 4) n, LATERAL (SELECT now() + n * interval '1 hour' AS due) AS d;

INSERT INTO run_history (
    id, task_id, task_version, trigger, scheduled_at, created_at, state, reason, finished_at
)
SELECT gen_random_uuid(), id, 1, 'schedule', at, at, CASE WHEN n = 7 THEN 'failed' ELSE 'succeeded' END::run_state,
    'ok', at
FROM task, generate_series(1, 12) n, LATERAL (SELECT now() - n * interval '5 hours' AS at) AS d;

INSERT INTO log_chunk (run_id, day, attempt, stream, "offset", length, compressed, content, at)
SELECT id, scheduled_at::date, 1, 1, 0, 1, false, 'x', scheduled_at FROM run_history LIMIT 20000;

INSERT INTO channel (
    id, name, kind, events, tasks, labels, late_after, stuck_after, remind_every, shown, sealed, created_at, created_by
)
SELECT gen_random_uuid(), 'c' || n, 1, 1022, '{}', '{}', '1 minute', '1 hour', '4 hours', '', '', now(), ''
FROM generate_series(1, 5) n;

INSERT INTO delivery (id, channel_id, task_id, event, body, created_at, due_at, held, give_up_at)
SELECT gen_random_uuid(), id, gen_random_uuid(), 1, '', now(), now() + (n - 9) * interval '1 second', false, now()
FROM channel, generate_series(1, 2000) n;

ANALYZE;
"""
TASK = "(SELECT id FROM task LIMIT 1)"
TASKS = "(SELECT array_agg(id) FROM (SELECT id FROM task LIMIT 20) AS few)"
RUN = "(SELECT id FROM run LIMIT 1)"
RUNS = "(SELECT array_agg(id) FROM (SELECT id FROM run LIMIT 20) AS few)"
PAST = "(SELECT id FROM run_history LIMIT 1)"
DAY = "(SELECT scheduled_at::date FROM run_history LIMIT 1)"
ALL_STATES = "ARRAY['succeeded', 'failed', 'skipped']"
PAGE = "'-infinity', 'infinity', 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50, false"

# Statement, arguments, and the tables that are too large to be read from end to end.
BIG = {"run", "task", "task_cursor", "run_history", "log_chunk"}
NEW_RUN = (
    f"{RUNS}, {TASKS}, ARRAY[1], ARRAY['schedule'], ARRAY[now()], ARRAY[now()], ARRAY[now()], ARRAY[now()], "
    "ARRAY[interval '1 s'], ARRAY[true], ARRAY[true], ARRAY[NULL::smallint], ARRAY[NULL::text], "
    "ARRAY[NULL::text], now()"
)
PLANS: list[tuple[str, str, set[str]]] = [
    ("lock_due_cursors", "now(), 500", BIG),
    ("claim_candidates", "true, '2 seconds', 500, now(), '{a,b}'", BIG),
    ("claim_candidates", "false, '2 seconds', 500, now(), '{a,b}'", BIG),
    ("next_claim", "now()", BIG),
    ("standing", f"{TASKS}, {RUNS}, {RUNS}, {TASKS}, ARRAY[''], ARRAY[now()], now()", BIG),
    ("queues", TASKS, BIG),
    ("group_slots", "ARRAY['g']", BIG),
    ("previous_successes", TASKS, BIG),
    ("release_waiting", f"{TASKS}, ARRAY[''], ARRAY[1], now()", BIG),
    ("lock_attempts", f"'n1', gen_random_uuid(), {RUNS}, ARRAY[1]", BIG),
    ("last_successes", "200", BIG - {"task", "task_cursor"}),
    ("mark_running", f"'n1', gen_random_uuid(), {RUNS}, ARRAY[1], ARRAY[1], now()", BIG),
    ("adopt_runs", f"{RUNS}, ARRAY[1], now()", BIG),
    ("runs_on_node", "'n1'", BIG - {"task"}),
    ("recalls_of", "ARRAY['n1', 'n2']", BIG),
    ("silence_nodes", "now()", BIG),
    ("silent_runs", f"now() - interval '1 year', {RUN}, 500", BIG - {"node"}),
    ("asked_before", RUNS, BIG),
    ("overdue_runs", "false, now(), 500", BIG),
    ("find_run", f"{RUN}, {RUN}", BIG),
    ("live_runs", RUNS, BIG),
    ("page_task", f"{ALL_STATES}, {PAGE}, {TASK}", BIG),
    ("page_live", f"ARRAY['running'], {PAGE}", BIG - {"run"}),
    ("outcomes", f"{TASKS}, 30", BIG),
    ("counts_of_task", f"now() - interval '1 year', now(), '1 day', false, 50000, {TASK}", BIG),
    ("counts", "now() - interval '1 hour', now(), '1 minute', true, 50000", BIG),
    ("soonest_tasks", "now() + interval '1 hour', 50", BIG - {"run"}),
    # The hot table is small by design; history is not.
    ("page_all", f"{ALL_STATES}, {PAGE}", {"run_history"}),
    ("page_not_ok", f"ARRAY['failed', 'skipped'], {PAGE}", {"run_history"}),
    ("find_tick", f"{TASK}, now()", BIG),
    ("latest_tick", f"{TASK}, now()", BIG),
    ("last_runs", TASKS, BIG),
    ("durations", TASKS, BIG),
    ("drop_coming_runs", f"{TASK}, now()", BIG),
    ("coming_ticks", f"{TASK}, now()", BIG),
    ("rows_within", f"{TASKS}, ARRAY[now() - interval '1 day'], ARRAY[now()]", BIG),
    ("insert_runs", NEW_RUN, BIG),
    ("read_logs", f"{PAST}, {DAY}, 0, 0, 100", BIG),
    ("notice_late", "now(), 10000", BIG - {"task"}),
    ("notice_stuck", "now(), 10000", BIG - {"task"}),
    ("lock_due_channels", "now(), '{}'::uuid[], 20", BIG | {"delivery"}),
    ("take_deliveries", "now(), '20 s', 10, (SELECT array_agg(id) FROM channel)", BIG | {"delivery"}),
    ("specs_of", f"{TASKS}, ARRAY[1]", BIG | {"task_version"}),
]


@pytest.fixture
async def filled(database: asyncpg.Pool) -> asyncpg.Pool:
    async with database.acquire() as connection:
        await connection.execute(FILL, timeout=60)
    return database


async def test_no_hot_statement_reads_a_large_table_from_end_to_end(filled):
    wrong = []
    async with filled.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for number, (name, arguments, large) in enumerate(PLANS):
            plan = await _plan(connection, f"p{number}", sql(name), arguments)
            read = {node["Relation Name"] for node in _nodes(plan) if node["Node Type"] == "Seq Scan"}
            # All rows lie in the partition for what has no day of its own.
            wrong += [(name, table) for table in read if table.removesuffix("_rest") in large]
    assert wrong == []


LATE = {"run_claim", "run_waiting", "run_node"}


@pytest.mark.parametrize(("name", "indexes"), [("notice_late", LATE), ("notice_stuck", {"run_node"})])
async def test_late_runs_are_looked_for_among_those_that_wait_and_not_among_coming_ticks(filled, name, indexes):
    async with filled.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        plan = await _plan(connection, "late", sql(name), "now(), 10000")
        used = {node.get("Index Name") for node in _nodes(plan) if node.get("Relation Name") == "run"}
        assert used - {None} == indexes


BURST = """
INSERT INTO run (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, claim_at, start_by, start_within,
    weightless, serial, state, attempt
)
SELECT gen_random_uuid(), gen_random_uuid(), 1, 'schedule', now(), now(), now(), now(), now() + interval '5 minutes',
    interval '5 minutes', true, true, 'pending', 0
FROM generate_series(1, 5000);
DELETE FROM run
"""


STANDING = f"{', '.join(['ARRAY[gen_random_uuid()]'] * 4)}, ARRAY[''], ARRAY[now()], now()"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("before", ["never a run", "a burst of runs"])
async def test_elders_are_found_by_their_task_whatever_the_planner_knew(database, before, mode):
    """10,000 runs of one instant took ten seconds to claim: for each of them all that was due was read."""
    async with database.acquire() as connection:
        if before == "a burst of runs":
            await connection.execute(BURST)
            await connection.execute("VACUUM ANALYZE run")
        await connection.execute(f"SET plan_cache_mode = {mode}")
        plan = await _plan(connection, "standing", sql("standing"), STANDING)
        (elders,) = (node for node in _nodes(plan) if node.get("Alias") == "elder")
        assert [node["Index Name"] for node in _nodes(elders) if "Index Name" in node] == ["run_task"]


REPORTED = "ARRAY[gen_random_uuid()], ARRAY[1]"
ENDED = (
    f"'n1', gen_random_uuid(), {REPORTED}, ARRAY['succeeded'], ARRAY['ok'], ARRAY[''], ARRAY[0], ARRAY[1], ARRAY[1], "
    "ARRAY[0], ARRAY[0], ARRAY['{}'], now()"
)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("before", ["never a run", "a burst of runs"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("finish", ENDED),
        ("mark_running", f"'n1', gen_random_uuid(), {REPORTED}, ARRAY[1], now()"),
        ("lock_attempts", f"'n1', gen_random_uuid(), {REPORTED}"),
    ],
)
async def test_what_is_reported_is_found_by_its_run_whatever_the_planner_knew(database, before, mode, name, arguments):
    """A thousand results took half a second to store: for each of them all that its node held was read."""
    async with database.acquire() as connection:
        if before == "a burst of runs":
            await connection.execute(BURST)
            await connection.execute("VACUUM ANALYZE run")
        await connection.execute(f"SET plan_cache_mode = {mode}")
        plan = await _plan(connection, "report", sql(name), arguments)
        assert "run_node" not in {node.get("Index Name") for node in _nodes(plan)}


async def _plan(connection: asyncpg.Connection, handle: str, text: str, arguments: str) -> dict[str, Any]:
    await connection.execute(f"PREPARE {handle} AS {text}")
    # EXECUTE takes no subqueries: they are looked up first.
    values = await connection.fetchrow(f"SELECT {arguments}")
    literals = ", ".join(_literal(value) for value in values)
    row = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {handle}({literals})")
    return (json.loads(row) if isinstance(row, str) else row)[0]["Plan"]


def _literal(value: object) -> str:
    if isinstance(value, list):
        return "'{" + ",".join("NULL" if item is None else str(item) for item in value) + "}'"
    return f"'{value}'" if not isinstance(value, bool | int) else str(value).lower()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)
