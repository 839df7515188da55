"""Exact results of Bayesian regression, derived with sympy: the answers that judge a sampler.

`evidence` (any linear basis, Gaussian prior, any temperature), `box` (straight line, box
priors), `noise` (unknown noise variance, three ways), `large_n` (the penalty (d/2) ln N and what it
drops), `choice` (how often the right model is chosen: design before measuring), `joint` (several
data sets), `criteria` (AIC to WAIC and leave-one-out, exactly), `singular` (posteriors that never
become Gaussian), `exchange_rate` (how often two temperatures exchange), `energies` (the law of the
energy on a rung), `targets` (what a sampler must show: acceptance rates, information, ladder bias).
`choice` stands on `mesoscopic` (the few numbers a data set is worth) and `choice_variants` (walls,
estimated noise), `joint` on `quadratic` (the law of a difference of free energies over data sets);
`joint_box` keeps the walls; `box` stands on `walls`.  `derivations` typesets what sympy derived;
`rounding` says what float64 keeps, `stacked` is how a posterior keeps it; `nodes` are those of
quadratures.

`cases` are named problems with exact answers, for any sampler; `judge` scores one run on a case,
`judge_many` the runs of many seeds.

Energies U are dimensionless and without the noise's constant; free energies are in nats, F with
the constant and F~ without it; beta = 0 is the prior and beta = 1 the posterior.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theory import box as box
    from theory import cases as cases
    from theory import choice as choice
    from theory import choice_variants as choice_variants
    from theory import criteria as criteria
    from theory import derivations as derivations
    from theory import energies as energies
    from theory import evidence as evidence
    from theory import exchange_rate as exchange_rate
    from theory import joint as joint
    from theory import joint_box as joint_box
    from theory import large_n as large_n
    from theory import mesoscopic as mesoscopic
    from theory import noise as noise
    from theory import quadratic as quadratic
    from theory import singular as singular
    from theory import targets as targets
    from theory.errors import DomainError as DomainError
    from theory.evidence import LinearRegression as LinearRegression
    from theory.judging import judge as judge
    from theory.judging import judge_many as judge_many

_MODULES = ("box", "cases", "choice", "choice_variants", "criteria", "derivations", "energies",
            "evidence", "exchange_rate", "joint", "joint_box", "large_n", "mesoscopic", "noise",
            "quadratic", "singular", "targets")
_HOME = {"DomainError": "errors", "LinearRegression": "evidence", "judge": "judging",
         "judge_many": "judging"}
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"theory.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(import_module(f"theory.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
