-- 0004: how far each place was decided, so that a start knows what it missed.
--
-- Reason: Discord acknowledges nothing, and Slack delivers again for minutes only. A watermark is
-- the position (as messages.position) up to which every message of a channel was accepted or
-- decided to be nothing; the row with an empty channel counts for all channels of the workspace
-- that have no higher one of their own. A watermark never goes back.

CREATE TABLE watermarks (
    platform  TEXT    NOT NULL,
    workspace TEXT    NOT NULL,
    channel   TEXT    NOT NULL,  -- the platform's own (a thread that is a channel is one); or ''
    position  INTEGER NOT NULL,
    PRIMARY KEY (platform, workspace, channel)
) STRICT, WITHOUT ROWID;

-- A question that was found too long after it was asked: it is history, with an apology.
ALTER TABLE messages ADD COLUMN late INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1));

-- Where people talked lately: the places that a start looks at.
CREATE INDEX conversations_by_activity ON conversations (platform, updated_at);
