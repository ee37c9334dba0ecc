"""A night on disk without a telescope: simulate."""

from pathlib import Path

import click

from pfs_ingestd.cli.output import exits, progress_bars
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.simulate import ALL_CAMERAS, NightPlan, expected_night, write_night

__all__ = ["simulate"]


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--visits", type=click.IntRange(min=0), required=True, help="Number of visits.")
@click.option("--first-visit", type=click.IntRange(min=0), default=1000, show_default=True)
@click.option("--cameras", help="Cameras in use, such as b1,r1,n1; by default all twelve.")
@click.option("--reads", type=click.IntRange(min=1), default=2, show_default=True, help="Reads of a ramp.")
@click.option(
    "--interval", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Seconds between visits."
)
@click.option("--small", is_flag=True, help="Images of a few pixels; everything else as it is.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@exits
def simulate(
    directory: Path,
    visits: int,
    first_visit: int,
    cameras: str | None,
    reads: int,
    interval: float,
    small: bool,  # noqa: FBT001 (click passes a flag by name)
    seed: int,
) -> ExitCode:
    """Write a night of PFS into DIR, the way the instrument writes it."""
    try:
        plan = NightPlan(
            visits=visits,
            first_visit=first_visit,
            cameras=tuple(cameras.split(",")) if cameras else ALL_CAMERAS,
            reads=reads,
            interval=interval,
            small=small,
            seed=seed,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    planned = expected_night(directory, plan)
    total = len(planned.raws) + len(planned.configs) + len(planned.convergence_configs)
    with progress_bars() as bars:
        task = bars.add_task("writing", total=total)
        night = write_night(directory, plan, on_file=lambda _: bars.advance(task))
    click.echo(
        f"{len(night.raws)} raws and {len(night.configs)} pfsConfigs of {visits} visits"
        f" (and {len(night.convergence_configs)} pfsConfig of a convergence without raws) in {directory}"
    )
    return ExitCode.DONE
