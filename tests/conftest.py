"""What test modules share by name."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a fit as empty files: half of a short fit is matplotlib, which `test_fit_command`
    and `test_report` put to the test."""
    def save(figure: Any, stem: Path) -> None:
        for ending in (".png", ".pdf"):
            Path(f"{stem}{ending}").touch()

    monkeypatch.setattr("sampler.__main__._save", save)
