"""Sentences that tell people which parts of a file were not read."""

from __future__ import annotations

from collections.abc import Sequence


def pages_without_text(pages: Sequence[int], *, shown: int) -> str:
    """Name the scanned pages, numbered from 1 in ascending order; `shown` of them are added as
    images."""
    one = len(pages) == 1
    text = f"{ranges(pages, 'Page', 'Pages')} {'has' if one else 'have'} no text"
    if shown == 0:
        return f"{text}."
    if shown == len(pages):
        return f"{text} and {'is' if one else 'are'} included as {'an image' if one else 'images'}."
    first = "the first one is" if shown == 1 else f"the first {shown} are"
    return f"{text}; {first} included as {'an image' if shown == 1 else 'images'}."


def pages_unreadable(pages: Sequence[int]) -> str:
    """Name the damaged pages of a document, numbered from 1 in ascending order."""
    return f"{ranges(pages, 'Page', 'Pages')} could not be read."


def only_first_pages(read: int, total: int) -> str:
    """Only the first `read` of the document's `total` pages were read."""
    return f"Only the first {_counted(read, 'page')} of {total:,} {_were(read)} read."


def only_first_sheets(read: int, total: int) -> str:
    """Only the first `read` of the workbook's `total` sheets were read."""
    return f"Only the first {_counted(read, 'sheet')} of {total:,} {_were(read)} read."


def only_first_rows(sheet: str, read: int, total: int) -> str:
    """Only the first `read` of the sheet's `total` rows were read."""
    return f"Only the first {_counted(read, 'row')} of {total:,} in “{sheet}” {_were(read)} read."


def only_first_names(listed: int) -> str:
    """Only the first `listed` files of an archive are listed."""
    return f"Only the first {_counted(listed, 'file')} {_were(listed)} listed."


def middle_left_out(characters: int) -> str:
    """A text was too long, so this many characters were cut from its middle."""
    return f"{_counted(characters, 'character')} in the middle {_were(characters)} left out."


def sheets_unreadable(names: Sequence[str]) -> str:
    """Name the damaged sheets of a workbook."""
    listed = ", ".join(f"“{name}”" for name in names)
    return f"{'Sheet' if len(names) == 1 else 'Sheets'} {listed} could not be read."


ARCHIVE_NOT_UNPACKED = "Only the names of the files in it were read, not the files."
MAIL_ATTACHMENTS_NOT_READ = "The files attached to the e-mail were not read."
PICTURES_NOT_READ = "The pictures in it were not read."
ANIMATION_FIRST_FRAME = "Only the first picture of the animation was read."
IMAGE_FIRST_PAGE = "Only the first page of the image was read."


def ranges(numbers: Sequence[int], one: str, several: str) -> str:
    """Format ascending numbers as ranges: "Page 4", "Pages 4–7, 9 and 12". Shows at most six
    ranges."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    words = [str(low) if low == high else f"{low}–{high}" for low, high in found]
    if len(words) > _MOST_RANGES:
        rest = sum(high - low + 1 for low, high in found[_MOST_RANGES - 1 :])
        words = [*words[: _MOST_RANGES - 1], f"{rest} more"]
    listed = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    return f"{one if len(numbers) == 1 else several} {listed}"


_MOST_RANGES = 6


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
