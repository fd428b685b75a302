"""Near-duplicates: the pairs are those that comparing all with all would find."""

import random
from itertools import combinations
from pathlib import Path

import pytest

from tasks.near_duplicates import LISTED, near_duplicates

from .nights import project, put_documents


def written(seed: int, words: int = 300) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(10)}" for _ in range(words)]


def edited(words: list[str], changes: int, seed: int) -> list[str]:
    draw, new = random.Random(seed), [*words]
    for _ in range(changes):
        new[draw.randrange(len(new))] = f"word{draw.randrange(10**6)}"
    return new


def brute(texts: dict[str, str], threshold: float) -> set[tuple[str, str]]:
    grams = {n: {tuple(w[i : i + 5]) for i in range(len(w) - 4)} for n, t in texts.items() if (w := t.split())}
    return {
        (f"docs/{a}", f"docs/{b}")
        for a, b in combinations(sorted(grams), 2)
        if len(grams[a] & grams[b]) >= threshold * len(grams[a] | grams[b])
    }


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_they_are_what_comparing_all_with_all_finds(tmp_path: Path, threshold: float) -> None:
    texts = {f"{i:03}-{n}.md": " ".join(edited(written(i), n, i)) for i in range(15) for n in (0, 1, 3, 9)}
    paths = project(tmp_path)
    put_documents(paths, texts)
    found = near_duplicates(paths.data / "documents", threshold)
    assert {(p["a"], p["b"]) for p in found["pairs"]} == brute(texts, threshold)


def test_equal_texts_are_pairs_with_the_first(tmp_path: Path) -> None:
    paths = project(tmp_path)
    put_documents(paths, {f"{i:03}.md": "the same licence text in every folder" for i in range(300)})
    found = near_duplicates(paths.data / "documents", 0.9)
    assert (found["count"], len(found["pairs"]), found["pairs"][0]["similarity"]) == (299, LISTED, 1.0)


def test_texts_without_words_are_not_alike(tmp_path: Path) -> None:
    paths = project(tmp_path)
    put_documents(paths, {"a.md": "...", "b.md": "...", "c.md": "", "d.md": "one two"})
    assert near_duplicates(paths.data / "documents", 0.9)["count"] == 0
