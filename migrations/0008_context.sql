-- 0008: what the model gets of a conversation, and what the provider counted.
--
-- Reason: requests keep the same beginning for many turns, so that the provider's prompt cache hits.
-- So the position of the window is stored, and so is the summary of what is no longer in it. A
-- summary must not outlive the text that it repeats: triggers erase it with its first source.

ALTER TABLE turns ADD COLUMN cached_tokens INTEGER;       -- part of input_tokens
ALTER TABLE turns ADD COLUMN cache_write_tokens INTEGER;  -- part of input_tokens
ALTER TABLE turns ADD COLUMN reasoning_tokens INTEGER;    -- part of output_tokens
ALTER TABLE turns ADD COLUMN estimated_tokens INTEGER;    -- our estimate of input_tokens

-- The newest counts of a model, and those of one conversation.
CREATE INDEX turns_counted ON turns (model, id)
    WHERE estimated_tokens IS NOT NULL AND input_tokens IS NOT NULL;
CREATE INDEX turns_counted_here ON turns (conversation_id, model, id)
    WHERE estimated_tokens IS NOT NULL AND input_tokens IS NOT NULL;
CREATE INDEX turns_with_usage ON turns (conversation_id, epoch, id) WHERE input_tokens IS NOT NULL;

ALTER TABLE conversations ADD COLUMN effort TEXT CHECK (effort IN ('low', 'medium', 'high'));

-- Whether several people may speak: their messages then carry their names from the first one on.
ALTER TABLE conversations ADD COLUMN shared INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1));
UPDATE conversations SET shared = 1 WHERE (
    SELECT count(DISTINCT author_id) FROM messages WHERE conversation_id = conversations.id
) > 1;

-- Raised whenever a message that a request may have contained changes, so that a summary of its old
-- text is not saved.
ALTER TABLE conversations ADD COLUMN context_revision INTEGER NOT NULL DEFAULT 0;

-- One row for each epoch whose window has moved: undoing a reset needs the older epoch's.
CREATE TABLE context_windows (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    start_idx       INTEGER NOT NULL DEFAULT 0 CHECK (start_idx >= 0),
    stubs_before    INTEGER NOT NULL DEFAULT 0 CHECK (stubs_before >= 0),
    told            INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),
    PRIMARY KEY (conversation_id, epoch)
) STRICT, WITHOUT ROWID;

-- Covers the messages of the epoch with an idx below before_idx.
CREATE TABLE summaries (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    before_idx      INTEGER NOT NULL CHECK (before_idx >= 0),
    text            TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    created_at      REAL    NOT NULL,
    PRIMARY KEY (conversation_id, epoch)
) STRICT;

CREATE TRIGGER messages_revise AFTER UPDATE OF content, role, erased_at ON messages
WHEN OLD.idx IS NOT NULL AND (
    OLD.content IS NOT NEW.content OR OLD.role IS NOT NEW.role
    OR OLD.erased_at IS NOT NEW.erased_at
)
BEGIN
    UPDATE conversations SET context_revision = context_revision + 1
        WHERE id = OLD.conversation_id;
    DELETE FROM summaries WHERE conversation_id = OLD.conversation_id AND epoch = OLD.epoch
        AND before_idx > OLD.idx;
END;

CREATE TRIGGER messages_remove AFTER DELETE ON messages WHEN OLD.idx IS NOT NULL
BEGIN
    UPDATE conversations SET context_revision = context_revision + 1
        WHERE id = OLD.conversation_id;
    DELETE FROM summaries WHERE conversation_id = OLD.conversation_id AND epoch = OLD.epoch
        AND before_idx > OLD.idx;
END;

-- A reply gets the index that was reserved for it: newer messages may have theirs already.
CREATE TRIGGER messages_between AFTER INSERT ON messages
WHEN NEW.idx IS NOT NULL AND EXISTS (
    SELECT 1 FROM messages WHERE conversation_id = NEW.conversation_id AND idx > NEW.idx
)
BEGIN
    UPDATE conversations SET context_revision = context_revision + 1
        WHERE id = NEW.conversation_id;
    DELETE FROM summaries WHERE conversation_id = NEW.conversation_id AND epoch = NEW.epoch
        AND before_idx > NEW.idx;
END;

-- People replace a message's files by editing it.
CREATE TRIGGER attachments_add AFTER INSERT ON attachments
WHEN (SELECT idx FROM messages WHERE id = NEW.message_id) IS NOT NULL
BEGIN
    UPDATE conversations SET context_revision = context_revision + 1
        WHERE id = (SELECT conversation_id FROM messages WHERE id = NEW.message_id);
    DELETE FROM summaries
        WHERE (conversation_id, epoch) = (
            SELECT conversation_id, epoch FROM messages WHERE id = NEW.message_id
        )
        AND before_idx > (SELECT idx FROM messages WHERE id = NEW.message_id);
END;

CREATE TRIGGER attachments_remove AFTER DELETE ON attachments
WHEN (SELECT idx FROM messages WHERE id = OLD.message_id) IS NOT NULL
BEGIN
    UPDATE conversations SET context_revision = context_revision + 1
        WHERE id = (SELECT conversation_id FROM messages WHERE id = OLD.message_id);
    DELETE FROM summaries
        WHERE (conversation_id, epoch) = (
            SELECT conversation_id, epoch FROM messages WHERE id = OLD.message_id
        )
        AND before_idx > (SELECT idx FROM messages WHERE id = OLD.message_id);
END;
