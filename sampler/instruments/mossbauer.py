"""Moessbauer spectra of 57Fe in transmission: which hyperfine Hamiltonian do the counts ask for?

counts(v) = N s (1 - depth * sum_j w_j / (1 + (2 (v - v_j) / width)**2)),   sum_j w_j = 1

with the line positions v_j of the Hamiltonian (mm/s): ``singlet`` (shift), ``doublet`` (shift and
quadrupole splitting), ``sextet`` (shift and magnetic field, intensities 3:2:1:1:2:3) and
``sextet_quadrupole`` (with the quadrupole shift to first order).  For raw spectra over the channels
of a drive, mirrored and not folded, see `unfolded`.  Source: Gütlich, Bill and Trautwein, Mössbauer
Spectroscopy and Transition Metal Chemistry (2011), chapter 4; the choice by free energy is that of
Moriguchi et al., arXiv 2205.09188.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from sampler.errors import InputError
from sampler.instruments import given
from sampler.model import Model
from sampler.shapes import Formula, x

IRON_FIELD = 33.04       # T, hyperfine field of metallic iron at room temperature
# mm/s per tesla: the outer, middle and inner pair of lines of 57Fe; metallic iron's lie at
# 5.3279, 3.0852 and 0.8424 mm/s in a field of 33 T.
PER_TESLA = tuple(sp.Float(v) / 33 for v in (5.3279, 3.0852, 0.8424))
_d, _q, _B, _e, _w, _a, _s = sp.symbols(
    "shift splitting field quadrupole width depth scale", real=True)
_V, _f = sp.symbols("velocity fold", real=True)
PAIRS = ("outer", "middle", "inner")


def _pair(k: int, quadrupole: Any = 0) -> list[Any]:
    """The k-th pair of magnetic lines; the quadrupole term moves the outer pair up, others down."""
    moved = _d + (quadrupole if k == 0 else -quadrupole) / 2
    return [moved - _B * PER_TESLA[k], moved + _B * PER_TESLA[k]]


def _sextet(quadrupole: Any = 0) -> list[tuple[Any, Any]]:
    return [(sp.Rational(3 - k, 12), line) for k in range(3) for line in _pair(k, quadrupole)]


# name: (parameters of the Hamiltonian, (weight, position) of its lines)
HAMILTONIANS: dict[str, tuple[tuple[str, ...], list[tuple[Any, Any]]]] = {
    "singlet": (("shift",), [(sp.Integer(1), _d)]),
    "doublet": (("shift", "splitting"),
                [(sp.Rational(1, 2), _d - _q / 2), (sp.Rational(1, 2), _d + _q / 2)]),
    "sextet": (("shift", "field"), _sextet()),
    "sextet_quadrupole": (("shift", "field", "quadrupole"), _sextet(_e)),
    **{pair: (("shift", "field"), [(sp.Rational(1, 2), line) for line in _pair(k)])
       for k, pair in enumerate(PAIRS)}}


def absorption(hamiltonian: str, velocity: Any = x) -> Any:
    """The sum of the Lorentzian lines, total weight 1, as a sympy expression.

    Parameters
    ----------
    hamiltonian : str
        "singlet", "doublet", "sextet", "sextet_quadrupole", or one pair of a sextet by itself:
        "outer", "middle", "inner".
    velocity : sympy expression
        In the symbol x; x itself if the data are given over the velocity.

    Examples
    --------
    >>> absorption("singlet")
    1/(1 + 4*(-shift + x)**2/width**2)
    """
    if hamiltonian not in HAMILTONIANS:
        raise InputError("hamiltonian", repr(hamiltonian), f"one of {', '.join(HAMILTONIANS)}")
    return sum(weight / (1 + 4 * ((velocity - line) / _w) ** 2)
               for weight, line in HAMILTONIANS[hamiltonian][1])


def transmission(hamiltonian: str, counts: float, **priors: Any) -> Model:
    """Counts over the velocity (mm/s), for Poisson noise.

    Parameters
    ----------
    hamiltonian : "singlet", "doublet", "sextet" or "sextet_quadrupole"
    counts : float
        N, about what a channel counts away from the lines.
    **priors
        scale (of N), depth (of all lines together), width (FWHM, mm/s), shift (mm/s) and, where
        the Hamiltonian has them, splitting (mm/s), field (T), quadrupole (mm/s): each a prior,
        ``(lo, hi)`` or a number.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        For an unknown Hamiltonian, counts that are not positive, a prior missing or unknown.

    Examples
    --------
    >>> transmission("doublet", 1e4, scale=(0.9, 1.1), depth=(0, 0.6), width=(0.15, 1),
    ...              shift=(-1, 1), splitting=(0, 4)).free
    ('scale', 'depth', 'width', 'shift', 'splitting')
    """
    lines = absorption(hamiltonian)
    if not (isinstance(counts, int | float) and 0 < counts < float("inf")):
        raise InputError("counts", repr(counts), "a positive number of counts in a channel")
    names = ("scale", "depth", "width", *HAMILTONIANS[hamiltonian][0])
    formula = Formula(f"transmission_{hamiltonian}", counts * _s - counts * _s * _a * lines, names)
    return Model.single(formula, **priors)


def unfolded(hamiltonians: Sequence[str], channels: int, drive: str = "triangle",
             priors: dict[str, Any] | None = None, **baseline: Any) -> Model:
    """Raw counts over the channels of a drive that passes the velocities twice, mirrored.

    The velocity at channel x + 1/2 (x = 0, 1, ...) is ``velocity (|4 p - 2| - 1)`` for a triangle
    and ``velocity cos(2 pi p)`` for a sinusoid, p = (x + 1/2 + fold) / channels; the baseline is
    level + cosine cos(2 pi p) + sine sin(2 pi p) with fold = 0: the source comes nearer and goes.
    A fold is a few channels; as many lie beyond the last turning point, where the triangle is
    simply continued: they must be free of lines.

    Parameters
    ----------
    hamiltonians : sequence of str
        What absorbs: "doublet" twice for two sites; "outer", "middle" and "inner" for a sextet
        with free intensities, which share shift, field and width.
    channels : int
    drive : "triangle" or "sinusoid"
    priors : mapping
        velocity (mm/s), fold (channels), and by site ``site1_depth`` (counts), ``site1_width``,
        ``site1_shift``, ... ; the pairs of a sextet have ``outer_depth``, ``middle_depth``,
        ``inner_depth`` and share ``shift``, ``field`` and ``width``.
    **baseline
        level, cosine, sine (counts).

    Returns
    -------
    Model

    Raises
    ------
    InputError
        For an unknown drive or Hamiltonian, or a prior missing.

    Examples
    --------
    >>> unfolded(["singlet"], 512, level=(0, 1e5), cosine=0.0, sine=0.0, priors={
    ...     "velocity": (8, 16), "fold": 0.0, "site1_depth": (0, 1e4), "site1_width": (0.1, 1),
    ...     "site1_shift": (-1, 1)}).free
    ('level', 'site1_depth', 'site1_width', 'site1_shift', 'velocity')
    """
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 2:
        raise InputError("channels", repr(channels), "a whole number of channels, 2 or more")
    still, moved = (2 * sp.pi * v / channels for v in (x + sp.Rational(1, 2), _f))
    # cos(still + moved): its waves over x are tables then, made once.
    turn = sp.cos(still) * sp.cos(moved) - sp.sin(still) * sp.sin(moved)
    drives = {"triangle": _V * (sp.Abs(2 * (still + moved) / sp.pi - 2) - 1),
              "sinusoid": _V * turn}
    if drive not in drives:
        raise InputError("drive", repr(drive), f"one of {', '.join(drives)}")
    level, cosine, sine = sp.symbols("level cosine sine", real=True)
    model = Model.single(Formula("baseline", level + cosine * sp.cos(still)
                                 + sine * sp.sin(still), ("level", "cosine", "sine")), **baseline)
    for k, hamiltonian in enumerate(hamiltonians, start=1):
        lines = absorption(hamiltonian, drives[drive])
        names = ("depth", "width", *HAMILTONIANS[hamiltonian][0], "velocity", "fold")
        own = {"depth": f"{hamiltonian}_depth"} if hamiltonian in PAIRS else {
            name: f"site{k}_{name}" for name in names[:-2]}
        full = {name: name for name in names} | own
        model += Model.single(Formula(f"absorbed_{hamiltonian}", -_a * lines, names),
                              priors=given(priors or {}, full.values()), **full)
    return model
