-- 0017: a person's list of conversations.
--
-- Reason: the page lists conversations by their last activity, in an order that renaming or pinning
-- one does not change (`updated_at` would), and knows which answers its owner has not seen, on every
-- device. A deleted conversation disappears at once and is erased a few seconds later, so that its
-- owner can undo that. `pinned` was taken: it keeps a conversation from the age limit, which is not
-- its owner's to decide.

ALTER TABLE conversations ADD COLUMN active_at REAL;    -- its newest message or answer; NULL without
ALTER TABLE conversations ADD COLUMN answered_at REAL;  -- when its newest answer ended
ALTER TABLE conversations ADD COLUMN read_at REAL NOT NULL DEFAULT 0;  -- the owner saw answers until then
ALTER TABLE conversations ADD COLUMN on_top INTEGER NOT NULL DEFAULT 0 CHECK (on_top IN (0, 1));
ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1));
ALTER TABLE conversations ADD COLUMN deleted_at REAL;   -- hidden since then, and soon erased

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
