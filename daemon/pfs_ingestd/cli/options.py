"""Options that several commands share."""

import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

__all__ = [
    "absolute",
    "config_option",
    "instrument_option",
    "json_option",
    "schema_option",
    "transfer_option",
]

_TRANSFERS = ["link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto"]

config_option = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The configuration file (YAML).",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")

transfer_option = click.option(
    "--transfer",
    type=click.Choice(_TRANSFERS),
    default="link",
    show_default=True,
    help="How files get into the datastore; link is a hard link where it can be, else a symbolic one.",
)

instrument_option = click.option(
    "--instrument", default="PFS", show_default=True, help="Name of the instrument in the repository."
)


def schema_option(name: str, what: str) -> Callable[[Any], Any]:
    """Make the option that prints a JSON Schema of ours instead of doing anything.

    Parameters
    ----------
    name : `str`
        Its file in the package.
    what : `str`
        What it describes.
    """

    def show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 (click's signature)
        if wanted and not context.resilient_parsing:
            click.echo(files("pfs_ingestd").joinpath(name).read_text(encoding="utf-8"), nl=False)
            context.exit()

    return click.option(
        "--schema",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help=f"Print the JSON Schema of {what}, and nothing else.",
    )


def absolute(paths: Sequence[Path]) -> Sequence[Path]:
    """Write the paths that were given as the inbox does; a link stays a link, for it is part of a name."""
    return [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 (see above)
