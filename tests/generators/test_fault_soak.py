import pytest

from tests.generators.fault_soak import soak


def hold(found: dict[str, object], *, at_most: float) -> None:
    assert found["past_deadline"] == 0
    assert "wrong" not in found["outcomes"]  # type: ignore[operator]
    assert found["tries_per_request"] <= at_most  # type: ignore[operator]


def test_mixed_faults_pass_no_deadline() -> None:
    hold(soak(30, 0.3), at_most=(30 * 1.15 + 10) / 30)


@pytest.mark.soak
@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_200_requests_take_at_most_a_fifth_more_tries(share: float) -> None:
    hold(soak(200, share), at_most=1.2)
