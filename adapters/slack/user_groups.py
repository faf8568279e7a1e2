"""The workspace's user groups from usergroups.list; pure.

Groups are known by their id and their handle (@oncall), which Slack keeps unique. Titles are
ignored: anyone who may create a group could copy another group's title.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.slack.payloads import Payload, ident, text
from bot.config.policy_references import fold

MAX_LISTED = 500
"""The most members that Slack lists in `subteam_updated`, whose `user_count` gives the real
number; we assume the same for usergroups.list."""


@dataclass(frozen=True, slots=True)
class UserGroups:
    """Handles by the groups' ids, and the ids of each person's groups.

    `is_complete`: all members of all groups are known.
    """

    handles: Mapping[str, str] = field(default_factory=dict)
    by_user: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_complete: bool = True

    def of(self, user: str) -> frozenset[str]:
        """The ids of a person's groups."""
        return self.by_user.get(user, frozenset())

    def handles_of(self, user: str) -> frozenset[str]:
        """The handles of a person's groups, folded."""
        return frozenset(filter(None, (self.handles[group] for group in self.of(user))))


def parse_groups(listed: Sequence[Any]) -> UserGroups:
    """The enabled groups. One that cannot be read makes them incomplete, because a rule may block
    its members."""
    handles: dict[str, str] = {}
    by_user: dict[str, set[str]] = defaultdict(set)
    is_complete = True
    for group in listed:
        if not _is_readable(group):
            is_complete = False
        elif not group.get("date_delete"):
            group_id, members = ident(group, "id"), group.get("users")
            handles[group_id] = fold(text(group, "handle"))
            users = members if isinstance(members, list) else [None]
            is_complete &= all(isinstance(user, str) for user in users)
            is_complete &= not _is_cut(group, len(users))
            for user in users:
                if isinstance(user, str):
                    by_user[user].add(group_id)
    known = {user: frozenset(groups) for user, groups in by_user.items()}
    return UserGroups(handles, known, is_complete)


def _is_readable(group: Any) -> bool:
    """Whether an entry says which group it is, and whether that is enabled."""
    return (
        isinstance(group, Mapping)
        and bool(ident(group, "id"))
        and isinstance(group.get("date_delete", 0), int)
    )


def _is_cut(group: Payload, listed: int) -> bool:
    """Whether the group has more members than are listed. Slack may send the count as text."""
    count = group.get("user_count")
    number = int(count) if isinstance(count, int | str) and str(count).isdecimal() else 0
    return listed >= MAX_LISTED and number > listed
