"""A row as a model reads it: golden texts, and the tokenizer's own template writes the same."""

from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import ConfigError
from tasks.finetune import formats, weights
from tasks.finetune.augment import Row
from tasks.finetune.config import FormatParams

ROW = Row("1", "What is it?", "The pump moves water.", "A pump.")
SHORT = Row("2", "What is it?", "", "A pump.")

ALPACA = """\
Below is an instruction that describes a task, paired with an input that provides further context. \
Write a response that appropriately completes the request.

### Instruction:
What is it?

### Input:
The pump moves water.

### Response:
A pump.<|im_end|>"""
ALPACA_SHORT = """\
Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
What is it?

### Response:
A pump.<|im_end|>"""
CHATML = """\
<|im_start|>system
Be short.<|im_end|>
<|im_start|>user
What is it?

The pump moves water.<|im_end|>
<|im_start|>assistant
A pump.<|im_end|>
"""
CUSTOM = FormatParams("custom", "Q: {instruction}\nText: {input}\nA: {output}")


@pytest.fixture
def tokenizer(base: Path) -> Any:
    return weights.tokenizer(base)


@pytest.mark.parametrize(
    ("params", "row", "golden"),
    [
        (FormatParams("alpaca"), ROW, ALPACA),
        (FormatParams("alpaca"), SHORT, ALPACA_SHORT),
        (FormatParams("chatml", system="Be short."), ROW, CHATML),
        (FormatParams("model", system="Be short."), ROW, CHATML),
        (CUSTOM, ROW, "Q: What is it?\nText: The pump moves water.\nA: A pump.<|im_end|>"),
        (CUSTOM, SHORT, "Q: What is it?\nA: A pump.<|im_end|>"),
        (FormatParams("custom", "{{Q}} {instruction}\n'{output}", system="S", stop="<|endoftext|>"), ROW,
         "S\n\n{Q} What is it?\n'A pump.<|endoftext|>"),
    ],
)  # fmt: skip
def test_golden_texts_are_what_the_tokenizer_writes(tokenizer: Any, params: FormatParams, row: Row, golden: str) -> None:
    stop = formats.install(tokenizer, params)
    said = formats.turns(row, params)
    assert formats.rendered(tokenizer, said) == golden
    if params.template != "model":
        assert formats.render(row, params, stop) == golden
    assert formats.learned(tokenizer, said) == f"A pump.{stop}"
    assert golden.startswith(formats.rendered(tokenizer, said[:-1], prompt=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{instruction} {answer}", "unknown placeholder {answer}"),
        ("{instruction}", "needs {instruction}, then"),
        ("{output} {instruction}", "needs {instruction}, then"),
        ("{instruction} {output} {output}", "each once"),
        ("{instruction} {output} end", "must end with {output}"),
        ("{instruction {output}", "format.text"),
        ("{0.__class__}{output}", "unknown placeholder"),
    ],
)
def test_a_bad_placeholder_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        formats.custom(text)
    assert said in str(error.value)


def test_tokens_that_a_format_needs_must_be_there(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="no token <stop>"):
        formats.install(tokenizer, FormatParams("alpaca", stop="<stop>"))


def test_a_template_without_marks_is_named(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(ConfigError, match="does not mark"):
        formats.install(tokenizer, FormatParams())
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        formats.install(tokenizer, FormatParams())


def test_a_well_known_template_is_marked_for_training(tokenizer: Any) -> None:
    import trl

    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja").read_text()
    formats.install(tokenizer, FormatParams())
    assert formats.marked(tokenizer.chat_template)


def test_rows_for_other_tools() -> None:
    assert formats.record(ROW, "alpaca") == {
        "instruction": "What is it?", "input": "The pump moves water.", "output": "A pump.",
    }  # fmt: skip
    assert [turn["role"] for turn in formats.record(ROW, "chatml", "S")["messages"]] == ["system", "user", "assistant"]
