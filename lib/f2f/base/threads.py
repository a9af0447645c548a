"""Threads that work for one call, and are kept for the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def run_together(jobs: Sequence[Callable[[], None]]) -> None:
    """Run every job, the last in the caller's thread; what one raises is raised."""
    others = [kept_pool(len(jobs)).submit(job) for job in jobs[:-1]]
    jobs[-1]()
    for other in others:
        other.result()


def kept_pool(threads: int) -> ThreadPoolExecutor:
    """The threads beside the caller's: starting them would take as long as a small product."""
    return _pool(threads, os.getpid())  # they do not outlive a fork


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(threads - 1, 1))
