"""One look for all figures: sizes, and the colour-blind-safe palette of Okabe and Ito."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
STYLE = {
    "font.size": 9.0, "axes.labelsize": 9.0, "axes.titlesize": 9.5, "legend.fontsize": 8.0,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "axes.titlelocation": "left", "lines.linewidth": 1.4, "savefig.dpi": 200,
    "errorbar.capsize": 2.0,
}


class Figures(dict[str, Any]):
    """The figures of an experiment by name; most have one.

    Examples
    --------
    >>> import io
    >>> page = io.BytesIO()
    >>> Figures(line=panels(1, 1)[0]).savefig(page, format="svg")
    >>> page.getvalue()[:5]
    b'<?xml'
    """

    def savefig(self, file: Any, **options: Any) -> None:
        """Save the figure; the further ones, where there are any, beside it under their names.

        Parameters
        ----------
        file : path, or an open file where there is one figure
        **options
            As of matplotlib's `Figure.savefig`.
        """
        (_, first), *others = self.items()
        first.savefig(file, **options)
        for name, figure in others:
            path = Path(file)
            figure.savefig(path.with_name(f"{path.stem}_{name}{path.suffix}"), **options)


def styled(draw: Callable[[Any], dict[str, Any]]) -> Callable[[Any], Figures]:
    """Draw in the house's style; the user's own matplotlib settings stay untouched."""
    @wraps(draw)
    def drawn(result: Any) -> Figures:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return Figures(draw(result))

    return drawn


def panels(rows: int, columns: int, width: float = 7.0, height: float = 5.0) -> Any:
    """A figure with a grid of axes, ``(figure, axes (rows, columns))``; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def svg(figure: Any) -> str:
    """The figure as SVG text, the same bytes every time."""
    from io import StringIO

    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def label_panels(axes: Any) -> None:
    """(a), (b), (c) in front of the panel titles."""
    for k, ax in enumerate(axes.flat):
        ax.set_title(f"({chr(97 + k)}) {ax.get_title(loc='left')}", loc="left")


def plain_ticks(axis: Any, values: Sequence[float]) -> None:
    """Ticks in plain digits where powers of ten say too little: a few nats, a decade or two."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
