-- What became of many runs, for pictures of it. Only finished ones: what goes on is told by the pages of runs.

-- name: outcomes (task_ids, count)
-- The newest of each task; their caller turns them.
SELECT wanted.task_id, late.*
FROM unnest($1::uuid[]) AS wanted (task_id)
CROSS JOIN LATERAL (
    SELECT state, scheduled_at, finished_at - started_at AS took, started_at - scheduled_at AS late
    FROM run_history
    WHERE run_history.task_id = wanted.task_id
    ORDER BY scheduled_at DESC LIMIT $2
) AS late
ORDER BY wanted.task_id, late.scheduled_at;

-- fragment: counted
-- What `late` has, in steps of time, with $1, $3 and $4 as in the statements below.
SELECT floor(extract(epoch FROM late.scheduled_at - $1) / extract(epoch FROM $3::interval))::int AS step,
    CASE WHEN $4::boolean THEN coalesce(node.hostname, late.node_id, '') END AS node,
    coalesce(sum(ticks) FILTER (WHERE state = 'succeeded'), 0)::bigint AS succeeded,
    coalesce(sum(ticks) FILTER (WHERE state IN ('failed', 'timed_out')), 0)::bigint AS failed,
    coalesce(sum(ticks) FILTER (WHERE state = 'cancelled'), 0)::bigint AS cancelled,
    coalesce(sum(ticks) FILTER (WHERE state = 'skipped'), 0)::bigint AS skipped,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY late.took) AS took,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY late.late) AS late,
    min(late.scheduled_at) AS earliest, count(*) AS rows
FROM late LEFT JOIN node ON node.id = late.node_id
GROUP BY 1, 2
ORDER BY 1, 2

-- name: counts (since, until, step, by_node, most)
-- Of the newest rows only, so that a busy time costs no more than a quiet one.
WITH late AS (
    SELECT scheduled_at, node_id, state, ticks, finished_at - started_at AS took, started_at - scheduled_at AS late
    FROM run_history
    WHERE scheduled_at >= $1 AND scheduled_at < $2
    ORDER BY scheduled_at DESC LIMIT $5
)
-- include: counted

-- name: counts_of_task (since, until, step, by_node, most, task_id)
WITH late AS (
    SELECT scheduled_at, node_id, state, ticks, finished_at - started_at AS took, started_at - scheduled_at AS late
    FROM run_history
    WHERE task_id = $6 AND scheduled_at >= $1 AND scheduled_at < $2
    ORDER BY scheduled_at DESC LIMIT $5
)
-- include: counted
