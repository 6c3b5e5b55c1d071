# SPDX-License-Identifier: GPL-3.0-or-later
"""Stock strongSwan at the other end with the kernel's ESP; ours is the kernel's too, or user space. Its other tests are in tests/ipsec."""

import pytest
from stock_lab import StockLab
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.stock_charon import IF_ID
from vpnlab.topology import B

pytestmark = pytest.mark.slow


@pytest.fixture
def stock(request):
    """stock(data_plane, ...) starts such a lab with this data plane of ours; its log is shown when the test failed."""
    labs = []

    def make(data_plane, **options):
        labs.append(StockLab(settings=Settings(idle_time=60, sections=f'data-plane = "{data_plane}"\n'), is_in_kernel=True, **options))
        assert f"data plane {data_plane}" in labs[0].router.log("tunnel-agent")
        return labs[0]

    yield make
    for lab in labs:
        if getattr(request.node, "failed", False):
            print(lab.logs())
        lab.close()


def bring_up(lab, we_call):
    if we_call:
        lab.answer_calls()
        assert lab.ping("a", 1, wait=20) == 1
    else:
        lab.call()
        lab.charon.control("--initiate", "--child", "net", "--timeout", "15")
    lab.wait_up()


def renew(lab, spis, *words):
    before = spis()
    lab.charon.control("--rekey", *words)
    wait_for(lambda: (now := spis()) and not now & before, 8, " ".join(words))


@pytest.mark.parametrize("data_plane, we_call", [
    ("kernel", True), ("userspace", False),
    pytest.param("kernel", False, marks=pytest.mark.long), pytest.param("userspace", True, marks=pytest.mark.long)])
def test_session(stock, data_plane, we_call):
    """Who calls is IKE's initiator. Data both ways, on the first child, on the next and under the next IKE_SA; then it is deleted."""
    lab = stock(data_plane)
    bring_up(lab, we_call)
    lab.data_both_ways()
    states = lab.space.ip("xfrm", "state", "list", "nokeys")
    assert f"if_id {IF_ID:#x}" in states and all(spi in states for spi in lab.child_spis())
    renew(lab, lab.child_spis, "--child", "net")
    lab.data_both_ways()
    renew(lab, lab.ike_spis, "--ike", "lab")
    lab.data_both_ways()
    if we_call:
        lab.router.cli("hangup", B.number)
    else:
        lab.charon.control("--terminate", "--ike", "lab")
    lab.finish_call()


@pytest.mark.long
def test_spi_that_another_sa_has(stock):
    """The peer rekeys, and whatever SPI it chooses is another SA's: libcharon finds out when the peer has already given up the old child. It
    is told, packets wait, and as soon as an SPI is free the session has a child again."""
    numbers = range(0xC1000000, 0xC1000008)
    lab = stock("kernel", charon_settings=f"  spi_min = {numbers[0]:#x}\n  spi_max = {numbers[-1]:#x}\n")
    bring_up(lab, True)
    mine = {spi for spi, direction in lab.sas().items() if direction == "outbound"}
    assert len(mine) == 1 and mine < {f"{spi:#010x}" for spi in numbers}
    others = [f"dst {B.wan} proto esp spi {spi:#x}" for spi in numbers if f"{spi:#010x}" not in mine]
    lab.router.space.batch("".join(f"xfrm state add src {lab.router.site.tunnel_source} {other} mode tunnel aead rfc4106(gcm(aes)) 0x{'11' * 20} 128\n"
                                   for other in others))
    lab.charon.control("--rekey", "--child", "net")
    wait_for(lambda: "another SA to the peer's address has this SPI" in lab.router.log("tunnel-agent"), 8, "the clash")
    lab.router.space.batch("".join(f"xfrm state delete {other}\n" for other in others))  # still there
    assert lab.ping("a", 1, wait=30) == 1, "it waited for a child"
    lab.data_both_ways()
    assert lab.router.status() == "SESSION_UP"
    lab.router.cli("hangup", B.number)
    lab.finish_call()
