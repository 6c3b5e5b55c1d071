# SPDX-License-Identifier: GPL-3.0-or-later
"""SIP over TLS against a real Kamailio: who is believed, what is spoken, what is refused and why."""

import pytest

from tls_scene import Scene


@pytest.fixture
def scene():
    one = Scene()
    yield one
    print(one.log()[-6000:])
    one.close()


def test_one_shared_root(scene):
    """Registered over TLS with both sides' certificates checked."""
    scene.one_authority()
    scene.start_carrier()
    scene.start()
    scene.wait_registered()
    (connection,) = scene.connections()["connections"]
    assert connection["state"] == "Established" and connection["protocol"] == "TLSv1.3"
