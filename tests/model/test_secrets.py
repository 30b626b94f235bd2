"""Secret texts: which are hidden, where, and how they may be written."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from labels import label

import cascade
from cascade.model.errors import InputError
from cascade.model.shown.raised import annotate, describe, hide_secrets_of
from cascade.model.shown.secrets import KeepingSecrets, Secrets, keep_secret, redacted
from cascade.model.shown.text import preview, without_secrets
from cascade.model.shown.urls import secrets_of_url, shown_url

_texts = st.text(st.characters(exclude_categories=["Cs"]))


def hiding(*values: object) -> Secrets:
    secrets = Secrets()
    for value in values:
        secrets.add(value)
    return secrets


# -- which -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("hunter2", "r-hunter2", "r-***"),
        ("hunter2", "xhunter2x and hunter2hunter2", "x***x and ******"),
        ("hunter2", "Hunter2 hunter", "Hunter2 hunter"),
        ("  hunter2\n", "it is 'hunter2'", "it is '***'"),
        ("4711", "code 4711, port 47110, a4711", "code ***, port 47110, a4711"),
        (4711, "code=4711", "code=***"),
        ("pass", "pass_word pass password", "***_word *** password"),
        ("abc", "abc", "abc"),
        ("true", "it is true", "it is true"),
        (True, "True 1", "True 1"),
        (None, "None", "None"),
        ("****", "*** ****", "*** ****"),
        ("", "", ""),
        (b"hunter2", "b'hunter2'", "b'***'"),
        (Decimal("123.456"), "Decimal('123.456')", "***"),
        ("first line\nsecond line", "error in second line", "error in ***"),
    ],
    ids=label,
)
def test_a_secret_is_hidden_where_it_can_be_told(secret: object, text: str, shown: str) -> None:
    assert hiding(secret).redact(text) == shown


@pytest.mark.parametrize(
    "write",
    [
        str, repr, ascii, json.dumps, lambda text: repr({"key": [text, "'", '"']}), lambda text: repr(repr(text)),
        lambda text: json.dumps({"key": text}, ensure_ascii=False), lambda text: repr(text.encode()),
        lambda text: quote(text), lambda text: quote(text, safe=""), quote_plus, lambda text: f"x{text}y",
        lambda text: repr(ValueError(text)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        'it\'s "quoted"',
        "tab\there",
        "back\\slash",
        "grün und blau",
        "p@ss/wörd?&=",
        "snow\u2603man",
        "\x07bell!",
    ],
)
def test_a_secret_is_hidden_however_it_is_written(secret: str, write: Any) -> None:
    text = write(secret)
    shown = hiding(secret).redact(text)
    assert "***" in shown
    assert not any(part in shown for part in (secret, secret[1:-1], write(secret).strip("'\"")))


_WRITTEN: list[Any] = [repr, ascii, json.dumps, quote, quote_plus, lambda text: repr(repr(text))]


@given(_texts.map(str.strip).filter(lambda text: len(text) >= 6 and len(text.splitlines()) == 1))
@example("'\"\\'\"")
@example("\\'\\\"\\\\''")
def test_whatever_is_in_a_secret_it_is_hidden_however_it_is_written(secret: str) -> None:
    assume(secret.lower() not in ("true", "false") and set(secret) != {"*"})
    secrets = hiding(secret)
    for write in _WRITTEN:
        assert re.fullmatch(r"['\"\\]*\*\*\*['\"\\]*", secrets.redact(write(secret)))


@attrs.frozen
class Login:
    user: str
    password: str


@dataclasses.dataclass
class Keys:
    keys: list[bytes]


class Vault:
    def __init__(self, inside: str) -> None:
        self._inside = inside


@pytest.mark.parametrize(
    "value",
    [
        ["hunter2"], ("a", "hunter2"), {"k": {"k": "hunter2"}}, {"hunter2"}, Login("bob", "hunter2"),
        Keys([b"hunter2"]), Vault("hunter2"), {"k": [Login("bob", "hunter2")]},
    ],
    ids=label,
)  # fmt: skip
def test_what_is_in_a_secret_is_secret(value: object) -> None:
    assert hiding(value).redact("it is hunter2") == "it is ***"


def test_a_piece_of_a_long_secret_is_hidden_where_others_have_cut_it() -> None:
    secret = "".join(chr(97 + number % 26) for number in range(60))
    secrets = hiding(secret)
    assert secrets.redact(f"{secret[:30]}...{secret[-20:]}") == "***...***"
    assert secrets.redact(secret[:16] + "!") == "***!"
    assert secrets.redact("!" + secret[-16:]) == "!***"
    assert secrets.redact(secret[:15]) == secret[:15]


@given(st.lists(_texts, max_size=4), st.lists(_texts, max_size=4))
@example(["hunter2"], ["hunter", "2"])
@example(["aaaaaaaaaaaaaaaaaa"], ["aaaaaaaaaaaaaaaaaaaa"])
def test_no_longer_secret_is_left(secrets: list[str], parts: list[str]) -> None:
    found = hiding(*secrets)
    for text in ("".join(parts), *(f"{part}{secret}{part}" for part in parts for secret in secrets)):
        shown = found.redact(text)
        for secret in secrets:
            stripped = secret.strip()
            if len(stripped) >= 6 and stripped.lower() not in ("true", "false") and set(stripped) != {"*"}:
                assert stripped not in shown


@given(_texts)
def test_text_without_a_secret_is_left_alone(text: str) -> None:
    assert Secrets().redact(text) == text
    assert hiding("\x00 not in any text \x00").redact(text) == text


def test_a_large_secret_is_learned_and_looked_for_quickly() -> None:
    secrets = hiding("\n".join(f"line 'no' {number}" for number in range(1000)), "y\\" * 100_000)
    for _ in range(100):
        assert secrets.redact("z" * 100) == "z" * 100
    assert secrets.redact("it is line 'no' 999, and so") == "it is ***, and so"


# -- where -----------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets() -> Iterator[Secrets]:
    with KeepingSecrets() as secrets:
        secrets.add("hunter2")
        yield secrets


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_errors_are_described_without_them(secrets: Secrets) -> None:
    assert describe(ValueError("bad hunter2")) == "ValueError: bad ***"
    assert describe(Broken()).startswith("Broken")


def test_notes_are_added_without_them(secrets: Secrets) -> None:
    error = ValueError("hunter2")
    error.add_note("the user's own: hunter2")
    annotate(error, "called with hunter2")
    annotate(error, "called with hunter2")
    assert error.__notes__ == ["the user's own: hunter2", "called with ***"]
    assert str(error) == "hunter2"


def test_only_errors_of_ours_are_rewritten(secrets: Secrets) -> None:
    ours, theirs = InputError(["bad hunter2"]), ValueError("bad hunter2")
    hide_secrets_of(ours, secrets)
    hide_secrets_of(theirs, secrets)
    assert (str(ours), str(theirs)) == ("bad ***", "bad hunter2")


def test_a_frozen_error_loses_its_secrets_and_passes_unharmed() -> None:
    @dataclasses.dataclass(frozen=True)
    class Frozen(cascade.CascadeError):
        text: str

    error = Frozen("no entry for hunter2")
    hide_secrets_of(error, hiding("hunter2"))
    assert error.args == ("no entry for ***",)
    with pytest.raises(Frozen) as caught, KeepingSecrets():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("hunter2", "'***'"),
        ({"auth": "Bearer hunter2"}, "{'auth': 'Bearer ***'}"),
        (["hunter2"] * 3, "['***', '***', '***']"),
        (b"hunter2", "b'***'"),
    ],
    ids=label,
)
def test_values_are_previewed_without_them(secrets: Secrets, value: object, shown: str) -> None:
    assert preview(value) == shown


@pytest.mark.parametrize("kind", ["text", "bytes", "list"])
@pytest.mark.parametrize("before", range(80, 110))
def test_a_preview_shows_no_piece_of_one_that_is_cut(secrets: Secrets, kind: str, before: int) -> None:
    secrets.add("swordfish" * 3)
    text = "." * before + "hunter2" + "swordfish" * 3 + "." * 100
    value = {
        "text": text,
        "bytes": text.encode(),
        "list": [*"." * (before // 5), *["hunter2" + "swordfish" * 3] * 100],
    }[kind]
    shown = preview(value)
    assert len(shown) <= 100
    assert not any(piece in shown for piece in ("h", "s"))


def test_many_secrets_in_one_text_leave_no_piece_of_the_last(secrets: Secrets) -> None:
    secrets.add("s" + "w" * 40)
    assert "w" not in preview(("s" + "w" * 40 + " ") * 10)


def test_parameters_are_shown_without_them(secrets: Secrets) -> None:
    value = ["hunter2", ("x", {"k": "hunter2 "}), 7, True, None, Login("bob", "hunter2"), Broken()]
    shown = without_secrets(value, secrets)
    assert shown[:5] == ["***", ("x", {"k": "*** "}), 7, True, None]
    assert shown[5] == "Login(user='bob', password='***')"
    assert shown[6] is value[6]


def test_where_there_is_no_run_nothing_is_hidden() -> None:
    keep_secret("hunter2")
    assert redacted("hunter2") == "hunter2"
    assert preview("hunter2") == "'hunter2'"


def test_a_run_in_a_run_has_the_secrets_of_both() -> None:
    with KeepingSecrets() as outer:
        keep_secret("hunter2")
        with KeepingSecrets() as inner:
            keep_secret("swordfish")
            assert inner is outer
        assert redacted("hunter2 swordfish") == "*** ***"
    assert redacted("hunter2 swordfish") == "hunter2 swordfish"


# -- URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("redis://:RPASS@host:6379/0", "redis://***@host:6379/0", ["RPASS"]),
        ("mqtt://bob:p%40ss@host/x", "mqtt://***@host/x", ["p%40ss", "p@ss"]),
        ("mqtt://bob:a@b:c@host", "mqtt://***@host", ["a@b:c"]),
        ("mqtts://token@host", "mqtts://***@host", ["token"]),
        ("redis//:RPASS@host", "redis//***@host", ["RPASS"]),
        (":RPASS@host", ":***@host", ["RPASS"]),
        ("redis://host/0?password=x&db=1", "redis://host/0?password=***&db=1", ["x"]),
        ("redis://host/0?db=1&Access_Token=x#f", "redis://host/0?db=1&Access_Token=***#f", ["x"]),
        ("redis://host?password=a@b", "redis://host?password=***", ["a@b"]),
        (
            "x://h?api_key=1&sig=2&key=3&ssl_keyfile=4",
            "x://h?api_key=***&sig=***&key=***&ssl_keyfile=4",
            ["1", "2", "3"],
        ),
        ("sqlite:///runs.db", "sqlite:///runs.db", []),
        ("local:", "local:", []),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str, secrets: list[str]) -> None:
    assert shown_url(url) == shown
    assert [text for text in secrets_of_url(url) if text] == secrets


@given(st.text(st.characters(exclude_characters="@/?#", exclude_categories=["Cs"]), min_size=4), _texts)
def test_a_password_is_never_in_a_url_that_is_shown(password: str, user: str) -> None:
    url = f"redis://{quote(user, safe='')}:{password}@host/0"
    assert shown_url(url) == "redis://***@host/0"
    assert password in secrets_of_url(url)
