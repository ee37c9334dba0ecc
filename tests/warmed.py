"""Has everything imported and a visit ingested: what processes are forked from in tests.

Import it in no other process.
"""

import gc
import io
import tempfile
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import yaml

import butler_defaults  # noqa: F401 (for what it does)
from pfs_ingestd.config import load_config
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import create_repository, service

_MODULES = (
    "lsst.daf.butler.cli.butler",
    "lsst.daf.butler.cli.cmd",
    "lsst.daf.butler.script",
    *(
        f"pfs_ingestd.cli.{name}"
        for name in ("audit", "board", "ingest", "night", "operator", "service", "status")
    ),
)
_CONFIGURATION = {
    "repository": "repository",
    "watch": {"raw": "night", "pfsConfig": "night", "settle": "0s"},
    "state": {"database": "inbox.db"},
    "status": {"file": "status.json"},
}


def _warm_up() -> None:
    """Import all, also what is imported, and compiled, only when something is done for the first time."""
    for module in _MODULES:
        import_module(module)
    with tempfile.TemporaryDirectory() as name, redirect_stdout(io.StringIO()):
        folder = Path(name)
        create_repository(str(folder / "repository"))
        write_night(folder / "night", NightPlan(visits=1, cameras=("b1", "n1"), small=True))
        (folder / "config.yaml").write_text(yaml.safe_dump(_CONFIGURATION))
        with service(load_config(folder / "config.yaml", {}), {}, once=True) as daemon:
            daemon.run(once=True)


_warm_up()
# Neither the collector of a fork nor its end goes through all that was imported: five times faster.
gc.collect()
gc.freeze()
