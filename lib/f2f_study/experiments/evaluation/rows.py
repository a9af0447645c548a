"""The rows of the tables, one frozen dataclass per CSV file; `method` is a pruning method."""

from __future__ import annotations

from dataclasses import dataclass

TOTAL = "total"


@dataclass(frozen=True)
class SpreadRow:
    """Unpruned weights per block (n_u) of a layer, row order, beside independent pruning.

    variation: standard deviation of n_u over its mean. variation_binomial: the same for
    independent pruning at the layer's own sparsity; for the total, at the model's.
    excess_percent: unpruned weights beyond the first n_in = 8 of their block, of all of them; more
    than a block's input vector can serve by itself.
    """

    source: str
    network: str
    method: str
    sparsity: float
    layer: str
    weights: int
    unpruned: int
    n_out: int
    mean_n_u: float
    variation: float
    variation_binomial: float
    excess_percent: float


@dataclass(frozen=True)
class HistogramRow:
    """Share of a model's blocks with n_u unpruned weights, and the binomial share."""

    source: str
    network: str
    method: str
    sparsity: float
    n_out: int
    n_u: int
    share_percent: float
    share_binomial_percent: float


@dataclass(frozen=True)
class PaperRow:
    """A layer in the paper's setting; sizes are scaled up from the sampled blocks.

    memory_reduction_percent leaves the mask out, as decoded bits at pruned places are arbitrary;
    memory_reduction_with_mask_percent adds one bit per weight. Corrections by the paper's
    accounting. sampled_percent: share of the blocks that were encoded.
    """

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    layer: str
    n_out: int
    n_s: int
    inverting: bool
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    original_bits: int
    payload_bits: int
    correction_bits: int
    mask_bits: int
    memory_reduction_percent: float
    memory_reduction_with_mask_percent: float
    sampled_percent: float


@dataclass(frozen=True)
class PackageRow:
    """A layer in this package's setting: every stored bit, and whether it came back exactly.

    n_out: that of the layer, 0 for the total. payload_bits holds raw planes too. floor_bits:
    entropy of the mask and unpruned bits taken as incompressible. ratio_to_floor: stored bits,
    header included, over the floor; coded_ratio_to_floor: without the header, which does not grow
    with the layer. lossless: decoded and equal bit for bit.
    """

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    layer: str
    order: str
    n_s: int
    n_out: int
    beam: int
    weights: int
    unpruned: int
    encoded_planes: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    original_bits: int
    payload_bits: int
    correction_bits: int
    mask_bits: int
    header_bits: int
    stored_bits: int
    floor_bits: float
    bits_per_weight: float
    ratio_to_floor: float
    coded_ratio_to_floor: float
    memory_reduction_percent: float
    memory_reduction_without_mask_percent: float
    lossless: bool
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class SpreadEfficiencyRow:
    """A layer's spread of n_u beside its E in the two settings (paper: largest n_s, inverting)."""

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    layer: str
    weights: int
    variation: float
    excess_percent: float
    paper_percent: float
    package_percent: float


@dataclass(frozen=True)
class QualityRow:
    """Quality of a network before and after coding, in `metric`.

    dense: of the unpruned network, NaN if unknown. same_outputs: every output of the network on
    the test data is the same, bit for bit.
    """

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    metric: str
    dense: float
    before: float
    after: float
    same_outputs: bool


@dataclass(frozen=True)
class StandinRow:
    """A committed stand-in: recorded quality, the same recomputed, and that of a fresh training.

    lowest_sparsity, highest_sparsity: of its pruned tensors. trained_percent, train_s: of the
    training in this run, NaN where there was none.
    """

    network: str
    method: str
    sparsity: float
    weights: int
    unpruned: int
    lowest_sparsity: float
    highest_sparsity: float
    metric: str
    recorded_percent: float
    recomputed_percent: float
    trained_percent: float
    train_s: float
