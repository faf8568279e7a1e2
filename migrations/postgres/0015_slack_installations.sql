-- 0015: see ../0015_slack_installations.sql.

CREATE TABLE installations (
    platform TEXT COLLATE "C" NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    details TEXT COLLATE "C" NOT NULL,
    sealed TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    installed_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    problem TEXT COLLATE "C" NOT NULL DEFAULT '',
    problem_at DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (platform, workspace)
);

CREATE TABLE install_states (
    digest TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    platform TEXT COLLATE "C" NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX install_states_by_expiry ON install_states (expires_at);
