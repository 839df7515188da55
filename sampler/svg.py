"""Plots as SVG text for a page: no library, no script, colours from the page's style sheet.

A `Panel` is one pair of axes; its methods add lines, bands, points and bars as text, and `figure`
puts panels into one picture.  What is drawn carries classes only (``ink``, ``c0`` to ``c6``), so
that one picture serves light screens, dark screens and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
COLOURS = 6        # classes c1 to c6, used in turn for components; c0 is the answer itself


@dataclass(frozen=True)
class Axis:
    """One axis: its range, label and, if wanted, places of its own for the ticks.

    Parameters
    ----------
    low, high : float
    label : str
    log : bool
        Equal steps for equal ratios.
    marks : pairs of place and text, optional
        Ticks; round numbers if not given, none if empty.
    """

    low: float
    high: float
    label: str = ""
    log: bool = False
    marks: Sequence[tuple[float, str]] | None = None

    def place(self, values: Any) -> Array:
        """From the axis to 0 (low) and 1 (high)."""
        v, low, high = np.asarray(values, dtype=np.float64), self.low, self.high
        if self.log:
            v, low, high = np.log(np.maximum(v, 1e-300)), math.log(low), math.log(high)
        return np.asarray((v - low) / (high - low))

    def ticks(self, most: int) -> Sequence[tuple[float, str]]:
        """Round numbers on the axis, with their text."""
        if self.marks is not None:
            return self.marks
        if self.log and self.high > 30.0 * self.low:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, math.ceil((last - first + 1) / most))
            return [(10.0**k, f"{10.0**k:g}".replace("e-0", "e-")) for k in range(
                first, last + 1, step)]
        return _round_numbers(self.low, self.high, most)


def _round_numbers(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """
    >>> [text for _, text in _round_numbers(-0.3, 1.2, 4)]
    ['0.0', '0.5', '1.0']
    >>> [text for _, text in _round_numbers(1e6, 1.000004e6, 3)]
    ['1000000', '1000002', '1000004']
    """
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(m * scale for m in (1.0, 2.0, 5.0, 10.0) if m * scale >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    places = [k * step for k in range(first, last + 1)]
    size = max(abs(low), abs(high))
    if size >= 1e7 or size < 1e-4:
        digits = max(0, math.floor(math.log10(size)) - math.floor(math.log10(step)))
        return [(p, f"{p:.{digits}e}") for p in places]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(p, f"{p:.{decimals}f}") for p in places]


@dataclass
class Panel:
    """One pair of axes in a picture; sizes in its units, which are pixels on a wide screen."""

    left: float
    top: float
    width: float
    height: float
    x: Axis
    y: Axis
    frame: bool = True
    parts: list[str] = field(default_factory=list)    # inside the axes, cut off at their edge
    outside: list[str] = field(default_factory=list)

    def _points(self, x: Any, y: Any) -> tuple[Array, Array]:
        # Far outside is outside: no renderer needs to see 1e300.
        right, down = (np.clip(v, -99.0, 99.0) for v in (self.x.place(x), self.y.place(y)))
        return right * self.width, (1.0 - down) * self.height

    def line(self, x: Any, y: Any, css: str) -> None:
        """A curve through points in order; a gap where a value is not finite."""
        right, down = self._points(x, y)
        parts, pen = [], "M"
        for a, b in zip(right, down, strict=True):
            if math.isfinite(a) and math.isfinite(b):
                parts.append(f"{pen}{a:.1f} {b:.1f}")
                pen = "L"
            else:
                pen = "M"
        self.parts.append(f'<path class="line {css}" d="{"".join(parts)}"/>')

    def area(self, x: Any, low: Any, high: Any, css: str) -> None:
        """What lies between two curves."""
        around = [np.concatenate([a, b[::-1]]) for a, b in zip(
            self._points(x, low), self._points(x, high), strict=True)]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(*around, strict=True))
        self.parts.append(f'<path class="area {css}" d="M{path}Z"/>')

    def dots(self, x: Any, y: Any, css: str) -> None:
        """Points, as one path of strokes without length."""
        path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(*self._points(x, y), strict=True))
        self.parts.append(f'<path class="dots {css}" d="{path}"/>')

    def bars(self, x: Any, low: Any, high: Any, css: str, width: float = 0.0) -> None:
        """Error bars from low to high; with a width (pixels), filled bars."""
        right, bottom = self._points(x, low)
        _, top = self._points(x, high)
        if width:
            self.parts += [
                f'<rect class="bar {css}" x="{a - width / 2:.1f}" y="{min(b, c):.1f}" '
                f'width="{width:.1f}" height="{abs(b - c):.1f}"/>'
                for a, b, c in zip(right, bottom, top, strict=True)]
            return
        path = "".join(f"M{a:.1f} {b:.1f}V{c:.1f}"
                       for a, b, c in zip(right, bottom, top, strict=True))
        self.parts.append(f'<path class="line {css}" d="{path}"/>')

    def level(self, y: float, css: str) -> None:
        """A straight line from edge to edge."""
        self.line([self.x.low, self.x.high], [y, y], css)

    def note(self, x: float, y: float, text: str, css: str = "") -> None:
        """Words beside a point."""
        right, down = self._points([x], [y])
        self.parts.append(f'<text class="{css}" x="{right[0] + 3:.1f}" y="{down[0] - 4:.1f}">'
                          f"{escape(text)}</text>")

    def title(self, text: str) -> None:
        """Words above the panel."""
        self.beside(0.0, -6.0, text)

    def beside(self, right: float, down: float, text: str, css: str = "", turn: float = 0.0
               ) -> None:
        """Words at a place counted from the panel's upper left corner, turned by degrees."""
        at = f"{self.left + right:.1f} {self.top + down:.1f}"
        turned = f" rotate({turn:g})" if turn else ""
        self.outside.append(f'<text class="{css}" transform="translate({at}){turned}">'
                            f"{escape(text)}</text>")

    def svg(self) -> str:
        """The panel as text; axes last, so that nothing hides them."""
        w, h = self.width, self.height
        inside = (f'<svg x="{self.left:.1f}" y="{self.top:.1f}" width="{w:.1f}" '
                  f'height="{h:.1f}">{"".join(self.parts)}</svg>')
        frame = f'<path class="axis" d="M{self.left:.1f} {self.top:.1f}v{h:.1f}h{w:.1f}"/>'
        text = [*self._x_axis(), *self._y_axis(), *self.outside]
        return inside + frame * self.frame + "".join(text)

    def _x_axis(self) -> Iterable[str]:
        bottom = self.top + self.height
        for place, text in self.x.ticks(max(2, round(self.width / 50))):
            at = self.left + float(self.x.place(place)) * self.width
            yield (f'<path class="axis" d="M{at:.1f} {bottom:.1f}v4"/>'
                   f'<text class="tick mid" x="{at:.1f}" y="{bottom + 16:.1f}">'
                   f"{_shown(text)}</text>")
        if self.x.label:
            below = 34 if self.x.marks is None or self.x.marks else 14
            yield (f'<text class="mid" x="{self.left + self.width / 2:.1f}" '
                   f'y="{bottom + below:.1f}">{escape(self.x.label)}</text>')

    def _y_axis(self) -> Iterable[str]:
        widest = 0
        for place, text in self.y.ticks(max(2, int(self.height / 40))):
            at = self.top + (1.0 - float(self.y.place(place))) * self.height
            widest = max(widest, len(text))
            yield (f'<path class="axis" d="M{self.left:.1f} {at:.1f}h-4"/>'
                   f'<text class="tick end" x="{self.left - 6:.1f}" y="{at + 4:.1f}">'
                   f"{_shown(text)}</text>")
        if self.y.label:
            right, down = max(12.0, self.left - 18 - 6.5 * widest), self.top + self.height / 2
            yield (f'<text class="mid" transform="translate({right:.1f} {down:.1f}) rotate(-90)">'
                   f"{escape(self.y.label)}</text>")


def _shown(tick: str) -> str:
    """A tick with a minus sign of the width of a digit, unless it is a power of ten."""
    return escape(tick if "e" in tick else tick.replace("-", "\N{MINUS SIGN}"))


def figure(panels: Iterable[Panel], width: float, height: float, words: str) -> str:
    """Panels as one picture, with words for those who cannot see it.

    Examples
    --------
    >>> panel = Panel(40, 10, 100, 50, Axis(0, 1, "<x>"), Axis(0, 1))
    >>> panel.level(0.5, "c0")
    >>> text = figure([panel], 160, 100, "a level")
    >>> "&lt;x&gt;" in text and "<x>" not in text
    True
    """
    inside = "".join(panel.svg() for panel in panels)
    return (f'<svg class="plot" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(words)}">{inside}</svg>')


def span(values: Any, margin: float = 0.05) -> tuple[float, float]:
    """Ends of an axis that shows all finite values with some air.

    Examples
    --------
    >>> span([0.0, 10.0], 0.1), span([2.0])
    ((-1.0, 11.0), (1.0, 3.0))
    """
    v = np.asarray(values, dtype=np.float64)
    v = v[np.isfinite(v)]
    low, high = (float(v.min()), float(v.max())) if v.size else (0.0, 1.0)
    # Nothing narrower than what floating point can divide.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = 0.5 * max(abs(low), abs(high)) or 1.0
        return low - air, high + air
    air = margin * (high - low)
    return low - air, high + air
