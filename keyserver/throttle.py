"""A bound on refusals: whoever guesses KIDs is soon answered nothing. Pure: time is an argument."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DenialLimit:
    """How many refusals one session may collect before it has to wait.

    Attributes:
        denials: In one window.
        window_s: From a session's first denial.
        max_sessions: Remembered at once; the longest idle one is forgotten first.
    """

    denials: int = 30
    window_s: float = 60.0
    max_sessions: int = 10_000


class Throttle:
    """Counts the denials of each session."""

    def __init__(self, limit: DenialLimit) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, session_id: str, *, now_s: float) -> float:
        """Seconds until *session_id* may ask again; 0 if it may now."""
        start_s, denials = self._seen.get(session_id, (now_s, 0))
        if denials < self._limit.denials:
            return 0.0
        return max(0.0, start_s + self._limit.window_s - now_s)

    def deny(self, session_id: str, *, now_s: float) -> None:
        """Count a refusal."""
        start_s, denials = self._seen.pop(session_id, (now_s, 0))
        if now_s >= start_s + self._limit.window_s:
            start_s, denials = now_s, 0
        self._seen[session_id] = (start_s, denials + 1)
        if len(self._seen) > self._limit.max_sessions:
            self._seen.popitem(last=False)
