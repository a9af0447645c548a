"""What is printed: any text, on a terminal of any encoding, and nothing that steers it."""

from __future__ import annotations

import io
import sys


def printable(text: object) -> str:
    """The text in one line; escapes instead of what a terminal would obey or could not show.

    >>> print(printable("a\\x1b[2J\\nß"))
    a\\x1b[2J\\nß
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def is_watched() -> bool:
    """Whether standard error is a terminal; it may be closed, as of a service."""
    return sys.stderr is not None and sys.stderr.isatty()


def accept_any_text() -> None:
    """From now on, standard output and error escape what their encoding (ASCII, say) lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
