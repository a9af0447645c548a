"""Writing a file so that its path holds the whole new content or is left as it was; reading one."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from f2f.base.errors import FormatError

STALE = 60.0  # seconds after which an unlocked draft is taken for that of a writer that died


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing; at the end flush it to disk and rename it there.

    If the body raises (an interrupt included) the new file is removed and `path` is untouched.
    Links are followed, so that what a link points at is replaced and not the link. A file that is
    replaced passes its mode on; devices and pipes are written through. Drafts that writers of the
    same path left behind when they were killed are removed: a living writer holds a lock on its.

    Raises
    ------
    OSError
        The path is a folder, may not be written, or cannot be; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder, "a.bin")) as file:
    ...         _ = file.write(b"all or nothing")
    ...     Path(folder, "a.bin").read_bytes()
    b'all or nothing'
    """
    target = Path(os.path.realpath(path))
    # Not tempfile: its files are private (mode 0600), a saved model has the usual permissions.
    # The name of the target is cut, so that the draft's is no longer than a name may be.
    draft = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path}: is a folder, cannot be written as a file")
        if mode is not None and not mode & 0o222:
            raise PermissionError(f"{path}: is read-only (mode {stat.S_IMODE(mode):o})")
        if mode is not None and not stat.S_ISREG(mode):
            with open(target, "wb") as file:
                yield file
            return
        with _draft(draft, target) as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            os.fsync(file.fileno())
            os.replace(draft, target)
    except OSError as error:
        # A full disk is noticed without a name, others by names that the caller did not give.
        if error.errno and error.filename in (None, str(draft), str(target)):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    _sync_folder(target.parent)


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> BufferedReader:
    """Open a file to read its bytes; `FormatError` for a pipe or a device, which may never end."""

    def at_once(name: str, flags: int) -> int:  # a pipe would wait for a writer
        return os.open(name, flags | os.O_NONBLOCK)

    file: Any = open(path, "rb", buffering, opener=at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FormatError(f"{path}: must be a file, is a pipe or a device")
    return file


@contextmanager
def _draft(path: Path, target: Path) -> Iterator[BinaryIO]:
    """A new file that is locked while it is open, and removed if the body raises."""
    _remove_stale_drafts(target)
    try:
        with open(path, "xb") as file:
            _lock(file)
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _lock(file: BinaryIO) -> bool:
    """Take the lock of a draft for as long as it is open; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nothing is known to be stale
        return False
    return True


def _remove_stale_drafts(target: Path) -> None:
    for draft in target.parent.glob(f".{_escaped(target.name[:40])}.????????.tmp"):
        try:
            with open(draft, "rb") as file:
                old = time.time() - os.fstat(file.fileno()).st_mtime > STALE
                if old and _lock(file):
                    draft.unlink(missing_ok=True)
        except OSError:  # another's, or gone by now
            pass


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
