-- Reading the ledger, and requests.

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

-- name: lock_runs (ids)
SELECT * FROM run WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE;

-- name: recalls_of (node_ids)
SELECT node_id, id, attempt, recall::text FROM run
WHERE node_id = ANY($1::text[]) AND recall IS NOT NULL AND state IN ('assigned', 'running', 'unknown');
