"""params.yaml: what is there is checked, what is wrong is named."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ragkeep.config import BOUNDS, Params, find_project, load_params
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
        ({"retrieve": {"k": True}}, "retrieve.k must be int"),
        ({"retrieve": {"weight": "some"}}, "not a valid value"),
        ({"chunk": {"code": {"overlap_tokens": 900}}}, "overlap_tokens < target_tokens"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [{"name": "a"}]}, "needs either a path or a list of urls"),
        ({"sources": [{"name": "A b", "path": "x"}]}, "must be 1-64 of a-z"),
        ({"sources": [{"name": "a", "path": "x"}, {"name": "a", "path": "y"}]}, "two sources are named 'a'"),
        ({"sources": "docs"}, "must be a list"),
        ({"gate": {"floors": {"ndcg_at_10": "high"}}}, "gate.floors.ndcg_at_10 must be float"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?").replace("(", r"\(")):
        load_params(written(tmp_path, **sections))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("ingest.shards", 0, "between 1 and 9,999"),
        ("ingest.timeout_s", -1, "between 0.1 and 86,400"),
        ("ingest.memory_mb", 0, "between 64 and 1,000,000"),
        ("validate.max_drop", 1.5, "between 0 and 1"),
        ("index.keep", -1, "between 0 and 1,000"),
        ("retrieve.k", 0, "between 1 and 1,000"),
        ("retrieve.candidates", -5, "between 1 and 10,000"),
        ("retrieve.weight", 1.5, "between 0 and 1"),
        ("answer.min_support", -0.1, "between 0 and 1"),
        ("answer.top_p", 1.5, "between 0 and 1"),
        ("gate.confidence", 1.0, "between 0.5 and 0.9999"),
        ("gate.resamples", 0, "between 99 and 100,000"),
        ("gate.min_effect", float("nan"), "between 0 and 1"),
        ("gate.seed", -1, "between 0 and 4,294,967,295"),
        ("gate.floors.rr", 30.0, "between 0 and 1"),
        ("index.alias", "My Docs", "1-47 of a-z, 0-9 and '-'"),
        ("index.alias", "a" * 48, "1-47 of a-z, 0-9 and '-'"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_what_is_allowed(
    tmp_path: Path, key: str, value: object, allowed: str
) -> None:
    nested: object = value
    for name in reversed(key.split(".")[1:]):
        nested = {name: nested}
    with pytest.raises(ConfigError) as error:
        load_params(written(tmp_path, **{key.split(".")[0]: nested}))
    assert all(said in str(error.value) for said in (key, str(value), allowed))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "generators is empty"),
        ([{"backend": "openai"}, {"backend": "openai"}], "two generators are called 'openai'"),
        ([{"url": "ftp://x"}], "must begin with http"),
        ([{"url": "http://me:secret@host/v1"}], "must not name a user"),
        ([{"key": "sk-abcdef"}], "the name of an environment variable"),
    ],
)
def test_a_wrong_generator_is_refused_and_no_secret_shown(tmp_path: Path, given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        load_params(written(tmp_path, answer={"generators": given}))
    assert not any(secret in str(error.value) for secret in ("secret", "sk-abcdef"))


def test_a_key_in_the_place_of_its_name_is_refused_for_embedders_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embed\.key must be the name") as error:
        load_params(written(tmp_path, embed={"backend": "openai", "key": "sk-abcdef"}))
    assert "sk-abcdef" not in str(error.value)


def test_every_number_has_bounds_and_its_default_lies_within() -> None:
    params = Params(sources=())
    numbers = {
        f"{section.name}.{f.name}": getattr(getattr(params, section.name), f.name)
        for section in fields(Params)
        if section.name not in ("sources", "chunk", "serve", "alerts")
        for f in fields(getattr(params, section.name))
        if str(f.type).startswith(("int", "float"))
    }
    assert numbers.keys() == BOUNDS.keys()
    assert all(isinstance(v, str | None) or BOUNDS[k][0] <= v <= BOUNDS[k][1] for k, v in numbers.items())


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        ("{kind: mail}", "must be one of 'webhook', 'command'"),
        ("{kind: webhook}", "name of an environment variable"),
        ("{kind: webhook, url: 'https://hooks.example/s3cret'}", "name of an environment variable"),
        ("{kind: webhook, url: ALERT_URL, command: [x]}", "and no command"),
        ("{kind: command, command: []}", "needs a command as a list"),
        ("{kind: command, command: 'mail me'}", "must be a list"),
        ("{kind: command, command: [x], timeout_s: 0}", "between 0.1 and 600"),
    ],
)
def test_an_alert_that_could_not_be_told_is_refused_and_no_url_is_shown(tmp_path: Path, alert: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"sources: [{{name: docs, path: docs}}]\nalerts: [{alert}]\n")
    with pytest.raises(ConfigError, match=said) as refused:
        load_params(path)
    assert "s3cret" not in str(refused.value)


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
