"""What is being made for the demo: the page shows it, and the command fails with it."""

from dataclasses import dataclass, field

from core.catalogue import Track
from origin.demo.masters import Refusal


@dataclass(slots=True)
class Preparation:
    """How far it is.

    Attributes:
        stage: In people's words, while something is being done; empty afterwards.
        waiting: Masters of which it is not known yet what becomes of them.
        named: Paths of all masters, in the order in which they were named.
        ready: Track ids of the masters that play, and the place of each in that order.
        refused: What does not play, and why.
    """

    stage: str = "starting"
    waiting: int = 0
    named: list[str] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def first_named_first(self, tracks: tuple[Track, ...]) -> list[Track]:
        """Tracks of the masters that were named, in that order; then all others, by album."""

        def place(track: Track) -> tuple[int, str, int, str]:
            entry = track.entry
            named = self.ready.get(entry.track_id, len(self.named))
            album = entry.album_id or entry.track_id
            return named, album, entry.album_position or 0, entry.track_id

        return sorted(tracks, key=place)
