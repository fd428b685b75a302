"""What starts often must start light."""

from benchmarks.start import imported


def test_help_imports_nothing_heavy() -> None:
    assert imported() == []
