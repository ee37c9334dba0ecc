"""The examination: one check after the other, each bounded in time, each of which ends with findings."""

import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfs_ingestd.adapters.asking import ask
from pfs_ingestd.adapters.filesystems import only_written_here
from pfs_ingestd.adapters.repository import places_of
from pfs_ingestd.config import Config, load_config, written_files
from pfs_ingestd.doctor import judgement, machine, stores
from pfs_ingestd.doctor.facts import Unit
from pfs_ingestd.doctor.findings import Finding, error, ok, warning
from pfs_ingestd.errors import Code, IngestdError
from pfs_ingestd.install import SERVICE_PATHS
from pfs_ingestd.parts import roots_of, watched_folder
from pfs_ingestd.pfs.corrections import search_path

__all__ = ["CHECKS", "Check", "Patient", "examine"]

SECONDS = 20.0
"""How long a check may take, as a rule."""

LONG_SECONDS = 60.0
"""How long a check may take that opens the repository, or reads a file."""

COUNTING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined.

    Parameters
    ----------
    config : `Config`
        The configuration.
    config_file : `~pathlib.Path`
        Where it was read from.
    environ : `~collections.abc.Mapping` [`str`, `str`]
        The environment of the service, as far as it is known.
    unit : `Unit`
        The installed service.
    account : `~pfs_ingestd.doctor.machine.Account`
        Whose rights are looked at.
    """

    config: Config
    config_file: Path
    environ: Mapping[str, str]
    unit: Unit
    account: machine.Account


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Parameters
    ----------
    name : `str`
        Its name.
    look : `~collections.abc.Callable`
        Looks, and gives what it finds.
    seconds : `float`
        How long it may take.
    """

    name: str
    look: Callable[[Patient], Iterable[Finding]]
    seconds: float = SECONDS


def examine(
    config_file: Path,
    environ: Mapping[str, str],
    *,
    user: str | None,
    begin: Callable[[str], None],
    checks: Sequence[Check] | None = None,
) -> Iterator[tuple[str, Finding]]:
    """Make all checks, one after the other.

    Parameters
    ----------
    config_file : `~pathlib.Path`
        The configuration file.
    environ : `~collections.abc.Mapping` [`str`, `str`]
        The environment.
    user : `str` or `None`
        The account of the service; `None` for that of the installed unit, or else this one.
    begin : `~collections.abc.Callable`
        Told the name of each check before it is made.
    checks : `~collections.abc.Sequence` [`Check`], optional
        Others than `CHECKS`.

    Yields
    ------
    name : `str`
        The check.
    finding : `Finding`
        What it found.
    """
    begin("configuration")
    unit = machine.unit_at(SERVICE_PATHS["service"])
    environ = machine.environment_of(unit, environ)
    try:
        config = load_config(config_file, environ)
    except IngestdError as failure:
        yield "configuration", judgement.of_error(failure)
        return
    yield "configuration", ok(f"{config_file} has no mistakes in itself")
    wanted = user or (unit.user if unit.exists else None)
    account = machine.account_of(wanted)
    if account is None:
        cure = "systemd-sysusers makes the account of the service; rights are looked at as this user"
        yield "configuration", error(f"there is no account {wanted}", cure)
        account, wanted = machine.account_of(None), None
    if account is None:
        return
    if wanted is None and account.uid == 0:
        cure = "name the service's account with --user, or install the unit first"
        yield "configuration", warning("rights are looked at as root, who has all of them", cure)
    patient = Patient(
        config=config,
        config_file=config_file.absolute(),
        environ=environ,
        unit=unit,
        account=account,
    )
    told: dict[str, str] = {}
    for check in CHECKS if checks is None else checks:
        begin(check.name)
        for finding in _made(check, patient, told):
            yield check.name, finding


def _made(check: Check, patient: Patient, told: dict[str, str]) -> Iterator[Finding]:
    """Make a check; whatever becomes of it is a finding. What it found before it failed is kept.

    What fails several checks is told in full under the first of them, whose name is noted.
    """
    found: list[Finding] = []

    def look() -> None:
        for finding in check.look(patient):
            found.append(finding)  # noqa: PERF402 (what was found before a failure is kept)

    failure: Finding | None = None
    try:
        ask(look, seconds=check.seconds, what=f"the check of {check.name}", code=Code.UNREADABLE)
    except IngestdError as trouble:
        failure = judgement.of_error(trouble)
    except Exception as trouble:  # noqa: BLE001 (a check that fails is a finding, whatever made it fail)
        text = f"the check itself failed: {type(trouble).__name__}: {trouble}"
        failure = error(text, "look at what it names; if that is in order, report this as a bug")
    yield from list(found)
    if failure is None:
        return
    first = told.setdefault(failure.text, check.name)
    if first != check.name:
        failure = failure._replace(text=f"this could not be looked at, by what is told of {first}")
    yield failure


def _folders(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    wanted = "rwx" if config.ingest.transfer == "move" else "rx"
    for root in roots_of(config):
        yield _right(patient, "watched folder", root, wanted)
    places = places_of(config.repository)
    for what, place in (("datastore", places.datastore), ("folder of the registry", places.registry)):
        if place is not None:
            yield _right(patient, what, place, "rwx")


def _files(patient: Patient) -> Iterator[Finding]:
    for key, file in written_files(patient.config).items():
        yield _right(patient, f"folder of {key}", file.parent, "wx")
        if file.exists():
            right = machine.right_to(key, file, "rw", patient.account, folder=False)
            yield judgement.of_right(right)


def _right(patient: Patient, what: str, path: Path, wanted: str) -> Finding:
    return judgement.of_right(machine.right_to(what, path, wanted, patient.account))


def _disks(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    places = places_of(config.repository)
    named = [("watched", root) for root in roots_of(config)]
    for what, place in (
        ("datastore", places.datastore),
        ("registry", places.registry),
        ("inbox", config.state.database.file and config.state.database.file.parent),
        ("status", config.status.file.parent),
    ):
        if place is not None:
            named.append((what, place))
    disks = [machine.disk_of(what, path) for what, path in named]
    yield from judgement.of_disks(disks, transfer=config.ingest.transfer, mode=config.watch.mode)


def _inotify(patient: Patient) -> Iterator[Finding]:
    mode = patient.config.watch.mode
    roots = [
        root
        for root in roots_of(patient.config)
        if mode == "inotify" or (mode == "auto" and only_written_here(root))
    ]
    subfolders = watched_folder(patient.config).subfolders
    yield judgement.of_inotify(machine.inotify_of(roots, subfolders, COUNTING_SECONDS))


def _inbox(patient: Patient) -> Iterator[Finding]:
    yield from stores.inbox_findings(patient.config)


def _repository(patient: Patient) -> Iterator[Finding]:
    yield from stores.repository_findings(patient.config, as_service=patient.account.is_mine)


def _corrections(patient: Patient) -> Iterator[Finding]:
    yield from stores.corrections_in(search_path(patient.environ), patient.config.instrument)


def _clocks(patient: Patient) -> Iterator[Finding]:
    datastore = places_of(patient.config.repository).datastore
    for what, folder in (
        ("datastore's server", datastore),
        ("status file's disk", patient.config.status.file.parent),
    ):
        if folder is None:
            continue
        try:
            yield judgement.of_clock(machine.clock_of(what, folder))
        except OSError as trouble:
            yield warning(
                f"the clock of the {what} is not known: {trouble.strerror}: {folder}",
                "run doctor as the service's user",
            )
    newest = stores.newest_file(patient.config)
    if newest is not None:
        yield judgement.of_clock(stores.future_clock(newest, time.time()))


def _service(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    places = places_of(config.repository)
    needed = {file.parent for file in written_files(config).values()} | {config.lock_file.parent}
    needed |= {place for place in places if place}
    if config.ingest.transfer == "move":
        needed |= set(roots_of(config))
    real = sorted({Path(folder).resolve() for folder in needed})
    yield from judgement.of_unit(patient.unit, config_file=patient.config_file, needed=real)


def _credentials(patient: Patient) -> Iterator[Finding]:
    found = list(stores.credentials_of(patient.config, patient.environ, patient.account.home))
    for each in found:
        yield from judgement.of_credentials(each)
    if not found:
        yield ok("no server needs credentials: inbox, registry and datastore are on this machine")


def _notifications(patient: Patient) -> Iterator[Finding]:
    notify = patient.config.notify
    if notify.command:
        program = Path(notify.command[0])
        right = machine.right_to("notify.command", program, "x", patient.account, folder=False)
        yield judgement.of_program(right)
    if notify.webhook:
        own = "PFS_INGESTD__NOTIFY__WEBHOOK" in patient.environ
        public = not own and bool(patient.config_file.stat().st_mode & stat.S_IROTH)
        yield judgement.of_secret(f"notify.webhook {notify.webhook}", patient.config_file, public=public)
    if not (notify.command or notify.webhook):
        yield ok("nobody is told of anything: notify.command and notify.webhook are not set")


def _newest(patient: Patient) -> Iterator[Finding]:
    yield from stores.tried(patient.config, search_path(patient.environ))


CHECKS: Sequence[Check] = (
    Check("watched folders and repository", _folders),
    Check("files of its own", _files),
    Check("file systems", _disks),
    Check("inotify", _inotify),
    Check("service", _service),
    Check("credentials", _credentials),
    Check("notifications", _notifications),
    Check("inbox", _inbox),
    Check("repository", _repository, LONG_SECONDS),
    Check("header corrections", _corrections),
    Check("clocks", _clocks),
    Check("newest file", _newest, LONG_SECONDS),
)
"""All checks, in the order in which one mends what they find."""
