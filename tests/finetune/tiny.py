"""A language model of some ten thousand weights and a tokenizer trained on the spot: real files, real code."""

from pathlib import Path
from typing import Any

from tasks.finetune import formats

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MANUAL = """# Pump station

The pump is a machine that moves water from the lower basin to the upper basin.
The valve protects the pump from sand. If the pressure falls below 3 bar, the pump stops at once.
The station was built in 1987 because the old well had run dry.

# Service

To clean the filter, close the valve and open the drain.
The filter contains a fine mesh of steel. Every technician carries a key for the upper gate.
The alarm is a red lamp above the door of the control room.
"""


def make(folder: Path, *, family: str = "qwen2", texts: tuple[str, ...] = (MANUAL,), marked: bool = True) -> Path:
    """Save a model of random weights, whose tokenizer was trained on `texts`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, set_seed

    tokenizer = _tokenizer(texts, marked=marked)
    kinds: dict[str, Any] = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config, model = kinds[family]
    set_seed(3)
    made = model(
        config(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
        )
    )  # fmt: skip
    with torch.no_grad():  # a frozen base that says something gives its adapter something to bend
        for parameter in made.parameters():
            parameter.mul_(3.0)
    made.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(texts: tuple[str, ...], *, marked: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    pieces.train_from_iterator(texts * 4, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = formats.CHATML_TEMPLATE if marked else "{% for m in messages %}{{ m.content }}{% endfor %}"
    return made
