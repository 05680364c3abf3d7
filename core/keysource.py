"""Where content keys come from: the question, and whoever answers it."""

from dataclasses import dataclass
from typing import Protocol

from core import ids
from core.errors import InvalidInputError
from core.model import ContentKey, Scheme, Tier


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """One key is wanted for each tier and scheme of a track.

    `period` counts the rotations of a track's keys; it is 0 where they do not rotate.
    """

    track_id: str
    tiers: tuple[Tier, ...]
    schemes: tuple[Scheme, ...]
    period: int = 0

    def uses(self) -> tuple[tuple[Tier, Scheme], ...]:
        """What each key is for, in the order of the answer: tier by tier.

        Raises:
            InvalidInputError: The track or the period cannot be, or a use is not named just once.
        """
        ids.TRACK_ID.check(self.track_id)
        ids.check_period(self.period)
        uses = tuple((tier, scheme) for tier in self.tiers for scheme in self.schemes)
        if not uses or len(set(uses)) < len(uses):
            raise InvalidInputError(
                "a key request names each tier and scheme once",
                hint="name at least one of each, and none of them twice",
            )
        return uses


class KeySource(Protocol):
    """The key server, or the vault embedded in this process."""

    def keys(self, request: KeyRequest) -> tuple[ContentKey, ...]:
        """The keys of *request*; asked again, the same KIDs, keys and IVs.

        Raises:
            InvalidInputError: *request* is none that `KeyRequest.uses` takes.
            UnavailableError: The key server does not answer.
        """
        ...
