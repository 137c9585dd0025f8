-- Whom to tell what became of tasks, and what is still to be told.

-- target: where to send, a secret as a whole. shown: as much of it as people may see. events: bit n is event n.
CREATE TABLE channel (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kind smallint NOT NULL,
    events integer NOT NULL,
    tasks text[] NOT NULL,
    labels jsonb NOT NULL,
    late_after interval NOT NULL,
    stuck_after interval NOT NULL,
    remind_every interval NOT NULL,
    quiet bytea,
    digest_every interval,
    target text NOT NULL,
    shown text NOT NULL,
    signing_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    delivered_at timestamptz,
    failed_at timestamptz,
    failure text NOT NULL DEFAULT '',
    given_up bigint NOT NULL DEFAULT 0
);

-- What happened and was not looked at yet: a row for each channel that listens. The table is empty most of the time.
CREATE TABLE notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id uuid NOT NULL,
    task_id uuid NOT NULL,
    task text NOT NULL,
    run_id uuid NOT NULL,
    scheduled_at timestamptz NOT NULL,
    event smallint NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    ticks bigint NOT NULL,
    at timestamptz NOT NULL
);

-- Tasks that are in trouble, by the channel that listens: made with the first trouble, gone with the next success.
-- told: bit n is event n, told since then. late_run, stuck_run: the last ones that were noticed as such.
CREATE TABLE alert (
    task_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    since timestamptz NOT NULL,
    told integer NOT NULL DEFAULT 0,
    told_at timestamptz,
    troubles bigint NOT NULL DEFAULT 0,
    late_run uuid,
    stuck_run uuid,
    PRIMARY KEY (task_id, channel_id)
);

-- What is to be sent. due_at: the next try; while one is under way, when it counts as failed. held: it waits until then
-- to be sent together with others.
CREATE TABLE delivery (
    id uuid PRIMARY KEY,
    serial bigint GENERATED ALWAYS AS IDENTITY,
    channel_id uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    run_id uuid,
    event smallint NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    held boolean NOT NULL,
    give_up_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    failure text NOT NULL DEFAULT ''
);
CREATE INDEX delivery_due ON delivery (due_at);
CREATE INDEX delivery_order ON delivery (channel_id, run_id, serial);
