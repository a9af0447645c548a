"""A path holds the whole new file or is left as it was, whatever it was."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from f2f.base import atomic
from f2f.base.atomic import atomic_write


def write(path, content=b"new"):
    with atomic_write(path) as file:
        file.write(content)


def test_the_mode_of_a_replaced_file_stays(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_read_only_file_is_refused(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"kept: is read-only \(mode 444\)"):
        write(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept"]


def test_a_device_is_written_through():
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_is_written_through(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    write(path)
    reader.join(10)
    assert found == [b"new"] and stat.S_ISFIFO(path.stat().st_mode)


def test_long_names(tmp_path):
    path = tmp_path / ("x" * 255)
    write(path)
    assert path.read_bytes() == b"new"


def test_a_full_disk_names_the_path(tmp_path):
    with pytest.raises(OSError, match="model"), atomic_write(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"new", bytes(10**6)])
def test_a_full_disk_behind_a_link_names_the_link(tmp_path, content):
    """A short content is refused when the file is closed, a long one when it is written."""
    path = tmp_path / "link"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*link'$"):
        write(path, content)
    assert path.readlink() == Path("/dev/full")


def test_what_a_link_points_at_is_named_as_it_was_given(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file" / "below")
    with pytest.raises(NotADirectoryError, match=r"Not a directory: '.*link'$"):
        write(tmp_path / "link")


def test_drafts_of_killed_writers_go_at_the_next_write(tmp_path, monkeypatch):
    path = tmp_path / "model*[1]"
    code = (
        "import os, sys; from f2f.base.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    monkeypatch.setattr(atomic, "STALE", -1.0)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"open\n"
        (draft,) = tmp_path.iterdir()
        write(path)  # the writer lives, and its draft with it
        assert sorted(tmp_path.iterdir()) == sorted([draft, path])
        writer.kill()
    write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_young_draft_is_left_alone(tmp_path):
    """Between the creation of a draft and its lock another writer may look."""
    draft = tmp_path / ".model.01234567.tmp"
    draft.write_bytes(b"")
    write(tmp_path / "model")
    assert draft.exists()
    long_ago = time.time() - 2 * atomic.STALE
    os.utime(draft, (long_ago, long_ago))
    write(tmp_path / "model")
    assert not draft.exists()
