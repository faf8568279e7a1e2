-- 0013: what people think of an answer.
--
-- Reason: one vote a person and reply, which they may change, with what the answer was made from, so
-- that another model or prompt can be compared with it later. It goes with the turn.

CREATE TABLE feedback (
    turn_id    INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    person     TEXT    NOT NULL,
    vote       TEXT    NOT NULL CHECK (vote IN ('up', 'down')),
    comment    TEXT    NOT NULL DEFAULT '',
    created_at REAL    NOT NULL,
    updated_at REAL    NOT NULL,
    PRIMARY KEY (turn_id, person)
) STRICT, WITHOUT ROWID;
CREATE INDEX feedback_by_time ON feedback (updated_at);
CREATE INDEX feedback_by_person ON feedback (person);

-- What the newest request of a turn was made with; NULL before 0013, and if no model was asked.
ALTER TABLE turns ADD COLUMN profile TEXT;           -- the name of the rules' profile; '' is none
ALTER TABLE turns ADD COLUMN prompt_digest TEXT;     -- of the system prompt
ALTER TABLE turns ADD COLUMN context_start INTEGER;  -- the index of its first message
CREATE INDEX turns_by_end ON turns (concluded_at) WHERE concluded_at IS NOT NULL;
