-- The first schema of dts.
--
-- task, task_version   what people define, and every version of it
-- task_cursor          up to where the ledger of a task is written, and when to go on: narrow, because it changes often
-- run                  the hot part of the ledger: runs that are not over. Kept small; every index is partial or needed
-- run_history          the rest of it, partitioned by day, so that retention drops partitions
-- log_chunk            what runs printed, partitioned by the day of the run
-- node                 executors and their leases

CREATE TYPE run_state AS ENUM (
    'pending', 'assigned', 'running', 'unknown', 'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped'
);
CREATE TYPE run_trigger AS ENUM ('schedule', 'manual', 'backfill', 'retry');
-- What is asked of the node that holds a run: let it end (cancel, replace), kill it (terminate), or give it back
-- if it has not started (withdraw).
CREATE TYPE run_recall AS ENUM ('cancel', 'replace', 'terminate', 'withdraw');

CREATE TABLE task (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    version     bigint NOT NULL,
    spec        bytea NOT NULL,                 -- dts.v1.TaskSpec
    labels      jsonb NOT NULL DEFAULT '{}',
    enabled     boolean NOT NULL DEFAULT true,
    pause_note  text NOT NULL DEFAULT '',
    paused_by   text NOT NULL DEFAULT '',
    paused_at   timestamptz,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX task_name ON task (name) WHERE deleted_at IS NULL;
CREATE INDEX task_labels ON task USING gin (labels jsonb_path_ops) WHERE deleted_at IS NULL;

CREATE TABLE task_version (
    task_id     uuid NOT NULL REFERENCES task (id),
    version     bigint NOT NULL,
    spec        bytea NOT NULL,
    change      text NOT NULL,
    actor       text NOT NULL,
    note        text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (task_id, version)
);

CREATE TABLE task_cursor (
    task_id     uuid PRIMARY KEY REFERENCES task (id),
    version     bigint NOT NULL,                -- of the task, so that one lock shows a consistent pair
    upto        timestamptz NOT NULL,           -- every tick up to here is in the ledger
    next_due_at timestamptz,                    -- the first tick after it; NULL: none
    visit_at    timestamptz,                    -- when to write on; NULL: never
    runs_left   bigint                          -- of max_runs; NULL: no limit
) WITH (fillfactor = 70);
CREATE INDEX task_cursor_visit ON task_cursor (visit_at) WHERE visit_at IS NOT NULL;
CREATE INDEX task_cursor_due ON task_cursor (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE run (
    id               uuid PRIMARY KEY,
    task_id          uuid NOT NULL,
    task_version     bigint NOT NULL,
    trigger          run_trigger NOT NULL,
    scheduled_at     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    state            run_state NOT NULL DEFAULT 'pending',
    not_before       timestamptz NOT NULL,      -- the instant to start at: jitter and back-off included
    claim_at         timestamptz,               -- what a claim looks at; NULL while the run waits for its turn
    start_within     interval NOT NULL,         -- the start deadline
    start_by         timestamptz NOT NULL,      -- the same as an instant; counts while claim_at is set
    weightless       boolean NOT NULL,          -- takes no slot of a node
    serial           boolean NOT NULL,          -- shares places with other runs: overlap policy or group
    overlap          smallint,                  -- instead of the task's own policy (dts.v1.Overlap)
    slot             integer,                   -- its place among the live runs of the task
    group_name       text,
    group_slot       integer,                   -- its place among the live runs of the group
    attempt          integer NOT NULL DEFAULT 0,
    failures         integer NOT NULL DEFAULT 0, -- attempts that count against the retries
    node_id          text,
    recall           run_recall,
    reason           text NOT NULL DEFAULT '',
    message          text NOT NULL DEFAULT '',
    blocked_by       uuid,
    assigned_at      timestamptz,
    started_at       timestamptz,
    unknown_at       timestamptz,               -- since when its node is silent
    parameters       jsonb,
    earlier_attempts jsonb                      -- [dts.v1.Attempt as JSON]
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000
);
-- The order in which pending runs are claimed, one lane with weight and one without.
CREATE INDEX run_claim ON run (weightless, claim_at, id) WHERE state = 'pending' AND claim_at IS NOT NULL;
-- Overlap: no two live runs share a place, whatever replica or trigger made them.
CREATE UNIQUE INDEX run_slot ON run (task_id, slot) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX run_group_slot ON run (group_name, group_slot) WHERE group_slot IS NOT NULL;
-- Runs that wait for their turn, oldest first.
CREATE INDEX run_waiting ON run (task_id, scheduled_at) WHERE state = 'pending' AND claim_at IS NULL;
CREATE INDEX run_task ON run (task_id, scheduled_at);
CREATE INDEX run_node ON run (node_id) WHERE node_id IS NOT NULL AND state IN ('assigned', 'running', 'unknown');
CREATE INDEX run_recall_node ON run (node_id) WHERE recall IS NOT NULL;

CREATE TABLE run_history (
    id                uuid NOT NULL,
    task_id           uuid NOT NULL,
    task_version      bigint NOT NULL,
    trigger           run_trigger NOT NULL,
    scheduled_at      timestamptz NOT NULL,
    last_scheduled_at timestamptz,              -- for a stretch of ticks: the last of them
    ticks             bigint NOT NULL DEFAULT 1, -- how many ticks the row stands for
    created_at        timestamptz NOT NULL,
    not_before        timestamptz,
    state             run_state NOT NULL,
    reason            text NOT NULL,
    message           text NOT NULL DEFAULT '',
    blocked_by        uuid,
    attempt           integer NOT NULL DEFAULT 0,
    node_id           text,
    assigned_at       timestamptz,
    started_at        timestamptz,
    finished_at       timestamptz NOT NULL,
    exit_code         integer,
    cpu_time          interval,
    peak_memory       bigint,
    details           jsonb,                    -- image_digest, handle, log_bytes of the last attempt
    parameters        jsonb,
    earlier_attempts  jsonb,
    PRIMARY KEY (scheduled_at, id)
) PARTITION BY RANGE (scheduled_at);
CREATE INDEX run_history_id ON run_history (id);
CREATE INDEX run_history_task ON run_history (task_id, scheduled_at);
CREATE INDEX run_history_not_ok ON run_history (scheduled_at) WHERE state <> 'succeeded';
-- What retention keeps of dropped partitions, and what is older than all of them.
CREATE TABLE run_history_rest PARTITION OF run_history DEFAULT;

CREATE SEQUENCE log_chunk_serial;
CREATE TABLE log_chunk (
    run_id     uuid NOT NULL,
    day        date NOT NULL,                   -- of the run's scheduled_at
    attempt    integer NOT NULL,
    stream     smallint NOT NULL,               -- dts.v1.LogStream
    "offset"   bigint NOT NULL,                 -- of the first byte in its stream
    length     integer NOT NULL,                -- before compression
    cut_before bigint NOT NULL DEFAULT 0,
    compressed boolean NOT NULL,
    content    bytea NOT NULL,
    at         timestamptz NOT NULL,
    serial     bigint NOT NULL DEFAULT nextval('log_chunk_serial'),   -- the order of arrival
    PRIMARY KEY (run_id, attempt, stream, "offset", day)
) PARTITION BY RANGE (day);
ALTER TABLE log_chunk ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX log_chunk_order ON log_chunk (run_id, serial);
CREATE TABLE log_chunk_rest PARTITION OF log_chunk DEFAULT;

CREATE TABLE node (
    id            text PRIMARY KEY,
    hostname      text NOT NULL,
    incarnation   uuid NOT NULL,
    about         bytea NOT NULL,               -- dts.v1.Node as the executor said hello
    used          bytea NOT NULL DEFAULT '',    -- dts.v1.Capacity of its last heartbeat
    draining      boolean NOT NULL DEFAULT false,
    drain_note    text NOT NULL DEFAULT '',
    left_at       timestamptz,                  -- it said goodbye
    lease_until   timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    registered_at timestamptz NOT NULL
);
