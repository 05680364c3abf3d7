"""Every command that a page shows is run, and what it shows as output must come out."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import LANGUAGES, PAGES, ROOT, blocks
from tests.docs.workspace import environment
from tests.ports import free_port

PRELUDE = (Path(__file__).parent / "prelude.sh").read_text()
PORTS = ("8080", "8081", "8082")
"""That pages name; each run has free ones in their places."""
RUN_TIMEOUT_S = 120
MAX_NOT_RUN = 14
"""Blocks of all pages together; one more needs a better reason than the others have."""
RUNNING = [page for page in PAGES if any(not b.not_run for b in blocks(page, "sh", "console"))]


def _commands(block):
    """Each command of a console block, with the output that stands below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        command = lines.pop(0)
        while command.endswith("\\\n"):
            command += lines.pop(0)
        yield command, "".join(lines)


def _script(page):
    """All blocks of *page* as one script, and what must be in which of the files it writes."""
    parts, expected = [PRELUDE], {}
    for block in blocks(page, "sh", "console"):
        if block.not_run:
            continue
        parts.append(f"echo '--- {block}' >&2\n")
        if block.language == "sh":
            parts.append(block.text)
            continue
        for command, output in _commands(block):
            name = f"shown-{len(expected)}"
            expected[name] = (str(block), command, output)
            # in braces, not in a subshell: variables outlive their line
            parts.append(f"{{ {command}}} >{name} 2>&1\n")
    return "".join(parts), expected


def _pattern(shown):
    """What *shown* stands for: `...` is anything, and blanks at the ends of lines do not count."""
    lines = [re.escape(line.rstrip()).replace(r"\.\.\.", ".*") for line in shown.splitlines()]
    # a line that is nothing but dots stands for any number of lines
    return "\n".join(lines).replace("\n.*\n", "\n(?:.*\n)*").replace(r"\ ", " ")


@pytest.mark.parametrize("page", RUNNING)
def test_what_a_page_shows_is_what_happens(page, workspace):
    if missing := [name for name in ("bash", "curl") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    script, expected = _script(page)
    ports = {named: free_port() for named in PORTS}
    script = re.sub(r"\b808[012]\b", lambda found: str(ports[found[0]]), script)
    settings = {
        "HOME": str(workspace),
        "TONEARM_SERVE_PORT": str(ports["8080"]),
        "TONEARM_DEMO_PORT": str(free_port("127.0.0.1", "127.0.0.2", following=2)),
        "TONEARM_DEMO_OPEN_PAGE": "0",
        "TONEARM_ROUTER_SHOW_URL": f"http://127.0.0.1:{ports['8080']}",
    }

    done = subprocess.run(
        ["bash", "-c", script], cwd=workspace, env=environment() | settings,
        capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip

    said = done.stderr[-3000:] + "".join(
        f"\n$ {command}{(workspace / name).read_text()}"
        for name, (_, command, _) in expected.items()
        if (workspace / name).exists()
    )
    log = workspace / "server.log"
    assert done.returncode == 0, said + (log.read_text() if log.exists() else "")
    for name, (where, command, output) in expected.items():
        if not output.strip():
            continue  # nothing is shown
        came = "\n".join(line.rstrip() for line in (workspace / name).read_text().splitlines())
        for found, port in ports.items():
            came = came.replace(str(port), found)
        assert re.fullmatch(_pattern(output), came), f"{where}: {command}gives\n{came}"


def test_every_block_says_what_it_is():
    strange = [
        str(block)
        for page in PAGES
        for block in blocks(page)
        if block.language not in LANGUAGES
    ]  # fmt: skip

    assert not strange


def test_few_commands_are_not_run_and_each_says_why():
    not_run = {
        str(block): block.not_run
        for page in PAGES
        for block in blocks(page, "sh")
        if block.not_run
    }  # fmt: skip

    assert all(len(reason.split()) > 2 for reason in not_run.values())
    assert len(not_run) <= MAX_NOT_RUN, not_run


def test_the_short_examples_are_as_short_as_they_say():
    ten_lines = blocks("docs/curl.md", "sh")[1].text.split("\n\n")
    [player] = blocks("docs/first-player.md", "html")
    script = player.text.partition("<script>\n")[2].partition("</script>")[0]

    assert sum(len(part.splitlines()) for part in ten_lines) == 10
    assert len(script.splitlines()) <= 30


def test_toml_in_a_page_is_the_file_that_the_page_names():
    shown = [block for page in PAGES for block in blocks(page, "toml")]

    assert shown
    for block in shown:
        named = re.findall(r"`(samples/[\w-]+\.toml)`", block.lead)
        assert named, f"{block} names no file"
        assert block.text == (ROOT / named[-1]).read_text(), f"{block} is not {named[-1]}"


def test_every_sample_in_toml_is_shown():
    named = {n for page in PAGES for n in re.findall(r"`samples/([\w-]+\.toml)`", PAGES[page])}

    assert named == {path.name for path in (ROOT / "samples").glob("*.toml")}


def test_json_in_a_page_is_json():
    for page in PAGES:
        for block in blocks(page, "json"):
            try:
                json.loads(block.text)
            except ValueError as error:
                pytest.fail(f"{block}: {error}")
