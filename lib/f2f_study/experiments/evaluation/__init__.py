"""The tables of notebooks 04 and 05: a pruned model in the paper's setting and in this package's.

The paper's setting: weights in row order, one n_out for the whole model, n_s = 0, 1, 2, every bit
plane encoded as it is, or inverted first where most of its care bits are ones. This package's:
`f2f.compress`, with a wide window, an order that spreads the unpruned weights, n_out chosen per
tensor and skewed planes recoded. Both work on the same weights and masks.
"""

from f2f_study.experiments.evaluation.package import package_rows as package_rows
from f2f_study.experiments.evaluation.paper import paper_rows as paper_rows
from f2f_study.experiments.evaluation.quality import Translator as Translator
from f2f_study.experiments.evaluation.quality import imagenet_quality as imagenet_quality
from f2f_study.experiments.evaluation.quality import newstest2014 as newstest2014
from f2f_study.experiments.evaluation.quality import standin_quality as standin_quality
from f2f_study.experiments.evaluation.quality import standin_row as standin_row
from f2f_study.experiments.evaluation.quality import translation_quality as translation_quality
from f2f_study.experiments.evaluation.rows import TOTAL as TOTAL
from f2f_study.experiments.evaluation.rows import HistogramRow as HistogramRow
from f2f_study.experiments.evaluation.rows import PackageRow as PackageRow
from f2f_study.experiments.evaluation.rows import PaperRow as PaperRow
from f2f_study.experiments.evaluation.rows import QualityRow as QualityRow
from f2f_study.experiments.evaluation.rows import SpreadEfficiencyRow as SpreadEfficiencyRow
from f2f_study.experiments.evaluation.rows import SpreadRow as SpreadRow
from f2f_study.experiments.evaluation.rows import StandinRow as StandinRow
from f2f_study.experiments.evaluation.spread import DTYPES as DTYPES
from f2f_study.experiments.evaluation.spread import histogram_rows as histogram_rows
from f2f_study.experiments.evaluation.spread import layer_weights as layer_weights
from f2f_study.experiments.evaluation.spread import paper_n_out as paper_n_out
from f2f_study.experiments.evaluation.spread import spread_efficiency_rows as spread_efficiency_rows
from f2f_study.experiments.evaluation.spread import spread_rows as spread_rows
from f2f_study.experiments.evaluation.spread import totals as totals
from f2f_study.experiments.evaluation.summary import falls_with_spread as falls_with_spread
from f2f_study.experiments.evaluation.summary import summary as summary
