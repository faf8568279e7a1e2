-- 0015: installations of one app in many workspaces.
--
-- Reason: each Slack workspace that installs the app has a token of its own. `sealed` is what the
-- token and the refresh token are encrypted to with INSTALLATION_KEY, which is not in the database.
-- `details` is the adapter's JSON; it contains no secret.

CREATE TABLE installations (
    platform     TEXT    NOT NULL,
    workspace    TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    details      TEXT    NOT NULL,
    sealed       TEXT    NOT NULL,
    revision     INTEGER NOT NULL,
    installed_at REAL    NOT NULL,
    expires_at   REAL,                         -- of the token; NULL: never
    problem      TEXT    NOT NULL DEFAULT '',  -- the code with which the platform refuses the token
    problem_at   REAL    NOT NULL DEFAULT 0,
    PRIMARY KEY (platform, workspace)
) STRICT;

-- The states of installations that people have begun: SHA-256, because who has a state could end an
-- installation that somebody else began.
CREATE TABLE install_states (
    digest     TEXT    NOT NULL PRIMARY KEY,
    platform   TEXT    NOT NULL,
    expires_at REAL    NOT NULL
) STRICT;
CREATE INDEX install_states_by_expiry ON install_states (expires_at);
