-- 0020: a thread's own settings, a person's default model, and read-only links.
--
-- Reason: instructions are what a person wrote, so they go with the conversation, and with retention by
-- the time they were written. A link shows the messages that were there when it was made or last updated:
-- it has their ids and no text of its own, so that whatever erases a message erases it there, too.

ALTER TABLE conversations ADD COLUMN instructions TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN instructions_at REAL;  -- when they were written
ALTER TABLE conversations ADD COLUMN temperature REAL CHECK (temperature >= 0 AND temperature <= 2);

CREATE TABLE personal_defaults (
    platform TEXT NOT NULL,
    person   TEXT NOT NULL,
    model    TEXT NOT NULL,      -- for the person's new conversations, while it is offered
    set_at   REAL NOT NULL,
    PRIMARY KEY (platform, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE shares (
    id              INTEGER PRIMARY KEY,
    uid             TEXT    NOT NULL UNIQUE,  -- 256 random bits: the address
    conversation_id INTEGER NOT NULL UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
    shared_by       TEXT    NOT NULL,         -- the person's id
    messages        INTEGER NOT NULL,         -- how many there were at shared_at
    created_at      REAL    NOT NULL,
    shared_at       REAL    NOT NULL          -- when it was made or last updated
) STRICT;
CREATE INDEX shares_by_person ON shares (shared_by);

CREATE TABLE share_messages (
    share_id   INTEGER NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    PRIMARY KEY (share_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX share_messages_by_message ON share_messages (message_id);
