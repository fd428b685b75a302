"""Parts that were learned: put into params where they fit, left out with a reason where they do not."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ragkeep.config import EmbedParams, Params, RerankParams, RetrieveParams, SourceParams
from ragkeep.embedders import load_embedder
from ragkeep.files import write_json
from ragkeep.glossary import glossaries
from ragkeep.learned import INPUT, Part, apply, effective, parts_of, rows_of, tonight
from tests.embedders.test_two_towers import learned

PARAMS = Params(sources=(SourceParams("docs", "docs"),), embed=EmbedParams(precision="fp32"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def base(cache: Path) -> str:
    return load_embedder(PARAMS.embed, cache).fingerprint


def weight(base: str, value: float = 0.7) -> Part:
    return Part("fusion", base, retrieve={"weight": value})


def test_a_part_changes_what_it_says_and_nothing_else(cache: Path, base: str) -> None:
    params, kept = apply(PARAMS, [weight(base)], cache)
    assert params == replace(PARAMS, retrieve=RetrieveParams(weight=0.7))
    assert kept == [weight(base)]


def test_a_part_for_another_embedder_is_left_out(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert apply(PARAMS, [weight("another")], cache) == (PARAMS, [])
    assert "what fusion learned is left out: it is for another" in caplog.text


def test_a_weight_stands_on_the_query_model_it_was_learned_with(cache: Path, base: str) -> None:
    tower = Part("query-tower", base, embed={"query_model": learned(cache, base).query_model})
    above = apply(PARAMS, [tower], cache)[0].embed
    mixed = weight(getattr(load_embedder(above, cache), "query_fingerprint", ""))
    assert [part.learner for part in apply(PARAMS, [tower, mixed], cache)[1]] == ["query-tower", "fusion"]
    assert apply(PARAMS, [mixed], cache)[1] == []  # without the model below it, it is for something else


def test_what_a_person_wrote_comes_first(cache: Path, base: str) -> None:
    fixed = replace(PARAMS, retrieve=RetrieveParams(weight=0.2))
    assert apply(fixed, [weight(base)], cache) == (fixed, [])
    second = Part("reranker", base, retrieve={"rerank": {"backend": "overlap"}})
    own = replace(PARAMS, retrieve=RetrieveParams(rerank=RerankParams(backend="tei", url="http://a")))
    assert apply(own, [second], cache) == (own, [])
    assert apply(PARAMS, [second], cache)[0].retrieve.rerank.backend == "overlap"


def test_a_learned_glossary_fits_any_embedder_and_what_a_person_wrote_comes_first(cache: Path) -> None:
    part = Part("glossary", "", retrieve={"words": {"default": {"zorbl": "pump", "quindle": "valve"}}})
    own = replace(PARAMS, retrieve=RetrieveParams(glossary={"zorbl": "water pump"}))
    params, kept = apply(own, [part], cache)
    assert glossaries(params.retrieve)("default").words == {"zorbl": "water pump", "quindle": "valve"}
    assert glossaries(params.retrieve)("vault").words == {"zorbl": "water pump"}
    assert kept == [part]


def test_changed_weights_are_left_out(cache: Path, base: str, caplog: pytest.LogCaptureFixture) -> None:
    params = learned(cache, base)
    part = Part("query-tower", base, embed={"query_model": params.query_model}, folder="query-tower-1", sha256="0" * 64)
    assert apply(PARAMS, [part], cache)[1] == []
    assert "it was changed or damaged" in caplog.text


def test_stages_work_with_the_parts_the_scan_wrote_down(tmp_path: Path, cache: Path, base: str) -> None:
    assert tonight(tmp_path) == []
    write_json(tmp_path / INPUT, rows_of([weight(base, 0.3)]))
    assert tonight(tmp_path) == parts_of(rows_of([weight(base, 0.3)])) == [weight(base, 0.3)]
    assert effective(PARAMS, tmp_path, cache).retrieve.weight == 0.3
