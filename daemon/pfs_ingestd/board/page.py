"""The night board as a page: one file, which needs nothing but a browser."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from pfs_ingestd.board.markup import Html, html, joined
from pfs_ingestd.board.night import Concern, Night
from pfs_ingestd.board.plots import plots
from pfs_ingestd.board.slots import LETTERS, MEANINGS, SLOTS, slot_mark
from pfs_ingestd.board.style import STYLE
from pfs_ingestd.board.visits import CONFIG, Mark, Verdict, Visit

__all__ = ["page"]

_REFRESH_SECONDS = 30
_ROW_BYTES = 165_000
_LIST_BYTES = 20_000
_LONGEST_REASON = 400
_MOST_HOVERS = 100
_LONGEST_HOVER = 120

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<meta http-equiv="refresh" content="{}">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    '<title>PFS {}: {}</title><style>{}</style><main><h1>PFS, night of {}</h1><p class="sum {}">{}{}'
    '<p><small>Written <time datetime="{}">{}</time>, and again within five minutes as long as the daemon'
    " runs.</small><h2>Pace</h2><div class=plots>{}</div>{}<h2>Visits</h2>{}{}</main></html>\n"
)


def page(night: Night) -> str:
    """Write the board of a night as HTML.

    Newest visits come first. The page never exceeds some 200 kB: what does not fit is said to be left out.
    """
    written = night.at.astimezone(UTC)
    tone, word = _tone(night)
    return html(
        _PAGE,
        _REFRESH_SECONDS,
        night.date,
        word,
        STYLE,
        night.date,
        tone,
        night.sentence,
        html('<p class="sum no">{}', night.warning) if night.warning else "",
        f"{written:%Y-%m-%dT%H:%M:%SZ}",
        f"{written:%Y-%m-%d %H:%M:%S} UTC",
        plots(night.slots),
        _concerns(night.concerns),
        _legend(),
        _table(night),
    )


def _tone(night: Night) -> tuple[Html, str]:
    """Find the colour of the summary, and the word for the title."""
    if night.complete:
        return Html("yes"), "complete"
    if night.complete is None:
        return Html("way"), "stored"
    if night.verdicts[Verdict.INCOMPLETE]:
        return Html("no"), "not complete"
    return Html("way"), "under way"


def _concerns(concerns: Sequence[Concern]) -> Html:
    if not concerns:
        return html("<h2>Needs a person</h2><p>Nothing.")
    items: list[Html] = []
    room = _LIST_BYTES
    for concern in reversed(concerns):
        item = html(
            '<li><b class="{}">{}</b> {} {}: {}{} <code>{}</code>',
            LETTERS[concern.mark],
            LETTERS[concern.mark],
            concern.visit,
            concern.name,
            f"[{concern.code}] " if concern.code else "",
            _short(concern.reason, _LONGEST_REASON),
            _short(concern.path, _LONGEST_REASON),
        )
        room -= len(item.encode())
        if room < 0:
            break
        items.append(item)
    more = len(concerns) - len(items)
    rest = (
        html("<p>And {} older: <code>pfs-ingestd board --json</code> has them all.", more) if more else Html()
    )
    return html('<h2>Needs a person ({})</h2><ul class="list">{}</ul>{}', len(concerns), joined(items), rest)


def _legend() -> Html:
    entries = (
        html('<li><b class="{}">{}</b> {}', letter, letter, MEANINGS[mark])
        for mark, letter in LETTERS.items()
    )
    return html('<ul class="key">{}</ul>', joined(entries))


def _table(night: Night) -> Html:
    rows: list[Html] = []
    room = _ROW_BYTES
    reasons = _hovers(night.concerns)
    for visit in reversed(night.visits):
        row = _row(visit, reasons)
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    older = len(night.visits) - len(rows)
    caption = html("Newest first.{}", f" {older} older visits are left out." if older else "")
    return html(
        "<table><caption>{}</caption><thead><tr><th scope=col>visit<th scope=col class=v>state"
        "<th scope=col class=v>arms{}<tbody>{}</table>",
        caption,
        joined(_headings()),
        joined(rows),
    )


def _headings() -> Iterator[Html]:
    for label, names in SLOTS:
        shown = "cfg" if label == CONFIG else label
        yield html('<th scope=col><abbr title="{}">{}</abbr>', " or ".join(names), shown)


def _hovers(concerns: Sequence[Concern]) -> Mapping[tuple[int, str], str]:
    """Find what to say where the pointer rests, for the newest of what needs a person."""
    newest = reversed(concerns[-_MOST_HOVERS:])
    return {(each.visit, each.name): _short(each.reason, _LONGEST_HOVER) for each in newest}


def _row(visit: Visit, reasons: Mapping[tuple[int, str], str]) -> Html:
    marks = [slot_mark(visit, names) for _, names in SLOTS]
    # The most frequent mark is said once for the row: a letter in each cell is then all that is needed.
    usual = Counter(mark for mark in marks if mark).most_common(1)[0][0] if any(marks) else Mark.INGESTED
    cells = (
        _cell(
            mark,
            usual,
            next((reasons[key] for name in names if (key := (visit.number, name)) in reasons), ""),
        )
        for mark, (_, names) in zip(marks, SLOTS, strict=True)
    )
    return html(
        "<tr{}><th scope=row>{}<td class=v>{}<td class=v>{}{}",
        Html() if usual is Mark.INGESTED else _ROWS[usual],
        visit.number,
        visit.verdict,
        visit.arms,
        joined(cells),
    )


def _cell(mark: Mark | None, usual: Mark, reason: str) -> Html:
    if mark is None:
        return _NOTHING
    if reason:
        return html('<td class={} title="{}">{}', LETTERS[mark], f"{mark}: {reason}", LETTERS[mark])
    return _PLAIN[mark] if mark is usual else _MARKED[mark]


_NOTHING = Html("<td class=n>")
_PLAIN = {mark: html("<td>{}", letter) for mark, letter in LETTERS.items()}
_MARKED = {mark: html("<td class={}>{}", letter, letter) for mark, letter in LETTERS.items()}
_ROWS = {mark: html(" class={}", letter) for mark, letter in LETTERS.items()}


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
