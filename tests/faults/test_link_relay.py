"""The link is as long and as wide as it says, whatever else the machine does.

Asked is what the relay planned, in seconds of its own clock, and that nothing came sooner: a busy
machine is late, and that is no fault of the link.
"""

import socket
import threading
import time

import pytest

from tests.faults.conftest import body_of
from tests.faults.link_relay import Link, LinkRelay

RTT_S = 0.08
CLOCK_S = 0.001
"""What a timer of the loop may be early, by its resolution."""
ROUNDING_S = 1e-6


def ask(connection, path="/a"):
    connection.request("GET", path)
    return connection.getresponse().read()


@pytest.fixture
def sink():
    """A server that swallows; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def swallow(connection):
        with connection:
            while connection.recv(1 << 16):
                pass

    def accept():
        while True:
            try:
                accepted.append(threading.Thread(target=swallow, args=listener.accept()[:1]))
            except OSError:
                return
            accepted[-1].start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for other in (thread, *accepted):
        other.join()


def test_bytes_pass_as_they_are(server, get):
    with LinkRelay(server, Link()) as relay:
        assert get(relay.port, "/some/path") == (200, body_of("/some/path")[:1000])


def test_every_byte_takes_half_a_round_trip_and_the_first_one_more(server, client):
    with LinkRelay(server, Link(rtt_s=RTT_S)) as relay:
        connection = client(relay.port)
        ask(connection)
        ask(connection)
        flights = relay.flights

    first, *later = flights
    assert first.up
    handshaken_s = first.opened_s + RTT_S
    left_s = max(first.taken_s, handshaken_s)
    assert first.due_s - left_s == pytest.approx(RTT_S / 2, abs=ROUNDING_S)
    assert later
    for flight in later:
        assert flight.due_s - flight.taken_s == pytest.approx(RTT_S / 2, abs=ROUNDING_S)
    assert all(flight.given_s >= flight.due_s - CLOCK_S for flight in flights)


def test_bandwidth_is_shared_by_all_connections(sink):
    rate_bps, size = 8e6, 100_000
    with LinkRelay(sink, Link(bandwidth_bps=rate_bps)) as relay:
        senders = [socket.create_connection(("127.0.0.1", relay.port)) for _ in range(4)]
        for sender in senders:
            threading.Thread(target=sender.sendall, args=(bytes(size),)).start()
        while sum(flight.size for flight in relay.flights) < 4 * size:
            time.sleep(0.01)
        flights = relay.flights
        for sender in senders:
            sender.close()

    begin_s = min(flight.taken_s for flight in flights)
    end_s = max(flight.due_s for flight in flights)
    assert {flight.connection for flight in flights} == {0, 1, 2, 3}
    assert end_s - begin_s >= 4 * size * 8 / rate_bps - ROUNDING_S


def test_a_connection_that_opens_does_not_hold_up_the_others(sink):
    rtt_s = 0.5
    with LinkRelay(sink, Link(rtt_s=rtt_s, bandwidth_bps=8e6)) as relay:
        open_, opening = (socket.create_connection(("127.0.0.1", relay.port)) for _ in range(2))
        with open_, opening:
            open_.sendall(b"x")
            while len(relay.flights) < 1:
                time.sleep(0.01)
            with socket.create_connection(("127.0.0.1", relay.port)) as opening:
                opening.sendall(b"y")
                while relay.connections < 3:
                    time.sleep(0.01)
                open_.sendall(b"z")
                while len(relay.flights) < 3:
                    time.sleep(0.01)
        [first, later] = [flight for flight in relay.flights if flight.connection == 0]

    assert later.taken_s > first.given_s
    assert later.due_s - later.taken_s == pytest.approx(rtt_s / 2 + 1e-6, abs=ROUNDING_S)


def test_directions_have_a_bandwidth_each(server, client):
    with LinkRelay(server, Link(bandwidth_bps=8e5)) as relay:
        ask(client(relay.port))
        [up], down = (
            [flight for flight in relay.flights if flight.up],
            [flight for flight in relay.flights if not flight.up],
        )

    assert up.due_s - up.taken_s == pytest.approx(up.size * 8 / 8e5, abs=ROUNDING_S)
    took_s = down[-1].due_s - down[0].taken_s
    assert took_s >= sum(flight.size for flight in down) * 8 / 8e5 - ROUNDING_S


def test_what_comes_down_does_not_hold_up_what_goes_up():
    rate_bps, size = 8e5, 400_000  # four seconds of it
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        LinkRelay(listener.getsockname(), Link(bandwidth_bps=rate_bps)) as relay,
        socket.create_connection(("127.0.0.1", relay.port)) as near,
        listener.accept()[0] as far,
    ):
        threading.Thread(target=far.sendall, args=(bytes(size),)).start()
        near.recv(1)
        near.sendall(b"x" * 1000)
        assert far.recv(1)
        flights = relay.flights
    [up] = [flight for flight in flights if flight.up]
    came_down = sum(flight.size for flight in flights if not flight.up)

    assert 0 < came_down < size
    assert up.due_s - up.taken_s == pytest.approx(up.size * 8 / rate_bps, abs=ROUNDING_S)


def test_a_link_can_be_slowed_while_it_runs(server, client):
    with LinkRelay(server, Link()) as relay:
        connection = client(relay.port)
        ask(connection)
        quick = len(relay.flights)
        relay.link = Link(rtt_s=RTT_S)
        ask(connection)
        flights = relay.flights

    assert all(f.due_s - f.taken_s <= ROUNDING_S for f in flights[1:quick])
    assert all(f.due_s - f.taken_s > RTT_S / 2 - ROUNDING_S for f in flights[quick:])


def test_a_stalled_link_loses_nothing_and_goes_on(server, client):
    with LinkRelay(server, Link()) as relay:
        connection = client(relay.port)
        ask(connection)
        before = len(relay.flights)
        relay.link = Link(stalled=True)
        connection.request("GET", "/b")
        connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1, socket.MSG_PEEK)
        assert len(relay.flights) == before
        connection.sock.settimeout(20)
        relay.link = Link()

        assert connection.getresponse().read() == body_of("/b")[:1000]


def test_a_refused_link_resets_what_runs_refuses_what_comes_and_can_be_had_again(server, client):
    with LinkRelay(server, Link()) as relay:
        connection, port = client(relay.port), relay.port
        ask(connection)
        relay.link = Link(refused=True)
        with pytest.raises(ConnectionResetError):
            connection.sock.recv(1)
        with pytest.raises(ConnectionRefusedError):
            client(port).connect()
        relay.link = Link()

        assert relay.port == port
        assert ask(client(port)) == body_of("/a")[:1000]


def test_a_relay_may_begin_refused(server, client):
    with LinkRelay(server, Link(refused=True)) as relay:
        with pytest.raises(ConnectionRefusedError):
            client(relay.port).connect()
        relay.link = Link()
        assert ask(client(relay.port)) == body_of("/a")[:1000]


def test_the_end_of_a_relay_is_the_end_of_its_connections(server, client):
    with LinkRelay(server, Link()) as relay:
        connection = client(relay.port)
        ask(connection)

    with pytest.raises(ConnectionResetError):
        connection.sock.recv(1)
