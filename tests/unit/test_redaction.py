"""Passwords do not get into text that others read."""

import pytest

from pfs_ingestd.redaction import origin, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/x", "postgresql://me:***@db:5432/x"),
        (
            "cannot reach postgresql+psycopg2://:s3@c/ret@db/x, sorry",
            "cannot reach postgresql+psycopg2://:***@db/x, sorry",
        ),
        ("a http://u:p@h/ and b ftp://v:q@i/", "a http://u:***@h/ and b ftp://v:***@i/"),
        ("/etc/postgresql:/me:s3cret@db", "/etc/postgresql:/me:***@db"),
        (
            "postgresql://db/x?user=me&password=s3cret&sslmode=on",
            "postgresql://db/x?user=me&password=***&sslmode=on",
        ),
        ("postgresql://me@db:5432/x", "postgresql://me@db:5432/x"),
        ("s3://bucket/key at 12:30, mail me@home", "s3://bucket/key at 12:30, mail me@home"),
        ("sqlite:////data/inbox.db", "sqlite:////data/inbox.db"),
        ("plain text", "plain text"),
    ],
)
def test_a_password_in_a_url_is_replaced(text, shown):
    """Of a URL everything but its password is left as it is."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://chat.example.org/hooks/s3cret", "https://chat.example.org/***"),
        ("http://127.0.0.1:8080?key=s3cret", "http://127.0.0.1:8080/***"),
        ("https://s3@cret:s3cret@chat/x", "https://chat/***"),
        ("https://[::1]:80/s3cret#s3cret", "https://[::1]:80/***"),
    ],
)
def test_of_a_url_that_is_a_secret_only_the_server_is_shown(url, shown):
    """Neither path nor query, nor user."""
    assert origin(url) == shown
