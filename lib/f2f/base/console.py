"""What is printed: any text, on a terminal of any encoding, and nothing that steers it."""

from __future__ import annotations

import io
import os
import sys

OUTPUT = "standard output"


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


def show(text: str = "", error: bool = False) -> None:
    """Print a line at once on standard output or error, if it is open.

    Raises
    ------
    OSError
        It cannot be written; its file name is `OUTPUT`.
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as failure:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or its end fails again
        raise OSError(failure.errno, failure.strerror, OUTPUT) from failure


def accept_any_text() -> None:
    """From now on, standard output and error escape what their encoding (ASCII, say) lacks.

    Where one is closed, nothing else gets its number: libraries that write to it would write into a
    model file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
