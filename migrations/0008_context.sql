-- 0008: what the model gets of a conversation, and what the provider counted.
--
-- Reason: requests keep the same beginning for many turns, so that the provider's prompt cache hits.
-- So the position of the window is stored, and so is the summary of what is no longer in it. A
-- summary must not outlive the text that it repeats: triggers erase it with its first source.

ALTER TABLE turns ADD COLUMN cached_tokens INTEGER;       -- part of input_tokens
ALTER TABLE turns ADD COLUMN cache_write_tokens INTEGER;  -- part of input_tokens
ALTER TABLE turns ADD COLUMN reasoning_tokens INTEGER;    -- part of output_tokens
ALTER TABLE turns ADD COLUMN estimated_tokens INTEGER;    -- our estimate of input_tokens

-- The newest counts of a model.
CREATE INDEX turns_counted ON turns (model, id)
    WHERE estimated_tokens IS NOT NULL AND input_tokens IS NOT NULL;

ALTER TABLE conversations ADD COLUMN effort TEXT CHECK (effort IN ('low', 'medium', 'high'));

-- Whether several people may speak: their messages then carry their names from the first one on.
ALTER TABLE conversations ADD COLUMN shared INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1));
UPDATE conversations SET shared = 1 WHERE (
    SELECT count(DISTINCT author_id) FROM messages WHERE conversation_id = conversations.id
) > 1;

CREATE TABLE context_windows (
    conversation_id INTEGER PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    start_idx       INTEGER NOT NULL DEFAULT 0 CHECK (start_idx >= 0),
    stubs_before    INTEGER NOT NULL DEFAULT 0 CHECK (stubs_before >= 0),
    told            INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),
    revision        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Covers the messages of the epoch with an idx below before_idx.
CREATE TABLE summaries (
    conversation_id INTEGER PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    before_idx      INTEGER NOT NULL CHECK (before_idx >= 0),
    text            TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    created_at      REAL    NOT NULL
) STRICT;

CREATE TRIGGER messages_revise AFTER UPDATE OF content, erased_at ON messages
WHEN OLD.idx IS NOT NULL AND (OLD.content IS NOT NEW.content OR OLD.erased_at IS NOT NEW.erased_at)
BEGIN
    UPDATE context_windows SET revision = revision + 1
        WHERE conversation_id = OLD.conversation_id;
    DELETE FROM summaries WHERE conversation_id = OLD.conversation_id AND before_idx > OLD.idx;
END;

CREATE TRIGGER messages_remove AFTER DELETE ON messages WHEN OLD.idx IS NOT NULL
BEGIN
    UPDATE context_windows SET revision = revision + 1
        WHERE conversation_id = OLD.conversation_id;
    DELETE FROM summaries WHERE conversation_id = OLD.conversation_id AND before_idx > OLD.idx;
END;

CREATE TRIGGER attachments_remove AFTER DELETE ON attachments
BEGIN
    UPDATE context_windows SET revision = revision + 1
        WHERE conversation_id = (SELECT conversation_id FROM messages WHERE id = OLD.message_id);
    DELETE FROM summaries WHERE EXISTS (
        SELECT 1 FROM messages WHERE id = OLD.message_id AND idx IS NOT NULL
        AND messages.conversation_id = summaries.conversation_id AND before_idx > idx
    );
END;
