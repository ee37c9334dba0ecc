"""A new repository for PFS, or what one lacks of being one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lsst.daf.butler import (  # type: ignore[attr-defined]  # CollectionType is not in an __all__
    Butler,
    CollectionType,
    Config,
    DatasetType,
    DimensionConfig,
    DimensionRecord,
    DimensionUniverse,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry.interfaces import SchemaAlreadyDefinedError
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.failures import classify, unsuitable
from pfs_ingestd.adapters.repository.layout import CONFIG, RAW, observation_of, usual_runs
from pfs_ingestd.adapters.repository.servers import prepare_datastore, prepare_registry, whole_path
from pfs_ingestd.adapters.repository.session import configuration_of, let_go
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage
from pfs_ingestd.pfs.instrument import (
    DETECTOR_MAX,
    DETECTORS,
    FILTERS,
    GUIDER_ARM,
    SPECTROGRAPHS,
    VISIT_MAX,
)
from pfs_ingestd.redaction import redacted
from pfs_ingestd.text import counted

__all__ = ["CreateReport", "create_repository"]

# Without a dot: daf_butler would take what follows it for a file type.
UNFINISHED = "pfs-ingestd-init"
INSTRUMENT_CLASS = "lsst.obs.pfs.PrimeFocusSpectrograph"

Row: TypeAlias = Mapping[str, int | str]

_Wanted: TypeAlias = Mapping[tuple[str, str], str | None]


@dataclass(frozen=True)
class CreateReport:
    """What was done to a repository.

    Parameters
    ----------
    root : `str`
        The repository.
    created : `bool`
        Whether it was made from nothing.
    added : `tuple` [`str`, ...]
        What it lacked and now has, in words.
    """

    root: str
    created: bool
    added: tuple[str, ...]

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.root} has everything already: nothing was changed"
        deed = "created the Butler repository" if self.created else "completed the Butler repository"
        return "\n".join((f"{deed} {self.root}:", *(f"  + {thing}" for thing in self.added)))

    @property
    def changed(self) -> bool:
        """Whether anything was done at all."""
        return self.created or bool(self.added)


def create_repository(
    root: str,
    *,
    registry: str | None = None,
    datastore: str | None = None,
    schema: str | None = None,
    instrument: str = "PFS",
    seed_config: Path | None = None,
    dimension_config: Path | None = None,
) -> CreateReport:
    """Make a repository for PFS, or add to an existing one what it lacks.

    Parameters
    ----------
    root : `str`
        Folder or URI.
    registry : `str`, optional
        URL of the registry's database; a SQLite file in the folder if not given.
    datastore : `str`, optional
        URI of the datastore; the folder itself if not given.
    schema : `str`, optional
        Schema of the database that the registry's tables are in; what is usual for this user if not given.
    instrument : `str`, optional
        Name of the instrument.
    seed_config, dimension_config : `~pathlib.Path`, optional
        Configuration and dimensions of a new repository, instead of ours; as in ``butler create``.

    Returns
    -------
    report : `CreateReport`
        What was done.

    Raises
    ------
    Fatal
        If there is something else at this place, or a repository whose dimensions are not those of PFS, or
        whose registry and datastore are elsewhere; if a URL has a password in it, or a right is missing.
    Outage
        If it cannot be written to.
    """
    try:
        wanted = {
            ("registry", "db"): registry,
            ("registry", "namespace"): schema,
            ("datastore", "root"): whole_path(datastore) if datastore else None,
        }
        prepare_datastore(root)
        configuration = configuration_of(root)
        with _place(configuration.dirname()) as place:
            created = not configuration.exists()
            if created:
                config, keep_roots = _seed(seed_config, wanted)
                prepare_registry(config)
                prepare_datastore(str(config["datastore", "root"]))
                dimensions = DimensionConfig(str(dimension_config or "") or _ours("dimensions.yaml"))
                observation_of(DimensionUniverse(dimensions))
                _make(place, configuration, config, dimensions, keep_roots=keep_roots)
        if not created:
            _check_same(configuration, wanted)
        butler = Butler.from_config(configuration, writeable=True)
        try:
            return CreateReport(root, created, tuple(_complete(butler, instrument)))
        finally:
            let_go(butler)
    except IngestdError:
        raise
    except Exception as error:
        meaning = classify(error)
        if isinstance(meaning, Outage):
            # Nothing goes on by itself here.
            again = (
                "correct that, and run it again; docs/servers.md says where credentials and rights come from"
            )
            hint = meaning.hint if meaning.code is Code.CREDENTIALS_REFUSED else again
            raise Outage(meaning.code, redacted(meaning.message), hint=hint) from error
        if isinstance(meaning, Fatal):
            raise meaning from error
        raise Fatal(
            Code.CONFIGURATION,
            redacted(f"the repository cannot be made: {type(error).__name__}: {error}"),
            hint="check the configuration files and URLs given",
        ) from error


@dataclass(frozen=True)
class _Place:
    """Where a repository is, or is to be.

    Parameters
    ----------
    workshop : `~pathlib.Path`
        A local folder to make it in; what is in it counts for nothing until the configuration file, last of
        all, is put in its final place.
    folder : `~pathlib.Path` or `None`
        The final place, if it is local.
    interrupted : `bool`
        Whether an earlier attempt did not come to its end.
    """

    workshop: Path
    folder: Path | None
    interrupted: bool = False


@contextmanager
def _place(root: ResourcePath) -> Iterator[_Place]:
    """Occupy the place of a repository while it is being made."""
    if not root.isLocal:
        with tempfile.TemporaryDirectory() as temporary:
            yield _Place(Path(temporary), None)
        return
    folder = Path(root.ospath)
    if folder.exists() and not folder.is_dir():
        raise Fatal(Code.CONFIGURATION, f"{folder} is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Fatal(Code.ALREADY_RUNNING, f"another `pfs-ingestd init` is at work in {folder}") from error
        workshop = folder / UNFINISHED
        place = _Place(workshop, folder, interrupted=workshop.exists())
        try:
            yield place
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    finally:
        os.close(descriptor)


def _make(
    place: _Place,
    configuration: ResourcePath,
    config: Config,
    dimensions: DimensionConfig,
    *,
    keep_roots: bool,
) -> None:
    """Make a repository that has nothing in it yet."""
    begun = configuration.updatedFile(UNFINISHED)
    interrupted = place.interrupted
    if place.folder is not None:
        _clear(place.folder, interrupted=interrupted)
    elif not str(config["registry", "db"]).startswith("sqlite"):
        # What a folder says by being there, where there are no folders.
        registry = str(config["registry"]).encode()
        interrupted = begun.exists() and begun.read() == registry
        begun.write(registry)
    else:
        raise Fatal(
            Code.CONFIGURATION,
            f"a repository at {configuration.dirname()} cannot have its registry in a SQLite file there",
            hint="give the URL of a PostgreSQL database with --registry",
        )
    try:
        Butler.makeRepo(
            str(place.workshop), config=config, dimensionConfig=dimensions, forceConfigRoot=not keep_roots
        )
    except SchemaAlreadyDefinedError as error:
        # The registry is made in one transaction, so an interrupted attempt has made all of it or nothing.
        if not interrupted:
            if place.folder is None:
                begun.remove()
            raise Fatal(
                Code.CONFIGURATION,
                "the registry's database holds another repository already",
                hint="give the URL of an empty database with --registry",
            ) from error
    made = sorted(place.workshop.iterdir(), key=lambda path: path.name == configuration.basename())
    for path in made:
        if place.folder is not None:
            path.rename(place.folder / path.name)
        elif path.name == configuration.basename():
            configuration.transfer_from(ResourcePath(str(path)), transfer="copy")
            begun.remove()


def _clear(folder: Path, *, interrupted: bool) -> None:
    """See that there is nothing but what an interrupted attempt has left, and remove that."""
    found = {path.name: path for path in folder.iterdir()}
    workshop = found.pop(UNFINISHED, None)
    if workshop is not None:
        shutil.rmtree(workshop)
    foreign = [path for path in found.values() if not (interrupted and path.suffix == ".sqlite3")]
    if foreign:
        raise Fatal(
            Code.CONFIGURATION,
            f"{folder} is not a Butler repository, and not empty",
            hint="give a new or empty folder, or an existing repository",
        )
    for path in found.values():
        path.unlink()


def _seed(path: Path | None, wanted: _Wanted) -> tuple[Config, bool]:
    """Get the configuration of a new repository, and tell whether the places that it names are meant."""
    config = Config(str(path) if path else _ours("butler.yaml"))
    given = {key: value for key, value in wanted.items() if value}
    for key, value in given.items():
        config[key] = value
    # Of a seed that is somebody else's, Butler takes no place for meant.
    for key, usual in (
        (("datastore", "root"), "<butlerRoot>"),
        (("registry", "db"), "sqlite:///<butlerRoot>/gen3.sqlite3"),
    ):
        if key not in config:
            config[key] = usual
    return config, path is None or bool(given)


def _check_same(configuration: ResourcePath, wanted: _Wanted) -> None:
    """See that a repository is where it is wanted."""
    config = Config(configuration)
    for key, value in wanted.items():
        if value and value != (there := str(config.get(key, ""))):
            raise Fatal(
                Code.CONFIGURATION,
                f"{configuration} is a repository already, and its {'.'.join(key)} is {redacted(there)!r},"
                f" not {redacted(value)!r}",
                hint="leave that option out to complete this repository, or make another one elsewhere",
            )


def _ours(name: str) -> ResourcePath:
    return ResourcePath(f"resource://pfs_ingestd.pfs/seed/{name}")


def _complete(butler: Butler, instrument: str) -> Iterator[str]:
    """Add what a repository lacks, telling what."""
    observation = observation_of(butler.dimensions)
    yield from _add_records(butler, instrument)
    yield from _add_dataset_types(butler, observation)
    yield from _add_collections(butler, instrument)


def _add_records(butler: Butler, instrument: str) -> Iterator[str]:
    rows = _rows(instrument)
    for element in butler.dimensions.elements:
        # Where bands are what the filters say they are, there is nothing to be registered.
        if element.name not in rows or not element.has_own_table:
            continue
        columns = {column.name: column.nullable for column in element.schema.all}
        wanted: dict[tuple[object, ...], DimensionRecord] = {}
        for row in rows[element.name]:
            known = {name: value for name, value in row.items() if name in columns}
            if lacking := sorted(name for name, null in columns.items() if not null and name not in known):
                raise unsuitable(f"nothing says what {element.name}.{lacking[0]} of {known} is")
            record = element.RecordClass(**known)
            wanted.setdefault(tuple(record.dataId.required_values), record)
        with butler.transaction():
            there = {
                tuple(record.dataId.required_values)
                for record in butler.query_dimension_records(
                    element.name, instrument=instrument, explain=False, limit=None
                )
            }
            missing = [record for key, record in wanted.items() if key not in there]
            butler.registry.insertDimensionData(element.name, *missing)
        if missing:
            yield f"{counted(len(missing), 'record')} of {element.name}"


def _rows(instrument: str) -> Mapping[str, Sequence[Row]]:
    """Describe the instrument, in more words than a repository may want."""
    of = {"instrument": instrument}
    return {
        "instrument": [
            {
                "name": instrument,
                "exposure_max": VISIT_MAX,
                "visit_max": VISIT_MAX,
                "detector_max": DETECTOR_MAX,
                "class_name": INSTRUMENT_CLASS,
            }
        ],
        "band": [{"name": name} for name in FILTERS],
        "physical_filter": [{**of, "name": name, "band": name} for name in FILTERS],
        "spectrograph": [{**of, "num": number} for number in SPECTROGRAPHS],
        "detector": [
            {
                **of,
                "id": detector.id,
                "full_name": detector.full_name,
                "arm": detector.arm,
                "spectrograph": detector.spectrograph,
                "name_in_raft": detector.arm,
                "raft": str(detector.spectrograph),
                "purpose": "GUIDE" if detector.arm == GUIDER_ARM else "SCIENCE",
            }
            for detector in DETECTORS
        ],
        # Where an arm has one detector, that of the guiders has the first of them.
        "arm": [
            {**of, "name": detector.arm, "spectrograph": detector.spectrograph, "detector": detector.id}
            for detector in DETECTORS
        ],
    }


def _add_dataset_types(butler: Butler, observation: str) -> Iterator[str]:
    # Repositories whose observations are visits do not have the detector in the data ID of a raw.
    camera = ("arm", "spectrograph", "detector") if observation == "exposure" else ("arm", "spectrograph")
    for name, storage_class, dimensions in (
        (RAW, "PfsRaw", ("instrument", observation, *camera)),
        (CONFIG, "PfsConfig", ("instrument", observation)),
    ):
        try:
            butler.get_dataset_type(name)
        except MissingDatasetTypeError:
            dataset_type = DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
            try:
                butler.registry.registerDatasetType(dataset_type)
            except KeyError as unknown:
                raise unsuitable(
                    f"its configuration has no storage class {storage_class} for datasets {name!r}",
                    hint="add it to the repository's butler.yaml, under storageClasses, and what reads it,"
                    f" under datastore, formatters, {storage_class}",
                ) from unknown
            yield f"dataset type {name}"


def _add_collections(butler: Butler, instrument: str) -> Iterator[str]:
    runs = usual_runs(butler, instrument)
    calibrations, chain = f"{instrument}/calib", f"{instrument}/defaults"
    for name, kind in (
        *((run, CollectionType.RUN) for run in runs.values()),
        (calibrations, CollectionType.CALIBRATION),
        (chain, CollectionType.CHAINED),
    ):
        if butler.collections.register(name, kind):
            yield f"{kind.name} collection {name}"
    if not butler.collections.get_info(chain).children:
        butler.collections.redefine_chain(chain, [*runs.values(), calibrations])
        yield f"members of {chain}"
