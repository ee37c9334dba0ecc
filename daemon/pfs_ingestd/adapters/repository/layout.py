"""What a repository is like: its dimensions, dataset types, columns and formatters, as it says itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from lsst.daf.butler import (
    Butler,
    Config,
    DatasetType,
    DimensionElement,
    DimensionUniverse,
    FormatterV2,
    MissingDatasetTypeError,
)

from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.exposure import Exposure

__all__ = [
    "CONFIG",
    "OBSERVATIONS",
    "RAW",
    "Layout",
    "discover",
    "observation_of",
    "unsuitable",
    "usual_runs",
]

RAW = "raw"
"""Name of the dataset type of raws."""

CONFIG = "pfsConfig"
"""Name of the dataset type of pfsConfigs."""

OBSERVATIONS = ("exposure", "visit")
"""What the dimension of an exposure may be called; there is one of them, not both."""

FILLED = frozenset(field.name for field in fields(Exposure)) | {"timespan"}
GIVEN = frozenset({"instrument", "arm", "spectrograph", "detector"})
EXTENSIONS = frozenset({".fits", ".fits.gz", ".fits.fz"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one repository wants raws and pfsConfigs to be stored.

    Parameters
    ----------
    raw, config : `~lsst.daf.butler.DatasetType`
        The two dataset types.
    observation : `~lsst.daf.butler.DimensionElement`
        The dimension of an exposure.
    values : `tuple` [`~lsst.daf.butler.DimensionElement`]
        Dimensions that the exposure implies, and that have no more to them than their value.
    tables : `tuple` [`~lsst.daf.butler.DimensionElement`]
        The other dimensions of a dataset: small tables of what the instrument is made of.
    catalogue, catalogue_join : `~lsst.daf.butler.DimensionElement` or `None`
        The dimension of a catalogue and what joins it to the exposure, where the repository has them.
    raw_run, config_run : `str`
        The RUN collections.
    raw_formatter, config_formatter : `type` [`~lsst.daf.butler.FormatterV2`]
        The formatters to be recorded.
    """

    raw: DatasetType
    config: DatasetType
    observation: DimensionElement
    values: tuple[DimensionElement, ...]
    tables: tuple[DimensionElement, ...]
    catalogue: DimensionElement | None
    catalogue_join: DimensionElement | None
    raw_run: str
    config_run: str
    raw_formatter: type[FormatterV2]
    config_formatter: type[FormatterV2]


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
    raw, pfs_config = _dataset_type(butler, RAW), _dataset_type(butler, CONFIG)
    observation = universe[observation_of(universe)]
    values, tables = _elements((raw, pfs_config), observation)
    catalogue, join = _catalogue(universe, observation)
    usual = usual_runs(instrument, observation.name)
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
        raw_formatter=_formatter(config, universe, raw, instrument),
        config_formatter=_formatter(config, universe, pfs_config, instrument),
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
            "its dimensions have no exposure (or visit) that implies pfs_design_id: they are not those of PFS"
        )
    return found[0]


def usual_runs(instrument: str, observation: str) -> Mapping[str, str]:
    """Name the RUN collections that a repository usually has for its raws and pfsConfigs.

    Parameters
    ----------
    instrument : `str`
        Name of the instrument.
    observation : `str`
        What the repository calls the dimension of an exposure.
    """
    of_raws = "all" if observation == "exposure" else "sps"
    return {RAW: f"{instrument}/raw/{of_raws}", CONFIG: f"{instrument}/raw/{CONFIG}"}


def unsuitable(reason: str) -> Fatal:
    """Say that a repository cannot take raws and pfsConfigs, and why."""
    return Fatal(Code.REPOSITORY_UNSUITABLE, f"the repository cannot be used: {reason}")


def _dataset_type(butler: Butler, name: str) -> DatasetType:
    try:
        return butler.get_dataset_type(name)
    except MissingDatasetTypeError as error:
        raise Fatal(
            Code.REPOSITORY_UNSUITABLE,
            f"the repository cannot be used: it has no dataset type {name!r}",
            hint="`pfs-ingestd init` on it adds what is missing",
        ) from error


def _elements(
    dataset_types: Iterable[DatasetType], observation: DimensionElement
) -> tuple[tuple[DimensionElement, ...], tuple[DimensionElement, ...]]:
    """Sort the dimensions of the dataset types into values of the exposure and tables of the instrument."""
    values: dict[str, DimensionElement] = {}
    tables: dict[str, DimensionElement] = {}
    for dataset_type in dataset_types:
        dimensions = dataset_type.dimensions
        unknown = set(dimensions.required) - GIVEN - {observation.name}
        if unknown or observation.name not in dimensions.required:
            raise unsuitable(f"datasets {dataset_type.name!r} have the dimensions {dimensions.required}")
        for name in dimensions.elements:
            element = observation.universe[name]
            if name in observation.implied:
                values[name] = element
            elif name != observation.name:
                tables[name] = element
    for element in (*values.values(), observation):
        unfilled = sorted(
            {column.name for column in element.schema.all if not column.nullable}
            - FILLED
            - {"value", "instrument"}
        )
        if unfilled:
            raise unsuitable(f"a file does not say what {element.name}.{unfilled[0]} is")
    return tuple(values.values()), tuple(tables.values())


def _catalogue(
    universe: DimensionUniverse, observation: DimensionElement
) -> tuple[DimensionElement | None, DimensionElement | None]:
    if "cat_id" not in universe.dimensions.names:
        return None, None
    joined = {"instrument", observation.name, "cat_id"}
    for element in universe.elements:
        if element.defines_relationships and set(element.required.names) == joined:
            return universe["cat_id"], element
    return universe["cat_id"], None


def _formatter(
    config: Config, universe: DimensionUniverse, dataset_type: DatasetType, instrument: str
) -> type[FormatterV2]:
    """Make a stand-in for the formatter that the configuration names: only the name is recorded.

    It need not be importable here, only where the dataset is read.
    """
    named = config["datastore"].toDict().get("formatters", {})
    for section in (named.get(f"instrument<{instrument}>", {}), named):
        for key in _keys(section, universe, dataset_type):
            entry = section[key]
            return _stand_in(str(entry if isinstance(entry, str) else entry["formatter"]))
    raise unsuitable(
        f"its configuration names no formatter for the storage class {dataset_type.storageClass_name}"
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
