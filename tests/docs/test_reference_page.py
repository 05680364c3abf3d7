"""docs/reference.md, http.md and commands.md against the program: nothing missing or made up."""

import ast
import importlib
import logging
import pkgutil
import re
import signal
import subprocess
import sys

import click
import pytest
from aiohttp import web

from cli import ROLES, cli, wire
from core import web as shared
from core.errors import ToolkitError
from core.home import Home
from core.model import Pathway
from core.telemetry import Metrics
from core.wiring import ServeOptions
from tests.docs.pages import PAGES, ROOT, table_column

PAGE = "docs/reference.md"
PACKAGES = ("core", "packager", "ingest", "origin", "keyserver", "cdn_router")
SOURCES = [ROOT / "cli.py", *(p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py")))]
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "_log", "logger", "LOG"}
COMPUTED_EXITS = {
    "code if isinstance(code, int) else 0": {0},  # of the composition root, read below
    "128 + received[0]": {128 + signal.SIGHUP, 128 + signal.SIGTERM},  # of a run that was stopped
    "128 + number": {128 + signal.SIGHUP, 128 + signal.SIGTERM},  # of `package`, likewise
}
"""What exit codes come from where they are no numbers in the source."""
FOREIGN_VARIABLES = {
    "TONEARM_CHROMIUM", "TONEARM_PLAYERS",  # of the browser tests
}  # fmt: skip


def _calls():
    """Every call in the sources, with its file."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(ROOT), node


@pytest.fixture
def app(tmp_path):
    """An application with every role."""
    app = shared.create_app(Metrics.create(), logging.getLogger("docs"))
    wiring = wire(Home(tmp_path))
    options = ServeOptions(
        roles=tuple(ROLES),
        pathways=(Pathway("default", "http://127.0.0.1:8080"),),
        region="ww",
        public_url="http://127.0.0.1:8080",
        license_base="",
        router_url=None,
        steering_ttl_s=None,
    )
    for role in ROLES:
        wiring.setup_role(role, app, options)
    return app


def test_every_route_is_documented_and_every_documented_route_is_there(app):
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.method != "HEAD"  # every GET answers it
    }
    rows = re.findall(r"^\| `([A-Z*]+ /[^`]*)` \|", PAGES["docs/http.md"], re.MULTILINE)

    assert set(rows) == routes


async def test_every_metric_is_documented_with_its_labels(app, aiohttp_client):
    client = await aiohttp_client(app)
    text = await (await client.get("/metrics")).text()
    exposed = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))

    documented = table_column(PAGE, "Metrics")

    assert {name for name in exposed if not name.endswith("_created")} == set(documented)


def test_the_labels_of_metrics_are_documented(app):
    # the registry knows the labels of those that have counted nothing yet
    registry = app[shared.METRICS].registry
    labels = {
        name: tuple(collector._labelnames)  # noqa: SLF001  the library has no other way to ask
        for name, collector in registry._names_to_collectors.items()  # noqa: SLF001  likewise
    }
    rows = re.findall(r"^\| `(\w+)` \| (`[^|]+) \|", PAGES[PAGE], re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", cell)) for name, cell in rows if "_" in name}

    for name in table_column(PAGE, "Metrics"):
        assert documented[name] == labels[name], name


def _errors(kind):
    for child in kind.__subclasses__():
        yield child
        yield from _errors(child)


def test_every_problem_is_documented_with_its_status():
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            importlib.import_module(module.name)
    ours = {
        (kind.slug, str(kind.status))
        for kind in (ToolkitError, *_errors(ToolkitError))
        if kind.__module__.partition(".")[0] in PACKAGES and kind.__name__ != "HttpError"
    }

    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", PAGES[PAGE], re.MULTILINE)

    assert set(rows) == ours


async def test_the_problems_of_the_framework_are_documented(aiohttp_client):
    app = shared.create_app(Metrics.create(), logging.getLogger("docs"))

    async def read(request):
        await request.read()
        return web.Response()

    app.router.add_post("/read", read)
    client = await aiohttp_client(app)
    answers = [
        await client.put("/read"),
        await client.post("/read", data=b"x" * (shared.MAX_BODY_SIZE + 1)),
    ]

    sent = {((await a.json())["type"].rpartition(":")[2], str(a.status)) for a in answers}
    assert sent == set(re.findall(r"`([a-z-]+)` \((\d{3})[,)]", PAGES[PAGE]))


def _receiver(function):
    """The last name in front of a method: `log` of `self.log.info`, `LOG` of `app[LOG].info`."""
    value = function.value
    if isinstance(value, ast.Subscript):
        value = value.slice
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")


def _log_calls():
    """Every call that writes to a log: its file, itself, and the names of the fields with it."""
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(function):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr in LOG_METHODS
                    and _receiver(call.func) in LOGGERS
                ):
                    # an outer function holds the calls of its inner ones: the last word is theirs
                    yield path.relative_to(ROOT), call, _fields(function, call)


def _fields(function, call):
    """Keys of ``extra={"fields": ...}``: written there, or collected in `fields` before."""
    [extra] = [k.value for k in call.keywords if k.arg == "extra"]
    dicts = [extra.values[0]] if isinstance(extra.values[0], ast.Dict) else []
    names = set()
    for node in ast.walk(function) if not dicts else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            if ast.unparse(node.targets[0].value) == "fields":
                names.add(node.targets[0].slice.value)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "fields":
            dicts.append(node.value)
    return names | {key.value for each in dicts for key in each.keys}


def test_every_log_event_is_documented_with_its_level_and_fields():
    events = {}
    for path, call, fields in _log_calls():
        event = call.args[0]
        # an event is a name: a text with values in it could be neither searched for nor documented
        assert isinstance(event, ast.Constant), f"{path}:{call.lineno}"
        events[event.value, call.func.attr] = fields
    row = re.compile(r"^\| `([a-z ]+)` \| (debug|info|warning|error) \| ([^|]*) \|", re.MULTILINE)

    documented = {
        (event, level): set(re.findall(r"`(\w+)`", fields))
        for event, level, fields in row.findall(PAGES[PAGE])
    }

    assert events
    assert documented == events


def _tonearm(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments], capture_output=True, text=True, check=False,
        cwd=ROOT,
    ).returncode  # fmt: skip


def test_every_exit_code_is_documented(tmp_path):
    home = ("--home", str(tmp_path))
    seen = {
        _tonearm("--version"),
        _tonearm(*home, "track", "show", "nothing"),
        _tonearm("no-such-command"),
        130,  # of Ctrl-C, as the sources say below
    }
    exits = set()
    for path, call in _calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("exit", "Exit", "_exit"):
            for argument in call.args:
                if isinstance(argument, ast.Constant):
                    exits.add(argument.value)
                else:
                    assert ast.unparse(argument) in COMPUTED_EXITS, f"{path}:{call.lineno}"
                    exits |= COMPUTED_EXITS[ast.unparse(argument)]
    source = (ROOT / "cli.py").read_text()
    codes = set(map(int, re.findall(r"^\s+code = (\d+)$", source, re.MULTILINE)))

    assert {str(code) for code in seen | exits | codes} == set(table_column(PAGE, "Exit codes"))


def _options(command, context):
    """Each option below *command*: its flags, its variable and its key in TOML."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not (parameter.is_flag and parameter.is_eager):
            variable = f"{context.auto_envvar_prefix}_{parameter.name}".upper()
            yield (*parameter.opts, *parameter.secondary_opts), variable, parameter.name
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            yield from _options(child, click.Context(child, parent=context, info_name=name))


def test_every_setting_is_documented_and_every_documented_setting_exists():
    context = click.Context(cli, info_name="tonearm", auto_envvar_prefix="TONEARM")
    settings = {variable: flags for flags, variable, _ in _options(cli, context)}
    page = PAGES["docs/commands.md"]
    rows = re.findall(r"^\| `([^`]+)` \| `(TONEARM_\w+)` \|", page, re.MULTILINE)

    assert {variable for _, variable in rows} == settings.keys()
    for option, variable in rows:
        assert {word for word in re.split(r"[ ,/]+", option) if word.startswith("--")} == set(
            settings[variable]
        )


def test_a_key_in_toml_is_the_end_of_its_variable():
    context = click.Context(cli, info_name="tonearm", auto_envvar_prefix="TONEARM")

    for _, variable, key in _options(cli, context):
        assert variable.endswith(f"_{key.upper()}")


def test_variables_named_in_the_pages_exist():
    context = click.Context(cli, info_name="tonearm", auto_envvar_prefix="TONEARM")
    settings = {variable for _, variable, _ in _options(cli, context)}

    for page, text in PAGES.items():
        named = set(re.findall(r"\bTONEARM_[A-Z][A-Z_]*[A-Z]\b", text))
        assert named <= settings | FOREIGN_VARIABLES, page


def test_every_other_variable_that_the_sources_read_is_documented():
    # names in upper case with a known prefix: that is how the few that we read are written
    literals = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    read = {text for text in literals if re.fullmatch(r"(AWS|MINIO|XDG)_[A-Z_]+|NO_COLOR", text)}

    assert read == set(table_column(PAGE, "Environment"))


def test_refusals_that_the_ingest_page_explains_are_in_the_sources():
    texts = [
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    for said in table_column("docs/ingest.md", "What a refusal says"):
        if not said.startswith("error"):  # the head of the table
            assert any(said in text for text in texts), said
