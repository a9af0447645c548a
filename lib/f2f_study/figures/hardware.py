"""The figure of decoders as hardware (notebook 08)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.palette import look
from f2f_study.figures.style import WRONG, draws

__all__ = ["hardware_gates"]


@draws("hardware.csv", "kind written n_s n_out sparsity care_bits wrong_bits xor2_gates depth")
def hardware_gates(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits, and the longest path, over XOR gates after synthesis, at the largest n_out.

    Filled: written with what rows share; open: row by row.
    """
    rows = rows[rows.n_out == rows.n_out.max()]
    rows = rows.assign(wrong=style.wrong_percent(rows)).sort_values("n_s")
    figure, panels = style.panels(2, width, height=2.8)
    labels = {"wrong": WRONG, "depth": "gates on the longest path"}
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        for (kind, written), part in rows.groupby(["kind", "written"], sort=False):
            name, full = look("kind", kind), written == "shared"
            form = name.line() if len(part) > 1 else name.point()
            form["fillstyle"] = "full" if full else "none"
            axes.plot(part.xor2_gates, part[column], **form)
            if full and len(part) > 1:
                # On the side of the line where that of the open points is not.
                points = part.set_index("n_s")[["xor2_gates", column]]
                place = (-3, -3) if column == "wrong" else (-3, 3)
                style.numbers(axes, points, name.colour, place)
        axes.set(xlabel="XOR gates after synthesis", ylabel=label)
        axes.margins(0.09)
    style.log_scale(panels[0])
    style.whole_numbers(panels[1].yaxis)
    figure.suptitle(f"{style.setting(rows, 'sparsity n_out')}; numbers along a line: $N_s$")
    handles = palette.handles("kind", rows.kind, "point")
    return style.legend(figure, handles + style.filled_and_open("rows share gates", "row by row"))
