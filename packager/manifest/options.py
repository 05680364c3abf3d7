"""What the writers of manifests are told besides the presentation."""

from dataclasses import dataclass

from core.errors import InvalidInputError, NotFoundError
from core.model import DrmProfile, KeyDescription, MediaFile, Presentation, Rendition, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    """Choices of the server that renders manifests; nothing here may depend on a listener.

    Attributes:
        license_base: Public base of the key server without a trailing slash, e.g.
            ``https://keys.example``; empty means the manifest's own host.
        steering_uri: Where to ask for steering, relative to the manifest; None for no steering.
        pathway_id: The one pathway that manifests declare. Its URLs are relative, so it is the
            host the manifest came from; the steering server adds the others as clones of it.
        media_prefix: Put before each URL of a media file or playlist, e.g. ``../``.
    """

    license_base: str = ""
    steering_uri: str | None = None
    pathway_id: str = "base"
    media_prefix: str = ""

    def license_url(self, path: str) -> str:
        """An absolute URI stays; a path is put below the key server's public base."""
        return self.license_base + path if path.startswith("/") else path


def listed(p: Presentation, drm: DrmProfile, tier: Tier) -> list[tuple[Rendition, MediaFile]]:
    """What a manifest of *tier* lists: the renditions included in it, with their files.

    Raises:
        NotFoundError: The track has none of them.
    """
    pairs = [(r, f) for r in p.renditions if tier.includes(r.tier) and (f := r.file(drm))]
    if not pairs:
        raise NotFoundError(f"no {drm} rendition of tier {tier} or below")
    return pairs


def key_of(p: Presentation, file: MediaFile) -> KeyDescription | None:
    """The description of *file*'s content key, its first one; None in the clear.

    Raises:
        InvalidInputError: The presentation does not describe the key.
    """
    return next(iter(keys_of(p, file)), None)


def keys_of(p: Presentation, file: MediaFile) -> list[KeyDescription]:
    """The descriptions of all *file*'s content keys, in the order in which they are needed.

    Raises:
        InvalidInputError: The presentation does not describe one of them.
    """
    descriptions = []
    for kid in file.kids:
        description = p.key(kid)
        if description is None:
            raise InvalidInputError(f"the presentation does not describe key {kid}")
        descriptions.append(description)
    return descriptions
