-- 0010: what administrators set by command, who was refused, and the audit.
--
-- Reason: a value that an administrator set for a channel must outlive a restart, and whoever runs the
-- bot must be able to see who set it. Refused people are told once a day, also across restarts. A
-- question whose author may no longer ask stays stored, but no request contains it.

CREATE TABLE policy_overrides (
    platform  TEXT NOT NULL,
    workspace TEXT NOT NULL,
    channel   TEXT NOT NULL,
    name      TEXT NOT NULL CHECK (name IN ('model', 'effort', 'prompt', 'answers', 'controls')),
    value     TEXT NOT NULL,
    set_by    TEXT NOT NULL,      -- the person's id
    set_by_name TEXT NOT NULL,
    set_at    REAL NOT NULL,
    PRIMARY KEY (platform, workspace, channel, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals_told (
    platform  TEXT NOT NULL,
    workspace TEXT NOT NULL,
    person    TEXT NOT NULL,
    told_at   REAL NOT NULL,
    PRIMARY KEY (platform, workspace, person)
) STRICT, WITHOUT ROWID;

ALTER TABLE messages ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0 CHECK (withheld IN (0, 1));

-- Append-only: triggers refuse changes. Erasing a person replaces their id (see 0012).
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,      -- Unix seconds
    action    TEXT NOT NULL,      -- such as 'policy.set', 'access.refused', 'conversation.read'
    platform  TEXT NOT NULL,
    workspace TEXT NOT NULL,
    channel   TEXT NOT NULL,
    actor     TEXT NOT NULL,      -- a person's id; '' is the bot itself
    details   TEXT NOT NULL CHECK (json_valid(details))
) STRICT;
CREATE INDEX audit_by_actor ON audit (platform, workspace, actor);
CREATE INDEX audit_by_time ON audit (at);
