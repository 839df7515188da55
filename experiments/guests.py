"""Other people's samplers and ours, each run on a `theory.cases.Case` by one short function.

An adapter takes a case and a seed and returns an `Answer`.  A guest gets the callables of the case
and nothing else; ours gets the formulas.  Settings are each library's defaults except where the
adapter says otherwise.  Guests are installed by ``make peers`` into an environment of their own.

>>> from theory import cases, judge
>>> case = cases.straight_line()
>>> answer = SAMPLERS["ours"](case, seed=1)
>>> print(judge(case, "ours", **answer.given())["log evidence"])  # doctest: +ELLIPSIS
log evidence           exact      -33.941  found ...
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from logging import WARNING, getLogger
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory import judge
from theory.cases import Case
from theory.judging import Verdict

Array = NDArray[np.float64]


class MissingGuest(Exception):
    """The sampler is not installed here."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a sampler gives; None where it does not.

    Parameters
    ----------
    samples : array (n, parameters)
    n_effective : array (parameters,) or None
    weights : array (n,) or None
    log_evidence, log_evidence_error : float or None
    evaluations : int
        Likelihoods (a vector of k points counts k); for ours, proposals at all temperatures.
    trusted : bool or None
        The sampler's own opinion of its run, where it has one.
    """

    samples: Array
    n_effective: Array | None = None
    weights: Array | None = None
    log_evidence: float | None = None
    log_evidence_error: float | None = None
    evaluations: int = 0
    trusted: bool | None = None

    def given(self) -> dict[str, Any]:
        """The keywords of `theory.judge`."""
        return {key: getattr(self, key) for key in (
            "samples", "weights", "n_effective", "log_evidence", "log_evidence_error")}


@dataclass(frozen=True)
class Scored:
    """One run: the verdict, CPU seconds of this process, evaluations, the sampler's own opinion."""

    verdict: Verdict
    seconds: float
    evaluations: int
    trusted: bool | None


def run(sampler: str, case: Case, seed: int) -> Scored:
    """Run a sampler on a case and judge it.

    Raises
    ------
    MissingGuest
        If the sampler is not installed.
    """
    begin = time.process_time()
    answer = SAMPLERS[sampler](case, seed)
    seconds = time.process_time() - begin
    return Scored(judge(case, sampler, **answer.given()), seconds, answer.evaluations,
                  answer.trusted)


def _guest(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingGuest(
            f"{module} is not installed here ({error}); make peers builds .venv-peers with all "
            "guests: use .venv-peers/bin/bayesmeas") from None


class _Counted:
    """A likelihood that counts the points it was asked for."""

    def __init__(self, function: Callable[[Any], Any], case: Case) -> None:
        self.function, self.dimension, self.calls = function, case.dimension, 0

    def __call__(self, theta: Any) -> Any:
        self.calls += np.size(theta) // self.dimension
        return self.function(theta)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """For guests that draw from NumPy's global generator; its state is put back."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


# ---- Markov chains -------------------------------------------------------------------------------


def emcee(case: Case, seed: int) -> Answer:
    """Stretch moves: 32 walkers (2d + 2 if more) from the prior, 4000 steps, 1000 left out."""
    guest = _guest("emcee")
    log_posterior = _Counted(case.log_posterior, case)
    walkers = max(32, 2 * case.dimension + 2)
    with _numpy_seed(seed):
        sampler = guest.EnsembleSampler(walkers, case.dimension, log_posterior, vectorize=True)
        sampler.run_mcmc(case.prior_samples(walkers, seed=seed), 4000)
    tau = sampler.get_autocorr_time(discard=1000, tol=0)
    samples = sampler.get_chain(discard=1000, flat=True)
    return Answer(samples, len(samples) / tau, evaluations=log_posterior.calls)


# ---- nested sampling -----------------------------------------------------------------------------


def dynesty(case: Case, seed: int) -> Answer:
    """Static nested sampling, library defaults (500 live points)."""
    guest = _guest("dynesty")
    sampler = guest.NestedSampler(case.log_likelihood, case.prior_transform, case.dimension,
                                  rstate=np.random.default_rng(seed))
    sampler.run_nested(print_progress=False)
    found = sampler.results
    return Answer(found.samples, weights=found.importance_weights(),
                  log_evidence=float(found.logz[-1]), log_evidence_error=float(found.logzerr[-1]),
                  evaluations=int(np.sum(found.ncall)))


def ultranest(case: Case, seed: int) -> Answer:
    """Reactive nested sampling, library defaults (400 live points), vectorised calls."""
    guest = _guest("ultranest")
    getLogger("ultranest").setLevel(WARNING)
    with _numpy_seed(seed):
        sampler = guest.ReactiveNestedSampler(list(case.names), case.log_likelihood,
                                              case.prior_transform, vectorized=True)
        found = sampler.run(show_status=False, viz_callback=False)
    weighted = found["weighted_samples"]
    return Answer(np.asarray(weighted["points"]), weights=np.asarray(weighted["weights"]),
                  log_evidence=float(found["logz"]), log_evidence_error=float(found["logzerr"]),
                  evaluations=int(found["ncall"]))


def nautilus(case: Case, seed: int) -> Answer:
    """Importance nested sampling: 1000 live points and one neural network (the defaults, 2000 and
    four, take four times as long), otherwise library defaults.

    It wants two parameters or more.  The error of ln Z is ours: 1/sqrt(its effective sample size).
    """
    guest = _guest("nautilus")
    sampler = guest.Sampler(case.prior_transform, case.log_likelihood, n_dim=case.dimension,
                            n_live=1000, n_networks=1, vectorized=True, pass_dict=False,
                            seed=seed)
    sampler.run(verbose=False)
    points, log_w, _ = sampler.posterior()
    return Answer(points, weights=np.exp(log_w - log_w.max()), log_evidence=float(sampler.log_z),
                  log_evidence_error=float(sampler.n_eff) ** -0.5,
                  evaluations=int(sampler.n_like))


# ---- sequential Monte Carlo ----------------------------------------------------------------------


def pymc(case: Case, seed: int) -> Answer:
    """`sample_smc`, library defaults (2000 draws, independent Metropolis, two chains).

    The likelihood is a black box and the prior the unit cube.  ln Z is the mean over the chains;
    PyMC claims no error for it.  Effective draws are ArviZ's.
    """
    getLogger("pymc").setLevel(WARNING)
    guest, tensor, arviz = _guest("pymc"), _guest("pytensor.tensor"), _guest("arviz")
    log_likelihood = _Counted(case.log_likelihood, case)

    def on_cube(u: Any) -> Any:
        return np.asarray(float(log_likelihood(case.prior_transform(u))))

    black_box = _guest("pytensor.compile.ops").wrap_py(
        itypes=[tensor.dvector], otypes=[tensor.dscalar])(on_cube)

    with guest.Model():
        u = guest.Uniform("u", 0.0, 1.0, shape=case.dimension)
        guest.Potential("likelihood", black_box(u))
        trace = guest.sample_smc(draws=2000, chains=2, cores=1, random_seed=seed,
                                 progressbar=False, compute_convergence_checks=False)
    log_z = last_of_chains(trace.sample_stats["log_marginal_likelihood"].values)
    draws = case.prior_transform(trace.posterior["u"].values)
    size = [float(arviz.ess(draws[..., i])) for i in range(case.dimension)]
    return Answer(draws.reshape(-1, case.dimension), np.array(size),
                  log_evidence=float(log_z.mean()), evaluations=log_likelihood.calls)


def last_of_chains(values: Any) -> Array:
    """The last entry of every chain, (chains,), of PyMC's record (chains, stages).

    Where chains differ in their number of stages it comes as one row of lists instead.

    Examples
    --------
    >>> ragged = np.empty((1, 2), dtype=object)
    >>> ragged[0, 0], ragged[0, 1] = [np.nan, -1.0], [np.nan, np.nan, -2.0]
    >>> last_of_chains(ragged).tolist(), last_of_chains(np.array([[0, -1.0], [0, -2.0]])).tolist()
    ([-1.0, -2.0], [-1.0, -2.0])
    """
    rows = values.ravel() if isinstance(values.flat[0], list) else values
    return np.array([row[-1] for row in rows], dtype=float)


def blackjax(case: Case, seed: int) -> Answer:
    """Adaptive tempered SMC, two `populations` of 2000.  ln Z is the mean over them; BlackJAX
    claims no error, neither for it nor for the draws."""
    log_likelihood = _Counted(case.log_likelihood, case)
    draw = populations(log_likelihood, case.prior_transform, case.dimension)
    (first, a), (second, b) = draw(seed)
    return Answer(np.concatenate([a, b]), log_evidence=(first + second) / 2,
                  evaluations=log_likelihood.calls)


def populations(log_likelihood: Callable[[Array], Any], prior_transform: Callable[[Array], Array],
                dimension: int) -> Callable[..., list[tuple[float, Array]]]:
    """BlackJAX's adaptive tempered SMC: (seed, most steps) -> ln Z and particles (2000,
    parameters) of two populations.

    90 % effective size, 10 random-walk steps of the population's covariance times 2.38/sqrt(d), in
    coordinates in which the prior is a unit normal.  After every temperature the steps are
    multiplied by exp(acceptance - 1/4): with several modes the covariance alone lets hardly a step
    pass, and ln Z would be off by tens of nats.

    Parameters
    ----------
    log_likelihood : callable (n, parameters) -> (n,)
    prior_transform : callable, unit cube (n, parameters) -> parameters
    dimension : int

    Raises
    ------
    MissingGuest
        If BlackJAX is not installed.
    """
    # Threads of XLA's pool: on one core it has one, and a call back into Python waits for itself.
    os.environ["NPROC"] = "4"
    guest, jax = _guest("blackjax"), _guest("jax")
    walk, resampling = _guest("blackjax.mcmc.random_walk"), _guest("blackjax.smc.resampling")
    from scipy.special import ndtr

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jnp, unit = jax.numpy, 2.38 / dimension**0.5

    def on_normal(v: Any) -> Any:
        return jax.pure_callback(
            lambda t: np.asarray(log_likelihood(prior_transform(ndtr(np.asarray(t))))),
            jax.ShapeDtypeStruct((), np.float64), v, vmap_method="broadcast_all")

    def move(key: Any, state: Any, log_density: Any, scale: Any) -> Any:
        return walk.build_additive_step()(key, state, log_density, walk.normal(scale))

    def fitted(key: Any, state: Any, info: Any) -> dict[str, Any]:
        covariance = jnp.cov(state.particles, rowvar=False).reshape(dimension, dimension)
        return {"scale": unit * jnp.linalg.cholesky(covariance + 1e-12 * jnp.eye(dimension))[None]}

    smc = guest.inner_kernel_tuning(
        guest.adaptive_tempered_smc, lambda v: -0.5 * jnp.sum(v**2), on_normal, move, walk.init,
        resampling.systematic, mcmc_parameter_update_fn=fitted,
        initial_parameter_value={"scale": unit * jnp.eye(dimension)[None]}, target_ess=0.9,
        num_mcmc_steps=10)
    step = jax.jit(smc.step)

    def population(key: Any, most: float) -> tuple[float, Array]:
        key, now = jax.random.split(key)
        state, log_z, steps = smc.init(jax.random.normal(now, (2000, dimension))), 0.0, 0
        size = 1.0
        while float(state.sampler_state.tempering_param) < 1.0 and steps < most:
            key, now = jax.random.split(key)
            state, info = step(now, state)
            size = min(size * math.exp(float(info.update_info.acceptance_rate.mean()) - 0.25), 1.5)
            state = state._replace(parameter_override={
                name: size * scale for name, scale in state.parameter_override.items()})
            log_z, steps = log_z + float(info.log_likelihood_increment), steps + 1
        return log_z, prior_transform(ndtr(np.asarray(state.sampler_state.particles)))

    return lambda seed, most=math.inf: [
        population(key, most) for key in jax.random.split(jax.random.key(seed), 2)]


# ---- ours ----------------------------------------------------------------------------------------


def ours(case: Case, seed: int) -> Answer:
    """Exchange Monte Carlo, library defaults (4 chains, until F is known to 0.1 nats and the run
    is trusted), but at most 20,000 sweeps."""
    from sampler import diagnose, free_energy, sample
    from sampler.diagnostics import effective_sample_size

    posterior, shift = posterior_of(case)
    ran = sample(posterior, seed=seed, max_sweeps=20_000)
    if ran.stopped == "interrupted":
        raise KeyboardInterrupt
    found = free_energy(ran)
    draws = ran.draws[..., [posterior.names.index(name) for name in case.names]]
    # The worse of value and square: the judge looks at means, spreads and shares.
    size = [min(effective_sample_size(series), effective_sample_size((series - series.mean()) ** 2))
            for series in np.moveaxis(draws, -1, 0)]
    sweeps = ran.burn_in + ran.sweeps
    return Answer(draws.reshape(-1, case.dimension), np.array(size),
                  log_evidence=found.log_evidence + shift,
                  log_evidence_error=found.log_evidence_error,
                  evaluations=ran.chains * sweeps * len(ran.betas) * case.dimension,
                  trusted=diagnose(ran).trusted)


def posterior_of(case: Case) -> tuple[Any, float]:
    """A case for our sampler, from its formulas alone, and what is to be added to its ln Z.

    Parameters
    ----------
    case : Case

    Returns
    -------
    posterior : sampler.Posterior
        Data sets stay data sets.  A bare density becomes one count y = 0, whose energy is its
        expected number: bound - ln likelihood >= 0.
    shift : float
        ln Z of the case minus that of the posterior, in nats.

    Examples
    --------
    >>> from theory import cases
    >>> posterior, shift = posterior_of(cases.named("rosenbrock"))
    >>> posterior.names, float(posterior.energy([1.0, 1.5])), shift
    (('a', 'b'), 5.0, 0.0)
    """
    from sampler import Data, Posterior, joint

    if case.density is not None:
        from sympy import Float

        counts = Data(np.zeros(1), np.zeros(1), noise="poisson")
        return Posterior(_model(case, Float(case.bound) - case.formulas[0], False),
                         counts), case.bound
    blocks = []
    for one in case.data:
        noise, name = one.noise, ""
        if isinstance(noise, str) and noise != "poisson":
            noise, name = _prior(case, noise), noise
        blocks.append(Posterior(_model(case, one.formula, True),
                                Data(one.x, one.y, noise=noise, noise_name=name)))
    return joint(*blocks), 0.0


def _model(case: Case, expression: Any, split: bool) -> Any:
    """One formula; a curve is split into its summands, of which each may have 16 parameters."""
    from sympy import Add

    from sampler import Formula, Model

    total = Model()
    for k, term in enumerate(Add.make_args(expression) if split else [expression]):
        formula = Formula(f"term{k}", term)
        total = total + Model.single(formula, priors={n: _prior(case, n)
                                                      for n in formula.parameters},
                                     **{n: n for n in formula.parameters})
    return total


def _prior(case: Case, name: str) -> Any:
    """The same prior, written for our sampler."""
    from dataclasses import astuple

    import sampler

    prior = case.priors[case.names.index(name)]
    return getattr(sampler, type(prior).__name__)(*astuple(prior))


SAMPLERS: dict[str, Callable[[Case, int], Answer]] = {
    "ours": ours, "emcee": emcee, "dynesty": dynesty, "ultranest": ultranest,
    "nautilus": nautilus, "pymc": pymc, "blackjax": blackjax}
