"""TensorBoard's own server over run folders."""

import logging
import socket
from pathlib import Path

from saltern.config import TensorboardConfig
from saltern.errors import ConfigError, RunError
from saltern.report.events import EVENTS
from saltern.runs import RunDir

PACKAGE = "tensorboard"


def serve(config: TensorboardConfig) -> str:
    """Start the server in a thread of this process; gives its address.

    Folds are told apart by their folders (`try1/fold_0/tensorboard`): those of a run stand in one chart.

    Raises:
        RunError: there is nothing to show.
        ConfigError: the server cannot listen there.
    """
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"port={config.port}: expected 1 to 65535, or 0 for any that is free.")
    folder = Path(config.outputs) if config.name is None else RunDir.of(config.outputs, config.name).path
    if not any(folder.rglob(f"{EVENTS}.*")):
        raise RunError(
            f"{folder.absolute()}: no run here has written anything for TensorBoard yet. `make train` does, from its "
            "first epoch on; outputs= and name= say where to look."
        )
    _require_room(config)
    from tensorboard import program

    logging.getLogger(PACKAGE).setLevel(logging.ERROR)  # that TensorFlow is missing: nothing of ours needs it
    where = [f"--logdir={folder}", f"--host={config.host}", f"--port={config.port}", f"--load_fast={_fast()}"]
    server = program.TensorBoard()
    server.configure(argv=["tensorboard", *where])
    try:
        return str(server.launch())
    except program.TensorBoardServerException as error:
        raise _cannot_listen(config, error.msg) from error


def _fast() -> str:
    """Whether the reader in Rust is there; TensorBoard's own way of finding out prints a note about it."""
    from tensorboard.data import server_ingester

    try:
        server_ingester.get_server_binary()
    except server_ingester.NoDataServerError:
        return "false"
    return "true"


def _require_room(config: TensorboardConfig) -> None:
    """Raise a ConfigError where nothing can listen: TensorBoard would end the process with half a sentence."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise _cannot_listen(config, error.strerror or str(error)) from error


def _cannot_listen(config: TensorboardConfig, reason: str) -> ConfigError:
    return ConfigError(
        f"host={config.host} port={config.port}: TensorBoard cannot listen there ({' '.join(reason.split())}). "
        "host= is a name or an address of this machine; port=0 takes any port that is free."
    )
