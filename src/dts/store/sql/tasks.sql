-- Definitions and their cursors.

-- name: insert_tasks (ids, names, specs, labels, now)
-- A name that is taken leaves its row out: the caller counts.
INSERT INTO task (id, name, version, spec, labels, created_at, updated_at)
SELECT new.id, new.name, 1, new.spec, new.labels::jsonb, $5::timestamptz, $5::timestamptz
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[]) AS new (id, name, spec, labels)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: insert_cursors (task_ids, version, upto, next_due_at, visit_at, runs_left)
INSERT INTO task_cursor (task_id, version, upto, next_due_at, visit_at, runs_left)
SELECT new.task_id, $2::bigint, new.upto, new.next_due_at, new.visit_at, new.runs_left
FROM unnest($1::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::bigint[])
    AS new (task_id, upto, next_due_at, visit_at, runs_left);

-- name: insert_versions (task_ids, versions, specs, changes, actor, notes, now)
INSERT INTO task_version (task_id, version, spec, change, actor, note, created_at)
SELECT new.task_id, new.version, new.spec, new.change, $5::text, new.note, $7::timestamptz
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::text[], $6::text[])
    AS new (task_id, version, spec, change, note);

-- name: lock_tasks (task_ids)
-- In the order of their ids, so that two changes of several tasks cannot lock each other out.
SELECT t.*, c.upto, c.next_due_at, c.visit_at, c.runs_left
FROM task t JOIN task_cursor c ON c.task_id = t.id
WHERE t.id = ANY($1::uuid[]) AND t.deleted_at IS NULL
ORDER BY t.id
FOR UPDATE;

-- name: update_task (id, name, version, spec, labels, enabled, pause_note, paused_by, paused_at, updated_at, deleted_at)
UPDATE task
SET name = $2, version = $3, spec = $4, labels = $5::text::jsonb, enabled = $6, pause_note = $7, paused_by = $8,
    paused_at = $9, updated_at = $10, deleted_at = $11
WHERE id = $1;

-- name: set_cursor (task_id, version, upto, next_due_at, visit_at, runs_left)
UPDATE task_cursor
SET version = $2, upto = $3, next_due_at = $4, visit_at = $5, runs_left = $6
WHERE task_id = $1;

-- name: coming_ticks (task_id, now)
-- How many ticks are not due yet and in the ledger, whoever has them; with `node: every` a tick has several runs.
SELECT count(DISTINCT scheduled_at) FROM run
WHERE task_id = $1 AND trigger = 'schedule' AND scheduled_at > $2 AND recall IS NULL;

-- name: drop_coming_runs (task_id, now)
-- Ticks that are not due yet and not handed over: the changed schedule writes them anew.
DELETE FROM run
WHERE task_id = $1 AND trigger = 'schedule' AND state = 'pending' AND attempt = 0 AND scheduled_at > $2 AND pinned = ''
RETURNING id;

-- name: coming_pinned (task_id, now)
-- The same of ticks that nodes have runs of already, or had before they gave them back. They are not written anew: some of
-- the tick may have been handed over, and a node does not take the same attempt twice.
SELECT * FROM run
WHERE task_id = $1 AND trigger = 'schedule' AND state = 'pending' AND failures = 0 AND scheduled_at > $2
    AND (pinned <> '' OR attempt > 0)
FOR UPDATE;

-- name: withdraw_coming_runs (task_id, now)
-- Ticks that are not due yet but handed over: the node is asked to give them back.
UPDATE run SET recall = 'withdraw'
WHERE task_id = $1 AND trigger = 'schedule' AND state IN ('assigned', 'unknown') AND scheduled_at > $2 AND recall IS NULL
RETURNING node_id;

-- name: waiting_runs_of (task_id)
-- Due runs that have not begun; a node may have given them back.
SELECT id FROM run WHERE task_id = $1 AND state = 'pending' AND failures = 0 FOR UPDATE;

-- name: find_tasks (ids, names, deleted)
-- The next tick may be in the ledger already, some seconds ahead.
SELECT t.*, least(c.next_due_at, (
    SELECT min(scheduled_at) FROM run
    WHERE run.task_id = t.id AND trigger = 'schedule' AND state IN ('pending', 'assigned') AND scheduled_at > now()
)) AS next_due_at
FROM task t JOIN task_cursor c ON c.task_id = t.id
WHERE (t.id = ANY($1::uuid[]) OR t.name = ANY($2::text[])) AND ($3::boolean OR t.deleted_at IS NULL)
ORDER BY t.deleted_at DESC NULLS FIRST;

-- name: page_tasks (after_name, prefix_from, prefix_until, labels, due_until, batch, name_part, enabled)
SELECT t.*, least(c.next_due_at, (
    SELECT min(scheduled_at) FROM run
    WHERE run.task_id = t.id AND trigger = 'schedule' AND state IN ('pending', 'assigned') AND scheduled_at > now()
)) AS next_due_at
FROM task t JOIN task_cursor c ON c.task_id = t.id
WHERE t.deleted_at IS NULL
    AND t.name > $1::text AND t.name >= $2::text AND t.name < $3::text
    AND t.labels @> $4::text::jsonb
    AND ($5::timestamptz IS NULL OR (t.enabled AND c.next_due_at <= $5))
    AND ($7::text = '' OR position($7 IN t.name) > 0)
    AND ($8::boolean IS NULL OR t.enabled = $8)
ORDER BY t.name
LIMIT $6;

-- name: soonest_tasks (due_until, batch)
-- The enabled tasks that are due first: the first n ticks of all tasks are among those of n tasks. The next tick may be
-- in the ledger already, some seconds ahead. Tasks are looked up one by one (OFFSET 0): a plan that is made without
-- knowing the batch would read them all.
SELECT t.*, coming.next_due_at
FROM (
    SELECT task_id, min(at) AS next_due_at FROM (
        (SELECT c.task_id, c.next_due_at AS at
         FROM task_cursor c
         CROSS JOIN LATERAL (
             SELECT FROM task WHERE task.id = c.task_id AND task.enabled AND task.deleted_at IS NULL OFFSET 0
         ) AS enabled
         WHERE c.next_due_at <= $1
         ORDER BY c.next_due_at LIMIT $2)
        UNION ALL
        (SELECT task_id, scheduled_at FROM run
         WHERE trigger = 'schedule' AND state IN ('pending', 'assigned') AND scheduled_at > now() AND scheduled_at <= $1
         ORDER BY scheduled_at LIMIT $2)
    ) AS ticks
    GROUP BY task_id
) AS coming
CROSS JOIN LATERAL (
    SELECT * FROM task WHERE task.id = coming.task_id AND task.enabled AND task.deleted_at IS NULL OFFSET 0
) AS t
ORDER BY coming.next_due_at
LIMIT $2;

-- name: task_versions (task_id, most)
SELECT version, spec, change, actor, note, created_at FROM task_version WHERE task_id = $1 ORDER BY version DESC
LIMIT $2;

-- name: specs_of (task_ids, versions)
SELECT v.task_id, v.version, v.spec
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (task_id, version)
JOIN task_version v USING (task_id, version);

-- name: last_runs (task_ids)
-- The newest due row of each task, hot or past.
SELECT wanted.task_id, latest.*
FROM unnest($1::uuid[]) AS wanted (task_id)
CROSS JOIN LATERAL (
    SELECT id, state, scheduled_at FROM (
        (SELECT id, state, scheduled_at FROM run
         WHERE run.task_id = wanted.task_id AND (scheduled_at <= now() OR state NOT IN ('pending', 'assigned'))
         ORDER BY scheduled_at DESC LIMIT 1)
        UNION ALL
        (SELECT id, state, scheduled_at FROM run_history
         WHERE run_history.task_id = wanted.task_id ORDER BY scheduled_at DESC LIMIT 1)
    ) AS both_tables
    ORDER BY scheduled_at DESC LIMIT 1
) AS latest;
