"""Downloads from a server of this machine, and archives of every kind."""

import hashlib
import http.server
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

from f2f.base.errors import FormatError
from f2f_study import sources
from f2f_study.sources import download

CONTENT = np.random.default_rng(5).bytes(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `cut` closes the connection after that many bytes, once."""

    cut = 0
    tag = '"first"'
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = 0
        if asked and self.headers.get("If-Range") == self.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", self.tag)
        self.end_headers()
        stop = type(self).cut or len(CONTENT)
        type(self).cut = 0
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.cut, Handler.tag, Handler.ranges = 0, '"first"', []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/file.bin"
        running.shutdown()


def test_a_download_is_checked_and_kept(server, data):
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download.fetch(server, "file.bin", digest)
    assert path == data / "file.bin" and path.read_bytes() == CONTENT
    download.fetch(server, "file.bin", digest[:8])
    assert len(Handler.ranges) == 1, "a file that is there is not fetched again"


def test_an_interrupted_download_goes_on(server, data):
    Handler.cut = 100_000
    with pytest.raises(sources.ModelUnavailable, match="after 100000 of 300000 bytes; run again"):
        download.fetch(server, "file.bin")
    assert (data / "file.bin.part").stat().st_size == 100_000
    assert download.fetch(server, "file.bin").read_bytes() == CONTENT
    assert Handler.ranges == [None, "bytes=100000-"]
    assert [path.name for path in data.iterdir()] == ["file.bin"]


def test_a_file_that_changed_meanwhile_starts_again(server, data):
    Handler.cut = 100_000
    with pytest.raises(sources.ModelUnavailable):
        download.fetch(server, "file.bin")
    Handler.tag = '"second"'
    assert download.fetch(server, "file.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused(server, data):
    with pytest.raises(ValueError, match="file.bin must have sha256 00000000, got"):
        download.fetch(server, "file.bin", "00000000")
    assert not (data / "file.bin").exists()


def test_an_address_that_fails_says_what_to_do(data):
    with pytest.raises(sources.ModelUnavailable, match="place it as x.bin"):
        download.fetch((data / "absent").as_uri(), "x.bin")


def test_archives_stay_inside_their_folder(data, tmp_path):
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", "../outside")
    with pytest.raises(FormatError, match=r"evil\.tar: cannot be unpacked"):
        download.unpack(tmp_path / "evil.tar", data)
    assert not (data.parent / "outside").exists()


def test_two_at_once_fetch_one_whole_file(server, data):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: download.fetch(server, "file.bin"), range(4)))
    assert set(paths) == {data / "file.bin"} and paths[0].read_bytes() == CONTENT
    assert len(Handler.ranges) == 1, "those who waited find the file"
    assert [path.name for path in data.iterdir()] == ["file.bin"]


def archive_of(tmp_path, names):
    """A tar whose members hold their own names."""
    path = tmp_path / "data" / "files.tar"
    with tarfile.open(path, "w") as tar:
        for name in names:
            (tmp_path / "content").write_text(name)
            tar.add(tmp_path / "content", name)
    return path


def test_an_interrupted_unpacking_leaves_nothing_half_done(data, tmp_path, monkeypatch):
    names = [f"dlmc/rn50/random_pruning/0.9/{i}.smtx" for i in range(9)]
    archive = archive_of(tmp_path, [*names, "dlmc/transformer/x.smtx"])
    extract, calls = tarfile.TarFile.extract, []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return extract(self, *args, **kwargs)

    monkeypatch.setattr(tarfile.TarFile, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download.unpack(archive, data, "dlmc/rn50/")
    assert os.listdir(data) == ["files.tar"]
    (data / ".unpacking-killed" / "dlmc").mkdir(parents=True)
    download.unpack(archive, data, "dlmc/rn50/")
    assert sorted(os.listdir(data)) == ["dlmc", "files.tar"]
    found = sorted(str(path.relative_to(data)) for path in data.rglob("*.smtx"))
    assert found == names


def test_unpacking_completes_a_folder_that_is_there(data, tmp_path):
    archive = archive_of(tmp_path, ["top.txt", "a/1.txt", "a/2.txt", "a/b/3.txt"])
    place = tmp_path / "place"
    (place / "a").mkdir(parents=True)
    (place / "a" / "2.txt").write_text("old")
    (place / "a" / "mine.txt").write_text("mine")
    download.unpack(archive, place)
    texts = {str(p.relative_to(place)): p.read_text() for p in place.rglob("*.txt")}
    assert texts == {name: name for name in ("top.txt", "a/1.txt", "a/2.txt", "a/b/3.txt")} | {
        "a/mine.txt": "mine"
    }


def test_links_of_an_archive_are_skipped(data, tmp_path):
    """Links let a later member climb out of the folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = archive_of(tmp_path, ["plain.txt"])
    with tarfile.open(archive, "a") as tar:
        for name, target, kind in (
            ("inside", ".", tarfile.SYMTYPE),
            ("link", str(outside), tarfile.SYMTYPE),
            ("hard", "plain.txt", tarfile.LNKTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    download.unpack(archive, tmp_path / "place")
    assert os.listdir(tmp_path / "place") == ["plain.txt"]


@pytest.mark.parametrize("suffix", ["", ":gz", ":xz"])
def test_a_damaged_archive_is_named(data, tmp_path, suffix):
    path = data / "files.tar"
    with tarfile.open(path, f"w{suffix}") as tar:
        (tmp_path / "content").write_bytes(CONTENT)
        tar.add(tmp_path / "content", "content.bin")
    whole = path.read_bytes()
    for damaged in (b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"files\.tar: cannot be unpacked"):
            download.unpack(path, tmp_path / "place")
    assert not (tmp_path / "place").exists() and os.listdir(data) == ["files.tar"]
