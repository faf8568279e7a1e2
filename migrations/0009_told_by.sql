-- 0009: which turn's reply says that older messages are summarized.
--
-- Reason: a reply that is written again lost the sentence, because it had been said. Now deleting the
-- reply of that turn makes it due again, for the next attempt or the next turn.

ALTER TABLE context_windows ADD COLUMN told_by INTEGER;  -- the turn; NULL before this migration
