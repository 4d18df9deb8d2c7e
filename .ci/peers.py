# SPDX-License-Identifier: MIT
"""Measures other savers than bench.py does, one at a time, and adds them to its results.

    nox -s bench -- peers chat      # runs this with the Python of each peer's environment
    python .ci/peers.py --savers amazon --json results.json chat

Two of the peers are imported by the name of this project's module. So each has an environment of
its own, without this project.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.client import BaseClient

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last, so that the peer comes first
import bench


class Clients:
    """Every client that this process makes, as one: a peer may not show its own."""

    def __init__(self) -> None:
        self.meta = self.events = self
        self._clients: list[Any] = []
        self._hooks: list[tuple[str, Callable[..., Any]]] = []

    def install(self) -> None:
        """Take part in the making of clients."""
        create: Callable[..., None] = BaseClient.__init__

        def create_and_add(client: Any, *args: Any, **kwargs: Any) -> None:
            create(client, *args, **kwargs)
            if client.meta.service_model.service_name == "dynamodb":
                self._clients.append(client)
                for name, hook in self._hooks:
                    _register(client, name, hook)

        BaseClient.__init__ = create_and_add

    def register(self, name: str, hook: Callable[..., Any]) -> None:
        """Give a hook to the clients of now and of later."""
        self._hooks.append((name, hook))
        for client in self._clients:
            _register(client, name, hook)

    def forget(self) -> None:
        """Begin anew, for the next saver."""
        self._clients, self._hooks = [], []


def _register(client: Any, name: str, hook: Callable[..., Any]) -> None:
    async def hook_in_thread(**kwargs: Any) -> Any:
        return await asyncio.to_thread(hook, **kwargs)

    is_async = inspect.iscoroutinefunction(type(client)._make_api_call)  # noqa: SLF001
    is_delay = name.startswith("before-send")  # it sleeps, which would stop the event loop
    # First, as botocore takes the first answer, and boto3's tables give one.
    client.meta.events.register_first(name, hook_in_thread if is_async and is_delay else hook)


def _skamalj(tables: str) -> Any:
    return importlib.import_module("langgraph_dynamodb_checkpoint").DynamoDBSaver(tables)


def _amazon(tables: str) -> Any:
    module = importlib.import_module("langgraph_checkpoint_dynamodb")
    table = module.DynamoDBTableConfig(table_name=tables)
    return module.DynamoDBSaver(module.DynamoDBConfig(table_config=table), deploy=True)


def _original(tables: str) -> Any:
    module = importlib.import_module("langgraph_checkpoint_dynamodb.saver")
    checkpoints, writes = f"{tables}-checkpoints", f"{tables}-writes"
    bench.create_table(checkpoints, "thread_id", "checkpoint_id")
    bench.create_table(writes, "thread_id_checkpoint_id_checkpoint_ns", "task_id_idx")
    return module.DynamoDBSaver(checkpoints_table_name=checkpoints, writes_table_name=writes)


def _memory(_: str) -> Any:
    return importlib.import_module("langgraph.checkpoint.memory").InMemorySaver()


PEERS: dict[str, Callable[..., Any]] = {
    "skamalj": _skamalj,
    "amazon": _amazon,
    "original": _original,
    "memory": _memory,
}


def main() -> None:
    """Measure as bench.py does."""
    clients, hook = Clients(), bench.Meter.hook
    clients.install()

    def make_anew(make: Callable[..., Any], tables: str) -> Any:
        clients.forget()
        return make(tables)

    def hook_all(meter: bench.Meter, _: Any) -> None:
        hook(meter, clients)

    setattr(bench.Meter, "hook", hook_all)  # noqa: B010  mypy takes no method for a variable
    bench.SAVERS.clear()
    bench.SAVERS.update({name: partial(make_anew, make) for name, make in PEERS.items()})
    bench.main()


if __name__ == "__main__":
    main()
