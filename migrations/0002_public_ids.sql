-- 0002: ids that may leave the house, and the lists that the HTTP API reads.
--
-- Reason: a conversation's number tells how many there are, and can be guessed; what programs and
-- links carry is a random UUID (version 4, lower case). The triggers give every row its own,
-- whichever transition inserts it; where a row brings one, that one counts.

ALTER TABLE conversations ADD COLUMN uid TEXT;
ALTER TABLE messages ADD COLUMN uid TEXT;

UPDATE conversations SET uid =
    lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2)))
    || '-4' || substr(lower(hex(randomblob(2))), 2)
    || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
    || '-' || lower(hex(randomblob(6)));
UPDATE messages SET uid =
    lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2)))
    || '-4' || substr(lower(hex(randomblob(2))), 2)
    || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
    || '-' || lower(hex(randomblob(6)));

CREATE UNIQUE INDEX conversations_by_uid ON conversations (uid);
CREATE UNIQUE INDEX messages_by_uid ON messages (uid);

CREATE TRIGGER conversations_uid AFTER INSERT ON conversations WHEN NEW.uid IS NULL
BEGIN
    UPDATE conversations SET uid =
        lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2)))
        || '-4' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
        || '-' || lower(hex(randomblob(6)))
    WHERE id = NEW.id;
END;

CREATE TRIGGER messages_uid AFTER INSERT ON messages WHEN NEW.uid IS NULL
BEGIN
    UPDATE messages SET uid =
        lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2)))
        || '-4' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
        || '-' || lower(hex(randomblob(6)))
    WHERE id = NEW.id;
END;

-- Lists in the order of creation (a row's number follows each key of an index): all of a person's
-- conversations, those of one channel, and those that administrators may read.
CREATE INDEX conversations_by_owner ON conversations (platform, workspace);
CREATE INDEX conversations_by_channel ON conversations (platform, workspace, channel);
CREATE INDEX conversations_public ON conversations (platform) WHERE visibility = 'public';
