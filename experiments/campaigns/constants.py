"""A7: are energies and constants what the formulas say?  Against arithmetic with 50 digits.

Every formula of the sampler under every noise law: the energy of the compiled kernel and of its
plain twin on fixed parameters, the energy that a run keeps with a draw, and the constant.  The
shapes are written down anew here; only those of the instruments come from their sympy expression.
Then the conventions of the exact cases: the sampler's energy and constant make up ln likelihood,
F(beta) and <E> at 1, 0.1 and 0.01 follow from the data.  Nothing is random: one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaigns import Campaign, Finding, Numbers, Records, inside

Array = NDArray[np.float64]
DIGITS = 50
ENERGY, FORMULA = 1e-12, 1e-10        # largest relative errors (see `relative`)
GRID, KEPT = 48, 40                   # parameter vectors, and draws of a run
LAWS = ("known", "unknown", "factor", "poisson")
LEVEL = 4.0                           # of a constant background: counts need a positive curve
SHARES = ("mixing", "present", "depth")
BETAS = (1.0, 0.1, 0.01)
LINEAR = ("straight_line", *(f"polynomial_{k}" for k in range(9)), "shared_slope", "linear_peaks",
          "correlated_normal")
X = np.linspace(0.0, 3.0, 21)
SPREAD = 0.4 + 0.1 * np.cos(X)
Y = np.round(3.0 + 2.0 * np.sin(2.0 * X))
# A phase of diffraction: its lines with their intensities, their width and Lorentzian share.
LINES, WIDTH, MIXING = ((0.5, 1.0), (2.0, 0.4)), 0.3, 0.5


# ---- the shapes, with many digits ----------------------------------------------------------------


def _lorentz(x: Any, centre: Any, width: Any) -> Any:
    return 1 / (1 + 4 * ((x - centre) / width) ** 2)


def _gauss(m: Any, x: Any, centre: Any, width: Any) -> Any:
    """Half its height at a distance of half the width."""
    return m.mpf(2) ** (-((2 * (x - centre) / width) ** 2))


def _voigt(m: Any, x: Any, a: Any, c: Any, w: Any, share: Any) -> Any:
    return a * (share * _lorentz(x, c, w) + (1 - share) * _gauss(m, x, c, w))


def _sphere(m: Any, x: Any, intensity: Any, radius: Any) -> Any:
    """(3 j1(u) / u)^2, by 3 j1(u) / u = 0F1(5/2; -u^2/4): no cancellation, and 1 at u = 0."""
    return intensity * m.hyp0f1(m.mpf(5) / 2, -((x * radius) ** 2) / 4) ** 2


def _phase(m: Any, x: Any, present: Any, amount: Any) -> Any:
    return present * amount * sum(_voigt(m, x, m.mpf(high), m.mpf(at), m.mpf(WIDTH), m.mpf(MIXING))
                                  for at, high in LINES)


# name: curve (mpmath, x, parameters in the order of the formula)
WRITTEN: dict[str, Callable[..., Any]] = {
    "gaussian": lambda m, x, a, c, w: a * _gauss(m, x, c, w),
    "lorentzian": lambda m, x, a, c, w: a * _lorentz(x, c, w),
    "pseudo_voigt": _voigt,
    "exponential": lambda m, x, a, r: a * m.exp(-r * x),
    "stretched_exponential": lambda m, x, a, r, b: a * m.exp(-((r * x) ** b)),
    "recovery": lambda m, x, a, r: -a * m.exp(-r * x),
    "stretched_recovery": lambda m, x, a, r, b: -a * m.exp(-((r * x) ** b)),
    "constant": lambda m, x, c: c,
    "linear": lambda m, x, c, s: c + s * x,
    "polynomial3": lambda m, x, *c: sum(v * x**k for k, v in enumerate(c)),
    "sphere": _sphere,
    "absorption_edge": lambda m, x, h, e, w: h * (m.mpf(1) / 2 + m.atan(2 * (x - e) / w) / m.pi),
    "white_line": lambda m, x, a, e, s, w: a * _gauss(m, x, e + s, w),
    "phase": _phase,
}


@cache
def formulas() -> dict[str, Any]:
    """Every formula of the sampler by name; those of the Moessbauer folds differ by their drive."""
    from sampler import shapes
    from sampler.instruments import diffraction, mossbauer, scattering, xanes

    own = [shapes.gaussian, shapes.lorentzian, shapes.pseudo_voigt, shapes.exponential,
           shapes.stretched_exponential, shapes.recovery, shapes.stretched_recovery,
           shapes.constant, shapes.linear, shapes.polynomial(3), scattering.SPHERE, xanes.EDGE,
           xanes.WHITE_LINE, diffraction.pattern("phase", [at for at, _ in LINES],
                                                 [high for _, high in LINES], WIDTH, MIXING)]
    out = {formula.name: formula for formula in own}
    folded = {"velocity": 1.0, "fold": 0.0, "shift": 0.0, "field": 1.0, "width": 1.0,
              "outer_depth": 1.0}
    sextet = {"scale": 1.0, "depth": 0.1, "width": 1.0, "shift": 0.0, "field": 1.0,
              "quadrupole": 0.1}
    models = {"sextet": mossbauer.transmission("sextet_quadrupole", 4.0, **sextet)}
    for drive in ("triangle", "sinusoid"):
        models[drive] = mossbauer.unfolded(["outer"], 8, drive, folded, level=1.0, cosine=0.0,
                                           sine=0.0)
    for name, model in models.items():
        for k, formula in enumerate(dict.fromkeys(term.formula for term in model.terms)):
            out[f"{name} {k + 1}"] = formula
    return out


def written(name: str) -> Callable[..., Any]:
    """The curve (mpmath, x, parameters) that a formula is held against."""
    if name in WRITTEN:
        return WRITTEN[name]
    import sympy as sp

    formula = formulas()[name]
    symbols = [sp.Symbol(n, real=True) for n in ("x", *formula.parameters)]
    # Floats become the rationals that they are: mpmath's constants would have 15 digits.
    curve = sp.lambdify(symbols, formula.expression.xreplace(
        {f: sp.Rational(float(f)) for f in formula.expression.atoms(sp.Float)}), "mpmath")
    return lambda m, x, *theta: curve(x, *theta)


# ---- energies ------------------------------------------------------------------------------------


def posterior(name: str, law: str) -> Any:
    """A formula on a constant background, under a noise law; parameters between 0.3 and 2.5 (a
    share between 0 and 1), so that every curve is positive and none is exactly the data."""
    from sampler import Data, Model, Posterior, Uniform, shapes

    formula = formulas()[name]
    box = Uniform(0.3, 2.5)
    priors = {n: Uniform(0.0, 1.0) if n in SHARES else box
              for n in formula.parameters}
    model = Model.single(formula, "term_", priors=None, **priors) + Model.single(
        shapes.constant, "background_", offset=LEVEL)
    match law:
        case "known":
            data = Data(X, Y, noise=SPREAD)
        case "unknown":
            data = Data(X, Y, noise=box, noise_name="s")
        case "factor":
            data = Data(X, Y, noise=box, sigma=SPREAD, noise_name="s")
        case _:
            data = Data(X, Y, noise="poisson")
    return Posterior(model, data)


def many_digits(name: str, law: str, values: dict[str, float]) -> tuple[Any, Any]:
    """Energy and constant with 50 digits, from the parameters by name.

    Examples
    --------
    >>> energy, constant = many_digits("constant", "poisson", {"term_offset": 0.5})
    >>> round(float(energy - (21 * 4.5 - Y.sum() * math.log(4.5))), 10)
    0.0
    """
    import mpmath as m

    with m.workdps(DIGITS):
        theta = [m.mpf(values[f"term_{n}"]) for n in formulas()[name].parameters]
        curve = written(name)
        mu = [LEVEL + curve(m, m.mpf(x), *theta) for x in X.tolist()]
        y, spread = list(map(m.mpf, Y.tolist())), list(map(m.mpf, SPREAD.tolist()))
        if law == "poisson":
            energy = m.fsum(v - k * m.log(v) for v, k in zip(mu, y, strict=True))
            return energy, m.fsum(m.log(m.factorial(k)) for k in y)
        own = spread if law != "unknown" else [m.mpf(1)] * len(y)
        s = m.mpf(values["s"]) if law != "known" else m.mpf(1)
        squares = m.fsum(((v - k) / (e * s)) ** 2 for v, k, e in zip(mu, y, own, strict=True))
        return (len(y) * m.log(s) + squares / 2,
                m.fsum(m.log(2 * m.pi * e**2) for e in own) / 2)


def relative(found: float, exact: Any) -> float:
    """Relative error against a number of many digits, in nats where that is below 1 nat: a U near
    0 is a difference of larger terms.  Infinite where one of them is not finite.

    Examples
    --------
    >>> relative(3.0, 2.0), relative(0.2, 0.1), relative(math.nan, 1.0)
    (0.5, 0.1, inf)
    """
    if not math.isfinite(found):
        return math.inf
    return float(abs(found - exact) / max(abs(exact), 1))


def compiled_energies(model: Any, theta: Array) -> Array:
    """U of each row of theta by the compiled kernel, built from nothing."""
    from sampler.exchange import buffers
    from sampler.kernels import cpu
    from sampler.kernels.problem import lower

    problem, out = lower(model, compiled=True), np.empty(len(theta))
    cpu.energies(problem, *buffers(problem, theta.shape[1], 1), np.ascontiguousarray(theta), out)
    return out


def energy_run(name: str, seed: int) -> Numbers:
    """Largest relative error of a formula: kernel, plain twin, a run's own energies, constant."""
    from sampler import sample

    out: Numbers = {}
    for law in LAWS:
        model = posterior(name, law)
        # Fixed: the same draws of the prior's box, whatever the sampler does.
        lo, hi = np.array([(p.lo, p.hi) for p in model.priors.values()]).T
        theta = lo + (hi - lo) * np.random.default_rng(7).random((GRID, model.dimension))
        run = sample(model, KEPT, burn_in=200, chains=1, seed=seed, threads=1)
        draws = run.draws[0]
        exact, at_draws = ([many_digits(name, law, dict(zip(model.names, map(float, row),
                                                            strict=True))) for row in rows]
                           for rows in (theta, draws))
        found = {"compiled": compiled_energies(model, theta), "plain": model.energy(theta)}
        worst = {key: max(map(relative, map(float, values), (e for e, _ in exact)))
                 for key, values in found.items()}
        worst["of a run"] = max(map(relative, map(float, run.energy[0, :, -1]),
                                    (e for e, _ in at_draws)))
        worst["constant"] = relative(model.constant, exact[0][1])
        out[law] = worst
    return out


def judge_energies(records: Records) -> list[Finding]:
    """A7: largest relative errors over all formulas, by noise law."""
    out = []
    for key, words in (("compiled", "energy of the compiled kernel"),
                       ("plain", "energy of its plain twin"),
                       ("of a run", "energy that a run keeps with a draw"),
                       ("constant", "constant of the noise law")):
        for law in LAWS:
            worst = {name: rows[0][law][key] for name, rows in records.items()}
            name = max(worst, key=lambda k: worst[k])
            out.append(inside(f"{words}, noise {law}: largest relative error of "
                              f"{len(worst)} formulas ({name})", worst[name], 0.0, ENERGY, "0"))
    return out


# ---- conventions ---------------------------------------------------------------------------------


def _regression(case: Any) -> tuple[list[list[Any]], list[Any], list[Any]]:
    """Design, data and noise of a linear case with 50 digits, from its formulas."""
    import mpmath as m
    import sympy as sp

    x = sp.Symbol("x", real=True)
    design, y, noise = [], [], []
    for one in case.data:
        columns = [sp.lambdify(x, sp.diff(one.formula, sp.Symbol(n, real=True)), "mpmath")
                   for n in case.names]
        for at, value in zip(one.x.tolist(), one.y.tolist(), strict=True):
            design.append([m.mpf(column(m.mpf(at))) for column in columns])
            y.append(m.mpf(value))
            noise.append(m.mpf(one.noise))
    return design, y, noise


def linear_answers(case: Any, betas: tuple[float, ...] = BETAS) -> tuple[list[Any], list[Any], Any]:
    """F without the constant and <E> at each beta, and the constant: normal integrals, 50 digits.

    Source: Z = |1 + beta S G|^(-1/2) exp(-beta y'y/2 + beta^2 g' (1/S + beta G)^(-1) g / 2), with
    G = X'X and g = X'y in units of the noise, prior variances S and prior means of 0.
    """
    import mpmath as m

    with m.workdps(DIGITS):
        rows, y, noise = _regression(case)
        X = m.matrix([[v / e for v in row] for row, e in zip(rows, noise, strict=True)])
        z = m.matrix([v / e for v, e in zip(y, noise, strict=True)])
        prior = m.diag([1 / m.mpf(p.sd) ** 2 for p in case.priors])
        G, g, square = X.T * X, X.T * z, (z.T * z)[0]
        F, E = [], []
        for beta in map(m.mpf, betas):
            P = prior + beta * G
            centre = beta * m.lu_solve(P, g)
            F.append((beta * square - beta * (g.T * centre)[0]
                      + m.log(m.det(P) / m.det(prior))) / 2)
            inverse = P**-1
            spread = m.fsum((G * inverse)[i, i] for i in range(len(g)))
            E.append((square - 2 * (g.T * centre)[0] + (centre.T * G * centre)[0] + spread) / 2)
        return F, E, m.fsum(m.log(2 * m.pi * e**2) for e in noise) / 2


def case_run(name: str, seed: int) -> Numbers:
    """Errors of one exact case: its ln likelihood against the sampler's energy and constant, and
    (linear cases) F(beta), with and without the constant, and <E> against 50 digits."""
    from experiments.guests import posterior_of
    from theory.cases import named

    case = named(name)
    model, shift = posterior_of(case)
    theta = case.prior_transform(0.05 + 0.9 * np.random.default_rng(7).random((GRID,
                                                                               case.dimension)))
    order = [case.names.index(n) for n in model.names]
    energy = compiled_energies(model, theta[:, order])
    likelihood = np.asarray(case.log_likelihood(theta))
    # ln likelihood = shift - U - constant, relative to the largest of them.
    size = np.maximum(np.abs(energy), abs(model.constant) + abs(shift))
    out: Numbers = {"likelihood": float(np.max(np.abs(
        likelihood + energy + model.constant - shift) / size))}
    if name in LINEAR:
        out.update(_against_formulas(case, model))
    return out


def _against_formulas(case: Any, model: Any) -> Numbers:
    from theory.evidence import LinearRegression, free_energy, mean_energy, reduced_free_energy

    F, E, constant = linear_answers(case)
    rows, y, noise = _regression(case)
    problem = LinearRegression(
        np.array(rows, dtype=float), np.array(y, dtype=float), np.array(noise, dtype=float), 0.0,
        np.array([p.sd**2 for p in case.priors]))
    whole = [f + beta * constant for f, beta in zip(F, BETAS, strict=True)]
    found = {
        "reduced": (reduced_free_energy(problem, np.array(BETAS)), F),
        "energy": (mean_energy(problem, np.array(BETAS)), E),
        "tempered": (-case.log_evidence_at(np.array(BETAS)), whole),
        "with constant": (np.array([free_energy(problem)]), [F[0] + constant]),
        "constant": (np.array([model.constant]), [constant])}
    return {key: max(map(relative, map(float, values), exact))
            for key, (values, exact) in found.items()}


def judge_cases(records: Records) -> list[Finding]:
    """A7: conventions of all cases, and formulas of the linear ones."""
    out = []
    for key, words, most in (
            ("likelihood", "ln likelihood of the case + U + constant, relative", ENERGY),
            ("constant", "constant of the sampler, relative error", ENERGY),
            ("reduced", "F without the constant at beta = 1, 0.1, 0.01, relative error", FORMULA),
            ("with constant", "F with the constant, relative error", FORMULA),
            ("tempered", "F(beta) of the whole likelihood, relative error", FORMULA),
            ("energy", "<E> at beta = 1, 0.1, 0.01, relative error", FORMULA)):
        worst = {name: rows[0][key] for name, rows in records.items() if key in rows[0]}
        name = max(worst, key=lambda k: worst[k])
        out.append(inside(f"{words}: largest of {len(worst)} cases ({name})", worst[name], 0.0,
                          most, "0"))
    return out


def _names() -> tuple[str, ...]:
    """As in `formulas`, without loading the sampler; a test holds the two together."""
    return (*WRITTEN, "sextet 1", "triangle 1", "triangle 2", "sinusoid 1", "sinusoid 2")


def campaigns() -> tuple[Campaign, ...]:
    """A7, in two parts."""
    from theory.cases import BUILDERS

    return (
        Campaign("A7", "are energies and constants right to the last digits?", _names(),
                 range(1, 2), energy_run, judge_energies, 6.0),
        Campaign("A7 cases", "are F, <E> and the constants of the exact cases what formulas say?",
                 tuple(BUILDERS), range(1, 2), case_run, judge_cases, 2.0))
