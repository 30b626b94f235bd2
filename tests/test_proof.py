"""What ``proof/`` says of the source, which moves on without it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "proof" / "mutations.toml"
MUTATIONS = tomllib.loads(LISTED.read_text(encoding="utf-8"))["mutation"]


def test_there_are_enough_mutations() -> None:
    assert len(MUTATIONS) >= 60
    assert all(mutation["old"] != mutation["new"] for mutation in MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: Path(mutation["file"]).stem)
def test_a_listed_mutation_changes_one_place(mutation: dict[str, str]) -> None:
    source = (ROOT / mutation["file"]).read_text(encoding="utf-8")
    assert source.count(mutation["old"]) == 1, "update proof/mutations.toml"
