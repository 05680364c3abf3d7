"""Packaged tracks, as the packager's own tests make them: a store takes any."""

from tests.packager.conftest import (  # noqa: F401 - fixtures
    encoded,
    keys,
    packaged,
    packet_hashes,
    synthetic,
    transcode,
)
