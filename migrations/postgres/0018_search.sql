-- 0018: see ../0018_search.sql.
--
-- Each trigger changes the queue before the documents: it then waits for the process that indexes the
-- text, and sees what that has written.

CREATE TABLE search_documents (
    document BIGINT PRIMARY KEY,
    tokens TEXT COLLATE "C" NOT NULL
);
-- Without the list of pending entries, which each search would have to read.
CREATE INDEX search_documents_tokens ON search_documents
    USING gin (array_to_tsvector(string_to_array(tokens, ' '))) WITH (fastupdate = off);

CREATE TABLE search_queue (
    document BIGINT PRIMARY KEY,
    version BIGINT NOT NULL
);

CREATE FUNCTION search_again(number bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_queue (document, version)
        VALUES (number, floor(random() * 4611686018427387903)::bigint)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version;
    DELETE FROM search_documents WHERE document = number;
END
$$;

CREATE FUNCTION search_never(number bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_queue WHERE document = number;
    DELETE FROM search_documents WHERE document = number;
END
$$;

-- ── messages ──────────────────────────────────────────────────────────────────────────────────
CREATE FUNCTION messages_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT platform FROM conversations WHERE id = NEW.conversation_id) = 'web' THEN
        PERFORM search_again(NEW.id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION messages_search_remove() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_never(OLD.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER messages_search_add AFTER INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION messages_search();

CREATE TRIGGER messages_search_change AFTER UPDATE OF content, erased_at ON messages
    FOR EACH ROW WHEN (
        OLD.content IS DISTINCT FROM NEW.content OR OLD.erased_at IS DISTINCT FROM NEW.erased_at
    ) EXECUTE FUNCTION messages_search();

CREATE TRIGGER messages_search_remove AFTER DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION messages_search_remove();

-- ── the names of their files ──────────────────────────────────────────────────────────────────
CREATE FUNCTION attachments_search() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    message bigint := coalesce(NEW.message_id, OLD.message_id);
BEGIN
    IF EXISTS (
        SELECT 1 FROM messages JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = message AND platform = 'web'
    ) THEN
        PERFORM search_again(message);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER attachments_search_add AFTER INSERT ON attachments
    FOR EACH ROW EXECUTE FUNCTION attachments_search();

CREATE TRIGGER attachments_search_change AFTER UPDATE OF name ON attachments
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION attachments_search();

CREATE TRIGGER attachments_search_remove AFTER DELETE ON attachments
    FOR EACH ROW EXECUTE FUNCTION attachments_search();

-- ── titles ────────────────────────────────────────────────────────────────────────────────────
CREATE FUNCTION conversations_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_again(-NEW.id);
    RETURN NULL;
END
$$;

CREATE FUNCTION conversations_search_remove() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_never(-OLD.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER conversations_search_add AFTER INSERT ON conversations
    FOR EACH ROW WHEN (NEW.platform = 'web') EXECUTE FUNCTION conversations_search();

CREATE TRIGGER conversations_search_change AFTER UPDATE OF name ON conversations
    FOR EACH ROW WHEN (NEW.platform = 'web' AND OLD.name IS DISTINCT FROM NEW.name)
    EXECUTE FUNCTION conversations_search();

CREATE TRIGGER conversations_search_remove AFTER DELETE ON conversations
    FOR EACH ROW EXECUTE FUNCTION conversations_search_remove();

-- ── what is there already ─────────────────────────────────────────────────────────────────────
INSERT INTO search_queue (document, version)
    SELECT messages.id, 1 FROM messages
    JOIN conversations ON conversations.id = conversation_id
    WHERE platform = 'web' AND erased_at IS NULL;
INSERT INTO search_queue (document, version)
    SELECT -id, 1 FROM conversations WHERE platform = 'web';
