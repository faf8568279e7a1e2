-- 0018: the words of the page's conversations, so that people can search them.
--
-- Reason: 1,000,000 messages cannot be read while a person types. Only conversations of the platform
-- "web" are indexed: no one can search others. A text has one number: a message its id, a
-- conversation's title its id below zero. docs/decisions/2026-11-30-search.md has the reasons.
--
-- The triggers take a text out of the index in the transaction that changes or erases it, whichever
-- it is; what is to be put in waits in `search_queue`, and the bot does that a moment later. So
-- existing texts are only listed here (1 to 2 s for 1,000,000), and a kill loses nothing.

-- What the index has of a text: its words, each once, without their order. FTS5 needs them again to
-- forget them.
CREATE TABLE search_documents (
    document INTEGER PRIMARY KEY,
    tokens   TEXT NOT NULL
) STRICT;

-- Texts that are not in the index yet. `version` tells a later change of a text. The number 0 is no
-- text: FTS5 has deleted words that it has not overwritten yet.
CREATE TABLE search_queue (
    document INTEGER PRIMARY KEY,
    version  INTEGER NOT NULL
) STRICT;

-- The tokens are made by the bot, so the tokenizer only splits them at blanks. Without positions
-- (detail=none) it is a third of the size, and no text can be put together again from it.
CREATE VIRTUAL TABLE search_index USING fts5 (
    tokens, content = 'search_documents', content_rowid = 'document',
    tokenize = 'ascii', detail = none, columnsize = 0, prefix = '3 4 5 6 7 8'
);

CREATE TRIGGER search_documents_add AFTER INSERT ON search_documents
BEGIN
    INSERT INTO search_index (rowid, tokens) VALUES (NEW.document, NEW.tokens);
END;

CREATE TRIGGER search_documents_remove AFTER DELETE ON search_documents
BEGIN
    INSERT INTO search_index (search_index, rowid, tokens)
        VALUES ('delete', OLD.document, OLD.tokens);
    INSERT INTO search_queue (document, version) VALUES (0, random() & 4611686018427387903)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
END;

-- ── messages ──────────────────────────────────────────────────────────────────────────────────
CREATE TRIGGER messages_search_add AFTER INSERT ON messages
    WHEN (SELECT platform FROM conversations WHERE id = NEW.conversation_id) = 'web'
BEGIN
    INSERT INTO search_queue (document, version) VALUES (NEW.id, random() & 4611686018427387903)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
END;

CREATE TRIGGER messages_search_change AFTER UPDATE OF content, erased_at ON messages
    WHEN (OLD.content IS NOT NEW.content OR OLD.erased_at IS NOT NEW.erased_at) AND (SELECT platform FROM conversations WHERE id = NEW.conversation_id) = 'web'
BEGIN
    INSERT INTO search_queue (document, version) VALUES (NEW.id, random() & 4611686018427387903)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = OLD.id;
END;

CREATE TRIGGER messages_search_remove AFTER DELETE ON messages
BEGIN
    DELETE FROM search_queue WHERE document = OLD.id;
    DELETE FROM search_documents WHERE document = OLD.id;
END;

-- ── the names of their files ──────────────────────────────────────────────────────────────────
CREATE TRIGGER attachments_search_add AFTER INSERT ON attachments
BEGIN
    INSERT INTO search_queue (document, version)
        SELECT messages.id, random() & 4611686018427387903 FROM messages
        JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = NEW.message_id AND platform = 'web'
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = NEW.message_id;
END;

CREATE TRIGGER attachments_search_change AFTER UPDATE OF name ON attachments
    WHEN OLD.name IS NOT NEW.name
BEGIN
    INSERT INTO search_queue (document, version)
        SELECT messages.id, random() & 4611686018427387903 FROM messages
        JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = NEW.message_id AND platform = 'web'
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = NEW.message_id;
END;

CREATE TRIGGER attachments_search_remove AFTER DELETE ON attachments
BEGIN
    INSERT INTO search_queue (document, version)
        SELECT messages.id, random() & 4611686018427387903 FROM messages
        JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = OLD.message_id AND platform = 'web'
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = OLD.message_id;
END;

-- ── titles ────────────────────────────────────────────────────────────────────────────────────
CREATE TRIGGER conversations_search_add AFTER INSERT ON conversations WHEN NEW.platform = 'web'
BEGIN
    INSERT INTO search_queue (document, version) VALUES (-NEW.id, random() & 4611686018427387903)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
END;

CREATE TRIGGER conversations_search_change AFTER UPDATE OF name ON conversations
    WHEN NEW.platform = 'web' AND OLD.name IS NOT NEW.name
BEGIN
    INSERT INTO search_queue (document, version) VALUES (-NEW.id, random() & 4611686018427387903)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = -OLD.id;
END;

CREATE TRIGGER conversations_search_remove AFTER DELETE ON conversations
BEGIN
    DELETE FROM search_queue WHERE document = -OLD.id;
    DELETE FROM search_documents WHERE document = -OLD.id;
END;

-- ── what is there already ─────────────────────────────────────────────────────────────────────
INSERT INTO search_queue (document, version)
    SELECT messages.id, 1 FROM messages
    JOIN conversations ON conversations.id = conversation_id
    WHERE platform = 'web' AND erased_at IS NULL;
INSERT INTO search_queue (document, version)
    SELECT -id, 1 FROM conversations WHERE platform = 'web';
