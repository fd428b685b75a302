"""finetune.yaml: what `init` writes is whole, and what is wrong is named by its key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ragkeep.errors import ConfigError
from tasks.finetune import config
from tasks.finetune.validate import validate
from tests.finetune.conftest import Make


def test_init_writes_every_key_with_its_default(tmp_path: Path) -> None:
    written = config.init(tmp_path, model="me/base")
    assert config.load(tmp_path).params == config.Finetune(model="me/base")
    raw = yaml.safe_load(written.read_text())
    for section in ("data", "questions", "augment", "format", "lora", "train", "measure", "bedrock"):
        assert set(raw[section]) == set(getattr(config.Finetune("x"), section).__dataclass_fields__)
    with pytest.raises(ConfigError, match="--force"):
        config.init(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora": {"r": 4}}, r"lora\.r must be between 8 and 64, not 4"),
        ({"lora": {"alpha": 256}}, r"lora\.alpha must be between 16 and 128"),
        ({"lora": {"dropout": 0.5}}, r"lora\.dropout must be between 0\.05 and 0\.1"),
        ({"lora": {"rank": 8}}, r"finetune\.yaml\.lora: unknown key 'rank'"),
        ({"lora": {"targets": []}}, r"lora\.targets is empty"),
        ({"train": {"quantize": "8bit"}}, r"train\.quantize must be one of 'none', '4bit'"),
        ({"train": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"data": {"chunk_overlap": 200}}, r"data\.chunk_overlap must be less"),
        ({"data": {"splitter": "magic"}}, r"data\.splitter must be one of"),
        ({"augment": {"kinds": ["rhyme"]}}, r"augment\.kinds\[0\] must be one of"),
        ({"format": {"template": "custom"}}, r"format\.text is the template"),
        ({"questions": {"eval_share": float("nan")}}, r"questions\.eval_share must be between"),
        ({"model": " "}, "model is empty"),
    ],
)
def test_what_is_wrong_is_named(make: Make, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**change)


def states(place: config.Place) -> dict[str, tuple[bool, str]]:
    return {check["name"]: (check["ok"], check["detail"]) for check in validate(place.path)}


def test_validate_says_what_would_be_trained(base: Path, make: Make) -> None:
    found = states(make(base))
    assert all(ok for ok, _ in found.values())
    assert "parameters would be trained" in found["lora"][1]
    assert "<|im_end|>" in found["chat template"][1]


def test_validate_goes_on_after_what_is_wrong(base: Path, make: Make) -> None:
    found = states(make(base, lora={"targets": ["wq"]}, data={"sources": ["nowhere"]}, train={"quantize": "4bit"}))
    assert {name for name, (ok, _) in found.items() if not ok} == {"sources", "lora", "device"}
    assert "no layer 'wq'" in found["lora"][1]


def test_validate_names_a_template_without_marks(base: Path, make: Make, tmp_path: Path) -> None:
    from tests.finetune import tiny

    place = make(tiny.make(tmp_path / "plain", marked=False))
    ok, said = states(place)["chat template"]
    assert not ok
    assert "does not mark what the assistant says" in said
    assert states(make(tmp_path / "plain", format={"template": "alpaca"}))["chat template"][0]


def test_a_generator_that_cannot_ask_is_named(base: Path, make: Make) -> None:
    assert not states(make(base, questions={"generator": {"backend": "extractive"}}))["questions"][0]
    assert not states(make(base, questions={"generator": {"backend": "opnai"}}))["questions"][0]
