"""ragkeep keeps a retrieval-augmented assistant healthy."""

__version__ = "0.1.0"
