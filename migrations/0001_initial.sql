-- 0001: conversations, their messages, the turns that answer them, the pages that show the answers.
--
-- Reason: the first schema. What it promises by itself, whatever the code does:
--   * a platform message is stored once (messages.source);
--   * an index within a conversation is given once (messages_by_index), to a message or, as
--     turns.reply_idx, to a reply that is still being written;
--   * every question belongs to exactly one turn (the CHECK of messages.turn_id);
--   * a conversation has at most one waiting turn and at most one that is running or concluded.
-- Times are Unix seconds. Every read of the Store port is a look-up in one of the indexes below.

CREATE TABLE conversations (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: links may outlive it
    platform      TEXT    NOT NULL,
    workspace     TEXT    NOT NULL,
    channel       TEXT    NOT NULL,
    thread        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    model         TEXT,                               -- chosen by people; NULL is the default
    epoch         INTEGER NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    next_index    INTEGER NOT NULL DEFAULT 0 CHECK (next_index >= 0),
    visibility    TEXT    NOT NULL CHECK (visibility IN ('public', 'private')),
    began_by_id   TEXT,
    began_by_name TEXT,
    created_at    REAL    NOT NULL,
    updated_at    REAL    NOT NULL,
    UNIQUE (platform, workspace, channel, thread)
) STRICT;

-- The newest conversations of a channel.
CREATE INDEX conversations_by_place ON conversations (platform, workspace, channel, updated_at);

CREATE TABLE turns (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- platforms keep it: never given twice
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('waiting', 'running', 'concluded', 'done')),
    attempt         INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),  -- the fence
    reply_idx       INTEGER,
    outcome         TEXT CHECK (
        outcome IN ('answered', 'cut_off', 'failed', 'stopped', 'reset', 'gone')
    ),
    error           TEXT,     -- the class of a failure
    display         TEXT,     -- the whole reply as Markdown, with our own sentences
    content         TEXT,     -- what later requests to the model contain
    model           TEXT,
    finish_reason   TEXT,
    input_tokens    INTEGER,
    output_tokens   INTEGER,
    created_at      REAL    NOT NULL,
    claimed_at      REAL,     -- when the newest attempt began
    first_token_at  REAL,
    concluded_at    REAL,
    finished_at     REAL,
    CHECK (state <> 'waiting' OR attempt = 0),
    CHECK (state NOT IN ('running', 'concluded') OR (attempt > 0 AND reply_idx IS NOT NULL)),
    CHECK ((state IN ('concluded', 'done')) = (outcome IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX turns_waiting ON turns (conversation_id) WHERE state = 'waiting';
CREATE UNIQUE INDEX turns_held ON turns (conversation_id) WHERE state IN ('running', 'concluded');
-- What is left to do: small, however long the history is.
CREATE INDEX turns_unfinished ON turns (conversation_id) WHERE state <> 'done';
-- A conversation's turns, and the way its deletion finds them.
CREATE INDEX turns_by_conversation ON turns (conversation_id);

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn_id         INTEGER REFERENCES turns (id) ON DELETE CASCADE,
    epoch           INTEGER NOT NULL,
    idx             INTEGER CHECK (idx >= 0),  -- NULL until a turn binds it
    role            TEXT    NOT NULL CHECK (role IN ('system', 'user', 'assistant', 'tool')),
    kind            TEXT    NOT NULL CHECK (kind IN ('question', 'history', 'reply')),
    content         TEXT    NOT NULL,
    -- JSON: images, files, tool calls (later)
    parts           TEXT CHECK (parts IS NULL OR json_valid(parts)),
    author_id       TEXT,
    author_name     TEXT,
    source          TEXT UNIQUE,  -- Incoming.source; kept when the text is erased, so that a late
                                  -- redelivery does not bring it back; NULL where no platform
                                  -- message is behind it
    channel         TEXT,
    message_id      TEXT,
    position        INTEGER,      -- the platform's order
    -- JSON: what the adapter needs to answer; the kinds of what was attached and cannot be used
    route           TEXT CHECK (route IS NULL OR json_valid(route)),
    unusable        TEXT CHECK (unusable IS NULL OR json_valid(unusable)),
    sent_at         REAL,
    created_at      REAL    NOT NULL,
    edited_at       REAL,
    erased_at       REAL,
    CHECK (kind = 'history' OR turn_id IS NOT NULL),
    CHECK (kind <> 'question' OR role = 'user'),
    CHECK (kind <> 'reply' OR role = 'assistant'),
    CHECK (idx IS NOT NULL OR position IS NOT NULL)     -- what waits for its index has an order
) STRICT;

-- One index, one message; also finds the messages that still wait for theirs (idx IS NULL).
CREATE UNIQUE INDEX messages_by_index ON messages (conversation_id, idx);
-- The history of an epoch, newest first.
CREATE INDEX messages_history ON messages (conversation_id, epoch, idx)
    WHERE idx IS NOT NULL AND erased_at IS NULL;
-- The questions and the reply of a turn.
CREATE INDEX messages_by_turn ON messages (turn_id) WHERE turn_id IS NOT NULL;
-- Whether a person spoke in an epoch.
CREATE INDEX messages_by_author ON messages (conversation_id, author_id, epoch)
    WHERE author_id IS NOT NULL;

CREATE TABLE pages (
    turn_id    INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number >= 0),
    state      TEXT    NOT NULL CHECK (state IN ('intended', 'shown')),
    channel    TEXT,
    message_id TEXT,
    source     TEXT,  -- as messages.source: from a page of ours to its conversation
    PRIMARY KEY (turn_id, number),
    CHECK ((state = 'shown') = (message_id IS NOT NULL)),
    CHECK ((message_id IS NULL) = (source IS NULL)),
    CHECK ((message_id IS NULL) = (channel IS NULL))
) STRICT, WITHOUT ROWID;

-- Not unique: a retry may take over the messages of the reply that it replaces.
CREATE INDEX pages_by_source ON pages (source) WHERE source IS NOT NULL;

-- Commands that came as messages and were carried out: a redelivery does not do them again. They
-- are no part of a conversation, and what they said is not kept.
CREATE TABLE commands (
    source  TEXT PRIMARY KEY,
    done_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
