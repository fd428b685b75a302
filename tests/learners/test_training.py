import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.learners.query_tower import piece
from tasks.learners.training import batches, contrast, false_negatives, fit

torch = pytest.importorskip("torch", reason="needs the extra torch")


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_row_at_most_once_and_never_two_alike(keys: list[str], size: int, seed: int) -> None:
    dealt = batches([(key,) for key in keys], size, epochs=1, seed=seed)
    rows = [row for batch in dealt for row in batch]
    assert len(rows) == len(set(rows))
    assert all(len({keys[row] for row in batch}) == len(batch) <= size for batch in dealt)
    assert dealt == batches([(key,) for key in keys], size, epochs=1, seed=seed)


def test_every_epoch_deals_all_rows_in_another_order() -> None:
    dealt = batches([(str(n),) for n in range(64)], 16, epochs=2, seed=1)
    first, second = dealt[:4], dealt[4:]
    assert all(sorted(row for batch in epoch for row in batch) == list(range(64)) for epoch in (first, second))
    assert first != second


def test_without_an_anchor_the_loss_is_cross_entropy() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.1]])
    labels = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    none = torch.zeros_like(scores, dtype=torch.bool)
    found = contrast(scores, labels, scores, none, anchor=0.0, sure=torch.ones(2))
    assert float(found) == pytest.approx(float(torch.nn.functional.cross_entropy(20 * scores, torch.tensor([0, 1]))))


def test_what_may_be_an_answer_as_well_is_not_pushed_away() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1]], requires_grad=True)
    labels, banned = torch.tensor([[1.0, 0, 0]]), torch.tensor([[False, True, False]])
    contrast(scores, labels, scores.detach(), banned, anchor=0.2, sure=torch.ones(1)).backward()
    assert scores.grad[0, 1] == 0
    assert scores.grad[0, 0] < 0 < scores.grad[0, 2]


def test_the_more_the_base_is_trusted_the_less_a_wrong_label_pulls() -> None:
    base, labels = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 1.0]])
    pulls = []
    for anchor in (0.0, 0.3):
        scores = base.clone().requires_grad_(True)
        none = torch.zeros_like(labels, dtype=torch.bool)
        contrast(scores, labels, base, none, anchor=anchor, sure=torch.ones(1)).backward()
        pulls.append(-float(scores.grad[0, 1]))
    assert 0 < pulls[1] < pulls[0]


def test_a_candidate_nearly_as_good_as_the_answer_may_be_one() -> None:
    base = np.array([[0.8, 0.79, 0.5], [0.2, 0.6, 0.1]], np.float32)
    answer = np.array([[True, False, False], [True, False, False]])
    assert false_negatives(base, answer, 0.95).tolist() == [[False, True, False], [False, True, False]]


def test_steps_are_those_of_adam(tmp_path: Path) -> None:
    start = {"x": torch.tensor([3.0, -2.0])}
    ours, losses = fit(
        start, lambda _, w: (w["x"] ** 2).sum(), steps=40, rate=0.1, out=tmp_path, key="k", tick=lambda *_: None
    )
    theirs = start["x"].clone().requires_grad_(True)
    adam = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.0)
    slope = [(n + 1) / 4 if n < 4 else (40 - n) / 36 for n in range(40)]
    for share in slope:
        adam.param_groups[0]["lr"] = 0.1 * share
        adam.zero_grad()
        (theirs**2).sum().backward()
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        adam.step()
    assert torch.allclose(ours["x"], theirs.detach(), atol=1e-6)
    assert losses[-1] < losses[0]
    assert all(math.isfinite(x) for x in losses)


def test_a_piece_of_a_passage_is_as_short_as_a_question() -> None:
    text = "One. This is the first real sentence. And here is another that goes on, " + "on and " * 30
    assert piece(text, 0) == "This is the first real sentence."
    assert len(piece(text, 1).split()) == 16
    assert piece("short", 3) == "short"
