-- 0007: files and links of messages, their bytes, and what was read from them.
--
-- Reason: bytes are stored once, however often people send them, and apart from the rows that a
-- turn reads as history. `files` names them by digest (SHA-256), `chunks` has them in pieces, so
-- that writing or overwriting a large file does not keep other writes waiting, and `extracts` has
-- what a model gets of them, made once. Whatever deletes the last attachment of a file deletes the
-- file, too: the trigger also runs for deletions that cascade from messages and conversations.

CREATE TABLE files (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: see discarded_files
    digest     TEXT    NOT NULL UNIQUE,
    size       INTEGER NOT NULL CHECK (size >= 0),
    -- 1 while its chunks are written ahead of the first attachment: a start deletes what a dead
    -- process left. 0: complete, and an attachment has it.
    is_staged  INTEGER NOT NULL CHECK (is_staged IN (0, 1)),
    created_at REAL    NOT NULL
) STRICT;

CREATE INDEX files_staged ON files (digest) WHERE is_staged = 1;

-- Part 0 is the file, the others are images of its extract. No foreign key: they are deleted in
-- small transactions after their file.
CREATE TABLE chunks (
    file_id INTEGER NOT NULL,
    part    INTEGER NOT NULL CHECK (part >= 0),
    number  INTEGER NOT NULL CHECK (number >= 0),
    data    BLOB    NOT NULL,
    PRIMARY KEY (file_id, part, number)
) STRICT;

-- Deleted files whose chunks are still to be deleted.
CREATE TABLE discarded_files (
    file_id INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER files_discard AFTER DELETE ON files
BEGIN
    INSERT INTO discarded_files VALUES (OLD.id);
END;

CREATE TABLE attachments (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uid        TEXT    NOT NULL UNIQUE,     -- the public id: a random UUID
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number >= 0),
    identity   TEXT    NOT NULL,            -- what an edit recognizes it by
    name       TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    size       INTEGER CHECK (size >= 0),   -- in bytes, as the platform says; NULL if it does not
    locator    TEXT    NOT NULL CHECK (json_valid(locator)),
    transcript TEXT    NOT NULL,
    is_link    INTEGER NOT NULL CHECK (is_link IN (0, 1)),
    is_paste   INTEGER NOT NULL CHECK (is_paste IN (0, 1)),
    is_voice   INTEGER NOT NULL CHECK (is_voice IN (0, 1)),
    digest     TEXT    REFERENCES files (digest),  -- NULL until the bytes are stored
    state      TEXT    NOT NULL CHECK (state IN (
        'pending', 'ready', 'too_large', 'unreadable', 'refused', 'skipped', 'unavailable'
    )),
    omission   TEXT,
    created_at REAL    NOT NULL,
    UNIQUE (message_id, number),
    CHECK ((state IN ('pending', 'ready')) = (omission IS NULL)),
    CHECK (state <> 'ready' OR digest IS NOT NULL)
) STRICT;

-- What is left to download or to read.
CREATE INDEX attachments_pending ON attachments (id) WHERE state = 'pending';
CREATE INDEX attachments_by_digest ON attachments (digest) WHERE digest IS NOT NULL;

-- `version` is the extractor's: an extract of an older one is made again when it is needed.
CREATE TABLE extracts (
    digest     TEXT    PRIMARY KEY REFERENCES files (digest) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('text', 'document', 'image', 'audio')),
    media_type TEXT    NOT NULL,
    language   TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    date       TEXT    NOT NULL,
    notes      TEXT    NOT NULL CHECK (json_valid(notes)),
    text       TEXT    NOT NULL
) STRICT;

CREATE TABLE extract_images (
    digest     TEXT    NOT NULL REFERENCES extracts (digest) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number >= 0),
    part       INTEGER NOT NULL CHECK (part > 0),  -- of the file's chunks
    media_type TEXT    NOT NULL,
    width      INTEGER NOT NULL,
    height     INTEGER NOT NULL,
    label      TEXT    NOT NULL,
    PRIMARY KEY (digest, number)
) STRICT;

CREATE TRIGGER attachments_release AFTER DELETE ON attachments WHEN OLD.digest IS NOT NULL
BEGIN
    DELETE FROM files WHERE digest = OLD.digest
        AND NOT EXISTS (SELECT 1 FROM attachments WHERE digest = OLD.digest);
END;

CREATE TRIGGER attachments_replace AFTER UPDATE OF digest ON attachments
WHEN OLD.digest IS NOT NULL AND OLD.digest IS NOT NEW.digest
BEGIN
    DELETE FROM files WHERE digest = OLD.digest
        AND NOT EXISTS (SELECT 1 FROM attachments WHERE digest = OLD.digest);
END;

-- What older releases could not use is an attachment, too; they knew only its kind.
INSERT INTO attachments (
    uid, message_id, number, identity, name, media_type, size, locator, transcript,
    is_link, is_paste, is_voice, digest, state, omission, created_at
)
SELECT
    lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2)))
    || '-4' || substr(lower(hex(randomblob(2))), 2)
    || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
    || '-' || lower(hex(randomblob(6))),
    messages.id, kinds.key, kinds.value, kinds.value, '', NULL, '{}', '',
    0, 0, kinds.value = 'voice message', NULL, 'refused', 'unsupported', messages.created_at
FROM messages, json_each(messages.unusable) AS kinds
WHERE messages.unusable <> '[]' AND kinds.type = 'text'
ORDER BY messages.id, kinds.key;

UPDATE messages SET unusable = '[]' WHERE unusable <> '[]';
