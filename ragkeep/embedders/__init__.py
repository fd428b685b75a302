"""One embedder a runtime."""
