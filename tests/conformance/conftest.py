"""Lets the suites explain their failures as test modules do, and gives them one server."""

import pytest

from postgres import postgres_server

pytest.register_assert_rewrite("conformance.inbox_suite")


@pytest.fixture(scope="session")
def server():
    with postgres_server() as running:
        yield running
