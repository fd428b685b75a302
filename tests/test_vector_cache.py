import sqlite3
from pathlib import Path

import numpy as np

from ragkeep.types import Vectors
from ragkeep.vector_cache import VectorCache, other_caches, text_key


def some(n: int) -> tuple[list[bytes], Vectors]:
    rng = np.random.default_rng(0)
    return [text_key(f"text {i}") for i in range(n)], rng.standard_normal((n, 8), dtype=np.float32)


def test_what_was_put_comes_back_in_another_process_life(tmp_path: Path) -> None:
    keys, vectors = some(1200)
    with VectorCache(tmp_path, "model-a", 8) as cache:
        cache.put_many(keys, vectors)
    with VectorCache(tmp_path, "model-a", 8) as cache:
        got, found = cache.get_many([*keys, text_key("new"), keys[0]])
    assert found.tolist() == [True] * 1200 + [False, True]
    np.testing.assert_array_equal(got[:1200], vectors)
    np.testing.assert_array_equal(got[1201], vectors[0])
    assert not got[1200].any()


def test_two_fingerprints_never_meet(tmp_path: Path) -> None:
    keys, vectors = some(3)
    with VectorCache(tmp_path, "model-fp32", 8) as cache:
        cache.put_many(keys, vectors)
    with VectorCache(tmp_path, "model-int8", 8) as cache:
        assert not cache.get_many(keys)[1].any()


def test_a_file_that_is_no_database_is_started_afresh(tmp_path: Path) -> None:
    keys, vectors = some(3)
    with VectorCache(tmp_path, "m", 8) as cache:
        path = cache.path
    path.write_bytes(b"not a database" * 1000)
    with VectorCache(tmp_path, "m", 8) as cache:
        assert not cache.get_many(keys)[1].any()
        cache.put_many(keys, vectors)
        assert cache.get_many(keys)[1].all()


def test_pages_overwritten_with_noise_are_misses_not_wrong_vectors(tmp_path: Path) -> None:
    keys, vectors = some(2000)
    with VectorCache(tmp_path, "m", 8) as cache:
        cache.put_many(keys, vectors)
    data = bytearray(cache.path.read_bytes())
    data[4096 * 3 : 4096 * 6] = np.random.default_rng(1).bytes(4096 * 3)
    cache.path.write_bytes(data)
    with VectorCache(tmp_path, "m", 8) as cache:
        got, found = cache.get_many(keys)
        np.testing.assert_array_equal(got[found], vectors[found])
        cache.put_many(keys, vectors)
        assert cache.get_many(keys)[1].all()


def test_a_damaged_row_is_a_miss(tmp_path: Path) -> None:
    keys, vectors = some(3)
    with VectorCache(tmp_path, "m", 8) as cache:
        cache.put_many(keys, vectors)
    with sqlite3.connect(cache.path) as db:
        db.execute("UPDATE vectors SET value = zeroblob(36) WHERE key = ?", (keys[0],))
        db.execute("UPDATE vectors SET value = x'00' WHERE key = ?", (keys[1],))
    db.close()
    with VectorCache(tmp_path, "m", 8) as cache:
        assert cache.get_many(keys)[1].tolist() == [False, False, True]


def test_twenty_thousand_lookups_are_forty_questions_to_sqlite(tmp_path: Path) -> None:
    keys = [text_key(f"text {i}") for i in range(20_000)]
    with VectorCache(tmp_path, "m", 8) as cache:
        cache.put_many(keys, np.ones((20_000, 8), np.float32))
        asked = list[str]()
        cache._db.set_trace_callback(asked.append)
        assert cache.get_many(keys)[1].all()
    assert len(asked) == 40


def test_caches_of_embedders_nobody_uses_are_told_from_the_others(tmp_path: Path) -> None:
    caches = {name: VectorCache(tmp_path, name, 8) for name in ("old", "live")}
    for cache in caches.values():
        cache.put_many(*some(3))  # open, so that SQLite's own files lie beside it
    others = {path.name for path in other_caches(tmp_path, {("live", 8)})}
    assert others == {f"{caches['old'].path.name}{suffix}" for suffix in ("", "-shm", "-wal")}
    for cache in caches.values():
        cache.close()
