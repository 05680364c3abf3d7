"""What each DRM system wants said about a content key: the only module that knows them.

Pure. A system is named in `SYSTEMS`; a key server signals the ones it was told to, ClearKey unless
told otherwise. Sources: W3C "cenc" initialisation data format (common system), DASH-IF
Implementation Guidelines part 6 (ClearKey in DASH), RFC 8216 4.3.2.4 (HLS), Microsoft PlayReady
Header Object 2017, Shaka Packager's output (Widevine and PlayReady, byte by byte).
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from core.ids import CLEARKEY_SYSTEM_ID, COMMON_SYSTEM_ID
from core.model import DrmSignal, HlsKeyTag, Scheme

CLEARKEY = "clearkey"
FAIRPLAY = "fairplay"
WIDEVINE = "widevine"
PLAYREADY = "playready"

FAIRPLAY_ID = UUID("94ce86fb-07ff-4f43-adb8-93d2fa968ca2")
PLAYREADY_ID = UUID("9a04f079-9840-4286-ab92-e65be0885f95")
WIDEVINE_ID = UUID("edef8ba9-79d6-4ace-a3c8-27dcd51d21ed")

LICENSE_PATH = "/v1/license/clearkey"
"""Where players post W3C EME JSON; below the key server's public base."""
RAW_KEY_PATH = "/v1/license/raw/{kid}"
"""Where HLS players of KEYFORMAT identity get 16 raw octets."""

_WRM_NAMESPACE = "http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader"


def make_signals(
    kid: UUID, scheme: Scheme, key: bytes, *, systems: Sequence[str]
) -> tuple[DrmSignal, ...]:
    """The signals of *systems* for one key; those that cannot carry *scheme* are left out.

    Args:
        kid: Of the key.
        scheme: The key's.
        key: 16 bytes; PlayReady's header holds a checksum of it.
        systems: Names from `SYSTEMS`.
    """
    return tuple(signal for name in systems for signal in SYSTEMS[name](kid, scheme, key))


def pssh(system_id: UUID, data: bytes = b"", kids: Sequence[UUID] = ()) -> bytes:
    """A `pssh` box; version 1 if it lists KIDs (ISO/IEC 23001-7:2023, 8.1)."""
    listed = len(kids).to_bytes(4, "big") + b"".join(k.bytes for k in kids) if kids else b""
    payload = b"".join(
        (
            bytes([1 if kids else 0, 0, 0, 0]), system_id.bytes, listed,
            len(data).to_bytes(4, "big"), data,
        )
    )  # fmt: skip
    return (len(payload) + 8).to_bytes(4, "big") + b"pssh" + payload


def _clearkey(kid: UUID, scheme: Scheme, _: bytes) -> tuple[DrmSignal, ...]:
    method = scheme.hls_method
    # hls.js plays by the second tag alone and keeps its requests by URI: one for each KID;
    # shaka-player by the first. The IV is in the init segment
    tags = (
        HlsKeyTag(method, RAW_KEY_PATH.format(kid=kid), "identity"),
        HlsKeyTag(method, f"{LICENSE_PATH}?kid={kid}", "org.w3.clearkey", keyid=kid),
    )
    return (
        # for `moov`: browsers and hls.js find their initialisation data there
        DrmSignal(COMMON_SYSTEM_ID, pssh=pssh(COMMON_SYSTEM_ID, kids=[kid])),
        # no box here: dash.js takes one in this descriptor for "keyids" data and fails
        DrmSignal(
            CLEARKEY_SYSTEM_ID, hls=tags, dash_value="ClearKey1.0", license_path=LICENSE_PATH
        ),
    )


def _fairplay(kid: UUID, scheme: Scheme, _: bytes) -> tuple[DrmSignal, ...]:
    if scheme is not Scheme.CBCS:
        return ()  # Apple plays no other scheme
    # no IV attribute: Apple's licence carries it, and a second one is an error
    tag = HlsKeyTag("SAMPLE-AES", f"skd://{kid}", "com.apple.streamingkeydelivery")
    return (DrmSignal(FAIRPLAY_ID, hls=(tag,)),)


def _widevine(kid: UUID, scheme: Scheme, _: bytes) -> tuple[DrmSignal, ...]:
    box = pssh(WIDEVINE_ID, widevine_data(kid, scheme))
    uri = f"data:text/plain;base64,{b64encode(box).decode()}"
    tag = HlsKeyTag(scheme.hls_method, uri, f"urn:uuid:{WIDEVINE_ID}", keyid=kid)
    return (DrmSignal(WIDEVINE_ID, pssh=box, hls=(tag,), dash_value="Widevine"),)


def widevine_data(kid: UUID, scheme: Scheme) -> bytes:
    """WidevinePsshData: key_id (2) and protection_scheme (9), the 4CC as a varint."""
    return b"\x12\x10" + kid.bytes + b"\x48" + _varint(int.from_bytes(scheme.encode(), "big"))


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _playready(kid: UUID, scheme: Scheme, key: bytes) -> tuple[DrmSignal, ...]:
    header = playready_object(kid, scheme, key)
    uri = f"data:text/plain;charset=UTF-16;base64,{b64encode(header).decode()}"
    tag = HlsKeyTag(scheme.hls_method, uri, "com.microsoft.playready")
    box = pssh(PLAYREADY_ID, header)
    return (DrmSignal(PLAYREADY_ID, pssh=box, hls=(tag,), dash_value="MSPR 2.0"),)


def playready_object(kid: UUID, scheme: Scheme, key: bytes) -> bytes:
    """The PlayReady object: one record of type 1, a WRMHEADER in UTF-16LE without a mark."""
    # attributes in alphabetical order and no self-closed node: Microsoft's parser asks for it
    guid = b64encode(kid.bytes_le).decode()
    if scheme is Scheme.CENC:
        version, body = "4.0.0.0", (
            "<PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID></PROTECTINFO>"
            f"<KID>{guid}</KID><CHECKSUM>{b64encode(checksum(kid, key)).decode()}</CHECKSUM>"
        )  # fmt: skip
    else:
        version, body = "4.3.0.0", (
            f'<PROTECTINFO><KIDS><KID ALGID="AESCBC" VALUE="{guid}"></KID></KIDS></PROTECTINFO>'
        )  # fmt: skip
    xml = (
        f'<WRMHEADER xmlns="{_WRM_NAMESPACE}" version="{version}"><DATA>{body}</DATA></WRMHEADER>'
    ).encode("utf-16-le")
    record = (1).to_bytes(2, "little") + len(xml).to_bytes(2, "little") + xml
    return (len(record) + 6).to_bytes(4, "little") + (1).to_bytes(2, "little") + record


def checksum(kid: UUID, key: bytes) -> bytes:
    """PlayReady's check that a key belongs to a KID: 8 bytes of the KID under the key."""
    # ECB of one block is what the header format prescribes; nothing secret is encrypted
    encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305  prescribed, see above
    return encryptor.update(kid.bytes_le)[:8]


SYSTEMS: dict[str, Callable[[UUID, Scheme, bytes], tuple[DrmSignal, ...]]] = {
    CLEARKEY: _clearkey,
    FAIRPLAY: _fairplay,
    WIDEVINE: _widevine,
    PLAYREADY: _playready,
}
"""By the name with which an operator enables them."""
