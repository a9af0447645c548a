"""The few numbers a run of notebooks 04 and 05 stands for, and what must hold for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from f2f_study.experiments.evaluation.rows import PackageRow, PaperRow, QualityRow, SpreadRow
from f2f_study.experiments.evaluation.spread import totals
from f2f_study.results import Quantity


def summary(
    spread: Sequence[SpreadRow],
    paper: Sequence[PaperRow],
    package: Sequence[PackageRow],
    quality: Sequence[QualityRow] = (),
) -> list[Quantity]:
    """Quantities of whole models, named by method, sparsity and dtype."""
    found = []
    for s in totals(spread):
        name = f"{s.method} {s.sparsity:g}: spread of n_u over its mean"
        found.append(Quantity(name, s.variation, "1", 0.02))
    for r in totals(paper):
        if r.n_s == max(p.n_s for p in paper):
            how = "inverting" if r.inverting else "as they are"
            name = f"{r.method} {r.sparsity:g} {r.dtype}: paper's setting, n_s = {r.n_s}, {how}, E"
            # Sampled blocks, and another draw of M.
            found.append(Quantity(name, r.efficiency_percent, "%", 1.0))
    for p in totals(package):
        name = f"{p.method} {p.sparsity:g} {p.dtype}: "
        found.append(Quantity(name + "E", p.efficiency_percent, "%", 0.1))
        found.append(Quantity(name + "stored bits per weight", p.bits_per_weight, "bit", 0.05))
        found.append(Quantity(name + "stored bits over the floor", p.ratio_to_floor, "1", 0.01))
        found.append(Quantity(name + "encoding", p.encode_s, "s", math.nan))
    for q in quality:
        name = f"{q.method} {q.sparsity:g} {q.dtype}: quality, {q.metric}"
        found.append(Quantity(name, q.after, "%" if q.metric[0] == "%" else "BLEU", 1.0))
    return found


def falls_with_spread(
    spread: Sequence[SpreadRow], paper: Sequence[PaperRow], slack_percent: float = 0.5
) -> bool:
    """Whether in the paper's setting E falls as the spread of n_u rises, method by method.

    Compared per sparsity, dtype and inverting at the largest n_s; an E may exceed that of a method
    of smaller spread by at most `slack_percent`, for the draw of the sample.
    """
    variation = {(s.method, s.sparsity): s.variation for s in totals(spread)}
    largest = max(row.n_s for row in paper)
    groups: dict[tuple[float, str, bool], list[tuple[float, float]]] = {}
    for row in totals(paper):
        if row.n_s == largest:
            point = (variation[row.method, row.sparsity], row.efficiency_percent)
            groups.setdefault((row.sparsity, row.dtype, row.inverting), []).append(point)
    for points in groups.values():
        values = [efficiency for _, efficiency in sorted(points)]
        pairs = itertools.pairwise(values)
        if any(later > earlier + slack_percent for earlier, later in pairs):
            return False
    return True
