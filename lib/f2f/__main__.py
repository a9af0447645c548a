"""Command line: ``python -m f2f`` (or ``f2f``) compress, decompress, inspect, verify, verilog.

Exit code 0: done; 1: `verify` found a difference; 2: wrong arguments, an unreadable or damaged
file, one line on standard error; 130: interrupted. What the commands do is in `f2f.commands`, which
is imported when one is chosen: with the kernels it takes longer than `f2f --help` should.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import Any

from f2f import __version__
from f2f.base.console import OUTPUT, accept_any_text, printable, show

COMMANDS = {
    "compress": "compress a model into one file",
    "decompress": "the model again, bit for bit",
    "inspect": "sizes of every tensor beside other formats",
    "verify": "check every byte; compare with the original",
    "verilog": "the decoder of a tensor as hardware",
}


class _Command(argparse.ArgumentParser):
    """The parser of one command, which gets its arguments when the command is chosen."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        from f2f.commands import ARGUMENTS

        ARGUMENTS[self.get_default("command")](self)
        return super().parse_known_args(args, namespace)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; argv None: of this process."""
    accept_any_text()
    parser = argparse.ArgumentParser(
        prog="f2f", description="Lossless fixed-to-fixed compression of irregularly sparse models."
    )
    parser.add_argument("--version", action="version", version=f"f2f {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Command)
    for name, what in COMMANDS.items():
        commands.add_parser(name, help=what).set_defaults(command=name)
    try:
        arguments = parser.parse_args(argv)
        warnings.showwarning = _warn  # type: ignore[assignment]
        return int(arguments.run(arguments))
    except (BrokenExecutor, ImportError, MemoryError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and error.filename == OUTPUT:
            return 0  # the reader of a pipe (head, less) has gone
        _say(str(error) or type(error).__name__)
        return 2
    except KeyboardInterrupt:
        _say("interrupted, no file half written")
        return 130


def _warn(message: Warning | str, *_: object) -> None:
    _say(str(message))


def _say(text: str) -> None:
    with suppress(OSError):  # a full disk, say: the exit code tells all the same
        show(f"f2f: {printable(' '.join(text.split()))}", error=True)


if __name__ == "__main__":
    sys.exit(main())
