-- Claiming due runs for nodes.

-- name: claim_candidates (weightless, lead, batch, now, nodes)
-- What is meant for a node of another replica is left to that for a moment; what is for that node alone, for good.
-- The materialised step keeps the limit: joined directly, a nested loop can lock more rows than it says.
-- locked: nobody else decides on the task.
WITH due AS MATERIALIZED (
    SELECT
        id, task_id, task_version, trigger, scheduled_at, not_before, start_by, overlap, slot, group_name, group_slot,
        serial, attempt, node_id, parameters, meant_for, pinned,
        earlier_attempts
    FROM run
    WHERE state = 'pending' AND claim_at IS NOT NULL AND weightless = $1
        AND claim_at <= coalesce($4::timestamptz, now()) + $2::interval
        AND (
            meant_for IS NULL OR meant_for = ANY($5::text[])
            OR meant_until <= coalesce($4::timestamptz, now())
        )
        AND (pinned = '' OR pinned = ANY($5::text[]))
    ORDER BY claim_at, id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
SELECT
    due.*,
    coalesce($4::timestamptz, now()) AS now,
    NOT serial OR (
        pg_try_advisory_xact_lock(hashtextextended(task_id::text, 0))
        AND (group_name IS NULL OR pg_try_advisory_xact_lock(hashtextextended(group_name, 1)))
    ) AS locked
FROM due;

-- name: next_claim (now)
-- How long until the next pending run can be claimed, in either lane.
SELECT min(claim_at) - coalesce($1::timestamptz, now()) FROM (
    (SELECT claim_at FROM run WHERE state = 'pending' AND claim_at IS NOT NULL AND weightless ORDER BY claim_at LIMIT 1)
    UNION ALL
    (SELECT claim_at FROM run
     WHERE state = 'pending' AND claim_at IS NOT NULL AND NOT weightless ORDER BY claim_at LIMIT 1)
) AS lanes;

-- name: standing (tasks, batch, ids, task_ids, pinned, scheduled_at, at_hand)
-- Who holds places of tasks; and for candidates that are in line, when an elder run, which is pending too and comes first,
-- can be claimed by whoever looks then. In one statement, after the tasks are locked: an elder whose turn comes meanwhile is
-- seen as one or the other.
-- Of the 20 eldest, or a long queue would be read for each of its runs. They are found by their task: `coalesce` keeps the
-- planner from the index of all that is due, which without fresh statistics looks as good and is read from end to end for
-- each candidate.
WITH batch AS MATERIALIZED (
    SELECT unnest($2::uuid[]) AS id
)
SELECT task_id, pinned, id, slot, state::text, coalesce(recall <> 'withdraw', false) AS recalled, assigned_at,
    NULL::timestamptz AS elder_claim_at
FROM run
WHERE task_id = ANY($1::uuid[]) AND slot IS NOT NULL
UNION ALL
SELECT due.task_id, due.pinned, due.id, NULL, NULL, NULL, NULL, first.claim_at
FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[]) AS due (id, task_id, pinned, scheduled_at)
CROSS JOIN LATERAL (
    SELECT min(claim_at) AS claim_at FROM (
        SELECT elder.claim_at FROM run elder
        WHERE elder.task_id = due.task_id AND elder.pinned = due.pinned AND elder.scheduled_at < due.scheduled_at
            AND elder.state = 'pending' AND elder.serial AND elder.slot IS NULL
            AND coalesce(elder.claim_at, 'infinity') < 'infinity'
            AND elder.not_before <= $7::timestamptz
            AND elder.id NOT IN (SELECT id FROM batch)
        ORDER BY elder.scheduled_at
        LIMIT 20
    ) AS elders
) AS first
WHERE first.claim_at IS NOT NULL
ORDER BY task_id, assigned_at;

-- name: live_by_node (task_ids)
-- Live runs, and those that are left to a node of another replica.
SELECT task_id, CASE WHEN state = 'pending' THEN meant_for ELSE node_id END AS node_id, count(*) AS runs
FROM run
WHERE task_id = ANY($1::uuid[]) AND (state IN ('assigned', 'running', 'unknown') OR meant_for IS NOT NULL)
GROUP BY 1, 2;

-- name: queues (task_ids)
SELECT task_id, pinned, count(*) AS length, (array_agg(id ORDER BY scheduled_at DESC, created_at DESC))[1] AS newest
FROM run
WHERE task_id = ANY($1::uuid[]) AND state = 'pending' AND claim_at IS NULL
GROUP BY task_id, pinned;

-- name: group_slots (names)
SELECT group_name, group_slot FROM run WHERE group_name = ANY($1::text[]) AND group_slot IS NOT NULL;

-- name: previous_successes (task_ids)
SELECT wanted.task_id, latest.scheduled_at
FROM unnest($1::uuid[]) AS wanted (task_id)
CROSS JOIN LATERAL (
    SELECT scheduled_at FROM run_history h
    WHERE h.task_id = wanted.task_id AND h.state = 'succeeded'
    ORDER BY scheduled_at DESC LIMIT 1
) AS latest;

-- name: assign (ids, nodes, slots, group_slots, now)
UPDATE run
SET state = 'assigned', attempt = attempt + 1, node_id = new.node_id, slot = new.slot, group_slot = new.group_slot,
    assigned_at = $5::timestamptz, started_at = NULL, unknown_at = NULL, reason = '', message = '', blocked_by = NULL,
    meant_for = NULL
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[]) AS new (id, node_id, slot, group_slot)
WHERE run.id = new.id;

-- name: pin (ids, nodes, messages)
UPDATE run SET pinned = new.node_id, message = new.message
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, node_id, message)
WHERE run.id = new.id;

-- name: pinned_copies (of, ids, nodes, messages)
-- A tick that was withdrawn after some of its runs had ended is written anew: those do not run again.
INSERT INTO run (
    id, task_id, task_version, trigger, scheduled_at, created_at, not_before, claim_at, start_by, start_within,
    weightless, serial, overlap, group_name, parameters, pinned, message
)
SELECT
    new.id, run.task_id, task_version, trigger, scheduled_at, created_at, not_before, claim_at, start_by, start_within,
    weightless, serial, overlap, group_name, parameters, new.node_id, new.message
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS new (of, id, node_id, message)
JOIN run ON run.id = new.of
WHERE NOT EXISTS (SELECT FROM run_history h WHERE h.scheduled_at = run.scheduled_at AND h.id = new.id)
ON CONFLICT (id) DO NOTHING;

-- name: mean_for (ids, nodes, until)
UPDATE run SET meant_for = new.node_id, meant_until = $3::timestamptz
FROM unnest($1::uuid[], $2::text[]) AS new (id, node_id)
WHERE run.id = new.id;

-- name: defer (ids, claim_at, messages, blocked_by)
UPDATE run
SET claim_at = new.claim_at, message = new.message, blocked_by = new.blocked_by
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[]) AS new (id, claim_at, message, blocked_by)
WHERE run.id = new.id;

-- name: end_pending (ids, states, reasons, messages, blocked_by, now)
-- Runs that end without a node: skipped, expired, cancelled.
WITH ended AS (
    DELETE FROM run
    USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[])
        AS new (id, state, reason, message, blocked_by)
    WHERE run.id = new.id AND run.state = 'pending'
    RETURNING run.*, new.state AS new_state, new.reason AS new_reason, new.message AS new_message,
        new.blocked_by AS new_blocked_by
), kept AS (
    INSERT INTO run_history (
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, state, reason, message, blocked_by,
        attempt, finished_at, parameters, earlier_attempts
    )
    SELECT
        id, task_id, task_version, trigger, scheduled_at, created_at, not_before, new_state::run_state, new_reason,
        new_message, new_blocked_by, attempt, $6::timestamptz, parameters, earlier_attempts
    FROM ended
    ON CONFLICT (scheduled_at, id) DO NOTHING
), outcome AS (
    SELECT id AS run_id, task_id, scheduled_at, new_state AS state, new_reason AS reason, new_message AS message,
        1 AS ticks, $6::timestamptz AS at
    FROM ended
),
-- include: told
SELECT id, task_id, pinned, slot IS NOT NULL AS held FROM ended;

-- name: recall_runs (ids, recall)
UPDATE run SET recall = $2::text::run_recall
WHERE id = ANY($1::uuid[]) AND (recall IS NULL OR recall = 'withdraw')
    AND state IN ('assigned', 'running', 'unknown')
RETURNING id, node_id;

-- name: release_waiting (task_ids, pinned, counts, now)
-- The oldest runs that wait for a place, in tasks in which places became free: those whose turn it is, and coming ticks
-- that were put off to their instant. Were these not taken up again at once, the tick after could take the place first.
-- Their instants are their turn: what is younger comes after them, also if it was waiting for a claim already.
UPDATE run
SET claim_at = run.not_before, message = '', blocked_by = NULL,
    start_by = CASE WHEN run.claim_at IS NULL THEN coalesce($4::timestamptz, now()) + start_within ELSE start_by END
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS freed (task_id, pinned, places)
CROSS JOIN LATERAL (
    SELECT id FROM run w
    WHERE w.task_id = freed.task_id AND w.pinned = freed.pinned AND w.state = 'pending' AND w.slot IS NULL
        AND (w.claim_at IS NULL OR w.blocked_by IS NOT NULL)
    ORDER BY w.scheduled_at, w.created_at
    LIMIT freed.places
) AS next_run
WHERE run.id = next_run.id AND run.state = 'pending' AND (run.claim_at IS NULL OR run.blocked_by IS NOT NULL)
RETURNING run.id;
