"""What a state store promises; the tests of the contract suite are its meaning."""

from typing import Protocol


class StateStore(Protocol):
    """Small values that expire: sessions, idempotency records, replay marks.

    Time is an argument. A value is absent from the moment its life ends. Values are at most
    64 KiB (`InvalidInputError` above).
    """

    async def put(self, key: str, value: bytes, *, ttl_s: float, now_s: float) -> None:
        """Set *key*, whatever was there."""
        ...

    async def put_if_absent(
        self, key: str, value: bytes, *, ttl_s: float, now_s: float
    ) -> bytes | None:
        """Set *key* and return None, or return the value that is there; atomic."""
        ...

    async def get(self, key: str, *, now_s: float) -> bytes | None:
        """The value, or None."""
        ...

    async def compare_and_put(
        self, key: str, old: bytes, value: bytes, *, ttl_s: float, now_s: float
    ) -> bool:
        """Set *key* only if it still holds *old*; atomic."""
        ...

    async def delete(self, key: str) -> None:
        """Remove *key*; removing what is not there is no error."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...
