-- 0012: retention and erasure.
--
-- Reason: whatever is erased must be found by an index, and pinned conversations are kept.

ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
CREATE INDEX conversations_by_age ON conversations (updated_at) WHERE pinned = 0;
