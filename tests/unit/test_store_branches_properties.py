"""Random histories of questions, answers, edits and deletions, compared with a tree."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.support.branch_tree import check_random_history
from tests.support.new_database import in_memory
from tests.support.store_kit import check_file


@pytest.mark.parametrize("seed", range(30))
def test_the_shown_branch_matches_the_tree(seed: int) -> None:
    with closing(in_memory()) as db:
        check_random_history(db, seed, steps=50)
        check_file(db)
