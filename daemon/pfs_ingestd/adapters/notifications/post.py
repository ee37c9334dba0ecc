"""Posts a notification to a server: a program of its own, so that it can be ended whatever it waits for.

It is started by path, with URL, time-out and notification as JSON on its standard input, and imports nothing
of the package. What it writes on standard error holds nothing of the URL, which may be a secret.
"""

import json
import sys
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: the library would turn the POST into a GET, and lose what it is about."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Take the answer as it is, which is then an error."""


def post(url: str, text: str, timeout: float) -> str:
    """Post a JSON text; give the reason why it was not accepted, or nothing."""
    request = Request(  # noqa: S310 (the configuration allows http and https alone)
        url, text.encode(), {"Content-Type": "application/json", "User-Agent": "pfs-ingestd"}
    )
    try:
        with build_opener(_NoRedirects).open(request, timeout=timeout):
            return ""
    except HTTPError as error:
        return f"it answered {error.code}"
    except URLError as error:
        return f"it cannot be reached: {_why(error.reason)}"
    except (OSError, HTTPException, ValueError) as error:
        return f"it did not answer as it should: {_why(error)}"


def _why(reason: object) -> str:
    """Say what kind of error it is; its own text could repeat the URL, if it is not the system's."""
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def main() -> int:
    """Read what is to be posted, post it, and tell on standard error what went wrong."""
    order = json.load(sys.stdin)
    if error := post(order["url"], order["text"], order["timeout"]):
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
