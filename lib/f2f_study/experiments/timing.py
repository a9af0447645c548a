"""Times without compilation: what was measured while a kernel came into being is measured again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

from numba.core import event

T = TypeVar("T")


def settled(measure: Callable[[], T]) -> T:
    """What `measure` returns from a call in which no kernel was compiled, or loaded from its cache.

    The calls before it are lost. A process compiles or loads each form of a kernel once, so there
    are few of them.
    """
    while True:
        with event.install_recorder("numba:compiler_lock") as seen:
            found = measure()
        if not seen.buffer:
            return found
        gc.collect()  # what the compiler has left would be cleared away in the next call
