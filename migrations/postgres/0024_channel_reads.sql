-- 0024: see ../0024_channel_reads.sql.

CREATE TABLE channel_reads (
    platform TEXT COLLATE "C" NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    person TEXT COLLATE "C" NOT NULL,
    read_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (platform, person, workspace, channel)
);
