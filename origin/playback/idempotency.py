"""Doing a thing once however often it is asked for (draft-ietf-httpapi-idempotency-key-header).

The first request with a key does it; while it does, others get 409; later ones get its result
again, but 422 if they ask for something else. A failure is not kept: it may be tried again.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable

from core.errors import ConflictError, InvalidInputError, ToolkitError, UnavailableError
from core.state.protocol import StateStore

MAX_KEY_LENGTH = 128
"""Characters of an Idempotency-Key."""
ACTION_TIMEOUT_S = 15.0
"""How long the action may take."""
PENDING_TTL_S = 30.0
"""How long a key stays blocked when the process dies while it acts; above the time-out."""

_QUOTED = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]+)"')
_BARE = re.compile(r"[A-Za-z0-9._~:/+=-]+")


class KeyReusedError(ToolkitError):
    """The key was used for another request."""

    status = 422
    slug = "idempotency-key-reused"


def parse_key(field: str) -> str:
    """The key in an Idempotency-Key field: a structured-field string, or the bare text.

    Raises:
        InvalidInputError: It is missing, too long or neither.
    """
    match = _QUOTED.fullmatch(field.strip())
    key = match[1] if match else field.strip()
    if len(key) > MAX_KEY_LENGTH or not (match or _BARE.fullmatch(key)):
        raise InvalidInputError(
            "the Idempotency-Key is missing or unusable",
            hint=f'send Idempotency-Key: "..." with at most {MAX_KEY_LENGTH} characters',
        )
    return key


async def once(  # noqa: PLR0913  every one of them is needed, and named
    state: StateStore,
    *,
    scope: str,
    key: str,
    request: bytes,
    ttl_s: float,
    clock: Callable[[], float],
    act: Callable[[], Awaitable[str]],
) -> str:
    """The result of *act*, done at most once for *key* in *scope* during *ttl_s*.

    Args:
        state: Where keys are kept; hashed, because clients put anything into them.
        scope: Whose key it is: those of two users do not meet.
        key: As `parse_key` returns it.
        request: What is asked for, in a canonical form.
        ttl_s: How long the result is kept.
        clock: Seconds.
        act: Does the thing; its result is not a secret, for it is stored.

    Raises:
        ConflictError: It is being done right now.
        KeyReusedError: The key stands for another request.
        UnavailableError: It took too long.
    """
    name = "idempotency/" + hashlib.sha256(f"{scope}\0{key}".encode()).hexdigest()
    fingerprint = hashlib.sha256(request).hexdigest()
    pending = _record(fingerprint, None)
    found = await state.put_if_absent(name, pending, ttl_s=PENDING_TTL_S, now_s=clock())
    if found is not None:
        return _replay(found, fingerprint)
    try:
        async with asyncio.timeout(ACTION_TIMEOUT_S):
            result = await act()
    except TimeoutError:
        await state.delete(name)
        raise UnavailableError("this took too long", retry_after_s=2) from None
    except BaseException:
        await state.delete(name)
        raise
    done = _record(fingerprint, result)
    if not await state.compare_and_put(name, pending, done, ttl_s=ttl_s, now_s=clock()):
        raise ConflictError("another request with this Idempotency-Key was faster")
    return result


def _record(fingerprint: str, result: str | None) -> bytes:
    return json.dumps({"request": fingerprint, "result": result}).encode()


def _replay(record: bytes, fingerprint: str) -> str:
    fields = json.loads(record)
    if fields["request"] != fingerprint:
        raise KeyReusedError(
            "this Idempotency-Key was used for another request", hint="use a new key"
        )
    if fields["result"] is None:
        raise ConflictError(
            "a request with this Idempotency-Key is being answered", hint="try again in a second"
        )
    return str(fields["result"])
