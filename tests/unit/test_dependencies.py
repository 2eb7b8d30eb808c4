"""What pyproject.toml asks for, what requirements/constraints.txt pins, and what is installed: one story."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OURS = [Requirement(line) for line in requires("intel-quantized-embeddings") or []]
NAMED = [requirement for requirement in OURS if requirement.specifier]
CONSTRAINTS = {
    canonicalize_name(pinned.name): next(iter(pinned.specifier))
    for pinned in (
        Requirement(line)
        for line in (ROOT / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
        if not line.startswith("#")
    )
}
# Extras that bring torch, which the constraints are without.
HEAVY = {f'extra == "{extra}"' for extra in ("ipex", "mteb", "setfit", "export")}
LIGHT = [requirement for requirement in NAMED if str(requirement.marker) not in HEAVY]


@pytest.mark.parametrize("requirement", NAMED, ids=str)
def test_every_dependency_has_a_least_and_a_most(requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators & {">=", "=="}, requirement
    assert operators & {"<", "=="}, requirement


@pytest.mark.parametrize("requirement", LIGHT, ids=str)
def test_what_the_constraints_pin_is_allowed(requirement):
    pinned = CONSTRAINTS[canonicalize_name(requirement.name)]
    assert pinned.operator == "=="
    assert requirement.specifier.contains(pinned.version)


@pytest.mark.ipex
@pytest.mark.parametrize("requirement", NAMED, ids=str)
def test_what_is_installed_is_allowed(requirement):
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        pytest.skip(f"{requirement.name} is not installed here")
    assert requirement.specifier.contains(installed, prereleases=True), installed
