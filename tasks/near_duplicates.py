"""Documents that are nearly the same, found without comparing all with all; reported, never removed.

Documents become sets of word 5-grams; MinHash signatures in bands (Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", section 3.4) name the pairs worth a look, and each of those is decided by the sets themselves.
Texts are read batch by batch; kept are a signature a document, and the sets of those that share a band with another.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from blake3 import blake3
from numpy.typing import NDArray

from tasks.shards import iter_shards

SHINGLE = 5
HASHES = 128
SEED = 7
CROWD = 20
"""In larger groups each is compared with the first only: a licence copied 1,000 times is 999 pairs, not 499,500."""
LISTED = 200
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
_MIXER = np.uint64(0x9E3779B97F4A7C15)
Shingles = NDArray[np.uint64]
"""Sorted distinct 64-bit hashes of a text's word 5-grams, shape (n,)."""


def near_duplicates(folder: Path, threshold: float) -> dict[str, Any]:
    """Return {"count", "pairs": [{"a", "b", "similarity"}], "threshold"}: pairs of uris with at least that Jaccard.

    At most LISTED pairs are listed, most similar first. Of pairs at the threshold, 1 in 1,000 may be missed.
    """
    signed, uris, shas = _signatures(folder)
    firsts, same = _same(shas)
    pairs = dict.fromkeys(same, 1.0)
    wanted = _candidates(signed[firsts], firsts, threshold)
    sets = _sets_of(folder, {i for pair in wanted for i in pair})
    for a, b in wanted:
        similarity = jaccard(sets[a], sets[b])
        if similarity >= threshold:
            pairs[a, b] = similarity
    found = sorted((-s, min(uris[a], uris[b]), max(uris[a], uris[b])) for (a, b), s in pairs.items())
    rows = [{"a": a, "b": b, "similarity": round(-s, 4)} for s, a, b in found[:LISTED]]
    return {"count": len(found), "pairs": rows, "threshold": threshold}


def jaccard(a: Shingles, b: Shingles) -> float:
    """Shared shingles over all shingles, 0..1; two empty sets have nothing in common."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / max(1, len(a) + len(b) - shared)


class Hashes(dict[str, int]):
    """Words to 64-bit hashes, made on first sight; forgotten when there are too many."""

    def __missing__(self, word: str) -> int:
        if len(self) > 500_000:
            self.clear()
        value = int.from_bytes(blake3(word.encode("utf-8", "surrogatepass")).digest(8), "little")
        self[word] = value
        return value


def shingles(text: str, words: dict[str, int], size: int = SHINGLE) -> Shingles:
    """Hash a text's word n-grams of that size; a shorter text is one shingle, a text without words none."""
    found = _WORD.findall(text.lower())
    if not found:
        return np.zeros(0, np.uint64)
    hashes = np.fromiter(map(words.__getitem__, found), np.uint64, len(found))
    n = max(1, len(hashes) - size + 1)
    mixed = np.zeros(n, np.uint64)
    for i in range(min(size, len(hashes))):
        mixed = (mixed ^ hashes[i : i + n]) * _MIXER
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


def _texts(folder: Path) -> Iterator[tuple[list[str], list[str]]]:
    for path in iter_shards(folder):
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(batch_size=256, columns=["uri", "text"]):
                yield batch.column("uri").to_pylist(), [t or "" for t in batch.column("text").to_pylist()]


def _signatures(folder: Path) -> tuple[NDArray[np.uint32], list[str], list[str]]:
    """Signature (HASHES,) of every document with words, its uri and its text's hash ("" without words)."""
    words, rows, uris, shas = Hashes(), [np.zeros((0, HASHES), np.uint32)], list[str](), list[str]()
    for names, texts in _texts(folder):
        sets = [shingles(text, words) for text in texts]
        uris += names
        shas += [
            blake3(t.encode("utf-8", "surrogatepass")).hexdigest(16) if len(s) else ""
            for t, s in zip(texts, sets, strict=True)
        ]
        rows.append(signatures(sets))
    return np.concatenate(rows), uris, shas


def signatures(sets: Sequence[Shingles]) -> NDArray[np.uint32]:
    """MinHash signatures of sets of shingles: uint32 (n, HASHES)."""
    from rensa import RMinHash

    offsets = np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    flat = np.concatenate([*sets, np.zeros(0, np.uint64)])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, HASHES, SEED)
    return np.array(matrix.to_rows(), np.uint32).reshape(len(sets), HASHES)


def _same(shas: list[str]) -> tuple[list[int], list[tuple[int, int]]]:
    """Part equal texts from the rest: the first of each, and pairs of every other with its first."""
    first: dict[str, int] = {}
    pairs = []
    for i, sha in enumerate(shas):
        if sha and first.setdefault(sha, i) != i:
            pairs.append((first[sha], i))
    return list(first.values()), pairs


def rows_a_band(threshold: float) -> int:
    """How many of the HASHES a band holds: as many as still miss at most 1 in 1,000 pairs at the threshold.

    See MMDS, section 3.4.2.
    """
    fits = [r for r in (1, 2, 4, 8, 16, 32) if (1 - threshold**r) ** (HASHES // r) <= 0.001]
    return max(fits, default=1)


def _candidates(signed: NDArray[np.uint32], numbers: list[int], threshold: float) -> list[tuple[int, int]]:
    """Pairs that agree on a whole band; in a crowd, each with the first."""
    found: set[tuple[int, int]] = set()
    for band in np.split(signed, HASHES // rows_a_band(threshold), axis=1):
        groups: dict[bytes, list[int]] = defaultdict(list)
        for number, row in zip(numbers, np.ascontiguousarray(band), strict=True):
            groups[row.tobytes()].append(number)
        for group in groups.values():
            found.update(combinations(group, 2) if len(group) <= CROWD else ((group[0], n) for n in group[1:]))
    return sorted(found)


def _sets_of(folder: Path, wanted: set[int]) -> dict[int, Shingles]:
    """Read again the documents that may have a double."""
    words, sets, number = Hashes(), dict[int, Shingles](), 0
    if not wanted:
        return sets
    for names, texts in _texts(folder):
        for i, text in enumerate(texts, number):
            if i in wanted:
                sets[i] = shingles(text, words)
        number += len(names)
    return sets
