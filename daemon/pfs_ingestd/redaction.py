"""What must not be read by others, taken out of text."""

import re
from urllib.parse import urlsplit

__all__ = ["origin", "redacted"]

# The password ends at the last @: one that holds an @ or a slash of its own is a common mistake. One slash
# before the user is enough, because a URL that was taken for a path has lost the other.
_USER_INFO = re.compile(r"(:/{1,2}[^\s/:@]*:)\S*@")
_PARAMETER = re.compile(r"([?&;](?:password|passwd|pwd|sslpassword)=)[^\s&;]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """Replace the passwords of all URLs in a text by ``***``."""
    if ":/" not in text:
        return text
    return _PARAMETER.sub(r"\1***", _USER_INFO.sub(r"\1***@", text))


def origin(url: str) -> str:
    """Tell of a URL only which server it leads to: a path or a query may be as good as a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"
