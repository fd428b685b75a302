"""params.yaml: what is there is checked, what is wrong is named."""

from pathlib import Path

import pytest
import yaml

from ragkeep.config import Params, find_project, load_params
from ragkeep.errors import ConfigError

ROOT = Path(__file__).parent.parent


def written(tmp_path: Path, **sections: object) -> Path:
    raw = {"sources": [{"name": "docs", "path": "docs"}], **sections}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_the_projects_own_params_are_valid() -> None:
    params = load_params(ROOT / "params.yaml")
    assert {s.name for s in params.sources} == {"stdlib", "readmes"}
    assert params.sources[0].root.is_dir()


def test_a_project_needs_only_its_sources(tmp_path: Path) -> None:
    assert load_params(written(tmp_path)).retrieve.k == Params(sources=()).retrieve.k


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"chunks": {}}, "unknown key 'chunks'; did you mean 'chunk'?"),
        ({"chunk": {"prose": {"max_token": 3}}}, "chunk.prose: unknown key 'max_token'; did you mean 'max_tokens'?"),
        ({"embed": {"precision": "fp8"}}, "embed.precision must be one of"),
        ({"retrieve": {"k": "ten"}}, "retrieve.k must be int, not 'ten'"),
        ({"retrieve": {"k": 0}}, "retrieve.k must be at least 1"),
        ({"retrieve": {"k": True}}, "retrieve.k must be int"),
        ({"retrieve": {"weight": 1.5}}, "between 0 and 1"),
        ({"retrieve": {"weight": "some"}}, "not a valid value"),
        ({"chunk": {"code": {"overlap_tokens": 900}}}, "overlap_tokens < target_tokens"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [{"name": "a"}]}, "'path' is missing"),
        ({"sources": [{"name": "A b", "path": "x"}]}, "must be 1-64 of a-z"),
        ({"sources": [{"name": "a", "path": "x"}, {"name": "a", "path": "y"}]}, "two sources are named 'a'"),
        ({"sources": "docs"}, "must be a list"),
        ({"gate": {"floors": {"ndcg_at_10": "high"}}}, "gate.floors.ndcg_at_10 must be float"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?").replace("(", r"\(")):
        load_params(written(tmp_path, **sections))


@pytest.mark.parametrize("text", ["[1, 2", "just words", "", "- a\n- b\n", "\x00"])
def test_what_is_no_table_of_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        load_params(path)


def test_a_folder_without_params_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGKEEP_HOME", raising=False)
    with pytest.raises(ConfigError, match="run this in a ragkeep project"):
        find_project(tmp_path)


def test_the_project_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGKEEP_HOME", raising=False)
    written(tmp_path)
    below = tmp_path / "docs" / "deep"
    below.mkdir(parents=True)
    assert find_project(below).root == tmp_path.resolve()
