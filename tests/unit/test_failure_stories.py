"""The stories of what went wrong elsewhere, held against the tests."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "decisions" / "failure-stories.md"
STORIES = [f"F{number:02}" for number in range(1, 51)]

ROW = re.compile(r"^\| (F\d\d) \| (.+?) \| (.+?) \|$", re.MULTILINE)
ROWS = {story: (told, here) for story, told, here in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def names_of_tests():
    """Find the names of all tests."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")]
    functions = (node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {name for name in functions if name.startswith("test_")}


EXISTING = names_of_tests()


def test_every_story_is_told_once():
    """The page has a row for each story, in order."""
    assert list(ROWS) == STORIES
    assert len(ROW.findall(PAGE.read_text(encoding="utf-8"))) == len(STORIES)


@pytest.mark.parametrize("story", STORIES)
def test_a_story_has_a_test_or_a_reason(story):
    """Each test that a story names exists; a story that names none says why it cannot happen."""
    _, here = ROWS[story]
    named = re.findall(r"`(test_\w+)`", here)
    assert set(named) - EXISTING == set()
    assert named or here.startswith("Cannot happen: ")


def test_a_test_carries_the_number_of_a_story_that_is_told():
    """No test is named after a story that is not on the page."""
    numbers = {match[1].upper() for name in EXISTING if (match := re.match(r"test_(f\d\d)_", name))}
    assert numbers - set(STORIES) == set()
