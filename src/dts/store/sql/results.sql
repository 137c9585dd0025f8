-- What became of attempts.

-- name: finish (node_id, incarnation, ids, attempts, states, reasons, messages, exit_codes, started_ago, finished_ago, cpu_time, peak_memory, details, sent_at)
-- Moves runs that are over from the hot table to history. Only the holder of the current attempt can.
-- Durations are microseconds before sent_at; negative means none. Nothing happened before the run was given to
-- its node, or before it was due: of some milliseconds two clocks may disagree. What is moved keeps its length.
-- `coalesce` keeps the planner from the index of the node, here and below: without fresh statistics it looks as good as
-- the key, and then all that the node holds is read for each report.
WITH report AS MATERIALIZED (
    SELECT * FROM unnest(
        $3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::bigint[], $10::bigint[], $11::bigint[],
        $12::bigint[], $13::text[]
    ) AS r (id, attempt, state, reason, message, exit_code, started_ago, finished_ago, cpu_time, peak_memory, details)
), reported AS (
    DELETE FROM run USING report r
    WHERE run.id = r.id AND run.attempt = r.attempt AND coalesce(run.node_id, '') = $1
        AND run.state IN ('assigned', 'running', 'unknown')
        AND EXISTS (SELECT FROM node WHERE node.id = $1 AND node.incarnation = $2::uuid)
    RETURNING run.id, run.task_id, run.task_version, run.trigger, run.scheduled_at, run.created_at, run.not_before,
        run.attempt, run.node_id, run.assigned_at, run.parameters, run.earlier_attempts, run.slot, run.pinned,
        r.state, r.reason, r.message, r.exit_code, r.started_ago, r.finished_ago, r.cpu_time, r.peak_memory, r.details,
        greatest(run.assigned_at, run.not_before) AS earliest, least($14::timestamptz, now()) AS told_at
), begun AS (
    SELECT reported.*,
        CASE WHEN started_ago >= 0 THEN greatest(told_at - started_ago * interval '1 microsecond', earliest) END
            AS started_at
    FROM reported
), ended AS (
    SELECT begun.*,
        CASE WHEN finished_ago >= 0
            THEN greatest(
                told_at - finished_ago * interval '1 microsecond', earliest,
                CASE WHEN started_ago >= 0
                    THEN least(started_at + (started_ago - finished_ago) * interval '1 microsecond', now()) END
            )
            ELSE now() END AS finished_at
    FROM begun
), kept AS (
    INSERT INTO run_history (
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state, reason, message, attempt,
        node_id, assigned_at, started_at, finished_at, exit_code, cpu_time, peak_memory, details, parameters,
        earlier_attempts
    )
    SELECT
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state::run_state, reason, message,
        attempt, node_id, assigned_at, started_at, finished_at, exit_code,
        CASE WHEN cpu_time > 0 THEN cpu_time * interval '1 microsecond' END,
        nullif(peak_memory, 0), details::jsonb, parameters, earlier_attempts
    FROM ended
    ON CONFLICT (scheduled_at, id) DO NOTHING
), outcome AS (
    SELECT id AS run_id, task_id, scheduled_at, state, reason, message, 1 AS ticks, finished_at AS at FROM ended
),
-- include: told
SELECT id, task_id, pinned, slot IS NOT NULL AS held FROM ended;

-- name: mark_running (node_id, incarnation, ids, attempts, started_ago, sent_at)
-- Answers with the attempts that are this node's; any other one runs without leave.
WITH begun AS (
    UPDATE run
    SET state = 'running', unknown_at = NULL, recall = nullif(run.recall, 'withdraw'),
        started_at = CASE WHEN r.started_ago >= 0
            THEN greatest(
                least($6::timestamptz, now()) - r.started_ago * interval '1 microsecond', run.assigned_at,
                run.not_before
            )
            ELSE now() END
    FROM unnest($3::uuid[], $4::int[], $5::bigint[]) AS r (id, attempt, started_ago)
    WHERE run.id = r.id AND run.attempt = r.attempt AND coalesce(run.node_id, '') = $1
        AND run.state IN ('assigned', 'running', 'unknown')
        AND EXISTS (SELECT FROM node WHERE node.id = $1 AND node.incarnation = $2::uuid)
    RETURNING run.id, run.task_id, run.scheduled_at, run.started_at
),
-- include: started
-- include: told
SELECT id FROM begun;

-- name: is_attached (node_id, incarnation)
SELECT EXISTS (SELECT FROM node WHERE id = $1 AND incarnation = $2::uuid);

-- name: lock_attempts (node_id, incarnation, ids, attempts)
SELECT run.*, node.hostname
FROM run
JOIN unnest($3::uuid[], $4::int[]) AS r (id, attempt) ON run.id = r.id AND run.attempt = r.attempt
JOIN node ON node.id = $1 AND node.incarnation = $2::uuid
WHERE coalesce(run.node_id, '') = $1 AND run.state IN ('assigned', 'running', 'unknown')
ORDER BY run.id
FOR UPDATE OF run;

-- name: retry (ids, not_before, failures, reasons, messages, earlier_attempts)
-- Another attempt, later. The run keeps its place.
UPDATE run
SET state = 'pending', not_before = new.not_before, claim_at = new.not_before,
    start_by = new.not_before + start_within, failures = new.failures, reason = new.reason, message = new.message,
    earlier_attempts = new.earlier_attempts::jsonb, started_at = NULL, unknown_at = NULL, recall = NULL
FROM unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::text[], $5::text[], $6::text[])
    AS new (id, not_before, failures, reason, message, earlier_attempts)
WHERE run.id = new.id
RETURNING run.id;

-- name: put_back (now, ids, versions, weightless, serial, groups, within)
-- Attempts that never started: pending again. Under another version they are as that says, and hold nothing; else they
-- keep their place.
UPDATE run
SET state = 'pending', task_version = new.version, claim_at = greatest($1::timestamptz, run.not_before),
    start_by = greatest(run.start_by, $1 + new.within), assigned_at = NULL, unknown_at = NULL, recall = NULL,
    weightless = new.weightless, serial = new.serial, group_name = new.group_name, start_within = new.within,
    slot = CASE WHEN new.version = run.task_version THEN run.slot END,
    group_slot = CASE WHEN new.version = run.task_version THEN run.group_slot END,
    node_id = CASE WHEN new.version = run.task_version THEN run.node_id END
FROM unnest($2::uuid[], $3::bigint[], $4::boolean[], $5::boolean[], $6::text[], $7::interval[])
    AS new (id, version, weightless, serial, group_name, within)
WHERE run.id = new.id
RETURNING run.id;

-- name: delete_runs (ids)
DELETE FROM run WHERE id = ANY($1::uuid[]) RETURNING id, task_id, pinned, slot IS NOT NULL AS held;

-- name: end_on_node (ids, states, reasons, messages, now)
-- Ends runs whose node cannot be asked any more.
WITH ended AS (
    DELETE FROM run
    USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS new (id, state, reason, message)
    WHERE run.id = new.id
    RETURNING run.*, new.state AS new_state, new.reason AS new_reason, new.message AS new_message
), kept AS (
    INSERT INTO run_history (
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state, reason, message, attempt,
        node_id, assigned_at, started_at, finished_at, parameters, earlier_attempts
    )
    SELECT
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, new_state::run_state, new_reason,
        new_message, attempt, node_id, assigned_at, started_at, $5::timestamptz, parameters, earlier_attempts
    FROM ended
    ON CONFLICT (scheduled_at, id) DO NOTHING
), outcome AS (
    SELECT id AS run_id, task_id, scheduled_at, new_state AS state, new_reason AS reason, new_message AS message,
        1 AS ticks, $5::timestamptz AS at
    FROM ended
),
-- include: told
SELECT id, task_id, pinned, slot IS NOT NULL AS held FROM ended;

-- name: silence_nodes (now)
-- Runs of nodes whose lease is over.
UPDATE run
SET state = 'unknown', unknown_at = coalesce($1::timestamptz, now())
FROM node
WHERE node.id = run.node_id AND node.lease_until < coalesce($1::timestamptz, now())
    AND run.state IN ('assigned', 'running')
RETURNING run.id;

-- name: silent_runs (after_at, after_id, batch)
-- never_started: an executor starts nothing once its lease is over. Of what was due before that nobody knows.
SELECT run.*, node.hostname,
    run.started_at IS NULL AND greatest(run.not_before, run.assigned_at) >= node.lease_until AS never_started
FROM run LEFT JOIN node ON node.id = run.node_id
WHERE run.state = 'unknown' AND (run.unknown_at, run.id) > ($1::timestamptz, $2::uuid)
ORDER BY run.unknown_at, run.id
LIMIT $3
FOR UPDATE OF run SKIP LOCKED;

-- name: overdue_runs (weightless, now, batch)
-- Of one lane, so that the claims' index leads to them.
SELECT id, task_id, task_version, message, node_id FROM run
WHERE state = 'pending' AND claim_at IS NOT NULL AND weightless = $1
    AND claim_at <= coalesce($2::timestamptz, now()) AND start_by <= coalesce($2::timestamptz, now())
ORDER BY claim_at
LIMIT $3
FOR UPDATE SKIP LOCKED;

-- name: stranded_waiters ()
-- Places whose runs wait, with the version of the eldest, and how many runs there have a turn: those that hold a place, and
-- those that are due and are looked at by claims, be it again and again. With fewer than may, a wake-up was lost.
SELECT w.task_id, w.pinned, (array_agg(w.task_version ORDER BY w.scheduled_at, w.created_at))[1] AS version,
    (
        SELECT count(*) FROM run h
        WHERE h.task_id = w.task_id AND h.pinned = w.pinned
            AND (h.slot IS NOT NULL OR (h.state = 'pending' AND h.serial AND h.claim_at IS NOT NULL AND h.not_before <= now()))
    ) AS turns
FROM run w
WHERE w.state = 'pending' AND w.claim_at IS NULL
GROUP BY w.task_id, w.pinned;

-- name: lock_current (task_ids)
SELECT id, version, enabled, deleted_at FROM task WHERE id = ANY($1::uuid[]) ORDER BY id FOR SHARE;

-- name: in_force (ids, task_ids, instants)
-- The version by which a tick of a settled time counted, and whether the task was paused then. Of tasks that were deleted
-- by then there is none, and of a time that the cursor has not reached either: its rows are still to come.
SELECT tick.id, tick.task_id, tick.scheduled_at, latest.version, paused.change = 'pause' AS paused
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS tick (id, task_id, scheduled_at)
JOIN task_cursor c ON c.task_id = tick.task_id AND c.upto >= tick.scheduled_at
CROSS JOIN LATERAL (
    SELECT version, change FROM task_version v
    WHERE v.task_id = tick.task_id AND v.created_at < tick.scheduled_at
    ORDER BY version DESC
    LIMIT 1
) AS latest
CROSS JOIN LATERAL (
    SELECT change FROM task_version v
    WHERE v.task_id = tick.task_id AND v.version <= latest.version AND change IN ('create', 'pause', 'resume')
    ORDER BY version DESC
    LIMIT 1
) AS paused
WHERE latest.change <> 'delete';
