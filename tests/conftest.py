"""Settings of the whole suite."""

import os
import signal

# Two test processes share the cores: libraries under torch and NumPy take one thread each. Numba's
# threads stay, since the tests ask for different numbers of them.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a command prints does not depend on whether its kernels are compiled already.
os.environ.setdefault("F2F_QUIET", "1")

# A shell lets what it starts in the background ignore interrupts, and children inherit that: those
# of tests that send one must not.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from hypothesis import settings

# The first call of a kernel compiles it, so no deadline; continuous integration draws the same
# examples every time.
settings.register_profile("f2f", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("f2f")

# What takes longest begins first, so that the end of a run keeps every process busy.
LONGEST = (
    "test_notebooks.py",
    "test_memory_bound.py",
    "test_launch.py",
    "test_jit.py",
    "test_lowerings.py",
    "test_hardware.py",
    "test_beam.py",
    "test_search.py",
)


def pytest_collection_modifyitems(config, items):
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))
