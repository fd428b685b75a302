"""What several stores' tests begin with."""

from pathlib import Path

import pytest

from tests.stores.amazon import forget_aws


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that knows nothing of AWS; returns the path of the file where it would be configured."""
    forget_aws(monkeypatch, tmp_path)
    return tmp_path / "config"
