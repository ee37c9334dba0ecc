"""Lets the suites explain their failures as test modules do."""

import pytest

pytest.register_assert_rewrite("conformance.inbox_suite")
