-- 0025: see ../0025_leftovers_outlive.sql.

ALTER TABLE conversations ADD COLUMN hidden_at DOUBLE PRECISION;
UPDATE conversations SET hidden_at = deleted_at WHERE deleted_at IS NOT NULL;

ALTER TABLE leftovers DROP CONSTRAINT leftovers_pkey;
ALTER TABLE leftovers DROP CONSTRAINT leftovers_conversation_id_fkey;
ALTER TABLE leftovers ALTER COLUMN conversation_id DROP NOT NULL;
ALTER TABLE leftovers ADD COLUMN platform TEXT COLLATE "C";
ALTER TABLE leftovers ADD COLUMN workspace TEXT COLLATE "C";
ALTER TABLE leftovers ADD UNIQUE (conversation_id, kind, channel, name);
ALTER TABLE leftovers ADD FOREIGN KEY (conversation_id) REFERENCES conversations (id);

CREATE FUNCTION conversations_leftovers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE leftovers SET platform = OLD.platform, workspace = OLD.workspace, conversation_id = NULL
        WHERE conversation_id = OLD.id;
    RETURN OLD;
END
$$;

CREATE TRIGGER conversations_leftovers BEFORE DELETE ON conversations
    FOR EACH ROW EXECUTE FUNCTION conversations_leftovers();
