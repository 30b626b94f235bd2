"""Ports for the servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket

# Below the ports from which systems take those of outgoing connections: nothing takes one between two starts of a
# server. Each process begins elsewhere, so that tests that run beside each other do not get the same one.
_FIRST, _PORTS = 10_000, 22_000
_numbers = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port of the loopback interface at which nobody listens, and which this process gives to nobody else."""
    for number in _numbers:
        port = _FIRST + number % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("numbers do not end")
