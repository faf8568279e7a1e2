-- 0022: what of a thread was read again, where several processes share one PostgreSQL.
--
-- Reason: reading all threads again takes minutes at Slack's rates. Where processes died more often
-- than that, each one that took over began from nothing, and a lost reply waited for as long as they
-- died. A row says that everything between two positions was read and stored, so the next process
-- continues. Empty on SQLite.

CREATE TABLE thread_reads (
    platform  TEXT NOT NULL,
    workspace TEXT NOT NULL,
    channel   TEXT NOT NULL,  -- as in watermarks: of a thread "channel/ts"
    since     INTEGER NOT NULL,
    reached   INTEGER NOT NULL CHECK (reached >= since),
    read_at   REAL NOT NULL,  -- by the database's clock: rows of a day ago are dropped
    PRIMARY KEY (platform, workspace, channel)
) STRICT, WITHOUT ROWID;
