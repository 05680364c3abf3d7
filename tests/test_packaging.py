"""The wheel: every module and data file, nothing else; and it runs where no sources are."""

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SHIPPED = ("core", "ingest", "packager", "origin", "keyserver", "cdn_router")


def _run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # without isolation: nothing is downloaded, and it takes a second instead of ten
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel and its script in it, and none of the sources."""
    folder = tmp_path_factory.mktemp("installed")
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--disable-pip-version-check", "--target", folder, wheel),
    )
    return folder


def _python(installed, cwd, *arguments):
    """Run Python with the wheel and its dependencies, and with no trace of the sources."""
    # -P and -S keep the working folder and the editable install of the sources out of sys.path
    dependencies = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
    path = os.pathsep.join(dict.fromkeys((str(installed), *dependencies)))
    return _run(
        *(sys.executable, "-P", "-S", *arguments),
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": str(cwd)},
    )


def _tonearm(installed, cwd, *arguments):
    return _python(installed, cwd, installed / "bin" / "tonearm", *arguments)


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    files = (p for d in SHIPPED for p in (ROOT / d).rglob("*") if p.is_file())
    wanted = {"cli.py"} | {
        str(p.relative_to(ROOT)) for p in files if p.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert found == wanted


def test_the_wheel_names_its_licence_its_script_and_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(info["METADATA"]).decode()
        scripts = archive.read(info["entry_points.txt"]).decode()
        licence = archive.read(info["LICENSE"]).decode()

    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Dist: imageio-ffmpeg" in metadata, "ffmpeg comes through a wheel"
    assert "tonearm = cli:main" in scripts
    assert "Apache License" in licence


def test_the_wheel_runs_where_no_sources_are(installed, tmp_path):
    assert "Usage: tonearm" in _tonearm(installed, tmp_path, "--help")
    assert _tonearm(installed, tmp_path, "--version").startswith("tonearm, version ")


def test_every_command_of_the_wheel_loads_where_no_sources_are(installed, tmp_path):
    listing = _tonearm(installed, tmp_path, "--help").partition("Commands:")[2]
    commands = [
        line.split()[0] for line in listing.splitlines() if line.startswith("  ") and line[2] != " "
    ]

    assert commands
    for command in commands:
        assert f"Usage: tonearm {command}" in _tonearm(installed, tmp_path, command, "--help")


def test_the_wheel_ingests_where_no_sources_are(installed, tmp_path):
    _python(installed, tmp_path, "-m", "ingest.master.synthesis", "masters", "--seconds", "2")
    master = min((tmp_path / "masters").iterdir())
    _tonearm(installed, tmp_path, "ingest", master)

    assert len(_tonearm(installed, tmp_path, "track", "list").splitlines()) == 1


def test_nothing_but_the_wheel_is_imported(installed, tmp_path):
    names = ("cli", *SHIPPED)
    code = f"import importlib.util as u; print(*(u.find_spec(n).origin for n in {names!r}))"
    places = _python(installed, tmp_path, "-c", code).split()

    assert len(places) == len(names)
    assert all(place.startswith(str(installed)) for place in places)


def test_every_dependency_is_used_and_explained():
    """What nobody imports is not needed; what is needed has its reason in ARCHITECTURE.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [Requirement(line).name for line in project["dependencies"]]
    modules = {name: set() for name in names}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(canonicalize_name(owner), set()).add(module)
    sources = [ROOT / "cli.py", *(p for d in SHIPPED for p in (ROOT / d).rglob("*.py"))]
    imported = {
        alias.partition(".")[0]
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        for alias in _imported(node)
    }
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("### Why each dependency")[2]

    # a backport for later Pythons: what needs it imports it, and it is not installed before
    indirect = {"audioop-lts"}
    assert not [n for n in names if n not in indirect and not modules[n] & imported]
    assert not [n for n in names if n not in table]


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
