-- 0014: see ../0014_leases.sql.

ALTER TABLE turns ADD COLUMN holder TEXT COLLATE "C";
ALTER TABLE turns ADD COLUMN lease_until DOUBLE PRECISION;
CREATE INDEX turns_by_holder ON turns (holder) WHERE holder IS NOT NULL AND state <> 'done';
-- Room for a renewal beside the old row: it then touches no index.
ALTER TABLE turns SET (fillfactor = 85);

ALTER TABLE model_requests ADD COLUMN holder TEXT COLLATE "C";
ALTER TABLE attachments ADD COLUMN holder TEXT COLLATE "C";

CREATE TABLE members (
    id TEXT COLLATE "C" PRIMARY KEY,
    started_at DOUBLE PRECISION NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL
);

CREATE TABLE leases (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (kind, name)
);
