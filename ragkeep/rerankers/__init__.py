"""Rerankers, one backend a file; ragkeep/backends.py names them."""
