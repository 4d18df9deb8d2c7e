# SPDX-License-Identifier: MIT
"""Tests of DynamoDBSaver: what it promises, on DynamoDB Local and on moto's server."""

from __future__ import annotations

import ast
import asyncio
import base64
import copy
import gc
import hashlib
import importlib
import importlib.util
import inspect
import io
import itertools
import json
import logging
import operator
import os
import pickle
import random
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
import weakref
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, count, islice
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from uuid import UUID, uuid4

import botocore
import botocore.client
import botocore.exceptions
import botocore.loaders
import botocore.session
import ormsgpack
import pytest
from blockbuster import blockbuster_ctx
from botocore import UNSIGNED
from botocore.awsrequest import AWSHTTPConnection, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, NoRegionError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.validate import ParamValidationDecorator
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS, _DeltaSnapshot
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Interrupt, Send, StateSnapshot, interrupt
from moto import mock_aws
from moto.dynamodb.models.table import Table as MotoTable
from moto.server import ThreadedMotoServer
from pydantic import BaseModel
from typing_extensions import TypedDict

import langgraph_checkpoint_dynamodb as module
from langgraph_checkpoint_dynamodb import (
    DamagedCheckpointError,
    DynamoDBSaver,
    DynamoDBSaverError,
    UndecodableCheckpointError,
    __version__,
)

Told = module._CheckpointError  # damaged or undecodable
command_line: Any = importlib.import_module(f"{module.__name__}.__main__")

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.runnables import RunnableConfig
    from typing_extensions import Self

# -- Kit ------------------------------------------------------------------------------------------
# What more than one section uses: the servers, two tables and what works on them, ways to call a
# saver, checkpoints, views of a thread, requests that are counted or disturbed, graphs, commands.

Call = Callable[..., Any]
MakeSaver = Callable[..., DynamoDBSaver]
Item = dict[str, dict[str, Any]]
Builder = StateGraph[Any, Any, Any, Any]
Tables = tuple[str, str]
Patch = pytest.MonkeyPatch

# How long an example takes is the machine's business.
_SLOW: Final = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("untimed", deadline=None, suppress_health_check=_SLOW)
settings.load_profile("untimed")

# Where a server differs from DynamoDB, and the tests depend on it.
QUIRKS: Final[dict[str, frozenset[str]]] = {
    # It sorts all items of a table for each query: every test has tables of its own, and a graph
    # runs in two of the six ways. A request takes four times as long. It counts a unit per write.
    "moto": frozenset(
        {
            "slow in large tables", "slow", "counts no units", "counts bytes otherwise",
            "names no key in a batch", "compares no types of keys",
        }
    ),
    "local": frozenset({"takes no ARN for a name"}),
}  # fmt: skip
FASTEST: Final = "local" if os.environ.get("DYNAMODB_LOCAL_URL") or os.environ.get("CI") else "moto"
TABLE_KEYS: Final = (
    ("thread_id", "checkpoint_id"),
    ("thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"),
)


class Endpoint(NamedTuple):
    """A server, two tables in it that tests may share, and pairs of empty ones."""

    quirks: frozenset[str]
    client_config: dict[str, Any]
    client: Any
    tables: Tables
    spare: list[Tables]

    def environment(self, tables: Sequence[str]) -> dict[str, str]:
        """Return the variables that name the server and two tables, as an operator's do."""
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": self.client_config["endpoint_url"],
            "AWS_DEFAULT_REGION": self.client_config["region_name"],
            "AWS_ACCESS_KEY_ID": self.client_config["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.client_config["aws_secret_access_key"],
            "CHECKPOINTS_TABLE": tables[0],
            "WRITES_TABLE": tables[1],
        }


def _start_moto(stack: ExitStack) -> str:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it logs each request
    lock, put_item = threading.RLock(), MotoTable.put_item

    def put_alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return put_item(*args, **kwargs)

    # It would lose one of two puts at once, if their hash key is new to it.
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(MotoTable, "put_item", put_alone)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    stack.callback(server.stop)
    return "http://{}:{}".format(*server.get_host_and_port())


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """Give moto's server or DynamoDB Local."""
    with ExitStack() as stack:
        if request.param == "moto":
            url = _start_moto(stack)
        elif not (url := os.environ.get("DYNAMODB_LOCAL_URL", "")):
            reason = "DYNAMODB_LOCAL_URL names no DynamoDB Local; `nox -s tests` starts one"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        client_config = {
            "region_name": "eu-central-1",
            "endpoint_url": url,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(max_pool_connections=128),
        }
        client = botocore.session.get_session().create_client("dynamodb", **client_config)
        stack.callback(client.close)
        tables = stack.enter_context(_tables(client, make=True))
        spare: list[Tables] = []
        yield Endpoint(QUIRKS[request.param], client_config, client, tables, spare)
        _drop(client, *chain.from_iterable(spare))


def _drop(client: Any, *tables: str) -> None:
    """Delete tables; one that is gone is no fault: a client repeats a call whose answer is lost."""
    for table in tables:
        with suppress(client.exceptions.ResourceNotFoundException):
            client.delete_table(TableName=table)


@contextmanager
def _tables(client: Any, *, make: bool) -> Iterator[Tables]:
    """Name two tables, which may be there, and delete them."""
    suffix = uuid4().hex
    tables = f"checkpoints-{suffix}", f"writes-{suffix}"
    if make:
        with DynamoDBSaver(*tables, client=client) as saver:
            saver.setup()
    yield tables
    _drop(client, *tables)


@pytest.fixture
def no_tables(endpoint: Endpoint) -> Iterator[Tables]:
    """Name two tables that are not there yet."""
    with _tables(endpoint.client, make=False) as tables:
        yield tables


@pytest.fixture
def tables(endpoint: Endpoint) -> Iterator[Tables]:
    """Name the two tables that a test's threads are in."""
    if "slow in large tables" in endpoint.quirks:
        with _tables(endpoint.client, make=True) as tables:
            yield tables
    else:
        yield endpoint.tables


@contextmanager
def _lone(client: Any) -> Iterator[DynamoDBSaver]:
    with _tables(client, make=True) as tables, DynamoDBSaver(*tables, client=client) as saver:
        yield saver


@pytest.fixture
def lone_saver(endpoint: Endpoint) -> Iterator[DynamoDBSaver]:
    """Make a saver with tables of its own."""
    with _lone(endpoint.client) as saver:
        yield saver


@pytest.fixture
def make_saver(endpoint: Endpoint, tables: Tables) -> Iterator[MakeSaver]:
    """Make savers that know nothing of what others stored, and close them."""
    with ExitStack() as stack:

        def make(tables: Tables = tables, **options: Any) -> DynamoDBSaver:
            if "client_config" not in options:
                options.setdefault("client", endpoint.client)
            return stack.enter_context(DynamoDBSaver(*tables, **options))

        yield make


@pytest.fixture
def saver(make_saver: MakeSaver) -> DynamoDBSaver:
    """Make one saver."""
    return make_saver()


@pytest.fixture
def thread_id() -> str:
    """Name a thread that nobody has used."""
    return f"thread-{uuid4()}"


CODEC: Final = module._Codec(JsonPlusSerializer())


def _draft(thread_id: str = "t") -> Any:
    """Begin an item that shares nothing and never expires."""
    return module._Draft(thread_id, CODEC, module._GOOD, b"tokentok", b"")


SMALL: Final = {
    "_INLINE_VALUE_BYTES": 32, "_INLINE_WRITE_BYTES": 64, "_MIN_LAST_CHUNK_BYTES": 24,
    "_INLINE_MANIFEST_BYTES": 500, "_INLINE_CONTENT_BYTES": 1000,
    "_MAX_CHUNK_BYTES": 400, "_CHUNK_SIZES": ((64, 160, 2), (48, 80, 1)),
    "_LIST_CHUNK_SIZES": (120, 400, 300),
    "_TEXT_CHUNK_SIZES": ((2000, (320, 800, 4)), (0, (160, 400, 4))),
    "_TEXT_PATTERN": b"\0\1", "_MIN_CUT_TEXT_BYTES": 128,
    "_MAX_BATCH_GET_KEYS": 4, "_MAX_BATCH_WRITE_ITEMS": 6, "_MAX_TOMBSTONE_IDS": 3,
    "_MIN_LIST_AHEAD": 2, "_MAX_LIST_AHEAD": 9, "_MAX_LIST_CHUNKS": 3, "_MAX_LIST_HELD": 3,
    "_MAX_MOVED": 3,
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: Patch) -> None:
    """Set the module's limits so low that a hundred bytes are cut, and sent in several batches."""
    for name, value in SMALL.items():
        monkeypatch.setattr(module, name, value)


class World:
    """Two tables of a test's own in one server, and the savers and clients that work on them."""

    _session = botocore.session.get_session()

    def __init__(self, endpoint: Endpoint) -> None:
        """Take two empty tables."""
        self.endpoint = endpoint
        self.url: str = endpoint.client_config["endpoint_url"]
        self.now = 1_700_000_000.0
        self.serde: Any = None
        self._open = ExitStack()
        self.plain = self.client()
        if not endpoint.spare:
            endpoint.spare.append((f"checkpoints-{uuid4().hex}", f"writes-{uuid4().hex}"))
            with DynamoDBSaver(*endpoint.spare[-1], client=self.plain) as saver:
                saver.setup()
        self.tables = [*endpoint.spare.pop()]

    def renew(self) -> None:
        """Go on with empty tables."""
        _restore(self, [[], []])

    def close(self) -> None:
        """Close all savers and clients, and leave the tables to the next.

        In this order: a request that is still under way would else find the tables of the next.
        """
        self._open.close()
        self.plain = self.endpoint.client
        self.renew()
        # DynamoDB Local deletes what has expired by its own clock, which no test's is.
        if _expiry_of(self.plain, self.tables[0])["TimeToLiveStatus"] == "DISABLED":
            self.endpoint.spare.append((self.tables[0], self.tables[1]))

    def client(self, **options: Any) -> Any:
        """Return a new client of the same DynamoDB."""
        config = {"config": Config(max_pool_connections=150, **options)}
        client = self._session.create_client(
            "dynamodb", **{**self.endpoint.client_config, **config}
        )
        self._open.callback(client.close)
        return client

    def saver(self, client: Any = None, **options: Any) -> DynamoDBSaver:
        """Return a saver with an empty cache."""
        options = {"clock": lambda: self.now, "serde": self.serde, **options}
        if "client_config" not in options:
            options["client"] = client or self.plain
        saver = DynamoDBSaver(self.tables[0], self.tables[1], **options)
        self._open.callback(saver.close)
        return saver

    def items(self, table: int, hash_prefix: str = "") -> list[Item]:
        """Return a table's items whose hash key starts so."""
        hash_key, _ = TABLE_KEYS[table]
        items = _scanned(self.plain, self.tables[table])
        return [item for item in items if item[hash_key]["S"].startswith(hash_prefix)]


@pytest.fixture
def world(endpoint: Endpoint) -> Iterator[World]:
    """Make a world, and close it."""
    world = World(endpoint)
    yield world
    world.close()


def _both(world: World, thread_id: str = "") -> list[list[Item]]:
    """Return the items of both tables whose hash key starts so."""
    return [world.items(table, thread_id) for table in (0, 1)]


def _read(world: World, config: Any = None) -> Any:
    """Read a checkpoint, the newest of "thread" unless told, by a saver that knows nothing."""
    return world.saver().get_tuple(config or _config("thread"))


def _restore(world: World, saved: Sequence[Sequence[Item]]) -> None:
    """Bring both tables back to the items that they held."""
    for table, keys, items in zip(world.tables, TABLE_KEYS, saved, strict=True):
        found = {repr(_key(item)): item for item in _scanned(world.plain, table)}
        wanted = {repr(_key(item)): item for item in items}
        requests: list[Any] = [
            {"DeleteRequest": {"Key": {key: found[name][key] for key in keys}}}
            for name in found.keys() - wanted.keys()
        ]
        changed = [item for name, item in wanted.items() if found.get(name) != item]
        requests += [{"PutRequest": {"Item": item}} for item in changed]
        for start in range(0, len(requests), 25):
            batch = {table: requests[start : start + 25]}
            assert not world.plain.batch_write_item(RequestItems=batch)["UnprocessedItems"]


GRACE: Final = 3600.0
LONG: Final = pytest.mark.long


def _aes(key: bytes = b"k" * 32) -> EncryptedSerializer:
    return EncryptedSerializer.from_pycryptodome_aes(key=key)


@pytest.fixture(name="serde", params=["plain", "encrypted"])
def _serde(request: pytest.FixtureRequest, world: World) -> None:
    """Have a world's savers encrypt, too."""
    world.serde = _aes() if request.param == "encrypted" else None


def _sync(target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of a saver or graph; exhaust an iterator."""
    answer = getattr(target, method)(*args, **kwargs)
    return list(answer) if isinstance(answer, Iterator) else answer


def _async(target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method's async twin on an event loop of its own."""

    async def run() -> Any:
        answer = getattr(target, f"a{method}")(*args, **kwargs)
        if isinstance(answer, AsyncIterator):
            return [each async for each in answer]
        return await answer

    return asyncio.run(run())


WITHOUT_A_SERVER = pytest.mark.parametrize(
    "call", [pytest.param(_sync, id="sync"), pytest.param(_async, id="async")]
)
# If it can't matter which server it is: the faster one, if it is there.
ONE_SERVER = pytest.mark.parametrize("endpoint", [FASTEST], indirect=True, scope="session")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try a test on the servers, and in the forms of a call, that its fixtures ask for.

    The twins of a method send the same requests, so a slow server is asked in fewer forms.
    """
    taken = set(metafunc.fixturenames)
    for each in metafunc.definition.iter_markers("parametrize"):
        names = each.args[0]
        taken -= set(re.split(", *", names) if isinstance(names, str) else names)
    axes: dict[str, list[Any]] = {}
    if "endpoint" in taken:
        # The command line, and a world with its clock, know no server.
        is_alike = {"environment", "world"} & taken and "no_tables" not in taken
        axes["endpoint"] = [FASTEST] if is_alike else [*QUIRKS]
    if "call" in taken:
        axes["call"] = [_sync, _async]
    if "durability" in taken:
        axes["durability"] = ["async", "sync", "exit"]
    cases = []
    for case in itertools.product(*axes.values()):
        way = [each.__name__[1:] if callable(each) else each for each in case]
        if way[:1] != ["moto"] or way[1:] in ([], ["sync"], ["sync", "async"], ["async", "async"]):
            cases.append(pytest.param(*case, id="-".join(way)))
    if axes:
        indirect = ["endpoint"] if "endpoint" in axes else False
        metafunc.parametrize(tuple(axes), cases, indirect=indirect, scope="session")


def _cases(names: str, *cases: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Try one case after the other; each is named by the error or text that it ends with."""
    return pytest.mark.parametrize(
        names, [pytest.param(*case, id=f"{n}: {case[-1]}") for n, case in enumerate(cases)]
    )


def _short_and_long(name: str, short: Any, long: Any) -> pytest.MarkDecorator:
    """Try a part in every run of the tests, and in the session `histories` all that takes minutes."""
    sizes = [pytest.param(short, id="short"), pytest.param(long, id="long", marks=LONG)]
    return pytest.mark.parametrize(name, sizes)


@contextmanager
def _raises_exactly(error: Exception) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Check that the block raises an exception of this very type and text."""
    with pytest.raises(type(error)) as raised:
        yield raised
    assert (type(raised.value), str(raised.value)) == (type(error), str(error))


METHODS: Final[dict[str, Callable[[Any], tuple[Any, ...]]]] = {
    "get_tuple": lambda config: (config,),
    "list": lambda config: (config,),
    "put": lambda config: (config, _checkpoint(1, {"text": "x" * 9000}), {}, {"text": 1}),
    "put_writes": lambda config: (config, [("text", "x" * 900_000)], "task"),
}


def _id(number: int) -> str:
    """Return a checkpoint's id of LangGraph's form; a greater number is a newer checkpoint."""
    return f"1ef00000-0000-6000-8000-{number:012}"


def _config(thread_id: Any, at: int | str | None = None, *, ns: Any = "") -> Any:
    """Return a config, *at* a checkpoint by number or id; without one it means the newest."""
    configurable = {"thread_id": thread_id}
    if ns is not None:
        configurable["checkpoint_ns"] = ns
    if at is not None:
        configurable["checkpoint_id"] = _id(at) if isinstance(at, int) else at
    return {"configurable": configurable}


def _checkpoint(
    at: int | str,
    values: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | int | None = None,
) -> Any:
    """Return a checkpoint of a number or id; all its channels have that version, unless told."""
    values = dict(values or {})
    if versions is None:
        versions = at if isinstance(at, int) else 1
    if isinstance(versions, int):
        versions = dict.fromkeys(values, versions)
    return {
        "v": 4,
        "id": _id(at) if isinstance(at, int) else at,
        "ts": "2026-11-22T12:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict(versions),
        "versions_seen": {"__input__": {}, "node": dict(versions)},
        "updated_channels": sorted(values),
    }


def _put(
    saver: BaseCheckpointSaver[Any],
    config: RunnableConfig,
    number: int,
    values: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> RunnableConfig:
    """Put a checkpoint whose values are all new; *config* names its parent."""
    checkpoint = _checkpoint(number, values)
    whole: Any = {"source": "loop", "step": number, "parents": {}, **metadata}
    return saver.put(config, checkpoint, whole, checkpoint["channel_versions"])


def _words(size: int, seed: int = 0) -> str:
    """Return a text that compression leaves large, the same each time."""
    generator = random.Random(size + seed)
    return base64.b64encode(generator.randbytes(size)).decode()[:size]


def _messages(count: int, start: int = 0) -> list[AnyMessage]:
    """Return messages of a chat, numbered on from *start*."""
    return [
        (HumanMessage, AIMessage)[i % 2](f"{i} {_words(300, i)}", id=str(i))
        for i in range(start, start + count)
    ]


class Color(NamedTuple):
    """A type of the user's, which strict msgpack does not know."""

    name: str


def _scanned(client: Any, table_name: str) -> list[Item]:
    """Read every item of a table."""
    pages = client.get_paginator("scan").paginate(TableName=table_name, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def _stored(saver: DynamoDBSaver) -> list[dict[str, Any]]:
    """Read every item of a saver's tables."""
    return [item for table in _tables_of(saver) for item in _scanned(saver.client, table)]


def _items_of(saver: DynamoDBSaver, thread_id: str, prefix: str = "") -> list[Item]:
    """Return a thread's items whose range key starts so; that of a write counts as "write".

    It asks for the thread alone: a scan would read all that other tests left in the tables.
    """
    found = []
    for table, (hash_key, _) in zip(_tables_of(saver), TABLE_KEYS, strict=True):
        pages = saver.client.get_paginator("query").paginate(
            TableName=table,
            ConsistentRead=True,
            KeyConditionExpression=f"{hash_key} = :h",
            ExpressionAttributeValues={":h": {"S": thread_id}},
        )
        found += [item for page in pages for item in page["Items"]]
    names = [item.get("checkpoint_id", {"S": "write"})["S"] for item in found]
    return [item for item, name in zip(found, names, strict=True) if name.startswith(prefix)]


def _tables_of(saver: DynamoDBSaver) -> Tables:
    return saver.checkpoints_table_name, saver.writes_table_name


def _beside(saver: DynamoDBSaver, **options: Any) -> DynamoDBSaver:
    """Return another saver on the same tables."""
    return DynamoDBSaver(*_tables_of(saver), client=saver.client, **options)


def _put_item(saver: DynamoDBSaver, item: Item) -> None:
    """Put an item in its table."""
    saver.client.put_item(TableName=_tables_of(saver)["task_id_idx" in item], Item=item)


def _delete_item(saver: DynamoDBSaver, item: Item) -> None:
    """Delete an item of either table."""
    number = "task_id_idx" in item
    key = {name: item[name] for name in TABLE_KEYS[number]}
    saver.client.delete_item(TableName=_tables_of(saver)[number], Key=key)


def _hide(saver: DynamoDBSaver, thread_id: str, reason: str = "deletion") -> None:
    """Put the marker that a deletion which was cut off leaves."""
    marker = {"checkpoint_id": "}", "checkpoint_ns": "", "reason": reason, "through": "~"}
    _put_item(
        saver, {name: {"S": text} for name, text in {"thread_id": thread_id, **marker}.items()}
    )


def _is_chunk(item: Item) -> bool:
    return str(item.get("checkpoint_id", {}).get("S", "")).startswith("~x")


def _sweep(saver: DynamoDBSaver, now: float) -> None:
    """Delete what has expired, as DynamoDB does some time later."""
    for item in _stored(saver):
        if "ttl" in item and int(item["ttl"]["N"]) <= now:
            _delete_item(saver, item)


def _numbers(tuples: Sequence[CheckpointTuple]) -> list[int]:
    return [int(each.checkpoint["id"][-12:]) for each in tuples]


def _key(item: Item) -> list[str]:
    return [item[name]["S"] for name in chain(*TABLE_KEYS) if name in item]


def _owner(item: dict[str, Any]) -> str:
    """Return a thread's id, in quotes."""
    return repr(_key(item)[0].partition(":::")[0])


def _put_items(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each["PutRequest"]["Item"] for each in chain(*params["RequestItems"].values())]


def _triple(config: Any) -> tuple[str, str, str]:
    configurable = config["configurable"]
    return (configurable["thread_id"], configurable["checkpoint_ns"], configurable["checkpoint_id"])


def _told(saver: BaseCheckpointSaver[Any], thread_id: Any) -> dict[tuple[str, ...], Any]:
    """Return all that a saver shows of a thread, exactly, and under no name: copies are equal."""
    return {
        _triple(each.config)[1:]: (
            each.checkpoint,
            each.metadata,
            each.parent_config and _triple(each.parent_config)[1:],
            each.pending_writes,
        )
        for each in saver.list({"configurable": {"thread_id": thread_id}})
    }


def _count_bytes(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sum(map(_count_bytes, value))
    return len(value) if isinstance(value, bytes) else 0


class Requests:
    """Records what a saver asks of DynamoDB while the block runs.

    Each request is held up for *delay* seconds, so that those sent side by side overlap.
    """

    def __init__(self, saver: DynamoDBSaver, delay: float = 0.0) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.items_read = 0
        self._events = saver.client.meta.events
        self._delay = delay
        self._spans: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._events.register("provide-client-params.dynamodb", self._start)
        self._events.register("after-call.dynamodb", self._end)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.unregister("provide-client-params.dynamodb", self._start)
        self._events.unregister("after-call.dynamodb", self._end)

    def _start(self, *, model: Any, params: Any, context: Any, **_: Any) -> None:
        self.sent.append((model.name, params))
        context["started"] = time.monotonic()
        time.sleep(self._delay)

    def _end(self, *, parsed: Any, context: Any, **_: Any) -> None:
        self._spans.append((context["started"], time.monotonic()))
        answered = parsed.get("Responses", {}).values()
        self.items_read += sum(map(len, answered)) + len(parsed.get("Items", ()))

    @property
    def names(self) -> list[str]:
        """The names of the operations, sorted, since those side by side have no order."""
        return sorted(name for name, _ in self.sent)

    @property
    def bytes_sent(self) -> int:
        """How many bytes of checkpoints, writes and chunks were sent."""
        return _count_bytes([parameters for _, parameters in self.sent])

    @property
    def waves(self) -> int:
        """How many of the requests, at most, came one after the end of the other."""
        waves, end_of_wave = 0, 0.0
        for end, start in sorted((end, start) for start, end in self._spans):
            if start >= end_of_wave:
                waves, end_of_wave = waves + 1, end
        return waves


class _Body(io.BytesIO):
    """What botocore reads an answer's bytes from."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _answer(request: Any, status: int, code: str) -> AWSResponse:
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"})
    return AWSResponse(request.url, status, {}, _Body(body.encode()))


@pytest.fixture(scope="session")
def deaf_saver() -> Iterator[DynamoDBSaver]:
    """Make a saver whose requests are all answered, and never sent."""
    client = botocore.session.get_session().create_client(
        "dynamodb", "eu-central-1", config=Config(signature_version=UNSIGNED)
    )
    client.meta.events.register(
        "before-call.dynamodb", lambda **_: (AWSResponse("", 200, {}, _Body()), {"Items": []})
    )
    with DynamoDBSaver("checkpoints", "writes", client=client) as saver:
        yield saver
    client.close()


class Cut(BaseException):
    """The process ends here."""


class Sent(NamedTuple):
    """A request on its way, as a script of a Wire sees it."""

    operation: str
    #: The body as plain types; a script may change it.
    asked: dict[str, Any]
    #: Has it sent, and returns the server's answer.
    carry_out: Callable[[], AWSResponse]


Script = Callable[[Sent], Any]


class Wire:
    """A client, and a script that sees each of its requests before it is sent.

    The script answers with a dict, a text that is an error's code, or what carry_out() returns; or
    it raises; None: the request is sent. After a Cut, nothing is.
    """

    def __init__(self, world: World, script: Script = lambda _: None, attempts: int = 1) -> None:
        """Make a client that tries each request so often."""
        self.client = world.client(retries={"mode": "standard", "total_max_attempts": attempts})
        self.client.meta.events.register("before-send.dynamodb", self._send)
        self.script, self._world = script, world
        self.is_reached = self.is_cut = False
        self._http = URLLib3Session(
            max_pool_connections=64, socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        )
        world._open.callback(self._http.close)

    def at(self, number: int, script: Script) -> None:
        """Have *script* see one request of those that come now; the first is number 0."""
        numbers, lock = itertools.count(), threading.Lock()
        self.is_reached = self.is_cut = False

        def see(sent: Sent) -> Any:
            with lock:
                is_it = next(numbers) == number
            if is_it:
                self.is_reached = True
                return script(sent)
            return None

        self.script = see

    def rest(self) -> None:
        """Send every request from now on."""
        self.is_cut, self.script = False, lambda _: None

    def at_each(
        self, script: Script, act: Callable[[DynamoDBSaver], Any], every: int = 1
    ) -> Iterator[int]:
        """Do *act* with what is stored now again and again, and disturb another request each time."""
        saved = _both(self._world)
        for number in itertools.count(0, every):
            _restore(self._world, saved)
            self.at(number, script)
            with suppress(Cut):
                act(self._world.saver(self.client))
            yield number
            if not self.is_reached:
                break
        assert number

    def _send(self, request: Any, **_: Any) -> AWSResponse | None:
        if self.is_cut:
            raise Cut
        target, body = request.headers["X-Amz-Target"], json.loads(request.body)
        operation = (target if isinstance(target, str) else target.decode()).partition(".")[2]

        def carry_out() -> AWSResponse:
            request.body = json.dumps(body).encode()
            request.headers["Content-Length"] = str(len(request.body))
            return self._http.send(request)

        try:
            answer = self.script(Sent(operation, body, carry_out))
        except Cut:
            self.is_cut = True
            raise
        if isinstance(answer, str):
            return _answer(request, 400 if answer.endswith("Exception") else 500, answer)
        if isinstance(answer, dict):
            return AWSResponse(request.url, 200, {}, _Body(json.dumps(answer).encode()))
        return answer


def _prune_by(world: World) -> Script:
    """Return a script by which another process prunes the thread before a request."""

    def script(sent: Sent) -> Any:
        world.saver().prune(["thread"], grace_seconds=0)
        return sent.carry_out()

    return script


@pytest.fixture
def naps(monkeypatch: Patch) -> list[float]:
    """Keep botocore and the saver from waiting, and return how long they would have."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    return naps


class Answer(NamedTuple):
    """What a command returned and printed."""

    code: Any
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """What it printed with --json."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Answer]


def _python(*argv: str, stdout: Any = subprocess.PIPE, **options: Any) -> Answer:
    """Run Python in a process of its own, without a terminal.

    It is not run in the checkout, whose flat file Python 3.10 would take for the package.
    """
    options = {"cwd": tempfile.gettempdir(), "stderr": subprocess.PIPE, "text": True, **options}
    done = subprocess.run(
        [sys.executable, *argv], check=False, stdin=subprocess.DEVNULL, stdout=stdout, **options
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def environment(endpoint: Endpoint, tables: Tables, monkeypatch: Patch) -> Patch:
    """Have the environment name a server and a test's tables, as an operator's does."""
    for name, value in endpoint.environment(tables).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return monkeypatch


@pytest.fixture
def command(environment: Patch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""
    del environment

    def run(*argv: str) -> Answer:
        try:
            code: Any = command_line.main(argv)
        except SystemExit as end:
            code = end.code
        return Answer(code, *capsys.readouterr())

    return run


# -- Samples --------------------------------------------------------------------------------------
# Threads and graphs of which more than one section makes use.


USERS_WORDS: Final = "what the user said in private"


def _put_deltas(saver: BaseCheckpointSaver[Any], thread_id: str) -> RunnableConfig:
    """Put a chain of ten: each parent has a write of the delta channel that its child counts.

    The third has a snapshot. Each is of a run of its own.
    """
    config: RunnableConfig = _config(thread_id)
    for number in range(10):
        checkpoint = _checkpoint(number, {"snapshot": number, "delta": ["seed"]})
        if number != 3:
            del checkpoint["channel_values"]["delta"]
        counters = {"counters_since_delta_snapshot": {"delta": ((number - 3) % 10, 1)}}
        metadata: Any = {"source": "loop", "step": number, "run_id": f"run-{number}", **counters}
        config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
        saver.put_writes(config, [("other", 0), ("delta", f"b{number}")], "task 1", "b")
        saver.put_writes(config, [("delta", f"a{number}"), ("delta", None)], "task 2", "a")
    return config


def _two_alike(saver: DynamoDBSaver, thread_id: str, ns: str = "") -> RunnableConfig:
    """Store two checkpoints that share two chunks, and a write of each."""
    config: RunnableConfig = _config(thread_id, ns=ns)
    values = {"messages": [USERS_WORDS], "text": _words(7000), "more": _words(7000, 1)}
    for number in (1, 2):
        checkpoint = _checkpoint(number, values, 1)
        new: Any = dict.fromkeys(values if number == 1 else (), 1)
        metadata: Any = {"source": "loop", "step": number, "parents": {}}
        config = saver.put(config, checkpoint, metadata, new)
        saver.put_writes(config, [("messages", [USERS_WORDS])], "task")
    return config


def _plain(seen: Any) -> Any:
    """Return what a caller saw without the ids that are others in every run."""
    if isinstance(seen, Interrupt):
        return ("interrupt", _plain(seen.value))
    if isinstance(seen, Exception):
        return repr(seen)
    if isinstance(seen, (StateSnapshot, CheckpointTuple)):
        metadata = {k: v for k, v in (seen.metadata or {}).items() if k != "parents"}
        if isinstance(seen, CheckpointTuple):
            writes = [write[1:] for write in seen.pending_writes or ()]
            return _plain([seen.checkpoint["channel_values"], metadata, writes])
        tasks = [
            (each.name, each.error, each.interrupts, each.result, each.state) for each in seen.tasks
        ]
        return _plain([seen.values, seen.next, metadata, tasks, seen.parent_config is None])
    if isinstance(seen, dict):
        if "configurable" in seen:  # the state of a subgraph that has yet to run
            return "config"
        # Of tasks side by side, whose interrupt comes first is chance.
        return {k: sorted(map(_plain, v)) if k == INTERRUPT else _plain(v) for k, v in seen.items()}
    return type(seen)(map(_plain, seen)) if type(seen) in (list, tuple) else seen


class Chat(TypedDict):
    """What a chat's nodes share."""

    messages: Annotated[list[AnyMessage], add_messages]


def _chat() -> Builder:
    """Build an agent that looks each question up with a tool, and then answers."""

    def model(state: Chat) -> Any:
        last, message_id = state["messages"][-1], f"m{len(state['messages'])}"
        if not isinstance(last, HumanMessage):
            return {"messages": [AIMessage(f"It is {last.text[:20]}", id=message_id)]}
        look_up = {"name": "look_up", "args": {"for": last.text}, "id": f"call {message_id}"}
        return {"messages": [AIMessage("", id=message_id, tool_calls=[look_up])]}

    def tools(state: Chat) -> Any:
        (tool_call,) = state["messages"][-1].tool_calls  # type: ignore[union-attr]
        size = len(state["messages"])
        found = f"{tool_call['args']['for']}: {_words(3000 + size)}"
        return {"messages": [ToolMessage(found, id=f"m{size}", tool_call_id=tool_call["id"])]}

    def route(state: Chat) -> str:
        return "tools" if state["messages"][-1].tool_calls else END  # type: ignore[union-attr]

    builder: Builder = StateGraph(Chat)
    builder.add_node("model", model).add_node("tools", tools)
    builder.add_edge(START, "model").add_edge("tools", "model")
    return builder.add_conditional_edges("model", route)


class Tally(TypedDict, total=False):
    """What most graphs here share: a list to which every node appends."""

    log: Annotated[list[str], operator.add]
    number: int


def _in_a_row(state: type, **nodes: Any) -> Builder:
    """Build nodes that run one after the other."""
    builder: Builder = StateGraph(state)
    for before, (name, node) in zip([START, *nodes], nodes.items()):  # noqa: B905  the last is last
        builder.add_node(name, node).add_edge(before, name)
    return builder


def _nested(*, checkpointer: bool | None = None) -> Builder:
    """Build a graph in a graph in a graph; the innermost asks twice."""

    def ask(state: Tally) -> Any:
        name = interrupt({"ask": "name", "log": state["log"]})
        return {"log": [f"name {name}", f"age {interrupt('age')}"]}

    inner = _in_a_row(Tally, before=lambda _: {"log": ["inner"]}, ask=ask)
    asking = inner.compile(checkpointer=checkpointer)
    middle = _in_a_row(Tally, inner=asking, after=lambda _: {"log": ["middle"]})

    # Before Python 3.11, LangGraph does not hand the config on by itself where a graph is async.
    def call_middle(state: Tally, config: RunnableConfig) -> Any:
        return {"log": compiled.invoke({"log": [f"outer {state['number']}"]}, config)["log"]}

    compiled = middle.compile(checkpointer=checkpointer)
    return _in_a_row(Tally, middle=call_middle, end=lambda _: {"log": ["end"]})


def _joined(state: list[str] | None, writes: Sequence[list[str]]) -> list[str]:
    # Not commutative, so that writes in another order give another value.
    return [*(state or ()), *chain.from_iterable(writes)]


class Deltas(TypedDict, total=False):
    """What the delta graphs share: channels that are stored as their writes."""

    log: Annotated[list[str], DeltaChannel(_joined)]
    often: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=2)]
    number: int


def _deltas() -> Builder:
    """Build two parallel writers, then three nodes of which the last writes no delta channel."""

    def writer(name: str) -> Any:
        def node(state: Deltas) -> Any:
            turn = state.get("number", 0)
            often = f"{name} {turn} of {len(state.get('log', []))}"
            return {"log": [f"{name} {turn}", _words(100 + turn)], "often": [often]}

        return node

    builder: Builder = StateGraph(Deltas)
    for name in ("zebra", "ant", "after"):
        builder.add_node(name, writer(name))
    builder.add_node("count", lambda state: {"number": state.get("number", 0) + 1})
    builder.add_node("idle", lambda _: {})
    builder.add_edge(START, "zebra").add_edge(START, "ant").add_edge(["zebra", "ant"], "after")
    return builder.add_edge("after", "count").add_edge("count", "idle")


def _graph_of_all_edges(saver: DynamoDBSaver) -> Any:
    """Return a graph with a join, Sends, a subgraph and a deferred node, whose log grows."""

    def node(letter: str) -> Any:
        return lambda _: {"log": [f"{USERS_WORDS} {letter * 2000}"]}

    builder: Builder = StateGraph(Tally)
    builder.add_node("child", _in_a_row(Tally, first=node("f"), then=node("t")).compile())
    for name in ("a", "b+", "joined", "sent"):
        builder.add_node(name, node(name[0]))
    builder.add_node("last", node("l"), defer=True)
    builder.add_edge(START, "a").add_edge(START, "b+").add_edge(START, "last")
    builder.add_edge(["a", "b+"], "joined").add_edge("b+", "child")
    builder.add_conditional_edges("joined", lambda state: [Send("sent", state)] * 2, ["sent"])
    builder.add_edge(["sent", "child"], "last")
    return builder.compile(checkpointer=saver)


# -- Saver ----------------------------------------------------------------------------------------
# The constructor, the client that it makes, close(), forks, threads and event loops.


def _row(thread_id: str, range_key: str, **attributes: Any) -> Item:
    """Return an item of the checkpoints table, with its keys as the docstring's table has them."""
    return {"thread_id": {"S": thread_id}, "checkpoint_id": {"S": range_key}, **attributes}


def _with_sync_methods(saver_class: Any) -> Any:
    """Return a class whose async methods are its sync ones, for a suite that knows only async ones."""

    def twin_of(name: str) -> Any:
        async def call(self: Any, *args: Any, **options: Any) -> Any:
            return getattr(self, name)(*args, **options)

        return call

    async def alist(self: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        for each in self.list(*args, **options):
            yield each

    twins = {f"a{name}": twin_of(name) for name in PUBLIC}
    return type("SyncSaver", (saver_class,), {**twins, "alist": alist})


def _conform(saver_class: Any, endpoint: Endpoint, tables: Tables) -> None:
    """Run LangGraph's conformance suite, and see all of its 81 tests pass."""

    @checkpointer_test(name="DynamoDBSaver")
    async def factory() -> AsyncIterator[DynamoDBSaver]:
        async with saver_class(*tables, client=endpoint.client) as saver:
            await saver.asetup()
            yield saver

    report = asyncio.run(validate(factory))

    results = report.results.values()
    assert [failure for each in results for failure in each.failures] == []
    counts = [(each.tests_passed, each.tests_failed) for each in results]
    assert [*map(sum, zip(*counts, strict=True))] == [81, 0]
    assert report.conformance_level() == "FULL"


def test_saver_conforms_fully(endpoint: Endpoint, no_tables: Tables) -> None:
    """LangGraph's conformance suite passes: all of its 81 tests, which are async."""
    _conform(DynamoDBSaver, endpoint, no_tables)


@ONE_SERVER
@pytest.mark.parametrize("installed", [False, True])
def test_saver_in_a_copied_file_conforms_fully(
    endpoint: Endpoint, no_tables: Tables, tmp_path: Path, monkeypatch: Patch, *, installed: bool
) -> None:
    """The file works in another package, with (by sync methods) or without (async) ours beside it."""
    agent, original = tmp_path / f"agent_{uuid4().hex}", tmp_path / module.__name__
    agent.mkdir()
    original.mkdir()
    (agent / "__init__.py").touch()
    file = Path(shutil.copy(str(module.__file__), agent / "checkpoints.py"))
    (original / "__init__.py").write_text("__version__ = '0.1.0'" if installed else "1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module.__name__)
    copied = importlib.import_module(f"{agent.name}.checkpoints")
    saver_class = copied.DynamoDBSaver
    if installed:
        assert importlib.import_module(module.__name__).__version__ == "0.1.0"
        saver_class = _with_sync_methods(saver_class)

    _conform(saver_class, endpoint, no_tables)

    assert importlib.import_module(f"{copied.__name__}.saver") is copied
    assert (copied.__file__, copied.__version__) == (str(file), module.__version__)
    assert not issubclass(copied.DynamoDBSaver, DynamoDBSaver)
    licence = Path(__file__).with_name("LICENSE").read_text().splitlines()[2]
    assert file.read_text().splitlines()[:2] == ["# SPDX-License-Identifier: MIT", f"# {licence}"]


REGION: Final = {"region_name": "eu-central-1"}
UNKNOWN_OPTION: Final = (
    "client_config has no option 'profile'; it knows accessKeyId, api_version, aws_access_key_id, "
    "aws_secret_access_key, aws_session_token, config, endpoint, endpoint_url, region, "
    "region_name, secretAccessKey, sessionToken, use_ssl, verify"
)
NO_TIME: Final = "ttl_seconds must be a whole number of at least 1 and at most 3153600000 (100 years), or None, not {!r}"
NO_BYTES: Final = "cache_bytes must be a whole number of bytes, at least 0, not {!r}"
NO_WORKERS: Final = "max_workers must be at least 1, not {!r}"
NO_BOOLEAN: Final = "consistent_read must be True or False, not {!r}"
NO_CLIENT: Final = 'client must be a low-level client of DynamoDB, not a SimpleNamespace; pass boto3.client("dynamodb"), or the meta.client of a resource'
NO_MAPPING: Final = "client_config must be a mapping of options, not a {}; a client goes in client="
NO_SERDE: Final = "serde must be an object with dumps_typed() and loads_typed(), such as JsonPlusSerializer(), not {}"
PROFILE: Final = (
    "client_config has no option 'profile_name', which is one of a boto3 session; pass "
    'client=boto3.Session(profile_name=...).client("dynamodb"), or set AWS_PROFILE'
)
NO_NAME: Final = "{} must be a table's name, not {!r}"
TABLE_RULE: Final = "{} must have at most 255 characters, of a-z, A-Z, 0-9, '_', '-' and '.', or be a table's ARN, not {!r}"
TABLE_NAMES: Final = ("checkpoints_table_name", "writes_table_name")
ONE_NAME: Final = f"{' and '.join(TABLE_NAMES)} are both 'same'; the two tables have different keys: name two tables"
ARN: Final = "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/"
WRONG_NAMES: Final = [("a b", "w"), ("c", "w" * 256), ("c", "wörk"), (f"{ARN}a/index/b", "w"),
                      ("arn:aws:s3:::bucket", "w")]  # fmt: skip


@_cases(
    "names, options, error",
    (("", "w"), {}, ValueError(NO_NAME.format(TABLE_NAMES[0], ""))),
    (("c", None), {}, ValueError(NO_NAME.format(TABLE_NAMES[1], None))),
    (("same", "same"), {}, ValueError(ONE_NAME)),
    *((each, {}, ValueError(TABLE_RULE.format(TABLE_NAMES[n], each[n])))
      for each in WRONG_NAMES for n in [int(each[0] == "c")]),
    ((), {"client_config": {}, "client": object()},
     ValueError("client and client_config are both given; drop one")),
    ((), {"client_config": "eu-central-1"}, TypeError(NO_MAPPING.format("str"))),
    ((), {"client_config": ["region_name"]}, TypeError(NO_MAPPING.format("list"))),
    ((), {"client_config": {"profile": "me"}}, TypeError(UNKNOWN_OPTION)),
    ((), {"client_config": {"profile_name": "me"}}, TypeError(PROFILE)),
    ((), {"client_config": {**REGION, "region": "eu-central-1"}},
     ValueError("client_config names 'region_name' twice, once as 'region'; drop one")),
    ((), {"client": SimpleNamespace(Table=None)}, TypeError(NO_CLIENT)),
    ((), {"client": SimpleNamespace(meta=None)}, TypeError(NO_CLIENT)),
    *(((), {"cache_bytes": each}, ValueError(NO_BYTES.format(each))) for each in (-1, True)),
    *(((), {"ttl_seconds": each}, ValueError(NO_TIME.format(each))) for each in (0, True)),
    *(((), {"max_workers": each}, ValueError(NO_WORKERS.format(each))) for each in (0, True)),
    *(((), {"consistent_read": each}, TypeError(NO_BOOLEAN.format(each))) for each in ("no", 0)),
    ((), {"serde": JsonPlusSerializer}, TypeError(NO_SERDE.format("the class JsonPlusSerializer"))),
    *(((), {"serde": each}, TypeError(NO_SERDE.format("a module"))) for each in (json, pickle)),
)  # fmt: skip
def test_constructor_refuses(
    idle_client: Any, names: Any, options: dict[str, Any], error: Exception
) -> None:
    """A saver that could not work is not made; some of these failed later, or expired everything."""
    if not {"client", "client_config"} & options.keys():
        options = {**options, "client": idle_client}

    with _raises_exactly(error):
        DynamoDBSaver(*names or ("checkpoints", "writes"), **options)


def test_constructor_makes_no_request_and_takes_arns(monkeypatch: Patch) -> None:
    """A saver is made without the network; a table's name may be its ARN, of any partition."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("there was a request"))
    names = (f"{ARN}{'c' * 255}", f"{ARN}writes_1.2-3")
    # Without these, botocore may ask the machine that it is on for credentials.
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}

    with DynamoDBSaver(*names, {**REGION, **keys}) as saver:
        assert _tables_of(saver) == names


@pytest.fixture(scope="session")
def idle_client() -> Iterator[Any]:
    """Make a client that no request comes through to."""
    session = botocore.session.get_session()
    options = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = session.create_client("dynamodb", "eu-central-1", **options)
    client.meta.events.register("before-send", lambda **_: pytest.fail("there was a request"))
    yield client
    client.close()


@pytest.fixture
def idle_saver(idle_client: Any) -> Iterator[DynamoDBSaver]:
    """Make a saver whose requests come to nothing."""
    with DynamoDBSaver("checkpoints", "writes", client=idle_client) as saver:
        yield saver


KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
ACCOUNT, MODE = {"AWS_ACCOUNT_ID": "123456789012"}, "AWS_ACCOUNT_ID_ENDPOINT_MODE"
FIPS, DUAL = {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}
LOCAL: Final = "http://127.0.0.1:8000"
TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


# What makes the client's address, signature, headers or retries another: a region, and of the rest
# of the Config, the rest of client_config, the environment and the lines of ~/.aws/config.
CASES: dict[str, tuple[str | None, dict[str, Any]]] = {
    **{region: (region, {}) for region in (
        "us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1",
        "local", "us-east-1-fips", "mars-north-1",  # DynamoDB Local's, a FIPS name, unknown
    )},
    "FIPS": ("us-east-1", {"config": FIPS}),
    "FIPS in China": ("cn-north-1", {"config": FIPS}),
    "FIPS in GovCloud": ("us-gov-west-1", {"config": FIPS}),
    "dual-stack": ("us-east-1", {"config": DUAL}),
    "dual-stack in China": ("cn-north-1", {"config": DUAL}),
    "FIPS and dual-stack": ("us-gov-west-1", {"config": {**FIPS, **DUAL}}),
    "FIPS by environment": ("eu-west-1", {"environment": {"AWS_USE_FIPS_ENDPOINT": "true"}}),
    "dual-stack by file": ("eu-west-1", {"lines": "use_dualstack_endpoint = true"}),
    "account's address": ("us-east-1", {"environment": ACCOUNT}),
    "account's address required": ("us-east-1", {"environment": {**ACCOUNT, MODE: "required"}}),
    "account's address off": ("us-east-1", {"environment": {**ACCOUNT, MODE: "disabled"}}),
    "endpoint_url": ("eu-west-1", {"rest": {"endpoint_url": LOCAL}}),
    "endpoint_url in China": ("cn-north-1", {"rest": {"endpoint_url": "https://example.com"}}),
    "address by environment": ("eu-west-1", {"environment": {"AWS_ENDPOINT_URL_DYNAMODB": LOCAL}}),
    "no TLS": ("eu-west-1", {"rest": {"use_ssl": False}}),
    "region by environment": (None, {"environment": {"AWS_DEFAULT_REGION": "sa-east-1"}}),
    "region by file": (None, {"lines": "region = sa-east-1"}),
    "legacy retries": ("eu-west-1", {"config": {"retries": {"mode": "legacy"}}}),
    "adaptive retries": ("eu-west-1", {"config": {"retries": {"mode": "adaptive", "total_max_attempts": 3}}}),
    "defaults mode": ("eu-west-1", {"config": {"defaults_mode": "in-region"}}),
    "trace of a function": ("eu-west-1", {"environment": {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": TRACE_ID}}),
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Give a home folder for AWS that is empty, and an environment that names nothing of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(botocore.loaders.Loader, "CUSTOMER_DATA_PATH", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
def make_client(home: Path, monkeypatch: Patch) -> Callable[[dict[str, Any] | None], Any]:  # noqa: ARG001
    """Give a function that returns the client that a saver makes, with keys in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def make(client_config: dict[str, Any] | None) -> Any:
        with DynamoDBSaver("checkpoints", "writes", client_config) as saver:
            return saver.client

    return make


def _is_lean(client: Any) -> bool:
    """Say whether a client was made without the list of all services' addresses."""
    return client.meta.partition is None


def _sent_by(client: Any) -> list[Any]:
    """Return what a client sends, attempt by attempt, where each is answered with status 500."""
    sent: list[Any] = []

    def refuse(request: Any, **_: Any) -> AWSResponse:
        headers = {
            name.lower(): value if isinstance(value, str) else value.decode()
            for name, value in request.headers.items()
        }
        for name in ("x-amz-date", "amz-sdk-invocation-id"):
            del headers[name]
        signed = re.fullmatch(
            r"(\S+) Credential=(\w+)/\d{8}/(\S+), SignedHeaders=(\S+), Signature=\w+",
            headers.pop("authorization"),
        )
        assert signed
        sent.append((request.method, request.url, request.body, signed.groups(), headers))
        return AWSResponse(request.url, 500, {}, _Body())

    client.meta.events.register_first("before-send.dynamodb", refuse)
    with suppress(ClientError):
        client.get_item(TableName="checkpoints", Key={"thread_id": {"S": "t"}})
    return sent


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_client_is_as_stock(case: Any, home: Path, make_client: Any, monkeypatch: Patch) -> None:
    """In any region, mode and environment, all but the time and the random id is the same."""
    region, given = case
    (home / "config").write_text(f"[default]\n{given.get('lines', '')}\n")
    config = Config(region_name=region, **given.get("config", {}))
    options = {"config": config, **given.get("rest", {})}
    for name, value in given.get("environment", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between attempts

    lean = make_client(options)
    monkeypatch.setenv("AWS_DATA_PATH", str(home))  # a folder for models: for a stock client only
    stock = make_client(options)

    assert (_is_lean(lean), _is_lean(stock)) == (True, False)
    assert lean.meta.region_name == stock.meta.region_name
    assert _sent_by(lean) == _sent_by(stock)


@pytest.mark.parametrize("client_config", [None, {"endpoint_url": LOCAL}])
def test_client_without_a_region_is_refused(make_client: Any, client_config: Any) -> None:
    """Botocore's error says so: on an event loop, where options are refused at once, in the block."""

    async def use(client_config: Any) -> None:
        async with DynamoDBSaver("checkpoints", "writes", client_config):
            pytest.fail("it was entered")

    with _raises_exactly(NoRegionError()):
        make_client(client_config)
    with _raises_exactly(NoRegionError()):
        asyncio.run(use(client_config))
    with _raises_exactly(TypeError(UNKNOWN_OPTION)):
        asyncio.run(use({"profile": "me"}))


OURS: Final = {"mode": "standard", "total_max_attempts": 6}
# The environment's, the profile's and the caller's; what comes of it, if that is not botocore's.
RETRIES: Final[dict[str, tuple[dict[str, str], str, dict[str, Any], Any]]] = {
    "ours": ({}, "", {}, OURS),
    "ours beside the caller's mode": ({}, "", {"mode": "adaptive"}, OURS | {"mode": "adaptive"}),
    "attempts": ({"AWS_MAX_ATTEMPTS": "3"}, "", {}, None),
    "mode": ({"AWS_RETRY_MODE": "adaptive"}, "", {}, None),
    "both": ({"AWS_MAX_ATTEMPTS": "3", "AWS_RETRY_MODE": "legacy"}, "", {}, None),
    "profile": ({}, "max_attempts = 2\nretry_mode = adaptive", {}, None),
    "profile's attempts": ({}, "max_attempts = 2", {}, None),
    "the caller's over all": (
        {"AWS_MAX_ATTEMPTS": "3"}, "retry_mode = legacy",
        {"max_attempts": 4, "mode": "standard"}, None,
    ),
    "the caller's mode": ({"AWS_MAX_ATTEMPTS": "3"}, "", {"mode": "adaptive"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", RETRIES.values(), ids=RETRIES)
def test_client_retries_as_told(
    make_client: Any, home: Path, monkeypatch: Patch, case: Any
) -> None:
    """If any of them says how, it is as botocore makes of it, where ours once overrode them."""
    environment, lines, retries, expected = case
    (home / "config").write_text(f"[default]\n{lines}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {"region_name": "eu-west-1", "config": Config(retries=retries or None)}

    stock = botocore.session.get_session().create_client("dynamodb", **options)

    assert make_client(options).meta.config.retries == (expected or stock.meta.config.retries)
    stock.close()


def test_client_of_the_tests_checks_all_that_is_sent(endpoint: Endpoint) -> None:
    """Our own clients check no shapes, so botocore does it for each request of these tests."""
    with pytest.raises(botocore.exceptions.ParamValidationError):
        endpoint.client.get_item(TableName="checkpoints", Key={"thread_id": {"S": 1}})


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("region", ["eu-west-1", "no region"])
def test_making_a_client_leaves_the_garbage_collector_as_it_was(
    make_client: Any, monkeypatch: Patch, region: str, *, is_enabled: bool
) -> None:
    """It does not run while a client is made, and is on again afterwards, also after an error."""
    seen, create_client = list[bool](), botocore.session.Session.create_client

    def create(*args: Any, **kwargs: Any) -> Any:
        seen.append(gc.isenabled())
        return create_client(*args, **kwargs)

    monkeypatch.setattr(botocore.session.Session, "create_client", create)
    (gc.enable if is_enabled else gc.disable)()
    try:
        with suppress(botocore.exceptions.InvalidRegionError):
            make_client({"region_name": region})
        assert (seen[0], gc.isenabled()) == (False, is_enabled)
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "is_lean"), [("models", False), ("x" * 5000, True)])
def test_client_reads_models_of_the_user(
    home: Path, make_client: Any, monkeypatch: Patch, name: str, *, is_lean: bool
) -> None:
    """A stock client reads those in the user's home; a folder whose name is too long is none."""
    (home / "models").mkdir()
    monkeypatch.setattr(botocore.loaders.Loader, "CUSTOMER_DATA_PATH", str(home / name))

    assert _is_lean(make_client({"region_name": "eu-west-1"})) == is_lean


def test_client_takes_hooks_waiters_and_pages(make_client: Any) -> None:
    """Mocks in the process, event hooks, waiters, pages and presigned URLs work as with any."""
    called: list[str] = []
    with mock_aws():
        client = make_client({"region_name": "eu-west-1"})
        events = client.meta.events
        events.register("provide-client-params", lambda model, **_: called.append(model.name))
        with DynamoDBSaver("checkpoints", "writes", client=client) as saver:
            saver.setup()
        (page,) = client.get_paginator("list_tables").paginate()

    assert _is_lean(client)
    assert page["TableNames"] == ["checkpoints", "writes"]
    assert called == [*["CreateTable", "DescribeTable", "DescribeTable"] * 2, "ListTables"]
    assert client.generate_presigned_url("list_tables").startswith("https://dynamodb.eu-west-1.")


def test_client_assumes_a_profiles_role(home: Path, make_client: Any, monkeypatch: Patch) -> None:
    """Credentials that STS gives are fetched, though the client's session knows only DynamoDB."""
    (home / "config").write_text(
        "[default]\nregion = eu-west-1\nsource_profile = base\n"
        "role_arn = arn:aws:iam::123456789012:role/agent\n"
        "[profile base]\naws_access_key_id = AKID\naws_secret_access_key = secret\n"
    )
    with mock_aws():
        with monkeypatch.context() as without_keys:
            for name in KEYS:
                without_keys.delenv(name)  # the environment's would go first
            client = make_client({})
        ((_, _, _, signed, headers), *_) = _sent_by(client)

    assert _is_lean(client)
    assert signed[1].startswith("ASIA")
    assert "x-amz-security-token" in headers


# What the lean client leans on in botocore, and in its folder of data. `get_session` and its
# `create_client` are what anybody uses.
LEANED_ON = (
    "Session", "include_builtin_handlers", "get_config_variable", "register_component",
    "get_component", "data_loader", "event_emitter", "BUILTIN_HANDLERS", "REGISTER_FIRST",
    "REGISTER_LAST", "register_first", "register_last", "Loader", "BUILTIN_DATA_PATH",
    "CUSTOMER_DATA_PATH", "list_available_services", "determine_latest_version",
    "load_data_with_path", "_ruleset_resolver", "endpoint-rule-set-1", "2012-08-10",
)  # fmt: skip


# Import botocore and the module anew from each folder named, and tell where a request goes to.
RENAMED_PROCESS = """
import json, os, sys
import langgraph.checkpoint.base

home, *names = sys.argv[1:]
for renamed in names:
    ours = ("botocore", "langgraph_checkpoint_dynamodb")
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]
    sys.path.insert(0, os.path.join(home, renamed))
    import botocore
    assert botocore.__file__.startswith(sys.path[0])
    from langgraph_checkpoint_dynamodb import DynamoDBSaver
    client = DynamoDBSaver("checkpoints", "writes", {"region": "cn-north-1"}).client
    sent = client.generate_presigned_url("list_tables")
    print(json.dumps([renamed, client.meta.partition is None, sent]))
"""


@_short_and_long("names", LEANED_ON[::5], LEANED_ON)
def test_client_of_a_renamed_botocore_sends_the_same(home: Path, names: Sequence[str]) -> None:
    """Whatever botocore renames, in code and data, the client works; it only may be a stock one."""
    original = Path(botocore.__file__).parent
    data = [*original.glob("data/*.json"), *original.glob("data/dynamodb/2012-08-10/*")]
    sources = {path: path.read_text(encoding="utf-8") for path in original.rglob("*.py")}
    for name in names:
        renamed = home / name / "botocore"
        for path in (*sources, *original.glob("cacert.pem"), *data):
            link = path.relative_to(original)
            if path in data:
                link = Path(str(link).replace(name, f"{name}_2"))
            (renamed / link).parent.mkdir(parents=True, exist_ok=True)
            text = re.sub(rf"(?<!\w){name}(?!\w)", f"{name}_2", sources.get(path, ""))
            if text == sources.get(path, ""):
                (renamed / link).symlink_to(path)
            else:
                (renamed / link).write_text(text, encoding="utf-8")
    environment = {**os.environ, **KEYS, "HOME": str(home), "USERPROFILE": str(home)}
    found = _python("-c", RENAMED_PROCESS, str(home), *names, env=environment).rows
    (host,) = {sent.partition("?")[0] for *_, sent in found}

    assert host == "https://dynamodb.cn-north-1.amazonaws.com.cn/"
    assert all("%2Fcn-north-1%2Fdynamodb%2F" in sent for *_, sent in found)
    # The rules' file is asked for by botocore; two methods only save time.
    spared = ("list_available_services", "determine_latest_version", "endpoint-rule-set-1")
    assert [name for name, lean, _ in found if lean] == [each for each in names if each in spared]


# What a fresh process loads, step by step, and what its second saver asks of the file system: by
# then all modules are loaded.
FRESH_PROCESS: Final = """
import json, os, sys
from types import SimpleNamespace
import langgraph.checkpoint.base
steps = [set(sys.modules)]
from langgraph_checkpoint_dynamodb import DynamoDBSaver
steps.append(set(sys.modules))
meta = SimpleNamespace(config=SimpleNamespace(retries=None))
DynamoDBSaver("checkpoints", "writes", client=SimpleNamespace(meta=meta, describe_time_to_live=None))
steps.append(set(sys.modules))
import botocore.session
steps.append(set(sys.modules))
DynamoDBSaver("checkpoints", "writes", {"region_name": "eu-west-1"})
steps.append(set(sys.modules))

asked, seen = [], {"open": [], "os.listdir": [], "os.scandir": []}

def stat(path, *args, asked_of_system=os.stat, **kwargs):
    asked.append(path)
    return asked_of_system(path, *args, **kwargs)

os.stat = stat
sys.addaudithook(lambda event, given: event in seen and seen[event].append(str(given[0])))
saver = DynamoDBSaver("checkpoints", "writes", {"region_name": "eu-west-1"})
is_lean, count = saver.client.meta.partition is None, len(asked)
listed, read = seen["os.listdir"] + seen["os.scandir"], [*filter(os.path.exists, seen["open"])]
loaded = [sorted(after - before) for before, after in zip(steps, steps[1:])]
from langgraph_checkpoint_dynamodb import saver as of_the_first_release
assert of_the_first_release.DynamoDBSaver is DynamoDBSaver
print(json.dumps([loaded, is_lean, listed, count, sum(map(os.path.getsize, read))]))
"""


def test_a_fresh_process_loads_and_reads_little(tmp_path: Path) -> None:
    """The import brings botocore's exceptions, a given client nothing, our own little and no boto3."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("AWS_")}
    environment |= {**KEYS, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}

    (found,) = _python("-c", FRESH_PROCESS, env=environment).rows

    (by_import, by_given_client, by_session, by_saver), is_lean, listed, asked, read = found
    names = {name for name in by_import if not name.startswith("langgraph")}
    allowed = re.compile(r"gc|botocore(\.exceptions|\.vendored(\.requests\b.*)?)?")
    assert "botocore.exceptions" in names == {*filter(allowed.fullmatch, names)}
    assert by_given_client == []
    packages = {name.partition(".")[0] for name in by_session + by_saver}
    assert packages.isdisjoint({"boto3", "s3transfer"})
    assert [name for name in by_saver if name.startswith("botocore.docs")] == []
    assert (is_lean, listed) == (True, [])
    assert asked <= 15
    assert read <= 150_000


@ONE_SERVER
@pytest.mark.usefixtures("home")
def test_client_needs_credentials(call: Call, endpoint: Endpoint, tables: Tables) -> None:
    """Credentials are missed with the first request, which is not sent."""
    client_config = {name: endpoint.client_config[name] for name in ("region_name", "endpoint_url")}
    with DynamoDBSaver(*tables, client_config) as saver:
        for method, arguments in METHODS.items():
            with _raises_exactly(botocore.exceptions.NoCredentialsError()):
                call(saver, method, *arguments(_config("thread", 1)))


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("names", [
    "region_name endpoint_url aws_access_key_id aws_secret_access_key aws_session_token",
    "region endpoint accessKeyId secretAccessKey sessionToken",
], ids=["botocore's names", "the original's names"])  # fmt: skip
def test_client_config_makes_the_client(names: str) -> None:
    """It has either library's names, and may override our defaults, which botocore's don't change."""
    values = ("eu-north-1", "http://localhost:1", "key", "secret", "token")
    client_config: dict[str, Any] = dict(zip(names.split(), values, strict=True))
    client_config |= {"verify": False, "config": Config(read_timeout=3)}
    with DynamoDBSaver("checkpoints", "writes", client_config, max_workers=7) as saver:
        meta, credentials = saver.client.meta, saver.client._get_credentials()
        assert not isinstance(saver.client._serializer, ParamValidationDecorator)
    with DynamoDBSaver("checkpoints", "writes", REGION) as saver:
        default = saver.client.meta.config

    assert (meta.region_name, meta.endpoint_url) == values[:2]
    assert tuple(credentials.get_frozen_credentials())[:3] == values[2:]
    assert (meta.config.read_timeout, meta.config.connect_timeout) == (3, 5)
    assert meta.config.max_pool_connections >= 7
    assert meta.config.retries == default.retries == OURS
    assert (default.read_timeout, default.connect_timeout) == (10, 5)
    assert (default.max_pool_connections, default.tcp_keepalive) == (128, True)
    assert f"langgraph-checkpoint-dynamodb/{__version__}" in default.user_agent_extra


CLOSED: Final = "This saver is closed; use it inside its `with` block, or make another one"
FORKED: Final = """
import asyncio, copy, os, signal, threading
import botocore.session
from langgraph_checkpoint_dynamodb import DynamoDBSaver, DynamoDBSaverError

names = os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"]
given = botocore.session.get_session().create_client("dynamodb")
saver, guest = DynamoDBSaver(*names), DynamoDBSaver(*names, client=given)
with DynamoDBSaver(*names) as closed:
    pass
clone, client, ended = copy.copy(saver), saver.client, threading.Event()

def config(*at):
    thread = {"thread_id": f"fork-{os.getpid()}", "checkpoint_ns": ""}
    return {"configurable": {**thread, **{"checkpoint_id": f"{n}" for n in at if n >= 0}}}

def put(n):
    values = {"text": [str(os.getpid()), "x" * 9000]}
    checkpoint = {"v": 4, "id": f"{n}", "ts": "", "channel_values": values, "versions_seen": {}}
    saver.put(config(n - 1), {**checkpoint, "channel_versions": {"text": n}}, {}, {"text": n})
    saver.put_writes(config(n), [("text", os.getpid())], "task")

async def aread():
    return [await saver.aget_tuple(config())] + [each async for each in clone.alist(config())]

def child():
    signal.alarm(30)
    for n in range(8):
        put(n)
    found = [saver.get_tuple(config()), *saver.list(config()), *asyncio.run(aread())]
    texts = [each.checkpoint["channel_values"]["text"][0] for each in found]
    assert texts == [str(os.getpid())] * 18
    assert saver.client is clone.client is not client and guest.client is given
    try:
        closed.warm()
    except DynamoDBSaverError as error:
        assert "is closed" in str(error)
    else:
        raise AssertionError("it is open again")

def go_on():
    while not ended.is_set():
        saver.get_tuple(config())

put(0)
asyncio.run(aread())
thread = threading.Thread(target=go_on)
thread.start()
children = []
for _ in range(4):
    children.append(os.fork())
    if not children[-1]:
        child()
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
ended.set()
thread.join()
assert saver.get_tuple(config()) and saver.client is client
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@ONE_SERVER
@pytest.mark.usefixtures("environment")
def test_a_saver_works_in_the_children_of_a_fork_unless_it_is_closed() -> None:
    """Pools, locks and connections are new there; children hung, or read each other's answers."""
    assert _python("-W", "ignore", "-c", FORKED) == (0, "[0, 0, 0, 0]\n", "")


# What each method that has an async twin is given: enough for it to send a request.
PUBLIC: Final[dict[str, Sequence[Any]]] = {
    "setup": [], "warm": [], "check": [], "get_tuple": [_config("t")], "list": [_config("t")],
    "put": [_config("t"), _checkpoint(1), {}, {}],
    "put_writes": [_config("t", 1), [("a", 1)], "task"],
    "delete_thread": ["t"], "delete_for_runs": [["run"]], "copy_thread": ["t", "u"],
    "copy_from": [InMemorySaver()], "prune": [["t"]], "prune_preview": ["t"], "set_ttl": [["t"], 1],
    "get_delta_channel_history": [_config("t", 1), ["a"]], "threads": [], "has_thread": ["t"],
    "history": ["t"], "stats": ["t"], "verify": ["t"],
}  # fmt: skip


def _ask(call: Call, saver: DynamoDBSaver, method: str) -> Any:
    """Call a method with what PUBLIC has for it."""
    if method != "get_delta_channel_history":
        return call(saver, method, *PUBLIC[method])
    return call(saver, method, config=PUBLIC[method][0], channels=PUBLIC[method][1])


@WITHOUT_A_SERVER
def test_close_is_told_by_every_method(call: Call, idle_client: Any) -> None:
    """Each method with an async twin does; some worked after close(), and others spoke of futures."""
    with DynamoDBSaver("checkpoints", "writes", client=idle_client) as saver:
        clone = copy.copy(saver)
        saver.close()  # a second close() is no error

    async def enter() -> None:
        async with saver:
            pytest.fail("it was entered again")

    for each, method in itertools.product((saver, clone), PUBLIC):
        with _raises_exactly(DynamoDBSaverError(CLOSED)):
            _ask(call, each, method)
    with _raises_exactly(DynamoDBSaverError(CLOSED)), saver:
        pytest.fail("it was entered again")
    with _raises_exactly(DynamoDBSaverError(CLOSED)):
        asyncio.run(enter())
    names = {name for name in dir(DynamoDBSaver) if hasattr(DynamoDBSaver, f"a{name}")}
    assert names - {"get"} == PUBLIC.keys()


def test_close_ends_iterators(world: World) -> None:
    """What it has read ahead is not returned any more."""
    _put(world.saver(), _put(world.saver(), _config("thread"), 1), 2)
    for method, argument in (("list", _config("thread")), ("history", "thread")):
        saver = world.saver()
        begun, unbegun = (getattr(saver, method)(argument) for _ in range(2))
        assert next(begun)

        saver.close()

        for each in (begun, unbegun):
            with _raises_exactly(DynamoDBSaverError(CLOSED)):
                next(each)


def test_close_amid_a_run_is_its_error(world: World) -> None:
    """Nothing is torn: what the run has stored is whole."""
    saver = world.saver()

    async def node(_: Any) -> Any:
        saver.close()
        return {"log": [_words(5000)]}

    graph = _in_a_row(Tally, node=node).compile(checkpointer=saver)

    with _raises_exactly(DynamoDBSaverError(CLOSED)):
        asyncio.run(graph.ainvoke({"log": ["in"]}, _config("thread", ns=None), durability="sync"))

    found = world.saver().verify("thread")
    assert (found.damaged, found.items["checkpoint"]) == ([], 2)


def test_close_spares_a_given_client(world: World) -> None:
    """A client that was given serves on when the block is left, and no thread of ours is left."""
    threads = set(threading.enumerate())

    async def use() -> None:
        async with world.saver() as given:
            assert await given.aget_tuple(_config("thread")) is not None
        with _raises_exactly(DynamoDBSaverError(CLOSED)):
            await given.aget_tuple(_config("thread"))

    with world.saver(client_config=world.endpoint.client_config) as own:
        _put(own, _config("thread"), 1, {"text": _words(9000)})
        asyncio.run(use())
        own.get_tuple(_config("thread"))

    left = {each.name for each in set(threading.enumerate()) - threads}
    assert not [name for name in left if "dynamodb" in name]
    assert world.plain.describe_table(TableName=world.tables[0])


@ONE_SERVER
def test_async_calls_leave_the_event_loop_free(saver: DynamoDBSaver, thread_id: str) -> None:
    """While requests are held up the loop goes on, and 64 calls take as long as one."""
    ticks = count()

    async def tick() -> None:
        while True:
            next(ticks)
            await asyncio.sleep(0.01)

    async def use() -> None:
        ticker = asyncio.create_task(tick())
        await asyncio.gather(*(saver.aget_tuple(_config(thread_id, n)) for n in range(64)))
        ticker.cancel()

    with Requests(saver, delay=0.3) as requests:
        asyncio.run(use())

    assert next(ticks) > 5
    assert len(requests.sent) == 128
    assert requests.waves < 5  # a busy machine pulls some apart


def test_async_calls_see_the_context_of_the_caller(world: World) -> None:
    """What an event hook or tracer keeps in a context variable is there in the saver's threads."""
    trace: ContextVar[str] = ContextVar("trace", default="")
    seen: list[str] = []
    saver = world.saver(Wire(world, lambda _: seen.append(trace.get())).client)

    trace.set("mine")
    asyncio.run(saver.aget_tuple(_config("no such thread", 1)))

    assert seen == ["mine", "mine"]


@pytest.mark.parametrize("is_given", [True, False], ids=["given", "by client_config"])
def test_no_more_requests_are_sent_at_once_than_a_client_has_connections(
    world: World, caplog: Any, *, is_given: bool
) -> None:
    """Of more, urllib3 threw the connections away, and warned of each."""
    options = {**world.endpoint.client_config, "config": Config(max_pool_connections=3)}
    client = botocore.session.get_session().create_client("dynamodb", **options)
    given: Any = {"client": client} if is_given else {"client_config": options}
    values = {"text": [_words(9000, n) for n in range(800)]}

    async def turns(saver: DynamoDBSaver) -> None:
        configs = [_config(f"thread-{n}") for n in range(24)]
        await asyncio.gather(*(saver.aput(each, _checkpoint(1), {}, {}) for each in configs))
        await asyncio.gather(*(saver.aget_tuple(each) for each in configs))

    with world.saver(**given) as saver, Requests(saver, delay=0.01) as requests:
        saver.put(_config("thread"), _checkpoint(1, values), {}, {})
        asyncio.run(turns(saver))
        saver.delete_thread("thread")
    client.close()

    times = [(start, 1) for start, _ in requests._spans] + [(end, -1) for _, end in requests._spans]
    assert max(itertools.accumulate(change for _, change in sorted(times))) == 3
    assert [each.message for each in caplog.records if "pool" in each.message] == []


def test_saver_is_made_without_blocking(world: World) -> None:
    """As the README's async form does: ``langgraph dev`` refused the files that botocore reads."""
    make, config = (
        partial(world.saver, client_config=world.endpoint.client_config),
        _config("thread"),
    )

    async def use() -> Any:
        async with make() as saver:
            await saver.aput(config, _checkpoint(1, {"text": "a"}), {}, {"text": 1})
        saver = make()
        found = await saver.aget_tuple(config)
        await asyncio.to_thread(saver.close)
        return found

    with blockbuster_ctx():
        found = asyncio.run(use())

    assert found.checkpoint["channel_values"] == {"text": "a"}


# A request is held up for so long, so that those that are sent side by side overlap.
DELAY: Final = 0.05


def test_small_calls_open_few_connections(call: Call, world: World, monkeypatch: Patch) -> None:
    """Each connection costs a cold process 20 ms: one is opened, two where two reads go at once."""
    opened, request = set[Any](), AWSHTTPConnection.request

    def note(connection: Any, *args: Any, **options: Any) -> None:
        opened.add(connection)
        time.sleep(DELAY)
        request(connection, *args, **options)

    def chat(saver: DynamoDBSaver) -> None:
        stored = _config("thread")
        for number in (1, 2):
            checkpoint = _checkpoint(number, {"text": _words(9000), "a": number})
            stored = call(saver, "put", stored, checkpoint, {}, {"text": 1, "a": number})
            call(saver, "put_writes", stored, [("a", number)], "task")

    def get(*args: Any, **options: Any) -> Callable[[DynamoDBSaver], Any]:
        return lambda saver: call(saver, "get_tuple", _config("thread", *args, **options))

    monkeypatch.setattr(AWSHTTPConnection, "request", note)
    for calls, connections in (
        ([chat], 1), ([DynamoDBSaver.warm, get(ns="none"), chat], 1),
        ([get(), get()], 2), ([get(1), get()], 2),
    ):  # fmt: skip
        opened.clear()
        with world.saver(client_config=world.endpoint.client_config) as fresh:
            for each in calls:
                each(fresh)
        assert len(opened) == connections


@ONE_SERVER
def test_a_deep_copy_of_a_graph_shares_its_saver(saver: DynamoDBSaver, thread_id: str) -> None:
    """As with InMemorySaver; it failed, since a lock can't be copied."""
    graph: Any = _in_a_row(Tally, node=lambda _: {"log": ["out"]}).compile(checkpointer=saver)
    config = _config(thread_id, ns=None)
    clone = copy.copy(saver)

    copied = copy.deepcopy(graph)
    graph.invoke({"log": ["in"]}, config)

    assert copied is not graph
    assert copied.checkpointer is saver is copy.deepcopy(saver)
    assert copied.get_state(config).values == {"log": ["in", "out"]}
    assert clone is not saver
    assert clone.client is saver.client


def test_a_saver_is_not_pickled(idle_saver: DynamoDBSaver) -> None:
    """The words say what to do in another process; they spoke of a lock."""
    words = "A DynamoDBSaver can't be pickled: it has threads and connections; make one in each process, with the same tables"

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with _raises_exactly(TypeError(words)):
            pickle.dumps(idle_saver, protocol)


# -- setup, warm and check ------------------------------------------------------------------------

NO_RANGE_KEY: Final = "its RANGE key must be {!r} of type S, and is not there"
OTHER_KEY: Final = "its {} key must be {!r} of type S, and is {!r} of type {}"


def _keyed_by(**types: str) -> dict[str, Any]:
    """Return what makes a table of a hash key and perhaps a range key, each with its type."""
    kinds = dict(zip(types, ["HASH", "RANGE"]))  # noqa: B905  the last may be left out
    return {
        "KeySchema": [{"AttributeName": name, "KeyType": kinds[name]} for name in types],
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": type_} for name, type_ in types.items()
        ],
    }


def _expiry_of(client: Any, table_name: str) -> Any:
    return client.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]


def test_setup_makes_both_tables_once(call: Call, make_saver: MakeSaver, no_tables: Tables) -> None:
    """The tables serve, billed on demand, when setup is done; a second call changes nothing."""
    saver = make_saver(no_tables)
    call(saver, "setup")

    assert call(saver, "put", _config("thread"), _checkpoint(1), {}, {}) == _config("thread", 1)
    call(saver, "put_writes", _config("thread", 1), [("a", 1)], "task")
    for name, keys in zip(no_tables, TABLE_KEYS, strict=True):
        table = saver.client.describe_table(TableName=name)["Table"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert tuple(each["AttributeName"] for each in table["KeySchema"]) == keys
        assert _expiry_of(saver.client, name)["TimeToLiveStatus"] == "DISABLED"

    with Requests(saver) as requests:
        call(saver, "setup")

    assert requests.names == ["CreateTable"] * 2 + ["DescribeTable"] * 4
    assert call(saver, "get_tuple", _config("thread")).pending_writes == [("task", "a", 1)]


def test_setup_turns_expiry_on(call: Call, make_saver: MakeSaver, no_tables: Tables) -> None:
    """With ttl_seconds tables expire by "ttl"; by another attribute they would lose items, or keep them."""
    make_saver(no_tables).setup()
    saver = make_saver(no_tables, ttl_seconds=60)
    for _ in range(2):
        call(saver, "setup")
        for name in no_tables:
            expected = {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
            assert _expiry_of(saver.client, name) == expected

    for is_on, name in ((False, "ttl"), (True, "expires")):
        wanted = {"Enabled": is_on, "AttributeName": name}
        saver.client.update_time_to_live(TableName=no_tables[0], TimeToLiveSpecification=wanted)

    error = f"Table {no_tables[0]!r} expires items by 'expires', not by 'ttl'; turn its time to live off, wait an hour and call setup() again"
    with _raises_exactly(DynamoDBSaverError(error)):
        call(saver, "setup")


def test_setup_turns_expiry_on_while_another_does(world: World) -> None:
    """Two processes that set up at once both come to their end."""
    client, other = world.client(), world.saver(ttl_seconds=60)
    come_in = iter([other.setup])
    client.meta.events.register(
        "before-call.dynamodb.UpdateTimeToLive", lambda **_: next(come_in, int)()
    )

    world.saver(client, ttl_seconds=60).setup()

    for name in world.tables:
        assert _expiry_of(client, name)["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
    assert next(come_in, None) is None


@pytest.mark.parametrize("billing", [
    {"BillingMode": "PAY_PER_REQUEST"},
    {"ProvisionedThroughput": {"ReadCapacityUnits": 50, "WriteCapacityUnits": 70}},
], ids=["on demand", "provisioned"])  # fmt: skip
def test_setup_adds_the_run_index_to_a_table_that_stands(
    call: Call, make_saver: MakeSaver, no_tables: Tables, monkeypatch: Patch, billing: Any
) -> None:
    """The index has what was stored before it, and serves when setup is done; it comes once."""
    saver, sleep = make_saver(no_tables), time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds / 100))
    keys = _keyed_by(thread_id="S", checkpoint_id="S")
    saver.client.create_table(TableName=no_tables[0], **keys, **billing)
    _put(saver, _config("thread"), 1, run_id="run")

    call(saver, "setup", run_index=True)

    described = saver.client.describe_table(TableName=no_tables[0])
    (index,) = described["Table"]["GlobalSecondaryIndexes"]
    assert index["IndexStatus"] == "ACTIVE"
    assert index["KeySchema"] == _keyed_by(run_id="S", thread_id="S")["KeySchema"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    with Requests(saver) as requests:
        call(saver, "setup", run_index=True)
        call(saver, "setup")
    assert requests.names == ["CreateTable"] * 4 + ["DescribeTable"] * 9
    with Requests(saver) as requests:
        saver.delete_for_runs(["run"])
    assert "Scan" not in requests.names
    assert [*saver.list(None)] == []


def test_setup_waits_for_an_index(
    make_saver: MakeSaver, no_tables: Tables, monkeypatch: Patch
) -> None:
    """Of two that find no index one adds it, and DynamoDB refuses the other; both end well."""
    saver, other = make_saver(no_tables), make_saver(no_tables)
    saver.setup()
    update = saver.client.update_table

    def lose_the_race(**_: Any) -> None:
        monkeypatch.setattr(saver.client, "update_table", update)
        other.setup(run_index=True)
        raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "UpdateTable")

    monkeypatch.setattr(saver.client, "update_table", lose_the_race)
    saver.setup(run_index=True)

    saver.delete_for_runs(["run"], use_index=True)


@_cases(
    "is_index, keys, complaint",
    (False, {"id": "S", "checkpoint_id": "S"}, OTHER_KEY.format("HASH", "thread_id", "id", "S")),
    (False, {"thread_id": "S", "id": "S"}, OTHER_KEY.format("RANGE", "checkpoint_id", "id", "S")),
    (False, {"thread_id": "S"}, NO_RANGE_KEY.format("checkpoint_id")),
    (False, {"thread_id": "S", "checkpoint_id": "N"},
     OTHER_KEY.format("RANGE", *["checkpoint_id"] * 2, "N")),
    (True, {"thread_id": "S", "run_id": "S"}, OTHER_KEY.format("HASH", "run_id", "thread_id", "S")),
    (True, {"run_id": "S", "checkpoint_id": "S"},
     OTHER_KEY.format("RANGE", "thread_id", "checkpoint_id", "S")),
    (True, {"run_id": "S"}, NO_RANGE_KEY.format("thread_id")),
)  # fmt: skip
def test_setup_refuses_other_keys(
    call: Call, make_saver: MakeSaver, no_tables: Tables, is_index: Any, keys: Any, complaint: str
) -> None:
    """A table or index with other keys is named, with the key; an index that is not asked for is not."""
    saver, own = make_saver(no_tables), _keyed_by(**keys)
    start, end = "exists", "use a different name"
    if is_index:
        index = {"IndexName": "run_id", "Projection": {"ProjectionType": "KEYS_ONLY"}}
        index["KeySchema"], attributes = own["KeySchema"], own["AttributeDefinitions"]
        own = _keyed_by(thread_id="S", checkpoint_id="S") | {"GlobalSecondaryIndexes": [index]}
        own["AttributeDefinitions"] += [each for each in attributes if "run" in str(each)]
        start = "has an index 'run_id'"
        end = (
            "use a table without that index, or call setup() without run_index: delete_for_runs() "
            "then scans the table"
        )
    saver.client.create_table(TableName=no_tables[0], BillingMode="PAY_PER_REQUEST", **own)
    if is_index:
        call(saver, "setup")

    error = f"Table {no_tables[0]!r} {start} with different keys: {complaint}; {end}"
    with _raises_exactly(DynamoDBSaverError(error)):
        call(saver, "setup", run_index=is_index)


OF_BOTH_TABLES: Final = ("get_tuple", "list", "delete_thread", "copy_thread", "prune")
OF_ONE_TABLE: Final = (
    ("put", "delete_for_runs", "get_delta_channel_history", "warm"), ("put_writes",),
)  # fmt: skip


@pytest.mark.parametrize("table", [0, 1])
def test_missing_table_is_named(
    call: Call, make_saver: MakeSaver, no_tables: Tables, table: int
) -> None:
    """A table that is not there is named, with what may be wrong; warm() finds it at once."""
    saver = make_saver(no_tables)
    if table == 1:
        saver.setup()
        saver.client.delete_table(TableName=no_tables[1])
    error = f"Table {no_tables[table]!r} does not exist in region 'eu-central-1'; run setup(), or check the table's name and the client's region"

    for method in (*OF_BOTH_TABLES, *OF_ONE_TABLE[table]):
        if table == 1:  # a marker is in the way of what comes after it
            _put(saver, _config("t"), 1)
        with _raises_exactly(DynamoDBSaverError(error)) as raised:
            _ask(call, saver, method)
        assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize("method", ["get_tuple", "by id", "put", "list", "delete_thread", "warm"])
def test_swapped_tables_are_told(
    make_saver: MakeSaver, endpoint: Endpoint, tables: Tables, method: str
) -> None:
    """They are named, with the keys they should have, by DynamoDB's error alone: a graph describes none."""
    saver = make_saver(tables[::-1])

    with Requests(saver) as requests, pytest.raises(DynamoDBSaverError) as told:
        saver.get_tuple(_config("t", 1)) if method == "by id" else _ask(_sync, saver, method)

    assert "DescribeTable" not in requests.names
    if "names no key in a batch" in endpoint.quirks and method == "by id":
        assert "are they swapped" in str(told.value)
        return
    cause: Any = told.value.__cause__
    assert str(told.value) == (
        f"Table {tables[1]!r} has keys other than 'thread_id' and 'checkpoint_id', both of type S "
        f"({cause.response['Error']['Message']}); check the tables' names: are they swapped?"
    )


@pytest.mark.parametrize("types", ["NS", "SB"])
@pytest.mark.parametrize("method", ["put", "get_tuple"])
def test_a_key_of_another_type_is_told(
    make_saver: MakeSaver, endpoint: Endpoint, no_tables: Tables, types: str, method: str
) -> None:
    """A table that somebody made by hand may have the right names and the wrong types."""
    if method == "get_tuple" and "compares no types of keys" in endpoint.quirks:
        pytest.skip("it finds nothing")
    keys = _keyed_by(**dict(zip(TABLE_KEYS[0], types, strict=True)))
    endpoint.client.create_table(TableName=no_tables[0], BillingMode="PAY_PER_REQUEST", **keys)
    arguments = METHODS[method](_config("t", 1) if method == "get_tuple" else _config("t"))

    with pytest.raises(DynamoDBSaverError) as told:
        _sync(make_saver(no_tables), method, *arguments)

    cause: Any = told.value.__cause__
    assert str(told.value) == (
        f"Table {no_tables[0]!r} has a key of a type other than S "
        f"({cause.response['Error']['Message']}); create another table with setup()"
    )


def test_run_index_needs_short_ids(make_saver: MakeSaver, no_tables: Tables) -> None:
    """Its range key is the thread's id; of one without a run_id the error was raw."""
    saver = make_saver(no_tables)
    saver.setup(run_index=True)
    _put(saver, _config("t" * 1024), 1)
    _put(saver, _config("t" * 1024), 2, run_id="run")

    with pytest.raises(ValueError, match="thread_id of a run has 1,025 bytes"):
        _put(saver, _config("t" * 1025), 1, run_id="run")
    with pytest.raises(DynamoDBSaverError) as told:
        _put(saver, _config("t" * 1025), 1)

    cause: Any = told.value.__cause__
    assert str(told.value) == (
        f"An index of table {no_tables[0]!r} refuses a thread_id of over 1,024 bytes, even "
        f"without a run_id ({cause.response['Error']['Message']}); use a shorter one, or a "
        f"table without an index"
    )


def test_warm_reads_one_item_that_is_not_there(call: Call, saver: DynamoDBSaver) -> None:
    """It makes one request, at half a read unit, for an item that no thread can have."""
    with Requests(saver) as requests:
        call(saver, "warm")

    ((name, parameters),) = requests.sent
    assert (name, parameters["ConsistentRead"]) == ("GetItem", False)
    assert requests.items_read == 0


NEEDED: Final = [
    *((0, each) for each in ("GetItem", "Query", "BatchGetItem", "PutItem", "BatchWriteItem")),
    (1, "Query"), (1, "PutItem"),
]  # fmt: skip


def _action_of(world: World, sent: Sent) -> tuple[int, str]:
    """Return the number of the table that a request is for, and its operation."""
    (table,) = sent.asked.get("RequestItems") or [sent.asked["TableName"]]
    return world.tables.index(table), sent.operation


@pytest.mark.parametrize("denied", [[], NEEDED, *([each] for each in NEEDED)], ids=str)
def test_check_names_what_is_denied(world: World, call: Call, denied: Any) -> None:
    """A denied BatchWriteItem showed only weeks later, when a value was large."""
    tried: list[tuple[int, str]] = []

    def deny(sent: Sent) -> Any:
        tried.append(_action_of(world, sent))
        return "AccessDeniedException" if tried[-1] in denied else None

    found = call(world.saver(Wire(world, deny).client), "check")

    assert found == tuple((f"dynamodb:{name}", world.tables[table]) for table, name in denied)
    assert sorted(tried) == sorted(NEEDED)
    assert _both(world) == [[], []]


def test_check_tries_what_a_graph_asks_for(world: World) -> None:
    """And nothing that the README's policy does not allow, which may name leading keys."""
    asked: set[tuple[int, str]] = set()
    client = Wire(world, lambda sent: asked.add(_action_of(world, sent))).client
    saver, cold, checker = world.saver(client), world.saver(client), world.saver()
    graph = _in_a_row(Tally, n=lambda _: {"log": [_words(9000)]}).compile(checkpointer=saver)
    config = _config("thread", ns=None)

    graph.invoke({"log": ["in"]}, config)
    graph.get_state(next(iter(cold.list(config))).config)
    saver.get_tuple(_config("thread", 0))
    list(saver.list(_config("thread"), before=_config("thread", "9"), limit=1))
    with Requests(checker) as requests:
        checker.check("tenant-7/x")

    assert asked == set(NEEDED)
    assert json.dumps(requests.sent).count('"S": "tenant-7/x"') == len(NEEDED)


# -- Arguments ------------------------------------------------------------------------------------
# What can't be done is refused before the first request, by words that say what to do.


NO_THREAD: Final = 'config["configurable"] has no "thread_id"; pass {"configurable": {"thread_id": "..."}} to the graph or the saver'
EMPTY: Final = "{} is empty; give it a value"
NO_TEXT: Final = "{} must be a string, not {!r}"
SURROGATE: Final = "{} is not valid Unicode: {!r}; remove the surrogates"
NUMBERED: Final = {"configurable": {"thread_id": "t", "checkpoint_id": 5}}
LIKE_A_KEY: Final = (
    "checkpoint_id must start with a character below '}}': {!r}; LangGraph's start with a hex digit"
)
SEPARATED: Final = "checkpoint_id must not hold ':::', nor start or end with ':': {!r}; use another"
NO_SEQUENCE: Final = "{} must be a sequence of strings, not {!r}"
NO_PAIRS: Final = "writes must be a sequence of pairs: a channel and a value"
NO_GRACE: Final = "grace_seconds must be a number of seconds of at least 0, not {!r}"
NO_KEEP: Final = "keep_last must be a whole number of at least 1, not {!r}"
STRATEGIES: Final = "strategy must be 'keep_latest' or 'delete', not 'keep_all'"
TO_WRITE: Final = (_config("thread", 1), [("a", 1)])


class Unknown:
    """A type that no serde knows."""


def _too_long(*what: str) -> ValueError:
    return ValueError("{} has {} bytes, and may have {}: {!r}...; use a shorter one".format(*what))


def _no_serde(what: str) -> TypeError:
    return TypeError(f"{what}: Type is not msgpack serializable: Unknown")


def _timed(ttl_seconds: Any) -> Any:
    return {"configurable": {**_config("t", 1)["configurable"], "ttl_seconds": ttl_seconds}}


def _to_put(config: Any, values: Any = None, **metadata: Any) -> list[Any]:
    return [config, _checkpoint(1, values or {"text": "x" * 9000}), metadata, {"text": 1}]


def _without(checkpoint: Any, name: str) -> Any:
    return {each: value for each, value in checkpoint.items() if each != name}


# No method takes a config that names no thread, or what would be no key or another's.
WRONG_CONFIGS: Final[list[tuple[Any, Exception]]] = [
    ({"configurable": {}}, ValueError(NO_THREAD)),
    ({"configurable": {"checkpoint_id": _id(1)}}, ValueError(NO_THREAD)),
    (_config(None, ns=None), ValueError(NO_THREAD)),
    (_config("", ns=None), ValueError(EMPTY.format("thread_id"))),
    (_config(1.5, ns=None), TypeError(NO_TEXT.format("thread_id", 1.5))),
    (_config(bool(1)), TypeError(NO_TEXT.format("thread_id", bool(1)))),
    (_config("\ud800", ns=None), ValueError(SURROGATE.format("thread_id", "\ud800"))),
    (_config("é" * 1025, ns=None), _too_long("thread_id", "2,050", "2,048", "é" * 40)),
    (_config("t", 1, ns=5), TypeError(NO_TEXT.format("checkpoint_ns", 5))),
    (_config("t", 1, ns="\udfff"), ValueError(SURROGATE.format("checkpoint_ns", "\udfff"))),
    (NUMBERED, TypeError(NO_TEXT.format("checkpoint_id", 5))),
    (_config("t", "~x00", ns=None), ValueError(LIKE_A_KEY.format("~x00"))),  # a chunk's
    (_config("t", "}", ns=None), ValueError(LIKE_A_KEY.format("}"))),  # a marker's
    (_config("t", "a:::b", ns=None), ValueError(SEPARATED.format("a:::b"))),
    (_config("t", ":b", ns=None), ValueError(SEPARATED.format(":b"))),
    (_config("t", "1" * 1025, ns=None), _too_long("checkpoint_id", "1,025", "768", "1" * 40)),
    (_config("t", "1" * 250, ns="n" * 512),
     _too_long("checkpoint_id with its namespace", "769", "768", "~c512:" + "n" * 34)),
]  # fmt: skip
WRONG_ARGUMENTS: Final[list[tuple[str, Sequence[Any], dict[str, Any], Exception]]] = [
    # A checkpoint that put is given, and one that put_writes is to add to, must have an id.
    ("put", [_config("t"), {**_checkpoint(1), "id": ""}, {}, {}], {}, ValueError(EMPTY.format("checkpoint_id"))),
    ("put", [_config("t"), {**_checkpoint(1), "id": None}, {}, {}], {}, TypeError(NO_TEXT.format("checkpoint_id", None))),
    ("put", [_config("t"), {**_checkpoint(1), "id": "~c"}, {}, {}], {}, ValueError(LIKE_A_KEY.format("~c"))),  # a subgraph's
    ("put_writes", [_config("t"), [("a", 1)], "task"], {}, ValueError('config["configurable"] has no "checkpoint_id"; pass the config that put() returned')),
    *(("put", [_config("t"), _without(_checkpoint(1), part), {}, {}], {}, TypeError(f"checkpoint[{part!r}] must be a dict, not a NoneType"))
      for part in ("channel_versions", "channel_values")),
    *(("put", [_config("t"), *given], {}, TypeError(f"{name} must be a dict, not a {kind}")) for name, kind, given in (
        ("checkpoint", "str", ["{}", {}, {}]),
        ("metadata", "list", [_checkpoint(1), ["a"], {}]),
        ("new_versions", "NoneType", [_checkpoint(1), {}, None]),
    )),
    *(("put_writes", [_config("t", 1), each, "task"], {}, TypeError(NO_PAIRS))
      for each in (None, "text", {"channel": 1}, [("a", 1, 2)])),
    # No reader could decode a checkpoint without a format, or a channel that is no string.
    ("put", [_config("t"), _without(_checkpoint(1), "v"), {}, {}], {}, TypeError("checkpoint['v'] must be an integer, not NoneType")),
    ("put", [_config("t"), _checkpoint(1, {}, {1: 1}), {}, {}], {}, TypeError("a channel of checkpoint must be a string, not int")),  # type: ignore[dict-item]
    ("put_writes", [_config("t", 1), [("a", 1), (2, 1)], "task"], {}, TypeError("a channel of writes must be a string, not int")),
    # DynamoDB would refuse these, or an index would; the last also where the parent has to be read.
    ("put", _to_put(_config("t"), run_id="r" * 2049), {}, _too_long("metadata['run_id']", "2,049", "2,048", "r" * 40)),
    ("put", _to_put(_config("t" * 1025), run_id="r"), {}, _too_long("thread_id of a run", "1,025", "1,024", "t" * 40)),
    ("put", _to_put(_config("t", ns="n" * 65_537)), {}, _too_long("checkpoint_ns", "65,537", "65,536", "n" * 40)),
    ("put_writes", [*TO_WRITE, "task", "p" * 65_537], {}, _too_long("task_path", "65,537", "65,536", "p" * 40)),
    ("put", [_config("t", 1), _checkpoint(2, {}, {"x": 1}), {"run_id": "r" * 2049}, {}], {}, _too_long("metadata['run_id']", "2,049", "2,048", "r" * 40)),
    # The error spoke of a type alone, in a state of many channels and a server of many threads;
    # of the values beside it none is stored.
    ("put", _to_put(_config("alice"), {"text": _words(9000), "files": [Unknown()]}), {}, _no_serde("channel 'files' of thread 'alice'")),
    ("put", _to_put(_config("alice"), who=Unknown()), {}, _no_serde("metadata of thread 'alice'")),
    ("put_writes", [_config("alice", 1), [("log", _words(9000)), ("files", Unknown())], "task"], {}, _no_serde("channel 'files' of thread 'alice'")),
    ("put_writes", [*TO_WRITE, ""], {}, ValueError(EMPTY.format("task_id"))),
    ("put_writes", [*TO_WRITE, None], {}, TypeError(NO_TEXT.format("task_id", None))),
    ("put_writes", [*TO_WRITE, "é" * 121], {}, _too_long("task_id", "242", "240", "é" * 40)),
    ("put_writes", [*TO_WRITE, "task", ("a", 1)], {}, TypeError(NO_TEXT.format("task_path", ("a", 1)))),
    *((method, METHODS[method](_timed(each)), {}, ValueError(NO_TIME.format(each)))
      for method in ("put", "put_writes") for each in (0, -1, 1.5, "60")),
    *(("list", [config], options, error) for config in (_config("t"), None) for options, error in (
        ({"filter": [("a", 1)]}, TypeError("filter must be a dict, not a list")),
        ({"filter": "a"}, TypeError("filter must be a dict, not a str")),
        ({"limit": "3"}, TypeError("limit must be an integer, not '3'")),
        ({"limit": True}, TypeError("limit must be an integer, not True")),  # it was 1
        ({"before": NUMBERED}, TypeError(NO_TEXT.format("checkpoint_id", 5))),
        ({"before": _config("", "~")}, ValueError(LIKE_A_KEY.format("~"))),
        ({"before": _id(1)}, TypeError("before must be a dict, not a str")),
    )),
    ("delete_thread", [""], {}, ValueError(EMPTY.format("thread_id"))),
    ("delete_thread", [None], {}, TypeError(NO_TEXT.format("thread_id", None))),
    *(("delete_for_runs", [each], {}, TypeError(NO_SEQUENCE.format("run_ids", each))) for each in ("run", None)),
    ("delete_for_runs", [["run", 5]], {}, TypeError("run_ids must hold strings, not 5")),
    ("copy_thread", ["", "b"], {}, ValueError(EMPTY.format("source_thread_id"))),
    ("copy_thread", ["a", ""], {}, ValueError(EMPTY.format("target_thread_id"))),
    ("copy_thread", ["a", "a"], {}, ValueError("source_thread_id and target_thread_id are both 'a'")),
    ("copy_from", ["a.sqlite"], {}, TypeError("source must be a checkpoint saver, not a str")),
    *(("copy_from", [InMemorySaver(), each], {}, TypeError(NO_SEQUENCE.format("thread_ids", each))) for each in ("a", 5)),
    ("copy_from", [InMemorySaver(), [""]], {}, ValueError(EMPTY.format("thread_id"))),
    *(("prune", [each], {}, TypeError(NO_SEQUENCE.format("thread_ids", each))) for each in ("thread", None)),
    *(("get_delta_channel_history", [], {"config": _config("t"), "channels": each}, TypeError(NO_SEQUENCE.format("channels", each)))
      for each in ("log", None)),
    ("prune", [["thread", ""]], {}, ValueError(EMPTY.format("thread_id"))),
    ("prune", [["t"]], {"strategy": "keep_all"}, ValueError(STRATEGIES)),
    *(("prune", [["t"]], {"grace_seconds": each}, ValueError(NO_GRACE.format(each)))
      for each in (-1, float("inf"), float("nan"), "60", None, True)),
    *(("prune", [["t"]], {"keep_last": each}, ValueError(NO_KEEP.format(each)))
      for each in (0, -1, True, 1.0)),
    *(("set_ttl", [["t"], each], {}, ValueError(NO_TIME.format(each))) for each in (0, 1.5, True, "1", 10**10)),
    ("set_ttl", ["thread", 1], {}, TypeError(NO_SEQUENCE.format("thread_ids", "thread"))),
    ("check", [""], {}, ValueError(EMPTY.format("thread_id"))),
]  # fmt: skip


@WITHOUT_A_SERVER
@_cases(
    "method, arguments, options, error",
    *((name, given(config), {}, error)
      for name, given in METHODS.items() for config, error in WRONG_CONFIGS),
    *WRONG_ARGUMENTS,
)  # fmt: skip
def test_a_wrong_argument_is_refused_before_the_first_request(
    call: Call, idle_saver: DynamoDBSaver, method: str, arguments: Any, options: Any, error: Any
) -> None:
    """It is named, with what is right; True once was 1, and once the thread 'True'."""
    with _raises_exactly(error) as raised:
        call(idle_saver, method, *arguments, **options)

    if "serializable" in str(error):
        assert str(raised.value.__cause__) == "Type is not msgpack serializable: Unknown"


# -- get_tuple ------------------------------------------------------------------------------------


def _cost(call: Call, saver: DynamoDBSaver, method: str, *args: Any) -> tuple[list[str], int]:
    """Return the requests of a call, and how many of them come one after the other."""
    with Requests(saver, DELAY) as requests:
        call(saver, method, *args)
    return requests.names, requests.waves


VALUES: Final = {
    "none": None, "bytes": b"", "text": "", "list": [], "dict": {}, "zero": 0, "false": False,
    "set": {1, 2}, "keys": {1: "one", "two": 2}, "float": -0.5, "integers": [-(2**63), 2**64 - 1],
    "unicode": "\x00 é 漢 \U0001f600", "uuid": UUID(int=7),
    "messages": [HumanMessage("hi", id="1"), AIMessage("hello", id="2")],
    "send": [Send("node", {"key": None})],
}  # fmt: skip


def test_values_come_back_as_they_were(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """Empty values and those of many types are equal to what was put, and of the same type."""
    versions = dict.fromkeys([*VALUES, "missing"], 1)
    checkpoint = _checkpoint(1, VALUES, versions)
    config = call(make_saver(), "put", _config(thread_id), checkpoint, {}, versions)

    found = call(make_saver(), "get_tuple", config)

    assert found == CheckpointTuple(config, checkpoint, {}, None, [])
    types = {name: type(value) for name, value in found.checkpoint["channel_values"].items()}
    assert types == {name: type(value) for name, value in VALUES.items()}


def test_get_tuple_has_an_old_parents_sends(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """Below format 4 a checkpoint's pending sends are its parent's writes, in their order."""
    sends = [Send("node", number) for number in range(3)]
    parent = _put(saver, _config(thread_id), 1, {"a": 1})
    saver.put_writes(parent, [(TASKS, sends[2])], "task 1", "b")
    saver.put_writes(parent, [("a", 2), (TASKS, sends[0]), (TASKS, sends[1])], "task 2", "a")
    config = call(saver, "put", parent, _checkpoint(2, {"a": 2}) | {"v": 3}, {}, {"a": 2})

    for found in (call(saver, "get_tuple", config), *call(saver, "list", config)):
        assert found.checkpoint["channel_values"] == {"a": 2, TASKS: sends}
        assert found.checkpoint["channel_versions"] == {"a": 2, TASKS: 2}
    assert TASKS not in call(saver, "get_tuple", parent).checkpoint["channel_values"]


@ONE_SERVER
def test_a_parent_without_an_id_is_none(saver: DynamoDBSaver, thread_id: str) -> None:
    """Layout 0 stored the empty id of a config as the parent's."""
    _put_item(saver, _old_item(saver, thread_id, 1) | {"parent_checkpoint_id": {"S": ""}})

    found: Any = saver.get_tuple(_config(thread_id))
    assert (found.config, found.parent_config) == (_config(thread_id, 1), None)


def _old_item(saver: DynamoDBSaver, thread_id: str, number: int, ns: str = "", **of: Any) -> Item:
    """Return a checkpoint's item as the first release stored it, with this metadata."""
    type_, data = saver.serde.dumps_typed(_checkpoint(number))
    return _row(
        thread_id, _id(number), checkpoint_ns={"S": ns}, type={"S": type_},
        checkpoint={"B": data}, metadata={"B": saver.serde.dumps_typed(of)[1]},
    )  # fmt: skip


def test_allowlist_holds_for_all_reads(call: Call, world: World) -> None:
    """A clone of with_allowlist() reads the types that it names, and the saver is as it was."""
    strict = world.saver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    values = {"color": Color("red"), "list": [Color("blue")]}
    config = _put(strict, _config("thread"), 1, values)
    strict.put_writes(config, [("color", Color("green"))], "task")
    clone: Any = strict.with_allowlist([(Color.__module__, "Color")])

    allowed, refused = (call(each, "get_tuple", config) for each in (clone, strict))

    assert allowed.checkpoint["channel_values"] == values
    assert allowed.pending_writes == [("task", "color", Color("green"))]
    color, (listed,) = itemgetter("color", "list")(refused.checkpoint["channel_values"])
    for each in (color, listed, refused.pending_writes[0][2]):
        assert not isinstance(each, Color)
    assert (type(clone), clone.client) == (DynamoDBSaver, strict.client)


class _Json:
    """A serializer of a user's own."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encode as JSON."""
        return "text", json.dumps(obj, default=list).encode("utf-16")

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Decode JSON."""
        if data[0] != "text":
            raise NotImplementedError(data[0])
        return json.loads(data[1].decode("utf-16"))


ENCRYPTED: Final = "Bytes are encrypted; give the saver the EncryptedSerializer that wrote them"
WRONG_KEY: Final = "Bytes can't be decrypted with this key (ValueError); another key wrote them, unless somebody has changed them"
NOT_ENCRYPTED: Final = (
    "An item is not encrypted, and this saver's serde encrypts: it is forged, or its thread began "
    "without encryption and has to be moved by copy_from() into new tables"
)
WRONG_SERDE: Final = "Bytes of type 'msgpack' can't be decoded (NotImplementedError); another serializer may have written them"


@_cases(
    "wrote, reads, what",
    (_aes(), None, ENCRYPTED),
    (_aes(), _aes(b"w" * 32), WRONG_KEY),
    (None, _aes(), NOT_ENCRYPTED),
    (None, _Json(), WRONG_SERDE),
)
def test_a_wrong_key_or_serializer_is_no_damage(
    world: World, wrote: Any, reads: Any, what: str
) -> None:
    """It has an error of its own, which advised to delete the thread; verify tells it apart."""
    _two_alike(world.saver(serde=wrote), "thread")
    reader = world.saver(serde=reads)

    for ask, at in (
        (lambda: reader.get_tuple(_config("thread")), _id(2)),
        (lambda: list(reader.list(_config("thread"))), _id(2)),
        (lambda: list(reader.history("thread")), _id(2)),
        (lambda: reader.prune(["thread"]), _id(1)),
    ):
        with pytest.raises(UndecodableCheckpointError) as raised:
            ask()
        assert raised.value.checkpoint_id == at
        assert str(raised.value) == (
            f"{what}: thread 'thread', namespace '', checkpoint {at!r}, table {world.tables[0]!r}; "
            f"the data are untouched: read them with the serializer and the key that wrote them"
        )
    found = reader.verify("thread")
    assert (found.damaged, found.orphans, len(found.undecodable)) == ([], {}, 4)
    assert world.saver(serde=wrote).verify("thread").undecodable == []


JAVASCRIPTS: Final[dict[str, tuple[dict[str, Any], tuple[str, Any] | None]]] = {
    "sends of a checkpoint": ({"pending_sends": [{"node": "w", "args": {"i": 1}}]}, None),
    "sends of a channel": ({"channel_values": {TASKS: [{"node": "w", "args": 1}]}}, None),
    "a send that is written": ({}, (TASKS, {"node": "w", "args": {"i": 1}})),
    "an interrupt": ({}, (INTERRUPT, {"value": "wait", "when": "during", "ns": ["w:1"]})),
    "interrupts": ({}, (INTERRUPT, [{"id": "1", "value": "wait"}])),
}  # fmt: skip


def _put_javascript(
    saver: DynamoDBSaver, thread_id: str, differs: Any, write: tuple[str, Any] | None
) -> Any:
    """Store a checkpoint, and a write, as the JavaScript saver does; return its config."""
    value = {**_checkpoint(1, {"log": ["a"]}), "v": 1, "pending_sends": [], **differs}
    blobs = {"checkpoint": {"B": json.dumps(value).encode()}, "metadata": {"B": b'{"step":1}'}}
    type_: Item = {"type": {"S": "json"}}
    _put_item(saver, _row(thread_id, _id(1), checkpoint_ns={"S": ""}, **blobs, **type_))
    if write:
        keys = zip(TABLE_KEYS[1], (f"{thread_id}:::{_id(1)}:::", "task:::0"), strict=True)
        item: Item = {name: {"S": key} for name, key in keys}
        value = {"B": json.dumps(write[1]).encode()}
        _put_item(saver, {**item, "channel": {"S": write[0]}, **type_, "value": value})
    return _config(thread_id, 1)


@pytest.mark.parametrize("case", JAVASCRIPTS.values(), ids=JAVASCRIPTS)
def test_javascript_drops_nothing(world: World, call: Call, case: Any) -> None:
    """LangGraph ignores plain dicts: the thread looked finished, and answers never arrived."""
    saver, thread = world.saver(), _config("thread", ns=None)
    config = _put_javascript(saver, "thread", *case)
    graph = _in_a_row(Tally, w=lambda _: {"log": ["w"]}).compile(checkpointer=saver)
    told = (
        "The JavaScript saver (@rwai/langgraphjs-checkpoint-dynamodb) stored Sends or interrupts "
        "that LangGraph for Python would drop: thread 'thread', namespace '', checkpoint "
        f"{_id(1)!r}, table {world.tables[0]!r}; the data are untouched: finish the pending "
        "step of the thread in JavaScript, and go on in Python after it"
    )

    for target, method, *arguments in (
        (saver, "get_tuple", config), (saver, "list", thread), (graph, "get_state", thread),
        (graph, "invoke", None, thread),
    ):  # fmt: skip
        with pytest.raises(UndecodableCheckpointError) as raised:
            call(target, method, *arguments)
        assert str(raised.value) == told


def test_javascript_thread_goes_on(world: World, call: Call) -> None:
    """As long as it waits for nothing that Python can't build."""
    saver, config = (
        world.saver(),
        _put_javascript(world.saver(), "thread", {}, ("log", ["written"])),
    )
    graph = _in_a_row(Tally, w=lambda _: {"log": ["w"]}).compile(checkpointer=saver)

    found = call(saver, "get_tuple", config)
    values = call(graph, "invoke", {"log": ["b"]}, _config("thread", ns=None))

    assert found.pending_writes == [("task", "log", ["written"])]
    assert values == {"log": ["a", "b", "w"]}


@pytest.mark.parametrize("is_consistent", [True, False])
def test_reads_are_consistent_unless_said_otherwise(
    call: Call, world: World, *, is_consistent: bool
) -> None:
    """Checkpoints and writes are read consistently by default; chunks, which never change, not.

    Whatever was said, a put reads its parent consistently, as it takes values from it, and so does
    what deletes or copies: a namespace that a copy missed once stayed hidden for ever.
    """
    for ns in ("", "a", "b"):
        config = _put(world.saver(), _config("thread", ns=ns), 1, {"text": _words(5000)})
    saver = world.saver(**({} if is_consistent else {"consistent_read": False}))

    with Requests(saver) as reading:
        call(saver, "get_tuple", config)
        call(saver, "get_tuple", _config("thread", ns="b"))
        call(saver, "list", _config("thread"), before=_config("thread", 2))
    with Requests(saver) as putting:
        call(saver, "put", _config("thread", 1, ns="a"), _checkpoint(2, {}, {"text": 1}), {}, {})
    with Requests(saver) as moving:
        call(saver, "copy_thread", "thread", "copy")
        call(saver, "prune", ["thread"])
        call(saver, "delete_thread", "thread")

    asked = [each for _, p in reading.sent for each in p.get("RequestItems", {"": p}).values()]
    of_chunks = [["~x" in repr(each.get("Keys")), each["ConsistentRead"]] for each in asked]
    assert [each for each in of_chunks if each[0]] == [[True, False]]
    assert {each[1] for each in of_chunks if not each[0]} == {is_consistent}
    assert set(reading.names) == {"BatchGetItem", "GetItem", "Query"}
    assert [p["ConsistentRead"] for name, p in putting.sent if name == "GetItem"] == [True]
    queries = [p["ConsistentRead"] for name, p in moving.sent if name == "Query"]
    assert len(queries) >= 9
    assert all(queries)


def _put_all(client: Any, table: str, items: Sequence[Item]) -> None:
    """Put items in batches of 25, side by side."""

    def put(start: int) -> Any:
        puts = [{"PutRequest": {"Item": each}} for each in items[start : start + 25]]
        return client.batch_write_item(RequestItems={table: puts})

    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(put, range(0, len(items), 25)):
            assert not answer["UnprocessedItems"]


def test_get_tuple_costs_three_requests(world: World) -> None:
    """The newest and any other checkpoint: 3 requests, 2 in sequence, beside 5,000 of others."""
    saver, values = world.saver(), {"messages": _messages(200), "text": _words(9000)}
    for ns, number in itertools.product(("", "sub"), (1, 2)):
        config = _put(saver, _config("thread", ns=ns), number, values)
        saver.put_writes(config, [("a", number)], "task")
    for ns in ("a", "sub|a", "z"):
        _put(saver, _config("thread", ns=ns), 5000)
    # Copies under other ids: who read one would find that it is not what was stored.
    others = [
        item | {"checkpoint_id": {"S": item["checkpoint_id"]["S"].replace(_id(5000), _id(number))}}
        for item in _items_of(saver, "thread", "~c")
        if item["checkpoint_id"]["S"].endswith(_id(5000))
        for number in range(5000, 6667)
    ]
    assert len(others) == 5001
    _put_all(world.plain, world.tables[0], others)

    for call, ns, asked in itertools.product((_sync, _async), ("", "sub"), (None, 1)):
        reader = world.saver()
        with Requests(reader, DELAY) as requests:
            found = call(reader, "get_tuple", _config("thread", asked, ns=ns))

        assert found.config == _config("thread", asked or 2, ns=ns)
        assert found.checkpoint["channel_values"] == values
        assert found.pending_writes == [("task", "a", asked or 2)]
        read = "Query" if asked is None else "GetItem"
        assert (requests.names, requests.waves) == (sorted(["BatchGetItem", read, "Query"]), 2)


def test_get_tuple_of_no_chunks_costs_two(call: Call, world: World) -> None:
    """They go at once if the id is given or known; one if there is none, three if another put a newer."""
    config, newest = _put(world.saver(), _config("thread"), 1, {"a": 1}), _config("thread")
    cost = partial(_cost, call, world.saver(), "get_tuple")

    assert cost(newest) == (["Query", "Query"], 2)
    assert cost(newest) == (["Query", "Query"], 1)
    assert cost(config) == (["GetItem", "Query"], 1)
    _put(world.saver(), config, 2, {"a": 1})
    assert cost(newest) == (["Query"] * 3, 2)
    assert cost(_config("thread", ns="sub")) == (["Query"], 1)


# -- list -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def crowd(endpoint: Endpoint) -> Iterator[DynamoDBSaver]:
    """Fill a thread "crowd" with nine checkpoints, in turn in three namespaces."""
    with _lone(endpoint.client) as saver:
        for number in range(1, 10):
            ns = ("", "a", "ab")[number % 3]
            config = _put(saver, _config("crowd", ns=ns), number, odd=number % 2)
            saver.put_writes(config, [("number", number)], "task")
        yield saver


@pytest.mark.parametrize(("config", "options", "numbers"), [
    pytest.param({}, {}, [*range(9, 0, -1)], id="all namespaces"),
    pytest.param({"ns": ""}, {}, [9, 6, 3], id="the root's"),
    pytest.param({"ns": "a"}, {}, [7, 4, 1], id="a subgraph's"),
    pytest.param({"ns": "b"}, {}, [], id="no such subgraph's"),
    pytest.param({}, {"limit": 4}, [9, 8, 7, 6], id="limit"),
    pytest.param({}, {"limit": 100}, [*range(9, 0, -1)], id="limit above all"),
    pytest.param({}, {"limit": 0}, [], id="limit 0"),
    pytest.param({"ns": "a"}, {"limit": 1}, [7], id="limit in a namespace"),
    pytest.param({}, {"before": 4}, [3, 2, 1], id="before"),
    pytest.param({"ns": "ab"}, {"before": 8}, [5, 2], id="before in a namespace"),
    pytest.param({}, {"before": 1}, [], id="before the oldest"),
    pytest.param({"at": 5}, {}, [5], id="one id"),
    pytest.param({"ns": "ab", "at": 5}, {}, [5], id="one id in its namespace"),
    pytest.param({"ns": "", "at": 5}, {}, [], id="one id in another namespace"),
    pytest.param({"at": 5}, {"before": 5}, [], id="one id that is not before"),
    pytest.param({}, {"filter": {"odd": 0}}, [8, 6, 4, 2], id="filter"),
    pytest.param({}, {"filter": {}}, [*range(9, 0, -1)], id="empty filter"),
    pytest.param({}, {"filter": {"odd": 0, "step": 4}}, [4], id="filter on two"),
    pytest.param({}, {"filter": {"odd": None}}, [], id="filter on another value"),
    pytest.param({}, {"filter": {"odd": 1}, "limit": 2}, [9, 7], id="filter before limit"),
    pytest.param({}, {"filter": {"odd": 1}, "limit": 2, "before": 7}, [5, 3], id="all at once"),
])  # fmt: skip
def test_list_selects(
    call: Call, crowd: DynamoDBSaver, config: Any, options: Any, numbers: list[int]
) -> None:
    """The list has what was asked for, newest first over all namespaces, as get_tuple has it."""
    if "before" in options:
        options = options | {"before": _config("crowd", options["before"])}

    listed = call(crowd, "list", _config("crowd", **{"ns": None, **config}), **options)

    assert _numbers(listed) == numbers
    assert listed == [crowd.get_tuple(each.config) for each in listed]
    assert [each.pending_writes for each in listed] == [[("task", "number", n)] for n in numbers]


def test_list_filters_before_it_limits(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """A filter that only old checkpoints match finds them on later pages, and no more than asked."""
    for number in range(1, 111):
        # The newest ten have over 1 MB, where DynamoDB itself ends a page.
        notes = _words(150_000) if number > 100 else ""
        _put(saver, _config(thread_id), number, is_old=number < 4, notes=notes)

    listed = call(saver, "list", _config(thread_id), filter={"is_old": True}, limit=2)

    assert _numbers(listed) == [3, 2]


def test_list_without_a_config_has_all_threads(call: Call, lone_saver: DynamoDBSaver) -> None:
    """Where config is None all threads are listed, each of them newest first."""
    ask = partial(call, lone_saver, "list", None)
    for number in range(1, 31):
        _put(lone_saver, _config(f"thread-{number % 3}", ns="ab"[: number % 2]), number)

    numbers = _numbers(ask())
    for remainder in range(3):
        assert [number for number in numbers if number % 3 == remainder] == [
            number for number in range(30, 0, -1) if number % 3 == remainder
        ]
    assert len(numbers) == 30
    assert len(ask(limit=12)) == 12
    assert _numbers(ask(filter={"step": 17})) == [17]
    assert sorted(_numbers(ask(before={"configurable": {"checkpoint_id": _id(3)}}))) == [1, 2]


@ONE_SERVER
def test_list_holds_two_large_checkpoints_ahead(make_saver: MakeSaver, thread_id: str) -> None:
    """Of values of 3 MB, so many chunks are read ahead as 32 MB may hold, and no more."""
    saver, reader, config = make_saver(), make_saver(cache_bytes=0), _config(thread_id)
    size, count, read = 3_000_000, 16, Counter[str]()
    for number in range(count):
        config = _put(saver, config, number, {"x": random.Random(number).randbytes(size)})

    def note(parsed: Any, **_: Any) -> None:
        read["bytes"] += _count_bytes(parsed.get("Responses", {}))

    reader.client.meta.events.register("after-call.dynamodb.BatchGetItem", note)
    try:
        for returned, _ in enumerate(reader.list(_config(thread_id)), 1):
            assert read["bytes"] <= (returned + 2) * 1.01 * size + 32 * 1024 * 1024
        assert returned == count
        assert read["bytes"] < count * 1.01 * size + 1
    finally:
        reader.client.meta.events.unregister("after-call.dynamodb.BatchGetItem", note)


def _fill(saver: DynamoDBSaver, thread_id: str, size: int) -> None:
    """Put so many checkpoints, which share a chunk, and each with one of its own and a write."""
    shared = {"shared": _words(5000)}

    def fill(number: int) -> None:
        config = _put(saver, _config(thread_id), number, shared | {"own": _words(4100 + number)})
        saver.put_writes(config, [("a", number)], "task")

    with ThreadPoolExecutor(8) as pool:
        deque(pool.map(fill, range(size)), maxlen=0)


def test_list_costs_what_it_returns(call: Call, world: World) -> None:
    """Forty checkpoints: two pages, writes of 8, 16 and 16, each chunk once, few in sequence, none unasked."""
    _fill(world.saver(), "thread", 40)
    saver, config, options = world.saver(), _config("thread"), dict[str, Any]()

    async def anext_of_alist(ns: str | None) -> CheckpointTuple:
        return await world.saver().alist(_config("thread", ns=ns)).__anext__()

    with Requests(saver) as unasked:
        saver.list(config)
        saver.alist(config)
    with Requests(saver) as first:  # the newest is there when few of the others are read
        for ns in ("", None):
            newest = next(world.saver().list(_config("thread", ns=ns)))
            assert _numbers([newest, asyncio.run(anext_of_alist(ns))]) == [39, 39]
    with Requests(saver, DELAY) as requests:
        listed = call(saver, "list", config)

    assert unasked.names == []
    assert first.items_read < 4 * 50
    assert len(first.sent) < 4 * 30
    assert _numbers(listed) == list(range(39, -1, -1))
    assert requests.names.count("Query") == 2 + 3
    batches = [params["RequestItems"] for name, params in requests.sent if name == "BatchGetItem"]
    got = [repr(key) for batch in batches for each in batch.values() for key in each["Keys"]]
    assert len(got) == len(set(got)) == len(_items_of(saver, "thread", "~x"))
    assert requests.waves < 15  # of over 40 requests; a busy machine pulls some apart
    for options, numbers, queries in (
        ({"limit": 5}, [39, 38, 37, 36, 35], 1 + 1),
        ({"before": _config("thread", 30), "limit": 5}, [29, 28, 27, 26, 25], 1 + 1),
        ({"filter": {"step": 7}}, [7], 2 + 1),
    ):
        with Requests(saver) as requests:
            assert _numbers(call(saver, "list", config, **options)) == numbers
        assert requests.names.count("Query") == queries
    *_, (_, writes) = [each for each in requests.sent if each[0] == "Query"]
    assert writes["ExpressionAttributeValues"][":u"]["S"] == f"{_id(7)}::;"


# -- put ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_id", [str, int, UUID], ids=["text", "int", "UUID"])
def test_put_returns_the_stored_config(call: Call, lone_saver: DynamoDBSaver, make_id: Any) -> None:
    """It names the checkpoint, as a child's parent_config does; an id may be an int or a UUID."""
    thread_id = make_id("7" if make_id is not UUID else str(UUID(int=7)))
    first = call(lone_saver, "put", _config(thread_id, ns="a"), _checkpoint(1), {}, {})
    second = call(lone_saver, "put", first, _checkpoint(2), {}, {})
    call(lone_saver, "put_writes", _config(thread_id, 2, ns="a"), [("channel", 1)], "task")

    assert [first, second] == [_config(str(thread_id), number, ns="a") for number in (1, 2)]
    for name in (thread_id, str(thread_id)):
        found = call(lone_saver, "get_tuple", _config(name, ns="a"))
        assert (found.config, found.parent_config) == (second, first)
        assert found.pending_writes == [("task", "channel", 1)]


def test_metadata_is_merged_with_config(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """Stored and filtered on is what the config adds too, and none of it overrides the saver's."""
    config = _config(thread_id)
    config["configurable"] |= {"run_id": "run", "tenant": "t", "step": 99, "__private": 1}
    config["metadata"] = {"user": "u", "source": "elsewhere"}
    call(saver, "put", config, _checkpoint(1), {"source": "input", "step": -1}, {})

    expected = {"source": "input", "step": -1, "run_id": "run", "tenant": "t", "user": "u"}
    (found,) = call(saver, "list", _config(thread_id), filter=expected)
    assert found.metadata == expected
    assert call(saver, "list", _config(thread_id), filter={"tenant": "other"}) == []


ANY_SIZE: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "3 MB of text": lambda: {"text": _words(3_000_000)},
    "3 MB in a list of one": lambda: {"list": [_words(3_000_000)]},
    "3 MB in a dict": lambda: {"dict": {f"{n}": _words(n) for n in range(2400)}},
    "1,000 messages": lambda: {"messages": _messages(1000)},
    "500 channels": lambda: {f"channel {n}": _words(2000) for n in range(500)},
    "8,000 channels": lambda: {f"channel {n:06}": n for n in range(8000)},
}


@pytest.mark.parametrize("size", ANY_SIZE)
def test_checkpoint_may_have_any_size(world: World, size: str) -> None:
    """Values and metadata far above what an item holds are read back by another process."""
    checkpoint, notes = _checkpoint(1, ANY_SIZE[size]()), {"notes": _words(500_000)}
    metadata: Any = {"source": "loop", "step": 1, **notes}
    versions = checkpoint["channel_versions"]

    config = world.saver().put(_config("thread"), checkpoint, metadata, versions)

    found = _read(world, config)
    assert (found.checkpoint, found.metadata) == (checkpoint, metadata)
    assert [*world.saver().list(_config("thread"), filter=notes)] == [found]


def test_next_versions_count_up(saver: DynamoDBSaver) -> None:
    """Versions are 1, 2, 3; one of another saver is followed by a greater one of its form."""
    assert [saver.get_next_version(each) for each in (None, 0, 1, 9, 2.0)] == [1, 1, 2, 10, 3]
    for form in (f"{9:032}.0.5", f"{9:032}"):
        following = saver.get_next_version(form)
        assert following.startswith(f"{10:032}.")
        assert following > form
        assert saver.get_next_version(following) > following


@pytest.mark.parametrize("knows_parent", [True, False])
def test_unchanged_channel_keeps_its_value(
    call: Call, make_saver: MakeSaver, thread_id: str, *, knows_parent: bool
) -> None:
    """A channel of the parent's version that put is not given has the parent's value."""
    saver, versions = make_saver(), {"kept": 1, "small": 1, "changed": 2, "gone": 2}
    values = {"kept": "x" * 9000, "small": [None], "changed": 1, "gone": 1}
    parent = _put(saver, _config(thread_id), 1, values)
    child = _checkpoint(2, {"changed": 2}, versions)
    writer = saver if knows_parent else make_saver()
    config = call(writer, "put", parent, child, {}, {"changed": 2, "gone": 2})

    found = call(make_saver(), "get_tuple", config).checkpoint
    assert found["channel_values"] == {"kept": "x" * 9000, "small": [None], "changed": 2}
    assert found["channel_versions"] == versions


def _put_knows(saver: DynamoDBSaver, thread_id: str, number: int) -> bool:
    """Put a child that keeps its parent's value; say whether it did so without reading it."""
    with Requests(saver) as requests:
        saver.put(_config(thread_id, number - 1), _checkpoint(number, {}, {"x": 1}), {}, {})
    return "GetItem" not in requests.names


def test_what_is_known_of_threads_is_bounded_by_bytes(world: World) -> None:
    """Whole threads go, those not used longest first, and then bytes of the last one's chunks."""
    saver, wide = world.saver(cache_bytes=400_000), dict.fromkeys(["x", *map(str, range(500))])
    for number in range(12):
        _put(saver, _config(f"thread {number}"), 1, {"x": _words(60_000, number)})

    found = [_put_knows(saver, f"thread {number}", 2) for number in range(11, -1, -1)]
    config = _put(saver, _config("large"), 1, {"x": _words(900_000)})
    with Requests(saver) as requests:
        _put(saver, config, 2, {"x": _words(900_000)})

    assert found == [True] * 6 + [False] * 6
    assert requests.names == ["PutItem"]
    assert not _put_knows(saver, "thread 0", 3)
    # Manifests count by what they hold, and so does each namespace's.
    _put(saver, _config("wide"), 1, wide)
    assert _put_knows(saver, "wide", 2)
    assert not _put_knows(saver, "large", 3)
    _put(saver, _config("wide"), 1, wide)
    _put(saver, _config("wide", ns="sub"), 1, wide)
    assert not _put_knows(saver, "wide", 2)
    # What reads the parent stores what is right all the same.
    forgetful = world.saver(cache_bytes=0)
    assert not any(_put_knows(forgetful, "thread 0", number) for number in (4, 5))
    assert _value_of(_read(world, _config("thread 0"))) == _words(60_000, 0)


@pytest.mark.usefixtures("serde")
def test_put_learns_what_another_did(world: World) -> None:
    """The first read finds that a process gave the thread an expiry: no chunk is relied on."""
    saver, value = world.saver(), {"x": _words(9000)}
    _put(saver, _config("thread"), 1, value)
    world.saver().set_ttl(["thread"], 10_000)
    saver.get_tuple(_config("thread"))

    stored = _put(saver, _config("thread", 1), 8, value)
    saver.put_writes(stored, [("x", _words(9000))], "task")

    assert _value_of(_read(world)) == value["x"]
    assert world.saver().verify("thread").damaged == []


@pytest.mark.parametrize("seconds", [1199, 1201])
def test_an_entry_is_trusted_for_a_third_of_the_grace_period(world: World, seconds: int) -> None:
    """After that, the parent is read again; any item that is read or stored makes it fresh.

    A parent that is known says nothing of a chunk that it does not refer to. Who asks for a
    checkpoint that was never known leaves what is known of the thread alone.
    """
    saver, texts = world.saver(), [{"text": _words(9000, number)} for number in range(2)]
    heads = [_put(saver, _config(name), 1, texts[0]) for name in ("thread", "other")]
    world.now += 1000
    heads = [_put(saver, head, 2, text) for head, text in zip(heads, texts, strict=True)]
    world.now += 201
    with Requests(saver) as of_other:
        _put(saver, heads[1], 3, texts[0])
    world.now += seconds - 201

    assert saver.get_tuple(_config("thread", 7)) is None
    assert saver.get_tuple(_config("thread", ns="sub")) is None
    with Requests(saver) as requests:
        _put(saver, heads[0], 3, texts[0])

    assert of_other.names == ["BatchWriteItem", "PutItem"]
    assert requests.names == ["GetItem"] * (seconds > 1200) + ["PutItem"]


@pytest.mark.parametrize("method", ["put", "put_writes"])
@pytest.mark.parametrize(("operation", "puts"), [("BatchWriteItem", 1), ("PutItem", 2)])
def test_chunks_of_a_slow_call_come_twice(
    world: World, method: str, operation: str, puts: int
) -> None:
    """Whether it is held up before its item or after it, as a frozen process finds out only then."""
    client, waits, value = world.client(), iter([2401]), _words(9000)
    saver = world.saver(client)
    config = _put(saver, _config("thread"), 1, {"y": 1})

    def wait(**_: Any) -> None:
        world.now += next(waits, 0)

    client.meta.events.register(f"after-call.dynamodb.{operation}", wait)
    with Requests(saver) as requests:
        if method == "put":
            _put(saver, config, 2, {"x": value})
        else:
            saver.put_writes(config, [("x", value)], "task")

    assert requests.names == ["BatchWriteItem"] * 2 + ["PutItem"] * puts
    stored_at = {int(item["stored_at"]["N"]) for item in world.items(0) if _is_chunk(item)}
    assert stored_at == {int(world.now)}
    _audit(world)


def test_expired_items_are_not_shown(call: Call, world: World) -> None:
    """Nor are they a history's target or seed, or in any copy, though they are stored for longer."""
    saver, thread, value = world.saver(ttl_seconds=60), _config("thread"), [_words(9000)]
    early, late = ("task 1", "a", "early"), ("task 2", "a", "late")
    first = call(saver, "put", thread, _checkpoint(1, {"a": value}), {}, {"a": 1})
    call(saver, "put_writes", first, [("a", "early")], "task 1")
    world.now += 40
    second = call(saver, "put", first, _checkpoint(2, {"a": value, "b": 2}), {}, {"b": 2})
    call(saver, "put_writes", first, [("a", "late")], "task 2")
    assert call(saver, "get_tuple", first).pending_writes == [early, late]

    world.now += 19
    assert _numbers(call(saver, "list", thread)) == [2, 1]
    world.now += 1
    assert call(saver, "get_tuple", first) is None
    assert [each.config for each in call(saver, "list", thread)] == [second]
    assert call(saver, "get_tuple", thread).config == second
    assert _read(world).checkpoint["channel_values"] == {"a": value, "b": 2}
    # What is shown no more is stored for a while, for those that are rebuilt from it.
    kept = call(saver, "get_delta_channel_history", config=second, channels=["a"])["a"]
    assert kept["writes"] == [early, late]
    live = _told(saver, "thread")
    call(saver, "copy_thread", "thread", "copy")
    with _lone(saver.client) as target:
        call(target, "copy_from", saver, ["thread"])
        assert _told(target, "thread") == _told(world.saver(), "copy") == live
    world.now += 60
    assert call(saver, "get_tuple", thread) is None
    assert _told(world.saver(), "thread") == _told(world.saver(), "copy") == {}


def test_put_stores_a_chunk_once_a_period(world: World) -> None:
    """In twenty lifetimes of five puts each, each chunk is stored 21 times at most."""
    lifetime = 30 * 86_400
    saver, config, value = world.saver(ttl_seconds=lifetime), _config("thread"), _words(7000)
    with Requests(saver) as requests:
        for number in range(100):
            checkpoint = _checkpoint(number, {"a": value, "n": number}, {"a": 1, "n": number})
            saver.get_tuple(_config("thread"))  # as each run of a graph begins
            config = saver.put(config, checkpoint, {}, {"n": number})
            world.now += lifetime / 5

    batches = [_put_items(params) for name, params in requests.sent if name == "BatchWriteItem"]
    stored = [item["checkpoint_id"]["S"] for item in chain(*batches)]
    assert {*Counter(name[:34] for name in stored).values()} <= {20, 21}
    assert len(stored) == len(set(stored))
    last = world.now + 2.25 * lifetime
    assert {int(item["ttl"]["N"]) > last for item in _stored(saver)} == {False}


def test_lifetimes_of_saver_and_thread_mix(call: Call, world: World) -> None:
    """A thread keeps to its times: one that is for good stays so, another never becomes it."""
    value = [_words(9000)]
    lifetimes: dict[str, Any] = {"kept": [None] * 3, "short": [60] * 3, "mixed": [60, None, 60]}
    for saver_ttl, name in itertools.product((None, 60), lifetimes):
        saver, config = world.saver(ttl_seconds=saver_ttl), _config(f"{name} {saver_ttl}")
        for number, ttl_seconds in enumerate(lifetimes[name]):
            checkpoint = _checkpoint(number, {"a": value}, 1)
            config["configurable"]["ttl_seconds"] = ttl_seconds
            config = call(saver, "put", config, checkpoint, {}, {} if number else {"a": 1})
            config["configurable"]["ttl_seconds"] = ttl_seconds
            call(saver, "put_writes", config, [("a", value)], "task")
    world.now += 1000
    _sweep(saver, world.now)

    for saver_ttl in (None, 60):
        found = [call(world.saver(), "list", _config(f"{name} {saver_ttl}")) for name in lifetimes]
        assert [_numbers(each) for each in found] == [[2, 1, 0], [], []]
        for each in found[0]:
            assert each.checkpoint["channel_values"] == {"a": value}
            assert each.pending_writes == [("task", "a", value)]
    assert not [each for each in _stored(saver) if "short" in _owner(each)]


@pytest.mark.parametrize("ttl_seconds", [None, 600])
def test_put_on_a_parent_that_is_gone_is_refused_if_a_channel_needs_it(
    call: Call, world: World, ttl_seconds: int | None
) -> None:
    """A node may run longer than its thread is stored: its DeltaChannel could never be rebuilt."""
    saver, counters = world.saver(ttl_seconds=ttl_seconds), {"delta": (1, 1)}
    checkpoint, metadata = _checkpoint(2), {"counters_since_delta_snapshot": counters}
    told = (
        "The parent, from which DeltaChannels are rebuilt, is missing: thread 'thread', namespace"
    )
    with pytest.raises(DamagedCheckpointError, match=told):
        call(saver, "put", _config("thread", 1), checkpoint, metadata, {"delta": 2})

    assert _both(world) == [[], []]


@pytest.mark.parametrize(("before", "own"), [(600, None), (None, 60), (600, 60)])
def test_a_process_that_knows_nothing_keeps_to_the_roots_times(
    call: Call, world: World, before: int | None, own: int | None
) -> None:
    """A subgraph's first checkpoint and writes before their checkpoint have no parent to ask."""
    _put(world.saver(ttl_seconds=before), _config("thread"), 1)
    (root,) = world.items(0)

    for method, arguments in (
        ("put", (_config("thread", ns="sub"), _checkpoint(2, {"a": _words(9000)}), {}, {"a": 1})),
        ("put_writes", (_config("thread", 3), [("a", _words(9000))], "task")),
    ):
        call(world.saver(ttl_seconds=own, cache_bytes=0), method, *arguments)

    assert {repr(item.get("ttl")) for item in chain(*_both(world))} == {repr(root.get("ttl"))}
    check = world.saver().verify("thread")
    assert (check.damaged, check.is_pinned) == ([], before is None)


def _counted(count: int) -> Any:
    """Return the metadata of a checkpoint whose DeltaChannel "delta" is rebuilt from so many."""
    return {"counters_since_delta_snapshot": {"delta": (count, count)}}


def test_a_renewal_includes_shorter_writes_and_shortens_no_life(world: World) -> None:
    """A thread whose lifetime is long, short and long again keeps all, and what was for ever stays so."""
    config: Any = _config("thread")
    for number, (ttl_seconds, delay) in enumerate(
        ((None, 0), (60, 0), (None, 1000), (600, 700), (600, 1000)), 1
    ):
        config["configurable"]["ttl_seconds"] = ttl_seconds
        if number > 1:
            world.saver().put_writes(config, [("delta", f"write {number}")], "task")
        checkpoint = _checkpoint(number, {}, {"delta": number})
        config = world.saver().put(config, checkpoint, _counted(number), {"delta": number})
        world.now += delay
        _sweep(world.saver(), world.now)

    found = world.saver().get_delta_channel_history(config=config, channels=["delta"])["delta"]
    assert [value for *_, value in found["writes"]] == [f"write {number}" for number in range(2, 6)]
    assert ["ttl" in item for item in world.items(0)] == [False] * 5


@pytest.mark.parametrize("is_warm", [True, False])
def test_put_renews_writes_that_came_before_it(world: World, *, is_warm: bool) -> None:
    """They may be of the period before: a child's put has them stored as long as itself."""
    saver = world.saver(ttl_seconds=100)

    def put(number: int, count: int) -> Any:
        parent, versions = _config("thread", number - 1), dict[str, Any](delta=2)
        return saver.put(parent, _checkpoint(number, {}, versions), _counted(count), versions)

    _put(saver, _config("thread"), 1)
    until: Any = saver.stats("thread").stored_until
    saver.delete_thread("thread")
    world.now = until - 126  # the last second of a period, a lifetime and a quarter before its end
    _put(saver, _config("thread"), 1, {"delta": ["seed"]})
    saver.put_writes(_config("thread", 2), [("delta", "early")], "task")
    world.now += 1
    config = put(2, 1)
    assert saver.stats("thread").stored_until == until + 100 > int(world.items(1)[0]["ttl"]["N"])
    world.now += 60
    if not is_warm:
        saver = world.saver(ttl_seconds=100)
        saver.get_tuple(config)
    config = put(3, 2)

    for _ in range(9):
        world.now += 11
        _sweep(saver, world.now)
        found = world.saver().get_delta_channel_history(config=config, channels=["delta"])["delta"]
        assert found == {"writes": [("task", "delta", "early")], "seed": ["seed"]}


def test_a_first_checkpoint_with_a_pending_delta_asks_for_no_other(world: World) -> None:
    """A put without a parent renews nothing: once it went through the newest checkpoint's line."""
    saver = world.saver(ttl_seconds=600)
    saver.put(_config("thread"), _checkpoint(1, {}, {"delta": 1}), _counted(1), {})

    with Requests(saver) as requests:
        saver.put(_config("thread"), _checkpoint(2, {}, {"delta": 1}), _counted(1), {})

    assert requests.names == ["PutItem"]


def test_expired_items_whose_chunks_are_gone_are_in_no_ones_way(world: World) -> None:
    """Whatever DynamoDB deletes first of what expired, an operator's calls come to their end."""
    saver = world.saver(ttl_seconds=60)
    many = {f"key {number}": _words(9000, number) for number in range(160)}
    config = _put(saver, _config("thread"), 1, {"x": many})
    saver.put_writes(config, [("x", many)], "task")
    world.now += 1000
    _put(world.saver(), _config("thread"), 2, {"x": 1})
    for item in filter(_is_chunk, world.items(0)):
        _delete_item(saver, item)

    stats = world.saver().stats("thread")
    world.saver().copy_thread("thread", "copy")
    world.saver().prune(["thread"])

    assert stats.total["items"] == 3
    assert world.saver().verify("thread").damaged == []
    for name in ("thread", "copy"):
        found = [each.config for each in world.saver().list(_config(name))]
        assert found == [_config(name, 2)]
    assert len([item for item in world.items(0) if "type" in item]) == 2
    assert world.items(1) == []


@ONE_SERVER
def test_put_costs_one_request(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """New chunks go before it, side by side, in batches of 25; no reader or clone stores a known one."""
    one, many = ({f"text {n}": _words(7000 + n) for n in range(length)} for length in (1, 22))
    clone: Any = saver.with_allowlist([(Color.__module__, "Color")])
    for number, values, new, requests, waves in (
        (1, {"a": 1, "list": list(range(100))}, {"a": 1, "list": 1}, [], 1),
        (2, {"a": 1, **one}, {"text 0": 2}, ["BatchWriteItem"], 2),
        (3, {"a": 3, **one}, {"a": 3, "text 0": 3}, [], 1),  # the chunk is there
        (4, many, dict.fromkeys(many, 4), ["BatchWriteItem"] * 3, 2),
    ):
        args: Any = (_config(thread_id, number - 1 or None), _checkpoint(number, values), {}, new)
        assert _cost(call, saver, "put", *args) == ([*requests, "PutItem"], waves)

    with _beside(saver) as reader:
        call(reader, "get_tuple", _config(thread_id, 4))
        for each in (reader, clone):
            args = (_config(thread_id, 4), _checkpoint(5, many), {}, dict.fromkeys(many, 5))
            assert _cost(call, each, "put", *args) == (["PutItem"], 1)


def test_put_of_a_subgraph_stores_nothing_that_the_outer_checkpoint_names(world: World) -> None:
    """It stores only new messages, and all of them half an hour after the outer checkpoint was seen."""
    saver, messages = world.saver(), _messages(200)
    _put(saver, _config("thread"), 1, {"messages": messages})
    config = _config("thread", ns="inner:task")
    config["configurable"]["checkpoint_map"] = {"": _id(1), "inner": _id(9)}

    def bytes_of_put(number: int) -> int:
        with Requests(saver) as requests:
            _put(saver, config, number, {"messages": [*messages, f"message {number}"]})
        return requests.bytes_sent

    assert bytes_of_put(2) < 3000
    world.now += 1801
    assert bytes_of_put(3) > 10000


def test_growing_thread_costs_its_growth(world: World) -> None:
    """Of a chat of 2,000 messages a put sends the few that are new, and never all of it."""
    saver, config, messages, sizes = world.saver(), _config("thread"), _messages(2010), list[int]()
    for number in range(2000, 2011):
        with Requests(saver) as requests:
            config = _put(saver, config, number, {"messages": messages[:number]})
        sizes.append(requests.bytes_sent)

    assert sizes[0] > 400_000
    assert sum(sizes[1:]) < 10 * 20_000


# -- put_writes -----------------------------------------------------------------------------------


def test_pending_write_may_have_any_size(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """A pending write of 900 KB, and one interrupt as large, are read back."""
    text, question = _words(900_000), _words(900_001)
    config = _put(make_saver(), _config(thread_id), 1)
    call(make_saver(), "put_writes", config, [("text", text), (INTERRUPT, question)], "task")

    writes = call(make_saver(), "get_tuple", config).pending_writes
    assert writes == [("task", INTERRUPT, question), ("task", "text", text)]


@pytest.mark.parametrize(("writes", "is_stored"), [
    pytest.param([(TASKS, "s" * 52)] * 10_000, True, id="sends"),
    pytest.param([("x", 0)] * 90_000, True, id="tiny", marks=LONG),
    pytest.param([("x", 0)] * 110_000, False, id="too many that are tiny"),
    pytest.param([("x", 0), (RESUME, 0)] * 11_000, True, id="alternating"),
    pytest.param([("x", 0), (RESUME, 0)] * 14_000, False, id="too many that alternate"),
])  # fmt: skip
def test_any_number_of_writes_is_stored_or_refused_at_once(
    world: World, writes: list[tuple[str, Any]], *, is_stored: bool
) -> None:
    """An item lists up to 64 KB of indices; its content has up to 500,000 objects, five for a write."""
    saver = world.saver()
    config = _put(saver, _config("thread"), 1)
    ordinary = [each for each in writes if each[0] != RESUME] * is_stored

    with Requests(saver) as requests, ExitStack() as stack:
        if not is_stored:
            stack.enter_context(pytest.raises(ValueError, match=r"can't be stored|may have"))
        saver.put_writes(config, writes, "task")

    assert bool(requests.sent) == is_stored
    found = _read(world).pending_writes
    assert [each[1:] for each in found if each[1] != RESUME] == ordinary


def test_writes_come_in_task_path_order(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """Paths order the writes, then ids, never the time; the eleventh of a task comes after its tenth.

    They may be any sequence; one of None or of nothing is a write, and none at all leave no trace.
    """
    config = _put(saver, _config(thread_id), 1)
    empty: list[tuple[str, Any]] = [("none", None), ("bytes", b""), ("text", ""), ("list", [])]
    writes = [*empty, *((f"channel {number % 2}", number) for number in range(8))]
    for sequence, task_id, task_path in (
        (writes, "a", "~__pregel_pull, second"), (tuple(writes), "d", "~__pregel_pull, first"),
        (deque(writes), "c", "~__pregel_pull, first"), (writes, "e", ""), ((), "f", ""),
        (writes, "b", "~__pregel_push, 0000000001, False"),
    ):  # fmt: skip
        call(saver, "put_writes", config, sequence, task_id, task_path)

    for found in (call(saver, "get_tuple", config), *call(saver, "list", config)):
        assert found.pending_writes == [(each, *write) for each in "ecdab" for write in writes]


def test_writes_that_come_again(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """A regular write is as it was first, an error or interrupt as it is last; the null task's grow."""
    saver, null_task = make_saver(), str(UUID(int=0))
    config = _put(saver, _config(thread_id), 1)
    grown = [("a", 0), ("b", 1), (RESUME, "yes"), ("a", 3), ("b", 4), ("a", 5)]
    for task_id, writes in (
        ("task", [("a", "first"), (ERROR, "first")]),
        ("task", [("b", "second"), (ERROR, "second")]),
        ("task", [(INTERRUPT, "asked")]),
        ("other", [("a", "third"), (INTERRUPT, "asked again")]),
        *((null_task, grown[:length]) for length in (1, 2, 2, 4, 3, 6)),
    ):
        call(saver, "put_writes", config, writes, task_id)

    assert call(make_saver(), "get_tuple", config).pending_writes == [
        *((null_task, *grown[each]) for each in (2, 0, 1, 3, 4, 5)),
        ("other", INTERRUPT, "asked again"), ("other", "a", "third"),
        ("task", INTERRUPT, "asked"), ("task", ERROR, "second"), ("task", "a", "first"),
    ]  # fmt: skip


def test_writes_may_precede_checkpoint(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """Writes of a checkpoint that is not there yet show no checkpoint, and are there with it."""
    config = _config(thread_id, 2)
    _put(make_saver(), _config(thread_id), 1)
    call(make_saver(), "put_writes", config, [("channel", 1)], "task")

    assert call(make_saver(), "get_tuple", config) is None
    assert _numbers(call(make_saver(), "list", _config(thread_id))) == [1]

    call(make_saver(), "put", _config(thread_id, 1), _checkpoint(2), {}, {})

    found = call(make_saver(), "get_tuple", _config(thread_id))
    assert (found.config, found.pending_writes) == (config, [("task", "channel", 1)])


def test_a_conditional_put_whose_answer_lacks_the_item_is_an_error(world: World) -> None:
    """Writes are not taken for stored where DynamoDB does not say what stands in their place."""
    client = world.client()
    saver = world.saver(client)
    config = _put(saver, _config("thread"), 1)
    saver.put_writes(config, [("a", 1)], "task")
    client.meta.events.register(
        "after-call.dynamodb.PutItem", lambda parsed, **_: parsed.pop("Item", None)
    )

    with pytest.raises(DamagedCheckpointError, match="malformed"):
        saver.put_writes(config, [("a", 1), ("b", 2)], "task")

    assert _read(world).pending_writes == [("task", "a", 1)]


def test_an_expired_write_stands_in_no_ones_way(world: World) -> None:
    """A write that DynamoDB has yet to delete is replaced: it once swallowed what came after it."""
    saver, config = world.saver(ttl_seconds=60), _config("thread", 1)
    saver.put_writes(config, [("a", "first"), ("b", "first")], "task")
    world.now += 200

    saver.put_writes(config, [("a", "second")], "task")
    saver.put_writes(config, [("a", "third"), ("b", "third")], "task")
    _put(saver, _config("thread"), 1)

    assert _read(world).pending_writes == [("task", "a", "second"), ("task", "b", "third")]


def test_put_writes_costs_one_request(call: Call, world: World) -> None:
    """A task's writes are one request, and one for each special write beside others."""
    config = _put(world.saver(), _config("thread"), 1)
    writes = [(f"channel {number}", _words(1000)) for number in range(30)]
    saver = world.saver()
    call(saver, "get_tuple", config)

    cost = partial(_cost, call, saver, "put_writes", config)
    assert cost(writes, "task") == (["PutItem"], 1)
    assert cost([(INTERRUPT, "asked")], "other") == (["PutItem"], 1)
    assert cost([], "idle") == ([], 0)
    assert cost([("a", 1), (INTERRUPT, "asked")], "both")[0] == ["PutItem"] * 2


# -- delete_thread --------------------------------------------------------------------------------


def test_delete_thread_leaves_nothing(call: Call, lone_saver: DynamoDBSaver) -> None:
    """Of a deleted thread no item stays in either table; the others are as they were."""
    large = [("text", _words(500_000))]
    for thread in ("doomed", "doomed too"):
        for number, ns in enumerate(["", "sub", "sub|sub"] * 2):
            text = {"text": _words(5000 + number)}
            config = _put(lone_saver, _config(thread, ns=ns), number, text)
            lone_saver.put_writes(config, large if number == 3 else [], "large")
            lone_saver.put_writes(config, [("a", 1), (ERROR, "down")], "task")
        lone_saver.put_writes(_config(thread, 99), [("a", 1)], "task")
    others = [each for each in _stored(lone_saver) if "doomed'" not in _owner(each)]

    for _ in range(2):
        call(lone_saver, "delete_thread", "doomed")

        assert call(lone_saver, "list", _config("doomed", ns=None)) == []
        assert sorted(map(repr, _stored(lone_saver))) == sorted(map(repr, others))


@pytest.mark.parametrize("method", ["delete_thread", "copy_thread", "prune"])
def test_a_mistyped_writes_table_hides_and_deletes_nothing(world: World, method: str) -> None:
    """Nothing is changed before both tables have answered."""
    _fill_world(world.saver(), "thread")
    before = _seen(world.saver(), "thread", SUBGRAPHS)
    with (
        DynamoDBSaver(world.tables[0], "mistyped", client=world.plain) as saver,
        pytest.raises(DynamoDBSaverError, match="Table 'mistyped' does not exist"),
    ):
        _CALLS[method](saver, "thread")

    assert _seen(world.saver(), "thread", SUBGRAPHS) == before
    copy = world.items(0, "thread copy")
    world.saver().delete_thread("thread copy")
    assert [item for item in copy if "through" not in item] == []


@pytest.mark.parametrize("thread_id", ["a:::b", "a:", ":::", "a:::", "#" + "0" * 32, "t" * 2048])
def test_a_thread_of_any_id_has_a_whole_life(world: World, thread_id: str) -> None:
    """Ids that look like our own keys, as other savers' threads have them, are like all others."""
    saver, copied = world.saver(), f"{thread_id[:-1]}x"
    for name in (thread_id, "plain"):
        config = _put(saver, _config(name), 1, {"x": _words(9000)})
        saver.put_writes(config, [("x", 1)], "task")
        config = _put(saver, config, 2, {"x": _words(9000, 1)})
        saver.put_writes(config, [("x", _words(500_000))], "task")
    told = _told(world.saver(), thread_id)

    saver.copy_thread(thread_id, copied)

    assert told == _told(world.saver(), "plain") == _told(saver, copied)
    assert {*saver.threads()} == {thread_id, copied, "plain"}
    verified = saver.verify(thread_id)
    assert (verified.damaged, verified.orphans) == ([], {})
    saver.prune([copied], grace_seconds=0)
    assert len([*saver.list(_config(copied))]) == 1
    for name in (thread_id, copied):
        saver.delete_thread(name)
    assert {_owner(item) for item in chain(*_both(world))} == {"'plain'"}


def test_a_marker_reaches_to_the_newest(world: World, monkeypatch: Patch) -> None:
    """A machine whose clock is behind hides the root at once all the same, and again."""
    _put(world.saver(), _put(world.saver(), _config("thread"), 1, {"x": _words(3000)}), 2)
    monkeypatch.setattr(module, "uuid6", lambda: UUID(int=0))
    wire = Wire(world)
    for left in (3, 4):
        wire.rest()
        wire.at(left, _die)
        with suppress(Cut):
            world.saver(wire.client).delete_thread("thread")

        (marker,) = (item for item in world.items(0) if "through" in item)
        assert marker["through"] == {"S": _id(2)}
        assert _read(world) is None
        for options in ({}, {"before": _config("thread", 2)}):
            assert [*world.saver().list(_config("thread"), **options)] == []


def test_delete_and_copy_go_side_by_side(call: Call, world: World) -> None:
    """Forty checkpoints take few requests, and few of them come one after the other."""
    _fill(world.saver(), "thread", 40)

    copied, copy_waves = _cost(call, world.saver(), "copy_thread", "thread", "copy")
    deleted, delete_waves = _cost(call, world.saver(), "delete_thread", "thread")

    # 69 chunks, 40 checkpoints, 40 writes, and the marker.
    counts = {"BatchWriteItem": 3 + 2 + 2 + 1, "BatchGetItem": 1, "Query": 7}
    assert {name: copied.count(name) for name in counts} == counts
    # The newest, the writes, then subgraphs, root and chunks.
    assert Counter(deleted) == {"PutItem": 1, "Query": 5, "BatchWriteItem": 2 + 2 + 3 + 1}
    assert copy_waves < 18  # a busy machine pulls some apart
    assert delete_waves < 11


# -- delete_for_runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("run_index", [False, True])
def test_delete_for_runs_deletes_their_checkpoints_alone(
    call: Call, make_saver: MakeSaver, no_tables: Tables, run_index: Any
) -> None:
    """Runs are known by the metadata's run_id, from wherever it came, in all threads."""
    saver = make_saver(no_tables)
    saver.setup(run_index=run_index)
    for number, (thread, ns, run_id) in enumerate((
        ("a", "", "one"), ("a", "sub", "one"), ("a", "", "two"), ("b", "", "one"),
        ("b", "", "three"), ("c", "", "one"), ("d", "", None),
    )):  # fmt: skip
        config, run = _config(thread, ns=ns), dict[str, Any](run_id=run_id) if run_id else {}
        config["configurable"] |= run if number % 2 else {}
        stored = _put(saver, config, number, **({} if number % 2 else run))
        saver.put_writes(stored, [("a", number)], "task")

    with Requests(saver) as requests:
        call(saver, "delete_for_runs", ["one", "three", "none"])
    call(saver, "delete_for_runs", [])

    assert requests.names.count("Scan") == (0 if run_index else 4)
    asked = [p["IndexName"] for _, p in requests.sent if "IndexName" in p]
    # Without the index, the first answer ends the others that have not begun.
    assert asked == ["run_id"] * (3 if run_index else len(asked))
    assert sorted(_numbers(call(saver, "list", None))) == [2, 6]
    writes = [each for each in _stored(saver) if "task_id_idx" in each]
    assert sorted(map(_owner, writes)) == ["'a'", "'d'"]


@ONE_SERVER
@pytest.mark.parametrize("place", ["metadata", "configurable"])
def test_run_id_is_found(call: Call, make_saver: MakeSaver, no_tables: Tables, place: str) -> None:
    """It is in the index and in the metadata, also that of its subgraphs' checkpoints."""
    saver = make_saver(no_tables)
    saver.setup(run_index=True)
    graph = _nested().compile(checkpointer=saver)
    for run_id in ("one", "two", "three"):
        config: Any = {"configurable": {"thread_id": f"thread {run_id}"}}
        config[place] = {**config.get(place, {}), "run_id": run_id}
        call(graph, "invoke", {"number": 1}, config)
    kept = list(saver.list(_config("thread three", ns=None)))

    assert "Scan" not in _cost(call, saver, "delete_for_runs", ["one"])[0]
    call(saver, "delete_for_runs", ["two"], use_index=False)

    assert len({each.config["configurable"]["checkpoint_ns"] for each in kept}) > 1
    assert list(saver.list(None)) == kept


def test_delete_for_runs_spares_what_others_need(call: Call, world: World) -> None:
    """A run that another's DeltaChannel needs is deleted only by force."""
    saver = world.saver()
    _put_deltas(saver, "thread")
    error = (
        f"Checkpoint {_id(5)!r} of thread 'thread', namespace '', is of a run to be deleted, but "
        f"another run's checkpoint takes a DeltaChannel or pending sends from it; keep the run, or "
        f"pass force=True to delete it all the same"
    )

    with _raises_exactly(DynamoDBSaverError(error)):
        call(saver, "delete_for_runs", ["run-5"])
    assert len(call(saver, "list", _config("thread"))) == 10
    call(saver, "delete_for_runs", ["run-5"], force=True)
    assert _numbers(call(saver, "list", _config("thread"))) == [9, 8, 7, 6, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("parent", [None, 9], ids=["another life", "a newer one"])
def test_a_rollback_shows_nothing_older_than_what_expired(world: World, parent: int | None) -> None:
    """A checkpoint that a prune hid stays hidden: its thread expired, or a newer one did."""
    saver, later = world.saver(ttl_seconds=100), world.saver(ttl_seconds=1000)
    _put_deltas(saver, "thread")
    saver.prune(["thread"])
    if parent:
        _put(later, _config("thread", parent), 20, run_id="late")
    world.now += 101
    assert _numbers([*saver.list(_config("thread"))]) == [20] * bool(parent)
    if not parent:
        _put(later, _config("thread"), 20, run_id="late")

    saver.delete_for_runs(["late"])

    assert [*world.saver().list(_config("thread"))] == []
    assert world.saver().verify("thread").damaged == []


@ONE_SERVER
def test_run_index_is_read_in_leaps(call: Call, make_saver: MakeSaver, no_tables: Tables) -> None:
    """450 checkpoints in 3 threads take 3 queries; an id that no index can hold once led to a scan."""
    saver = make_saver(no_tables)
    call(saver, "setup", run_index=True)
    for thread_id, count_ in (("a", 220), ("b", 10), ("c", 220)):
        items = [_row(thread_id, _id(n), run_id={"S": "run"}) for n in range(count_)]
        _put_all(saver.client, no_tables[0], items)

    with Requests(saver) as requests, suppress(DamagedCheckpointError):
        call(saver, "delete_for_runs", ["", "x" * 3000, "run"])

    assert [p["IndexName"] for _, p in requests.sent if "IndexName" in p] == ["run_id"] * 3
    assert "Scan" not in requests.names


def test_a_run_index_that_may_not_be_queried_names_the_way_out(world: World) -> None:
    """A role without the index's permission is told of use_index=False, which then works."""
    _put(world.saver(), _config("thread"), 1, run_id="run")
    wire = Wire(world, lambda _: "AccessDeniedException")
    error = (
        f"The index 'run_id' of table {world.tables[0]!r} may not be queried with these "
        f"credentials; allow dynamodb:Query on it, or pass use_index=False to scan the table"
    )

    with _raises_exactly(DynamoDBSaverError(error)):
        world.saver(wire.client).delete_for_runs(["run"])
    world.saver().delete_for_runs(["run"], use_index=False)
    assert world.items(0) == []


# -- copy_thread ----------------------------------------------------------------------------------


def test_copy_thread_copies_all_of_it(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """A copy has every namespace's checkpoints and writes, also when the source is gone.

    In it a checkpoint's parent is the copy of its parent. If the metadata have the thread's id, they
    have the copy's; another text stays. The target must be empty.
    """
    saver, target = make_saver(), f"{thread_id}-copy"
    heads = {ns: _config(thread_id, ns=ns) for ns in ("", "sub", "x" * 600)}
    for number, ns in enumerate([*heads] * 3):
        text = {"text": [_words(5000 + number)] * 3}
        config = heads[ns] = _put(saver, heads[ns], number, text)
        if number == 3:
            saver.put_writes(config, [("text", _words(500_000))], "large")
        saver.put_writes(config, [("a", number), (ERROR, "down")], "task", "path")
    told = _told(saver, thread_id)
    _put(saver, _config(thread_id, ns="own"), 10, thread_id=thread_id)
    _put(saver, _config(thread_id, ns="other"), 11, thread_id="else")

    call(saver, "copy_thread", thread_id, target)

    error = f"target_thread_id {target!r} has items already; copy to a thread that has none"
    for _ in range(2):
        copied = _told(make_saver(), target)
        names = [copied.pop((ns, _id(n)))[1] for ns, n in (("own", 10), ("other", 11))]
        assert copied == told
        assert [each["thread_id"] for each in names] == [target, "else"]
        with _raises_exactly(ValueError(error)):
            call(saver, "copy_thread", f"{thread_id} 2", target)
        call(saver, "delete_thread", thread_id)


@pytest.mark.usefixtures("small")
def test_a_copy_that_was_cut_off_begins_anew(world: World) -> None:
    """It equals its source, though that was pruned meanwhile: nothing is left of the first try."""
    filler, config, wire = world.saver(), _config("thread"), Wire(world)
    for number in (1, 2, 3):
        config = _put(filler, config, number, {"x": [_words(90, each) for each in range(number)]})
        filler.put_writes(config, [("x", _words(900, number))], "task")

    for number in wire.at_each(_die, lambda saver: saver.copy_thread("thread", "copy"), 2):
        filler.prune(["thread"], grace_seconds=0)
        if wire.is_reached and number > 5:
            world.saver().copy_thread("thread", "copy")
            assert _told(world.saver(), "copy") == _told(world.saver(), "thread")
            check = world.saver().verify("copy")
            assert (check.damaged, check.orphans, check.items["checkpoint"]) == ([], {}, 1)


@pytest.mark.parametrize("reason", ["deletion", "copy of another"])
def test_copy_thread_names_what_holds_the_target(world: World, reason: str) -> None:
    """A call of another kind or source has to finish first."""
    saver = world.saver()
    _put(saver, _config("thread"), 1)
    _hide(saver, "copy", reason)

    error = (
        f"target_thread_id 'copy' has an unfinished {reason}; repeat that call to finish it first"
    )
    with _raises_exactly(DynamoDBSaverError(error)):
        saver.copy_thread("thread", "copy")


def test_a_copy_that_is_repeated_spares_what_a_graph_put_since(call: Call, world: World) -> None:
    """A cut-off copy shows nothing: its target looks new, and may have been used."""
    _two_alike(world.saver(), "thread")
    wire = Wire(world)
    wire.at(4, _die)
    with suppress(Cut):
        world.saver(wire.client).copy_thread("thread", "copy")
    assert _read(world, _config("copy")) is None
    _put(world.saver(), _config("copy"), 9)

    error = "target_thread_id 'copy' has items already; copy to a thread that has none"
    with _raises_exactly(ValueError(error)):
        call(world.saver(), "copy_thread", "thread", "copy")

    assert _numbers([*world.saver().list(_config("copy"))]) == [9]


def test_a_copy_hides_what_a_prune_hides_meanwhile(world: World) -> None:
    """A checkpoint that was read as shown may have lost the ancestors that it alone needed."""
    _put_deltas(world.saver(), "thread")
    wire = Wire(world)

    for _ in wire.at_each(_prune_by(world), lambda saver: saver.copy_thread("thread", "copy")):
        assert world.saver().verify("copy").damaged == []
        assert _told(world.saver(), "copy").keys() >= _told(world.saver(), "thread").keys()


# -- copy_from ------------------------------------------------------------------------------------
# A copy of a thread shows the same as the saver that it came from, and a graph goes on from either.

Source = BaseCheckpointSaver[Any]


def _sqlite_source(_: Endpoint, stack: ExitStack) -> Any:
    sqlite = pytest.importorskip("langgraph.checkpoint.sqlite")
    return stack.enter_context(sqlite.SqliteSaver.from_conn_string(":memory:"))


def _aws_source(endpoint: Endpoint, stack: ExitStack) -> Any:
    aws = pytest.importorskip("langgraph_checkpoint_aws")
    boto3 = pytest.importorskip("boto3")
    options = {name: value for name, value in endpoint.client_config.items() if name != "config"}
    url, table, keys = options.pop("endpoint_url"), f"source-{uuid4()}", _keyed_by(PK="S", SK="S")
    endpoint.client.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", **keys)
    stack.callback(_drop, endpoint.client, table)
    source = aws.DynamoDBSaver(table, session=boto3.Session(**options), endpoint_url=url)
    stack.callback(source.client.close)
    return source


SOURCES: Final[dict[str, Callable[[Endpoint, ExitStack], Any]]] = {
    "InMemorySaver": lambda *_: InMemorySaver(),
    "SqliteSaver": _sqlite_source,
    "langgraph-checkpoint-aws": _aws_source,
    "DynamoDBSaver": lambda endpoint, stack: stack.enter_context(_lone(endpoint.client)),
}


def _failing(broken: Collection[int], runs: list[int]) -> Builder:
    """Build twelve parallel tasks, of which those that are *broken* fail; each notes its *runs*."""

    def work(state: Tally) -> Any:
        runs.append(state["number"])
        if state["number"] in broken:
            raise RuntimeError("down")
        return {"log": [f"{state['number']}"]}

    builder: Builder = StateGraph(Tally)
    builder.add_node("work", work)
    builder.add_conditional_edges(
        START, lambda _: [Send("work", {"number": number}) for number in range(12)], ["work"]
    )
    return builder


# By name: a graph, what it is given before it is copied, the graph that goes on, what it is given.
LIVES: Final[dict[str, tuple[Builder, list[Any], Builder, list[Any]]]] = {
    "chat": (
        _chat(), [{"messages": [HumanMessage(each, id=each)]} for each in ("one", "two")],
        _chat(), [{"messages": [HumanMessage("three", id="three")]}],
    ),
    "interrupted": (
        _nested(), [{"number": 1}, Command(resume="Ada")],
        _nested(), [Command(resume=36), {"number": 2}],
    ),
    "failed": (_failing({7}, []), [{"log": ["go"]}], _failing((), []), [None]),
    "deltas": (
        _deltas(), [{"log": ["in"]}, {"log": ["in"], "often": ["in"]}],
        _deltas(), [{"log": ["in"]}, {"often": ["in"]}],
    ),
}  # fmt: skip


def _lead(saver: Source, thread_id: Any, builder: Builder, given: Iterable[Any]) -> None:
    """Give a graph one thing after the other, whether it fails or not.

    A channel that waits for several nodes gives out the very set that it adds to in the next
    superstep: with a durability of "async" two savers may store two states of it.
    """
    graph = builder.compile(checkpointer=saver)
    for each in given:
        with suppress(RuntimeError):
            graph.invoke(each, {"configurable": {"thread_id": thread_id}}, durability="sync")


def _history(saver: Source, builder: Builder) -> Any:
    """Return what a graph makes of the checkpoints of "thread"."""
    return _plain([*builder.compile(checkpointer=saver).get_state_history(_config("thread"))])


@pytest.mark.parametrize(
    ("name", "call"), [*((name, _sync) for name in SOURCES), ("InMemorySaver", _async)]
)
@pytest.mark.parametrize("life", LIVES)
def test_copy_from_another_saver_shows_the_same_and_goes_on(
    call: Call, world: World, name: str, life: str
) -> None:
    """Each checkpoint, its parent, its writes in order; and what a graph makes of it later."""
    builder, before, later_builder, after = LIVES[life]
    with ExitStack() as stack:
        source = SOURCES[name](world.endpoint, stack)
        _lead(source, "thread", builder, before)
        graph = builder.compile(checkpointer=source)
        *_, first, _ = graph.get_state_history(_config("thread"))
        graph.update_state(first.config, None, as_node=START)
        _lead(source, "thread", builder, before)

        call(world.saver(), "copy_from", source, ["thread"])

        assert _told(world.saver(), "thread") == _told(source, "thread")
        assert _history(world.saver(), builder) == _history(source, builder)
        if life == "deltas" and name == "langgraph-checkpoint-aws":
            return  # It replays parallel writers in the order of their tasks' ids, not of the run.
        for saver in (world.saver(), source):
            _lead(saver, "thread", later_builder, after)
        assert _history(world.saver(), later_builder) == _history(source, later_builder)


def test_copy_from_copies(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """Without thread_ids, the source's are copied; a call that finds all here changes nothing."""
    source, first, told = InMemorySaver(), f"{thread_id} a", list[Any]()
    for number, name in enumerate([first, 5]):
        _put_deltas(source, name)  # type: ignore[arg-type]
        _put(source, _config(name, ns="sub"), 100 + number)
    copy = partial(call, make_saver(), "copy_from", source, progress=lambda *a: told.append(a))

    report = copy()
    with Requests(make_saver()) as requests:
        again = copy(iter([first]))

    assert report == module.CopyReport(threads=2, copied=22, there_before=0, failed={})
    assert again == (1, 0, 11, {})
    assert (told[0], *told[-2:]) == ((first, 0, 11), ("5", 11, 11), (first, 11, 11))
    for name in (first, "5"):
        assert _told(make_saver(), name) == _told(source, int(name) if name == "5" else name)
    # The last of the thread, the thread, and the newest of each namespace.
    assert requests.names == ["GetItem"] + ["Query"] * 3
    make_saver().delete_thread("5")


def test_copy_from_tells_how_far_it_is_twice_a_second(world: World, monkeypatch: Patch) -> None:
    """Of many checkpoints the first and the last are told, and those between by a steady clock."""
    source, now, told = InMemorySaver(), [0.0], list[tuple[str, int, int]]()
    for name in ("a", "b"):
        _put_deltas(source, name)
    get_tuple = source.get_tuple

    def get_slowly(config: Any) -> Any:
        now[0] += 1 / 8
        return get_tuple(config)

    monkeypatch.setattr(source, "get_tuple", get_slowly)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    spec: Any = importlib.util.spec_from_file_location("clocked", str(module.__file__))
    clocked = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "clocked", clocked)
    spec.loader.exec_module(clocked)

    with clocked.DynamoDBSaver(*world.tables, client=world.plain) as saver:
        saver.copy_from(source, ["a", "b"], progress=lambda *args: told.append(args))

    at_a, at_b = [("a", done, 10) for done in (0, 4, 8)], [("b", done, 10) for done in (2, 6, 10)]
    assert told == at_a + at_b


def test_copy_from_a_source_that_is_async(world: World) -> None:
    """A saver whose sync methods may not be called on its event loop is one to acopy_from()."""
    aio = pytest.importorskip("langgraph.checkpoint.sqlite.aio")
    saver, config = world.saver(), _config("thread")

    async def copy() -> Any:
        async with aio.AsyncSqliteSaver.from_conn_string(":memory:") as source:
            graph = _chat().compile(checkpointer=source)
            await graph.ainvoke({"messages": [HumanMessage("one")]}, config)
            await saver.acopy_from(source)
            return [each async for each in source.alist(config)]

    assert asyncio.run(copy()) == list(saver.list(config))


@pytest.mark.parametrize("life", ["interrupted", "deltas"])
def test_copy_from_goes_on_wherever_it_was_cut_off(world: World, life: str) -> None:
    """Cut off before each of its writes in turn, it ends whole, and puts no checkpoint twice."""
    source, left, puts = InMemorySaver(), [0], Counter[str]()
    builder, before, _, _ = LIVES[life]
    _lead(source, "thread", builder, before)

    def cut(sent: Sent) -> None:
        if sent.operation in ("PutItem", "BatchWriteItem"):
            left[0] -= 1
            if not left[0]:
                raise Cut
            is_one = sent.operation == "PutItem"
            items = [sent.asked["Item"]] if is_one else _put_items(sent.asked)
            puts.update(repr(_key(item)) for item in items)

    wire = Wire(world, cut)
    for _ in range(200):
        wire.is_cut, left[0] = False, 9  # chunks and writes come before their checkpoint
        with suppress(Cut):
            world.saver(wire.client).copy_from(source, ["thread"])
            break

    assert not wire.is_cut
    assert _told(world.saver(), "thread") == _told(source, "thread")
    # The writes of a checkpoint come before it, and again if it did not come.
    twice = [key for key, times in puts.items() if times > 1]
    assert [key for key in twice if "~x" not in key and ":::" not in key] == []


def test_copy_from_adds_news(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """A second call adds new checkpoints, and the writes that the newest has been given since.

    So it does in each namespace: a run that was interrupted in a subgraph goes on, and its writes
    are on the root's checkpoint, which once kept what it had.
    """
    source = InMemorySaver()
    copy = partial(call, make_saver(), "copy_from", source, [thread_id])
    root = _put(source, _config(thread_id), 1, {"text": _words(9000)})
    source.put_writes(root, [(INTERRUPT, "asked")], "task 2", "b")
    _put(source, _config(thread_id, ns="sub"), 2)
    fork = _put(source, root, 3)
    _put(source, _config(thread_id, ns="sub"), 4)
    copy()
    source.put_writes(root, [("log", "said")], "task 2", "b")
    source.put_writes(fork, [("a", 2)], "task 1", "c")
    source.put_writes(fork, [("a", 3), (ERROR, "down")], "task 3", "a")
    assert copy().copied == 0
    ours, theirs = (_told(each, thread_id)["", _id(3)][3] for each in (make_saver(), source))
    assert sorted(ours) == sorted(theirs)
    source.put_writes(fork, [("a", 2), ("b", 4)], "task 1", "c")
    _put(source, root, 5)

    assert copy().copied == 1

    ours, theirs = (_told(each, thread_id) for each in (make_saver(), source))
    assert ours.keys() == theirs.keys()
    for number in (1, 3):
        assert sorted(ours["", _id(number)][3]) == sorted(theirs["", _id(number)][3])


def test_copy_from_leaves_what_went_on_or_was_pruned_here(call: Call, world: World) -> None:
    """A call after the move changes nothing: not a head's new error, not what is gone."""
    source, saver = InMemorySaver(), world.saver()
    head = _put(source, _put(source, _config("thread"), 1), 2)
    source.put_writes(head, [("a", 1), (ERROR, "down")], "task")
    call(saver, "copy_from", source, ["thread"])
    call(saver, "prune", ["thread"])
    for method, *arguments in (
        ("put_writes", head, [(ERROR, "down again")], "task"),
        ("put", head, _checkpoint(3), {}, {}),
    ):
        call(saver, method, *arguments)
        told = _told(saver, "thread")

        call(saver, "copy_from", source, ["thread"])

        assert _told(saver, "thread") == told
    assert len(told) == 2


def test_copy_from_takes_what_a_prune_hides(
    call: Call, lone_saver: DynamoDBSaver, world: World
) -> None:
    """A DeltaChannel's ancestors are not listed: one checkpoint, which is never shown, stands for them.

    A copy that was cut off after this checkpoint is whole in the end, too.
    """
    config = _put_deltas(lone_saver, "thread")
    lone_saver.prune(["thread"])
    asked: Any = {"config": config, "channels": ["delta"]}

    for left in Wire(world).at_each(_die, lambda saver: call(saver, "copy_from", lone_saver)):
        report = call(world.saver(), "copy_from", lone_saver)

        assert (report.threads, report.copied + report.there_before) == (1, 1), left
        copy = world.saver()
        assert [*copy.list(_config("thread"))] == [*lone_saver.list(_config("thread"))]
        histories = (each.get_delta_channel_history(**asked) for each in (copy, lone_saver))
        assert next(histories) == next(histories)
        assert copy.verify("thread").damaged == []
    copy.delete_for_runs(["run-9"])
    assert [*copy.list(_config("thread", ns=None))] == []


def test_copy_from_again_takes_writes_without_a_new_checkpoint(call: Call, world: World) -> None:
    """An interrupted task writes to the checkpoint that was copied; a graph's own writes here stay."""
    source: Any = InMemorySaver()
    saver = world.saver()
    config = _put(source, _config("thread"), 1)
    for value in ("first", "second"):
        source.put_writes(config, [(INTERRUPT, value), (RESUME, [value])], "task")
        call(saver, "copy_from", source)
        assert _read(world).pending_writes == source.get_tuple(config).pending_writes

    saver.put_writes(config, [("x", "here")], "another task", "~path")
    before = _read(world)
    source.put_writes(config, [(INTERRUPT, "third"), ("y", "there")], "task")
    call(saver, "copy_from", source)

    assert _read(world) == before


def test_copy_from_counts_writes_as_the_graph_does(call: Call, world: World) -> None:
    """A task that was resumed twice and runs again, as in a replay, adds nothing to the copy."""
    source: Any = InMemorySaver()
    saver = world.saver()
    config = _put(source, _config("thread"), 1)
    writes = [(RESUME, ["A"]), (RESUME, ["A", "B"]), ("x", "answer"), ("y", 1)]
    source.put_writes(config, writes, "task")
    call(saver, "copy_from", source)

    call(saver, "put_writes", config, writes, "task")

    assert _read(world).pending_writes == source.get_tuple(config).pending_writes


def test_copy_from_takes_a_branch_whose_start_was_pruned_here(call: Call, world: World) -> None:
    """The source goes on from a checkpoint that the copy has no longer."""
    source, saver = InMemorySaver(), world.saver()
    _put_deltas(source, "thread")
    saver.copy_from(source)
    saver.prune(["thread"], grace_seconds=0)
    counters = {"counters_since_delta_snapshot": {"delta": (9, 1)}}
    config = _put(source, _config("thread", 2), 20, **counters)

    call(saver, "copy_from", source)

    asked: Any = {"config": config, "channels": ["delta"]}
    copy = world.saver()
    assert copy.get_delta_channel_history(**asked) == source.get_delta_channel_history(**asked)
    assert copy.verify("thread").damaged == []


def test_copy_from_copies_again_what_has_expired(world: World) -> None:
    """A copy stays stored for a while after it expired; the source still shows the checkpoint."""
    source, saver = InMemorySaver(), world.saver(ttl_seconds=100)
    _put(source, _config("thread"), 1, {"text": _words(9000)})
    reports = [saver.copy_from(source)]
    world.now += 101
    reports.append(world.saver(ttl_seconds=100).copy_from(source))

    assert [report.copied for report in reports] == [1, 1]
    assert _numbers([*world.saver().list(_config("thread"))]) == [1]


TWO_HEADS: Final = "Thread 'thread' has gone on here, with checkpoint {!r}, and in the source, with {!r}; pass thread_ids without it, or copy the thread into other tables"
REFUSED: Final = {
    "went on in both": TWO_HEADS.format(_id(3), _id(2)),
    "other heads": TWO_HEADS.format(_id(3), _id(1)),
    "deletion": "Thread 'thread' has an unfinished deletion; repeat that call to finish it first",
    "lost": f"The source lists checkpoint {_id(1)!r} of thread 'thread', namespace '', and does not return it; if it was deleted or expired since, call copy_from() again",
    "gone": f"Checkpoint {_id(1)!r} of thread 'thread' was copied last and is gone from the source; the copy stays as it is: pass thread_ids without it, or copy the thread into other tables",
    "typo": "The source shows no checkpoint of thread 'typo'; check the id, or leave it out of thread_ids",
}


@pytest.mark.parametrize("case", REFUSED)
def test_copy_from_refuses(call: Call, world: World, monkeypatch: Patch, case: str) -> None:
    """Of two heads one would win in silence, a marker would hide the copy, a hole would be in it."""
    source, saver = InMemorySaver(), world.saver()
    head = _put(source, _config("thread"), 1)
    if case in ("went on in both", "gone"):
        saver.copy_from(source)
    if case == "went on in both":
        _put(source, head, 2)
    elif case == "gone":
        source.delete_thread("thread")
        _put(source, _config("thread"), 2)
    elif case == "lost":
        monkeypatch.setattr(source, "get_tuple", lambda _: None)
    elif case == "deletion":
        _hide(saver, "thread")
    if case in ("went on in both", "other heads"):
        _put(saver, head, 3)
    stored = _both(world)

    with _raises_exactly(DynamoDBSaverError(REFUSED[case])):
        call(saver, "copy_from", source, ["thread", "typo"][: 1 + (case == "typo")])

    if case == "typo":  # the threads before it are copied
        assert _told(saver, "thread") == _told(source, "thread")
    else:
        assert _both(world) == stored


def test_copy_from_puts_parents_first_whatever_their_ids(call: Call, world: World) -> None:
    """Where a clock ran behind, a child's id is smaller; and a parent may be gone for good."""
    source, saver = InMemorySaver(), world.saver()
    for parent, number in ((9, 5), (5, 7), (7, 3), (3, 8), (5, 4), (5, 6)):
        _put(source, _config("thread", parent), number, {"text": _words(9000)})

    with Requests(saver) as requests:
        call(saver, "copy_from", source)

    puts = [params["Item"] for name, params in requests.sent if name == "PutItem"]
    assert [item["checkpoint_id"]["S"] for item in puts] == [*map(_id, (5, 7, 3, 4, 6, 8))]
    assert _told(world.saver(), "thread") == _told(source, "thread")


@pytest.mark.parametrize("migrates", [True, False])
def test_copy_from_keeps_the_sends_of_an_older_format(
    call: Call, world: World, *, migrates: bool
) -> None:
    """Below format 4 some savers show the sends in the parent's writes, and some do not."""
    sends = [Send("node", 1), Send("node", 2)]
    with _lone(world.plain) as ours, InMemorySaver() as memory:
        source: Any = ours if migrates else memory
        parent = _put(source, _config("thread"), 1, {"a": 1})
        source.put_writes(parent, [("a", 2), *((TASKS, each) for each in sends)], "t")
        for number in (2, 3):
            old: Any = _checkpoint(number, {"a": number}) | {"v": 3}
            source.put(_config("thread", number - 1), old, {}, {"a": number})

        call(world.saver(), "copy_from", source, ["thread"])

        copied, told = (_told(each, "thread") for each in (world.saver(), source))
    values = [shown[0]["channel_values"].get(TASKS) for shown in copied.values()]
    assert values == [None, sends if migrates else None, None]
    if not migrates:
        # A version that stands alone has no effect, and says that there are no sends.
        del copied["", _id(2)][0]["channel_versions"][TASKS]
    assert copied == told


def test_copy_from_keeps_any_order_of_writes(world: World, monkeypatch: Patch) -> None:
    """However a saver sorts, its writes come back so, each of a task under an index of its own."""
    source, saver = InMemorySaver(), world.saver()
    channels = st.sampled_from(["x", "y", ERROR, INTERRUPT, RESUME])

    @settings(max_examples=50)
    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), channels),
            max_size=12,
            unique_by=lambda write: write if write[1] in WRITES_IDX_MAP else object(),
        )
    )
    def run(shown: list[tuple[str, str]]) -> None:
        config, writes = _config(uuid4().hex, 1), [(*each, n) for n, each in enumerate(shown)]
        found = CheckpointTuple(config, _checkpoint(1), {}, None, writes)
        monkeypatch.setattr(source, "list", lambda _: [found])
        monkeypatch.setattr(source, "get_tuple", lambda _: found)

        saver.copy_from(source, [_triple(config)[0]])

        assert _read(world, config).pending_writes == writes

    run()


def test_copy_from_holds_one(world: World, monkeypatch: Patch) -> None:
    """Of a thread of any length no more is in memory than what is being copied."""

    class Weighed(dict[str, Any]):
        __hash__ = object.__hash__  # type: ignore[assignment]

    source, config = InMemorySaver(), _config("thread")
    held, most = weakref.WeakSet[Weighed](), [0]
    for number in range(20):
        config = _put(source, config, number)

    def weigh(found: Any) -> Any:
        checkpoint = Weighed(found.checkpoint)
        held.add(checkpoint)
        most[0] = max(most[0], len(held))
        return found._replace(checkpoint=checkpoint)

    get_tuple, list_ = source.get_tuple, source.list
    monkeypatch.setattr(source, "get_tuple", lambda config: weigh(get_tuple(config)))
    monkeypatch.setattr(source, "list", lambda config: map(weigh, list_(config)))

    world.saver().copy_from(source)

    assert len(_told(world.saver(), "thread")) == 20
    assert 1 <= most[0] <= 2


def test_copy_from_starts_a_life_of_its_own(call: Call, world: World) -> None:
    """All is shown for ttl_seconds from the copy on; its writes once expired a lifetime earlier."""
    origin, saver, config = InMemorySaver(), world.saver(ttl_seconds=600), _config("thread")
    for number in (1, 2):
        checkpoint = _checkpoint(number, {"text": _words(9000)}, {"text": 1, "delta": number})
        versions = checkpoint["channel_versions"]
        config = origin.put(config, checkpoint, _counted(number), versions)
        large = [("delta", f"write {number}"), ("text", _words(500_000))]
        origin.put_writes(config, large, "task")
    told = _told(origin, "thread")
    call(saver, "copy_from", origin, ["thread"])

    asked: dict[str, Any] = {"config": config, "channels": ["delta"]}
    for _ in range(12):
        found = world.saver().get_delta_channel_history(**asked)["delta"]["writes"]
        assert [value for *_, value in found] == ["write 1"]
        assert _told(world.saver(), "thread") == told
        world.now += 50
        _sweep(saver, world.now - 1)
    world.now -= 1
    assert _told(world.saver(), "thread") == told
    world.now += 1
    assert _told(world.saver(), "thread") == {}


def test_copy_from_costs_a_run(world: World) -> None:
    """A chat that is copied sends the bytes of its run, in no more requests."""
    given = [{"messages": [HumanMessage(f"{n}", id=f"{n}")]} for n in range(6)]
    with _lone(world.plain) as source:
        with Requests(source) as run:
            _lead(source, "thread", _chat(), given)
        with Requests(source) as requests:
            world.saver().copy_from(source, ["thread"])
        shown = len([*source.list(_config("thread"))])

    ran, copied = (
        each.names.count("PutItem") + each.names.count("BatchWriteItem") for each in (run, requests)
    )
    assert 0.99 * run.bytes_sent < requests.bytes_sent < 1.01 * run.bytes_sent
    assert copied <= ran
    assert requests.names.count("GetItem") == shown  # the source's


# -- prune and prune_preview ----------------------------------------------------------------------


def test_prune_keeps_the_last_of_each_namespace(world: World, call: Call) -> None:
    """As many as are asked for, each with its writes; what would go is counted before.

    Without grace, what the deleted checkpoints and writes had in chunks goes in the same call.
    """
    saver = world.saver()
    for thread, number in itertools.product(("thread", "other"), range(1, 11)):
        config = _config(thread, number - 2 if number > 2 else None, ns=["", "sub"][number % 2])
        stored = _put(saver, config, number, {"x": _words(5000, number)})
        saver.put_writes(stored, [("x", number)], "task")
    saver.put_writes(_config("thread", 2), [("large", _words(900_000))], "other task")
    shown, others = (_told(saver, name) for name in ("thread", "other"))

    preview = call(saver, "prune_preview", "thread", keep_last=3)
    call(saver, "prune", ["thread"], keep_last=3)

    assert (preview.checkpoints, preview.writes) == (4, 5)
    for ns, kept in (("", [10, 8, 6]), ("sub", [9, 7, 5])):
        assert _numbers([*world.saver().list(_config("thread", ns=ns))]) == kept
    assert len(world.items(1, "thread")) == 6
    assert call(saver, "get_tuple", _config("thread", 3, ns="sub")) is None
    assert saver.prune_preview("thread", keep_last=3)[:2] == (0, 0)
    assert saver.prune_preview("thread", strategy="delete")[:2] == (6, 6)
    newest = {key: told for key, told in shown.items() if key[1] > _id(8)}
    for options in ({}, {"strategy": "keep_latest", "grace_seconds": 0}):
        call(saver, "prune", ["thread", "no such thread"], **options)
        assert _told(world.saver(), "thread") == newest
    assert saver.verify("thread").items == {"checkpoint": 2, "write": 2, "chunk": 3}
    for strategy in ("delete", "delete_all"):  # as the Agent Server says it
        saver.put_writes(_put(saver, _config("gone", ns="sub"), 1), [("a", 1)], "task")
        call(saver, "prune", ["gone", "thread"], strategy=strategy)
    assert {_owner(each) for each in _stored(saver)} == {"'other'"}
    assert _told(world.saver(), "other") == others


def test_prune_leaves_a_thread_that_is_being_copied_to(call: Call, world: World) -> None:
    """A prune of all threads may meet the target of a copy, which would lose checkpoints."""
    saver = world.saver()
    _two_alike(saver, "thread")
    for number in (3, 4):
        _put(saver, _config("thread", number - 1), number, run_id="run")
    _hide(saver, "thread", "copy of another")
    before = _both(world)

    call(saver, "prune", ["thread"], grace_seconds=0)

    assert call(saver, "prune_preview", "thread", grace_seconds=0) == (0, 0, 0)
    error = "Thread 'thread' has an unfinished copy of another; repeat that call to finish it first"
    with _raises_exactly(DynamoDBSaverError(error)):
        call(saver, "delete_for_runs", ["run"])
    assert _both(world) == before


@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_process_forgets_chunks_that_a_prune_deleted_at_once(
    world: World, keep_last: int
) -> None:
    """Without a grace period, what is left has a new token, which a graph reads before it goes on."""
    warm, text, config = world.saver(), _words(9000), _config("thread")
    for number, value in enumerate([text, "other", "last"]):
        config = _put(warm, config, number, {"text": value})
        warm.put_writes(config, [("text", _words(9000, 1))], "task")
    world.saver().prune(["thread"], keep_last=keep_last, grace_seconds=0)

    # A fork from an older one reads only that one.
    config = _config("thread", 3 - keep_last)
    assert warm.get_tuple(config) is not None
    _put(warm, config, 4, {"text": text})

    assert _read(world).checkpoint["channel_values"] == {"text": text}
    assert world.saver().verify("thread").damaged == []


def test_a_rollback_after_a_prune_does_not_depend_on_snapshots(call: Call, world: World) -> None:
    """The newest may hold its DeltaChannels' values itself, and need no ancestors."""
    saver = world.saver()
    _put(saver, _put_deltas(saver, "thread"), 10, {"delta": ["whole"]}, run_id="run-10")
    call(saver, "prune", ["thread"], grace_seconds=0)
    assert _numbers(call(saver, "list", _config("thread"))) == [10]

    call(saver, "delete_for_runs", ["run-10"])

    assert _numbers(call(world.saver(), "list", _config("thread"))) == [9]
    assert world.saver().verify("thread").damaged == []


def test_a_process_forgets_chunks_of_what_a_rollback_shows_again(world: World) -> None:
    """A checkpoint that a prune hid has a new token, too."""
    warm, text = world.saver(), _words(9000)
    for number, value in enumerate([text, "other"], 20):
        _put(warm, _config("thread", ns="sub"), number, {"text": value})
    _put_deltas(warm, "thread")
    world.saver().prune(["thread"], grace_seconds=0)
    world.saver().delete_for_runs(["run-9"])

    assert _numbers([*warm.list(_config("thread"))]) == [8]
    assert warm.get_tuple(_config("thread")) is not None
    _put(warm, _config("thread", 8), 30, {"text": text})

    assert world.saver().verify("thread").damaged == []


@pytest.mark.usefixtures("small")
def test_prune_deletes_the_newest_first(world: World) -> None:
    """Wherever it is cut off, the DeltaChannels of what is left have all that they need."""
    saver = world.saver()
    _put(saver, _put_deltas(saver, "thread"), 10, {"delta": ["whole"]})

    with Requests(saver) as requests:
        saver.prune(["thread"], grace_seconds=0)

    batches = [
        [each["DeleteRequest"]["Key"]["checkpoint_id"]["S"] for each in deletes]
        for _, sent in requests.sent
        if (deletes := sent.get("RequestItems", {}).get(world.tables[0]))
        and "DeleteRequest" in deletes[0]
    ]
    ids = [id_ for batch in batches for id_ in batch if id_[0] != "~"]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 10 > max(map(len, batches))


def test_prune_spares_writes_for_an_hour(call: Call, world: World) -> None:
    """Writes without a checkpoint go after an hour, and only if their namespace has gone on.

    A process that was frozen for hours may still store the checkpoint of the newest. A subgraph's
    may be newer still, as it begins meanwhile.
    """
    saver = world.saver()
    _put(saver, _config("thread"), 1)
    _put(saver, _config("thread", ns="sub"), 9)
    for number in (2, 3, 5):
        saver.put_writes(_config("thread", number), [("a", number)], "task")

    for seconds, number, writes in ((3599, 3, 3), (1, 2, None), (9999, 5, 5)):
        world.now += seconds
        call(saver, "prune", ["thread"])
        _put(saver, _config("thread", 1), number)
        found = call(saver, "get_tuple", _config("thread", number)).pending_writes
        assert found == [("task", "a", writes)] * bool(writes), number


def test_prune_that_takes_hours_spares_what_is_stored_meanwhile(world: World) -> None:
    """A chunk that a put stores again after a slow listing stays; it once was deleted."""
    other = world.saver()
    first = _put(other, _config("thread"), 1, {"x": _words(5000)})
    second = _put(other, first, 2, {"x": "small"})
    other.prune(["thread"])
    world.now += 2 * GRACE

    def list_for_hours(sent: Sent) -> Any:
        if {"S": "~t"} not in sent.asked.get("ExpressionAttributeValues", {}).values():
            return None
        answer = sent.carry_out()
        _put(other, second, 3, {"x": _words(5000)})
        world.now += 2 * GRACE
        return answer

    world.saver(Wire(world, list_for_hours).client).prune(["thread"])

    assert world.saver().verify("thread").damaged == []
    assert _value_of(_read(world)) == _words(5000)


def test_prune_hides_what_deltas_need_and_a_rollback_shows_it(call: Call, world: World) -> None:
    """The kept checkpoint's ancestors stay, back to the snapshot; the next is shown if it goes."""
    saver = world.saver()
    wanted: dict[str, Any] = {"config": _put_deltas(saver, "thread"), "channels": ["delta"]}
    history, before = saver.get_delta_channel_history(**wanted), _read(world, _config("thread", 8))

    call(saver, "prune", ["thread"], grace_seconds=0)

    assert _numbers(call(world.saver(), "list", _config("thread"))) == [9]
    assert call(world.saver(), "get_delta_channel_history", **wanted) == history
    assert world.saver().verify("thread").damaged == []

    call(saver, "delete_for_runs", ["run-9"])

    assert _numbers(call(world.saver(), "list", _config("thread"))) == [8]
    assert _read(world) == before
    assert world.saver().verify("thread").damaged == []


def test_prune_spares_items_of_kinds_to_come(world: World) -> None:
    """An item that a newer version may have put between pruned items and chunks stays."""
    _put(world.saver(), _config("thread"), 1)
    stranger = _row("thread", "~q1", stored_at={"N": "1"})
    _put_item(world.saver(), stranger)

    world.saver().prune(["thread"], grace_seconds=0)

    assert stranger in world.items(0)


def test_prune_keeps_the_sends_of_an_old_checkpoint(world: World) -> None:
    """The pending sends of a format before 4 are writes of the parent: that stays with its child."""
    saver, config = world.saver(), _config("thread")
    for number in (1, 2, 3):
        checkpoint: Any = _checkpoint(number, {"a": 1}) | {"v": 3}
        config = saver.put(config, checkpoint, {"run_id": f"run {number}"}, {"a": number})
        saver.put_writes(config, [(TASKS, f"send {number}")], "task")
    found = _read(world)
    assert found.checkpoint["channel_values"] == {"a": 1, TASKS: ["send 2"]}

    saver.delete_for_runs(["run 1"], force=True)
    with pytest.raises(DynamoDBSaverError, match="pending sends"):
        saver.delete_for_runs(["run 2"])

    assert _numbers([*world.saver().list(_config("thread"))]) == [3, 2]
    saver.prune(["thread"])
    assert [*world.saver().list(_config("thread"))] == [found]


def test_prune_deletes_the_subgraphs_of_layout_0(world: World) -> None:
    """They stand among the root's, with no prefix: once another key was deleted in their place."""
    saver = world.saver()
    for number, ns in ((1, ""), (2, "sub"), (3, "sub")):
        _put_item(saver, _old_item(saver, "thread", number, ns, run_id="run"))

    saver.prune(["thread"])
    assert [item["checkpoint_id"]["S"] for item in world.items(0)] == [_id(1), _id(3)]
    saver.delete_for_runs(["run"], use_index=False)

    assert world.items(0) == []


# -- set_ttl --------------------------------------------------------------------------------------


def _fill_with_times(saver: DynamoDBSaver) -> None:
    """Store checkpoints of a root and a subgraph, with chunks and writes, and writes without one."""
    config: Any = _config("thread")
    for number in (1, 2, 3):
        config = _put(saver, config, number, {"x": [_words(900, each) for each in range(8)]})
        saver.put_writes(config, [("x", _words(9000, number))], "task")
    _put(saver, _config("thread", ns="sub"), 9, {"y": _words(5000)})
    # It once had its own time, and its chunks the thread's.
    saver.put_writes(_config("thread", 10, ns="sub"), [("y", _words(9000))], "early")


@pytest.mark.usefixtures("serde")
@pytest.mark.parametrize(
    ("before", "after"), [(None, 1000), (100, 5000), (50_000, 60), (1000, None), (None, None)]
)
def test_set_ttl_is_of_all(world: World, call: Call, before: int | None, after: int | None) -> None:
    """Pinned, prolonged, shortened or set free: it is shown for that time from now, and whole."""
    saver = world.saver(ttl_seconds=before)
    _fill_with_times(saver)
    shown = _told(world.saver(), "thread")
    world.now += 10

    call(saver, "set_ttl", ["thread", "no such thread"], after)

    assert _told(world.saver(), "thread") == shown
    check = world.saver().verify("thread")
    assert (check.damaged, check.is_pinned) == ([], after is None)
    assert check.shown_until == (after and world.now + after)
    _audit(world)
    world.now += 10**7 if after is None else after - 1
    _sweep(saver, world.now)
    assert _told(world.saver(), "thread") == shown
    if after is not None:
        world.now += 1
        assert _told(world.saver(), "thread") == {}
        world.now += 2 * after + 3 * GRACE
        _sweep(saver, world.now)
        assert _both(world) == [[], []]  # DynamoDB frees all, without another call


@pytest.mark.parametrize("ttl_seconds", [None, 60, 9000])
def test_set_ttl_shows_nothing_that_a_prune_hides_meanwhile(
    world: World, ttl_seconds: int | None
) -> None:
    """A prune of all threads may come between any two of its requests."""
    _put_deltas(world.saver(ttl_seconds=600), "thread")
    wire = Wire(world)

    for _ in wire.at_each(_prune_by(world), lambda saver: saver.set_ttl(["thread"], ttl_seconds)):
        assert world.saver().verify("thread").damaged == []
        if wire.is_reached:
            assert _numbers([*world.saver().list(_config("thread"))]) == [9]


@_short_and_long("every", 6, 2)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("before", "after"), [(None, 1000), (100, 5000), (50_000, 60)])
def test_set_ttl_cut_off_shows_no_past(world: World, every: int, before: Any, after: int) -> None:
    """Wherever it is cut off, the newest is shown longest; called again it finishes."""
    _put_deltas(world.saver(ttl_seconds=before), "thread")
    start, wire = world.now, Wire(world)

    for number in wire.at_each(_die, lambda saver: saver.set_ttl(["thread"], after), every):
        told = f"cut off before request {number}"
        for seconds in (0, 59, 61, 99, 101, 999, 1001, 4999, 5001):
            world.now = start + seconds
            if newest := _read(world):
                wanted: Any = {"config": newest.config, "channels": ["delta"]}
                assert newest.checkpoint["id"] == _id(9), (told, seconds)
                found = world.saver().get_delta_channel_history(**wanted)["delta"]
                assert found["writes"], (told, seconds)
        world.now = start
        world.saver().set_ttl(["thread"], after)
        assert world.saver().verify("thread").damaged == []


def test_set_ttl_refuses_an_unfinished_deletion(world: World) -> None:
    """The marker of a deletion that was cut off stands in its way."""
    _put(world.saver(), _config("thread"), 1)
    _hide(world.saver(), "thread")

    with pytest.raises(DynamoDBSaverError, match="unfinished deletion"):
        world.saver().set_ttl(["thread"], 1000)


# -- get_delta_channel_history --------------------------------------------------------------------


def test_delta_channel_history_is_as_in_memory(call: Call, world: World) -> None:
    """The newest snapshot of the ancestors and the writes since, oldest first, by channel."""
    memory = InMemorySaver()
    for each in (memory, world.saver()):
        _put_deltas(each, "thread")

    for number in (None, 9, 6, 3, 1, 0):
        for channels in (["delta", "snapshot", "none"], []):
            asked: Any = {"config": _config("thread", number), "channels": channels}
            found = call(world.saver(), "get_delta_channel_history", **asked)
            assert found == memory.get_delta_channel_history(**asked)


def test_delta_cut_is_told(call: Call, world: World) -> None:
    """Where an ancestor is missing the channel is not rebuilt without it, and verify tells of it."""
    config = _put_deltas(world.saver(), "thread")
    assert world.saver().verify("thread").damaged == []
    _delete_item(world.saver(), _row("thread", _id(5)))

    with pytest.raises(DamagedCheckpointError) as raised:
        call(world.saver(), "get_delta_channel_history", config=config, channels=["delta"])

    error, table = raised.value, world.tables[0]
    assert str(error) == (
        f"An ancestor of checkpoint {_id(6)!r}, from which its DeltaChannels are rebuilt, is "
        f"missing; it expired, or was pruned, or deleted with its run: thread 'thread', "
        f"namespace '', checkpoint {_id(5)!r}, table {table!r}; restore the table's "
        f"items from a backup, or go on from an earlier checkpoint"
    )
    where = (error.thread_id, error.checkpoint_ns, error.checkpoint_id, error.table_name)
    assert where == ("thread", "", _id(5), table)
    damaged = world.saver().verify("thread").damaged
    for number, message in zip(range(6, 10), damaged, strict=True):
        assert message.startswith("An ancestor from which a DeltaChannel is rebuilt is missing: ")
        assert f"checkpoint {_id(number)!r}" in message


class _LateDelta(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    files: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=50)]


@pytest.mark.parametrize("offset", [0, 30, 60, 90])
def test_delta_channel_may_be_first_written_later(world: World, offset: int) -> None:
    """It is rebuilt from the writes of the last ancestor that has no version of it."""

    def node(state: _LateDelta) -> Any:
        return {"log": ["a"], **({"files": ["f"]} if len(state["log"]) > 2 else {})}

    builder, config = _in_a_row(_LateDelta, n=node), _config("thread")
    memory = builder.compile(checkpointer=InMemorySaver())
    world.now += offset
    for gap in (0, 60, 60, 60, 60, 60):
        world.now += gap
        _sweep(world.saver(), world.now)
        graph = builder.compile(checkpointer=world.saver(ttl_seconds=100))
        for each in (graph, memory):
            each.invoke({"log": ["i"]}, config)
        assert graph.get_state(config).values == memory.get_state(config).values
        world.saver().prune(["thread"])
        assert world.saver().verify("thread").damaged == []


class _ManyDeltas(TypedDict, total=False):
    one: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=2)]
    two: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=3)]
    three: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=5)]
    number: int


_STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from(["one", "two", "three", "number"])),
        st.tuples(st.just("fork"), st.integers(0, 5)),
        st.tuples(st.just("prune"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["rollback", "restart"]), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([5, 40, 110])),
        st.tuples(st.just("sweep"), st.integers(0, 1000)),
    ),
    min_size=4,
    max_size=14,
)


@_short_and_long("examples", 6, 200)
@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_delta_channels_are_whole_if_shown(  # noqa: C901  a history's steps
    world: World, durability: Any, examples: int
) -> None:
    """After any prune, expiry, fork or rollback, each checkpoint that is listed has its values.

    A thread is used before its time ends, or is gone whole.
    """
    thread: Any = {"configurable": {"thread_id": "thread"}}

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(_STEPS, st.sampled_from([None, 100]))
    def run(steps: list[tuple[str, Any]], ttl_seconds: int | None) -> None:  # noqa: C901
        world.renew()
        dice, expected, runs = random.Random(1), dict[str, Any](), list[str]()
        saver = world.saver(ttl_seconds=ttl_seconds)

        def node(state: _ManyDeltas) -> Any:
            name = dice.choice(["one", "two", "three"])
            known: Any = state.get(name) or ()
            return {"number": state.get("number", 0) + 1, name: [f"{len(known)}"]}

        builder = _in_a_row(_ManyDeltas, first=node, second=node)
        for kind, value in [("turn", "one"), *steps]:
            graph = builder.compile(checkpointer=saver)
            if kind in ("turn", "fork"):
                config, past = thread, [*graph.get_state_history(thread)]
                if kind == "fork" and past:
                    config = past[value % len(past)].config
                runs.append(f"run {len(runs)}")
                tagged: Any = {**config, "metadata": {"run_id": runs[-1]}}
                is_plain = kind == "fork" or value == "number"
                given_: Any = {"number": 0} if is_plain else {value: ["in"]}
                graph.invoke(given_, tagged, durability=durability)
                for each in graph.get_state_history(thread):
                    at = each.config["configurable"]["checkpoint_id"]
                    assert expected.setdefault(at, each.values) == each.values
                world.now += 1
            elif kind == "prune":
                saver.prune(["thread"], keep_last=value)
            elif kind == "rollback" and runs:
                with suppress(DynamoDBSaverError):
                    saver.delete_for_runs([runs.pop()], use_index=False)
            elif kind == "wait":
                world.now += value
            elif kind == "sweep":  # DynamoDB deletes what has expired in any order
                lots = random.Random(value)
                for item in _stored(saver):
                    if (
                        int(item.get("ttl", {"N": "9" * 11})["N"]) <= world.now
                        and lots.random() < 0.5
                    ):
                        _delete_item(saver, item)
            elif kind == "restart":
                saver = world.saver(ttl_seconds=ttl_seconds)
            for each in graph.get_state_history(thread):
                assert each.values == expected[each.config["configurable"]["checkpoint_id"]]
            assert world.saver().verify("thread").damaged == []

    run()


def test_delta_channel_history_costs_two(call: Call, world: World) -> None:
    """Of a chain of twelve in which two updated the channel: a page, and a query of writes."""
    saver, config, updates = world.saver(), _config("thread"), 0
    for number in range(12):
        updates += number in (4, 9)
        checkpoint = _checkpoint(number, {"other": number} | ({} if number else {"delta": []}))
        checkpoint["channel_versions"]["delta"] = 1 + updates
        checkpoint["updated_channels"] = ["delta" if number in (4, 9) else "other"]
        counters: Any = {"counters_since_delta_snapshot": {"delta": (updates, number)}}
        config = saver.put(config, checkpoint, counters, checkpoint["channel_versions"])
        saver.put_writes(config, [("delta" if number in (3, 8) else "other", number)], "task")

    asked = {"config": config, "channels": ["delta"]}
    with Requests(saver, DELAY) as requests:
        found = call(saver, "get_delta_channel_history", **asked)

    assert found == {"delta": {"seed": [], "writes": [("task", "delta", 3), ("task", "delta", 8)]}}
    assert (requests.names, requests.waves) == (["Query"] * 2, 2)
    values = requests.sent[1][1]["ExpressionAttributeValues"]
    assert [values[each]["S"] for each in (":l", ":u")] == [f"{_id(3)}:::", f"{_id(8)}::;"]


# -- threads, has_thread, history, stats and verify -----------------------------------------------


@pytest.fixture
def thread(saver: DynamoDBSaver, thread_id: str) -> str:
    """Name a thread of two checkpoints that share chunks, each with a write."""
    _two_alike(saver, thread_id)
    return thread_id


def test_questions_are_answered(call: Call, lone_saver: DynamoDBSaver, thread_id: str) -> None:
    """Both forms answer the same; a thread that is not there has nothing."""
    ask = partial(call, lone_saver)
    _put(lone_saver, _put(lone_saver, _config(thread_id), 1), 2)

    assert ask("threads") == [thread_id]
    assert [ask("has_thread", each) for each in (thread_id, "no")] == [True, False]
    assert [each.checkpoint_id for each in ask("history", thread_id)] == [_id(2), _id(1)]
    assert ask("stats", thread_id).total["items"] == 2
    assert ask("stats", "no").total == {"items": 0, "bytes": 0, "write_units": 0}
    assert ask("verify", thread_id).items == {"checkpoint": 2}


@pytest.mark.parametrize(("threads", "length", "most", "read"), [(200, 5, 10, 1000), (20, 60, 21, 20 * 16)])  # fmt: skip
def test_threads_reads_short_threads_together_and_long_ones_by_their_start(
    world: World, threads: int, length: int, most: int, read: int
) -> None:
    """Of 200 threads of five items few requests, of 20 threads of 60 only 16 items each are read."""
    saver, thread_ids = world.saver(), [*map(str, range(threads))]
    prefixes = ("", "~c3:sub:")  # a thread may have a subgraph alone
    _put_all(world.plain, world.tables[0], [
        _row(thread_id, prefixes[int(thread_id) % 2] + _id(number))
        for thread_id, number in itertools.product(thread_ids, range(length))
    ])  # fmt: skip

    with Requests(saver) as requests:
        found = list(saver.threads())

    assert sorted(found) == sorted(thread_ids)
    assert len(requests.sent) <= most
    assert requests.items_read <= read


def test_history_is_that_of_the_graph(saver: DynamoDBSaver, thread_id: str) -> None:
    """It names the checkpoints and the nodes that come next as the graph itself does."""
    graph, config = _graph_of_all_edges(saver), _config(thread_id)
    for _ in range(2):
        graph.invoke({"log": [USERS_WORDS]}, config)

    shown = [*saver.history(thread_id, checkpoint_ns="")]
    everything = [(each.checkpoint_ns, each.checkpoint_id) for each in saver.history(thread_id)]

    found = [(each.checkpoint_id, each.step, each.source, each.next) for each in shown]
    assert found == [
        (_triple(each.config)[2], each.metadata["step"], each.metadata["source"], sorted({*each.next}))
        for each in graph.get_state_history(config)
    ]  # fmt: skip
    nodes = {"__start__", "a", "b+", "joined", "sent", "child", "last"}
    assert {node for each in shown for node in each.next} == nodes
    listed = saver.list({"configurable": {"thread_id": thread_id}})
    assert everything == [_triple(each.config)[1:] for each in listed]
    assert len(everything) > len(shown)


@pytest.mark.parametrize("attributes", [
    {},
    {"idx": {"NS": ["0", "1", "10", "11"]}},
    {"idx": {"NS": ["-3"]}, "task_path": {"S": "é"}},
    {"stored_at": {"N": "1795000001"}, "ttl": {"N": "1800000000"}},
    {"hash_keys": {"SS": ["one", "éin"]}},
])  # fmt: skip
def test_stats_count_the_bytes_that_dynamodb_bills(
    endpoint: Endpoint, saver: DynamoDBSaver, thread_id: str, attributes: Item
) -> None:
    """An item of 1,024 bytes takes a write unit, and one of 1,025 takes two."""
    if "counts no units" in endpoint.quirks:
        pytest.skip("the server counts no units")
    _put_item(saver, _row(thread_id, "~e", **attributes, blob={"B": b""}))
    base, units = saver.stats(thread_id).total["bytes"], []
    for size in (1024, 1025):
        answer = saver.client.put_item(
            TableName=saver.checkpoints_table_name,
            Item=_row(thread_id, "~e", **attributes, blob={"B": b"x" * (size - base)}),
            ReturnConsumedCapacity="TOTAL",
        )
        units.append(answer["ConsumedCapacity"]["CapacityUnits"])
        total = saver.stats(thread_id).total
        assert (total["bytes"], total["write_units"]) == (size, units[-1])

    assert units == [1, 2]


def test_stats_measure_a_thread(endpoint: Endpoint, saver: DynamoDBSaver, thread: str) -> None:
    """The figures are those of the items, and a chunk counts each time it is referred to."""
    units, stored = 0, _items_of(saver, thread)
    for item in stored:
        table = _tables_of(saver)["task_id_idx" in item]
        put = {"TableName": table, "Item": item, "ReturnConsumedCapacity": "TOTAL"}
        answer = saver.client.put_item(**put)
        units += answer["ConsumedCapacity"]["CapacityUnits"]

    found = saver.stats(thread)

    chunks = sum(map(_is_chunk, stored))
    counts = {kind: each["items"] for kind, each in found.kinds.items()}
    assert counts == {"checkpoint": 2, "write": 2, "chunk": chunks}
    for name in ("items", "bytes", "write_units"):
        assert found.total[name] == sum(each[name] for each in found.kinds.values())
    assert "counts no units" in endpoint.quirks or found.total["write_units"] == units
    assert found.chunk_references == 2 * chunks
    assert found.unshared_chunk_bytes == 2 * found.kinds["chunk"]["bytes"]
    assert found.unreadable == 0
    assert found.write_units_per_checkpoint == found.total["write_units"] / 2
    assert found.bytes_per_checkpoint == round(found.total["bytes"] / 2)


def test_verify_finds_all_well(saver: DynamoDBSaver, make_saver: MakeSaver, thread_id: str) -> None:
    """A graph's thread is whole: alone, copied, pruned, with expired items and unknown ones."""
    graph, config = _graph_of_all_edges(saver), _config(thread_id)
    names = [thread_id, *(f"{thread_id} {number}" for number in (2, 3, 4))]
    graph.invoke({"log": [USERS_WORDS]}, config)
    saver.copy_thread(thread_id, names[1])
    graph.invoke({"log": [USERS_WORDS]}, config)
    saver.prune([thread_id], grace_seconds=0)
    _two_alike(make_saver(ttl_seconds=60, clock=lambda: 1e9), names[2])
    _two_alike(saver, names[3])
    unknown: Item = {"checkpoint_ns": {"S": ""}, "count": {"N": "1"}, "is_new": {"BOOL": True}}
    for range_key in ("~e", "~z"):
        _put_item(saver, _row(names[3], range_key, **unknown))
    chunks = len(_items_of(saver, names[3], "~x"))

    found = [saver.verify(each) for each in names]

    assert [(each.damaged, each.orphans) for each in found] == [([], {})] * 4
    assert found[1].items["checkpoint"] > 5
    assert found[2].items == {"expired": 4 + chunks}
    assert found[3].items == {"checkpoint": 2, "other": 2, "write": 2, "chunk": chunks}


@ONE_SERVER
@pytest.mark.parametrize(("prefix", "is_lost", "message"), [
    ("~x", True, "Chunk {!r} is missing: "),
    ("~x", False, "Chunk {!r} "),
    ("1", False, "An item's bytes are not what was stored"),
    ("write", False, "An item's bytes are not what was stored"),
])  # fmt: skip
def test_verify_tells_of_one_item_that_is_lost_or_changed(
    saver: DynamoDBSaver, thread: str, prefix: str, message: str, *, is_lost: bool
) -> None:
    """A chunk that is gone, or one byte that is not what was stored, is told once, and no byte."""
    item = _items_of(saver, thread, prefix)[0]
    if is_lost:
        _delete_item(saver, item)
    else:
        blob = item["blob"]["B"]
        _put_item(saver, item | {"blob": {"B": blob[:-1] + bytes([blob[-1] ^ 1])}})

    found = saver.verify(thread)

    (told,) = found.damaged
    assert told.startswith((message.format(_key(item)[1]), "Compressed bytes are damaged"))
    assert f"thread {thread!r}, namespace ''" in told
    assert f"table {_tables_of(saver)[prefix == 'write']!r}" in told
    assert found.orphans == {}


def test_verify_reads_content_that_is_in_chunks(world: World) -> None:
    """A chunk of a large manifest, or of large writes, that expired too early is missing."""
    saver, large = world.saver(), [random.randbytes(500_000) for _ in range(2)]
    config = _put(saver, _config("thread"), 1, large=large[0])
    saver.put_writes(config, [(ERROR, large[1])], "task")
    saver.put_writes(config, [("text", random.randbytes(7000))], "task")
    assert saver.verify("thread").damaged == []
    chunks = [*filter(_is_chunk, world.items(0))]
    assert len(chunks) > 4

    for chunk in chunks[::8]:
        _put_item(saver, chunk | {"ttl": {"N": "1"}})
        told = {each.partition(":")[0] for each in saver.verify("thread").damaged}
        _put_item(saver, chunk)

        assert f"Chunk {chunk['checkpoint_id']['S']!r} is missing" in told


def test_verify_knows_undecodable_from_missing(world: World) -> None:
    """Where the key of a thread was changed, what the old part holds is not known."""
    before, after = (world.saver(serde=_aes(each * 32)) for each in (b"k", b"n"))
    _put(before, _config("thread"), 1, {"delta": ["seed"]})
    (first,) = world.items(0)
    _delete_item(before, first)  # a put would refuse to follow it
    _put(after, _config("thread"), 1, {"delta": ["seed"]})
    versions: Any = {"delta": 1}
    after.put(_config("thread", 1), _checkpoint(2, {}, versions), _counted(1), versions)
    _put_item(before, first)

    found = after.verify("thread")

    assert (found.damaged, len(found.undecodable)) == ([], 1)


@ONE_SERVER
def test_verify_lists_orphans(saver: DynamoDBSaver, thread: str) -> None:
    """Items that nothing needs are listed, and are not damage."""
    unused = "~x" + "0" * 32
    _put_item(saver, _row(thread, unused, blob={"B": b"\0bytes"}))
    saver.put_writes(_config(thread, 9, ns="sub"), [("text", 1)], "task")
    (two,) = _items_of(saver, thread, _id(2))
    child = saver.put(_config(thread, 2), _checkpoint(3), {}, {})
    _delete_item(saver, two)
    _hide(saver, thread)

    found = saver.verify(thread)

    assert child == _config(thread, 3)
    assert found.orphans == {
        "}": "marker of an unfinished deletion",
        f"~c3:sub:{_id(9)}:::task:::0": "write whose checkpoint is missing",
        f"{_id(2)}:::task:::0": "write whose checkpoint is missing",
        unused: "chunk that nothing intact refers to",
    }
    assert (found.damaged, found.unfinished) == ([], "deletion")


def test_questions_cost_queries(world: World) -> None:
    """Of 40 checkpoints, history reads two pages, stats and verify checkpoints, writes, chunks."""
    saver, config = world.saver(), _config("thread")
    for number in range(1, 41):
        config = _put(saver, config, number, {"text": _words(2000, number)})

    for method, queries in (("history", 3), ("stats", 3), ("verify", 3), ("has_thread", 1)):
        assert _cost(_sync, world.saver(), method, "thread")[0] == ["Query"] * queries
    with Requests(saver) as requests:
        first = next(saver.history("thread", checkpoint_ns=""))

    assert (first.checkpoint_id, requests.names, requests.items_read) == (_id(40), ["Query"], 16)


# -- Chunks ---------------------------------------------------------------------------------------
# The pure chunker. Private names stand here and under Format alone.

ANY_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.binary(max_size=300) | st.text(max_size=300) | st.datetimes() | st.uuids(),
    lambda inner: st.lists(inner, max_size=20)
    | st.dictionaries(st.text(max_size=40), inner, max_size=20)
    | st.sets(st.integers(-(2**63), 2**63), max_size=5),
    max_leaves=60,
)  # fmt: skip
_KEY: Final = module._CheckpointKey("t", "", "1")


def _cut(type_: str, data: bytes, **options: bool) -> list[bytes]:
    """Return the chunks of a value; its parts are its bytes again, and no chunk is too large."""
    parts = module._cut(type_, data, **options)
    assert b"".join(part for part, _ in parts) == data
    chunks = [part for part, is_chunk in parts if is_chunk]
    assert max(map(len, chunks), default=0) <= module._MAX_CHUNK_BYTES
    return chunks


@pytest.fixture(params=["small", "usual"])
def limits(request: pytest.FixtureRequest) -> str:
    """Set the module's limits, one time after the other."""
    if request.param == "small":
        request.getfixturevalue("small")
    return str(request.param)


@settings(max_examples=150)
@given(ANY_VALUES, st.booleans())
@pytest.mark.usefixtures("limits")
def test_chunks_join_to_the_value(value: Any, is_content: bool) -> None:  # noqa: FBT001
    """The parts of any value, joined, are its serialized bytes again, as a value and as content."""
    _cut(*CODEC.dumps(value), is_content=is_content)


def _index_of(*values: Any) -> Any:
    """Make an index that knows the chunks of values, one after the other."""
    index = module._ChunkIndex()
    for value in values:
        draft = index.draft(_KEY, CODEC, None, 0.0)
        draft.recipe(*CODEC.dumps(value))
        index.remember(draft.chunks)
    return index


@pytest.mark.usefixtures("limits")
@settings(max_examples=100)
@given(st.data())
def test_equal_content_gives_equal_chunks_whatever_was_before(data: st.DataObject) -> None:
    """With any index, in any order, after any edits: each part of a value is the same again.

    A chunk that an index knows may stand for the first chunk of a list, never for other cuts.
    """
    messages = _messages(40)
    numbers = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=120))
    values: list[Any] = [[messages[number] for number in numbers]]
    for _ in range(data.draw(st.integers(0, 3))):
        value = list(values[-1])
        at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(value))] * 2)))
        value[at:end] = [messages[n] for n in data.draw(st.lists(st.integers(0, 39), max_size=3))]
        values.append(value)
    values.append(data.draw(ANY_VALUES))
    index = _index_of(*data.draw(st.permutations(values)))

    for type_, bytes_ in map(CODEC.dumps, values):
        parts = []
        for each in (index, _index_of()):
            draft = each.draft(_KEY, CODEC, None, 0.0)
            recipe = draft.recipe(type_, bytes_)
            assert recipe.join(draft.chunks, 10**9, ("", "")) == bytes_
            parts.append([p if isinstance(p, bytes) else p.ids[1:] for p in recipe.parts])
        assert parts[0] == parts[1]


@given(ANY_VALUES)
def test_a_walk_ends_where_the_msgpack_object_ends(value: Any) -> None:
    """The walk over an object that ormsgpack wrote ends at its end, whatever follows."""
    data = ormsgpack.packb(value, default=str, option=ormsgpack.OPT_NON_STR_KEYS)

    walk = module._Walk(data + b"\xc1more", is_content=False)

    assert (walk._end(0, 10**9), walk._end(0, len(data) - 1)) == (len(data), 0)
    assert module._Walk(data + b"\xc1more", is_content=True).open(0) == len(data)


class Page(BaseModel):
    """A model of a user's, with a list in it."""

    title: str
    messages: list[Any]


@dataclass
class Sheet:
    """A dataclass of a user's."""

    messages: list[Any]


# The places in a state where a list of messages may stand.
PLACES: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "list": list,
    "snapshot": _DeltaSnapshot,
    "dict": lambda value: {"messages": value, "manual": _words(60_000), "turn": len(value)},
    "nested": lambda value: {"a": {"b": [{"c": value}, {"size": len(value)}]}, "z": 1},
    "model": lambda value: Page(title=f"{len(value)} messages", messages=value),
    "dataclass": lambda value: {"state": Sheet(value)},
}


EDITS: Final[dict[str, tuple[Callable[[list[Any]], list[Any]], int]]] = {
    "append": (lambda value: value + _messages(1, 7000), 2),
    "trim": (lambda value: value[1:], 7),
    "slide": (lambda value: value[150:] + _messages(2, 7000), 7),
    "edit": (lambda value: value[:200] + _messages(1, 8000) + value[201:], 7),
    "insert": (lambda value: value[:200] + _messages(1, 8000) + value[200:], 7),
    "delete": (lambda value: value[:200] + value[201:], 7),
    "prepend": (lambda value: _messages(1, 9000) + value, 7),
    "repeat": (lambda value: value + value, 7),
    "cut off": (lambda value: value[:-50], 7),
}


def _check_edit(before: Any, after: Any, most: int) -> None:
    """Check that few chunks are new, and that all is in chunks."""
    type_, data = CODEC.dumps(after)
    known, found = _cut(*CODEC.dumps(before)), _cut(type_, data)

    assert len(known) > 10
    assert len({*found} - {*known}) <= most
    assert len(data) - sum(map(len, found)) <= 4096


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("place", PLACES)
def test_chunks_survive_a_change_elsewhere(place: str, edit: str, monkeypatch: Patch) -> None:
    """A list that changes in one place has few new chunks, wherever in the state it is."""
    # Pydantic makes twenty small objects of a message, too many for a walk over 800 messages.
    monkeypatch.setattr(module, "_MAX_SMALL_OBJECTS", 20_000)
    value, (change, most), wrap = _messages(400), EDITS[edit], PLACES[place]

    _check_edit(wrap(value), wrap(change(value)), most)


@pytest.mark.parametrize("edit", [each for each in EDITS if each not in ("slide", "repeat")])
def test_chunks_survive_a_change_of_very_many_small_objects(edit: str) -> None:
    """A list is cut as text from the object on where the walk over it ends; so few are new, too."""
    value, (change, most), wrap = _messages(1000), EDITS[edit], PLACES["model"]

    _check_edit(wrap(value), wrap(change(value)), most)


def test_chunks_of_a_dict_survive_a_change_elsewhere() -> None:
    """A dict of which one entry changes has few new chunks."""
    value = {f"key {index}": message for index, message in enumerate(_messages(400))}

    _check_edit(value, value | {"key 100": "changed"}, 3)


def _tree(random_: random.Random, depth: int) -> Any:
    """Return a value with texts of up to 3 KB at the bottom."""
    if depth == 0:
        return _words(random_.randrange(3000), random_.randrange(10**6))
    inner = {f"key {n}": _tree(random_, depth - 1) for n in range(random_.randrange(1, 8))}
    return inner if random_.random() < 0.5 else list(inner.values())


@settings(max_examples=150)
@given(
    st.randoms(use_true_random=False), st.integers(1, 3), st.integers(0, 2),
    st.sampled_from(["replace", "insert", "delete"]),
)  # fmt: skip
def test_chunks_survive_in_trees(random_: random.Random, depth: int, level: int, kind: str) -> None:
    """All but a bounded number of a nested value's chunks stay, wherever it changes.

    At each level that is opened, chunks may be cut anew until the first that is the same again.
    """
    value = _tree(random_, depth)
    changed = copy.deepcopy(value)
    inner: Any = changed
    for _ in range(level):
        inside = inner if isinstance(inner, list) else inner.values()
        containers = [each for each in inside if isinstance(each, (dict, list))]
        inner = random_.choice(containers or [inner])
    at = random_.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
    if kind == "delete":
        del inner[at]
    elif kind == "insert" and isinstance(inner, list):
        inner.insert(at, _words(900, 7))
    else:
        inner["new" if kind == "insert" else at] = _words(900, 7)

    before, after = (_cut(*CODEC.dumps(each)) for each in (value, changed))

    assert sum(map(len, {*after} - {*before})) <= 150_000


def test_a_list_that_loses_its_front_starts_inside_of_a_chunk() -> None:
    """A window costs no new chunk at its front: the recipe skips what is gone."""
    messages = _messages(60)
    draft = _index_of(messages).draft(_KEY, CODEC, None, 0.0)

    recipe = draft.recipe(*CODEC.dumps(messages[2:]))

    (part,) = (part for part in recipe.parts if not isinstance(part, bytes))
    assert part.skip > 0
    assert {*draft.chunks.values()} <= {*_cut(*CODEC.dumps(messages))}


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("is_nested", [False, True])
def test_chunks_of_a_text_survive_a_change_elsewhere(kind: Any, *, is_nested: bool) -> None:
    """A text that grows, or is edited in one place, has few new chunks, wherever it stands."""
    text = _words(200_000)
    for changed in (text + _words(1600, 1), text[:90_000] + "other words" + text[90_020:]):
        values = [
            {"a": [1, {"text": kind(each)}]} if is_nested else kind(each)
            for each in (text, changed)
        ]
        before, after = (_cut(*CODEC.dumps(each)) for each in values)

        assert len(before) >= 7
        assert len({*after} - {*before}) <= 4


@pytest.mark.parametrize("make", [
    lambda: list(range(200_000)),
    lambda: {"numbers": {"all": list(range(200_000))}, "more": 1},
    lambda: [list(range(500))] * 400,
    lambda: [None] * 200_000,
    lambda: [str(number) for number in range(100_000)],
    lambda: [{"id": number, "n": "x"} for number in range(50_000)],
], ids=["integers", "nested", "a matrix", "None", "short strings", "small dicts"])  # fmt: skip
def test_small_objects_are_cut_as_text(make: Callable[[], Any], monkeypatch: Patch) -> None:
    """A walk over very many small objects ends after some of them."""
    walks: list[Any] = []

    class Walk(module._Walk):
        def __init__(self, data: bytes, **options: bool) -> None:
            super().__init__(data, **options)
            walks.append(self)

    monkeypatch.setattr(module, "_Walk", Walk)

    _cut(*CODEC.dumps(make()))

    assert walks[0]._objects <= 2 * module._MAX_SMALL_OBJECTS


def test_a_large_object_is_walked_once_and_not_once_a_level(monkeypatch: Patch) -> None:
    """Lists in each other cost a bounded part of a level more each."""
    seen, value = Counter[int](), list[Any]([[_words(200, number)] for number in range(2000)])
    for _ in range(10):
        value = [value]
    container = module._msgpack_container
    monkeypatch.setattr(
        module, "_msgpack_container", lambda data, at: seen.update([at]) or container(data, at)
    )

    _cut(*CODEC.dumps(value))

    assert seen.total() <= 3 * 2000


@pytest.mark.parametrize("data", [
    b"\xc1" * 2000, b"\x92" + b"a" * 2000, b"\xdd" * 2000, b"\xc7\x00\x00" * 700,
    b"\xc8\x07\xd0\x05" + b"\xc1" * 2000,
])  # fmt: skip
def test_bytes_that_only_say_msgpack_are_cut_as_text(data: bytes) -> None:
    """A serde may call a format of its own "msgpack"."""
    found = _cut("msgpack", data)

    assert found == _cut("bytes", data) or len(found) == 1


@pytest.mark.parametrize("size", [1024, 1025, 256 * 1024, 256 * 1024 + 1, 3 * 2**20])
@pytest.mark.parametrize("byte", [b"\0", b"a"])
def test_chunks_of_other_bytes_have_a_bounded_size(size: int, byte: bytes) -> None:
    """A small value stays whole; another is in chunks of at most 256 KB."""
    sizes = [*map(len, _cut("bytes", byte * size))]

    assert (not sizes) == (size <= 1024)
    assert max(sizes, default=0) <= 256 * 1024
    assert size - sum(sizes) <= 1024


# -- Disruptions ----------------------------------------------------------------------------------
# Operations x disruptions. A call is disturbed at every request. The thread then shows its state from
# before the call or from after it, and the same call, made again, is done.

SUBGRAPHS: Final = ("", "sub", "sub|x")


def _fill_world(saver: Any, thread_id: str, namespaces: Any = SUBGRAPHS) -> None:
    """Store checkpoints with chunks and writes of each kind, and writes without a checkpoint."""
    for checkpoint_ns in namespaces:
        config = _config(thread_id, ns=checkpoint_ns)
        for step in (1, 2):
            values = {"messages": [_words(100, number) for number in range(2 * step)], "x": step}
            number = 2 * SUBGRAPHS.index(checkpoint_ns) + step
            checkpoint = _checkpoint(number, values, step)
            metadata: Any = {"source": "loop", "step": step, "parents": {}, "run_id": f"run-{step}"}
            config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
            saver.put_writes(config, [("x", step), ("y", _words(1600, step))], "task")
            saver.put_writes(config, [("__interrupt__", step)], "task")
    config = _config(thread_id, 99, ns=namespaces[-1])
    saver.put_writes(config, [("x", "never"), ("y", "never")], "task")


def _put_in(saver: DynamoDBSaver, thread_id: str) -> None:
    values = {"messages": [_words(100, number) for number in range(3, 20)], "x": 2}
    checkpoint = _checkpoint(50, values, {"messages": 3, "x": 2})
    saver.put(_config(thread_id, 2), checkpoint, {"source": "loop", "step": 3}, {"messages": 3})


def _put_writes(writes: Sequence[tuple[str, Any]], task_id: str = "task") -> Any:
    return lambda saver, thread_id: saver.put_writes(
        _config(thread_id, 4, ns="sub"), writes, task_id
    )


_CALLS: Final[dict[str, Callable[[DynamoDBSaver, str], Any]]] = {
    "put": _put_in,
    "put_writes": _put_writes([("x", 1), ("y", _words(1600, 8)), ("y", None)], "another task"),
    "put_writes, grown": _put_writes([("x", "no"), ("y", "no"), ("z", _words(1600, 8)), ("z", 4)]),
    "put_writes, special": _put_writes([(INTERRUPT, _words(1600, 8))]),
    "delete_thread": lambda saver, thread_id: saver.delete_thread(thread_id),
    "copy_thread": lambda saver, thread_id: saver.copy_thread(thread_id, f"{thread_id} copy"),
    "copy_from": lambda saver, _: saver.copy_from(_FILLED, ["thread copy"]),
    "prune": lambda saver, thread_id: saver.prune([thread_id], grace_seconds=0),
    "delete_for_runs": lambda saver, _: saver.delete_for_runs(["run-1"]),
    "set_ttl": lambda saver, thread_id: saver.set_ttl([thread_id], 9000),
    "get_tuple": lambda saver, thread_id: saver.get_tuple(_config(thread_id)),
    "list": lambda saver, thread_id: [*saver.list(_config(thread_id, ns=None))],
}
_FILLED: Final[Any] = InMemorySaver()
_fill_world(_FILLED, "thread copy", SUBGRAPHS[:2])


def _audit(world: World, saver: DynamoDBSaver | None = None) -> Counter[str]:
    """See that each chunk an item refers to is there as long as it; count what kinds there are."""
    counts: Counter[str] = Counter()
    saver = saver or world.saver()
    for thread_id in {_key(item)[0].partition(":::")[0] for item in chain(*_both(world))}:
        check = saver.verify(thread_id)
        assert check.damaged + check.undecodable == []
        counts.update(check.items)
        for chunk in filter(_is_chunk, world.items(0, thread_id)):
            name, ttl = chunk["checkpoint_id"]["S"], chunk.get("ttl", {"N": ""})["N"]
            assert name in check.orphans or name.partition(":")[2] == ttl
    return counts


def _see(world: World) -> dict[str, Any]:
    """Return what a process that knows nothing sees of both threads, and until when."""
    _audit(world)
    saver, seen = world.saver(), []
    for thread_id in ("thread", "thread copy"):
        seen.append(_seen(saver, thread_id, SUBGRAPHS[:2]))
        answers = [saver.get_tuple(_config(thread_id, number)) for number in (1, 2)]
        answers += saver.list(_config(thread_id), before=_config(thread_id, 2))
        answers += saver.list(_config(thread_id, 2))
        seen[-1]["asked"] = [*map(_shown, filter(None, answers))]
    times = [saver.verify(each).shown_until for each in ("thread", "thread copy")]
    return {"threads": seen, "until": times, "writes": len(world.items(1))}


# The part of a thread that a call changes at once. If the root of a deleted or copied thread is shown,
# the whole thread is: a graph reads the root first. A thread that shrinks may show some of the rest,
# and a copy from another saver grows.
_AT_ONCE: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    **dict.fromkeys(_CALLS, lambda thread: thread),
    **dict.fromkeys(
        ("delete_thread", "copy_thread"), lambda thread: thread["latest"][""] and thread
    ),
    **dict.fromkeys(("prune", "delete_for_runs"), itemgetter("latest")),
    "copy_from": lambda _: None,
}


def _die(_: Sent) -> None:
    raise Cut


def _lose_answer(sent: Sent) -> None:
    sent.carry_out()
    raise ReadTimeoutError(endpoint_url="")


def _leave_all(sent: Sent) -> Any:
    name = "UnprocessedKeys" if sent.operation == "BatchGetItem" else "UnprocessedItems"
    asked = sent.asked.get("RequestItems")
    return asked and {"Responses": {}, name: asked}


def _do_part(sent: Sent, is_done: Callable[[Any], bool]) -> Any:
    """Do a part of a batch, and leave the rest unprocessed; if it is all, refuse the request."""
    if "RequestItems" not in sent.asked:
        return None
    ((table, asked),) = sent.asked["RequestItems"].items()
    is_read = isinstance(asked, dict)
    parts: tuple[list[Any], list[Any]] = [], []
    for entry in asked["Keys"] if is_read else asked:
        parts[not is_done(entry)].append(entry)
    now, later = ({table: asked | {"Keys": each} if is_read else each} for each in parts)
    if not parts[0]:
        return "ProvisionedThroughputExceededException"
    sent.asked["RequestItems"] = now
    answer = sent.carry_out()
    name = "UnprocessedKeys" if is_read else "UnprocessedItems"
    return json.loads(answer.content) | {name: later} if parts[1] else answer


def _leave_half(sent: Sent) -> Any:
    turns = itertools.count()
    return _do_part(sent, lambda _: next(turns) % 2 == 0)


class _Cancelled:
    """A saver whose methods are called by their async twins, and are cancelled by a script."""

    def __init__(self, saver: DynamoDBSaver) -> None:
        self._saver = saver

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> None:
            async def run() -> None:
                self.loop, self.is_over = asyncio.get_running_loop(), threading.Event()
                self.task = asyncio.create_task(getattr(self._saver, f"a{name}")(*args, **kwargs))
                with suppress(asyncio.CancelledError):
                    await self.task
                self.is_over.set()

            asyncio.run(run())

        return call

    def cancel(self, _: Sent) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        assert self.is_over.wait(60)


# In the short form, at every so many requests.
_DISRUPTIONS: Final[dict[str, tuple[int, Script | None]]] = {
    "dies": (1, _die),
    "dies, its clock is behind, and the thread is deleted": (3, _die),
    "answer lost": (2, _lose_answer),
    "throttled": (4, lambda _: "ThrottlingException"),
    "half is unprocessed": (2, _leave_half),
    "cancelled": (5, None),  # by the caller's event loop
}
_MANY_REQUESTS: Final = {
    "copy_thread": 3, "copy_from": 3, "prune": 2, "delete_for_runs": 2, "set_ttl": 6,
}  # fmt: skip
_CELLS: Final = [
    pytest.param(name, disruption, *form, id=f"{name}-{disruption}-{form_name}", marks=marks)
    for name in _CALLS
    for disruption, (short, _) in _DISRUPTIONS.items()
    if name not in ("get_tuple", "list") or "half" in disruption
    for form_name, form, marks in (
        ("short", (short * _MANY_REQUESTS.get(name, 1), False), ()), ("long", (1, False), LONG), ("encrypted", (1, True), LONG),
    )
]  # fmt: skip


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "disruption", "every", "is_encrypted"), _CELLS)
def test_a_disrupted_call_shows_before_or_after_and_ends_when_called_again(
    world: World, monkeypatch: Patch, name: str, disruption: str, every: int, *, is_encrypted: bool
) -> None:
    """At no disrupted request is anything between shown, and all ends right."""
    if "clock" in disruption:
        numbers = itertools.count()
        monkeypatch.setattr(module, "uuid6", lambda: UUID(int=next(numbers)))
    call, at_once, (_, script) = _CALLS[name], _AT_ONCE[name], _DISRUPTIONS[disruption]
    world.serde = _aes() if is_encrypted else None
    _fill_world(world.saver(), "thread", SUBGRAPHS[:2])
    saved, before = _both(world), _see(world)
    call(world.saver(), "thread")
    after = _see(world)
    assert before != after or name in ("get_tuple", "list")
    wire = Wire(world)

    for number in itertools.count(every // 2, every):
        _restore(world, saved)
        wire.rest()
        victim = world.saver(wire.client)
        victim.get_tuple(_config("thread"))
        caller: Any = victim if script else _Cancelled(victim)
        wire.at(number, script or caller.cancel)
        with suppress(Cut, ReadTimeoutError, ClientError, DynamoDBSaverError):
            call(caller, "thread")
        if disruption != "answer lost":
            victim.close()
            victim = world.saver()
        is_over = not wire.is_reached
        wire.rest()

        found, told = _see(world), f"request {number}"
        threads = [each["threads"] for each in (found, before, after)]
        for now, then, later in zip(*threads, strict=True):
            assert at_once(now) in (at_once(then), at_once(later)), told
            whole = then["all"] + later["all"]
            assert all(each in whole for each in now["all"] + now["asked"]), told
        if is_over or disruption == "half is unprocessed":
            assert found == after, told
        elif disruption == "dies, its clock is behind, and the thread is deleted":
            for each in ("thread", "thread copy"):
                world.saver().delete_thread(each)
            assert _both(world) == [[], []], told
        elif name != "copy_thread" or found != after:
            call(victim, "thread")
            # It does not find a run whose checkpoints are gone: a prune deletes what writes are left.
            left = {} if name != "delete_for_runs" else {"writes": after["writes"]}
            assert _see(world) | left == after, told
        if is_over:
            break
    assert number


def _store(saver: DynamoDBSaver, number: int, config: Any, letters: str) -> Any:
    """Put a checkpoint with nine texts for each letter, after the one that *config* names."""
    texts = [_words(60, 100 * ord(each) + i) for each in letters for i in range(9)]
    return _put(saver, config, number, {"messages": texts}, run_id=f"run-{number}")


def _write(saver: DynamoDBSaver, config: Any, seed: int, channel: str = "x") -> None:
    saver.put_writes(config, [(channel, _words(1600, seed))], "task")


_OLD, _HEAD = _config("thread", 3), _config("thread", 4)


def _fill_with_garbage(saver: DynamoDBSaver, world: World) -> None:
    """Store a list that was A, then A and B, then B; what came before that was pruned long ago.

    Now it is C, and a prune will delete B.
    """
    config = _config("thread")
    for number, letters in enumerate(["A", "AB", "B"], 1):
        config = _store(saver, number, config, letters)
    for at, seed, channel in ((3, 7, "x"), (2, 8, "x"), (3, 9, INTERRUPT)):
        _write(saver, _config("thread", at), seed, channel)
    saver.prune(["thread"])
    world.now += 2 * GRACE
    _store(saver, 4, config, "C")
    _write(saver, _HEAD, 9, INTERRUPT)


def _superstep(saver: DynamoDBSaver) -> None:
    """Store a task's writes, and then the checkpoint after them with the same value."""
    saver.put_writes(_HEAD, [("messages", _words(1600, 8)), ("x", 1)], "task")
    _put(saver, _HEAD, 12, {"x": _words(1600, 8)})


def _write_first(saver: DynamoDBSaver) -> None:
    """Store a checkpoint's writes before it."""
    _write(saver, _config("thread", 13), 8)
    _store(saver, 13, _HEAD, "C")


_ACTS: Final[dict[str, Callable[[DynamoDBSaver], Any]]] = {
    # A run goes on with what was lately garbage, or from a checkpoint that is being deleted.
    "store again": lambda saver: _store(saver, 10, _HEAD, "AB"),
    "fork": lambda saver: _store(saver, 11, _OLD, "BD"),
    "superstep": _superstep,
    "write again": lambda saver: _write(saver, _HEAD, 8),
    "replace a special write": lambda saver: _write(saver, _HEAD, 7, INTERRUPT),
    "write first": _write_first,
    "prune": lambda saver: saver.prune(["thread"]),
    "prune twice": lambda saver: deque(map(saver.prune, [["thread"]] * 2)),
    "copy": lambda saver: saver.copy_thread("thread", "thread copy"),
    "delete a run": lambda saver: saver.delete_for_runs(["run-3"], use_index=False),
    "delete the last run": lambda saver: saver.delete_for_runs(["run-4"], use_index=False),
    "delete": lambda saver: saver.delete_thread("thread"),
}
_PAIRS: Final = [pytest.param(each, [*_ACTS], False, id=f"{each}-short") for each in _ACTS] + [
    pytest.param(outer, [inner], is_encrypted, id=f"{outer}-{inner}-{is_encrypted}", marks=LONG)
    for outer, inner, is_encrypted in itertools.product(_ACTS, [*_ACTS, "expire"], (False, True))
]


def _go_on(world: World, savers: Any, told: str, *, is_deleted: bool) -> None:
    """Check that two processes can go on with a thread that they know, or begin it anew."""
    if is_deleted:
        for each in ("thread", "thread copy"):
            world.saver().delete_thread(each)
        assert _both(world) == [[], []], told
    for number, (letter, saver) in enumerate(itertools.product("BC", savers), 20):
        if is_deleted:
            saver.get_tuple(_config("thread"))  # as a graph begins
            _write_first(saver)
        _store(saver, number, _config("thread") if is_deleted else _HEAD, letter)
    _audit(world)
    for _ in range(2):
        assert _read(world), told
        world.now += GRACE + 1
        world.saver().prune(["thread"])
        _audit(world)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("outer", "inners", "is_encrypted"), _PAIRS)
def test_a_call_of_another_process_between_two_requests_leaves_all_whole(
    world: World, outer: str, inners: list[str], *, is_encrypted: bool
) -> None:
    """The other call may come before any request of the one: all that is shown stays readable.

    And so does what both processes store next, which know the thread as it was. "delete" and a
    process that goes on: a second deletion leaves nothing, and a thread begun anew is whole.
    """
    world.serde = _aes() if is_encrypted else None
    expiring = {"ttl_seconds": 20_000} if inners == ["expire"] else {}
    _fill_with_garbage(world.saver(**expiring), world)
    saved, start, wire = _both(world), world.now, Wire(world)
    whole = _told(world.saver(), "thread")

    every = 2 if len(inners) > 1 else 1
    for turn, number in enumerate(itertools.count(0, every)):
        inner = inners[turn % len(inners)]
        _restore(world, saved)
        wire.rest()
        world.now = start
        busy, warm = savers = world.saver(wire.client, **expiring), world.saver(**expiring)
        for saver, config in itertools.product(savers, (_OLD, _HEAD)):
            assert saver.get_tuple(config)

        def come_in(_: Sent, inner: str = inner, warm: DynamoDBSaver = warm) -> None:
            if inner == "expire":
                world.now += 12_900
                _sweep(warm, world.now)
                return
            with suppress(DynamoDBSaverError, ValueError):
                _ACTS[inner](warm)
            world.now += (0, GRACE / 2 - 1, 2 * GRACE)[turn % 3]  # noqa: B023  in this turn

        wire.at(number, come_in)
        with suppress(DynamoDBSaverError, ValueError):
            _ACTS[outer](busy)
        is_over = not wire.is_reached
        wire.rest()
        told = f"{inner} before request {number}"
        for key, shown in _told(world.saver(), "thread copy").items():
            assert shown[:3] == whole.get(key, shown)[:3], told
        _go_on(world, savers, told, is_deleted="delete" in (outer, inner))
        if is_over:
            break
    assert number


@pytest.mark.usefixtures("small")
def test_writes_of_both_kinds_cut_off_show_the_first_of_them(world: World) -> None:
    """A call's ordinary writes are stored together, then its special ones, each on its own."""
    config = _put(world.saver(), _config("thread"), 1)
    writes = [("a", 1), ("__resume__", 2), ("b", 3), ("__interrupt__", 4)]
    wire = Wire(world)

    shown = [
        {channel for _, channel, _ in _read(world).pending_writes}
        for _ in wire.at_each(_die, lambda saver: saver.put_writes(config, writes, "task"))
    ]

    assert shown[-4:] == [set(), {"a", "b"}, {"a", "b", "__resume__"}, {c for c, _ in writes}]


def _fail_though_done(sent: Sent) -> str:
    sent.carry_out()
    return "InternalServerError"


def _time_out(_: Sent) -> None:
    raise ReadTimeoutError(endpoint_url="")


class _BadDay:
    """A script that fails every request at first, each in another way."""

    def __init__(self) -> None:
        self._ways: Iterator[Any] = itertools.cycle([
            lambda _: "ProvisionedThroughputExceededException", _fail_though_done, _time_out, _lose_answer,
            lambda _: "InternalServerError", _leave_half, self._empty_page,
        ])  # fmt: skip
        self._tried, self._starts = set[str](), dict[str, Any]()

    def __call__(self, sent: Sent) -> Any:
        if start := sent.asked.pop("ExclusiveStartKey", None):
            token = start.get("checkpoint_id", {}).get("S")
            sent.asked.update(self._starts.get(token, {"ExclusiveStartKey": start}))
        request = f"{sent.operation} {sent.asked}"
        if request in self._tried:
            return sent.carry_out()
        self._tried.add(request)
        return next(self._ways)(sent)

    def _empty_page(self, sent: Sent) -> Any:
        """Put an empty page before a page; its last key stands for where that one starts."""
        if sent.operation not in ("Query", "Scan"):
            return None
        token = f"empty page {len(self._starts)}"
        self._starts[token] = {k: v for k, v in sent.asked.items() if k == "ExclusiveStartKey"}
        last = {key: {"S": token} for key in ("thread_id", "checkpoint_id")}
        return {"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": last}


@pytest.mark.usefixtures("small", "naps")
def test_every_call_ends_right_on_a_bad_day(world: World) -> None:
    """Every request fails at first, each in another way, and all calls show what they should."""
    calls = ("put", "put_writes, grown", "copy_thread", "delete_for_runs", "prune", "set_ttl")

    def live(saver: DynamoDBSaver) -> list[Any]:
        seen: list[Any] = []
        _fill_world(saver, "thread", SUBGRAPHS[:2])
        for name in calls:
            _CALLS[name](saver, "thread")
            seen += [_seen(saver, each, SUBGRAPHS[:2]) for each in ("thread", "thread copy")]
        seen += [sorted(map(repr, map(_shown, saver.list(None)))), sorted(saver.threads())]
        seen.append([*map(_shown, saver.list(_config("thread"), filter={"step": 2}, limit=2))])
        saver.delete_thread("thread copy")
        return [*seen, [*map(_shown, saver.list(None))]]

    expected = live(world.saver())
    world.renew()

    assert live(world.saver(Wire(world, _BadDay(), attempts=4).client)) == expected
    assert [{_key(item)[0] for item in items} for items in _both(world)] == [{"thread"}] * 2


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("name", _CALLS)
def test_a_day_that_stays_bad_ends_in_an_error(
    world: World, naps: list[float], name: str, attempts: int
) -> None:
    """If nothing succeeds, a call raises after as many attempts as the client's retries say."""
    _fill_world(world.saver(), "thread", SUBGRAPHS[:2])

    ways: dict[Any, Script] = {
        (ClientError, DynamoDBSaverError): lambda _: "ThrottlingException",  # of one, of many
        ClientError: lambda _: "InternalServerError",
        ReadTimeoutError: _time_out,
        DynamoDBSaverError: _leave_all,
    }
    for errors, way in ways.items():
        tried: Counter[str] = Counter()
        naps.clear()

        def fail(sent: Sent, way: Script = way, tried: Counter[str] = tried) -> Any:
            tried[f"{sent.operation} {sent.asked}"] += way is not _leave_all or bool(way(sent))
            return way(sent)

        with pytest.raises(errors) as caught:
            _CALLS[name](world.saver(Wire(world, fail, attempts).client), "thread")
        # A list may ask for the same batch for each of its checkpoints.
        assert attempts <= max(tried.values()) <= attempts * (6 if way is _leave_all else 1)
        assert sum(naps) <= 20 * attempts * len(tried)
    told, seconds = str(caught.value), 0.05 * 2 ** (attempts - 1)
    assert re.match(r"batch_(get|write)_item left \d+ items of table '[^']+' undone after", told)
    assert f"undone after {attempts} attempts: DynamoDB throttles" in told
    assert len(naps) >= attempts - 1
    assert all(nap <= seconds for nap in naps)
    assert len(set(naps)) == len(naps)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("checkpoint_ns", ["", "sub"])
def test_a_thread_of_many_pages_asks_for_what_a_page_holds(
    world: World, checkpoint_ns: str
) -> None:
    """Each page asks for more items than the one before; a list of 15 MB once asked for 2**32."""
    limits: list[int] = []
    for number in range(20):
        namespace = f"{checkpoint_ns}{number}" if checkpoint_ns else ""
        _put(world.saver(), _config("thread", ns=namespace), number)

    def see(sent: Sent) -> Any:
        limits.append(sent.asked.get("Limit", 0))
        return _pages_of(1)(sent)

    reader = world.saver(Wire(world, see).client)
    for limit in (None, 2**40):
        assert len([*reader.list(_config("thread", ns=None), limit=limit)]) == 20
    assert 1000 < max(limits) < 10_000


def _throttling() -> Script:
    """Return a script that does one entry of a batch at a time, and refuses three requests of four.

    DynamoDB may refuse a batch as a whole, or leave all of it unprocessed.
    """
    turns = itertools.count()

    def throttle(sent: Sent) -> Any:
        if turn := next(turns) % 4:
            return "ThrottlingException" if turn == 1 else _leave_all(sent)
        entries = itertools.count()
        return _do_part(sent, lambda _: next(entries) == 0)

    return throttle


def _noise(size: int, seed: int = 0) -> list[bytes]:
    """Return a value of so many bytes that no compression makes fewer."""
    noise = random.Random(seed)
    return [noise.randbytes(min(2000, size - start)) for start in range(0, size, 2000)]


def _put_noise(saver: DynamoDBSaver, count: int, size: int) -> Any:
    """Put checkpoints that each have a value of so many bytes, and no other's."""
    config = _config("thread")
    for number in range(count):
        config = _put(saver, config, number, {"x": _noise(size, number)})
    return config


def _value_of(found: Any) -> Any:
    return found.checkpoint["channel_values"]["x"]


@pytest.mark.usefixtures("small", "naps")
def test_throttled_calls_of_any_size_end_well(world: World) -> None:
    """A call goes on as long as some is taken of it; put() of a large value once left some undone."""
    saver = world.saver(Wire(world, _throttling(), attempts=6).client, cache_bytes=0)
    writes = [("x", _noise(4000, 9)), ("__interrupt__", _noise(2000, 8)), ("y", 1)]

    config = _put_noise(saver, 2, 4000)
    saver.put_writes(config, writes, "task")
    listed = [*saver.list(_config("thread"))]
    saver.copy_thread("thread", "copy")
    saver.set_ttl(["copy"], 9000)
    copied = _told(world.saver(), "copy")
    saver.prune(["copy"], grace_seconds=0)

    assert saver.get_tuple(config) == listed[0] == _read(world)
    assert [*map(_value_of, listed)] == [_noise(4000, 1), _noise(4000)]
    assert sorted(listed[0].pending_writes or ()) == sorted(("task", *write) for write in writes)
    assert copied == _told(world.saver(), "thread")
    assert world.saver().verify("copy").shown_until == world.now + 9000
    assert [*_told(world.saver(), "copy")] == [("", _id(1))]
    assert world.saver().verify("copy").orphans == {}
    saver.delete_thread("thread")
    assert _both(world, "thread") == [[], []]


@pytest.mark.usefixtures("small", "naps")
@pytest.mark.parametrize("most", [0, 50])
def test_throttling_without_end_ends_in_an_error(world: World, most: int) -> None:
    """If nothing more is taken, a call ends after the client's attempts, says so, and can go on."""
    taken = itertools.count()
    wire = Wire(world, lambda sent: _do_part(sent, lambda _: next(taken) < most), attempts=6)
    saver = world.saver(wire.client)

    with pytest.raises(DynamoDBSaverError) as caught:
        _put_noise(saver, 1, 60_000)
    told, stored = str(caught.value), len(world.items(0))
    wire.rest()
    _put_noise(saver, 1, 60_000)

    assert re.sub(r"(left|for) [\d.]+ ", r"\1 N ", told) == (
        f"batch_write_item left N items of table {world.tables[0]!r} undone after 6 attempts: "
        f"DynamoDB throttles, and took none for N seconds; call again later, or raise "
        f"total_max_attempts in the retries of the client's config"
    )
    assert isinstance(caught.value.__cause__, ClientError)
    assert stored == most
    undone = int(re.findall(r"left (\d+) items", told)[0])
    assert len(world.items(0)) == stored + undone + 1  # all the chunks, and the checkpoint


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("who", ["caller", "worker", "machine"])
def test_nothing_goes_on_after_a_call_has_raised(
    world: World, monkeypatch: Patch, who: str
) -> None:
    """An exception in one of many requests lets no other begin, and waits for those in flight.

    Nor does one begin if the machine has no thread for it: the queue of Python's pool once had it.
    """
    both, begun, ended, start = threading.Barrier(2), [0], [0], threading.Thread.start

    def send(sent: Sent) -> Any:
        if sent.operation != "BatchWriteItem":
            return None
        begun[0] += 1
        if begun[0] <= 2 and who != "machine":
            # Two are in flight, one of them from the caller's thread, when one of them raises.
            both.wait(60)
            if (threading.current_thread() is threading.main_thread()) == (who == "caller"):
                raise KeyboardInterrupt
        answer = sent.carry_out()
        ended[0] += 1
        return answer

    def start_one(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        start(thread)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    saver = world.saver(Wire(world, send).client, max_workers=64 if who == "machine" else 2)
    if who == "machine":
        monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError if who == "machine" else KeyboardInterrupt):
        _put_noise(saver, 1, 60_000)

    now = [*begun, *ended, len(world.items(0))]
    monkeypatch.undo()
    saver.close()
    assert [*begun, *ended, len(world.items(0))] == now
    if who == "machine":
        assert begun == ended == [1]
    else:
        assert begun[0] == ended[0] + 1 < 60_000 / 400 / 6 / 2  # chunks and a batch of SMALL


# A value larger than what stays in an item, under the usual limits and the small ones.
_LARGE: Final = [_words(90, number) for number in range(80)]


@pytest.mark.usefixtures("serde")
@pytest.mark.parametrize(
    ("back", "is_here"),
    [(None, False), ("copied", False), ("copied", True), ("imported", False), ("imported", True)],
)
def test_nothing_builds_on_a_thread_that_another_process_deleted(
    world: World, back: str | None, *, is_here: bool
) -> None:
    """A thread that comes back under its id, with the same content, stores all that it names.

    It once left out what the process remembered of the thread before.
    """
    saver = world.saver()
    config = _put(saver, _config("thread"), 1, {"y": 1})
    saver.copy_thread("thread", "backup")
    saver.put_writes(config, [("x", [*_LARGE, "in another order"][::-1])], "first task")
    saver.put_writes(config, [("x", _LARGE)], "task")
    _put(saver, config, 2, {"x": _LARGE})
    world.saver().delete_thread("thread")

    by = saver if is_here else world.saver()
    if back == "copied":
        by.copy_thread("backup", "thread")
    elif back == "imported":
        origin = InMemorySaver()
        origin.put_writes(_put(origin, _config("thread"), 1, {"y": 1}), [("x", _LARGE)], "task")
        by.copy_from(origin, ["thread"])
    if not is_here:  # of what it did itself, a process need read nothing
        assert bool(saver.get_tuple(_config("thread"))) == bool(back)
    # A fast node's writes come before their checkpoint.
    saver.put_writes(_config("thread", 5), [("x", _LARGE)], "task")
    _audit(world)
    config = _put(saver, _config("thread", 1 if back else None), 5, {"x": [1], "y": 2})
    saver.put_writes(config, [("x", _LARGE[::-1])], "task 2")
    _put(saver, config, 6, {"x": _LARGE, "y": [*_LARGE, "in another order"][::-1]})

    _audit(world)
    assert _value_of(_read(world)) == _LARGE


@pytest.mark.usefixtures("serde")
def test_nothing_builds_on_what_was_read_during_a_deletion(world: World) -> None:
    """A process forgets all that it knows of a thread that it deletes, things just read included."""
    _put(world.saver(), _config("thread"), 1, {"x": _LARGE})
    world.saver().put_writes(_config("thread", 1), [("x", _LARGE)], "task")
    wire, busy = Wire(world), list[DynamoDBSaver]()

    def read(_: Sent) -> None:
        with suppress(DamagedCheckpointError):
            busy[-1].get_tuple(_config("thread"))

    def delete(saver: DynamoDBSaver) -> None:
        busy.append(saver)
        saver.delete_thread("thread")

    for _ in wire.at_each(read, delete):
        wire.rest()
        busy[-1].put_writes(_config("thread", 5), [("x", _LARGE)], "task")
        _put(busy[-1], _config("thread", 1), 5, {"x": _LARGE})
        _audit(world)


@pytest.mark.parametrize("end", ["here, on its way", "elsewhere, on its way", "here, arrived"])
def test_nothing_builds_on_a_call_that_outlives_a_deletion(
    world: World, monkeypatch: Patch, end: str
) -> None:
    """A thread begun anew stores all that it names, though a call of before is not over.

    That one's chunks are gone, whether its item comes before or after those of the new thread.
    """
    ticks, wire = itertools.count(), Wire(world)
    saver = world.saver(wire.client, clock=lambda: world.now + next(ticks) / 1000)
    config = _put(saver, _config("thread"), 1)
    is_sent, goes_on = threading.Event(), threading.Event()

    def hold(sent: Sent) -> None:
        if sent.operation == "PutItem" and not is_sent.is_set():
            is_sent.set()
            assert goes_on.wait(60)

    wire.script = hold
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(_put, saver, config, 2, {"x": _LARGE})
        assert is_sent.wait(60)
        if end.startswith("elsewhere"):
            monkeypatch.setattr(module, "_SHARED_SECONDS", -1)  # as if it had hung for long
            world.saver().delete_thread("thread")
        else:
            saver.delete_thread("thread")
        if end.endswith("arrived"):
            goes_on.set()
            late.result(60)
        if end.startswith("elsewhere"):
            saver.get_tuple(_config("thread"))  # as a graph begins
        # A fast node's writes come before their checkpoint.
        saver.put_writes(_config("thread", 5), [("x", _LARGE)], "task")
        _put(saver, _config("thread"), 5, {"y": 1})
        goes_on.set()
        late.result(60)

    found = _read(world, _config("thread", 5))
    assert found.checkpoint["channel_values"] == {"y": 1}
    assert found.pending_writes == [("task", "x", _LARGE)]


@pytest.mark.parametrize("is_damaged", [True, False], ids=["damaged", "gone"])
def test_nothing_builds_on_a_checkpoint_that_was_not_whole(
    world: World, *, is_damaged: bool
) -> None:
    """A put after a read that found damage, or nothing, stores all: it heals the thread.

    LangGraph goes on with that checkpoint as the parent.
    """
    _put(world.saver(), _config("thread"), 1, {"x": _LARGE})
    saver = world.saver()
    if is_damaged:
        for item in filter(_is_chunk, world.items(0)):
            _delete_item(saver, item)
        with pytest.raises(DamagedCheckpointError, match="missing"):
            saver.get_tuple(_config("thread"))
    else:
        saver.get_tuple(_config("thread"))
        world.saver().delete_thread("thread")
        assert saver.get_tuple(_config("thread", 1)) is None

    _put(saver, _config("thread", 1), 2, {"x": _LARGE})

    assert _value_of(_read(world)) == _LARGE


@pytest.mark.usefixtures("serde")
def test_a_prune_spares_what_a_renewal_replaced(world: World) -> None:
    """A fork of a checkpoint that was renewed may name the chunks that it named before."""
    delta: Any = {"counters_since_delta_snapshot": {"delta": (1, 1)}}
    saver = world.saver(ttl_seconds=20_000)
    config = _put(saver, _config("thread"), 1, {"x": _LARGE, "delta": 0})
    saver.put_writes(config, [("delta", _LARGE[::-1])], "task")
    world.now += 2 * GRACE
    assert saver.get_tuple(config)

    other = world.saver(ttl_seconds=200_000)
    other.put(config, _checkpoint(2, {}, {"delta": 2}), delta, {"delta": 2})
    world.saver().prune(["thread"])
    config["configurable"]["ttl_seconds"] = 100
    _put(saver, config, 3, {"x": [*_LARGE, 1], "y": _LARGE[::-1]})

    _audit(world)
    world.now += GRACE + 1
    world.saver().prune(["thread"])
    _audit(world)


@pytest.mark.parametrize("fails", [False, True], ids=["stored", "failed"])
@pytest.mark.parametrize("operation", ["BatchWriteItem", "PutItem"])
def test_two_calls_at_once_store_a_chunk_once(world: World, operation: str, *, fails: bool) -> None:
    """Writes and the checkpoint after them store their value once, or each by itself.

    The second call comes while the first one's chunks are on their way, or its item is.
    """
    is_sent, is_second = threading.Event(), threading.Event()

    def send(sent: Sent) -> None:
        if sent.operation != operation:
            return
        if is_sent.is_set():
            is_second.set()
            return
        is_sent.set()
        # In vain for chunks, as the other call waits for this one.
        is_second.wait(0.3 if operation == "BatchWriteItem" else 60)
        if fails:
            raise ConnectionClosedError(endpoint_url="")

    wire = Wire(world)
    saver = world.saver(wire.client)
    config = _put(saver, _config("thread"), 1)
    wire.script = send
    with Requests(saver) as requests, ThreadPoolExecutor(2) as pool:
        first = pool.submit(saver.put_writes, config, [("x", _LARGE)], "task")
        assert is_sent.wait(60)
        second = pool.submit(_put, saver, config, 2, {"x": _LARGE})
        error = first.exception(60)
        assert second.result(60) == _config("thread", 2)
        saver.put_writes(config, [("x", _LARGE)], "third")

    assert isinstance(error, ConnectionClosedError) == fails
    assert requests.names.count("BatchWriteItem") == 1 + (fails and operation == "BatchWriteItem")
    _audit(world)
    assert _value_of(_read(world)) == _LARGE
    writes = [] if fails else [("task", "x", _LARGE)]
    assert _read(world, config).pending_writes == [*writes, ("third", "x", _LARGE)]


@pytest.mark.usefixtures("serde")
def test_chunks_outlive_writes_and_checkpoints_that_name_them(world: World) -> None:
    """Calls have any ttl; still no item refers to a chunk that expires, or is collected, before it."""
    saver, config = world.saver(), _config("thread")
    for number, ttl in enumerate(islice(itertools.cycle([600, 60, None, 2000, 250]), 16), 1):
        config["configurable"]["ttl_seconds"] = ttl
        value = [*_LARGE, number]
        config = _put(saver, config, number, {"x": value if number % 3 else 0})
        config["configurable"]["ttl_seconds"] = (ttl or 100) * 2
        saver.put_writes(config, [("x", value[::-1] if number % 4 == 1 else value)], "task")
        assert len(_read(world).pending_writes) == 1
        world.now += 130
        _sweep(saver, world.now)
        _audit(world)
        if number % 5 == 0:
            world.saver().prune(["thread"])
            _audit(world)


@pytest.mark.usefixtures("serde")
def test_renewed_ancestors_keep_what_their_writes_name(world: World) -> None:
    """Checkpoints that a DeltaChannel is rebuilt from last, with the chunks of their writes."""
    saver, config, count = world.saver(ttl_seconds=600), _config("thread"), 8
    for number in range(1, count):
        metadata: Any = {"counters_since_delta_snapshot": {"delta": (number, 1)}}
        checkpoint = _checkpoint(number, {"delta": 0} if number == 1 else {}, {"delta": number})
        config = saver.put(config, checkpoint, metadata, {"delta": number})
        saver.put_writes(config, [("delta", [number, *_LARGE])], "task")
        world.now += 200
        _sweep(saver, world.now)
        _audit(world)
        if number == count // 2:
            world.saver().prune(["thread"])

    _put(saver, config, count)
    wanted: Any = {"config": config, "channels": ["delta"]}
    found = world.saver().get_delta_channel_history(**wanted)["delta"]["writes"]
    assert [value[0] for _, _, value in found] == [*range(1, count - 1)]


async def _arun(saver: DynamoDBSaver, thread_id: str, checkpoint_ns: str = "") -> None:
    """Do as a run of a graph does in three steps, each of which adds to a list; see what is left."""
    config, texts = _config(thread_id, ns=checkpoint_ns), list[str]()
    for step in (1, 2, 3):
        texts += [f"{thread_id} {checkpoint_ns} {step} {_words(60, step)}"] * 4
        checkpoint = _checkpoint(step, {"messages": texts})
        child = _config(thread_id, step, ns=checkpoint_ns)
        # LangGraph sends a checkpoint and its first writes side by side.
        config, _ = await asyncio.gather(
            saver.aput(config, checkpoint, {"source": "loop", "step": step}, {"messages": step}),
            saver.aput_writes(child, [("x", f"{thread_id} {step}"), ("y", None)], "task"),
        )
    found: Any = await saver.aget_tuple(_config(thread_id, ns=checkpoint_ns))
    assert found.checkpoint["channel_values"] == {"messages": texts}
    assert [value for _, _, value in found.pending_writes] == [f"{thread_id} 3", None]


@_short_and_long("runs", 8, 64)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "coroutines"])
@pytest.mark.parametrize("is_one_thread", [False, True], ids=["on many", "on one"])
@pytest.mark.parametrize("is_pruned", [False, True], ids=["alone", "pruned"])
def test_runs_at_once_do_not_disturb_each_other(
    world: World, runs: int, *, is_one_thread: bool, is_async: bool, is_pruned: bool
) -> None:
    """Threads or coroutines at once, on two savers, and prunes beside them, leave each run whole."""
    savers, is_over = itertools.cycle([world.saver(), world.saver()]), threading.Event()
    places = [("one", f"ns {n}") if is_one_thread else (f"thread {n}", "") for n in range(runs)]

    def prune() -> None:
        while not is_over.wait(0.01):
            world.now += 600  # garbage ages by ten minutes a turn
            world.saver().prune(sorted({thread_id for thread_id, _ in places}))

    async def run_all(*places: tuple[str, str]) -> None:
        await asyncio.gather(*(_arun(next(savers), *place) for place in places))

    with ThreadPoolExecutor(runs + 1) as pool:
        pruner = pool.submit(prune if is_pruned else int)
        try:
            if is_async:
                asyncio.run(run_all(*places))
            else:
                deque(pool.map(lambda place: asyncio.run(run_all(place)), places), maxlen=0)
        finally:
            is_over.set()
        pruner.result()

    found = Counter(_triple(each.config)[:2] for each in world.saver().list(None))
    assert found.keys() == {*places}
    assert is_pruned or set(found.values()) == {3}
    _audit(world)


@_short_and_long("every", 4, 1)
@pytest.mark.usefixtures("small")
def test_two_savers_interleaved_for_a_write_agree_on_it(world: World, every: int) -> None:
    """Another call may come before any request of a call: each index still has one first value."""
    wire = Wire(world)
    config = _put(world.saver(), _config("thread"), 1)
    calls = (["a", "b"], ["a", "b", "c", "d"], ["__error__", "b", "c"])

    turns = itertools.product(range(3), calls, calls, calls)
    for turn, (at, *lists) in enumerate(islice(turns, 0, None, every)):
        task_id = f"task {turn}"
        first, second, third = (
            [(name, f"{who} {name}") for name in names] for who, names in enumerate(lists)
        )
        world.saver().put_writes(config, first, task_id)
        wire.at(at, lambda _: world.saver().put_writes(config, third, task_id))  # noqa: B023
        world.saver(wire.client).put_writes(config, second, task_id)
        found = [(c, v) for task, c, v in _read(world, config).pending_writes if task == task_id]
        longest = max(map(len, lists if wire.is_reached else lists[:2]))
        ordinary = [channel for channel, _ in found if channel != "__error__"]
        assert len(ordinary) == len(set(ordinary)) in (longest, longest - 1)
        for channel, value in first:
            assert channel == "__error__" or dict(found)[channel] == value
        world.saver().put_writes(config, [("x", 0)] * 4, task_id)
        again = {c: v for task, c, v in _read(world, config).pending_writes if task == task_id}
        assert again | dict(found) == again


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("call", [_sync, _async])
def test_a_pool_of_one_does_not_stall(world: World, call: Call) -> None:
    """With one worker, here and in LangGraph, all calls come to their end."""
    saver = world.saver(max_workers=1)
    config: Any = {"configurable": {"thread_id": "thread"}, "max_concurrency": 1}
    builder: Builder = StateGraph(Tally)
    builder.add_node("end", lambda _: {"log": ["end"]})
    for name in "abc":
        builder.add_node(name, lambda _, name=name: {"log": [name * 2000]})
        builder.add_edge(START, name).add_edge(name, "end")
    graph = builder.compile(checkpointer=saver)

    async def run_side_by_side() -> None:
        await asyncio.gather(*(_arun(saver, f"thread {n}") for n in range(4)))

    asyncio.run(run_side_by_side())
    for durability in ("async", "sync", "exit"):
        state = call(graph, "invoke", {"log": ["hi"]}, config, durability=durability)
    assert call(saver, "list", config) == call(saver, "list", config, limit=1000)
    call(saver, "copy_thread", "thread", "thread copy")
    call(saver, "prune", ["thread copy"], grace_seconds=0)
    call(saver, "delete_thread", "thread 1")
    for number in (1, 2):
        _put_layout_0(saver, JsonPlusSerializer(), "old", number)

    assert len(call(saver, "list", _config("old"))) == 2
    assert state["log"] == ["hi", "a" * 2000, "b" * 2000, "c" * 2000, "end"] * 3
    assert len(_told(world.saver(), "thread copy")) == 1


@_short_and_long("steps", 8, 60)
@pytest.mark.usefixtures("small")
def test_chunks_of_a_thread_pruned_often_stay_few(world: World, steps: int) -> None:
    """Pruned every 50 minutes, a thread keeps what the last two hours named, and all is readable."""
    saver = world.saver()
    config, counts = _config("thread"), []

    for step in range(1, steps + 1):
        values = {"messages": [_words(60, 100 * step + number) for number in range(30)]}
        config = _put(saver, config, step, values)
        saver.prune(["thread"])
        world.now += 50 * 60
        counts.append(sum(map(_is_chunk, world.items(0))))
        assert _read(world).checkpoint["channel_values"] == values

    assert counts[0] > 5
    assert max(counts) <= 6 * counts[0]
    world.now += 2 * GRACE
    for _ in range(2):
        saver.prune(["thread"])
        world.now += GRACE + 1
    left = world.items(0)
    chunks = [*filter(_is_chunk, left)]
    assert 5 < len(chunks) <= 2 * counts[0]
    assert len(left) == len(chunks) + 1


# -- Format ---------------------------------------------------------------------------------------
# Damage, forgery, encryption and secrets: items that are not as they were stored, and the people who
# may read them. Tables of (change, what is told), each with a runner.


_NOWHERE: Final = (module._CheckpointKey("", "", ""), "")


_Table = dict[str, dict[str, Any]]


def _by_name(table: _Table) -> dict[str, tuple[Any, str]]:
    """Return (change, what is told) by the change's name, of changes by what is told."""
    return {name: (each, told) for told, named in table.items() for name, each in named.items()}


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda blob: blob[:at] + bytes([blob[at] ^ 0x10]) + blob[at:][1:]


# Changes of a blob. None: the attribute is gone.
DAMAGES: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "first byte flipped": _flip(0), "second byte flipped": _flip(1), "last byte flipped": _flip(-1),
    "bytes lost": lambda blob: blob[: len(blob) // 2] + blob[len(blob) // 2 + 3 :],
    "cut": lambda blob: blob[:-1],
    "of a newer version": lambda blob: b"\x09" + blob[1:], "empty": lambda _: b"",
    "without blob": lambda _: None, "nothing but the cipher's name": lambda blob: blob[:5],
    "cut in its tag": lambda blob: blob[:25],
}  # fmt: skip
_DAMAGED: Final = "what was stored|damaged|by a newer version|decrypted|malformed|moved"


# The checkpoints of _put_secrets().
_SECRET_PLACES: Final = (("", 1), ("", 2), ("", 3), ("sub", 1))


def _ask_everything(saver: DynamoDBSaver, thread_id: str) -> None:
    for ns, number in (*_SECRET_PLACES, ("sub", None)):
        saver.get_tuple(_config(thread_id, number, ns=ns))
    deque(saver.list(_config(thread_id, ns=None)), maxlen=0)


def _errors_of(*asks: Callable[[], object]) -> list[Told]:
    """Return the error that each of the calls ends in."""
    errors = []
    for ask in asks:
        with pytest.raises(Told) as caught:
            ask()
        errors.append(caught.value)
    return errors


def _chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _with_blob(item: Item, blob: bytes | None) -> Item:
    rest = {name: value for name, value in item.items() if name != "blob"}
    return rest if blob is None else rest | {"blob": {"B": blob}}


@_short_and_long("every", 23, 1)
@pytest.mark.usefixtures("small", "serde")
def test_damage_is_told_and_never_shown(world: World, every: int) -> None:
    """Each damage of each item, a chunk that is gone and an item that was moved say where it is."""
    for thread_id in ("other", "thread"):
        _put_secrets(world.saver(), thread_id)
    items, others = ([*chain(*_both(world, each))] for each in ("thread", "other"))
    chunks = [*filter(_is_chunk, items)]
    cases: list[tuple[Item, Item | None, str]] = [
        (item, _with_blob(item, change(item["blob"]["B"])), _DAMAGED)
        for item, change in itertools.product(items, DAMAGES.values())
    ]
    cases += [(chunk, None, "Chunk .* is missing") for chunk in chunks]
    cases += [(a, a | {"blob": b["blob"]}, _DAMAGED) for a, b in itertools.pairwise(chunks)]
    theirs = {_key(other)[1]: other["blob"] for other in others if not _is_chunk(other)}
    cases += [  # copied by hand from another thread
        (item, item | {"blob": theirs[_key(item)[1]]}, _DAMAGED)
        for item in items
        if _key(item)[1] in theirs
    ]

    for item, changed, message in cases[::every]:
        if changed:
            _put_item(world.saver(), changed)
        else:
            _delete_item(world.saver(), item)
        (error,) = _errors_of(partial(_ask_everything, world.saver(), "thread"))
        assert error.thread_id == "thread"
        assert (error.checkpoint_ns, int(error.checkpoint_id[-1])) in _SECRET_PLACES
        assert error.table_name in world.tables
        assert re.search(message, str(error)), changed
        for each in (error.thread_id, error.checkpoint_ns, error.checkpoint_id, error.table_name):
            assert repr(each) in str(error)
        for cause in _chain_of(error):
            assert SECRET[:12] not in str(cause)
        _put_item(world.saver(), item)

    assert len(cases) > 200
    _ask_everything(world.saver(), "thread")


def test_indices_that_were_changed_are_not_trusted(world: World) -> None:
    """put_writes() leaves out no write because a standing item says so whose digest is wrong."""
    saver = world.saver()
    config = _put(saver, _config("thread"), 1)
    saver.put_writes(config, [("x", 1)], "task")
    (item,) = world.items(1)
    _put_item(saver, item | {"idx": {"S": "0..9"}})

    for asked in (saver, world.saver()):
        with pytest.raises(DamagedCheckpointError, match="not what was stored") as caught:
            asked.put_writes(config, [("x", 1), ("y", 2)], "task")
        assert caught.value.table_name == world.tables[1]
    _put_item(saver, item)
    saver.put_writes(config, [("x", 1), ("y", 2)], "task")
    assert _read(world).pending_writes == [("task", "x", 1), ("task", "y", 2)]


# Forgery: whoever can write an item can give it a digest too, as the key of the digest is public.

_Forge = Callable[[Item, Item], Item]


def _altered(item: Item, content: Any = None, level: int = 0, **changes: Any) -> Item:
    """Return an item with other attributes, without those that are None, or with other content.

    Its digest is right, as ours are.
    """
    blob = module._decode_blob(item, CODEC, _NOWHERE) if "blob" in item else None
    altered = {name: value for name, value in {**item, **changes}.items() if value is not None}
    if blob is None or "blob" in changes:
        return altered
    if content is not None:
        data = content if isinstance(content, bytes) else ormsgpack.packb(content)
        blob = blob._replace(content=data, level=level)
    return module._encode_blob(altered, blob, CODEC)


def _in_manifest(**changes: Any) -> _Forge:
    return lambda c, _: _altered(c, **changes)


def _in_write(**changes: Any) -> _Forge:
    return lambda _, w: _altered(w, **changes)


def _manifest(content: Any, type_: str = "msgpack", level: int = 0) -> _Forge:
    """Put a manifest that holds *content* in the place of ours.

    After the checkpoint, the metadata and the channels, the rest may be left out.
    """
    if isinstance(content, list) and len(content) == 3:
        content = [*content, False]
    return _in_manifest(content=content, level=level, type={"S": type_})


def _value(*value: Any) -> _Forge:
    """Put a manifest in whose channel "x" there is the recipe *value*."""
    return _manifest([_BARE, _META, {"x": [*value]}])


def _layout_0(checkpoint: Any, metadata: Any) -> _Forge:
    blobs = {"checkpoint": checkpoint, "metadata": metadata}
    packed = {name: {"B": ormsgpack.packb(content)} for name, content in blobs.items()}
    return _in_manifest(blob=None, type={"S": "msgpack"}, **packed)


def _no_manifest(range_key: str, **attributes: Any) -> _Forge:
    """Put an item of nothing but its keys and these attributes in the table of checkpoints."""
    keys = {"checkpoint_id": {"S": range_key}, **attributes}
    return lambda c, _: {"thread_id": c["thread_id"], **keys}


def _no_write(range_key: str) -> _Forge:
    hash_key, name = TABLE_KEYS[1]
    return lambda _, w: {hash_key: w[hash_key], name: {"S": range_key}}


def _call_of(argument: str) -> Any:
    """Return what permissive msgpack makes a call of os.system() of, when it is decoded."""
    return ormsgpack.Ext(0, ormsgpack.packb(("os", "system", argument)))


def _bomb() -> Any:
    """Return packed bytes that unpack to 300 MB."""
    packer = zlib.compressobj(9, zdict=module._DICTIONARY)
    return {"B": b"\x01" + packer.compress(bytes(300_000_000)) + packer.flush()}


_BARE: Final[dict[str, Any]] = {"v": 4, "id": _id(2), "ts": "t", "channel_versions": {}}
_META: Final[dict[str, Any]] = {"source": "loop", "step": 2}
_X: Final = _BARE | {"channel_versions": {"x": 1}}
_COUNTERS: Final = "counters_since_delta_snapshot"

# By what every read says of them: manifests that are none, with a right digest.
# fmt: off
MALFORMED: Final[_Table] = {
    "malformed": {
        "no list": _manifest(5),
        "too few elements": _manifest([_BARE]),
        "no dict": _manifest([1, 2, 3]),
        "no versions": _manifest([{"v": 4}, {}, {}]),
        "channels that are a list": _manifest([_BARE, {}, [1]]),
        "metadata that is a text": _manifest([_BARE, "m", {}]),
        "counters that are a list": _manifest([_BARE, {_COUNTERS: [1]}, {}]),
        "five elements": _manifest([_BARE, _META, {}, False, b""]),
        "an id of 15 bytes": _value("msgpack", [b"1" * 15]),
        "an id of no bytes": _value("msgpack", [b""]),
        "a level that is a text": _manifest(["null", "x"], level=1),
        "a level of no recipe": _manifest([_BARE, _META, {}], level=2),
        "a level beyond all": _manifest(["null", b"\xc0"], level=4),
    },
    "can't be decoded": {
        "pickle": _manifest(pickle.dumps(_META), "pickle"),
        "another type": _in_manifest(type={"S": "msgpack+rot13"}),
        "unknown type": _manifest([_BARE, _META, {}], "nonsense\x1b[31m"),
        "an early end": _manifest(ormsgpack.packb([_BARE, _META, {}])[:-2]),
        "layout 0 of no msgpack": _in_manifest(
            blob=None, run_id=None, type={"S": "msgpack"}, checkpoint={"B": b"\xc1"},
            metadata={"B": b"\xc1"}),
    },
    "Compressed bytes are damaged": {
        "zeros": _in_manifest(blob={"B": b"\x01" + zlib.compress(bytes(5_000_000))}),
    },
}
# By what verify() says of it: what is put in place of a checkpoint's item or one of its writes, or
# beside them. Nothing: it may read as something else than was stored, but not as damage.
FORGED: Final[_Table] = {
    "malformed": {
        "code for a manifest": _manifest(_call_of("manifest")),
        "code in writes": _in_write(content=[[0, "x", "msgpack", _call_of("w")]]),
        "a negative skip": _value("null", [b"1" * 16, -1]),
        "a skip of no number": _value("null", [b"1" * 16, "1"]),
        "no ids": _value("null", []),
        "ids of a number": _value("null", [7]),
        "three parts of a part": _value("null", [b"1" * 16, 0, 0]),
        "a part that is a number": _value("null", 7),
        "a part that is a text": _value("null", "x"),
        "a value of no type": _value(),
        "a type that is a number": _value(7, b""),
        "numbers for recipes": _manifest([_X, _META, {"x": 7}]),
        "counters that are numbers": _manifest([
            _X | {"updated_channels": 7}, _META | {_COUNTERS: {"x": 7}}, {},
        ]),
        "no blob": _in_manifest(blob=None),
        "a blob of no bytes": _in_manifest(blob={"S": "x"}),
        "a write of no bytes": _in_write(blob={"S": "x"}),
        "writes that are a number": _in_write(content=7),
        "writes of no recipe": _in_write(content=[[0, "x"]]),
        "writes of an index that is a text": _in_write(content=[["0", "x", "null", b""]]),
        "writes of a type that is a number": _in_write(content=[[0, "x", 7, b""]]),
        "a parent of 1,024 bytes": _in_manifest(parent_checkpoint_id={"S": "p" * 1024}),
        "a parent that is a marker": _in_manifest(parent_checkpoint_id={"S": "}"}),
        "too long a number": _no_manifest("~c9999:a:1", checkpoint_ns={"S": "b"}),
        "another namespace": _no_manifest("~c1:b:1", checkpoint_ns={"S": "a"}),
        "nothing of a write": _no_write("x"),
        "nothing of a write, and no index": _no_write("1:::task:::x"),
        "a write without a separator": lambda _, w: w | {"task_id_idx": {"S": "nothing\x1b[2J"}},
        "a write of no index": lambda _, w: w | {"task_id_idx": {"S": w["task_id_idx"]["S"] + "x"}},
    },
    "is missing": {
        "an id of a chunk that is missing": _value("null", [b"1" * 16]),
        "content in a chunk that is missing": _manifest(["msgpack", [b"1" * 16]], level=1),
        "writes of a missing chunk": _in_write(content=[[0, "x", "null", [b"1" * 16]]]),
    },
    "Compressed bytes are damaged": {
        "a bomb for a manifest": lambda c, _: c | {"blob": _bomb()},
        "a bomb for writes": lambda _, w: w | {"blob": _bomb()},
    },
    "are not what was stored": {
        "an empty blob": _in_manifest(blob={"B": b"\0"}),
        "control characters": lambda c, _: c | {"checkpoint_id": {"S": "1ef\x1b[2J\r\n\x00"}},
    },
    "": {
        "code in the checkpoint": _manifest([_BARE | {"ts": _call_of("ts")}, _META, {}]),
        "code in the metadata": _manifest([_BARE, _META | {"x": _call_of("m")}, {}]),
        "code in a value": _manifest([
            _BARE | {"channel_versions": {"branch:to:x": 1}}, _META,
            {"branch:to:x": ["msgpack", ormsgpack.packb([_call_of("value")])]},
        ]),
        "code in layout 0": _layout_0(
            _BARE | {"channel_values": {"x": _call_of("value")}}, _META | {"y": _call_of("m")}
        ),
        "writes of an unknown type": _in_write(content=[[0, "x", "nonsense", b""]]),
        "a run that is a list": _manifest([_BARE, _META | {"run_id": []}, {}]),
        "its own parent": _in_manifest(parent_checkpoint_id={"S": _id(2)}),
        "no namespace": lambda c, _: {
            **{name: c[name] for name in c.keys() - {"checkpoint_ns"}},
            "checkpoint_id": {"S": "~cxyz"},
        },
        "nothing of a manifest": _no_manifest("5"),
        "a namespace of no number": _no_manifest("~cxyz"),
        "a marker that says nothing": _no_manifest("}"),
        "a ttl of no number": lambda c, _: c | {"ttl": {"S": "soon"}},
        "a ttl of a fraction": lambda c, _: c | {"ttl": {"N": "-1.5"}},
        "a tombstone of no number": _no_manifest("~t1", stored_at={"N": "1.5"}, chunks={"S": "x"}),
        "a tombstone of half an id": _no_manifest("~t1", chunks={"B": b"123"}),
        "a chunk of no bytes": _no_manifest("~x", blob={"S": "x"}),
        "nothing of a chunk": _no_manifest("~x00"),
        "a write without a time": lambda _, w: {name: w[name] for name in w.keys() - {"stored_at"}},
        "a write of all indices": _in_write(idx={"S": "0..99999999999"}),
        "a write of strange indices": _in_write(idx={"S": "5..2,x"}),
    },
}
# fmt: on
_FORGED: Final = _by_name(MALFORMED) | _by_name(FORGED)


@contextmanager
def _in_little_memory(most: int = 30_000_000) -> Iterator[None]:
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < most


@pytest.mark.parametrize("name", _FORGED)
def test_a_forged_item_runs_no_code_and_is_told(  # noqa: C901  all that is asked of it
    world: World, command: Run, environment: Patch, name: str
) -> None:
    """No call that needs no values runs code, stops other threads, or fails in an unknown way."""
    for thread_id in ("thread", "other"):
        config = _put(world.saver(), _config(thread_id), 1, {"x": 1}, run_id=f"run of {thread_id}")
        config = _put(world.saver(), config, 2, {"x": 2}, run_id=f"run of {thread_id}")
        world.saver().put_writes(config, [("x", 3)], "task")
    (c,) = (item for item in world.items(0, "thread") if _id(2) in item["checkpoint_id"]["S"])
    (w,) = world.items(1, "thread")
    forge, message = _FORGED[name]
    forged = forge(c, w)
    _put_item(world.saver(), forged)
    for variable, each in zip(("CHECKPOINTS_TABLE", "WRITES_TABLE"), world.tables, strict=True):
        environment.setenv(variable, each)
    told, unfinished, run_of_code = list[Told](), list[str](), list[str]()
    environment.setattr(os, "system", run_of_code.append)

    def ask(method: str, *args: Any, **options: Any) -> None:
        try:
            _sync(world.saver(), method, *args, **options)
        except Told as error:
            told.append(error)
        except DynamoDBSaverError as error:
            unfinished.append(str(error))

    check = world.saver().verify("thread")
    answers = [command(each, "thread") for each in ("show", "stats", "verify")]
    for method in ("history", "stats"):
        ask(method, "thread")
    ask("copy_thread", "thread", "copy")
    ask("delete_for_runs", ["run of other"], use_index=False)
    assert not any(_id(1) in item["checkpoint_id"]["S"] for item in world.items(0, "other"))
    for options in ({}, {"grace_seconds": 0}):
        ask("prune", ["thread"], **options)
    if not name.startswith("code"):  # values are the serde's business
        for where in (None, _config("thread")):
            ask("list", where)
        ask("get_tuple", _config("thread"))
        ask("put_writes", _config("thread", 2), [("x", 1)], "task")
        ask("get_delta_channel_history", config=_config("thread"), channels=["d"])
    assert run_of_code == []
    if name == "code in the metadata":
        # With LangGraph's permissive default; this shows that the canary sings.
        world.saver().get_tuple(_config("thread"))
        assert run_of_code == ["m"]
    world.saver().delete_thread("thread")

    found = check.damaged + check.undecodable
    assert not message or any(message in each for each in found)
    # A copy is stored without being decoded, and is told where all threads are listed.
    assert {error.thread_id for error in told} <= {"thread", "copy"}
    assert {error.table_name for error in told} <= {*world.tables}
    assert [each for each in unfinished if "unfinished" not in each] == []
    # Only verify() decodes writes.
    assert bool(told) >= bool(message and name != "code in writes")
    assert len(told) >= 8 * (name in _by_name(MALFORMED))
    assert not world.items(0, "thread")
    assert not world.saver().has_thread("thread")
    assert not [item for item in world.items(1, "thread") if item != forged]
    for answer in answers:
        assert answer.code in (0, 1)
        assert "Traceback" not in answer.err
        assert (answer.out + answer.err).replace("\n", "").isprintable()


@pytest.mark.usefixtures("small")
def test_list_returns_all_before_a_damaged_checkpoint(world: World) -> None:
    """The error comes when the checkpoint's turn comes, and not when it is read ahead."""
    config = _config("thread")
    for number in range(1, 9):
        config = _put(world.saver(), config, number, {"x": number})
    (item,) = (item for item in world.items(0) if item["checkpoint_id"]["S"] == _id(3))
    _put_item(world.saver(), _layout_0(1, 2)(item, {}))

    listed = world.saver().list(None)
    assert _numbers([*islice(listed, 5)]) == [8, 7, 6, 5, 4]
    with pytest.raises(DamagedCheckpointError) as caught:
        next(listed)

    assert caught.value.checkpoint_id == _id(3)


@pytest.mark.parametrize(("circle", "kept"), [((2, 1), 2), ((1, 2), 1)], ids=["of two", "of one"])
def test_parents_in_a_circle_end_in_an_error(
    world: World, circle: tuple[int, int], kept: int
) -> None:
    """Verify and a rebuild tell of forged checkpoints that name each other, or themselves, as parents.

    The rebuild once went on for ever where one was its own parent.
    """
    saver = world.saver()
    metadata: Any = {"run_id": "run", "counters_since_delta_snapshot": {"d": (1, 1)}}
    for number in (1, 2):
        saver.put(_config("thread"), _checkpoint(number, {}, {"d": 1}), metadata, {})
    for item in world.items(0):
        parent = _id(circle[int(item["checkpoint_id"]["S"][-1]) - 1])
        _put_item(saver, _altered(item, parent_checkpoint_id={"S": parent}))

    with pytest.raises(DamagedCheckpointError, match="is missing"):
        world.saver().get_delta_channel_history(config=_config("thread"), channels=["d"])

    assert len(world.saver().verify("thread").damaged) == 2
    world.saver().prune(["thread"])
    assert len(world.items(0)) == kept


def _of_ids(c: Item, _: Item, some: bytes, __: bytes) -> Item:
    return _altered(c, [_BARE, _META, {"x": ["msgpack", [some * 3000]]}, False])


# *forge* takes a checkpoint, a write, the id of a chunk, and that of one with nested extensions.
@pytest.mark.parametrize(("forge", "bound", "told"), [
    (lambda c, *_: c | {"blob": _bomb()}, {}, "Compressed bytes are damaged"),
    (lambda _, w, *__: w | {"blob": _bomb()}, {}, "Compressed bytes are damaged"),
    (_of_ids, {"_MAX_CHUNK_IDS": 2000}, r"content is malformed \(ValueError\)"),
    (_of_ids, {"_MAX_VALUE_BYTES": 10**6}, "A recipe makes more than the 1,000,000 bytes"),
    (lambda c, *_: _altered(c, [_BARE, _META | {"x": [{}] * 2000}, {}, False]),
     {"_MAX_CONTENT_OBJECTS": 1000}, r"content is malformed \(ValueError\)"),
    (lambda c, _, __, nested: _altered(c, [_BARE, _META, {"x": ["msgpack", [nested]]}, False]),
     {}, r"type 'msgpack' can't be decoded \(ValueError\)"),
], ids=["bomb", "bomb of writes", "ids", "bytes", "objects", "extensions"])  # fmt: skip
def test_a_forged_item_is_bounded_before_it_is_decoded(
    world: World, monkeypatch: Patch, forge: Callable[..., Item], bound: dict[str, int], told: str
) -> None:
    """An item is refused before 300 MB, or so many ids, bytes, objects or extensions are made of it."""
    saver = world.saver()
    saver.put_writes(_put(saver, _config("thread"), 1, {"x": [{}] * 30_000}), [("x", 1)], "task")
    ((c,), (w,)) = ([item for item in items if "type" in item] for items in _both(world))
    some = bytes.fromhex(next(filter(_is_chunk, world.items(0)))["checkpoint_id"]["S"][2:])
    nested = b"x" * (module._LARGE_EXTENSION_BYTES + 1)
    for _ in range(21):
        nested = ormsgpack.packb(ormsgpack.Ext(0, nested))
    nested_id = module._chunk_id(nested, b"")
    _put_item(saver, module._encode_chunk("thread", nested_id, module._FOREVER, nested, CODEC))
    for name, value in bound.items():
        monkeypatch.setattr(module, name, value)
    _put_item(saver, forge(c, w, some, nested_id))

    with _in_little_memory(), pytest.raises(Told, match=told):
        world.saver().get_tuple(_config("thread"))


@_cases(
    "count, times, told",
    (600, 1, "Content is made of more than 33,554,432 bytes of chunks"),
    (1, 4000, "A recipe makes more than the 33,554,432 bytes"),
)
def test_forged_content_is_bounded_before_its_chunks_are_read(
    world: World, count: int, times: int, told: str
) -> None:
    """A recipe of up to 64 KB that refers to 150 MB of chunks, or more, is told of after 32 MB.

    Packed, the chunks are no larger than the recipe, and calls that need no values read them too.
    """
    saver = world.saver()
    _put(saver, _config("thread"), 2)
    (item,) = world.items(0)
    datas = [n.to_bytes(2, "big") + bytes(module._MAX_CHUNK_BYTES - 2) for n in range(count)]
    ids = [module._chunk_id(data, b"") for data in datas]
    _restore(world, [[item, *(
        module._encode_chunk("thread", chunk_id, module._FOREVER, data, CODEC)
        for chunk_id, data in zip(ids, datas, strict=True)
    )], []])  # fmt: skip
    _put_item(saver, _altered(item, ["msgpack", [b"".join(ids) * times]], level=1))

    for ask in (
        lambda reader: [*reader.history("thread")],
        lambda reader: reader.prune(["thread"]),
        lambda reader: reader.get_tuple(_config("thread")),
    ):
        with _in_little_memory(100_000_000), pytest.raises(DamagedCheckpointError, match=told):
            ask(world.saver())


def test_what_is_too_large_to_be_read_is_refused(world: World, monkeypatch: Patch) -> None:
    """Metadata or a value beyond the bounds of a reader are refused by put(), with the way out."""
    saver = world.saver()
    monkeypatch.setattr(module, "_MAX_CONTENT_BYTES", 2000)
    with pytest.raises(ValueError, match=r"metadata and recipes take .* may take 2,000 bytes"):
        _put(saver, _config("thread"), 1, note="x" * 2000)
    monkeypatch.setattr(module, "_MAX_VALUE_BYTES", 2000)
    with pytest.raises(ValueError, match=r"A value has 2,0.. bytes, and may have 2,000"):
        _put(saver, _config("thread"), 1, {"x": "x" * 2000})

    assert world.items(0) == []


# EncryptedSerializer: values are cut in plain, then each part is encrypted, bound to its place.

SECRET: Final = "the-secret-of-the-"  # noqa: S105  it opens nothing


def _plaintext(items: Iterable[Item]) -> bytes:
    """Return all that items hold, names and keys included, decompressed where it can be."""
    found: list[bytes] = []

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            value = list(chain.from_iterable(value.items()))
        if isinstance(value, (list, set)):
            for each in value:
                add(each)
        elif isinstance(value, bytes):
            found.append(value)
            with suppress(DynamoDBSaverError):  # a digest is no packed bytes
                found.append(CODEC.unseal(value, 2**22, _NOWHERE))
        else:
            found.append(str(value).encode())

    add([*items])
    return b"\n".join(found)


def _secret_texts() -> list[str]:
    size = 60 if module._INLINE_VALUE_BYTES < 100 else 3000
    return [f"{SECRET}message {number} {_words(size, number)}" for number in range(24)]


def _put_secrets(saver: DynamoDBSaver, thread_id: str) -> RunnableConfig:
    """Put three checkpoints of a run each, one of a subgraph, and large and special writes.

    The second is rebuilt from the first, and the third from both. Under small limits content is
    chunked, and writes are cut.
    """
    texts = _secret_texts()
    config: RunnableConfig = _config(thread_id)
    for number in (1, 2, 3):
        values = {SECRET + "channel": texts[: number * 8], "delta": texts[::-1]}
        checkpoint = _checkpoint(number, values)
        if number > 1:
            del checkpoint["channel_values"]["delta"]
        metadata: Any = {
            "source": "loop", "step": number, "run_id": f"run-{number}",
            "topic": SECRET + "metadata" + _words(1500), _COUNTERS: {"delta": (number - 1, 1)},
        }  # fmt: skip
        config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
        writes = [(SECRET + "written", SECRET + "write"), ("delta", texts[number:])]
        saver.put_writes(config, writes, "task", "~path")
        saver.put_writes(config, [("delta", texts[0] * 2), ("delta", texts[1] * 2)], "few")
        saver.put_writes(config, [("delta", thread_id)], "tiny")
        saver.put_writes(config, [(INTERRUPT, SECRET + "interrupt" + _words(1500))], "task")
    _put(saver, _config(thread_id, ns="sub"), 1, {"messages": texts[:8]}, topic=SECRET)
    return config


def _chunk_ids(items: Iterable[Item]) -> set[bytes]:
    return {bytes.fromhex(item["checkpoint_id"]["S"][2:34]) for item in items if _is_chunk(item)}


@pytest.mark.usefixtures("limits")
def test_encryption_leaves_no_word_and_no_digest_of_one(world: World) -> None:
    """No stored byte tells values, metadata, names of channels, or their digests without a key.

    Two threads with the same content have no chunk id in common.
    """
    _put_secrets(world.saver(), "thread")
    in_plain = [*chain(*_both(world))]
    world.renew()
    for thread_id in ("thread", "other"):
        _put_secrets(world.saver(serde=_aes()), thread_id)
    encrypted, other = ([*chain(*_both(world, each))] for each in ("thread", "other"))

    def forms(data: bytes) -> Iterator[bytes]:
        """Return how bytes look as they are, in hex, and in base64 wherever in it they start."""
        yield from (data, data.hex().encode())
        for shift in range(3):
            # Without the characters that neighbours have a share in.
            start, end = (0, 2, 3)[shift], (len(data) + shift) // 3 * 4
            yield base64.b64encode(bytes(shift) + data)[start:end]

    texts = _secret_texts()
    values = [*texts, texts, texts[::-1], *(texts[:end] for end in range(1, 24))]
    dumped = [JsonPlusSerializer().dumps_typed(value)[1] for value in values]
    digests = {hashlib.blake2b(data, digest_size=16).digest() for data in dumped}
    ids = [_chunk_ids(items) for items in (in_plain, encrypted, other)]
    haystack = _plaintext(encrypted)

    assert any(form in _plaintext(in_plain) for form in forms(SECRET.encode()))
    assert min(map(len, ids)) > 9
    assert not ids[1] & ids[2]
    assert len(haystack) > 9000
    hidden = (SECRET.encode(), b"message 7", b"the-secret", b"delta", *digests, *ids[0])
    assert [form for word in hidden for form in forms(word) if form in haystack] == []
    for known in (b"thread", b"run-2", b"~path", b"sub"):
        assert known in haystack


def test_encryption_shares_chunks_between_processes(world: World) -> None:
    """A process that goes on with a thread refers to the chunks that another has stored."""
    texts = [f"{number} {_words(900, number)}" for number in range(600)]
    config = _put(world.saver(serde=_aes()), _config("thread"), 1, {"messages": texts})
    before = _chunk_ids(world.items(0))

    saver = world.saver(serde=_aes())
    assert saver.get_tuple(config)
    saver.put_writes(config, [("messages", [*texts, "one more " * 20])], "task")
    _put(saver, config, 2, {"messages": [*texts, "one more " * 20]})

    after = _chunk_ids(world.items(0))
    found: Any = world.saver(serde=_aes()).get_tuple(_config("thread"))
    assert found.checkpoint["channel_values"]["messages"] == [*texts, "one more " * 20]
    assert len(before) > 5
    assert before <= after
    assert len(after - before) <= 3


class _Attack:
    """A thread with all its items, another like it, and what someone without the key does to them."""

    def __init__(self, world: World) -> None:
        self.world, self.saver = world, world.saver(serde=_aes())
        self._decoder = self.saver._store.decoder(module._Codec(_aes()))
        for thread_id in ("a", "b"):
            _put_secrets(self.saver, thread_id)

    def manifest(self, number: int = 1, thread_id: str = "a", ns: str = "") -> Item:
        range_key = module._CheckpointKey("", ns, _id(number)).range_key
        return self._item(0, module._checkpoints_key(thread_id, range_key))

    def write(
        self, number: int = 1, thread_id: str = "a", task_id: str = "task", slot: int = 0
    ) -> Item:
        range_key = f"{_id(number)}:::{task_id}:::{slot}"
        return self._item(1, module._writes_key(thread_id, range_key))

    def chunk(self, item: Item | None = None, at: int = -1, *, of_content: bool = False) -> Item:
        """Return a chunk that a manifest refers to, for a value or for its content."""
        item = item or self.manifest()
        manifest = self._decoder.manifest(item)
        ids = [*(manifest.content_ids if of_content else manifest.value_ids)]
        range_key = module._chunk_range_key(ids[at], manifest.times.ttl)
        return self._item(0, module._checkpoints_key(item["thread_id"]["S"], range_key))

    def _item(self, table: int, key: Item) -> Item:
        name = self.world.tables[table]
        return dict(self.saver.client.get_item(TableName=name, Key=key)["Item"])

    def put(self, item: Item, blob: Any = "", **changes: Any) -> None:
        """Put an item, changed; None takes an attribute away."""
        if blob != "":
            changes["blob"] = None if blob is None else {"B": bytes(blob)}
        item = {name: value for name, value in {**item, **changes}.items() if value is not None}
        _put_item(self.saver, item)

    def flip(self, item: Item, at: int = -1) -> None:
        self.put(item, _flip(at)(item["blob"]["B"]))

    def swap(self, one: Item, other: Item) -> None:
        self.put(one, other["blob"]["B"])

    def move_write(self, item: Item, place: str = "task:::0") -> None:
        """Put a write at a task and a slot of checkpoint 1."""
        self.put(item | module._writes_key("a", f"{_id(1)}:::{place}"))

    @property
    def layout_0(self) -> dict[str, bytes]:
        """A ciphertext as layout 0 stored one."""
        return {"B": self.chunk()["blob"]["B"].partition(b"\0")[2]}

    def put_layout_0(self, key: Item, value: Any) -> None:
        """Have a write read as one of layout 0, which is bound to no place, of any ciphertext."""
        self.put(key, type={"S": "bytes+aes"}, channel={"S": RESUME}, value=value)


def _moved_to_another_thread(attack: _Attack) -> None:
    for item in attack.world.items(0, "b"):
        if _is_chunk(item) or item["checkpoint_id"]["S"] == _id(1):
            attack.put(item, thread_id={"S": "a"})


def _write_where_layout_0_has_it(attack: _Attack) -> None:
    """Store a write of layout 0 by a real checkpoint of layout 0, of a ciphertext of layout 1."""
    key, value = module._writes_key(f"a:::{_id(1)}:::", "task:::0"), attack.layout_0
    _put_layout_0(attack.saver, _aes(), "a")
    attack.put_layout_0(key, value)


def _joined_by_nul(attack: _Attack) -> None:
    """Have two strings read as one that holds both, with what is between them in the digest."""
    item = attack.manifest(2)
    both = f"{item['parent_checkpoint_id']['S']}\0run_id\0{item['run_id']['S']}"
    attack.put(item, parent_checkpoint_id={"S": both}, run_id=None)


def _write_in_plain(attack: _Attack) -> None:
    """Store a write without the key; put_writes() would not, as it reads the checkpoint's times."""
    key = module._CheckpointKey("a", "", _id(1))
    value = module._Recipe("msgpack", (ormsgpack.packb(["forged"]),))
    attack.put(module._encode_writes(key, "other", "", 0, {0: ("delta", value)}, _draft("a")))


# By what every read says: on checkpoint 1 of thread "a", or on the one that is named.
# fmt: off
ATTACKS: Final[_Table] = {
    "those of another place": {
        "a manifest of another thread": _moved_to_another_thread,
        "a manifest of another namespace": lambda a: a.put(
            a.manifest(ns="sub"), checkpoint_ns={"S": ""}, checkpoint_id={"S": _id(1)}),
        "a manifest of another checkpoint": lambda a: a.put(a.manifest(2), checkpoint_id={"S": _id(1)}),
        "a write of another thread": lambda a: a.move_write(a.write(1, "b")),
        "a write of another thread without chunks": lambda a: a.move_write(a.write(1, "b", "tiny")),
        "a write of another task": lambda a: a.move_write(a.write(), "other:::0"),
        "a write of another slot": lambda a: a.move_write(a.write(), "task:::7"),
        "a write of another index": lambda a: a.put(a.write(slot=-3), idx={"S": "-4"}),
        "a write of more indices": lambda a: a.put(a.write(), idx={"S": "0..999"}),
        "a write of another path": lambda a: a.put(a.write(), task_path={"S": ""}),
        "a write of another checkpoint": lambda a: a.move_write(a.write(2)),
        "content of another checkpoint": lambda a: a.swap(a.manifest(), a.manifest(2)),
        "a manifest for a write": lambda a: a.swap(a.write(), a.manifest()),
        "an old manifest of another run": lambda a: a.put(a.manifest(), run_id={"S": "run-2"}),
        "an old manifest of no run": lambda a: a.put(a.manifest(), run_id=None),
        "an old manifest of another parent": lambda a: a.put(a.manifest(), parent_checkpoint_id={"S": _id(0)}),
        "an old manifest of another type": lambda a: a.put(a.manifest(), type={"S": "bytes"}),
        "two strings made one": _joined_by_nul,
    },
    "can't be decrypted with this key": {
        "a flipped byte of a write": lambda a: a.flip(a.write()),
    },
    "is not what was stored": {
        "a chunk of another id": lambda a: a.swap(a.chunk(), a.chunk(at=-2)),
        "a chunk of another thread": lambda a: a.swap(a.chunk(), a.chunk(a.manifest(1, "b"), -2)),
        "a chunk for content": lambda a: a.swap(a.chunk(of_content=True), a.chunk()),
    },
    "copy_from() into new tables": {
        "a manifest in plain": lambda a: _put(a.world.saver(), _config("a"), 1, {"delta": ["forged"]}),
        "a write in plain": _write_in_plain,
        "a chunk in plain": lambda a: a.put(a.chunk(), CODEC.seal(b"x" * 99)),
    },
    "those of another layout": {
        "a write where layout 0 has it": _write_where_layout_0_has_it,
        "a value of layout 0 for a manifest": lambda a: a.put(
            a.manifest(), b"\x02aes\0" + _aes().dumps_typed("x" * 99)[1]),
        "a manifest of layout 0": lambda a: a.put(
            a.manifest(), None, checkpoint=a.layout_0, metadata=a.layout_0, type={"S": "bytes+aes"}),
    },
    "read them with that version": {
        "a flipped first byte": lambda a: a.flip(a.write(), 0),
    },
    "A write of layout 0 stands among": {
        "a write of layout 0": lambda a: a.put_layout_0(
            {name: a.write()[name] for name in TABLE_KEYS[1]}, a.layout_0),
    },
}
# fmt: on
_ATTACKS: Final = _by_name(ATTACKS)


def _reads(reader: DynamoDBSaver, number: int | None = None) -> list[Callable[[], object]]:
    config = _config("a")
    return [
        lambda: reader.get_tuple(_config("a", number)),
        lambda: [*reader.list(config)],
        lambda: reader.get_delta_channel_history(config=config, channels=["delta"]),
    ]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", _ATTACKS)
def test_encryption_tells_what_is_not_as_it_was_stored(world: World, name: str) -> None:
    """Every read says where, and verify goes on to the next; of plain items, how to move them."""
    attack, number = _Attack(world), 2 if name == "two strings made one" else 1

    change, message = _ATTACKS[name]
    change(attack)
    attack.flip(attack.manifest(ns="sub"))

    reader = world.saver(serde=_aes())
    for error in _errors_of(*_reads(reader, number)):
        assert (error.thread_id, error.checkpoint_ns, error.checkpoint_id) == ("a", "", _id(number))
        assert message in str(error)
    check = reader.verify("a")
    for ns, at in (("", number), ("sub", 1)):
        everything = check.damaged + check.undecodable
        assert any(f"namespace {ns!r}, checkpoint {_id(at)!r}" in told for told in everything)
    assert check.items["checkpoint"] == 4
    assert reader.verify("b").damaged == []
    with pytest.raises(Told):
        reader.copy_thread("a", "copy")


@pytest.mark.parametrize(("store", "written_with", "read_with", "undecodable", "told"), [
    (_put_secrets, _aes(), _aes(b"w" * 32), 4 + 12, "Bytes can't be decrypted with this key"),
    (_put_secrets, _aes(), None, 4 + 12, "give the saver the EncryptedSerializer"),
    (_put_secrets, None, _aes(), 4 + 12, "copy_from() into new tables"),
    (lambda saver, thread_id: _put_layout_0(saver, JsonPlusSerializer(), thread_id, 3),
     None, _aes(), 3, "copy_from() into new tables"),
], ids=["wrong key", "no key", "plain", "plain layout 0"])  # fmt: skip
@pytest.mark.usefixtures("small")
def test_encryption_is_not_read_without_its_key(
    world: World, store: Any, written_with: Any, read_with: Any, undecodable: int, told: str
) -> None:
    """Each checkpoint is told of, plain ones too; prune() and delete_for_runs() delete nothing.

    stats() and delete_thread() need no key.
    """
    store(world.saver(serde=written_with), "a")
    before = [sorted(map(repr, items)) for items in _both(world)]
    reader = world.saver(serde=read_with)

    for error in _errors_of(
        *_reads(reader),
        lambda: [*reader.history("a")],
        lambda: reader.prune(["a"]),
        lambda: reader.delete_for_runs(["run-3"]),
    ):
        assert (error.thread_id, error.checkpoint_id[:-1]) == ("a", _id(3)[:-1])
        assert told in str(error)
    check = reader.verify("a")
    assert (check.damaged, len(check.undecodable)) == ([], undecodable)
    assert [sorted(map(repr, items)) for items in _both(world)] == before
    checkpoints = [item for item in world.items(0) if not _is_chunk(item)]
    assert reader.stats("a").kinds["checkpoint"]["items"] == len(checkpoints)
    reader.delete_thread("a")
    assert _both(world) == [[], []]


def test_encryption_is_refused_in_a_plain_thread(world: World) -> None:
    """An encrypted item among plain ones is told of by a saver without encryption.

    It can be there only if its checkpoint was not: put_writes() reads that, and tells of it.
    """
    plain, encrypting = world.saver(), world.saver(serde=_aes())
    encrypting.put_writes(_config("a", 1), [("x", 1)], "task")
    first = _put(plain, _config("a"), 1, {"x": 1})
    second = _put(plain, first, 2, {"x": 2})

    with pytest.raises(UndecodableCheckpointError, match="serde encrypts: it is forged, or"):
        world.saver(serde=_aes()).put_writes(second, [("x", 1)], "task")
    with pytest.raises(UndecodableCheckpointError, match="give the saver the EncryptedSerializer"):
        plain.get_tuple(first)

    assert plain.get_tuple(second)
    (told,) = plain.verify("a").undecodable
    assert _id(1) in told


@pytest.mark.parametrize("ttl_seconds", [None, 9000])
@pytest.mark.usefixtures("small")
def test_encrypted_thread_is_copied_and_pruned(world: World, ttl_seconds: int | None) -> None:
    """The copy reads as its source does, is bound to its own place, and is whole and in secret.

    It has chunks of its own by the same ids, as it has the thread's secret, too.
    """
    world.serde, deltas = _aes(), {"config": _config("copy"), "channels": ["delta"]}
    saver, reader = world.saver(ttl_seconds=ttl_seconds), world.saver()
    _put_secrets(saver, "a")
    before = _told(world.saver(), "a")

    saver.copy_thread("a", "copy")

    assert len(before) == 4
    assert _told(reader, "copy") == _told(reader, "a") == before
    assert reader.get_delta_channel_history(**deltas)["delta"]
    assert reader.verify("a").orphans | reader.verify("copy").orphans == {}
    assert SECRET.encode() not in _plaintext(_stored(saver))
    assert _chunk_ids(world.items(0, "copy")) & _chunk_ids(world.items(0, "a"))
    saver.delete_thread("a")
    assert _told(world.saver(), "copy") == before

    world.now += 2 * GRACE
    saver.delete_for_runs(["run-3"])
    saver.prune(["copy"])

    # The first is hidden, and kept, as the second is rebuilt from it.
    assert [*_told(reader, "copy")] == [("", _id(2)), ("sub", _id(1))]
    assert reader.get_delta_channel_history(**deltas)["delta"]["writes"]
    check = reader.verify("copy")
    assert (check.damaged, check.items["checkpoint"]) == ([], 3)
    assert {each.split()[0] for each in check.orphans.values()} <= {"chunk"}


def _checkpoints_of(saver: BaseCheckpointSaver[Any], thread_id: str) -> dict[tuple[str, ...], Any]:
    return {key: checkpoint for key, (checkpoint, *_) in _told(saver, thread_id).items()}


@pytest.mark.usefixtures("small")
def test_copy_from_encrypts_a_thread_and_changes_its_key(world: World) -> None:
    """A thread begun in plain is encrypted in new tables; from there another key takes it on."""
    client = world.plain
    _put_secrets(plain := world.saver(), "a")
    before = _checkpoints_of(plain, "a")

    with _tables(client, make=True) as first, _tables(client, make=True) as second:
        one = DynamoDBSaver(*first, client=client, serde=_aes())
        two = DynamoDBSaver(*second, client=client, serde=_aes(b"2" * 32))
        with one, two:
            one.copy_from(plain)
            two.copy_from(one)
            for saver in (one, two):
                assert _checkpoints_of(saver, "a") == before
                assert saver.verify("a").damaged == []
                assert SECRET.encode() not in _plaintext(_stored(saver))
        with (
            DynamoDBSaver(*second, client=client, serde=_aes()) as wrong,
            pytest.raises(UndecodableCheckpointError, match="with this key"),
        ):
            wrong.get_tuple(_config("a"))


class _Traced(EncryptedSerializer):
    """A user's subclass of EncryptedSerializer: it may do more than the module can know."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        type_, data = super().dumps_typed(obj)
        return "traced:" + type_, data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return super().loads_typed((data[0].removeprefix("traced:"), data[1]))


class _Scrambler:
    """A cipher that, as real ones do, never makes the same of the same."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Prefix a random key to the bytes that it changes, so long that none comes twice."""
        key = os.urandom(16)
        return "scrambled", key + self._changed(plaintext, key)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Undo encrypt()."""
        assert ciphername == "scrambled"
        return self._changed(ciphertext[16:], ciphertext[:16])

    def _changed(self, data: bytes, key: bytes) -> bytes:
        return bytes(each ^ other for each, other in zip(data, itertools.cycle(key), strict=False))


class _Sealed:
    """A serde of a user's own, which calls what it encrypts msgpack."""

    _serde = EncryptedSerializer(_Scrambler())

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        type_, data = self._serde.dumps_typed(obj)
        return "msgpack", type_.encode() + b"\0" + data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        type_, _, encrypted = data[1].partition(b"\0")
        return self._serde.loads_typed((type_.decode(), encrypted))


class _Named(_Scrambler):
    """A cipher with a name that is given."""

    def __init__(self, name: str) -> None:
        self._name = name

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return self._name, super().encrypt(plaintext)[1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == self._name
        return super().decrypt("scrambled", ciphertext)


@pytest.mark.parametrize("serde", [
    _Traced(_aes().cipher), _Sealed(),
    *(EncryptedSerializer(_Named(each)) for each in ("kms/1", "a+b", "", "größe \U0001f511", "x" * 300)),
])  # fmt: skip
@pytest.mark.usefixtures("limits")
def test_encryption_of_the_users_own_keeps_values_whole(world: World, serde: Any) -> None:
    """A serde, or a cipher, that the module does not know gets its bytes back, none in plain."""
    saver, reader = world.saver(serde=serde), world.saver(serde=serde)
    _put_secrets(saver, "a")
    saver.copy_thread("a", "copy")

    assert _told(reader, "a") == _told(reader, "copy")
    assert reader.verify("a").damaged == []
    assert SECRET.encode() not in _plaintext(_stored(saver))
    plain = InMemorySaver()
    _put_secrets(plain, "a")  # type: ignore[arg-type]
    assert _checkpoints_of(reader, "a") == _checkpoints_of(plain, "a")


@pytest.mark.parametrize(
    ("name", "why"),
    [("a\0b", "The cipher's name 'a\\x00b' holds NUL; give it another"), ("\ud800", None)],
)
def test_encryption_refuses_a_cipher_whose_name_would_not_come_back(
    world: World, name: str, why: str | None
) -> None:
    """NUL ends the name: what was stored under one that holds it could not be read again."""
    saver = world.saver(serde=EncryptedSerializer(_Named(name)))

    with pytest.raises(ValueError, match=re.escape(why or "surrogates not allowed")):
        _put(saver, _config("a"), 1, {"x": 1})

    assert _stored(saver) == []


def _put_layout_0(saver: DynamoDBSaver, serde: Any, thread_id: str = "old", number: int = 1) -> Any:
    """Store a checkpoint and two writes as release 0.1.0 did, by a serde."""
    checkpoint = _checkpoint(number, {"messages": [SECRET, _words(3000)], "x": SECRET})
    type_, data = serde.dumps_typed(checkpoint)
    metadata = serde.dumps_typed({"source": "loop", "step": 1, "user": SECRET})[1]
    _put_item(saver, {
        **module._checkpoints_key(thread_id, _id(number)),
        "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"NULL": True},
        "type": {"S": type_}, "checkpoint": {"B": data}, "metadata": {"B": metadata},
    })  # fmt: skip
    for idx, (channel, value) in enumerate([("x", SECRET), ("messages", None)]):
        type_, data = serde.dumps_typed(value)
        key = module._writes_key(f"{thread_id}:::{_id(number)}:::", f"task:::{idx}")
        write = {"channel": {"S": channel}, "type": {"S": type_}, "value": {"B": data}}
        _put_item(saver, key | write)
    return _config(thread_id, number)


def test_encrypted_layout_0_is_read_and_goes_on(world: World) -> None:
    """A thread that 0.1.0 encrypted is read, copied and gone on from; new chunk ids have a key.

    Chunk ids were digests of plain bytes if the parent was of layout 0.
    """
    values = {"messages": [SECRET, _words(3000), *(_words(900, at) for at in range(40))]}
    digests = []
    for serde in (JsonPlusSerializer(), _aes()):
        world.renew()
        saver = world.saver(serde=serde)
        config = _put_layout_0(saver, serde)
        found: Any = saver.get_tuple(config)
        newest = _put(saver, _put(saver, config, 2, {**values, "x": 2}), 3, values)
        saver.put_writes(newest, [("messages", [*values["messages"], "more"])], "task")
        digests.append(_chunk_ids(_stored(saver)))
    saver.copy_thread("old", "copy")

    assert found.checkpoint == _checkpoint(1, {"messages": [SECRET, _words(3000)], "x": SECRET})
    assert found.metadata == {"source": "loop", "step": 1, "user": SECRET}
    assert found.pending_writes == [("task", "x", SECRET), ("task", "messages", None)]
    reader = world.saver(serde=_aes())
    assert _told(reader, "copy") == _told(reader, "old")
    assert reader.verify("old").damaged == []
    assert min(map(len, digests)) > 2
    assert not digests[0] & digests[1]


# Nothing that users store shows in plain in a table, an exception or the log.

_STRICT: Final = """
import json, os
from dataclasses import dataclass
from typing import Any, TypedDict
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_checkpoint_dynamodb import DynamoDBSaver

built = []

@dataclass
class Allowed:
    text: str

@dataclass
class Foreign:
    text: str
    def __post_init__(self):
        built.append(self.text)

class State(TypedDict, total=False):
    allowed: Allowed
    anything: Any

config = {"configurable": {"thread_id": "strict"}}
with DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"]) as saver:
    node = lambda state: interrupt([Allowed("asked"), Foreign("asked")])
    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)
    if not saver.has_thread("strict"):
        graph.invoke({"allowed": Allowed("kept"), "anything": Foreign("kept")}, config)
        built.clear()
    state = graph.get_state(config)
    found = [*state.interrupts[0].value, state.values["allowed"], state.values["anything"]]
    print(json.dumps([[type(each).__name__ for each in found], sorted({*built})]))
"""


def test_strict_msgpack_builds_what_is_allowed_and_nothing_else(world: World) -> None:
    """With LANGGRAPH_STRICT_MSGPACK a state's type comes back as itself; no other's code runs."""
    answers = []
    for strict in ("false", "true"):
        environment = {**os.environ, **world.endpoint.environment(world.tables)}
        environment["LANGGRAPH_STRICT_MSGPACK"] = strict
        answers.append(_python("-W", "error", "-c", _STRICT, env=environment, timeout=120))

    ((loose,), (strictly,)) = (answer.rows for answer in answers)
    assert loose == [["Allowed", "Foreign"] * 2, ["asked", "kept"]]
    (asked, foreign, kept, foreign_too), built = strictly
    assert (asked, kept, built) == ("Allowed", "Allowed", [])
    assert "Foreign" not in (foreign, foreign_too)


_Told = Callable[[World], Any]


def _later(tell: Callable[..., Any]) -> Callable[..., _Told]:
    """Have a function of a world take all its other arguments before the world."""
    return lambda *args, **kwargs: lambda world: tell(world, *args, **kwargs)


def _secretive(world: World, **options: Any) -> DynamoDBSaver:
    """Make a saver by credentials that are secret."""
    client_config = {"endpoint_url": world.url, "region_name": "eu-central-1"}
    secrets = dict.fromkeys(("aws_secret_access_key", "aws_session_token"), SECRET)
    client_config |= {"aws_access_key_id": "test", **secrets, **options}
    return DynamoDBSaver(world.tables[0], world.tables[1], client_config)


def _secret_config(**configurable: Any) -> Any:
    """Return a config with secrets in it, of which get_tuple() and list() read nothing."""
    return {
        "configurable": {"thread_id": "thread", "checkpoint_ns": "", "key": SECRET, **configurable},
        "metadata": {"user": SECRET},
    }


def _tell_all(saver: Any, config: Any = None, **changes: Any) -> Any:
    """Store secrets everywhere."""
    values = {"messages": [SECRET, _words(2000, 1) + SECRET], SECRET: SECRET}
    checkpoint = _checkpoint(2, values, 1) | changes
    metadata: Any = {"source": "loop", "step": 1, "parents": {}, "note": SECRET, "run_id": "run"}
    config = config or _secret_config()
    stored = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
    saver.put_writes(stored, [(SECRET, _words(2000, 2) + SECRET), ("__error__", SECRET)], "task")
    return stored


@_later
def _putting(world: World, configurable: Any = (), **changes: Any) -> None:
    """Store secrets with a config, or a checkpoint, that differs."""
    _tell_all(_secretive(world), _secret_config(**dict(configurable)), **changes)


def _full(world: World) -> DynamoDBSaver:
    """Make such a saver, and store a thread of secrets."""
    saver = _secretive(world)
    _tell_all(saver)
    return saver


def _get(world: World) -> Any:
    return _secretive(world).get_tuple(_config("thread"))


@_later
def _damaged(world: World, kind: str, change: Callable[[bytes], bytes] | None) -> None:
    """Damage the blobs of a kind of items, or delete these, and read them."""
    saver = _full(world)
    for item in chain(*_both(world)):
        if kind == ("write" if "task_id_idx" in item else module._kind(item)):
            if change:
                _put_item(saver, item | {"blob": {"B": change(item["blob"]["B"])}})
            else:
                _delete_item(saver, item)
    deque(_secretive(world).list(_config("thread")), maxlen=0)


@_later
def _disturbed(world: World, name: str, script: Script) -> None:
    _full(world)
    saver = world.saver(Wire(world, script).client)
    if name == "put":
        _tell_all(saver)
    _CALLS[name](saver, "thread")


@_later
def _called(
    world: World, name: str, *args: Any, call: Call = _sync,
    before: Callable[[DynamoDBSaver], Any] = lambda _: None, **kwargs: Any,
) -> None:  # fmt: skip
    """Call a method of a saver whose thread holds secrets, after something else."""
    saver = _full(world)
    before(saver)
    call(saver, name, *args, **kwargs)


def _made(*tables: Any, **options: Any) -> _Told:
    return lambda world: DynamoDBSaver(*(tables or world.tables), **options)


def _denied(error: Any) -> Any:
    """Return a hook that answers a call with an error of DynamoDB."""
    answer = {"Error": {"Code": error, "Message": "not authorized"}}
    return lambda **_: (AWSResponse("", 400, {}, _Body()), answer)


@_later
def _may_not(world: World, operation: str, act: Callable[[DynamoDBSaver], Any]) -> None:
    """Do something with credentials that do not allow an operation, in swapped tables or not."""
    _full(world)
    client, tables = world.client(), world.tables
    client.meta.events.register(
        f"before-call.dynamodb.{operation}", _denied("AccessDeniedException")
    )
    if operation == "DescribeTable":
        tables = tables[::-1]
    with DynamoDBSaver(tables[0], tables[1], client=client) as saver:
        act(saver)


@_later
def _on_other_tables(
    world: World, table: int, act: Callable[[DynamoDBSaver], Any], ttl: Any = None, **differs: Any
) -> None:
    """Do something with tables of which one differs."""
    with _tables(world.plain, make=True) as names:
        described = world.plain.describe_table(TableName=names[table])["Table"]
        same = {each: described[each] for each in ("KeySchema", "AttributeDefinitions")}
        world.plain.delete_table(TableName=names[table])
        options = {"TableName": names[table], **same, "BillingMode": "PAY_PER_REQUEST", **differs}
        world.plain.create_table(**options)
        if ttl:
            world.plain.update_time_to_live(TableName=names[table], TimeToLiveSpecification=ttl)
        with DynamoDBSaver(*names, client=world.plain, ttl_seconds=60) as saver:
            act(saver)


def _cut_lineage(saver: DynamoDBSaver) -> None:
    _put_deltas(saver, "deltas")
    _delete_item(saver, module._checkpoints_key("deltas", _id(5)))


@_later
def _copied_from(world: World, change: Callable[[Any, DynamoDBSaver], Any]) -> None:
    """Copy a thread of two checkpoints from another saver, after something is changed in either."""
    source: Any = InMemorySaver()
    _tell_all(source, _tell_all(source), id=_id(4))
    saver = _secretive(world)
    change(source, saver)
    saver.copy_from(source, ["thread"])


@_later
def _malformed(world: World, **attributes: Any) -> None:
    """Put a manifest with other attributes or content, and read it."""
    saver = _full(world)
    (item,) = (item for item in world.items(0) if "type" in item)
    _put_item(saver, _altered(item, **attributes))
    _get(world)


def _forged(type_: str, content: Any) -> _Told:
    """Put a manifest that says what an attacker likes."""
    return _malformed(type={"S": type_}, content=JsonPlusSerializer().dumps_typed(content)[1])


@_later
def _attacked(world: World, name: str) -> None:
    """Attack an encrypted thread, and read it."""
    _ATTACKS[name][0](_Attack(world))
    deque(world.saver(serde=_aes()).list(_config("a")), maxlen=0)


@_later
def _encrypted(world: World, name: str) -> None:
    """Store a thread that a cipher of that name encrypts, and read it without a key."""
    _put_secrets(world.saver(serde=EncryptedSerializer(_Named(name))), "a")
    _read(world, _config("a"))


@_later
def _bounded(
    world: World, bound: str, tell: _Told, at_first: _Told = lambda _: None, bound_at: int = 8
) -> None:
    """Do something under a low bound, after something else without it."""
    at_first(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, bound, bound_at)
        tell(world)


def _noted(*notes: Any) -> _Told:
    return lambda world: _put(_secretive(world), _config("thread"), 1, note=[*notes])


def _nested_too_deep(world: World) -> None:
    """Put a value of large dataclasses in each other."""
    sheet = Sheet([SECRET * 5000])
    for _ in range(21):
        sheet = Sheet([sheet])
    _put(_secretive(world), _config("thread"), 1, {"x": sheet})


@_later
def _slow_put(world: World) -> None:
    """Put a checkpoint through a client that takes an hour for a batch."""

    def wait(sent: Sent) -> None:
        world.now += 3600 * (sent.operation == "BatchWriteItem")

    _tell_all(world.saver(Wire(world, wait).client))


class _Unknown:
    """A type that no serde knows, and that shows a secret."""

    def __repr__(self) -> str:
        return SECRET


_SECRET_KEY: Final = {"client_config": {"aws_secret_access_key": SECRET}}
_LARGE_NOTE: Final = _noted(*(SECRET + random.Random(n).randbytes(50_000).hex() for n in range(20)))
# fmt: off
_TOLD: Final[tuple[_Told, ...]] = (
    *(_putting({"thread_id": each}) for each in (["thread"], "\ud800", "t" * 3000, "", None)),
    *map(_putting, ({"checkpoint_id": "a:::b"}, {"ttl_seconds": 0}, {"checkpoint_ns": 7})),
    _putting(id=""), _putting(id="~"), _putting(v=SECRET), _putting(channel_values={"x": _Unknown()}),
    lambda world: world.saver().put(
        _config("gone", 1), _checkpoint(2, {"x": SECRET}), _counted(1), {"x": 2}),
    *(_called("put_writes", _config("thread", 2), [each], "task") for each in ((7, SECRET), [SECRET] * 3)),
    _bounded("_MAX_VALUE_BYTES", _putting()), _bounded("_MAX_VALUE_BYTES", _get, _full),
    _bounded("_MAX_CONTENT_BYTES", _LARGE_NOTE),
    _bounded("_MAX_CONTENT_BYTES", _get, _noted(SECRET + _words(6000))),
    _bounded("_MAX_CONTENT_OBJECTS", _LARGE_NOTE), _bounded("_MAX_CHUNK_IDS", _get, _full, bound_at=2),
    _bounded("_MAX_LEVEL", _LARGE_NOTE, bound_at=-1), _nested_too_deep, _slow_put(),
    _called("copy_thread", "nothing", "copy"),
    _copied_from(lambda source, saver: [  # its last checkpoint is gone in the source
        saver.copy_from(source, ["thread"]), source.delete_thread("thread"), _tell_all(source)]),
    _called("put_writes", _config("thread", 2), [("x", SECRET)], ""),
    _called("put_writes", _config("thread"), [("x", SECRET)], "task"),
    _called("list", _secret_config(), filter=[("note", SECRET)]), _called("list", _secret_config(), limit="1"),
    _called("prune", "thread"), _called("prune", ["thread"], strategy="none"),
    _called("prune", ["thread"], grace_seconds=-1), _called("prune", ["thread"], keep_last=0),
    _called("copy_from", {"secret": SECRET}), _called("copy_from", InMemorySaver(), ["gone"]),
    _copied_from(lambda _, saver: _hide(saver, "thread")),
    _copied_from(lambda _, saver: _tell_all(saver, _tell_all(saver), id=_id(3))),
    _copied_from(lambda source, _: setattr(source, "get_tuple", lambda _: None)),
    _called("delete_for_runs", [1]),
    _called("copy_thread", "thread", "copy", before=lambda saver: _hide(saver, "thread")),
    _called("copy_thread", "thread", "thread"), _called("copy_thread", "other", "thread"),
    *(_damaged(kind, lambda blob: blob[:-1]) for kind in ("checkpoint", "write", "chunk")),
    _damaged("chunk", lambda blob: b"\x07" + blob[1:]), _damaged("chunk", None),
    _damaged("chunk", lambda _: b"\x00" + SECRET.encode()),
    _damaged("checkpoint", lambda _: b"\x00" + SECRET.encode() * 9),
    _called("get_delta_channel_history", config=_config("deltas"), channels=["delta"], before=_cut_lineage),
    _called("delete_for_runs", ["run-5"], before=lambda saver: _put_deltas(saver, "deltas")),
    *(_disturbed(name, lambda _: "ThrottlingException") for name in _CALLS),
    *(_disturbed(name, _time_out) for name in ("put", "get_tuple")),
    *(_disturbed(name, _leave_all) for name in ("put", "get_tuple", "delete_thread")),
    _forged("nonsense", [SECRET]), _forged("msgpack", SECRET), _forged("msgpack", [SECRET, {}, {}]),
    *(
        _forged("msgpack", [_BARE, {SECRET: 1}, {SECRET: value}, False])
        for value in (["null", [b"x"]], ["null", [-1]], ["null", SECRET], [5, SECRET])
    ),
    _malformed(blob=_bomb()), _malformed(content=b"\xc0", level=9),
    *map(_attacked, ("a flipped first byte", "a flipped byte of a write", "a write of another task",
                     "a write in plain", "a write of layout 0", "a chunk in plain",
                     "a write where layout 0 has it", "a value of layout 0 for a manifest")),
    _encrypted("aes"), _encrypted("a\0b"),
    lambda world: _read(world, _put_javascript(
        world.saver(), "thread", {"pending_sends": [{"node": SECRET, "args": SECRET}]}, None)),
    # A plain thread of 0.1.0, read by a saver that encrypts.
    lambda world: world.saver(serde=_aes()).get_tuple(_put_layout_0(world.saver(), JsonPlusSerializer())),
    lambda world: _tell_all(DynamoDBSaver("none", "no-writes", client=world.plain)),
    lambda world: _tell_all(DynamoDBSaver(world.tables[1], world.tables[0], client=world.plain)),  # swapped
    _may_not("Query", lambda saver: saver.delete_for_runs(["run"])),
    _may_not("DescribeTable", lambda saver: [*saver.threads()]),
    _made("same", "same", **_SECRET_KEY), _made("", "writes", **_SECRET_KEY), _made("a b", "writes", **_SECRET_KEY),
    _made(**_SECRET_KEY, cache_bytes=-1), _made(**_SECRET_KEY, max_workers=0),
    _made(client=1, **_SECRET_KEY), _made(client_config=SECRET), _made(client=SECRET),
    _made(serde=json, **_SECRET_KEY), _made(consistent_read=0, **_SECRET_KEY),
    lambda world: _secretive(world, nonsense=SECRET), lambda world: _secretive(world, profile_name=SECRET),
    lambda world: _secretive(world, secretAccessKey=SECRET),
    lambda world: pickle.dumps(_full(world)),
    *(
        _called("get_tuple", _config("thread"), call=each, before=lambda saver: saver.close())
        for each in (_sync, _async)
    ),
    _on_other_tables(0, _tell_all, AttributeDefinitions=[
        {"AttributeName": name, "AttributeType": "B"} for name in TABLE_KEYS[0]
    ]),
    _on_other_tables(1, lambda saver: [
        saver.setup(run_index=True), _put(saver, _config("t" * 1025), 1, {"x": SECRET})]),
    _on_other_tables(
        1, lambda saver: saver.setup(run_index=True),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    ),
    _on_other_tables(0, lambda saver: saver.setup(run_index=True), GlobalSecondaryIndexes=[{
        "IndexName": "run_id",
        "KeySchema": [{"AttributeName": "thread_id", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }]),
    _on_other_tables(1, lambda saver: saver.setup(), ttl={"Enabled": True, "AttributeName": "other"}),
)
# fmt: on


def _raises() -> dict[int, str]:
    """Return the lines of the saver that raise an exception which they name, for its callers."""
    source = inspect.getsource(module)
    # Neither leaves the module, and a file that is run by itself says where the command line is.
    inner = {"_SmallObjectsError", "_SourceError", "SystemExit"}
    return {
        node.lineno: source.splitlines()[node.lineno - 1].strip()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and not inner & {*re.findall(r"\w+", ast.unparse(node.exc))}
    }


@pytest.mark.usefixtures("small", "naps")
def test_no_exception_or_log_tells_a_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No exception of the module holds a value, metadata or credentials, nor does any log."""
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "urllib3"):  # when they debug they log every request
        caplog.set_level(logging.INFO, name)
    lines = set()

    for tell in _TOLD:
        world.renew()
        with pytest.raises(Exception) as caught:  # noqa: PT011  any that the module raises
            tell(world)
        for error in _chain_of(caught.value):
            assert SECRET not in f"{error} {error!r} {vars(error)}"
            frames = traceback.walk_tb(error.__traceback__)
            lines |= {line for frame, line in frames if frame.f_code.co_filename == module.__file__}

    raises = _raises()
    assert {line: raises[line] for line in raises.keys() - lines} == {}
    assert [r for r in caplog.records if SECRET in f"{r.getMessage()} {vars(r)}"] == []


# Keys and items as they are stored; items of releases are never edited: a change that these do not
# outlive is a new layout.

PIECES: Final = ("a", "0", "1", ":", ":::", "#", "~", "~c", "}", "1:a:", "é", "\U0010ffff")
TEXT: Final = st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=4)
IDS: Final = TEXT.filter(bool)
# A thread's id may be what stands for another one in a key.
THREAD_IDS: Final = IDS | IDS.map(module._hashed)


@settings(max_examples=300)
@given(THREAD_IDS, TEXT, IDS, IDS, st.integers(-4, 20))
def test_keys_tell_whose_they_are(
    deaf_saver: DynamoDBSaver, thread_id: str, ns: str, checkpoint_id: str, task_id: str, idx: int
) -> None:
    """Each of (thread, namespace, checkpoint, task, index) is read back: no two share a key."""
    try:
        with Requests(deaf_saver) as requests:
            stored = deaf_saver.put(_config(thread_id, ns=ns), _checkpoint(checkpoint_id), {}, {})
            deaf_saver.put_writes(stored, [("x", 1)], task_id)
    except ValueError:
        reject()
    key = module._CheckpointKey(*_triple(stored))
    write = {idx: ("x", module._Recipe("null", (b"",)))}

    item = module._encode_writes(key, task_id, "", idx, write, _draft(thread_id))

    hash_key, range_key = _key(item)
    puts = [_key(params["Item"]) for name, params in requests.sent if name == "PutItem"]
    assert puts[0] == [thread_id, key.range_key]
    assert puts[-1] == [hash_key, range_key.removesuffix(str(idx)) + "0"]
    is_hashed = ":::" in thread_id or re.fullmatch("#[0-9a-f]{32}", thread_id)
    assert hash_key == (module._hashed(thread_id) if is_hashed else thread_id)
    assert hash_key != key.layout_0_writes
    assert module._prefix_of_write(range_key) == key.writes_prefix
    assert module._task_and_slot(item) == (task_id, idx)
    if not ns.startswith("#"):  # its digest stands there
        assert module._key_of_prefix(thread_id, key.writes_prefix) == key
    assert key.writes_prefix < range_key < module._after(key.writes_prefix)


def _accepted(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Any:
    """Return the key of a checkpoint, or None if its parts are refused."""
    with suppress(ValueError):
        return module._Address(module._thread_id(thread_id), checkpoint_ns, None).key(checkpoint_id)
    return None


@given(st.tuples(IDS, TEXT, IDS).map(lambda parts: _accepted(*parts)).filter(bool), TEXT)
def test_keys_of_a_checkpoint_are_its_own(key: Any, checkpoint_ns: str) -> None:
    """An item's keys say which checkpoint it is.

    No other kind of item has such a key, and no query for another namespace finds it.
    """
    item: Item = {"checkpoint_ns": {"S": key.checkpoint_ns}}
    prefix = module._range_prefix(checkpoint_ns)
    lower, upper = (prefix, module._after(prefix)) if prefix else ("", "}")

    keys = module._checkpoints_key(key.thread_id, key.range_key)

    assert module._item_key(item | keys) == key
    assert (lower <= key.range_key <= upper) == (key.checkpoint_ns == checkpoint_ns)
    others = {"}"} | {f"{kind}{rest}" for kind in ("~t", "~x") for rest in ("", checkpoint_ns)}
    assert key.range_key not in others


@pytest.mark.parametrize("checkpoint_ns", ["n" * 513, "é" * 257, "#", "#" + "0" * 32])
def test_keys_replace_a_long_namespace(checkpoint_ns: str) -> None:
    """A namespace of over 512 bytes, or one that starts as a replacement, stands as a digest."""
    key = module._CheckpointKey("t", checkpoint_ns, "1")

    digest = hashlib.blake2b(checkpoint_ns.encode(), digest_size=16).hexdigest()
    assert key.range_key == f"~c33:#{digest}:1"
    assert key.writes_prefix == f"~c33:#{digest}:1:::"


@given(IDS, IDS, TEXT)
def test_keys_of_layout_0_are_never_shared(thread_id: str, checkpoint_id: str, ns: str) -> None:
    """A hash key of layout 0 can be parted in one way alone, but for what is not read as such."""
    if ":::" in ns or not _accepted(thread_id, "", checkpoint_id):
        reject()
    key = module._CheckpointKey(thread_id, ns, checkpoint_id)

    at = [match.start() for match in re.finditer("(?=:::)", key.layout_0_writes)]
    parts = [
        (key.layout_0_writes[:a], key.layout_0_writes[a + 3 : b], key.layout_0_writes[b + 3 :])
        for a, b in itertools.combinations(at, 2)
        if b >= a + 3
    ]

    found = [each for each in parts if _accepted(each[0], "", each[1]) and ":::" not in each[2]]
    assert found == [(thread_id, checkpoint_id, ns)]
    for each in (thread_id, checkpoint_id, ns):
        assert module._writes_hash_key(each) != key.layout_0_writes


@given(st.lists(st.integers(0, 200), unique=True).map(sorted))
def test_items_list_indices_as_ranges(indices: list[int]) -> None:
    """Listed indices read back, and are one range if nothing is left out."""
    encoded = module._encode_idx(indices or [-1])

    found = [idx for range_ in module._decode_idx(encoded) for idx in range_]

    assert found == (indices or [-1])
    assert module._encode_idx(range(100_000)) == "0..99999"


@given(st.text(min_size=1, max_size=5), st.integers(1, 10**7), st.floats(10**9, 2 * 10**9))
def test_items_expire_in_periods(thread_id: str, ttl_seconds: int, now: float) -> None:
    """Shown for a time to live, stored for a quarter of it more, and for another at most."""
    shown_until, ttl = module._lifetime(ttl_seconds, thread_id, now)
    later = module._lifetime(ttl_seconds, thread_id, now + ttl_seconds)

    assert shown_until == int(now) + ttl_seconds
    quarter = ttl_seconds // 4
    assert shown_until + quarter < ttl <= shown_until + quarter + ttl_seconds
    assert later.ttl == ttl + ttl_seconds


LENGTHS: Final = {
    "thread": st.sampled_from([40, 1023, 1024, 1025, 2048, 2049]),
    "checkpoint_ns": st.sampled_from([0, 1, 512, 513, 30_000, 65_535, 65_536, 65_537]),
    "run_id": st.sampled_from([0, 1, 30, 2047, 2048, 2049, 30_000]),
    "checkpoint_id": st.sampled_from([36, 250, 768, 769]),
    "task_id": st.sampled_from([1, 36, 240, 241]),
    "task_path": st.sampled_from([0, 20, 30_000, 65_536, 65_537]),
    "writes": st.sampled_from([1, 2, 500, 3000]),
    "apart": st.booleans(),
    "ttl_seconds": st.sampled_from([None, 10**6]),
    "off_by": st.integers(-40, 40),
}


@pytest.mark.parametrize("method", ["put", "put_writes"])
@settings(max_examples=40)
@given(lengths=st.fixed_dictionaries(LENGTHS))
def test_item_near_every_limit_is_stored_or_refused_at_once(
    endpoint: Endpoint, deaf_saver: DynamoDBSaver, method: str, lengths: dict[str, Any]
) -> None:
    """A checkpoint or writes whose content just is or is not in chunks, with the longest keys.

    With the longest texts, too, an item is far from 400 KB. DynamoDB is the judge: what is not
    refused before the first request comes back.
    """
    if "counts bytes otherwise" in endpoint.quirks:
        pytest.skip("it is no judge of an item's size")
    thread_id = uuid4().hex.ljust(lengths["thread"], "t")
    ns, checkpoint_id = "n" * lengths["checkpoint_ns"], "1" * lengths["checkpoint_id"]
    parent, config = (_config(thread_id, checkpoint_id.replace("1", x), ns=ns) for x in "01")
    for each in (parent, config):
        each["configurable"]["ttl_seconds"] = lengths["ttl_seconds"]
    checkpoint = _checkpoint(checkpoint_id, {"x": "y"})
    metadata: Any = {"source": "loop", "step": 1, "parents": {}}
    metadata |= {"run_id": "r" * lengths["run_id"]} if lengths["run_id"] else {}
    task = "i" * lengths["task_id"], "p" * lengths["task_path"]
    tiny = [("x", 0), *[(RESUME, 0)] * lengths["apart"]] * (lengths["writes"] - 1)

    def store(saver: DynamoDBSaver, size: int) -> Any:
        note = random.Random(size).randbytes(size)  # can't be compressed
        given_: Any = [*tiny, ("note", note)]
        args: Any = (config, given_, *task)
        if method == "put":
            given_ = metadata | {"note": note}
            args = (parent, checkpoint, given_, {"x": 1})
        with Requests(saver) as requests:
            try:
                getattr(saver, method)(*args)
            except ValueError:
                assert requests.sent == []
                raise
        items = [params["Item"] for name, params in requests.sent if name == "PutItem"]
        return given_, max(items, key=lambda item: len(item["blob"]["B"]))

    with suppress(ValueError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_INLINE_WRITE_BYTES", 10**9)  # no write's value is cut
        _, item = store(deaf_saver, 1000)
        rest, limit = len(item["blob"]["B"]) - 1000, module._INLINE_MANIFEST_BYTES
        if method == "put_writes":
            content = module._decode_blob(item, CODEC, _NOWHERE).content
            rest, limit = len(content) - 1000, module._INLINE_CONTENT_BYTES
        with DynamoDBSaver(*endpoint.tables, client=endpoint.client, cache_bytes=0) as saver:
            given_, item = store(saver, max(0, limit + lengths["off_by"] - rest))
            if method == "put_writes":
                saver.put(_config(thread_id, ns=ns), checkpoint, {}, {"x": 1})
                assert module._decode_blob(item, CODEC, _NOWHERE).level == (lengths["off_by"] > 0)
            found: Any = saver.get_tuple(config)
            saver.delete_thread(thread_id)

        assert found.checkpoint == checkpoint
        if method == "put":
            assert {**found.metadata, **given_} == found.metadata
        else:
            ordinary = [each for each in found.pending_writes if each[1] != RESUME]
            assert ordinary == [(task[0], *each) for each in given_ if each[0] != RESUME]


def _value_by_the_docstring(
    client: Any, table: str, source: str, thread_id: str, ns: str, channel: str
) -> tuple[str, bytes]:
    """Read the newest value of a channel as the docstring says it is stored."""
    dictionary = next(
        ast.literal_eval(ast.unparse(each.value or each.target))
        for each in ast.parse(source).body
        if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == "_DICTIONARY"
    )

    def unpack(blob: bytes) -> bytes:
        return zlib.decompressobj(zdict=dictionary).decompress(blob[1:]) if blob[0] else blob[1:]

    def chunk(chunk_id: bytes) -> bytes:
        name = f"~x{chunk_id.hex()}" + (f":{ttl}" if ttl else "")
        key = {"thread_id": {"S": thread_id}, "checkpoint_id": {"S": name}}
        data = unpack(client.get_item(TableName=table, Key=key)["Item"]["blob"]["B"])
        assert hashlib.blake2b(data, digest_size=16).digest() == chunk_id
        return data

    def join(recipe: Any) -> bytes:
        joined = b""
        for part in recipe[1:]:
            ids, skip = (b"", 0) if isinstance(part, bytes) else (*part, 0)[:2]
            chunks = [chunk(ids[at : at + 16]) for at in range(0, len(ids), 16)]
            joined += b"".join(chunks)[skip:] or part
        return joined

    prefix = f"~c{len(ns)}:{ns}:" if ns else ""
    first, last = {"S": f"{prefix}0"}, {"S": f"{prefix}g"}
    where = "thread_id = :t AND checkpoint_id BETWEEN :a AND :b"
    item = client.query(
        TableName=table, KeyConditionExpression=where, ScanIndexForward=False, Limit=1,
        ExpressionAttributeValues={":t": {"S": thread_id}, ":a": first, ":b": last},
    )["Items"][0]  # fmt: skip
    ttl, blob = item.get("ttl", {}).get("N"), unpack(item["blob"]["B"])
    content = ormsgpack.unpackb(blob[25:])
    for _ in range(blob[24]):
        content = ormsgpack.unpackb(join(content))
    return content[2][channel][0], join(content[2][channel])


@pytest.mark.parametrize("ttl_seconds", [None, 9000])
@pytest.mark.parametrize("ns", ["", "sub:1"])
def test_items_are_as_documented(world: World, ns: str, ttl_seconds: int | None) -> None:
    """Forty lines of botocore, zlib and msgpack find a channel's value.

    Its chunks may be skipped in part, and the manifest be in chunks itself.
    """
    saver, texts = world.saver(ttl_seconds=ttl_seconds), [_words(60, n) for n in range(900)]
    config = _put(saver, _config("thread", ns=ns), 1, {"texts": texts, "none": None})
    _put(saver, config, 2, {"texts": texts[1:], "none": None}, note=_words(9000))
    (item,) = (each for each in world.items(0) if each["checkpoint_id"]["S"].endswith(_id(2)))
    manifest = saver._store.decoder(CODEC).manifest(item)
    source = Path(module.__file__).read_text(encoding="utf-8")

    found, none = (
        _value_by_the_docstring(world.plain, world.tables[0], source, "thread", ns, channel)
        for channel in ("texts", "none")
    )

    assert (found[0], ormsgpack.unpackb(found[1])) == ("msgpack", texts[1:])
    assert none == JsonPlusSerializer().dumps_typed(None)
    assert manifest.blob
    assert manifest.blob.level > 0
    assert any(getattr(part, "skip", 0) for part in manifest.channels["texts"].parts)
    lines = inspect.getsource(_value_by_the_docstring).splitlines()
    assert len(lines) <= 40
    assert not re.findall(r"\bmodule\.|\b_[a-z]\w*\(", "".join(lines[1:]))


def _wire(text: str) -> Any:
    """Read DynamoDB's own JSON: an item a line, bytes as base64."""

    def typed(value: Any) -> Any:
        return {"B": base64.b64decode(value["B"])} if "B" in value else value

    return json.loads(text, strict=False, object_hook=typed)


# Items of layout 1, as they were first stored. The namespaces "many", "body" and "window" and the
# threads "pruned" and "sealed" are stored with the limits of SMALL, "sealed" with an
# EncryptedSerializer too. "timed" has a time to live, copy_from() stored "copied", and a prune has
# left tombstones and chunks in "pruned".
GOLDEN: Final[list[list[Item]]] = _wire("""[[
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "copied"}, "blob": {"B": "AXh9ldDdANs+ez6X9S6DK1ZtxifvH5e3XfBq2r/pxvlfGaaAXQlxAMRNumDCDERYwLhQYAj0zk6wbwwNdY2MQgyNIL6BeAPDuY0rYJHEiOrcJiTnLskDBh2SSozUNBEu14ycKsFpkBGeCBEmTIInbPaJSzNSc3LyDwEAFN9j8w=="}, "checkpoint_ns": {"S": ""}, "copied": {"BOOL": true}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAEuND9v945iz8qO1Upze5m3Vd6ol/Vg2WE5gmAJ2JcQBEDfpggkzEGEB40KBIdA7O8G+MTTUNTIKMTSC+AbiDQznNq6ARRIjqnObkJy7JA8YdEgqMVLTRLhcC3KqBKdBRngiXFZUmhefmbIUSOkaIoybBE/lvJOWZqTm5OQvLclILUo9BAAz5mmi"}, "checkpoint_ns": {"S": ""}, "run_id": {"S": "run-1"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000002"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAKt7tFZM/oPg24uvvL9nLLzz+U61pB/LBssJDFPAroQ4AOImXTBhBiIsYFwoMAJ6ZyfYN4aGukZGIYZGEN9AvIHh3MYVsEhiRHVuE5Jzl+QBgw5JJUZqmgiXa0ZOleA0yAhPhAgTJsETNu+kpRmpOTn5S0syUotSDwEAx/Vm+g=="}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~c4:body:1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "golden"}, "blob": {"B": "ANVP2CB+6P/U1fMCrvw2B9eE/7S6A4Dw7gGYp21zZ3BhY2vEApSGkcQgVf25tN6kak8i+U3y6kOkp/hDA/XX/BHXBNQt6e8KBv/EFbB1cGRhdGVkX2NoYW5uZWxzkaF4hJHEEEmMsxW3wxUTvKeRW6YYVIDEA9oF3JHEoGnHKaJzYROpzLeLUp3ahXzcONnERRKkG7UorJ9mIH+cIkRyzFckFMVjtoN5jZeIoArK06fY9y2iFTUh4Ft9qJYnG/0aE6p/fW27W2NUQOWAAmtHz1KwYGOn0s/u0kM724ymxHWckKGl4rIabCFSoXcO1VvcDzjIggGpTPy73G4aY/D9Y62eOzCf4LhoqseTBnXKme6cj3uaUjemWg4t/djEHTZUMjB2WU5vK1JSNEKBoXiSp21zZ3BhY2vEAQHC"}, "checkpoint_ns": {"S": "body"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~c4:many:1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAJv9zJZp+VotfrkJjneuMLctbPm/ZRdzw4d3DFPAroQ4AOImXTBhBiIsYFwoMAR6ZyfYN4aGukZGIYZGEN9AvIHh3MalQNtLUhlR3dqE5NYlecBwgynDSEcTIRLNyIkRnPQY4WkPqncKPDGzNy0pSczJnjPxSMCNWJHp7mJGbpJmq5Ykvb6rL1lSn+fi/Grt8ZD5D+6uef1h1UbjM/rLP/P0buTfzz/V55t4vrS2oFskG8/enjXBmkWruOaaT1W7Ybjv0A7Gi0XGbiZH2JaUlBbl8RwCAEwih8s="}, "checkpoint_ns": {"S": "many"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~c5:sub:1:1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdANsomcUerVSmUcVZwjcxVVPxTrWkH8sGywkMU8CuhDgA4iZdMGEGIixgXCgwBHpnJ9g3hoa6RkYhhkYQ30C8geHc5hWwSGJcUpJaUcK4JC8/L5UR1elNSE4Hyqek4tCFkcomw9WBFYDVNiOnW3AqZYQnU4S5k+BJn33i0ozUnJx8sGa48MQjAvG9BjPMxW4nXttZyif0ku092IpJ0FxyCADPiIJD"}, "checkpoint_ns": {"S": "sub:1"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~c6:window:1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAJvwSG2Z9+zZ//6+uB7xa2X2u5b/W3YxN3x4xzAF7EqIAyBu0gUTZiDCAsaFAkOgd3aCfWNoqGtkFGJoBPENxBsYzm1cUpKYk82I6tQmJKcuyQMGG1QVRiqaCBZvRk6J4HTHCE94EJ2T4QmZcc7EIwE3YkWmu4sZuUmarVqS9PquvmRJfZ6L86u1x0PmP7i75vWHVRuNz+gv/8zTu5F/P/9Un2/i+dLagm6RbDx7e9YEaxat4pprPlXthuG+QzsYLxYZu5kcAgBoBoOO"}, "checkpoint_ns": {"S": "window"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~c6:window:1f000000-0000-6000-8000-000000000002"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAPtWttX04I3k2o43r989FGKyavm/ZRdzw4d3DFPAroQ4AOImXTBhBiIsYFwoMAJ6ZyfYN4aGukZGIYZGEN9AvIHh3MYlJYk52YyoTm1CcuqSPGCwQVVhpKKJYPFm5JQITneM8IQH0TkZnpAZZ0064iBZUp/n4vxq7fGQ+Q/urnn9YdVG4zP6yz/z9G7k388/1eebeL60tqBbJBvP3p41wZpFq7jmmk9Vu2G479AOxotFxm4mdocAZlh7jw=="}, "checkpoint_ns": {"S": "window"}, "parent_checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~x026b47cf52b06063a7d2cfeed2433bdb"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXBWxdCMAAA4B+0B2Jij5gRmUsuO72ZS0s4HKn49X0fpz5+hx1EehoNM1u9j+DNCsgRnvyxGHCeTRVtgElrMbq1osEcva6gh2e57EkZ2ZStKLgj49DBqJYbV5Lt25h7pDysRU/VOKulwq8XQ+MEek5QcXMy5yeNuhjL5Ja4CEraINgqmOC4MnxqCQzG5PI72sMmUHXlhDr7PLR/EYI2Rg=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x0a9d379526d831bec2b801d172334634"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpCw0vBUNDhSSSAQD14RfC"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x0acad3a7d8f72da2153521e05b7da896"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXBwQ6CIAAA0A/yQGorPJqzyHIhjpjeVHDEEjU0kq/vPfqLBcpRBwGAx8w00gOFI7CLG2wKe7DVixS9p8ESgfcJaEqyVpeynqh79qamOGWML4rVuLRk1HTlWTjjHVYuiRkct3bhQviDf4MeSj9DY+6ql3IHgxlr1K4DZRyISOb+xU35ZKcSqGqfXB8hO6/NdwvqP9rONjE="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x0ed55bdc0f38c88201a94cfcbbdc6e1a"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXByxJDMBQA0A/qpt6yJKak3kW42RGVjkbRmTJ8fc/h+wuOujhJb3QDstEaQOKRBVkhb28lM43TTqdCbBNEKh72TXWkQxZWt/EI5dhUK9JAc1yh6sXcd9PQo2LmisbzjX3WtJkn9LgsaQBfAC9jg+4pPiOsciXlWAFH6vLpW9K84n2PMAE7b8SY4vdBxS/zNbG1dxnTPgntltHMyv8OhzoH"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x176f1b2b114659060cbd8cac532972aa"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpAw0vBQuFTJIBQrelQhbJ4KYtTLehgUIiyQAAbjFJqg=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x19747f6e4443eaadc7549fe0ddacebf0"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpAw0vBUOFJJIBQreRQjLJAKHbWCGFZIDQbaKQSjIAACwUX28="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x224472cc572414c563b683798d9788a0"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXBWxdCMAAA4B/kgYjDoxVhh+Tu0WWajM3Q9O/7PjU6cxKD4cAlCCyYFuBLTqSJUuJaDfaT5tOYExuTELedok9eEcqJs/CrE3shspvMHGj2U51HZaTQYvyWEJohhnjMGiWX1ue9j9qtdd9e2ZlwKMRSI7fA29zfsRtUsi8wAFAszNs7efTl+mO8oGqmNhkvq34ELTVm/AczmDf4"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x271bfd1a13aa7f7d6dbb5b635440e580"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXBSRaCIAAA0AO1oMEkl6FhOKTkBO3U55iKVmR6+v6XjbW/ikvLvAZ/4ngtjoSH2JmZUmUhWyQsFzN5Zl2R55ev8IwB2VAfp0cgg0zh9ElXmqmPEbiqNYNIPxM68a6mGwcmHYy9tjF99NnkYzn123plrmI4rDwNivnmoCKvEyUw/6UHaaiRL7YVwsEO3Gd/+uL+JsCZQSKF/Ua8vQHDPqRaZDUaRsUfYMg83w=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x498cb315b7c31513bca7915ba6185480"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAEOOT3DsMcKjb0lefkkqAPG2DnU="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x55fdb9b4dea46a4f22f94df2ea43a4a7"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAM5BWILxGJdMGEGIixgXCgwBLp5J9jJhoa6RkYhhkYQJ0PcCgDDehG+"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x5f8d30983716db61d6b9750e12e906ef"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALvFeqdiFIyCUTAKRsGwAwD1sMD6"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x63f0fd63ad9e3b309fe0b868aac79306"}, "thread_id": {"S": "golden"}, "blob": {"B": "AHJzYzFDUndLTWVhdW5yaGdDaUlYN1pIQTcrbHBQS1pucHpTRm9iWlBZMnJmaDZnY0kvcEw3OEFmRDdFTGxndUQ3SA=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x69c729a2736113a9ccb78b529dda857c"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXByRKCIAAA0A/qooYyHh2STFPAJaduiku55R7y9b2HzFDEWv4pGBQhhHSRpZNNUbKpGSKMpWDHdnKiKu5AUbkX+xs3bUIQX6lHgaBcTq9RkSn3jcPEYr69detKSv9XL0THtdXPjtzAHGiDcDnvirIfLAndfHFQxIuAV3dnX8PGsG0W+th9xgiqQnpmC8+qMsrsEfGD/AHLkDdn"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x6cc0c6d4ab1cd22d1d9fbad421ec3066"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpCw0vBUNDhSSSwYr8vFSFXGCwAwDfbBt/"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x75ca99ee9c8f7b9a5237a65a0e2dfdd8"}, "thread_id": {"S": "golden"}, "blob": {"B": "ADBmZEY2K1VTTjdHTHhPRHJ2SHprUGxnRmxnSkRtU2FVYUFIai85ZFhIUkFudUp1U2xZTHVQbnQwWTBKalVlYXBB"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~x8ca6c4759c90a1a5e2b21a6c2152a177"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAAXB3RZCMAAA4AdyoXOIufQXETJ0xl3GworN38rT932WGuFNJoq0lTFoBKty6gXiAsYuCa69nXnIQQlgp3yOx2ll2FzGndcpB3NdhPEqU2qIrGxnblbDhMsJGvrmusOR4izyKW3hbngh7pEv+lG5PSyE72cVJFzaXCtwe0kzV8iN9DNLr+b7WwiBQHcQ04rCeZPOZk/t+APfYjfD"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xaab133cc2fa7f30c8db10fbf0f954cf6"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpAw0vBVOFNJIBQreZQjrJAKHbXCGDZAAAw45Jqw=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xd85d1497471632461936aaa462ebdd2f"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtpAw0vBQOFRJIBAOI0F10="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xdc38d9c44512a41bb528ac9f66207f9c"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAA3S3RZCMAAA4AfaxYZOzSUqZ0PUmr+75GfOobFQPH19z/BdG1iGR2w+1LB9h8laBItaoHyr2fq3PMixzifHvDB1InOoANYq/38jEJ866igPSDoVgcxcN9kYS0lmwjjxKNJtQ7utoEQOagl4a6cMu09+r0ieZtcl1kA374sAuSW1PTkqPHNO5Q6KF/Z6qe8tLhy0rInBsDAieq7ZF65276zQqH60UToq"}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xf84303f5d7fc11d704d42de9ef0a06ff"}, "thread_id": {"S": "golden"}, "blob": {"B": "AXh9ldDdAMMwqnFhBSOqGU1IZizJA/oHpAQAvFgYaQ=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000002"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdAAv8Fq597c2yS1//mf8PEKg36Zt6dcbq81IbGaaAXQlxAMRNumDCDERYwLhQYAT0zk6wbwwNdY2MQgyNIL6BeAPDuY0LKxhR3dmE5M4lecAwAynBSD8TF1Y0IydAcHJjhKc3oJ5J8MTLyHgIAOynVh8="}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~t1f1ec737-8a31-6be5-9408-1ebd84ede957"}, "thread_id": {"S": "pruned"}, "chunks": {"B": "Cp03lSbYMb7CuAHRcjNGNBdvGysRRlkGDL2MrFMpcqoZdH9uREPqrcdUn+DdrOvw"}, "stored_at": {"N": "4000004000"}, "ttl": {"N": "4000011200"}},
{"checkpoint_id": {"S": "~t1f1ec737-8a31-6d22-8a58-bfb3a914468a"}, "thread_id": {"S": "pruned"}, "chunks": {"B": "qrEzzC+n8wyNsQ+/D5VM9thdFJdHFjJGGTaqpGLr3S8="}, "stored_at": {"N": "4000004000"}, "ttl": {"N": "4000011200"}},
{"checkpoint_id": {"S": "~x0a9d379526d831bec2b801d172334634"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdALtpCw0vBUNDhSSSAQD14RfC"}, "stored_at": {"N": "4000000000"}},
{"checkpoint_id": {"S": "~x176f1b2b114659060cbd8cac532972aa"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdALtpAw0vBQuFTJIBQrelQhbJ4KYtTLehgUIiyQAAbjFJqg=="}, "stored_at": {"N": "4000000000"}},
{"checkpoint_id": {"S": "~x19747f6e4443eaadc7549fe0ddacebf0"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdALtpAw0vBUOFJJIBQreRQjLJAKHbWCGFZIDQbaKQSjIAACwUX28="}, "stored_at": {"N": "4000000000"}},
{"checkpoint_id": {"S": "~xaab133cc2fa7f30c8db10fbf0f954cf6"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdALtpAw0vBVOFNJIBQreZQjrJAKHbXCGDZAAAw45Jqw=="}, "stored_at": {"N": "4000000000"}},
{"checkpoint_id": {"S": "~xd85d1497471632461936aaa462ebdd2f"}, "thread_id": {"S": "pruned"}, "blob": {"B": "AXh9ldDdALtpAw0vBQOFRJIBAOI0F10="}, "stored_at": {"N": "4000000000"}},
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "sealed"}, "blob": {"B": "AmFlcwBceGmYcpz7QdqQ7AGCufwLqwOFOm2q4cdd/MOVnblcHjw5345k5bFyvJ4CzfLNuHiF6OCUhWWUuen3dBiZqkeR1V7W569Gg7yB2vxYNaBFRvgOoVGTgHUsv6aKVt0S6WJknpKUej+CxAeDRxV9ax626mUIxnwHJvG6GiK74120hKt0VVIIqnd4QbXxX5Su4ZBWAzKrAtcLYeI06W4wLgB+69yOSBE8GoNqpz6MKXi3lPbbO+NdGzVZNcOYJF2cHEJ6zejiCzIUrGaKHMIsaCVz1yrdtZhlaBgkQVRCt1phTfw= "}, "checkpoint_ns": {"S": ""}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~x6fc9b6c3280f4ed6feab54cf5ac2bcce"}, "thread_id": {"S": "sealed"}, "blob": {"B": "AmFlcwDpAZcWfGF3XbuwwCF9DC369R4CfmTsH3uRNgPu1okwVgCFG7xjXeFCftd6qWOC/4ZyM8n++k0TyQ=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xe18825fe110306bb428d829f45aaa006"}, "thread_id": {"S": "sealed"}, "blob": {"B": "AmFlcwBqFO/S2rtw1xxA0vVUELDW+Vg7To8Kky5OxDQwMV2UOQL2izXZUpN2PmSHimDhTwsBr1Dhduwv4w=="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "~xf685107edede67de30ca0bcd23fa80f4"}, "thread_id": {"S": "sealed"}, "blob": {"B": "AmFlcwAmn9Srdb8tfP3sAIwTWiTZ+vEuHfuql43gN6BGpVhPSoIGMpIL6QbKhkocHjIaJMQcKregEKHEhPdXl5aP5pY="}, "stored_at": {"N": "1700000000"}},
{"checkpoint_id": {"S": "1f000000-0000-6000-8000-000000000001"}, "thread_id": {"S": "timed"}, "blob": {"B": "AXh9ldDdAItYXM+1UtGyrfea6cbac7KTWBKLCk/y1kYxTAG7EuIAiJt0wYQZiLCAcaHAEOidnWDfGBrqGhmFGBpBfAPxBoZzG5eUpFaUMKI6tQnJqUvygMEGVYWRiiaCxZuRUyI43THCEx5E5yRYQp54RCC+12CGudjtxGs7S/mEXrK9PwQAgxFfbQ=="}, "checkpoint_ns": {"S": ""}, "shown_until": {"N": "4853600000"}, "ttl": {"N": "6809710261"}, "type": {"S": "msgpack"}},
{"checkpoint_id": {"S": "~x5f8d30983716db61d6b9750e12e906ef:6809710261"}, "thread_id": {"S": "timed"}, "blob": {"B": "AXh9ldDdALvFeqdiFIyCUTAKRsGwAwD1sMD6"}, "stored_at": {"N": "1700000000"}, "ttl": {"N": "6809710261"}}
], [
{"task_id_idx": {"S": "1f000000-0000-6000-8000-000000000002:::task-1:::-3"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "golden"}, "blob": {"B": "AM3DbtSA5aoUwep79dO9PufcexlOBLA5kACRlP2tX19pbnRlcnJ1cHRfX6dtc2dwYWNrxAKRAQ=="}, "idx": {"S": "-3"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": "path-1"}, "type": {"S": "msgpack"}},
{"task_id_idx": {"S": "1f000000-0000-6000-8000-000000000002:::task-1:::0"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "golden"}, "blob": {"B": "AXh9ldDdALtnlXWyvVo/U1htbQDLoZsL71RL+rFssJzAMGkKwwpYUMJTBNvSxHRgQE9hWpKXn5cKTRsA2fAcxg=="}, "idx": {"S": "0,2"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": "path-1"}, "type": {"S": "msgpack"}},
{"task_id_idx": {"S": "1f000000-0000-6000-8000-000000000003:::task-2:::0"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "golden"}, "blob": {"B": "APubIownp4QTBW3V48xR02rcexlOBLA5kACRlACobWVzc2FnZXOnbXNncGFja8QGpWVhcmx5"}, "idx": {"S": "0"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": ""}, "type": {"S": "msgpack"}},
{"task_id_idx": {"S": "~c4:many:1f000000-0000-6000-8000-000000000001:::task-1:::0"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "golden"}, "blob": {"B": "AF7mK5blX+2AD9D3llWOPbmE/7S6A4Dw7gCRlgClc3RhdGWnbXNncGFja8QHgqR0YWxrnZHEUNhdFJdHFjJGGTaqpGLr3S8ZdH9uREPqrcdUn+DdrOvwqrEzzC+n8wyNsQ+/D5VM9hdvGysRRlkGDL2MrFMpcqpswMbUqxzSLR2futQh7DBmxAakdHVybg0="}, "idx": {"S": "0"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": ""}, "type": {"S": "msgpack"}},
{"task_id_idx": {"S": "1f000000-0000-6000-8000-000000000001:::task-1:::0"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "sealed"}, "blob": {"B": "AmFlcwCcXYfzPeYWW6zGeuaZYC+SmWlcHbTCdVaGg0VGsompvnspJ9Jd2+QzzyPyjjbICHZybr+A8XDR4LCkHb7M7VsVd2HIeHqtVGSegQR5A5fOs+r7jphFoO4CSn8RhJ/YGQqzcg4R/A=="}, "idx": {"S": "0"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": ""}, "type": {"S": "msgpack"}},
{"task_id_idx": {"S": "1f000000-0000-6000-8000-000000000001:::task-1:::0"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "timed"}, "blob": {"B": "ABPMKo5euM46ImKl9O1JDvcEYXJxyQ19WgCRlACkdGV4dKdtc2dwYWNrxAinYSB3cml0ZQ=="}, "idx": {"S": "0"}, "stored_at": {"N": "1700000000"}, "task_path": {"S": ""}, "ttl": {"N": "6809710261"}, "type": {"S": "msgpack"}}
]]""")


@pytest.fixture
def golden_saver(lone_saver: DynamoDBSaver) -> DynamoDBSaver:
    """Make a saver whose tables hold the golden items, and no more."""
    for item in chain(*GOLDEN):
        _put_item(lone_saver, item)
    return lone_saver


TALK_OF_12: Final = [f"message {number} {'abcdefghij'[number % 10] * 50}" for number in range(12)]
AGAIN: Final = [
    ("task-1", INTERRUPT, [1]), ("task-1", "messages", "again"), ("task-1", "none", None)
]  # fmt: skip
LATER_STATE: Final = {"talk": [*TALK_OF_12, "one more"], "turn": 13}
# Thread, namespace, the end of the id: values, pending writes.
GOLDEN_TUPLES: Final[list[tuple[str, str, int, dict[str, Any], list[Any]]]] = [
    ("golden", "", 1, {"messages": ["hello", "there"]}, []),
    ("golden", "", 2, {"messages": ["hello", "there"]}, AGAIN),
    ("golden", "sub:1", 1, {"messages": ["hello"], "text": "x" * 1500, "none": None}, []),
    ("golden", "many", 1, {"state": {"talk": TALK_OF_12, "turn": 12}},
     [("task-1", "state", LATER_STATE)]),
    ("golden", "body", 1, {"x": 1}, []),
    ("golden", "window", 2, {"talk": TALK_OF_12[2:]}, []),
    ("timed", "", 1, {"text": "x" * 1500}, [("task-1", "text", "a write")]),
    ("copied", "", 1, {"messages": ["hello"]}, []),
    ("pruned", "", 2, {"x": 1}, []),
    ("sealed", "", 1, {"talk": TALK_OF_12[:4]}, [("task-1", "talk", "a write")]),
]  # fmt: skip


def test_items_of_layout_1_are_read(golden_saver: DynamoDBSaver) -> None:
    """The golden items read back as the checkpoints and pending writes that they were made of."""
    with _beside(golden_saver, serde=_aes()) as encrypting:
        for thread_id, ns, number, values, writes in GOLDEN_TUPLES:
            saver = encrypting if thread_id == "sealed" else golden_saver
            config = _config(thread_id, f"1f000000-0000-6000-8000-{number:012}", ns=ns)
            found = saver.get_tuple(config)
            assert found
            assert (found.checkpoint["channel_values"], found.pending_writes) == (values, writes)
            check = saver.verify(thread_id)
            assert check.damaged + check.undecodable == []
    newest, oldest = golden_saver.list(_config("golden"))
    body = golden_saver.get_tuple(_config("golden", ns="body"))
    assert dict(oldest.metadata)["run_id"] == "run-1"
    assert (oldest.parent_config, newest.parent_config) == (None, oldest.config)
    assert body
    assert body.metadata.get("note") == _words(1500)
    threads = sorted({thread_id for thread_id, *_ in GOLDEN_TUPLES})
    assert sorted(golden_saver.threads()) == threads
    for thread_id in threads:
        golden_saver.delete_thread(thread_id)
    assert _stored(golden_saver) == []


@ONE_SERVER
def test_items_of_layout_1_say_when_they_end(golden_saver: DynamoDBSaver) -> None:
    """A golden checkpoint is shown until its time, and a golden tombstone spares chunks for an hour."""
    now = 1_700_000_000 + 3_153_600_000 - 1

    for at, is_shown in ((now, True), (now + 1, False)):
        with _beside(golden_saver, clock=lambda at=at: at) as reader:
            assert bool(reader.get_tuple(_config("timed"))) == is_shown
    for at, chunks in ((4_000_007_500, 5), (4_000_007_700, 0)):
        with _beside(golden_saver, clock=lambda at=at: at) as pruner:
            pruner.prune(["pruned"])
        assert len([*filter(_is_chunk, _items_of(golden_saver, "pruned"))]) == chunks


# By LangGraph 0.2.53, of checkpoint format 1: stopped before the tasks that "plan" has sent.
ORDER: Final[list[list[Item]]] = _wire("""[[
{"thread_id": {"S": "order"}, "checkpoint_id": {"S": "1f1e68fd-fe91-6cba-bfff-07e38d56503d"}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"NULL": true}, "type": {"S": "msgpack"}, "checkpoint": {"B": "h6F2AaJ0c9kgMjAyNi0xMS0yMlQxNjoxNTowMy42NTAzOTkrMDA6MDCiaWTZJDFmMWU2OGZkLWZlOTEtNmNiYS1iZmZmLTA3ZTM4ZDU2NTAzZK5jaGFubmVsX3ZhbHVlc4GpX19zdGFydF9fgaVpdGVtc5CwY2hhbm5lbF92ZXJzaW9uc4GpX19zdGFydF9fAa12ZXJzaW9uc19zZWVugalfX2lucHV0X1+ArXBlbmRpbmdfc2VuZHOQ"}, "metadata": {"B": "hqZzb3VyY2WlaW5wdXSmd3JpdGVzgalfX3N0YXJ0X1+BpWl0ZW1zkKZydW5faWSjcnVuqXRocmVhZF9pZKVvcmRlcqRzdGVw/6dwYXJlbnRzgA=="}},
{"thread_id": {"S": "order"}, "checkpoint_id": {"S": "1f1e68fd-fec0-6a50-8000-9941d630cfd5"}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"S": "1f1e68fd-fe91-6cba-bfff-07e38d56503d"}, "type": {"S": "msgpack"}, "checkpoint": {"B": "h6F2AaJ0c9kgMjAyNi0xMS0yMlQxNjoxNTowMy42Njk1ODArMDA6MDCiaWTZJDFmMWU2OGZkLWZlYzAtNmE1MC04MDAwLTk5NDFkNjMwY2ZkNa5jaGFubmVsX3ZhbHVlc4KlaXRlbXOQqnN0YXJ0OnBsYW6pX19zdGFydF9fsGNoYW5uZWxfdmVyc2lvbnODqV9fc3RhcnRfXwKlaXRlbXMCqnN0YXJ0OnBsYW4CrXZlcnNpb25zX3NlZW6CqV9faW5wdXRfX4CpX19zdGFydF9fgalfX3N0YXJ0X18BrXBlbmRpbmdfc2VuZHOQ"}, "metadata": {"B": "hqZzb3VyY2WkbG9vcKZ3cml0ZXPApnJ1bl9pZKNydW6pdGhyZWFkX2lkpW9yZGVypHN0ZXAAp3BhcmVudHOA"}},
{"thread_id": {"S": "order"}, "checkpoint_id": {"S": "1f1e68fd-fedc-612f-8001-c24683aece03"}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"S": "1f1e68fd-fec0-6a50-8000-9941d630cfd5"}, "type": {"S": "msgpack"}, "checkpoint": {"B": "h6F2AaJ0c9kgMjAyNi0xMS0yMlQxNjoxNTowMy42ODA4MjArMDA6MDCiaWTZJDFmMWU2OGZkLWZlZGMtNjEyZi04MDAxLWMyNDY4M2FlY2UwM65jaGFubmVsX3ZhbHVlc4KlaXRlbXOSo2hhbaRlZ2dzpHBsYW6kcGxhbrBjaGFubmVsX3ZlcnNpb25zhKlfX3N0YXJ0X18CpWl0ZW1zA6pzdGFydDpwbGFuA6RwbGFuA612ZXJzaW9uc19zZWVug6lfX2lucHV0X1+AqV9fc3RhcnRfX4GpX19zdGFydF9fAaRwbGFugapzdGFydDpwbGFuAq1wZW5kaW5nX3NlbmRzksclAZOvbGFuZ2dyYXBoLnR5cGVzpFNlbmSSo2ZyeYGkaXRlbaNoYW3HJgGTr2xhbmdncmFwaC50eXBlc6RTZW5kkqNmcnmBpGl0ZW2kZWdncw=="}, "metadata": {"B": "hqZzb3VyY2WkbG9vcKZ3cml0ZXOBpHBsYW6BpWl0ZW1zkqNoYW2kZWdnc6ZydW5faWSjcnVuqXRocmVhZF9pZKVvcmRlcqRzdGVwAadwYXJlbnRzgA=="}}
], [
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fe91-6cba-bfff-07e38d56503d:::"}, "task_id_idx": {"S": "2a580cbb-4783-93ab-28cd-feef12a67753:::0"}, "channel": {"S": "items"}, "value": {"B": "kA=="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fe91-6cba-bfff-07e38d56503d:::"}, "task_id_idx": {"S": "2a580cbb-4783-93ab-28cd-feef12a67753:::1"}, "channel": {"S": "start:plan"}, "value": {"B": "qV9fc3RhcnRfXw=="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fec0-6a50-8000-9941d630cfd5:::"}, "task_id_idx": {"S": "a9a15f15-bd97-4f7c-9aca-c1bc21e8dab3:::0"}, "channel": {"S": "plan"}, "value": {"B": "pHBsYW4="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fec0-6a50-8000-9941d630cfd5:::"}, "task_id_idx": {"S": "a9a15f15-bd97-4f7c-9aca-c1bc21e8dab3:::1"}, "channel": {"S": "items"}, "value": {"B": "kqNoYW2kZWdncw=="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fec0-6a50-8000-9941d630cfd5:::"}, "task_id_idx": {"S": "a9a15f15-bd97-4f7c-9aca-c1bc21e8dab3:::2"}, "channel": {"S": "__pregel_tasks"}, "value": {"B": "xyUBk69sYW5nZ3JhcGgudHlwZXOkU2VuZJKjZnJ5gaRpdGVto2hhbQ=="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "order:::1f1e68fd-fec0-6a50-8000-9941d630cfd5:::"}, "task_id_idx": {"S": "a9a15f15-bd97-4f7c-9aca-c1bc21e8dab3:::3"}, "channel": {"S": "__pregel_tasks"}, "value": {"B": "xyYBk69sYW5nZ3JhcGgudHlwZXOkU2VuZJKjZnJ5gaRpdGVtpGVnZ3M="}}
]]""")
# By LangGraph 1.2.22, of checkpoint format 4: two of three parallel tasks have failed.
REPORT: Final[list[list[Item]]] = _wire("""[[
{"thread_id": {"S": "report"}, "checkpoint_id": {"S": "1f1e68a3-d519-606c-bfff-c00d97e01597"}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"NULL": true}, "type": {"S": "msgpack"}, "checkpoint": {"B": "h6F2BKJ0c9kgMjAyNi0xMS0yMlQxNTozNDo0My4zODI2NzIrMDA6MDCiaWTZJDFmMWU2OGEzLWQ1MTktNjA2Yy1iZmZmLWMwMGQ5N2UwMTU5N65jaGFubmVsX3ZhbHVlc4GpX19zdGFydF9fgaVsaW5lc5GmcmVwb3J0sGNoYW5uZWxfdmVyc2lvbnOBqV9fc3RhcnRfXwGtdmVyc2lvbnNfc2VlboGpX19pbnB1dF9fgLB1cGRhdGVkX2NoYW5uZWxzkalfX3N0YXJ0X18="}, "metadata": {"B": "g6Zzb3VyY2WlaW5wdXSkc3RlcP+ncGFyZW50c4A="}},
{"thread_id": {"S": "report"}, "checkpoint_id": {"S": "1f1e68a3-d52a-6929-8000-8bc7e2ecc81c"}, "checkpoint_ns": {"S": ""}, "parent_checkpoint_id": {"S": "1f1e68a3-d519-606c-bfff-c00d97e01597"}, "type": {"S": "msgpack"}, "checkpoint": {"B": "h6F2BKJ0c9kgMjAyNi0xMS0yMlQxNTozNDo0My4zODk4NTgrMDA6MDCiaWTZJDFmMWU2OGEzLWQ1MmEtNjkyOS04MDAwLThiYzdlMmVjYzgxY65jaGFubmVsX3ZhbHVlc4SlbGluZXORpnJlcG9ydK5icmFuY2g6dG86bmV3c8CwYnJhbmNoOnRvOnN0b2Nrc8CxYnJhbmNoOnRvOndlYXRoZXLAsGNoYW5uZWxfdmVyc2lvbnOFqV9fc3RhcnRfXwKlbGluZXMCrmJyYW5jaDp0bzpuZXdzArBicmFuY2g6dG86c3RvY2tzArFicmFuY2g6dG86d2VhdGhlcgKtdmVyc2lvbnNfc2VlboKpX19pbnB1dF9fgKlfX3N0YXJ0X1+BqV9fc3RhcnRfXwGwdXBkYXRlZF9jaGFubmVsc5SuYnJhbmNoOnRvOm5ld3OwYnJhbmNoOnRvOnN0b2Nrc7FicmFuY2g6dG86d2VhdGhlcqVsaW5lcw=="}, "metadata": {"B": "g6Zzb3VyY2WkbG9vcKRzdGVwAKdwYXJlbnRzgA=="}}
], [
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d519-606c-bfff-c00d97e01597:::"}, "task_id_idx": {"S": "47dde8a7-5765-6e20-85e0-587279ad91c1:::0"}, "channel": {"S": "lines"}, "value": {"B": "kaZyZXBvcnQ="}},
{"type": {"S": "null"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d519-606c-bfff-c00d97e01597:::"}, "task_id_idx": {"S": "47dde8a7-5765-6e20-85e0-587279ad91c1:::1"}, "channel": {"S": "branch:to:news"}, "value": {"B": ""}},
{"type": {"S": "null"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d519-606c-bfff-c00d97e01597:::"}, "task_id_idx": {"S": "47dde8a7-5765-6e20-85e0-587279ad91c1:::2"}, "channel": {"S": "branch:to:stocks"}, "value": {"B": ""}},
{"type": {"S": "null"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d519-606c-bfff-c00d97e01597:::"}, "task_id_idx": {"S": "47dde8a7-5765-6e20-85e0-587279ad91c1:::3"}, "channel": {"S": "branch:to:weather"}, "value": {"B": ""}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d52a-6929-8000-8bc7e2ecc81c:::"}, "task_id_idx": {"S": "87428ad6-9959-66f8-2a26-222d142b481e:::0"}, "channel": {"S": "lines"}, "value": {"B": "kaRuZXdz"}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d52a-6929-8000-8bc7e2ecc81c:::"}, "task_id_idx": {"S": "87428ad6-9959-66f8-2a26-222d142b481e:::1"}, "channel": {"S": "sources"}, "value": {"B": "kaVwYXBlcg=="}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d52a-6929-8000-8bc7e2ecc81c:::"}, "task_id_idx": {"S": "9340081d-51ab-3459-9478-246afb41474b:::0"}, "channel": {"S": "__error__"}, "value": {"B": "tFJ1bnRpbWVFcnJvcignZG93bicp"}},
{"type": {"S": "msgpack"}, "thread_id_checkpoint_id_checkpoint_ns": {"S": "report:::1f1e68a3-d52a-6929-8000-8bc7e2ecc81c:::"}, "task_id_idx": {"S": "f8b87b5e-0f5e-b4af-8eb4-443762ffed52:::0"}, "channel": {"S": "__error__"}, "value": {"B": "tFJ1bnRpbWVFcnJvcignZG93bicp"}}
]]""")
ORDER_IDS, REPORT_IDS = (
    [each["checkpoint_id"]["S"] for each in checkpoints] for checkpoints, _ in (ORDER, REPORT)
)
ORDER_TASKS, REPORT_TASKS = (
    [each["task_id_idx"]["S"].partition(":::")[0] for each in writes]
    for _, writes in (ORDER, REPORT)
)
SENDS: Final = [Send("fry", {"item": "ham"}), Send("fry", {"item": "eggs"})]


@pytest.fixture
def old_saver(lone_saver: DynamoDBSaver) -> DynamoDBSaver:
    """Make a saver whose tables hold the two threads, and no more."""
    for item in chain(*ORDER, *REPORT):
        _put_item(lone_saver, item)
    return lone_saver


def test_layout_0_is_read(call: Call, old_saver: DynamoDBSaver) -> None:
    """Each checkpoint has its values, metadata, parent, its parent's sends, writes in task order."""
    configs = [_config("order", each) for each in ORDER_IDS]

    first, second, _ = (call(old_saver, "get_tuple", each) for each in configs)
    newest, report = (call(old_saver, "get_tuple", _config(each)) for each in ("order", "report"))

    checkpoint: Any = {
        "v": 1,
        "id": ORDER_IDS[2],
        "ts": "2026-11-22T16:15:03.680820+00:00",
        "channel_values": {"items": ["ham", "eggs"], "plan": "plan", TASKS: SENDS},
        "channel_versions": {"__start__": 2, "items": 3, "start:plan": 3, "plan": 3, TASKS: 3},
        "versions_seen": {
            "__input__": {}, "__start__": {"__start__": 1}, "plan": {"start:plan": 2},
        },
        "pending_sends": SENDS,
    }  # fmt: skip
    metadata: Any = {
        "source": "loop", "step": 1, "parents": {}, "run_id": "run", "thread_id": "order",
        "writes": {"plan": {"items": ["ham", "eggs"]}},
    }  # fmt: skip
    assert newest == CheckpointTuple(configs[2], checkpoint, metadata, configs[1], [])
    assert (first.config, first.parent_config) == (configs[0], None)
    assert first.checkpoint["channel_values"] == {"__start__": {"items": []}}
    assert first.metadata["step"] == -1
    assert second.pending_writes == [
        (ORDER_TASKS[2], "plan", "plan"), (ORDER_TASKS[2], "items", ["ham", "eggs"]),
        (ORDER_TASKS[2], TASKS, SENDS[0]), (ORDER_TASKS[2], TASKS, SENDS[1]),
    ]  # fmt: skip
    assert report.pending_writes == [
        (REPORT_TASKS[4], "lines", ["news"]), (REPORT_TASKS[4], "sources", ["paper"]),
        (REPORT_TASKS[6], ERROR, "RuntimeError('down')"),
        (REPORT_TASKS[7], ERROR, "RuntimeError('down')"),
    ]  # fmt: skip


@ONE_SERVER
def test_layout_0_writes_that_come_again(call: Call, old_saver: DynamoDBSaver) -> None:
    """An ordinary write that stands stays, a special one is replaced, and what lacked is added."""
    config = _config("report", REPORT_IDS[-1])
    again = [("lines", ["again"]), ("sources", ["again"]), ("more", 1)]
    call(old_saver, "put_writes", config, again, REPORT_TASKS[4])
    call(old_saver, "put_writes", config, [(ERROR, "again")], REPORT_TASKS[6])
    call(old_saver, "copy_thread", "report", "copy")

    configs = (config, _config("report"), _config("copy"))
    read = [call(old_saver, "get_tuple", each) for each in configs]
    for found in (*read, call(old_saver, "list", config)[0]):
        assert found.pending_writes == [
            (REPORT_TASKS[4], "lines", ["news"]),
            (REPORT_TASKS[4], "sources", ["paper"]),
            (REPORT_TASKS[4], "more", 1),
            (REPORT_TASKS[6], ERROR, "again"),
            (REPORT_TASKS[7], ERROR, "RuntimeError('down')"),
        ]


def test_layout_0_is_listed(call: Call, old_saver: DynamoDBSaver) -> None:
    """The list has the old checkpoints as get_tuple has them, newest first, and filters them."""
    for thread_id, ids in (("order", ORDER_IDS), ("report", REPORT_IDS)):
        listed = call(old_saver, "list", {"configurable": {"thread_id": thread_id}})
        assert [each.checkpoint["id"] for each in listed] == ids[::-1]
        assert listed == [call(old_saver, "get_tuple", each.config) for each in listed]

    second = _config("order", ORDER_IDS[1])
    (listed,) = call(old_saver, "list", None, filter={"source": "loop", "run_id": "run", "step": 0})
    assert listed.config == second
    (listed,) = call(old_saver, "list", _config("order"), before=second)
    assert listed.config == _config("order", ORDER_IDS[0])


class Order(TypedDict, total=False):
    """The state of the thread "order"."""

    items: list[str]
    done: Annotated[list[str], operator.add]


def _order() -> Builder:
    """Build the graph of the thread "order"."""

    def send(state: Order) -> list[Send]:
        return [Send("fry", {"item": item}) for item in state["items"]]

    builder: Builder = StateGraph(Order)
    builder.add_node("plan", lambda _: {"items": ["ham", "eggs"]})
    builder.add_node("fry", lambda state: {"done": [state["item"]]})
    builder.add_node("serve", lambda _: {"done": ["served"]})
    builder.add_conditional_edges("plan", send, ["fry"])
    return builder.add_edge(START, "plan").add_edge("fry", "serve")


@ONE_SERVER
def test_layout_0_thread_goes_on(old_saver: DynamoDBSaver, call: Call) -> None:
    """A graph runs what the old saver's run had sent, once, and stores it beside the old items."""
    graph = _order().compile(checkpointer=old_saver)
    config = {"configurable": {"thread_id": "order"}}
    assert call(graph, "get_state", config).next == ("fry", "fry")

    answer = call(graph, "invoke", None, config)
    again = call(graph, "invoke", {"items": ["more"]}, config)

    assert answer == {"items": ["ham", "eggs"], "done": ["ham", "eggs", "served"]}
    assert again["done"] == ["ham", "eggs", "served"] * 2
    oldest = call(graph, "get_state_history", config)[-3:]
    assert [each.config["configurable"]["checkpoint_id"] for each in oldest] == ORDER_IDS[::-1]
    assert [each.values.get("done") for each in oldest] == [[], [], []]


class Report(TypedDict, total=False):
    """The state of the thread "report"."""

    lines: Annotated[list[str], operator.add]
    sources: Annotated[list[str], operator.add]


@ONE_SERVER
def test_layout_0_failed_tasks_go_on(old_saver: DynamoDBSaver, call: Call) -> None:
    """A task that failed under the old saver keeps all that it writes when it succeeds.

    The old saver stored an error at the index of the task's first write, and that write was lost.
    """
    sources = {"news": "paper", "stocks": "exchange", "weather": "station"}

    def resume(*broken: str) -> Any:
        def work(name: str) -> Report:
            if name in broken:
                raise RuntimeError("down")
            return {"lines": [name], "sources": [sources[name]]}

        builder: Builder = StateGraph(Report)
        for name in sources:
            builder.add_node(name, lambda _, name=name: work(name)).add_edge(START, name)
        graph = builder.compile(checkpointer=old_saver)
        return call(graph, "invoke", None, _config("report", ns=None))

    with pytest.raises(RuntimeError, match="down"):
        resume("weather")

    lines = ["report", "news", "stocks", "weather"]
    assert resume() == {"lines": lines, "sources": [*sources.values()]}


@ONE_SERVER
def test_layout_0_is_a_source(old_saver: DynamoDBSaver, make_saver: MakeSaver, call: Call) -> None:
    """The old tables, read by a saver of ours, are a source; what had been sent runs once."""
    with _tables(old_saver.client, make=True) as tables:
        call(make_saver(tables), "copy_from", old_saver)
        for thread_id, size in (("order", 3), ("report", 2)):
            told = _told(make_saver(tables), thread_id)
            assert told == _told(old_saver, thread_id)
            assert len(told) == size

        graph = _order().compile(checkpointer=make_saver(tables))
        answer = call(graph, "invoke", None, _config("order", ns=None))

    assert answer == {"items": ["ham", "eggs"], "done": ["ham", "eggs", "served"]}


def test_layout_0_is_copied_pruned_and_deleted(call: Call, old_saver: DynamoDBSaver) -> None:
    """A copy shows the same, a prune keeps the newest and its writes, and a deletion leaves nothing.

    A thread that has nothing but layout 0 of a run is found by a scan alone.
    """
    kept, told = call(old_saver, "get_tuple", _config("report")), _told(old_saver, "order")

    call(old_saver, "copy_thread", "order", "copy")
    call(old_saver, "prune", ["report"])

    assert _told(old_saver, "copy") == told
    assert call(old_saver, "list", _config("report")) == [kept]
    for thread_id in ("report", "copy"):
        call(old_saver, "delete_thread", thread_id)
    assert {_owner(each) for each in _stored(old_saver)} == {"'order'"}
    call(old_saver, "setup", run_index=True)
    call(old_saver, "delete_for_runs", ["run"])
    assert len(call(old_saver, "list", _config("order"))) == 3
    call(old_saver, "delete_for_runs", ["run"], use_index=False)
    assert call(old_saver, "list", None) == []
    assert [each for each in _stored(old_saver) if "stored_at" not in each] == []


def test_limits_are_those_of_the_documents() -> None:
    """The limits that the documents name are the module's."""
    value, content = f"{module._MAX_VALUE_BYTES >> 30} GB", f"{module._MAX_CONTENT_BYTES >> 20} MB"
    thread, run_thread = module._MAX_HASH_KEY_BYTES, module._MAX_RANGE_KEY_BYTES

    _check_said(
        "README.md",
        f"| a channel's value, a pending write | {value}, and memory |",
        f"| a checkpoint's metadata | {content} |",
        f"| `thread_id` | not empty, {thread:,} bytes; {run_thread:,} with a `run_id`",
        f"| `checkpoint_ns`, `task_path` | {module._MAX_TEXT_BYTES:,} bytes |",
        f"| `checkpoint_id` | {module._MAX_CHECKPOINT_KEY_BYTES:,} bytes with its namespace;",
        f"| `task_id` | not empty, {module._MAX_TASK_ID_BYTES:,} bytes |",
        f"| `run_id` | {module._MAX_HASH_KEY_BYTES:,} bytes |",
    )
    _check_said(
        "docs/security.md",
        f"{value} for a value",
        f"{content} for the content of an item",
        f"{module._MAX_CONTENT_OBJECTS:,} msgpack objects",
        f"{module._MAX_CHUNK_IDS:,} chunk ids",
        f"{module._MAX_NESTED_EXTENSIONS} extension types",
        f"over {module._LARGE_EXTENSION_BYTES >> 10} KB each",
    )


# -- Histories ------------------------------------------------------------------------------------


def _shown(found: Any) -> Any:
    """Return all that a caller sees of a checkpoint, by repr() as 1 == True."""
    if found is None:
        return None
    checkpoint = dict(found.checkpoint)
    # "3.17" of the model, in which no two branches share a version, is 3.
    versions = {
        channel: int(str(version).partition(".")[0])
        for channel, version in checkpoint.pop("channel_versions").items()
    }
    values = checkpoint.pop("channel_values")
    return {
        "config": _triple(found.config),
        "parent": found.parent_config and _triple(found.parent_config),
        "checkpoint": {name: repr(value) for name, value in checkpoint.items()},
        "versions": versions,
        "values": {channel: repr(value) for channel, value in values.items()},
        "metadata": {name: repr(value) for name, value in found.metadata.items()},
        "writes": [(task, channel, repr(value)) for task, channel, value in found.pending_writes],
    }


def _seen(saver: Any, thread_id: str, namespaces: Iterable[str] = ("",)) -> dict[str, Any]:
    """Return what a caller sees of a thread: the newest of each namespace, and all."""
    return {
        "latest": {ns: _shown(saver.get_tuple(_config(thread_id, ns=ns))) for ns in namespaces},
        "all": sorted(
            map(_shown, saver.list(_config(thread_id, ns=None))), key=itemgetter("config")
        ),
    }


SPECIAL: Final = tuple(WRITES_IDX_MAP)

# HISTORIES=1000 in the environment makes the long form longer still.
MANY_HISTORIES: Final = int(os.environ.get("HISTORIES", "40"))


def _pages_of(limit: int | None) -> Script:
    """Return a script that answers with pages of so many items at most."""

    def script(sent: Sent) -> Any:
        if limit is None or sent.operation not in ("Query", "Scan"):
            return None
        sent.asked["Limit"] = min(limit, sent.asked.get("Limit", limit))
        return sent.carry_out()

    return script


def _as_many(histories: int) -> settings:
    is_long = histories >= MANY_HISTORIES
    return settings(
        max_examples=histories,
        stateful_step_count=30 if is_long else 16,
        print_blob=True,
        # To shrink a history takes up to five minutes, which is what a short test may take.
        phases=[phase for phase in Phase if is_long or phase is not Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


THREADS: Final = ("7", "a|b#~:c", "é\U0001f600")

# The namespaces of a history: prefixes of one another, separators of keys, one too long for a key.
NAMESPACES: Final = (
    ("", "a", "a:b"), ("", "a|", "a|1"), ("", "a", "a:"),
    ("", "#a", "~"), ("a", "1:a:", ":::"), ("", "n" * 600, "é"),
)  # fmt: skip
CHANNELS: Final = ("messages", "documents", "é:0")
TASK_IDS: Final = ("t1", "é:::0")
TASK_PATHS: Final = ("", "~__pregel_pull, b", "~__pregel_pull, a")
RUN_IDS: Final = ("run-1", "run-2")
_of, _index, _element = st.sampled_from, st.integers(0, 5), st.integers(0, 11)
_leaves: st.SearchStrategy[Any] = st.one_of(
    _of([None, b"", "", [], {}, 0, -(2**63), 2**63 - 1, 1.5, True, "é\U0001f600", b"\xff"]),
    st.builds(_words, _of([20, 400, 3000]), _index),
    st.builds(lambda number, size: _words(size, number).encode(), _index, _of([60, 900])),
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_of("abé"), inner, max_size=3),
    max_leaves=5,
)
# The operand of each kind of change.
_operands: Final[dict[str, st.SearchStrategy[Any]]] = {
    "grow": st.lists(_element, min_size=1, max_size=12),
    "trim": st.integers(1, 4),
    "edit": st.tuples(st.integers(0, 20), _element),
    "repeat": st.integers(2, 3),
    "bring back": _index,
    "set": _values,
    "empty": st.none(),
}
_change = st.one_of([st.tuples(st.just(kind), operand) for kind, operand in _operands.items()])
_changes = st.dictionaries(_of(CHANNELS), _change, max_size=3)
_step = st.tuples(_of(["list", "nested", "model"]), _changes)
_metadata = st.fixed_dictionaries(
    {"source": _of(["input", "loop"]), "step": st.integers(-1, 2), "parents": st.just({})},
    optional={
        "run_id": _of(RUN_IDS), "score": _of([None, 1, {"a": [1]}]), "note": st.just(_words(1600)),
    },
)  # fmt: skip
_writes = st.lists(st.tuples(_of((*CHANNELS, "__pregel_tasks", *SPECIAL)), _values), max_size=4)
_write_call = st.tuples(_of(TASK_IDS), _of(TASK_PATHS), _writes)
_filter = st.dictionaries(
    _of(["source", "step", "run_id", "score", "nothing"]),
    _of(["loop", 1, "run-1", None, {"a": [1]}]),
    max_size=2,
)
_where = st.tuples(_of([0, 0, 0, 1, 2]), _of([0, 0, 1, 2]))
_via = st.tuples(st.integers(0, 1), st.booleans())
# fmt: off
_actions: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "put": {
        "where": _where, "back": _of([0, 0, 0, 1, 2, 5]),
        "steps": st.lists(_step, min_size=1, max_size=4),
        "data": _metadata, "run": _of([None, None, *RUN_IDS]),
        "ids": _of(["clock", "early", "neighbour"]), "twice": st.booleans(), "via": _via,
    },
    "put_writes": {
        "where": _where, "back": _of([0, 0, 1]), "early": st.integers(0, 3),
        "calls": st.lists(_write_call, min_size=1, max_size=3),
        "resent": st.none() | _writes, "kind": _of([list, tuple, deque]), "via": _via,
    },
    "shrink_or_copy": {
        "where": _where, "kind": _of(["prune", "run", "copy", "delete"]),
        "grace": _of([0, GRACE]), "keep_last": _of([1, 1, 2, 3]), "other": _index, "via": _via,
    },
    "ask_list": {
        "where": st.none() | _where, "ns": st.booleans(),
        "checkpoint": st.one_of(st.none(), st.none(), _index), "before": st.none() | _index,
        "limit": st.none() | st.integers(0, 4), "filter_": st.none() | _filter, "via": _via,
    },
    "ask_one": {"where": _where, "back": _index, "via": _via},
    "set_ttl": {
        "where": _where, "seconds": _of([60, 600, 9000]), "is_kept": st.booleans(), "via": _via,
    },
    "go_on_later": {
        "cold": _of([(), (0,), (1,), (0, 1)]), "seconds": _of([0, 60, 1799, 1801, 3600, 9000]),
    },
}
# fmt: on

# How often each comes. Were they rules, hypothesis would leave most out of most histories.
_weighted: Final = [
    *["put"] * 4, *["put_writes"] * 4, *["shrink_or_copy"] * 3, *["go_on_later"] * 2,
    *["ask_one"] * 2, "ask_list", "set_ttl",
]  # fmt: skip
_action = _of(_weighted).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries(_actions[name]))
)


class Model(InMemorySaver):
    """LangGraph's saver in memory, with the methods that it lacks."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Make an empty saver."""
        super().__init__()
        self.clock = clock
        self.stored_at: dict[tuple[str, str, str], dict[tuple[str, int], float]] = {}

    def put_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Note also when each write that stays was stored."""
        super().put_writes(config, writes, task_id, task_path)
        times = self.stored_at.setdefault(_triple(config), {})
        for position, (channel, _) in enumerate(writes):
            at = task_id, WRITES_IDX_MAP.get(channel, position)
            times[at] = times.get(at, self.clock()) if at[1] >= 0 else self.clock()

    def keys(self, thread_id: str, checkpoint_ns: str | None = None) -> list[tuple[str, str, str]]:
        """Return the keys of a thread's checkpoints, newest first."""
        found = self.storage.get(thread_id, {}).items()
        spaces = [(ns, ids) for ns, ids in found if checkpoint_ns in (None, ns)]
        keys = [(thread_id, ns, checkpoint_id) for ns, ids in spaces for checkpoint_id in ids]
        return sorted(keys, key=itemgetter(2), reverse=True)

    def orphans(self, thread_id: str) -> list[tuple[str, str, str]]:
        """Return the keys of the checkpoints that have writes, and are not there."""
        return [k for k in self.writes.keys() - self.keys(thread_id) if k[0] == thread_id]

    def drop(self, keys: Iterable[tuple[str, str, str]]) -> None:
        """Delete checkpoints with their writes."""
        for thread_id, checkpoint_ns, checkpoint_id in keys:
            self.storage[thread_id][checkpoint_ns].pop(checkpoint_id, None)
            self.writes.pop((thread_id, checkpoint_ns, checkpoint_id), None)
            self.stored_at.pop((thread_id, checkpoint_ns, checkpoint_id), None)

    def shrink(self, thread_id: str, doomed: Iterable[tuple[str, str, str]], then: float) -> None:
        """Delete checkpoints, and writes stored by *then* that have none."""
        self.drop(doomed)
        for key in self.orphans(thread_id):
            for at in [at for at, stored_at in self.stored_at[key].items() if stored_at <= then]:
                del self.stored_at[key][at], self.writes[key][at]
            if not self.writes[key]:
                self.drop([key])

    def copy(self, source: str, target: str) -> None:
        """Copy a thread."""
        for checkpoint_ns, found in self.storage.get(source, {}).items():
            self.storage[target][checkpoint_ns].update(found)
        for old in [key for key in self.blobs if key[0] == source]:
            new: Any = (target, *old[1:])
            self.blobs[new] = self.blobs[old]
        for key in self.writes.keys() & self.keys(source):
            target_key: Any = (target, *key[1:])
            self.writes[target_key] = dict(self.writes[key])
            self.stored_at[target_key] = dict(self.stored_at[key])


class _Foreign(EncryptedSerializer):
    """A serde that encrypts in its own way, and reads what was stored before it did."""


# With what a history begins, and with what it goes on when all processes start anew.
SERDES: Final[dict[str, tuple[Callable[[], Any], Callable[[], Any]]]] = {
    "plain": (JsonPlusSerializer, JsonPlusSerializer),
    "encrypted": (_aes, _aes),
    "pickled later": (JsonPlusSerializer, partial(JsonPlusSerializer, pickle_fallback=True)),
    "encrypted by another later": (JsonPlusSerializer, lambda: _Foreign(_aes().cipher)),
}


def _inner(value: Any) -> list[Any]:
    """Return the list that is in a value, in whichever of these PLACES."""
    getters: list[Callable[[Any], Any]] = [
        lambda v: v["a"]["b"][0]["c"], lambda v: v.messages, lambda v: v
    ]  # fmt: skip
    for get in getters:
        with suppress(AttributeError, IndexError, KeyError, TypeError):
            if isinstance(found := get(value), list):
                return found
    return []


class SaverMachine(RuleBasedStateMachine):
    """Two DynamoDBSavers on the same tables, and beside them what they should show."""

    CACHE_BYTES: Final = 1500  # of the second: chunks fall out of its cache

    def __init__(self, world: World, element_bytes: int, audited: Counter[str]) -> None:
        """Start with empty tables; count in *audited* what kinds of items there are."""
        super().__init__()
        world.renew()
        self.world, self.element_bytes, self.audited = world, element_bytes, audited
        self.wire = Wire(world)
        self.savers: list[DynamoDBSaver] = []
        self.serdes: tuple[Callable[[], Any], Callable[[], Any]] = SERDES["plain"]
        self.model = Model(lambda: self.world.now)
        self.namespaces: tuple[str, ...] = ("",)
        self.serial = itertools.count(1)
        self.used: set[tuple[str, str]] = set()  # by namespace: ids are copied to other threads
        self.early: dict[tuple[str, str], str] = {}
        self.to_check: set[str] = set()

    @initialize(
        namespaces=st.sampled_from(NAMESPACES),
        page_limit=st.sampled_from([None, 1, 2, 3]),
        serde=st.sampled_from([*SERDES]),
    )
    def begin(self, namespaces: tuple[str, ...], page_limit: int | None, serde: str) -> None:
        """Choose what the history is about."""
        self.namespaces, self.wire.script = namespaces, _pages_of(page_limit)
        self.serdes = SERDES[serde]
        self.savers = [self._saver(0), self._saver(1)]

    def _saver(self, number: int) -> DynamoDBSaver:
        options = {"cache_bytes": self.CACHE_BYTES} if number else {}
        return self.world.saver(self.wire.client, serde=self.serdes[0](), **options)

    @rule(action=_action)
    def act(self, action: tuple[str, dict[str, Any]]) -> None:
        """Do something to both."""
        name, arguments = action
        getattr(self, name)(**arguments)

    def put(
        self, where: Any, back: Any, steps: Any, data: Any, run: Any, ids: Any, twice: Any, via: Any
    ) -> None:
        """Go on from the newest checkpoint, or fork from an older one."""

        def counts(versions: Mapping[str, str]) -> dict[str, int]:
            return {channel: int(each.partition(".")[0]) for channel, each in versions.items()}

        thread_id, checkpoint_ns = self._place(where)
        live = self.model.keys(thread_id, checkpoint_ns)
        parent = live[min(back, len(live) - 1)] if live else None
        # As LangGraph does: the other process may have deleted the thread or copied one to it.
        self._call(via, "get_tuple", _config(thread_id))
        for shape, changes in steps:
            config = _config(thread_id, parent and parent[2], ns=checkpoint_ns)
            config["configurable"] |= {"run_id": run} if run else {}
            checkpoint_id = self._new_id(thread_id, checkpoint_ns, ids)
            checkpoint, new_versions = self._next(config, checkpoint_id, shape, changes)
            spelt = {**config["configurable"], "thread_id": self._spelt(thread_id, via)}
            counted = checkpoint | {"channel_versions": counts(checkpoint["channel_versions"])}
            given = ({"configurable": spelt}, counted, data, counts(new_versions))
            expected = self.model.put(config, checkpoint, data, new_versions)
            for _ in range(1 + twice):
                assert self._call(via, "put", *given) == expected
                via = (1 - via[0], via[1])
                self._call(via, "get_tuple", _config(thread_id))
            parent = (thread_id, checkpoint_ns, checkpoint_id)
        self.to_check.add(thread_id)

    def put_writes(
        self, where: Any, back: Any, early: Any, calls: Any, resent: Any, kind: Any, via: Any
    ) -> None:
        """Add writes to a checkpoint that is there, or that comes later or never."""
        thread_id, checkpoint_ns = self._place(where)
        live = self.model.keys(thread_id, checkpoint_ns)
        if live and early:
            checkpoint_id = live[min(back, len(live) - 1)][2]
        else:
            checkpoint_id = self._new_id(thread_id, checkpoint_ns, "early")
            self.early[thread_id, checkpoint_ns] = checkpoint_id
        if resent is not None:
            # The last call comes once more: with other values, as of a run that did it again, and
            # with more writes, as LangGraph sends those of its null task.
            task_id, task_path, writes = calls[-1]
            again = [(channel, f"again {value!r:.20}") for channel, value in writes]
            calls = [*calls, (task_id, task_path, again + resent)]
        config = _config(thread_id, checkpoint_id, ns=checkpoint_ns)
        for task_id, task_path, writes in calls:
            self.model.put_writes(config, writes, task_id, task_path)
            self._call(via, "put_writes", config, kind(writes), task_id, task_path)
            self.to_check.add(thread_id)

    def shrink_or_copy(
        self, where: Any, kind: Any, grace: Any, keep_last: Any, other: Any, via: Any
    ) -> None:
        """Prune a thread, delete a run, copy a thread or delete one."""
        thread_id, _ = self._place(where)
        target = THREADS[other % len(THREADS)]
        if kind == "prune":
            spaces = self.model.storage.get(thread_id, ())
            keys = [self.model.keys(thread_id, ns)[keep_last:] for ns in spaces]
            self.model.shrink(thread_id, chain(*keys), self.world.now - grace)
            options = {} if grace else {"grace_seconds": 0}
            self._call(via, "prune", [thread_id], keep_last=keep_last, **options)
        elif kind == "run":
            run_id = RUN_IDS[other % len(RUN_IDS)]
            for each in THREADS:
                found = self.model.list(_config(each, ns=None), filter={"run_id": run_id})
                if doomed := [_triple(checkpoint.config) for checkpoint in found]:
                    self.model.shrink(each, doomed, self.world.now - GRACE)
                    self.to_check.add(each)
            self._call(via, "delete_for_runs", [run_id])
        elif kind == "delete":
            self.model.delete_thread(thread_id)
            self._call(via, "delete_thread", self._spelt(thread_id, via))
            assert _both(self.world, thread_id) == [[], []]
        elif target == thread_id or any(_both(self.world, target)):
            with pytest.raises(ValueError, match=r"has items already|are both"):
                self._call(via, "copy_thread", thread_id, target)
        elif not self.model.keys(thread_id):
            with pytest.raises(DynamoDBSaverError, match="has no checkpoint to copy"):
                self._call(via, "copy_thread", thread_id, target)
        else:
            self.model.copy(thread_id, target)
            self._call(via, "copy_thread", thread_id, target)
            self.to_check.add(target)
        self.to_check.add(thread_id)
        # Nobody adds to writes that were deleted.
        self.early = {k: each for k, each in self.early.items() if (*k, each) in self.model.writes}

    def ask_list(
        self, where: Any, ns: Any, checkpoint: Any, before: Any, limit: Any, filter_: Any, via: Any
    ) -> None:
        """Ask for a list in any way."""
        config = None
        ids = sorted({key[2] for thread_id in THREADS for key in self.model.keys(thread_id)})
        if where:
            thread_id, checkpoint_ns = self._place(where)
            only = ids[checkpoint % len(ids)] if checkpoint is not None and ids else None
            config = _config(thread_id, only, ns=checkpoint_ns if ns else None)
        before_config = _config("", ids[before % len(ids)]) if before is not None and ids else None
        expected = [*map(_shown, self.model.list(config, filter=filter_, before=before_config))]

        options = {"filter": filter_, "before": before_config, "limit": limit}
        found = [*map(_shown, self._call(via, "list", config, **options))]

        assert len(found) == min(len(expected), len(expected) if limit is None else limit)
        assert all(each in expected for each in found)
        assert len({each["config"] for each in found}) == len(found)
        if config:
            newest = sorted((each["config"][2] for each in expected), reverse=True)
            assert [each["config"][2] for each in found] == newest[: len(found)]

    def ask_one(self, where: tuple[int, int], back: int, via: tuple[int, bool]) -> None:
        """Read any checkpoint, and one that is not there, into the saver's cache."""
        thread_id, checkpoint_ns = self._place(where)
        live = self.model.keys(thread_id, checkpoint_ns)
        checkpoint_id = live[back][2] if back < len(live) else _id(0)
        config = _config(self._spelt(thread_id, via), checkpoint_id, ns=checkpoint_ns)
        expected = self.model.get_tuple(_config(thread_id, checkpoint_id, ns=checkpoint_ns))
        assert _shown(self._call(via, "get_tuple", config)) == _shown(expected)

    def set_ttl(self, where: Any, seconds: Any, is_kept: Any, via: Any) -> None:
        """Have a thread show the same until a time, and then nothing; or keep it all the same."""
        thread_id, _ = self._place(where)
        if self.model.orphans(thread_id):
            return  # they stay, and their chunks do not
        self._call(via, "set_ttl", [thread_id], seconds)
        if is_kept:
            self._call((1 - via[0], via[1]), "set_ttl", [thread_id], None)
        self.world.now += seconds - 1
        _sweep(self.savers[0], self.world.now)
        self._check({thread_id})
        self.world.now += 1
        if not is_kept:
            self.model.drop(self.model.keys(thread_id))
        self._check({thread_id})
        self.world.now += 2 * seconds
        _sweep(self.savers[0], self.world.now)
        if not is_kept:
            left = [item for item in self.world.items(0, thread_id) if "type" in item]
            assert left == []  # DynamoDB frees all, without another call
        self.to_check.add(thread_id)

    def go_on_later(self, cold: tuple[int, ...], seconds: int) -> None:
        """Let time pass; another process may take over."""
        self.world.now += seconds
        if len(cold) == len(self.savers):
            self.serdes = (self.serdes[1], self.serdes[1])
        for number in cold:
            self.savers[number].close()
            self.savers[number] = self._saver(number)

    @invariant()
    def agrees_with_model(self) -> None:
        """Compare what the threads that changed show, and all threads now and then."""
        turn = next(self.serial)
        to_check = set(THREADS) if turn % 7 == 0 else self.to_check
        if turn % 3 == 0:
            self.audited.update(_audit(self.world, self.savers[0]))
        self._check(to_check)
        self.to_check.clear()

    def _check(self, thread_ids: Collection[str]) -> None:
        turn = next(self.serial)
        for thread_id in sorted(thread_ids):
            config = _config(thread_id, ns=None)
            via = (turn % 2, turn % 3 == 0)
            found = sorted(map(_shown, self._call(via, "list", config)), key=itemgetter("config"))
            expected = sorted(map(_shown, self.model.list(config)), key=itemgetter("config"))
            assert found == expected
            for number, checkpoint_ns in enumerate(self.namespaces):
                config = _config(thread_id, ns=checkpoint_ns)
                latest = self._call(((turn + number) % 2, turn % 5 == 0), "get_tuple", config)
                assert _shown(latest) == _shown(self.model.get_tuple(config))

    def teardown(self) -> None:
        """End the savers' threads."""
        for saver in self.savers:
            saver.close()

    def _place(self, where: tuple[int, int]) -> tuple[str, str]:
        return THREADS[where[0]], self.namespaces[where[1] % len(self.namespaces)]

    def _spelt(self, thread_id: str, via: tuple[int, bool]) -> Any:
        is_number = thread_id.isascii() and thread_id.isdigit()
        return int(thread_id) if is_number and via[1] else thread_id

    def _call(self, via: tuple[int, bool], name: str, *args: Any, **kwargs: Any) -> Any:
        """Call one of the savers, sync or async."""
        number, is_async = via
        return (_async if is_async else _sync)(self.savers[number], name, *args, **kwargs)

    def _new_id(self, thread_id: str, checkpoint_ns: str, id_from: str) -> str:
        """Return an id whose writes came first, or that another namespace has, or a new one."""
        early = self.early.pop((thread_id, checkpoint_ns), None) if id_from == "early" else None
        keys = self.model.keys(thread_id) if id_from == "neighbour" else []
        neighbours = [key[2] for key in keys if (checkpoint_ns, key[2]) not in self.used]
        checkpoint_id = early or (neighbours or [_id(next(self.serial))])[0]
        self.used.add((checkpoint_ns, checkpoint_id))
        return checkpoint_id

    def _next(
        self, config: Any, checkpoint_id: str, shape: str, changes: Mapping[str, tuple[str, Any]]
    ) -> tuple[Any, Any]:
        """Return a checkpoint as LangGraph makes it from its parent, and its new versions."""
        values: dict[str, Any] = {}
        versions: dict[str, str] = {}
        if "checkpoint_id" in config["configurable"]:
            parent: Any = self.model.get_tuple(config)
            values = dict(parent.checkpoint["channel_values"])
            versions = dict(parent.checkpoint["channel_versions"])
        new_versions: dict[str, str] = {}
        for channel, (kind, operand) in changes.items():
            count = int(versions.get(channel, "0").partition(".")[0]) + 1
            versions[channel] = new_versions[channel] = f"{count}.{next(self.serial)}"
            old = values.pop(channel, None)
            if kind == "bring back":
                past = [*self.model.list(_config(config["configurable"]["thread_id"], ns=None))]
                values_then = past[operand % len(past)].checkpoint["channel_values"] if past else {}
                old = values_then.get(channel)
            if kind == "set":
                values[channel] = operand
            elif kind != "empty":
                values[channel] = PLACES[shape](self._edited(kind, operand, _inner(old)))
        return _checkpoint(checkpoint_id, values, versions), new_versions

    def _edited(self, kind: str, operand: Any, old: list[Any]) -> list[Any]:
        value = list(old)
        if kind == "grow":
            value += map(self._element, operand)
        elif kind == "trim":
            del value[:operand]
        elif kind == "edit" and value:
            value[operand[0] % len(value)] = self._element(operand[1])
        elif kind == "repeat":
            value *= operand
        return value[-24:]

    def _element(self, number: int) -> Any:
        text = _words(self.element_bytes + 7 * number, number)
        return (text, {"id": number, "text": text}, [number, text.encode()], number)[number % 4]


@_short_and_long("histories", 3, MANY_HISTORIES)
def test_any_history_reads_back_like_memory(world: World, limits: str, histories: int) -> None:
    """After every step of any history, both savers show a caller the same; with chunks of any size."""
    audited: Counter[str] = Counter()
    machine: Any = partial(SaverMachine, world, {"small": 40, "usual": 1500}[limits], audited)

    run_state_machine_as_test(machine, settings=_as_many(histories))

    if histories >= MANY_HISTORIES:
        kinds = {"checkpoint", "chunk", "write"}
        assert kinds <= {kind for kind, count in audited.items() if count}


# -- Graphs ---------------------------------------------------------------------------------------
# Real graphs, each on our saver and on InMemorySaver at once: the caller sees the same on both.


class Beside:
    """A graph on our saver and on InMemorySaver: a call goes to both, and both must answer the same.

    At the block's end, what a saver that has seen nothing of this reads must be the same too.
    """

    def __init__(
        self, builder: Builder, make_saver: MakeSaver, call: Call, durability: str
    ) -> None:
        self.config: RunnableConfig = {"configurable": {"thread_id": f"thread-{uuid4()}"}}
        self.durability = durability
        self._make_saver = make_saver
        self._call = call
        self._savers: list[BaseCheckpointSaver[Any]] = [make_saver(), InMemorySaver()]
        self.migrate(builder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        if exc_type is None:
            self.migrate(self._builder)
            self.states()
            ours, memorys = map(self._stored, self._savers)
            assert ours == memorys

    def migrate(self, builder: Builder) -> None:
        """Go on with this graph, in processes that know nothing of the thread."""
        self._builder = builder
        self._savers[0] = self._make_saver()
        self._graphs = [builder.compile(checkpointer=each) for each in self._savers]

    def _stored(self, saver: BaseCheckpointSaver[Any]) -> dict[str, list[Any]]:
        """Read all of a thread's checkpoints and writes, by namespace."""
        found = defaultdict(list)
        listed = self._call(saver, "list", self.config)
        # InMemorySaver lists one namespace after the other.
        for each in sorted(listed, key=lambda each: each.checkpoint["id"], reverse=True):
            found[re.sub(r":[-0-9a-f]{36}", "", _triple(each.config)[1])].append(_plain(each))
        return dict(found)

    def _both(self, act: Callable[[Any, RunnableConfig], Any], at: int | None = None) -> Any:
        """Do this on both, at the thread's end or at a state in its history, of which 0 is newest."""
        answers = []
        for graph in self._graphs:
            config = self.config
            if at is not None:
                config = self._call(graph, "get_state_history", config)[at].config
            answers.append(_plain(act(graph, config)))
        assert answers[0] == answers[1]
        return answers[0]

    def invoke(self, given: Any, *, at: int | None = None) -> Any:
        """Run the graph; *given* may be a function that makes the input from the graph's state."""

        def act(graph: Any, config: RunnableConfig) -> Any:
            value = given(self._call(graph, "get_state", config)) if callable(given) else given
            try:
                return self._call(graph, "invoke", value, config, durability=self.durability)
            except RuntimeError as error:
                return error

        return self._both(act, at)

    def update(self, values: Any, *, at: int | None = None, as_node: str | None = None) -> None:
        """Change the state by hand."""

        def act(graph: Any, config: RunnableConfig) -> None:
            self._call(graph, "update_state", config, values, as_node=as_node)

        self._both(act, at)

    def state(self) -> Any:
        """Return the thread's state, with its subgraphs'."""
        return self._both(lambda graph, at: self._call(graph, "get_state", at, subgraphs=True))

    def states(self) -> Any:
        """Return all of the thread's states, newest first."""
        self.state()
        return self._both(lambda graph, at: self._call(graph, "get_state_history", at))


@pytest.mark.parametrize("is_new", [False, True])
def test_chat_goes_on(make_saver: MakeSaver, call: Call, durability: str, *, is_new: bool) -> None:
    """Turns with a tool, whose answers add up to more than an item holds, are remembered."""
    with Beside(_chat(), make_saver, call, durability) as graph:
        for turn in range(1, 5 if is_new else 7):
            if is_new:
                graph.migrate(_chat())
            answer = graph.invoke({"messages": [HumanMessage(f"question {turn}", id=f"h{turn}")]})
            asked = [each.id for each in answer["messages"] if each.id[0] == "h"]
            assert asked == [f"h{each}" for each in range(1, turn + 1)]
            assert len(answer["messages"]) == 4 * turn

        assert graph.state()[1] == ()


def test_fan_out_goes_on_after_a_failure(
    make_saver: MakeSaver, thread_id: str, call: Call, durability: str
) -> None:
    """When one of parallel tasks fails, what others wrote is kept, and going on runs but the rest."""
    broken, runs = {7}, list[int]()
    builder, config = _failing(broken, runs), _config(thread_id)

    def go_on(given: Any) -> Any:
        graph = builder.compile(checkpointer=make_saver())
        return call(graph, "invoke", given, config, durability=durability)

    with pytest.raises(RuntimeError, match="down"):
        go_on({"log": []})
    found: Any = make_saver().get_tuple(config)
    kept = {int(value[0]) for _, name, value in found.pending_writes if name == "log"}
    broken.clear()
    runs.clear()

    assert go_on(None) == {"log": [str(number) for number in range(12)]}
    assert kept >= set(range(7)) if call is _async else kept
    assert sorted(runs) == sorted(set(range(12)) - kept)


@pytest.mark.parametrize("remembers", [None, True])
def test_nested_subgraphs_resume_an_interrupt_inside(
    make_saver: MakeSaver, call: Call, durability: str, *, remembers: bool | None
) -> None:
    """Two graphs deep a node asks twice; answered, each graph goes on where it was."""
    with Beside(_nested(checkpointer=remembers), make_saver, call, durability) as graph:
        for number in (1, 2):
            graph.invoke({"number": number})
            (_, next_, _, [task], _) = graph.state()
            assert (next_, task[0]) == (("middle",), "middle")
            graph.invoke(Command(resume="Ada"))
            answer = graph.invoke(Command(resume=36))

    assert answer["log"][-6:] == ["outer 2", "inner", "name Ada", "age 36", "middle", "end"]


def test_interrupts_resume_one_by_one(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """Two tasks ask side by side, and each keeps its question until it is answered."""
    if call is _async and sys.version_info < (3, 11):
        pytest.skip("before Python 3.11, LangGraph's interrupt() does not work in async graphs")

    def ask(question: str, **more: Any) -> Any:
        return lambda _: {"log": [f"{question}: {interrupt(question)}"], **more}

    builder: Builder = StateGraph(Tally)
    builder.add_node("one", ask("one", number=2)).add_node("two", ask("two"))
    builder.add_node("none", lambda _: {"log": ["none"]}).add_node("last", ask("last", number=1))
    builder.add_edge(START, "one").add_edge(START, "two").add_edge(START, "none")
    builder.add_edge(["one", "two", "none"], "last")

    def answer_to(question: str, answer: str) -> Callable[[StateSnapshot], Any]:
        return lambda state: Command(
            resume={each.id: answer for each in state.interrupts if each.value == question}
        )

    with Beside(builder, make_saver, call, durability) as graph:
        for given, asked in (
            ({"log": ["start"]}, ["one", "two"]),
            (answer_to("two", "B"), ["one"]),
            (answer_to("one", "A"), ["last"]),
        ):
            answer = graph.invoke(given)
            assert answer["__interrupt__"] == [("interrupt", each) for each in asked]
        answer = graph.invoke(Command(resume="C", update={"log": ["by hand"]}))

    log = ["start", "none", "one: A", "two: B", "by hand", "last: C"]
    assert answer == {"log": log, "number": 1}


def _steps() -> Builder:
    """Build three nodes in a row, with a route that is taken by hand alone."""

    def node(name: str) -> Any:
        return lambda state: {"log": [name], "number": len(state["log"])}

    builder = _in_a_row(Tally, a=node("a"), b=node("b"), c=node("c"))
    return builder.add_node("d", node("d")).add_edge("d", "c")


def test_update_state_changes_it(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """The state set by hand, as a node or none, is what the graph goes on from."""
    with Beside(_steps(), make_saver, call, durability) as graph:
        graph.update({"log": ["first"]}, as_node=START)
        graph.invoke(None)
        graph.update({"number": -1})
        assert graph.state()[:2] == [{"log": ["first", "a", "b", "c"], "number": -1}, ()]
        graph.update({"log": ["by hand"]}, as_node="d")
        assert graph.state()[1] == ("c",)
        answer = graph.invoke(None)

    assert answer == {"log": ["first", "a", "b", "c", "by hand", "c"], "number": 5}


def test_time_travel_and_fork(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """A run from an old state, and one from an old state that is changed, are branches of their own."""
    with Beside(_steps(), make_saver, call, durability) as graph:
        graph.durability = "sync"  # with "exit" there are no old states to go to
        graph.invoke({"log": ["start"]})
        found = [*chain.from_iterable(state[1] for state in graph.states())]
        assert found == ["c", "b", "a", "__start__"]
        graph.durability = durability

        assert graph.invoke(None, at=2) == {"log": ["start", "a", "b", "c"], "number": 3}
        graph.update({"log": ["changed"]}, at=-2)
        assert graph.state()[0]["log"] == ["start", "changed"]
        answer = graph.invoke(None)
        graph.invoke({"log": ["again"]}, at=-3)

    assert answer == {"log": ["start", "changed", "a", "b", "c"], "number": 4}


def test_delta_channels_of_two_writers(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """Two parallel writers of a channel are replayed in the order of the run, in every turn."""
    with Beside(_deltas(), make_saver, call, durability) as graph:
        for _ in range(2):
            answer = graph.invoke({"log": ["in"]})
        graph.update({"log": ["by hand"]}, as_node="count")
        graph.invoke({"often": ["in"]}, at=3)

    logged = [each for each in answer["log"] if len(each) < 20]
    assert logged[-4:] == ["in", "ant 1", "zebra 1", "after 1"]
    assert len(answer["log"]) == 14


def test_delta_channel_survives_an_exit(make_saver: MakeSaver, call: Call, thread_id: str) -> None:
    """With durability "exit" the last superstep tells nothing of the writes of those before it.

    The stored checkpoint's updated_channels name its own alone; who trusts them loses the rest.
    """
    config = _config(thread_id)
    for turn in range(3):
        graph = _deltas().compile(checkpointer=make_saver())
        call(graph, "invoke", {"number": turn}, config, durability="exit")

    state = call(_deltas().compile(checkpointer=make_saver()), "get_state", config)

    found: Any = make_saver().get_tuple(config)
    assert "log" not in (found.checkpoint["updated_channels"] or ())
    assert [each for each in state.values["log"] if len(each) < 20] == [
        f"{name} {turn}" for turn in range(3) for name in ("ant", "zebra", "after")
    ]


@ONE_SERVER
@pytest.mark.parametrize(
    ("durability", "is_warm"),
    [pytest.param("async", True, id="warm"), pytest.param("exit", False, id="cold")],
)
def test_delta_channels_of_a_thread_in_use_outlive_its_lifetime(
    no_tables: Tables, make_saver: MakeSaver, durability: Any, *, is_warm: bool
) -> None:
    """A thread that is used each third of its lifetime is whole after three, and an idle one goes.

    The first turn's writes, of which no later checkpoint holds a snapshot, are needed throughout.
    """
    now = [time.time()]  # DynamoDB Local sweeps by its own clock
    config = _config("thread")
    memory = _deltas().compile(checkpointer=InMemorySaver())

    def new_saver() -> DynamoDBSaver:
        return make_saver(no_tables, ttl_seconds=900, clock=lambda: now[0])

    saver, renewals = new_saver(), 0
    saver.setup()
    for turn in range(10):
        saver = saver if is_warm else new_saver()
        graph = _deltas().compile(checkpointer=saver)
        with Requests(saver) as requests:
            for each in (graph, memory):
                each.invoke({"log": [_words(3000, turn)]}, config, durability=durability)
        renewals += any(
            params.get("ConditionExpression", "").startswith("attribute_exists(checkpoint_id)")
            for _, params in requests.sent
        )
        assert graph.get_state(config).values == memory.get_state(config).values
        now[0] += 299
        _sweep(saver, now[0])

    now[0] += 600  # the last turn was 899 seconds ago
    _sweep(saver, now[0])
    state = _deltas().compile(checkpointer=new_saver()).get_state(config)
    assert state.values == memory.get_state(config).values
    assert 2 <= renewals <= 5  # once in a period
    now[0] += 900
    _sweep(saver, now[0])
    assert new_saver().get_tuple(config) is None
    now[0] += 2 * GRACE  # what a renewal says that it replaced
    _sweep(saver, now[0])
    assert _stored(saver) == []


def test_delta_channel_was_a_plain_one(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """A thread whose channel held whole values goes on with a DeltaChannel from these."""

    class Plain(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        often: Annotated[list[str], operator.add]
        number: int

    plain = _in_a_row(Plain, count=lambda _: {"number": 7, "log": ["plain"]})
    with Beside(plain, make_saver, call, durability) as graph:
        graph.invoke({"log": ["before"]})
        graph.migrate(_deltas())
        graph.invoke({"log": ["in"], "often": ["in"]})
        answer = graph.invoke({"log": ["in"]})

    assert [each for each in answer["log"] if len(each) < 20] == [
        "before", "plain", "in", "ant 7", "zebra 7", "after 7", "in", "ant 8", "zebra 8", "after 8"
    ]  # fmt: skip


def test_run_costs_puts_and_queries(lone_saver: DynamoDBSaver, call: Call, durability: str) -> None:
    """A run stores its checkpoints and writes, reads where it goes on, and does nothing else."""
    graph = _nested().compile(checkpointer=lone_saver)
    inputs: list[Any] = [{"number": 1}, Command(resume="Ada"), Command(resume=36)]

    with Requests(lone_saver) as requests:
        for each in inputs:
            call(graph, "invoke", each, _config("thread"), durability=durability)

    range_keys = [each["checkpoint_id"]["S"] for each in _stored(lone_saver) if "thread_id" in each]
    assert [key for key in range_keys if not re.match("~c|[0-9a-f]", key)] == []
    assert set(requests.names) <= {"PutItem", "Query", "GetItem"}


# -- Memory ---------------------------------------------------------------------------------------

_PEAK: Final = """
import os, resource, sys
from langgraph_checkpoint_dynamodb import DynamoDBSaver

def peak():
    try:
        with open("/proc/self/status") as status:
            return int(status.read().partition("VmHWM:")[2].split()[0])
    except OSError:  # on Linux, getrusage() counts the process that started this one too
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

method = sys.argv[1]
with DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"]) as saver:
    saver.warm()
    before = peak()
    if method == "list":
        count = sum(1 for _ in saver.list({"configurable": {"thread_id": "thread"}}))
    elif method == "copy_thread":
        count = saver.copy_thread("thread", "copy")
    else:
        count = saver.delete_thread("thread")
    print(count, peak() - before)
"""


def _stock(world: World, deaf_saver: DynamoDBSaver, count: int, namespaces: int) -> None:
    """Store a thread of so many checkpoints, each with writes and new chunks, in few requests."""
    names = ["", *(f"sub:{number:04}" for number in range(1, namespaces))]
    configs: list[Any] = [_config("thread", ns=name) for name in names]
    for start in range(0, count, 500):
        with Requests(deaf_saver) as requests:
            for number in range(start, start + 500):
                at = number % namespaces
                values = {
                    "messages": [_words(300, number // namespaces + each) for each in range(20)],
                    "document": random.randbytes(1500).hex(),
                }
                checkpoint = _checkpoint(number, values)
                configs[at] = deaf_saver.put(
                    configs[at], checkpoint, {"step": number}, dict.fromkeys(values, number)
                )
                deaf_saver.put_writes(configs[at], [("messages", _words(300, number))], "task")
        sent: list[list[Item]] = [[], []]
        for _, params in requests.sent:
            for item in _put_items(params) if "RequestItems" in params else [params["Item"]]:
                sent["task_id_idx" in item].append(item)
        for table, items in zip(world.tables, sent, strict=True):
            unlike = [*{repr(_key(item)): item for item in items}.values()]
            for at in range(0, len(unlike), 25):
                batch = [{"PutRequest": {"Item": item}} for item in unlike[at : at + 25]]
                world.plain.batch_write_item(RequestItems={table: batch})


@LONG
@pytest.mark.parametrize("namespaces", [1, 4000])
def test_a_long_thread_is_never_held_whole(
    world: World, deaf_saver: DynamoDBSaver, namespaces: int
) -> None:
    """To list, copy and delete 20,000 checkpoints takes under 50 MB more, in a fresh process."""
    count = 20_000
    _stock(world, deaf_saver, count, namespaces)
    grown, environment = {}, {**os.environ, **world.endpoint.environment(world.tables)}

    for method in ("list", "copy_thread", "delete_thread"):
        done = _python("-c", _PEAK, method, env=environment, timeout=1500)
        found, kilobytes = done.out.split()
        assert method != "list" or found == str(count)
        grown[method] = int(kilobytes) / 1024

    assert {method: megabytes for method, megabytes in grown.items() if megabytes >= 50} == {}
    assert {item["thread_id"]["S"] for item in world.items(0)} == {"copy"}


@pytest.mark.parametrize(("cache_bytes", "most"), [(500_000, 1_500_000), (0, 800_000)])
def test_what_is_remembered_is_bounded_by_bytes(world: World, cache_bytes: int, most: int) -> None:
    """8 checkpoints of 2,000 channels each, and 8 reads of a list of 1 MB, within one bound."""
    for thread in range(8):
        _put(world.saver(), _config(f"wide {thread}"), 1, {f"channel {n}": n for n in range(2000)})
    _put(world.saver(), _config("long"), 1, {"messages": [_words(1000, n) for n in range(1000)]})
    saver = world.saver(cache_bytes=cache_bytes)
    saver.get_tuple(_config("nothing"))  # what the client itself keeps
    gc.collect()
    tracemalloc.start()

    for thread in range(8):
        saver.get_tuple(_config(f"wide {thread}"))
        saver.get_tuple(_config("long"))

    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < most


# -- Command line ---------------------------------------------------------------------------------
# Run in this process, and a few as a person would: python -m, with the installed module.

# The lines that a person types, and the answers: "..." is any text, "[1]" an exit code, "> " a line of
# _given(), and what follows "<" is typed into the terminal. CHECKPOINTS, WRITES, SERVER and SERDE
# stand for the tables, the server and an AES serializer. Thread "thread" has two checkpoints with a
# write each, and five chunks.
SESSIONS: Final[dict[str, str]] = {
    "setup": """
$ setup
created table 'CHECKPOINTS' (region 'eu-central-1', at SERVER)
created table 'WRITES' (region 'eu-central-1', at SERVER)
> no tables
$ setup --ttl-seconds 60 --run-index --json
{"tables": ["CHECKPOINTS", "WRITES"], "created": ["CHECKPOINTS", "WRITES"], "region": "eu-central-1", "endpoint_url": "SERVER"}
$ setup --ttl-seconds 60 --run-index
found table 'CHECKPOINTS' (region 'eu-central-1', at SERVER); expiry is on; index 'run_id' is there
found table 'WRITES' (region 'eu-central-1', at SERVER); expiry is on
$ setup
found table 'CHECKPOINTS' (region 'eu-central-1', at SERVER)
found table 'WRITES' (region 'eu-central-1', at SERVER)
""",
    "a thread is one line, whatever its id holds, and exact in JSON": """
> ids
$ threads --prefix al
alice
$ threads --prefix two
two\\nlines
$ threads --prefix red --json
{"thread_id": "red\\u001b[31m"}
$ threads --prefix é
é
""",
    "a namespace without checkpoints is told like a thread that is not there": """
> a subgraph
> writes alone
$ show thread
   checkpoint_id                         step  source  time                 bytes  chunks  namespace
*  1ef00000-0000-6000-8000-000000000002     2  loop    2026-11-22T12:00:00    ...       5  child:1
*  1ef00000-0000-6000-8000-000000000001     1  loop    2026-11-22T12:00:00    ...       5  child:1
$ show thread --limit 1 --json
{"thread_id": "thread", "checkpoint_ns": "child:1", "checkpoint_id": "1ef00000-0000-6000-8000-000000000002", "parent_checkpoint_id": "1ef00000-0000-6000-8000-000000000001", "step": 2, "source": "loop", "ts": "2026-11-22T12:00:00+00:00", "next": [], "bytes": ..., "chunks": 5}
$ show thread --namespace no
error: Table 'CHECKPOINTS' shows no checkpoint of thread 'thread' in namespace 'no'
[1]
$ show thread --namespace no --limit 0
$ show typo
error: Table 'CHECKPOINTS' has no thread 'typo'
[1]
$ show written
error: Table 'CHECKPOINTS' shows no checkpoint of thread 'written'
[1]
""",
    "forks are drawn as git log --graph does, within the terminal's width": """
> forks
$ COLUMNS=72 show thread
       checkpoint_id                         step  source  namespace
*      1ef00000-0000-6000-8000-000000000006     6  loop
| *    1ef00000-0000-6000-8000-000000000005     5  loop
| | *  1ef00000-0000-6000-8000-000000000004     4  loop    a subgraph o…
| | *  1ef00000-0000-6000-8000-000000000003     3  loop    a subgraph o…
| | *  1ef00000-0000-6000-8000-000000000002     2  loop
|_|/
|/
*      1ef00000-0000-6000-8000-000000000001     1  loop
$ COLUMNS=120 show thread --limit 2
     checkpoint_id                         step  source  time                 bytes  chunks
*    1ef00000-0000-6000-8000-000000000006     6  loop    2026-11-22T12:00:00    ...       0
| *  1ef00000-0000-6000-8000-000000000005     5  loop    2026-11-22T12:00:00    ...       0
""",
    "stats are a table, or the fields of stats()": """
> a thread
$ stats thread
kind            items           bytes  write_units
checkpoint          2 ...
write               2 ...
chunk               5 ...
total               9 ...
items refer to chunks 10 times; without sharing, chunks would take ... bytes
a checkpoint with its writes and chunks takes ... write units and ... bytes
pinned: it never expires
$ stats thread --json
{"thread_id": "thread", "kinds": {"checkpoint": {"items": 2, "bytes": ..., "write_units": 2}, "write": ..., "chunk": ...}, "total": {"items": 9, ...}, "chunk_references": 10, "unshared_chunk_bytes": ..., "unreadable": 0, "write_units_per_checkpoint": ..., "bytes_per_checkpoint": ..., "shown_until": null, "stored_until": null, "is_pinned": true}
""",
    "a thread is whole, damaged or hidden; the missing ones are told last": """
> a thread
$ verify thread
thread 'thread' is whole: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
$ verify typo thread typo2
thread 'thread' is whole: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
error: Table 'CHECKPOINTS' has no thread 'typo'
error: Table 'CHECKPOINTS' has no thread 'typo2'
[1]
$ verify thread --json
{"thread_id": "thread", "items": {"checkpoint": 2, "write": 2, "chunk": 5}, "damaged": [], "orphans": {}, "unfinished": null, "undecodable": [], "shown_until": null, "stored_until": null, "is_pinned": true}
> a chunk is lost
> an orphan
$ verify thread
thread 'thread' is DAMAGED: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
damaged: Chunk '~x...' is missing: thread 'thread', namespace '', checkpoint '1ef00000-0000-6000-8000-000000000002', table 'CHECKPOINTS'; restore ...
orphan: ~x00000000000000000000000000000000: chunk that nothing intact refers to
[1]
> a marker
$ verify thread
thread 'thread' is DAMAGED and unfinished (under a deletion): 2 checkpoints, 1 marker, 2 writes, 5 chunks; ...
[1]
$ show thread
error: Thread 'thread' has an unfinished deletion; repeat that call to finish it first
[1]
$ delete thread --yes
thread 'thread' is deleted: 2 checkpoints, 2 writes and 5 chunks
$ delete thread --yes
there is no thread 'thread'
""",
    "times are the latest of a thread's checkpoints": """
> times
$ stats long
... write unit and ... bytes
shown until 2095-02-02T11:14:08Z, stored until 21...Z
$ verify long
thread 'long' is whole: 1 checkpoint; shown until 2095-02-02T11:14:08Z, stored until 21...Z
$ verify long --json
{"thread_id": "long", ... "shown_until": 3947483648, "stored_until": ..., "is_pinned": false}
$ stats old
... bytes
no checkpoint is shown
$ verify old --json
{"thread_id": "old", "items": {"expired": 1}, ... "shown_until": null, "stored_until": null, "is_pinned": false}
$ verify oldest
thread 'oldest' is whole: 1 checkpoint; shown until 99999999999999999999 seconds after 1970, stored until 99999999999999999999 seconds after 1970
""",
    "a copy is pinned unless it is told how long to live; its target must be empty": """
> a thread
$ copy thread copy --json
{"source_thread_id": "thread", "target_thread_id": "copy", "checkpoints": 2, "writes": 2, "chunks": 5}
$ copy thread other --ttl-seconds 3600
thread 'other' is a copy of 'thread': 2 checkpoints, 2 writes and 5 chunks
$ verify copy other
thread 'copy' is whole: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
thread 'other' is whole: 2 checkpoints, 2 writes, 5 chunks; shown until 20...Z, stored until 20...Z
$ copy thread copy
error: TARGET 'copy' has items already; copy to a thread that has none
[1]
$ copy typo new
error: Table 'CHECKPOINTS' has no thread 'typo'
[1]
$ copy thread thread
error: SOURCE and TARGET are both 'thread'
[2]
""",
    "a thread expires then, or never": """
> a thread
$ expire typo thread --ttl-seconds 3600 --json
{"thread_id": "thread", "shown_until": 1..., "stored_until": 1..., "is_pinned": false, "checkpoints": 2, "writes": 2, "chunks": 10}
error: Table 'CHECKPOINTS' has no thread 'typo'
[1]
$ expire thread --ttl-seconds 3153600000
thread 'thread': 2 checkpoints, 2 writes, 15 chunks; shown until 21...Z, stored until 2...Z
$ expire thread --ttl-seconds 3153600001
error: argument --ttl-seconds: must be a whole number from 1 to 3,153,600,000, not '3153600001'; try ...
[2]
$ expire thread --never
thread 'thread': 2 checkpoints, 2 writes, 15 chunks; pinned: it never expires
""",
    "other threads than a damaged one get their time, or are pruned": """
> a thread
> another
> damage
$ expire thread other --never
thread 'other': 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
error: An item's bytes are not what was stored: thread 'thread', namespace '', checkpoint ...
[1]
$ prune thread other --yes
thread 'other' is pruned: 1 checkpoint, 1 write and 0 chunks
error: An item's bytes are not what was stored: thread 'thread', namespace '', checkpoint ...
[1]
""",
    "a person is asked before a deletion, and only y is yes; a script can run it again": """
> a thread
> another
$ delete thread other < no,,
Delete 2 checkpoints, 2 writes and 5 chunks of thread 'thread' in 'CHECKPOINTS' and 'WRITES' (region 'eu-central-1', at SERVER)? [y/N] aborted
Delete 2 checkpoints, 2 writes and 5 chunks of thread 'other' in 'CHECKPOINTS' and 'WRITES' (region 'eu-central-1', at SERVER)? [y/N] aborted
[1]
$ delete thread < end
Delete 2 ...? [y/N] aborted
[1]
$ delete thread < Ctrl-C
Delete 2 ...? [y/N] interrupted; the same command can be run again
[130]
$ delete thread
error: the command asks before it deletes, and there is no terminal; pass --yes; try python -m langgraph_checkpoint_dynamodb --help
[2]
$ prune thread
error: the command asks before it deletes, and there is no terminal; pass --yes; try python -m langgraph_checkpoint_dynamodb --help
[2]
$ delete thread --dry-run --json
{"thread_id": "thread", "dry_run": true, "deleted": false, "checkpoints": 2, "writes": 2, "chunks": 5}
$ verify thread
thread 'thread' is whole: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
$ delete other thread < n,y
thread 'thread' is deleted: 2 checkpoints, 2 writes and 5 chunks
Delete 2 ... of thread 'other' ...? [y/N] aborted
Delete 2 ... of thread 'thread' ...? [y/N] [1]
$ threads
other
$ delete other typo --yes --json
{"thread_id": "other", "dry_run": false, "deleted": true, "checkpoints": 2, "writes": 2, "chunks": 5}
{"thread_id": "typo", "dry_run": false, "deleted": false}
$ threads
""",
    "the newest stay, or none; a grace period spares chunks, and a dry run all": """
> a thread
> two more
$ prune thread --dry-run
thread 'thread' would lose 3 checkpoints, 2 writes and 0 chunks
$ prune thread --dry-run --keep-last 3
thread 'thread' would lose 1 checkpoint, 1 write and 0 chunks
$ prune thread --dry-run --grace-seconds 0
thread 'thread' would lose 3 checkpoints, 2 writes and 5 chunks
$ prune thread --dry-run --strategy delete
thread 'thread' would lose 4 checkpoints, 2 writes and 5 chunks
$ verify thread
thread 'thread' is whole: 4 checkpoints, 2 writes, 5 chunks; pinned: it never expires
$ prune thread --keep-last 2 < yes
thread 'thread' is pruned: 2 checkpoints, 2 writes and 0 chunks
Delete 2 checkpoints, 2 writes and 0 chunks of thread 'thread' (all but the newest 2 of each namespace) in 'CHECKPOINTS' and 'WRITES' (region 'eu-central-1', at SERVER)? [y/N] \\
$ verify thread
thread 'thread' is whole: 2 checkpoints, 1 tombstone, 5 chunks; pinned: it never expires
...
$ prune thread --yes --grace-seconds 0 --json
{"thread_id": "thread", "dry_run": false, "pruned": true, "checkpoints": 1, "writes": 0, "chunks": 5}
$ prune thread --strategy delete < n
Delete 1 checkpoint, 0 writes and 0 chunks of thread 'thread' in 'CHECKPOINTS' ...? [y/N] aborted
[1]
$ prune thread < n
Delete 0 checkpoints, 0 writes and 0 chunks of thread 'thread' (all but the newest of each namespace) in ...? [y/N] aborted
[1]
$ prune thread --strategy delete --yes
thread 'thread' is pruned: 1 checkpoint, 0 writes and 0 chunks
$ threads
""",
    "runs go from all threads, but for one from which a DeltaChannel is rebuilt": """
> runs
$ delete-runs one two < n
Delete the checkpoints of 2 runs 'one', 'two' in 'CHECKPOINTS' and 'WRITES' (region 'eu-central-1', at SERVER)? [y/N] aborted
[1]
$ delete-runs one two --yes --json
{"run_ids": ["one", "two"]}
$ delete-runs one --no-index --force --yes
the checkpoints of run 'one' are deleted
$ show a
... chunks
*  1ef00000-0000-6000-8000-000000000003 ...
$ verify b
thread 'b' is whole: 1 checkpoint; pinned: it never expires
$ delete-runs run-5 --no-index --yes
error: Checkpoint '1ef00000-0000-6000-8000-000000000005' of thread 'deltas', namespace '', is of a run to be deleted, but ...; keep the run, or pass --force to delete it all the same
[1]
""",
    "a failure is one line, with the way out": """
> a thread
$ check
allowed: all that a graph needs
$ threads --checkpoints-table ''
error: --checkpoints-table must be a table's name, not ''
[2]
$ threads --checkpoints-table no-table
error: Table 'no-table' does not exist in region 'eu-central-1'; run the command setup, or check the table's name and the client's region
[1]
$ threads --region 'no region'
error: Provided region_name 'no region' doesn't match a supported format.
[2]
$ threads --checkpoints-table WRITES --writes-table CHECKPOINTS
error: Table 'WRITES' has items without the key 'thread_id'; check the tables' names: are they swapped?
[1]
$ show thread --checkpoints-table WRITES --writes-table CHECKPOINTS
error: Table 'WRITES' has keys other than 'thread_id' and 'checkpoint_id', ...; check the tables' names: are they swapped?
[1]
$ verify thread --writes-table CHECKPOINTS
error: --checkpoints-table and --writes-table are both 'CHECKPOINTS'; the two tables have different keys: name two tables
[2]
$ AWS_MAX_ATTEMPTS=1 threads --endpoint-url http://127.0.0.1:9
error: Could not connect to the endpoint URL: "http://127.0.0.1:9/"
[1]
$ AWS_SECRET_ACCESS_KEY= AWS_ACCESS_KEY_ID= threads
error: Unable to locate credentials; set them as for the AWS CLI
[1]
$ AWS_DEFAULT_REGION= threads
error: You must specify a region; pass --region or set AWS_DEFAULT_REGION
[1]
$ show thread --limit 1.5
error: argument --limit: must be a whole number from 0 to 1,000,000,000, not '1.5'; try python -m langgraph_checkpoint_dynamodb show --help
[2]
$ --json --checkpoints-table no-table show thread --checkpoints-table CHECKPOINTS --limit 0
""",
    "what is denied is an action and a table a line": """
> denied
$ check --thread t/1
denied: dynamodb:BatchWriteItem on table 'CHECKPOINTS'
denied: dynamodb:Query on table 'WRITES'
[1]
$ check --thread t/1 --json
{... {"action": "dynamodb:Query", "table_name": "WRITES"}]}
[1]
$ check
allowed: all that a graph needs
""",
    "threads of a saver that a module here names are copied, and a second time none is": """
$ copy-from savers_of_tests:saver --json
{"threads": 0, "copied": 0, "there_before": 0, "failed": {}}
> a source
$ copy-from savers_of_tests:opened a --ttl-seconds 3600
copied 2 checkpoints of 1 thread; 0 were there before
$ copy-from savers_of_tests:opened --json
{"threads": 2, "copied": 1, "there_before": 2, "failed": {}}
$ verify a b
thread 'a' is whole: 2 checkpoints; shown until 20...Z, stored until ...
thread 'b' is whole: 1 checkpoint; pinned: it never expires
> a terminal
$ copy-from savers_of_tests:saver
copied 0 checkpoints of 2 threads; 3 were there before
...copy-from: thread 'a': 2 of 2 checkpoints...
""",
    "copying goes on past a thread that can't be shown; some savers list none, and some are none": """
$ copy-from savers_of_tests:needs
error: argument MODULE:NAME: 'savers_of_tests:needs' is not a saver, and does not return one; try ...
[2]
$ copy-from savers_of_tests:wrong
error: MODULE:NAME opens a dict, which is not a saver...
[2]
$ copy-from json:decoder
error: argument MODULE:NAME: 'json:decoder' is not a saver, and does not return one; try ...
[2]
> a source
> no key for a
$ copy-from savers_of_tests:saver a b
copied 1 checkpoint of 1 thread; 0 were there before
error: The source can't show thread 'a': RuntimeError: no key
[1]
> no list
$ copy-from savers_of_tests:saver
error: a thread must be named; if the source can't list its threads, name them
[1]
""",
    "a profile has region and credentials, also if the environment has keys": """
> a thread
> a profile
$ delete thread --profile prod < n
Delete 2 ... (profile 'prod', region 'eu-central-1', at SERVER)? [y/N] aborted
[1]
$ threads --profile nobody
error: The config profile (nobody) could not be found
[2]
""",
    "the script's usage has its name, and an example of an encrypted table": """
> the script
$ --help
usage: langgraph-dynamodb [OPTION ...] COMMAND...
  langgraph-dynamodb verify THREAD \\
    --serde SERDE
...
$ show --help
usage: langgraph-dynamodb show [OPTION ...] THREAD
...
$ show
error: the following arguments are required: THREAD; try langgraph-dynamodb show --help
[2]
""",
    "encrypted threads need --serde and its key; verify says what it met": """
> an encrypted thread
$ LANGGRAPH_AES_KEY=0123456789abcdef verify thread --serde SERDE
thread 'thread' is whole: 2 checkpoints, 2 writes, 5 chunks; pinned: it never expires
$ verify thread
thread 'thread' is UNDECODABLE: ...
undecodable: 4 items, such as: Bytes are encrypted; give the saver the EncryptedSerializer that wrote them: thread 'thread', namespace '', checkpoint '1ef00000-0000-6000-8000-000000000001', table 'CHECKPOINTS'; the data are untouched: read them with the serializer and the key that wrote them; --serde names the serializer
[1]
$ LANGGRAPH_AES_KEY=fedcba9876543210 verify thread --serde SERDE
thread 'thread' is UNDECODABLE: ...
undecodable: 4 items, such as: Bytes can't be decrypted with this key (ValueError); another key wrote them, unless somebody has changed them: thread ...
[1]
$ verify thread --serde SERDE
error: LANGGRAPH_AES_KEY ...
[2]
""",
}
SERDE_OF_USER: Final = (
    "langgraph.checkpoint.serde.encrypted:EncryptedSerializer.from_pycryptodome_aes"
)
SOURCE_MODULE: Final = """
from contextlib import nullcontext
from langgraph.checkpoint.memory import InMemorySaver
saver = InMemorySaver()
opened = lambda: nullcontext(saver)
wrong = lambda: nullcontext({})
needs = lambda path: saver
"""


class Terminal(io.StringIO):
    """A person at a keyboard, who types what this holds, or Ctrl-C."""

    def isatty(self) -> bool:
        """Say that it is a terminal."""
        return True

    def readline(self, *_: Any) -> Any:
        """Return what is typed."""
        if self.getvalue() == "Ctrl-C":
            raise KeyboardInterrupt
        return super().readline()


def _given(  # noqa: C901  a function for each step
    saver: DynamoDBSaver, environment: Patch
) -> dict[str, Callable[[], Any]]:
    """Return what may be stored, lost or set between the commands of a session."""

    def forks() -> None:
        root = _put(saver, _config("thread"), 1)
        _put(saver, root, 2)
        _put(saver, _put(saver, _config("thread", ns="a subgraph of a long name:1"), 3), 4)
        for number in (5, 6):
            _put(saver, root, number)

    def runs() -> None:
        for thread_id in "ab":
            config = _config(thread_id)
            for number, run_id in ((1, "one"), (2, "two"), (3, "three")):
                config = _put(saver, config, number, run_id=run_id)
        _put_deltas(saver, "deltas")

    def times() -> None:
        now, far = 1_800_000_000, {"N": "9" * 20}
        for name, ttl_seconds, at in (("long", 2**31, now), ("old", 60, now // 2)):
            with _beside(saver, ttl_seconds=ttl_seconds, clock=lambda at=at: at) as timed:
                _put(timed, _config(name), 1)
        _put(saver, _config("oldest"), 1)
        (item,) = _items_of(saver, "oldest")
        _put_item(saver, item | {"shown_until": far, "ttl": far})

    def denied() -> None:
        actions = zip(("BatchWriteItem", "Query"), _tables_of(saver), strict=True)
        found = [module.DeniedAction(f"dynamodb:{name}", table) for name, table in actions]
        environment.setattr(
            DynamoDBSaver, "check", lambda _, thread_id: found if thread_id == "t/1" else []
        )

    def source() -> Any:
        return importlib.import_module("savers_of_tests").saver

    def no_key_for_a() -> None:
        get_tuple = source().get_tuple

        def get(config: Any) -> Any:
            if config["configurable"]["thread_id"] == "a":
                raise RuntimeError("no key")
            return get_tuple(config)

        environment.setattr(source(), "get_tuple", get)

    def no_list() -> None:
        def refuse(_: Any) -> None:  # as langgraph-checkpoint-aws does
            raise ValueError("a thread must be named")

        environment.setattr(source(), "list", refuse)

    def a_profile() -> None:
        Path("config").write_text(
            "[profile prod]\nregion = eu-central-1\naws_access_key_id = test\n"
            f"aws_secret_access_key = test\nendpoint_url = {saver.client.meta.endpoint_url}\n"
        )
        environment.setenv("AWS_CONFIG_FILE", str(Path("config").resolve()))
        for name in ("DEFAULT_REGION", "ENDPOINT_URL_DYNAMODB"):
            environment.delenv(f"AWS_{name}")
        for name in ("PROFILE", "DEFAULT_PROFILE", "SESSION_TOKEN", "ACCESS_KEY_ID"):
            environment.setenv(f"AWS_{name}", "wrong")

    def an_encrypted_thread() -> None:
        with _beside(saver, serde=_aes(b"0123456789abcdef")) as encrypting:
            _two_alike(encrypting, "thread")

    return {
        "no tables": lambda: _drop(saver.client, *_tables_of(saver)),
        "a thread": lambda: _two_alike(saver, "thread"),
        "a subgraph": lambda: _two_alike(saver, "thread", "child:1"),
        "another": lambda: _two_alike(saver, "other"),
        "two more": lambda: [_put(saver, _config("thread", n - 1), n) for n in (3, 4)],
        "writes alone": lambda: saver.put_writes(_config("written", 1), [("text", 1)], "task"),
        "ids": lambda: [
            _put(saver, _config(each), 1) for each in ("alice", "two\nlines", "red\x1b[31m", "é")
        ],
        "forks": forks, "runs": runs, "times": times, "denied": denied, "a profile": a_profile,
        "no key for a": no_key_for_a, "no list": no_list, "an encrypted thread": an_encrypted_thread,
        "a source": lambda: [
            _put(source(), _put(source(), _config("a"), 1), 2), _put(source(), _config("b"), 1)
        ],
        "a terminal": lambda: environment.setattr(sys.stderr, "isatty", lambda: True),
        "the script": lambda: environment.setattr(sys, "argv", ["/usr/bin/langgraph-dynamodb"]),
        "a chunk is lost": lambda: _delete_item(saver, _items_of(saver, "thread", "~x")[0]),
        "damage": lambda: _put_item(saver, _items_of(saver, "thread", "1")[0] | {"run_id": {"S": "x"}}),
        "an orphan": lambda: _put_item(saver, _row("thread", "~x" + "0" * 32, blob={"B": b"\0"})),
        "a marker": lambda: _hide(saver, "thread"),
    }  # fmt: skip


@ONE_SERVER
@pytest.mark.parametrize("name", SESSIONS)
def test_command_line_says(
    command: Run,
    no_tables: Tables,
    environment: Patch,
    endpoint: Endpoint,
    tmp_path: Path,
    name: str,
) -> None:
    """A session of the table above comes out as it stands there."""
    (tmp_path / "savers_of_tests.py").write_text(SOURCE_MODULE)
    sys.modules.pop("savers_of_tests", None)
    environment.chdir(tmp_path)
    environment.setattr(sys, "path", [*sys.path])
    words = dict(zip(("CHECKPOINTS", "WRITES"), no_tables, strict=True))
    for word, table in words.items():
        environment.setenv(f"{word}_TABLE", table)
    words |= {"SERVER": endpoint.client_config["endpoint_url"], "SERDE": SERDE_OF_USER}
    with DynamoDBSaver(*no_tables, client=endpoint.client) as saver:
        if name != "setup":
            saver.setup()
        for step in re.split(r"\n(?=[$>] )", SESSIONS[name])[1:]:
            line, _, expected = step.partition("\n")
            if line.startswith("> "):
                _given(saver, environment)[line[2:]]()
                continue
            line, is_typed, typed = line[2:].partition(" < ")
            stdin = Terminal(typed.replace(",", "\n").replace("end", "")) if is_typed else None
            environment.setattr(sys, "stdin", stdin)
            argv = [words.get(each, each) for each in shlex.split(line)]

            with environment.context() as patch:
                while "=" in argv[0]:
                    variable, value = argv.pop(0).split("=")
                    patch.setenv(variable, value)
                    if not value:
                        patch.delenv(variable)
                answer = command(*argv)

            found = answer.out + answer.err + f"[{answer.code}]" * bool(answer.code)
            for word, each in words.items():
                expected = expected.replace(word, each)
            pattern = re.escape(expected.rstrip().removesuffix("\\")).replace(r"\.\.\.", ".*")
            assert re.fullmatch(f"{pattern}\\s*", found, re.DOTALL), f"{line}\n{found}"


@ONE_SERVER
@pytest.mark.parametrize(
    "argv", ["stats {}", "verify {}", "copy {} {}2", "delete {} --yes", "expire {} --never"]
)
def test_command_counts_requests_for_a_person(
    command: Run, saver: DynamoDBSaver, thread_id: str, environment: Patch, argv: str
) -> None:
    """Long work tells a terminal how many requests it has taken, and a file nothing."""
    config = _config(thread_id)
    for number in range(1, 20):
        config = _put(saver, config, number)
    make_call = botocore.client.BaseClient._make_api_call

    def call_for_one_item(client: Any, operation: str, parameters: Any) -> Any:
        limit = {"Limit": 1} if operation == "Query" else {}
        return make_call(client, operation, parameters | limit)

    environment.setattr(botocore.client.BaseClient, "_make_api_call", call_for_one_item)
    name, *operands = argv.format(thread_id, thread_id).split()
    answers = []

    for is_terminal in (True, False):
        environment.setattr(sys.stderr, "isatty", partial(bool, is_terminal))
        answers.append(command(name, *operands).err)

    watched, unwatched = answers
    counted = re.findall(rf"\r{name}: (\d+) requests", watched)
    assert counted[:2] == ["10", "20"]
    assert watched.endswith(f"\r{' ' * len(f'{name}: {counted[-1]} requests')}\r")
    assert "requests" not in unwatched


WRONG_COMMAND_LINES: Final = (
    "", "nonsense", "show", "copy one", "show thread --limit -1", "show thread --lim 1",
    "prune thread --yes --grace-seconds soon", "prune thread --yes --strategy all",
    "prune thread --yes --keep-last 0", "prune thread --yes --strategy delete --keep-last 2",
    "threads --serde json:nothing", "threads --serde json:dumps", "threads --serde json:__name__",
    "threads --serde json", "threads --\x1b[31m", "threads --serde no_such_module:serde",
    "threads --yes", "threads --js", "expire thread", "expire thread --ttl-seconds 0",
    "expire thread --never --ttl-seconds 60", "expire thread --ttl-seconds 3153600001",
    "setup --ttl-seconds 0", "copy-from", "copy-from json", "copy-from json:nothing",
    "delete-runs --yes",
)  # fmt: skip


@ONE_SERVER
def test_command_refuses_a_wrong_command_line(command: Run, thread: str) -> None:
    """The exit code is 2, one line says why, and nothing is done; so it is with what is no id."""
    for line in WRONG_COMMAND_LINES:
        answer = command(*line.split())

        assert (answer.code, answer.out) == (2, ""), line
        (told,) = answer.err.splitlines()
        assert told.startswith("error: ")
        assert "\x1b" not in told
        assert "None" not in told
    for argv, wrong in itertools.product(
        (["verify", ""], ["stats", ""], ["copy", thread, ""], ["expire", "", "--never"]),
        ("", "x" * 2049),
    ):
        answer = command(*(each or wrong for each in argv))

        assert (answer.code, answer.out) == (2, ""), argv
        told = "has 2,049 bytes, and may have 2,048" if wrong else "is empty"
        assert told in answer.err
        assert len(answer.err.splitlines()) == 1


@ONE_SERVER
def test_command_never_prints_users_words(command: Run, saver: DynamoDBSaver, thread: str) -> None:
    """No command prints a value, a write or a bit of either, even of what is damaged."""
    graph = _graph_of_all_edges(saver)
    graph.invoke({"log": [USERS_WORDS]}, _config(f"{thread} 2"))

    answers = [
        command(name, each, *options)
        for each in (thread, f"{thread} 2")
        for name in ("show", "stats", "verify")
        for options in ([], ["--json"])
    ]
    for chunk in _items_of(saver, thread, "~x"):
        _put_item(saver, chunk | {"blob": {"B": b"\0" + USERS_WORDS.encode()}})
    answers.append(command("verify", thread))

    assert [answer.code for answer in answers] == [0] * 12 + [1]
    assert [a for a in answers if "user said" in a.out + a.err or "aaaa" in a.out + a.err] == []


@ONE_SERVER
@pytest.mark.usefixtures("environment")
def test_command_runs_as_a_module(saver: DynamoDBSaver, thread: str, tmp_path: Path) -> None:
    """``python -m`` runs it, returns its exit code, and asks no script.

    If nobody reads on, as before ``| head``, there is no traceback, nor a whole answer's exit code.
    """
    first = _items_of(saver, thread, "~x")[0]
    run = partial(_python, "-m", module.__name__)
    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "w") as stdout:
        unread = run("show", thread, stdout=stdout)
    shown = run("show", thread, "--json")
    _delete_item(saver, first)
    damaged, asked = run("verify", thread), run("delete", thread)

    assert (unread.code, unread.err) == (1, "")
    assert (shown.code, len(shown.rows)) == (0, 2)
    assert (damaged.code, damaged.err, asked.code) == (1, "", 2)
    assert "is DAMAGED" in damaged.out
    assert run("--version") == (0, f"{__version__}\n", "")
    # A copied file, or the one in a checkout, has no command line, and does not keep silent.
    shutil.copy(str(module.__file__), tmp_path / "copied.py")
    line = (
        "This file has no command line; install the package, and call langgraph-dynamodb, or "
        "python -m langgraph_checkpoint_dynamodb in a folder without this file\n"
    )
    assert _python("copied.py", cwd=tmp_path) == (1, "", line)


# -- Documents ------------------------------------------------------------------------------------


LAYOUT_PATTERNS: Final = {
    "<id>": r"[0-9a-f]",
    "~c<ns><id>": r"~c\d+:.*:[0-9a-f]",
    "~t<uuid>": r"~t[0-9a-f-]{36}$",
    "~x<chunk id>[:<ttl>]": r"~x[0-9a-f]{32}(:\d+)?$",
    "}": r"}$",
    "<checkpoint>:::<task>:::<idx>": r".*[0-9a-f]:::.*:::-?\d+$",
}


def test_documents_describe_every_item(lone_saver: DynamoDBSaver, make_saver: MakeSaver) -> None:
    """The table in the module's docstring names each kind of item with each of its attributes."""
    text = (module.__doc__ or "").partition("-----------  ")[2].partition("\n\n")[0]
    lines = re.sub(r"\n {5,}", " ", text).splitlines()[1:]
    documented = []
    for line in lines:
        table, name, range_key, words = re.split(r" {2,}|(?<=>) ", line.strip(), maxsplit=3)
        if words != "the same":
            allowed = {word.rstrip("?") for word in words.split()}
            required = allowed & {*words.split()}
        documented.append((table == "writes", LAYOUT_PATTERNS[range_key], name, required, allowed))
    tables, found = _tables_of(lone_saver), set()
    savers = (make_saver(tables, ttl_seconds=ttl) for ttl in (None, 60))
    many = {f"channel {number}": _words(5000, number) for number in range(60)}
    for saver, thread_id in zip(savers, "ab", strict=True):
        for ns in ("", "child"):
            _put(saver, _put(saver, _config(thread_id, ns=ns), 1, {"text": "x" * 2000}), 2)
        saver.prune([thread_id])
        for ns in ("", "child"):
            stored = _put(saver, _config(thread_id, 2, ns=ns), 3, large=random.randbytes(500_000))
            stored = _put(saver, stored, 4, run_id="run")
            saver.put_writes(stored, [("text", 1), (ERROR, 2)], "task")
            _put(saver, stored, 5, many)
        large = [("text", random.randbytes(500_000))]
        for at, writes in ((9, large), (9, [(ERROR, large)]), (5, [*many.items()])):
            saver.put_writes(_config(thread_id, at), writes, "task")
        source = InMemorySaver()
        for ns in ("", "child"):
            _put(source, _put(source, _config(f"{thread_id} 2", ns=ns), 1), 2, run_id="run")
        saver.copy_from(source)
        _hide(saver, thread_id)

    for item in _stored(lone_saver):
        is_write, range_key = "task_id_idx" in item, _key(item)[1]
        ((_, _, name, required, allowed),) = (
            each for each in documented if each[0] == is_write and re.match(each[1], range_key)
        )
        attributes = item.keys() - {*chain(*TABLE_KEYS)}
        assert required <= attributes <= allowed, (range_key, attributes)
        found |= {(name, each) for each in attributes}
    assert found == {(name, each) for _, _, name, _, allowed in documented for each in allowed}


FOLDER: Final = Path(__file__).parent
DOCUMENTS: Final = {
    path.relative_to(FOLDER).as_posix(): path.read_text()
    for path in sorted([*FOLDER.glob("*.md"), *FOLDER.glob("docs/*.md")])
}
README: Final = DOCUMENTS["README.md"]
INFRASTRUCTURE: Final = DOCUMENTS["docs/infrastructure.md"]
OPERATING: Final = DOCUMENTS["docs/operating.md"]
CONTAINERS: Final = DOCUMENTS["docs/containers.md"]
COSTS: Final = DOCUMENTS["docs/costs.md"]
EXAMPLES: Final = FOLDER / "examples"


def _check_said(name: str, *texts: str) -> None:
    """Check that a document holds each of the texts, wherever its lines are broken."""
    document = " ".join(DOCUMENTS[name].split())
    assert [text for text in texts if text not in document] == []


def _section(text: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _code(text: str, language: str, part: str) -> str:
    """Return a document's block of code that holds *part*."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    (block,) = (each for each in blocks if part in each)
    return str(block)


def _run_code(code: str, **given: Any) -> dict[str, Any]:
    """Run a document's code with the names that are given; return all its names."""
    exec(code, given)  # noqa: S102  it is ours
    return given


@pytest.fixture
def aws_environment(endpoint: Endpoint, monkeypatch: Patch) -> None:
    """Name the server by nothing but variables, as the README does."""
    for name, value in endpoint.environment(endpoint.tables).items():
        assert name in README or not name.startswith("AWS_")
        monkeypatch.setenv(name, value)


@ONE_SERVER
@pytest.mark.usefixtures("aws_environment")
def test_documents_first_screen_keeps_a_conversation(no_tables: Tables) -> None:
    """The README's first example prints what the README says, and goes on when it is run again."""
    code, later = (
        _code(README, "python", part).replace('"checkpoints", "writes"', repr(no_tables)[1:-1])
        for part in ("saver.setup()", "async with")
    )
    printed: list[str] = []

    given = _run_code(code, print=printed.append)
    once = list(printed)
    asyncio.run(_run_code(later, **given)["main"]())
    _run_code(code, **given)

    assert once == README.partition("```text\n")[2].partition("```")[0].splitlines()
    more = ["human: hello again", "ai: Message 3 has arrived."]
    more += ["human: hello", "ai: Message 5 has arrived."]
    assert printed[len(once) :] == [*once, *more]


def test_documents_first_page_stays_short() -> None:
    """The README has at most 230 lines and 1,500 words."""
    assert len(README.splitlines()) <= 230
    assert len(README.split()) <= 1500


def _cost_table(name: str) -> dict[str, list[str]]:
    """Return the lines of a table that the benchmark writes by their labels."""
    block = f"{COSTS}{OPERATING}".partition(f"<!-- {name} -->\n")[2].partition("\n<!-- end -->")[0]
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]
    return {label: cells for label, *cells in lines[2:]}


@pytest.fixture
def benchmark(monkeypatch: Patch) -> Any:
    """Give the program that writes the benchmark's tables."""
    monkeypatch.setattr(sys, "path", [str(FOLDER / ".ci"), str(FOLDER), *sys.path])
    yield importlib.import_module("tables")
    del sys.modules["tables"], sys.modules["bench"]


def test_documents_first_figures_are_those_of_the_page_about_costs() -> None:
    """The units and dollars that README and page begin with stand in the bill and the counts."""
    bill = [cell.split(" / ") for cell in _cost_table("bills")["chat of 100 turns"]]
    (ours, _, our_price), (theirs, _, their_price), (packed, _, packed_price) = bill
    stored = _cost_table("counts")["chat of 100 turns: stored"]

    _check_said(
        "README.md",
        f"takes **{ours} write units, against {theirs}** with",
        f"or {packed} with its compression",
        f"cost **{our_price}, against {their_price}** or {packed_price}, reads included",
        f"{ours} with this saver, {theirs} with langgraph-checkpoint-aws",
    )
    _check_said(
        "docs/costs.md",
        f"takes {ours} write units and leaves {stored[0]}, against {theirs} units and {stored[1]}",
        f"or {packed} units and {stored[2]} with its compression",
        f"cost {our_price}, against {their_price} or {packed_price}, reads included",
    )


def test_documents_costs_are_tables_of_the_benchmark(benchmark: Any) -> None:
    """Each table has only lines that the benchmark writes, in its order, and its prices."""
    writes, reads = (
        benchmark.DOLLARS_PER_MILLION_WRITE_UNITS, benchmark.DOLLARS_PER_MILLION_READ_UNITS
    )  # fmt: skip
    for name, (_, *lines) in benchmark.tables({}).items():
        found = _cost_table(name)
        assert found, name
        assert [*found] == [label for label, *_ in lines if label in found], name
    for cell in chain(*_cost_table("bills").values(), *_cost_table("shapes").values()):
        if " / " in cell:
            units = [float(each.replace(",", "").lstrip("$")) for each in cell.split(" / ")]
            paid = (units[0] * writes + units[1] * reads) / 1000
            assert units[2] == pytest.approx(paid, abs=0.006), cell
    prices = (f"${writes} for a million write units", f"${reads} for a million read units")
    _check_said("docs/costs.md", *prices)


def test_documents_costs_are_written_anew(benchmark: Any, tmp_path: Path) -> None:
    """The benchmark writes what it has measured over the old figures, and leaves the others."""
    page = tmp_path / "costs.md"
    page.write_text(COSTS)
    cost = {"failure": "", "write_units": 1000, "read_units": 8000.5, "requests": 1, "by_turn": []}

    benchmark.write_tables(page, {"fanout": {"this": {"turns": cost}}})

    old, new = (
        [line for line in text.splitlines() if "| 100 `Send`s, three rounds |" in line]
        for text in (COSTS, page.read_text())
    )
    assert new[0].split(" | ")[1] == "1,000 / 8,000.5 / $1.63"
    assert new[0].split(" | ")[2:] == old[0].split(" | ")[2:]
    assert len(page.read_text().splitlines()) == len(COSTS.splitlines())


def test_documents_description_has_no_link_to_a_file() -> None:
    """PyPI shows the README without the links and the picture that lead into the repository."""
    toml = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    settings = toml.loads((FOLDER / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]
    hook = settings["hooks"]["fancy-pypi-readme"]

    description = "".join(
        (FOLDER / each["path"]).read_text() if "path" in each else each["text"]
        for each in hook["fragments"]
    )
    for each in hook["substitutions"]:
        description = re.sub(each["pattern"], each["replacement"], description)

    assert not re.search(r"\]\((?!https://)|!\[|<img|href=|src=", description)
    assert "Until 1.0 is on PyPI" not in description
    assert "Works in AWS Lambda (`docs/lambda.md`)" in description
    assert description.count("```") == README.count("```")


def _anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_link_to_what_there_is(name: str) -> None:
    """Each link of a document leads to a file, and to a heading in it; the README to each page."""
    for link in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[name]):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = ((FOLDER / name).parent / path).resolve() if path else FOLDER / name
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target.read_text()), link
    assert name == "README.md" or f"({name}" in README


def test_documents_name_the_options_and_their_defaults() -> None:
    """The README's call has the defaults of all keywords, and its table a line for each."""
    parameters = inspect.signature(DynamoDBSaver).parameters
    section = _section(README, "Options")
    call = ast.parse(section.partition("```python\n")[2].partition("```")[0], mode="eval").body
    assert isinstance(call, ast.Call)
    rows = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)

    shown = {str(each.arg): eval(ast.unparse(each.value)) for each in call.keywords}  # noqa: S307

    assert set(rows) == {*parameters} - {"checkpoints_table_name", "writes_table_name"}
    assert set(shown) == set(rows) - {"client_config", "client", "clock"}
    assert {name: parameters[name].default for name in shown} == shown


def test_documents_name_timeouts_and_retries() -> None:
    """The defaults that the documents name are the client's, and so is how long it may take."""
    with DynamoDBSaver("checkpoints", "writes", {"region_name": "eu-central-1"}) as saver:
        config = saver.client.meta.config
    attempts, read = config.retries["total_max_attempts"], config.read_timeout
    pauses = [2**number for number in range(attempts - 1)]
    short_pauses = [25 * pause for pause in pauses]
    seconds = sum(short_pauses) / 1000
    own_pauses = [min(5.0, 0.05 * 2**number) for number in range(1, attempts)]

    _check_said(
        "docs/operating.md",
        f"| time to connect | {config.connect_timeout} seconds |",
        f"| time to read an answer | {read} seconds |",
        f"| attempts | {attempts}, in botocore's {config.retries['mode']} mode |",
        "up to {}, {}, {}, {} and {} seconds".format(*pauses),
        "up to {}, {}, {}, {} and {} milliseconds".format(*short_pauses),
        f"can take {round(attempts * read + seconds)} seconds: {attempts} attempts of {read} seconds, "
        f"and up to {seconds:.1f} seconds of",
        f"at most {sum(pauses)} seconds if",
        f"and {int(sum(own_pauses))} seconds if DynamoDB",
    )
    _check_said(
        "README.md",
        f"{attempts} attempts in standard mode, {config.connect_timeout} seconds to connect, {read} to "
        "read, a pool of two",
    )


@pytest.mark.usefixtures("aws_environment")
def test_documents_name_tables_by_arn(
    endpoint: Endpoint, lone_saver: DynamoDBSaver, thread_id: str
) -> None:
    """A saver given ARNs keeps threads in the tables that they name; DynamoDB Local refuses ARNs."""
    table = endpoint.client.describe_table(TableName=lone_saver.checkpoints_table_name)["Table"]
    prefix = table["TableArn"].removesuffix(lone_saver.checkpoints_table_name)
    code = _code(OPERATING, "python", "arn:aws")
    for shown, ours in (
        ("arn:aws:dynamodb:eu-central-1:123456789012:table/", prefix),
        ("}checkpoints", f"}}{lone_saver.checkpoints_table_name}"),
        ("}writes", f"}}{lone_saver.writes_table_name}"),
    ):
        assert code.count(shown) == 1
        code = code.replace(shown, ours)

    with _run_code(code, DynamoDBSaver=DynamoDBSaver)["saver"] as saver:
        if "takes no ARN for a name" in endpoint.quirks:
            with pytest.raises(ClientError, match="Invalid table/index name"):
                _put(saver, _config(thread_id), 1)
            return
        _put(saver, _config(thread_id), 1)
        saver.put_writes(_config(thread_id, 1), [("channel", os.urandom(2**20))], "task")
        assert lone_saver.verify(thread_id) == saver.verify(thread_id)


def test_documents_show_the_examples() -> None:
    """The pages about containers and the Agent Server show the program and settings of examples."""
    program = (EXAMPLES / "agentcore" / "agent.py").read_text()
    server_settings = (EXAMPLES / "agent_server" / "langgraph.json").read_text()

    assert _code(CONTAINERS, "python", "saver.close()") == program.partition('"""\n\n')[2]
    assert _code(CONTAINERS, "text", "closed") == f"{CLOSED}\n"
    assert _code(DOCUMENTS["docs/agent-server.md"], "json", "checkpointer") == server_settings
    _check_said("docs/containers.md", "has 16; the default is 64", "waits up to 10 seconds")
    assert "max_workers=16" in program
    assert "timeout_graceful_shutdown=10" in program


@pytest.mark.parametrize("variable", ["AWS_DEFAULT_REGION", "AWS_REGION"])
def test_documents_demo_takes_the_region_of_the_environment(
    variable: str, monkeypatch: Patch
) -> None:
    """The demo on AWS takes the variable that the AWS CLI takes, and the one of Lambda."""
    for name in ("DYNAMODB_LOCAL_URL", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEMO_ON_AWS", "yes")
    monkeypatch.setenv(variable, "ap-southeast-4")

    with runpy.run_path(str(EXAMPLES / "approval_agent.py"))["open_saver"]() as saver:
        assert saver.client.meta.region_name == "ap-southeast-4"


def test_documents_session_of_agentcore_is_a_thread() -> None:
    """AgentCore's header and the bounds of a session's id are those that botocore knows."""
    loader = botocore.loaders.Loader()
    if "bedrock-agentcore" not in loader.list_available_services("service-2"):
        pytest.skip("this botocore is older than AgentCore")
    shapes = loader.load_service_model("bedrock-agentcore", "service-2")["shapes"]
    member = shapes["InvokeAgentRuntimeRequest"]["members"]["runtimeSessionId"]
    session = shapes[member["shape"]]

    bounds = f"takes {session['min']} to {session['max']} characters"
    _check_said("docs/containers.md", f"`{member['locationName']}`", bounds)
    assert 4 * session["max"] <= module._MAX_RANGE_KEY_BYTES


def test_documents_name_the_metrics_of_the_alarms() -> None:
    """The table of alarms has the metrics of the template, and the template the graph's requests."""
    template = (EXAMPLES / "cloudformation" / "alarms.yaml").read_text()
    table = "\n".join(re.findall(r"^\|.*", _section(OPERATING, "Alarms"), re.MULTILINE))
    policy = json.loads(_code(README, "json", "Statement"))["Statement"]

    metrics = set(re.findall(r"MetricName: (\w+)", template))
    watched = re.findall(
        r"MetricName: SystemErrors\n +Dimensions:\n.*!Ref (\w+)Table.*\n.*Value: (\w+)", template
    )

    assert metrics == {name for name in re.findall(r"`(\w+)`", table) if len(name) > 11}
    for statement, table_name in zip(policy, ("Checkpoints", "Writes"), strict=True):
        asked = {name.removeprefix("dynamodb:") for name in statement["Action"]}
        assert asked <= {name for each, name in watched if each == table_name}
    assert "Default: 50\n" in template
    assert "over 50 ms for 5 minutes" in table


def test_documents_name_the_parameters_of_the_examples() -> None:
    """The table of parameters has the names and the defaults that the three examples have."""
    section = _section(INFRASTRUCTURE, "Parameters")
    rows = [line.strip("|").split(" | ") for line in re.findall(r"^\|.*", section, re.MULTILINE)]
    names = list(zip(*([cell.strip(" `") for cell in row[1:]] for row in rows[2:]), strict=True))
    files = ("terraform/main.tf", "cdk/app.py", "cloudformation/template.yaml")
    terraform, cdk, cloudformation = ((EXAMPLES / each).read_text() for each in files)
    parameters = cloudformation.partition("\nParameters:\n")[2].partition("\nConditions:\n")[0]

    assert set(names[0]) == set(re.findall(r'^variable "(\w+)"', terraform, re.MULTILINE))
    assert [name for name in names[1] if f'"{name}"' not in cdk] == []
    declared = set(re.findall(r"^  (\w+):$", parameters, re.MULTILINE))
    assert set(names[2]) == declared | {"the tags of the stack"}
    assert {"checkpoints", "writes"} <= set(names[3])


def test_documents_prune_on_a_schedule(
    endpoint: Endpoint, lone_saver: DynamoDBSaver, monkeypatch: Patch
) -> None:
    """The function that prunes leaves each thread its newest checkpoint, and ends before its time."""
    for thread_id in ("a", "b", "c"):
        for number in (1, 2):
            _put(lone_saver, _config(thread_id), number)
    for name, value in endpoint.environment(_tables_of(lone_saver)).items():
        monkeypatch.setenv(name, value)
    left = iter([300_000, 119_999, *[900_000] * 3])
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: next(left))
    given = _run_code(_code(OPERATING, "python", "def handler"))

    with given["saver"]:
        given["handler"]({}, context)
        some = len(list(lone_saver.list(None)))
        given["handler"]({}, context)

    assert some == 5
    assert _numbers(list(lone_saver.list(None))) == [2, 2, 2]


@ONE_SERVER
def test_documents_tell_how_long_a_thread_lives(make_saver: MakeSaver, thread_id: str) -> None:
    """The rules of the section about retention hold, each for a saver that knows nothing yet."""
    now, pinned = [1_800_000_000], f"{thread_id} pinned"
    _check_said("docs/operating.md", "between 1.25 and 2.25 times `ttl_seconds` after it was put")

    def put(thread_id: str, number: int, ttl_seconds: int | None) -> Any:
        """Return until when the thread is shown and stored, in seconds from now."""
        saver = make_saver(ttl_seconds=ttl_seconds, clock=lambda: now[0])
        _put(saver, _config(thread_id, number - 1 if number > 1 else None), number)
        found: Any = saver.stats(thread_id)
        if found.is_pinned:
            return "pinned"
        return found.shown_until - now[0], found.stored_until - now[0]

    shown, stored = put(thread_id, 1, 1000)
    assert shown == 1000
    assert 1250 < stored <= 2250
    now[0] += 600
    assert put(thread_id, 2, None) == put(thread_id, 3, 60) == (400, stored - 600)
    shown, stored = put(thread_id, 4, 1000)
    assert shown == 1000
    assert 1250 < stored <= 2250
    assert put(pinned, 1, None) == put(pinned, 2, 60) == "pinned"
    make_saver(clock=lambda: now[0]).set_ttl([pinned], 100)
    assert put(pinned, 3, None)[0] == 100
    assert put(pinned, 4, 500)[0] == 500
    now[0] += 1000
    assert put(thread_id, 5, None) == "pinned"  # it has expired, and begins anew


@ONE_SERVER
def test_documents_copy_from_a_file_of_sqlite(
    command: Run, saver: DynamoDBSaver, thread_id: str, environment: Patch, tmp_path: Path
) -> None:
    """The module of the page about migrating is one that the command copy-from takes."""
    sqlite = pytest.importorskip("langgraph.checkpoint.sqlite")
    environment.chdir(tmp_path)
    environment.setattr(sys, "path", [*sys.path])
    code = _code(DOCUMENTS["docs/migrating.md"], "python", "def source()")
    (tmp_path / "source.py").write_text(code)
    with sqlite.SqliteSaver.from_conn_string("checkpoints.sqlite") as source:
        _put(source, _put(source, _config(thread_id), 1), 2)

    answer = command("copy-from", "source:source")

    del sys.modules["source"]
    assert answer == (0, "copied 2 checkpoints of 1 thread; 0 were there before\n", "")
    assert _numbers(list(saver.list(_config(thread_id)))) == [2, 1]


@ONE_SERVER
def test_documents_count_the_units_of_requests(
    endpoint: Endpoint, no_tables: Tables, thread_id: str
) -> None:
    """The hooks print what each request consumed; they once asked setup() too, which failed."""
    printed: list[tuple[Any, ...]] = []
    code = _code(OPERATING, "python", "ReturnConsumedCapacity")

    with DynamoDBSaver(*no_tables, endpoint.client_config, ttl_seconds=60) as saver:
        _run_code(code, print=lambda *args: printed.append(args), Any=Any, saver=saver)
        saver.setup(run_index=True)
        _put(saver, _config(thread_id), 1, {"text": _words(9000)})
        saver.delete_thread(thread_id)
        list(saver.threads())
        saver.get_tuple(_put(saver, _config(thread_id), 1))

    assert {name for name, *_ in printed} >= {"PutItem", "Query", "BatchWriteItem", "Scan"}
    assert all(units >= 0 for *_, units in printed)


@pytest.mark.usefixtures("aws_environment")
def test_documents_change_a_key(
    no_tables: Tables, lone_saver: DynamoDBSaver, thread_id: str
) -> None:
    """Threads that are copied as the document says are read with the new key, not with the old."""
    tables = _tables_of(lone_saver)
    code = _code(DOCUMENTS["docs/security.md"], "python", "new.copy_from")
    for name, pair in (("", tables), ("-2", no_tables)):
        code = code.replace(f'"checkpoints{name}", "writes{name}"', repr(pair)[1:-1])
    keys = {"old_key": b"o" * 32, "new_key": b"n" * 32}
    options: Any = {"client": lone_saver.client, "serde": _aes(keys["old_key"])}
    with DynamoDBSaver(*tables, **options) as first:
        stored = _put(first, _config(thread_id), 1, {"text": "secret"})

    given = _run_code(
        code, DynamoDBSaver=DynamoDBSaver, EncryptedSerializer=EncryptedSerializer, **keys
    )

    with given["old"], given["new"] as new:
        found = new.get_tuple(stored)
        assert found
        assert found.checkpoint["channel_values"] == {"text": "secret"}
        with DynamoDBSaver(*no_tables, **options) as wrong, pytest.raises(Told):
            wrong.get_tuple(stored)


# A call of each method on the thread "thread", whose third checkpoint is the newest.
CALLS_OF: Final[dict[str, Callable[[DynamoDBSaver], Any]]] = {
    "get_tuple": lambda saver: [saver.get_tuple(_config("thread", at)) for at in (3, None)],
    "get_delta_channel_history": lambda saver: saver.get_delta_channel_history(
        config=_config("thread", 3), channels=["text"]),
    "list": lambda saver: [
        list(saver.list(None)), list(saver.list(_config("thread", 3))),
        list(saver.list(_config("thread", ns=None), before=_config("thread", 3)))],
    "put": lambda saver: _put(saver, _config("thread", 3), 9, {"text": "z" * 2000}),
    "put_writes": lambda saver: saver.put_writes(
        _config("thread", 99), [("text", random.randbytes(500_000))], "task"),
    "copy_thread": lambda saver: saver.copy_thread("thread", "copy"),
    "copy_from": lambda saver: saver.copy_from(_source_of_two_threads()),
    "prune": lambda saver: saver.prune(["thread", "deltas"], grace_seconds=0),
    "prune_preview": lambda saver: [
        saver.prune_preview("thread", strategy=each) for each in ("keep_latest", "delete")],
    "set_ttl": lambda saver: [*map(partial(saver.set_ttl, ["thread", "deltas"]), (60, None))],
    "delete_for_runs": lambda saver: saver.delete_for_runs(["run"]),
    "delete_thread": lambda saver: saver.delete_thread("thread"),
    "threads": lambda saver: list(saver.threads()),
    "show": lambda saver: [saver.has_thread("thread"), *saver.history("thread")],
    "stats": lambda saver: [saver.has_thread("thread"), saver.stats("thread")],
    "verify": lambda saver: [saver.has_thread("thread"), saver.verify("thread")],
    "setup": lambda saver: saver.setup(run_index=True),
    "warm": lambda saver: saver.warm(),
    "check": lambda saver: saver.check(),
}  # fmt: skip


def _source_of_two_threads() -> InMemorySaver:
    """Make a saver with two threads, of which one is another's by half."""
    source = InMemorySaver()
    _put(source, _config("thread", 2), 3)
    for stored in (_put(source, _config("thread", 3), 4), _put(source, _config("new"), 1)):
        source.put_writes(stored, [("text", random.randbytes(500_000))], "task")
    return source


@ONE_SERVER
@pytest.mark.parametrize("method", CALLS_OF)
def test_documents_name_the_actions_of_a_method(
    method: str, lone_saver: DynamoDBSaver, make_saver: MakeSaver
) -> None:
    """A method asks of either table no more than the document's table of IAM actions says."""
    rows = INFRASTRUCTURE.partition("By method")[2].partition("##")[0]
    (cells,) = re.findall(rf"^\|[^|\n]*`{method}`[^|\n]*\|(.*)\|(.*)\|$", rows, re.MULTILINE)
    checkpoints, writes = (set(re.findall(r"[A-Z]\w+", cell)) for cell in cells)
    tables, config = _tables_of(lone_saver), _config("thread")
    for number in (1, 2, 3):
        run = {"run_id": "run"} if number < 3 else {}
        config = _put(lone_saver, config, number, {"text": f"{number}" * 2000}, **run)
        lone_saver.put_writes(config, [("text", number)], "task")
    _put_deltas(lone_saver, "deltas")
    saver = make_saver(tables, ttl_seconds=60)

    with Requests(saver) as requests:
        CALLS_OF[method](saver)

    asked: defaultdict[str, set[str]] = defaultdict(set)
    for name, params in requests.sent:
        for table in params.get("RequestItems") or [params.get("TableName", tables[0])]:
            asked[table].add(name)
    assert asked[tables[0]] <= checkpoints
    assert asked[tables[1]] <= (checkpoints if "the same" in cells[1] else writes)
    assert asked.keys() <= {*tables}


def test_documents_commands_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the document's table is taken as it is, and none is left out."""
    section = _section(OPERATING, "The command line")
    commands = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)

    parsed = [command_line._parser().parse_args(command.split()).command for command in commands]
    with pytest.raises(SystemExit):
        command_line._parser().parse_args(["--help"])

    helped = re.findall(r"^    ([\w-]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert list(dict.fromkeys(parsed)) == helped
    assert "130 interrupted" in section


def test_documents_name_the_public_names() -> None:
    """The README has every public name, and the changelog the version."""
    changelog = DOCUMENTS["CHANGELOG.md"]

    assert [name for name in module.__all__ if name not in README] == []
    assert f"## {module.__version__}" in changelog.replace("[", "").replace("]", "")


def test_documents_name_the_sessions_of_nox() -> None:
    """Each session that a document calls is in the noxfile; the workflow runs every Python."""
    others = (".github/workflows/ci.yml", ".ci/run", "examples/lambda/template.yaml")
    texts = {**DOCUMENTS, **{name: (FOLDER / name).read_text() for name in others}}
    noxfile = (FOLDER / "noxfile.py").read_text()
    workflow = texts[".github/workflows/ci.yml"]

    called = re.findall(r"nox -s ((?:[a-z]+ )*[a-z]+)", "\n".join(texts.values()))
    named = {name for names in called for name in names.split()}
    named |= set(re.findall(r"session: \[?(\w+)", workflow))

    most = {"tests", "lowest", "newest", "constraints", "pythons", "lint", "types", "build"}
    assert named >= most
    assert named - set(re.findall(r"^@nox\.session.*\ndef (\w+)", noxfile, re.MULTILINE)) == set()
    pythons = re.findall(r"Python :: (3\.\d+)", (FOLDER / "pyproject.toml").read_text())
    assert f"python: {json.dumps(pythons)}" in workflow


def _leading_keys(given: Any) -> Iterator[str]:
    """Return the hash keys that a request names, wherever they stand in it."""
    if isinstance(given, dict):
        for name, value in given.items():
            is_key = name in (TABLE_KEYS[0][0], TABLE_KEYS[1][0], ":h")
            yield from [value["S"]] if is_key else _leading_keys(value)
    elif isinstance(given, list):
        yield from chain.from_iterable(map(_leading_keys, given))


def test_documents_policy_for_tenants_fits_the_keys(lone_saver: DynamoDBSaver) -> None:
    """All that a tenant's saver asks for lies under the leading keys that the document grants."""
    (statement,) = json.loads(_code(INFRASTRUCTURE, "json", '"Condition"'))["Statement"]
    (pattern,) = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    saver, thread_id = lone_saver, pattern.replace("*", "thread")

    with Requests(saver) as requests:
        for ns in ("", "child"):
            config = _config(thread_id, ns=ns)
            for number in (1, 2):
                config = _put(saver, config, number, {"text": random.randbytes(2000)})
                writes = [("text", random.randbytes(500_000)), (ERROR, 1)]
                saver.put_writes(config, writes, "task")
            saver.put_writes(_config(thread_id, 9, ns=ns), [("text", 1)], "task")
            assert saver.get_tuple(config)
        assert len(list(saver.list(_config(thread_id, ns=None)))) == 4
        saver.get_delta_channel_history(config=config, channels=["delta"])
        saver.copy_thread(thread_id, f"{thread_id} 2")
        saver.delete_thread(thread_id)

    leading = {key for _, params in requests.sent for key in _leading_keys(params)}
    assert leading == {thread_id, f"{thread_id} 2"}
    assert [key for key in leading if not fnmatchcase(key, pattern)] == []
    assert not fnmatchcase("tenant-70/thread", pattern)
    assert not fnmatchcase("#" + "0" * 32, pattern)
    assert {f"dynamodb:{name}" for name in requests.names} <= set(statement["Action"])


LAMBDA: Final = EXAMPLES / "lambda"

# Lambda's part in the example: load the handler once, call it for each event.
TALK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import handler

asked = {("GetItem", handler.saver.checkpoints_table_name)}  # by warm()
def note(params, model, **_):
    asked.update((model.name, name) for name in params.get("RequestItems") or [params["TableName"]])

handler.saver.client.meta.events.register("provide-client-params.dynamodb", note)
answers = [handler.handler({"user": "alice", "text": text}, None) for text in sys.argv[2:]]
print(json.dumps([answers, sorted(asked)]))
"""


def _talk(endpoint: Endpoint, tables: Tables, *texts: str) -> Any:
    """Send a user's messages to the handler in a fresh process."""
    environment = {**os.environ, **endpoint.environment(tables), "DAYS_TO_LIVE": "1"}
    done = _python("-c", TALK, str(LAMBDA), *texts, env=environment)
    assert done.code == 0, done.err
    return json.loads(done.out)


@ONE_SERVER
def test_documents_lambda_handler_knows_its_users_in_every_process(
    endpoint: Endpoint, lone_saver: DynamoDBSaver
) -> None:
    """A warm process, and the next cold one, answer from all that a user said; within the policy."""
    tables = _tables_of(lone_saver)

    warm, asked = _talk(endpoint, tables, "hello", "x" * 9000)
    cold, asked_cold = _talk(endpoint, tables, "you there?")

    assert [answer["text"] for answer in warm + cold] == [
        "Hello. You said 'hello'.",
        "That was message 2. The first was 'hello'.",
        "That was message 3. The first was 'hello'.",
    ]
    template = (LAMBDA / "template.yaml").read_text()
    statements = re.findall(r"Action:((?:\s+- dynamodb:\w+)+)\s+Resource: !GetAtt (\w+)", template)
    allowed = {name: set(re.findall(r":(\w+)", actions)) for actions, name in statements}
    policy = json.loads(_code(README, "json", "Statement"))["Statement"]
    assert policy == json.loads(INFRASTRUCTURE.split("```json\n")[1].split("```")[0])["Statement"]
    assert [{f"dynamodb:{name}" for name in names} for names in allowed.values()] == [
        set(statement["Action"]) for statement in policy
    ]
    for operation, table in asked + asked_cold:
        assert operation in allowed["Checkpoints" if table == tables[0] else "Writes"]


@ONE_SERVER
@pytest.mark.usefixtures("aws_environment")
def test_documents_async_forms_leave_the_event_loop_free(no_tables: Tables) -> None:
    """The README's, and that of the page about the Agent Server, which allows no blocking call."""
    readme, server = (
        _code(DOCUMENTS[name], "python", "async with").replace(
            '"checkpoints", "writes"', repr(no_tables)[1:-1]
        )
        for name in ("README.md", "docs/agent-server.md")
    )
    with DynamoDBSaver(*no_tables) as saver:
        saver.setup()
    graph = _in_a_row(Chat, node=lambda _: {}).compile
    given = {"DynamoDBSaver": DynamoDBSaver, "HumanMessage": HumanMessage, "alice": _config("a")}
    builder = SimpleNamespace(compile=lambda checkpointer: graph(checkpointer=checkpointer))
    main = _run_code(readme, builder=builder, **given)["main"]
    checkpointer = _run_code(server)["checkpointer"]

    async def use() -> Any:
        await main()
        async with checkpointer() as saver:
            return await saver.aget_tuple(_config("a"))

    with blockbuster_ctx():
        found = asyncio.run(use())

    assert [each.content for each in found.checkpoint["channel_values"]["messages"]] == [
        "hello again"
    ]
