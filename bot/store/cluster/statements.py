"""The SQL of heartbeats and leases, for PostgreSQL only.

All times come from the database's clock. A renewal skips rows that another transaction has locked:
one slow transaction must not end the leases of all other turns, and the next renewal follows in
three seconds.
"""

from __future__ import annotations

NOW = "extract(epoch FROM clock_timestamp())::double precision"

BEAT = f"""
WITH beat AS (
    INSERT INTO members (id, started_at, lease_until)
    VALUES (%(me)s, {NOW}, {NOW} + %(lease)s)
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
)
SELECT count(*) FROM members WHERE id <> %(me)s AND lease_until > {NOW}
"""  # noqa: S608
"""Renews the process's membership, and returns how many other processes are alive."""

REPORT_GAP = f"""
INSERT INTO gaps (id, since, settles_at)
SELECT %(id)s, greatest({NOW} - %(seconds)s, min(started_at)), {NOW} + %(settle)s FROM members
HAVING bool_or(id <> %(me)s)
"""  # noqa: S608
"""See `bot.store.gaps`. A process that was alone has lost nothing that its watermarks passed, and
living processes lost nothing from before they started. Earlier processes have died, which is a
separate gap."""

RENEW_TURNS = f"""
WITH mine AS (
    SELECT * FROM unnest(%(turns)s::bigint[], %(attempts)s::bigint[]) AS mine (turn, attempt)
), free AS (
    SELECT turns.id FROM turns JOIN mine ON id = turn AND turns.attempt = mine.attempt
    WHERE holder = %(me)s AND state <> 'done' ORDER BY id FOR NO KEY UPDATE OF turns SKIP LOCKED
), renewed AS (
    UPDATE turns SET lease_until = {NOW} + %(lease)s FROM free WHERE turns.id = free.id
    RETURNING turns.id
)
SELECT turn, mine.attempt, renewed.id IS NOT NULL, coalesce(turns.stopping = 1, false),
    coalesce(turns.state = 'running' AND turns.epoch <> conversations.epoch, false),
    coalesce(turns.attempt = mine.attempt, false)
        AND (turns.holder = %(me)s OR turns.state = 'done')
FROM mine LEFT JOIN turns ON turns.id = turn
LEFT JOIN conversations ON conversations.id = conversation_id
LEFT JOIN renewed ON renewed.id = turn
"""  # noqa: S608
"""Renews exactly these attempts. Returns for each whether it was renewed, is stopped, belongs to an
epoch that was reset, and still belongs to this process."""

RENEW_NAMES = f"""
WITH mine AS (
    SELECT kind, name FROM leases
    JOIN unnest(%(kinds)s::text[], %(names)s::text[]) AS held (kind, name) USING (kind, name)
    WHERE holder = %(me)s ORDER BY kind, name FOR NO KEY UPDATE OF leases
)
UPDATE leases SET lease_until = {NOW} + %(lease)s FROM mine
WHERE leases.kind = mine.kind AND leases.name = mine.name
RETURNING leases.kind, leases.name
"""  # noqa: S608

TAKE_NAMES = f"""
INSERT INTO leases (kind, name, holder, lease_until)
SELECT %(kind)s, name, %(me)s, {NOW} + %(lease)s FROM unnest(%(names)s::text[]) AS wanted (name)
ORDER BY name
ON CONFLICT (kind, name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
WHERE leases.lease_until <= {NOW} OR leases.holder = excluded.holder
RETURNING name
"""  # noqa: S608
"""Takes the names that are free, and returns them."""

FREE_NAMES = "DELETE FROM leases WHERE kind = %s AND name = ANY (%s) AND holder = %s"

SHARE = f"""
SELECT name, holder, kind = %(kind)s, lease_until - {NOW} FROM leases
WHERE kind IN (%(kind)s, %(places)s) AND lease_until > {NOW}
"""  # noqa: S608
"""The held names and member places of a group, and for how many seconds they are still held."""

LEAVE = (
    "DELETE FROM leases WHERE holder = %s",
    "DELETE FROM members WHERE id = %s",
)

NOTIFY = "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS signals (payload)"
TELL = (
    "SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS t (channel, payload)"
)
SCHEMA = "SELECT current_schema()"
