"""Names from a file as text of a figure, whatever script they are written in.

matplotlib's own font has no Japanese, Chinese or Korean, and draws a box for each character.  Where
one of the fonts that systems bring for them is installed, it helps out; where none is, the axis is
called by a plain name instead.  A dollar sign is a dollar sign, not the begin of a formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

HELPERS = (
    "Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "TakaoPGothic", "VL PGothic",
    "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Yu Gothic", "Meiryo", "MS Gothic",
    "Noto Sans CJK SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Noto Sans CJK KR", "Apple SD Gothic Neo",
    "Malgun Gothic", "NanumGothic", "Noto Sans", "Arial Unicode MS")


def families() -> list[str]:
    """The font families of a figure: matplotlib's own, then the helpers that are installed.

    Returns
    -------
    list of str

    Examples
    --------
    >>> families()[0]
    'sans-serif'
    """
    import matplotlib
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [*matplotlib.rcParams["font.family"], *(name for name in HELPERS if name in installed)]


def drawable(text: str, instead: str) -> str:
    """The text as matplotlib wants it, or another where no installed font has its characters.

    Parameters
    ----------
    text, instead : str

    Returns
    -------
    str

    Examples
    --------
    >>> drawable("I (a. u.)", "y"), drawable("cost ($)", "y"), drawable("\\U000f0000", "y")
    ('I (a. u.)', 'cost (\\\\$)', 'y')
    """
    return instead if without_font([text]) else text.replace("$", r"\$")


def without_font(texts: Iterable[str]) -> list[str]:
    """Those of the texts that no installed font can write.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    list of str
    """
    return [text for text in texts if not text.isascii()
            and not _characters(tuple(families())).issuperset(map(ord, text))]


@cache
def _characters(names: tuple[str, ...]) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset().union(*(get_font(findfont(FontProperties(family=[name]))).get_charmap()
                               for name in names))
