-- 0014: which process holds what, where several share one PostgreSQL.
--
-- Reason: a turn, and what else only one process may do at a time, belongs to the process that holds
-- its lease; one that renews it no more, for whatever reason, loses it. `holder` is a process's id,
-- new with each start. Times of leases are the database's (Unix seconds), so that the clocks of the
-- machines do not matter. On SQLite one process has everything, and all of this stays empty.

ALTER TABLE turns ADD COLUMN holder TEXT;
ALTER TABLE turns ADD COLUMN lease_until REAL;
-- Not over lease_until: a renewal then changes no index.
CREATE INDEX turns_by_holder ON turns (holder) WHERE holder IS NOT NULL AND state <> 'done';

-- What a request to a model reserved is settled by estimate once its process has died.
ALTER TABLE model_requests ADD COLUMN holder TEXT;
-- Two processes must not download the same file.
ALTER TABLE attachments ADD COLUMN holder TEXT;

-- The processes that live.
CREATE TABLE members (
    id          TEXT PRIMARY KEY,
    started_at  REAL NOT NULL,
    lease_until REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- What else a process holds, by kind and name: shards, daily jobs, a place in a group.
CREATE TABLE leases (
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until REAL NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
