"""The configuration, as the rest of the program sees it."""

import os
import re
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)

from pfs_ingestd.config.units import Duration, PositiveDuration, Size
from pfs_ingestd.redaction import origin, redacted

__all__ = [
    "Config",
    "DatabaseUrl",
    "IngestConfig",
    "LogConfig",
    "NotifyConfig",
    "RunsConfig",
    "StateConfig",
    "StatusConfig",
    "WatchConfig",
    "WebhookUrl",
    "is_elsewhere",
]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_WEBHOOK = re.compile(r"https?://[\x21-\x7e]+")
_COPIES = frozenset({"auto", "copy", "move"})
_COPIED_AT_ONCE = 10**9


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where the inbox is. Its text never shows the password.

    Parameters
    ----------
    url : `str`
        The whole SQLAlchemy URL, for the one who connects.
    """

    url: str

    def __str__(self) -> str:
        return redacted(self.url)

    def __repr__(self) -> str:
        return f"DatabaseUrl({redacted(self.url)!r})"

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; `None` for a server."""
        if not self.url.startswith("sqlite"):
            return None
        return Path(self.url.partition(":///")[2].partition("?")[0])


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """Where notifications are posted. Its text never shows more than the server.

    Parameters
    ----------
    url : `str`
        The whole URL, for the one who posts.
    """

    url: str

    def __str__(self) -> str:
        return origin(self.url)

    def __repr__(self) -> str:
        return f"WebhookUrl({origin(self.url)!r})"


def is_elsewhere(place: str) -> bool:
    """Say whether what a path or URI names is not on this machine."""
    return bool(_SCHEME.match(place)) and urlsplit(place).scheme != "file"


def _folder(info: ValidationInfo) -> Path:
    """Tell which folder relative paths start from: that of the configuration file."""
    return Path((info.context or {}).get("folder", ""))


def _local_path(value: object, info: ValidationInfo) -> Path:
    text = str(value) if isinstance(value, str | Path) else ""
    if not text or "\0" in text:
        raise ValueError(f"should be a path, not {value!r}")
    if _SCHEME.match(text):
        raise ValueError("should be a path on this machine, not a URL")
    return Path(os.path.abspath(_folder(info) / text))  # noqa: PTH100 (Path.absolute keeps "..")


def _path_or_uri(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not _SCHEME.match(value):
        return str(_local_path(value, info))
    if redacted(value) != value:
        raise ValueError("should not hold a password; Butler has its own places for credentials")
    return value


def _database(value: object, info: ValidationInfo) -> DatabaseUrl:
    if isinstance(value, DatabaseUrl):
        value = value.url
    if not isinstance(value, str) or not _SCHEME.match(value):
        return _sqlite("sqlite", _local_path(value, info))
    dialect = re.split(r"[+:]", value, maxsplit=1)[0]
    if dialect == "postgresql":
        return DatabaseUrl(value)
    if dialect != "sqlite":
        raise ValueError(f"should be a path, or a URL of SQLite or PostgreSQL, not of {dialect!r}")
    scheme, _, rest = value.partition(":///")
    name, question, parameters = rest.partition("?")
    if not name or name.startswith((":memory:", "file:")):
        raise ValueError("should name a file: what was seen must survive a restart")
    return _sqlite(scheme, _local_path(name, info), question + parameters)


def _sqlite(scheme: str, path: Path, parameters: str = "") -> DatabaseUrl:
    if "?" in str(path):
        raise ValueError(f"a path with a question mark cannot be written as a URL: {path}")
    return DatabaseUrl(f"{scheme}:///{path}{parameters}")


def _webhook(value: object) -> WebhookUrl | None:
    if value is None or isinstance(value, WebhookUrl):
        return value
    # What is wrong is not repeated: it may be a secret.
    if not isinstance(value, str) or not _WEBHOOK.fullmatch(value):
        raise ValueError("should be a URL that begins with http:// or https:// and holds no spaces")
    parts = urlsplit(value)
    if parts.username is not None or not parts.hostname:
        raise ValueError("should be https://SERVER/PATH, without a user or a password before the server")
    return WebhookUrl(value)


def _command(value: object, info: ValidationInfo) -> tuple[str, ...]:
    words = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("should be a list of words, such as [/usr/local/bin/tell, --loudly]")
    if not words:
        return ()
    program, *arguments = words
    if isinstance(value, str) and len(value.split()) > 1:
        raise ValueError("should be a list of words: no shell reads it")
    return (str(_local_path(program, info)), *arguments)


def _one_or_more(value: object) -> object:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else [value]


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _word(value: object) -> object:
    """Undo YAML 1.1, where a plain ``off`` means false."""
    return "off" if value is False else value


LocalPath: TypeAlias = Annotated[Path, BeforeValidator(_local_path)]
Folders: TypeAlias = Annotated[tuple[LocalPath, ...], BeforeValidator(_one_or_more)]


# Validated as a section without keys, so that the paths among its defaults start from the file's folder.
_SECTION: Any = {}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """Take a heading with nothing below it, which YAML reads as null, for an empty section."""
        return {} if value is None else value


class WatchConfig(_Section):
    """Where files arrive, and how they are noticed."""

    raw: Folders = ()
    pfs_config: Folders = Field(default=(), alias="pfsConfig")
    mode: Annotated[Literal["auto", "inotify", "poll", "off"], BeforeValidator(_word)] = "auto"
    settle: Duration = timedelta(seconds=2)
    rescan: PositiveDuration = timedelta(seconds=10)
    follow_links: Literal["folders", "files"] = "folders"
    workers: int = Field(default=4, ge=1, le=64)


class RunsConfig(_Section):
    """The RUN collections; `None` for those that the repository's layout asks for."""

    raw: Annotated[str, Field(min_length=1)] | None = None
    pfs_config: Annotated[str, Field(min_length=1)] | None = Field(default=None, alias="pfsConfig")


class IngestConfig(_Section):
    """How files get into the repository, and how long each is given."""

    transfer: Literal["link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto"] = "link"
    policy: Literal["retry", "fail-fast"] = "retry"
    runs: RunsConfig = _SECTION
    # Eight attempts take two minutes: what passes at all (a lock, a race) passes in seconds, and what lasts
    # is an outage, for which no file is charged.
    max_attempts: int = Field(default=8, ge=1)
    first_delay: PositiveDuration = timedelta(seconds=1)
    max_delay: PositiveDuration = timedelta(minutes=5)
    orphan_after: PositiveDuration = timedelta(hours=36)
    # The longest regular pause in a file is the 11 s between two reads of a ramp; being wrong costs a
    # warning, since a rejected file is looked at again as soon as it grows.
    incomplete_after: PositiveDuration = timedelta(minutes=5)
    # About a second of work, in which tonight's files wait for a backlog and SIGTERM waits for the batch.
    batch_files: int = Field(default=500, ge=1)
    batch_bytes: Size | None = None
    probe_interval: PositiveDuration = timedelta(seconds=5)
    # Long enough for a machine that pauses or a server that restarts, short enough to wait for at night.
    lease: PositiveDuration = timedelta(minutes=1)
    here: bool = True

    @property
    def byte_bound(self) -> int:
        """The most bytes in one batch: those configured, else 1 GB where files are copied, none elsewhere."""
        if self.batch_bytes is not None:
            return self.batch_bytes
        return _COPIED_AT_ONCE if self.transfer in _COPIES else sys.maxsize


class StateConfig(_Section):
    """Where the daemon keeps what it knows of each file."""

    database: Annotated[DatabaseUrl, BeforeValidator(_database), PlainSerializer(str)] = DatabaseUrl(
        "sqlite:///pfs-ingestd.db"
    )


class StatusConfig(_Section):
    """Where the daemon tells how it is, to people and to Prometheus; `None` for no metrics, and no board."""

    file: LocalPath = Path("pfs-ingestd.status.json")
    metrics: LocalPath | None = None
    board: LocalPath | None = None


class NotifyConfig(_Section):
    """Who is told at once of what happens; nobody by default."""

    command: Annotated[tuple[str, ...], BeforeValidator(_command)] = ()
    webhook: Annotated[WebhookUrl | None, BeforeValidator(_webhook), PlainSerializer(_text_or_none)] = None
    kinds: Annotated[
        tuple[Literal["visits", "rejections", "outages"], ...], BeforeValidator(_one_or_more)
    ] = ("visits", "rejections", "outages")
    # In a night of exposures as short as they come, 40 s, no more visits become complete in that time than
    # are told one by one.
    interval: PositiveDuration = timedelta(minutes=5)
    timeout: PositiveDuration = timedelta(seconds=10)


class LogConfig(_Section):
    """What is logged, how and where; `None` for standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    file: LocalPath | None = None


class Config(_Section):
    """All settings. `load_config` makes one, and alone checks that they fit together."""

    repository: Annotated[str, BeforeValidator(_path_or_uri)]
    instrument: str = Field(default="PFS", min_length=1)
    watch: WatchConfig = _SECTION
    ingest: IngestConfig = _SECTION
    state: StateConfig = _SECTION
    status: StatusConfig = _SECTION
    notify: NotifyConfig = _SECTION
    log: LogConfig = _SECTION

    @property
    def repository_path(self) -> Path | None:
        """The repository's place on this machine; `None` if it is elsewhere."""
        if is_elsewhere(self.repository):
            return None
        scheme = _SCHEME.match(self.repository)
        return Path(unquote(urlsplit(self.repository).path) if scheme else self.repository)

    @property
    def lock_file(self) -> Path:
        """The file whose lock says that a daemon is at work: beside the inbox, or else the status file.

        Two configurations that name one inbox, of which one by a link, share the lock.
        """
        beside = Path(os.path.realpath(self.state.database.file or self.status.file))
        return beside.with_name(f"{beside.name}.lock")
