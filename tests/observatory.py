"""Repositories that others made, with dimensions, storage classes and packages of their own."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml
from lsst.daf.butler import Butler, Config, DatasetType, DimensionConfig

__all__ = ["TYPES", "an_observatory"]

_FOREIGN = Path(__file__).with_name("foreign")

TYPES = {"raw": ("visit", "arm", "spectrograph"), "pfsConfig": ("visit",)}

Settings = dict[str, Any]

_ARMS = "brnm"
_CAMERAS = {
    **{
        f"{arm}{number}": (3 * (number - 1) + n, arm, number)
        for number in range(1, 5)
        for n, arm in enumerate("brn")
    },
    **{f"m{number}": (-3 * (number - 1) - 1, "m", number) for number in range(1, 5)},
}


def an_observatory(
    root: Path,
    *,
    dimensions: Callable[[Settings], object] = lambda _: None,
    config: Callable[[Settings], object] = lambda _: None,
    types: Mapping[str, tuple[str, ...]] = TYPES,
    without: tuple[str, ...] = (),
    prefix: str = "Observatory",
) -> str:
    """Make a repository as an observatory has it, with Butler alone.

    Parameters
    ----------
    root : `~pathlib.Path`
        Where.
    dimensions, config : `~collections.abc.Callable`, optional
        Change what is in ``tests/foreign``.
    types : `~collections.abc.Mapping`, optional
        Dataset types and their dimensions, besides the instrument.
    without : `tuple` [`str`, ...], optional
        Dimensions that nobody has registered anything of.
    prefix : `str`, optional
        What the storage classes begin with. A process knows one storage class by one name, and in that of the
        tests those with ``Pfs`` are our own repositories'.
    """
    universe = yaml.safe_load((_FOREIGN / "dimensions.yaml").read_text())
    dimensions(universe)
    # A process knows one set of dimensions by one name.
    universe["namespace"] = f"observatory_{crc32(yaml.safe_dump(universe).encode()):x}"
    # In the folder that pytest makes for each worker process and cleans up.
    kind = f"{prefix}-{universe['namespace']}-{crc32(repr((types, without)).encode()):x}"
    template = root.parents[1] / kind
    if not template.exists():
        _make(template, universe, types, without, prefix)
    shutil.copytree(template, root)
    configuration = root / "butler.yaml"
    seed = yaml.safe_load(configuration.read_text())
    config(seed)
    configuration.write_text(yaml.safe_dump(seed))
    return str(root)


def _make(
    root: Path,
    universe: Settings,
    types: Mapping[str, tuple[str, ...]],
    without: tuple[str, ...],
    prefix: str,
) -> None:
    seed = yaml.safe_load((_FOREIGN / "butler.yaml").read_text().replace("Pfs", prefix))
    Butler.makeRepo(str(root), config=Config(seed), dimensionConfig=DimensionConfig(universe))
    butler = Butler.from_config(str(root), writeable=True)
    with butler.transaction():
        for element, rows in _rows().items():
            if element not in without and butler.dimensions[element].has_own_table:
                record_class = butler.dimensions[element].RecordClass
                names = record_class.fields.names
                records = [record_class(**{name: row[name] for name in row if name in names}) for row in rows]
                butler.registry.insertDimensionData(element, *records)
    for name, keys in types.items():
        storage_class = f"{prefix}Raw" if name == "raw" else f"{prefix}Config"
        dataset_type = DatasetType(name, ("instrument", *keys), storage_class, universe=butler.dimensions)
        butler.registry.registerDatasetType(dataset_type)
    butler.registry.resetConnectionPool()


def _rows() -> Mapping[str, list[Settings]]:
    of = {"instrument": "PFS"}
    return {
        "instrument": [
            {"name": "PFS", "visit_max": 10**8, "detector_max": 20, "class_name": "observatory.Pfs"}
        ],
        "band": [{"name": arm} for arm in _ARMS],
        "physical_filter": [{**of, "name": arm, "band": arm} for arm in _ARMS],
        "spectrograph": [{**of, "num": number} for number in range(5)],
        "arm": [{**of, "name": arm} for arm in _ARMS],
        "detector": [
            {
                **of,
                "id": number,
                "full_name": name,
                "arm": arm,
                "spectrograph": module,
                "physical_filter": arm,
            }
            for name, (number, arm, module) in _CAMERAS.items()
        ],
    }
