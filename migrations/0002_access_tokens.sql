-- access_token   who may call, and what; a secret is kept as its hash only. Rows stay, so that a name in the history of
--                a task can be told, and so that the first admin token is made once.

CREATE TABLE access_token (
    id            uuid PRIMARY KEY,
    name          text NOT NULL,
    scope         smallint NOT NULL CHECK (scope BETWEEN 1 AND 3),     -- dts.v1.Scope
    sha256        bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),   -- of the secret
    prefix        text NOT NULL,                                      -- its beginning, to tell tokens apart
    created_at    timestamptz NOT NULL,
    created_by    text NOT NULL,
    expires_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    revoked_at    timestamptz
);
CREATE UNIQUE INDEX access_token_name ON access_token (name) WHERE revoked_at IS NULL;
