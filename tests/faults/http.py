"""HTTP/1.1 messages from bytes: enough for tests to look into, or to change on their way.

Not a parser to trust with strangers: what it cannot read ends the list of messages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

END = b"\r\n\r\n"
BODILESS = (204, 304)
_REQUEST = re.compile(r"\S+ \S+ HTTP/1\.[01]")
_ANSWER = re.compile(r"HTTP/1\.[01] [0-9]{3}(?: .*)?")


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer; `headers` by lower-case name, `body` without its chunks."""

    start: str
    headers: dict[str, str]
    body: bytes

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        """Of a request: path and query."""
        return self.start.split(" ")[1]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])


def read_head(head: bytes) -> Message:
    """A message without its body, from what stands before the empty line."""
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Message(start, {name.strip().lower(): value.strip() for name, _, value in pairs}, b"")


def has_no_body(answer: Message, method: str) -> bool:
    """Whether nothing follows the head of *answer*, whatever its length says."""
    return method == "HEAD" or answer.status in BODILESS or answer.status < 200


def read_messages(data: bytes, methods: Sequence[str] | None = None) -> list[Message]:
    """Whole messages, one after the other.

    Args:
        data: All bytes of one direction of a connection.
        methods: Of the requests, if these are their answers: those to HEAD have no body.
    """
    messages: list[Message] = []
    while END in data:
        head, _, data = data.partition(END)
        message = read_head(head)
        if not (_REQUEST if methods is None else _ANSWER).fullmatch(message.start):
            break
        if methods is not None:
            at = len(messages)
            method = methods[at] if at < len(methods) else "GET"
            if has_no_body(message, method):
                messages.append(message)
                continue
        body, data = _body(message, data, to_end=methods is not None)
        if body is None:
            break
        messages.append(Message(message.start, message.headers, body))
    return messages


def _body(message: Message, data: bytes, *, to_end: bool) -> tuple[bytes | None, bytes]:
    """The body and what follows it; None if it is not all there."""
    if message.headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunked(data)
    length = message.headers.get("content-length")
    if length is None:  # a request has no body then, an answer lasts until the connection ends
        return (data, b"") if to_end else (b"", data)
    size = int(length) if re.fullmatch("[0-9]{1,18}", length) else len(data) + 1
    return (data[:size], data[size:]) if len(data) >= size else (None, b"")


def _chunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return None, b""
        digits = line.split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
            return None, b""
        size = int(digits, 16)
        if len(data) < size + 2:
            return None, b""
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            return body, data  # trailers are not used by what we test
