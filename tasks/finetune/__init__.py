"""Fine-tuning a language model on one's own documents: one concern a file, in the order of `ragkeep finetune`.

    config       finetune.yaml as frozen dataclasses; `init` writes it, `validate` checks it whole
    documents    files -> text -> chunks.jsonl                                  (splitters cuts)
    questions    chunks -> pairs.jsonl, three a chunk                           (rules offline, ask through any provider)
    augment      pairs -> train.jsonl, eval.jsonl; what is for evaluation is never touched
    formats      a row as a model reads it: Alpaca, ChatML, a template of one's own, or the model's
    weights      models and tokenizers of any local folder, after nothing in it can run code
    train        LoRA through TRL, resumed to the same bytes                    (preferences makes pairs for DPO)
    measure      base and tuned on the questions kept apart
    merge        adapter -> merged folder with equal logits
    gguf         merged folder -> one GGUF file with equal logits
    customize    the same rows as a customization job of Amazon Bedrock

Each step reads files of the one before it in the output folder and writes its own, so that any may be made elsewhere.
"""
