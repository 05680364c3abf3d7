"""Bodies of the playback API, read strictly; pure."""

from dataclasses import dataclass
from typing import Any

from core import cmcd, ids
from core.errors import InvalidInputError
from core.model import DrmProfile, Tier
from core.strict_json import read_object
from origin.playback.session import Beat

MAX_NUMBER = 2**31
"""Bound of sequence numbers and of positions in milliseconds (24 days)."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What `play/start` is asked; `hint` None means as good as the plan allows."""

    track_id: str
    device_id: str
    hint: Tier | None
    scheme: DrmProfile | None

    def canonical(self) -> bytes:
        """Equal for equal requests, however their JSON was written."""
        return "\0".join(map(str, (self.track_id, self.device_id, self.hint, self.scheme))).encode()


@dataclass(frozen=True, slots=True)
class Report:
    """What `play/heartbeat` and `play/end` are told, in the order of its numbers."""

    session_id: str
    beats: tuple[Beat, ...]


def parse_start(body: bytes) -> StartRequest:
    """Read the body of `play/start`; InvalidInputError says which field is wrong."""
    fields = read_object(body)
    hint, scheme = fields.get("qualityHint", "auto"), fields.get("scheme")
    if hint != "auto" and hint not in list(Tier):
        raise _wrong("qualityHint", f"auto, {', '.join(Tier)}")
    if scheme is not None and scheme not in list(DrmProfile):
        raise _wrong("scheme", ", ".join(DrmProfile))
    return StartRequest(
        ids.TRACK_ID.check(fields.get("trackId"), "trackId"),
        ids.DEVICE_ID.check(fields.get("deviceId"), "deviceId"),
        None if hint == "auto" else Tier(hint),
        None if scheme is None else DrmProfile(scheme),
    )


def parse_report(body: bytes, content_type: str) -> Report:
    """Read the body of `play/heartbeat` or `play/end`: JSON, or CMCD events."""
    if content_type == cmcd.MEDIA_TYPE:
        return _from_cmcd(body)
    fields = read_object(body)
    beat = Beat(_number(fields, "seq"), _number(fields, "positionMs"))
    return Report(ids.SESSION_ID.check(fields.get("sessionId"), "sessionId"), (beat,))


def _from_cmcd(body: bytes) -> Report:
    events = cmcd.read_events(body)
    sessions = {cmcd.text(event, "sid") for event in events}
    if len(sessions) != 1 or not ids.SESSION_ID.fits(session_id := sessions.pop()):
        raise _wrong("sid", "the sessionId in every report")
    beats = {
        # reports without a playhead (errors, say) are telemetry
        Beat(_number_in(event, "sn"), _number_in(event, "pt"))
        for event in events
        if "pt" in event
    }
    return Report(session_id, tuple(sorted(beats, key=lambda beat: beat.seq)))


def _number_in(event: cmcd.Line, name: str) -> int:
    return _checked(cmcd.whole(event, name), name)


def _number(fields: dict[str, Any], name: str) -> int:
    return _checked(fields.get(name), name)


def _checked(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < MAX_NUMBER:  # True is an int to isinstance
        raise _wrong(name, f"a whole number below {MAX_NUMBER}")
    return value


def _wrong(name: str, expected: str) -> InvalidInputError:
    return InvalidInputError(f"{name} is missing or unusable", hint=f"send {expected}")
