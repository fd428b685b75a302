"""The sketch finds what a full scan finds, or is not there."""

from pathlib import Path

import numpy as np

from ragkeep.stores.sketch import build_sketch, dots, likeliest
from ragkeep.types import Vectors


def vectors(rows: int, dim: int, *, decay: float) -> Vectors:
    """Unit rows whose variance falls by `decay` from one hidden direction to the next, as real embeddings' does."""
    random = np.random.default_rng(3)
    basis, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    rows_ = (random.normal(size=(rows, dim)) * decay ** np.arange(dim)) @ basis.T
    return (rows_ / np.linalg.norm(rows_, axis=1, keepdims=True)).astype(np.float32)


def made(folder: Path, matrix: Vectors) -> bool:
    np.save(folder / "vectors.npy", matrix)
    build_sketch(folder, min_rows=1000)
    assert (folder / "sketch.npy").exists() == (folder / "directions.npy").exists()
    return (folder / "sketch.npy").exists()


def test_the_true_nearest_are_among_the_likeliest(tmp_path: Path) -> None:
    matrix = vectors(4000, 64, decay=0.93)
    assert made(tmp_path, matrix)
    sketch, directions = np.load(tmp_path / "sketch.npy"), np.load(tmp_path / "directions.npy")
    assert sketch.shape == (4000, 21)
    for query in vectors(20, 64, decay=0.93):
        true = np.argsort(-dots(matrix, query))[:100]
        assert np.isin(true, likeliest(sketch, query @ directions, 100)).mean() >= 0.99


def test_vectors_without_main_directions_get_no_sketch(tmp_path: Path) -> None:
    assert not made(tmp_path, vectors(4000, 64, decay=1.0))


def test_few_rows_get_no_sketch(tmp_path: Path) -> None:
    assert not made(tmp_path, vectors(900, 64, decay=0.9))


def test_rows_that_are_not_allowed_are_not_likely() -> None:
    matrix = vectors(2000, 64, decay=0.9)
    allowed = np.arange(2000) % 2 == 0
    rows = likeliest(matrix, matrix[0], 10, allowed)
    assert len(rows) == 100
    assert allowed[rows].all()
