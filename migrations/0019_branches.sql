-- 0019: earlier versions of questions and answers, with everything that followed each.
--
-- Reason: on the page a person edits a question or asks for another answer, and the earlier one stays.
-- A version is named by an index of its conversation, which is given once: the question's, or the one
-- that was reserved for the answer. What is not shown is parked with such a version, and comes back
-- with it: no index changes, so what is shown is in order. Only bot/store/branches.py parks.

ALTER TABLE messages ADD COLUMN parked INTEGER;  -- the version that it is parked with; NULL: shown
ALTER TABLE messages ADD COLUMN place INTEGER;   -- the index of the first version of this question
ALTER TABLE turns ADD COLUMN parked INTEGER;     -- as its reply's
ALTER TABLE turns ADD COLUMN asks INTEGER;       -- the turn whose questions it answers again
ALTER TABLE turns ADD COLUMN wanted_model TEXT;  -- instead of the conversation's

-- A history must cost nothing for what is parked between its messages.
DROP INDEX messages_history;
CREATE INDEX messages_history ON messages (conversation_id, epoch, idx)
    WHERE idx IS NOT NULL AND erased_at IS NULL AND parked IS NULL;

-- The few that are parked, and the versions of one place.
CREATE INDEX messages_parked ON messages (conversation_id, parked) WHERE parked IS NOT NULL;
CREATE INDEX turns_parked ON turns (conversation_id, parked) WHERE parked IS NOT NULL;
CREATE INDEX messages_by_place ON messages (conversation_id, place) WHERE place IS NOT NULL;
CREATE INDEX turns_by_asked ON turns (asks) WHERE asks IS NOT NULL;
