-- 0012: retention and erasure.
--
-- Reason: whatever is erased must be found by an index, and pinned conversations are kept. The audit
-- must outlive a person without naming them: triggers refuse every change but that of a name to an
-- erasure. `erasures` are the entries of the list beside the database that were applied here, so that a
-- restored backup shows which are missing.

ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
CREATE INDEX conversations_by_age ON conversations (updated_at) WHERE pinned = 0;
CREATE INDEX messages_by_person ON messages (author_id) WHERE author_id IS NOT NULL;

ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';  -- the person whom it is about
CREATE INDEX audit_by_subject ON audit (platform, workspace, subject) WHERE subject <> '';
CREATE TRIGGER audit_kept BEFORE DELETE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit is append-only');
END;
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
WHEN NEW.id IS NOT OLD.id OR NEW.at IS NOT OLD.at OR NEW.action IS NOT OLD.action
    OR NEW.platform IS NOT OLD.platform OR NEW.channel IS NOT OLD.channel
    OR NEW.details IS NOT OLD.details
    OR (NEW.actor IS NOT OLD.actor AND NEW.actor NOT LIKE 'erased:%')
    OR (NEW.subject IS NOT OLD.subject AND NEW.subject NOT LIKE 'erased:%')
    OR (NEW.workspace IS NOT OLD.workspace AND NEW.workspace NOT LIKE 'erased:%')
BEGIN
    SELECT RAISE (ABORT, 'the audit is append-only');
END;

CREATE TABLE erasures (
    id         TEXT PRIMARY KEY,
    applied_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
