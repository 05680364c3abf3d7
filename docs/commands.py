"""Print docs/commands.md, from the commands themselves; `make docs` writes the file."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

SAMPLE = Path(__file__).parent.parent / "samples" / "tonearm.toml"
INTRODUCTION = """\
# Commands

Written by `make docs` from the commands themselves; a test fails when it is out of date.

Results go to standard output, progress and messages to standard error. The exit code is 0 when
all went well, 1 when something failed (standard error says what, and what to do about it), 2 when
the command was not understood, and 130 after Ctrl-C: [reference](reference.md#exit-codes).

Every option can be given in four ways; the first that is there wins:

1. the flag;
2. the environment variable named beside it (several values are separated by spaces);
3. `tonearm.toml` in the working folder, or the file of `--config`. The key is the variable's name
   after `TONEARM_` in lower case, in a table for each command: `TONEARM_SERVE_PORT` is `port` in
   `[serve]`, and `TONEARM_HOME` is `home` at the top;
4. the default.

As in `samples/tonearm.toml`:

```toml
{sample}```

A command below a command has a table below a table: `TONEARM_TRACK_LIST_AS_JSON` is `as_json` in
`[track.list]`. Beside these, a few variables of others are read:
[reference](reference.md#environment).
"""


def document(root: click.Group) -> str:
    """The page, as Markdown."""
    context = click.Context(root, info_name="tonearm", auto_envvar_prefix="TONEARM")
    return "\n".join([INTRODUCTION.format(sample=SAMPLE.read_text()), *_command(root, context)])


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## `{context.command_path}`\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    yield f"```text\n{context.command_path} {usage}\n```\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        yield "| Option | Variable | Meaning |\n| --- | --- | --- |"
        yield from (_row(option, context) for option in options)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, click.Context(child, parent=context, info_name=name))


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None, f"{context.command_path} hides {option.opts}"
    asks_for_help_alone = option.is_flag and option.is_eager
    cells = (
        f"`{record[0]}`",
        "" if asks_for_help_alone else f"`{context.auto_envvar_prefix}_{option.name}`".upper(),
        record[1],
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from cli import cli

    sys.stdout.write(document(cli))
