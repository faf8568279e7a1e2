"""Fixtures for the adapters' tests."""

from __future__ import annotations

import pytest

from tests.support.fake_inbox import FakeInbox


@pytest.fixture
def inbox() -> FakeInbox:
    return FakeInbox()
