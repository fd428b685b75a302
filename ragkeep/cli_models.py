"""`ragkeep learn` and `ragkeep models list|diff|promote|rollback|history`: what was learned, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Json, Reason, emit_json, logs_to_stderr, next_step, project, room, say, table
from .errors import ReleaseError
from .files import read_json, read_rows

if TYPE_CHECKING:
    from .config import Paths
    from .types import Release

models_app = typer.Typer(
    no_args_is_help=True, help="What was learned from interactions, what of it answers, the way back."
)


def learn(
    *,
    require_approval: Annotated[
        bool, typer.Option("--require-approval", help="Publish nothing: a person takes it with `ragkeep models promote`.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn from what users asked, clicked and rated; promote only what is proven on questions never seen.

    Runs a night first. Exit code 0: promoted, on trial, waiting, or no gain, which is a result; 1: the gate refused, or
    a stage failed; 2: no verdict. The live release answers on whatever happens.
    """
    paths, params = project()
    with logs_to_stderr():
        result = room("flows.start").learn(paths, params, require_approval=require_approval)
    if json:
        emit_json(result)
    else:
        _show(result)
    if result["verdict"] == "refused":
        raise SystemExit(1)


def _show(result: dict[str, Any]) -> None:
    from .learned import outcome_of

    lessons = ", ".join(f"{count:,} to {split}" for split, count in result["lessons"].items())
    rows = [("verdict", result["verdict"]), ("live release", result["release"]), ("lessons", lessons)]
    if result.get("synthetic"):
        rows.append(("made-up questions", f"{result['synthetic']:,}, from documents, for training only"))
    if result["simulated"]:
        rows.append(("interactions", "SIMULATED: no person was asked"))
    if gain := result["gain"]:
        for cut, found in ((f"all {gain['judge']}", gain["overall"]), *gain["slices"].items()):
            rows.append((f"nDCG@10, {cut}", _told(found["ndcg_at_10"], gain)))
    if result.get("answers"):
        measure = result["answers"]["measure"]
        rows.append((f"answers, {measure}", _told(result["answers"]["overall"][measure], result["answers"])))
    rows.append(("seconds", f"{result['seconds']:.1f}"))
    table("Learning", ("what", "value"), rows)
    tried = [(one["learner"], outcome_of(one), "; ".join(one["reasons"])) for one in result["tried"]]
    table("What was tried", ("learner", "", "why"), tried)
    for reason in result["reasons"]:
        say(f"- {reason}")
    say(f"Report: {result['report']}")
    next_step({
        "promoted": "ragkeep models list, or ragkeep models rollback",
        "on trial": "ragkeep releases trial show",
        "waits": "ragkeep models list, then what is said above",
        "nothing to learn": "let people use it: `ragkeep serve`",
    }.get(result["verdict"], "open the report and see why"))  # fmt: skip


def _told(one: dict[str, Any], of: dict[str, Any]) -> str:
    low, high = one["ci"]
    interval = f"{100 * of['confidence']:.4g} % interval {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{one['base']:.3f} -> {one['new']:.3f} ({100 * one['delta']:+.1f} points, {interval}, n {one['n']:,})"


@models_app.command("list")
def models_list(*, json: Json = False) -> None:
    """List every model that was learned, newest first, and which release binds it."""
    from .releases import all_releases, pointer

    paths, _ = project()
    at, releases = pointer(paths), all_releases(paths)
    rows = []
    for model in _models(paths):
        bound = [r.number for r in releases if (model["learner"], model["version"]) in _bound(r)]
        alias = "champion" if at and at.number in bound else "previous" if at and at.previous in bound else ""
        rows.append({**model, "alias": alias, "releases": [str(number) for number in bound]})
    if json:
        emit_json({"models": rows})
        return
    table("Models", ("model", "alias", "made", "gain", "releases", "from"), [
        (f"{r['learner']}/{r['version']}", r["alias"], r["at"], _points(r["gain"]), ", ".join(r["releases"]),
         f"{r['trainset'][:12]}{' (simulated)' if r['simulated'] else ''}") for r in rows
    ])  # fmt: skip
    next_step("ragkeep models diff A B, or ragkeep models rollback" if rows else "ragkeep learn")


def _models(paths: Paths) -> list[dict[str, Any]]:
    """Every model kept, newest first: its part, when it was made, its gain on the lessons for the report."""
    found = []
    for path in paths.models.glob("*/part.json"):
        report = read_json(path.with_name("report.json")) or {}
        found.append({**(read_json(path) or {}), "gain": report.get("gain"), "report": report})
    return sorted(found, key=lambda row: (row["at"], row["learner"]), reverse=True)


def _bound(release: Release) -> set[tuple[str, int]]:
    return {(part["learner"], part["version"]) for part in release.serving.get("learned", [])}


def _points(gain: dict[str, Any] | None) -> str:
    return f"{100 * gain['overall'][gain.get('measure', 'ndcg_at_10')]['delta']:+.1f}" if gain else "–"


def _named(paths: Paths, name: str) -> dict[str, Any]:
    """Find a model by learner/version. Raises ReleaseError naming those there are."""
    models = {f"{row['learner']}/{row['version']}": row for row in _models(paths)}
    if name not in models:
        raise ReleaseError(f"there is no model {name!r}; there are: {', '.join(models) or 'none, run `ragkeep learn`'}")
    return models[name]


@models_app.command("diff")
def models_diff(
    first: Annotated[str, typer.Argument(help="A model, as in query-tower/1.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    *,
    json: Json = False,
) -> None:
    """Show in what two models differ: data, base, settings, gain."""
    paths, _ = project()
    a, b = (_flat(_named(paths, name)) for name in (first, second))
    rows = [
        {"what": key, first: a.get(key), second: b.get(key)}
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]
    if json:
        emit_json({"differences": rows})
        return
    table("Differences", ("what", first, second), [[row["what"], str(row[first]), str(row[second])] for row in rows])
    next_step("ragkeep models list")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, item in value.items() for k, v in _flat(item, f"{prefix}.{name}" if prefix else name).items()}


@models_app.command("promote")
def models_promote(
    name: Annotated[str, typer.Argument(help="A release's number, or a model, as in query-tower/1.")],
    *,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Make a release live that the gate let in, with its models; a model stands for its newest release."""
    from .releases import all_releases

    paths, params = project()
    number = int(name) if name.isdigit() else 0
    if not number:
        model = _named(paths, name)
        bound = [r.number for r in all_releases(paths) if (model["learner"], model["version"]) in _bound(r)]
        passed = [r.number for r in all_releases(paths) if r.number in bound and r.reason.startswith("pass")]
        if not passed:
            which = f"the gate refused those that bind {name}" if bound else f"no release binds {name}"
            raise ReleaseError(f"{which}: `ragkeep releases promote N --force --reason ...` overrules it")
        number = passed[0]
    with logs_to_stderr():
        release = room("flows.start").move(
            paths, params, "promote", number=number, reason=reason or "approved by a person"
        )
    _moved(release, json=json)


@models_app.command("rollback")
def models_rollback(*, reason: Reason = "", json: Json = False) -> None:
    """Return to the release before, with the models it was published with."""
    paths, params = project()
    with logs_to_stderr():
        release = room("flows.start").move(paths, params, "rollback", reason=reason or "models rollback")
    _moved(release, json=json)


def _moved(release: Release, *, json: bool) -> None:
    bound = [f"{learner}/{version}" for learner, version in sorted(_bound(release))]
    if json:
        emit_json({"champion": str(release.number), "models": bound})
        return
    say(f"release {release.number} answers now, with {', '.join(bound) or 'no learned model'}")
    next_step("ragkeep models list")


@models_app.command("history")
def models_history(*, json: Json = False) -> None:
    """Show every learning run: when, from how many lessons, what came of it, and why."""
    paths, _ = project()
    rows = read_rows(paths.models / "history.jsonl")
    if json:
        emit_json({"runs": rows})
        return
    table("Learning runs", ("at", "verdict", "release", "gain", "why"), [
        (r["at"], r["verdict"], r["release"], _points(r.get("gain") or r.get("answers")), "; ".join(r["reasons"]))
        for r in rows
    ])  # fmt: skip
    next_step("ragkeep models list")
