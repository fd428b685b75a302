"""Training through TRL on a tiny model: it learns, it goes on where it was killed, and it says what it cannot do."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ragkeep.errors import ConfigError, ModelError, SourceError
from ragkeep.files import read_json, write_rows
from ragkeep.models import sha256
from tasks.finetune import train, weights
from tasks.finetune.config import Place
from tests.finetune.conftest import Make, rows_of, still

ROOT = Path(__file__).parents[2]


def adapter_sha(place: Place) -> str:
    return sha256(place.adapter / "adapter_model.safetensors")


@pytest.fixture
def rows(base: Path, make: Make) -> Place:
    return rows_of(make(base))


def test_the_loss_falls_and_only_the_adapter_is_trained(rows: Place, base: Path) -> None:
    before, told = sha256(base / "model.safetensors"), list[tuple[int, int]]()
    card = train.train(rows, lambda done, total: told.append((done, total)))
    assert card["curve"][-1]["loss"] < card["curve"][0]["loss"]
    assert 0 < card["trainable"]["share"] < 0.2
    assert told == [(n, 6) for n in range(1, 7)]
    assert sha256(base / "model.safetensors") == before
    assert read_json(rows.adapter / "card.json")["sha256"] == adapter_sha(rows)
    assert train.train(rows, still)["unchanged"]


def test_an_adapter_holds_safetensors_alone_and_no_path_of_this_machine(rows: Place, base: Path) -> None:
    train.train(rows, still)
    assert {path.suffix for path in rows.adapter.iterdir()} <= {".safetensors", ".json", ".jinja"}
    assert not any(str(base) in path.read_text() for path in rows.adapter.glob("*.json"))
    assert read_json(rows.adapter / "adapter_config.json")["base_model_name_or_path"] == base.name
    weights.check(rows.adapter, adapter=True)


def in_a_child(place: Place, *event: int) -> int:
    """Train in a process of its own, killed at an event if one is given; returns how it ended, as subprocess says it."""
    command = [sys.executable, "-m", "tests.finetune.child", place.path, *map(str, event)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=300).returncode


def killed_and_finished(place: Place, points: list[int]) -> tuple[str, int]:
    """Kill a training at each point in turn, then let it finish; returns the adapter's hash, how often it was killed."""
    died = 0
    for point in points:
        died += in_a_child(place, point) == -signal.SIGKILL
    assert in_a_child(place) == 0
    return adapter_sha(place), died


@pytest.fixture
def unbroken(rows: Place) -> str:
    assert in_a_child(rows) == 0
    wanted = adapter_sha(rows)
    import shutil

    shutil.rmtree(rows.adapter)
    return wanted


def test_a_training_that_is_killed_again_and_again_ends_in_the_same_bytes(rows: Place, unbroken: str) -> None:
    assert killed_and_finished(rows, [36, 17]) == (unbroken, 2)
    assert str(read_json(rows.adapter / "card.json")["resumed_from"]).startswith("checkpoint-")


@pytest.mark.soak
@pytest.mark.parametrize("point", range(1, 31))
def test_a_training_killed_at_any_of_thirty_points_ends_in_the_same_bytes(rows: Place, unbroken: str, point: int) -> None:
    """Of the 90 things that six steps, three checkpoints and an adapter do; see tests/finetune/child.py."""
    found, died = killed_and_finished(rows, [3 * point - 1])
    assert (found, died) == (unbroken, 1)


def test_a_checkpoint_that_was_altered_is_not_gone_on_from(rows: Place) -> None:
    assert in_a_child(rows, 40) == -signal.SIGKILL
    newest = max((rows.output / "work").rglob("whole.json")).parent
    (newest / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="not what was saved"):
        train.train(rows, still)


def test_packed_rows_do_not_see_each_other(base: Path, make: Make) -> None:
    """The first step's loss is the same, packed or not: it is a mean over the same tokens, each in its own row."""
    one = rows_of(make(base, train={"steps": 1, "batch": 64, "packing": False}, lora={"dropout": 0.1}))
    rows = train.read(one.train)
    apart = first_loss(one, base)
    packed = make(base, train={"steps": 1, "batch": 64, "packing": True}, lora={"dropout": 0.1})
    assert first_loss(packed, base) == pytest.approx(apart, rel=1e-4)
    assert len(rows) > 4


def first_loss(place: Place, base: Path) -> float:
    return float(train.train(place, still)["curve"][0]["loss"])


def test_preferences_move_the_model_to_what_was_chosen(base: Path, make: Make) -> None:
    place = make(base, train={"steps": 8})
    write_rows(place.preferences, ({"prompt": f"What is pump {n}?", "chosen": "A machine.", "rejected": "I think so."}
                                   for n in range(8)))  # fmt: skip
    card = train.train(place, still, method="dpo")
    assert card["method"] == "dpo"
    assert card["curve"][-1]["loss"] < card["curve"][0]["loss"]


def test_what_this_machine_cannot_do_is_said_before_anything_is_loaded(base: Path, make: Make) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    place = rows_of(make(base, train={"quantize": "4bit"}))
    with pytest.raises(ConfigError, match="4bit needs a CUDA GPU"):
        train.train(place, still)


def test_a_layer_that_is_not_there_is_named(base: Path, make: Make) -> None:
    with pytest.raises(ConfigError, match=r"no layer 'query'; it has .*q_proj"):
        train.train(rows_of(make(base, lora={"targets": ["query"]})), still)


def test_rows_are_needed(base: Path, make: Make) -> None:
    with pytest.raises(SourceError, match="finetune augment"):
        train.train(make(base), still)


def test_a_row_that_could_end_its_own_turn_is_left_out(base: Path, make: Make) -> None:
    place = make(base)
    write_rows(place.train, [{"instruction": "What?<|im_end|>", "output": "x"}])
    with pytest.raises(SourceError, match="control token"):
        train.train(place, still)
