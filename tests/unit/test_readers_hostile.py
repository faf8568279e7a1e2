"""A hostile file costs one sentence: the child may die, but the parent and other files are
unaffected."""

from __future__ import annotations

import asyncio
import os
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.content.extraction import LIMITS, SandboxExtractor
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError
from tests.support import hostile_files as hostile
from tests.support import reader_files as files

MUTANTS = 800
SOAK_MUTANTS = 20_000


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxExtractor]:
    """One extractor for all tests, so that an effect of one file would show in the next."""
    extractor = SandboxExtractor(pages=100)
    yield extractor
    asyncio.run(extractor.aclose())


@pytest.fixture
async def extractor(shared: SandboxExtractor) -> AsyncIterator[SandboxExtractor]:
    """The shared extractor, which must still read an ordinary file afterwards."""
    yield shared
    found = await shared.extract("a.txt", "text/plain", b"still here")
    assert found.text == "still here"


async def attempt(extractor: SandboxExtractor, name: str, data: bytes) -> Extract | Omission:
    """The result of reading a file; any error but AttachmentError fails the test."""
    try:
        found = await extractor.extract(name, "", data)
    except AttachmentError as error:
        assert error.retry_after is None, error  # the machine's trouble, not the file's
        return error.omission
    assert len(found.text) <= 420_000
    assert sum(len(image.data) for image in found.images) <= LIMITS.output_bytes
    return found


async def test_bombs_are_refused_before_they_expand(extractor: SandboxExtractor) -> None:
    for name, (data, expected) in hostile.bombs().items():
        assert len(data) < 5 * hostile.MEGABYTE, name
        assert await attempt(extractor, "x", data) is expected, name


async def test_xml_entities_are_never_expanded(extractor: SandboxExtractor) -> None:
    for name, data in hostile.entities():
        found = await attempt(extractor, "x.svg" if name.startswith("svg") else "x", data)
        if isinstance(found, Extract):
            assert "lollol" not in found.text, name
            assert "root:" not in found.text, name
        else:
            assert found in (Omission.DAMAGED, Omission.EXPANDS), name


async def test_deep_nesting_ends(extractor: SandboxExtractor) -> None:
    for name, data in hostile.nested():
        found = await attempt(extractor, "x", data)
        assert isinstance(found, Extract) or found in {
            Omission.DAMAGED, Omission.TOO_COSTLY, Omission.EXPANDS, Omission.NO_TEXT,
        }, (name, found)  # fmt: skip


async def test_loops_and_endless_claims_end(extractor: SandboxExtractor) -> None:
    """The parent does not grow: its memory holds only the file and the extract."""
    loops = [*hostile.loops()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in loops:
        found = await attempt(extractor, "x", data)
        assert isinstance(found, Extract) or found in {
            Omission.DAMAGED, Omission.TOO_COSTLY, Omission.NO_TEXT, Omission.EXPANDS,
        }, (name, found)  # fmt: skip
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # kilobytes


async def test_actions_of_a_pdf_do_not_run(extractor: SandboxExtractor) -> None:
    found = await attempt(extractor, "x.pdf", hostile.scripted_pdf())
    assert isinstance(found, Extract)
    assert found.text == "[Page 1]\nvisible"


async def test_polyglots_are_what_their_first_bytes_say(extractor: SandboxExtractor) -> None:
    for data, expected in hostile.polyglots():
        found = await attempt(extractor, "x.html", data)
        assert isinstance(found, Extract)
        assert found.media_type == expected


async def test_names_are_never_paths(extractor: SandboxExtractor) -> None:
    """A name can at most change the language of a text."""
    for name in ("/etc/passwd", "../../x.py", "a\0b.txt", "\n\u202egnp.txt", "x" * 100_000, ""):
        found = await attempt(extractor, name, b"content")
        assert isinstance(found, Extract)
        assert found.text == "content"
    data = files.zipped({"../../etc/passwd": "x", "a\x1b[2J\u202e": "y"})
    found = await attempt(extractor, "x.zip", data)
    assert isinstance(found, Extract)
    assert found.text == "- ../../etc/passwd (1 bytes)\n- a (1 bytes)"


@pytest.mark.parametrize("declared", ["image/png", "application/pdf", "text/html", "audio/ogg"])
async def test_declared_types_do_not_choose_the_parser(
    extractor: SandboxExtractor, declared: str
) -> None:
    for name, data in hostile.seeds().items():
        true = await extractor.extract(name, "", data)
        lying = await extractor.extract("lie.png", declared, data)
        assert lying.kind is true.kind or AttachmentKind.TEXT in (lying.kind, true.kind), name
        assert lying.images == true.images, name


async def test_mutated_files_are_read_or_refused(extractor: SandboxExtractor) -> None:
    counted = await _try_mutants(extractor, seed=1, count=MUTANTS)
    assert counted.total() == MUTANTS


@pytest.mark.soak
async def test_many_mutated_files_are_read_or_refused(extractor: SandboxExtractor) -> None:
    seed = int(os.environ.get("FAULT_SEED", random.randrange(1_000_000)))
    counted = await _try_mutants(extractor, seed=seed, count=SOAK_MUTANTS)
    print(f"seed {seed}: {dict(counted.most_common())}")
    assert counted.total() == SOAK_MUTANTS


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _try_mutants(extractor: SandboxExtractor, *, seed: int, count: int) -> Counter[str]:
    """The number of each result. The parent neither grows nor leaks descriptors."""
    random_, seeds = random.Random(seed), sorted(hostile.seeds().items())
    descriptors = _descriptors()
    counted: Counter[str] = Counter()
    for number in range(count):
        name, data = seeds[number % len(seeds)]
        inside = data.startswith(b"PK") and random_.random() < 0.7
        mutant = (hostile.mutate_member if inside else hostile.mutate)(data, random_)
        if not mutant:
            mutant = b"\0"
        found = await attempt(extractor, name, mutant)
        counted["read" if isinstance(found, Extract) else found.value] += 1
    assert _descriptors() <= descriptors + 4  # two children's pipes
    return counted
