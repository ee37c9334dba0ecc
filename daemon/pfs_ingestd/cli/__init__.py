"""From the command line to an exit code; the only place that prints."""

import gc
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import IO, Any

import click

from pfs_ingestd.errors import Code, ExitCode, Fatal
from pfs_ingestd.text import one_line

__all__ = ["main"]

# Each command's module is imported only when it is used: those for operators then answer in a fraction of
# the second that importing Butler takes.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("service", "init"),
    "install-service": ("install", "install_service"),
    "run": ("service", "run"),
    "worker": ("service", "worker"),
    "status": ("status", "status"),
    "board": ("board", "board"),
    "list": ("operator", "list_files"),
    "show": ("show", "show"),
    "retry": ("operator", "retry"),
    "skip": ("operator", "skip"),
    "replace": ("ingest", "replace"),
    "pause": ("control", "pause"),
    "resume": ("control", "resume"),
    "drain": ("control", "drain"),
    "rescan": ("control", "rescan"),
    "reload": ("control", "reload"),
    "audit": ("audit", "audit_command"),
    "doctor": ("doctor", "doctor"),
    "check-config": ("operator", "check_config_file"),
    "test-notify": ("notify", "test_notify"),
    "ingest-raws": ("ingest", "ingest_raws"),
    "ingest-pfs-config": ("ingest", "ingest_pfs_config"),
    "simulate": ("night", "simulate"),
    "demo": ("demo", "demo"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(_lasting(module), name)
        return command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _told():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)


class _Mistyped(click.ClickException):
    """Something that was mistyped, told like any other error."""

    exit_code = ExitCode.USAGE

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 (click's signature)
        from pfs_ingestd.cli.output import print_error  # noqa: PLC0415 (it takes what --help does not need)

        text, _, hint = self.message.partition("\n")
        print_error(Fatal(Code.USAGE, text, hint=hint))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        # Without any argument the help is the answer.
        if error.ctx is None or error.message == error.ctx.get_help():
            raise
        hint = f"{error.ctx.command_path} --help"
        raise _Mistyped(f"{one_line(error.format_message())}\n{hint}") from error


@cache
def _lasting(module: str) -> ModuleType:
    """Import a module for the rest of the process's life.

    Nothing of it becomes garbage, and there is much of it: to look through it takes the collector 0.1 s each
    time, in which the daemon does nothing else.
    """
    gc.disable()
    try:
        return import_module(f"pfs_ingestd.cli.{module}")
    finally:
        gc.freeze()
        gc.enable()


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pfs-ingestd")
def main() -> None:
    """Get every file of the Prime Focus Spectrograph into its Butler repository."""
    # Butler and the log make their files as the umask says; it may keep a group in, but not let everybody in.
    os.umask(os.umask(stat.S_IWOTH) | stat.S_IWOTH)
