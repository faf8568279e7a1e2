-- 0025: leftovers outlive their conversation, and a deletion has a last moment.
--
-- Reason: a leftover went with its conversation, so a message that a platform did not remove stayed
-- visible when the conversation was erased. Its row now stays until it is removed, a day at most, with
-- nothing but its address. `hidden_at` is when the owner deleted a conversation: `deleted_at` moves
-- while "Undo" is looked at, and must not do that for ever.

ALTER TABLE conversations ADD COLUMN hidden_at REAL;
UPDATE conversations SET hidden_at = deleted_at WHERE deleted_at IS NOT NULL;

ALTER TABLE leftovers RENAME TO leftovers_before;
CREATE TABLE leftovers (
    conversation_id INTEGER REFERENCES conversations (id),  -- NULL once that is erased
    kind            TEXT NOT NULL CHECK (kind IN ('message', 'file', 'status', 'thread')),
    channel         TEXT NOT NULL,
    name            TEXT NOT NULL,  -- the id of the message, file or thread
    created_at      REAL NOT NULL,
    platform        TEXT,           -- these two once the conversation is erased
    workspace       TEXT,
    UNIQUE (conversation_id, kind, channel, name)
) STRICT;
INSERT INTO leftovers (conversation_id, kind, channel, name, created_at)
    SELECT conversation_id, kind, channel, name, created_at FROM leftovers_before;
DROP TABLE leftovers_before;

CREATE TRIGGER conversations_leftovers BEFORE DELETE ON conversations
BEGIN
    UPDATE leftovers SET platform = OLD.platform, workspace = OLD.workspace, conversation_id = NULL
        WHERE conversation_id = OLD.id;
END;
