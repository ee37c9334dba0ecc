"""A PFS night on disk, written the way the instrument writes it: made-up values, real structure."""

from pfs_ingestd.simulate.files import write_ccd, write_pfs_config, write_ramp
from pfs_ingestd.simulate.night import Night, expected_night, write_night, write_visit
from pfs_ingestd.simulate.plan import ALL_CAMERAS, NightPlan, VisitKind, VisitPlan, plan_night

__all__ = [
    "ALL_CAMERAS",
    "Night",
    "NightPlan",
    "VisitKind",
    "VisitPlan",
    "expected_night",
    "plan_night",
    "write_ccd",
    "write_night",
    "write_pfs_config",
    "write_ramp",
    "write_visit",
]
