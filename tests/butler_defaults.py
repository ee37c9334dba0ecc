"""Lets Butler parse the configuration files of its package once in a process, not at each opening.

There are a dozen of them, the same each time, and the tests open some thousand Butlers: import it for that.
"""

import pickle
from types import SimpleNamespace
from typing import Any

import yaml
from lsst.daf.butler import _config

_parsed: dict[str, bytes] = {}


def _load(stream: Any, Loader: Any) -> Any:  # noqa: N803 (as it is called)
    name = str(getattr(stream, "name", ""))
    if not name.startswith("resource://"):
        return yaml.load(stream, Loader)  # noqa: S506 (Butler's own)
    if name not in _parsed:
        _parsed[name] = pickle.dumps(yaml.load(stream, Loader))  # noqa: S506 (Butler's own)
    # Anew each time: Butler changes what it gets.
    return pickle.loads(_parsed[name])  # noqa: S301 (written above)


_config.yaml = SimpleNamespace(**vars(yaml) | {"load": _load})
