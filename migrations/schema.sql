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
    registered_at timestamp with time zone NOT NULL
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
    earlier_attempts jsonb
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='5000');

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

ALTER TABLE ONLY public.log_chunk
    ADD CONSTRAINT log_chunk_pkey PRIMARY KEY (run_id, attempt, stream, "offset", day);

ALTER TABLE ONLY public.log_chunk_rest
    ADD CONSTRAINT log_chunk_rest_pkey PRIMARY KEY (run_id, attempt, stream, "offset", day);

ALTER TABLE ONLY public.node
    ADD CONSTRAINT node_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.run_history
    ADD CONSTRAINT run_history_pkey PRIMARY KEY (scheduled_at, id);

ALTER TABLE ONLY public.run_history_rest
    ADD CONSTRAINT run_history_rest_pkey PRIMARY KEY (scheduled_at, id);

ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.task_cursor
    ADD CONSTRAINT task_cursor_pkey PRIMARY KEY (task_id);

ALTER TABLE ONLY public.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.task_version
    ADD CONSTRAINT task_version_pkey PRIMARY KEY (task_id, version);

CREATE INDEX log_chunk_order ON ONLY public.log_chunk USING btree (run_id, serial);

CREATE INDEX log_chunk_rest_run_id_serial_idx ON public.log_chunk_rest USING btree (run_id, serial);

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

CREATE UNIQUE INDEX run_slot ON public.run USING btree (task_id, slot) WHERE (slot IS NOT NULL);

CREATE INDEX run_task ON public.run USING btree (task_id, scheduled_at);

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

ALTER TABLE ONLY public.task_cursor
    ADD CONSTRAINT task_cursor_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.task(id);

ALTER TABLE ONLY public.task_version
    ADD CONSTRAINT task_version_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.task(id);
