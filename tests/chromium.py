"""A real browser without a window, which tells how it lays a page out."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root there is no sandbox to be had; the rest keeps the browser from asking the network for anything.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
)

# The page itself allows no script; one around it may look into it.
_AROUND = """<!doctype html><meta charset="utf-8"><body style="margin:0"><pre></pre><script>
const frame = document.createElement("iframe");
frame.style = "border:0;width:{width}px;height:800px";
frame.onload = () => {{
  const view = frame.contentWindow, page = frame.contentDocument;
  const answer = (({question})(page, view));
  document.querySelector("pre").textContent = JSON.stringify(answer);
}};
frame.src = {address};
document.body.append(frame);
</script>"""


class Chromium:
    """Opens pages in a browser with a profile of its own.

    Parameters
    ----------
    folder : `~pathlib.Path`
        An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        if found is None:
            pytest.skip("there is no Chromium here; Debian has it in its package chromium")
        self._folder = folder
        self._command = [found, *_FLAGS, f"--user-data-dir={folder / 'profile'}"]

    def ask(self, page: Path, question: str, *, width: int, dark: bool = False) -> Any:
        """Open a page in a frame, and ask a function of its document and window, written in JavaScript."""
        around = self._folder / "around.html"
        script = _AROUND.format(width=width, question=question, address=json.dumps(page.as_uri()))
        around.write_text(script, encoding="utf-8")
        ran = subprocess.run(  # noqa: S603 (the browser that was found)
            [
                *self._command,
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--window-size=1400,900",
                "--dump-dom",
                around.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        answer = re.search(r"<pre>(.+?)</pre>", ran.stdout, re.DOTALL)
        assert answer, ran.stderr
        return json.loads(unescape(answer[1]))

    def picture(self, page: Path, *, width: int, height: int, dark: bool) -> bytes:
        """Take a picture of the beginning of a page, as a PNG."""
        shot = self._folder / "picture.png"
        subprocess.run(  # noqa: S603 (the browser that was found)
            [
                *self._command,
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={width},{height}",
                "--hide-scrollbars",
                f"--screenshot={shot}",
                page.as_uri(),
            ],
            capture_output=True,
            timeout=200,
            check=True,
        )
        return shot.read_bytes()
