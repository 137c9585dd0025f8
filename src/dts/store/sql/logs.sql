-- What runs printed.

-- name: node_incarnation (node_id)
SELECT incarnation FROM node WHERE id = $1;

-- name: append_logs (node_id, run_ids, days, attempts, streams, offsets, lengths, cuts, compressed, contents, at)
-- Only for attempts that the node holds or held; a piece that is there already changes nothing. Of earlier attempts the
-- ledger keeps their node by the name that people use.
INSERT INTO log_chunk (run_id, day, attempt, stream, "offset", length, cut_before, compressed, content, at)
SELECT new.*
FROM unnest(
    $2::uuid[], $3::date[], $4::int[], $5::smallint[], $6::bigint[], $7::int[], $8::bigint[], $9::boolean[],
    $10::bytea[], $11::timestamptz[]
) AS new (run_id, day, attempt, stream, "offset", length, cut_before, compressed, content, at)
CROSS JOIN LATERAL (
    SELECT jsonb_build_array(jsonb_build_object(
        'number', new.attempt, 'node', coalesce((SELECT nullif(hostname, '') FROM node WHERE id = $1), $1::text)
    )) AS attempt
) AS earlier
WHERE EXISTS (
        SELECT FROM run
        WHERE run.id = new.run_id AND (
            run.node_id = $1 AND new.attempt = run.attempt OR run.earlier_attempts @> earlier.attempt
        )
    )
    OR EXISTS (
        SELECT FROM run_history h
        WHERE h.id = new.run_id AND h.scheduled_at >= new.day AND h.scheduled_at < new.day + 1 AND (
            h.node_id = $1 AND new.attempt = h.attempt OR h.earlier_attempts @> earlier.attempt
        )
    )
ON CONFLICT DO NOTHING
RETURNING run_id;

-- name: read_logs (run_id, day, attempt, after, batch)
SELECT attempt, stream, "offset", length, cut_before, compressed, content, at, serial
FROM log_chunk
WHERE run_id = $1 AND day = $2 AND ($3::int = 0 OR attempt = $3) AND serial > $4
ORDER BY serial
LIMIT $5;
