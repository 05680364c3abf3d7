"""Where the packager gets content keys from."""

from dataclasses import dataclass
from typing import Protocol

from core.model import ContentKey, Scheme, Tier


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """One key is wanted for each tier and scheme of a track."""

    track_id: str
    tiers: tuple[Tier, ...]
    schemes: tuple[Scheme, ...]
    period: int = 0


class KeySource(Protocol):
    """The key server, or the vault embedded in this process."""

    def keys(self, request: KeyRequest) -> tuple[ContentKey, ...]:
        """The keys of *request*; asked again, the same KIDs, keys and IVs.

        Raises:
            UnavailableError: The key server does not answer.
        """
        ...
