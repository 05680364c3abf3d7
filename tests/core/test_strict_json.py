"""The reader of JSON from outside: what it takes is what every reader would."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core import strict_json
from core.errors import InvalidInputError

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(values, st.booleans())
def test_what_python_writes_is_read_as_it_was(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    if depth(value) <= strict_json.MAX_DEPTH:
        assert strict_json.read(data) == value


@given(
    st.binary(max_size=60) | st.text('{}[]",:\\u d80019eE+-.NaItrufls', max_size=40).map(str.encode)
)
@example(b'"' + b"\\" * 9999)
@example(b'{"a":{"b":1,"b":2}}')
def test_other_bytes_raise_our_error_and_nothing_else(data):
    try:
        value = strict_json.read(data)
    except InvalidInputError as error:
        refusal = error
    else:
        assert strict_json.read(json.dumps(value).encode()) == value
        return
    assert refusal.hint
    assert refusal.message.startswith("the request body cannot be read: ")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "twice"),
        (b'{"a":1,"\\u0061":1}', "twice"),
        (b'[{"x":{"a":1,"a":null}}]', "twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1" * 19, "more than 18 digits"),
        (b"-" + b"1" * 100_0, "more than 18 digits"),
        (b"1e400", "too large"),
        (b'"\\ud83d"', "surrogate"),
        (b'{"\\ude00":1}', "surrogate"),
        (b"[" * 17 + b"]" * 17, "too deep"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "too deep"),
        (b"[" * 60_000, "too deep"),
        (b"\xff", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b" " * (strict_json.MAX_BODY_SIZE + 1), "65536 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_readers_disagree_about_is_refused_with_a_reason(data, why):
    with pytest.raises(InvalidInputError, match=why):
        strict_json.read(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"[" * 16 + b"]" * 16, None),
        (b'["[[[[[[[[[[[[[[[[[[[[[[", "\\"[[[[[[[[[[[[[[["]', None),
        (b"[" + b",".join([b'{"a":[]}'] * 100) + b"]", [{"a": []}] * 100),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"-0.0", -0.0),
        (b"999999999999999999", 10**18 - 1),
        (b" \t\r\n1 ", 1),
        (b"1".ljust(strict_json.MAX_BODY_SIZE), 1),
    ],
    ids=range(8),
)
def test_what_is_plain_is_taken(data, value):
    found = strict_json.read(data)

    assert value is None or found == value


def test_an_object_is_asked_for_by_name():
    assert strict_json.read_object(b'{"a": 1}') == {"a": 1}
    with pytest.raises(InvalidInputError, match="the answer cannot be read: it is not an object"):
        strict_json.read_object(b"[]", what="the answer")
    with pytest.raises(InvalidInputError, match="more than 4 bytes"):
        strict_json.read_object(b'{"a": 1}', max_size=4)


def test_a_refusal_never_quotes_the_body():
    for body in (b'{"key": "c2VjcmV0", "key": 1}', b'{"key": "c2VjcmV0"', b'["c2VjcmV0", NaN]'):
        with pytest.raises(InvalidInputError) as caught:
            strict_json.read(body)
        assert "c2VjcmV0" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
