"""`tonearm keys` and the key server's role, as an operator meets them."""

import contextlib
import io
import json
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import imageio_ffmpeg
import m3u8
import pytest
from click.testing import CliRunner

from cli import cli
from core.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from core.home import Home
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from core.telemetry import Metrics, open_log
from core.web import create_app
from keyserver.commands import keys as command
from keyserver.commands import setup_role
from keyserver.signals import SYSTEMS
from keyserver.vault import Vault


@pytest.fixture
def wiring(tmp_path):
    return SimpleNamespace(home=Home(tmp_path / "home"))


def run(wiring, *arguments):
    """What the command prints on stdout; its error is raised."""
    result = CliRunner().invoke(command, [str(a) for a in arguments], obj=wiring)
    if result.exception:
        raise result.exception
    return result.stdout


def make(wiring, *tracks):
    """Keys for *tracks* in the vault of this home."""
    ring = wiring.home.keyring
    path, secrets = wiring.home.keys_path, (ring.secret("root"), ring.secret("kid"))
    with contextlib.closing(Vault.open(path, *secrets)) as vault:
        query = [KeyRequest(t, (Tier.LOW, Tier.HIGH), (Scheme.CBCS,), 0) for t in tracks]
        return [key for q in query for key in vault.keys(q)]


def spoil(wiring, statement, *values):
    with contextlib.closing(sqlite3.connect(wiring.home.keys_path)) as database:
        database.execute(statement, values)
        database.commit()


def test_init_makes_ring_and_vault_once(wiring):
    assert run(wiring, "init").strip() == str(wiring.home.keys_path)
    secret = wiring.home.keyring.secret("root")
    for path in (wiring.home.keys_path, wiring.home.path / "keyring.json"):
        assert path.stat().st_mode & 0o077 == 0

    with pytest.raises(ConflictError) as raised:
        run(wiring, "init")
    assert raised.value.hint
    assert wiring.home.keyring.secret("root") == secret


def test_list_names_kids_and_never_a_key(wiring):
    made = make(wiring, "one", "two")

    everything = run(wiring, "list")
    one = [json.loads(line) for line in run(wiring, "list", "one", "--json").splitlines()]

    assert {line.split()[0] for line in everything.splitlines()[1:]} == {
        str(k.description.kid) for k in made
    }
    assert sorted(row["tier"] for row in one) == ["high", "low"]
    assert {row["trackId"] for row in one} == {"one"}
    assert not any(k.key.hex() in everything for k in made)


def test_list_of_an_unknown_track_or_without_a_vault_says_so(wiring):
    with pytest.raises(NotFoundError, match="no vault"):
        run(wiring, "list")
    assert not wiring.home.keys_path.exists()  # asking makes nothing
    make(wiring, "one")
    with pytest.raises(NotFoundError, match="no key for two"):
        run(wiring, "list", "two")


def test_doctor_finds_nothing_in_a_healthy_home(wiring):
    make(wiring, "one")

    assert run(wiring, "doctor", wiring.home.path) == ""


def test_doctor_finds_a_key_in_a_log_and_does_not_repeat_it(wiring, tmp_path):
    key, _ = make(wiring, "one")
    (tmp_path / "logs").mkdir()
    for name, text in (("bad.log", f"key={key.key.hex()}"), ("good.log", key.key.hex()[1:])):
        (tmp_path / "logs" / name).write_text(f"a line\n{text}\n")

    result = CliRunner().invoke(command, ["doctor", str(tmp_path / "logs")], obj=wiring)

    assert isinstance(result.exception, IntegrityError)
    assert result.stdout == f"key-in-file: {tmp_path / 'logs' / 'bad.log'}\n"
    assert key.key.hex() not in result.output + repr(result.exception)


def test_doctor_finds_a_key_across_the_border_of_two_chunks(wiring, tmp_path, monkeypatch):
    monkeypatch.setattr("keyserver.doctor.CHUNK_SIZE", 256)
    key, _ = make(wiring, "one")
    dump = tmp_path / "core"
    dump.write_bytes(bytes(range(256))[:-9] + key.key + bytes(1000))

    with pytest.raises(IntegrityError):
        run(wiring, "doctor", dump)


def test_doctor_says_which_files_it_could_not_read(wiring, tmp_path):
    make(wiring, "one")
    file = tmp_path / "logs" / "gone"
    file.parent.mkdir()
    # root may read every mode, so a file that fails to be read is one of the kernel's
    file.symlink_to("/proc/self/mem")

    result = CliRunner().invoke(command, ["doctor", str(file.parent)], obj=wiring)

    assert result.stdout == f"unreadable: {file}\n"


def test_doctor_finds_a_row_that_does_not_open(wiring):
    make(wiring, "one")
    spoil(wiring, "UPDATE content_key SET iv = zeroblob(16) WHERE tier = 'low'")

    result = CliRunner().invoke(command, ["doctor", "--json"], obj=wiring)

    assert isinstance(result.exception, IntegrityError)
    [finding] = [json.loads(line) for line in result.stdout.splitlines()]
    assert finding["check"] == "does-not-open"


def test_doctor_finds_files_that_others_can_read(wiring):
    make(wiring, "one")
    wiring.home.keys_path.chmod(0o644)

    result = CliRunner().invoke(command, ["doctor"], obj=wiring)

    assert result.stdout == f"readable-by-others: {wiring.home.keys_path}\n"
    (wiring.home.path / "keyring.json").chmod(0o644)
    with pytest.raises(InvalidInputError, match="other users"):
        run(wiring, "doctor")


def test_rewrap_says_how_many_keys_it_moved_and_keeps_them(wiring):
    keys = make(wiring, "one")

    assert run(wiring, "rewrap") == "2\n"
    assert make(wiring, "one") == keys
    assert {
        json.loads(line)["kekVersion"] for line in run(wiring, "list", "--json").split("\n")[:-1]
    } == {2}


async def test_the_role_serves_this_homes_vault_and_closes_it(wiring, aiohttp_client):
    app = create_app(Metrics.create(), open_log("test", io.StringIO()))
    setup_role(app, wiring, None)
    client = await aiohttp_client(app)

    assert (await client.get("/readyz")).status == 200
    assert (await client.post("/v1/license/clearkey")).status == 401
    await client.close()
    assert [p.name for p in wiring.home.path.glob("keys.sqlite*")] == ["keys.sqlite"]


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from keyserver.commands import keys\n"
        "assert CliRunner().invoke(keys, ['doctor', '--help']).exit_code == 0\n"
        "print([m for m in ('aiohttp', 'cryptography', 'numpy', 'sqlite3') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert told.stdout.strip() == "[]"


def test_systems_are_chosen_once_for_all_that_is_packaged(wiring, tmp_path):
    run(wiring, "init")
    assert run(wiring, "systems").split() == ["clearkey"]
    chosen = json.loads(run(wiring, "systems", *SYSTEMS, "--json"))
    with pytest.raises(InvalidInputError, match="unknown DRM system marlin") as raised:
        run(wiring, "systems", "marlin")

    tone = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "sine=d=2:r=48000"]
    subprocess.run([*tone, "-c:a", "aac", str(tmp_path / "tone.mp4")], check=True, timeout=60)
    words = ["--home", str(wiring.home.path), "package", str(tmp_path / "tone.mp4")]
    words += ["--track-id", "tone", "--scheme", "both", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, words)

    assert chosen == {"systems": ["clearkey", "fairplay", "widevine", "playready"]}
    assert "clearkey, fairplay, widevine, playready" in raised.value.hint
    assert result.exit_code == 0, result.output
    [rendition] = (tmp_path / "out" / "cbcs").glob("aac-*.m3u8")
    formats = {key.keyformat for key in m3u8.load(str(rendition)).keys if key and key.keyformat}
    assert formats == {
        "identity",
        "org.w3.clearkey",
        "com.apple.streamingkeydelivery",
        "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed",
        "com.microsoft.playready",
    }
    root = ET.parse(tmp_path / "out" / "cenc" / "manifest.mpd").getroot()
    found = [e.get("value") for e in root.iter("{urn:mpeg:dash:schema:mpd:2011}ContentProtection")]
    assert found == ["cenc", "ClearKey1.0", "Widevine", "MSPR 2.0"]
