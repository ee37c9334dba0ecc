"""Repositories whose registry is in PostgreSQL and whose datastore is in S3, made as fast as they can be."""

from pathlib import Path

import yaml

from once import made_once
from pfs_ingestd.adapters.repository import create_repository
from postgres import Databases
from s3 import S3Server

__all__ = ["a_served_repository"]


def a_served_repository(root: Path, shared: Path, databases: Databases, store: S3Server) -> str:
    """Make a repository on servers like that of `pfs-ingestd init`: a copy of one that all tests share.

    Parameters
    ----------
    root : `~pathlib.Path`
        The folder of its configuration; the datastore is below ``store`` in a bucket of its own.
    shared : `~pathlib.Path`
        A folder that the worker processes of this run share.
    databases, store
        The servers; those that find it do so by `S3Server.environment`.
    """
    template = made_once(
        shared,
        "template-served",
        lambda place: create_repository(
            str(place), registry=databases.new_registry(), datastore=f"s3://{store.new_bucket()}/store"
        ),
    )
    config = yaml.safe_load((template / "butler.yaml").read_text())
    config["registry"]["db"] = databases.copied(config["registry"]["db"])
    config["datastore"]["root"] = f"s3://{store.new_bucket()}/store"
    root.mkdir(parents=True)
    (root / "butler.yaml").write_text(yaml.safe_dump(config))
    return str(root)
