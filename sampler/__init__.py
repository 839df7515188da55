"""Exchange Monte Carlo for measured data: which model, how many components, how certain.

The map, in reading order: `shapes` and `priors` make a `Model`; with `Data` it is a `Posterior`;
`sample` runs it (a `Run`); `free_energy`, `diagnose` and `choose` give the answer; `summary`
and the drawing functions report it.  Importing this package loads NumPy only; everything else
loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampler import instruments as instruments
    from sampler import shapes as shapes
    from sampler.checkpoint import claimed as claimed
    from sampler.checkpoint import load_run as load_run
    from sampler.checkpoint import save_run as save_run
    from sampler.choice import Choice as Choice
    from sampler.choice import absolute_fit as absolute_fit
    from sampler.choice import choose as choose
    from sampler.comparing import compare as compare
    from sampler.data import Data as Data
    from sampler.derived import Average as Average
    from sampler.derived import Derived as Derived
    from sampler.derived import averaged as averaged
    from sampler.derived import derive as derive
    from sampler.diagnostics import Diagnosis as Diagnosis
    from sampler.diagnostics import diagnose as diagnose
    from sampler.errors import InputError as InputError
    from sampler.evidence import FreeEnergy as FreeEnergy
    from sampler.evidence import free_energy as free_energy
    from sampler.evidence import free_energy_along as free_energy_along
    from sampler.evidence import thermodynamic_integration as thermodynamic_integration
    from sampler.exchange import Run as Run
    from sampler.exchange import metropolis as metropolis
    from sampler.exchange import resume as resume
    from sampler.exchange import sample as sample
    from sampler.information import Criteria as Criteria
    from sampler.information import criteria as criteria
    from sampler.information import criteria_table as criteria_table
    from sampler.ladder import Ladder as Ladder
    from sampler.model import Model as Model
    from sampler.noise_level import NoiseChoice as NoiseChoice
    from sampler.noise_level import NoiseCurve as NoiseCurve
    from sampler.noise_level import choose_with_noise as choose_with_noise
    from sampler.noise_level import free_energy_of_noise as free_energy_of_noise
    from sampler.page import write_report as write_report
    from sampler.parsing import parse_formula as parse_formula
    from sampler.posterior import Posterior as Posterior
    from sampler.posterior import joint as joint
    from sampler.priors import Bernoulli as Bernoulli
    from sampler.priors import Beta as Beta
    from sampler.priors import Gamma as Gamma
    from sampler.priors import InverseGamma as InverseGamma
    from sampler.priors import LogUniform as LogUniform
    from sampler.priors import Normal as Normal
    from sampler.priors import Ordered as Ordered
    from sampler.priors import Uniform as Uniform
    from sampler.report import draw as draw
    from sampler.report import draw_choice as draw_choice
    from sampler.report import draw_fit as draw_fit
    from sampler.report import draw_ladder as draw_ladder
    from sampler.report import summary as summary
    from sampler.shapes import Formula as Formula

_HOME = {
    "claimed": "checkpoint", "load_run": "checkpoint", "save_run": "checkpoint",
    "Choice": "choice", "absolute_fit": "choice", "choose": "choice",
    "compare": "comparing", "Average": "derived", "Derived": "derived", "averaged": "derived",
    "derive": "derived", "write_report": "page",
    "Data": "data", "Diagnosis": "diagnostics", "diagnose": "diagnostics", "InputError": "errors",
    "FreeEnergy": "evidence", "free_energy": "evidence", "free_energy_along": "evidence",
    "thermodynamic_integration": "evidence",
    "Run": "exchange", "metropolis": "exchange", "resume": "exchange", "sample": "exchange",
    "Criteria": "information", "criteria": "information", "criteria_table": "information",
    "Ladder": "ladder",
    "NoiseChoice": "noise_level", "NoiseCurve": "noise_level",
    "choose_with_noise": "noise_level", "free_energy_of_noise": "noise_level",
    "Model": "model", "parse_formula": "parsing", "Posterior": "posterior", "joint": "posterior",
    "Bernoulli": "priors", "Beta": "priors", "Gamma": "priors", "InverseGamma": "priors",
    "LogUniform": "priors", "Normal": "priors", "Ordered": "priors", "Uniform": "priors",
    "draw": "report", "draw_choice": "report", "draw_fit": "report", "draw_ladder": "report",
    "summary": "report", "Formula": "shapes",
}
_MODULES = ("instruments", "shapes")
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"sampler.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'sampler' has no attribute {name!r}")
    return getattr(import_module(f"sampler.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
