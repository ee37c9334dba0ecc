"""The settings: what there is, what they must be to one another, and how they are read."""

from pfs_ingestd.config.load import PREFIX, check_config, keys, load_config, load_config_here
from pfs_ingestd.config.model import (
    Config,
    DatabaseUrl,
    IngestConfig,
    LogConfig,
    NotifyConfig,
    RunsConfig,
    StateConfig,
    StatusConfig,
    WatchConfig,
    WebhookUrl,
    is_elsewhere,
)
from pfs_ingestd.config.rules import Problem, conflicts, problems, written_files

__all__ = [
    "PREFIX",
    "Config",
    "DatabaseUrl",
    "IngestConfig",
    "LogConfig",
    "NotifyConfig",
    "Problem",
    "RunsConfig",
    "StateConfig",
    "StatusConfig",
    "WatchConfig",
    "WebhookUrl",
    "check_config",
    "conflicts",
    "is_elsewhere",
    "keys",
    "load_config",
    "load_config_here",
    "problems",
    "written_files",
]
