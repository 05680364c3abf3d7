"""Packaged tracks, as the packager's own tests make them: what is published came from there."""

from tests.packager.conftest import (  # noqa: F401 - fixtures
    encoded,
    keys,
    packaged,
    packet_hashes,
    shaka,
    synthetic,
    transcode,
)
