-- 0023: what the bot has yet to remove from a platform.
--
-- Reason: a surplus page, a file or a status that a platform did not remove when the reply ended was
-- only known to the process that tried. If that died, "This part was removed." or "is thinking…"
-- stayed. A row is written only after such a failure, before the turn ends, and whichever process
-- runs then goes on. It goes with the conversation.

CREATE TABLE leftovers (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    kind            TEXT NOT NULL CHECK (kind IN ('message', 'file', 'status', 'thread')),
    channel         TEXT NOT NULL,
    name            TEXT NOT NULL,  -- the id of the message, file or thread
    created_at      REAL NOT NULL,
    PRIMARY KEY (conversation_id, kind, channel, name)
) STRICT, WITHOUT ROWID;
