"""What a repository is like: its dimensions, dataset types, columns and formatters, as it says itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import (  # type: ignore[attr-defined]  # CollectionType is not in an __all__
    Butler,
    CollectionType,
    Config,
    DatasetRef,
    DatasetType,
    Dimension,
    DimensionElement,
    DimensionUniverse,
    FormatterV2,
    MissingDatasetTypeError,
)
from lsst.daf.butler.datastore.file_templates import FileTemplates
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.columns import EXPOSURE, check_fillable, of_value
from pfs_ingestd.adapters.repository.failures import unsuitable

__all__ = ["ADD", "CONFIG", "OBSERVATIONS", "RAW", "Layout", "discover", "observation_of", "usual_runs"]

RAW = "raw"
"""Name of the dataset type of raws."""

CONFIG = "pfsConfig"
"""Name of the dataset type of pfsConfigs."""

OBSERVATIONS = ("exposure", "visit")
"""What the dimension of an exposure may be called; there is one of them, not both."""

ADD = "`pfs-ingestd init REPO` adds what is missing"
"""What to do about a repository that lacks something."""

RAW_RUNS = {"exposure": "all", "visit": "sps"}
CAMERA = frozenset({"arm", "spectrograph", "detector"})
EXTENSIONS = frozenset({".fits", ".fits.gz", ".fits.fz"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one repository wants raws and pfsConfigs to be stored.

    Parameters
    ----------
    raw, config : `~lsst.daf.butler.DatasetType`
        The two dataset types.
    observation : `~lsst.daf.butler.Dimension`
        The dimension of an exposure.
    values : `tuple` [`~lsst.daf.butler.Dimension`]
        Dimensions that the exposure implies, and of which it says all that is to be known.
    tables : `tuple` [`~lsst.daf.butler.Dimension`]
        The other dimensions of a dataset: small tables of what the instrument is made of.
    catalogue : `~lsst.daf.butler.Dimension` or `None`
        The dimension of a catalogue, where the repository has it.
    catalogue_join : `~lsst.daf.butler.DimensionElement` or `None`
        What joins it to the exposure.
    raw_run, config_run : `str`
        The RUN collections.
    raw_formatter, config_formatter : `type` [`~lsst.daf.butler.FormatterV2`]
        The formatters to be recorded.
    templates : `~lsst.daf.butler.datastore.file_templates.FileTemplates`
        How artifacts are named.
    """

    raw: DatasetType
    config: DatasetType
    observation: Dimension
    values: tuple[Dimension, ...]
    tables: tuple[Dimension, ...]
    catalogue: Dimension | None
    catalogue_join: DimensionElement | None
    raw_run: str
    config_run: str
    raw_formatter: type[FormatterV2]
    config_formatter: type[FormatterV2]
    templates: FileTemplates

    def place(self, ref: DatasetRef, extension: str) -> ResourcePath:
        """Tell where Butler stores a file that it is given, below the root of the datastore.

        Parameters
        ----------
        ref : `~lsst.daf.butler.DatasetRef`
            The dataset.
        extension : `str`
            How the name of the file ends, the dot included.
        """
        path = self.templates.getTemplate(ref).format(ref)
        if "." not in path.rpartition("/")[2]:
            # Most templates say no extension, and to look for it with ResourcePath takes as long as they do.
            return ResourcePath(path + extension, forceAbsolute=False, forceDirectory=False)
        return ResourcePath(path, forceAbsolute=False, forceDirectory=False).updatedExtension(extension)


def discover(butler: Butler, config: Config, *, instrument: str, runs: Mapping[str, str]) -> Layout:
    """Learn from a repository how it wants raws and pfsConfigs to be stored.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    config : `~lsst.daf.butler.Config`
        Its configuration, defaults included.
    instrument : `str`
        Name of the instrument.
    runs : `~collections.abc.Mapping` [`str`, `str`]
        Dataset type -> RUN collection, where another one is wanted than the repository's usual.

    Raises
    ------
    Fatal
        If the repository lacks what is needed, or needs what we do not know.
    """
    universe = butler.dimensions
    observation = universe.dimensions[observation_of(universe)]
    raw, pfs_config = _dataset_type(butler, RAW), _dataset_type(butler, CONFIG)
    _check_identity(raw, observation, CAMERA)
    _check_identity(pfs_config, observation, frozenset())
    values, tables = _dimensions((raw, pfs_config), observation)
    catalogue, join = _catalogue(universe, observation)
    datastore = config["datastore"].toDict()
    templates = FileTemplates(datastore.get("templates", {}), universe=universe)
    _check_templates((raw, pfs_config), templates)
    usual = usual_runs(butler, instrument)
    return Layout(
        raw=raw,
        config=pfs_config,
        observation=observation,
        values=values,
        tables=tables,
        catalogue=catalogue,
        catalogue_join=join,
        raw_run=runs.get(RAW, usual[RAW]),
        config_run=runs.get(CONFIG, usual[CONFIG]),
        raw_formatter=_formatter(datastore, universe, raw, instrument),
        config_formatter=_formatter(datastore, universe, pfs_config, instrument),
        templates=templates,
    )


def observation_of(universe: DimensionUniverse) -> str:
    """Find what a universe calls the dimension of an exposure.

    Raises
    ------
    Fatal
        If there is none, or it is not clear which.
    """
    # The universe that daf_butler comes with has both, with another meaning; only one of ours has the design.
    found = [
        name
        for name in OBSERVATIONS
        if name in universe.dimensions.names and "pfs_design_id" in universe[name].implied
    ]
    if len(found) != 1:
        raise unsuitable(
            "it has no dimension exposure (or visit) that implies pfs_design_id: it was not made for PFS",
            hint="dimensions cannot be changed; `pfs-ingestd init` makes a repository that has them",
        )
    return found[0]


def usual_runs(butler: Butler, instrument: str) -> Mapping[str, str]:
    """Name the RUN collections in which a repository has, or is to have, its raws and pfsConfigs.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    """
    usual = RAW_RUNS[observation_of(butler.dimensions)]
    names = [f"{instrument}/raw/{name}" for name in sorted(RAW_RUNS.values(), key=lambda name: name != usual)]
    there = butler.collections.query(f"{instrument}/raw/*", collection_types=CollectionType.RUN)
    return {
        RAW: next((name for name in names if name in there), names[0]),
        CONFIG: f"{instrument}/raw/{CONFIG}",
    }


def _dataset_type(butler: Butler, name: str) -> DatasetType:
    try:
        return butler.get_dataset_type(name)
    except MissingDatasetTypeError as error:
        raise unsuitable(f"it has no dataset type {name!r}", hint=ADD) from error


def _check_identity(dataset_type: DatasetType, observation: Dimension, camera: frozenset[str]) -> None:
    """See that what a file says is enough to identify its dataset, and that the dataset is not of more."""
    required = set(dataset_type.dimensions.required)
    said = {"instrument", observation.name}
    enough = not camera or "detector" in required or {"arm", "spectrograph"} <= required
    if not enough or not said <= required <= said | camera:
        wanted = ", ".join(["instrument", observation.name, *(["arm", "spectrograph"] if camera else [])])
        raise unsuitable(
            f"its datasets {dataset_type.name!r} are identified by {', '.join(sorted(required))},"
            f" and its files by {wanted}",
            hint=f"remove the dataset type if nobody needs it (`butler remove-dataset-type`); then {ADD}",
        )
    for name in dataset_type.dimensions.elements:
        element = observation.universe[name]
        if element.defines_relationships and name not in observation.universe.dimensions.names:
            raise unsuitable(
                f"no dataset {dataset_type.name!r} is found without {name}, and a file says none"
            )


def _dimensions(
    dataset_types: Iterable[DatasetType], observation: Dimension
) -> tuple[tuple[Dimension, ...], tuple[Dimension, ...]]:
    """Sort the dimensions of the dataset types into values of the exposure and tables of the instrument."""
    universe = observation.universe
    check_fillable(observation, EXPOSURE)
    values = [universe.dimensions[name] for name in observation.implied.names]
    for value in values:
        check_fillable(value, of_value(value))
    names = {name for dataset_type in dataset_types for name in dataset_type.dimensions.names}
    others = sorted(names - set(observation.implied.names) - {observation.name})
    return tuple(values), tuple(universe.dimensions[name] for name in others)


def _catalogue(
    universe: DimensionUniverse, observation: Dimension
) -> tuple[Dimension | None, DimensionElement | None]:
    if "cat_id" not in universe.dimensions.names:
        return None, None
    catalogue = universe.dimensions["cat_id"]
    check_fillable(catalogue, of_value(catalogue))
    joined = {"instrument", observation.name, "cat_id"}
    joins = [
        element
        for element in universe.elements
        if element.defines_relationships and set(element.required.names) == joined
    ]
    if not joins:
        return catalogue, None
    join = min(joins, key=lambda element: element.name != CONFIG)
    whole = frozenset({int})
    check_fillable(join, {"instrument": frozenset({str}), observation.name: whole, "cat_id": whole})
    return catalogue, join


def _check_templates(dataset_types: Iterable[DatasetType], templates: FileTemplates) -> None:
    """See that no two datasets get the same file name: the second would take the first's place."""
    for dataset_type in dataset_types:
        template = templates.getTemplate(dataset_type)
        told = template.fields(optionals=True, specials=True) | {"instrument"}
        if {"arm", "spectrograph"} <= told or "detector" in told:
            told |= CAMERA
        if (missing := set(dataset_type.dimensions.required) - told) and "id" not in told:
            raise unsuitable(
                f"two datasets {dataset_type.name!r} would get the same file name:"
                f" {', '.join(sorted(missing))} is not in the template {template}",
                hint="put it into the template of these datasets in the repository's butler.yaml",
            )


def _formatter(
    datastore: Mapping[str, Any], universe: DimensionUniverse, dataset_type: DatasetType, instrument: str
) -> type[FormatterV2]:
    """Make a stand-in for the formatter that the configuration names: only the name is recorded.

    It need not be importable here, only where the dataset is read.
    """
    named = datastore.get("formatters", {})
    for section in (named.get(f"instrument<{instrument}>", {}), named):
        for key in _keys(section, universe, dataset_type):
            entry = section[key]
            return _stand_in(str(entry if isinstance(entry, str) else entry["formatter"]))
    storage_class = dataset_type.storageClass_name
    raise unsuitable(
        f"its configuration names no formatter for the storage class {storage_class}",
        hint=f"name it in the repository's butler.yaml, under datastore, formatters, {storage_class}",
    )


def _stand_in(name: str) -> type[FormatterV2]:
    return type(
        name.rpartition(".")[2],
        (FormatterV2,),
        {
            "name": classmethod(lambda _: name),
            "supported_extensions": EXTENSIONS,
            "can_read_from_local_file": True,
        },
    )


def _keys(
    section: Mapping[str, object], universe: DimensionUniverse, dataset_type: DatasetType
) -> Iterator[str]:
    """Find the keys of a section that mean a dataset type, the one that Butler prefers first."""
    if dataset_type.name in section:
        yield dataset_type.name
    for key in (key for key in section if "+" in key):
        names = {name for name in key.split("+") if name}
        if names <= universe.dimensions.names and universe.conform(names) == dataset_type.dimensions:
            yield key
    if dataset_type.storageClass_name in section:
        yield dataset_type.storageClass_name
