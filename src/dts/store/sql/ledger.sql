-- Writing the ledger.

-- name: lock_due_cursors (now, batch)
WITH due AS MATERIALIZED (
    SELECT task_id, version, upto, runs_left
    FROM task_cursor
    WHERE visit_at <= coalesce($1::timestamptz, now())
    ORDER BY visit_at, task_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
SELECT due.*, coalesce($1::timestamptz, now()) AS now FROM due;

-- name: insert_runs (ids, task_ids, versions, triggers, scheduled, not_before, claim_at, start_by, within, weightless, serial, overlap, groups, parameters, now)
-- A changed schedule writes coming ticks anew; one that ran, or was cancelled, meanwhile is in history and stays there. The
-- subquery looks each one up; a join might read history from end to end.
INSERT INTO run (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, claim_at, start_by, start_within,
    weightless, serial, overlap, group_name, parameters
)
SELECT
    new.id, new.task_id, new.version, new.trigger::run_trigger, new.scheduled_at, $15::timestamptz, new.not_before,
    new.claim_at, new.start_by, new.start_within, new.weightless, new.serial, new.overlap, new.group_name,
    new.parameters::jsonb
FROM unnest(
    $1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::interval[], $10::boolean[], $11::boolean[], $12::smallint[], $13::text[], $14::text[]
) AS new (
    id, task_id, version, trigger, scheduled_at, not_before, claim_at, start_by, start_within, weightless, serial,
    overlap, group_name, parameters
)
WHERE (SELECT true FROM run_history h WHERE h.scheduled_at = new.scheduled_at AND h.id = new.id) IS NULL
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: insert_gaps (ids, task_ids, versions, first, last, ticks, reasons, messages, now)
WITH gap AS (
    INSERT INTO run_history (
        id, task_id, task_version, trigger, scheduled_at, last_scheduled_at, ticks, created_at, state, reason, message,
        finished_at
    )
    SELECT
        new.id, new.task_id, new.version, 'schedule', new.first, nullif(new.last, new.first), new.ticks,
        $9::timestamptz, 'skipped', new.reason, new.message, $9::timestamptz
    FROM unnest(
        $1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::text[], $8::text[]
    ) AS new (id, task_id, version, first, last, ticks, reason, message)
    ON CONFLICT (scheduled_at, id) DO NOTHING
    RETURNING id, task_id, scheduled_at, state::text, reason, message, ticks
), outcome AS (
    SELECT id AS run_id, task_id, scheduled_at, state, reason, message, ticks, $9::timestamptz AS at FROM gap
),
-- include: told
SELECT id FROM gap;

-- name: advance_cursors (task_ids, upto, next_due_at, visit_at, runs_left)
UPDATE task_cursor c
SET upto = new.upto, next_due_at = new.next_due_at, visit_at = new.visit_at, runs_left = new.runs_left
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
    AS new (task_id, upto, next_due_at, visit_at, runs_left)
WHERE c.task_id = new.task_id;

-- name: look_anew (after_at, after_id, seen, pause, batch)
-- Cursors in the order of their visits, each a pause after the one before, unless it comes sooner in any case. Those that are
-- locked are being visited. seen: how many there were before these.
WITH later AS (
    SELECT task_id, visit_at FROM task_cursor
    WHERE visit_at > now() AND (visit_at, task_id) > ($1::timestamptz, $2::uuid)
    ORDER BY visit_at, task_id
    LIMIT $5
    FOR UPDATE SKIP LOCKED
), numbered AS (
    SELECT task_id, visit_at, row_number() OVER (ORDER BY visit_at, task_id) AS number FROM later
)
UPDATE task_cursor c SET visit_at = least(numbered.visit_at, now() + ($3 + numbered.number - 1) * $4::interval)
FROM numbered
WHERE c.task_id = numbered.task_id
RETURNING c.task_id, numbered.visit_at;

-- name: rows_within (task_ids, first, last)
-- What stands already where stretches are to be written: [first, last] of each row, by the number of the stretch.
SELECT gap.number, known.first, known.last
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS gap (task_id, first, last, number)
CROSS JOIN LATERAL (
    SELECT scheduled_at AS first, scheduled_at AS last FROM run
    WHERE task_id = gap.task_id AND trigger = 'schedule' AND scheduled_at BETWEEN gap.first AND gap.last
    UNION
    SELECT scheduled_at, coalesce(last_scheduled_at, scheduled_at) FROM run_history
    WHERE task_id = gap.task_id AND trigger = 'schedule' AND scheduled_at BETWEEN gap.first AND gap.last
) AS known
ORDER BY gap.number, known.first;
