# SPDX-License-Identifier: GPL-3.0-or-later
"""nat-qos-agent alone: the kernel's half of the SIP guard. Each rule with a control run in which the packet comes through."""

import re
import signal
import socket
import time

import pytest
from agents_parts import FAR_WAN, WAN, AgentBox, inside
from vpnlab.namespaces import wait_for
from vpnlab.noise import ipv4, udp

NUMBER = "0388881001"
SERVER, OTHER_SERVER, STRANGER = "198.51.100.5", "198.51.100.6", "198.51.100.66"
OPTIONS = b"OPTIONS sip:x SIP/2.0\r\n\r\n"
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)


@pytest.fixture
def box():
    made = AgentBox(["nat-qos-agent"])
    for address in (SERVER, OTHER_SERVER, STRANGER):
        made.far.batch(f"addr add {address}/24 dev wan0\n")
    made.sip = made.udp(made.router, WAN, 5060)
    made.sip.settimeout(0.2)
    yield made
    made.close()


def octets(*addresses):
    """What a bytes field looks like in an order."""
    return [socket.inet_aton(address).hex() for address in addresses]


def came(box):
    """Every datagram that waits at the SIP port."""
    found = []
    while True:
        try:
            found.append(box.sip.recvfrom(2048))
        except TimeoutError:
            return found


def send(box, source, data=OPTIONS, count=1, port=5060, to=WAN):
    sender = box.udp(box.far, source, 0)
    for _ in range(count):
        sender.sendto(data, (to, port))


def open_guard(box):
    """The control: nobody repairs the table any more, and the guard's entrance is empty."""
    box.processes["nat-qos-agent"].signal(signal.SIGSTOP)
    box.router.run("nft", "flush", "chain", "ip", "vpnsip", "sip_guard")


def counters(box):
    text = box.router.run("nft", "list", "counters", "table", "ip", "vpnsip")
    return {name: int(packets) for name, packets in re.findall(r"counter (\S+) \{\s+packets (\d+)", text)}


def test_only_servers_reach_the_sip_port(box):
    send(box, SERVER)
    send(box, STRANGER)
    assert [source[0] for _, source in came(box)] == [SERVER]
    assert counters(box)["guard-foreign"] == 1 and counters(box)["guard-accepted"] == 1
    assert box.counters()["guard-foreign"] == 1, "the snapshot tells the kernel's figures"
    open_guard(box)
    send(box, STRANGER)
    assert [source[0] for _, source in came(box)] == [STRANGER], "control: without the guard a stranger comes through"


@pytest.mark.slow
@pytest.mark.slow
def test_drops_are_told(box):
    """Each 20 s, one line for each class."""
    send(box, STRANGER, count=7)
    wait_for(lambda: "sip.guard.drop class=foreign packets=7" in box.log("nat-qos-agent"), 25, "the line", interval=0.5)
    assert box.log("nat-qos-agent").count("sip.guard.drop") == 1


def test_servers_are_ordered_live(box):
    box.must("nat-qos-agent", "AdmitSipServers", local_number=NUMBER, addresses=octets(OTHER_SERVER))
    for source in (SERVER, OTHER_SERVER, STRANGER):
        send(box, source)
    assert [source[0] for _, source in came(box)] == [SERVER, OTHER_SERVER], "the configured one stays"
    snapshot = box.must("nat-qos-agent", "GetSnapshot")
    assert snapshot["sip_servers"] == [{"local_number": NUMBER, "addresses": octets(SERVER, OTHER_SERVER)}]

    box.processes["nat-qos-agent"].signal(signal.SIGKILL)
    send(box, STRANGER)
    send(box, OTHER_SERVER)
    assert [source[0] for _, source in came(box)] == [OTHER_SERVER], "the kernel guards without the agent"
    box.processes["nat-qos-agent"].end()
    box.start("nat-qos-agent")
    send(box, OTHER_SERVER)
    assert len(came(box)) == 1, "a restarted agent keeps what was ordered"
    box.must("nat-qos-agent", "AdmitSipServers", local_number=NUMBER, addresses=[])
    send(box, OTHER_SERVER)
    assert not came(box)
    outcome, cause, _ = box.order("nat-qos-agent", "AdmitSipServers", local_number="0399999999", addresses=[])
    assert outcome != "done" and "no line" in cause


def test_guard_is_repaired(box):
    box.router.run("nft", "flush", "chain", "ip", "vpnsip", "sip_line")
    wait_for(lambda: "@sip_servers" in box.router.run("nft", "list", "chain", "ip", "vpnsip", "sip_line"), 3, "the chain made anew")
    send(box, STRANGER)
    assert not came(box)


def test_rate_of_one_server(box):
    send(box, SERVER, count=1000)
    passed = len(came(box))
    assert 200 <= passed < 400, "the burst of 200, and 100 a second"
    assert counters(box)["guard-rate"] == 1000 - passed
    box.must("nat-qos-agent", "AdmitSipServers", local_number=NUMBER, addresses=octets(OTHER_SERVER))
    send(box, OTHER_SERVER, count=50)
    assert len(came(box)) == 50, "another server has its own measure"
    open_guard(box)
    box.sip.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    send(box, SERVER, count=150)
    send(box, SERVER, count=150)
    assert len(came(box)) > 250, "control"


def test_stun_and_garbage(box):
    for data in (STUN, b"\xff\xff", b"\x80" * 20):
        send(box, SERVER, data)
    for data in (b"\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        send(box, SERVER, data)
    assert [data[:3] for data, _ in came(box)] == [b"\r\n\r", b"SIP"]
    assert counters(box)["guard-not-sip"] == 3
    open_guard(box)
    send(box, SERVER, STUN)
    assert len(came(box)) == 1, "control"


def raw(box, space, interface, source, target, data=OPTIONS):
    """A packet with any source address onto a link, to the router's hardware address."""
    mac = box.router.ip("-o", "link", "show", "dev", interface if space is not box.host else "lan0").split("link/ether ")[1].split()[0]
    packet = ipv4(source, target, 17, udp(5060, 5060, data), ttl=64)
    device = "eth0" if space is box.host else interface

    def transmit():
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sender:
            sender.sendto(packet, (device, 0x0800, 0, 0, bytes.fromhex(mac.replace(":", ""))))

    inside(space, transmit)


@pytest.mark.parametrize("where", ["lan", "primary"])
def test_a_servers_address_from_another_side(box, where):
    """Strict filters of the kernel are off, as asymmetric routing needs it: the guard alone decides."""
    box.router.sysctl(net_ipv4_conf_all_rp__filter=0, net_ipv4_conf_lan0_rp__filter=0, net_ipv4_conf_prim0_rp__filter=0)
    space, interface = (box.host, "lan0") if where == "lan" else (box.far, "prim0")
    raw(box, space, interface, SERVER, WAN)
    assert not came(box)
    assert counters(box)["guard-interface"] == 1
    open_guard(box)
    raw(box, space, interface, SERVER, WAN)
    assert len(came(box)) == 1, "control: the kernel itself takes it"


def test_reverse_path(box):
    """A server whose route leaves by another interface cannot be answered on the WAN: whoever sends as that is an impostor."""
    box.must("nat-qos-agent", "AdmitSipServers", local_number=NUMBER, addresses=octets("10.1.0.2"))
    raw(box, box.far, "wan0", "10.1.0.2", WAN)
    assert not came(box)
    assert counters(box)["guard-reverse-path"] == 1
    open_guard(box)
    box.router.sysctl(net_ipv4_conf_all_rp__filter=0, net_ipv4_conf_wan0_rp__filter=0)
    raw(box, box.far, "wan0", "10.1.0.2", WAN)
    assert len(came(box)) == 1, "control"


def test_multicast(box):
    group = "224.0.1.75"  # sip.mcast.net
    membership = socket.inet_aton(group) + socket.inet_aton(WAN)
    listener = box.udp(box.router, group, 5060)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    sender = box.udp(box.far, SERVER, 0)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(FAR_WAN))
    sender.sendto(OPTIONS, (group, 5060))
    with pytest.raises(TimeoutError):
        listener.recv(2048)
    assert counters(box)["guard-multicast"] == 1
    open_guard(box)
    sender.sendto(OPTIONS, (group, 5060))
    assert listener.recv(2048) == OPTIONS, "control"


def test_tcp_of_a_stranger_is_not_even_answered(box):
    listener = inside(box.router, lambda: socket.create_server((WAN, 5060)))
    box.open_files.append(listener)

    def connect(source):
        def attempt():
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(0.5)
                client.bind((source, 0))
                return client.connect_ex((WAN, 5060))

        return inside(box.far, attempt)

    assert connect(SERVER) == 0
    assert connect(STRANGER) != 0
    open_guard(box)
    assert connect(STRANGER) == 0, "control"


def test_sip_helper_is_told(box):
    assert not [text for text in box.must("nat-qos-agent", "GetSnapshot").get("warnings", []) if "helper" in text]
    box.router.nft('table ip other { ct helper sip-5060 { type "sip" protocol udp; }; }')
    warnings = wait_for(lambda: [text for text in box.must("nat-qos-agent", "GetSnapshot").get("warnings", []) if "helper" in text], 3,
                        "the warning")
    assert "type sip" in warnings[0]
    assert box.log("nat-qos-agent").count("SIP ALG: the firewall has") == 1


def test_other_sip_on_the_machine_is_left_alone(box):
    """A telephone exchange on the LAN's address of the same machine, and SIP that is only routed, are nobody's business here."""
    exchange = box.udp(box.router, "10.1.0.1", 5060)
    phone = box.udp(box.host, "10.1.0.2", 5060)
    phone.sendto(OPTIONS, ("10.1.0.1", 5060))
    assert exchange.recv(2048) == OPTIONS
    far = box.udp(box.far, "192.0.2.20", 5060)
    box.far.ip("route", "add", "10.1.0.0/24", "via", "192.0.2.10", "metric", "1", check=False)
    phone.sendto(OPTIONS, ("192.0.2.20", 5060))
    assert far.recv(2048) == OPTIONS
