"""The pictures in docs/images show what the program shows today; `python tests/pictures.py` makes them."""

import json
from hashlib import sha256
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from pictures import IMAGES, PAGES, board_page, page_of, terminals, told_status, words_of


def test_the_pictures_of_a_terminal_are_what_the_commands_print():
    """Word for word, whatever the fonts and the frame."""
    painted = terminals()
    shown = {name: words_of((IMAGES / name).read_text(encoding="utf-8")) for name in painted}
    assert shown == {name: words_of(svg) for name, svg in painted.items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_pictures_of_the_board_are_of_the_page_as_it_is(name):
    """Each says by a digest which page it was taken of."""
    assert page_of((IMAGES / name).read_bytes()) == sha256(board_page().encode()).hexdigest()


def test_there_are_no_other_pictures():
    """None is left that nobody can make anew."""
    assert {path.name for path in IMAGES.iterdir()} == {*PAGES, *terminals()}


def test_the_status_that_is_shown_is_one():
    """It was made up, but follows the schema."""
    schema = json.loads(files("pfs_ingestd").joinpath("status.schema.json").read_text())
    Draft202012Validator(schema).validate(told_status())
