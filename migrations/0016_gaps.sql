-- 0016: times in which a process may have lost events, where several share one PostgreSQL.
--
-- Reason: Slack gives each event to any process, and watermarks follow one of them. A process that
-- dies between an event and its transaction leaves no trace of the message, and the watermark passes
-- it. What was written in such a time is therefore read again; a row stays until it has been, so that
-- this survives the process that reads. Times are the database's (Unix seconds). Empty on SQLite.

CREATE TABLE gaps (
    id         TEXT PRIMARY KEY,
    since      REAL NOT NULL,
    settles_at REAL NOT NULL -- until then the platform may still give events to what seems dead
) STRICT, WITHOUT ROWID;

-- Which reader (a platform's, or a workspace's) has read a gap after it had settled.
CREATE TABLE gap_reads (
    gap    TEXT NOT NULL REFERENCES gaps (id) ON DELETE CASCADE,
    reader TEXT NOT NULL,
    PRIMARY KEY (gap, reader)
) STRICT, WITHOUT ROWID;
