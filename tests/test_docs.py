"""What the pages say is what the program does."""

import json
import re
import resource
import runpy
import shlex
import subprocess
import sys
import tomllib

import click
import pytest

from cli import COMMANDS, cli
from tests.docs.pages import PAGES, ROOT, code_lines, prose

HEAVY = {"aiohttp", "av", "boto3", "minio", "numpy", "obstore", "pyloudnorm", "scipy", "sqlalchemy"}
HELP_CPU_S = 0.4


def _commands(command, path=()):
    """Every command below *command* with the words that name it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from _commands(command.get_command(click.Context(command), name), (*path, name))


def test_every_command_and_option_is_documented():
    document = runpy.run_path(str(ROOT / "docs" / "commands.py"))["document"]

    assert document(cli) == PAGES["docs/commands.md"], "run `make docs`"


def test_every_command_and_option_says_what_it_is_for():
    for path, command in _commands(cli):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (*path, parameter.opts[0])


def _check_example(words):
    """Walk *words* as click would, without running anything."""
    command, queue = cli, list(words)
    while queue:
        word = queue.pop(0)
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            offered = {
                o: p
                for p in command.params
                if isinstance(p, click.Option)
                for o in (*p.opts, *p.secondary_opts)
            }
            assert name in offered, f"{command.name} has no {name}"
            if not equals and not offered[name].is_flag:
                queue.pop(0)
        elif isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
            assert command, f"there is no command {word}"
    assert not isinstance(command, click.Group), f"{command.name} is not a whole command"


def test_examples_name_commands_and_options_that_exist():
    examples = [
        shlex.split(line, comments=True)[1:]
        for page in PAGES
        for line in code_lines(page)
        if line.startswith("tonearm ")
    ]

    assert examples
    for words in examples:
        _check_example(words)


def test_make_targets_in_the_pages_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for text in PAGES.values() for t in re.findall(r"`make ([a-z]+)", text)}

    assert named
    assert named <= targets


def _anchors(text):
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", list(PAGES))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(PAGES[page])):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name) if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in _anchors(path.read_text()), f"{page} links to {target}"


@pytest.mark.parametrize("page", list(PAGES))
def test_files_named_in_a_page_exist(page):
    folders = "core|packager|ingest|origin|keyserver|cdn_router|tests|samples|bench|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(PAGES[page])):
        assert (ROOT / name).exists(), f"{page} names {name}"


def test_every_law_names_its_test():
    laws = PAGES["ARCHITECTURE.md"].partition("\n## Laws\n")[2].partition("\n## ")[0]
    items = re.split(r"^\d+\. ", laws, flags=re.MULTILINE)[1:]

    assert items
    assert not [item for item in items if "`tests/" not in item]


def test_the_readme_leads_to_every_page():
    linked = {f"docs/{name}" for name in re.findall(r"\(docs/([\w-]+\.md)\)", PAGES["README.md"])}

    assert linked == {page for page in PAGES if page.startswith("docs/")}


def test_the_changelog_tells_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[([^]]+)\]", PAGES["CHANGELOG.md"], re.MULTILINE)

    assert headings[0] == "Unreleased"
    assert version in headings


def _modules_after(*arguments):
    """The top-level modules that a command leaves imported."""
    script = (
        "import sys, contextlib, io, cli\n"
        f"sys.argv = ['tonearm', *{list(arguments)!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    cli.main()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_help_loads_nothing_heavy():
    assert not _modules_after("--help") & HEAVY


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_of_a_command_loads_nothing_heavy(command):
    assert not _modules_after(command, "--help") & HEAVY


def test_help_is_quick():
    # processor time and the best of five: a busy machine is not a slow program
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "cli", "--help"], capture_output=True, check=True, cwd=ROOT
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(costs) < HELP_CPU_S


def test_every_room_is_in_the_code_map():
    code_map = PAGES["ARCHITECTURE.md"].partition("\n## Code map\n")[2].partition("\n## ")[0]
    mapped = set(re.findall(r"`([a-z_/0-9]+)/`", code_map))
    components = {path.parent for path in ROOT.glob("*/__init__.py")}
    rooms = {
        str(path.parent.relative_to(ROOT))
        for component in components
        for path in component.rglob("__init__.py")
    }

    assert rooms - {"packager", "ingest"} <= mapped  # these two are nothing but their rooms
    assert not [room for room in mapped if not (ROOT / room).is_dir()]


def test_options_that_stand_for_another_packagers_exist():
    """The middle column of the table in the page for those who come from it."""
    rows = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| [^|]+ \|$",
        PAGES["docs/coming-from-shaka-packager.md"],
        re.MULTILINE,
    )
    named = {option for row in rows for option in re.findall(r"`(--[\w-]+)", row)}
    package = cli.get_command(click.Context(cli), "package")

    assert named
    assert named <= {o for p in package.params for o in (*p.opts, *p.secondary_opts)}


def test_players_are_named_with_the_versions_that_are_tested():
    package = json.loads((ROOT / "package.json").read_text())
    tested = {
        name.removesuffix(".js"): version for name, version in package["dependencies"].items()
    }
    for page, text in PAGES.items():
        named = re.findall(r"\b(hls|shaka-player|dash)(?:\.js)? (\d[\d.]*\d)", text)
        for name, version in named:
            full = tested[{"dash": "dashjs"}.get(name, name)]
            assert f"{full}.".startswith(f"{version}."), f"{page}: {name} {version}, not {full}"
