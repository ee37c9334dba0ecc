"""What holds for every test, and the servers that all of them share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import butler_defaults  # noqa: F401 (for what it does)
from postgres import Databases, postgres_server, require_postgres
from s3 import S3Server, s3_server
from shared import shared

# How long an example takes to make or to run says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """Have one folder for all worker processes of this run."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def postgres(shared_folder):
    """Have a PostgreSQL server for as many databases as are wanted; it must not be stopped."""
    require_postgres()
    with shared(shared_folder, "postgres") as folder:
        yield Databases(Path(folder))


@pytest.fixture(scope="session")
def own_postgres():
    """Have a PostgreSQL server that may be stopped, if it is started again."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3(shared_folder):
    """Have an S3 server for as many buckets as are wanted; it must not be stopped."""
    with shared(shared_folder, "s3") as url:
        yield S3Server(url)


@pytest.fixture(scope="session")
def own_s3():
    """Have an S3 server that may be stopped, if it is started again."""
    with s3_server() as server:
        yield server


@pytest.fixture
def at_s3(s3, monkeypatch):
    """Have an environment in which everybody finds the S3 server."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def bucket(at_s3):
    """Have the URI of an empty bucket."""
    return f"s3://{at_s3.new_bucket()}"
