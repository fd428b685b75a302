"""The same rows as a customization job of Amazon Bedrock: JSONL to S3, the job, and its state until it ends.

The job's name and the file's key are made of the rows, so that a second run finds the first one's job and starts none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from ragkeep import aws
from ragkeep.errors import ConfigError, ProviderRefused
from ragkeep.types import content_id

from .augment import Row, read
from .config import BedrockParams, FormatParams, Place
from .formats import turns

DONE = frozenset({"Completed", "Failed", "Stopped"})
_POLL_S = 5.0


def customize(place: Place, *, dry_run: bool = False) -> dict[str, Any]:
    """Upload train.jsonl and eval.jsonl and start a job, or find the one that is there; returns its state.

    Raises ConfigError, MissingExtra, ServiceAway, and ProviderRefused for a job that failed.
    """
    params = place.params.bedrock
    for key in ("base_model", "role", "bucket"):
        if not getattr(params, key):
            raise ConfigError(f"bedrock.{key} is empty: a customization job needs it")
    files = {"train.jsonl": lines(read(place.train), place.params.format)}
    if place.eval.is_file() and place.eval.stat().st_size:
        files["eval.jsonl"] = lines(read(place.eval), place.params.format)
    digest = content_id(params.base_model, *(text for _, text in sorted(files.items())))[:16]
    keys = {name: f"{params.prefix.strip('/')}/{digest}/{name}" for name in files}
    if dry_run:
        return {"job": f"ragkeep-{digest}", "would_write": [f"s3://{params.bucket}/{key}" for key in keys.values()]}
    with aws.answering("S3"):
        s3 = aws.client("finetune export --to bedrock", "s3", region=params.region)
        for name, key in keys.items():
            s3.put_object(Bucket=params.bucket, Key=key, Body=files[name].encode(), ContentType="application/jsonl")
    job = _job(params, digest, keys)
    state = _wait(params, job)
    if state["status"] == "Failed":
        raise ProviderRefused(f"Bedrock's job {job} failed: {state.get('reason') or 'see its console'}")
    return {"job": job, **state, "files": [f"s3://{params.bucket}/{key}" for key in keys.values()]}


def lines(rows: Sequence[Row], params: FormatParams) -> str:
    """Rows in Bedrock's format for conversations, one JSON object a line."""
    return "".join(json.dumps(_line(row, params), ensure_ascii=False) + "\n" for row in rows)


def _line(row: Row, params: FormatParams) -> dict[str, Any]:
    said = turns(row, params)
    system = {"system": [{"text": params.system}]} if params.system else {}
    messages = [
        {"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in said if turn["role"] != "system"
    ]
    return {"schemaVersion": "bedrock-conversation-2024", **system, "messages": messages}


def _job(params: BedrockParams, digest: str, keys: dict[str, str]) -> str:
    """Start the job of these rows, or find it; returns its name."""
    name = f"ragkeep-{digest}"
    with aws.answering("Bedrock"):
        client = aws.client("finetune export --to bedrock", "bedrock", region=params.region)
        known = client.list_model_customization_jobs(nameContains=name).get("modelCustomizationJobSummaries", [])
        if any(job["jobName"] == name for job in known):
            return name
        validation = (
            {"validationDataConfig": {"validators": [{"s3Uri": f"s3://{params.bucket}/{keys['eval.jsonl']}"}]}}
            if "eval.jsonl" in keys
            else {}
        )
        client.create_model_customization_job(
            jobName=name, customModelName=name, roleArn=params.role, baseModelIdentifier=params.base_model,
            customizationType="FINE_TUNING", clientRequestToken=digest,
            trainingDataConfig={"s3Uri": f"s3://{params.bucket}/{keys['train.jsonl']}"},
            outputDataConfig={"s3Uri": f"s3://{params.bucket}/{params.prefix.strip('/')}/{digest}/out"},
            hyperParameters=params.hyper, **validation,
        )  # fmt: skip
    return name


def _wait(params: BedrockParams, job: str) -> dict[str, Any]:
    """Ask for the job's state until it ends, or `wait_s` is over."""
    client = aws.client("finetune export --to bedrock", "bedrock", region=params.region)
    deadline = time.monotonic() + params.wait_s
    while True:
        with aws.answering("Bedrock"):
            found = client.get_model_customization_job(jobIdentifier=job)
        if found["status"] in DONE or time.monotonic() >= deadline:
            return {
                "status": found["status"], "arn": found.get("jobArn", ""), "model": found.get("outputModelArn", ""),
                "reason": found.get("failureMessage", ""),
            }  # fmt: skip
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
