"""Errors are sentences for somebody who can act: their tree, their words, their numbers."""

import ast
import re
from pathlib import Path

import pytest

from core import errors
from core.errors import RestoringError, ToolkitError, UnavailableError

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "packager", "ingest", "origin", "keyserver", "cdn_router")
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ToolkitError)
]


def _raised(path):
    """(line, message as far as it is written down) of each error of ours that *path* makes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "id", "")
        if not name.endswith("Error") or name not in vars(errors):
            continue
        message = node.args[0]
        if isinstance(message, ast.Constant) and isinstance(message.value, str):
            yield node.lineno, message.value
        if isinstance(message, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in message.values]
            yield node.lineno, "".join(map(str, parts))


MESSAGES = [
    (f"{path.relative_to(ROOT)}:{line}", message)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    for line, message in _raised(path)
]


def test_there_are_messages_to_look_at():
    assert len(MESSAGES) > 150


@pytest.mark.parametrize(
    "fault, wrong",
    [
        ("it ends with a full stop", re.compile(r"\.$")),
        ("it is more than a line", re.compile(r"\n")),
        ("it starts with white space", re.compile(r"^\s")),
        ("it shouts", re.compile(r"!|\bERROR\b")),
        ("it starts as a sentence of its own", re.compile(r"^(?:The|A|An|This|It|You|Could) ")),
    ],
)
def test_a_message_is_one_sentence_that_can_stand_in_another(fault, wrong):
    assert [place for place, message in MESSAGES if wrong.search(message)] == [], fault


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_drawn_in_the_tree_with_its_status(kind):
    assert re.search(rf"{kind.__name__} +{kind.status}\b", errors.__doc__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_keeps_its_sentence_and_its_hint(kind):
    error = kind("a thing is wrong", hint="mend it")

    assert (str(error), error.message, error.hint) == (
        "a thing is wrong", "a thing is wrong", "mend it",
    )  # fmt: skip
    assert kind("x").hint is None
    assert 400 <= kind.status < 600
    assert re.fullmatch(r"[a-z]+(?:-[a-z]+)*", kind.slug)


@pytest.mark.parametrize("kind", [UnavailableError, RestoringError])
def test_what_may_work_later_says_when(kind):
    assert kind("x").retry_after_s > 0
    assert kind("x", retry_after_s=300).retry_after_s == 300


def test_a_status_of_ours_is_the_callers_fault_exactly_if_the_class_says_so():
    callers = {kind for kind in KINDS if kind.status < 500}
    ours = {kind for kind in KINDS if kind.status >= 500}

    assert ours == {
        ToolkitError, errors.IntegrityError, errors.UnavailableError, errors.RestoringError,
    }  # fmt: skip
    assert all(not issubclass(kind, errors.UnavailableError) for kind in callers)
