"""Records that name a person outside conversations: the books, the audit, rules, refusals, votes
and sessions."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.privacy import ERASED, Erasure, Person, erased_name
from bot.ports.audit import BY_PAGE_ADMINS
from bot.store import sessions, spending
from bot.store.database import Database


def erase_rest(db: Database, now: float, person: Person, erasure: Erasure) -> None:
    """Erase the person from the audit, rules and refusals, and record that the erasure is done."""
    at = {"platform": person.platform, "id": person.id, "name": erased_name(erasure.id)}
    workspaces = _covered(db, person)
    for workspace in workspaces:
        _erase_records(db, {**at, "workspace": workspace})
    sessions.end_all(db, person.platform, person.id)
    db.execute(
        "DELETE FROM feedback WHERE person = :id AND turn_id IN (SELECT turns.id FROM turns"
        " JOIN conversations ON conversations.id = conversation_id WHERE platform = :platform)",
        at,
    )
    # These entries name the place that was read, on any platform; "" stands for all places.
    db.execute(
        "UPDATE audit SET actor = CASE WHEN actor = :id THEN :name ELSE actor END,"  # noqa: S608
        " subject = CASE WHEN subject = :id AND platform = '' THEN :name ELSE subject END,"
        " workspace = CASE WHEN workspace = :id AND platform = '' THEN :name ELSE workspace END"
        " WHERE :id IN (actor, subject, workspace)"
        f" AND action IN ({', '.join(repr(action) for action in BY_PAGE_ADMINS)})",
        at,
    )
    db.execute(
        "INSERT INTO erasures (id, applied_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
        (erasure.id, now),
    )


def _covered(db: Database, person: Person) -> list[str]:
    """The workspaces in which a table may name the person."""
    tables = (
        "conversations",
        "audit",
        "channel_reads",
        "refusals_told",
        "policy_overrides",
        "usage_by_day",
    )
    found = {
        row["workspace"]
        for table in tables
        for row in db.execute(
            f"SELECT DISTINCT workspace FROM {table} WHERE platform = ?",  # noqa: S608 - ours
            (person.platform,),
        )
    }
    # A running request is in no report yet. It is found by its index, since there are many
    # requests.
    running = db.execute(
        "SELECT DISTINCT workspace FROM model_requests"
        " WHERE platform = ? AND person = ? AND person <> ''",
        (person.platform, person.id),
    )
    found.update(row["workspace"] for row in running)
    return [each for each in found | {person.id} if person.covers(each)]


def _erase_records(db: Database, at: dict[str, str]) -> None:
    place = " WHERE platform = :platform AND workspace = :workspace"
    spending.forget_person(db, at["platform"], at["workspace"], at["id"])
    if at["workspace"] == at["id"]:  # the page has a workspace for each person
        spending.rename_workspace(db, at["platform"], at["workspace"], at["name"])
        db.execute(f"DELETE FROM policy_overrides {place}", at)  # noqa: S608 - ours
        for table in ("commands", "tombstones"):
            db.execute(
                f"DELETE FROM {table} WHERE source LIKE :platform || '/%'"  # noqa: S608 - ours
                " AND instr(source, :platform || '/' || :id || '/') = 1",
                at,
            )
    if at["workspace"] == at["id"]:
        db.execute("DELETE FROM personal_defaults WHERE platform = :platform AND person = :id", at)
    db.execute(f"DELETE FROM channel_reads {place} AND person = :id", at)  # noqa: S608 - ours
    db.execute(f"DELETE FROM refusals_told {place} AND person = :id", at)  # noqa: S608 - ours
    db.execute(
        f"UPDATE policy_overrides SET set_by = '{ERASED}', set_by_name = ''"  # noqa: S608 - ours
        f"{place} AND set_by = :id",
        at,
    )
    db.execute(
        "UPDATE audit SET actor = CASE WHEN actor = :id THEN :name ELSE actor END,"  # noqa: S608
        " subject = CASE WHEN subject = :id THEN :name ELSE subject END,"
        f" workspace = CASE WHEN workspace = :id THEN :name ELSE workspace END {place}"
        " AND :id IN (actor, subject, workspace)",
        at,
    )


def people(db: Database) -> Iterator[tuple[str, str]]:
    """Everyone whose id the database contains: platforms and ids."""
    found = db.execute(
        "SELECT DISTINCT platform, author_id AS id FROM messages"
        " JOIN conversations ON conversations.id = conversation_id WHERE author_id IS NOT NULL"
        " UNION SELECT platform, began_by_id FROM conversations WHERE began_by_id IS NOT NULL"
        " UNION SELECT platform, actor FROM audit UNION SELECT platform, subject FROM audit"
        " UNION SELECT platform, person FROM refusals_told"
        " UNION SELECT platform, set_by FROM policy_overrides"
        " UNION SELECT platform, person FROM usage_by_day"
        " UNION SELECT platform, person FROM sessions"
        " UNION SELECT platform, person FROM model_requests WHERE person <> ''"
        " UNION SELECT platform, person FROM personal_defaults"
        " UNION SELECT platform, person FROM channel_reads"
        " UNION SELECT platform, shared_by FROM shares"
        "  JOIN conversations ON conversations.id = conversation_id"
        " UNION SELECT platform, person FROM feedback JOIN turns ON turns.id = turn_id"
        "  JOIN conversations ON conversations.id = conversation_id"
        # The page has a workspace for each person, which may be the only trace of them. The sources
        # of commands and tombstones begin with it.
        " UNION SELECT platform, workspace FROM usage_by_day"
        " UNION SELECT platform, workspace FROM audit"
        " UNION SELECT platform, workspace FROM policy_overrides"
        " UNION SELECT platform, substr(rest, 1, instr(rest, '/') - 1) FROM ("
        "  SELECT substr(source, 1, instr(source, '/') - 1) AS platform,"
        "  substr(source, instr(source, '/') + 1) AS rest"
        "  FROM (SELECT source FROM commands UNION SELECT source FROM tombstones) AS sources"
        "  WHERE instr(source, '/') > 0) AS named WHERE instr(rest, '/') > 0"
    )
    for row in found.fetchall():
        if row["id"] and row["id"] != ERASED and not row["id"].startswith("erased:"):
            yield row["platform"], row["id"]
