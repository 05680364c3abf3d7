"""The pages of the project, and the code blocks in them.

A block says what it is by its language, and that decides what is done with it:

========  ====================================================================
sh        run by bash, as a reader would type it
console   lines after ``$ `` are run; what follows them must come out
python    run by an interpreter that cannot see the project
html      opened in a browser (`tests/e2e/test_first_player.py`)
toml      is, byte for byte, the file that the page names in front of it
json      parses
js, text  parts of programs, patterns and pictures: for the eye alone
========  ====================================================================

A block of `sh` that must not run says so to its reader, too, in its first line: `NOT_RUN`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
}
LANGUAGES = {"sh", "console", "python", "html", "toml", "json", "js", "text"}
NOT_RUN = re.compile(r"# not run by the tests(?: of pages)?: (.+)\n")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page; `lead` is the page's text in front of it."""

    page: str
    language: str
    text: str
    line: int
    lead: str

    @property
    def not_run(self):
        """Why a reader should not paste it; None if it runs."""
        match = NOT_RUN.match(self.text)
        return match and match[1]

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(page, *languages):
    """The blocks of *page*, in order; of all languages if none is named."""
    text = PAGES[page]
    return [
        Block(page, match[1], match[2], text.count("\n", 0, match.start()) + 1,
              text[: match.start()])
        for match in _BLOCK.finditer(text)
        if not languages or match[1] in languages
    ]  # fmt: skip


def prose(text):
    """*text* without its code blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def code_lines(page):
    """Lines of commands; one that ends in a backslash goes on in the next."""
    for block in blocks(page, "sh", "console"):
        lines = block.text.replace("\\\n", " ").splitlines()
        yield from (line.removeprefix("$ ") for line in lines)


def table_column(page, heading, column=0):
    """What stands in backquotes in a *column* of the tables below *heading*, row by row."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGES[page], flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", section, re.MULTILINE)]
    return [found for row in rows for found in re.findall(r"`([^`]+)`", row[column])]
