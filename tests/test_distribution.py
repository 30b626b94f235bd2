"""The distribution's name is not that of the package, so advice on what to install has to use the right one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import cascade
from cascade.cli import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = [*Path(cascade.__file__).parent.rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

_ADVICE = re.compile(r"\binstall (?:-\w )?[`'\"]?(?P<name>cascade[\w-]*)(?:\[(?P<extras>[\w,]+)\])?")


def test_the_version_is_that_of_the_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / f"{PROJECT['name'].replace('-', '_')}-9.9.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: 9.9\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert main(["--version"]) == 0

    assert capsys.readouterr().out == "cascade 9.9\n"


def test_each_advice_to_install_names_the_distribution_and_an_extra_that_it_has() -> None:
    found = [match for path in SOURCES for match in _ADVICE.finditer(path.read_text(encoding="utf-8"))]

    assert len(found) >= 6  # or the pattern is wrong
    assert {match["name"] for match in found} == {PROJECT["name"]}
    extras = {extra for match in found for extra in (match["extras"] or "").split(",") if extra}
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_extra_of_all_extras_has_every_other() -> None:
    extras = set(PROJECT["optional-dependencies"])

    (requirement,) = PROJECT["optional-dependencies"]["all"]

    name, _, rest = requirement.partition("[")
    assert name == PROJECT["name"]
    assert set(rest.removesuffix("]").split(",")) == extras - {"all", "ray"}  # which is 240 MB
