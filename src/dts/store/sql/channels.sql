-- Channels, and what is told to them.

-- fragment: told
-- What a statement wrote down as `outcome` becomes news for each channel that listens: a last part for its WITH.
-- at: when it happened. Runs that a node reports together become news in that order, or the wrong one has the last word.
-- Events are numbers of TaskEvent. Where nobody listens, tasks are not even looked up; OFFSET 0 keeps it so: without
-- it a plan may begin with all tasks.
happened AS (
    SELECT *, CASE
        WHEN state IN ('failed', 'timed_out') THEN 1
        WHEN state = 'skipped' AND reason IN ('missed', 'dropped_cap') THEN 3
        WHEN state = 'skipped' AND reason NOT IN ('skipped_paused', 'excluded') THEN 2
        WHEN state = 'running' THEN 7
        WHEN state = 'succeeded' THEN 8
    END AS event
    FROM outcome
), wanted AS (
    SELECT * FROM happened
    WHERE 1 << event & (SELECT coalesce(bit_or(events), 0) FROM channel) <> 0
    OFFSET 0
), hearing AS (
    SELECT channel.id AS channel_id, channel.kind, task.name AS task, wanted.run_id, wanted.task_id,
        wanted.scheduled_at, wanted.state, wanted.reason, wanted.message, wanted.ticks, wanted.event, wanted.at
    FROM wanted
    CROSS JOIN LATERAL (SELECT name, labels FROM task WHERE task.id = wanted.task_id OFFSET 0) AS task
    JOIN channel ON 1 << event & channel.events <> 0
        AND (channel.tasks = '{}' OR task.name = ANY(channel.tasks)) AND task.labels @> channel.labels
), past AS (
    -- A success ends the trouble that was told, or that this very statement writes down.
    (
        SELECT alert.channel_id, happened.* FROM happened JOIN alert ON alert.task_id = happened.task_id
        WHERE event = 8 AND (SELECT EXISTS (SELECT FROM alert))
        OFFSET 0
    )
    UNION
    SELECT hearing.channel_id, happened.* FROM happened JOIN hearing ON hearing.task_id = happened.task_id
    WHERE happened.event = 8 AND hearing.event IN (1, 2, 3) AND hearing.kind <> 2
), listening AS (
    SELECT * FROM hearing
    UNION ALL
    SELECT past.channel_id, 0, task.name, past.run_id, past.task_id, past.scheduled_at, past.state, past.reason,
        past.message, past.ticks, past.event, past.at
    FROM past
    JOIN channel ON channel.id = past.channel_id AND channel.events & (1 << 8) = 0
    JOIN task ON task.id = past.task_id
), opened AS (
    INSERT INTO alert (task_id, channel_id, since)
    SELECT DISTINCT task_id, channel_id, now() FROM listening WHERE event IN (1, 2, 3) AND kind <> 2
    ORDER BY task_id, channel_id
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO notice (channel_id, task_id, task, run_id, scheduled_at, event, reason, message, ticks, at)
    SELECT channel_id, task_id, task, run_id, scheduled_at, event, reason, message, ticks, now() FROM listening
    ORDER BY at, scheduled_at
)

-- fragment: started
-- Of what a statement wrote down as `begun`, what had not begun before: beside the update `run` is what it was. A start that
-- is said again is no news. Where nobody listens to starts, nothing is looked up.
outcome AS (
    SELECT begun.id AS run_id, begun.task_id, begun.scheduled_at, 'running' AS state, '' AS reason, '' AS message,
        1 AS ticks, begun.started_at AS at
    FROM begun CROSS JOIN LATERAL (SELECT started_at FROM run WHERE run.id = begun.id OFFSET 0) AS before
    WHERE before.started_at IS NULL AND begun.started_at IS NOT NULL
        AND (SELECT coalesce(bit_or(events), 0) FROM channel) & (1 << 7) <> 0
),

-- name: store_channel (id, name, kind, events, tasks, labels, late_after, stuck_after, remind_every, quiet, digest_every, shown, sealed, created_by)
INSERT INTO channel (
    id, name, kind, events, tasks, labels, late_after, stuck_after, remind_every, quiet, digest_every, shown, sealed,
    created_at, created_by
) VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11, $12, $13, now(), $14)
ON CONFLICT DO NOTHING;

-- name: change_channel (id, events, tasks, labels, late_after, stuck_after, remind_every, quiet, digest_every, shown, sealed)
-- Troubles of tasks that are no longer its own would never end.
WITH others AS (
    DELETE FROM alert USING task
    WHERE alert.channel_id = $1 AND task.id = alert.task_id
        AND NOT (($3::text[] = '{}' OR task.name = ANY($3::text[])) AND task.labels @> $4::jsonb)
)
UPDATE channel
SET events = $2, tasks = $3, labels = $4::jsonb, late_after = $5, stuck_after = $6, remind_every = $7, quiet = $8,
    digest_every = $9, shown = $10, sealed = $11
WHERE id = $1;

-- name: find_channel (key)
-- By name or id.
SELECT *, (SELECT count(*) FROM delivery WHERE channel_id = channel.id) AS waiting FROM channel
WHERE name = $1 OR id::text = lower($1)
ORDER BY name = $1 DESC
LIMIT 1;

-- name: all_channels (batch)
SELECT *, (SELECT count(*) FROM delivery WHERE channel_id = channel.id) AS waiting FROM channel ORDER BY name LIMIT $1;

-- name: listeners (ids)
-- Not deleted before what is told to them is written.
SELECT id, kind, events, remind_every, quiet, digest_every FROM channel WHERE id = ANY($1::uuid[]) ORDER BY id FOR KEY SHARE;

-- name: drop_channel (id)
-- Its deliveries go with it. News that is being written at this moment finds no channel later, and goes too.
WITH alerts AS (
    DELETE FROM alert WHERE channel_id = $1
), notices AS (
    DELETE FROM notice WHERE channel_id = $1
)
DELETE FROM channel WHERE id = $1;

-- name: try_lock_notices ()
-- One at a time decides, so that what happened first is told first.
SELECT pg_try_advisory_xact_lock(hashtextextended('dts notices', 3));

-- name: wanted_events ()
SELECT coalesce(bit_or(events), 0) FROM channel;

-- name: try_lock_late ()
SELECT pg_try_advisory_xact_lock(hashtextextended('dts late', 3));

-- name: notice_late (now, batch)
-- Runs that should have started by now; each is noticed once. They are found by the indexes of the claims, of those who
-- wait for their turn, and of the nodes; coming ticks, which are most of the table, are not read. What no node takes is
-- put off by seconds, hence the minute.
WITH horizon AS MATERIALIZED (
    SELECT $1::timestamptz - min(late_after) AS upto FROM channel WHERE events & (1 << 4) <> 0
), waiting AS MATERIALIZED (
    (
        SELECT id, task_id, scheduled_at, not_before, message FROM run
        WHERE state = 'pending' AND claim_at IS NOT NULL AND weightless
            AND claim_at <= $1::timestamptz + interval '1 minute' AND not_before <= (SELECT upto FROM horizon)
        ORDER BY claim_at
        LIMIT $2
    )
    UNION ALL
    (
        SELECT id, task_id, scheduled_at, not_before, message FROM run
        WHERE state = 'pending' AND claim_at IS NOT NULL AND NOT weightless
            AND claim_at <= $1::timestamptz + interval '1 minute' AND not_before <= (SELECT upto FROM horizon)
        ORDER BY claim_at
        LIMIT $2
    )
    UNION ALL
    (
        SELECT id, task_id, scheduled_at, not_before, message FROM run
        WHERE state = 'pending' AND claim_at IS NULL AND not_before <= (SELECT upto FROM horizon)
        ORDER BY task_id, scheduled_at
        LIMIT $2
    )
    UNION ALL
    SELECT held.* FROM node CROSS JOIN LATERAL (
        SELECT id, task_id, scheduled_at, not_before, message FROM run
        WHERE run.node_id = node.id AND state = 'assigned' AND started_at IS NULL
            AND not_before <= (SELECT upto FROM horizon)
        LIMIT $2
    ) AS held
), late AS (
    SELECT channel.id AS channel_id, task.id AS task_id, task.name AS task, run.id AS run_id, run.scheduled_at,
        run.message
    FROM channel
    JOIN waiting AS run ON run.not_before <= $1::timestamptz - channel.late_after
    JOIN task ON task.id = run.task_id
    WHERE channel.events & (1 << 4) <> 0
        AND (channel.tasks = '{}' OR task.name = ANY(channel.tasks)) AND task.labels @> channel.labels
), noticed AS (
    INSERT INTO alert AS a (task_id, channel_id, since, late_run)
    SELECT DISTINCT ON (task_id, channel_id) task_id, channel_id, $1::timestamptz, run_id FROM late
    ORDER BY task_id, channel_id, scheduled_at
    ON CONFLICT (task_id, channel_id) DO UPDATE SET late_run = excluded.late_run
        WHERE a.late_run IS DISTINCT FROM excluded.late_run
    RETURNING task_id, channel_id, late_run
)
INSERT INTO notice (channel_id, task_id, task, run_id, scheduled_at, event, reason, message, ticks, at)
SELECT channel_id, task_id, task, run_id, scheduled_at, 4, '', message, 1, $1::timestamptz
FROM late JOIN noticed USING (task_id, channel_id)
WHERE run_id = late_run;

-- name: notice_stuck (now, batch)
-- Runs that go on for too long; each is noticed once. They are found by their nodes.
WITH horizon AS MATERIALIZED (
    SELECT $1::timestamptz - min(stuck_after) AS upto FROM channel WHERE events & (1 << 5) <> 0
), going_on AS MATERIALIZED (
    SELECT held.* FROM node CROSS JOIN LATERAL (
        SELECT id, task_id, scheduled_at, started_at FROM run
        WHERE run.node_id = node.id AND state IN ('running', 'unknown')
            AND started_at <= (SELECT upto FROM horizon)
        LIMIT $2
    ) AS held
), stuck AS (
    SELECT channel.id AS channel_id, task.id AS task_id, task.name AS task, run.id AS run_id, run.scheduled_at
    FROM channel
    JOIN going_on AS run ON run.started_at <= $1::timestamptz - channel.stuck_after
    JOIN task ON task.id = run.task_id
    WHERE channel.events & (1 << 5) <> 0
        AND (channel.tasks = '{}' OR task.name = ANY(channel.tasks)) AND task.labels @> channel.labels
), noticed AS (
    INSERT INTO alert AS a (task_id, channel_id, since, stuck_run)
    SELECT DISTINCT ON (task_id, channel_id) task_id, channel_id, $1::timestamptz, run_id FROM stuck
    ORDER BY task_id, channel_id, scheduled_at
    ON CONFLICT (task_id, channel_id) DO UPDATE SET stuck_run = excluded.stuck_run
        WHERE a.stuck_run IS DISTINCT FROM excluded.stuck_run
    RETURNING task_id, channel_id, stuck_run
)
INSERT INTO notice (channel_id, task_id, task, run_id, scheduled_at, event, reason, message, ticks, at)
SELECT channel_id, task_id, task, run_id, scheduled_at, 5, '', '', 1, $1::timestamptz
FROM stuck JOIN noticed USING (task_id, channel_id)
WHERE run_id = stuck_run;

-- name: take_notices (batch)
-- The oldest news, in order. Of a channel that is gone, too: it is only taken away.
DELETE FROM notice WHERE id IN (SELECT id FROM notice ORDER BY id LIMIT $1)
RETURNING *;

-- name: alerts_of (task_ids, channel_ids)
-- lasts: the run that is late or stuck still is.
SELECT alert.*, EXISTS (
        SELECT FROM run
        WHERE run.id = late_run AND run.started_at IS NULL OR run.id = stuck_run AND run.started_at IS NOT NULL
    ) AS lasts
FROM alert
JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS n (task_id, channel_id)) AS n USING (task_id, channel_id)
ORDER BY task_id, channel_id
FOR UPDATE OF alert;

-- name: keep_alerts (task_ids, channel_ids, since, told, told_at, troubles)
INSERT INTO alert AS a (task_id, channel_id, since, told, told_at, troubles)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::int[], $5::timestamptz[], $6::bigint[])
    AS new (task_id, channel_id, since, told, told_at, troubles)
ORDER BY task_id, channel_id
ON CONFLICT (task_id, channel_id) DO UPDATE
SET since = excluded.since, told = excluded.told, told_at = excluded.told_at, troubles = excluded.troubles;

-- name: close_alerts (task_ids, channel_ids)
DELETE FROM alert USING unnest($1::uuid[], $2::uuid[]) AS over (task_id, channel_id)
WHERE alert.task_id = over.task_id AND alert.channel_id = over.channel_id;

-- name: forget_alerts ()
-- Of tasks that were deleted: no success will end them.
DELETE FROM alert WHERE NOT EXISTS (SELECT FROM task WHERE task.id = alert.task_id AND task.deleted_at IS NULL);

-- name: lock_crowded (most)
-- Channels to which more is told than they take. Before their deliveries, as those who send lock them.
SELECT id FROM channel
WHERE id IN (SELECT channel_id FROM delivery GROUP BY channel_id HAVING count(*) > $1)
ORDER BY id
FOR NO KEY UPDATE;

-- name: drop_beyond (now, most, channel_ids)
-- Lesser news (skipped, started, succeeded) goes before troubles, and old before new. What is being sent stays.
WITH ranked AS (
    SELECT id, row_number() OVER (PARTITION BY channel_id ORDER BY event IN (2, 7, 8), serial DESC) AS place
    FROM delivery
    WHERE channel_id = ANY($3::uuid[])
), dropped AS (
    DELETE FROM delivery USING ranked
    WHERE delivery.id = ranked.id AND ranked.place > $2 AND (held OR failure <> '' OR due_at <= $1::timestamptz)
    RETURNING delivery.channel_id
)
UPDATE channel SET given_up = channel.given_up + of_channel.gone
FROM (SELECT channel_id, count(*) AS gone FROM dropped GROUP BY channel_id) AS of_channel
WHERE channel.id = of_channel.channel_id
RETURNING channel.name, of_channel.gone;

-- name: add_deliveries (channel_ids, task_ids, run_ids, events, bodies, due_at, give_up_at, now, pause)
-- What rests after a try that failed, and what is said now would wait for, is tried as soon as nothing was tried in vain for
-- the pause: a task that makes news each second would take the pauses from a channel that is away.
WITH new AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::timestamptz[], $7::timestamptz[]
    ) WITH ORDINALITY AS n (channel_id, task_id, run_id, event, body, due_at, give_up_at, place)
), sooner AS (
    UPDATE delivery SET due_at = said.again_at
    FROM (
        SELECT DISTINCT new.channel_id, new.task_id, greatest($8::timestamptz, channel.failed_at + $9::interval) AS again_at
        FROM new JOIN channel ON channel.id = new.channel_id
        WHERE new.due_at <= $8::timestamptz
    ) AS said
    WHERE delivery.channel_id = said.channel_id AND delivery.task_id = said.task_id
        AND delivery.failure <> '' AND delivery.due_at > said.again_at
)
INSERT INTO delivery (id, channel_id, task_id, run_id, event, body, created_at, due_at, held, give_up_at)
SELECT gen_random_uuid(), channel_id, task_id, run_id, event, body, $8::timestamptz, due_at, due_at > $8::timestamptz,
    give_up_at
FROM new
ORDER BY place;

-- name: take_held (now, batch)
-- What waited to be sent together, of channels whose time has come.
DELETE FROM delivery WHERE id IN (
    SELECT id FROM delivery WHERE held AND due_at <= $1::timestamptz ORDER BY due_at, serial LIMIT $2
)
RETURNING *;

-- fragment: lendable
-- What can be sent to a channel now ($1). Of a run that pings, one comes after another; of any other task, nothing
-- overtakes what is being sent or rests after a failure: who hears of a recovery first would believe what comes last.
SELECT d.id, d.serial, d.due_at FROM delivery d
WHERE d.channel_id = channel.id AND d.due_at <= $1::timestamptz AND NOT d.held
    AND NOT EXISTS (
        SELECT FROM delivery e
        WHERE e.channel_id = d.channel_id AND e.run_id = d.run_id AND e.serial < d.serial AND e.event IN (7, 8)
    )
    AND NOT EXISTS (
        SELECT FROM delivery e
        WHERE e.channel_id = d.channel_id AND e.task_id = d.task_id AND e.serial < d.serial
            AND e.due_at > $1::timestamptz AND NOT e.held
    )

-- name: lock_due_channels (now, busy, batch)
-- Those that have waited longest. One sender at a time takes of a channel, or its order would be lost.
SELECT channel.id FROM channel CROSS JOIN LATERAL (
-- include: lendable
    ORDER BY d.due_at
    LIMIT 1
) AS next
WHERE channel.id <> ALL($2::uuid[])
ORDER BY next.due_at
LIMIT $3
FOR NO KEY UPDATE OF channel SKIP LOCKED;

-- name: take_deliveries (now, lease, share, channel_ids)
-- Lends them out: whoever takes one has until due_at to say how it went; `failure` says that it is not lent. Each channel
-- has the same share, so that none fills the hands of the senders. The array leads the planner to the key.
WITH due AS (
    SELECT next.id FROM channel CROSS JOIN LATERAL (
-- include: lendable
        ORDER BY d.serial
        LIMIT $3
    ) AS next
    WHERE channel.id = ANY($4::uuid[])
), lent AS (
    UPDATE delivery SET due_at = $1::timestamptz + $2::interval, attempts = attempts + 1, failure = ''
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING delivery.*
)
SELECT lent.id AS delivery_id, lent.serial, lent.run_id, lent.event, lent.body, lent.attempts, channel.*, 0 AS waiting
FROM lent JOIN channel ON channel.id = lent.channel_id
ORDER BY lent.serial;

-- name: deliveries_arrived (ids, now)
WITH arrived AS (
    DELETE FROM delivery WHERE id = ANY($1::uuid[]) RETURNING channel_id
)
UPDATE channel SET delivered_at = $2::timestamptz WHERE id IN (SELECT channel_id FROM arrived);

-- name: deliveries_failed (ids, attempts, failures, retry_in, now)
-- Tried again later, or given up. What another sender has taken meanwhile is the other's.
WITH failed AS (
    SELECT delivery.id, delivery.channel_id, delivery.give_up_at, new.failure, $5::timestamptz + new.retry_in AS again_at
    FROM delivery
    JOIN unnest($1::uuid[], $2::int[], $3::text[], $4::interval[]) AS new (id, attempt, failure, retry_in)
        ON delivery.id = new.id AND delivery.attempts = new.attempt
    ORDER BY delivery.id
    FOR UPDATE OF delivery
), later AS (
    UPDATE delivery SET due_at = failed.again_at, failure = failed.failure
    FROM failed WHERE delivery.id = failed.id AND failed.again_at < failed.give_up_at
), given_up AS (
    DELETE FROM delivery USING failed WHERE delivery.id = failed.id AND failed.again_at >= failed.give_up_at
    RETURNING delivery.id, delivery.channel_id
), noted AS (
    UPDATE channel
    SET failed_at = $5::timestamptz, failure = of_channel.failure, given_up = channel.given_up + of_channel.gone
    FROM (
        SELECT failed.channel_id, max(failed.failure) AS failure, count(given_up.id) AS gone
        FROM failed LEFT JOIN given_up USING (id)
        GROUP BY failed.channel_id
    ) AS of_channel
    WHERE channel.id = of_channel.channel_id
)
SELECT id FROM given_up;
