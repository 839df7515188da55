"""Posterior: a model given data; energy, log prior, draws from the prior.

Tempered at inverse temperature beta the density is ``prior(theta) * exp(-beta * U(theta))``:
beta = 0 is the prior exactly, beta = 1 the posterior.  This module is the plain NumPy truth;
`sampler.kernels.problem` lowers the same posterior to arrays for the compiled kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import POISSON, Data
from sampler.errors import InputError
from sampler.model import Model, Term
from sampler.priors import Fixed, Prior, Scalar, log_density
from sampler.shapes import Formula

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """One data set with the model that describes it."""

    model: Model
    data: Data


@dataclass(frozen=True, eq=False, init=False)
class Posterior:
    """What the data say about the parameters of a model.

    Parameters
    ----------
    model : Model
    data : Data

    Attributes
    ----------
    names : tuple of str (parameters,)
        The free parameters; every ``theta`` below has this order in its last axis.
    fixed : mapping from name to value
    priors : mapping from name to prior of each free parameter
    constant : float
        The untempered constant of the energy (nats).

    Raises
    ------
    InputError
        If a formula is not defined at some x, or a name is used in two senses.

    Examples
    --------
    >>> from sampler.data import Data
    >>> from sampler.model import Model
    >>> from sampler.shapes import linear
    >>> line = Model.single(linear, offset=0.0, slope=(-10, 10))
    >>> posterior = Posterior(line, Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5))
    >>> posterior.names, round(float(posterior.energy([1.0])), 4)
    (('slope',), 0.12)
    """

    blocks: tuple[Block, ...]
    names: tuple[str, ...]
    fixed: Mapping[str, float]
    priors: Mapping[str, Scalar]
    orderings: tuple[tuple[str, ...], ...]

    def __init__(self, model: Model, data: Data) -> None:
        if not isinstance(model, Model):
            raise InputError("model", repr(type(model).__name__), "a sampler.Model")
        if not isinstance(data, Data):
            raise InputError("data", repr(type(data).__name__), "a sampler.Data")
        _assemble(self, (Block(model, data),))

    @property
    def dimension(self) -> int:
        """Number of free parameters d."""
        return len(self.names)

    @property
    def constant(self) -> float:
        """The untempered constant, summed over the data sets (nats)."""
        return math.fsum(block.data.constant for block in self.blocks)

    @property
    def size(self) -> int:
        """Number of points n, summed over the data sets."""
        return sum(block.data.size for block in self.blocks)

    def values(self, theta: Any) -> dict[str, Array]:
        """Every parameter by name, the fixed ones included, as arrays (..., 1)."""
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape[-1:] != (self.dimension,):
            raise InputError("theta", f"an array of shape {theta.shape}",
                             f"(..., {self.dimension}) for {self.names}")
        table = {n: theta[..., i, None] for i, n in enumerate(self.names)}
        return table | {n: np.full((*theta.shape[:-1], 1), v) for n, v in self.fixed.items()}

    def predict(self, theta: Any, x: Any = None, block: int = 0) -> Array:
        """The model curve, one for each theta.

        Parameters
        ----------
        theta : array (..., parameters)
        x : array (points,), optional
            Where; the data's own x if not given.
        block : int
            Which data set of a joint posterior.

        Returns
        -------
        array (..., points)
        """
        return sum(self.terms(theta, x, block).values(), start=self._nothing(theta, x, block))

    def terms(self, theta: Any, x: Any = None, block: int = 0) -> dict[str, Array]:
        """Each term of the sum by its label (``peak1``, ``linear``), arrays (..., points)."""
        grid = self.blocks[block].data.x if x is None else np.asarray(x, dtype=np.float64)
        table = self.values(theta)
        out: dict[str, Array] = {}
        for term in self.blocks[block].model.terms:
            label = _label(term, out)
            with np.errstate(all="ignore"):
                curve = evaluator(term.formula)(grid, *(table[n] for n in term.names))
            out[label] = np.broadcast_to(
                curve, (*np.shape(theta)[:-1], len(grid))).astype(np.float64)
        return out

    def _nothing(self, theta: Any, x: Any, block: int) -> Array:
        grid = self.blocks[block].data.x if x is None else np.asarray(x)
        return np.zeros((*np.shape(theta)[:-1], len(grid)))

    def energy(self, theta: Any) -> Array:
        """Energy U = minus log likelihood without its constant, arrays (...); inf outside.

        Source: the table of `sampler.data`.
        """
        table = self.values(theta)
        total = np.zeros(np.shape(theta)[:-1])
        for i, block in enumerate(self.blocks):
            data, mu = block.data, self.predict(theta, block=i)
            with np.errstate(all="ignore"):
                if data.law == POISSON:
                    total = total + poisson_energy(mu, data.y)
                    continue
                s = np.ones(1) if data.noise_prior is None else table[data.noise_name]
                if data.noise_prior is not None:
                    total = total + data.size * np.log(s[..., 0])
                z = (mu - data.y) / data.deviation
                if data.tails is None:
                    total = total + 0.5 * np.sum(z**2, axis=-1) / s[..., 0] ** 2
                else:
                    total = total + student_energy(z / s, data.tails)
        return np.where(np.isfinite(total), total, np.inf)

    def log_prior(self, theta: Any) -> Array:
        """Normalised log prior density, arrays (...); -inf outside the support."""
        theta = np.asarray(theta, dtype=np.float64)
        self.values(theta)
        total = np.zeros(theta.shape[:-1])
        for i, name in enumerate(self.names):
            total = total + log_density(self.priors[name], theta[..., i])
        for group in self.orderings:
            inside = theta[..., [self.names.index(n) for n in group]]
            increasing = np.all(np.diff(inside, axis=-1) > 0, axis=-1)
            total = total + np.where(increasing, math.lgamma(len(group) + 1), -np.inf)
        return total

    def draw_prior(self, n: int, seed: int = 0) -> Array:
        """n independent draws from the prior, array (n, parameters)."""
        from sampler.kernels.problem import lower
        from sampler.kernels.reference import draw_prior

        return draw_prior(lower(self), n, seed)


def joint(*posteriors: Posterior) -> Posterior:
    """Several measurements as one posterior: parameters of equal name are shared.

    Parameters
    ----------
    *posteriors : Posterior
        Rename what is not to be shared: ``model.renamed(height="height_b")``.

    Raises
    ------
    InputError
        If a shared name has two different priors.

    Examples
    --------
    >>> from sampler.data import Data
    >>> from sampler.model import Model
    >>> from sampler.shapes import linear
    >>> line = Model.single(linear, offset=(-1, 1), slope=(-10, 10))
    >>> one = Posterior(line, Data([0, 1], [0, 1], noise=0.5))
    >>> two = Posterior(line.renamed(offset="offset_b"), Data([0, 2], [0, 2], noise=0.1))
    >>> joint(one, two).names
    ('offset', 'slope', 'offset_b')
    """
    if not posteriors:
        raise InputError("joint", "nothing", "one posterior or more")
    result = object.__new__(Posterior)
    _assemble(result, tuple(block for p in posteriors for block in p.blocks))
    return result


def poisson_energy(mu: Array, y: Array) -> Array:
    """sum (mu - y ln mu) over the last axis; +inf where mu < 0, or mu = 0 under a count."""
    with np.errstate(all="ignore"):
        each = np.where((mu == 0.0) & (y == 0.0), 0.0, mu - y * np.log(mu))
    total = np.sum(each, axis=-1)
    return np.where(np.any(mu < 0.0, axis=-1) | ~np.isfinite(total), np.inf, total)


def student_energy(z: Array, nu: float) -> Array:
    """(nu+1)/2 sum ln(1 + z**2/nu) over the last axis, of residuals in units of their scale."""
    return np.asarray(0.5 * (nu + 1.0) * np.sum(np.log1p(z**2 / nu), axis=-1))


@cache
def evaluator(formula: Formula) -> Any:
    """The formula as a NumPy function of x and its parameters."""
    import sympy as sp

    from sampler.printing import numpy_functions

    symbols = [sp.Symbol("x", real=True), *(sp.Symbol(n, real=True) for n in formula.parameters)]
    return sp.lambdify(symbols, formula.expression, modules=numpy_functions(formula.expression))


def _label(term: Term, taken: Mapping[str, Any]) -> str:
    alone = term.names[0] if len(term.names) == 1 else term.formula.name
    label = term.prefix.rstrip("_") or alone
    return label if label not in taken else f"{label}_{len(taken)}"


def _assemble(target: Posterior, blocks: tuple[Block, ...]) -> None:
    priors: dict[str, Prior] = {}
    for block in blocks:
        data = block.data
        mine: dict[str, Prior] = {n: block.model.priors[n] for n in block.model.names}
        if data.noise_prior is not None:
            if data.noise_name in mine:
                raise InputError(f"parameter {data.noise_name}", "a model parameter",
                                 "a name of its own for the noise", "give noise_name=")
            mine[data.noise_name] = data.noise_prior
        for name, prior in mine.items():
            if priors.setdefault(name, prior) != prior:
                raise InputError(f"prior of {name}", f"{priors[name]} and {prior}",
                                 "one prior for a shared parameter", "rename one of the two")
        _defined_everywhere(block)
    put = object.__setattr__
    free = {n: p for n, p in priors.items() if not isinstance(p, Fixed)}
    groups = dict.fromkeys(
        group for b in blocks for group in b.model.orderings if set(group) <= set(free))
    put(target, "blocks", blocks)
    put(target, "names", tuple(free))
    put(target, "fixed", {n: p.value for n, p in priors.items() if isinstance(p, Fixed)})
    put(target, "priors", free)
    put(target, "orderings", tuple(groups))


def _defined_everywhere(block: Block) -> None:
    """Refuse x where a formula has no value whatever its parameters (a power of negative x)."""
    from sampler.printing import x_only_columns

    for term in block.model.terms:
        for text, column in x_only_columns(term.formula, block.data.x):
            bad = np.flatnonzero(np.isnan(column))
            if len(bad):
                raise InputError(
                    f"x[{bad[0]}]", f"{block.data.x[bad[0]]:g}",
                    f"a value where {text} of the formula {term.formula.name} is defined",
                    "restrict the range of x")
