r"""Named problems with exact answers, for any sampler in the world.

A `Case` is a likelihood, a prior, and what is exactly known of them: the evidence (at every
temperature), means and covariance, marginal quantiles, the weights of its modes.  A guest needs
nothing of ours but callables on NumPy arrays; ``theta`` is (..., parameters) everywhere and ``u`` a
point of the unit cube.

Temperature here is that of most samplers: ``log_evidence_at(beta)`` is ln of the integral of
prior * likelihood^beta, the likelihood taken whole.

Answers are closed forms where there are some, otherwise Gauss-Legendre quadrature to 1e-8 or
better over the few parameters that do not enter linearly; every case says which.

Examples
--------
>>> from theory import cases
>>> case = cases.named("two_modes")
>>> [(mode.name, mode.weight) for mode in case.modes]
[('left', 0.8), ('right', 0.2)]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from theory.cases.densities import (
    eggbox,
    heavy_tails,
    labels,
    rosenbrock,
    shell,
    spike_and_slab,
    two_modes,
    wall,
)
from theory.cases.measured import (
    correlated_normal,
    counts_peak,
    funnel,
    line_box,
    line_wall,
    linear_peaks,
    one_peak,
    poisson_gamma,
    polynomial,
    product,
    product_of_three,
    relaxation,
    shared_slope,
    straight_line,
    two_peaks,
    unknown_noise,
)
from theory.cases.problem import (
    Case,
    DataSet,
    Gamma,
    LogUniform,
    Mode,
    Normal,
    Prior,
    Uniform,
)
from theory.errors import DomainError

FAMILIES: dict[str, dict[str, Callable[[], Case]]] = {
    "line": {"straight_line": straight_line, "line_box": line_box, "line_wall": line_wall},
    "polynomial": {f"polynomial_{k}": partial(polynomial, k) for k in range(9)},
    "noise": {"unknown_noise": unknown_noise},
    "shared": {"shared_slope": shared_slope},
    "peaks": {"linear_peaks": linear_peaks, "one_peak": one_peak, "two_peaks": two_peaks},
    "relaxation": {"relaxation": relaxation},
    "counts": {"poisson_gamma": poisson_gamma, "counts_peak": counts_peak},
    "mixture": {"two_modes": two_modes, "labels": labels},
    "transition": {"spike_and_slab": spike_and_slab},
    "eggbox": {"eggbox": eggbox},
    "singular": {"product": product, "product_of_three": product_of_three},
    "curved": {"rosenbrock": rosenbrock, "shell": shell, "funnel": funnel},
    "normal": {"correlated_normal": correlated_normal},
    "wall": {"wall": wall},
    "tails": {"heavy_tails": heavy_tails},
}
BUILDERS: dict[str, Callable[[], Case]] = {
    name: build for family in FAMILIES.values() for name, build in family.items()}


def named(name: str) -> Case:
    """A case by its name; `BUILDERS` lists them.

    Parameters
    ----------
    name : str

    Returns
    -------
    Case

    Examples
    --------
    >>> round(named("eggbox").log_evidence, 3)
    235.856
    """
    if name not in BUILDERS:
        raise DomainError("name", repr(name), f"one of {', '.join(BUILDERS)}")
    return BUILDERS[name]()


def select(words: str) -> tuple[str, ...]:
    """Names of cases from a comma-separated list of families and names; ``"all"`` is every case.

    Parameters
    ----------
    words : str

    Returns
    -------
    tuple of str
        Each once, in the order asked for.

    Raises
    ------
    DomainError
        Lists every unknown word, and the families and names there are.

    Examples
    --------
    >>> select("line, eggbox")
    ('straight_line', 'line_box', 'line_wall', 'eggbox')
    """
    asked = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in asked if word not in {*FAMILIES, *BUILDERS, "all"}]
    if unknown or not asked:
        raise DomainError("cases", ", ".join(map(repr, unknown)) or "nothing",
                          f"families ({', '.join(FAMILIES)}), names ({', '.join(BUILDERS)}) or all")
    found = [name for word in asked for name in (
        BUILDERS if word == "all" else FAMILIES.get(word, (word,)))]
    return tuple(dict.fromkeys(found))


__all__ = ["BUILDERS", "FAMILIES", "Case", "DataSet", "DomainError", "Gamma", "LogUniform", "Mode",
           "Normal", "Prior", "Uniform", "named", "select", *sorted(
               {build.__name__ for build in BUILDERS.values() if hasattr(build, "__name__")}
               | {"polynomial"})]
