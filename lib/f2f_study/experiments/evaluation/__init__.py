"""The tables of notebooks 04 and 05: a pruned model in the paper's setting and in this package's.

The paper's setting: weights in row order, one n_out for the whole model, n_s = 0, 1, 2, every bit
plane encoded as it is, or inverted first where most of its care bits are ones. This package's:
`f2f.compress`, with a wide window, an order that spreads the unpruned weights, n_out chosen per
tensor and skewed planes recoded. Both work on the same weights and masks. A table is a data frame
with a row per layer and one per model; a CSV file of runs/README.md is named after the function
that makes it.
"""

from f2f_study.experiments.evaluation.models import DTYPES as DTYPES
from f2f_study.experiments.evaluation.models import described as described
from f2f_study.experiments.evaluation.models import layer_weights as layer_weights
from f2f_study.experiments.evaluation.models import run_folder as run_folder
from f2f_study.experiments.evaluation.models import summary as summary
from f2f_study.experiments.evaluation.package import Decoded as Decoded
from f2f_study.experiments.evaluation.package import package_setting as package_setting
from f2f_study.experiments.evaluation.paper import ones_by_plane as ones_by_plane
from f2f_study.experiments.evaluation.paper import paper_setting as paper_setting
from f2f_study.experiments.evaluation.predictions import falls_with_spread as falls_with_spread
from f2f_study.experiments.evaluation.predictions import package_prediction as package_prediction
from f2f_study.experiments.evaluation.predictions import paper_prediction as paper_prediction
from f2f_study.experiments.evaluation.predictions import stored_over_floor as stored_over_floor
from f2f_study.experiments.evaluation.quality import Pairs as Pairs
from f2f_study.experiments.evaluation.quality import Translator as Translator
from f2f_study.experiments.evaluation.quality import imagenet_quality as imagenet_quality
from f2f_study.experiments.evaluation.quality import newstest2014 as newstest2014
from f2f_study.experiments.evaluation.quality import standin_quality as standin_quality
from f2f_study.experiments.evaluation.quality import translation_quality as translation_quality
from f2f_study.experiments.evaluation.spread import by_kind_of_layer as by_kind_of_layer
from f2f_study.experiments.evaluation.spread import efficiency_by_spread as efficiency_by_spread
from f2f_study.experiments.evaluation.spread import kind_of_layer as kind_of_layer
from f2f_study.experiments.evaluation.spread import n_u_histogram as n_u_histogram
from f2f_study.experiments.evaluation.spread import n_u_spread as n_u_spread
from f2f_study.experiments.evaluation.surrogates import surrogate_fidelity as surrogate_fidelity
from f2f_study.experiments.model_rows import TOTAL as TOTAL
from f2f_study.experiments.model_rows import totals as totals
