"""From the vendor to the viewer: whatever a vendor does, the viewer ends with what its last document says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.faults.vendor_chain import Chain
from testkit.faults.vendor_faults import VENDOR_FAULTS, VendorFault, merged, play_through
from testkit.services.kafka import KafkaBroker

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    kafka = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    try:
        with Chain(kafka, tmp_path_factory.mktemp("chain")) as chain:
            yield chain
    finally:
        kafka.stop()


@pytest.mark.parametrize("fault", VENDOR_FAULTS, ids=lambda fault: fault.name)
def test_viewers_notice_nothing_but_time(fault: VendorFault, chain: Chain) -> None:
    played = play_through(fault, chain)
    print(f"{fault.name}: {merged(played)}")
    for way, one in played.items():
        print(f"  {way}: {one}")
        assert one.outcome.right, (way, one)
        assert one.shown == []
