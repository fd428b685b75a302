"""ragkeep keeps a retrieval-augmented assistant healthy."""
