-- 0011: what each model request cost, and what is reserved for those that run.
--
-- Reason: a budget that is checked first and booked later is overshot by everything that runs at the
-- same time. A request reserves its highest cost in the transaction that checks the budgets, and is
-- settled with what the provider counted. A reservation belongs to a turn's attempt: the next attempt
-- and the next start settle what a dead process left. Money is in billionths of a US dollar, because a
-- cached token of a small model costs five of them.

CREATE TABLE model_requests (
    id            INTEGER PRIMARY KEY,
    state         TEXT    NOT NULL CHECK (state IN ('reserved', 'settled')),
    purpose       TEXT    NOT NULL CHECK (purpose IN ('answer', 'summary', 'transcript')),
    turn_id       INTEGER REFERENCES turns (id) ON DELETE SET NULL,
    attempt       INTEGER NOT NULL,
    platform      TEXT    NOT NULL,
    workspace     TEXT    NOT NULL,
    channel       TEXT    NOT NULL,
    person        TEXT    NOT NULL,  -- '' for summaries and transcripts, which nobody asked for
    model         TEXT    NOT NULL,  -- that answered; until then the first of its chain
    day           TEXT    NOT NULL,  -- 2026-11-30, in the time zone of the settings
    input_tokens  INTEGER NOT NULL CHECK (input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    cached_tokens INTEGER NOT NULL DEFAULT 0,       -- part of input_tokens
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,  -- part of input_tokens
    reasoning_tokens   INTEGER NOT NULL DEFAULT 0,  -- part of output_tokens
    cost          INTEGER,                          -- NULL: the price is not known
    is_estimate   INTEGER NOT NULL DEFAULT 1 CHECK (is_estimate IN (0, 1)),
    -- What is reserved, what the estimated input costs alone, and each token of the answer; with the
    -- tokens above, a reservation can be settled without its process.
    held_tokens   INTEGER NOT NULL,
    held_cost     INTEGER NOT NULL,
    input_cost    INTEGER,
    output_price  REAL,
    sums          TEXT    NOT NULL CHECK (json_valid(sums)),  -- ids of the budget_sums that count it
    created_at    REAL    NOT NULL
) STRICT;

-- The few reservations.
CREATE INDEX model_requests_open ON model_requests (turn_id) WHERE state = 'reserved';
-- The cost of a reply, and the way a turn's deletion finds its requests.
CREATE INDEX model_requests_by_turn ON model_requests (turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX model_requests_by_person ON model_requests (platform, workspace, person)
    WHERE person <> '';

-- One row for each budget, whose spending it counts, and period. A person is a digest here, because
-- the sum outlives the person's erasure until the period ends.
CREATE TABLE budget_sums (
    id              INTEGER PRIMARY KEY,
    budget          TEXT    NOT NULL,  -- Budget.name
    account         TEXT    NOT NULL,
    period          TEXT    NOT NULL,  -- 2026-11-30 or 2026-11
    tokens          INTEGER NOT NULL DEFAULT 0,
    cost            INTEGER NOT NULL DEFAULT 0,
    reserved_tokens INTEGER NOT NULL DEFAULT 0,
    reserved_cost   INTEGER NOT NULL DEFAULT 0,
    told            INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),  -- that it is nearly spent
    UNIQUE (budget, account, period)
) STRICT;

-- What was used, for reports.
CREATE TABLE usage_by_day (
    platform      TEXT    NOT NULL,
    workspace     TEXT    NOT NULL,
    person        TEXT    NOT NULL,
    day           TEXT    NOT NULL,
    channel       TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    purpose       TEXT    NOT NULL,
    requests      INTEGER NOT NULL,
    estimates     INTEGER NOT NULL,  -- requests whose tokens the provider did not count
    unpriced      INTEGER NOT NULL,  -- requests whose price is not known
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost          INTEGER NOT NULL,
    PRIMARY KEY (platform, workspace, person, day, channel, model, purpose)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_channel ON usage_by_day (platform, workspace, channel, day);
CREATE INDEX usage_by_date ON usage_by_day (day);
