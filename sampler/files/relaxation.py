"""Bruker inversion or saturation recovery: a folder with ser, vdlist, acqus and acqu2s.

The file holds one free induction decay for each delay; the curve is made here, always in the same
way: points before the signal (digital filter) left out, exponential line broadening, Fourier
transform, one phase for all delays from the trace of the longest one, and the real part summed
over a window about the strongest line of that trace.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.files.contents import raw_bytes, source
from sampler.files.tables import Array, Table, number

Complex = NDArray[np.complex128]
BLOCK = 1024                  # bytes: every trace begins at a multiple of it
SECONDS = {"s": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
FEWEST_WINDOWS = 4


@dataclass(frozen=True)
class _Acquisition:
    numbers: int              # real and imaginary ones of a trace together (TD)
    rate: float               # points in a second: the spectral width in Hz (SW_h)
    delay: float              # of the digital filter in points (GRPDLY); < 0: not said
    kind: np.dtype[Any]       # of one number


def experiment(path: Path) -> Path | None:
    """The folder with a ser file that the path, or one of its well-known files, belongs to."""
    folder = path if os.path.isdir(path) else path.parent
    known = os.path.isdir(path) or path.name in ("ser", "vdlist", "acqus", "acqu2s")
    return folder if known and os.path.isfile(folder / "ser") else None


def read_relaxation(folder: Path, *, part: str = "", skip: int | None = None,
                    broadening: float = 5.0, width: float = 150.0) -> Table:
    """Intensity over delay from the decays of a Bruker folder.

    Parameters
    ----------
    folder : Path
        With ser, vdlist and acqus (and acqu2s, if it is there).
    part : str, optional
        Must be empty: there is one curve.
    skip : int, optional
        Points to leave out before the signal; by default the delay of the digital filter if
        acqus gives it (GRPDLY), else all before the magnitude reaches half of its largest value.
    broadening : float, optional
        Exponential line broadening in Hz.
    width : float, optional
        Half width in Hz of the window about the line.

    Returns
    -------
    Table
        Delay (s), intensity relative to that at the longest delay, and its standard deviation:
        that of sums over windows of the same width away from the line, averaged over the delays.
        It is estimated from the same traces: infer the noise (noise unknown) where it matters.

    Raises
    ------
    InputError
        For missing files or parameters, a ser or vdlist of another length than acqus and acqu2s
        say, or a delay that cannot be read.
    """
    if part:
        raise InputError(f"{folder}: part", repr(part), "no part: this is a single curve")
    delays = _delays(folder / "vdlist")
    traces, rate, first = _traces(folder, len(delays), skip)
    time = np.arange(traces.shape[1]) / rate
    spectra = np.fft.fftshift(np.fft.fft(traces * np.exp(-np.pi * broadening * time), axis=1),
                              axes=1)
    frequency = np.fft.fftshift(np.fft.fftfreq(len(time), 1.0 / rate))
    longest = int(np.argmax(delays))
    line = float(frequency[np.argmax(np.abs(spectra[longest]))])

    def summed(center: float) -> Complex:
        return np.asarray(spectra[:, np.abs(frequency - center) <= width].sum(axis=1))

    largest = complex(summed(line)[longest])
    if not abs(largest) > 0.0:
        raise InputError(f"{folder}/ser", "no signal at the longest delay",
                         "a line in its spectrum")
    intensity = (summed(line) / largest).real
    away = [line + 2.0 * width * k for k in range(-int(rate / width), int(rate / width))
            if abs(k) > 1 and abs(line + 2.0 * width * k) + width < rate / 2.0]
    names, columns = ["delay (s)", "intensity (of the longest delay)"], [delays, intensity]
    if len(away) >= FEWEST_WINDOWS:
        noise = np.array([(summed(center) / largest).real for center in away])
        names.append("sigma")
        columns.append(np.full(len(delays), noise.std(axis=0, ddof=1).mean()))
    notes = (f"Bruker: {len(delays)} delays; the first {first} points (digital filter) left out, "
             f"{broadening:g} Hz line broadening, one phase, the real part summed over "
             f"{line:.0f} +- {width:g} Hz (the strongest line)",)
    return Table(str(folder), tuple(names), np.array(columns), notes,
                 tuple(range(1, len(delays) + 1)), sigma=2 if len(names) == 3 else None,
                 row="delay")


def _delays(path: Path) -> Array:
    """Seconds, from lines such as ``20.000m`` (milliseconds) or ``1.306`` (seconds)."""
    out = []
    for i, line in enumerate(source(path).lines, start=1):
        text = line.strip()
        if not text:
            continue
        unit = text[-1].lower() if text[-1].lower() in SECONDS else ""
        try:
            seconds = number(text[:len(text) - len(unit)]) * SECONDS[unit or "s"]
            if not 0.0 <= seconds < math.inf:
                raise ValueError(text)
        except ValueError:
            raise InputError(f"{path}, line {i}, delay", repr(text[:40]),
                             "a time >= 0 such as 20m or 1.306 (s, m, u or n behind it)") from None
        out.append(seconds)
    if len(out) < 2:
        raise InputError(str(path), f"{len(out)} delays", "two or more")
    return np.array(out)


def _traces(folder: Path, delays: int, skip: int | None) -> tuple[Complex, float, int]:
    """Complex traces (delays, points) from the first point with a signal, points a second, and
    how many were left out."""
    said = _acquisition(folder)
    raw = raw_bytes(folder / "ser")
    size = -(-said.numbers * said.kind.itemsize // BLOCK) * BLOCK
    wanted = delays
    if (folder / "acqu2s").exists():
        wanted = int(_parameter(folder / "acqu2s", "TD"))
    if len(raw) != wanted * size:
        raise InputError(f"{folder}/ser", f"{len(raw)} bytes",
                         f"{wanted * size}: {wanted} traces of {size} bytes (acqus, acqu2s)",
                         "the file is cut off, or the experiment was stopped")
    if wanted != delays:
        raise InputError(f"{folder}/vdlist", f"{delays} delays", f"{wanted}, as acqu2s says")
    table = np.frombuffer(raw, dtype=said.kind).reshape(wanted, -1)[:, :said.numbers]
    values = table.astype(np.float64)
    traces = values[:, 0::2] + 1j * values[:, 1::2]
    if not np.isfinite(traces).all():
        raise InputError(f"{folder}/ser", "values that are not finite", "numbers",
                         "are DTYPA and BYTORDA in acqus right?")
    first = skip
    if first is None:
        size_of = np.abs(traces).mean(axis=0)
        first = (math.ceil(said.delay) if said.delay >= 0.0
                 else int(np.argmax(size_of >= 0.5 * size_of.max())))
    if not 0 <= first < traces.shape[1] - 1:
        raise InputError(f"{folder}: points to leave out", str(first),
                         f"0 to {traces.shape[1] - 2}")
    return traces[:, first:], said.rate, first


def _acquisition(folder: Path) -> _Acquisition:
    path = folder / "acqus"
    numbers, rate = _parameter(path, "TD"), _parameter(path, "SW_h")
    if numbers < 8 or numbers % 2 or rate <= 0.0:
        raise InputError(f"{path}: TD, SW_h", f"{numbers:g} and {rate:g}",
                         "an even number of 8 or more, and a width > 0")
    if _parameter(path, "AQ_mod") not in (1.0, 3.0):
        raise InputError(f"{path}: AQ_mod", f"{_parameter(path, 'AQ_mod'):g}",
                         "1 or 3: complex points", "sequential or real acquisition cannot be read")
    kinds = {0.0: "i4", 2.0: "f8"}
    kind, order = _parameter(path, "DTYPA"), _parameter(path, "BYTORDA")
    if kind not in kinds or order not in (0.0, 1.0):
        raise InputError(f"{path}: DTYPA, BYTORDA", f"{kind:g} and {order:g}",
                         "0 (int32) or 2 (float64), and 0 (little) or 1 (big-endian)")
    return _Acquisition(int(numbers), rate, _parameter(path, "GRPDLY", -1.0),
                        np.dtype((">" if order else "<") + kinds[kind]))


def _parameter(path: Path, name: str, default: float | None = None) -> float:
    """A number from the JCAMP-DX text of acqus or acqu2s."""
    found = re.search(rf"^##\${name}=\s*(\S+)\s*$", source(path).text, re.MULTILINE)
    if found is None and default is not None:
        return default
    try:
        value = number(found.group(1)) if found else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {name}", repr(found.group(1)[:40]) if found else "nothing",
                         f"##${name}= and a number")
    return value
