"""What every name looks like: a method, a format, an n_s is drawn alike wherever it is drawn.

A look belongs to a name, never to its place among the others that happen to be drawn. Colours are
Okabe and Ito's, which the colour-blind tell apart; marker, dashes and hatch change with the colour,
so that a grey print reads as well. The numbers of colours, markers and dashes have no common
divisor, so that each of 8 * 11 * 9 slots is another look. A name that is not listed here takes a
slot beyond the listed ones, chosen by a checksum of the name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999933"
)  # fmt: skip
_MARKERS = "os^DvPX*<p>"
# On, off, on, off … in line widths; () is a solid line.
_DASHES: tuple[tuple[float, ...], ...] = (
    (), (4, 1.5), (4, 1.5, 1, 1.5), (1, 1), (6, 1.5), (3, 1.5, 1, 1.5, 1, 1.5), (2, 1), (5, 4),
    (7, 2, 2, 2),
)  # fmt: skip
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oooo", "----", "||||")

_SLOTS = len(_COLOURS) * len(_MARKERS) * len(_DASHES)
# Slots from here on belong to names that are not listed.
_UNLISTED = 20

GREY = "#555555"
"""Of bounds, models and baselines: what is compared with, not what was measured."""

# For every kind of name, in the order of legends: its slot, and its label where that differs.
_LISTED: dict[str, dict[Any, Any]] = {
    "method": {
        "random": 0, "magnitude": 1, "l0": (2, "L0"),
        "variational_dropout": (3, "variational dropout"), "dense": 6,
    },
    # Formats of one family share a slot where they never meet in one figure.
    "format": {
        "dense": 6,
        "dense_fp32": (6, "dense FP32"),
        "dense_fp16": (14, "dense FP16"),
        "csr": (1, "CSR, 32-bit columns"),
        "scipy csr npz": (5, "SciPy's CSR, npz"),
        "csr_torch": (1, "CSR FP32 (MKL)"),
        "csr_fp32": (1, "CSR FP32 (cuSPARSE)"),
        "csr_scipy": (7, "CSR FP32 (SciPy, 1 thread)"),
        "csr_numba": (3, "CSR FP32 (Algorithm 1)"),
        "delta_csr": (4, "delta-CSR"),
        "zstd": (7, "dense through zstd"),
        "bitmap": (2, "bitmap + values"),
        "ans_bitmap": (3, "bitmap by rANS + values"),
        "encoded": 0,
        "encoded_cascade": (5, "encoded, cascade mask"),
        "encoded_parity": (8, "encoded, by parities"),
        "encoded_golden": (10, "encoded, golden order"),
        "f2f": (0, "this package"),
        "zipnn": (19, "dense through ZipNN"),
        "bitmap_zipnn": (10, "bitmap + values by ZipNN"),
        "ans_values": (9, "mask and values by rANS"),
    },
    "encoder": {"beam": 0, "viterbi": (7, "exact optimum")},
    "dtype": {
        "int8": (0, "INT8"), "bfloat16": (1, "BF16"), "float16": (2, "FP16"),
        "float32": (3, "FP32"),
    },
    "network": {"transformer": (0, "Transformer"), "resnet": (1, "ResNet")},
    "source": {
        "surrogate": (0, "surrogate masks"), "dlmc": (1, "published masks"),
        "standin": (2, "stand-in"), "file": (3, "weights of a file"), "checkpoint": 4,
        "torchvision": 5,
    },
    "order": {"row": 0, "column": 1, "golden": 2, "diagonal": 3},
    "kind": {
        "random": 0, "folded": 1, "half the nibbles": 2, "weight 16": 3, "weight 8": 4,
        "byte weight 4": 5, "byte weight 3": 6, "full rank ends": 7,
    },
    "part": {"payload": 0, "correction": 1, "mask": 2, "header": 3},
    "mask": {"without": (0, "without mask"), "bitmap": (1, "with a bitmap")},
    "inverted": {False: (0, "as it is"), True: (1, "inverted")},
    "n_s": {n_s: n_s for n_s in range(8)},
    "n_in": {1: 0, 2: 1, 4: 2, 8: 3, 16: 4},
    # Those that are drawn together lie far apart.
    "beam": {1: 0, 2: 7, 4: 6, 8: 4, 16: 1, 32: 3, 64: 5, 128: 8, 256: 2},
    "sparsity": {0.7: 1, 0.9: 0},
    "n_out": {},
}  # fmt: skip
_NUMBERS = {
    "n_s": "$N_s$ = {}", "n_in": "$N_{{in}}$ = {}", "n_out": "$N_{{out}}$ = {}",
    "sparsity": "$S$ = {}", "beam": "beam {}",
}  # fmt: skip


class Look(NamedTuple):
    """How one name is drawn."""

    label: str  # what a legend or an axis calls it
    colour: str  # as matplotlib takes it, so the next two
    marker: str
    hatch: str
    dashes: tuple[float, ...]  # lengths on and off in line widths; empty for a solid line

    def line(self) -> dict[str, Any]:
        """Arguments of `Axes.plot` for a line with markers."""
        return self.point() | {"linestyle": (0, self.dashes) if self.dashes else "-"}

    def point(self, filled: bool = True) -> dict[str, Any]:
        """Arguments of `Axes.plot` for markers without a line."""
        face = self.colour if filled else "none"
        shape = {"marker": self.marker, "markerfacecolor": face}
        return shape | {"color": self.colour, "linestyle": "none"}

    def bar(self) -> dict[str, Any]:
        """Arguments of `Axes.bar`."""
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": "white"}


def _plain(name: Any) -> Any:
    """A value of a data frame as a key of `_LISTED`: 2.0 and numpy's 2 are 2."""
    name = getattr(name, "item", lambda: name)()
    return int(name) if isinstance(name, float) and name.is_integer() else name


def look(kind: str, name: Any) -> Look:
    """The look of a name of a kind: "method", "format", "n_s" …

    A name that is not listed gets a look that no listed one has, the same in every run.

    >>> look("method", "l0").label, look("n_s", 2).colour == look("n_s", 2.0).colour
    ('L0', True)
    >>> look("format", "a new one") == look("format", "a new one") != look("format", "bitmap")
    True
    """
    name = _plain(name)
    beyond = _UNLISTED + zlib.crc32(str(name).encode()) % (_SLOTS - _UNLISTED)
    found = _LISTED[kind].get(name, beyond)
    slot, label = found if isinstance(found, tuple) else (found, name)
    label = f"{label:.3g}" if isinstance(label, float) else label
    return Look(
        label=_NUMBERS.get(kind, "{}").format(label),
        colour=_COLOURS[slot % len(_COLOURS)],
        marker=_MARKERS[slot % len(_MARKERS)],
        hatch=_HATCHES[slot % len(_HATCHES)],
        dashes=_DASHES[slot % len(_DASHES)],
    )


def names(kind: str, found: Iterable[Any]) -> list[Any]:
    """The different names in `found` in the order of legends, those that are not listed last."""
    order = list(_LISTED[kind])
    different = sorted({_plain(name) for name in found})
    listed = [name for name in order if name in different]
    return listed + [name for name in different if name not in order]


def points(rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Arguments of a seaborn scatter plot of `rows` by the looks of the column `kind`."""
    return _looks(rows, kind) | {"linewidth": 0}


def lines(rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    """The same for a line plot."""
    dashes = {name: look(kind, name).dashes or "" for name in names(kind, rows[kind])}
    return _looks(rows, kind) | {"dashes": dashes, "markeredgewidth": 0}


def _looks(rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    looks = {name: look(kind, name) for name in names(kind, rows[kind])}
    return {
        "hue": kind,
        "hue_order": list(looks),
        "palette": {name: one.colour for name, one in looks.items()},
        "style": kind,
        "markers": {name: one.marker for name, one in looks.items()},
    }


def handles(kind: str, found: Iterable[Any], shape: str = "line") -> list[Artist]:
    """Legend entries, one for each different name in `found`; shape: line, point or bar."""
    looks = [look(kind, name) for name in names(kind, found)]
    if shape == "bar":
        return [Patch(label=one.label, **one.bar()) for one in looks]
    arguments = [one.line() if shape == "line" else one.point() for one in looks]
    return [Line2D([], [], label=one.label, **a) for one, a in zip(looks, arguments, strict=True)]
