"""Exchangeable components: which of them may change numbers without changing anything.

K equal components can be numbered in K! ways.  The sampler visits all of them or one of them; a
table, or a density fitted to the draws, wants one.  `exchangeable` finds the components whose
numbers mean nothing, by looking at formulas, priors and sharing; `fold` sorts them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.posterior import Posterior

Array = NDArray[np.float64]
COMPONENT = re.compile(r"([A-Za-z]+)(\d+)_(.+)\Z")
_SORT_BY = ("center", "mu", "rate")


@dataclass(frozen=True)
class Group:
    """K exchangeable components.

    Parameters
    ----------
    prefix : str
        ``peak`` for peak1_height, peak2_height, ...
    columns : mapping from the parameter's own name to its K places in theta
    key : str
        The parameter by which the components are sorted.
    """

    prefix: str
    columns: Mapping[str, tuple[int, ...]]
    key: str

    @property
    def size(self) -> int:
        """Number of components K."""
        return len(self.columns[self.key])


def exchangeable(posterior: Posterior) -> tuple[Group, ...]:
    """The groups of components that may be renumbered freely.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    tuple of Group

    Examples
    --------
    >>> from sampler import Data, Model, shapes
    >>> two = Model.repeated(2, shapes.gaussian, height=(0, 3), center=(0, 3), width=(0.1, 1))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 0.2], noise=0.1)
    >>> [(g.prefix, g.size, g.key) for g in exchangeable(Posterior(two, data))]
    [('peak', 2, 'center')]
    >>> pinned = two.with_priors({"peak1_center": (0, 1)})
    >>> exchangeable(Posterior(pinned, data))
    ()
    """
    place = {name: i for i, name in enumerate(posterior.names)}
    alike: dict[tuple[Any, ...], list[str]] = {}
    for stem, own in _components(posterior).items():
        prefix = stem.rstrip("0123456789")
        kind = (prefix, *sorted((n, posterior.priors.get(f"{stem}_{n}"),
                                 posterior.fixed.get(f"{stem}_{n}")) for n in own))
        alike.setdefault(kind, []).append(stem)
    groups = []
    for (prefix, *parameters), stems in alike.items():
        stems = [s for s in stems if s == stems[0] or _unchanged(posterior, stems[0], s)]
        free = [n for n, prior, _ in parameters if prior is not None]
        if len(stems) > 1 and free:
            columns = {n: tuple(place[f"{stem}_{n}"] for stem in stems) for n in free}
            groups.append(Group(prefix, columns, _key(posterior, stems, free)))
    return tuple(groups)


def _components(posterior: Posterior) -> dict[str, list[str]]:
    """Own parameters of every numbered component: ``{"peak1": ["height", "center"]}``."""
    out: dict[str, list[str]] = {}
    for name in (*posterior.names, *posterior.fixed):
        match = COMPONENT.match(name)
        if match:
            out.setdefault(match.group(1) + match.group(2), []).append(match.group(3))
    return out


def _unchanged(posterior: Posterior, a: str, b: str) -> bool:
    """Does every data set keep the same sum of formulas when two components swap names?"""
    def swapped(name: str) -> str:
        match = COMPONENT.match(name)
        stem = match.group(1) + match.group(2) if match else ""
        other = {a: b, b: a}.get(stem)
        return name if other is None else f"{other}_{name[len(stem) + 1:]}"

    for block in posterior.blocks:
        terms = [(term.formula, term.names) for term in block.model.terms]
        again = [(formula, tuple(swapped(n) for n in names)) for formula, names in terms]
        if Counter(terms) != Counter(again):
            return False
    return True


def _key(posterior: Posterior, stems: list[str], free: list[str]) -> str:
    """What an ordered prior orders; otherwise the position of the component."""
    for group in posterior.orderings:
        for n in free:
            if {f"{stem}_{n}" for stem in stems} <= set(group):
                return n
    return next((n for n in _SORT_BY if n in free), free[0])


def fold(groups: tuple[Group, ...], theta: Array) -> Array:
    """The same points with every group's components in increasing order of its key.

    Parameters
    ----------
    groups : tuple of Group
    theta : array (..., parameters)

    Returns
    -------
    array (..., parameters)

    Examples
    --------
    >>> group = Group("peak", {"center": (0, 2), "height": (1, 3)}, "center")
    >>> fold((group,), np.array([2.0, 0.5, 1.0, 0.7])).tolist()
    [1.0, 0.7, 2.0, 0.5]
    """
    out = np.array(theta)
    for group in groups:
        order = np.argsort(out[..., list(group.columns[group.key])], axis=-1, kind="stable")
        for places in group.columns.values():
            out[..., list(places)] = np.take_along_axis(out[..., list(places)], order, axis=-1)
    return out


def is_folded(groups: tuple[Group, ...], theta: Array) -> NDArray[np.bool_]:
    """Which points have all their components in order; array (...)."""
    inside = np.ones(np.shape(theta)[:-1], dtype=bool)
    for group in groups:
        keys = theta[..., list(group.columns[group.key])]
        inside &= np.all(np.diff(keys, axis=-1) > 0.0, axis=-1)
    return inside
