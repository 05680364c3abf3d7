"""Reading the description of a published generation, and checking whose it is.

A key in a store is a claim, not a proof: a bucket that was restored, copied or written to by
somebody else may hold another track's description under it, or one in which a single number was
changed. So whoever reads one says which it must be, and the content hash, which is the generation,
has to agree.
"""

from core.errors import IntegrityError, InvalidInputError
from core.model import Presentation
from core.storage.protocol import ObjectStore
from packager.manifest import presentation as description
from packager.manifest.places import presentation_key


def read_presentation(stored: bytes, *, track_id: str, generation: str) -> Presentation:
    """The description in *stored*, the bytes of an object.

    Raises:
        IntegrityError: They are no description, or not that of this generation of this track.
    """
    try:
        presentation = description.decode(stored)
    except InvalidInputError as error:
        raise _refused(track_id, generation, error.message) from error
    if (presentation.track_id, presentation.generation) != (track_id, generation):
        other = f"{presentation.track_id} {presentation.generation}"
        raise _refused(track_id, generation, f"it describes {other}")
    if description.generation_of(presentation) != generation:
        raise _refused(
            track_id, generation, "its hash is not its generation: something in it was changed"
        )
    return presentation


async def fetch_presentation(store: ObjectStore, *, track_id: str, generation: str) -> Presentation:
    """The description of a generation from *store*; else as `read_presentation`.

    Raises:
        NotFoundError: It is not there.
        UnavailableError: The store does not answer.
    """
    stored = await store.get(presentation_key(track_id, generation))
    return read_presentation(stored, track_id=track_id, generation=generation)


def _refused(track_id: str, generation: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the description of track {track_id}, generation {generation}, cannot be trusted:"
        f" {reason}",
        hint="ingest its master again",
    )
