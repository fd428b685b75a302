import asyncio
import time

import pytest

from ragkeep.errors import ProviderAway
from ragkeep.generators.compare import agreement, compare
from ragkeep.prompts import NOT_FOUND
from ragkeep.testing import ScriptedGenerator
from ragkeep.types import Sampling
from tests.contracts.test_generator import request
from tests.generators.test_resilient import Planned
from tests.providers import REPLY


def test_equal_answers_agree_and_a_slow_or_failing_one_holds_nobody() -> None:
    asked = [
        ScriptedGenerator(REPLY),
        ScriptedGenerator(REPLY),
        Planned("slow", 30.0),
        Planned("bad", ProviderAway("gone")),
    ]
    begun = time.monotonic()
    found = asyncio.run(compare(request(), asked, Sampling(), deadline_s=0.5))
    assert time.monotonic() - begun < 20
    assert (found.agreement, found.low) == (1.0, False)
    assert [one.error for one in found.answers] == ["", "", "slow did not end within 0.5 s", "gone"]


def test_low_agreement_is_flagged() -> None:
    asked = [ScriptedGenerator(REPLY), ScriptedGenerator("Nobody knows who looks after valves. [1]")]
    found = asyncio.run(compare(request(), asked, Sampling(), deadline_s=5))
    assert found.low
    assert found.answers[0].usage.completion_tokens == len(REPLY.split())


def test_one_answer_agrees_with_nobody() -> None:
    found = asyncio.run(
        compare(request(), [ScriptedGenerator(REPLY), Planned("bad", ProviderAway("x"))], Sampling(), deadline_s=5)
    )
    assert (found.agreement, found.low) == (None, False)


@pytest.mark.parametrize(
    ("a", "b", "least", "most"),
    [
        ("Pumps are serviced yearly. [1]", "Pumps are serviced yearly. [3]", 1, 1),
        ("Pumps are serviced yearly.", "The pumps are serviced yearly by the vendor.", 0.7, 0.99),
        ("Replace it after 10 days.", "Replace it after 14 days.", 0, 0),
        (NOT_FOUND, NOT_FOUND, 1, 1),
        (NOT_FOUND, "Pumps are serviced yearly.", 0, 0),
        ("It is red. It is heavy.", "It is heavy. It is red.", 1, 1),
    ],
)
def test_agreement_counts_claims_in_common(a: str, b: str, least: float, most: float) -> None:
    assert least <= agreement(a, b) <= most
    assert agreement(a, b) == agreement(b, a)
