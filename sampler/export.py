"""A run for ArviZ, of either generation: InferenceData (0.x) or an xarray DataTree (1.x).

ArviZ is an extra (``pip install bayesian-measurement[arviz]``) and is loaded here only.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from sampler.errors import InputError
from sampler.exchange import Run
from sampler.information import log_likelihoods
from sampler.labels import exchangeable, fold

LARGEST = 50_000_000    # numbers in the log likelihood of all points and draws


def to_arviz(run: Run, *, sort: bool = False, log_likelihood: bool = False) -> Any:
    """The draws at beta = 1 with energies and data, as ArviZ wants them.

    Parameters
    ----------
    run : Run
    sort : bool
        Put exchangeable components in order (of centre, or rate) in every draw.  As they are, the
        numbers of components mean nothing, and ArviZ's R-hat of ``peak1_center`` does not either.
    log_likelihood : bool
        Also ln p(y_i | theta) of every point and draw, for ``arviz.loo``.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        Groups ``posterior`` (chain, draw), ``sample_stats`` (``energy``: U, ``lp``: ln prior - U),
        ``observed_data``, ``constant_data`` and, on request, ``log_likelihood``.

    Raises
    ------
    InputError
        Without ArviZ, for a model without free parameters, or a log likelihood too large to hold.
    """
    if not run.posterior.dimension:
        raise InputError("run", "no free parameters", "a run with draws")
    draws = fold(exchangeable(run.posterior), run.draws) if sort else run.draws
    posterior = {name: draws[..., i] for i, name in enumerate(run.posterior.names)}
    energy = run.posterior.energy(run.draws) if run.integrated else run.energy[..., -1]
    groups: dict[str, dict[str, Any]] = {
        "posterior": posterior,
        "sample_stats": {"energy": energy, "lp": run.posterior.log_prior(run.draws) - energy},
        "observed_data": {}, "constant_data": {}}
    for b, block in enumerate(run.posterior.blocks):
        tail = f"_{b + 1}" if len(run.posterior.blocks) > 1 else ""
        groups["observed_data"][f"y{tail}"] = block.data.y
        groups["constant_data"] |= {f"x{tail}": block.data.x,
                                    f"deviation{tail}": block.data.deviation}
        if log_likelihood:
            if run.draws.shape[0] * run.draws.shape[1] * run.posterior.size > LARGEST:
                raise InputError("log_likelihood", f"{run.sweeps} sweeps of {run.chains} chains "
                                 f"and {run.posterior.size} points", f"{LARGEST:,} numbers at most",
                                 "sampler.criteria gives LOO and WAIC of a run of any length")
            groups.setdefault("log_likelihood", {})[f"y{tail}"] = log_likelihoods(
                run.posterior, draws, b)
    return _built(groups)


def _built(groups: dict[str, dict[str, Any]]) -> Any:
    try:
        arviz = import_module("arviz")
    except ImportError:
        raise InputError("arviz", "not installed", "the extra arviz",
                         "pip install bayesian-measurement[arviz]") from None
    groups = {name: {k: np.asarray(v) for k, v in group.items()} for name, group in groups.items()}
    # 1.x takes one mapping of groups, 0.x a keyword for each.
    if int(str(arviz.__version__).split(".")[0]) >= 1:
        return arviz.from_dict(groups)
    return arviz.from_dict(**groups)
