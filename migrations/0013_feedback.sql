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
