"""Peer beside ours, alternating, CPU seconds: `uv run --group bench python -m benchmarks.<name> --json`."""
