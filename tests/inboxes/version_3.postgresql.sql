CREATE TABLE public.file (
    id bigint NOT NULL,
    folder_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    visit bigint NOT NULL,
    arm text,
    spectrograph integer,
    size bigint NOT NULL,
    mtime_ns text NOT NULL,
    inode text NOT NULL,
    night text NOT NULL COLLATE pg_catalog."C",
    steady_since bigint NOT NULL,
    first_seen bigint NOT NULL,
    updated bigint NOT NULL,
    live boolean NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    not_before bigint,
    code text,
    error text,
    dataset_id text,
    changed text,
    cameras text
);
CREATE SEQUENCE public.file_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.file_id_seq OWNED BY public.file.id;
CREATE TABLE public.folder (
    id bigint NOT NULL,
    path text NOT NULL COLLATE pg_catalog."C",
    mtime_ns text,
    settled boolean
);
CREATE SEQUENCE public.folder_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.folder_id_seq OWNED BY public.folder.id;
CREATE TABLE public.history (
    id bigint NOT NULL,
    file_id bigint NOT NULL,
    event text NOT NULL,
    at bigint NOT NULL,
    last bigint NOT NULL,
    times integer NOT NULL,
    attempt integer NOT NULL,
    size bigint NOT NULL,
    code text,
    reason text
);
CREATE SEQUENCE public.history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.history_id_seq OWNED BY public.history.id;
CREATE TABLE public.inbox_version (
    version integer NOT NULL
);
CREATE TABLE public.operator_order (
    number bigint NOT NULL,
    what text NOT NULL,
    by text NOT NULL,
    at bigint NOT NULL,
    reason text NOT NULL,
    paths text NOT NULL
);
CREATE SEQUENCE public.operator_order_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.operator_order_number_seq OWNED BY public.operator_order.number;
CREATE TABLE public.tally (
    state text NOT NULL,
    files bigint NOT NULL
);
CREATE TABLE public.visit (
    number bigint NOT NULL,
    completed bigint NOT NULL
);
ALTER TABLE ONLY public.file ALTER COLUMN id SET DEFAULT nextval('public.file_id_seq'::regclass);
ALTER TABLE ONLY public.folder ALTER COLUMN id SET DEFAULT nextval('public.folder_id_seq'::regclass);
ALTER TABLE ONLY public.history ALTER COLUMN id SET DEFAULT nextval('public.history_id_seq'::regclass);
ALTER TABLE ONLY public.operator_order ALTER COLUMN number SET DEFAULT nextval('public.operator_order_number_seq'::regclass);
INSERT INTO public.file VALUES (1, 1, 'PFSA00100011.fits', 'raw', 1000, 'b', 1, 11500000, '1795323600123456789', '4711', '2026-11-22', 1795323600123456, 1795323600123456, 1795323600123456, false, 'seen', 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.file VALUES (2, 2, 'pfsConfig-0x7fffffffffffffff-001001.fits', 'pfsConfig', 1001, NULL, NULL, 0, '-1', '18446744073709551615', '9999-12-31', 1795323597123456, 1795323598123456, 1795323599123456, true, 'rejected', 7, 1795323601123456, 'conflict', 'schräg; ''quoted'' "twice"
and a second line', 'c0ffee00-0000-5000-8000-000000000000', 'size 1 -> 2', 'b1,m4');
INSERT INTO public.file VALUES (3, 1, 'claimed.fits', 'raw', 1000, 'b', 1, 11500000, '1795323600123456789', '4711', '2026-11-22', 1795323600123456, 1795323600123456, 1795323600123456, false, 'ingesting', 2, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.folder VALUES (2, '/data/raw/2026-11-22/pfsConfig', NULL, NULL);
INSERT INTO public.folder VALUES (1, '/data/raw/2026-11-22/sps', '1', true);
INSERT INTO public.history VALUES (1, 1, 'postponed', 1795323600123456, 1795323601123456, 2, 1, 11500000, 'busy', 'is busy; ''quoted'' schräg (wait)');
INSERT INTO public.inbox_version VALUES (3);
INSERT INTO public.tally VALUES ('ready', 0);
INSERT INTO public.tally VALUES ('waiting', 0);
INSERT INTO public.tally VALUES ('ingested', 0);
INSERT INTO public.tally VALUES ('orphaned', 0);
INSERT INTO public.tally VALUES ('skipped', 0);
INSERT INTO public.tally VALUES ('gone', 0);
INSERT INTO public.tally VALUES ('ingesting', 1);
INSERT INTO public.tally VALUES ('rejected', 1);
INSERT INTO public.tally VALUES ('seen', 1);
INSERT INTO public.visit VALUES (999, 1795323600123456);
SELECT pg_catalog.setval('public.file_id_seq', 3, true);
SELECT pg_catalog.setval('public.folder_id_seq', 2, true);
SELECT pg_catalog.setval('public.history_id_seq', 1, true);
SELECT pg_catalog.setval('public.operator_order_number_seq', 1, false);
ALTER TABLE ONLY public.file
    ADD CONSTRAINT file_folder_id_name_key UNIQUE (folder_id, name);
ALTER TABLE ONLY public.file
    ADD CONSTRAINT file_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_path_key UNIQUE (path);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.history
    ADD CONSTRAINT history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.operator_order
    ADD CONSTRAINT operator_order_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.tally
    ADD CONSTRAINT tally_pkey PRIMARY KEY (state);
ALTER TABLE ONLY public.visit
    ADD CONSTRAINT visit_pkey PRIMARY KEY (number);
CREATE INDEX file_due ON public.file USING btree (state, live DESC, visit DESC, name, folder_id, not_before, size);
CREATE INDEX file_live ON public.file USING btree (state, live, steady_since, id) WHERE (live IS TRUE);
CREATE INDEX file_next_due ON public.file USING btree (state, COALESCE(not_before, updated));
CREATE INDEX file_night ON public.file USING btree (night, visit, kind);
CREATE INDEX file_oldest ON public.file USING btree (state, steady_since, id);
CREATE INDEX file_visit ON public.file USING btree (visit, kind, state);
CREATE INDEX history_file ON public.history USING btree (file_id, id);
ALTER TABLE ONLY public.file
    ADD CONSTRAINT file_folder_id_fkey FOREIGN KEY (folder_id) REFERENCES public.folder(id);
ALTER TABLE ONLY public.history
    ADD CONSTRAINT history_file_id_fkey FOREIGN KEY (file_id) REFERENCES public.file(id);
