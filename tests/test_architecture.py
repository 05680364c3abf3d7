"""The house as ARCHITECTURE.md draws it: imports, purity, budgets, names and reasons."""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "packager", "ingest", "origin", "keyserver", "cdn_router")
MAY_IMPORT = {
    "core": (),
    "packager": ("core",),
    "ingest": ("core", "packager"),
    "origin": ("core", "packager.manifest"),
    "keyserver": ("core",),
    "cdn_router": ("core",),
    "cli": PACKAGES,
}
PURE = (
    "cdn_router.beacons",
    "cdn_router.belief",
    "cdn_router.scoring",
    "cdn_router.snapshot",
    "cdn_router.steering",
    "core.cmcd",
    "core.errors",
    "core.grants",
    "core.ids",
    "core.key_exchange",
    "core.keysource",
    "core.model",
    "core.strict_json",
    "ingest.encode.ladder",
    "keyserver.eme",
    "keyserver.signals",
    "keyserver.throttle",
    "keyserver.wrapping",
    "origin.media.ranges",
    "origin.playback.requests",
    "origin.playback.session",
    "packager.cmaf.grid",
    "packager.cmaf.init_segment",
    "packager.cmaf.segmenter",
    "packager.manifest",
    "packager.mp4",
    "packager.protect.cenc",
    "packager.protect.protection",
)
"""Modules, and packages with all below them, that do arithmetic and nothing else."""
IMPURE = {
    "aiohttp", "asyncio", "concurrent", "multiprocessing", "os", "random", "secrets", "select",
    "signal", "socket", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
CLOCK_AND_CHANCE = {"now", "utcnow", "today", "uuid1", "uuid4"}
"""Functions of otherwise harmless modules (datetime, uuid) that read a clock or a random source."""
DRAWERS = {
    "base", "common", "generic", "helper", "helpers", "lib", "manager", "managers", "misc",
    "shared", "tools", "util", "utils",
}  # fmt: skip
MODULE_LINES = 600
"""At 400 a module is asked whether it is two things; at 600 it is."""
BOX_LINES = 120
FUNCTION_LINES = 70
DOCUMENT_LINES = {"cli.py": 250, "README.md": 150, "ARCHITECTURE.md": 300}


def _name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    _name(path): path
    for path in (ROOT / "cli.py", *(p for d in PACKAGES for p in sorted((ROOT / d).rglob("*.py"))))
}
FILES = {
    str(path.relative_to(ROOT)): path
    for path in (
        *SOURCES.values(),
        *(
            p
            for d in ("tests", "samples", "bench", "fuzz", "docs")
            for p in sorted((ROOT / d).rglob("*.py"))
        ),
    )
}
every_module = pytest.mark.parametrize("module", list(SOURCES))


@cache
def _tree(module):
    return ast.parse(SOURCES[module].read_text())


@cache
def _imports(module, *, at_load=False):
    """Every module that *module* names in an import, at any depth, type checking included.

    With *at_load*, those alone that importing *module* imports.
    """
    found = set()
    package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in _tree(module).body if at_load else ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                start = ".".join([*parents, *([node.module] if node.module else [])])
            # `from core import model` names a module, `from core.model import Rung` does not
            submodules = {f"{start}.{a.name}" for a in node.names} & SOURCES.keys()
            found.update(submodules or {start})
    return found


def _below(name, roots):
    return any(name == root or name.startswith(root + ".") for root in roots)


def _is_ours(name):
    return _below(name, MAY_IMPORT)


@every_module
def test_components_meet_only_along_the_dag(module):
    own = module.partition(".")[0]
    allowed = (*MAY_IMPORT[own], *([] if own == "cli" else [own]))
    strangers = {n for n in _imports(module) if _is_ours(n) and not _below(n, allowed)}

    assert not strangers, f"{module} must not import {sorted(strangers)}"


def _circles(arrows):
    """Groups of two or more that reach each other along *arrows* (Tarjan's algorithm)."""
    index, low, path, circles = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        path.append(node)
        for target in sorted(arrows[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in path:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            start = path.index(node)
            circles.append(sorted(path[start:]))
            del path[start:]

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return [circle for circle in circles if len(circle) > 1]


def _arrows(room):
    """What imports what, of ours: each name as *room* calls it; packages name what they offer."""
    arrows = {room(module): set() for module in SOURCES}
    for module in SOURCES:
        arrows[room(module)] |= {room(name) for name in _imports(module) if name in SOURCES}
    return {node: targets - {node} for node, targets in arrows.items()}


def test_no_two_modules_import_each_other_by_any_way():
    assert _circles(_arrows(lambda module: module)) == []


@pytest.mark.parametrize("depth", [1, 2])
def test_no_two_rooms_import_each_other_by_any_way(depth):
    def room(module):
        parts = module.split(".")
        return ".".join(parts[:depth]) if len(parts) > depth else module

    assert _circles(_arrows(room)) == []


def test_a_circle_of_imports_is_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}

    assert _circles(arrows) == [["b", "c"]]


@every_module
def test_only_the_composition_root_imports_by_name(module):
    # an import that the rule above cannot see is an import all the same
    if module == "cli":
        return
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Call)
    }

    assert not calls & {"import_module", "__import__"}


@every_module
def test_commands_are_the_top_of_a_component(module):
    if module == "cli" or module.endswith("commands"):
        return
    importing = {n for n in _imports(module) if _is_ours(n) and n.endswith("commands")}

    assert not importing, f"{module} reaches up to {sorted(importing)}"


def _loaded_by(module):
    """Roots of all that is loaded when *module* is, through modules of ours."""
    found, queue = {module}, [module]
    while queue:
        for name in _imports(queue.pop(), at_load=True) - found:
            found.add(name)
            if name in SOURCES:
                queue.append(name)
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("module", [m for m in SOURCES if _below(m, PURE)])
def test_a_pure_module_reads_no_clock_network_environment_or_random_source(module):
    imports = _imports(module)
    roots = {name.partition(".")[0] for name in imports}
    called = {n.attr for n in ast.walk(_tree(module)) if isinstance(n, ast.Attribute)}
    opened = {n.id for n in ast.walk(_tree(module)) if isinstance(n, ast.Name)} & {"open", "input"}

    assert not roots & IMPURE
    assert not called & CLOCK_AND_CHANCE
    assert not opened
    assert sorted(_loaded_by(module) & IMPURE) == [], "what it imports of ours is not pure"


def test_every_pure_name_is_a_module_of_ours():
    assert not [name for name in PURE if name not in SOURCES]


@every_module
def test_only_commands_read_the_environment(module):
    if module == "cli" or module.endswith("commands"):
        return
    names = {n.attr for n in ast.walk(_tree(module)) if isinstance(n, ast.Attribute)} | {
        alias.name
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }

    assert not names & {"environ", "environb", "getenv"}


def _is_box(module):
    # grammar.py is what boxes are written in, not a box
    return module.startswith("packager.mp4.") and module != "packager.mp4.grammar"


@every_module
def test_a_module_keeps_to_its_budget(module):
    path = SOURCES[module]
    lines = path.read_text().count("\n")

    assert lines <= (BOX_LINES if _is_box(module) else MODULE_LINES)
    assert lines <= DOCUMENT_LINES.get(path.name, MODULE_LINES)


@every_module
def test_a_function_keeps_to_its_budget(module):
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_a_document_keeps_to_its_budget(name):
    assert (ROOT / name).read_text().count("\n") <= DOCUMENT_LINES[name]


@every_module
def test_no_module_is_a_drawer(module):
    assert not set(re.split(r"[._]", module)) & DRAWERS


def _users_outside_core(target):
    """Packages that use *target*, directly or through another module of core."""
    users, seen, queue = set(), set(), [target]
    while queue:
        wanted = queue.pop()
        for module in SOURCES:
            if module in seen or not any(_below(name, [wanted]) for name in _imports(module)):
                continue
            if module.startswith("core"):
                seen.add(module)
                queue.append(module)
            else:
                users.add(module.partition(".")[0])
    # the command line names commands in a table, to import them late
    if f'"{target}:' in SOURCES["cli"].read_text():
        users.add("cli")
    return users


@pytest.mark.parametrize("module", [m for m in SOURCES if re.fullmatch(r"core\.\w+", m)])
def test_what_lies_in_core_has_two_users(module):
    users = _users_outside_core(module)

    assert len(users) >= 2, f"only {sorted(users)} use {module}: it belongs there"


@pytest.mark.parametrize("name", list(FILES))
def test_what_silences_a_check_says_why(name):
    text = FILES[name].read_text()
    by_line = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    silent = []
    for line, comment in by_line.items():
        noqa = re.search(r"#\s*(?:ruff:\s*)?noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(.*)", comment)
        ignore = re.search(r"#\s*type:\s*ignore(?:\[[\w, -]+\])?(.*)", comment)
        silent += [
            f"line {line}: {comment}"
            for match in (noqa, ignore)
            if match and not re.search(r"[a-z]{3}", match[1])
        ]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and node.lineno not in by_line:
            silent.append(f"line {node.lineno}: a broad except without a reason")

    assert not silent


def _is_broad(handler):
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False  # cleans up, swallows nothing
    if handler.type is None:
        return True
    names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("tests")])
def test_tests_use_the_real_thing(name):
    text = FILES[name].read_text()

    assert not re.search(r"^\s*(from|import) (unittest\.)?mock\b", text, re.MULTILINE)
    assert not re.search(r"^\s*from unittest import .*\bmock\b", text, re.MULTILINE)


@pytest.mark.parametrize("module", [m for m, p in SOURCES.items() if p.name != "__init__.py"])
def test_no_module_is_left_over(module):
    # the composition root and -m name modules in strings, to import them late
    named = SOURCES["cli"].read_text() + SOURCES["origin.demo.show"].read_text()
    if module == "cli" or re.search(rf'["\s]{re.escape(module)}[":]', named):
        return
    if module.endswith(".commands") and module.partition(".")[0] in named:
        return
    users = {other for other in SOURCES if other != module and module in _imports(other)}

    assert users, f"nobody imports {module}"
