"""The queue at SQS: `<prefix>-work.fifo` and its dead letters `<prefix>-dead.fifo`; needs the extra [aws].

A workspace is a message group, so that SQS itself keeps the order; ids are remembered for five minutes from `put` on.
Of a workspace whose workers died without a word, `dead` and `redrive` see ten letters at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..aws import answering, client
from ..database import utc
from ..serving.params import QueueParams
from ..types import DeadJob, Depth, Job, content_id
from . import SILENT

WHAT = "SQS"
LONGEST_WAIT_S = 20
PEEK_S = 30
"""How long a dead letter is held while it is looked at."""
LOST = {
    "ReceiptHandleIsInvalid",
    "InvalidParameterValue",
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
}
"""What SQS says of a receipt that is too old."""


def open_queue(*, params: QueueParams, path: Path) -> SqsQueue:  # noqa: ARG001 - what every backend gets
    """Open both queues, and make them where they are missing. Raises ConfigError, MissingExtra, ServiceAway."""
    sqs = client("the queue at SQS", "sqs", region=params.region)
    with answering(WHAT):
        dead = _ensure(sqs, f"{params.prefix}-dead.fifo", {"MessageRetentionPeriod": "1209600"})
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": params.tries})
        wanted = {"VisibilityTimeout": str(params.visible_s), "RedrivePolicy": redrive}
        work = _ensure(sqs, f"{params.prefix}-work.fifo", wanted)
    return SqsQueue(sqs, work, dead, params)


class SqsQueue:
    """See ports.Queue."""

    def __init__(self, sqs: Any, work: str, dead: str, params: QueueParams) -> None:
        self.sqs, self.work, self.letters, self.params = sqs, work, dead, params

    def put(self, job: Job) -> None:
        """See ports.Queue."""
        self._send(self.work, job, content_id(job.id))

    def take(self, *, wait_s: float = 0.0) -> Job | None:
        """See ports.Queue."""
        deadline = time.monotonic() + wait_s
        while True:
            left = max(0, min(LONGEST_WAIT_S, round(deadline - time.monotonic())))
            found = self._receive(self.work, MaxNumberOfMessages=1, WaitTimeSeconds=left)
            if found:
                return _job(found[0])
            if time.monotonic() >= deadline:
                return None

    def extend(self, job: Job) -> bool:
        """See ports.Queue."""
        with self._held() as held:
            self._visible(self.work, job.receipt, self.params.visible_s)
        return bool(held)

    def done(self, job: Job) -> bool:
        """See ports.Queue."""
        with self._held() as held:
            self.sqs.delete_message(QueueUrl=self.work, ReceiptHandle=job.receipt)
        return bool(held)

    def fail(self, job: Job, reason: str) -> bool:
        """See ports.Queue."""
        with self._held() as held:
            if job.attempt < self.params.tries:
                self._visible(self.work, job.receipt, 0)
            else:  # first there, then away here: killed in between, it is there twice, and not lost
                self._visible(self.work, job.receipt, self.params.visible_s)
                self._send(self.letters, job, content_id(job.id, job.receipt), reason=reason)
                self.sqs.delete_message(QueueUrl=self.work, ReceiptHandle=job.receipt)
        return bool(held)

    def dead(self, *, limit: int = 100) -> list[DeadJob]:
        """See ports.Queue."""
        found = self._peek(limit)
        for message in found:
            self._visible(self.letters, message["ReceiptHandle"], 0)
        return sorted(map(_dead, found), key=lambda one: one.died_at)

    def reclaim(self) -> int:
        """See ports.Queue."""
        return 0

    def redrive(self, *, workspace: str = "") -> int:
        """See ports.Queue."""
        moved = 0
        for message in sorted(self._peek(10_000), key=_sent):
            job = _job(message)
            if workspace in ("", job.workspace):
                self._send(self.work, job, content_id(job.id, message["MessageId"]))
                with answering(WHAT):
                    self.sqs.delete_message(QueueUrl=self.letters, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
            else:
                self._visible(self.letters, message["ReceiptHandle"], 0)
        return moved

    def depth(self) -> Depth:
        """See ports.Queue."""
        waiting, taken = self._count(self.work)
        return Depth(waiting, taken, sum(self._count(self.letters)))

    def _count(self, url: str) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        with answering(WHAT):
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def _send(self, url: str, job: Job, deduplication: str, *, reason: str = "") -> None:
        said = {"id": job.id, "workspace": job.workspace, "body": job.body, "attempt": job.attempt, "reason": reason}
        with answering(WHAT):
            self.sqs.send_message(
                QueueUrl=url,
                MessageBody=json.dumps(said),
                MessageGroupId=job.workspace if url == self.work else deduplication,
                MessageDeduplicationId=deduplication,
            )

    def _receive(self, url: str, **more: Any) -> list[dict[str, Any]]:
        names = ["ApproximateReceiveCount", "SentTimestamp"]
        with answering(WHAT):
            answer = self.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=names, **more)
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def _peek(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            more = self._receive(self.letters, MaxNumberOfMessages=min(10, limit - len(found)), VisibilityTimeout=PEEK_S)
            found += more
            if not more:
                break
        return found

    def _visible(self, url: str, receipt: str, seconds: int) -> None:
        with answering(WHAT):
            self.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    @contextmanager
    def _held(self) -> Iterator[list[bool]]:
        """Yield a list that is empty afterwards where SQS said that the receipt is too old."""
        held = [True]
        errors = self.sqs.exceptions.ClientError
        with answering(WHAT):
            try:
                yield held
            except errors as error:
                if error.response.get("Error", {}).get("Code", "").rpartition(".")[2] not in LOST:
                    raise
                held.clear()


def _ensure(sqs: Any, name: str, wanted: dict[str, str]) -> str:
    """Return a queue's URL; make the queue, or change what differs from `wanted`."""
    try:
        url = str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        made = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **wanted})
        return str(made["QueueUrl"])
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    if any(_plain(found.get(key)) != _plain(value) for key, value in wanted.items()):
        sqs.set_queue_attributes(QueueUrl=url, Attributes=wanted)
    return url


def _plain(value: str | None) -> Any:
    """A value to compare: numbers in JSON come back as numbers or as texts."""
    if value is None or not value.startswith("{"):
        return value
    return {key: str(one) for key, one in json.loads(value).items()}


def _job(message: dict[str, Any]) -> Job:
    said = json.loads(message["Body"])
    attempt = int(message["Attributes"]["ApproximateReceiveCount"])
    return Job(said["id"], said["workspace"], said["body"], attempt, message["ReceiptHandle"])


def _dead(message: dict[str, Any]) -> DeadJob:
    said = json.loads(message["Body"])
    job = Job(said["id"], said["workspace"], said["body"], said["attempt"])
    return DeadJob(job, said["reason"] or SILENT, utc(_sent(message)))


def _sent(message: dict[str, Any]) -> float:
    return int(message["Attributes"]["SentTimestamp"]) / 1000
