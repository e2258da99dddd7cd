"""Listening sockets, and the plain reasons why one cannot be had."""

import contextlib
import os
import socket

import pytest

from posthorn_node.listen import ListenError, addresses_of, open_all, open_sockets


def test_any_free_port_is_one_port_on_every_address() -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in open_sockets("*:0")]
        ports = {port for _, port in addresses_of(sockets)}
        assert len(ports) == 1
        assert all(each.getblocking() is False for each in sockets)
        with socket.create_connection(("127.0.0.1", ports.pop()), timeout=5):
            pass


def test_taken_port_says_which_and_what_to_do() -> None:
    with open_sockets("127.0.0.1:0")[0] as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"cannot listen on {bind}: the port is taken .* choose another port"):
            open_sockets(bind)


def test_all_binds_or_none() -> None:
    with open_sockets("127.0.0.1:0")[0] as taken:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ListenError):
            open_all([free, f"127.0.0.1:{taken.getsockname()[1]}"])
        for again in open_all([free]):
            again.close()


def test_shared_port_for_workers() -> None:
    with open_sockets("127.0.0.1:0", reuse_port=True)[0] as first:
        (second,) = open_sockets(f"127.0.0.1:{first.getsockname()[1]}", reuse_port=True)
        with second:
            assert second.getsockname() == first.getsockname()


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("192.0.2.1:2525", "192.0.2.1 is no address of this machine"),
        ("no-such-host.invalid:2525", "the host name is not known"),
        ("127.0.0.1", "is no address: write host:port"),
    ],
)
def test_impossible_addresses(bind: str, reason: str) -> None:
    with pytest.raises(ListenError, match=reason):
        open_sockets(bind)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use low ports")
def test_low_port_needs_a_right() -> None:
    with pytest.raises(ListenError, match="ports below 1024 need root"):
        open_sockets("127.0.0.1:1")
