"""`njit` for the kernels of this package: numba's, with a compile cache keyed by all its sources.

Numba stamps a cached kernel with the file it stands in. But a kernel holds the code of what it
calls, so a constant that changed in another file would leave machine code of two versions to work
together. Here the stamp is a hash of every source file of the package.

The cache lies where numba's would: in NUMBA_CACHE_DIR if that is set, beside the sources, or in the
user's cache folder. Where none can be written, what is there is read; where there is none, kernels
are compiled in every process. The first kernel that has to be compiled says so in one line on
standard error, unless F2F_QUIET is set.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba.core import caching
from numba.core.types.misc import unliteral

PACKAGE = Path(__file__).parents[1]
NOTICE = (
    "f2f: compiling kernels for this processor, once for each kind of data; this takes a while "
    "(python -m f2f.ahead compiles them beforehand, F2F_QUIET=1 hides this line)"
)


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function as `numba.njit` does, without the GIL and a form for C, cached.

    Parameters
    ----------
    function : callable, optional
        As a decorator with or without options.
    **options
        Of `numba.njit`.
    """
    if function is None:
        return lambda function: njit(function, **options)
    kernel = numba.njit(function, nogil=True, no_cfunc_wrapper=True, **options)
    if hasattr(kernel, "py_func"):  # not so under NUMBA_DISABLE_JIT
        kernel.get_call_template = partial(_call_template, kernel)
        try:
            kernel._cache = _KernelCache(kernel.py_func)
        except RuntimeError:  # no place to write to, nothing there to read
            kernel._cache = _NoCache()
    return kernel


def _call_template(kernel: Any, args: Any, kws: Any) -> Any:
    """As numba's; a constant argument is one of its type, not a type of its own to compile for."""
    named = {name: unliteral(kind) for name, kind in kws.items()}
    return type(kernel).get_call_template(kernel, tuple(map(unliteral, args)), named)


@cache
def package_hash() -> str:
    """SHA-256 of every source file of the package with its place in it."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class _Place(caching._CacheLocator):
    """What a cache place of numba's becomes: stamped by the package, readable where read-only."""

    def get_source_stamp(self) -> tuple[str, bytes]:
        return package_hash(), super().get_source_stamp()

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        found = super().from_function(py_func, py_file)
        if found is not None:
            return found
        if cls.usable() and os.path.exists(py_file):
            place = cls(py_func, py_file)
            if next(Path(place.get_cache_path()).glob("*.nbi"), None):
                return place
        return None

    @classmethod
    def usable(cls) -> bool:
        """Whether a place of this kind exists."""
        return True


class _Named(_Place, caching.UserProvidedCacheLocator):
    @classmethod
    def usable(cls) -> bool:
        return bool(numba.config.CACHE_DIR)


class _Beside(_Place, caching.InTreeCacheLocator):
    pass


class _OfUser(_Place, caching.UserWideCacheLocator):
    pass


class _Stored(caching.CompileResultCacheImpl):
    _locator_classes = (_Named, _Beside, _OfUser)


class _KernelCache(caching.FunctionCache):
    """The compiled forms of one kernel on disk."""

    _impl_class = _Stored

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        try:
            found = super().load_overload(sig, target_context)
        except OSError:  # another's cache
            pass
        except (AttributeError, ImportError):  # of a version with types that are no more
            with contextlib.suppress(OSError):
                self._cache_file.flush()
        if found is None:
            _notice()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        # Read-only, or full; or read-only and of another version.
        with contextlib.suppress(OSError, AttributeError, ImportError):
            super().save_overload(sig, data)


class _NoCache(caching.NullCache):
    def load_overload(self, sig: Any, target_context: Any) -> None:
        _notice()


@cache
def _notice() -> None:
    """Say once that something is compiled."""
    if "F2F_QUIET" not in os.environ and sys.stderr is not None:
        print(NOTICE, file=sys.stderr)
