-- 0016: see ../0016_gaps.sql.

CREATE TABLE gaps (
    id TEXT COLLATE "C" PRIMARY KEY,
    since DOUBLE PRECISION NOT NULL,
    settles_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE gap_reads (
    gap TEXT COLLATE "C" NOT NULL REFERENCES gaps (id) ON DELETE CASCADE,
    reader TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (gap, reader)
);
