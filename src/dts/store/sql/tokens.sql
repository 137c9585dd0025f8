-- Access tokens. Their state is judged by the clock of the database.

-- name: store_token (id, name, scope, sha256, prefix, created_by, ttl, first_admin)
INSERT INTO access_token (id, name, scope, sha256, prefix, created_by, created_at, expires_at)
SELECT $1, $2, $3::smallint, $4, $5, $6, now(), now() + $7::interval
WHERE NOT ($8 AND EXISTS (SELECT FROM access_token WHERE scope = 3))
ON CONFLICT DO NOTHING;

-- name: token_by_id (id)
SELECT *, now() AS now FROM access_token WHERE id = $1;

-- name: all_tokens (batch)
SELECT *, now() AS now FROM access_token ORDER BY created_at DESC, id DESC LIMIT $1;

-- name: end_token (key)
-- By id, or by name: of those who had the name, the one whose token is not revoked, else the last.
UPDATE access_token SET revoked_at = coalesce(revoked_at, now())
WHERE id = (
    SELECT id FROM access_token
    WHERE name = $1 OR id::text = lower($1)
    ORDER BY revoked_at IS NOT NULL, created_at DESC
    LIMIT 1
)
RETURNING *, now() AS now;

-- name: find_token (sha256)
-- Notes the use, once in a minute at most: this is read far more often than anybody looks at it.
WITH used AS (
    UPDATE access_token SET last_used_at = now()
    WHERE sha256 = $1 AND revoked_at IS NULL AND expires_at > now()
        AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
)
SELECT *, now() AS now FROM access_token WHERE sha256 = $1;
