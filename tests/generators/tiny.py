"""A language model of some thousand weights, made on the spot, that says one known sentence: real files, real code."""

from pathlib import Path
from typing import Any

END, ASKED, TOOLS = "<end>", "<answer>", "<call>"
CALL = '<tool_call>{"name":"search","arguments":{"query":"pumps"}}</tool_call>'
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    "{% if tools and messages[-1].role != 'tool' %}<call>{% else %}<answer>{% endif %}"
)


def make(folder: Path, reply: str, *, endless: bool = False, room: int = 512) -> Path:
    """Save a Llama whose next word depends on the last one only: each is followed by the next of `reply`.

    It reads and writes `room` words in all; an endless one begins again after the last.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    said = ["▁" + word for word in reply.split(" ")]
    vocabulary = ["<unknown>", END, ASKED, TOOLS, "▁" + CALL, *dict.fromkeys(said)]
    ids = {word: n for n, word in enumerate(vocabulary)}
    after_last = said[0] if endless else END
    follows = {
        ASKED: said[0],
        TOOLS: "▁" + CALL,
        "▁" + CALL: END,
        **dict(zip(said, [*said[1:], after_last], strict=True)),
    }
    size = len(vocabulary)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size, hidden_size=size, intermediate_size=2, num_hidden_layers=1, num_attention_heads=1,
            head_dim=2, max_position_embeddings=room, bos_token_id=None, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    with torch.no_grad():
        for weights in (model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj):
            weights.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.zero_()
        for word, after in follows.items():
            model.lm_head.weight[ids[after], ids[word]] = 10.0
    model.save_pretrained(folder, safe_serialization=True)
    _tokenizer(ids).save_pretrained(folder)
    return folder


def _tokenizer(ids: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(ids, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    words.add_special_tokens([END, ASKED, TOOLS])
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unknown>", eos_token=END, pad_token=END)
    made.chat_template = TEMPLATE
    return made
