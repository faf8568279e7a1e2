-- 0017: see ../0017_threads.sql.

ALTER TABLE conversations ADD COLUMN active_at DOUBLE PRECISION;
ALTER TABLE conversations ADD COLUMN answered_at DOUBLE PRECISION;
ALTER TABLE conversations ADD COLUMN read_at DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN on_top BIGINT NOT NULL DEFAULT 0 CHECK (on_top IN (0, 1));
ALTER TABLE conversations ADD COLUMN archived BIGINT NOT NULL DEFAULT 0 CHECK (archived IN (0, 1));
ALTER TABLE conversations ADD COLUMN deleted_at DOUBLE PRECISION;

UPDATE conversations SET active_at = updated_at
    WHERE EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id);
-- What was answered before there were marks counts as read.
UPDATE conversations SET answered_at = updated_at, read_at = updated_at
    WHERE EXISTS (SELECT 1 FROM turns
        WHERE conversation_id = conversations.id AND outcome IS NOT NULL);

-- One list, pinned ones first, newest first; its columns are the cursor of a page.
CREATE INDEX conversations_listed
    ON conversations (platform, workspace, channel, archived, on_top, active_at, uid)
    WHERE deleted_at IS NULL AND active_at IS NOT NULL;
CREATE INDEX conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
