"""The releases that we say we work with are those that the suite is run with."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[2]


def test_the_oldest_releases_are_the_lower_bounds():
    """`make test-oldest` installs each requirement in the oldest release that pyproject.toml allows."""
    lines = (PROJECT / ".ci" / "oldest.txt").read_text().splitlines()
    pins = {name: Version(pin) for name, _, pin in (line.partition("==") for line in lines) if pin}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(requirement) for requirement in project["dependencies"]]
    bounds = {
        requirement.name: Version(specifier.version)
        for requirement in requirements
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }

    assert bounds == {name: pins.get(name) for name in bounds}
    assert bounds.keys() == {requirement.name for requirement in requirements}
