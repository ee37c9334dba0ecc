"""Damage by the hundred: deaths at every event of an ingest, kills at random moments, floods of events.

Run with ``make soak``, or with ``PYTHONPATH=tests`` as ``python -m soak.soak``; it takes hours where the
suite takes a minute. Ends with 1 if anything was lost, stored twice, stuck, harmed or left lying about.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

import forked
from kill_points import Report, inflict
from pfs_ingestd.adapters.repository import create_repository, open_repository, staging
from pfs_ingestd.records import PENDING, State
from postgres import postgres_server
from s3 import s3_server
from system.hosts import Hosts
from system.service import FEW_CAMERAS, Site, burst, pfs_ingestd, stored, wait_for, wanted, write

__all__ = ["main"]

COPIES = {"copy", "move"}
TRANSFERS = ("link", "hardlink", "symlink", "relsymlink", "copy", "move", "direct")
LONGEST_LIFE = 0.7
"""Seconds after its first word until a daemon is killed, at most; it needs less for what has arrived."""

HOSTS = 3

COLUMNS = ("inflicted", "lost", "twice", "stuck", "harmed", "left")


def kill_at_random(transfer: str, *, kills: int, seed: int) -> Report:
    """Kill daemons while a night arrives, then let one finish."""
    report = Report()
    moments = random.Random(f"{transfer} {seed}")  # noqa: S311 (the same moments each time)
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        template = folder / "template"
        pfs_ingestd("init", template).check_returncode()
        (folder / "site").mkdir()
        site = Site(folder / "site", template)
        site.configure(ingest={"transfer": transfer, "batch_files": 2})
        visits = 2 * kills
        writer = _writer(site, visits)
        for _ in range(kills):
            service = site.start()
            service.wait_for(lambda service=service: service.happened("daemon.started"), "its first word")
            time.sleep(moments.uniform(0, LONGEST_LIFE))
            service.kill()
            report.deaths += 1
        writer.wait()
        last = site.run("run", "--once")
        _judge(transfer, site, write(folder / "same", visits=visits), report)
        if last.returncode:
            report.stuck.append(f"{transfer}: the last one ended with {last.returncode}: {last.stdout}")
        site.close()
    return report


def flood(files: int) -> Report:
    """Let four writers overflow the kernel's queue while a night arrives in the same tree."""
    report = Report()
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        template = folder / "template"
        pfs_ingestd("init", template).check_returncode()
        (folder / "site").mkdir()
        site = Site(folder / "site", template)
        site.configure(watch={"mode": "inotify", "rescan": "1h"})
        (site.data / "noise").mkdir()
        service = site.start().running()
        burst(site.data / "noise", files)
        night = write(site.data, visits=20)
        expected = len(night.raws) + len(night.configs)
        report.deaths = files
        try:
            service.wait_for_counts(ingested=expected, waiting=1)
        except AssertionError as error:
            report.lost.append(f"flood: {error}")
        service.stop()
        _judge("flood", site, night, report)
        site.close()
    return report


def deaths(transfer: str, *, every: bool) -> Iterator[tuple[str, Report]]:
    """Let daemons die between system calls; where files are copied, also while they are copied beside."""
    for beside in (False, True) if transfer in COPIES else (False,):
        damage = "death at a system call, copies beside" if beside else "death at a system call"
        yield damage, inflict(transfer, beside=beside, every=every)
        yield f"{damage}, inbox lost", inflict(transfer, beside=beside, lose_inbox=True, every=every)
    if transfer in COPIES:
        with postgres_server() as databases, s3_server() as store:
            servers = (databases.place, store.url)
            for lost in (False, True):
                damage = f"death at a request to servers{', inbox lost' if lost else ''}"
                report = inflict(transfer, beside=True, servers=servers, lose_inbox=lost, every=every)
                yield damage, report


def many_hosts(rounds: int, seed: int, *, in_store: bool) -> Report:
    """Let nights arrive in parts at three hosts with one repository, and kill one or the other."""
    report = Report()
    chance = random.Random(f"hosts {seed}")  # noqa: S311 (the same moments each time)
    with (
        postgres_server() as server,
        _store(in_store=in_store) as datastore,
        TemporaryDirectory() as name,
    ):
        root = Path(name).resolve() / "repo"
        create_repository(str(root), registry=server.new_registry(), datastore=datastore)
        transfer = "move" if in_store else "link"
        hosts, nights = Hosts(root.parent, root, HOSTS, transfer=transfer), []
        given, lonely = [0] * HOSTS, 0
        for number in range(rounds):
            night = write(
                root.parent / f"night-{number}",
                visits=4,
                first_visit=1000 * (number + 1),
                cameras=("b1", "r1", "n1", "b2", "r2", "b3"),
            )
            nights.append(night)
            paths = [path.relative_to(night.directory) for path in (*night.raws, *night.configs)]
            # Some come to two hosts.
            parts = [(chance.randrange(HOSTS), path) for path in paths + chance.sample(paths, 6)]
            for host, path in dict.fromkeys(chance.sample(parts, len(parts))):
                hosts.give(host, night.directory, path)
                given[host] += 1
                # The pfsConfig of a convergence, for which no raw comes.
                lonely += path in {Path(visit.config) for visit in night.visits if not visit.cameras}
                time.sleep(chance.uniform(0, 0.05))
            victim = chance.randrange(HOSTS)
            hosts.services[victim].kill()
            report.deaths += 1
            hosts.services[victim] = hosts.sites[victim].start()
        try:
            # The other pfsConfigs hear within ten seconds of raws that came elsewhere.
            wait_for(
                lambda: hosts.waiting() == lonely and hosts.settled(given),
                "every host to be through",
                seconds=300,
            )
        except AssertionError as error:
            report.stuck.append(f"hosts: {error}")
        hosts.close()
        if in_store:
            # What the killed ones left belongs to somebody for a day.
            with patch.object(staging, "ABANDONED", timedelta(0)):
                open_repository(str(root), transfer=transfer, runs={}, instrument="PFS").close()
        expected, found = Counter(wanted(*nights)), Counter(stored(root))
        report.lost += [f"hosts: {content}" for content in (expected - found).elements()]
        report.twice += [f"hosts: {content}" for content in (found - expected).elements()]
        report.harmed += [f"hosts: {rejected}" for rejected in hosts.rejected()]
        report.left += [str(path) for path in root.glob(".pfs-ingestd-*")]
    return report


@contextmanager
def _store(*, in_store: bool) -> Iterator[str | None]:
    """Have a place for a datastore in S3, and everybody find it; or none."""
    if not in_store:
        yield None
        return
    with s3_server() as store, patch.dict(os.environ, store.environment):
        yield f"s3://{store.new_bucket()}"


def main() -> int:
    """Do all of it, and print a table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=30, help="kills at random moments in each transfer mode")
    parser.add_argument("--seed", type=int, default=0, help="choose other moments")
    parser.add_argument("--changes", action="store_true", help="die only where the disk has changed")
    parser.add_argument(
        "--transfer", nargs="*", choices=TRANSFERS, default=TRANSFERS, help="these modes only"
    )
    parser.add_argument("--rounds", type=int, default=40, help="nights that arrive at several hosts")
    parser.add_argument("--files", type=int, default=60_000, help="files in a burst")
    options = parser.parse_args()
    table = Table("damage", *COLUMNS)
    flooded = flood(options.files)
    table.add_row("files in a burst", *_cells(flooded))
    complaints = flooded.damage
    for in_store in (False, True):
        shared = many_hosts(options.rounds, options.seed, in_store=in_store)
        table.add_row(f"SIGKILL, several hosts{', a store' if in_store else ''}", *_cells(shared))
        complaints += shared.damage
    for transfer in options.transfer:
        for damage, report in (
            *deaths(transfer, every=not options.changes),
            ("SIGKILL", kill_at_random(transfer, kills=options.kills, seed=options.seed)),
        ):
            table.add_row(f"{damage}, {transfer}", *_cells(report))
            complaints += report.damage
    console = Console()
    console.print(table)
    for complaint in complaints:
        console.print(complaint, markup=False)
    return 1 if complaints else 0


def _cells(report: Report) -> list[str]:
    return [str(report.deaths), *(str(len(getattr(report, column))) for column in COLUMNS[1:])]


def _writer(site: Site, visits: int) -> forked.Process:
    command = ["pfs-ingestd", "simulate", site.data, "--small", "--interval", 1, "--visits", visits]
    command += ["--cameras", ",".join(FEW_CAMERAS)]
    return forked.start(command, site.folder / "output-of-simulate")


def _judge(transfer: str, site: Site, night, report: Report) -> None:
    expected, found = Counter(wanted(night)), Counter(stored(site.repository))
    report.lost += [f"{transfer}: {content}" for content in (expected - found).elements()]
    report.twice += [f"{transfer}: {content}" for content in (found - expected).elements()]
    counts = site.counts()
    report.stuck += [
        f"{transfer}: {counts[state]} {state}" for state in {*PENDING, State.REJECTED} if counts[state]
    ]
    missing = {path for path in (*night.raws, *night.configs) if not _still(path, night, site)}
    if transfer != "move" and missing:
        report.harmed.append(f"{transfer}: {len(missing)} sources are gone")


def _still(path: Path, night, site: Site) -> bool:
    return (site.data / path.relative_to(night.directory)).exists()


if __name__ == "__main__":
    sys.exit(main())
