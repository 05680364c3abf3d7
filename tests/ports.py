"""Free ports, when a program must be told one before it starts; whoever can takes port 0."""

import itertools
import os
import random
import socket

FIRST, LAST = 12_000, 32_000
"""Below what Linux gives to outgoing connections and to port 0: nobody takes one by chance."""
WORKERS = 20
_SPAN = (LAST - FIRST) // WORKERS
_OWN = FIRST + _SPAN * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS)
# from a random one on, as other runs on this machine draw from the same ports
_numbers = itertools.cycle(random.SystemRandom().sample(range(_OWN, _OWN + _SPAN), _SPAN))


def free_port(*hosts: str, following: int = 0) -> int:
    """A port of this worker that is free on each of *hosts*, else on 127.0.0.1.

    So are the *following* ones.
    """
    for port in itertools.islice(_numbers, _SPAN):
        ports = range(port, port + 1 + following)
        if all(_is_free(host, number) for host in hosts or ("127.0.0.1",) for number in ports):
            return port
    raise OSError(f"no free port from {_OWN} to {_OWN + _SPAN - 1}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
