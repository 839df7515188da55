"""Does the absolute fit see a wrong line shape?  Lorentzians fitted by as many Gaussians.

Not a figure of a paper: a campaign over seeds of the noise, run by `make reliability`.

Data: the grid and noise of Nagata, Sugita and Okada (2012), 301 points on [0, 3], sigma = 0.1
known; three lines of height 1 and full width 0.3 at half maximum, at 0.7, 1.5 and 2.3.  Fitted by
three Gaussians with height U(0, 3), centre U(0, 3), width (FWHM) U(0.05, 1).  *Wrong*: the lines
are Lorentzian, whose tails no Gaussian has.  *Right*: they are Gaussian.  Each of the three tests
of `sampler.absolute_fit` flags at p < 0.001.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

CENTERS = (0.7, 1.5, 2.3)
WIDTH = 0.3
SWEEPS = 1000      # per chain, after as many of burn-in: the mean curve, not F, is wanted
WANTED = {"wrong": 0.95, "right": 0.02}     # at least; at most


def posterior(seed: int, shape: str) -> Any:
    """Three Gaussians given three noisy lines of that shape."""
    from sampler import Data, Model, Posterior, shapes

    x = np.linspace(0.0, 3.0, 301)
    half = [(x - c) / (0.5 * WIDTH) for c in CENTERS]
    lines = {"lorentzian": sum(1.0 / (1.0 + t**2) for t in half),
             "gaussian": sum(np.exp2(-(t**2)) for t in half)}
    noise = 0.1 * np.random.default_rng(seed).normal(size=len(x))
    model = Model.repeated(3, shapes.gaussian, height=(0, 3), center=(0, 3), width=(0.05, 1.0))
    return Posterior(model, Data(x, lines[shape] + noise, noise=0.1))


def campaign(seeds: Iterable[int], progress: Any = None) -> dict[str, Any]:
    """Flagged shares of the wrong and the right model over seeds of the noise.

    Parameters
    ----------
    seeds : iterable of int
    progress : callable (done, total, words), optional

    Returns
    -------
    dict
        ``seeds``, and for ``wrong`` and ``right``: ``flagged`` (share of the seeds), ``p`` (the
        three p-values of each seed: chi_square, runs, lag).
    """
    from sampler import absolute_fit, sample

    seeds = list(seeds)
    out: dict[str, Any] = {"seeds": seeds, "wanted": dict(WANTED)}
    for which, shape in (("wrong", "lorentzian"), ("right", "gaussian")):
        fits = []
        for i, seed in enumerate(seeds):
            run = sample(posterior(seed, shape), sweeps=SWEEPS, burn_in=SWEEPS, chains=2, seed=seed)
            fits.append(absolute_fit(run))
            if progress is not None:
                progress(i + 1, len(seeds), which)
        out[which] = {"flagged": sum(bool(f.failures) for f in fits) / len(seeds),
                      "p": [[f.chi_square, f.runs, f.lag] for f in fits]}
    out["passed"] = bool(out["wrong"]["flagged"] >= WANTED["wrong"]
                         and out["right"]["flagged"] <= WANTED["right"])
    return out
