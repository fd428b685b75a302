"""A project with published releases, made in a moment: documents indexed with the hash embedder, no night run."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from ragkeep.chunkers import chunk_document
from ragkeep.config import ChunkSection, IndexParams, Params, Paths, load_params
from ragkeep.releases import point, pointer, save_release
from ragkeep.stores import open_store
from ragkeep.testing import HashEmbedder
from ragkeep.types import Chunk, Document, EmbeddedBatch, Fusion, IndexVersion, Release, content_id, ids_digest

DOCUMENTS = {
    "manual/pumps.md": "# Pumps\n\nPumps are serviced yearly by the vendor.\n",
    "manual/valves.md": "# Valves\n\nValves are checked daily by the crew.\n",
    "manual/lids.md": "# Lids\n\nOpen the lid before you start the engine.\n",
}
SECRETS = {"vault/codes.md": "# Codes\n\nThe canary code of the vault is xyzzy-4711.\n"}


def project(root: Path, *, cache: int = 0, **serve: object) -> Paths:
    """Lay out params.yaml; `cache` answers are kept, `serve` is its section of that name."""
    root.mkdir(parents=True, exist_ok=True)
    raw = {
        "sources": [{"name": "manual", "path": "."}],
        "embed": {"backend": "hash"},
        "answer": {
            "min_support": 0.2,
            "cache": {"size": cache},
            "generators": [{"backend": "extractive"}, {"backend": "extractive", "name": "dear", "price_out": 1000.0}],
        },
        "serve": serve,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(raw))
    return Paths(root)


def chunks_of(documents: Mapping[str, str], workspace: str) -> list[Chunk]:
    """Cut documents as the night does."""
    made = []
    for uri, text in documents.items():
        id_ = content_id(workspace, uri, text)
        document = Document(id_, uri, uri.partition("/")[0], workspace, text, "prose", "markdown")
        made += chunk_document(document, ChunkSection())
    return made


def publish(
    paths: Paths, documents: Mapping[str, str] = DOCUMENTS, *, secrets: Mapping[str, str] = SECRETS, number: int = 1
) -> Release:
    """Index the documents (workspace default) and the secrets (workspace vault), and make them the champion."""
    params, embedder = load_params(paths.params), HashEmbedder()
    store = open_store(IndexParams(), paths)
    chunks = [*chunks_of(documents, "default"), *chunks_of(secrets, "vault")]
    name = f"docs-{content_id(*sorted(c.id for c in chunks), str(number))[:16]}"
    store.create(name, dim=embedder.dim)
    store.write(name, EmbeddedBatch(tuple(chunks), embedder.embed([c.embed_text for c in chunks], role="passage")))
    store.finish(name)
    version = IndexVersion(
        name, "docs", "lancedb", embedder.fingerprint, embedder.dim, len(chunks), ids_digest(c.id for c in chunks)
    )
    store.seal(version)
    release = Release(
        number, content_id(name), version, Fusion(), "extractive", serving_of(params), "", "", {"ndcg_at_10": 1.0}, ""
    )
    save_release(paths, release)
    promote(paths, number)
    return release


def serving_of(params: Params) -> dict[str, object]:
    """What a release remembers of params.yaml."""
    return {"embed": asdict(params.embed), "retrieve": asdict(params.retrieve), "answer": asdict(params.answer)}


def promote(paths: Paths, number: int) -> None:
    """Move the pointer as a publication does, without store alias and registry."""
    now = pointer(paths)
    point(paths, number, previous=now.number if now else None, token=1)
