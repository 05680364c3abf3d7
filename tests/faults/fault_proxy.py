"""An HTTP proxy that spoils answers, by a seed: the same seed spoils the same requests alike.

Each request is named by method, target and how often this target was asked before. The name and
the seed decide its fault, so neither the order in which concurrent requests come nor the time
matter. The whole answer of the real server is taken in first; then the client gets one of:

- ``none``: what the server said;
- ``late``: the same, after a while;
- ``reset``: nothing, and a RST;
- ``cut``: a part of the body under its right Content-Length, and then the end of the connection;
- ``stall``: a part of the body, then nothing for a while, then a RST;
- ``error``: a 500, 502, 503 or 504, and so the next requests of this target (a burst);
- ``length``: all of the body under a Content-Length that is too large or too small;
- ``flip``: the body with one bit flipped.

An answer without a body can only be late, reset or an error. Each connection serves one request.
`faults` tells what was done; a test that asserts nothing about it has tested nothing.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.faults.http import END, Message, has_no_body, read_head, read_messages
from tests.faults.middleman import CHUNK_SIZE, Address, Middleman, reset

MAX_HEAD_SIZE = 64 * 1024
MAX_BODY_SIZE = 1 << 28
ERRORS = (500, 502, 503, 504)
KINDS = ("late", "reset", "cut", "stall", "error", "length", "flip")
NEED_A_BODY = ("cut", "stall", "length", "flip")
MAX_WRONG_LENGTH = 1000
"""Bytes that a wrong Content-Length is off by, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often which fault comes: shares of all requests, together at most 1.

    Attributes:
        late_s: The longest that a late answer waits.
        stall_s: How long a stalled one does.
        burst: Requests of a target that one error spoils.
    """

    late: float = 0.0
    reset: float = 0.0
    cut: float = 0.0
    stall: float = 0.0
    error: float = 0.0
    length: float = 0.0
    flip: float = 0.0
    late_s: float = 0.2
    stall_s: float = 1.0
    burst: int = 3

    def __post_init__(self) -> None:
        assert sum(getattr(self, kind) for kind in KINDS) <= 1.000_001
        assert self.burst > 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one request.

    Attributes:
        nth: How often its target was asked before.
        kind: As this module's head lists them.
        seconds: Of a late answer, or of a stall.
        status: Of an error.
        share: Where in the body it happens, from 0 to 1: the cut, the stall, the flipped bit.
        off: What is added to the Content-Length.
    """

    method: str
    target: str
    nth: int
    kind: str = "none"
    seconds: float = 0.0
    status: int = 0
    share: float = 0.0
    off: int = 0


def draw(mix: Mix, seed: int, method: str, target: str, nth: int) -> Fault:
    """The fault of a request: a function of its arguments and of nothing else."""
    fault = Fault(method, target, nth)
    for start in range(max(0, nth - mix.burst + 1), nth):
        first = _drawn(mix, seed, replace(fault, nth=start))
        if first.kind == "error":
            return replace(fault, kind="error", status=first.status)
    return _drawn(mix, seed, fault)


def _drawn(mix: Mix, seed: int, fault: Fault) -> Fault:
    chance = random.Random(f"{seed} {fault.method} {fault.target} {fault.nth}")
    at, kind = chance.random(), "none"
    for name in KINDS:
        share: float = getattr(mix, name)
        if at < share:
            kind = name
            break
        at -= share
    late_s, off = mix.late_s * chance.random(), chance.randint(1, MAX_WRONG_LENGTH)
    return replace(
        fault,
        kind=kind,
        seconds={"late": late_s, "stall": mix.stall_s}.get(kind, 0.0),
        status=chance.choice(ERRORS) if kind == "error" else 0,
        share=chance.random(),
        off=off * chance.choice((-1, 1)) if kind == "length" else 0,
    )


@dataclass(slots=True)
class _Requests:
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)


class FaultProxy(Middleman):
    """Asks *target*, and spoils what it says, as `mix` and *seed* have it."""

    def __init__(
        self, target: Address, mix: Mix, seed: int, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(target, host=host, port=port)
        self.mix, self.seed = mix, seed
        self._seen = _Requests()

    @property
    def faults(self) -> list[Fault]:
        """What became of each request, in the order in which they came; `none` among them."""
        return self.call(lambda: list(self._seen.faults))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        head, body = await _read_request(reader)
        request = read_head(head)
        name = request.method, request.target
        fault = draw(self.mix, self.seed, *name, self._seen.counts[name])
        self._seen.counts[name] += 1
        answer = await self._ask(_closing(head) + body, request.method)
        bodiless = has_no_body(answer, request.method) or not answer.body
        if bodiless and fault.kind in NEED_A_BODY:
            fault = replace(fault, kind="none")
        self._seen.faults.append(fault)
        await self._answer(writer, answer, fault, sends_body=not bodiless)

    async def _ask(self, request: bytes, method: str) -> Message:
        reader, writer = await self.connect()
        try:
            writer.write(request)
            data = await reader.read(-1)
        finally:
            writer.close()
        assert len(data) <= MAX_BODY_SIZE
        answers = [m for m in read_messages(data, [method]) if m.status >= 200]
        if not answers:
            raise ConnectionError("the real server's answer is not whole")
        return answers[-1]

    async def _answer(
        self, writer: asyncio.StreamWriter, answer: Message, fault: Fault, *, sends_body: bool
    ) -> None:
        if fault.kind == "reset":
            reset(writer)
            return
        if fault.kind == "error":
            writer.write(f"HTTP/1.1 {fault.status} Spoilt\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        if fault.kind == "late":
            await asyncio.sleep(fault.seconds)
        body = flipped(answer.body, fault.share) if fault.kind == "flip" else answer.body
        stop = len(body)
        if fault.kind in ("cut", "stall"):
            stop = int(fault.share * len(body))  # always less than all
        writer.write(_head(answer, len(body) + fault.off if sends_body else None))
        writer.write(body[:stop])
        await writer.drain()
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
            reset(writer)


def flipped(body: bytes, share: float) -> bytes:
    """*body* with the bit flipped that lies at *share* of it."""
    bit = int(share * 8 * len(body))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _head(answer: Message, length: int | None) -> bytes:
    """The head of *answer*; with a body to follow, its length is said and nothing of chunks."""
    dropped = {"connection", "keep-alive"}
    if length is not None:
        dropped |= {"content-length", "transfer-encoding"}
    headers = {k: v for k, v in answer.headers.items() if k not in dropped}
    if length is not None:
        headers["content-length"] = str(max(0, length))
    headers["connection"] = "close"
    lines = [answer.start, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + END


def _closing(head: bytes) -> bytes:
    """The head of a request, with which the real server closes the connection behind its answer."""
    start, *lines = head.split(b"\r\n")
    kept = [x for x in lines if x and not x.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([start, *kept, b"Connection: close"]) + END


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body as they came, chunks and all."""
    data = b""
    while END not in data:
        chunk = await reader.read(CHUNK_SIZE)
        if not chunk or len(data) > MAX_HEAD_SIZE:
            raise ConnectionError("no whole request came")
        data += chunk
    head, _, body = data.partition(END)
    while not read_messages(head + END + body):
        chunk = await reader.read(CHUNK_SIZE)
        if not chunk or len(body) > MAX_BODY_SIZE:
            raise ConnectionError("no whole request came")
        body += chunk
    return head, body
