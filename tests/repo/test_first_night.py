"""docs/first-night.md, as it is read and as it runs."""

from pathlib import Path

from pages import as_it_runs, comparable

PAGE = Path(__file__).parents[2] / "docs" / "first-night.md"


def test_the_walk_through_can_be_walked(tmp_path):
    """What is typed gives what the page shows; `python tests/pages.py PAGE` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert comparable(page) == comparable(as_it_runs(page, tmp_path))


def test_a_command_that_ends_with_one_says_so(tmp_path):
    """An exit code of 1 is part of what a page shows, and so are the names of files, but not their folder."""
    (tmp_path / "c.yaml").write_text("{}")
    shown = as_it_runs("```console\n$ false\n$ realpath c.yaml\n```\n", tmp_path)
    assert shown == "```console\n$ false\n(exit code 1)\n$ realpath c.yaml\n/data/some-night/c.yaml\n```\n"


def test_only_the_time_of_day_may_differ():
    """Two pages are the same if they were written at other times, not if exposures began at others."""
    pages = [
        f"at {now}, of {begin}"
        for now, begin in [
            ("2026-11-22T22:59:08+00:00", "2026-03-21T08:00:00"),
            ("2027-01-01T00:00:00+00:00", "2026-03-21T08:00:00"),
            ("2027-01-01T00:00:00+00:00", "2026-03-21T08:00:01"),
        ]
    ]
    assert [comparable(page) == comparable(pages[1]) for page in pages] == [True, True, False]
