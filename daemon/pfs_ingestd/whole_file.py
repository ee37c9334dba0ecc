"""Files that are always whole: a reader finds the old content or the new one."""

import os
from pathlib import Path

__all__ = ["replace_content"]

_READABLE = 0o644


def replace_content(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace the content of a file, and let everybody read it, whatever the umask is.

    There has to be one writer, so that the name of its temporary file can be fixed: what a killed process
    leaves behind is overwritten by its successor.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; its folder is there.
    data : `bytes`
        The new content.
    durable : `bool`
        Whether the file is to be whole after a power cut, too, which makes the caller wait for the disk. What
        it has then may be the old content: to have the new name on the disk would be a second wait.

    Raises
    ------
    OSError
        If it cannot be written; the old content is still there, and nothing else.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), _READABLE)
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
