"""How fast a night went, as drawings within a page."""

from collections.abc import Sequence
from datetime import timedelta

from pfs_ingestd.board.markup import Html, html
from pfs_ingestd.board.night import Slot

__all__ = ["plots"]

_HEIGHT = 40


def plots(slots: Sequence[Slot]) -> Html:
    """Draw how many files were ingested over the night, and how soon after their arrival."""
    if not slots:
        return html("<p>Nothing has been ingested yet.")
    length = slots[0].length
    begin, end = f"{slots[0].begin:%H:%M}", f"{slots[-1].begin + length:%H:%M}"
    minutes = length // timedelta(minutes=1)
    files = [float(slot.files) for slot in slots]
    latencies = [slot.latency for slot in slots]
    most = round(max(files))
    known = [latency for latency in latencies if latency is not None]
    slowest = f"at most {max(known):.2f} s" if known else "nothing arrived while it was watched"
    return html(
        "{}{}",
        _figure(f"Files ingested in {minutes} min: at most {most}. From {begin} to {end} UTC.", files),
        _figure(f"Seconds from arrival to visible, median of {minutes} min: {slowest}.", latencies),
    )


def _figure(caption: str, values: Sequence[float | None]) -> Html:
    largest = max((value for value in values if value is not None), default=0.0) or 1.0
    bars = "".join(
        f"M{place}.5 {_HEIGHT}v-{max(value / largest * _HEIGHT, 0.5):.1f}"
        for place, value in enumerate(values)
        if value is not None
    )
    return html(
        '<figure><svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path d="{}"/></svg><figcaption>{}</figcaption></figure>',
        max(len(values), 24),
        _HEIGHT,
        caption,
        bars,
        caption,
    )
