"""Every backend by name, as "module:factory"; adding one is a file and a line here.

A name with a colon in params.yaml is taken as such a path itself, so that a third party needs no line.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from .errors import ConfigError

EMBEDDERS = {
    "minilm": "ragkeep.embedders.openvino:minilm",
    "openvino": "ragkeep.embedders.openvino:folder",
    "torch": "ragkeep.embedders.torch:sentence_transformer",
    "openai": "ragkeep.embedders.openai:openai",
    "bedrock": "ragkeep.embedders.bedrock:bedrock",
    "tei": "ragkeep.embedders.tei:tei",
    "hash": "ragkeep.testing:hash_embedder",
}
STORES = {
    "lancedb": "ragkeep.stores.lancedb:open_store",
    "memory": "ragkeep.testing:memory_store",
    "opensearch": "ragkeep.stores.opensearch:open_store",
    "pgvector": "ragkeep.stores.pgvector:open_store",
}
SEARCHERS = {
    "kendra": "ragkeep.stores.kendra:open_searcher",
}
"""What can be asked and not written to: no night builds it, so `index.backend` does not take it."""
RERANKERS = {
    "cross-encoder": "ragkeep.rerankers.torch:cross_encoder",
    "tei": "ragkeep.rerankers.tei:rerank_endpoint",
    "features": "ragkeep.rerankers.features:features_reranker",
    "pairs": "ragkeep.rerankers.pairs:pairs_reranker",
    "overlap": "ragkeep.testing:overlap_reranker",
}
GENERATORS = {
    "extractive": "ragkeep.generators.extractive:extractive",
    "openai": "ragkeep.generators.openai:openai",
    "bedrock": "ragkeep.generators.bedrock:bedrock",
    "sagemaker": "ragkeep.generators.sagemaker:sagemaker",
    "local": "ragkeep.generators.local:local",
}

CATALOGS = {
    "sqlite": "ragkeep.catalogs.sqlite:open_catalog",
    "dynamodb": "ragkeep.catalogs.dynamodb:open_catalog",
}
QUEUES = {
    "sqlite": "ragkeep.queues.sqlite:open_queue",
    "sqs": "ragkeep.queues.sqs:open_queue",
}
TIERS = {
    "sqlite": "ragkeep.memory.sqlite:open_tier",
    "redis": "ragkeep.memory.redis:open_tier",
    "dynamodb": "ragkeep.memory.dynamodb:open_tier",
    "s3": "ragkeep.memory.s3:open_tier",
}


def load(table: dict[str, str], name: str, /, **options: Any) -> Any:
    """Import the backend's factory and call it with `options`. Raises ConfigError on an unknown name."""
    target = table.get(name, name)
    module, _, factory = target.partition(":")
    if not factory:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown backend {name!r}{hint}; known: {', '.join(sorted(table))}, or module:factory")
    try:
        made = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"backend {name!r} ({target}) cannot be loaded: {error}") from error
    return made(**options)
