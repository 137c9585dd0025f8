-- Executors and their leases.

-- name: lock_node (id)
-- Waits for claims that give it work (offered_nodes), so that what they give is seen.
SELECT process, connection FROM node WHERE id = $1 FOR UPDATE;

-- name: register_node (id, hostname, incarnation, about, lease, process, connection)
-- The younger incarnation wins.
INSERT INTO node (id, hostname, incarnation, about, lease_until, last_seen_at, registered_at, process, connection)
VALUES ($1, $2, $3, $4, now() + $5::interval, now(), now(), $6, $7)
ON CONFLICT (id) DO UPDATE
SET hostname = $2, incarnation = $3, about = $4, lease_until = now() + $5::interval, last_seen_at = now(),
    process = $6, connection = $7,
    registered_at = CASE WHEN node.incarnation = $3 THEN node.registered_at ELSE now() END, left_at = NULL
RETURNING *, now() AS now, (SELECT s.about FROM swarm_node s WHERE s.id = $1) AS swarm;

-- name: runs_on_node (node_id)
SELECT * FROM run
WHERE node_id = $1 AND state IN ('assigned', 'running', 'unknown')
ORDER BY id
FOR UPDATE;

-- name: adopt_runs (ids, started_ago, sent_at)
-- The node holds them, or is sent them again, whatever we thought. What has started is not asked back any more.
-- When it started is told as in mark_running; the start of a run that began while its node was out of touch is heard here.
WITH begun AS (
    UPDATE run
    SET state = CASE WHEN new.started_ago >= 0 THEN 'running'::run_state ELSE 'assigned' END, unknown_at = NULL,
        recall = CASE WHEN new.started_ago >= 0 THEN nullif(run.recall, 'withdraw') ELSE run.recall END,
        started_at = CASE WHEN new.started_ago >= 0
            THEN coalesce(
                run.started_at,
                greatest(
                    least($3::timestamptz, now()) - new.started_ago * interval '1 microsecond', run.assigned_at,
                    run.not_before
                )
            ) END
    FROM unnest($1::uuid[], $2::bigint[]) AS new (id, started_ago)
    WHERE run.id = new.id
    RETURNING run.id, run.task_id, run.scheduled_at, run.started_at
),
-- include: started
-- include: told
SELECT id FROM begun;

-- name: doubt_runs (ids, now)
-- The node does not hold them; a result may still be on its way.
UPDATE run SET state = 'unknown', unknown_at = coalesce(unknown_at, $2::timestamptz) WHERE id = ANY($1::uuid[]);

-- name: renew_leases (ids, incarnations, used, leaving, lease)
-- A lease that is over is granted anew, after a hello, or runs that were found unknown in between would stay so.
-- A node that leaves keeps its lease while it holds attempts, and takes nothing more until it says hello again.
UPDATE node
SET last_seen_at = now(), used = new.used, left_at = coalesce(node.left_at, CASE WHEN new.leaving THEN now() END),
    lease_until = CASE
        WHEN new.leaving AND NOT EXISTS (
            SELECT FROM run WHERE run.node_id = node.id AND run.state IN ('assigned', 'running', 'unknown')
        ) THEN now()
        ELSE now() + $5::interval
    END
FROM unnest($1::text[], $2::uuid[], $3::bytea[], $4::boolean[]) AS new (id, incarnation, used, leaving)
WHERE node.id = new.id AND node.incarnation = new.incarnation AND node.lease_until >= now()
RETURNING node.id, now() AS now,
    node.draining OR EXISTS (SELECT FROM swarm_node s WHERE s.id = node.id AND s.availability <> 'active') AS draining;

-- name: all_nodes ()
-- A node that has left the Swarm is forgotten once it is silent and holds nothing.
SELECT node.*, swarm_node.about AS swarm, now() AS now,
    (SELECT count(*) FROM run
     WHERE run.node_id = node.id AND run.state IN ('assigned', 'running', 'unknown')) AS running,
    ARRAY(SELECT target FROM node_target WHERE node_target.node_id = node.id ORDER BY target) AS targets
FROM node LEFT JOIN swarm_node ON swarm_node.id = node.id
WHERE swarm_node.id IS NOT NULL OR node.lease_until > now() OR NOT EXISTS (SELECT FROM swarm_node)
    OR EXISTS (SELECT FROM run WHERE run.node_id = node.id AND run.state IN ('assigned', 'running', 'unknown'))
ORDER BY node.hostname, node.id;

-- name: nodes_without_executor ()
SELECT about FROM swarm_node WHERE id NOT IN (SELECT id FROM node) ORDER BY hostname, id;

-- name: swarm_node (id)
SELECT about FROM swarm_node WHERE id = $1;

-- name: store_swarm (ids, hostnames, availabilities, abouts)
WITH gone AS (DELETE FROM swarm_node WHERE id <> ALL($1::text[]))
INSERT INTO swarm_node (id, hostname, availability, about)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
ON CONFLICT (id) DO UPDATE
SET hostname = excluded.hostname, availability = excluded.availability, about = excluded.about
WHERE (swarm_node.hostname, swarm_node.availability, swarm_node.about)
    IS DISTINCT FROM (excluded.hostname, excluded.availability, excluded.about);

-- name: store_targets (nodes, incarnations, node_ids, targets)
-- Of those that have not registered anew meanwhile: what an earlier connection told would stay.
WITH teller AS MATERIALIZED (
    SELECT node.id FROM node JOIN unnest($1::text[], $2::uuid[]) AS new (id, incarnation) USING (id, incarnation)
    ORDER BY node.id
    FOR KEY SHARE OF node
), told AS (
    SELECT new.* FROM unnest($3::text[], $4::text[]) AS new (node_id, target) JOIN teller ON teller.id = new.node_id
), gone AS (
    DELETE FROM node_target old
    WHERE old.node_id IN (SELECT id FROM teller)
        AND NOT EXISTS (SELECT FROM told WHERE told.node_id = old.node_id AND told.target = old.target)
)
INSERT INTO node_target (node_id, target)
SELECT node_id, target FROM told
ON CONFLICT DO NOTHING;

-- name: nodes_with (targets)
SELECT node_id, array_agg(target) AS targets FROM node_target WHERE target = ANY($1::text[]) GROUP BY node_id;

-- name: offered_nodes (ids, incarnations)
-- Those that still hold the connection for which room was offered. None of them can register anew while the claim lasts:
-- work for a connection that is over would reach nobody.
SELECT node.*, now() AS now, 0::bigint AS running, (SELECT s.about FROM swarm_node s WHERE s.id = node.id) AS swarm
FROM node JOIN unnest($1::text[], $2::text[]) AS offer (id, incarnation) ON offer.id = node.id
WHERE node.incarnation::text = offer.incarnation
ORDER BY node.id
FOR KEY SHARE OF node;

-- name: nodes_elsewhere (ids)
-- The living nodes that are not among these.
SELECT node.*, swarm_node.about AS swarm, now() AS now
FROM node LEFT JOIN swarm_node ON swarm_node.id = node.id
WHERE node.id <> ALL($1::text[]) AND node.lease_until > now() AND node.left_at IS NULL AND NOT node.draining
    AND coalesce(swarm_node.availability, 'active') = 'active'
ORDER BY node.id;

-- name: set_drain (name, draining, note)
UPDATE node SET draining = $2, drain_note = $3 WHERE id = $1 OR hostname = $1 RETURNING id;
