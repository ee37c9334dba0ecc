"""The facts of the stores: inbox, repository, credentials, corrections; and the newest file, tried."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.repository import Features, RepositoryTrial, places_of
from pfs_ingestd.adapters.system import InstanceLock
from pfs_ingestd.config import Config, is_elsewhere
from pfs_ingestd.doctor.facts import Clock, Credentials, Reading
from pfs_ingestd.doctor.findings import Finding, error, ok, warning
from pfs_ingestd.doctor.judgement import of_error, of_reading
from pfs_ingestd.errors import Fatal, IngestdError, Vanished
from pfs_ingestd.exposure import RawHeader
from pfs_ingestd.parts import configured_runs, watched_folder
from pfs_ingestd.pfs import corrections
from pfs_ingestd.pfs.headers import RAW_CARDS
from pfs_ingestd.policy import elsewhere
from pfs_ingestd.ports import Dataset, Stored
from pfs_ingestd.records import Sighting, State, path_text
from pfs_ingestd.redaction import redacted
from pfs_ingestd.text import files_are

__all__ = [
    "corrections_in",
    "credentials_of",
    "future_clock",
    "inbox_findings",
    "newest_file",
    "repository_findings",
    "tried",
]

LOOKED_AT = 2000
"""How many files of the newest folder are looked at for the newest one."""


def inbox_findings(config: Config) -> Iterator[Finding]:
    """Open the inbox as a reader, and see who works on it."""
    if holder := InstanceLock(config.lock_file).holder():
        yield ok(f"a daemon is at work: {holder}")
    url, file = config.state.database, config.state.database.file
    if file is not None and not file.exists():
        yield ok(f"there is no inbox yet; the first start makes {file}")
        return
    try:
        with closing(open_inbox(url.url, read_only=True)) as inbox:
            counts = inbox.counts()
    except Vanished:
        yield ok(f"there is no inbox yet; the first start makes its tables in {url}")
        return
    told = ", ".join(f"{number:,} {state}" for state, number in counts.items() if number)
    yield ok(f"the inbox {url} can be read: {told or 'no files yet'}")
    if rejected := counts[State.REJECTED]:
        yield warning(f"{files_are(rejected)} rejected", "pfs-ingestd list -c CONFIG --state rejected")


def repository_findings(config: Config, *, as_service: bool) -> Iterator[Finding]:
    """Open the repository, write to it and take that back, and see whether what it holds can be read.

    Parameters
    ----------
    config : `Config`
        The configuration.
    as_service : `bool`
        Whether this process has the rights of the service: else what it may not do says little.
    """
    fault: Finding | None = None
    exclusive = True
    try:
        trial = _trial(config, writeable=True)
    except IngestdError as failure:
        fault = _of_writing(failure, as_service=as_service)
        trial = _trial(config, writeable=False)
    with closing(trial):
        features = trial.features()
        if fault is None:
            try:
                trial.check_writeable()
                exclusive = trial.is_exclusive()
            except IngestdError as failure:
                fault = _of_writing(failure, as_service=as_service)
    runs = ", ".join(sorted(set(features.runs.values())))
    yield ok(
        f"{config.repository} can be read: dimensions {features.universe}, visits are called"
        f" {features.observation}, runs {runs}"
    )
    yield fault or ok("registry and datastore can be written to; nothing was left there")
    if not exclusive:
        lacking = "conditional copies" if is_elsewhere(features.datastore) else "hard links"
        yield warning(
            f"the datastore {features.datastore} has no {lacking}: of several hosts, one that was stopped for"
            " minutes may overwrite what another has stored since",
            "nothing, with one host; several had better have another store (docs/servers.md)",
        )
    if is_elsewhere(features.datastore):
        try:
            elsewhere(config.ingest.transfer, features.datastore)
        except Fatal as failure:
            yield of_error(failure)
    yield from map(of_reading, readings_of(features))


def _of_writing(failure: IngestdError, *, as_service: bool) -> Finding:
    found = of_error(failure)
    if as_service:
        return error(found.text, found.cure)
    return warning(found.text, "run doctor as the service's user: sudo -u USER")


def readings_of(features: Features) -> Iterator[Reading]:
    """Try to import the formatters that the repository names."""
    for dataset_type, name in features.formatters.items():
        module, _, attribute = name.rpartition(".")
        trouble = ""
        try:
            getattr(import_module(module), attribute)
        except Exception as failure:  # noqa: BLE001 (a foreign package may do anything when it is imported)
            trouble = f"{type(failure).__name__}: {failure}"
        yield Reading(dataset_type=dataset_type, formatter=name, trouble=trouble)


def corrections_in(folders: Sequence[Path], instrument: str) -> Iterator[Finding]:
    """See that corrections of headers are found, and that one of them can be applied."""
    if not folders:
        yield ok("no corrections of headers are named ($METADATA_CORRECTIONS_PATH is not set)")
    for folder in folders:
        try:
            names = sorted(path.name for path in folder.iterdir() if path.suffix == ".yaml")
        except OSError as failure:
            cure = "correct $METADATA_CORRECTIONS_PATH, or make the folder readable for the service"
            yield error(f"the folder of corrections {folder}: {failure.strerror}", cure)
            continue
        ours = [
            name
            for name in names
            if name.startswith(f"{instrument}-") and name[len(instrument) + 1 : -5].isdecimal()
        ]
        if not ours:
            cure = f"corrections are called {instrument}-VISIT.yaml"
            yield warning(f"{folder} holds no correction for {instrument}, of {len(names)} YAML files", cure)
            continue
        yield from _self_test(folder, instrument, ours)


def _self_test(folder: Path, instrument: str, names: Sequence[str]) -> Iterator[Finding]:
    newest = max(names, key=lambda name: int(name[len(instrument) + 1 : -5]))
    visit = int(newest[len(instrument) + 1 : -5])
    try:
        found = corrections.find([folder], instrument, visit)
    except IngestdError as failure:
        yield of_error(failure)
        return
    used = sorted(found.keys() & RAW_CARDS)
    corrects = ", ".join(used) or "nothing"
    yield ok(f"{folder} holds {len(names)} corrections; {newest} is found and corrects {corrects}")
    if unused := sorted(found.keys() - set(RAW_CARDS)):
        yield warning(
            f"{folder / newest} names cards that are not used: {', '.join(unused)}",
            "see docs/exposure-record.md",
        )


def credentials_of(config: Config, environ: Mapping[str, str], home: Path) -> Iterator[Credentials]:
    """Tell where credentials for servers may come from; none is read."""
    if config.state.database.file is None:
        yield _postgresql("inbox", config.state.database.url, environ, home)
    places = places_of(config.repository)
    if places.registry is None:
        yield _postgresql("registry", "", environ, home)
    if places.datastore is None:
        yield _s3(config.repository, environ, home)


def _postgresql(what: str, url: str, environ: Mapping[str, str], home: Path) -> Credentials:
    sources = [
        f"${name}"
        for name in ("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "LSST_DB_AUTH")
        if environ.get(name)
    ]
    if url and redacted(url) != url:
        sources.insert(0, "state.database")
    files = [Path(environ.get("PGPASSFILE") or home / ".pgpass"), home / ".lsst" / "db-auth.yaml"]
    there, exposed = _seen(files)
    package = "" if find_spec("psycopg2") or find_spec("psycopg") else "psycopg2-binary"
    return Credentials(
        what=what,
        server=redacted(url) or "a PostgreSQL server",
        sources=[*sources, *there],
        exposed=exposed,
        missing_package=package,
    )


def _s3(repository: str, environ: Mapping[str, str], home: Path) -> Credentials:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "LSST_RESOURCES_S3_PROFILE")
    sources = [f"${name}" for name in names if any(key.startswith(name) and environ[key] for key in environ)]
    files = [Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")]
    there, _ = _seen(files)
    endpoint = environ.get("S3_ENDPOINT_URL", "")
    server = redacted(endpoint) or urlsplit(repository).netloc or "another host than this"
    return Credentials(
        what="datastore",
        server=server,
        sources=[*sources, *there],
        missing_package="" if find_spec("boto3") else "boto3",
    )


def _seen(files: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Tell which files are there, and which of them others may read."""
    there, exposed = [], []
    for file in files:
        with suppress(OSError):
            mode = file.stat().st_mode
            there.append(str(file))
            if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                exposed.append(str(file))
    return there, exposed


def newest_file(config: Config) -> Sighting | None:
    """Find the newest of our files in the folder that a scan comes to first and that has any."""
    folder = watched_folder(config)
    for listing in folder.scan({}):
        if listing is None or not listing.names:
            continue
        paths = [listing.mark.folder / name for name in sorted(listing.names)[-LOOKED_AT:]]
        seen = [sighting for path in paths if (sighting := folder.look(path))]
        if seen:
            return max(seen, key=lambda sighting: sighting.mtime_ns)
    return None


def future_clock(sighting: Sighting, now: float) -> Clock:
    """Compare the time of a file with ours: only one from the future tells anything."""
    return Clock(
        what="watched folders' server",
        ahead=timedelta(seconds=max(sighting.mtime_ns / 1e9 - now, 0.0)),
        exact=False,
    )


def tried(config: Config, folders: Sequence[Path]) -> Iterator[Finding]:
    """Do with the newest file all that ingestion does, but for storing it."""
    sighting = newest_file(config)
    if sighting is None:
        yield warning(
            "there is no file of PFS in the watched folders to be tried", "deliver one, then run this again"
        )
        return
    name = path_text(sighting.path)
    with closing(FitsHeaders(corrections=folders)) as headers:
        [header] = headers.read([sighting])
        if isinstance(header, IngestdError):
            cure = (
                "if it is still being written this is as it should be; else: pfs-ingestd show -c CONFIG PATH"
            )
            yield warning(f"the newest file, {name}: [{header.code}] {header.message}", cure)
            return
        exposure = headers.exposure(header) if isinstance(header, RawHeader) else None
    with closing(_trial(config, writeable=False)) as trial:
        try:
            outcome = trial.outcome(Dataset(sighting.path, header, sighting), exposure)
        except IngestdError as failure:
            yield error(
                f"the newest file, {name}, would not go in: [{failure.code}] {failure.message}",
                failure.hint or "pfs-ingestd show -c CONFIG PATH",
            )
            return
    match outcome.result:
        case Stored.CONFLICT:
            yield warning(
                f"the newest file, {name}: other content is stored under its data ID: {outcome.where}",
                "see Conflicts in docs/operations.md",
            )
        case Stored.NO_EXPOSURE:
            yield ok(f"the newest file, {name}, can be read; it would wait for a raw of its visit")
        case Stored.ALREADY_THERE:
            yield ok(f"the newest file, {name}, can be read, and is stored already: {outcome.where}")
        case _:
            yield ok(
                f"the newest file, {name}, can be read, and would be stored as dataset {outcome.dataset_id}"
            )


def _trial(config: Config, *, writeable: bool) -> RepositoryTrial:
    return RepositoryTrial(
        config.repository,
        runs=configured_runs(config),
        instrument=config.instrument,
        writeable=writeable,
    )
