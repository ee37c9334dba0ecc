"""Servers that refuse a user: how PostgreSQL says so, and where it and S3 have credentials from."""

import re

__all__ = ["FOR_POSTGRESQL", "FOR_S3", "is_refusal"]

FOR_POSTGRESQL = (
    "the password comes from PGPASSWORD, from the file that PGPASSFILE names, else from this account's"
    " ~/.pgpass (mode 0600, a line HOST:PORT:DATABASE:USER:PASSWORD), for a registry also from"
    " ~/.lsst/db-auth.yaml; correct it, or what the server allows: a daemon at work goes on by itself;"
    " docs/servers.md says more"
)
FOR_S3 = (
    "the keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else from this account's"
    " ~/.aws/credentials (AWS_PROFILE chooses the profile); correct them, or the bucket's policy: a daemon at"
    " work goes on by itself; docs/servers.md says more"
)

_REFUSALS = re.compile(
    r"no password supplied|authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r'|role ".*" (does not exist|is not permitted to log in)'
)


def is_refusal(message: str) -> bool:
    """Say whether a connection to PostgreSQL came to nothing because the server does not let this user in.

    Parameters
    ----------
    message : `str`
        What libpq says of it. There is nothing else to go by: it passes the server's code (class 28) on to
        nobody while a connection is being made. Of a server that speaks another language than English it is
        not recognized, and looks as if the server were away; its words are told in either case.
    """
    return _REFUSALS.search(message) is not None
