-- 0022: see ../0022_thread_reads.sql.

CREATE TABLE thread_reads (
    platform TEXT COLLATE "C" NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    reached BIGINT NOT NULL CHECK (reached >= since),
    read_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (platform, workspace, channel)
);
