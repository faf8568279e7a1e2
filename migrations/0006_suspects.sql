-- 0006: what ends the process is found, not guessed.
--
-- Reason: four deaths of the process gave up every turn that was running, and so one question that
-- kills it took everybody's answers with it. `held` marks the turns that a process works on; a
-- process that ends as it should takes its marks away, and `alive`. A start that finds them counts a
-- death for each such turn, and a lone one where it was the only one and not for the first time. What fails
-- without ending the process is counted apart (`failures`), so that deploys count nothing.

ALTER TABLE turns ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1));
ALTER TABLE turns ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE turns ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0 CHECK (deaths >= 0);
ALTER TABLE turns ADD COLUMN lone_deaths INTEGER NOT NULL DEFAULT 0 CHECK (lone_deaths >= 0);

CREATE TABLE process (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    alive INTEGER NOT NULL CHECK (alive IN (0, 1))
) STRICT;
INSERT INTO process VALUES (1, 0);
