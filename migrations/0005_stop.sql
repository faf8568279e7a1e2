-- 0005: a stop that outlives the process.
--
-- Reason: whoever pressed Stop was told so; a process that died before the turn was concluded asked the
-- model again, and wrote the answer that nobody wanted. The mark is set in the transaction that
-- records the command, counts for the attempts until the turn is opened again, and means nothing once the
-- turn was concluded.

ALTER TABLE turns ADD COLUMN stopping INTEGER NOT NULL DEFAULT 0 CHECK (stopping IN (0, 1));
