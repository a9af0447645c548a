"""Where downloaded files lie, and how they get there.

Files go to ``data/raw`` of the repository; the environment variable ``F2F_DATA`` names another
folder. A download that was interrupted leaves ``NAME.part`` and goes on from there the next time,
if the server can and the file is still the same one. An archive is unpacked beside its place and
then moved there, so what is in place is whole. Processes that fetch or unpack into one folder take
turns. ``data/README.md`` lists every file.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pooch
from tqdm import tqdm

from f2f.base.errors import FormatError
from f2f_study.results import data_dir

_CHUNK = 1 << 20
_DRAFT = ".unpacking-"


class ModelUnavailable(FileNotFoundError):
    """A model that is not on this machine; the message says how to get it."""

    @classmethod
    def of(cls, name: str, how: str) -> ModelUnavailable:
        """What is missing in the data folder, and how it gets there: "get URL and place it in"."""
        return cls(
            f"{name} is not in the data folder. Pass download=True, or {how} data/raw (or the "
            "folder that F2F_DATA names); see data/README.md"
        )


def find_file(path: str) -> Path:
    """A file by its path, or by its path below `data_dir`; `ModelUnavailable` if there is none."""
    for place in (Path(path), data_dir() / path):
        if path and place.is_file():
            return place
    raise ModelUnavailable(f"path must be a file, here or in the data folder, got {path!r}")


@contextmanager
def _alone_in(folder: Path) -> Iterator[bool]:
    """Wait until no other process holds the folder, and hold it; False where locks do not work."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    locked = False
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        yield locked
    finally:
        os.close(handle)


def fetch(url: str, name: str, sha256: str = "") -> Path:
    """Download a file once, from http, https or file, to a name below `data_dir`.

    `sha256` is its checksum in hex, or the first digits (publishers often put eight into the file
    name); "" if none is known. `ValueError` if it does not match: the wrong file is removed;
    `ModelUnavailable` if the address cannot be read.
    """
    folder = data_dir()
    path = folder / name
    with _alone_in(folder):
        if not path.exists():
            loader = _Resumable(folder / f"{name}.part")
            try:
                pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=loader)
            except (urllib.error.URLError, OSError) as error:
                raise ModelUnavailable(
                    f"{url} cannot be downloaded ({error}); fetch it by other means and place it "
                    f"as {name} in the folder that F2F_DATA names, or data/raw "
                    "(see data/README.md)"
                ) from error
        found = pooch.file_hash(str(path), alg="sha256") if sha256 else ""
        if not found.startswith(sha256.lower()):
            path.unlink()
            raise ValueError(
                f"{name} must have sha256 {sha256}, got {found}; the file was removed. "
                f"Download it again, or check the address {url}"
            )
    return path


class _Resumable:
    """A pooch downloader that keeps what came and continues there, which pooch's own do not.

    The part file is only continued if the server still names the same ETag or date (If-Range);
    otherwise the server sends the whole file and it starts again.
    """

    def __init__(self, part: Path) -> None:
        self.part, self.tag = part, part.with_suffix(".tag")

    def __call__(self, url: str, output_file: Any, pooch: Any = None) -> None:
        done = self.part.stat().st_size if self.part.exists() and self.tag.exists() else 0
        headers = {"User-Agent": "f2f"}
        if done:
            tag = self.tag.read_text(encoding="utf-8")
            headers |= {"Range": f"bytes={done}-", "If-Range": tag}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = getattr(answer, "status", None) == 206
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            if tag and not tag.startswith("W/"):
                self.tag.write_text(tag, encoding="utf-8")
            else:
                self.tag.unlink(missing_ok=True)
            start = done if resumed else 0
            length = answer.headers.get("Content-Length")
            self._copy(answer, start, start + int(length) if length else None)
        shutil.move(self.part, output_file)
        self.tag.unlink(missing_ok=True)

    def _copy(self, answer: Any, start: int, total: int | None) -> None:
        """Append the answer to the part file from byte `start`; `OSError` if it ends early."""
        bar = tqdm(desc=self.part.stem, total=total, initial=start, unit="B", unit_scale=True)
        with bar, open(self.part, "ab" if start else "wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
            size = out.tell()
        if total is not None and size != total:
            raise OSError(f"connection closed after {size} of {total} bytes; run again to go on")


def unpack(archive: Path, folder: Path, prefix: str = "") -> None:
    """Extract plain files of a tar archive, whose paths start with `prefix`, into a folder.

    Links and devices are skipped. The files are extracted beside the archive first. Then every
    folder that is not there yet comes into place by one renaming, so that an interruption leaves
    none with a part of its files; into one that is there the files are moved. `FormatError` if the
    archive is damaged, or a member would lie outside the folder.
    """
    with (
        _alone_in(archive.parent) as alone,
        tempfile.TemporaryDirectory(prefix=_DRAFT, dir=archive.parent) as draft,
    ):
        for old in archive.parent.glob(f"{_DRAFT}*"):
            if alone and old != Path(draft):  # that of a process that was killed
                shutil.rmtree(old)
        try:
            with tarfile.open(archive) as tar:
                for member in tqdm(tar, desc=f"unpack {archive.name}", unit=" files"):
                    if member.isfile() and member.name.removeprefix("./").startswith(prefix):
                        tar.extract(member, draft, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise FormatError(f"{archive}: cannot be unpacked: {error}") from error
        for found, folders, files in os.walk(draft):
            place = folder / Path(found).relative_to(draft)
            place.parent.mkdir(parents=True, exist_ok=True)
            if files and not folders and not place.exists() and found != draft:
                shutil.move(found, place)
                continue
            place.mkdir(exist_ok=True)
            for name in sorted(files):  # the data of a checkpoint before its index
                shutil.move(Path(found, name), place / name)
