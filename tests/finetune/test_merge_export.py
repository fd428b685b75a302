"""Adapter to merged folder to GGUF: the same logits, the same tokens, all the way."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import ModelError
from ragkeep.files import read_json, read_rows
from tasks.finetune import export, gguf_file, measure, merge, train, weights
from tasks.finetune.config import Place, load
from tests.finetune import tiny
from tests.finetune.conftest import Make, rows_of, still

TEXTS = ("The pump is a machine.", "äöü 水 \n\n  1,234")


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A project as far as a merged model."""
    import yaml

    from tests.finetune.conftest import SETTINGS

    folder = tmp_path_factory.mktemp("tuned")
    (folder / "docs").mkdir()
    (folder / "docs" / "manual.md").write_text(tiny.MANUAL)
    (folder / "finetune.yaml").write_text(yaml.safe_dump({"model": str(base), **SETTINGS}))
    place = rows_of(load(folder))
    train.train(place, still)
    merge.merge(place)
    return place


def logits(model: Any, tokenizer: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.eval()(tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]).logits


def test_a_merged_model_says_what_base_and_adapter_say(tuned: Place, base: Path) -> None:
    card = read_json(tuned.merged / "card.json")
    assert card["max_logit_difference"] <= 1e-4
    assert card["max_reload_difference"] <= 1e-5
    tokenizer = weights.tokenizer(tuned.merged)
    beside = weights.adapted(weights.model(base), tuned.adapter)
    alone = weights.model(weights.check(tuned.merged))
    assert float((logits(beside, tokenizer) - logits(alone, tokenizer)).abs().max()) <= 1e-4
    assert float((logits(weights.model(base), tokenizer) - logits(alone, tokenizer)).abs().max()) > 1e-2


def test_a_merged_folder_is_safetensors_and_text(tuned: Place) -> None:
    assert {path.suffix for path in tuned.merged.iterdir()} <= {".safetensors", ".json", ".jinja"}
    assert read_json(tuned.merged / "generation_config.json")["eos_token_id"][0] == 2


def test_an_adapter_is_not_merged_into_another_base(tuned: Place, tmp_path: Path, base: Path) -> None:
    shutil.copytree(tuned.path.parent, tmp_path / "copy")
    other = tiny.make(tmp_path / "other", family="llama")
    path = tmp_path / "copy" / "finetune.yaml"
    path.write_text(path.read_text().replace(str(base), str(other)))
    with pytest.raises(ModelError, match="trained on other weights"):
        merge.merge(load(path))


def test_base_and_tuned_are_compared_row_by_row(tuned: Place) -> None:
    found = measure.measure(tuned, still)
    loss = found["metrics"]["loss"]
    assert found["rows"] == len(read_rows(tuned.eval)) > 1
    assert loss["ci"][0] <= loss["delta"] <= loss["ci"][1]
    assert loss["delta"] == pytest.approx(loss["tuned"] - loss["base"])
    assert found["perplexity"]["tuned"] < found["perplexity"]["base"]
    assert len(read_rows(tuned.output / "answers.jsonl")) == found["rows"]


@pytest.mark.parametrize(
    ("right", "said", "score"),
    [("a b c d", "a b c d", 1.0), ("a b c d", "d a x b", 0.5), ("a", "", 0.0), ("A.", "a", 1.0)],
)
def test_rouge_l(right: str, said: str, score: float) -> None:
    assert measure.rouge_l(right, said) == score


def test_rouge_l_agrees_with_its_authors_package() -> None:
    rouge = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    right, said = tiny.MANUAL, tiny.MANUAL[::2] + tiny.MANUAL[40:400]
    assert measure.rouge_l(right, said) == pytest.approx(rouge.score(right, said)["rougeL"].fmeasure)


@pytest.mark.parametrize("precision", ["f16", "f32"])
def test_a_gguf_of_the_merged_model_reads_the_same(tuned: Place, precision: Any) -> None:
    made = export.export(tuned, "gguf", precision=precision)
    assert made["max_logit_difference"] <= 1e-4
    assert made["same_tokens"]
    values = gguf_file.inspect(Path(made["file"]))
    assert "generation %}" not in values["tokenizer.chat_template"]
    assert values["tokenizer.ggml.eos_token_id"] == 2


def test_a_llama_is_written_as_well(base: Path, tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "llama", family="llama")
    gguf_file.write(folder, tmp_path / "a.gguf", precision="f32")
    assert gguf_file.verify(tmp_path / "a.gguf", folder, texts=TEXTS, precision="f32")["same_tokens"]


def other_family(config: dict[str, Any]) -> None:
    config["model_type"] = "gpt2"


def stretched(config: dict[str, Any]) -> None:
    config["rope_parameters"] = {"rope_type": "yarn", "factor": 4.0}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.json", other_family, "is a gpt2 model; qwen2 and llama can be written"),
        ("config.json", stretched, "stretches its positions"),
        ("tokenizer.json", lambda value: value["model"].update(type="Unigram"), "a tokenizer that is not written here"),
        ("tokenizer.json", lambda value: value.update(pre_tokenizer={"type": "Whitespace"}), "a tokenizer that is not"),
    ],
)
def test_what_cannot_be_written_is_refused(tuned: Place, tmp_path: Path, name: str, change: Any, said: str) -> None:
    shutil.copytree(tuned.merged, tmp_path / "merged")
    value = read_json(tmp_path / "merged" / name)
    change(value)
    (tmp_path / "merged" / name).write_text(json.dumps(value))
    with pytest.raises(ModelError, match=said):
        gguf_file.write(tmp_path / "merged", tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_gguf_that_was_altered_is_noticed(tuned: Place, tmp_path: Path) -> None:
    gguf_file.write(tuned.merged, tmp_path / "a.gguf", precision="f32")
    data = bytearray((tmp_path / "a.gguf").read_bytes())
    data[-200_000:-199_000] = b"\x3f" * 1000
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(ModelError, match="reads otherwise"):
        gguf_file.verify(tmp_path / "a.gguf", tuned.merged, texts=TEXTS, precision="f32")


def test_rows_leave_for_other_tools(tuned: Place) -> None:
    written = export.export(tuned, "alpaca")["written"]
    first = read_rows(next(Path(path) for path in written if "train" in path))[0]
    assert set(first) == {"instruction", "input", "output"}


def test_nothing_is_exported_before_it_is_merged(base: Path, make: Make) -> None:
    with pytest.raises(ModelError, match="finetune merge-adapter"):
        export.export(make(base), "gguf")
