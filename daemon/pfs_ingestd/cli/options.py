"""Options that several commands share."""

from pathlib import Path

import click

__all__ = ["config_option", "instrument_option", "json_option", "transfer_option"]

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
