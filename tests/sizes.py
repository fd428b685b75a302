"""A fault test has one body and two sizes: a small one that CI runs, and the full one, `pytest -m soak`."""

from typing import Any

import pytest


def sizes(small: int, full: int, *, slow: bool = True) -> Any:
    """Parametrize a test by `size`; `slow` says that even the small one takes more than ten seconds."""
    marks = [pytest.mark.slow] if slow else []
    soak = [pytest.mark.soak, pytest.mark.timeout(3600)]
    return pytest.mark.parametrize("size", [pytest.param(small, marks=marks), pytest.param(full, marks=soak)])
