"""How long a connection to PostgreSQL is waited for that nobody answers any more."""

import os
import socket
from contextlib import closing

import pytest
import sqlalchemy

from pfs_ingestd.adapters.inbox.engine import open_engine
from pfs_ingestd.adapters.repository import postgres_hints
from relay import Relay

LONGEST = 30
"""Seconds after which a connection without a sign of life counts as lost."""


@pytest.fixture
def by_network(postgres):
    """Have the URL of a database that is reached by TCP."""
    url = postgres.new_database()
    with closing(Relay(postgres.socket)) as relay:
        yield f"postgresql://tester@127.0.0.1:{relay.port}/{url.partition('@/')[2].partition('?')[0]}"


def registry(url, driver):
    postgres_hints.install()
    return sqlalchemy.create_engine(url.replace("postgresql:", f"postgresql+{driver}:"))


@pytest.mark.parametrize(
    "made",
    [
        lambda url: open_engine(url, read_only=False),
        lambda url: registry(url, "psycopg2"),
        lambda url: registry(url, "psycopg"),
    ],
    ids=["inbox", "registry by psycopg2", "registry by psycopg"],
)
def test_a_connection_that_is_cut_is_given_up(by_network, made):
    """The kernel is told to look whether the other end is there, and to give up what it does not confirm."""
    engine = made(by_network)
    with engine.connect() as connection:
        descriptor = os.dup(connection.connection.dbapi_connection.fileno())
        with socket.socket(fileno=descriptor) as way:
            idle, interval, count, unheard = (
                way.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    engine.dispose()
    assert idle + interval * count <= LONGEST
    assert 0 < unheard <= LONGEST * 1000
