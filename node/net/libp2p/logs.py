"""Defect 18: libp2p logs what peers do wrong as errors, past the application's handlers and straight to stderr."""

from __future__ import annotations

import logging
from typing import Any, cast

from libp2p.network.connection import swarm_connection

_NAMES = ("libp2p",)


def tame_logging(level: int = logging.CRITICAL) -> None:
    """Route libp2p's log through the application's handlers, at `level` and above, and never to stderr on its own.

    Whatever matters in it reaches our callers as a typed error. `logging.getLogger("libp2p").setLevel(…)` brings it
    back for debugging.
    """
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = True
        logger.setLevel(level)
    _drop_own_levels()
    _keep_off_the_root_logger()


def _drop_own_levels() -> None:
    # One of its modules sets its own level, and talks about every connection it does not make.
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith("libp2p.") and isinstance(logger, logging.Logger):
            logger.setLevel(logging.NOTSET)


def _keep_off_the_root_logger() -> None:
    # This module calls `logging.debug(…)`, which installs a handler on the root logger that prints to stderr.
    logger = logging.getLogger("libp2p.network.connection.swarm_connection")
    cast(Any, swarm_connection).logging = logger
