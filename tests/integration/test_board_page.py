"""The page of the night board in a real browser."""

import pytest

from chromium import Chromium
from nights import ALL, NIGHT, NOW, record, visit
from pfs_ingestd.board.night import night_of
from pfs_ingestd.board.page import page
from pfs_ingestd.board.visits import MISSING_AFTER
from pfs_ingestd.records import State

REASON = "the file ends </td><script>document.title='harmed'</script> inside HDU 1"
SEEN = """(page, view) => {
  const rows = [...page.querySelectorAll("tbody tr")];
  const cell = (row, place) => rows[row].querySelectorAll("td")[place + 2];
  return {
    title: page.title,
    headings: [...page.querySelectorAll("h1, h2")].map(each => each.localName),
    sentence: page.querySelector(".sum").textContent,
    visits: rows.map(row => row.querySelector("th[scope=row]").textContent),
    columns: [...page.querySelectorAll("thead th[scope=col]")].map(each => each.textContent).slice(3),
    letters: rows.map(row => [...row.querySelectorAll("td")].slice(2).map(each => each.textContent).join("")),
    reason: cell(2, 2).title,
    colours: new Set([cell(1, 1), cell(2, 2), cell(3, 12)].map(it => view.getComputedStyle(it).color)).size,
    plots: [...page.querySelectorAll("svg[role=img]")].every(it => it.getBoundingClientRect().width > 100),
    ground: view.getComputedStyle(page.body).backgroundColor,
    hidden: view.getComputedStyle(page.querySelector("td.v")).display === "none",
    wide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
    loaded: view.performance.getEntriesByType("resource").length,
  };
}"""


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Make the page of a night of which one file waits, one was rejected, and one never came."""
    records = [
        *visit(1001, ALL - {"n4"}),
        *visit(1002, ALL - {"r1"}),
        record(1002, "r1", state=State.REJECTED, code="truncated", error=REASON),
        *visit(1003),
        record(1004, None, state=State.WAITING),
    ]
    file = tmp_path_factory.mktemp("board") / "board.html"
    file.write_text(page(night_of(NIGHT, records, NOW + MISSING_AFTER)), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("width", "dark", "ground"),
    [(1200, False, "rgb(255, 255, 255)"), (390, True, "rgb(13, 17, 23)")],
    ids=["desk", "phone in the dark"],
)
def test_a_browser_shows_the_board(board, tmp_path, width, dark, ground):
    """On a desk and on a phone, by day and by night, every visit is shown, and nothing of it is code."""
    arms = [f"{arm}{spectrograph}" for spectrograph in (1, 2, 3, 4) for arm in "brn"]
    seen = Chromium(tmp_path).ask(board, SEEN, width=width, dark=dark)
    assert seen == {
        "title": "PFS 2026-11-22: not complete",
        "headings": ["h1", "h2", "h2", "h2"],
        "sentence": "The night of 2026-11-22 is not complete: something is wrong with 2 of 3 visits"
        " (1 missing, 1 rejected); 1 pfsConfig without raws, as after a convergence.",
        "visits": ["1004", "1003", "1002", "1001"],
        "columns": ["cfg", *arms],
        "letters": ["W", "IIIIIIIIIIIII", "IIRIIIIIIIIII", "IIIIIIIIIIIIM"],
        "reason": f"rejected: {REASON}",
        "colours": 3,
        "plots": True,
        "ground": ground,
        "hidden": width == 390,
        "wide": False,
        "loaded": 0,
    }
