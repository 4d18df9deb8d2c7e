# SPDX-License-Identifier: MIT
"""Tests of DynamoDBSaver, all of them on moto's server and on DynamoDB Local."""

from __future__ import annotations

import asyncio
import logging
import operator
import os
import random
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import ContextVar
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from uuid import UUID, uuid4

import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Interrupt, Send, StateSnapshot, interrupt
from moto.server import ThreadedMotoServer
from typing_extensions import TypedDict

from langgraph_checkpoint_dynamodb import DamagedCheckpointError, DynamoDBSaver, DynamoDBSaverError

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import Checkpoint
    from typing_extensions import Self

# -- Fixtures -------------------------------------------------------------------------------------
# A session has one pair of tables on each server; each test has a thread of its own in them.

Call = Callable[..., Any]
MakeSaver = Callable[..., DynamoDBSaver]
Tables = tuple[str, str]

# Where a server is not DynamoDB, and so a test's expectation or size depends on it.
QUIRKS: Final[dict[str, frozenset[str]]] = {
    "moto": frozenset(),
    "local": frozenset(),
}


class Endpoint(NamedTuple):
    """A server, and two tables in it that the session's tests share."""

    quirks: frozenset[str]
    client_config: dict[str, Any]
    client: Any
    tables: Tables


@pytest.fixture(scope="session", params=QUIRKS)
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """Give moto's server, then DynamoDB Local."""
    with ExitStack() as stack:
        if request.param == "moto":
            logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it logs each request
            server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
            server.start()
            stack.callback(server.stop)
            url = "http://{}:{}".format(*server.get_host_and_port())
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
        }
        tables = _new_tables()
        saver = stack.enter_context(DynamoDBSaver(*tables, client_config))
        stack.callback(_drop, saver.client, tables)
        saver.setup()
        yield Endpoint(QUIRKS[request.param], client_config, saver.client, tables)


def _new_tables() -> Tables:
    suffix = uuid4().hex
    return f"checkpoints-{suffix}", f"writes-{suffix}"


def _drop(client: Any, tables: Tables) -> None:
    for table in {*tables} & {*client.list_tables()["TableNames"]}:
        client.delete_table(TableName=table)


@pytest.fixture
def make_saver(endpoint: Endpoint) -> Iterator[MakeSaver]:
    """Make savers, on the session's tables and client unless others are named, and close them."""
    with ExitStack() as stack:

        def make(tables: Tables = endpoint.tables, **options: Any) -> DynamoDBSaver:
            if "client_config" not in options:
                options.setdefault("client", endpoint.client)
            return stack.enter_context(DynamoDBSaver(*tables, **options))

        yield make


@pytest.fixture
def saver(make_saver: MakeSaver) -> DynamoDBSaver:
    """Make a saver that knows nothing of what others stored."""
    return make_saver()


@pytest.fixture
def own_tables(endpoint: Endpoint) -> Iterator[Tables]:
    """Name two tables that are not there yet, and delete them."""
    tables = _new_tables()
    yield tables
    _drop(endpoint.client, tables)


@pytest.fixture
def lone_saver(make_saver: MakeSaver, own_tables: Tables) -> DynamoDBSaver:
    """Make a saver with tables of its own."""
    saver = make_saver(own_tables)
    saver.setup()
    return saver


@pytest.fixture
def thread_id() -> str:
    """Name a thread that nobody has used."""
    return f"thread-{uuid4()}"


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


SYNC_AND_ASYNC = pytest.mark.parametrize(
    "call", [pytest.param(_sync, id="sync"), pytest.param(_async, id="async")]
)


def _id(number: int) -> str:
    """Return a checkpoint's id of LangGraph's form; a greater number is a newer checkpoint."""
    return f"1ef00000-0000-6000-8000-{number:012}"


def _config(thread_id: Any, number: int | None = None, *, ns: str | None = "") -> RunnableConfig:
    configurable = {"thread_id": thread_id}
    if ns is not None:
        configurable["checkpoint_ns"] = ns
    if number is not None:
        configurable["checkpoint_id"] = _id(number)
    return {"configurable": configurable}


def _checkpoint(number: int, values: Mapping[str, Any] | None = None) -> Checkpoint:
    values = dict(values or {})
    return {
        "v": 4,
        "id": _id(number),
        "ts": "2026-11-22T12:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, number),
        "versions_seen": {"__input__": {}, "node": dict.fromkeys(values, number)},
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
    return saver.put(
        config,
        checkpoint,
        {"source": "loop", "step": number, "parents": {}, **metadata},  # type: ignore[typeddict-item]
        checkpoint["channel_versions"],
    )


def _numbers(tuples: Sequence[CheckpointTuple]) -> list[int]:
    return [int(each.checkpoint["id"][-12:]) for each in tuples]


def _stored(saver: DynamoDBSaver) -> list[dict[str, Any]]:
    """Read every item of a saver's tables."""
    pages = (
        saver.client.get_paginator("scan").paginate(TableName=table)
        for table in (saver.checkpoints_table_name, saver.writes_table_name)
    )
    return [item for page in chain.from_iterable(pages) for item in page["Items"]]


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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
    def waves(self) -> int:
        """How many of the requests, at most, came one after the end of the other."""
        waves, end_of_wave = 0, 0.0
        for end, start in sorted((end, start) for start, end in self._spans):
            if start >= end_of_wave:
                waves, end_of_wave = waves + 1, end
        return waves


# -- Contract -------------------------------------------------------------------------------------
# What LangGraph and its users ask of a saver, sync and async.


class SyncSaver(DynamoDBSaver):
    """A saver whose async methods are its sync ones, for a suite that knows only async ones."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Call get_tuple()."""
        return self.get_tuple(config)

    async def alist(
        self, config: RunnableConfig | None, **options: Any
    ) -> AsyncIterator[CheckpointTuple]:
        """Call list()."""
        for each in self.list(config, **options):
            yield each

    async def aput(self, *args: Any) -> RunnableConfig:
        """Call put()."""
        return self.put(*args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        """Call put_writes()."""
        self.put_writes(*args, **options)

    async def adelete_thread(self, thread_id: str) -> None:
        """Call delete_thread()."""
        self.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str], **options: Any) -> None:
        """Call delete_for_runs()."""
        self.delete_for_runs(run_ids, **options)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Call copy_thread()."""
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], **options: Any) -> None:
        """Call prune()."""
        self.prune(thread_ids, **options)


@pytest.mark.parametrize(
    "saver_class",
    [pytest.param(SyncSaver, id="sync"), pytest.param(DynamoDBSaver, id="async")],
)
def test_saver_conforms_fully(
    saver_class: type[DynamoDBSaver], endpoint: Endpoint, own_tables: Tables
) -> None:
    """LangGraph's conformance suite passes: all of its 81 tests."""

    @checkpointer_test(name="DynamoDBSaver")
    async def factory() -> AsyncIterator[DynamoDBSaver]:
        async with saver_class(*own_tables, client=endpoint.client) as saver:
            await saver.asetup()
            yield saver

    report = asyncio.run(validate(factory))

    assert [failure for each in report.results.values() for failure in each.failures] == []
    assert sum(each.tests_passed for each in report.results.values()) == 81
    assert sum(each.tests_failed for each in report.results.values()) == 0
    assert report.conformance_level() == "FULL"


@SYNC_AND_ASYNC
def test_get_tuple_of_nothing_is_none(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """A thread, a namespace and a checkpoint that are not there are None, and no error."""
    _put(saver, _config(thread_id), 1)

    assert call(saver, "get_tuple", _config(f"{thread_id}-other")) is None
    assert call(saver, "get_tuple", _config(thread_id, ns="other")) is None
    assert call(saver, "get_tuple", _config(thread_id, 2)) is None
    assert call(saver, "get_tuple", _config(thread_id, 1, ns="other")) is None


VALUES: Final = {
    "none": None,
    "bytes": b"",
    "text": "",
    "list": [],
    "dict": {},
    "zero": 0,
    "false": False,
    "tuple": (1, (), None),
    "set": {1, 2},
    "keys": {1: "one", "two": 2},
    "float": -0.5,
    "integers": [-(2**63), 2**64 - 1],
    "unicode": "\x00 é 漢 \U0001f600",
    "uuid": UUID(int=7),
    "messages": [HumanMessage("hi", id="1"), AIMessage("hello", id="2")],
    "send": [Send("node", {"key": None})],
}


@SYNC_AND_ASYNC
def test_values_come_back_as_they_went_in(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """Empty values and those of many types are equal to what was put, and of the same type."""
    checkpoint = _checkpoint(1, VALUES)
    checkpoint["channel_versions"]["missing"] = 1
    config = call(
        make_saver(), "put", _config(thread_id), checkpoint, {}, checkpoint["channel_versions"]
    )

    found = call(make_saver(), "get_tuple", config)

    assert found == CheckpointTuple(config, checkpoint, {}, None, [])
    types = {name: type(value) for name, value in found.checkpoint["channel_values"].items()}
    assert types == {name: type(value) for name, value in VALUES.items()}


@SYNC_AND_ASYNC
def test_put_returns_the_config_of_what_it_stored(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """What put returns names the checkpoint, and a child's parent_config is the same."""
    first = call(saver, "put", _config(thread_id, ns="a"), _checkpoint(1), {}, {})
    second = call(saver, "put", first, _checkpoint(2), {}, {})

    assert first == _config(thread_id, 1, ns="a")
    assert second == _config(thread_id, 2, ns="a")
    found = call(saver, "get_tuple", second)
    assert (found.config, found.parent_config) == (second, first)


@SYNC_AND_ASYNC
@pytest.mark.parametrize("knows_parent", [True, False])
def test_unchanged_channel_keeps_its_value(
    call: Call, make_saver: MakeSaver, thread_id: str, *, knows_parent: bool
) -> None:
    """A channel of the parent's version that put is not given has the parent's value."""
    saver = make_saver()
    values = {"kept": "x" * 9000, "small": [None], "changed": 1, "gone": 1}
    parent = _put(saver, _config(thread_id), 1, values)
    child = _checkpoint(2, {"changed": 2})
    child["channel_versions"] = {"kept": 1, "small": 1, "changed": 2, "gone": 2}

    writer = saver if knows_parent else make_saver()
    config = call(writer, "put", parent, child, {}, {"changed": 2, "gone": 2})

    found = call(make_saver(), "get_tuple", config).checkpoint
    assert found["channel_values"] == {"kept": "x" * 9000, "small": [None], "changed": 2}
    assert found["channel_versions"] == child["channel_versions"]


@SYNC_AND_ASYNC
@pytest.mark.parametrize("value", [7, UUID(int=7)])
def test_thread_id_may_be_an_int_or_a_uuid(
    call: Call, lone_saver: DynamoDBSaver, value: int | UUID
) -> None:
    """A thread_id that is an int or a UUID names the same thread as its text."""
    config = call(lone_saver, "put", _config(value), _checkpoint(1), {}, {})
    call(lone_saver, "put_writes", config, [("channel", 1)], "task")

    assert config == _config(str(value), 1)
    for name in (value, str(value)):
        found = call(lone_saver, "get_tuple", _config(name))
        assert (found.config, found.pending_writes) == (config, [("task", "channel", 1)])


@SYNC_AND_ASYNC
def test_metadata_is_merged_with_the_config(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """Stored and filtered on is what the config adds too, and none of it overrides the saver's."""
    config = _config(thread_id)
    config["configurable"] |= {"run_id": "run", "tenant": "t", "step": 99, "__private": 1}
    config["metadata"] = {"user": "u", "source": "elsewhere"}
    call(saver, "put", config, _checkpoint(1), {"source": "input", "step": -1}, {})

    found = call(saver, "get_tuple", _config(thread_id))

    expected = {"source": "input", "step": -1, "run_id": "run", "tenant": "t", "user": "u"}
    assert found.metadata == expected
    assert len(call(saver, "list", _config(thread_id), filter=expected)) == 1
    assert call(saver, "list", _config(thread_id), filter={"tenant": "other"}) == []


def _words(size: int) -> str:
    # Random, so that compression does not make it small.
    letters = random.Random(size)  # noqa: S311  it keeps no secret
    return "".join(letters.choices("abcdefghijklmnopqrstuvwxyz ", k=size))


def _messages(count: int) -> list[AnyMessage]:
    return [
        (HumanMessage, AIMessage)[i % 2](f"{i} {_words(300)}", id=str(i)) for i in range(count)
    ]


@SYNC_AND_ASYNC
@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"text": _words(3_000_000)}, id="3 MB of text"),
        pytest.param({"bytes": random.Random(0).randbytes(3_000_000)}, id="3 MB of bytes"),  # noqa: S311
        pytest.param({"list": [_words(3_000_000)]}, id="3 MB in a list of one"),
        pytest.param({"dict": {str(n): _words(n) for n in range(2400)}}, id="3 MB in a dict"),
        pytest.param({"messages": _messages(2000)}, id="2,000 messages"),
        pytest.param({f"channel {n}": _words(2000) for n in range(500)}, id="500 channels"),
        pytest.param({f"channel {n:06}": n for n in range(20_000)}, id="20,000 channels"),
    ],
)
def test_checkpoint_may_have_any_size(
    call: Call, make_saver: MakeSaver, thread_id: str, values: dict[str, Any]
) -> None:
    """Checkpoints far above what a DynamoDB item holds are read back by another process."""
    config = call(
        make_saver(), "put", _config(thread_id), _checkpoint(1, values), {}, dict.fromkeys(values, 1)
    )

    assert call(make_saver(), "get_tuple", config).checkpoint == _checkpoint(1, values)


@SYNC_AND_ASYNC
def test_metadata_may_have_any_size(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """Metadata of 500 KB are read back, and can be filtered on."""
    metadata = {"source": "loop", "step": 1, "notes": _words(500_000)}
    call(make_saver(), "put", _config(thread_id), _checkpoint(1), metadata, {})

    assert call(make_saver(), "get_tuple", _config(thread_id)).metadata == metadata
    (listed,) = call(
        make_saver(), "list", _config(thread_id), filter={"notes": metadata["notes"]}
    )
    assert listed.metadata == metadata


@SYNC_AND_ASYNC
def test_pending_write_may_have_any_size(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """A pending write of 900 KB, and one interrupt as large, are read back."""
    text, question = _words(900_000), _words(900_001)
    saver = make_saver()
    config = _put(saver, _config(thread_id), 1)
    call(saver, "put_writes", config, [("text", text), (INTERRUPT, question)], "task")

    found = call(make_saver(), "get_tuple", config)

    assert found.pending_writes == [("task", INTERRUPT, question), ("task", "text", text)]


@SYNC_AND_ASYNC
def test_namespaces_are_kept_apart(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """Namespaces that look like parts of others, of a key or of a digest are all different."""
    namespaces = ["", "a", "a:", "a:1", "a|b", "ab", "1:a", "~", "#", "#a", "é", "x" * 600]
    namespaces += ["x" * 601, "~c1:a:", ":::", "a:::b"]
    for number, ns in enumerate(namespaces):
        for each in (number, number + 100):
            config = _put(make_saver(), _config(thread_id, ns=ns), each, {"ns": [ns, each]})
            make_saver().put_writes(config, [("ns", [ns, each])], "task")

    reader = make_saver()

    for number, ns in enumerate(namespaces):
        newest = call(reader, "get_tuple", _config(thread_id, ns=ns))
        oldest = call(reader, "get_tuple", _config(thread_id, number, ns=ns))
        assert newest.config == _config(thread_id, number + 100, ns=ns)
        assert newest.checkpoint["channel_values"] == {"ns": [ns, number + 100]}
        assert oldest.pending_writes == [("task", "ns", [ns, number])]
        listed = call(reader, "list", _config(thread_id, ns=ns))
        assert _numbers(listed) == [number + 100, number]
    assert len(call(reader, "list", _config(thread_id, ns=None))) == 2 * len(namespaces)


@pytest.fixture
def crowd(saver: DynamoDBSaver, thread_id: str) -> str:
    """Fill a thread: nine checkpoints, the odd ones "odd", in turn in three namespaces."""
    for number in range(1, 10):
        ns = ("", "a", "ab")[number % 3]
        config = _put(saver, _config(thread_id, ns=ns), number, odd=number % 2)
        saver.put_writes(config, [("number", number)], "task")
    return thread_id


@SYNC_AND_ASYNC
@pytest.mark.parametrize(
    ("config", "options", "numbers"),
    [
        pytest.param({}, {}, [9, 8, 7, 6, 5, 4, 3, 2, 1], id="all namespaces"),
        pytest.param({"ns": ""}, {}, [9, 6, 3], id="the root's"),
        pytest.param({"ns": "a"}, {}, [7, 4, 1], id="a subgraph's"),
        pytest.param({"ns": "b"}, {}, [], id="no such subgraph's"),
        pytest.param({}, {"limit": 4}, [9, 8, 7, 6], id="limit"),
        pytest.param({}, {"limit": 100}, [9, 8, 7, 6, 5, 4, 3, 2, 1], id="limit above all"),
        pytest.param({}, {"limit": 0}, [], id="limit 0"),
        pytest.param({"ns": "a"}, {"limit": 1}, [7], id="limit in a namespace"),
        pytest.param({}, {"before": 4}, [3, 2, 1], id="before"),
        pytest.param({"ns": "ab"}, {"before": 8}, [5, 2], id="before in a namespace"),
        pytest.param({}, {"before": 1}, [], id="before the oldest"),
        pytest.param({"number": 5}, {}, [5], id="one id"),
        pytest.param({"ns": "ab", "number": 5}, {}, [5], id="one id in its namespace"),
        pytest.param({"ns": "", "number": 5}, {}, [], id="one id in another namespace"),
        pytest.param({"number": 5}, {"before": 5}, [], id="one id that is not before"),
        pytest.param({}, {"filter": {"odd": 0}}, [8, 6, 4, 2], id="filter"),
        pytest.param({}, {"filter": {}}, [9, 8, 7, 6, 5, 4, 3, 2, 1], id="empty filter"),
        pytest.param({}, {"filter": {"odd": 0, "step": 4}}, [4], id="filter on two"),
        pytest.param({}, {"filter": {"odd": None}}, [], id="filter on another value"),
        pytest.param({}, {"filter": {"odd": 1}, "limit": 2}, [9, 7], id="filter before limit"),
        pytest.param(
            {}, {"filter": {"odd": 1}, "limit": 2, "before": 7}, [5, 3], id="all at once"
        ),
    ],
)
def test_list_selects(  # noqa: PLR0913  one for each of list()'s
    call: Call,
    saver: DynamoDBSaver,
    crowd: str,
    config: dict[str, Any],
    options: dict[str, Any],
    numbers: list[int],
) -> None:
    """The list has what was asked for, newest first over all namespaces, as get_tuple has it."""
    if "before" in options:
        options = options | {"before": _config(crowd, options["before"])}

    listed = call(saver, "list", _config(crowd, **{"ns": None, **config}), **options)

    assert _numbers(listed) == numbers
    assert listed == [call(saver, "get_tuple", each.config) for each in listed]
    assert [each.pending_writes for each in listed] == [[("task", "number", n)] for n in numbers]


@SYNC_AND_ASYNC
def test_list_filters_before_the_limit_past_page_ends(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """A filter that only old checkpoints match finds them on later pages, and no more than asked."""
    for number in range(1, 101):
        _put(saver, _config(thread_id), number, is_old=number < 4)
    for number in range(101, 111):  # over 1 MB, where DynamoDB itself ends a page
        _put(saver, _config(thread_id), number, is_old=False, notes=_words(150_000))

    listed = call(saver, "list", _config(thread_id), filter={"is_old": True}, limit=2)

    assert _numbers(listed) == [3, 2]


@SYNC_AND_ASYNC
def test_list_without_a_config_has_all_threads(call: Call, lone_saver: DynamoDBSaver) -> None:
    """Where config is None all threads are listed, each of them newest first."""
    for number in range(1, 31):
        _put(lone_saver, _config(f"thread-{number % 3}", ns="ab"[: number % 2]), number)

    listed = call(lone_saver, "list", None)

    assert sorted(_numbers(listed)) == list(range(1, 31))
    for remainder in range(3):
        of_thread = [number for number in _numbers(listed) if number % 3 == remainder]
        assert of_thread == sorted(of_thread, reverse=True)
    assert len(call(lone_saver, "list", None, limit=12)) == 12
    assert _numbers(call(lone_saver, "list", None, filter={"step": 17})) == [17]
    before = {"configurable": {"checkpoint_id": _id(3)}}
    assert sorted(_numbers(call(lone_saver, "list", None, before=before))) == [1, 2]


def test_threads_names_each_thread_once(lone_saver: DynamoDBSaver) -> None:
    """A thread that has many items, or only a subgraph's, is named once."""
    for number in range(50):
        _put(lone_saver, _config("long"), number)
    for number in range(50):
        _put(lone_saver, _config(f"short-{number}", ns="sub" * (number % 2)), 1)

    assert sorted(lone_saver.threads()) == sorted(["long", *(f"short-{n}" for n in range(50))])


@SYNC_AND_ASYNC
def test_writes_of_a_task_keep_their_order(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """Twelve writes of one task come back as they were given, the eleventh after the tenth."""
    config = _put(saver, _config(thread_id), 1)
    writes = [(f"channel {number % 2}", number) for number in range(12)]
    call(saver, "put_writes", config, writes, "task")

    found = call(saver, "get_tuple", config)

    assert found.pending_writes == [("task", *write) for write in writes]


@SYNC_AND_ASYNC
def test_writes_of_parallel_tasks_come_in_task_path_order(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """The tasks' paths order the writes, then their ids; neither the time nor the id alone does."""
    config = _put(saver, _config(thread_id), 1)
    for task_id, task_path in (
        ("a", "~__pregel_pull, second"),
        ("d", "~__pregel_pull, first"),
        ("c", "~__pregel_pull, first"),
        ("e", ""),
        ("b", "~__pregel_push, 0000000001, False"),
    ):
        writes = [("channel", f"{task_id}{number}") for number in range(2)]
        call(saver, "put_writes", config, writes, task_id, task_path)

    for found in (call(saver, "get_tuple", config), *call(saver, "list", config)):
        order = [value for _, _, value in found.pending_writes]
        assert order == ["e0", "e1", "c0", "c1", "d0", "d1", "a0", "a1", "b0", "b1"]


@SYNC_AND_ASYNC
def test_first_regular_and_last_special_write_stays(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """Sent again, a regular write is as it was first, an error or interrupt as it is last."""
    config = _put(saver, _config(thread_id), 1)
    call(saver, "put_writes", config, [("a", "first"), (ERROR, "first")], "task")
    call(saver, "put_writes", config, [("b", "second"), (ERROR, "second")], "task")
    call(saver, "put_writes", config, [(INTERRUPT, "asked")], "task")
    call(saver, "put_writes", config, [("a", "third"), (INTERRUPT, "asked again")], "other")

    found = call(saver, "get_tuple", config)

    assert found.pending_writes == [
        ("other", INTERRUPT, "asked again"),
        ("other", "a", "third"),
        ("task", INTERRUPT, "asked"),
        ("task", ERROR, "second"),
        ("task", "a", "first"),
    ]


@SYNC_AND_ASYNC
def test_grown_list_of_writes_is_stored_whole(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """LangGraph sends the null task's writes again with new ones after them: each is there once."""
    null_task = "00000000-0000-0000-0000-000000000000"
    config = _put(make_saver(), _config(thread_id), 1)
    writes = [("a", 0), ("b", 1), (RESUME, "yes"), ("a", 3), ("b", 4), ("a", 5)]

    for saver in (make_saver(), InMemorySaver()):
        for length in (1, 2, 2, 4, 3, 6):
            call(saver, "put_writes", config, writes[:length], null_task)

    found = call(make_saver(), "get_tuple", config)
    assert found.pending_writes == [
        (null_task, RESUME, "yes"),
        *((null_task, *write) for write in writes if write[0] != RESUME),
    ]


@SYNC_AND_ASYNC
@pytest.mark.parametrize("sequence", [list, tuple, deque])
def test_writes_may_be_any_sequence_of_any_value(
    call: Call, saver: DynamoDBSaver, thread_id: str, sequence: Callable[..., Any]
) -> None:
    """A write of None or of nothing is a write; none at all leave no trace."""
    config = _put(saver, _config(thread_id), 1)
    writes = [("none", None), ("bytes", b""), ("text", ""), ("list", [])]
    call(saver, "put_writes", config, sequence(writes), "task")
    call(saver, "put_writes", config, sequence(), "idle")

    found = call(saver, "get_tuple", config)

    assert found.pending_writes == [("task", *write) for write in writes]


@SYNC_AND_ASYNC
def test_writes_may_come_before_their_checkpoint(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """Writes of a checkpoint that is not there yet show no checkpoint, and are there with it."""
    config = _config(thread_id, 2)
    _put(make_saver(), _config(thread_id), 1)
    call(make_saver(), "put_writes", config, [("channel", 1)], "task")

    assert call(make_saver(), "get_tuple", config) is None
    assert _numbers(call(make_saver(), "list", _config(thread_id))) == [1]

    call(make_saver(), "put", _config(thread_id, 1), _checkpoint(2), {}, {})

    found = call(make_saver(), "get_tuple", _config(thread_id))
    assert (found.config, found.pending_writes) == (config, [("task", "channel", 1)])


@SYNC_AND_ASYNC
def test_checkpoint_of_an_older_format_has_its_parents_sends(
    call: Call, saver: DynamoDBSaver, thread_id: str
) -> None:
    """Below format 4 a checkpoint's pending sends are its parent's writes, in their order."""
    sends = [Send("node", number) for number in range(3)]
    parent = _put(saver, _config(thread_id), 1, {"a": 1})
    saver.put_writes(parent, [(TASKS, sends[2])], "task 1", "b")
    saver.put_writes(parent, [("a", 2), (TASKS, sends[0]), (TASKS, sends[1])], "task 2", "a")
    checkpoint = _checkpoint(2, {"a": 2}) | {"v": 3}
    config = call(saver, "put", parent, checkpoint, {}, {"a": 2})

    for found in (call(saver, "get_tuple", config), *call(saver, "list", config)):
        assert found.checkpoint["channel_values"] == {"a": 2, TASKS: sends}
        assert found.checkpoint["channel_versions"] == {"a": 2, TASKS: 2}
    assert TASKS not in call(saver, "get_tuple", parent).checkpoint["channel_values"]


@SYNC_AND_ASYNC
def test_delete_thread_leaves_nothing(call: Call, lone_saver: DynamoDBSaver) -> None:
    """Of a deleted thread no item stays in either table; the others are as they were."""
    for thread in ("doomed", "doomed too", "doome"):
        for number, ns in enumerate(["", "sub", "sub|sub"] * 10):
            config = _put(
                lone_saver, _config(thread, ns=ns), number, {"text": _words(5000 + number)}
            )
            lone_saver.put_writes(config, [("text", _words(500_000))] * (number == 3), "large")
            lone_saver.put_writes(config, [("a", 1), (ERROR, "down")], "task")
        lone_saver.put_writes(_config(thread, 99), [("a", 1)], "task")
    others = [each for each in _stored(lone_saver) if "doomed'" not in _owner(each)]

    call(lone_saver, "delete_thread", "doomed")

    assert call(lone_saver, "get_tuple", _config("doomed")) is None
    assert call(lone_saver, "list", _config("doomed", ns=None)) == []
    assert sorted(map(repr, _stored(lone_saver))) == sorted(map(repr, others))
    call(lone_saver, "delete_thread", "doomed")


def _owner(item: dict[str, Any]) -> str:
    """Return a thread's id, in quotes."""
    key = item.get("thread_id") or item["thread_id_checkpoint_id_checkpoint_ns"]
    return repr(key["S"].partition(":::")[0])


@SYNC_AND_ASYNC
def test_copy_thread_copies_all_of_it(call: Call, make_saver: MakeSaver, thread_id: str) -> None:
    """A copy has every namespace's checkpoints and writes, also when the source is gone."""
    saver = make_saver()
    for number, ns in enumerate(["", "sub", "x" * 600] * 3):
        config = _put(
            saver, _config(thread_id, ns=ns), number, {"text": [_words(5000 + number)] * 3}
        )
        saver.put_writes(config, [("text", _words(500_000))] * (number == 3), "large")
        saver.put_writes(config, [("a", number), (ERROR, "down")], "task", "path")
    target = f"{thread_id}-copy"
    expected = [
        each._replace(config=_config(target, number, ns=each.config["configurable"]["checkpoint_ns"]))
        for each in saver.list(_config(thread_id, ns=None))
        for number in _numbers([each])
    ]

    call(saver, "copy_thread", thread_id, target)

    assert call(make_saver(), "list", _config(target, ns=None)) == expected
    call(saver, "delete_thread", thread_id)
    assert call(make_saver(), "list", _config(target, ns=None)) == expected


@SYNC_AND_ASYNC
def test_copy_thread_copies_parents(call: Call, saver: DynamoDBSaver, thread_id: str) -> None:
    """In a copy a checkpoint's parent is the copy of its parent."""
    target = f"{thread_id}-copy"
    _put(saver, _put(saver, _config(thread_id), 1), 2)

    call(saver, "copy_thread", thread_id, target)

    assert call(saver, "get_tuple", _config(target)).parent_config == _config(target, 1)


@SYNC_AND_ASYNC
def test_prune_keeps_the_latest_of_each_namespace(call: Call, lone_saver: DynamoDBSaver) -> None:
    """What is not the newest of its namespace goes with its writes, and later with its segments."""
    for thread in ("pruned", "other"):
        for number, ns in enumerate(["", "sub"] * 5):
            config = _put(
                lone_saver, _config(thread, ns=ns), number, {"text": [_words(5000 + number)]}
            )
            lone_saver.put_writes(config, [("a", number)], "task")
    kept = [lone_saver.get_tuple(_config("pruned", ns=ns)) for ns in ("sub", "")]
    others = call(lone_saver, "list", _config("other", ns=None))

    call(lone_saver, "prune", ["pruned", "no such thread"])

    assert call(lone_saver, "list", _config("pruned", ns=None)) == kept
    assert call(lone_saver, "list", _config("other", ns=None)) == others
    assert call(lone_saver, "get_tuple", _config("pruned", 7, ns="sub")) is None
    call(lone_saver, "prune", ["pruned"], strategy="keep_latest", grace_seconds=0)
    assert call(lone_saver, "list", _config("pruned", ns=None)) == kept
    kinds = ["segment" in each for each in _stored(lone_saver) if _owner(each) == "'pruned'"]
    assert (kinds.count(True), kinds.count(False)) == (2, 5)  # 2 checkpoints, 2 writes, 1 note


@SYNC_AND_ASYNC
def test_prune_can_delete(call: Call, lone_saver: DynamoDBSaver) -> None:
    """The strategy "delete" leaves nothing of the threads that it is given."""
    for thread in ("a", "b", "c"):
        config = _put(lone_saver, _config(thread, ns="sub"), 1, {"text": _words(5000)})
        lone_saver.put_writes(config, [("a", 1)], "task")

    call(lone_saver, "prune", ["a", "c"], strategy="delete")

    assert {_owner(each) for each in _stored(lone_saver)} == {"'b'"}


@SYNC_AND_ASYNC
def test_delete_for_runs_deletes_their_checkpoints_alone(
    call: Call, lone_saver: DynamoDBSaver
) -> None:
    """Runs are known by the metadata's run_id, from wherever it came, in all threads."""
    for number, (thread, ns, run_id) in enumerate(
        [
            ("a", "", "one"),
            ("a", "sub", "one"),
            ("a", "", "two"),
            ("b", "", "one"),
            ("b", "", "three"),
            ("c", "", "one"),
            ("d", "", None),
        ]
    ):
        config = _config(thread, ns=ns)
        if number % 2 and run_id:
            config["configurable"]["run_id"] = run_id
            stored = _put(lone_saver, config, number)
        else:
            stored = _put(lone_saver, config, number, **({"run_id": run_id} if run_id else {}))
        lone_saver.put_writes(stored, [("a", number)], "task")

    call(lone_saver, "delete_for_runs", ["one", "three", "none"])
    call(lone_saver, "delete_for_runs", [])

    assert sorted(_numbers(call(lone_saver, "list", None))) == [2, 6]
    writes = [each for each in _stored(lone_saver) if "task_id_idx" in each]
    assert sorted(map(_owner, writes)) == ["'a'", "'d'"]


def _put_deltas(saver: BaseCheckpointSaver[Any], thread_id: str) -> RunnableConfig:
    """Put a chain of ten: each parent has a write of the delta channel that its child counts.

    The third has a snapshot. Each is of a run of its own.
    """
    config = _config(thread_id)
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


@SYNC_AND_ASYNC
@pytest.mark.parametrize("number", [None, 9, 6, 3, 1, 0])
def test_delta_channel_history_is_as_in_memory(
    call: Call, make_saver: MakeSaver, thread_id: str, number: int | None
) -> None:
    """The newest snapshot of the ancestors and the writes since, oldest first, by channel."""
    memory = InMemorySaver()
    _put_deltas(memory, thread_id)
    _put_deltas(make_saver(), thread_id)
    config, channels = _config(thread_id, number), ["delta", "snapshot", "none"]

    found = call(
        make_saver(), "get_delta_channel_history", config=config, channels=channels
    )

    assert found == memory.get_delta_channel_history(config=config, channels=channels)
    nothing = call(make_saver(), "get_delta_channel_history", config=config, channels=[])
    assert nothing == {}


@SYNC_AND_ASYNC
def test_delta_channel_history_of_a_cut_chain_is_an_error(
    call: Call, endpoint: Endpoint, make_saver: MakeSaver, thread_id: str
) -> None:
    """Where an ancestor is missing the channel is not rebuilt without it."""
    config = _put_deltas(make_saver(), thread_id)
    endpoint.client.delete_item(
        TableName=endpoint.tables[0],
        Key={"thread_id": {"S": thread_id}, "checkpoint_id": {"S": _id(5)}},
    )

    with pytest.raises(DamagedCheckpointError) as raised:
        call(make_saver(), "get_delta_channel_history", config=config, channels=["delta"])

    assert str(raised.value) == (
        f"An ancestor of checkpoint {_id(6)!r}, from which its DeltaChannels are rebuilt, is "
        f"missing; it expired, or was pruned, or deleted with its run: thread {thread_id!r}, "
        f"namespace '', checkpoint {_id(5)!r}, table {endpoint.tables[0]!r}; restore the table's "
        f"items from a backup, or go on from an earlier checkpoint, or delete the thread"
    )
    error = raised.value
    where = (error.thread_id, error.checkpoint_ns, error.checkpoint_id, error.table_name)
    assert where == (thread_id, "", _id(5), endpoint.tables[0])


@SYNC_AND_ASYNC
def test_prune_keeps_what_delta_channels_are_rebuilt_from(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """The kept checkpoint's ancestors stay, back to the snapshot, and its history with them."""
    config = _put_deltas(make_saver(), thread_id)
    wanted = {"config": config, "channels": ["delta"]}
    history = make_saver().get_delta_channel_history(**wanted)

    call(make_saver(), "prune", [thread_id], grace_seconds=0)

    assert _numbers(call(make_saver(), "list", _config(thread_id))) == [9, 8, 7, 6, 5, 4, 3]
    assert call(make_saver(), "get_delta_channel_history", **wanted) == history


@SYNC_AND_ASYNC
def test_delete_for_runs_spares_what_delta_channels_are_rebuilt_from(
    call: Call, lone_saver: DynamoDBSaver
) -> None:
    """A run that another's DeltaChannel needs is deleted only by force."""
    _put_deltas(lone_saver, "thread")

    with pytest.raises(DynamoDBSaverError) as raised:
        call(lone_saver, "delete_for_runs", ["run-5"])

    assert str(raised.value) == (
        f"Checkpoint {_id(5)!r} of thread 'thread', namespace '', is of a run to be deleted, but "
        f"a DeltaChannel of another run's checkpoint is rebuilt from it; keep the run, or pass "
        f"force=True to delete it all the same"
    )
    assert len(call(lone_saver, "list", _config("thread"))) == 10
    call(lone_saver, "delete_for_runs", ["run-5"], force=True)
    assert _numbers(call(lone_saver, "list", _config("thread"))) == [9, 8, 7, 6, 4, 3, 2, 1, 0]


def test_next_versions_count_up(saver: DynamoDBSaver) -> None:
    """Versions are 1, 2, 3; one of another saver is followed by a greater one of its form."""
    assert [saver.get_next_version(each) for each in (None, 0, 1, 9, 2.0)] == [1, 1, 2, 10, 3]
    for form in ("00000000000000000000000000000009.0.5", "00000000000000000000000000000009"):
        following = saver.get_next_version(form)
        assert following.startswith("00000000000000000000000000000010.")
        assert following > form
        assert saver.get_next_version(following) > following


@SYNC_AND_ASYNC
@pytest.mark.parametrize("is_consistent", [True, False])
def test_reads_are_consistent_unless_said_otherwise(
    call: Call, make_saver: MakeSaver, thread_id: str, *, is_consistent: bool
) -> None:
    """Checkpoints and writes are read consistently by default; segments, which never change, not."""
    config = _put(make_saver(), _config(thread_id), 1, {"text": _words(5000)})
    options = {} if is_consistent else {"consistent_read": False}
    saver = make_saver(**options)

    with Requests(saver) as requests:
        call(saver, "get_tuple", config)
        call(saver, "get_tuple", _config(thread_id))
        call(saver, "list", _config(thread_id))

    names = {"BatchGetItem", "GetItem", "Query"}
    assert set(requests.names) == names
    for name, parameters in requests.sent:
        if name == "BatchGetItem":
            (parameters,) = parameters["RequestItems"].values()
        assert parameters["ConsistentRead"] is (is_consistent and name != "BatchGetItem")


class _Scrambler:
    """A cipher that, as real ones do, never makes the same of the same."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Prefix a random key to the bytes that it changes."""
        key = os.urandom(1)
        return "scrambled", key + bytes(each ^ key[0] for each in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Undo encrypt()."""
        assert ciphername == "scrambled"
        return bytes(each ^ ciphertext[0] for each in ciphertext[1:])


@SYNC_AND_ASYNC
def test_nothing_is_stored_but_through_the_serde(
    call: Call, make_saver: MakeSaver, own_tables: Tables
) -> None:
    """With an encrypting serde no item holds a value, a write or metadata in plain."""
    serde = EncryptedSerializer(_Scrambler())
    saver = make_saver(own_tables, serde=serde)
    saver.setup()
    values = {"small": "SECRET", "list": ["SECRET " + _words(9000)], "text": "SECRET" * 9000}
    call(saver, "put", _config("thread"), _checkpoint(1, values), {"user": "SECRET"}, {})
    call(saver, "put_writes", _config("thread", 1), [("a", "SECRET")], "task")

    found = call(make_saver(own_tables, serde=serde), "get_tuple", _config("thread"))

    assert found.checkpoint == _checkpoint(1, values)
    assert found.metadata == {"user": "SECRET"}
    assert found.pending_writes == [("task", "a", "SECRET")]
    assert "SECRET" not in repr(_stored(saver))


class Color(NamedTuple):
    """A type of the user's, which strict msgpack does not know."""

    name: str


@SYNC_AND_ASYNC
def test_allowlist_holds_for_all_that_is_read(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """A clone of with_allowlist() reads the types that it names, and the saver is as it was."""
    strict = make_saver().with_allowlist([("builtins", "object")])
    config = _put(strict, _config(thread_id), 1, {"color": Color("red"), "list": [Color("blue")]})
    strict.put_writes(config, [("color", Color("green"))], "task")
    clone = strict.with_allowlist([(Color.__module__, "Color")])

    allowed, refused = (call(each, "get_tuple", config) for each in (clone, strict))

    assert allowed.checkpoint["channel_values"] == {"color": Color("red"), "list": [Color("blue")]}
    assert allowed.pending_writes == [("task", "color", Color("green"))]
    assert not isinstance(refused.checkpoint["channel_values"]["color"], Color)
    assert not isinstance(refused.checkpoint["channel_values"]["list"][0], Color)
    assert not isinstance(refused.pending_writes[0][2], Color)
    assert isinstance(clone, DynamoDBSaver)
    assert clone.client is strict.client  # type: ignore[attr-defined]


@SYNC_AND_ASYNC
def test_clone_knows_what_the_saver_stored(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """A clone of with_allowlist() puts no segment again that the saver has put."""
    saver = make_saver()
    clone = saver.with_allowlist([("builtins", "object")])
    config = call(
        saver, "put", _config(thread_id), _checkpoint(1, {"text": _words(9000)}), {}, {"text": 1}
    )

    with Requests(saver) as requests:
        call(clone, "put", config, _checkpoint(2, {"text": _words(9000)}), {}, {"text": 2})
        call(clone, "put_writes", config, [("text", "")], "task")

    assert requests.names == ["PutItem", "PutItem"]


@SYNC_AND_ASYNC
def test_expired_items_are_not_returned(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """A checkpoint or write is there until its time is over, though its item is there for longer."""
    now = [1_800_000_000.0]
    saver = make_saver(ttl_seconds=60, clock=lambda: now[0])
    value = [_words(9000)]
    first = call(saver, "put", _config(thread_id), _checkpoint(1, {"a": value}), {}, {"a": 1})
    call(saver, "put_writes", first, [("a", "early")], "task 1")
    now[0] += 40
    second = call(saver, "put", first, _checkpoint(2, {"a": value, "b": 2}), {}, {"b": 2})
    call(saver, "put_writes", first, [("a", "late")], "task 2")
    writes = call(saver, "get_tuple", first).pending_writes
    assert writes == [("task 1", "a", "early"), ("task 2", "a", "late")]

    now[0] += 19
    assert _numbers(call(saver, "list", _config(thread_id))) == [2, 1]
    now[0] += 1
    assert call(saver, "get_tuple", first) is None
    assert _numbers(call(saver, "list", _config(thread_id))) == [2]
    found = call(saver, "get_tuple", _config(thread_id))
    assert found.config == second
    assert found.checkpoint["channel_values"] == {"a": value, "b": 2}
    now[0] += 40
    assert call(saver, "get_tuple", _config(thread_id)) is None


@SYNC_AND_ASYNC
def test_segments_expire_after_what_names_them(call: Call, lone_saver: DynamoDBSaver) -> None:
    """A value that never changes outlives each checkpoint that names it."""
    now = [1_800_000_000.0]
    saver = DynamoDBSaver(
        lone_saver.checkpoints_table_name,
        lone_saver.writes_table_name,
        client=lone_saver.client,
        ttl_seconds=60,
        clock=lambda: now[0],
    )
    with saver:
        config, value = _config("thread"), _words(9000)
        for number in range(1, 40):
            checkpoint = _checkpoint(number, {"a": value, "n": number})
            checkpoint["channel_versions"]["a"] = 1
            config = call(saver, "put", config, checkpoint, {}, {"n": number})
            now[0] += 17
            for item in _stored(saver):  # as DynamoDB itself does, though sooner
                if int(item["ttl"]["N"]) <= now[0]:
                    key = {name: item[name] for name in ("thread_id", "checkpoint_id")}
                    saver.client.delete_item(TableName=saver.checkpoints_table_name, Key=key)

            found = call(saver, "list", _config("thread"))

            assert _numbers(found) == list(range(number, max(number - 3, 0), -1))
            assert {each.checkpoint["channel_values"]["a"] for each in found} == {value}


@SYNC_AND_ASYNC
def test_thread_may_have_a_time_of_its_own(
    call: Call, make_saver: MakeSaver, thread_id: str
) -> None:
    """The config's ttl_seconds goes before the saver's; None is for ever."""
    now = [1_800_000_000.0]
    saver = make_saver(ttl_seconds=60, clock=lambda: now[0])
    for number, ttl_seconds in ((1, None), (2, 100), (3, 10)):
        config = _config(thread_id)
        config["configurable"]["ttl_seconds"] = ttl_seconds
        call(saver, "put", config, _checkpoint(number), {}, {})
    call(saver, "put", _config(thread_id), _checkpoint(4), {}, {})

    left = []
    for seconds in (0, 10, 60, 100, 10**9):
        now[0] = 1_800_000_000.0 + seconds
        left.append(_numbers(call(saver, "list", _config(thread_id))))

    assert left == [[4, 3, 2, 1], [4, 2, 1], [2, 1], [1], [1]]


@SYNC_AND_ASYNC
def test_setup_makes_both_tables_once(
    call: Call, make_saver: MakeSaver, own_tables: Tables
) -> None:
    """The tables serve, billed on demand, when setup is done; a second call changes nothing."""
    saver = make_saver(own_tables)
    call(saver, "setup")

    assert call(saver, "put", _config("thread"), _checkpoint(1), {}, {}) == _config("thread", 1)
    call(saver, "put_writes", _config("thread", 1), [("a", 1)], "task")
    tables = [saver.client.describe_table(TableName=name)["Table"] for name in own_tables]
    for table, keys in zip(
        tables,
        [
            ["thread_id", "checkpoint_id"],
            ["thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
        ],
        strict=True,
    ):
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert [each["AttributeName"] for each in table["KeySchema"]] == keys
        expiry = saver.client.describe_time_to_live(TableName=table["TableName"])
        assert expiry["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"

    with Requests(saver) as requests:
        call(saver, "setup")

    assert requests.names == ["CreateTable"] * 2 + ["DescribeTable"] * 4
    found = call(saver, "get_tuple", _config("thread"))
    assert found.pending_writes == [("task", "a", 1)]


@SYNC_AND_ASYNC
def test_setup_turns_expiry_on(call: Call, make_saver: MakeSaver, own_tables: Tables) -> None:
    """With ttl_seconds both tables expire by "ttl", also those that stood without."""
    make_saver(own_tables).setup()
    saver = make_saver(own_tables, ttl_seconds=60)

    for _ in range(2):
        call(saver, "setup")
        for name in own_tables:
            expiry = saver.client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}


@SYNC_AND_ASYNC
def test_setup_refuses_a_table_that_expires_otherwise(
    call: Call, make_saver: MakeSaver, own_tables: Tables
) -> None:
    """A table that expires by another attribute would lose items, or keep them for ever."""
    make_saver(own_tables).setup()
    saver = make_saver(own_tables, ttl_seconds=60)
    saver.client.update_time_to_live(
        TableName=own_tables[0],
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )

    with pytest.raises(DynamoDBSaverError) as raised:
        call(saver, "setup")

    assert str(raised.value) == (
        f"Table {own_tables[0]!r} expires items by 'expires', and must by 'ttl'; turn its time to "
        f"live off, wait an hour and call setup() again"
    )


@SYNC_AND_ASYNC
@pytest.mark.parametrize(
    ("keys", "type_", "complaint"),
    [
        pytest.param(
            ["id", "checkpoint_id"],
            "S",
            "its HASH key must be 'thread_id' of type S, and is 'id' of type S",
            id="hash",
        ),
        pytest.param(
            ["thread_id", "id"],
            "S",
            "its RANGE key must be 'checkpoint_id' of type S, and is 'id' of type S",
            id="range",
        ),
        pytest.param(
            ["thread_id"],
            "S",
            "its RANGE key must be 'checkpoint_id' of type S, and is None of type None",
            id="no range",
        ),
        pytest.param(
            ["thread_id", "checkpoint_id"],
            "N",
            "its RANGE key must be 'checkpoint_id' of type S, and is 'checkpoint_id' of type N",
            id="range type",
        ),
    ],
)
def test_setup_refuses_a_table_of_other_keys(  # noqa: PLR0913  it has as many fixtures
    call: Call,
    make_saver: MakeSaver,
    own_tables: Tables,
    keys: list[str],
    type_: str,
    complaint: str,
) -> None:
    """A table with other keys is named, with the key that differs."""
    saver = make_saver(own_tables)
    types = ["S", type_]
    saver.client.create_table(
        TableName=own_tables[0],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(keys, ["HASH", "RANGE"])  # noqa: B905  the last may be left out
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": each}
            for name, each in zip(keys, types)  # noqa: B905  the same
        ],
    )

    with pytest.raises(DynamoDBSaverError) as raised:
        call(saver, "setup")

    assert str(raised.value) == (
        f"Table {own_tables[0]!r} exists with other keys: {complaint}; use another table name"
    )


def test_saver_closes_its_client_and_no_other(endpoint: Endpoint, thread_id: str) -> None:
    """Leaving the block ends the saver's threads and the client that it made."""
    threads = set(threading.enumerate())
    with DynamoDBSaver(*endpoint.tables, endpoint.client_config) as own:
        _put(own, _config(thread_id), 1, {"text": _words(9000)})

        async def use() -> None:
            async with DynamoDBSaver(*endpoint.tables, client=endpoint.client) as given:
                assert await given.aget_tuple(_config(thread_id)) is not None
            with pytest.raises(RuntimeError, match="shutdown"):
                await given.aget_tuple(_config(thread_id))

        asyncio.run(use())
        own.get_tuple(_config(thread_id))

    assert not [
        each.name for each in set(threading.enumerate()) - threads if "dynamodb" in each.name
    ]
    assert endpoint.client.describe_table(TableName=endpoint.tables[0])


def test_saver_serves_many_threads_at_once(saver: DynamoDBSaver, thread_id: str) -> None:
    """Sixteen threads of a process, each with a conversation, share one saver."""

    def talk(number: int) -> list[Any]:
        config = _config(f"{thread_id}-{number}")
        for step in range(1, 6):
            config = _put(saver, config, step, {"text": f"{number} {step} " + _words(5000)})
            saver.put_writes(config, [("a", (number, step))], "task")
        return [
            (each.checkpoint["channel_values"]["text"].split()[:2], each.pending_writes[0][2])
            for each in saver.list(_config(f"{thread_id}-{number}"))
            if each.pending_writes
        ]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(talk, range(16)))

    for number, answer in enumerate(answers):
        assert answer == [([str(number), str(step)], (number, step)) for step in range(5, 0, -1)]


def test_saver_serves_many_event_loops_at_once(saver: DynamoDBSaver, thread_id: str) -> None:
    """Four loops, and in each 32 calls at once, share one saver, and go on after one another."""

    async def talk(number: int) -> int:
        config = _config(f"{thread_id}-{number}")
        await saver.aput(config, _checkpoint(1, {"n": number}), {}, {"n": 1})
        found = await saver.aget_tuple(config)
        return found.checkpoint["channel_values"]["n"] if found else -1

    async def talk_all(first: int) -> list[int]:
        return await asyncio.gather(*(talk(number) for number in range(first, first + 32)))

    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(asyncio.run, map(talk_all, range(0, 128, 32)))
            assert list(chain.from_iterable(answers)) == list(range(128))


def test_async_calls_leave_the_event_loop_free(
    saver: DynamoDBSaver, thread_id: str
) -> None:
    """While requests are held up the loop goes on, and 64 calls take as long as one."""

    async def use() -> int:
        ticks = count()

        async def tick() -> None:
            while True:
                next(ticks)
                await asyncio.sleep(0.01)

        ticker = asyncio.create_task(tick())
        await asyncio.gather(*(saver.aget_tuple(_config(thread_id, n)) for n in range(64)))
        ticker.cancel()
        return next(ticks)

    with Requests(saver, delay=0.3) as requests:
        assert asyncio.run(use()) > 5

    assert len(requests.sent) == 128
    assert requests.waves == 1


def test_async_calls_see_the_context_of_the_caller(endpoint: Endpoint) -> None:
    """What an event hook or tracer keeps in a context variable is there in the saver's threads."""
    trace: ContextVar[str] = ContextVar("trace", default="")
    seen = []

    def hook(**_: Any) -> None:
        seen.append(trace.get())

    with DynamoDBSaver(*endpoint.tables, endpoint.client_config) as saver:
        saver.client.meta.events.register("before-call.dynamodb", hook)
        trace.set("mine")
        asyncio.run(saver.aget_tuple(_config("no such thread", 1)))

    assert seen == ["mine", "mine"]


# -- Graphs ---------------------------------------------------------------------------------------
# Real graphs, each on our saver and on InMemorySaver at once: whatever the caller sees is the same.

Builder = StateGraph[Any, Any, Any, Any]

CALLS_AND_DURABILITIES = pytest.mark.parametrize(
    ("call", "durability"),
    [
        pytest.param(call, durability, id=f"{call.__name__[1:]}-{durability}")
        for call in (_sync, _async)
        for durability in ("sync", "async", "exit")
    ],
)


def _plain(seen: Any) -> Any:
    """Return what a caller saw without the ids that are others in every run."""
    if isinstance(seen, Interrupt):
        return ("interrupt", _plain(seen.value))
    if isinstance(seen, Exception):
        return repr(seen)
    if isinstance(seen, StateSnapshot):
        metadata = dict(seen.metadata or {})
        metadata.pop("parents", None)
        tasks = [
            (each.name, each.error, each.interrupts, each.result, each.state)
            for each in seen.tasks
        ]
        return _plain([seen.values, seen.next, metadata, tasks, seen.parent_config is None])
    if isinstance(seen, CheckpointTuple):
        writes = [write[1:] for write in seen.pending_writes or ()]
        metadata = dict(seen.metadata)
        metadata.pop("parents", None)
        return _plain([seen.checkpoint["channel_values"], metadata, writes])
    if isinstance(seen, dict):
        if "configurable" in seen:  # the state of a subgraph that has yet to run
            return "config"
        return {key: _plain(value) for key, value in seen.items()}
    if type(seen) in (list, tuple):
        return type(seen)(map(_plain, seen))
    return seen


class Beside:
    """A graph on our saver and on InMemorySaver: a call goes to both, and both must answer the same.

    At the block's end, what a saver that has seen nothing of this reads must be the same too.
    """

    def __init__(self, builder: Builder, make_saver: MakeSaver, call: Call, durability: str) -> None:
        self.config: RunnableConfig = {"configurable": {"thread_id": f"thread-{uuid4()}"}}
        self.options = {"durability": durability}
        self._savers: list[BaseCheckpointSaver[Any]] = [make_saver(), InMemorySaver()]
        self._graphs = [builder.compile(checkpointer=each) for each in self._savers]
        self._make_saver = make_saver
        self._builder = builder
        self._call = call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self._savers[0] = self._make_saver()
            self._graphs[0] = self._builder.compile(checkpointer=self._savers[0])
            self.states()
            assert self._stored(self._savers[0]) == self._stored(self._savers[1])

    def _stored(self, saver: BaseCheckpointSaver[Any]) -> dict[str, list[Any]]:
        """Read all of a thread's checkpoints and writes, by namespace."""
        found = defaultdict(list)
        for each in self._call(saver, "list", self.config):
            ns = each.config["configurable"]["checkpoint_ns"]
            found[re.sub(r":[-0-9a-f]{36}", "", ns)].append(_plain(each))
        return dict(found)

    def _both(self, act: Callable[[Any], Any]) -> Any:
        ours, memorys = [_plain(act(graph)) for graph in self._graphs]
        assert ours == memorys
        return ours

    def _at(self, graph: Any, index: int | None) -> RunnableConfig:
        """Return the config of a state in the history; 0 is the newest; None: of the thread."""
        if index is None:
            return self.config
        config: RunnableConfig = self._call(graph, "get_state_history", self.config)[index].config
        return config

    def invoke(self, given: Any, *, at: int | None = None) -> Any:
        """Run the graph, from the thread's end or from a state in its history.

        *given* may be a function that makes the input from the graph's state.
        """

        def act(graph: Any) -> Any:
            config = self._at(graph, at)
            value = given(self._call(graph, "get_state", config)) if callable(given) else given
            try:
                return self._call(graph, "invoke", value, config, **self.options)
            except RuntimeError as error:
                return error

        return self._both(act)

    def update(self, values: Any, *, at: int | None = None, as_node: str | None = None) -> None:
        """Change the state by hand, at the thread's end or at a state in its history."""

        def act(graph: Any) -> None:
            self._call(graph, "update_state", self._at(graph, at), values, as_node=as_node)

        self._both(act)

    def state(self) -> Any:
        """Return the thread's state, with its subgraphs'."""
        return self._both(
            lambda graph: self._call(graph, "get_state", self.config, subgraphs=True)
        )

    def states(self) -> Any:
        """Return all of the thread's states, newest first."""
        self.state()
        return self._both(lambda graph: self._call(graph, "get_state_history", self.config))


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
        found = f"{tool_call['args']['for']}: {_words(3000 + len(state['messages']))}"
        message_id = f"m{len(state['messages'])}"
        return {"messages": [ToolMessage(found, id=message_id, tool_call_id=tool_call["id"])]}

    def route(state: Chat) -> str:
        return "tools" if state["messages"][-1].tool_calls else END  # type: ignore[union-attr]

    builder: Builder = StateGraph(Chat)
    builder.add_node("model", model)
    builder.add_node("tools", tools)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", route)
    builder.add_edge("tools", "model")
    return builder


@CALLS_AND_DURABILITIES
def test_chat_goes_on(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """Six turns with a tool, whose answers add up to more than segments hold, are remembered."""
    with Beside(_chat(), make_saver, call, durability) as graph:
        for turn in range(1, 7):
            message = HumanMessage(f"question {turn}", id=f"h{turn}")
            answer = graph.invoke({"messages": [message]})
            assert len(answer["messages"]) == 4 * turn

        assert graph.state()[1] == ()


@CALLS_AND_DURABILITIES
def test_chat_goes_on_in_other_processes(
    make_saver: MakeSaver, call: Call, durability: str
) -> None:
    """A saver that has seen nothing of the thread goes on with it, in each turn another."""
    config: RunnableConfig = {"configurable": {"thread_id": f"thread-{uuid4()}"}}
    for turn in range(1, 5):
        graph = _chat().compile(checkpointer=make_saver())
        message = HumanMessage(f"question {turn}", id=f"h{turn}")
        answer = call(graph, "invoke", {"messages": [message]}, config, durability=durability)

        assert [each.id for each in answer["messages"] if each.id[0] == "h"] == [
            f"h{each}" for each in range(1, turn + 1)
        ]
        assert len(answer["messages"]) == 4 * turn


class Tally(TypedDict, total=False):
    """What most graphs here share: a list to which every node appends."""

    log: Annotated[list[str], operator.add]
    number: int


@CALLS_AND_DURABILITIES
def test_fan_out_of_100_sends(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """A hundred tasks of one superstep each add what they were sent, and the next sees them all."""

    def spread(_: Tally) -> list[Send]:
        return [Send("work", {"number": number}) for number in range(100)]

    builder: Builder = StateGraph(Tally)
    builder.add_node("work", lambda state: {"log": [f"{state['number']}"]})
    builder.add_node("sum", lambda state: {"number": sum(map(int, state["log"]))})
    builder.add_conditional_edges(START, spread, ["work"])
    builder.add_edge("work", "sum")

    with Beside(builder, make_saver, call, durability) as graph:
        answer = graph.invoke({"log": []})

    assert answer == {"log": [str(number) for number in range(100)], "number": 4950}


@CALLS_AND_DURABILITIES
def test_fan_out_goes_on_after_a_failure(
    make_saver: MakeSaver, call: Call, durability: str
) -> None:
    """What parallel tasks have written stays when one fails; going on runs that one alone."""
    broken, runs = {7}, []

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

    with Beside(builder, make_saver, call, durability) as graph:
        assert graph.invoke({"log": []}) == "RuntimeError('down')"
        broken.clear()
        runs.clear()
        answer = graph.invoke(None)

    assert answer == {"log": [str(number) for number in range(12)]}
    # With durability "exit" LangGraph stores, when it fails, the writes of the others too.
    assert runs == [7, 7]


def _nested(*, checkpointer: bool | None = None) -> Builder:
    """Build a graph in a graph in a graph; the innermost asks twice."""

    def ask(state: Tally) -> Any:
        name = interrupt({"ask": "name", "log": state["log"]})
        return {"log": [f"name {name}", f"age {interrupt('age')}"]}

    inner: Builder = StateGraph(Tally)
    inner.add_node("before", lambda _: {"log": ["inner"]})
    inner.add_node("ask", ask)
    inner.add_edge(START, "before")
    inner.add_edge("before", "ask")

    middle: Builder = StateGraph(Tally)
    middle.add_node("inner", inner.compile(checkpointer=checkpointer))
    middle.add_node("after", lambda _: {"log": ["middle"]})
    middle.add_edge(START, "inner")
    middle.add_edge("inner", "after")

    def call_middle(state: Tally) -> Any:
        return {"log": compiled.invoke({"log": [f"outer {state['number']}"]})["log"]}

    compiled = middle.compile(checkpointer=checkpointer)
    outer: Builder = StateGraph(Tally)
    outer.add_node("middle", call_middle)
    outer.add_node("end", lambda _: {"log": ["end"]})
    outer.add_edge(START, "middle")
    outer.add_edge("middle", "end")
    return outer


@CALLS_AND_DURABILITIES
@pytest.mark.parametrize("remembers", [None, True])
def test_nested_subgraphs_resume_an_interrupt_inside(
    make_saver: MakeSaver, call: Call, durability: str, remembers: bool | None  # noqa: FBT001
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


@CALLS_AND_DURABILITIES
def test_interrupts_resume_one_after_the_other(
    make_saver: MakeSaver, call: Call, durability: str
) -> None:
    """Of two tasks that ask side by side, each keeps its question until it is answered."""

    def ask(question: str) -> Callable[[Tally], Any]:
        def node(_: Tally) -> Any:
            return {"log": [f"{question}: {interrupt(question)}"], "number": 1}

        return node

    builder: Builder = StateGraph(Tally)
    builder.add_node("one", lambda state: ask("one")(state) | {"number": 2})
    builder.add_node("two", lambda state: {"log": ask("two")(state)["log"]})
    builder.add_node("none", lambda _: {"log": ["none"]})
    builder.add_node("last", ask("last"))
    for name in ("one", "two", "none"):
        builder.add_edge(START, name)
    builder.add_edge(["one", "two", "none"], "last")

    def answer_to(question: str, answer: str) -> Callable[[StateSnapshot], Any]:
        return lambda state: Command(
            resume={each.id: answer for each in state.interrupts if each.value == question}
        )

    with Beside(builder, make_saver, call, durability) as graph:
        asked = graph.invoke({"log": ["start"]})
        assert asked["__interrupt__"] == [("interrupt", "one"), ("interrupt", "two")]
        asked = graph.invoke(answer_to("two", "B"))
        assert asked["__interrupt__"] == [("interrupt", "one")]
        asked = graph.invoke(answer_to("one", "A"))
        assert asked["__interrupt__"] == [("interrupt", "last")]
        answer = graph.invoke(Command(resume="C", update={"log": ["by hand"]}))

    assert answer == {
        "log": ["start", "none", "one: A", "two: B", "by hand", "last: C"],
        "number": 1,
    }


def _steps() -> Builder:
    """Build three nodes in a row, with a route that is taken by hand alone."""
    builder: Builder = StateGraph(Tally)
    for name in ("a", "b", "c", "d"):
        builder.add_node(name, lambda state, name=name: {"log": [name], "number": len(state["log"])})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("b", "c")
    builder.add_edge("d", "c")
    return builder


@CALLS_AND_DURABILITIES
def test_update_state_changes_it(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """The state set by hand, as a node or none, is what the graph goes on from."""
    with Beside(_steps(), make_saver, call, durability) as graph:
        graph.update({"log": ["first"]}, as_node=START)
        graph.invoke(None)
        graph.update({"log": ["by hand"]}, as_node="d")
        assert graph.state()[1] == ("c",)
        graph.update({"number": -1})
        answer = graph.invoke(None)
        graph.update(None, as_node=END)

    assert answer == {"log": ["first", "a", "b", "c", "by hand", "c"], "number": 5}


@CALLS_AND_DURABILITIES
def test_time_travel_and_fork(make_saver: MakeSaver, call: Call, durability: str) -> None:
    """A run from an old state, and one from an old state that is changed, are branches of their own."""
    with Beside(_steps(), make_saver, call, durability) as graph:
        graph.options["durability"] = "sync"  # with "exit" there are no old states to go to
        graph.invoke({"log": ["start"]})
        assert [state[1] for state in graph.states()] == [(), ("c",), ("b",), ("a",), ("__start__",)]
        graph.options["durability"] = durability

        assert graph.invoke(None, at=2) == {"log": ["start", "a", "b", "c"], "number": 3}
        graph.update({"log": ["changed"]}, at=-2)
        assert graph.state()[0]["log"] == ["start", "changed"]
        answer = graph.invoke(None)
        graph.invoke({"log": ["again"]}, at=-3)

    assert answer == {"log": ["start", "changed", "a", "b", "c"], "number": 4}


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

    def writer(name: str) -> Callable[[Deltas], Any]:
        def node(state: Deltas) -> Any:
            turn = state.get("number", 0)
            return {
                "log": [f"{name} {turn}", _words(100 + turn)],
                "often": [f"{name} {turn} of {len(state.get('log', []))}"],
            }

        return node

    builder: Builder = StateGraph(Deltas)
    for name in ("zebra", "ant", "after"):
        builder.add_node(name, writer(name))
    builder.add_node("count", lambda state: {"number": state.get("number", 0) + 1})
    builder.add_node("idle", lambda _: {})
    builder.add_edge(START, "zebra")
    builder.add_edge(START, "ant")
    builder.add_edge(["zebra", "ant"], "after")
    builder.add_edge("after", "count")
    builder.add_edge("count", "idle")
    return builder


@CALLS_AND_DURABILITIES
def test_delta_channels_with_parallel_writers(
    make_saver: MakeSaver, call: Call, durability: str
) -> None:
    """Two parallel writers of a channel are replayed in the order of the run, in every turn."""
    with Beside(_deltas(), make_saver, call, durability) as graph:
        for _ in range(5):
            answer = graph.invoke({"log": ["in"]})
        graph.update({"log": ["by hand"]}, as_node="count")
        graph.invoke({"often": ["in"]}, at=3)

    logged = [each for each in answer["log"] if len(each) < 20]
    assert logged[-4:] == ["in", "ant 4", "zebra 4", "after 4"]
    assert len(answer["log"]) == 35


@SYNC_AND_ASYNC
def test_delta_channel_survives_an_exit_after_others_wrote(
    make_saver: MakeSaver, call: Call
) -> None:
    """With durability "exit" the last superstep tells nothing of the writes of those before it.

    The stored checkpoint's updated_channels name its own alone; who trusts them loses the rest.
    """
    config: RunnableConfig = {"configurable": {"thread_id": f"thread-{uuid4()}"}}
    for turn in range(3):
        graph = _deltas().compile(checkpointer=make_saver())
        call(graph, "invoke", {"number": turn}, config, durability="exit")

    state = call(_deltas().compile(checkpointer=make_saver()), "get_state", config)

    updated = make_saver().get_tuple(config).checkpoint["updated_channels"]  # type: ignore[union-attr]
    assert "log" not in (updated or ())
    assert [each for each in state.values["log"] if len(each) < 20] == [
        f"{name} {turn}" for turn in range(3) for name in ("ant", "zebra", "after")
    ]


@CALLS_AND_DURABILITIES
def test_run_id_of_a_run_is_found(lone_saver: DynamoDBSaver, call: Call, durability: str) -> None:
    """The run_id that a run's config carries is what delete_for_runs takes."""
    graph = _steps().compile(checkpointer=lone_saver)
    for run_id in ("one", "two"):
        config: RunnableConfig = {"configurable": {"thread_id": "thread", "run_id": run_id}}
        call(graph, "invoke", {"log": [run_id]}, config, durability=durability)
    kept = [each for each in lone_saver.list(_config("thread")) if each.metadata["run_id"] == "two"]

    call(lone_saver, "delete_for_runs", ["one"])

    assert kept
    assert list(lone_saver.list(_config("thread"))) == kept


@CALLS_AND_DURABILITIES
def test_run_leaves_no_marker(lone_saver: DynamoDBSaver, call: Call, durability: str) -> None:
    """Writes that LangGraph sends beside their checkpoint wait for it, and cost no marker."""
    graph = _nested().compile(checkpointer=lone_saver)
    config: RunnableConfig = {"configurable": {"thread_id": "thread"}}

    with Requests(lone_saver) as requests:
        for given in ({"number": 1}, Command(resume="Ada"), Command(resume=36)):
            call(graph, "invoke", given, config, durability=durability)

    stored = _stored(lone_saver)
    assert not [each for each in stored if each.get("checkpoint_id", {}).get("S", "")[:2] == "~m"]
    assert set(requests.names) <= {"PutItem", "Query", "GetItem"}
