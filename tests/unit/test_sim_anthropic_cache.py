"""The simulated prompt cache follows the rules that Anthropic publishes."""

from __future__ import annotations

from tests.sims.model.anthropic_cache import AnthropicCache, Block, CacheUse


def listed(count: int, *marked: int, tokens: int = 100) -> list[Block]:
    """Blocks with numbers as content, and breakpoints at these indexes."""
    return [Block(str(n).encode(), tokens, n in marked) for n in range(count)]


def use(
    cache: AnthropicCache, found: list[Block], *, now: float = 0.0, scope: str = "k"
) -> CacheUse:
    return cache.use(scope, found, minimum=1_000, now=now)


def test_only_beginnings_at_breakpoints_are_written() -> None:
    cache = AnthropicCache()
    assert use(cache, listed(15, 11)) == CacheUse(0, 1_200, 300)
    assert use(cache, listed(15, 11)) == CacheUse(1_200, 0, 300)
    assert use(cache, listed(15, 14)) == CacheUse(1_200, 300, 0)
    assert use(cache, listed(13, 12)) == CacheUse(1_200, 100, 0)


def test_a_breakpoint_looks_back_twenty_blocks() -> None:
    for length, read in ((39, 2_000), (40, 0)):
        cache = AnthropicCache()
        use(cache, listed(20, 19))
        assert use(cache, listed(length, length - 1)).read == read
        assert use(cache, listed(length, 19, length - 1)).read >= 2_000


def test_a_beginning_below_the_minimum_is_not_cached() -> None:
    cache = AnthropicCache()
    assert use(cache, listed(9, 8)) == use(cache, listed(9, 8)) == CacheUse(0, 0, 900)
    assert use(cache, listed(10, 9)) == CacheUse(0, 1_000, 0)


def test_a_change_costs_everything_behind_it() -> None:
    cache, changed = AnthropicCache(), listed(30, 10, 20, 29)
    use(cache, changed)
    changed[15] = Block(b"changed", 100)
    assert use(cache, changed) == CacheUse(1_100, 1_900, 0)


def test_an_entry_lives_five_minutes_after_its_last_use() -> None:
    cache = AnthropicCache()
    for now, read in ((0.0, 0), (299.0, 1_200), (598.0, 1_200), (899.0, 0)):
        assert use(cache, listed(12, 11), now=now).read == read


def test_scopes_share_nothing() -> None:
    cache = AnthropicCache()
    use(cache, listed(12, 11), scope="a")
    assert use(cache, listed(12, 11), scope="b").read == 0
