-- Reading the ledger, and requests.

-- name: last_successes (batch)
-- By name, those with the label `metrics` first. Only the last runs are looked at: a task that fails all the time has
-- a long history without a success.
SELECT chosen.name, latest.at
FROM (
    SELECT task.id, task.name FROM task
    JOIN task_cursor ON task_cursor.task_id = task.id AND task_cursor.next_due_at IS NOT NULL
    WHERE task.deleted_at IS NULL AND task.enabled
    ORDER BY NOT task.labels ? 'metrics', task.name
    LIMIT $1
) AS chosen
CROSS JOIN LATERAL (
    SELECT max(finished_at) FILTER (WHERE state = 'succeeded') AS at, count(*) AS runs
    FROM (
        SELECT state, finished_at FROM run_history h
        WHERE h.task_id = chosen.id AND state IN ('succeeded', 'failed', 'timed_out')
        ORDER BY scheduled_at DESC LIMIT 20
    ) AS recent
) AS latest
WHERE latest.runs > 0;

-- name: find_run (low, high)
-- By a range of ids: one id, or all that begin alike. Two rows mean that the beginning is not unique.
SELECT id, scheduled_at FROM (
    (SELECT id, scheduled_at FROM run WHERE id BETWEEN $1::uuid AND $2::uuid LIMIT 2)
    UNION ALL
    (SELECT id, scheduled_at FROM run_history WHERE id BETWEEN $1::uuid AND $2::uuid LIMIT 2)
) AS found
LIMIT 2;

-- name: live_runs (ids)
SELECT run.*, task.name AS task, task.labels, node.hostname
FROM run JOIN task ON task.id = run.task_id LEFT JOIN node ON node.id = run.node_id
WHERE run.id = ANY($1::uuid[]);

-- name: past_runs (ids, scheduled)
SELECT h.*, task.name AS task, task.labels, node.hostname
FROM unnest($1::uuid[], $2::timestamptz[]) AS wanted (id, scheduled_at)
JOIN run_history h USING (scheduled_at, id)
JOIN task ON task.id = h.task_id
LEFT JOIN node ON node.id = h.node_id;

-- name: page_all (states, since, until, before, before_id, batch, coming)
-- Newest first over both tables. Ticks that are only written ahead are left out unless asked for.
SELECT id, scheduled_at, live FROM (
    (SELECT id, scheduled_at, true AS live FROM run
     WHERE state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
        AND ($7::boolean OR scheduled_at <= now() OR state NOT IN ('pending', 'assigned'))
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history
     WHERE state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
) AS both_tables
ORDER BY scheduled_at DESC, id DESC
LIMIT $6;

-- name: page_not_ok (states, since, until, before, before_id, batch, coming)
-- The same where success is not asked for: a partial index leads past the many that succeeded.
SELECT id, scheduled_at, live FROM (
    (SELECT id, scheduled_at, true AS live FROM run
     WHERE state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
        AND ($7::boolean OR scheduled_at <= now() OR state NOT IN ('pending', 'assigned'))
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history
     WHERE state <> 'succeeded' AND state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
) AS both_tables
ORDER BY scheduled_at DESC, id DESC
LIMIT $6;

-- name: page_live (states, since, until, before, before_id, batch, coming)
-- The same where nothing is asked for that can be over: history need not be looked at.
SELECT id, scheduled_at, true AS live FROM run
WHERE state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
    AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
    AND ($7::boolean OR scheduled_at <= now() OR state NOT IN ('pending', 'assigned'))
ORDER BY scheduled_at DESC, id DESC
LIMIT $6;

-- name: page_task (states, since, until, before, before_id, batch, coming, task_id)
SELECT id, scheduled_at, live FROM (
    (SELECT id, scheduled_at, true AS live FROM run
     WHERE task_id = $8::uuid AND state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
        AND ($7::boolean OR scheduled_at <= now() OR state NOT IN ('pending', 'assigned'))
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history
     WHERE task_id = $8::uuid AND state = ANY($1::text[]::run_state[]) AND scheduled_at >= $2 AND scheduled_at < $3
        AND (scheduled_at, id) < ($4::timestamptz, $5::uuid)
     ORDER BY scheduled_at DESC, id DESC LIMIT $6)
) AS both_tables
ORDER BY scheduled_at DESC, id DESC
LIMIT $6;

-- name: asked_before (ids)
-- Of runs that are asked for: those that were asked for before, whether they have ended since or not.
SELECT id, scheduled_at FROM run WHERE id = ANY($1::uuid[])
UNION ALL
SELECT id, scheduled_at FROM run_history WHERE id = ANY($1::uuid[]);

-- name: find_tick (task_id, at)
-- The row that stands for a tick: its own, or the stretch that covers it.
SELECT id, scheduled_at, live FROM (
    (SELECT id, scheduled_at, true AS live FROM run
     WHERE task_id = $1 AND trigger = 'schedule' AND scheduled_at = $2)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history
     WHERE task_id = $1 AND trigger = 'schedule' AND scheduled_at = $2)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history
     WHERE task_id = $1 AND trigger = 'schedule' AND scheduled_at < $2 AND last_scheduled_at >= $2
     ORDER BY scheduled_at DESC LIMIT 1)
) AS found
LIMIT 1;

-- name: latest_tick (task_id, now)
SELECT id, scheduled_at, live FROM (
    (SELECT id, scheduled_at, true AS live FROM run
     WHERE task_id = $1 AND scheduled_at <= coalesce($2::timestamptz, now()) ORDER BY scheduled_at DESC LIMIT 1)
    UNION ALL
    (SELECT id, scheduled_at, false FROM run_history WHERE task_id = $1 ORDER BY scheduled_at DESC LIMIT 1)
) AS found
ORDER BY scheduled_at DESC
LIMIT 1;

-- name: durations (task_ids)
-- Of the latest rows of each task, those that started and ended by themselves: a task that is mostly skipped is not
-- searched to its beginning.
SELECT wanted.task_id, count(*)::int AS runs,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY late.took) AS median,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY late.took) AS p95
FROM unnest($1::uuid[]) AS wanted (task_id)
CROSS JOIN LATERAL (
    SELECT state, finished_at - started_at AS took FROM run_history
    WHERE run_history.task_id = wanted.task_id
    ORDER BY scheduled_at DESC LIMIT 200
) AS late
WHERE late.took IS NOT NULL AND late.state IN ('succeeded', 'failed', 'timed_out')
GROUP BY wanted.task_id;

-- name: lock_runs (ids)
SELECT * FROM run WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE;

-- name: overdue_nodes (node_ids, grace)
SELECT DISTINCT node_id FROM run
WHERE node_id = ANY($1::text[]) AND state = 'assigned' AND started_at IS NULL
    AND greatest(not_before, assigned_at) < now() - $2::interval;

-- name: recalls_of (node_ids)
SELECT node_id, id, attempt, recall::text FROM run
WHERE node_id = ANY($1::text[]) AND recall IS NOT NULL AND state IN ('assigned', 'running', 'unknown');
