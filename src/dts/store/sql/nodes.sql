-- Executors and their leases.

-- name: register_node (id, hostname, incarnation, about, lease)
-- The younger incarnation wins.
INSERT INTO node (id, hostname, incarnation, about, lease_until, last_seen_at, registered_at)
VALUES ($1, $2, $3, $4, now() + $5::interval, now(), now())
ON CONFLICT (id) DO UPDATE
SET hostname = $2, incarnation = $3, about = $4, lease_until = now() + $5::interval, last_seen_at = now(),
    registered_at = CASE WHEN node.incarnation = $3 THEN node.registered_at ELSE now() END, left_at = NULL
RETURNING *, now() AS now;

-- name: runs_on_node (node_id)
SELECT * FROM run
WHERE node_id = $1 AND state IN ('assigned', 'running', 'unknown')
ORDER BY id
FOR UPDATE;

-- name: adopt_runs (ids, started_ago)
-- The node holds them, whatever we thought.
UPDATE run
SET state = CASE WHEN new.started_ago >= 0 THEN 'running'::run_state ELSE 'assigned' END, unknown_at = NULL,
    started_at = CASE WHEN new.started_ago >= 0
        THEN coalesce(run.started_at, now() - new.started_ago * interval '1 microsecond') END
FROM unnest($1::uuid[], $2::bigint[]) AS new (id, started_ago)
WHERE run.id = new.id;

-- name: doubt_runs (ids, now)
-- The node does not hold them; a result may still be on its way.
UPDATE run SET state = 'unknown', unknown_at = coalesce(unknown_at, $2::timestamptz) WHERE id = ANY($1::uuid[]);

-- name: renew_leases (ids, incarnations, used, leaving, lease)
UPDATE node
SET lease_until = CASE WHEN new.leaving THEN now() ELSE now() + $5::interval END, last_seen_at = now(), used = new.used,
    left_at = CASE WHEN new.leaving THEN now() END
FROM unnest($1::text[], $2::uuid[], $3::bytea[], $4::boolean[]) AS new (id, incarnation, used, leaving)
WHERE node.id = new.id AND node.incarnation = new.incarnation
RETURNING node.id, node.draining;

-- name: all_nodes ()
SELECT node.*, now() AS now,
    (SELECT count(*) FROM run
     WHERE run.node_id = node.id AND run.state IN ('assigned', 'running', 'unknown')) AS running
FROM node
ORDER BY hostname, id;

-- name: find_nodes (ids)
SELECT node.*, now() AS now, 0::bigint AS running FROM node WHERE id = ANY($1::text[]);

-- name: set_drain (name, draining, note)
UPDATE node SET draining = $2, drain_note = $3 WHERE id = $1 OR hostname = $1 RETURNING id;
