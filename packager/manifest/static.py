"""Manifests for a bucket without an origin: byte-range HLS and on-demand DASH."""

import dataclasses

from core.model import DrmProfile, Presentation, Tier
from packager.manifest import dash, hls
from packager.manifest.options import ManifestOptions, listed
from packager.manifest.places import STATIC_TO_MEDIA, dash_name, hls_name


def static_manifests(p: Presentation, drm: DrmProfile, options: ManifestOptions) -> dict[str, str]:
    """File name to text, for `places.static_name`, beside the files they name.

    One pair of manifests for each tier that the track has something of its own for. A bucket
    has no steering and no key server of its own: *options* should hold an absolute
    `license_base`; its steering is left out.
    """
    options = dataclasses.replace(options, steering_uri=None)
    beside = dataclasses.replace(options, media_prefix=STATIC_TO_MEDIA)
    tiers = [t for t in Tier if any(r.tier is t and r.file(drm) for r in p.renditions)]
    manifests = {}
    for tier in tiers:
        manifests[hls_name(tier)] = hls.multivariant(p, drm, tier, options)
        manifests[dash_name(tier)] = dash.mpd(p, drm, tier, beside, "on-demand")
    if tiers:
        for rendition, _ in listed(p, drm, tiers[-1]):
            name = hls_name(rendition.name)
            manifests[name] = hls.media(p, drm, rendition.name, beside, "byterange")
    return manifests
