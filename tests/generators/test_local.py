import asyncio
import importlib.util
from pathlib import Path

import pytest

from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.errors import ConfigError, MissingExtra, ModelError, ProviderRefused
from ragkeep.generators.local import Local, local
from ragkeep.generators.pieces import tool_calls
from ragkeep.ports import Delta
from ragkeep.types import Sampling, Usage
from tests.contracts.test_generator import TORCH, collect, request, text_of
from tests.generators import tiny

needs_torch = pytest.mark.skipif(
    not TORCH, reason="torch and transformers are not installed: pip install 'ragkeep[torch]'"
)


def made(model: Path | str) -> Local:
    return local(GeneratorParams("local", model=str(model)), params=AnswerParams())


def test_a_model_must_be_named() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        made("")


@pytest.mark.skipif(bool(TORCH), reason="torch is installed")
def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"ragkeep\[torch\]"):
        made(tmp_path)


@needs_torch
def test_pickles_are_refused_and_nothing_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="can run code"):
        made(tmp_path)
    with pytest.raises(ModelError, match="nor in the Hugging Face cache"):
        made("nobody/no-such-model")


@needs_torch
def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tiny.make(tmp_path, "one two")
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ProviderRefused, match=r"lacks the weights lm_head\.weight"):
        collect(made(folder), request())


@needs_torch
def test_a_folder_that_holds_something_else_is_refused_when_it_is_asked(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path, "one two")
    (folder / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ProviderRefused, match="holds no language model"):
        collect(made(folder), request())


@needs_torch
def test_no_gradients_are_kept(tmp_path: Path) -> None:
    generator = made(tiny.make(tmp_path, "one two"))
    collect(generator, request())
    assert not any(weights.requires_grad for weights in generator._model.parameters())


@needs_torch
def test_closing_a_stream_stops_the_work_within_a_second(tmp_path: Path) -> None:
    generator = made(tiny.make(tmp_path, "and so on", endless=True, room=100_000))

    async def leave() -> None:
        pieces = generator.stream(request(), Sampling(90_000))
        for _ in range(3):
            await anext(pieces)
        await pieces.aclose()

    asyncio.run(leave())
    generator._worker.submit(lambda: None).result(timeout=1)


def with_template(folder: Path, template: str | None) -> Path:
    from transformers import AutoTokenizer

    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


@needs_torch
def test_a_template_may_know_no_system_role(tmp_path: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}<answer>"
    generator = made(with_template(tiny.make(tmp_path, "one two"), refusing))
    assert text_of(collect(generator, request())).strip() == "one two"


@needs_torch
def test_a_model_without_a_template_is_given_the_plain_text(tmp_path: Path) -> None:
    usage = collect(made(with_template(tiny.make(tmp_path, "one two"), None)), request(), max_tokens=2)[-1].usage
    assert usage
    assert usage.prompt_tokens > 50


@needs_torch
def test_a_prompt_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProviderRefused, match=r"reads 8 tokens.*lower answer\.context_tokens"):
        collect(made(tiny.make(tmp_path, "one two", room=8)), request())


@needs_torch
def test_an_endless_answer_ends_with_the_room_there_is(tmp_path: Path) -> None:
    deltas = collect(made(tiny.make(tmp_path, "and so on", endless=True, room=200)), request(), max_tokens=1000)
    usage = deltas[-1].usage
    assert usage
    assert usage.prompt_tokens + usage.completion_tokens == 200


def read(*texts: str) -> list[Delta]:
    async def pieces():  # type: ignore[no-untyped-def]
        for text in texts:
            yield Delta(text)
        yield Delta(usage=Usage(1, 1))

    async def all_of() -> list[Delta]:
        return [delta async for delta in tool_calls(pieces())]

    return asyncio.run(all_of())


def test_calls_are_read_out_of_the_text_however_it_is_cut() -> None:
    deltas = read("Let me see. <tool", '_call>{"name": "search", "argu', 'ments": {"query": "a"}}</tool_call>', "\n")
    assert text_of(deltas) == "Let me see. "
    assert [(d.call.name, d.call.arguments) for d in deltas if d.call] == [("search", {"query": "a"})]


def test_a_call_that_is_no_json_is_kept_as_written_and_a_half_one_is_not_shown() -> None:
    assert [d.call.malformed for d in read("<tool_call>oops</tool_call>") if d.call] == ["oops"]
    assert text_of(read("a < b", " <tool")) == "a < b <tool"
    assert text_of(read("a <tool_call>{")) == "a "


def test_importing_the_default_generator_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, ragkeep.generators.extractive, ragkeep.generators.resilient, ragkeep.generators.local as m;"
    code += "print(sorted({'httpx', 'torch', 'transformers', 'botocore'} & {*sys.modules}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    assert importlib.util.find_spec("httpx")
