"""What a new repository finds on the servers that it is to be on; and that it writes down no password."""

import os
import re
from typing import Any

import sqlalchemy
from lsst.daf.butler import Config
from lsst.daf.butler.registry import RegistryConfig
from lsst.resources import ResourcePath
from sqlalchemy.engine import URL

from pfs_ingestd.adapters.repository.objects import be_brief, try_store
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.redaction import redacted

__all__ = ["prepare_datastore", "prepare_registry", "whole_path"]

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
"""What needs no quotes in SQL: Butler uses none."""

EXTENSION = "btree_gist"
"""What Butler wants of PostgreSQL: its time ranges are kept apart by an index of that kind."""


def whole_path(place: str) -> str:
    """Complete the path of a folder; a URI, or what is relative to the repository, is left as it is."""
    return place if "://" in place or place.startswith("<") else os.path.abspath(place)  # noqa: PTH100 (links are part of a path's name)


def prepare_registry(config: Config) -> None:
    """See that a registry can be made where a configuration says, and make what its tables need.

    Raises
    ------
    Fatal
        If the configuration names a password, or no database that Butler can use; if this user has not the
        rights that it takes.
    sqlalchemy.exc.SQLAlchemyError
        If the server does not answer.
    """
    registry, text = config["registry"], str(config["registry", "db"])
    if redacted(text) != text or registry.get("password"):
        raise Fatal(
            Code.CONFIGURATION,
            f"the URL of the registry has a password in it: {redacted(text)}",
            hint="everybody reads a repository's configuration: leave the password out of the URL, and put"
            " HOST:PORT:DATABASE:USER:PASSWORD into ~/.pgpass, or `- {url: 'postgresql://HOST/DATABASE',"
            " username: USER, password: PASSWORD}` into ~/.lsst/db-auth.yaml, with mode 0600",
        )
    try:
        backend = sqlalchemy.make_url(text).get_backend_name()
    except sqlalchemy.exc.ArgumentError:
        backend = ""
    if backend not in {"sqlite", "postgresql"}:
        raise Fatal(
            Code.CONFIGURATION,
            f"{text!r} is not the URL of a database that a registry can be in",
            hint="write it like postgresql://USER@HOST/DATABASE",
        )
    schema = registry.get("namespace")
    if schema and not _PLAIN.fullmatch(schema):
        raise Fatal(
            Code.CONFIGURATION,
            f"Butler cannot use a schema of the name {schema!r}",
            hint="choose one of lower case letters, digits and underscores",
        )
    if backend == "postgresql":
        # As Butler would, who knows of db-auth.yaml.
        _prepare_database(RegistryConfig(registry).connectionString, schema)
    elif schema:
        raise Fatal(
            Code.CONFIGURATION, "only a registry in PostgreSQL has schemas", hint="leave --schema out"
        )


def _prepare_database(url: URL, schema: str | None) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    quote = engine.dialect.identifier_preparer.quote
    with engine.connect() as connection:

        def ask(question: str, **values: str | None) -> Any:
            return connection.scalar(sqlalchemy.text(f"SELECT {question}"), values)

        user, database = quote(ask("current_user")), quote(ask("current_database()"))
        if not ask("count(*) FROM pg_extension WHERE extname = :name", name=EXTENSION):
            statement = f"CREATE EXTENSION IF NOT EXISTS {EXTENSION}"
            try:
                connection.execute(sqlalchemy.text(statement))
            except sqlalchemy.exc.DBAPIError as error:
                raise _denied(
                    f"the database {database} lacks the extension {EXTENSION}", statement
                ) from error
        if schema and not ask("count(*) FROM pg_namespace WHERE nspname = :schema", schema=schema):
            if not ask("has_database_privilege(current_database(), 'CREATE')"):
                statement = f"CREATE SCHEMA {quote(schema)} AUTHORIZATION {user}"
                raise _denied(f"the database {database} has no schema {schema}", statement)
            return
        schema = schema or ask("current_schema()") or "public"
        if not ask("has_schema_privilege(:schema, 'CREATE')", schema=schema):
            statement = f"GRANT CREATE ON SCHEMA {quote(schema)} TO {user}"
            raise _denied(
                f"no tables can be made in the schema {schema} of the database {database}", statement
            )


def _denied(what: str, statement: str) -> Fatal:
    return Fatal(
        Code.CONFIGURATION,
        f"{what}, and this user may not change that",
        hint=f"have an administrator of that database execute: {statement};",
    )


def prepare_datastore(root: str) -> None:
    """See that a remote datastore can be written to.

    Raises
    ------
    Fatal
        If the URI has a password in it.
    Outage, STORE_ERRORS
        If it cannot.
    """
    if redacted(root) != root:
        raise Fatal(
            Code.CONFIGURATION,
            f"the URI of the datastore has a secret in it: {redacted(root)}",
            hint="leave it out, and put the keys into ~/.aws/credentials (AWS_PROFILE chooses the profile),"
            " or into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; S3_ENDPOINT_URL says where the store is",
        )
    if "://" not in root or root.startswith("<"):
        return
    uri = ResourcePath(root, forceDirectory=True)
    if not uri.isLocal:
        be_brief(uri)
        try_store(uri)
