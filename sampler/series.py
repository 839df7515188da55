"""Correlated series: how well a mean over sweeps is known.

Two routes to the standard error, by autocorrelation and by the spread of blocks of whole sweeps;
each misses what the other sees, so that the larger is reported.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLOCKS = 2             # blocks of whole sweeps in each chain, for the spread
BLOCKS_OF_ONE = 8      # the same for a run of one chain


def series_errors(series: Array) -> tuple[float, float, int]:
    """Standard error of the mean of a correlated series, two ways.

    Parameters
    ----------
    series : array (chains, sweeps)

    Returns
    -------
    within, between, freedom
        By autocorrelation (Geyer's initial monotone sequence), by the spread of blocks of whole
        sweeps (two in each chain, eight in a single one), and the number of blocks minus 1.
        Infinite where there is no estimate: too few sweeps, or rungs that never met.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(4, 10_000))
    >>> within, between, freedom = series_errors(white)
    >>> round(within, 3), freedom
    (0.005, 7)
    """
    chains, sweeps = series.shape
    per_chain = block_count(chains)
    freedom = chains * per_chain - 1
    if sweeps < 2 * per_chain or not np.isfinite(series).all():
        return math.inf, math.inf, freedom
    within = math.sqrt(float(series.var()) * autocorrelation_time(series) / series.size)
    length = sweeps // per_chain
    blocks = series[:, sweeps - per_chain * length:].reshape(chains, per_chain, length)
    means = blocks.mean(axis=2).ravel()
    between = float(means.std(ddof=1)) / math.sqrt(len(means))
    return within, between, freedom


def block_count(chains: int) -> int:
    """Blocks of whole sweeps in each chain.

    Examples
    --------
    >>> block_count(4), block_count(1)
    (2, 8)
    """
    return BLOCKS if chains > 1 else BLOCKS_OF_ONE


def autocorrelation_time(series: Array) -> float:
    """Integrated autocorrelation time in sweeps: 1 for white noise (Geyer 1992).

    Parameters
    ----------
    series : array (chains, sweeps)
        Deviations are taken from the mean over all chains, so that chains that disagree count
        as correlation.

    Returns
    -------
    float
        1 + 2 * (sum of autocorrelations), never below 1/log10 of the number of sweeps.
    """
    chains, sweeps = series.shape
    centred = series - series.mean()
    variance = float((centred**2).mean())
    if variance == 0.0:
        return 1.0
    size = 1 << (2 * sweeps - 1).bit_length()
    total = np.zeros(size // 2 + 1)
    for chain in centred:
        total += np.abs(np.fft.rfft(chain, size)) ** 2
    covariance = np.fft.irfft(total, size)[:sweeps] / (chains * np.arange(sweeps, 0, -1))
    rho = covariance / variance
    pairs = rho[0 : 2 * (sweeps // 2) : 2] + rho[1 : 2 * (sweeps // 2) : 2]
    negative = np.flatnonzero(pairs <= 0.0)
    pairs = pairs[: negative[0]] if len(negative) else pairs
    tau = 2.0 * float(np.minimum.accumulate(pairs).sum()) - 1.0 if len(pairs) else 1.0
    return max(tau, 1.0 / math.log10(max(sweeps, 10)))
