"""Whether those who are to be told of what happens can be reached, before it does."""

import json
import os
from contextlib import ExitStack
from pathlib import Path

import click

from pfs_ingestd.adapters.system import SystemClock
from pfs_ingestd.cli.options import config_option, schema_option
from pfs_ingestd.cli.output import exits
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import Code, ExitCode, Fatal
from pfs_ingestd.notices import trial
from pfs_ingestd.parts import couriers_of, sender_of

__all__ = ["test_notify"]

_PATIENCE = 5.0
"""Seconds beyond `notify.timeout`, within which what does not end is ended."""


@click.command("test-notify")
@config_option
@schema_option("notification.schema.json", "notifications")
@exits
def test_notify(config_file: Path) -> ExitCode:
    """Send a test to notify.command and notify.webhook, and say what became of it."""
    config = load_config(config_file, os.environ)
    couriers = couriers_of(config, os.environ)
    if not couriers:
        raise Fatal(
            Code.CONFIGURATION,
            f"{config_file}: nobody is told of anything",
            hint="set notify.command or notify.webhook",
        )
    text = json.dumps(trial(sender_of(config), SystemClock().now()))
    failed = False
    with ExitStack() as stack:
        for courier in couriers:
            stack.callback(courier.cancel)
            courier.send(text)
        for courier in couriers:
            delivery = courier.result(config.notify.timeout.total_seconds() + _PATIENCE)
            error = delivery.error if delivery else "no end"
            failed |= bool(error)
            click.echo(f"{courier.hook}: {courier.to}: {f'FAILED: {error}' if error else 'delivered'}")
    return ExitCode.SOME_REJECTED if failed else ExitCode.DONE
