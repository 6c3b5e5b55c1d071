# SPDX-License-Identifier: GPL-3.0-or-later
"""strongSwan's own charon at both ends of a lab's backup WAN: the peer that figures stand beside.

IKE is as in the product: PSK, key identities, forced UDP encapsulation, the same proposals.
"""

from vpnlab import stock_charon

KEY = "bench-key-5f0c9ab14e63b8f17d2e"
CONNECTION = """\
connections {{ bench {{
  version = 2
  local_addrs = {own}
  remote_addrs = {other}
  encap = yes
  mobike = no
  proposals = aes128-sha256-ecp256
  local {{ auth = psk
    id = keyid:{own_id} }}
  remote {{ auth = psk
    id = keyid:{other_id} }}
  children {{ net {{
    local_ts = {own_lan}
    remote_ts = {other_lan}
    esp_proposals = aes128gcm16
  }} }}
}} }}
secrets {{ ike-bench {{ id-a = keyid:{own_id}
  id-b = keyid:{other_id}
  secret = "{key}" }} }}
"""


class StockCharon(stock_charon.StockCharon):
    """One charon in the router namespace of a site."""

    def __init__(self, workspace, space, site, other):
        super().__init__(workspace, space, site.name, CONNECTION.format(
            own=site.wan, other=other.wan, own_id=site.number, other_id=other.number, own_lan=site.lan, other_lan=other.lan, key=KEY))
