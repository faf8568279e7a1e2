-- 0019: see ../0019_branches.sql.

ALTER TABLE messages ADD COLUMN parked BIGINT;
ALTER TABLE messages ADD COLUMN place BIGINT;
ALTER TABLE turns ADD COLUMN parked BIGINT;
ALTER TABLE turns ADD COLUMN asks BIGINT;
ALTER TABLE turns ADD COLUMN wanted_model TEXT COLLATE "C";

DROP INDEX messages_history;
CREATE INDEX messages_history ON messages (conversation_id, epoch, idx)
    WHERE idx IS NOT NULL AND erased_at IS NULL AND parked IS NULL;

CREATE INDEX messages_parked ON messages (conversation_id, parked) WHERE parked IS NOT NULL;
CREATE INDEX turns_parked ON turns (conversation_id, parked) WHERE parked IS NOT NULL;
CREATE INDEX messages_by_place ON messages (conversation_id, place) WHERE place IS NOT NULL;
CREATE INDEX turns_by_asked ON turns (asks) WHERE asks IS NOT NULL;
