"""A row as the model reads it. Every format is a chat template, so what is trained is what serving will send.

Python and the tokenizer's own renderer must write the same text (`check`); the answer stands between generation marks,
so that only what the assistant says is learned. A template that reaches for anything but its messages is refused.
"""

from __future__ import annotations

import re
import string
from typing import Any, Literal

from ragkeep.errors import ConfigError, ModelError

from .augment import Row
from .config import FormatParams

Message = dict[str, str]
_FIELDS = ("instruction", "input", "output")
_ALONE = "Below is an instruction that describes a task."
_PAIRED = "Below is an instruction that describes a task, paired with an input that provides further context."
_ASK = " Write a response that appropriately completes the request.\n\n### Instruction:\n"
_RESPONSE = "\n\n### Response:\n"
ALPACA_INPUT = "\n\n### Input:\n"
_FRAMED_TEMPLATE = (
    "{{%- for m in messages %}}"
    "{{%- if m.role == 'system' %}}{{{{ m.content + '\n\n' }}}}"
    "{{%- elif m.role == 'user' %}}{{{{ {before} + m.content + {after} }}}}"
    "{{%- elif m.role == 'assistant' %}}{{% generation %}}{{{{ m.content + {stop} }}}}{{% endgeneration %}}"
    "{{%- if not loop.last %}}{{{{ '\n\n' }}}}{{%- endif %}}"
    "{{%- endif %}}{{%- endfor %}}"
)
CHATML_TEMPLATE = (
    "{%- for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{ m.content + '<|im_end|>' }}{%- endif %}{{ '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)


def turns(row: Row, params: FormatParams) -> list[Message]:
    """A row as a conversation: what a person would send, the text it is about with it, and the answer."""
    if params.template == "custom":
        between = custom(params.text)[1]
    else:
        between = ALPACA_INPUT if params.template == "alpaca" else "\n\n"
    asked = f"{row.instruction}{between}{row.input}" if row.input and between is not None else row.instruction
    said = [("system", params.system)] if params.system else []
    return [{"role": role, "content": text} for role, text in (*said, ("user", asked), ("assistant", row.output))]


def render(row: Row, params: FormatParams, stop: str) -> str:
    """Write a row out in Python, for every format but the model's own. Raises ConfigError."""
    said = turns(row, params)
    if params.template == "chatml":
        return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in said)
    if params.template == "alpaca":
        before, after = (_PAIRED if row.input else _ALONE) + _ASK, _RESPONSE
    else:
        before, _, after = custom(params.text)
    system = f"{params.system}\n\n" if params.system else ""
    return f"{system}{before}{said[-2]['content']}{after}{row.output}{stop}"


def custom(text: str) -> tuple[str, str | None, str]:
    """Read a template of one's own: what stands before {instruction}, between it and {input}, and before {output}.

    The middle one is None where {input} is not named: such a row is asked without it. Raises ConfigError naming the
    placeholder that is wrong.
    """
    before, parts = "", list[tuple[str, str]]()
    try:
        for literal, name, *_ in string.Formatter().parse(text):
            before += literal
            if name is not None:
                parts.append((before, name))
                before = ""
    except ValueError as error:
        raise ConfigError(f"format.text: {error}: write {{{{ and }}}} for braces") from None
    names = [name for _, name in parts]
    for name in names:
        if name not in _FIELDS:
            raise ConfigError(
                f"format.text: unknown placeholder {{{name}}}; known: {{instruction}}, {{input}}, {{output}}"
            )
    if names not in (["instruction", "output"], ["instruction", "input", "output"]):
        raise ConfigError("format.text needs {instruction}, then {input} if you like, then {output}, each once")
    if before:
        raise ConfigError("format.text must end with {output}: what ends an answer is format.stop")
    return parts[0][0], parts[1][0] if len(names) == 3 else None, parts[-1][0]


def template(params: FormatParams, stop: str) -> str:
    """The chat template of a format, for the tokenizer; "" for the model's own."""
    if params.template == "model":
        return ""
    if params.template == "chatml":
        return CHATML_TEMPLATE
    if params.template == "alpaca":
        first = f"({_quoted(_PAIRED)} if {_quoted(ALPACA_INPUT)} in m.content else {_quoted(_ALONE)})"
        before, after = f"{first} + {_quoted(_ASK)}", _quoted(_RESPONSE)
    else:
        begin, _, end = custom(params.text)
        before, after = _quoted(begin), _quoted(end)
    return _FRAMED_TEMPLATE.format(before=before, after=after, stop=_quoted(stop))


def _quoted(text: str) -> str:
    """Write a text as a Jinja string."""
    escaped = (
        text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f"'{escaped}'"


def install(tokenizer: Any, params: FormatParams) -> str:
    """Give a tokenizer the format's chat template and check it; returns what ends an answer.

    Raises ConfigError, ModelError.
    """
    stop = "<|im_end|>" if params.template == "chatml" else params.stop or str(tokenizer.eos_token or "")
    if not stop:
        raise ConfigError("the tokenizer has no token that ends a text: name one of its tokens as format.stop")
    if params.template == "chatml":
        _require(tokenizer, "<|im_start|>")
    if params.template != "model":
        _require(tokenizer, stop)
        tokenizer.chat_template = template(params, stop)
    elif not marked(tokenizer.chat_template):
        tokenizer.chat_template = _marked_by_trl(tokenizer)
    check(tokenizer, params, stop)
    if params.template == "model":
        stop = _ends_with(tokenizer) or stop
    tokenizer.eos_token = stop  # what is trained to end an answer ends it when it is served
    return stop


def _ends_with(tokenizer: Any) -> str:
    """The control token that the model's own template ends an answer with, "" where it is none."""
    said = learned(tokenizer, turns(_PROBES[0], FormatParams())).rstrip()
    found = [token for token in tokenizer.all_special_tokens if said.endswith(token)]
    return max(found, key=len, default="")


def _require(tokenizer: Any, token: str) -> None:
    if token not in tokenizer.get_vocab():
        raise ConfigError(f"the tokenizer has no token {token}: choose another format.template or format.stop")


def marked(text: Any) -> bool:
    """Whether a chat template says which words are the assistant's."""
    return isinstance(text, str) and re.search(r"\{%-?\s*generation\s*-?%\}", text) is not None


def _marked_by_trl(tokenizer: Any) -> str:
    """TRL's marked version of a well-known template. Raises ConfigError where there is none."""
    from trl.chat_template_utils import get_training_chat_template

    wanted = "set format.template to chatml, alpaca or custom, or put {% generation %} marks round the answer"
    if not tokenizer.chat_template:
        raise ConfigError(f"the model has no chat template: {wanted}")
    try:
        found: str | None = get_training_chat_template(tokenizer)
    except Exception:  # it raises a plain ValueError, and whatever a template makes of its probes
        found = None
    if not found:
        raise ConfigError(f"the model's chat template does not mark what the assistant says: {wanted}")
    return found


_PROBES = (
    Row("1", "What is it?", "", "A pump."),
    Row("2", '  Where\'s the "valve"?', "It is {{ here }} & <there>.\n\tÄ ü 水", "{% here %}\n"),
)


def check(tokenizer: Any, params: FormatParams, stop: str) -> None:
    """Hold the tokenizer's rendering against Python's, and its mask against the answer. Raises ConfigError."""
    for row in _PROBES:
        said = turns(row, params)
        text = rendered(tokenizer, said)
        if params.template != "model" and text != render(row, params, stop):
            raise ConfigError(
                f"format.template {params.template}: the tokenizer writes {text!r}: report this as a defect"
            )
        if not text.startswith(rendered(tokenizer, said[:-1], prompt=True)):
            raise ConfigError(
                "the chat template begins an answer otherwise when it is asked for one: use another template"
            )
        if row.output.strip() not in learned(tokenizer, said):
            raise ConfigError("the chat template's generation marks do not hold the answer: use another template")


def rendered(tokenizer: Any, said: list[Message], *, prompt: bool = False) -> str:
    """Write a conversation as the tokenizer's template does. Raises ModelError for a template that fails."""
    from jinja2.exceptions import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=prompt)
    except (TemplateError, TypeError, ValueError) as error:
        raise ModelError(
            f"the chat template cannot be used ({' '.join(str(error).split())[:200]}): name another"
        ) from None
    return text


def learned(tokenizer: Any, said: list[Message]) -> str:
    """What of a conversation the loss is taken on."""
    made = tokenizer.apply_chat_template(
        said, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=False
    )
    ids = [token for token, mine in zip(made["input_ids"], made["assistant_masks"], strict=True) if mine]
    text: str = tokenizer.decode(ids)
    return text


def record(row: Row, kind: Literal["alpaca", "chatml"], system: str = "") -> dict[str, Any]:
    """A row for a file that other tools read: Alpaca's three columns, or ChatML's list of messages."""
    if kind == "alpaca":
        return {"instruction": row.instruction, "input": row.input, "output": row.output}
    return {"messages": turns(row, FormatParams(template="chatml", system=system))}
