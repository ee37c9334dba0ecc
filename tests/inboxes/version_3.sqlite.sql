PRAGMA application_id = 1346786153;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE file (
	id INTEGER NOT NULL, 
	folder_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	visit BIGINT NOT NULL, 
	arm TEXT, 
	spectrograph INTEGER, 
	size BIGINT NOT NULL, 
	mtime_ns TEXT NOT NULL, 
	inode TEXT NOT NULL, 
	night TEXT NOT NULL, 
	steady_since BIGINT NOT NULL, 
	first_seen BIGINT NOT NULL, 
	updated BIGINT NOT NULL, 
	live BOOLEAN NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	not_before BIGINT, 
	code TEXT, 
	error TEXT, 
	dataset_id TEXT, 
	changed TEXT, 
	cameras TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (folder_id, name), 
	FOREIGN KEY(folder_id) REFERENCES folder (id)
);
INSERT INTO "file" VALUES(1,1,'PFSA00100011.fits','raw',1000,'b',1,11500000,'1795323600123456789','4711','2026-11-22',1795323600123456,1795323600123456,1795323600123456,0,'seen',0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "file" VALUES(2,2,'pfsConfig-0x7fffffffffffffff-001001.fits','pfsConfig',1001,NULL,NULL,0,'-1','18446744073709551615','9999-12-31',1795323597123456,1795323598123456,1795323599123456,1,'rejected',7,1795323601123456,'conflict','schräg; ''quoted'' "twice"
and a second line','c0ffee00-0000-5000-8000-000000000000','size 1 -> 2','b1,m4');
INSERT INTO "file" VALUES(3,1,'claimed.fits','raw',1000,'b',1,11500000,'1795323600123456789','4711','2026-11-22',1795323600123456,1795323600123456,1795323600123456,0,'ingesting',2,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE folder (
	id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	mtime_ns TEXT, 
	settled BOOLEAN, 
	PRIMARY KEY (id), 
	UNIQUE (path)
);
INSERT INTO "folder" VALUES(1,'/data/raw/2026-11-22/sps','1',1);
INSERT INTO "folder" VALUES(2,'/data/raw/2026-11-22/pfsConfig',NULL,NULL);
CREATE TABLE history (
	id INTEGER NOT NULL, 
	file_id INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	last BIGINT NOT NULL, 
	times INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	size BIGINT NOT NULL, 
	code TEXT, 
	reason TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(file_id) REFERENCES file (id)
);
INSERT INTO "history" VALUES(1,1,'postponed',1795323600123456,1795323601123456,2,1,11500000,'busy','is busy; ''quoted'' schräg (wait)');
CREATE TABLE inbox_version (
	version INTEGER NOT NULL
);
INSERT INTO "inbox_version" VALUES(3);
CREATE TABLE operator_order (
                number INTEGER NOT NULL,
                what TEXT NOT NULL,
                "by" TEXT NOT NULL,
                at BIGINT NOT NULL,
                reason TEXT NOT NULL,
                paths TEXT NOT NULL,
                PRIMARY KEY (number)
            );
CREATE TABLE tally (
	state TEXT NOT NULL, 
	files BIGINT NOT NULL, 
	PRIMARY KEY (state)
);
INSERT INTO "tally" VALUES('seen',1);
INSERT INTO "tally" VALUES('ready',0);
INSERT INTO "tally" VALUES('ingesting',1);
INSERT INTO "tally" VALUES('waiting',0);
INSERT INTO "tally" VALUES('ingested',0);
INSERT INTO "tally" VALUES('orphaned',0);
INSERT INTO "tally" VALUES('rejected',1);
INSERT INTO "tally" VALUES('skipped',0);
INSERT INTO "tally" VALUES('gone',0);
CREATE TABLE visit (
	number INTEGER NOT NULL, 
	completed BIGINT NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "visit" VALUES(999,1795323600123456);
CREATE INDEX file_live ON file (state, live, steady_since, id) WHERE live IS 1;
CREATE INDEX file_night ON file (night, visit, kind);
CREATE INDEX file_visit ON file (visit, kind, state);
CREATE INDEX file_next_due ON file (state, coalesce(not_before, updated));
CREATE INDEX file_oldest ON file (state, steady_since, id);
CREATE INDEX file_due ON file (state, live DESC, visit DESC, name, folder_id, not_before, size);
CREATE INDEX history_file ON history (file_id, id);
COMMIT;
