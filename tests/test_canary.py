"""Canary vectors: an embedder that changes without saying so is told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkeep import canary
from ragkeep.testing import HashEmbedder
from ragkeep.types import Role, Vectors


class Turned(HashEmbedder):
    """A HashEmbedder under the same fingerprint whose vectors lie a cosine distance away from what they were."""

    def __init__(self, distance: float, role: Role = "passage") -> None:
        super().__init__()
        self.distance, self.role = distance, role

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        made = super().embed(texts, role=role)
        if role != self.role:
            return made
        aside = np.roll(made, 1, axis=1)
        aside -= (aside * made).sum(axis=1, keepdims=True) * made
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        cosine = 1 - self.distance
        turned: Vectors = (cosine * made + np.sqrt(1 - cosine**2) * aside).astype(np.float32)
        return turned


def test_the_first_look_keeps_and_the_next_ones_compare(tmp_path: Path) -> None:
    first = canary.check(HashEmbedder(), tmp_path)
    again = canary.check(HashEmbedder(), tmp_path)
    assert (first.distance, again.distance, again.state) == (0, 0, "same")
    assert again.since == first.since


@pytest.mark.parametrize(("distance", "state"), [(1e-4, "same"), (3e-3, "moved"), (0.05, "other"), (1.0, "other")])
@pytest.mark.parametrize("role", canary.ROLES)
def test_how_far_it_moved_says_what_it_is(tmp_path: Path, distance: float, state: str, role: Role) -> None:
    canary.check(HashEmbedder(), tmp_path)
    found = canary.check(Turned(distance, role), tmp_path)
    assert found.distance == pytest.approx(distance, abs=1e-5)
    assert found.state == state


def test_vectors_that_are_none_are_another_embedder(tmp_path: Path) -> None:
    class Broken(HashEmbedder):
        def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
            return super().embed(texts, role=role) * np.nan

    canary.check(HashEmbedder(), tmp_path)
    assert canary.check(Broken(), tmp_path).state == "other"


def test_another_fingerprint_is_another_file(tmp_path: Path) -> None:
    canary.check(HashEmbedder(), tmp_path)
    assert canary.check(HashEmbedder(dim=32), tmp_path).state == "same"
    assert len(list(tmp_path.glob("canary-*.npz"))) == 2


def test_a_damaged_file_is_started_afresh_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    canary.check(HashEmbedder(), tmp_path)
    path = canary.kept_at(HashEmbedder(), tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    assert canary.check(HashEmbedder(), tmp_path).state == "same"
    assert "is damaged" in caplog.text
    assert canary.check(Turned(0.5), tmp_path).state == "other"
