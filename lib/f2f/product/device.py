"""Whether there is a GPU that kernels can run on, and if not, why, in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

_PROBE = 'extern "C" __global__ void probe(int *out) { *out = 42; }'


@dataclass(frozen=True)
class Gpu:
    """What the probe found; true where kernels run.

    Attributes
    ----------
    reason : str
        "" where kernels run, else why they do not.
    name : str
        As the driver gives it.
    capability : (int, int)
        Major and minor.
    multiprocessors : int
    shared_bytes : int
        Of shared memory, the most that one thread block may take.
    memory_bytes : int
        Of the card.
    """

    reason: str
    name: str = ""
    capability: tuple[int, int] = (0, 0)
    multiprocessors: int = 0
    shared_bytes: int = 0
    memory_bytes: int = 0

    def __bool__(self) -> bool:
        return not self.reason


@cache
def probe() -> Gpu:
    """Look once: import CuPy, count devices, compile and run a one-line kernel. Never raises."""
    try:
        import cupy
    except Exception as error:  # a broken installation raises more than ImportError
        return Gpu(f"CuPy cannot be imported ({_words(error)})")
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return Gpu("the CUDA driver reports no device")
    except Exception as error:
        return Gpu(f"no CUDA driver answers ({_words(error)})")
    try:
        out = cupy.zeros(1, dtype=cupy.int32)
        cupy.RawKernel(_PROBE, "probe")((1,), (1,), (out,))
        if int(out[0]) != 42:
            return Gpu("a one-line kernel ran but gave a wrong result")
    except Exception as error:
        return Gpu(f"a one-line kernel does not run ({_words(error)})")
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    capability = (int(properties["major"]), int(properties["minor"]))
    if capability < (8, 0):
        return Gpu(
            "the kernels need compute capability 8.0, the device has {}.{}".format(*capability)
        )
    return Gpu(
        "",
        properties["name"].decode(),
        capability,
        int(properties["multiProcessorCount"]),
        int(properties["sharedMemPerBlockOptin"]),
        int(properties["totalGlobalMem"]),
    )


def require() -> ModuleType:
    """The cupy module.

    Raises
    ------
    RuntimeError
        Where there is no GPU that kernels run on; it says why.
    """
    found = probe()
    if not found:
        raise RuntimeError(f"backend 'cupy' needs a CUDA GPU: {found.reason}")
    import cupy

    return cupy


def _words(error: Exception) -> str:
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
