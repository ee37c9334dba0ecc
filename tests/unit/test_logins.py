"""What PostgreSQL says when it does not let somebody in."""

import pytest

from pfs_ingestd.logins import is_refusal

AT = 'connection to server at "db.example" (192.0.2.1), port 5432 failed: '


@pytest.mark.parametrize(
    "message",
    [
        f"{AT}fe_sendauth: no password supplied",
        f'{AT}FATAL:  password authentication failed for user "ingest"\npassword retrieved from file "/x"\n',
        f'{AT}FATAL:  Peer authentication failed for user "ingest"',
        f'{AT}FATAL:  no pg_hba.conf entry for host "192.0.2.2", user "me", database "pfs", no encryption',
        f'{AT}FATAL:  pg_hba.conf rejects connection for host "192.0.2.2", user "ingest", database "pfs"',
        f'{AT}FATAL:  role "ingest" does not exist',
        f'{AT}FATAL:  role "ingest" is not permitted to log in',
        "FATAL:  SASL authentication failed",
    ],
)
def test_a_refusal_is_recognized(message):
    """Whoever is not let in has to look at credentials, not at the network."""
    assert is_refusal(message)


@pytest.mark.parametrize(
    "message",
    [
        f"{AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
        f"{AT}timeout expired",
        f"{AT}FATAL:  the database system is starting up",
        f"{AT}FATAL:  sorry, too many clients already",
        f"{AT}FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        f'{AT}FATAL:  database "pfs" does not exist',
        "server closed the connection unexpectedly",
        'could not translate host name "db.example" to address: Name or service not known',
    ],
)
def test_a_server_that_is_away_or_full_is_no_refusal(message):
    """What passes by itself must not keep a daemon from being started again."""
    assert not is_refusal(message)
