"""Text files of users, line by line: a line that is no text is named and takes no other with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from zoo.training.data import DataError

_NO_TEXT = re.compile("[\udc80-\udcff]")  # what a byte becomes that is none of UTF-8
_MARKS_OF_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")


def text_lines(file: Path, what: str = "file") -> Iterator[tuple[str, str]]:
    """Place (``file:line``) and content of every line; LF, CRLF or CR ends a line, and no other character does.

    A byte that is no text is kept; see :func:`as_text`.

    Args:
        file: In UTF-8, with or without a byte order mark.
        what: What the message calls it.

    Raises:
        DataError: There is no such file, it cannot be read, or it is in UTF-16; names it.
    """
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1 and line.startswith(_MARKS_OF_UTF16):
                    raise DataError(f"{file}: is no text in UTF-8 but in UTF-16")
                yield f"{file}:{number}", line.removesuffix("\n")
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such {what}") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder, not a file") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def as_text(place: str, line: str) -> str:
    """The line, if it is text.

    Raises:
        DataError: A byte of it is none of UTF-8; names the line.
    """
    found = None if line.isascii() else _NO_TEXT.search(line)
    if found is not None:
        raise DataError(f"{place}: is no text in UTF-8 (byte 0x{ord(found[0]) - 0xDC00:02x})")
    return line
