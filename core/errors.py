"""Every error a caller may meet.

::

    ToolkitError                500
     ├ InvalidInputError        400  the caller's words are off
     │  ├ MalformedBoxError     400  bytes from outside are not what they claim
     │  └ MasterRejectedError   422  a master failed quality control
     ├ UnauthorizedError        401  who are you?
     ├ ForbiddenError           403  not for you
     │  └ SignatureError        403  the URL was not signed by us, not for this, or is too old
     ├ NotFoundError            404
     ├ ConflictError            409
     ├ IntegrityError           500  bytes differ from what was promised
     └ UnavailableError         503  try again in `retry_after_s`
        └ RestoringError        503  the object is coming back from cold storage
"""

from typing import ClassVar


class ToolkitError(Exception):
    """A sentence for the user, who can act on it, and a hint how.

    Args:
        message: One sentence without a trailing full stop; never a secret.
        hint: What the user can do about it.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInputError(ToolkitError):
    """The request, option or file cannot be understood."""

    status = 400
    slug = "invalid-input"


class MalformedBoxError(InvalidInputError):
    """Bytes from outside do not follow the format they claim."""

    slug = "malformed-media"


class MasterRejectedError(InvalidInputError):
    """A master failed quality control."""

    status = 422
    slug = "master-rejected"


class UnauthorizedError(ToolkitError):
    """The caller did not prove who they are."""

    status = 401
    slug = "unauthorized"


class ForbiddenError(ToolkitError):
    """The caller may not have this."""

    status = 403
    slug = "forbidden"


class SignatureError(ForbiddenError):
    """The URL was not signed by us, or not for this path, or is too old."""

    slug = "signature-invalid"


class NotFoundError(ToolkitError):
    """There is no such thing."""

    status = 404
    slug = "not-found"


class ConflictError(ToolkitError):
    """The request contradicts what is there."""

    status = 409
    slug = "conflict"


class IntegrityError(ToolkitError):
    """Stored bytes differ from what was promised about them."""

    slug = "integrity"


class UnavailableError(ToolkitError):
    """A part we depend on does not answer; trying again may help."""

    status = 503
    slug = "unavailable"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = 5) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class RestoringError(UnavailableError):
    """The object is coming back from cold storage."""

    slug = "content-restoring"
