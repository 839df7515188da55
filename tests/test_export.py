"""A run as ArviZ sees it, whichever of the two generations is installed."""

import math
from typing import Any

import numpy as np
import pytest

from sampler import Data, InputError, Model, Posterior, Run, export, sample, shapes

X = np.linspace(0.0, 3.0, 40)
PEAKS = Posterior(
    Model.repeated(2, shapes.gaussian, height=(0, 3), center=(0, 3), width=(0.2, 1.0)),
    Data(X, np.exp(-4.0 * (X - 1) ** 2) + np.exp(-4.0 * (X - 2) ** 2), noise=0.1))


@pytest.fixture(scope="module")
def run() -> Run:
    return sample(PEAKS, sweeps=200, burn_in=400, chains=2, seed=4)


class Recorder:
    """Stands for ArviZ where it is not needed: keeps what it was given."""

    def __init__(self, version: str) -> None:
        self.__version__ = version

    def from_dict(self, *args: Any, **groups: Any) -> Any:
        return args[0] if args else groups


@pytest.mark.parametrize("version", ["0.23.4", "1.3.0"])
def test_groups_of_both_generations(run: Run, version: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """One mapping for 1.x, keywords for 0.x; ln p adds up to the energy, lp has the prior."""
    monkeypatch.setattr(export, "import_module", lambda name: Recorder(version))
    groups = run.to_arviz(log_likelihood=True)
    assert set(groups) == {"posterior", "sample_stats", "observed_data", "constant_data",
                           "log_likelihood"}
    assert np.array_equal(groups["posterior"]["peak2_center"], run.draws[..., 4])
    total = -groups["log_likelihood"]["y"].sum(axis=-1) - PEAKS.constant
    # The kernel's exp is a polynomial of its own.
    assert np.allclose(total, groups["sample_stats"]["energy"], rtol=1e-10, atol=1e-9)
    flat = -2.0 * (2 * math.log(3.0) + math.log(0.8))
    assert np.allclose(groups["sample_stats"]["lp"] + groups["sample_stats"]["energy"], flat)


def test_components_are_sorted_on_request_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "import_module", lambda name: Recorder("1.0"))

    def in_order(groups: Any) -> np.ndarray:
        return groups["posterior"]["peak1_center"] <= groups["posterior"]["peak2_center"]

    assert np.all(in_order(run.to_arviz(sort=True)))
    assert not np.all(in_order(run.to_arviz()))


# 0.x announces 1.x when it is imported, once a day.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_arviz_itself(run: Run) -> None:
    arviz = pytest.importorskip("arviz")
    tree = run.to_arviz(sort=True, log_likelihood=True)
    posterior = tree["posterior"]
    assert posterior["peak1_center"].shape == (2, 200)
    assert np.array_equal(posterior["peak1_center"].values,
                          np.minimum(run.draws[..., 1], run.draws[..., 4]))
    table = arviz.summary(tree)
    assert "peak1_center" in table.index
    assert arviz.loo(tree) is not None


def test_what_cannot_be_given_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"sampler\.criteria"):
        run.to_arviz(log_likelihood=True)

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(export, "import_module", absent)
    with pytest.raises(InputError, match=r"bayesian-measurement\[arviz\]"):
        run.to_arviz()
    fixed = Model.single(shapes.linear, offset=0.0, slope=1.0)
    with pytest.raises(InputError, match="no free parameters"):
        sample(Posterior(fixed, Data(X, X, noise=0.1))).to_arviz()
