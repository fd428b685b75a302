"""`ragkeep simulate`: an interaction log of made-up people, to try learning before there are real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Json, emit_json, logs_to_stderr, next_step, project, room, say, table


def simulate(
    *,
    folder: Annotated[Path, typer.Option("--set", help="A folder with corpus.jsonl, queries.jsonl, qrels.tsv.")],
    interactions: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many questions are asked.")] = 3000,
    users: Annotated[int, typer.Option(min=1, max=999, help="How many people ask.")] = 50,
    wrong: Annotated[float, typer.Option(min=0, max=1, help="The share of what they do that is wrong.")] = 0.2,
    poisoners: Annotated[int, typer.Option(min=0, max=999, help="Accounts that push one document.")] = 0,
    poison: Annotated[float, typer.Option(min=0, max=1, help="The share of questions that is theirs.")] = 0.05,
    jargon: Annotated[bool, typer.Option("--jargon", help="Rename the 200 commonest words of the questions.")] = False,
    own: Annotated[bool, typer.Option("--own-answers", help="Answer with the release's generator: slower.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Other people with another one; each run has its own unless it is given.")
    ] = None,
    prepare: Annotated[
        Path | None,
        typer.Option(help="Only write the set's documents as files into a folder, and golden questions beside it."),
    ] = None,
    suffix: Annotated[str, typer.Option(help="What those files are called; .py for code.")] = ".txt",
    json: Json = False,
) -> None:
    """Let made-up people use the live release: their clicks, votes and corrections go to the interaction log.

    All of it is marked as simulated, there and in everything learned from it.
    """
    if prepare is not None:
        with logs_to_stderr():
            found = room("tasks.simulate").prepare(folder.resolve(), prepare.resolve(), suffix, jargon=jargon)
        if json:
            emit_json(found)
            return
        say(f"{found['documents']:,} documents written to {found['folder']}. Put this into params.yaml:\n")
        say(found["params"])
        next_step("ragkeep nightly, then the same command without --prepare")
        return
    paths, params = project()
    with logs_to_stderr():
        module = room("tasks.simulate")
        seed = module.next_seed(paths) if seed is None else seed
        crowd = module.Crowd(interactions, users, wrong, poisoners, poison, jargon, seed)
        found = module.simulate(paths, params, folder.resolve(), crowd, own=own)
    if json:
        emit_json(found)
        return
    table("SIMULATED interactions", ("what", "how many"), list(found["did"].items()))
    next_step("ragkeep learn")
