"""The ladder of inverse temperatures: from the prior (beta = 0) to the posterior (beta = 1).

The local communication barrier Lambda(beta) is the summed rejection of neighbouring rungs; equal
steps in Lambda give equal rejection everywhere, and about 2 Lambda rungs give the fastest round
trips (Syed, Bouchard-Cote, Deligiannidis, Doucet, JRSS B 84 (2022) 321).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError

Array = NDArray[np.float64]
FEWEST, MOST = 16, 256


@dataclass(frozen=True, eq=False)
class Ladder:
    """Inverse temperatures, from 0 to 1.

    Parameters
    ----------
    betas : array (rungs,)
        Strictly increasing; the first 0 (the prior), the last 1 (the posterior).

    Examples
    --------
    >>> Ladder([0, 0.1, 1]).betas
    array([0. , 0.1, 1. ])
    """

    betas: Any

    def __post_init__(self) -> None:
        betas = np.array(self.betas, dtype=np.float64)
        if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0.0 or betas[-1] != 1.0:
            raise InputError("ladder", f"{self.betas!r}",
                             "two rungs or more, the first 0 and the last 1")
        falls = np.flatnonzero(~(np.diff(betas) > 0.0))
        if len(falls):
            i = int(falls[0]) + 1
            raise InputError(f"ladder[{i}]", f"{betas[i]:g} after {betas[i - 1]:g}",
                             "increasing inverse temperatures")
        betas.setflags(write=False)
        object.__setattr__(self, "betas", betas)

    @staticmethod
    def geometric(rungs: int, ratio: float) -> Ladder:
        """``beta_1 = 0, beta_l = ratio**(l - rungs)``: the ladder most papers quote.

        Examples
        --------
        >>> Ladder.geometric(4, 2.0).betas
        array([0.  , 0.25, 0.5 , 1.  ])
        """
        if isinstance(rungs, bool) or not isinstance(rungs, int) or not 2 <= rungs <= MOST:
            raise InputError("rungs", repr(rungs), f"a whole number from 2 to {MOST}")
        if not 1.0 < ratio < math.inf:
            raise InputError("ratio", repr(ratio), "a number > 1")
        return Ladder([0.0, *(float(ratio) ** (level - rungs) for level in range(2, rungs + 1))])


def first_ladder(prior_energies: Array) -> Array:
    """A geometric start; beta_2 keeps half of the prior draws effective.

    Parameters
    ----------
    prior_energies : array (draws,)
        U of draws from the prior; +inf (outside the support) counts as weight 0.
    """
    finite = prior_energies[np.isfinite(prior_energies)]
    spread = finite - finite.min()

    def effective(log_beta: float) -> float:
        w = np.exp(-math.exp(log_beta) * spread)
        return float(w.sum() ** 2 / (w**2).sum() / len(w))

    lo, hi = math.log(1e-18), 0.0
    if effective(hi) > 0.5:
        lo = hi
    for _ in range(60):
        middle = 0.5 * (lo + hi)
        lo, hi = (middle, hi) if effective(middle) > 0.5 else (lo, middle)
    second = min(math.exp(lo), 0.5)
    rungs = int(np.clip(math.ceil(-math.log(second) / math.log(1.6)) + 2, FEWEST, 64))
    return np.concatenate([[0.0], np.exp(np.linspace(math.log(second), 0.0, rungs - 1))])


def swap_acceptance(betas: Array, energy: Array) -> Array:
    """Mean of min(1, exp((b' - b)(U' - U))) for each pair of neighbours, array (rungs - 1,).

    Draws of the prior outside the support (U = inf) are left out: no temperature between would
    make them exchange, so that they say nothing about the ladder.

    Parameters
    ----------
    betas : array (rungs,)
    energy : array (..., rungs)
        Energies before the exchange.

    Examples
    --------
    >>> swap_acceptance(np.array([0.0, 1.0]), np.array([[np.inf, 0.0], [0.0, 0.0]]))
    array([1.])
    """
    cold, hot = energy[..., 1:], energy[..., :-1]
    inside = np.isfinite(hot)
    gain = np.where(inside, np.diff(betas) * (cold - np.where(inside, hot, 0.0)), -np.inf)
    pairs = np.exp(np.minimum(gain, 0.0)).reshape(-1, len(betas) - 1)
    seen = inside.reshape(-1, len(betas) - 1).sum(axis=0)
    return np.asarray(pairs.sum(axis=0) / np.maximum(seen, 1))


def equalised(betas: Array, acceptance: Array, rungs: int | None = None) -> Array:
    """A ladder of equal rejection, by the cumulative barrier of the present one.

    Parameters
    ----------
    betas : array (rungs,)
    acceptance : array (rungs - 1,)
        Swap acceptance of the present ladder.
    rungs : int, optional
        How many; about twice the barrier, at least 16, if not given.

    Returns
    -------
    array (new rungs,)

    Examples
    --------
    >>> even = equalised(np.array([0, 0.5, 1]), np.array([0.5, 0.5]), rungs=5)
    >>> [round(float(b), 3) for b in even]
    [0.0, 0.25, 0.5, 0.707, 1.0]
    """
    rejection = np.maximum(1.0 - acceptance, 0.01)
    barrier = np.concatenate([[0.0], np.cumsum(rejection)])
    if rungs is None:
        rungs = int(np.clip(math.ceil(2.0 * barrier[-1]) + 1, FEWEST, MOST))
    targets = np.linspace(0.0, barrier[-1], rungs)[1:-1]
    gap = np.clip(np.searchsorted(barrier, targets, side="right") - 1, 0, len(betas) - 2)
    part = (targets - barrier[gap]) / rejection[gap]
    low, high = betas[gap], betas[gap + 1]
    # Linear in beta next to the prior, linear in log beta elsewhere.
    with np.errstate(divide="ignore"):
        inner = np.where(gap == 0, part * high,
                         np.exp((1 - part) * np.log(low) + part * np.log(high)))
    out = np.concatenate([[0.0], inner, [1.0]])
    return out if np.all(np.diff(out) > 0.0) else betas
