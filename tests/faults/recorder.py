"""Keeps every byte that passes between a process and a server: for tests of what leaves.

A process is told the recorder's address in place of the server's. Bytes pass as they are; nothing
is parsed on the way, so whatever is sent is kept, HTTP or not. Afterwards a test asks what was
sent::

    with Recorder(("127.0.0.1", port)) as recorder:
        ...
    assert recorder.places_of(secret) == []
    [request] = recorder.requests()

`places_of` looks for a secret as it is and in the forms in which programs send bytes: hexadecimal,
base64 in both alphabets, percent-encoded; also inside bodies that are compressed or in chunks.
"""

import asyncio
import base64
import gzip
import zlib
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from tests.faults.http import Message, read_messages
from tests.faults.middleman import CHUNK_SIZE, Address, Middleman, reset

MAX_SIZE = 1 << 28
"""Bytes that are kept of all connections; a test that sends more is told so."""
MIN_SECRET_SIZE = 8
"""Bytes of a secret that can be searched for: shorter ones are found by chance."""


@dataclass(slots=True)
class Conversation:
    """All bytes of one connection."""

    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found.

    Attributes:
        connection: Its number, from 0.
        sent: In what the client sent; False in what the server answered.
        form: How it was written: ``raw``, ``hex``, ``base64``, ``base64url`` or ``percent``.
        unpacked: In a body that is compressed or in chunks, and not in the bytes as they passed.
    """

    connection: int
    sent: bool
    form: str
    unpacked: bool


class Recorder(Middleman):
    """Forwards to *target* and remembers."""

    def __init__(self, target: Address, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(target, host=host, port=port)
        self.conversations: list[Conversation] = []
        self.overflown = False
        self._size = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on, both ways, until both have ended."""
        kept = Conversation()
        self.conversations.append(kept)
        far_reader, far_writer = await self.connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer, kept.sent))
                group.create_task(self._pass(far_reader, writer, kept.answered))
        except* OSError:
            reset(far_writer)
            reset(writer)
        finally:
            far_writer.close()

    def requests(self) -> list[Message]:
        """Every whole HTTP request, by connection."""
        self._check()
        return [m for kept in self.conversations for m in read_messages(bytes(kept.sent))]

    def answers(self) -> list[Message]:
        """Every whole HTTP answer, by connection."""
        self._check()
        return [m for kept in self.conversations for m in self._answers_of(kept)]

    def places_of(self, secret: bytes | str) -> list[Place]:
        """Where *secret* passed, in any of the forms."""
        self._check()
        forms = forms_of(secret.encode() if isinstance(secret, str) else secret)
        places = []
        for number, kept in enumerate(self.conversations):
            for sent, data in ((True, bytes(kept.sent)), (False, bytes(kept.answered))):
                messages = read_messages(data) if sent else self._answers_of(kept)
                unpacked = b"\n".join(_unpacked(message) for message in messages)
                for form, patterns in forms.items():
                    if _holds(data, form, patterns):
                        places.append(Place(number, sent, form, unpacked=False))
                    elif _holds(unpacked, form, patterns):
                        places.append(Place(number, sent, form, unpacked=True))
        return places

    def _answers_of(self, kept: Conversation) -> list[Message]:
        methods = [message.method for message in read_messages(bytes(kept.sent))]
        return read_messages(bytes(kept.answered), methods)

    def _check(self) -> None:
        assert not self.overflown, f"more than {MAX_SIZE} bytes passed: not all were kept"

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
    ) -> None:
        while chunk := await reader.read(CHUNK_SIZE):
            self._size += len(chunk)
            if self._size > MAX_SIZE:
                self.overflown = True
            else:
                kept += chunk  # before it is passed on: who got an answer can search for it
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def forms_of(secret: bytes) -> dict[str, tuple[bytes, ...]]:
    """How *secret* may be written; any of the patterns of a form is a sign of it."""
    assert len(secret) >= MIN_SECRET_SIZE, "too short to be told from chance"
    plain = _base64_of(secret)
    return {
        "raw": (secret,),
        "hex": (secret.hex().encode(),),
        "base64": plain,
        "base64url": tuple(text.translate(bytes.maketrans(b"+/", b"-_")) for text in plain),
        "percent": (quote_from_bytes(secret, safe="").encode(),),
    }


def _base64_of(secret: bytes) -> tuple[bytes, ...]:
    """What does not depend on the bytes around it, for each place among three that it may have."""
    texts = []
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)
        bits = 8 * before, 8 * (before + len(secret))
        texts.append(text[-(-bits[0] // 6) : bits[1] // 6])
    return tuple(texts)


def _holds(data: bytes, form: str, patterns: tuple[bytes, ...]) -> bool:
    if form in ("hex", "percent"):  # written in capitals, too
        data, patterns = data.lower(), tuple(pattern.lower() for pattern in patterns)
    return any(pattern in data for pattern in patterns)


def _unpacked(message: Message) -> bytes:
    body, coding = message.body, message.headers.get("content-encoding", "identity").lower()
    assert coding in ("identity", "gzip", "x-gzip", "deflate"), f"{coding} cannot be looked into"
    if coding == "identity":
        return body
    try:
        return zlib.decompress(body) if coding == "deflate" else gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        return body  # cut off, or not what it says: as it came
