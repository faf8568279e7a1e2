-- 0003: what people do with what was said: try again, edit, delete.
--
-- Reason: a turn may be opened again, as often as somebody asks for it, while a turn that keeps
-- dying is given up after a few attempts: `opened` is the attempt after which they are counted. A
-- message may be deleted before it arrives here: its tombstone keeps it out when it does. And a
-- reply that goes with its question is a concluded turn with nothing to show; as an older one may
-- do so while the newest turn runs, it no longer counts among those of which there is one only.

ALTER TABLE turns ADD COLUMN opened INTEGER NOT NULL DEFAULT 0 CHECK (opened >= 0);

DROP INDEX turns_held;
CREATE UNIQUE INDEX turns_held ON turns (conversation_id)
    WHERE state = 'running' OR (state = 'concluded' AND display <> '');

-- Sources of deleted messages that were not stored. Bounded by age (see bot/store/changes.py).
CREATE TABLE tombstones (
    source    TEXT PRIMARY KEY,
    erased_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_age ON tombstones (erased_at);
