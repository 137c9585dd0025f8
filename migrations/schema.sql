-- The schema after all migrations, for reading; written by `make schema`, never run.

CREATE TYPE public.run_recall AS ENUM (
    'cancel',
    'replace',
    'terminate',
    'withdraw'
);

CREATE TYPE public.run_state AS ENUM (
    'pending',
    'assigned',
    'running',
    'unknown',
    'succeeded',
    'failed',
    'timed_out',
    'cancelled',
    'skipped'
);

CREATE TYPE public.run_trigger AS ENUM (
    'schedule',
    'manual',
    'backfill',
    'retry'
);

CREATE TABLE public.access_token (
    id uuid NOT NULL,
    name text NOT NULL,
    scope smallint NOT NULL,
    sha256 bytea NOT NULL,
    prefix text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT access_token_scope_check CHECK (((scope >= 1) AND (scope <= 3))),
    CONSTRAINT access_token_sha256_check CHECK ((length(sha256) = 32))
);

CREATE TABLE public.alert (
    task_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    since timestamp with time zone NOT NULL,
    told integer DEFAULT 0 NOT NULL,
    told_at timestamp with time zone,
    troubles bigint DEFAULT 0 NOT NULL,
    late_run uuid,
    stuck_run uuid
);

CREATE TABLE public.channel (
    id uuid NOT NULL,
    name text NOT NULL,
    kind smallint NOT NULL,
    events integer NOT NULL,
    tasks text[] NOT NULL,
    labels jsonb NOT NULL,
    late_after interval NOT NULL,
    stuck_after interval NOT NULL,
    remind_every interval NOT NULL,
    quiet bytea,
    digest_every interval,
    shown text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    delivered_at timestamp with time zone,
    failed_at timestamp with time zone,
    failure text DEFAULT ''::text NOT NULL,
    given_up bigint DEFAULT 0 NOT NULL,
    sealed bytea NOT NULL
);

CREATE TABLE public.delivery (
    id uuid NOT NULL,
    serial bigint NOT NULL,
    channel_id uuid NOT NULL,
    run_id uuid,
    event smallint NOT NULL,
    body text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    held boolean NOT NULL,
    give_up_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    task_id uuid
);

ALTER TABLE public.delivery ALTER COLUMN serial ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.delivery_serial_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE public.log_chunk_serial
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.log_chunk (
    run_id uuid NOT NULL,
    day date NOT NULL,
    attempt integer NOT NULL,
    stream smallint NOT NULL,
    "offset" bigint NOT NULL,
    length integer NOT NULL,
    cut_before bigint DEFAULT 0 NOT NULL,
    compressed boolean NOT NULL,
    content bytea NOT NULL,
    at timestamp with time zone NOT NULL,
    serial bigint DEFAULT nextval('public.log_chunk_serial'::regclass) NOT NULL
)
PARTITION BY RANGE (day);
ALTER TABLE ONLY public.log_chunk ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE public.log_chunk_rest (
    run_id uuid CONSTRAINT log_chunk_run_id_not_null NOT NULL,
    day date CONSTRAINT log_chunk_day_not_null NOT NULL,
    attempt integer CONSTRAINT log_chunk_attempt_not_null NOT NULL,
    stream smallint CONSTRAINT log_chunk_stream_not_null NOT NULL,
    "offset" bigint CONSTRAINT log_chunk_offset_not_null NOT NULL,
    length integer CONSTRAINT log_chunk_length_not_null NOT NULL,
    cut_before bigint DEFAULT 0 CONSTRAINT log_chunk_cut_before_not_null NOT NULL,
    compressed boolean CONSTRAINT log_chunk_compressed_not_null NOT NULL,
    content bytea CONSTRAINT log_chunk_content_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT log_chunk_at_not_null NOT NULL,
    serial bigint DEFAULT nextval('public.log_chunk_serial'::regclass) CONSTRAINT log_chunk_serial_not_null NOT NULL
);
ALTER TABLE ONLY public.log_chunk_rest ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE public.node (
    id text NOT NULL,
    hostname text NOT NULL,
    incarnation uuid NOT NULL,
    about bytea NOT NULL,
    used bytea DEFAULT '\x'::bytea NOT NULL,
    draining boolean DEFAULT false NOT NULL,
    drain_note text DEFAULT ''::text NOT NULL,
    left_at timestamp with time zone,
    lease_until timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    registered_at timestamp with time zone NOT NULL,
    process uuid,
    connection bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.node_target (
    target text NOT NULL,
    node_id text NOT NULL
);

CREATE TABLE public.notice (
    id bigint NOT NULL,
    channel_id uuid NOT NULL,
    task_id uuid NOT NULL,
    task text NOT NULL,
    run_id uuid NOT NULL,
    scheduled_at timestamp with time zone NOT NULL,
    event smallint NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    ticks bigint NOT NULL,
    at timestamp with time zone NOT NULL
);

ALTER TABLE public.notice ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.notice_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.run (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    task_version bigint NOT NULL,
    trigger public.run_trigger NOT NULL,
    scheduled_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    state public.run_state DEFAULT 'pending'::public.run_state NOT NULL,
    not_before timestamp with time zone NOT NULL,
    claim_at timestamp with time zone,
    start_within interval NOT NULL,
    start_by timestamp with time zone NOT NULL,
    weightless boolean NOT NULL,
    serial boolean NOT NULL,
    overlap smallint,
    slot integer,
    group_name text,
    group_slot integer,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    node_id text,
    recall public.run_recall,
    reason text DEFAULT ''::text NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    blocked_by uuid,
    assigned_at timestamp with time zone,
    started_at timestamp with time zone,
    unknown_at timestamp with time zone,
    parameters jsonb,
    earlier_attempts jsonb,
    meant_for text,
    meant_until timestamp with time zone,
    pinned text DEFAULT ''::text NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='5000', vacuum_truncate=off);

CREATE TABLE public.run_history (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    task_version bigint NOT NULL,
    trigger public.run_trigger NOT NULL,
    scheduled_at timestamp with time zone NOT NULL,
    last_scheduled_at timestamp with time zone,
    ticks bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    not_before timestamp with time zone,
    state public.run_state NOT NULL,
    reason text NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    blocked_by uuid,
    attempt integer DEFAULT 0 NOT NULL,
    node_id text,
    assigned_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    exit_code integer,
    cpu_time interval,
    peak_memory bigint,
    details jsonb,
    parameters jsonb,
    earlier_attempts jsonb
)
PARTITION BY RANGE (scheduled_at);

CREATE TABLE public.run_history_rest (
    id uuid CONSTRAINT run_history_id_not_null NOT NULL,
    task_id uuid CONSTRAINT run_history_task_id_not_null NOT NULL,
    task_version bigint CONSTRAINT run_history_task_version_not_null NOT NULL,
    trigger public.run_trigger CONSTRAINT run_history_trigger_not_null NOT NULL,
    scheduled_at timestamp with time zone CONSTRAINT run_history_scheduled_at_not_null NOT NULL,
    last_scheduled_at timestamp with time zone,
    ticks bigint DEFAULT 1 CONSTRAINT run_history_ticks_not_null NOT NULL,
    created_at timestamp with time zone CONSTRAINT run_history_created_at_not_null NOT NULL,
    not_before timestamp with time zone,
    state public.run_state CONSTRAINT run_history_state_not_null NOT NULL,
    reason text CONSTRAINT run_history_reason_not_null NOT NULL,
    message text DEFAULT ''::text CONSTRAINT run_history_message_not_null NOT NULL,
    blocked_by uuid,
    attempt integer DEFAULT 0 CONSTRAINT run_history_attempt_not_null NOT NULL,
    node_id text,
    assigned_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone CONSTRAINT run_history_finished_at_not_null NOT NULL,
    exit_code integer,
    cpu_time interval,
    peak_memory bigint,
    details jsonb,
    parameters jsonb,
    earlier_attempts jsonb
);

CREATE TABLE public.schema_migration (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    duration_ms integer NOT NULL
);

CREATE TABLE public.swarm_node (
    id text NOT NULL,
    hostname text NOT NULL,
    availability text NOT NULL,
    about bytea NOT NULL
);

CREATE TABLE public.task (
    id uuid NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    spec bytea NOT NULL,
    labels jsonb DEFAULT '{}'::jsonb NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    pause_note text DEFAULT ''::text NOT NULL,
    paused_by text DEFAULT ''::text NOT NULL,
    paused_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);

CREATE TABLE public.task_cursor (
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    upto timestamp with time zone NOT NULL,
    next_due_at timestamp with time zone,
    visit_at timestamp with time zone,
    runs_left bigint
)
WITH (fillfactor='70');

CREATE TABLE public.task_version (
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    spec bytea NOT NULL,
    change text NOT NULL,
    actor text NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.log_chunk ATTACH PARTITION public.log_chunk_rest DEFAULT;

ALTER TABLE ONLY public.run_history ATTACH PARTITION public.run_history_rest DEFAULT;

ALTER TABLE ONLY public.access_token
    ADD CONSTRAINT access_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.access_token
    ADD CONSTRAINT access_token_sha256_key UNIQUE (sha256);

ALTER TABLE ONLY public.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (task_id, channel_id);

ALTER TABLE ONLY public.channel
    ADD CONSTRAINT channel_name_key UNIQUE (name);

ALTER TABLE ONLY public.channel
    ADD CONSTRAINT channel_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.log_chunk
    ADD CONSTRAINT log_chunk_pkey PRIMARY KEY (run_id, attempt, stream, "offset", day);

ALTER TABLE ONLY public.log_chunk_rest
    ADD CONSTRAINT log_chunk_rest_pkey PRIMARY KEY (run_id, attempt, stream, "offset", day);

ALTER TABLE ONLY public.node
    ADD CONSTRAINT node_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.node_target
    ADD CONSTRAINT node_target_pkey PRIMARY KEY (target, node_id);

ALTER TABLE ONLY public.notice
    ADD CONSTRAINT notice_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.run_history
    ADD CONSTRAINT run_history_pkey PRIMARY KEY (scheduled_at, id);

ALTER TABLE ONLY public.run_history_rest
    ADD CONSTRAINT run_history_rest_pkey PRIMARY KEY (scheduled_at, id);

ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.swarm_node
    ADD CONSTRAINT swarm_node_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.task_cursor
    ADD CONSTRAINT task_cursor_pkey PRIMARY KEY (task_id);

ALTER TABLE ONLY public.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.task_version
    ADD CONSTRAINT task_version_pkey PRIMARY KEY (task_id, version);

CREATE UNIQUE INDEX access_token_name ON public.access_token USING btree (name) WHERE (revoked_at IS NULL);

CREATE INDEX delivery_due ON public.delivery USING btree (due_at);

CREATE INDEX delivery_of_channel ON public.delivery USING btree (channel_id, due_at) WHERE (NOT held);

CREATE INDEX delivery_order ON public.delivery USING btree (channel_id, run_id, serial);

CREATE INDEX delivery_task ON public.delivery USING btree (channel_id, task_id, serial);

CREATE INDEX log_chunk_order ON ONLY public.log_chunk USING btree (run_id, serial);

CREATE INDEX log_chunk_rest_run_id_serial_idx ON public.log_chunk_rest USING btree (run_id, serial);

CREATE INDEX node_target_node ON public.node_target USING btree (node_id);

CREATE INDEX run_claim ON public.run USING btree (weightless, claim_at, id) WHERE ((state = 'pending'::public.run_state) AND (claim_at IS NOT NULL));

CREATE UNIQUE INDEX run_group_slot ON public.run USING btree (group_name, group_slot) WHERE (group_slot IS NOT NULL);

CREATE INDEX run_history_id ON ONLY public.run_history USING btree (id);

CREATE INDEX run_history_not_ok ON ONLY public.run_history USING btree (scheduled_at) WHERE (state <> 'succeeded'::public.run_state);

CREATE INDEX run_history_rest_id_idx ON public.run_history_rest USING btree (id);

CREATE INDEX run_history_rest_scheduled_at_idx ON public.run_history_rest USING btree (scheduled_at) WHERE (state <> 'succeeded'::public.run_state);

CREATE INDEX run_history_task ON ONLY public.run_history USING btree (task_id, scheduled_at);

CREATE INDEX run_history_rest_task_id_scheduled_at_idx ON public.run_history_rest USING btree (task_id, scheduled_at);

CREATE INDEX run_node ON public.run USING btree (node_id) WHERE ((node_id IS NOT NULL) AND (state = ANY (ARRAY['assigned'::public.run_state, 'running'::public.run_state, 'unknown'::public.run_state])));

CREATE INDEX run_recall_node ON public.run USING btree (node_id) WHERE (recall IS NOT NULL);

CREATE UNIQUE INDEX run_slot ON public.run USING btree (task_id, pinned, slot) WHERE (slot IS NOT NULL);

CREATE INDEX run_task ON public.run USING btree (task_id, scheduled_at);

CREATE INDEX run_unknown ON public.run USING btree (unknown_at, id) WHERE (state = 'unknown'::public.run_state);

CREATE INDEX run_waiting ON public.run USING btree (task_id, scheduled_at) WHERE ((state = 'pending'::public.run_state) AND (claim_at IS NULL));

CREATE INDEX task_cursor_due ON public.task_cursor USING btree (next_due_at) WHERE (next_due_at IS NOT NULL);

CREATE INDEX task_cursor_visit ON public.task_cursor USING btree (visit_at) WHERE (visit_at IS NOT NULL);

CREATE INDEX task_labels ON public.task USING gin (labels jsonb_path_ops) WHERE (deleted_at IS NULL);

CREATE UNIQUE INDEX task_name ON public.task USING btree (name) WHERE (deleted_at IS NULL);

ALTER INDEX public.log_chunk_pkey ATTACH PARTITION public.log_chunk_rest_pkey;

ALTER INDEX public.log_chunk_order ATTACH PARTITION public.log_chunk_rest_run_id_serial_idx;

ALTER INDEX public.run_history_id ATTACH PARTITION public.run_history_rest_id_idx;

ALTER INDEX public.run_history_pkey ATTACH PARTITION public.run_history_rest_pkey;

ALTER INDEX public.run_history_not_ok ATTACH PARTITION public.run_history_rest_scheduled_at_idx;

ALTER INDEX public.run_history_task ATTACH PARTITION public.run_history_rest_task_id_scheduled_at_idx;

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES public.channel(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.node_target
    ADD CONSTRAINT node_target_node_id_fkey FOREIGN KEY (node_id) REFERENCES public.node(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.task_cursor
    ADD CONSTRAINT task_cursor_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.task(id);

ALTER TABLE ONLY public.task_version
    ADD CONSTRAINT task_version_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.task(id);
