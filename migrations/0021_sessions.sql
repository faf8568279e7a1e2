-- 0021: browsers that are signed in.
--
-- Reason: a browser keeps a cookie that no script can read instead of a token, and signing out ends
-- it here, on every process. `digest` is SHA-256 of the cookie, so the database opens nothing;
-- `proof` is an HMAC of the cookie under the token, so a removed or changed token ends the session
-- and the database does not help to guess the token.

CREATE TABLE sessions (
    digest     TEXT NOT NULL PRIMARY KEY,
    platform   TEXT NOT NULL,
    person     TEXT NOT NULL,
    proof      TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
) STRICT;
CREATE INDEX sessions_by_person ON sessions (platform, person, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
