"""Where the repository keeps its data and its results."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
RESULTS = Path(__file__).resolve().parent / "results"


def data_file(name: str) -> Path:
    """A file of the repository's data folder.

    Raises
    ------
    FileNotFoundError
        If this is not a clone of the repository but an installed wheel, which ships no data.
    """
    path = DATA / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: not found; experiments on measured data need a clone of the repository")
    return path
