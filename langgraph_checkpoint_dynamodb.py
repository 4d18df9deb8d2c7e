# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the langgraph-checkpoint-dynamodb authors
"""LangGraph checkpoints on Amazon DynamoDB: one file, two tables, botocore only.

    saver = DynamoDBSaver("checkpoints", "writes", {"region_name": "eu-central-1"})
    saver.setup()  # once: creates the two tables
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "alice"}}
    graph.invoke({"messages": [("user", "hello")]}, config)
    graph.get_state(config)  # any process, any time later

Storage layout 1. The checkpoints table has the hash key ``thread_id`` and the range key
``checkpoint_id``; the writes table has ``thread_id_checkpoint_id_checkpoint_ns`` and
``task_id_idx``; all four are strings. The hash key is the thread's id in both. ``<ns>`` is
``<length>:<namespace>:``; ``<checkpoint>`` is the range key of a checkpoint's item.

    table        item        range key                     other attributes (? = not on every item)
    -----------  ----------  ----------------------------  ----------------------------------------
    checkpoints  checkpoint  <id>                          checkpoint_ns parent_checkpoint_id? type
                                                           checkpoint? body? segments? lists?
                                                           digest run_id? ttl?
    checkpoints  subgraph    ~c<ns><id>                    the same
    checkpoints  pruned      ~p<uuid>                      segments stored_at ttl
    checkpoints  segment     ~s<digest>[:<expiry>]         segment stored_at ttl?
    checkpoints  veil        }                             checkpoint_ns veil through
    checkpoints  sub-veil    ~c<ns>}                       the same
    writes       write       <checkpoint>:::<task>:::<idx> task_path idx type writes? body?
                                                           segments? lists? digest stored_at ttl?

Bytes, each encoded by the serde's ``dumps_typed`` (its type is the attribute ``type``), then packed
(rule 7):

    checkpoint  [checkpoint, metadata, {channel: value}, whether the metadata held the thread's id,
                secret]: that id is read from the hash key, so that a copy carries its own; the
                secret is empty but for rule 11
    writes      [[idx, channel, *value], ...]
    value       type, then each part of its bytes: some, or [skip, first, count, ...]: the segments
                whose names are numbers first, first + 1, ..., joined from byte skip on
    names       for each segment 16 bytes of digest and 5 of expiry, big-endian, not packed: those
                in ``lists`` hold the first names of the item, those in ``segments`` the rest; those
                in ``body`` hold what would be in ``checkpoint`` or ``writes``

Rules:
 1. ``checkpoint`` is a record: the checkpoint without its channel values, the metadata, and for
    each channel the parts of its value. Joined, they are what ``serde.dumps_typed`` made. A record
    or write that would make its item too large is in the segments of ``body`` instead.
 2. A segment is part of such bytes, named for their BLAKE2b-128 digest and the second when it
    expires. It never changes, and it is stored before the item that names it, expires after it
    and is deleted after it: no reader sees a hole.
 3. A write item holds one call's ordinary writes; ``idx`` lists them, as "0" or "0..2,4". The first
    stands under 0, a later one under an index above all before it: each index keeps its first
    value until that expires. A special write (error, scheduled, interrupt, resume) has an item of
    its own, and the last value stays.
 4. A namespace of over 512 bytes, or that starts with "#", stands in keys as "#" and its digest. So
    does in the writes table a thread's id that holds ":::", as the keys of layout 0 do, or that
    looks like such a digest.
 5. Writes may be stored before their checkpoint, and outlast it: a prune that was cut off leaves
    them. Those that are an hour old and have no checkpoint are of no use to anybody.
 6. While a copy or deletion is under way, a veil hides the checkpoints of its namespace up to
    ``through`` from every reader: read from the newest on, it comes before them.
 7. The first byte of ``checkpoint``, ``segment`` and ``writes``: 0 plain, 1 zlib with the preset
    dictionary ``_DICTIONARY``, 2 encrypted (rule 11). ``digest`` is BLAKE2b-128 of ``body``,
    ``checkpoint``, ``lists``, ``segments`` and ``writes``, each after its length in 4 bytes, keyed
    by the BLAKE2b-256 digest of the item's string attributes: name and value in turn, sorted by
    name, joined by NUL. It tells damage. Its key is public: it is no proof against a forger.
 8. A pruned item names segments that lost a checkpoint or write which named them, or whose name was
    replaced by one that lasts longer: a put that is under way may name them again, so they are
    spared for a while.
 9. The checkpoints table may have an index named ``run_id``, with the hash key ``run_id`` and the
    range key ``thread_id``: it holds the keys of the checkpoints that have a ``run_id``.
10. Layout 0, of langgraph-checkpoint-dynamodb 0.1.0, is read as it is: a checkpoint item with
    ``metadata`` and no ``digest``, in the root namespace (those of subgraphs stand among the
    root's, without a prefix, and are not shown); a write item with ``channel`` and ``value``, the
    hash key ``<thread>:::<checkpoint id>:::<namespace>`` and the range key ``<task>:::<idx>``.
11. With LangGraph's EncryptedSerializer, records, writes and values are packed as without it, then
    encrypted with 16 bytes before them that bind them to their place: of a segment its digest, of
    an item the BLAKE2b-128 digest of its string attributes, ``lists`` and ``segments``: name and
    value in turn, sorted by name, each after its length in 4 bytes. After the 2 stand the cipher's
    name, NUL and the ciphertext. The digest of a value's segment is keyed with a secret that the
    records of a line of checkpoints share. What holds names or a ``body`` is not encrypted once
    more.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import os
import random
import re
import sys
import threading
import time
import zlib
from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache, partial
from hashlib import blake2b
from itertools import chain, groupby, islice, pairwise
from pathlib import Path
from pickle import PicklingError
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, NoReturn, TypeVar, cast
from uuid import UUID
from weakref import WeakSet

# Botocore has no types, but for those who install stubs: a copy of this file has to pass with both.
from botocore.exceptions import (  # type: ignore[import-untyped,unused-ignore]
    BotoCoreError,
    ClientError,
)
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, TASKS

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        DeltaChannelHistory,
        PendingWrite,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from typing_extensions import Self

__all__ = [
    "DamagedCheckpointError",
    "DynamoDBSaver",
    "DynamoDBSaverError",
    "UndecodableCheckpointError",
]
__version__ = "1.0.0"
# Release 0.1.0 was imported by this name.
sys.modules[f"{__name__}.saver"] = sys.modules[__name__]

A = TypeVar("A")
T = TypeVar("T")
_Item = dict[str, dict[str, Any]]

# -- Limits ---------------------------------------------------------------------------------------
# DynamoDB's own, from https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
# ServiceQuotas.html and the API reference of BatchGetItem and BatchWriteItem; then ours.

_MAX_ITEM_BYTES: Final = 400 * 1024
_MAX_HASH_KEY_BYTES: Final = 2048
_MAX_RANGE_KEY_BYTES: Final = 1024
_MAX_BATCH_GET_KEYS: Final = 100
_MAX_BATCH_WRITE_ITEMS: Final = 25
_MAX_IN_OPERANDS: Final = 100
# Limit is a 32-bit number; and so many items of ours hardly fit in the 1 MB of a page.
_MAX_PAGE_ITEMS: Final = 4096
# Where nobody says how many are wanted, the first page has so many; each after it more.
_FIRST_PAGE_ITEMS: Final = 16
# A namespace, a task's path, and the indices of writes stand in an item beside its keys.
_MAX_TEXT_BYTES: Final = 64 * 1024
# So many bytes of a record or write are unpacked from an item at most: an item of 400 KB may
# otherwise take a gigabyte of memory. Larger ones are stored in segments.
_MAX_BODY_BYTES: Final = 4 * 1024 * 1024
# A larger record or write is refused: it is joined and decrypted in one piece.
_MAX_LARGE_BODY_BYTES: Final = 256 * 1024 * 1024
# An item of 400 KB could name segments of 5 TB.
_MAX_VALUE_BYTES: Final = 10 * 1024**3
_MAX_NAMESPACE_KEY_BYTES: Final = 512
# A value of at most this size stays in the record: a segment of its own would cost a write unit
# and a read unit to save one.
_INLINE_VALUE_BYTES: Final = 1024
# More than this in a record, and its largest parts go to segments: what does not change then
# costs nothing at the next step.
_INLINE_RECORD_BYTES: Final = 3 * 1024
# A smaller part stays in the record all the same.
_MIN_SEALED_BYTES: Final = 256
# A larger value of a write is cut as a channel's is.
_INLINE_WRITE_BYTES: Final = 4 * 1024
# A list is cut after an element where a segment has the first size, and the number divides the
# element's CRC-32, or it has the second: large segments first, then small ones of what is left. A
# dict, where entries change in place, is cut into small ones at once.
_SEGMENT_BYTES: Final = (
    (4 * 1024, 64 * 1024, 10),
    (3 * 1024, 16 * 1024, 2),
    (1024, 8 * 1024, 1),
)
_MAX_SEGMENT_BYTES: Final = 256 * 1024
# What is left over before a head is a segment if it has so many bytes.
_MIN_LAST_SEGMENT_BYTES: Final = 512
# A text is cut so as well, after a word: its bytes make two classes, and this is a row of them that
# is found about once in 512 bytes. The number has to divide the CRC-32 of so many bytes before.
_TEXT_CLASSES: Final = bytes((byte * 167 >> 3 ^ byte >> 1 ^ byte) & 1 for byte in range(256))
_TEXT_WORD: Final = b"\0\0\0\1\0\1\1\0\1"
_TEXT_BYTES: Final = 64
_MIN_CUT_TEXT_BYTES: Final = 8 * 1024
# Few edit a long text, and it is better read in few segments: these sizes come first in a text of
# so many bytes.
_TEXT_SEGMENT_BYTES: Final = (
    (192 * 1024, (32 * 1024, 512 * 1024, 8)),
    (48 * 1024, (8 * 1024, 128 * 1024, 8)),
    (0, (4 * 1024, 64 * 1024, 8)),
)
# An entry of a dict is opened where it is more than this part of the value.
_OPENED_PART: Final = 24
_MAX_OPENED_DEPTH: Final = 12
# After so many objects of fewer bytes than this each, the rest of a value is cut as text: in Python
# a walk over them takes ten times as long as msgpack takes to make them.
_MAX_TINY_OBJECTS: Final = 8192
_TINY_BYTES: Final = 16
# Segments are found again by their first bytes; the start of a list is looked for inside of them,
# so often for a value.
_SAMPLE_BYTES: Final = 128
_MAX_SEARCHES: Final = 8
# An item that would name more segments than this names lists of their names. A list ends where the
# number divides the start of a name, or it has so many: large lists first, then small ones.
_MAX_NAMES: Final = 48
_LIST_NAMES: Final = ((256, 512), (32, 64))
# The values of a forged item repeat its names so often at most.
_MAX_REPEATED_NAMES: Final = 1_000_000
# The digest, and five bytes for the second when it expires.
_REF_BYTES: Final = 16 + 5
# A range key may have 1,024 bytes, and a write's has its checkpoint's, the task's id, an index of
# up to 10 digits, and ":::" twice.
_MAX_CHECKPOINT_KEY_BYTES: Final = 768
_MAX_TASK_ID_BYTES: Final = 240
# Checkpoints of a format before this one have their pending sends in their parent's writes.
_FIRST_V_WITH_TASKS: Final = 4
# A scan for runs is made in so many parts, side by side: segments, as DynamoDB says.
_SCAN_PARTS: Final = 4
# What expires then has a second that five bytes can name.
_MAX_TTL_SECONDS: Final = 100 * 365 * 86_400
# The names of so many segments fit one pruned item.
_MAX_PRUNED_REFS: Final = 10_000
_DEFAULT_ATTEMPTS: Final = 6
# Codes of an error that says: not now. Botocore has retried such a request before it raises one:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_REFUSALS: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
# A copy holds so many batches of segments in memory.
_COPY_BATCHES: Final = 16
# Collection spares what was stored, or lost its last name, within this time: a put that builds
# on it may be under way. A put in turn builds only on what it saw within half of it.
_GRACE_SECONDS: Final = 3600.0
# A list reads so many checkpoints' writes at first, and up to so many when it is read on. It reads
# no more than two checkpoints ahead once these name so many segments, of 256 KB at the most.
_MIN_LIST_AHEAD: Final = 8
_MAX_LIST_AHEAD: Final = 64
_MAX_LIST_SEGMENTS: Final = 128
# A list of all namespaces finds subgraphs' checkpoints in another order than it returns them: it
# holds so many, and of others their keys, and reads these again.
_MAX_LIST_HELD: Final = 1024
# So far apart, at least, are the calls of a copy's progress.
_PROGRESS_SECONDS: Final = 0.5
# A call relies on segments that another has begun to store within this time.
_SHARED_SECONDS: Final = 5.0
# So many checkpoints at once are stored again, with their segments and writes.
_MAX_RENEWED: Final = 16
# About what an object of Python's takes beside its bytes, for the bound of the cache.
_OBJECT_BYTES: Final = 200

# -- Errors ---------------------------------------------------------------------------------------
# Bad arguments are ValueError or TypeError; botocore's own errors pass through.


class DynamoDBSaverError(Exception):
    """The tables hold or answer something that keeps the call from being carried out."""


class _CheckpointError(DynamoDBSaverError):
    """Something is wrong with one checkpoint or its writes."""

    _advice = ""

    def __init__(
        self, what: str, key: _CheckpointKey, table_name: str, advice: str | None = None
    ) -> None:
        super().__init__(
            f"{what}: thread {key.thread_id!r}, namespace {key.checkpoint_ns!r}, checkpoint "
            f"{key.checkpoint_id!r}, table {table_name!r}; {advice or self._advice}"
        )
        self.what = what
        self.thread_id, self.checkpoint_ns, self.checkpoint_id = key
        self.table_name = table_name


class DamagedCheckpointError(_CheckpointError):
    """A stored checkpoint or write is not what was stored, or part of it is missing.

    ``thread_id``, ``checkpoint_ns``, ``checkpoint_id`` and ``table_name`` say where.
    """

    _advice = (
        "restore the table's items from a backup, or go on from an earlier checkpoint, or delete "
        "the thread"
    )


class UndecodableCheckpointError(_CheckpointError):
    """A checkpoint or write is stored that this saver's serializer or key can't decode.

    That is not damage: a different serializer or key wrote it. ``thread_id``, ``checkpoint_ns``,
    ``checkpoint_id`` and ``table_name`` say where.
    """

    _advice = "the data are untouched: read them with the serializer and the key that wrote them"


def _closed() -> DynamoDBSaverError:
    return DynamoDBSaverError(
        "This saver is closed; use it inside its `with` block, or make another one"
    )


# -- Client ---------------------------------------------------------------------------------------
# Botocore's client for DynamoDB, made in a quarter of the usual time, its imports aside.

_CLIENT_OPTIONS: Final = {
    **{name: name for name in ("region_name", "endpoint_url", "aws_access_key_id",
                               "aws_secret_access_key", "aws_session_token", "config", "verify",
                               "use_ssl", "api_version")},
    # The names that langgraph-checkpoint-dynamodb 0.1.0 documents.
    "region": "region_name",
    "endpoint": "endpoint_url",
    "accessKeyId": "aws_access_key_id",
    "secretAccessKey": "aws_secret_access_key",
    "sessionToken": "aws_session_token",
}  # fmt: skip


#: Objects with threads, locks or connections: a fork copies none of these in working order.
_RENEWED: Final[WeakSet[Any]] = WeakSet()


def _renew() -> None:
    for each in list(_RENEWED):
        each.after_fork()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=_renew)


def _renewed_after_fork(each: Any) -> None:
    """Have ``each.after_fork()`` called in every child process, as long as *each* lives."""
    _watch_forks()
    _RENEWED.add(each)


class _Client:
    """The client of a saver and its clones: a caller's, or one that is made when it is needed.

    In the child of a fork, a client of our own is made again: two processes on one connection read
    each other's answers, and another thread may have held one of the client's locks.
    """

    def __init__(self, make: Callable[[], Any], *, is_ours: bool) -> None:
        self.is_closed = False
        self._make = make
        self._is_ours = is_ours
        self.after_fork()
        _renewed_after_fork(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._made: Any = None

    def get(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                config = getattr(self._made.meta, "config", None)
                # Botocore's own default.
                self._connections: int = getattr(config, "max_pool_connections", 10)
                self._free = threading.Semaphore(self._connections)
            return self._made

    @property
    def connections(self) -> int:
        """How many requests the client has connections for."""
        self.get()
        return self._connections

    @contextmanager
    def in_use(self) -> Iterator[Any]:
        """Give the client for one request, once it has a free connection.

        For more requests at once, urllib3 would open connections, drop them, and warn of each.
        """
        client = self.get()
        with self._free:
            self.check_open()
            yield client

    def get_open(self) -> Any:
        self.check_open()
        return self.get()

    def check_open(self) -> None:
        if self.is_closed:
            raise _closed()

    def close(self) -> None:
        """Let no request begin any more; close a client of our own."""
        self.is_closed = True
        if self._made is not None and self._is_ours:
            self._made.close()


def _client_options(client_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by botocore's names."""
    options: dict[str, Any] = {}
    for name, value in client_config.items():
        if name == "profile_name":
            raise TypeError(
                "client_config has no option 'profile_name', which is one of a boto3 session; pass "
                'client=boto3.Session(profile_name=...).client("dynamodb"), or set AWS_PROFILE'
            )
        if (option := _CLIENT_OPTIONS.get(name)) is None:
            known = ", ".join(sorted(_CLIENT_OPTIONS))
            raise TypeError(f"client_config has no option {name!r}; it knows {known}")
        if option in options:
            raise ValueError(f"client_config names {option!r} twice, once as {name!r}; drop one")
        options[option] = value
    return options


def _create_client(options: dict[str, Any], max_workers: int) -> Any:
    with _no_collection():
        # Here and below, so that a saver with a client of the caller's loads none of it.
        import botocore.session  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
        from botocore.config import (  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
            Config,
        )

    ours = Config(
        # Each thread of both pools may hold a connection.
        max_pool_connections=2 * max_workers,
        connect_timeout=5,
        read_timeout=10,
        tcp_keepalive=True,
        # Items are marshalled here by hand, and arguments are checked: a twentieth less CPU a call.
        parameter_validation=False,
        user_agent_extra=f"langgraph-checkpoint-dynamodb/{__version__}",
    )
    theirs: Any = options.get("config") or Config()

    def make(session: Any) -> Any:
        merged = ours.merge(theirs).merge(Config(retries=_retries(theirs.retries or {}, session)))
        return session.create_client("dynamodb", **{**options, "config": merged})

    # Where a botocore to come has other names than the lean session leans on, or the rules for
    # addresses are not in force, or no region is set, a stock session decides, and says what is
    # wrong: this may cost time, and never changes what is sent.
    refusals = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
    with suppress(BotoCoreError, *refusals), _no_collection():
        client = make(_lean_session())
        if client.meta.region_name is not None and client._ruleset_resolver is not None:  # noqa: SLF001
            return client
    return make(botocore.session.get_session())


def _retries(given: Mapping[str, Any], session: Any) -> Any:
    """Return a caller's retries, with ours where neither caller nor operator has any.

    Ours are said in full: botocore 1.44 has another mode and number than 1.43. An operator's, from
    the environment or the profile, botocore itself adds to those that it is given.
    """
    profile = session.get_scoped_config()
    if any(
        variable in os.environ or name in profile
        for variable, name in (
            ("AWS_MAX_ATTEMPTS", "max_attempts"),
            ("AWS_RETRY_MODE", "retry_mode"),
        )
    ):
        return dict(given)
    ours: dict[str, Any] = {} if given.get("mode") else {"mode": "standard"}
    if not {"max_attempts", "total_max_attempts"} & given.keys():
        ours["total_max_attempts"] = _DEFAULT_ATTEMPTS
    return {**ours, **given}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's cyclic garbage collector from running meanwhile.

    Botocore's modules and DynamoDB's model are many objects and no garbage: looking through them
    again and again takes a quarter of a cold start. That is safe: counted references free memory
    all the same, other threads wait for cycles to be freed for some 50 ms, and it is on again
    afterwards, if it was, also after an exception.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _lean_session() -> Any:
    """Return a botocore session that makes DynamoDB's client and loads nothing of other services.

    A stock session lists the folders of 440 services twice, parses 1.25 MB of addresses that
    DynamoDB's rules overrule, and registers 120 handlers for events that DynamoDB does not have:
    three quarters of what a client costs, on each cold start.
    """
    import gzip  # noqa: PLC0415
    import json  # noqa: PLC0415

    from botocore import (  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
        handlers,
        loaders,
        session,
    )

    class Session(session.Session):  # type: ignore[misc,unused-ignore]
        def create_client(self, service_name: str, *args: Any, **options: Any) -> Any:
            # Where credentials come from STS or SSO, those get stock clients.
            maker: Any = super() if service_name == "dynamodb" else session.get_session()
            return maker.create_client(service_name, *args, **options)

    class Loader(loaders.Loader):  # type: ignore[misc,unused-ignore]
        def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
            return ["dynamodb"]

        def determine_latest_version(self, service_name: str, type_name: str) -> str:  # noqa: ARG002
            return "2012-08-10"

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            path = f"{self.BUILTIN_DATA_PATH}/{name}"
            if name == "endpoints":
                return {"partitions": []}, path  # with a path of another folder, it would rule
            for suffix, unpacked in ((".json.gz", gzip.decompress), (".json", bytes)):
                with suppress(FileNotFoundError):
                    return json.loads(unpacked(Path(path + suffix).read_bytes())), path
            return super().load_data_with_path(name)  # type: ignore[no-any-return,unused-ignore]

    lean = Session(include_builtin_handlers=False)
    # Unlike Path.is_dir(), it does not raise where a folder may not be looked into.
    if lean.get_config_variable("data_path") or os.path.isdir(Loader.CUSTOMER_DATA_PATH):  # noqa: PTH112
        return session.get_session()  # models of the user's own
    lean.register_component("data_loader", Loader())
    emitter = lean.get_component("event_emitter")
    register = {
        (): emitter.register,
        (handlers.REGISTER_FIRST,): emitter.register_first,
        (handlers.REGISTER_LAST,): emitter.register_last,
    }
    for event, handler, *order in handlers.BUILTIN_HANDLERS:
        if "." not in event or "dynamodb" in event:
            register[tuple(order)](event, handler)
    return lean


# -- Tables ---------------------------------------------------------------------------------------
# The only code that sends requests: pages, batches, what throttling left undone, work side by
# side; and what setup() asks for.


# Messages of DynamoDB and its emulators about a table with keys other than the request's: "The
# provided key element does not match the schema", "Query condition missed key schema element:
# thread_id", "One or more parameter values were invalid: Missing the key thread_id in the item".
_OTHER_KEYS: Final = re.compile(
    "key element does not match|missed key schema element|Missing the key|required keys was not"
    "|number of conditions on the keys|Query key condition not supported|starting key is invalid"
    "|Exclusive Start Key"
)
# About a key of a different type: "... Type mismatch for key thread_id expected: N actual: S".
_OTHER_TYPES: Final = re.compile(
    "Type mismatch for key|parameter type does not match schema|Type mismatch for attribute"
)
# "Aggregated size of all range keys has exceeded the size limit of 1024 bytes". An index refuses an
# attribute that is too long for a key of it: https://docs.aws.amazon.com/amazondynamodb/latest/
# developerguide/GSI.OnlineOps.ViolationDetection.html. Both emulators do so whether the item has
# the index's other key or not.
_LONG_KEYS: Final = re.compile("size of all range keys|Size of hashkey|Size limit exceeded")


def _response(error: ClientError) -> dict[str, Any]:
    # Stubs call each part of it optional.
    return cast("dict[str, Any]", error.response)


def _code(error: ClientError) -> str:
    return cast("str", _response(error)["Error"]["Code"])


def _back_off(attempt: int) -> None:
    """Sleep before every attempt except the first (0): exponential back-off with full jitter."""
    if attempt:
        time.sleep(random.uniform(0, min(5.0, 0.05 * 2**attempt)))  # noqa: S311  no secret


class _Pool:
    """Threads for calls: other ones in the child of a fork, and none once they are closed."""

    def __init__(self, max_workers: int, name: str, *initializer: Any) -> None:
        self._options = max_workers, name, *initializer
        self._is_closed = False
        self.after_fork()
        _renewed_after_fork(self)

    def after_fork(self) -> None:
        self._executor = ThreadPoolExecutor(*self._options)

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Start a call in the context of the caller."""
        try:
            if not self._is_closed:
                return self._executor.submit(copy_context().run, function, *args)
        except RuntimeError:
            if not self._is_closed:
                raise
        raise _closed()

    def close(self) -> None:
        """Let no call begin any more, and wait for those that have."""
        self._is_closed = True
        self._executor.shutdown()


class _Workers:
    """Threads for requests side by side.

    What runs on them never waits for them, as a pool that waits on itself stalls: it does itself
    the work that it starts.
    """

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._here = threading.local()
        self._pool = _Pool(
            max_workers, "dynamodb-saver-request", setattr, (self._here, "is_worker", True)
        )

    def start(self, function: Callable[..., T], *args: Any) -> Future[T]:
        if getattr(self._here, "is_worker", False):
            future: Future[T] = Future()
            future.set_result(function(*args))
            return future
        return self._pool.submit(function, *args)

    def side_by_side(self, function: Callable[[A], T], arguments: Iterable[A]) -> list[T]:
        """Call *function* for each of *arguments*, the last in this thread.

        Nothing goes on behind the caller's back: after an exception, Ctrl-C too, no call begins,
        and those under way are waited for.
        """
        arguments = list(arguments)
        futures: list[Future[T]] = []
        try:
            futures.extend(self.start(function, argument) for argument in arguments[:-1])
            last = [function(argument) for argument in arguments[-1:]]
            return [future.result() for future in futures] + last
        finally:
            wait([future for future in futures if not future.cancel()])

    def close(self) -> None:
        self._pool.close()


class _Sent(NamedTuple):
    """What a request of a bulk call left undone, in how many attempts of botocore's."""

    undone: Sequence[Any]
    attempts: int = 1
    error: ClientError | None = None


class _Page(NamedTuple):
    items: list[_Item]
    is_last: bool


def _groups(pages_after: Callable[[_Item | None], Iterator[_Page]]) -> Iterator[_Page]:
    """Read the first page, then skip the rest of the group in which a page ends.

    *pages_after* takes the last item that was read (None: none yet), and returns the pages that
    follow its group. The first of them with an item in it counts.
    """
    last: _Item | None = None
    while True:
        page = next(page for page in pages_after(last) if page.items or page.is_last)
        yield page
        if page.is_last:
            return
        last = page.items[-1]


class _Table:
    """Requests to one table."""

    def __init__(
        self, client: _Client, name: str, keys: tuple[str, str], workers: _Workers
    ) -> None:
        self.name = name
        self.keys = keys
        self._client = client
        self._workers = workers

    @property
    def client(self) -> Any:
        return self._client.get_open()

    @property
    def _attempts(self) -> int:
        retries = getattr(self.client.meta.config, "retries", None) or {}
        attempts: int = retries.get("total_max_attempts", _DEFAULT_ATTEMPTS)
        return attempts

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request, and say what is wrong with the table where this is the error."""
        try:
            with self._client.in_use() as client:
                answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except ClientError as error:
            code = _code(error)
            if code == "ResourceNotFoundException":
                raise DynamoDBSaverError(
                    f"Table {self.name!r} does not exist in region "
                    f"{self.client.meta.region_name!r}; run setup(), or check the table's name and "
                    f"the client's region"
                ) from error
            if code == "ValidationException" and "IndexName" not in parameters:
                self._check_keys(error)
            raise
        return answer

    def check_items(self, items: Sequence[_Item]) -> None:
        """Raise DynamoDBSaverError if items that a scan has found lack this table's keys."""
        if missing := [name for name in self.keys if any(name not in item for item in items)]:
            raise DynamoDBSaverError(
                f"Table {self.name!r} has items without the key {missing[0]!r}; check the tables' "
                f"names: are they swapped?"
            )

    def _check_keys(self, error: ClientError) -> None:
        """Raise DynamoDBSaverError if DynamoDB's message tells of other keys than ours.

        DescribeTable would tell more, but a graph need not be allowed to call it.
        """
        message = _response(error)["Error"]["Message"]
        if _OTHER_KEYS.search(message):
            raise DynamoDBSaverError(
                f"Table {self.name!r} has keys other than {self.keys[0]!r} and {self.keys[1]!r}, "
                f"both of type S ({message}); check the tables' names: are they swapped?"
            ) from error
        if _OTHER_TYPES.search(message):
            raise DynamoDBSaverError(
                f"Table {self.name!r} has a key of a type other than S ({message}); create another "
                f"table with setup()"
            ) from error
        if _LONG_KEYS.search(message):
            # Those of the table itself are checked before the request.
            raise DynamoDBSaverError(
                f"An index of table {self.name!r} takes no thread_id of over "
                f"{_MAX_RANGE_KEY_BYTES:,} bytes, with or without a run_id ({message}); use a "
                f"shorter one, or a table without an index"
            ) from error

    def get(self, key: _Item, *, consistent: bool = True) -> _Item | None:
        answer = self.call("get_item", TableName=self.name, Key=key, ConsistentRead=consistent)
        return answer.get("Item")

    def put(
        self,
        item: _Item,
        condition: str | None = None,
        values: _Item | None = None,
        names: Mapping[str, str] | None = None,
    ) -> _Item | None:
        """Put an item and return None; where *condition* fails, return the item that stands.

        A conditional put that is sent again since its answer was lost returns its own item.
        """
        parameters: dict[str, Any] = {"TableName": self.name, "Item": item}
        if condition:
            parameters["ConditionExpression"] = condition
            parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if values:
            parameters["ExpressionAttributeValues"] = values
        if names:
            parameters["ExpressionAttributeNames"] = names
        try:
            self.call("put_item", **parameters)
        except ClientError as error:
            if _code(error) != "ConditionalCheckFailedException":
                raise
            return cast("_Item", _response(error).get("Item", {}))
        return None

    def delete(self, key: _Item, **condition: Any) -> None:
        """Delete an item, if *condition* holds."""
        with _tolerated("ConditionalCheckFailedException"):
            self.call("delete_item", TableName=self.name, Key=key, **condition)

    def query(
        self,
        hash_key: str,
        lower: str = "",
        upper: str | None = None,
        *,
        index: Mapping[str, Any] | None = None,
        after: str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        attributes: Sequence[str] = (),
        consistent: bool = True,
    ) -> Iterator[_Page]:
        """Query the items of a hash key: all, or those from *lower* to *upper*, both included.

        Of an *index*, which is eventually consistent: all, or those *after* some key.
        """
        keys = self.keys
        parameters: dict[str, Any] = {"ScanIndexForward": not newest_first}
        if index:
            keys = tuple(each["AttributeName"] for each in index["KeySchema"])
            parameters["IndexName"] = index["IndexName"]
        else:
            parameters["ConsistentRead"] = consistent
        condition, names, values = "#h = :h", {"#h": keys[0]}, {":h": {"S": hash_key}}
        if upper is not None:
            condition += " AND #r BETWEEN :l AND :u"
            values |= {":l": {"S": lower or "\0"}, ":u": {"S": upper}}
        elif after is not None:
            condition += " AND #r > :a"
            values[":a"] = {"S": after}
        if len(values) > 1:
            names["#r"] = keys[1]
        return self._pages(
            "query",
            attributes,
            limit,
            names,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            **parameters,
        )

    def items(self, *args: Any, **options: Any) -> Iterator[_Item]:
        """Query as query() does, and return the items of all pages."""
        return chain.from_iterable(page.items for page in self.query(*args, **options))

    def scan(
        self, attributes: Sequence[str], limit: int | None = None, **parameters: Any
    ) -> Iterator[_Page]:
        return self._pages("scan", attributes, limit, {}, **parameters)

    def _pages(
        self,
        operation: str,
        attributes: Sequence[str],
        limit: int | None,
        names: Mapping[str, str],
        **parameters: Any,
    ) -> Iterator[_Page]:
        """Read pages, the first of at most *limit* items.

        Each after it has four times as many as the one before, until DynamoDB's 1 MB ends it.
        """
        projection = {f"#{index}": name for index, name in enumerate(attributes)}
        if projection:
            parameters["ProjectionExpression"] = ", ".join(projection)
        if projection or names:
            parameters["ExpressionAttributeNames"] = {**names, **projection}
        while True:
            if limit:
                parameters["Limit"] = min(limit, _MAX_PAGE_ITEMS)
                limit *= 4
            answer = self.call(operation, TableName=self.name, **parameters)
            last_key = answer.get("LastEvaluatedKey")
            # A page may be empty and yet not the last.
            yield _Page(answer["Items"], is_last=not last_key)
            if not last_key:
                return
            parameters["ExclusiveStartKey"] = last_key

    def batch_get(self, keys: Sequence[_Item], *, consistent: bool) -> Iterator[_Item]:
        """Get items, a batch after the other; those that are not there are left out."""
        found: list[_Item] = []

        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            request = {"Keys": batch, "ConsistentRead": consistent}
            answer = self.call("batch_get_item", RequestItems={self.name: request})
            found.extend(answer["Responses"].get(self.name, ()))
            undone = answer.get("UnprocessedKeys", {}).get(self.name)
            left: Sequence[_Item] = undone["Keys"] if undone else ()
            return left

        for batch in _batches(keys, _MAX_BATCH_GET_KEYS):
            self._in_bulk("batch_get_item", send, [batch])
            yield from found
            found.clear()

    def batch_put(self, items: Iterable[_Item]) -> None:
        self._batch_write([{"PutRequest": {"Item": item}} for item in items])

    def batch_delete(self, keys: Iterable[_Item]) -> None:
        self._batch_write([{"DeleteRequest": {"Key": key}} for key in keys])

    def _batch_write(self, requests: Sequence[_Item]) -> None:
        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            answer = self.call("batch_write_item", RequestItems={self.name: batch})
            undone: Sequence[_Item] = answer.get("UnprocessedItems", {}).get(self.name, ())
            return undone

        self._in_bulk("batch_write_item", send, _batches(requests, _MAX_BATCH_WRITE_ITEMS))

    def put_all(self, puts: Iterable[tuple[_Item, str, _Item | None]]) -> None:
        """Put items one by one, side by side, each with the arguments of put()."""

        def send(batch: Sequence[tuple[_Item, str, _Item | None]]) -> Sequence[Any]:
            self.put(*batch[0])
            return ()

        self._in_bulk("put_item", send, [[each] for each in puts])

    def delete_all(self, keys: Iterable[_Item], **condition: Any) -> None:
        """Delete items one by one, side by side, each if *condition* holds."""

        def send(batch: Sequence[_Item]) -> Sequence[Any]:
            self.delete(batch[0], **condition)
            return ()

        self._in_bulk("delete_item", send, [[key] for key in keys])

    def _in_bulk(
        self,
        operation: str,
        send: Callable[[Sequence[Any]], Sequence[Any]],
        batches: Iterable[Sequence[Any]],
    ) -> None:
        """Send batches side by side, round after round, and again what *send* returns as undone.

        DynamoDB throttles a partition that gets more than it takes: https://docs.aws.amazon.com/
        amazondynamodb/latest/developerguide/bp-partition-key-design.html. After a round of which
        some was refused, half as many go at once, after back-off; after one of which all was taken,
        twice as many. A call of any size goes on as long as anything of it is taken. It is over
        after as many attempts in a row as the client makes for one request, botocore's own counted,
        of which nothing was taken: with six, after 31 seconds at the most where DynamoDB refuses
        whole requests and botocore sleeps, after 3 where it answers that all items are undone.
        """
        most = min(self._workers.max_workers, self._client.connections)
        left, width, level = deque(batches), most, 0
        refused, since = 0, time.monotonic()
        while left:
            _back_off(level)
            batches = [left.popleft() for _ in range(min(width, len(left)))]
            answers = self._workers.side_by_side(partial(self._attempt, send), batches)
            undone = [answer.undone for answer in answers if answer.undone]
            left.extendleft(reversed(undone))
            if not undone:
                width, level = min(2 * width, most), max(level - 1, 0)
            else:
                width, level = max(width // 2, 1), level + 1
            if sum(map(len, undone)) < sum(map(len, batches)):
                refused, since, level = 0, time.monotonic(), min(level, 4)
            else:
                refused += max(answer.attempts for answer in answers)
            if refused >= self._attempts:
                errors = [answer.error for answer in answers if answer.error]
                raise DynamoDBSaverError(
                    f"{operation} left {sum(map(len, left))} items of table {self.name!r} undone "
                    f"after {refused} attempts: DynamoDB throttles, and took none for "
                    f"{time.monotonic() - since:.1f} seconds; call again later, or raise "
                    f"total_max_attempts in the retries of the client's config"
                ) from next(iter(errors), None)

    def _attempt(
        self, send: Callable[[Sequence[Any]], Sequence[Any]], batch: Sequence[Any]
    ) -> _Sent:
        try:
            return _Sent(send(batch))
        except ClientError as error:
            if _code(error) not in _REFUSALS:
                raise
            retries = _response(error)["ResponseMetadata"].get("RetryAttempts", 0)
            return _Sent(batch, 1 + retries, error)


class _Schema:
    """Makes a table, its index and its expiry: requests of an administrator."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._client = table.client

    def create(self, index: Mapping[str, Any] | None = None) -> None:
        """Create the table, and its *index*, unless it is there, and wait until it serves.

        Raises: DynamoDBSaverError: it is there with other keys.
        """
        name, keys = self._table.name, self._table.keys
        with _tolerated("ResourceInUseException"):
            self._client.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=_key_schema(keys),
                AttributeDefinitions=_definitions(keys, index),
                **({"GlobalSecondaryIndexes": [index]} if index else {}),
            )
        waiter = self._client.get_waiter("table_exists")
        waiter.wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        table = self._table.call("describe_table", TableName=name)["Table"]
        if complaint := _complaint(table["KeySchema"], keys, table):
            raise DynamoDBSaverError(
                f"Table {name!r} exists with other keys: {complaint}; use another table name"
            )

    def create_index(self, index: Mapping[str, Any]) -> None:
        """Add an index to the table unless it is there, and wait until it serves.

        Raises: DynamoDBSaverError: it is there with other keys.
        """
        name = index["IndexName"]
        while True:
            table = self._table.call("describe_table", TableName=self._table.name)["Table"]
            indexes = {each["IndexName"]: each for each in table.get("GlobalSecondaryIndexes", ())}
            if found := indexes.get(name):
                keys = [each["AttributeName"] for each in index["KeySchema"]]
                if complaint := _complaint(found["KeySchema"], keys, table):
                    raise DynamoDBSaverError(
                        f"Table {self._table.name!r} has an index {name!r} with other keys: "
                        f"{complaint}; delete the index and call setup(run_index=True) again"
                    )
                if found["IndexStatus"] == "ACTIVE":
                    return
            else:
                self._add_index(index, table)
            time.sleep(1)

    def _add_index(self, index: Mapping[str, Any], table: Mapping[str, Any]) -> None:
        units = {
            unit: table["ProvisionedThroughput"][unit]
            for unit in ("ReadCapacityUnits", "WriteCapacityUnits")
        }
        # On a table with provisioned capacity an index needs some of its own.
        provisioned = {"ProvisionedThroughput": units} if any(units.values()) else {}
        # Another process may be adding it just now; a table adds one at a time.
        with _tolerated("ResourceInUseException", "LimitExceededException"):
            self._client.update_table(
                TableName=self._table.name,
                AttributeDefinitions=_definitions(self._table.keys, index),
                GlobalSecondaryIndexUpdates=[{"Create": {**index, **provisioned}}],
            )

    def turn_expiry_on(self) -> None:
        """Have DynamoDB delete items by their attribute ``ttl``.

        Raises: DynamoDBSaverError: it deletes them by another.
        """
        name, is_off = self._table.name, ("DISABLED", "DISABLING")
        found = self._expiry()
        if found["TimeToLiveStatus"] in is_off:
            wanted = {"Enabled": True, "AttributeName": "ttl"}
            try:
                self._table.call(
                    "update_time_to_live", TableName=name, TimeToLiveSpecification=wanted
                )
            except ClientError:
                # Another process may have done so just now.
                if self._expiry()["TimeToLiveStatus"] in is_off:
                    raise
        elif found["AttributeName"] != "ttl":
            raise DynamoDBSaverError(
                f"Table {name!r} expires items by {found['AttributeName']!r}, and must by 'ttl'; "
                f"turn its time to live off, wait an hour and call setup() again"
            )

    def _expiry(self) -> dict[str, Any]:
        answer = self._table.call("describe_time_to_live", TableName=self._table.name)
        return cast("dict[str, Any]", answer["TimeToLiveDescription"])


@contextmanager
def _tolerated(*codes: str) -> Iterator[None]:
    """Go on after an error of DynamoDB with one of these codes."""
    try:
        yield
    except ClientError as error:
        if _code(error) not in codes:
            raise


def _key_schema(keys: Sequence[str]) -> list[dict[str, str]]:
    kinds = zip(keys, ("HASH", "RANGE"), strict=True)
    return [{"AttributeName": name, "KeyType": kind} for name, kind in kinds]


def _definitions(keys: Sequence[str], index: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return the attributes that are keys, all of them strings."""
    schema = chain(_key_schema(keys), index["KeySchema"] if index else ())
    names = dict.fromkeys(each["AttributeName"] for each in schema)
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def _complaint(
    schema: Sequence[Mapping[str, str]], keys: Sequence[str], table: Mapping[str, Any]
) -> str:
    """Say how the keys of a table or its index differ from *keys*; nothing if they don't."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    by_kind = {each["KeyType"]: each["AttributeName"] for each in schema}
    for wanted in _key_schema(keys):
        name, kind = wanted["AttributeName"], wanted["KeyType"]
        found = by_kind.get(kind)
        if found != name or types[found] != "S":
            has = f"is {found!r} of type {types[found]}" if found else "is not there"
            return f"its {kind} key must be {name!r} of type S, and {has}"
    return ""


def _batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


# -- Segments -------------------------------------------------------------------------------------
# How a value's bytes are cut, so that what one checkpoint shares with the next has one name.


class _Segment(NamedTuple):
    """Bytes that are stored by themselves.

    Where a list was cut into segments of the first size, so many of its *elements* are in this one,
    and so many msgpack *objects*; otherwise 0. The *digest* is empty until it has a name.
    """

    data: bytes
    elements: int = 0
    objects: int = 0
    digest: bytes = b""


# msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), by an object's first byte:
# how many bytes follow; how long its length is, and what follows beside that many bytes; how long
# its count is, and how many objects it counts each time.
_MSGPACK_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4,
                         0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5,
                         0xD7: 9, 0xD8: 17}  # fmt: skip
_MSGPACK_SIZED: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1),
                         0xC9: (4, 1), 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
_MSGPACK_NESTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
# JsonPlusSerializer's extension types have msgpack inside: objects, pydantic models and the like
# up to the last, which is a DeltaChannel's snapshot.
_MSGPACK_DELTA_SNAPSHOT: Final = 7


class _TinyObjectsError(Exception):
    """From byte *at* on there are so many small msgpack objects that a walk would take too long."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def _msgpack_end(data: bytes, at: int) -> tuple[int, int]:
    """Return where the msgpack object that starts at *at* ends, and how many objects it is.

    Raises: _TinyObjectsError: too many.
    """
    start, pending, objects = at, 1, 0
    while pending:
        if objects > _MAX_TINY_OBJECTS and at - start < objects * _TINY_BYTES:
            raise _TinyObjectsError(start)
        some = min(pending, 1024)
        pending -= some
        objects += some
        for _ in range(some):
            first = data[at]
            if first < 0x80 or first >= 0xE0:
                at += 1
            elif first in _MSGPACK_FIXED:
                at += 1 + _MSGPACK_FIXED[first]
            elif first in _MSGPACK_SIZED:
                width, extra = _MSGPACK_SIZED[first]
                length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
                at += 1 + width + extra + length
            elif 0xA0 <= first < 0xC0:
                at += 1 + (first & 0x1F)
            else:
                at, count, step = _msgpack_container(data, at)
                pending += count * step
    return at, objects


def _msgpack_container(data: bytes, at: int) -> tuple[int, int, int]:
    """Return where a container's elements start, how many there are, of how many objects each.

    Raises: KeyError: at *at* is neither an array nor a map.
    """
    first = data[at]
    if 0x80 <= first < 0xA0:
        return at + 1, first & 0x0F, 2 if first < 0x90 else 1
    width, step = _MSGPACK_NESTED[first]
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big"), step


class _Former:
    """The segments that a value may share: those of what it was before hold most of it."""

    def __init__(self, segments: Iterable[_Segment] = ()) -> None:
        self._segments = list(segments)
        self._by_start = {
            each.data[:_SAMPLE_BYTES]: index for index, each in enumerate(self._segments)
        }
        self._next = 0
        self._searches = _MAX_SEARCHES

    def at(self, data: bytes, at: int) -> _Segment | None:
        """Return the segment of the first size with which a list goes on at *at*, if any does."""
        # Most often it is the one that follows the last.
        for index in (self._next, self._by_start.get(data[at : at + _SAMPLE_BYTES])):
            if index is not None and index < len(self._segments):
                segment = self._segments[index]
                if segment.elements and data.startswith(segment.data, at):
                    self._next = index + 1
                    return segment
        return None

    def trimmed(self, data: bytes, at: int) -> tuple[int, _Segment] | None:
        """Return a segment with whose end a list starts at *at*, and how much of it is gone.

        A list that loses its first elements keeps that segment as it is.
        """
        sample = data[at : at + _SAMPLE_BYTES]
        if sample in self._by_start or not self._searches:
            return None
        self._searches -= 1
        for segment in self._segments:
            skip = segment.data.find(sample)
            if skip > 0 and data.startswith(segment.data[skip:], at):
                return skip, segment
        return None


class _Stretch:
    """Part of a value where segments may end: at the ends of elements, or of words in a text."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self.start = self.end = self.cut_at = start
        self.skip = 0
        self.segments: list[_Segment] = []
        self._objects = 0
        # Since the last segment: the ends of elements, and how many objects these are.
        self._ends: list[int] = []
        self._objects_since = 0

    def add(self, end: int, objects: int) -> None:
        """Add the element that ends at *end*.

        Raises: _TinyObjectsError: there were so many small ones that it should be the last.
        """
        self.end = end
        self._ends.append(end)
        self._objects_since += objects
        self._count(objects)

    def add_to_list(self, end: int, objects: int) -> bool:
        """Add a list's element, and say whether a segment of the first size ends there."""
        start = self.end
        self.add(end, objects)
        if not self._is_end(start, end, *_SEGMENT_BYTES[0]):
            return False
        self._close(end, len(self._ends), self._objects_since)
        self._ends, self._objects_since = [], 0
        return True

    def add_segment(self, segment: _Segment, end: int) -> None:
        self.segments.append(segment)
        self.end = self.cut_at = end
        self._count(segment.objects)

    def _count(self, objects: int) -> None:
        self._objects += objects
        size, least = self.end - self.start, self._objects * _TINY_BYTES
        if self._objects > _MAX_TINY_OBJECTS and size < least:
            raise _TinyObjectsError(self.end)

    def _is_end(self, start: int, end: int, smallest: int, largest: int, odds: int) -> bool:
        size = end - self.cut_at
        return size >= largest or (
            size >= smallest and zlib.crc32(self._data[start:end]) % odds == 0
        )

    def _close(self, end: int, elements: int = 0, objects: int = 0) -> None:
        data = self._data[self.cut_at : end]
        if len(data) > _MAX_SEGMENT_BYTES:
            self.segments.extend(map(_Segment, _pieces(data)))
        else:
            self.segments.append(_Segment(data, elements, objects))
        self.cut_at = end

    def add_text(self, end: int) -> None:
        """Add what is cut where its own bytes say so: after a word.

        A small one stays in one piece.
        """
        self.end = end
        size = end - self.start
        if size <= _MIN_CUT_TEXT_BYTES:
            return self._close(end)
        classes, first = self._data[self.cut_at : end].translate(_TEXT_CLASSES), self.cut_at
        large = [sizes for least, sizes in _TEXT_SEGMENT_BYTES if size >= least]
        for smallest, largest, odds in (*large, *_SEGMENT_BYTES[1:]):
            at = self.cut_at + smallest
            while at < end:
                found = classes.find(_TEXT_WORD, at - first, self.cut_at + largest - first)
                if found < 0 and self.cut_at + largest > end:
                    break
                at = first + found + len(_TEXT_WORD) if found >= 0 else self.cut_at + largest
                if found < 0 or zlib.crc32(self._data[at - _TEXT_BYTES : at]) % odds == 0:
                    self._close(at)
                    at += smallest
        if end - self.cut_at >= _MIN_LAST_SEGMENT_BYTES:
            self._close(end)
        return None

    def finish(self, *, is_last: bool) -> None:
        """Cut what is left after the last segment into smaller ones."""
        for sizes in _SEGMENT_BYTES[1:]:
            start = self.cut_at
            for end in self._ends[bisect_right(self._ends, start) :]:
                if self._is_end(start, end, *sizes):
                    self._close(end)
                start = end
        if not is_last and self.end - self.cut_at >= _MIN_LAST_SEGMENT_BYTES:
            self._close(self.end)


class _Cutter:
    """Walks over a value's msgpack, and notes where it may be cut, at any depth.

    A list is cut between its elements, a dict between its entries, a long text at words. What is
    opened has a head, which a new length changes: it stays out of the segments. So an element of a
    list is opened only where it is larger than any segment, an entry of a dict where it is a good
    part of the value.
    """

    def __init__(self, data: bytes, former: _Former) -> None:
        self._data = data
        self._former = former
        self._opened_bytes = max(_INLINE_VALUE_BYTES, len(data) // _OPENED_PART)
        self.stretches: list[_Stretch] = []

    def begin(self, at: int) -> _Stretch:
        self.stretches.append(_Stretch(self._data, at))
        return self.stretches[-1]

    def walk(self, at: int, depth: int = 0) -> tuple[int, int]:
        """Open the object at *at*; return where it ends, and how many objects it is."""
        data, first = self._data, self._data[at]
        if first in _MSGPACK_SIZED:
            width, extra = _MSGPACK_SIZED[first]
            start = at + 1 + width + extra
            end = start + int.from_bytes(data[at + 1 : at + 1 + width], "big")
            if not extra:  # a string or bytes
                if end - start > max(self._opened_bytes, _MIN_CUT_TEXT_BYTES):
                    self.begin(start).add_text(end)
            elif data[start - 1] <= _MSGPACK_DELTA_SNAPSHOT and end - at > self._opened_bytes:
                mark = len(self.stretches)
                with suppress(IndexError, KeyError):
                    if self._content(data[start - 1], start, depth + 1) == end:
                        return end, 1
                del self.stretches[mark:]  # it is no msgpack
            return end, 1
        if depth < _MAX_OPENED_DEPTH and (first in _MSGPACK_NESTED or 0x80 <= first < 0xA0):
            start, count, step = _msgpack_container(data, at)
            if step == 1:
                return self._elements(start, count, depth)
            return self._entries(start, count, step, depth)
        return _msgpack_end(data, at)

    def _content(self, code: int, at: int, depth: int) -> int:
        """Open what is in an extension type: a snapshot's value, or an object's few parts."""
        if code == _MSGPACK_DELTA_SNAPSHOT:
            return self.walk(at, depth)[0]
        return self._entries(*_msgpack_container(self._data, at), depth)[0]

    def _entries(self, at: int, count: int, step: int, depth: int) -> tuple[int, int]:
        stretch, total = self.begin(at), 1
        for _ in range(count):
            value_at, keys = _msgpack_end(self._data, at) if step == 2 else (at, 0)
            mark = len(self.stretches)
            at, values = self.walk(value_at, depth + 1)
            total += keys + values
            if at - value_at > self._opened_bytes and len(self.stretches) > mark:
                if keys:
                    stretch.add(value_at, keys)
                stretch = self.begin(at)
            else:
                del self.stretches[mark:]
                stretch.add(at, keys + values)
        return at, total

    def _elements(self, at: int, count: int, depth: int) -> tuple[int, int]:
        data, stretch, total = self._data, self.begin(at), 1
        at, count = self._trimmed(at, count, stretch)
        may_be_known = True
        while count:
            known = self._former.at(data, at) if may_be_known else None
            if known and known.elements <= count:
                at += len(known.data)
                count -= known.elements
                total += known.objects
                stretch.add_segment(known, at)
                continue
            start, mark = at, len(self.stretches)
            at, objects = _msgpack_end(data, at)
            if at - start > _SEGMENT_BYTES[0][1]:
                self.walk(start, depth + 1)
            if len(self.stretches) > mark:
                stretch, may_be_known = self.begin(at), True
            else:
                may_be_known = stretch.add_to_list(at, objects)
            count -= 1
            total += objects
        return at, total

    def _trimmed(self, start: int, count: int, stretch: _Stretch) -> tuple[int, int]:
        """Add the segment in which a list that lost its first elements starts now.

        Return where the list goes on after that, and with how many elements.
        """
        if found := self._former.trimmed(self._data, start):
            skip, segment = found
            at, left, end = start, count, start + len(segment.data) - skip
            while at < end and left:
                at, _ = _msgpack_end(self._data, at)
                left -= 1
            if at == end:  # it could be the end of something else
                stretch.skip = skip
                stretch.add_segment(segment, end)
                return end, left
        return start, count


def _cut(type_: str, data: bytes, former: _Former) -> list[bytes | _Stretch]:
    """Cut a value's bytes, so that what they share with the *former* segments is the same again.

    Bytes and stretches take turns; of these the segments count, from byte *skip* of the first on.
    A list, dict or text is cut where its content says so, first into large segments, then what is
    left into smaller ones: an append, an edit or a trimmed front moves no other cut, and a long
    list has few segments.
    """
    if len(data) <= _INLINE_VALUE_BYTES:
        return [data]
    cutter = _Cutter(data, former)
    try:
        # A serde may name its own format "msgpack".
        if type_ != "msgpack" or cutter.walk(0)[0] != len(data):
            cutter.stretches = []
    except (IndexError, KeyError):
        cutter.stretches = []
    except _TinyObjectsError as error:
        cutter.begin(error.at).add_text(len(data))
    if not cutter.stretches:
        cutter.begin(0).add_text(len(data))
    parts: list[bytes | _Stretch] = []
    at, uncut = 0, b""
    for stretch in cutter.stretches:
        uncut += data[at : stretch.start]
        stretch.finish(is_last=stretch is cutter.stretches[-1])
        if stretch.segments:
            parts += [uncut, stretch]
            uncut = b""
        uncut += data[stretch.cut_at : stretch.end]
        at = stretch.end
    return [*parts, uncut + data[at:]]


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _MAX_SEGMENT_BYTES):
        yield data[start : start + _MAX_SEGMENT_BYTES]


# -- Codec ----------------------------------------------------------------------------------------
# Bytes of values, packed and encrypted as they are stored, and back.

# Where an item belongs, for errors.
_Place = tuple["_CheckpointKey", str]
# What most records, writes and messages hold, so that zlib need not learn it from each (rule 7).
_DICTIONARY: Final = (
    b"branch:to:__pregel_tasks__messages__root__"
    b"\xa7msgpack\xc4\x00\x90\xc4\x00\xa4null\xc4\x00\x90\xc4\x00\xa5bytes"
    b"\xa6source\xa4loop\xa5input\xa6update\xa4fork\xa4step\xa7parents\x80\xb0updated_channels"
    b"\x94\xbclangchain_core.messages.human\xacHumanMessage\xb9langchain_core.messages.tool\xab"
    b"ToolMessage\xb7langchain_core.messages.ai\xa9AIMessage\x88\xa7content\xb1additional_kwargs"
    b"\x80\xb1response_metadata\x80\xa4type\xa2ai\xa5human\xa4name\xc0\xa2id\xd9$\xaatool_calls\x90"
    b"\xb2invalid_tool_calls\x90\xaeusage_metadata\xc0\xb3model_validate_json"
    b"\x93\x86\xa1v\x04\xa2ts\xd9 2026-01-01T00:00:00.000000+00:00\xa2id\xd9$1f1e68e2-a20e-665a-"
    b"\xb0channel_versions\x86\xa9__start__\xadversions_seen\x85\xa9__input__\x80\xa9__start__\x81"
    b"\xa9__start__"
)


def _pack(data: bytes) -> bytes:
    packer = zlib.compressobj(4, zdict=_DICTIONARY)
    # More would not be unpacked.
    packed = packer.compress(data) + packer.flush() if len(data) <= _MAX_BODY_BYTES else data
    return b"\x01" + packed if len(packed) < len(data) else b"\x00" + data


def _unpack(blob: bytes, max_bytes: int, place: _Place) -> bytes:
    """Return what _pack() was given, of at most *max_bytes* where it was compressed."""
    if blob[:1] == b"\x01":
        unpacker = zlib.decompressobj(zdict=_DICTIONARY)
        with suppress(zlib.error):
            data = unpacker.decompress(memoryview(blob)[1:], max_bytes + 1)
            if len(data) <= max_bytes and unpacker.eof and not unpacker.unused_data:
                return data
        raise DamagedCheckpointError("Compressed bytes are damaged", *place)
    if blob[:1] != b"\x00":
        raise _unknown_format(blob, place)
    return blob[1:]


def _unknown_format(blob: bytes, place: _Place) -> DamagedCheckpointError:
    what = f"Bytes start with {blob[:1]!r}: a format written by a newer version, or damage"
    return DamagedCheckpointError(what, *place)


class _PlainSerde:
    """Decodes as a serde does, but builds nothing except plain types.

    For calls that need no values, so that whoever can write an item runs no code in them: of an
    object it gives what the object would have been made from. It can look into what LangGraph's own
    JsonPlusSerializer made; the bytes of any other serde only that serde itself can decode.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._plain = JsonPlusSerializer(__unpack_ext_hook__=self._payload)

    def _payload(self, code: int, data: bytes) -> Any:
        content = self._plain.loads_typed(("msgpack", data))
        return content if code == _MSGPACK_DELTA_SNAPSHOT else content[2]

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self._plain.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        # Pickles are loaded only by a serde that was made with pickle_fallback=True.
        if type(self._serde) is not JsonPlusSerializer or data[0] == "pickle":
            return self._serde.loads_typed(data)
        if data[0] == "json":
            import json  # noqa: PLC0415  only what older serializers wrote

            return json.loads(data[1])
        return self._plain.loads_typed(data)


# The exceptions of msgpack, JSON and pickle. Others are not about the value: a serde may ask a
# service for a key.
_NOT_SERIALIZABLE: Final = (
    AttributeError, OverflowError, PicklingError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class _Codec:
    """Turns values into bytes, and bytes into what is stored, by a saver's serde.

    With LangGraph's EncryptedSerializer, values are serialized and cut in plain, and each part is
    compressed and encrypted by itself, together with what binds it to its place (rule 11). Any
    other serde that encrypts does so before values are cut: its bytes are never the same again.
    *is_plain*: of objects, only what they would be made from is decoded.
    """

    def __init__(self, serde: SerializerProtocol, *, is_plain: bool = False) -> None:
        self._cipher = serde.cipher if type(serde) is EncryptedSerializer else None
        inner = serde.serde if type(serde) is EncryptedSerializer else serde
        self._serde = _PlainSerde(inner) if is_plain else inner

    @property
    def encrypts(self) -> bool:
        return self._cipher is not None

    def dumps(self, value: Any, what: str = "a value") -> tuple[str, bytes]:
        """Encode a value; where the serde can't, say *what* it is."""
        try:
            type_, data = self._serde.dumps_typed(value)
        except _NOT_SERIALIZABLE as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{what}: {error}") from error
        if len(data) > _MAX_VALUE_BYTES:
            raise ValueError(f"A value has {len(data):,} bytes, and may have {_MAX_VALUE_BYTES:,}")
        return type_, bytes(data)

    def loads(self, type_: str, data: bytes, place: _Place) -> Any:
        """Decode bytes, which may be damaged, or forged, or another serde's."""
        try:
            return self._serde.loads_typed((type_, data))
        except Exception as error:
            # A serde may raise anything.
            what = (
                f"Bytes of type {type_!r} can't be decoded ({type(error).__name__}); another "
                f"serializer may have written them"
            )
            raise UndecodableCheckpointError(what, *place) from error

    def new_secret(self) -> bytes:
        """Return what a line of checkpoints keys the names of its segments by."""
        return os.urandom(16) if self._cipher else b""

    def pack(self, data: bytes, identity: bytes) -> bytes:
        packed = _pack(data)
        if self._cipher is None:
            return packed
        name, encrypted = self._cipher.encrypt(identity + packed)
        if "\0" in name:
            raise ValueError(f"The cipher's name {name!r} holds NUL; give it another")
        return b"\x02" + name.encode() + b"\0" + encrypted

    def unpack(self, blob: bytes, identity: bytes, max_bytes: int, place: _Place) -> bytes:
        """Return what pack() was given with the same *identity*."""
        if self._cipher is None and blob[:1] == b"\x02":
            what = "Bytes are encrypted; give the saver the EncryptedSerializer that wrote them"
            raise UndecodableCheckpointError(what, *place)
        if self._cipher:
            if blob[:1] != b"\x02":
                is_plain = blob[:1] in (b"\0", b"\1")
                raise _not_encrypted(place) if is_plain else _unknown_format(blob, place)
            name, _, encrypted = blob[1:].partition(b"\0")
            plain = self._decrypt(name.decode(errors="replace"), encrypted, place)
            if plain[:16] != identity:
                what = "Encrypted bytes are those of another place: they were moved or replaced"
                raise DamagedCheckpointError(what, *place)
            blob = plain[16:]
        return _unpack(blob, max_bytes, place)

    def open_layout_0(self, type_: str, data: bytes, place: _Place) -> tuple[str, bytes]:
        """Decrypt what layout 0 stored, where each value was encrypted by the serde itself."""
        if self._cipher is None:
            return type_, data
        inner, plus, name = type_.partition("+")
        if not plus:
            raise _not_encrypted(place)
        return inner, self._decrypt(name, data, place)

    def _decrypt(self, name: str, data: bytes, place: _Place) -> bytes:
        assert self._cipher is not None  # noqa: S101  the callers have asked
        try:
            return self._cipher.decrypt(name, data)
        except Exception as error:
            # A cipher may raise anything.
            what = (
                f"Bytes can't be decrypted with this key ({type(error).__name__}); another key "
                f"wrote them, unless somebody has changed them"
            )
            raise UndecodableCheckpointError(what, *place) from error


def _not_encrypted(place: _Place) -> UndecodableCheckpointError:
    what = (
        "An item is not encrypted, and this saver's serde encrypts: it is forged, or its thread "
        "began without encryption and has to be moved by copy_from() into new tables"
    )
    return UndecodableCheckpointError(what, *place)


# For what is in plain under encryption as well: lists of names, and bodies that are encrypted.
_PLAIN: Final = _Codec(JsonPlusSerializer())

# -- Items ----------------------------------------------------------------------------------------
# The bytes and attributes of an item: an _encode for each kind, and what decodes them.


def _number(item: _Item, name: str) -> int:
    # A forged item may hold anything; DynamoDB takes such a ttl for none, too.
    digits = item.get(name, {}).get("N", "")
    return int(digits) if digits.isdecimal() else 0


def _expires_at(item: _Item) -> int:
    return _number(item, "ttl")


def _lasts(expires_at: int, until: int) -> bool:
    """Say whether what expires at one time (0: never) is there until another."""
    return not expires_at or 0 < until <= expires_at


def _expiring(expires_at: int) -> _Item:
    return {"ttl": {"N": str(expires_at)}} if expires_at else {}


def _stored(now: float, expires_at: int) -> _Item:
    return {"stored_at": {"N": str(int(now))}, **_expiring(expires_at)}


def _stored_by(item: _Item, then: float) -> bool:
    return _number(item, "stored_at") <= then


def _encode_refs(refs: Iterable[_Ref]) -> bytes:
    return b"".join(ref.digest + ref.expires_at.to_bytes(5, "big") for ref in refs)


def _decode_refs(blob: bytes) -> list[_Ref]:
    return [
        _Ref(blob[at : at + 16], int.from_bytes(blob[at + 16 : at + _REF_BYTES], "big"))
        for at in range(0, len(blob) - _REF_BYTES + 1, _REF_BYTES)
    ]


def _refs(item: _Item, name: str = "segments") -> list[_Ref]:
    return _decode_refs(item.get(name, {}).get("B", b""))


def _digest(data: bytes, *identity: str) -> bytes:
    key = blake2b("\0".join(identity).encode(), digest_size=32).digest() if identity else b""
    return blake2b(data, digest_size=16, key=key).digest()


def _encode_segment(thread_id: str, ref: _Ref, data: bytes, codec: _Codec) -> _Item:
    """Encode a segment; ``stored_at`` is added when it is stored, as that may be much later."""
    return {
        **_checkpoints_key(thread_id, ref.range_key),
        "segment": {"B": codec.pack(data, ref.digest)},
        **_expiring(ref.expires_at),
    }


def _decode_segment(item: _Item, ref: _Ref, codec: _Codec, place: _Place) -> _Segment:
    blob = item.get("segment", {}).get("B", b"")
    try:
        data = codec.unpack(blob, ref.digest, _MAX_SEGMENT_BYTES, place)
    except UndecodableCheckpointError as error:
        # The item that names it was decoded with the same key.
        raise DamagedCheckpointError(error.what, *place) from error
    # A keyed name can't be checked by those that don't know the key: it is in the ciphertext.
    if not codec.encrypts and _digest(data) != ref.digest:
        what = f"Segment {ref.range_key!r} is not what was stored"
        raise DamagedCheckpointError(what, *place)
    return _Segment(data, digest=ref.digest)


def _moved_segment(item: _Item, ref: _Ref, target: str, now: float) -> _Item:
    """Return a segment's item as one of another thread: its bytes are bound to its name alone."""
    return item | {**_checkpoints_key(target, ref.range_key), **_stored(now, ref.expires_at)}


class _Base(NamedTuple):
    """What a new item may share: segments that are named, and what their names are keyed by."""

    named: Sequence[_Ref]
    secret: bytes


class _Sealer:
    """Names the segments of items, and keeps those that have yet to be stored (rule 2)."""

    def __init__(
        self,
        thread_id: str,
        codec: _Codec,
        base: _Base,
        expiries: tuple[int, int],
        now: float,
    ) -> None:
        self.expires_at, self._segments_expire_at = expiries
        self.secret = base.secret
        self.now = now
        #: Items to be stored before the one that names them; what the cache is to hold then.
        self.items: dict[_Ref, _Item] = {}
        self.segments: dict[_Ref, _Segment] = {}
        self._thread_id = thread_id
        self.codec = codec
        self._stored = {
            ref.digest: ref for ref in base.named if _lasts(ref.expires_at, self.expires_at)
        }

    def seal(self, segment: _Segment) -> _Ref:
        """Name a part of a value."""
        if segment.digest:
            return self._name(segment, self.codec)
        digest = blake2b(segment.data, digest_size=16, key=self.secret).digest()
        ref = self._name(segment := segment._replace(digest=digest), self.codec)
        self.segments[ref] = segment
        return ref

    def seal_plain(self, data: bytes) -> _Ref:
        """Name a list of names, or a part of an item's body."""
        return self._name(_Segment(data, digest=_digest(data)), _PLAIN)

    def _name(self, segment: _Segment, codec: _Codec) -> _Ref:
        if (ref := self._stored.get(segment.digest)) is None:
            ref = _Ref(segment.digest, self._segments_expire_at)
            if ref not in self.items:
                self.items[ref] = _encode_segment(self._thread_id, ref, segment.data, codec)
        return ref


def _encode_pruned(thread_id: str, refs: Sequence[_Ref], now: float) -> _Item:
    """Encode names that were lost (rule 8); _refs() is its other half."""
    return {
        **_pruned_key(thread_id),
        "segments": {"B": _encode_refs(refs)},
        **_stored(now, int(now + 2 * _GRACE_SECONDS)),
    }


class _Veil(NamedTuple):
    """Hides the checkpoints of a namespace up to *through*, for a "deletion" or "copy of ..."."""

    reason: str
    through: str

    def refuse(self, whose: str) -> NoReturn:
        raise DynamoDBSaverError(
            f"{whose} is under an unfinished {self.reason}; finish that first, by the same call"
        )


def _encode_veil(thread_id: str, checkpoint_ns: str, veil: _Veil) -> _Item:
    return {
        **_veil_key(thread_id, checkpoint_ns),
        "checkpoint_ns": {"S": checkpoint_ns},
        "veil": {"S": veil.reason},
        "through": {"S": veil.through},
    }


def _decode_veil(item: _Item) -> _Veil:
    # A forged one that does not say how far it reaches hides all.
    reason, through = (item.get(name, {}).get("S") for name in ("veil", "through"))
    return _Veil(reason or "deletion", through or _LAST)


_SIGNED: Final = ("body", "checkpoint", "lists", "segments", "writes")
_BODIES: Final = {"body", "checkpoint", "writes"}


def _sized(blobs: Iterable[bytes]) -> bytes:
    """Join bytes, each after its length."""
    return b"".join(chain.from_iterable((len(each).to_bytes(4, "big"), each) for each in blobs))


def _item_digest(item: _Item) -> bytes:
    """Return the digest of an item's bytes, keyed by its strings, its keys among them (rule 7)."""
    strings = sorted((name, value["S"]) for name, value in item.items() if "S" in value)
    blobs = (item[name]["B"] for name in _SIGNED if name in item)
    return _digest(_sized(blobs), *chain.from_iterable(strings))


def _signed(item: _Item) -> _Item:
    return item | {"digest": {"B": _item_digest(item)}}


def _check_digest(item: _Item, place: _Place) -> None:
    if item.get("digest", {}).get("B") != _item_digest(item):
        raise DamagedCheckpointError("An item's bytes are not what was stored", *place)


def _identity(item: _Item) -> bytes:
    """Return what binds an item's body to its place: a digest of all else that is signed.

    Each name and value has its length before it: unlike the item's digest, this one is a proof
    against a forger, who may put NUL into strings.
    """
    bound = {name: value["S"].encode() for name, value in item.items() if "S" in value}
    bound |= {name: item[name]["B"] for name in _SIGNED if name in item and name not in _BODIES}
    return _digest(
        _sized(chain.from_iterable((name.encode(), bound[name]) for name in sorted(bound)))
    )


def _item_bytes(item: _Item) -> int:
    """Return an item's size, to a byte a number; each started KB takes a write unit.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    size = 0
    for name, attribute in item.items():
        size += len(name.encode())
        for type_, value in attribute.items():
            for number in {"N": [value], "NS": value}.get(type_, ()):
                digits = number.lstrip("-").strip("0")
                size += (len(digits) + 1) // 2 + 1 + number.startswith("-")
            for text in {"S": [value], "SS": value}.get(type_, ()):
                size += len(text.encode())
            size += len(value) if type_ == "B" else 0
    return size


def _listed(named: Sequence[_Ref], sealer: _Sealer) -> tuple[list[_Ref], Sequence[_Ref]]:
    """Return the names of lists of names, and the names after them: where there are few, these.

    The names say where a list ends, so that most lists are those of the checkpoint before.
    """
    lists: list[_Ref] = []
    start = 0
    for odds, most in _LIST_NAMES if len(named) > _MAX_NAMES else ():
        for end in range(start + 1, len(named) + 1):
            number = int.from_bytes(named[end - 1].digest[:2], "big")
            if number % odds == 0 or end - start == most:
                lists.append(sealer.seal_plain(_encode_refs(named[start:end])))
                start = end
    return lists, named[start:]


def _encode_content(
    item: _Item, name: str, content: Any, named: Collection[_Ref], sealer: _Sealer
) -> _Item:
    """Return *item* with what a record or writes hold, and with the names of segments."""
    thread_id = item.get("thread_id", {}).get("S")
    what = f"metadata of thread {thread_id!r}" if thread_id else "writes"
    type_, data = sealer.codec.dumps(content, what)
    if len(data) > _MAX_LARGE_BODY_BYTES:
        what = {"checkpoint": "A checkpoint's metadata take", "writes": "Writes take"}[name]
        raise ValueError(
            f"{what} {len(data):,} bytes, and may take {_MAX_LARGE_BODY_BYTES:,}; put what is "
            f"large into a channel"
        )
    lists, rest = _listed(list(named), sealer)
    item = item | {"type": {"S": type_}}
    for attribute, refs in (("lists", lists), ("segments", rest)):
        if refs:
            item[attribute] = {"B": _encode_refs(refs)}
    return _encode_body(item, name, data, sealer)


def _encode_body(item: _Item, name: str, data: bytes, sealer: _Sealer) -> _Item:
    """Return *item* with such bytes: as the attribute *name*, or as segments (rule 1)."""
    blob = sealer.codec.pack(data, _identity(item))
    whole = _signed(item | {name: {"B": blob}})
    if _item_bytes(whole) <= _MAX_ITEM_BYTES:
        return whole
    refs = map(sealer.seal_plain, _pieces(blob))
    return _signed(item | {"body": {"B": _encode_refs(refs)}})


class _Span(NamedTuple):
    """Part of a value: the bytes of segments, joined from byte *skip* on."""

    skip: int
    refs: tuple[_Ref, ...]


class _Value(NamedTuple):
    """A channel's value, or a write's: the parts of its bytes, in order."""

    type: str
    parts: tuple[bytes | _Span, ...]

    @property
    def refs(self) -> Iterator[_Ref]:
        return chain.from_iterable(each.refs for each in self.parts if isinstance(each, _Span))


def _encode_value(value: _Value, named: dict[_Ref, int]) -> list[Any]:
    """Return a value for an item's content; *named* numbers the segments that the item names.

    Plain lists, as not every serde keeps a named tuple.
    """
    parts: list[Any] = [value.type]
    for part in value.parts:
        if isinstance(part, bytes):
            parts.append(part)
            continue
        ranges: list[list[int]] = []
        for ref in part.refs:
            number = named.setdefault(ref, len(named))
            if ranges and sum(ranges[-1]) == number:
                ranges[-1][1] += 1
            else:
                ranges.append([number, 1])
        parts.append([part.skip, *chain.from_iterable(ranges)])
    return parts


class _Numbered:
    """The names of an item, by number; as they may repeat, so many more may be asked for."""

    def __init__(self, named: Sequence[_Ref]) -> None:
        self._named = named
        self._left = len(named) + _MAX_REPEATED_NAMES

    def range(self, first: int, count: int) -> Sequence[_Ref]:
        self._left -= count
        if first < 0 or not 0 < count <= len(self._named) - first or self._left < 0:
            raise ValueError
        return self._named[first : first + count]


def _decode_value(content: Any, numbered: _Numbered) -> _Value:
    type_, *parts = content
    return _Value(
        _expect(type_, str),
        tuple(part if isinstance(part, bytes) else _decode_span(part, numbered) for part in parts),
    )


def _decode_span(content: Any, numbered: _Numbered) -> _Span:
    skip, *ranges = content
    if _expect(skip, int) < 0:
        raise ValueError
    pairs = zip(ranges[::2], ranges[1::2], strict=True)
    return _Span(skip, tuple(chain.from_iterable(numbered.range(*pair) for pair in pairs)))


def _joined(value: _Value, segments: Mapping[_Ref, _Segment], place: _Place) -> bytes:
    """Return a value's bytes, as the serde made them."""
    if sum(len(segments[ref].data) for ref in value.refs) > _MAX_VALUE_BYTES:
        raise DamagedCheckpointError("A value is larger than any may be", *place)
    parts = (
        b"".join([segments[ref].data for ref in part.refs])[part.skip :]
        if isinstance(part, _Span)
        else part
        for part in value.parts
    )
    return b"".join(parts)


class _Record(NamedTuple):
    """A checkpoint without its values, and where these are."""

    key: _CheckpointKey
    parent_id: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    channels: dict[str, _Value]
    expires_at: int
    #: Under encryption, what the names of its segments are keyed by.
    secret: bytes
    #: All segments that the item names, those that hold names among them.
    named: tuple[_Ref, ...] = ()
    is_layout_0: bool = False

    @property
    def parent_key(self) -> _CheckpointKey | None:
        return self.key._replace(checkpoint_id=self.parent_id) if self.parent_id else None

    @property
    def run_id(self) -> str | None:
        """The run of which the metadata say that it put this."""
        run_id = self.metadata.get("run_id")
        return run_id if isinstance(run_id, str) else None

    @property
    def refs(self) -> list[_Ref]:
        """The segments that hold the channels' values, each once."""
        return list(
            dict.fromkeys(chain.from_iterable(each.refs for each in self.channels.values()))
        )

    @property
    def counters(self) -> Mapping[str, Any]:
        """For each DeltaChannel, its updates and supersteps since a snapshot."""
        return self.metadata.get("counters_since_delta_snapshot") or {}

    @property
    def pending_deltas(self) -> frozenset[str]:
        """The DeltaChannels whose values are rebuilt from ancestors."""
        written = self.counters.keys() & self.checkpoint["channel_versions"].keys()
        return frozenset(written - self.channels.keys())

    @property
    def takes_sends(self) -> bool:
        """Whether its pending sends are among its parent's writes.

        Those that copy_from() brings have the sends that its source showed.
        """
        is_old = self.checkpoint["v"] < _FIRST_V_WITH_TASKS
        return is_old and TASKS not in self.checkpoint["channel_versions"]

    def summary(self, range_key: str) -> _Summary:
        return _Summary(
            range_key,
            self.parent_key,
            self.run_id,
            self.is_layout_0,
            frozenset(self.channels),
            self.pending_deltas,
            self.takes_sends,
            frozenset(self.named),
        )


def _encode_record(record: _Record, sealer: _Sealer) -> _Item:
    key, parent_id, checkpoint, metadata, channels, expires_at, *_ = record
    named: dict[_Ref, int] = {}
    own = metadata.get("thread_id") == key.thread_id
    content = [
        checkpoint,
        {name: value for name, value in metadata.items() if not own or name != "thread_id"},
        {name: _encode_value(value, named) for name, value in channels.items()},
        own,
        record.secret,
    ]
    item = {
        **_checkpoints_key(key.thread_id, key.range_key),
        "checkpoint_ns": {"S": key.checkpoint_ns},
        **_expiring(expires_at),
    }
    if parent_id:
        item["parent_checkpoint_id"] = {"S": parent_id}
    if record.run_id:
        item["run_id"] = {"S": record.run_id}
    return _encode_content(item, "checkpoint", content, named, sealer)


class _Write(NamedTuple):
    """A pending write; writes sort in the order in which LangGraph applies them."""

    task_path: str
    task_id: str
    idx: int
    channel: str
    value: _Value


def _encode_idx(indices: Iterable[int]) -> str:
    """Return indices as ranges: (0, 1, 2, 4) -> "0..2,4"; (-1,) -> "-1"."""
    ranges: list[list[int]] = []
    for idx in indices:
        if ranges and ranges[-1][1] == idx - 1:
            ranges[-1][1] = idx
        else:
            ranges.append([idx, idx])
    return ",".join(f"{first}..{last}" if last > first else f"{first}" for first, last in ranges)


def _decode_idx(idx: str) -> list[range]:
    """Return the ranges of indices; they may be long, and are not to be made sets of."""
    pairs = (part.partition("..") for part in idx.split(","))
    return [range(int(first), int(last or first) + 1) for first, _, last in pairs]


def _encode_writes(
    key: _CheckpointKey,
    task_id: str,
    task_path: str,
    slot: int,
    writes: Mapping[int, tuple[str, _Value]],
    sealer: _Sealer,
) -> _Item:
    idx = _text("the list of indices of writes", _encode_idx(writes), max_bytes=_MAX_TEXT_BYTES)
    item = {
        **key.write(task_id, slot),
        "task_path": {"S": task_path},
        "idx": {"S": idx},
        **_stored(sealer.now, sealer.expires_at),
    }
    named: dict[_Ref, int] = {}
    content = [
        [idx, channel, *_encode_value(value, named)] for idx, (channel, value) in writes.items()
    ]
    return _encode_content(item, "writes", content, named, sealer)


class _Named(NamedTuple):
    """The segments that an item names: for its values in order, for more names, for its body."""

    values: list[_Ref]
    lists: list[_Ref]
    body: list[_Ref]

    @property
    def all(self) -> list[_Ref]:
        return [*self.body, *self.lists, *self.values]


class _Summary(NamedTuple):
    """The facts of a checkpoint that decide whether it goes, and whether it can be rebuilt."""

    range_key: str
    parent_key: _CheckpointKey | None
    run_id: str | None
    is_layout_0: bool
    stored: frozenset[str]
    pending_deltas: frozenset[str]
    takes_sends: bool
    refs: frozenset[_Ref]
    is_live: bool = True


_Summaries = Mapping["_CheckpointKey", _Summary]
# How segments that a checkpoint names are read.
_Load = Callable[["_CheckpointKey", Collection["_Ref"]], Mapping["_Ref", _Segment]]


@contextmanager
def _well_formed(place: _Place) -> Iterator[None]:
    """Tell of content that has not the form that the layout says."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        what = f"An item's content is malformed ({type(error).__name__})"
        raise DamagedCheckpointError(what, *place) from error


def _expect(value: Any, type_: type[T]) -> T:
    if not isinstance(value, type_):
        raise TypeError(type_.__name__)
    return value


class _Decoder:
    """Decodes the items of a pair of tables; *load* reads segments with names, or of a body."""

    def __init__(self, codec: _Codec, load: _Load, table_names: tuple[str, str]) -> None:
        self.codec = codec
        self._load = load
        self._checkpoints_table, self._writes_table = table_names

    def named(self, item: _Item, key: _CheckpointKey) -> _Named:
        """Return the segments that an item of a checkpoint names."""
        values, lists = _refs(item), _refs(item, "lists")
        if lists:
            if len(set(lists)) < len(lists):  # a forged one could name a list a million times
                what = "An item names a list of names twice"
                raise DamagedCheckpointError(what, *self._place(item, key))
            found = self._load(key, lists)
            listed = chain.from_iterable(_decode_refs(found[ref].data) for ref in lists)
            values = [*listed, *values]
        return _Named(values, lists, _refs(item, "body"))

    def _place(self, item: _Item, key: _CheckpointKey) -> _Place:
        is_write = "task_id_idx" in item
        return key, self._writes_table if is_write else self._checkpoints_table

    def _body(self, item: _Item, name: str, place: _Place) -> bytes:
        _check_digest(item, place)
        if name in item:
            blob = item[name]["B"]
        else:
            segments = self._load(place[0], refs := _refs(item, "body"))
            pieces = [segments[ref].data for ref in refs]
            if sum(map(len, pieces)) > 4 * _MAX_LARGE_BODY_BYTES:
                raise ValueError
            blob = b"".join(pieces)
        return self.codec.unpack(blob, _identity(item), _MAX_BODY_BYTES, place)

    def record(self, item: _Item) -> _Record:
        key = _record_key(item)
        place = (key, self._checkpoints_table)
        with _well_formed(place):
            named: tuple[_Ref, ...] = ()
            secret = b""
            if is_layout_0 := "metadata" in item:
                checkpoint, metadata, channels = self._layout_0(item, place)
            else:
                data = self._body(item, "checkpoint", place)
                content = self.codec.loads(item["type"]["S"], data, place)
                checkpoint, metadata, plain, own, secret = content
                named_by_use = self.named(item, key)
                named, numbered = tuple(named_by_use.all), _Numbered(named_by_use.values)
                channels = {
                    _expect(name, str): _decode_value(value, numbered)
                    for name, value in plain.items()
                }
                if own:
                    metadata = {**metadata, "thread_id": key.thread_id}
            for each in (checkpoint, metadata, checkpoint["channel_versions"]):
                _expect(each, dict)
            for name in checkpoint["channel_versions"]:
                _expect(name, str)
            iter(checkpoint.get("updated_channels") or ())
            _expect(checkpoint["v"], int)
            record = _Record(
                key,
                item.get("parent_checkpoint_id", {}).get("S"),
                checkpoint,
                metadata,
                channels,
                _expires_at(item),
                _expect(secret, bytes),
                named,
                is_layout_0,
            )
            for each in _expect(record.counters, dict).values():
                _ = each[0]
            if record.parent_id:
                _checkpoint_id(record.parent_id)
            for each in (record.key, record.parent_key or record.key):
                _text("a range key", each.writes_prefix, max_bytes=_MAX_RANGE_KEY_BYTES)
            return record

    def _layout_0(
        self, item: _Item, place: _Place
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, _Value]]:
        checkpoint, metadata = (
            self.codec.loads(
                *self.codec.open_layout_0(item["type"]["S"], item[name]["B"], place), place
            )
            for name in ("checkpoint", "metadata")
        )
        values = checkpoint.pop("channel_values").items()
        typed = {name: self.codec.dumps(value) for name, value in values}
        channels = {name: _Value(type_, (data,)) for name, (type_, data) in typed.items()}
        return checkpoint, metadata, channels

    def writes(self, item: _Item, key: _CheckpointKey) -> list[_Write]:
        place = (key, self._writes_table)
        with _well_formed(place):
            task_id, slot = _task_and_slot(item)
            if "channel" in item:  # layout 0, which gave special writes no index of their own
                # Its ciphertext is bound to no place: it could be any.
                if item[_WRITES_KEYS[0]]["S"] != key.layout_0_writes:
                    what = "A write of layout 0 stands among those of layout 1"
                    raise DamagedCheckpointError(what, *place)
                channel = item["channel"]["S"]
                type_, data = self.codec.open_layout_0(item["type"]["S"], item["value"]["B"], place)
                idx = WRITES_IDX_MAP.get(channel, slot)
                return [_Write("", task_id, idx, channel, _Value(type_, (data,)))]
            data = self._body(item, "writes", place)
            task_path, numbered = item["task_path"]["S"], _Numbered(self.named(item, key).values)
            return [
                _Write(
                    task_path,
                    task_id,
                    _expect(idx, int),
                    _expect(channel, str),
                    _decode_value(content, numbered),
                )
                for idx, channel, *content in self.codec.loads(item["type"]["S"], data, place)
            ]

    def moved(self, item: _Item, key: _CheckpointKey, target: str, sealer: _Sealer) -> _Item:
        """Return a checkpoint's item, or one of its writes, as one of another thread."""
        is_write = "task_id_idx" in item
        if not is_write:
            moved = item | {"thread_id": {"S": target}}
        elif "channel" in item:  # layout 0
            hash_key = key._replace(thread_id=target).layout_0_writes
            _text("target_thread_id with checkpoint_id", hash_key, max_bytes=_MAX_HASH_KEY_BYTES)
            moved = item | _writes_key(hash_key, item["task_id_idx"]["S"])
        else:
            moved = item | _writes_key(_writes_hash_key(target), item["task_id_idx"]["S"])
        if "digest" not in item:  # layout 0
            return moved
        place = self._place(item, key)
        with _well_formed(place):
            if not self.codec.encrypts:
                _check_digest(item, place)
                return _signed(moved)
            name = "writes" if is_write else "checkpoint"
            data = self._body(item, name, place)
        bare = {each: moved[each] for each in moved.keys() - {*_BODIES, "digest"}}
        return _encode_body(bare, name, data, sealer)


# -- Keys -----------------------------------------------------------------------------------------
# The only code that knows how a key is spelled.

_SEPARATOR: Final = ":::"
_SUBGRAPH: Final = "~c"
_PRUNED: Final = "~p"
_SEGMENT: Final = "~s"
_VEIL: Final = "}"
_LAST: Final = "\U0010ffff"
_CHECKPOINTS_KEYS: Final = ("thread_id", "checkpoint_id")
_WRITES_KEYS: Final = ("thread_id_checkpoint_id_checkpoint_ns", "task_id_idx")
# The index by which delete_for_runs() finds the threads of a run (rule 9).
_RUN_INDEX: Final[dict[str, Any]] = {
    "IndexName": "run_id",
    "KeySchema": [
        {"AttributeName": "run_id", "KeyType": "HASH"},
        {"AttributeName": "thread_id", "KeyType": "RANGE"},
    ],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


def _after(prefix: str) -> str:
    # The smallest string above all that start with *prefix*: "~c1:a:" -> "~c1:a;"
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


# Ranges of a thread's range keys, both ends included: no item is at the second.
_ALL_CHECKPOINTS: Final = ("", _PRUNED)
_ALL_SUBGRAPHS: Final = (_SUBGRAPH, _after(_SUBGRAPH))
_ALL_BUT_SEGMENTS: Final = ("", _SEGMENT)
_SEGMENTS_AND_OTHERS: Final = (_SEGMENT, _LAST)
_PRUNED_AND_SEGMENTS: Final = (_PRUNED, _after(_SEGMENT))


class _CheckpointKey(NamedTuple):
    """Which checkpoint: a thread, a namespace in it and an id in that."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    @property
    def range_key(self) -> str:
        return _range_prefix(self.checkpoint_ns) + self.checkpoint_id

    @property
    def writes_prefix(self) -> str:
        # No id holds ":::" or ends in ":", so no other checkpoint's prefix starts with this one.
        return self.range_key + _SEPARATOR

    def write(self, task_id: str, slot: int) -> _Item:
        """Return the key of a write's item (rule 3)."""
        range_key = f"{self.writes_prefix}{task_id}{_SEPARATOR}{slot}"
        return _writes_key(_writes_hash_key(self.thread_id), range_key)

    @property
    def layout_0_writes(self) -> str:
        # The hash key of its writes in layout 0: no thread's of layout 1, as none holds ":::".
        return _SEPARATOR.join((self.thread_id, self.checkpoint_id, self.checkpoint_ns))


def _hashed(part: str) -> str:
    return "#" + blake2b(part.encode(), digest_size=16).hexdigest()


def _writes_hash_key(thread_id: str) -> str:
    """Return the hash key of a thread's writes (rule 4): "a" -> "a", "a:::b" -> "#5c..."."""
    is_like_a_digest = thread_id.startswith("#") and len(thread_id) == len(_hashed(""))
    return _hashed(thread_id) if _SEPARATOR in thread_id or is_like_a_digest else thread_id


def _range_prefix(checkpoint_ns: str) -> str:
    """Return the prefix of a namespace's range keys (rule 4): "" -> "", "a" -> "~c1:a:"."""
    if not checkpoint_ns:
        return ""
    is_long = len(checkpoint_ns.encode()) > _MAX_NAMESPACE_KEY_BYTES
    part = _hashed(checkpoint_ns) if is_long or checkpoint_ns.startswith("#") else checkpoint_ns
    # The length keeps one namespace from being a prefix of another.
    return f"{_SUBGRAPH}{len(part)}:{part}:"


def _namespace_range(checkpoint_ns: str, through_id: str | None = None) -> tuple[str, str]:
    """Return the range of a namespace's checkpoints: up to an id, or all, and the veil after."""
    prefix = _range_prefix(checkpoint_ns)
    return prefix, prefix + through_id if through_id else _after(prefix or _VEIL)


def _checkpoints_key(thread_id: str, range_key: str) -> _Item:
    return {"thread_id": {"S": thread_id}, "checkpoint_id": {"S": range_key}}


def _veil_key(thread_id: str, checkpoint_ns: str) -> _Item:
    return _checkpoints_key(thread_id, _range_prefix(checkpoint_ns) + _VEIL)


def _pruned_key(thread_id: str) -> _Item:
    return _checkpoints_key(thread_id, f"{_PRUNED}{uuid6()}")


def _writes_key(hash_key: str, range_key: str) -> _Item:
    return dict(zip(_WRITES_KEYS, ({"S": hash_key}, {"S": range_key}), strict=True))


class _Ref(NamedTuple):
    """The name of a segment: its bytes' digest, and when it expires (0: never)."""

    digest: bytes
    expires_at: int

    @property
    def range_key(self) -> str:
        expiry = f":{self.expires_at}" if self.expires_at else ""
        return f"{_SEGMENT}{self.digest.hex()}{expiry}"


def _record_key(item: _Item) -> _CheckpointKey:
    """Return which checkpoint an item is; of a veil, the id is ``_VEIL``."""
    # A forged item may name no namespace.
    checkpoint_ns = item.get("checkpoint_ns", {}).get("S", "")
    range_key = item["checkpoint_id"]["S"]
    # Layout 0 has subgraphs' checkpoints among the root's, with no prefix.
    checkpoint_id = range_key.removeprefix(_range_prefix(checkpoint_ns))
    return _CheckpointKey(item["thread_id"]["S"], checkpoint_ns, checkpoint_id)


def _prefix_of_write(range_key: str) -> str:
    """Return the prefix that a write's range key shares with all of its checkpoint."""
    at = 0
    if range_key.startswith(_SUBGRAPH):
        # A namespace may hold ":::" itself: its length says where it ends.
        length, _, _ = range_key.removeprefix(_SUBGRAPH).partition(":")
        if length.isdecimal():
            at = len(f"{_SUBGRAPH}{length}::") + int(length)
    end = range_key.find(_SEPARATOR, at)
    return range_key[: end + len(_SEPARATOR)] if end >= 0 else range_key


def _key_of_prefix(thread_id: str, prefix: str) -> _CheckpointKey:
    """Return a key for a checkpoint of which nothing is known but its writes (rule 5)."""
    return _CheckpointKey(thread_id, "", prefix.removesuffix(_SEPARATOR))


def _task_and_slot(item: _Item) -> tuple[str, int]:
    """Return a write item's task, and the index under which it stands (rule 3)."""
    range_key = item["task_id_idx"]["S"]
    prefix = "" if "channel" in item else _prefix_of_write(range_key)
    task_id, _, slot = range_key.removeprefix(prefix).rpartition(_SEPARATOR)
    return task_id, int(slot)


_KINDS: Final = {_PRUNED: "pruned", _SEGMENT: "segment"}


def _kind(item: _Item) -> str:
    """Return what kind of item one of the checkpoints table is."""
    range_key = item["checkpoint_id"]["S"]
    if "through" in item:
        return "veil"
    if "checkpoint_ns" in item and (range_key < _VEIL or range_key.startswith(_SUBGRAPH)):
        return "checkpoint"
    return _KINDS.get(range_key[:2], "other")


def _is_layout_0(item: _Item) -> bool:
    """Say whether a checkpoint has no digest, as those of layout 0 (rule 10)."""
    return _kind(item) == "checkpoint" and "digest" not in item


# -- Cache ----------------------------------------------------------------------------------------
# Checkpoints, what their writes name, and segments that this process has stored or read of late.


class _Recent(Generic[T]):
    """The values kept or asked for last, as many as fit; keys start with a thread's id."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._values: OrderedDict[tuple[Any, ...], tuple[T, int]] = OrderedDict()

    def get(self, key: tuple[Any, ...]) -> T | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: tuple[Any, ...], value: T, size: int) -> None:
        self.drop(key)
        self._values[key] = value, size
        self._left -= size
        while self._left < 0:
            self.drop(next(iter(self._values)))

    def drop(self, key: tuple[Any, ...]) -> None:
        _, size = self._values.pop(key, (None, 0))
        self._left += size

    def drop_thread(self, thread_id: str) -> None:
        for key in [key for key in self._values if key[0] == thread_id]:
            self.drop(key)


def _good_until(seen_at: float, expires_at: int) -> float:
    """Return until when a put may build on what was there at a time (rule 8)."""
    until = seen_at + _GRACE_SECONDS / 2
    return min(until, expires_at) if expires_at else until


class _Cache:
    """The records, the newest keys and the segments that this process knows, within one bound."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._recent: _Recent[Any] = _Recent(max_bytes)

    def remember(self, record: _Record, seen_at: float) -> None:
        """Note a record that is stored, and for how long a put may build on it."""
        versions = dict(record.checkpoint["channel_versions"])
        slim = record._replace(checkpoint={"channel_versions": versions}, metadata={})
        size = _OBJECT_BYTES * (4 + len(versions) + len(record.named)) + sum(
            _OBJECT_BYTES + (len(part) if isinstance(part, bytes) else 8 * len(part.refs))
            for channel in record.channels.values()
            for part in channel.parts
        )
        good_until = _good_until(seen_at, record.expires_at)
        with self._lock:
            if seen_at >= self._forgotten_at(record.key.thread_id):
                self._recent.keep(record.key, (slim, good_until), size)
                self._recent.keep(record.key[:2], record.key, _OBJECT_BYTES)

    def _forgotten_at(self, thread_id: str) -> float:
        at: float = self._recent.get((thread_id,)) or 0.0
        return at

    def recall(self, key: _CheckpointKey, now: float) -> _Record | None:
        """Return a record, without metadata and all but the versions of its checkpoint."""
        with self._lock:
            slim, good_until = self._recent.get(key) or (None, 0.0)
        return slim if good_until > now else None

    def remember_writes(
        self,
        key: _CheckpointKey,
        base: _Base,
        seen_at: float,
        expires_at: int,
        *,
        are_all: bool = False,
    ) -> None:
        """Note what writes of a checkpoint name: some of them, or all that it has."""
        at, good_until = (*key, "writes"), _good_until(seen_at, expires_at)
        with self._lock:
            if seen_at < self._forgotten_at(key.thread_id):
                return
            known, known_until = self._recent.get(at) or (base, good_until)
            named = dict.fromkeys(base.named)
            if not are_all and known.secret == base.secret and known_until > seen_at:
                named |= dict.fromkeys(known.named)
                good_until = min(good_until, known_until)
            value = _Base(tuple(named), base.secret), good_until
            self._recent.keep(at, value, _OBJECT_BYTES * (1 + len(named)))

    def recall_writes(self, key: _CheckpointKey, now: float) -> _Base | None:
        with self._lock:
            base, good_until = self._recent.get((*key, "writes")) or (None, 0.0)
        return base if good_until > now else None

    def last_seen(self, thread_id: str, checkpoint_ns: str) -> _CheckpointKey | None:
        """Return the checkpoint of a namespace that this process stored or read last."""
        with self._lock:
            return self._recent.get((thread_id, checkpoint_ns))

    def remember_segments(
        self, thread_id: str, segments: Mapping[_Ref, _Segment], *, of_values: bool = True
    ) -> None:
        """Note segments: those of values, or those of lists of names and of bodies."""
        with self._lock:
            for ref, segment in segments.items():
                size = len(segment.data) + _OBJECT_BYTES
                self._recent.keep((thread_id, ref, of_values), segment, size)

    def recall_segments(
        self, thread_id: str, refs: Iterable[_Ref], *, of_values: bool = True
    ) -> dict[_Ref, _Segment]:
        with self._lock:
            found = {ref: self._recent.get((thread_id, ref, of_values)) for ref in refs}
        return {ref: segment for ref, segment in found.items() if segment is not None}

    def forget(self, thread_id: str, now: float) -> None:
        """Forget a thread, and do not learn of it from a call that began before."""
        with self._lock:
            at = max(now, self._forgotten_at(thread_id))
            self._recent.drop_thread(thread_id)
            self._recent.keep((thread_id,), at, _OBJECT_BYTES)


# -- Store ----------------------------------------------------------------------------------------
# The two tables as a thread's items: visible checkpoints, their writes, segments and veils. It
# keeps no serde, so clones of a saver share it.

_WriteItems = dict[_CheckpointKey, list[_Item]]


class _Claim(NamedTuple):
    """A call that stores segments, and since when."""

    is_stored: Future[bool]
    since: float

    @property
    def has_stored(self) -> bool:
        return self.is_stored.done() and self.is_stored.result()


class _Store:
    """A pair of tables, the threads that ask them, and what this process knows of them."""

    def __init__(
        self,
        client: _Client,
        table_names: tuple[str, str],
        *,
        consistent_read: bool,
        max_workers: int,
        cache_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.workers = _Workers(max_workers)
        self.checkpoints = _Table(client, table_names[0], _CHECKPOINTS_KEYS, self.workers)
        self.writes = _Table(client, table_names[1], _WRITES_KEYS, self.workers)
        self.consistent_read = consistent_read
        self.clock = clock
        self._cache_bytes = cache_bytes
        self.after_fork()
        _renewed_after_fork(self)

    def after_fork(self) -> None:
        """Start with an empty cache: a thread of the parent may have been changing the old one."""
        self.cache = _Cache(self._cache_bytes)
        self._lock = threading.Lock()
        #: Who stores a segment just now, or an item that names it.
        self._storing: dict[tuple[str, _Ref], _Claim] = {}

    def is_live(self, item: _Item) -> bool:
        return not 0 < _expires_at(item) <= self.clock()

    def thread_ids(self) -> Iterator[str]:
        """Scan for the threads of the checkpoints table, and skip the rest of each."""
        limit = _FIRST_PAGE_ITEMS

        def pages_after(last: _Item | None) -> Iterator[_Page]:
            start: dict[str, Any] = {"ConsistentRead": self.consistent_read}
            if last:
                # DynamoDB takes a start key that no item has: this one is after all of the thread.
                start["ExclusiveStartKey"] = _checkpoints_key(last["thread_id"]["S"], _LAST)
            return self.checkpoints.scan(_CHECKPOINTS_KEYS, limit, **start)

        for page in _groups(pages_after):
            self.checkpoints.check_items(page.items)
            found = list(dict.fromkeys(item["thread_id"]["S"] for item in page.items))
            yield from found
            # Long threads: small pages, as the rest is skipped; short ones: large pages.
            limit = min(limit * 2, 1024) if len(found) > 1 else max(limit // 2, _FIRST_PAGE_ITEMS)

    def has_items(self, thread_id: str) -> bool:
        queries = (
            self.checkpoints.items(thread_id, limit=1),
            self.writes.items(_writes_hash_key(thread_id), limit=1),
        )
        return any(item for items in queries for item in items)

    def visible(self, items: Iterable[_Item], checkpoint_ns: str) -> Iterator[_Item]:
        """Filter a namespace's items, newest first: skip expired ones and those behind its veil."""
        hidden_through = ""
        for item in items:
            _, found_ns, checkpoint_id = _record_key(item)
            if checkpoint_id == _VEIL:
                hidden_through = _decode_veil(item).through
            # Layout 0 has subgraphs' checkpoints among the root's.
            elif (
                found_ns == checkpoint_ns and hidden_through < checkpoint_id and self.is_live(item)
            ):
                yield item

    def newest_first(
        self,
        thread_id: str,
        checkpoint_ns: str,
        *,
        consistent: bool,
        limit: int | None = None,
        through_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of a namespace, newest first: all, or those up to an id (rule 6)."""

        def items() -> Iterator[_Item]:
            if through_id:  # then the veil is not in the range
                key = _veil_key(thread_id, checkpoint_ns)
                veil = self.checkpoints.get(key, consistent=consistent)
                yield from [veil] if veil else []
            yield from self.checkpoints.items(
                thread_id,
                *_namespace_range(checkpoint_ns, through_id),
                newest_first=True,
                limit=limit,
                consistent=consistent,
            )

        return self.visible(items(), checkpoint_ns)

    def checkpoint(self, key: _CheckpointKey, *, consistent: bool) -> Iterator[_Item]:
        """Read a checkpoint by its id, with its veil: its item, or nothing."""
        keys = [
            _veil_key(key.thread_id, key.checkpoint_ns),
            _checkpoints_key(key.thread_id, key.range_key),
        ]
        found = self.checkpoints.batch_get(keys, consistent=consistent)
        in_order = sorted(found, key=lambda item: _record_key(item)[2], reverse=True)
        return self.visible(in_order, key.checkpoint_ns)

    def checkpoints_of(
        self, keys: Iterable[_CheckpointKey], *, consistent: bool
    ) -> dict[_CheckpointKey, _Item]:
        """Read checkpoints that were seen before; those deleted meanwhile are left out."""
        by_range_key = {key.range_key: key for key in keys}
        found = self.checkpoints.batch_get(
            [_checkpoints_key(key.thread_id, key.range_key) for key in by_range_key.values()],
            consistent=consistent,
        )
        return {by_range_key[item["checkpoint_id"]["S"]]: item for item in found}

    def subgraphs(
        self, thread_id: str, *, consistent: bool = True
    ) -> Iterator[tuple[str, list[_Item] | None]]:
        """Find the namespaces of a thread's subgraphs.

        With one that a page holds whole come its items, newest first. A page ends in a namespace,
        and the next starts after it: a request for each namespace at most.
        """
        lower, upper = _ALL_SUBGRAPHS
        limit = _FIRST_PAGE_ITEMS
        seen = {""}  # a forged item may say that it is of another namespace

        def pages_after(last: _Item | None) -> Iterator[_Page]:
            start = lower
            if last:
                # A forged item may name another namespace than its key does: go on after both.
                end = _namespace_range(_record_key(last).checkpoint_ns)[1]
                start = max(end, last["checkpoint_id"]["S"] + "\0")
            return self.checkpoints.query(
                thread_id, start, upper, limit=limit, consistent=consistent
            )

        for page in _groups(pages_after):
            by_namespace = groupby(page.items, key=lambda item: _record_key(item).checkpoint_ns)
            found: list[tuple[str, list[_Item] | None]] = [
                (checkpoint_ns, list(items)) for checkpoint_ns, items in by_namespace
            ]
            limit *= 4
            if not page.is_last:
                found[-1] = found[-1][0], None  # cut off
            for checkpoint_ns, items in found:
                if checkpoint_ns not in seen:
                    seen.add(checkpoint_ns)
                    yield checkpoint_ns, items and items[::-1]

    def writes_of(
        self,
        keys: Sequence[_CheckpointKey],
        layout_0: Collection[_CheckpointKey] = (),
        *,
        attributes: Sequence[str] = (),
        consistent: bool = True,
    ) -> _WriteItems:
        """Read the live writes of a thread's checkpoints by one query, with all between them.

        Of those that are of *layout_0*, its writes follow. *attributes*: all, or some with "ttl".
        """
        found: _WriteItems = {key: [] for key in keys}
        by_prefix = {key.writes_prefix: key for key in keys}
        for item in self.writes.items(
            _writes_hash_key(keys[0].thread_id),
            min(by_prefix),
            _after(max(by_prefix)),
            attributes=attributes,
            consistent=consistent,
        ):
            if key := by_prefix.get(_prefix_of_write(item["task_id_idx"]["S"])):
                found[key].append(item)
        read = partial(self.layout_0_writes, attributes=attributes)
        for key, others in zip(layout_0, self.workers.side_by_side(read, layout_0), strict=True):
            found[key] += others
        return {key: list(filter(self.is_live, items)) for key, items in found.items()}

    def layout_0_writes(self, key: _CheckpointKey, attributes: Sequence[str] = ()) -> list[_Item]:
        """Read writes of layout 0 (rule 10), but of no namespace that could be parted otherwise."""
        hash_key = key.layout_0_writes
        if _SEPARATOR in key.checkpoint_ns or len(hash_key.encode()) > _MAX_HASH_KEY_BYTES:
            return []
        return list(self.writes.items(hash_key, attributes=attributes))

    def decoder(self, codec: _Codec) -> _Decoder:
        return _Decoder(codec, self.load_plain, (self.checkpoints.name, self.writes.name))

    def load_plain(self, key: _CheckpointKey, refs: Collection[_Ref]) -> dict[_Ref, _Segment]:
        """Return segments with names, or with part of a body."""
        return self.load_segments(_PLAIN, key.thread_id, dict.fromkeys(refs, key))

    def load_segments(
        self, codec: _Codec, thread_id: str, named_by: Mapping[_Ref, _CheckpointKey]
    ) -> dict[_Ref, _Segment]:
        """Return segments that checkpoints name; those that are not in the cache are read."""
        of_values = codec is not _PLAIN
        known = self.cache.recall_segments(thread_id, named_by, of_values=of_values)
        missing = {ref: key for ref, key in named_by.items() if ref not in known}
        read = {
            ref: _decode_segment(item, ref, codec, (named_by[ref], self.checkpoints.name))
            for ref, item in self.segment_items(thread_id, missing).items()
        }
        self.cache.remember_segments(thread_id, read, of_values=of_values)
        return known | read

    def segment_items(
        self, thread_id: str, named_by: Mapping[_Ref, _CheckpointKey]
    ) -> dict[_Ref, _Item]:
        """Read segments from the table.

        As they never change (rule 2), a read at half the price will do; those that are not there
        yet are read once more consistently.
        """
        items: dict[_Ref, _Item] = {}
        for consistent in (False, True):
            by_key = {ref.range_key: ref for ref in named_by if ref not in items}
            keys = [_checkpoints_key(thread_id, range_key) for range_key in by_key]
            for item in self.checkpoints.batch_get(keys, consistent=consistent):
                items[by_key[item["checkpoint_id"]["S"]]] = item
        for ref, key in named_by.items():
            if ref not in items:
                what = f"Segment {ref.range_key!r} is missing"
                raise DamagedCheckpointError(what, key, self.checkpoints.name)
        return items

    @contextmanager
    def segments_stored(self, thread_id: str, sealer: _Sealer) -> Iterator[None]:
        """Store the segments that are not there, then what the caller stores that names them.

        None that another call stores just now: LangGraph hands over a task's writes and the
        checkpoint after them at once, and both may hold the same.
        """
        claim = _Claim(Future(), time.monotonic())
        keys = {(thread_id, ref): item for ref, item in sealer.items.items()}
        try:
            others = self._claimed_by_others(keys, claim)
            self._put_segments(item for key, item in keys.items() if key not in others)
            claim.is_stored.set_result(True)
            wait({other.is_stored for other in others.values()}, timeout=_SHARED_SECONDS)
            # Where the other call has failed, this one is not to.
            failed = [key for key, other in others.items() if not other.has_stored]
            self._put_segments(keys[key] for key in failed)
            self.cache.remember_segments(thread_id, sealer.segments)
            yield
        finally:
            if not claim.is_stored.done():
                claim.is_stored.set_result(False)
            with self._lock:
                for key in keys:
                    if self._storing.get(key) is claim:
                        del self._storing[key]

    def _claimed_by_others(
        self, keys: Iterable[tuple[str, _Ref]], claim: _Claim
    ) -> dict[tuple[str, _Ref], _Claim]:
        """Claim the segments that no other call stores, and return who stores the others."""
        others: dict[tuple[str, _Ref], _Claim] = {}
        with self._lock:
            for key in keys:
                other = self._storing.get(key)
                # A call may hang, and what it has stored be deleted meanwhile.
                if other and claim.since - other.since <= _SHARED_SECONDS:
                    others[key] = other
                else:
                    self._storing[key] = claim
        return others

    def _put_segments(self, items: Iterable[_Item]) -> None:
        stored_at = _stored(self.clock(), 0)
        self.checkpoints.batch_put(item | stored_at for item in items)

    @contextmanager
    def forgetting(self, thread_id: str) -> Iterator[None]:
        """Forget a thread before its items are deleted, and what was learned of it meanwhile."""
        self.forget(thread_id)
        try:
            yield
        finally:
            self.forget(thread_id)

    def forget(self, thread_id: str) -> None:
        self.cache.forget(thread_id, self.clock())
        with self._lock:
            for key in [key for key in self._storing if key[0] == thread_id]:
                del self._storing[key]

    def tell_lost(self, thread_id: str, refs: Collection[_Ref]) -> None:
        """Tell of segments that lose a name now (rule 8)."""
        self.checkpoints.batch_put(
            _encode_pruned(thread_id, batch, self.clock())
            for batch in _batches(sorted(refs), _MAX_PRUNED_REFS)
        )

    def delete(self, thread_id: str, range_keys: Iterable[str]) -> None:
        self.checkpoints.batch_delete(_checkpoints_key(thread_id, key) for key in range_keys)

    def delete_layout_0_writes(self, keys: Iterable[_CheckpointKey]) -> None:
        found = self.workers.side_by_side(
            partial(self.layout_0_writes, attributes=_WRITES_KEYS), keys
        )
        self.writes.batch_delete(list(chain.from_iterable(found)))

    def veil(self, thread_id: str) -> _Veil | None:
        item = self.checkpoints.get(_veil_key(thread_id, ""))
        return _decode_veil(item) if item else None

    def refuse_veiled(self, thread_id: str, name: str = "thread_id") -> None:
        if veil := self.veil(thread_id):
            veil.refuse(f"{name} {thread_id!r}")

    def hide(self, veils: Iterable[_Item]) -> None:
        self.checkpoints.batch_put(veils)

    def veils(self, thread_id: str, reason: str, source: str) -> list[_Item]:
        """Return what hides all that a thread has, or gets from *source*, but no later run's.

        A veil reaches to this machine's time, and, where its clock is behind, to what is there: to
        the newest checkpoint of its namespace, and to where a veil before it reached.
        """
        now = str(uuid6())

        def through(items: Iterable[_Item]) -> str:
            ends = (
                _decode_veil(item).through if "through" in item else _record_key(item).checkpoint_id
                for item in items
            )
            return max([now, *ends])

        def look(checkpoint_ns: str) -> str:
            range_ = _namespace_range(checkpoint_ns)
            pages = self.checkpoints.query(source, *range_, newest_first=True, limit=2)
            return through(next(pages).items)

        # One page of them is held at a time.
        known = {"": None} | {
            checkpoint_ns: items and through(items[:2])
            for checkpoint_ns, items in self.subgraphs(source)
        }
        unknown = [checkpoint_ns for checkpoint_ns, end in known.items() if end is None]
        known |= zip(unknown, self.workers.side_by_side(look, unknown), strict=True)
        return [
            _encode_veil(thread_id, checkpoint_ns, _Veil(reason, cast("str", end)))
            for checkpoint_ns, end in known.items()
        ]

    def reveal(self, thread_id: str) -> None:
        namespaces = ["", *(checkpoint_ns for checkpoint_ns, _ in self.subgraphs(thread_id))]
        self.checkpoints.batch_delete(_veil_key(thread_id, each) for each in namespaces)


# -- Read -----------------------------------------------------------------------------------------
# get_tuple(), list() and get_delta_channel_history(), and what copies and history() read by.


class _Pending(NamedTuple):
    """The items of checkpoints' writes, and the segments that these name."""

    items: _WriteItems
    named: Collection[_Ref]
    segments: Mapping[_Ref, _Segment]


class _Parts(NamedTuple):
    """What is on its way to make a record a checkpoint."""

    record: _Record
    segments: Mapping[_Ref, Future[Mapping[_Ref, _Segment]]]
    sends: Callable[[], _Pending] | None
    writes: Callable[[], _Pending]


class _Selection(NamedTuple):
    """Which checkpoints list() returns; None: all."""

    address: _Address | None
    filter: Mapping[str, Any]
    before_id: str | None
    limit: int | None


class _Reader:
    """Reads checkpoints as a caller sees them; *consistent*: None as the saver was told to."""

    def __init__(self, store: _Store, codec: _Codec, *, consistent: bool | None = None) -> None:
        self._store = store
        self._codec = codec
        self._consistent = store.consistent_read if consistent is None else consistent
        self._decoder = store.decoder(codec)

    def get_tuple(self, address: _Address) -> CheckpointTuple | None:
        store, now = self._store, self._store.clock()
        likely = self._likely(address)
        writes = store.workers.start(self._pending, [likely]) if likely else None
        record = self.record(likely) if address.checkpoint_id and likely else self._newest(address)
        if record is None:
            if likely and (not address.checkpoint_id or store.cache.recall(likely, now)):
                # Another process may have deleted the thread, with all that was known of it.
                store.cache.forget(address.thread_id, now)
            return None
        if not writes or record.key != likely or record.is_layout_0:
            writes = store.workers.start(self._pending_of, [record])
        found = self._finish(self._start(record, {}, writes.result))
        # Now that all it names is there.
        store.cache.remember(record, now)
        self._remember_writes(record, writes.result(), now)
        return found

    def _likely(self, address: _Address) -> _CheckpointKey | None:
        """Return which checkpoint is asked for, as far as this process knows."""
        if address.checkpoint_id:
            return address.key(address.checkpoint_id)
        # Most often the newest is the one that this process stored or read last.
        return self._store.cache.last_seen(address.thread_id, address.checkpoint_ns or "")

    def _remember_writes(self, record: _Record, pending: _Pending, seen_at: float) -> None:
        """Note what a checkpoint's writes name instead of what was known of them.

        A thread may be deleted by another process, and come back with the same checkpoints.
        """
        expiries = filter(None, map(_expires_at, pending.items[record.key]))
        base, expires_at = _Base(list(pending.named), record.secret), min(expiries, default=0)
        self._store.cache.remember_writes(record.key, base, seen_at, expires_at, are_all=True)

    def record(self, key: _CheckpointKey) -> _Record | None:
        """Read a checkpoint's record by its id."""
        return next(
            map(self._decoder.record, self._store.checkpoint(key, consistent=self._consistent)),
            None,
        )

    def _newest(self, address: _Address) -> _Record | None:
        namespace = (address.thread_id, address.checkpoint_ns or "")
        return next(map(self._decoder.record, self.namespace(*namespace, 1)), None)

    def load(self, key: _CheckpointKey, refs: Collection[_Ref]) -> Mapping[_Ref, _Segment]:
        """Return segments of values."""
        named_by = dict.fromkeys(refs, key)
        return self._store.load_segments(self._codec, key.thread_id, named_by) if refs else {}

    def value(
        self, value: _Value, segments: Mapping[_Ref, _Segment], key: _CheckpointKey, table: str
    ) -> Any:
        place = (key, table)
        return self._codec.loads(value.type, _joined(value, segments, place), place)

    def _pending_of(self, records: Sequence[_Record]) -> _Pending:
        layout_0 = [record.key for record in records if record.is_layout_0]
        return self._pending([record.key for record in records], layout_0)

    def _pending(
        self, keys: Sequence[_CheckpointKey], layout_0: Collection[_CheckpointKey] = ()
    ) -> _Pending:
        """Read writes, and of the segments that they name as many as a list may hold."""
        store = self._store
        items = store.writes_of(keys, layout_0, consistent=self._consistent)
        named_by: dict[_Ref, _CheckpointKey] = {}
        with suppress(DamagedCheckpointError):  # it is raised when its checkpoint is returned
            for key, found in items.items():
                for item in found:
                    refs = self._decoder.named(item, key).values
                    named_by |= dict.fromkeys(refs, key)
            some = dict(islice(named_by.items(), _MAX_LIST_SEGMENTS))
            segments = store.load_segments(self._codec, keys[0].thread_id, some)
            return _Pending(items, named_by, segments)
        return _Pending(items, (), {})

    def _start(
        self,
        record: _Record,
        segments: dict[_Ref, Future[Mapping[_Ref, _Segment]]],
        writes: Callable[[], _Pending],
    ) -> _Parts:
        """Start reading what a record needs beside what *segments* and *writes* have on its way."""
        workers, refs = self._store.workers, record.refs
        missing = [ref for ref in refs if ref not in segments]
        for batch in _batches(missing, _MAX_BATCH_GET_KEYS):
            future = workers.start(self.load, record.key, batch)
            segments.update(dict.fromkeys(batch, future))
        sends = None
        if record.takes_sends and record.parent_key:
            keys = [record.parent_key]
            sends = workers.start(self._pending, keys, keys).result
        return _Parts(record, {ref: segments[ref] for ref in refs}, sends, writes)

    def _finish(self, parts: _Parts) -> CheckpointTuple:
        record, place = parts.record, (parts.record.key, self._store.checkpoints.name)
        pending = parts.writes()  # first, as it may be read just now
        segments = {ref: future.result()[ref] for ref, future in parts.segments.items()}
        values = {
            name: self.value(value, segments, *place) for name, value in record.channels.items()
        }
        versions = dict(record.checkpoint["channel_versions"])
        if parts.sends and record.parent_key:
            sends = self._loaded(record.parent_key, parts.sends(), only={TASKS})
            if sends:
                values[TASKS] = [value for _, _, value in sends]
                with _well_formed(place):
                    versions[TASKS] = max(versions.values(), default=1)
        checkpoint = {**record.checkpoint, "channel_values": values, "channel_versions": versions}
        writes = self._loaded(record.key, pending, segments)
        if record.is_layout_0:
            _refuse_javascript(checkpoint, writes, place)
        return CheckpointTuple(
            _config(record.key),
            cast("Checkpoint", checkpoint),
            cast("CheckpointMetadata", record.metadata),
            _config(record.parent_key) if record.parent_key else None,
            writes,
        )

    def _loaded(
        self,
        key: _CheckpointKey,
        pending: _Pending,
        segments: Mapping[_Ref, _Segment] = MappingProxyType({}),
        *,
        only: Collection[str] | None = None,
    ) -> list[PendingWrite]:
        """Return a checkpoint's writes, to all channels or some, as LangGraph applies them."""
        writes = [
            write
            for write in self._in_order(key, pending.items[key])
            if only is None or write.channel in only
        ]
        refs = dict.fromkeys(ref for write in writes for ref in write.value.refs)
        some = (segments, pending.segments)
        known = {ref: each[ref] for each in some for ref in refs if ref in each}
        known.update(self.load(key, [ref for ref in refs if ref not in known]))
        table = self._store.writes.name
        return [
            (write.task_id, write.channel, self.value(write.value, known, key, table))
            for write in writes
        ]

    def _in_order(self, key: _CheckpointKey, items: Iterable[_Item]) -> list[_Write]:
        """Decode a checkpoint's writes, and sort them.

        Those of layout 0 come last in *items*, and were there before the others.
        """
        writes: dict[tuple[str, int], _Write] = {}
        for item in items:
            for write in self._decoder.writes(item, key):
                # Of ordinary writes the first stays, of special ones the last (rule 3).
                if write.idx >= 0 or (write.task_id, write.idx) not in writes:
                    writes[write.task_id, write.idx] = write
        return sorted(writes.values())

    def list(self, selection: _Selection) -> Iterator[CheckpointTuple]:
        """Read what the first records need, then further ahead as more are asked for.

        One query has the writes of all that are neighbours in a namespace. What is between those
        that a filter takes may be much: their writes are asked for apart.
        """
        _, filter_, _, limit = selection
        damaged: list[_CheckpointError] = []
        records = islice(_until_damaged(self._selected(selection), damaged), limit)
        ahead = limit or _MIN_LIST_AHEAD
        waiting: deque[_Parts] = deque()
        segments: dict[_Ref, Future[Mapping[_Ref, _Segment]]] = {}
        while batch := list(islice(records, min(ahead, _MAX_LIST_AHEAD))):
            writes = self._start_writes(batch, apart=bool(filter_))
            for record in batch:
                # What is on its way may be large: then no more than this one and the next.
                while len(waiting) > 1 and _is_large(segments, waiting):
                    yield self._finish(waiting.popleft())
                waiting.append(self._start(record, segments, writes[record.key]))
            # While half of these are returned, the next are on their way.
            while len(waiting) > len(batch) // 2:
                yield self._finish(waiting.popleft())
            ahead *= 2
        while waiting:
            yield self._finish(waiting.popleft())
        if damaged:
            raise damaged[0]

    def _start_writes(
        self, records: Iterable[_Record], *, apart: bool
    ) -> dict[_CheckpointKey, Callable[[], _Pending]]:
        """Start reading the writes of checkpoints: of those in a namespace at once, or *apart*."""
        groups: dict[tuple[str, ...], list[_Record]] = {}
        for record in records:
            part = 3 if apart or record.is_layout_0 else 2
            groups.setdefault(record.key[:part], []).append(record)
        writes: dict[_CheckpointKey, Callable[[], _Pending]] = {}
        for group in groups.values():
            future = self._store.workers.start(self._pending_of, group)
            writes.update((record.key, future.result) for record in group)
        return writes

    def _selected(self, selection: _Selection) -> Iterator[_Record]:
        address, filter_, before_id, limit = selection
        _, checkpoint_ns, only_id = address or (None, None, None)
        # One page holds what is asked for, and the checkpoint that *before* names, which is not.
        page_limit = limit + bool(before_id) if limit and not filter_ else _FIRST_PAGE_ITEMS
        for thread_id in [address.thread_id] if address else self._store.thread_ids():
            if checkpoint_ns is None:
                items = self.all_namespaces(thread_id, page_limit, before_id, only_id)
            else:
                items = self.namespace(thread_id, checkpoint_ns, page_limit, before_id, only_id)
            for item in items:
                if _record_key(item).checkpoint_id < (before_id or _VEIL):
                    record = self._decoder.record(item)
                    if all(record.metadata.get(name) == value for name, value in filter_.items()):
                        yield record

    def namespace(
        self,
        thread_id: str,
        checkpoint_ns: str,
        limit: int,
        before_id: str | None = None,
        only_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of one of a thread's namespaces, newest first."""
        if only_id:
            key = _CheckpointKey(thread_id, checkpoint_ns, only_id)
            return self._store.checkpoint(key, consistent=self._consistent)
        return self._store.newest_first(
            thread_id,
            checkpoint_ns,
            consistent=self._consistent,
            limit=limit,
            through_id=before_id,
        )

    def all_namespaces(
        self,
        thread_id: str,
        limit: int,
        before_id: str | None = None,
        only_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of all of a thread's namespaces, newest first."""

        def read_ahead(checkpoint_ns: str) -> Iterator[_Item]:
            items = self.namespace(thread_id, checkpoint_ns, limit, before_id, only_id)
            first = self._store.workers.start(lambda: next(items, None))

            def all_items() -> Iterator[_Item]:
                if (item := first.result()) is not None:
                    yield item
                    yield from items

            return all_items()

        sources: list[Iterator[_Item | _CheckpointKey]] = [read_ahead("")]
        held = 0
        found = self._store.subgraphs(thread_id, consistent=self._consistent)
        for found_ns, items in found:
            if items is None:
                sources.append(read_ahead(found_ns))
                continue
            visible = [
                item
                for item in self._store.visible(items, found_ns)
                if only_id in (None, _record_key(item).checkpoint_id)
            ]
            held += len(visible)
            # A list, not a map, which would hold the items.
            keys = list(map(_record_key, visible))
            sources.append(iter(visible if held <= _MAX_LIST_HELD else keys))

        def id_of(each: _Item | _CheckpointKey) -> str:
            return (each if isinstance(each, _CheckpointKey) else _record_key(each)).checkpoint_id

        return self._read_again(heapq.merge(*sources, key=id_of, reverse=True))

    def _read_again(self, found: Iterator[_Item | _CheckpointKey]) -> Iterator[_Item]:
        """Read what is there as a key alone, with those that follow it."""
        for each in found:
            batch = [each]
            if isinstance(each, _CheckpointKey):
                batch += islice(found, _MAX_BATCH_GET_KEYS - 1)
            keys = [key for key in batch if isinstance(key, _CheckpointKey)]
            read = self._store.checkpoints_of(keys, consistent=self._consistent) if keys else {}
            for one in batch:
                if not isinstance(one, _CheckpointKey):
                    yield one
                elif one in read:
                    yield read[one]

    def lineage(self, address: _Address) -> Iterator[_Record]:
        """Read a checkpoint, or the newest, and then its ancestors."""
        thread_id, checkpoint_ns, checkpoint_id = address
        items = self._store.newest_first(
            thread_id,
            checkpoint_ns or "",
            consistent=self._consistent,
            limit=_FIRST_PAGE_ITEMS,
            through_id=checkpoint_id,
        )
        item = next(items, None)
        if item is None or (checkpoint_id and _record_key(item).checkpoint_id != checkpoint_id):
            return
        child = self._decoder.record(item)
        seen = {child.key}
        yield child
        while (key := child.parent_key) is not None:
            while item and _record_key(item) > key:
                item = next(items, None)
            record = None
            if key in seen:
                pass  # forged items may name each other as parents
            elif item and _record_key(item) == key:
                record = self._decoder.record(item)
            else:
                # Of two machines, one with a clock behind has given the child a smaller id.
                record = self.record(key)
            if record is None:
                what = (
                    f"An ancestor of checkpoint {child.key.checkpoint_id!r}, from which its "
                    f"DeltaChannels are rebuilt, is missing; it expired, or was pruned, or deleted "
                    f"with its run"
                )
                raise DamagedCheckpointError(what, key, self._store.checkpoints.name)
            seen.add(key)
            yield record
            child = record

    def delta_history(
        self, address: _Address, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        histories: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
        steps = list(self._delta_steps(address, histories))
        batches = _batches([record for record, _ in steps], _MAX_LIST_AHEAD)
        found = self._store.workers.side_by_side(self._pending_of, batches)
        by_key = {key: pending for pending in found for key in pending.items}
        for record, written in reversed(steps):
            for write in self._loaded(record.key, by_key[record.key], only=written):
                histories[write[1]]["writes"].append(write)
        return histories

    def _delta_steps(
        self, address: _Address, histories: Mapping[str, DeltaChannelHistory]
    ) -> Iterator[tuple[_Record, set[str]]]:
        """Read ancestors, newest first, each with the channels that its writes may hold.

        The first with a channel's value is the last for that channel: the value is its seed.
        """
        wanted = set(histories)
        for child, record in pairwise(self.lineage(address) if wanted else ()):
            written = {name for name in wanted if _may_have_written(name, record, child)}
            if written:
                yield record, written
            for name in wanted & record.channels.keys():
                value = record.channels[name]
                segments = self.load(record.key, list(value.refs))
                place = (record.key, self._store.checkpoints.name)
                histories[name]["seed"] = self.value(value, segments, *place)
                wanted.remove(name)
            if not wanted:
                return


def _refuse_javascript(
    checkpoint: Mapping[str, Any], writes: Iterable[PendingWrite], place: _Place
) -> None:
    """Refuse Sends and interrupts that are plain dicts: LangGraph drops those without a word.

    The JavaScript saver writes the tables of layout 0; its Send is ``{"node": "n", "args": {}}``.
    """
    told = [
        *(value for _, channel, value in writes if channel in (TASKS, INTERRUPT)),
        checkpoint.get("pending_sends"),
        checkpoint["channel_values"].get(TASKS),
    ]
    lists = (value if isinstance(value, (list, tuple)) else [value] for value in told)
    # One of Python's own that its serializer did not build again has "lc".
    if any(isinstance(each, dict) and "lc" not in each for each in chain.from_iterable(lists)):
        raise UndecodableCheckpointError(
            "The JavaScript saver (@rwai/langgraphjs-checkpoint-dynamodb) stored Sends or "
            "interrupts that LangGraph for Python would drop",
            *place,
            "the data are untouched: finish the pending step of the thread in JavaScript, and go "
            "on in Python after it",
        )


def _until_damaged(
    records: Iterator[_Record], damaged: list[_CheckpointError]
) -> Iterator[_Record]:
    """Read ahead until a record is damaged, and keep the error until its turn comes."""
    try:
        yield from records
    except _CheckpointError as error:
        damaged.append(error)


def _is_large(
    segments: dict[_Ref, Future[Mapping[_Ref, _Segment]]], waiting: Iterable[_Parts]
) -> bool:
    """Say whether too many segments are held; forget first those that nothing waits for."""
    if len(segments) > _MAX_LIST_SEGMENTS:
        # Neighbours share segments: those of earlier records alone are done with.
        needed = {ref: future for parts in waiting for ref, future in parts.segments.items()}
        segments.clear()
        segments.update(needed)
    return len(segments) > _MAX_LIST_SEGMENTS


def _may_have_written(channel: str, record: _Record, child: _Record) -> bool:
    """Say whether a DeltaChannel may have been written between a checkpoint and its child.

    The child's ``updated_channels`` alone does not tell: with durability "exit" it names what the
    last superstep of many wrote, and the writes of all of them stand on the one parent. So the
    channel's count of updates must stand still too.
    """
    updated = child.checkpoint.get("updated_channels")
    before, after = record.counters.get(channel, (0, 0)), child.counters.get(channel)
    return updated is None or channel in updated or after is None or after[0] != before[0]


# -- Write ----------------------------------------------------------------------------------------
# put() and put_writes().


def _check_channel(name: str, value: Any) -> None:
    if not isinstance(value, str):  # which may be a secret
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")


def _channel_of(name: str, key: _CheckpointKey) -> str:
    return f"channel {name!r} of thread {key.thread_id!r}"


def _check_form(checkpoint: Checkpoint) -> None:
    """Check what a reader will rely on."""
    if not isinstance(checkpoint.get("v"), int):
        kind = type(checkpoint.get("v")).__name__
        raise TypeError(f"checkpoint['v'] must be an integer, not {kind}")
    for name in chain(checkpoint["channel_versions"], checkpoint["channel_values"]):
        _check_channel("a channel of checkpoint", name)


def _check_run(metadata: Mapping[str, Any], thread_id: str) -> None:
    """Check what would be the keys of the index of runs (rule 9)."""
    if isinstance(run_id := metadata.get("run_id"), str) and run_id:
        _text("metadata['run_id']", run_id, max_bytes=_MAX_HASH_KEY_BYTES)
        _text("thread_id of a run", thread_id, max_bytes=_MAX_RANGE_KEY_BYTES)


def _expiry(ttl_seconds: int | None, thread_id: str, now: float) -> tuple[int, int]:
    """Return when a thread's items, and when its segments, expire that are stored now (rule 2)."""
    if ttl_seconds is None:
        return 0, 0
    # A segment lives for one to two lifetimes of a checkpoint, to the end of a period that starts
    # at another time for each thread: an active thread stores it once in a period.
    offset = zlib.crc32(thread_id.encode()) % ttl_seconds
    end = ((int(now) + offset) // ttl_seconds + 2) * ttl_seconds - offset
    return int(now) + ttl_seconds, end


class _Writer:
    """Stores checkpoints and writes."""

    def __init__(self, store: _Store, codec: _Codec, ttl_seconds: int | None) -> None:
        self._store = store
        self._codec = codec
        self._decoder = store.decoder(codec)
        # A parent that was put just now must not be missed: values may be taken from it.
        self._reader = _Reader(store, codec, consistent=True)
        self._ttl_seconds = ttl_seconds

    def put(
        self,
        key: _CheckpointKey,
        parent_id: str | None,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        outer: Mapping[str, str],
    ) -> None:
        """Store a checkpoint; *outer* names those that it is part of, by namespace."""
        _check_form(checkpoint)
        _check_run(metadata, key.thread_id)
        store, now = self._store, self._store.clock()
        expires_at, segments_expire_at = _expiry(self._ttl_seconds, key.thread_id, now)
        values = checkpoint["channel_values"].keys()
        left_out = checkpoint["channel_versions"].keys() - values - new_versions.keys()
        if is_delta := bool(metadata.get("counters_since_delta_snapshot")):
            # Ancestors that others are rebuilt from live for one to two lifetimes, so that they
            # have to be renewed once in a lifetime.
            expires_at = segments_expire_at
        parent_key = key._replace(checkpoint_id=parent_id) if parent_id else None
        parent = self._parent(parent_key, now, needed=bool(left_out) or is_delta)
        # A graph hands its messages down to a subgraph.
        around = [_CheckpointKey(key.thread_id, *each) for each in outer.items()]
        base = self.base([each for each in (parent_key, *around) if each], now, parent)
        sealer = _Sealer(key.thread_id, self._codec, base, (expires_at, segments_expire_at), now)
        record = _Record(
            key,
            parent_id,
            {name: value for name, value in checkpoint.items() if name != "channel_values"},
            metadata,
            self._channels(key, checkpoint, new_versions, parent, base, sealer),
            expires_at,
            base.secret,
        )
        self._renew(record, parent)
        item = _encode_record(record, sealer)
        with store.segments_stored(key.thread_id, sealer):
            store.checkpoints.put(item)
            named = (*record.refs, *_refs(item, "lists"))
            store.cache.remember(record._replace(named=named), now)

    def _parent(self, key: _CheckpointKey | None, now: float, *, needed: bool) -> _Record | None:
        """Return the parent's record, if it is known or needed."""
        if key is None:
            return None
        return self._store.cache.recall(key, now) or (self._reader.record(key) if needed else None)

    def base(
        self,
        keys: Iterable[_CheckpointKey],
        now: float,
        parent: _Record | None = None,
    ) -> _Base:
        """Return what is known of checkpoints and of their writes that a new item may share."""
        cache = self._store.cache
        bases = [_Base(parent.named, parent.secret)] if parent else []
        for key in keys:
            if record := cache.recall(key, now):
                bases.append(_Base(record.named, record.secret))
            if writes := cache.recall_writes(key, now):
                bases.append(writes)
        # A record of layout 0 has none.
        secrets = (each.secret for each in bases if each.secret)
        secret = next(secrets, b"") or self._codec.new_secret()
        named = chain.from_iterable(each.named for each in bases if each.secret == secret)
        return _Base(list(dict.fromkeys(named)), secret)

    def _former(self, key: _CheckpointKey, base: _Base) -> _Former:
        return _Former(self._store.cache.recall_segments(key.thread_id, base.named).values())

    def _channels(
        self,
        key: _CheckpointKey,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
        parent: _Record | None,
        base: _Base,
        sealer: _Sealer,
    ) -> dict[str, _Value]:
        """Cut a checkpoint's values; those that the parent stores are not serialized again."""
        values, channels = checkpoint["channel_values"], {}
        if parent:
            known_versions = parent.checkpoint["channel_versions"]
            for name, version in checkpoint["channel_versions"].items():
                known = parent.channels.get(name)
                if (
                    known
                    and name not in new_versions
                    and version == known_versions.get(name)
                    and (name not in values or _value_lasts(known, sealer.expires_at))
                ):
                    channels[name] = self._seal_again(key, known, sealer)
        former = self._former(key, base)
        for name, value in values.items():
            if name not in channels:
                data = self._codec.dumps(value, _channel_of(name, key))
                channels[name] = _sealed(*data, former, sealer)
        return _slim(channels, sealer)

    def _seal_again(self, key: _CheckpointKey, value: _Value, sealer: _Sealer) -> _Value:
        """Return a value whose segments last as long as the item that is sealed."""
        short = {ref for ref in value.refs if not _lasts(ref.expires_at, sealer.expires_at)}
        if not short:
            return value
        segments = self._reader.load(key, short)
        parts = (
            part._replace(
                refs=tuple(sealer.seal(segments[ref]) if ref in short else ref for ref in part.refs)
            )
            if isinstance(part, _Span)
            else part
            for part in value.parts
        )
        return value._replace(parts=tuple(parts))

    def _renew(self, record: _Record, parent: _Record | None) -> None:
        """Have the checkpoints that a record's DeltaChannels are rebuilt from last as long as it.

        Where its parent does, those before the parent do.
        """
        missing, expires_at = set(record.pending_deltas), record.expires_at
        key = record.parent_key
        if not (missing and key) or (parent and _lasts(parent.expires_at, expires_at)):
            return
        short: list[_Record] = []
        is_childs_short = False
        for each in self._reader.lineage(_Address(*key)):
            is_short = not _lasts(each.expires_at, expires_at)
            # The writes that a child was made of are as old as the child.
            if is_short or is_childs_short:
                short.append(each)
            is_childs_short = is_short
            missing -= each.channels.keys()
            if not missing:
                break
        for batch in _batches(short, _MAX_RENEWED):
            self._store_again(batch, expires_at)

    def _store_again(self, records: Sequence[_Record], expires_at: int) -> None:
        """Store checkpoints with another expiry: segments first, then writes, then records.

        What was deleted in between stays so, and so do writes that have changed.
        """
        store, thread_id = self._store, records[0].key.thread_id
        expiries, now = (expires_at, expires_at), self._store.clock()
        sealer = _Sealer(thread_id, self._codec, _Base((), b""), expiries, now)
        record_items: list[_Item] = []
        write_items: list[tuple[_Item, str, _Item | None]] = []
        lost: set[_Ref] = set()
        found = store.writes_of([record.key for record in records])
        for record in records:
            if not _lasts(record.expires_at, expires_at):
                channels = {
                    name: self._seal_again(record.key, value, sealer)
                    for name, value in record.channels.items()
                }
                renewed = record._replace(channels=channels, expires_at=expires_at)
                record_items.append(_encode_record(renewed, sealer))
                lost.update(record.named)
            for item in found[record.key]:
                if not _lasts(_expires_at(item), expires_at):
                    lost.update(self._decoder.named(item, record.key).all)
                    again = self._encode_again(item, record.key, sealer)
                    write_items.append((again, "digest = :digest", {":digest": item["digest"]}))
        store.tell_lost(thread_id, lost)
        with store.segments_stored(thread_id, sealer):
            store.writes.put_all(write_items)
            store.checkpoints.put_all(
                (item, "attribute_exists(checkpoint_id)", None) for item in record_items
            )

    def _encode_again(self, item: _Item, key: _CheckpointKey, sealer: _Sealer) -> _Item:
        """Return an item of writes with another expiry."""
        writes = {
            write.idx: (write.channel, self._seal_again(key, write.value, sealer))
            for write in self._decoder.writes(item, key)
        }
        task_id, slot = _task_and_slot(item)
        task_path = item["task_path"]["S"]
        return _encode_writes(key, task_id, task_path, slot, writes, sealer)

    def put_writes(
        self, key: _CheckpointKey, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        ordinary: dict[int, tuple[str, str, bytes]] = {}
        special: dict[int, tuple[str, str, bytes]] = {}
        for position, (channel, value) in enumerate(writes):
            _check_channel("a channel of writes", channel)
            idx = WRITES_IDX_MAP.get(channel, position)
            data = self._codec.dumps(value, _channel_of(channel, key))
            (ordinary if idx >= 0 else special)[idx] = (channel, *data)
        slot = 0
        while (
            ordinary
            and (standing := self._put_at(slot, ordinary, key, task_id, task_path)) is not None
        ):
            # Rule 3: whoever comes to this slot sees the same indices in it and in all below, and
            # goes on to the same next one, so that an index has one first value.
            with _well_formed((key, self._store.writes.name)):
                written = _decode_idx(standing["idx"]["S"])
                ordinary = {
                    idx: write
                    for idx, write in ordinary.items()
                    if not any(idx in range_ for range_ in written)
                }
                slot = max(slot, *(range_[-1] for range_ in written)) + 1
        for idx, write in special.items():
            self._put_at(idx, {idx: write}, key, task_id, task_path)

    def _put_at(
        self,
        slot: int,
        writes: Mapping[int, tuple[str, str, bytes]],
        key: _CheckpointKey,
        task_id: str,
        task_path: str,
    ) -> _Item | None:
        """Put writes under *slot*; where others stand that are to stay, return their item.

        Large ones share what the checkpoint and its earlier writes name.
        """
        store, now = self._store, self._store.clock()
        # Longer than the checkpoint, as a DeltaChannel may be rebuilt from them.
        _, expires_at = _expiry(self._ttl_seconds, key.thread_id, now)
        base, former = _Base((), b""), _Former()
        if is_large := slot >= 0 and any(
            len(data) > _INLINE_WRITE_BYTES for _, _, data in writes.values()
        ):
            # A fast node's writes may come before its checkpoint: what was put last is like it.
            newest = store.cache.last_seen(key.thread_id, key.checkpoint_ns)
            base = self.base([key] if newest is None else [key, newest], now)
            former = self._former(key, base)
        sealer = _Sealer(key.thread_id, self._codec, base, (expires_at, expires_at), now)
        values = {
            idx: (channel, _write_value(type_, data, idx, former, sealer))
            for idx, (channel, type_, data) in writes.items()
        }
        item = _encode_writes(key, task_id, task_path, slot, values, sealer)
        condition: tuple[Any, ...] = ()
        if slot >= 0:  # what is expired does not stand, though DynamoDB has yet to delete it
            condition = (
                "attribute_not_exists(task_id_idx) OR #ttl <= :now",
                {":now": {"N": str(int(now))}},
                {"#ttl": "ttl"},
            )
        with store.segments_stored(key.thread_id, sealer):
            standing = store.writes.put(item, *condition)
            if is_large and standing is None:
                named = chain.from_iterable(value.refs for _, value in values.values())
                base = _Base(list(dict.fromkeys(named)), base.secret)
                store.cache.remember_writes(key, base, now, expires_at)
        return standing


def _write_value(type_: str, data: bytes, idx: int, former: _Former, sealer: _Sealer) -> _Value:
    """Cut a large value of a write.

    Special writes are replaced, and no pruned item tells what they named: they are not cut.
    """
    if idx < 0 or len(data) <= _INLINE_WRITE_BYTES:
        return _Value(type_, (data,))
    return _sealed(type_, data, former, sealer)


def _sealed(type_: str, data: bytes, former: _Former, sealer: _Sealer) -> _Value:
    """Cut a value's bytes, and name the segments."""
    parts = (
        part
        if isinstance(part, bytes)
        else _Span(part.skip, tuple(map(sealer.seal, part.segments)))
        for part in _cut(type_, data, former)
    )
    return _Value(type_, tuple(part for part in parts if part))


def _slim(channels: Mapping[str, _Value], sealer: _Sealer) -> dict[str, _Value]:
    """Return values of which no more bytes stand in the record than may; the rest is sealed."""
    parts = {name: list(value.parts) for name, value in channels.items()}
    inline = [
        (len(part), name, at)
        for name, each in parts.items()
        for at, part in enumerate(each)
        if isinstance(part, bytes)
    ]
    total = sum(size for size, _, _ in inline)
    for size, name, at in sorted(inline, reverse=True):
        if total <= _INLINE_RECORD_BYTES or size < _MIN_SEALED_BYTES:
            break
        total -= size
        pieces = _pieces(cast("bytes", parts[name][at]))
        parts[name][at] = _Span(0, tuple(sealer.seal(_Segment(piece)) for piece in pieces))
    return {name: _Value(value.type, tuple(parts[name])) for name, value in channels.items()}


def _value_lasts(value: _Value, until: int) -> bool:
    return all(_lasts(ref.expires_at, until) for ref in value.refs)


# -- Remove ---------------------------------------------------------------------------------------
# delete_thread(), prune() and delete_for_runs().


class _Plan(NamedTuple):
    """Which checkpoints and writes of a thread go; which segments lose a name, or have one."""

    checkpoints: list[_CheckpointKey]
    writes: list[str]
    lost: set[_Ref]
    named: set[_Ref]


class _Remover:
    """Deletes threads, and checkpoints of threads; it needs no values."""

    def __init__(self, store: _Store, serde: SerializerProtocol) -> None:
        self._store = store
        self._decoder = store.decoder(_Codec(serde, is_plain=True))

    def delete_thread(self, thread_id: str) -> None:
        store = self._store
        with store.forgetting(thread_id):
            writes = store.writes.query(_writes_hash_key(thread_id), attributes=_WRITES_KEYS)
            veils = store.veils(thread_id, "deletion", thread_id)
            first = next(writes)
            store.hide(veils)  # now that both tables have answered
            for page in chain([first], writes):
                store.writes.batch_delete(page.items)
            attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "digest", "through")
            for page in store.checkpoints.query(thread_id, attributes=attributes):
                store.delete_layout_0_writes(map(_record_key, filter(_is_layout_0, page.items)))
                # The veils of a page last: they hide the rest of it.
                for is_veil in (False, True):
                    items = (item for item in page.items if (_kind(item) == "veil") is is_veil)
                    store.delete(thread_id, (item["checkpoint_id"]["S"] for item in items))

    def prune(self, thread_id: str, grace_seconds: float) -> None:
        def newest(summaries: _Summaries) -> set[_CheckpointKey]:
            kept = {key.checkpoint_ns: key for key in sorted(summaries)}.values()
            return {*kept, *self._needed(summaries, set(kept))}

        self._shrink(thread_id, newest, grace_seconds)

    def _needed(self, summaries: _Summaries, kept: set[_CheckpointKey]) -> set[_CheckpointKey]:
        """Return the ancestors that checkpoints are shown with.

        Those back to one with its value for each DeltaChannel, and a parent with pending sends.
        """
        ancestors: set[_CheckpointKey] = set()
        for key in kept:
            summary, missing, seen = summaries[key], summaries[key].pending_deltas, {key}
            # Forged items may name each other as parents.
            while missing and (each := summary.parent_key) and each in summaries.keys() - seen:
                seen.add(each)
                summary = summaries[each]
                missing -= summary.stored
            ancestors |= seen - {key}
            parent_key = summaries[key].takes_sends and summaries[key].parent_key
            if parent_key and parent_key in summaries and parent_key not in kept:
                ancestors |= self._with_sends(parent_key, summaries)
        return ancestors

    def _with_sends(self, key: _CheckpointKey, summaries: _Summaries) -> set[_CheckpointKey]:
        """Return a checkpoint if it has pending sends for its children."""
        items = self._store.writes_of([key], [key] if summaries[key].is_layout_0 else [])[key]
        writes = (self._decoder.writes(item, key) for item in items)
        return {key} if any(each.channel == TASKS for each in chain(*writes)) else set()

    def delete_for_runs(self, run_ids: Collection[str], *, force: bool, use_index: bool) -> None:
        def others(summaries: _Summaries) -> set[_CheckpointKey]:
            kept = {key for key, summary in summaries.items() if summary.run_id not in run_ids}
            if not force and (needed := self._needed(summaries, kept) - kept):
                key = min(needed)
                raise DynamoDBSaverError(
                    f"Checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, namespace "
                    f"{key.checkpoint_ns!r}, is of a run to be deleted, but another run's "
                    f"checkpoint takes a DeltaChannel or pending sends from it; keep the run, or "
                    f"pass force=True to delete it all the same"
                )
            return kept

        thread_ids, damaged = self._threads_of_runs(run_ids, use_index=use_index)
        for thread_id in sorted(thread_ids):
            # The other threads are not to wait until a damaged one is mended.
            try:
                self._shrink(thread_id, others, _GRACE_SECONDS)
            except _CheckpointError as error:  # noqa: PERF203  requests cost more
                damaged.append(error)
        if damaged:
            raise damaged[0]

    def _shrink(
        self,
        thread_id: str,
        choose: Callable[[_Summaries], set[_CheckpointKey]],
        grace_seconds: float,
    ) -> None:
        """Delete a thread's checkpoints but those that *choose* returns, and collect segments.

        Each goes before its writes, but for layout 0: who begins to read then sees no checkpoint
        without them. Writes of no checkpoint, as a call that was cut off leaves them, go too, but
        not those of the grace period: their checkpoint may be on its way (rule 5).

        A put that is under way may build on an item that this deletes, and name its segments: it
        saw that item within half a grace period. So a segment goes only if nothing named it when
        this started, nor an item that was deleted in the grace period before, and if it was not
        stored since. Checkpoints are read first, then writes, then pruned items: one that another
        call deletes before that is told of by a pruned item (rule 8), and a checkpoint that is
        put after that names what its parent or the parent's writes did. A pruned item also tells of
        what still has a name: another call may just delete that.
        """
        store = self._store
        then = store.clock() - grace_seconds
        summaries = self._survey(thread_id)
        kept = choose({key: each for key, each in summaries.items() if each.is_live})
        plan = self._plan(thread_id, summaries, kept, then)
        segments, done = self._segments_stored_by(thread_id, then)
        with store.forgetting(thread_id):
            lost = plan.lost if grace_seconds else set()
            store.tell_lost(thread_id, lost)
            # Those of layout 0 only their checkpoint tells of: they go first.
            store.delete_layout_0_writes(
                key for key in plan.checkpoints if summaries[key].is_layout_0
            )
            store.delete(thread_id, (summaries[key].range_key for key in plan.checkpoints))
            hash_key = _writes_hash_key(thread_id)
            store.writes.batch_delete(_writes_key(hash_key, range_key) for range_key in plan.writes)
            spared = {ref.range_key for ref in plan.named | lost}
            store.checkpoints.delete_all(
                (_checkpoints_key(thread_id, range_key) for range_key in segments - spared),
                # None that a put has stored again since they were listed.
                ConditionExpression="stored_at <= :then",
                ExpressionAttributeValues={":then": {"N": str(int(then))}},
            )
            store.delete(thread_id, done)

    def _survey(self, thread_id: str) -> dict[_CheckpointKey, _Summary]:
        """Read all of a thread's checkpoints."""
        summaries: dict[_CheckpointKey, _Summary] = {}
        same: dict[_Ref, _Ref] = {}  # most checkpoints name segments that their neighbours name
        for item in self._store.checkpoints.items(thread_id, *_ALL_CHECKPOINTS):
            if _kind(item) == "checkpoint":
                key, range_key = _record_key(item), item["checkpoint_id"]["S"]
                if self._store.is_live(item):
                    # A subgraph's checkpoint of layout 0 has another range key.
                    summary = self._decoder.record(item).summary(range_key)
                else:
                    nothing: frozenset[str] = frozenset()
                    summary = _Summary(
                        range_key, None, None, _is_layout_0(item), nothing, nothing,
                        takes_sends=False, refs=frozenset(self._left_of(item, key)), is_live=False,
                    )  # fmt: skip
                refs = frozenset(same.setdefault(ref, ref) for ref in summary.refs)
                summaries[key] = summary._replace(refs=refs)
        return summaries

    def _left_of(self, item: _Item, key: _CheckpointKey) -> list[_Ref]:
        """Return what an item names; of an expired one, what is still told.

        DynamoDB may have deleted its lists of names before it.
        """
        try:
            return self._decoder.named(item, key).all
        except DamagedCheckpointError:
            if self._store.is_live(item):
                raise
            return [ref for name in ("body", "lists", "segments") for ref in _refs(item, name)]

    def _plan(
        self, thread_id: str, summaries: _Summaries, kept: Collection[_CheckpointKey], then: float
    ) -> _Plan:
        """Read a thread's writes, and say what goes beside the checkpoints that are kept."""
        plan = _Plan(sorted(summaries.keys() - kept, reverse=True), [], set(), set())
        for key, summary in summaries.items():
            (plan.named if key in kept else plan.lost).update(summary.refs)
        stays = {key.writes_prefix: key in kept for key in summaries}
        attributes = ("task_id_idx", "segments", "lists", "body", "stored_at", "ttl")
        for item in self._store.writes.items(_writes_hash_key(thread_id), attributes=attributes):
            range_key = item["task_id_idx"]["S"]
            prefix = _prefix_of_write(range_key)
            key = _key_of_prefix(thread_id, prefix)
            is_kept = stays.get(prefix, not _stored_by(item, then))
            # An expired one DynamoDB deletes: a new one may be put in its place just now.
            has_names = is_kept and self._store.is_live(item)
            (plan.named if has_names else plan.lost).update(self._left_of(item, key))
            if not is_kept:
                plan.writes.append(range_key)
        return plan

    def _segments_stored_by(self, thread_id: str, then: float) -> tuple[set[str], list[str]]:
        """Return which of a thread's segments may be collected, and the pruned items done with.

        Spared are segments stored since *then*, and those which lost a name since.
        """
        segments: set[str] = set()
        spared: set[str] = set()
        done: list[str] = []
        attributes = ("checkpoint_id", "stored_at", "segments")
        for item in self._store.checkpoints.items(
            thread_id, *_PRUNED_AND_SEGMENTS, attributes=attributes
        ):
            range_key = item["checkpoint_id"]["S"]
            kind, is_old = _kind(item), _stored_by(item, then)
            if kind == "segment" and is_old:
                segments.add(range_key)
            elif kind == "pruned" and is_old:
                done.append(range_key)
            elif kind == "pruned":
                spared.update(ref.range_key for ref in _refs(item))
        return segments - spared, done

    def _threads_of_runs(
        self, run_ids: Collection[str], *, use_index: bool
    ) -> tuple[set[str], list[_CheckpointError]]:
        """Find the threads that hold checkpoints of runs, by the table's index or by a scan.

        Whether there is an index (rule 9), the query itself says at no cost. Where there is none,
        or it is still being built, or has other keys, AWS and DynamoDB Local answer
        ValidationException; moto says ResourceNotFoundException, as all three do where there is no
        table. A role that may not query the index gets AccessDeniedException:
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
        """
        # No other can be a key of the index, and hence be in it.
        sizes = {each: len(each.encode(errors="surrogatepass")) for each in run_ids}
        keys = [each for each, size in sizes.items() if 0 < size <= _MAX_HASH_KEY_BYTES]
        if use_index and keys:
            try:
                found = self._store.workers.side_by_side(self._threads_of_run, keys)
                return set().union(*found), []
            except DynamoDBSaverError:
                pass
            except ClientError as error:
                code = _code(error)
                if code == "AccessDeniedException":
                    raise DynamoDBSaverError(
                        f"The index 'run_id' of table {self._store.checkpoints.name!r} may not be "
                        f"queried with these credentials; allow dynamodb:Query on it, or pass "
                        f"use_index=False to scan the table"
                    ) from error
                if code != "ValidationException":
                    raise
        return self._scan_for_runs(run_ids)

    def _threads_of_run(self, run_id: str) -> set[str]:
        def pages_after(last: _Item | None) -> Iterator[_Page]:
            return self._store.checkpoints.query(
                run_id,
                index=_RUN_INDEX,
                after=last["thread_id"]["S"] if last else None,
                limit=100,
                attributes=("thread_id",),
            )

        return {item["thread_id"]["S"] for page in _groups(pages_after) for item in page.items}

    def _scan_for_runs(self, run_ids: Collection[str]) -> tuple[set[str], list[_CheckpointError]]:
        damaged: list[_CheckpointError] = []

        def is_of_runs(item: _Item) -> bool:
            if "run_id" in item:
                return True
            try:
                return self._decoder.record(item).run_id in run_ids
            except _CheckpointError as error:
                damaged.append(error)
                return False

        def scan(job: tuple[Sequence[str], int]) -> set[str]:
            batch, part = job
            values = {f":{index}": {"S": run_id} for index, run_id in enumerate(batch)}
            pages = self._store.checkpoints.scan(
                (*_CHECKPOINTS_KEYS, "checkpoint_ns", "run_id", "type", "metadata", "checkpoint"),
                # Layout 0 keeps the run's id in the metadata alone.
                FilterExpression=f"run_id IN ({', '.join(values)}) OR attribute_exists(metadata)",
                ExpressionAttributeValues=values,
                Segment=part,
                TotalSegments=_SCAN_PARTS,
                ConsistentRead=True,
            )
            return {
                item["thread_id"]["S"] for page in pages for item in page.items if is_of_runs(item)
            }

        batches = _batches(sorted(run_ids), _MAX_IN_OPERANDS)
        jobs = [(batch, part) for batch in batches for part in range(_SCAN_PARTS)]
        return set().union(*self._store.workers.side_by_side(scan, jobs)), damaged


# -- Copy -----------------------------------------------------------------------------------------
# copy_thread() and copy_from().


class _Copier:
    """Copies a thread within the tables, item by item; it needs no values."""

    def __init__(self, store: _Store, serde: SerializerProtocol, source: str, target: str) -> None:
        self._store = store
        self._codec = _Codec(serde, is_plain=True)
        self._decoder = store.decoder(self._codec)
        self._source = source
        self._target = target
        self._copied: set[_Ref] = set()

    def copy(self) -> None:
        store, source, target = self._store, self._source, self._target
        reason = f"copy of {source}"
        if store.has_items(target):
            veil = store.veil(target)
            if veil is None or veil.reason != reason:
                raise ValueError(
                    f"target_thread_id {target!r} has items already; delete_thread() it, or copy "
                    f"to another thread"
                )
        store.refuse_veiled(source, "source_thread_id")
        store.forget(target)  # another process may have deleted what it was
        store.hide(store.veils(target, reason, source))
        for page in store.checkpoints.query(source, *_ALL_CHECKPOINTS):
            items = [
                item for item in page.items if store.is_live(item) and _kind(item) == "checkpoint"
            ]
            if items:
                self._copy_page(items)
        store.reveal(target)

    def _copy_page(self, items: Sequence[_Item]) -> None:
        """Copy checkpoints with their segments, but those copied already, and their writes."""
        store = self._store
        whole = self._with_writes(items)
        named_by: dict[_Ref, _CheckpointKey] = {}
        for key, (item, writes) in whole.items():
            self._decoder.record(item)  # what is damaged is not copied
            for each in (item, *writes):
                named = self._decoder.named(each, key)
                # An encrypted body is encrypted anew.
                body = [] if self._codec.encrypts else named.body
                refs = (*body, *named.lists, *named.values)
                named_by |= {ref: key for ref in refs if ref not in self._copied}
        self._copy_segments(named_by)
        self._copied.update(named_by)
        store.checkpoints.batch_put(self._moved(item, key) for key, (item, _) in whole.items())
        store.writes.batch_put(
            self._moved(write, key) for key, (_, writes) in whole.items() for write in writes
        )

    def _with_writes(
        self, items: Sequence[_Item]
    ) -> dict[_CheckpointKey, tuple[_Item, list[_Item]]]:
        """Read the writes of checkpoints, and leave out those that were deleted meanwhile."""
        store, source = self._store, self._source
        by_key = {_record_key(item): item for item in items}
        layout_0 = [key for key, item in by_key.items() if _is_layout_0(item)]
        writes = store.writes_of(list(by_key), layout_0)
        # A prune deletes writes after their checkpoint, a deletion behind a veil: an item that is
        # still there now, with no veil before it, had all its writes when they were read.
        store.refuse_veiled(source, "source_thread_id")
        ends = items[0]["checkpoint_id"]["S"], items[-1]["checkpoint_id"]["S"]
        there = {
            item["checkpoint_id"]["S"]
            for item in store.checkpoints.items(source, *ends, attributes=("checkpoint_id",))
        }
        return {
            key: (item, writes[key])
            for key, item in by_key.items()
            if item["checkpoint_id"]["S"] in there
        }

    def _copy_segments(self, named_by: Mapping[_Ref, _CheckpointKey]) -> None:
        store, now = self._store, self._store.clock()
        batches = map(dict, _batches(list(named_by.items()), _MAX_BATCH_WRITE_ITEMS))
        # So many at once are held in memory, and are one bulk call to what throttles.
        while some := list(islice(batches, _COPY_BATCHES)):
            found = store.workers.side_by_side(partial(store.segment_items, self._source), some)
            items = dict(chain.from_iterable(map(dict.items, found)))
            for ref, item in items.items():
                # What is in plain under encryption too, a reader refuses where it is not due.
                is_encrypted = item.get("segment", {}).get("B", b"")[:1] == b"\x02"
                codec = self._codec if is_encrypted else _PLAIN
                _decode_segment(item, ref, codec, (named_by[ref], store.checkpoints.name))
            store.checkpoints.batch_put(
                _moved_segment(item, ref, self._target, now) for ref, item in items.items()
            )

    def _moved(self, item: _Item, key: _CheckpointKey) -> _Item:
        """Return an item as one of the target, once what its body is stored in is there."""
        store, expires_at = self._store, _expires_at(item)
        expiries = (expires_at, expires_at)
        sealer = _Sealer(self._target, self._codec, _Base((), b""), expiries, store.clock())
        moved = self._decoder.moved(item, key, self._target, sealer)
        with store.segments_stored(self._target, sealer):
            return moved  # to be put with others


class CopyReport(NamedTuple):
    """What ``copy_from()`` did: how many threads it copied or found whole, and checkpoints."""

    threads: int
    #: Checkpoints that this call copied, and those that were here before it.
    copied: int
    there_before: int


class _Progress:
    """Passes on how far a copy is: the first and last call, and between them two a second."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, tell: Callable[[str, int, int], object] | None) -> None:
        self._tell = tell
        self._due = float("-inf")
        self._untold: tuple[str, int, int] | None = None

    def __call__(self, thread_id: str, done: int, total: int) -> None:
        self._untold = (thread_id, done, total)
        if self._tell and self.clock() >= self._due:
            self.finish()

    def finish(self) -> None:
        """Tell what is not told yet."""
        if self._tell and self._untold:
            self._tell(*self._untold)
            self._due = self.clock() + _PROGRESS_SECONDS
        self._untold = None


class _Importer:
    """Copies threads from another saver, as if their graphs had run here."""

    def __init__(
        self,
        store: _Store,
        codec: _Codec,
        ttl_seconds: int | None,
        source: BaseCheckpointSaver[Any],
    ) -> None:
        self._store = store
        self._codec = codec
        self._ttl_seconds = ttl_seconds
        self._source = source
        self._reader = _Reader(store, codec, consistent=True)
        self._writer = _Writer(store, codec, ttl_seconds)

    def copy(
        self, source_ids: Iterable[Any], progress: _Progress, *, is_listed: bool
    ) -> CopyReport:
        """Copy threads; of those that the source has listed, some may be gone by now."""
        threads = copied = there_before = 0
        for source_id in source_ids:
            before, now = self._copy_thread(source_id, progress)
            if not before + now and not is_listed:
                raise DynamoDBSaverError(
                    f"The source shows no checkpoint of thread {source_id!r}; check the id, or "
                    f"leave it out of thread_ids"
                )
            threads += bool(before + now)
            copied += now
            there_before += before
        progress.finish()
        return CopyReport(threads, copied, there_before)

    def _copy_thread(self, source_id: Any, progress: _Progress) -> tuple[int, int]:
        """Return how many of the thread's checkpoints were here before, and how many came now."""
        thread_id = _thread_id(source_id)
        parents: dict[_CheckpointKey, _CheckpointKey | None] = {}
        for shown in self._source.list({"configurable": {"thread_id": source_id}}):
            address = _address(shown.config)
            parent_id = shown.parent_config and _address(shown.parent_config).checkpoint_id
            key = address.key(address.checkpoint_id)
            parents[key] = address.key(parent_id) if parent_id else None
        if not parents:
            return 0, 0
        keys = _oldest_first(parents)
        stored = self._stored_keys(thread_id)
        there_before = len(stored & parents.keys())
        done = self._stored_first(thread_id, keys, stored)
        progress(thread_id, done, len(keys))
        self._store.forget(thread_id)  # another process may have deleted what it was
        for key in self._written_since(keys, done, parents, stored):
            writes = self._shown(source_id, key).pending_writes
            # Once all is here, a graph may have gone on from it, and its writes stay.
            self._complete_writes(key, writes, replace=done < len(keys))
        for number, key in enumerate(keys[done:], done + 1):
            self._copy_checkpoint(source_id, key, parents[key], stored)
            stored.add(key)
            progress(thread_id, number, len(keys))
        return there_before, len(keys) - done

    def _stored_first(
        self, thread_id: str, keys: Sequence[_CheckpointKey], stored: Collection[_CheckpointKey]
    ) -> int:
        """Return how many of the source's checkpoints, oldest first, need no copy.

        They were put in this order: all before the last that is here have their writes.

        Raises: DynamoDBSaverError: the thread went on both here and in the source.
        """
        done = max((number for number, key in enumerate(keys, 1) if key in stored), default=0)
        last_id = keys[done - 1].checkpoint_id if done else ""
        newer = [key[2] for key in set(stored).difference(keys) if key[2] > last_id]
        if newer and done < len(keys):
            raise DynamoDBSaverError(
                f"Thread {thread_id!r} has gone on here, with checkpoint {min(newer)!r}, and in "
                f"the source, with {keys[done].checkpoint_id!r}; delete_thread() one of them, or "
                f"leave it out of thread_ids"
            )
        return done

    def _written_since(
        self,
        keys: Sequence[_CheckpointKey],
        done: int,
        parents: Mapping[_CheckpointKey, _CheckpointKey | None],
        stored: Collection[_CheckpointKey],
    ) -> list[_CheckpointKey]:
        """Return the checkpoints that are here and may have been written to in the source since.

        The last that was copied, the newest of each namespace, and the parents of new ones.
        """
        here = [key for key in keys[:done] if key in stored]
        newest = {key.checkpoint_ns: key for key in sorted(here)}.values()
        due = {*here[-1:], *newest, *(parents[key] for key in keys[done:])}
        return [key for key in here if key in due]

    def _stored_keys(self, thread_id: str) -> set[_CheckpointKey]:
        """Return the checkpoints that a thread has here.

        Raises: DynamoDBSaverError: it is being copied to or deleted.
        """
        keys: set[_CheckpointKey] = set()
        attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "veil", "through", "ttl")
        for item in self._store.checkpoints.items(
            thread_id, *_ALL_CHECKPOINTS, attributes=attributes
        ):
            if (kind := _kind(item)) == "veil":
                _decode_veil(item).refuse(f"Thread {thread_id!r}")
            # A subgraph's checkpoint of layout 0 has another range key.
            if kind == "checkpoint" and self._store.is_live(item):
                key = _record_key(item)
                if key.range_key == item["checkpoint_id"]["S"]:
                    keys.add(key)
        return keys

    def _shown(self, source_id: Any, key: _CheckpointKey) -> CheckpointTuple:
        """Return a checkpoint that the source has listed."""
        found = self._source.get_tuple({"configurable": {**key._asdict(), "thread_id": source_id}})
        if found is None:
            raise DynamoDBSaverError(
                f"The source lists checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, "
                f"namespace {key.checkpoint_ns!r}, and does not return it; where it was deleted or "
                f"expired since, call copy_from() again"
            )
        return found

    def _copy_checkpoint(
        self,
        source_id: Any,
        key: _CheckpointKey,
        parent_key: _CheckpointKey | None,
        stored: Collection[_CheckpointKey],
    ) -> None:
        cache, now = self._store.cache, self._store.clock()
        shown = self._shown(source_id, key)
        checkpoint, versions = shown.checkpoint.copy(), shown.checkpoint["channel_versions"]
        if parent_key is not None and parent_key in stored:
            if cache.recall(parent_key, now) is None and (
                record := self._reader.record(parent_key)
            ):
                cache.remember(record, now)
            if checkpoint["v"] < _FIRST_V_WITH_TASKS and TASKS not in versions:
                # A source that takes no sends from the parent's writes shows none: nor shall we.
                writes = self._shown(source_id, parent_key).pending_writes or ()
                if any(channel == TASKS for _, channel, _ in writes):
                    versions = {**versions, TASKS: max(versions.values(), default=1)}
                    checkpoint["channel_versions"] = versions
        # Nothing is taken from the parent for its version's sake: of two checkpoints with the same
        # version of a channel, a source may show another value, or none, as of a DeltaChannel
        # between snapshots. Values that are the same have segments that the parent names.
        self._writer.put(
            key,
            parent_key and parent_key.checkpoint_id,
            checkpoint,
            dict(shown.metadata),
            versions,
            shown.metadata.get("parents") or {},
        )
        self._put_writes(key, shown.pending_writes)

    def _complete_writes(
        self, key: _CheckpointKey, writes: Iterable[PendingWrite] | None, *, replace: bool
    ) -> None:
        """Put those of the source's writes that are missing or, if *replace*, not the same."""
        attributes = ("task_id_idx", "digest", "ttl")
        stored = {
            item["task_id_idx"]["S"]: item.get("digest")
            for item in self._store.writes_of([key], attributes=attributes)[key]
        }

        def is_due(item: _Item) -> bool:
            range_key = item["task_id_idx"]["S"]
            return range_key not in stored or (replace and stored[range_key] != item["digest"])

        self._put_writes(key, writes, is_due)

    def _put_writes(
        self,
        key: _CheckpointKey,
        writes: Iterable[PendingWrite] | None,
        is_due: Callable[[_Item], bool] = lambda _: True,
    ) -> None:
        """Put those of the source's writes that are due."""
        store, now = self._store, self._store.clock()
        _, expires_at = _expiry(self._ttl_seconds, key.thread_id, now)
        base = self._writer.base([key], now)
        sealer = _Sealer(key.thread_id, self._codec, base, (expires_at, expires_at), now)
        items = list(filter(is_due, self._encode_writes(key, writes or (), sealer)))
        if items:
            with store.segments_stored(key.thread_id, sealer):
                store.writes.batch_put(items)

    def _encode_writes(
        self, key: _CheckpointKey, writes: Iterable[PendingWrite], sealer: _Sealer
    ) -> list[_Item]:
        """Encode the writes that the source shows, so that they come back in the same order.

        It shows neither their indices nor their task_path. So the ordinary writes of a task are
        counted, and each item gets a path, which goes before all of LangGraph's, by its number.
        """
        parts: dict[tuple[str, int], dict[int, tuple[str, _Value]]] = {}
        counts: dict[str, int] = {}
        part: dict[int, tuple[str, _Value]] = {}
        open_task = None
        for task_id, channel, value in writes:
            idx = WRITES_IDX_MAP.get(channel, counts.get(task_id, 0))
            if idx < 0 or task_id != open_task:
                part = parts[task_id, idx] = {}
            if idx >= 0:
                counts[task_id] = idx + 1
            open_task = task_id if idx >= 0 else None
            # Cut as if nothing was before, so that it is the same each time.
            data = self._codec.dumps(value, _channel_of(channel, key))
            part[idx] = (channel, _write_value(*data, idx, _Former(), sealer))
        return [
            _encode_writes(key, task_id, f"{number:06}", slot, part, sealer)
            for number, ((task_id, slot), part) in enumerate(parts.items())
        ]


def _oldest_first(parents: Mapping[_CheckpointKey, _CheckpointKey | None]) -> list[_CheckpointKey]:
    """Sort checkpoints by their ids, but each after its parent, whichever clock made its id."""
    ordered: dict[_CheckpointKey, None] = {}
    for key in sorted(parents, key=lambda key: (key.checkpoint_id, key.checkpoint_ns)):
        line: dict[_CheckpointKey, None] = {}
        each: _CheckpointKey | None = key
        while each is not None and each in parents and not (each in ordered or each in line):
            line[each] = None
            each = parents[each]
        ordered.update(dict.fromkeys(reversed(line)))
    return list(ordered)


# -- Inspect --------------------------------------------------------------------------------------
# history(), stats() and verify(): an operator's questions about a thread.


class HistoryEntry(NamedTuple):
    """A checkpoint as ``history()`` shows it: no value, no write, no metadata but these."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    step: int | None
    source: str | None
    ts: str
    #: The nodes that come next, as far as the channels between a StateGraph's nodes tell.
    next: list[str]
    #: The size of its item, and how many segments it names.
    bytes: int
    segments: int


class ThreadStats(NamedTuple):
    """How much a thread has stored, as ``stats()`` counts it.

    ``kinds`` has for each kind of item, and ``total`` for all, ``items``, ``bytes`` and
    ``write_units``. ``segments_named`` says how often segments are named, and
    ``unshared_segment_bytes`` what they would take if each name had a segment of its own.
    """

    thread_id: str
    kinds: dict[str, dict[str, int]]
    total: dict[str, int]
    segments_named: int
    unshared_segment_bytes: int
    write_units_per_checkpoint: float
    bytes_per_checkpoint: int


class ThreadCheck(NamedTuple):
    """Whether all of a thread is there and as it was stored, as ``verify()`` finds it.

    ``items`` counts by kind, ``damaged`` has a sentence for each damage, ``orphans`` tells by range
    key of items that nothing needs, which is no damage. ``unfinished`` names the deletion or copy
    that hides the thread until it is called again. ``undecodable`` has a sentence for each item
    that another serializer or key wrote: it is not checked, nor are the segments that it names.
    """

    thread_id: str
    items: dict[str, int]
    damaged: list[str]
    orphans: dict[str, str]
    unfinished: str | None
    undecodable: list[str]


class _Inspector:
    """Looks at all that a thread has stored; it needs no values but those between nodes."""

    def __init__(self, store: _Store, serde: SerializerProtocol) -> None:
        self._store = store
        self._codec = _Codec(serde, is_plain=True)
        self._decoder = store.decoder(self._codec)
        self._reader = _Reader(store, self._codec)

    def history(self, thread_id: str, checkpoint_ns: str | None) -> Iterator[HistoryEntry]:
        """Read a thread's checkpoints in the order of list(), but no writes, and no state."""
        if checkpoint_ns is None:
            items = self._reader.all_namespaces(thread_id, _FIRST_PAGE_ITEMS)
        else:
            items = self._reader.namespace(thread_id, checkpoint_ns, _FIRST_PAGE_ITEMS)
        is_empty = True
        for item in items:
            is_empty = False
            record = self._decoder.record(item)
            step, source, ts = map(
                (record.metadata | record.checkpoint).get, ("step", "source", "ts")
            )
            yield HistoryEntry(
                *record.key,
                record.parent_id,
                step if isinstance(step, int) else None,
                source if isinstance(source, str) else None,
                str(ts),
                sorted(set(self._next_nodes(record))),
                _item_bytes(item),
                len(set(record.named)),
            )
        if is_empty:
            self._store.refuse_veiled(thread_id, "Thread")

    def _next_nodes(self, record: _Record) -> Iterator[str]:
        """Return the nodes that come next, as far as a StateGraph's channels between them tell."""
        place = (record.key, self._store.checkpoints.name)
        for name, channel in record.channels.items():
            if name == "__start__":
                yield name
            elif name == TASKS or name.startswith(("branch:to:", "join:")):
                segments = self._reader.load(record.key, list(channel.refs))
                value = self._reader.value(channel, segments, *place)
                with _well_formed(place):
                    yield from _triggered(name, value)

    def _everything(self, thread_id: str) -> Iterator[tuple[str, _CheckpointKey, _Item]]:
        """Read all that a thread has: each item with its kind and, of one, its checkpoint's key.

        Segments come last. Whatever names one was stored after it and is read before it: none that
        is named can be missed, though the thread is written to meanwhile.
        """
        store, no_key = self._store, _CheckpointKey(thread_id, "", "")
        by_prefix: dict[str, _CheckpointKey] = {}
        for item in store.checkpoints.items(thread_id, *_ALL_BUT_SEGMENTS):
            kind, key = _kind(item), no_key
            if kind == "checkpoint":
                key = _record_key(item)
                by_prefix[key.writes_prefix] = key
            yield kind, key, item
            if _is_layout_0(item):
                yield from (("write", key, write) for write in store.layout_0_writes(key))
        for item in store.writes.items(_writes_hash_key(thread_id)):
            prefix = _prefix_of_write(item["task_id_idx"]["S"])
            yield "write", by_prefix.get(prefix, _key_of_prefix(thread_id, prefix)), item
        for item in store.checkpoints.items(thread_id, *_SEGMENTS_AND_OTHERS):
            yield _kind(item), no_key, item

    def stats(self, thread_id: str) -> ThreadStats:
        kinds: dict[str, Counter[str]] = {}
        named: Counter[str] = Counter()
        unshared_bytes = 0
        for kind, key, item in self._everything(thread_id):
            size = _item_bytes(item)
            amounts = {"items": 1, "bytes": size, "write_units": -(-size // 1024)}
            kinds.setdefault(kind, Counter()).update(amounts)
            if kind in ("checkpoint", "write") and self._store.is_live(item):
                named.update({ref.range_key for ref in self._decoder.named(item, key).all})
            elif kind == "segment":
                unshared_bytes += size * named[item["checkpoint_id"]["S"]]
        total = sum(kinds.values(), Counter[str]())
        steps = kinds["checkpoint"]["items"] if "checkpoint" in kinds else 1
        return ThreadStats(
            thread_id,
            {kind: dict(amounts) for kind, amounts in kinds.items()},
            {name: total[name] for name in ("items", "bytes", "write_units")},
            named.total(),
            unshared_bytes,
            round(total["write_units"] / steps, 2),
            round(total["bytes"] / steps),
        )

    def verify(self, thread_id: str) -> ThreadCheck:
        counts: Counter[str] = Counter()
        damaged: list[str] = []
        undecodable: dict[_CheckpointKey, list[str]] = {}
        orphans: dict[str, str] = {}
        unfinished = None
        summaries: dict[_CheckpointKey, _Summary | None] = {}
        named: dict[str, tuple[_Ref, _Codec, _Place]] = {}
        for kind, key, item in self._everything(thread_id):
            if kind == "checkpoint":
                summaries[key] = None  # until it is found to be intact
            if not self._store.is_live(item):
                counts["expired"] += 1
                continue
            counts[kind] += 1
            name = item["task_id_idx" if kind == "write" else "checkpoint_id"]["S"]
            if kind == "veil":
                unfinished = _decode_veil(item).reason
                orphans[name] = f"veil of an unfinished {unfinished}"
            elif kind == "write" and key not in summaries:
                orphans[name] = "write whose checkpoint is missing"
            elif kind == "segment" and name not in named and not undecodable:
                orphans[name] = "segment that nothing intact names"
            try:
                self._check(kind, key, item, summaries, named)
            except UndecodableCheckpointError as error:
                undecodable.setdefault(key, []).append(str(error))
            except DamagedCheckpointError as error:
                damaged.append(str(error))
        for name, (_, _, place) in named.items():
            missing = DamagedCheckpointError(f"Segment {name!r} is missing", *place)
            damaged.append(str(missing))
        damaged += map(str, self._cut_chains(summaries, undecodable))
        told = list(chain.from_iterable(undecodable.values()))
        return ThreadCheck(thread_id, dict(counts), damaged, orphans, unfinished, told)

    def _check(
        self,
        kind: str,
        key: _CheckpointKey,
        item: _Item,
        summaries: dict[_CheckpointKey, _Summary | None],
        named: dict[str, tuple[_Ref, _Codec, _Place]],
    ) -> None:
        """Check an item, and note the segments that it names, or that it is one of them."""
        if kind == "segment":
            if found := named.pop(item["checkpoint_id"]["S"], None):
                _decode_segment(item, *found)
            return
        if kind == "checkpoint":
            record, table = self._decoder.record(item), self._store.checkpoints
            summaries[key] = record.summary(item["checkpoint_id"]["S"])
        elif kind == "write":
            self._decoder.writes(item, key)
            table = self._store.writes
        else:
            return
        names, place = self._decoder.named(item, key), (key, table.name)
        for refs, codec in ((names.values, self._codec), (names.lists + names.body, _PLAIN)):
            named.update((ref.range_key, (ref, codec, place)) for ref in refs)

    def _cut_chains(
        self,
        summaries: Mapping[_CheckpointKey, _Summary | None],
        undecodable: Iterable[_CheckpointKey],
    ) -> Iterator[DamagedCheckpointError]:
        """Return an error for each checkpoint with a DeltaChannel that can't be rebuilt.

        An ancestor that can't be decoded may hold any channel.
        """
        intact = {key: summary for key, summary in summaries.items() if summary}
        delta_channels = {name for each in intact.values() for name in each.pending_deltas}
        lost: dict[_CheckpointKey | None, set[str]] = {None: set()}
        lost.update((key, set()) for key in undecodable)
        for key in _oldest_first({key: each.parent_key for key, each in intact.items()}):
            summary = intact[key]
            lost[key] = lost.get(summary.parent_key, delta_channels) - summary.stored
            if names := sorted(lost[key] & summary.pending_deltas):
                what = f"An ancestor from which DeltaChannel {names[0]!r} is rebuilt is missing"
                yield DamagedCheckpointError(what, key, self._store.checkpoints.name)


def _triggered(channel: str, value: Any) -> Iterator[str]:
    """Return the nodes that the value of a StateGraph's channel between nodes triggers."""
    if channel == TASKS:
        # A Send as plain types: [node, argument, ...]
        yield from (_expect(getattr(send, "node", None) or send[0], str) for send in value)
        return
    # A deferred node's channel holds beside it whether all other nodes are done.
    is_open = True
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[1] in (True, False):
        value, is_open = value
    waited_for, _, node = channel.rpartition(":")
    # "join:a+b:c" waits for a and b; a name may hold "+", so lengths are compared.
    if channel.startswith("join:"):
        is_open = is_open and len("join:" + "+".join(value)) == len(waited_for)
    if is_open:
        yield node


# -- Arguments ------------------------------------------------------------------------------------
# What callers give, checked.


def _text(name: str, value: object, *, max_bytes: int) -> str:
    """Check a string that is stored as such."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name} is no valid Unicode: {value!r}; remove the surrogates") from None
    if size > max_bytes:
        raise ValueError(
            f"{name} has {size:,} bytes, and may have {max_bytes:,}: {value[:40]!r}...; use a "
            f"shorter one"
        )
    return value


def _thread_id(value: Any, name: str = "thread_id") -> str:
    if _is_number(value, (int, UUID)):
        value = str(value)
    if value == "":
        raise ValueError(f"{name} is empty; give it a value")
    return _text(name, value, max_bytes=_MAX_HASH_KEY_BYTES)


def _checkpoint_id(value: object) -> str:
    """Check that an id is not empty, and is nothing that could be taken for another key."""
    part = _text("checkpoint_id", value, max_bytes=_MAX_CHECKPOINT_KEY_BYTES)
    if not part:
        raise ValueError("checkpoint_id is empty; give it a value")
    if _SEPARATOR in part or part.startswith(":") or part.endswith(":"):
        raise ValueError(
            f"checkpoint_id must not hold ':::', nor start or end with ':': {part!r}; use another"
        )
    if part >= _VEIL:
        raise ValueError(
            f"checkpoint_id must start with a character below '}}': {part!r}; "
            f"LangGraph's start with a hex digit"
        )
    return part


class _Address(NamedTuple):
    """What a config's ``configurable`` names; None: not named."""

    thread_id: str
    checkpoint_ns: str | None
    checkpoint_id: str | None

    def key(self, checkpoint_id: Any) -> _CheckpointKey:
        """Check a checkpoint's id, alone and with the keys it makes, and return its key."""
        id_ = _checkpoint_id(checkpoint_id)
        key = _CheckpointKey(self.thread_id, self.checkpoint_ns or "", id_)
        range_key = key.range_key
        _text("checkpoint_id with its namespace", range_key, max_bytes=_MAX_CHECKPOINT_KEY_BYTES)
        return key


def _address(config: RunnableConfig) -> _Address:
    configurable = config.get("configurable") if isinstance(config, dict) else None
    if not isinstance(configurable, dict) or configurable.get("thread_id") is None:
        raise ValueError(
            'config["configurable"] has no "thread_id"; pass '
            '{"configurable": {"thread_id": "..."}} to the graph or the saver'
        )
    checkpoint_ns = configurable.get("checkpoint_ns")
    if checkpoint_ns is not None:
        checkpoint_ns = _text("checkpoint_ns", checkpoint_ns, max_bytes=_MAX_TEXT_BYTES)
    address = _Address(
        _thread_id(configurable["thread_id"]),
        checkpoint_ns,
        configurable.get("checkpoint_id") or None,
    )
    if address.checkpoint_id:
        address.key(address.checkpoint_id)
    return address


def _config(key: _CheckpointKey) -> RunnableConfig:
    return {"configurable": key._asdict()}


def _is_number(value: Any, type_: type | tuple[type, ...] = int) -> bool:
    return isinstance(value, type_) and not isinstance(value, bool)


def _table_name(name: str, value: Any) -> str:
    """Check a table's name, or its ARN, as far as that can be done without a request."""
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
    # HowItWorks.NamingRulesDataTypes.html. DynamoDB itself says of a shorter one than 3 characters
    # what is wrong with it.
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a table's name, not {value!r}")
    if not re.fullmatch(
        r"(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/)?[a-zA-Z0-9_.-]{1,255}", value
    ):
        raise ValueError(
            f"{name} must have at most 255 characters, of a-z, A-Z, 0-9, '_', '-' and '.', or be "
            f"a table's ARN, not {value!r}"
        )
    return value


def _serde(value: Any) -> Any:
    """Check that a serializer is none, or an object that serializes."""
    names = ("dumps_typed", "loads_typed")
    if value is None or (
        not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)
    ):
        return value
    what = value.__name__ if isinstance(value, type) else type(value).__name__
    raise TypeError(
        f"serde must be an object with dumps_typed() and loads_typed(), such as "
        f"JsonPlusSerializer(), not {'the class' if isinstance(value, type) else 'a'} {what}"
    )


def _ttl(value: Any) -> int | None:
    if value is not None and (not _is_number(value) or not 1 <= value <= _MAX_TTL_SECONDS):
        raise ValueError(
            f"ttl_seconds must be a whole number of at least 1 and at most {_MAX_TTL_SECONDS} (100 "
            f"years), or None, not {value!r}"
        )
    return cast("int | None", value)


def _refuse_string(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise TypeError(f"{name} must be a sequence of strings, not the string {value!r}")


def _client(client: Any, client_config: Mapping[str, Any] | None, max_workers: int) -> _Client:
    """Check a caller's client, or the options of one to create."""
    if client_config is not None and not isinstance(client_config, Mapping):
        raise TypeError(
            f"client_config must be a mapping of options, not a {type(client_config).__name__}; "
            f"a client goes in client="
        )
    if client is None:
        options = _client_options(client_config or {})
        return _Client(partial(_create_client, options, max_workers), is_ours=True)
    if client_config is not None:
        raise ValueError("client and client_config are both given; drop one")
    if not hasattr(client, "describe_time_to_live"):
        raise TypeError(
            f"client must be a low-level client of DynamoDB, not a {type(client).__name__}; pass "
            f'boto3.client("dynamodb"), or the meta.client of a resource'
        )
    return _Client(lambda: client, is_ours=False)


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# -- Access ---------------------------------------------------------------------------------------
# check(): what the credentials allow.


class DeniedAction(NamedTuple):
    """An action that a graph's run needs, and that the credentials do not allow on a table."""

    action: str
    table_name: str


def _denied(store: _Store, thread_id: str) -> Iterator[DeniedAction]:
    """Try each action that a graph's run needs, on a key at which no item ever is.

    A put whose condition never holds, and a deletion of nothing, need the same permissions as those
    that do something, and leave nothing to be removed: a graph may not delete from the writes.
    """
    range_key = f"~~{uuid6()}"  # after the keys of all that a thread may have
    for table, key, actions in (
        (
            store.checkpoints,
            _checkpoints_key(thread_id, range_key),
            ("GetItem", "Query", "BatchGetItem", "PutItem", "BatchWriteItem"),
        ),
        (store.writes, _writes_key(_writes_hash_key(thread_id), range_key), ("Query", "PutItem")),
    ):
        hash_key, condition = next(iter(key.values()))["S"], f"attribute_exists({table.keys[0]})"
        tries: dict[str, Callable[[], object]] = {
            "GetItem": partial(table.get, key),
            "Query": partial(list, table.query(hash_key, range_key, range_key)),
            "BatchGetItem": partial(list, table.batch_get([key], consistent=True)),
            "PutItem": partial(table.put, key, condition),
            "BatchWriteItem": partial(table.batch_delete, [key]),
        }
        for action in actions:
            try:
                tries[action]()
            except ClientError as error:  # noqa: PERF203  requests cost more
                if _code(error) != "AccessDeniedException":
                    raise
                yield DeniedAction(f"dynamodb:{action}", table.name)


# -- Saver ----------------------------------------------------------------------------------------
# The public class: documents, checks, and one hand-off for each method; then the async twins.


class DynamoDBSaver(BaseCheckpointSaver[Any]):
    """Keeps LangGraph checkpoints and their pending writes in two DynamoDB tables.

    No request is made here. The client is made here too, unless an event loop runs in this thread:
    then ``async with``, or else the first call, makes it on another thread, and raises what is
    wrong with it. A saver may be used from many threads and event loops at once, and, if it makes
    its own client, in the children of a fork; hooks on that client, and iterators that were begun,
    stay with the parent. ``close()`` ends the saver's threads, and its client unless it was given;
    the saver is a context manager, sync and async, that closes itself. A deep copy, as of a graph,
    is the saver itself.

    Two writers on one thread fork it, as with every LangGraph saver: both checkpoints are stored,
    and the newest id is the one that is shown and gone on from.

    A thread's id can be no key if it is empty or has over 2,048 bytes; a checkpoint's id if it is
    empty, has over 768 bytes with its namespace's part of the key, holds ":::", starts or ends with
    ":", or does not start below "}"; a namespace if it has over 65,536 bytes. *Cost* counts
    requests. Unless it says otherwise, each 4 KB read take a read unit, and each KB of an item
    written or deleted takes a write unit.

    Args:
        checkpoints_table_name: the table of checkpoints; ``setup()`` creates it.
        writes_table_name: the table of pending writes, another one; ``setup()`` creates it.
        client_config: options of ``botocore``'s ``create_client``: ``region_name``,
            ``endpoint_url``, ``aws_access_key_id``, ``aws_secret_access_key``,
            ``aws_session_token``, ``config``, ``verify``, ``use_ssl``, ``api_version``; or the
            names that langgraph-checkpoint-dynamodb 0.1.0 documents: ``region``, ``endpoint``,
            ``accessKeyId``, ``secretAccessKey``, ``sessionToken``. A ``config`` overrides our
            defaults one by one: 6 attempts in botocore's standard retry mode, 5 seconds to
            connect, 10 to read, a pool of two times *max_workers* connections. If the environment
            or the profile sets ``AWS_MAX_ATTEMPTS``, ``AWS_RETRY_MODE``, ``max_attempts`` or
            ``retry_mode``, retries are as in any client of botocore. The number of attempts also
            bounds how many attempts of bulk work in a row may take nothing from a table that
            throttles.
        client: a low-level DynamoDB client of botocore or boto3, instead of *client_config*. It is
            sent no more requests at once than the ``max_pool_connections`` of its config, which
            botocore sets to 10. In the child of a fork it is the same client: there, make a saver
            with another one.
        serde: turns values into bytes; LangGraph's ``JsonPlusSerializer`` unless given. Of plain
            values, it must keep lists, dicts, strings, integers, booleans, bytes and None. What
            LangGraph's own ``EncryptedSerializer`` serializes is cut before it is encrypted; the
            bytes of another serde that encrypts are new each time, and are all stored each time.
        ttl_seconds: how long an item lives after it is written, at most 100 years; None: for
            ever. The config's ``configurable`` may name another for a thread. DynamoDB deletes
            expired items within days; they are never returned. The ancestors that a
            ``DeltaChannel`` is rebuilt from live up to twice as long.
        consistent_read: False reads at half the price, and may miss what was just written. What a
            put needs of its parent, and what deletes or copies, is read consistently all the same.
        max_workers: how many async calls, and how many requests of calls that fan out, run at
            once; each has threads of its own, started as they are needed.
        cache_bytes: about how much memory the saver keeps of the threads that it reads and writes:
            values, and which segments hold them. A call whose checkpoint is in it reads less; 0:
            nothing is kept, and a put reads its parent where it needs it.
        clock: returns the time in seconds since the epoch; for tests.

    Raises:
        TypeError: *client_config* is no mapping or has an unknown option, *client* is no
            low-level client of DynamoDB, *serde* does not serialize, or *consistent_read* is not a
            boolean.
        ValueError: both *client* and *client_config* are given, an option is named twice, a table
            has a name that DynamoDB does not allow, both have the same, or a number is out of range
            or a boolean.
        botocore.exceptions.NoRegionError: no region is configured.
    """

    def __init__(
        self,
        checkpoints_table_name: str,
        writes_table_name: str,
        client_config: Mapping[str, Any] | None = None,
        *,
        client: Any = None,
        serde: SerializerProtocol | None = None,
        ttl_seconds: int | None = None,
        consistent_read: bool = True,
        max_workers: int = 64,
        cache_bytes: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(serde=_serde(serde))
        _table_name("checkpoints_table_name", checkpoints_table_name)
        _table_name("writes_table_name", writes_table_name)
        if checkpoints_table_name == writes_table_name:
            raise ValueError(
                f"checkpoints_table_name and writes_table_name are both {writes_table_name!r}; "
                f"the two tables have other keys: name two"
            )
        if not isinstance(consistent_read, bool):
            raise TypeError(f"consistent_read must be True or False, not {consistent_read!r}")
        if not _is_number(max_workers) or max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
        if not _is_number(cache_bytes) or cache_bytes < 0:
            raise ValueError(f"cache_bytes must be a number of bytes from 0, not {cache_bytes!r}")
        self.checkpoints_table_name = checkpoints_table_name
        self.writes_table_name = writes_table_name
        self.ttl_seconds = _ttl(ttl_seconds)
        self._client = _client(client, client_config, max_workers)
        if not _is_on_event_loop():
            self._client.get()
        self._callers = _Pool(max_workers, "dynamodb-saver-call")
        # Not the serde: with_allowlist() makes a shallow copy and gives that another one.
        self._shared_store = _Store(
            self._client,
            (checkpoints_table_name, writes_table_name),
            consistent_read=consistent_read,
            max_workers=max_workers,
            cache_bytes=cache_bytes,
            clock=clock,
        )

    @property
    def client(self) -> Any:
        """The client that sends the requests; in the child of a fork another one."""
        return self._client.get()

    @property
    def consistent_read(self) -> bool:
        """Whether reads see the writes before them."""
        return self._shared_store.consistent_read

    @property
    def _store(self) -> _Store:
        self._client.check_open()
        return self._shared_store

    def close(self) -> None:
        """End the saver's threads and, unless it was given, close its client, for clones too.

        Async calls that have begun are waited for. Each other call raises from then on, and so does
        what a run that is under way asks next; what it has stored stays whole.
        """
        self._callers.close()
        self._client.close()
        self._shared_store.workers.close()

    def __enter__(self) -> Self:
        self._client.check_open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._client.check_open()
        await self._run(self._client.get)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def __copy__(self) -> Self:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        return clone

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A DynamoDBSaver can't be pickled: it has threads and connections; make one in each "
            "process, with the same tables"
        )

    def setup(self, *, run_index: bool = False) -> None:
        """Create both tables with on-demand billing, and wait until they serve.

        Where ``ttl_seconds`` is set, their expiry is turned on. A second call changes nothing.

        Args:
            run_index: add the index by which ``delete_for_runs()`` finds the threads of a run, also
                to a table that is there already; wait until it serves, which on a large table
                takes as long as DynamoDB needs to read it all. Each put with a ``run_id`` then
                costs a write unit more, and so does each deletion. The table then takes no thread's
                id of over 1,024 bytes, as that is a key of the index. False: an index that is there
                stays.

        Raises:
            DynamoDBSaverError: a table or its index exists with other keys, or a table expires by
                another attribute.
        Cost: 3 requests for each table, 2 more with expiry, 1 with an index; one a second while
            a table or index is created.
        """
        schemas = [_Schema(self._store.checkpoints), _Schema(self._store.writes)]
        schemas[0].create(_RUN_INDEX if run_index else None)
        schemas[1].create()
        if run_index:
            schemas[0].create_index(_RUN_INDEX)
        if self.ttl_seconds is not None:
            for schema in schemas:
                schema.turn_expiry_on()

    def warm(self) -> None:
        """Open a connection now, so that no later call waits for the first one.

        For where a process starts with time to spare, as in AWS Lambda's initialization: the first
        connection costs some 20 ms of a whole CPU, most of them to load the certificates of all
        authorities. Where the table, the region or the permission to get an item is wrong, this
        says so; check() tries all permissions.

        Raises: DynamoDBSaverError: there is no table of checkpoints, or it has other keys.
        Cost: 1 request, half a read unit.
        """
        # No key of ours: a checkpoint's starts with another character, all others go on after it.
        self._store.checkpoints.get(_checkpoints_key("~", "~"), consistent=False)

    def check(self, thread_id: str = "~") -> tuple[DeniedAction, ...]:
        """Return which of the actions that a graph's run needs are denied on which table.

        Some of them a graph asks for late: BatchWriteItem only where a value is large. Each is
        tried here, on a key at which no item ever is: nothing is stored.

        Args:
            thread_id: a thread, which need not be there, for credentials that may use some only.

        Raises:
            ValueError: *thread_id* can be no key.
            DynamoDBSaverError: a table is not there, or has other keys.
        Cost: 7 requests; at most 4 read units and 3 write units.
        """
        return tuple(_denied(self._store, _thread_id(thread_id)))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* names, or the newest of its namespace, or None.

        Its pending writes come in the order of ``(task_path, task_id, idx)``. A checkpoint of a
        format before 4 gets its pending sends from its parent's writes, as in LangGraph's savers.

        Args:
            config: ``configurable`` holds ``thread_id``, and maybe ``checkpoint_ns`` (a subgraph's;
                the root's is "") and ``checkpoint_id``.

        Raises:
            ValueError: *config* names no thread, or an id or namespace that can be no key.
            DamagedCheckpointError: part of the checkpoint is missing, or not what was stored.
            UndecodableCheckpointError: another serializer or key wrote it, or it waits for Sends or
                interrupts that the JavaScript saver stored.
        Cost: 2 requests; side by side by id, and where this process stored or read the newest
            last, else one after the other; 3 where it knows one that is not the newest any more.
            Beside the second or after it, one for each 100 segments that are not in the cache, at
            half the price. One more before these for lists of names, where the checkpoint names
            over 48 segments, which hold about 1 MB; and one after them for segments that only
            pending writes name.
        """
        return self._reader().get_tuple(_address(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Return an iterator of checkpoints, newest first, that reads as it is asked.

        Args:
            config: the thread; without ``checkpoint_ns``, all its namespaces, with
                ``checkpoint_id`` that one alone. None: all threads, one after the other.
            filter: items that the metadata must have; the metadata hold what the run's config
                added.
            before: only checkpoints with a smaller id than this config's ``checkpoint_id``.
            limit: at most so many; 0: none.

        Raises:
            TypeError: *filter* is no dict.
            ValueError: as get_tuple().
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(), when the
                checkpoint's turn comes.
        Cost: a query for each page, of 16 checkpoints or of *limit*, then four times as many; a
            query for the writes of 8 checkpoints or of *limit*, then twice as many, up to 64, in
            each namespace, and with a *filter* for those of each checkpoint returned; each segment
            once where neighbours share it. One query more for each namespace, and the checkpoints
            of subgraphs beyond the first 1,024 are read twice. None: a scan. It holds at most two
            checkpoints, or 128 segments (32 MB), ahead of its reader.
        """
        if filter is not None and not isinstance(filter, dict):
            # Not its value: metadata may be anybody's secret.
            raise TypeError(f"filter must be a dict, not a {type(filter).__name__}")
        if limit is not None and not _is_number(limit):
            raise TypeError(f"limit must be an integer, not {limit!r}")
        address = _address(config) if config else None
        before_id = None
        if before and (before_id := (before.get("configurable") or {}).get("checkpoint_id")):
            before_id = _checkpoint_id(before_id)
        limit = limit if limit is None else max(limit, 0)
        selection = _Selection(address, filter or {}, before_id, limit)
        return self._while_open(self._reader().list(selection))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whole or, if this raises, not at all, and return its config.

        Values that the parent stores already are not stored again; nor those of the checkpoints
        that a subgraph's put is part of. The metadata are what ``get_checkpoint_metadata`` makes of
        *metadata* and *config*.

        Args:
            config: ``configurable`` holds ``thread_id``, ``checkpoint_ns``, the parent's
                ``checkpoint_id``, and maybe ``checkpoint_map`` (the outer graphs' checkpoint ids
                by namespace) and ``ttl_seconds`` (None: for ever).
            checkpoint: a value may have any size, up to 10 GB.
            metadata: 256 MB, with the checkpoint but for its values; a ``run_id`` at most 2,048
                bytes, and with one the thread's id 1,024, as both may be keys of an index.
            new_versions: the channels whose values are new since the parent.

        Raises:
            TypeError: *checkpoint* has no integer as its ``v``, or a channel that is no string, or
                a value that the serde can't encode.
            ValueError: as get_tuple(), or a ``run_id`` or its thread's id is too long, or a value
                or the metadata are too large.
            DynamoDBSaverError: DynamoDB throttles, and has taken nothing for as many attempts as
                the client makes; or the table has other keys, or an index that takes no such
                thread's id.
        Cost: 1 request; before it, one for every 25 new segments, side by side. A get of the parent
            first, where this process neither stored nor read it in the last half hour and
            *checkpoint* leaves out a value that it may have, or counts a ``DeltaChannel``'s
            updates. Where items expire, all that a ``DeltaChannel`` is rebuilt from is read and
            stored again once in ``ttl_seconds``.
        """
        address = _address(config)
        key = address.key(checkpoint["id"])
        outer = config.get("configurable", {}).get("checkpoint_map") or {}
        self._writer(config).put(
            key,
            address.checkpoint_id,
            checkpoint,
            dict(get_checkpoint_metadata(config, metadata)),
            new_versions,
            outer,
        )
        return _config(key)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's pending writes.

        An ordinary write stays as it was first stored. A special one, whose channel is in
        ``WRITES_IDX_MAP``, replaces the one before.

        Args:
            config: ``configurable`` names ``thread_id``, ``checkpoint_ns`` and ``checkpoint_id``.
            writes: pairs of a channel and a value, up to 10 GB; a special one up to 256 MB.
            task_id: the task; at most 240 bytes.
            task_path: where the task stands in the order of its superstep; at most 65,536 bytes.

        Raises:
            TypeError: a channel is no string, or the serde can't encode a value.
            ValueError: as get_tuple(), or *task_id* is empty or too long, or *task_path* is, or a
                value is too large.
            DynamoDBSaverError: as put().
        Cost: 1 request, and one for each special write beside others; one more for each earlier
            call of this task with fewer writes; before them, one for every 25 segments of values
            over 4 KB that neither the checkpoint nor its earlier writes name, as far as this
            process knows them.
        """
        address = _address(config)
        key = address.key(address.checkpoint_id or "")
        _text("task_id", task_id, max_bytes=_MAX_TASK_ID_BYTES)
        _text("task_path", task_path, max_bytes=_MAX_TEXT_BYTES)
        if not task_id:
            raise ValueError("task_id is empty; give it a value")
        self._writer(config).put_writes(key, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread: its checkpoints, its pending writes, and all that they name.

        A call that is cut off leaves the thread hidden, and can be made again.

        Raises:
            ValueError: *thread_id* can be no key.
            DynamoDBSaverError: a table is not there, and nothing is hidden; or as put().
        Cost: a query for each MB of checkpoints, segments and writes; at most two more for each
            namespace; for every 25 items deleted a request, many side by side.
        """
        self._remover().delete_thread(_thread_id(thread_id))

    def delete_for_runs(
        self, run_ids: Sequence[str], *, force: bool = False, use_index: bool = True
    ) -> None:
        """Delete the checkpoints of runs, in all threads, with their pending writes.

        Args:
            run_ids: the ``run_id`` of the metadata; LangGraph takes it from the ``metadata`` or
                ``configurable`` of the run's config, and not from the config's own ``run_id``.
            force: delete also what a ``DeltaChannel`` of another run's checkpoint is rebuilt from,
                or the parent whose writes are its pending sends (formats before 4).
            use_index: find the threads by the index of ``setup(run_index=True)``, where there is
                one. An index is eventually consistent, so a thread to which the run has put its
                first checkpoint just now may be missed; and a thread of which all that the run
                has stored was stored by langgraph-checkpoint-dynamodb 0.1.0 is not in it. False:
                scan the table, which misses neither.

        Raises:
            TypeError: *run_ids* is a string, or holds something else.
            DynamoDBSaverError: another run's checkpoint needs one of these, and *force* is False;
                the thread that the error names is as it was, and so are those whose ids sort after
                its own. Or the index may not be queried.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(). The thread that it
                names is as it was, and those of all other threads are deleted.
        Cost: a query of the index for each run, side by side, of half a read unit for 4 KB, some
            20 checkpoints; without an index these fail, and the checkpoints table is scanned, in
            four parts side by side. For each thread found, what prune() costs.
        """
        _refuse_string("run_ids", run_ids)
        doomed, remover = frozenset(run_ids), self._remover()
        for run_id in doomed:
            if not isinstance(run_id, str):
                raise TypeError(f"run_ids must hold strings, not {run_id!r}")
        if doomed:
            remover.delete_for_runs(doomed, force=force, use_index=use_index)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread: all its namespaces, checkpoints, pending writes and segments.

        Metadata that hold the source's id as ``thread_id``, a string, hold the target's in the
        copy. The target shows its checkpoints when all are there. A call that is cut off can be
        made again. A source without checkpoints is no error.

        Raises:
            ValueError: the target is not empty, or is the source.
            DynamoDBSaverError: the source itself is being copied to or deleted; or as put().
        Cost: 4 requests for each MB of the source; 2 for every 25 segments, and one for every 25
            other items, side by side; 8 more. Read units for twice the source's size, write units
            as when it was first written.
        """
        source = _thread_id(source_thread_id, "source_thread_id")
        target = _thread_id(target_thread_id, "target_thread_id")
        if source == target:
            raise ValueError(f"source_thread_id and target_thread_id are both {source!r}")
        _Copier(self._store, self.serde, source, target).copy()

    def copy_from(
        self,
        source: BaseCheckpointSaver[Any],
        thread_ids: Iterable[Any] | None = None,
        *,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> CopyReport:
        """Copy threads from another saver: all namespaces, oldest checkpoints first, with writes.

        Here is shown then what *source* shows. Of a thread that is here already, what comes after
        its newest checkpoint is copied, so a call that is cut off can be made again, and what was
        pruned here since stays gone. A thread shows what is there of it while it is copied: run no
        graph on it, here or there, until this is done. ``ttl_seconds`` counts from now on.

        Args:
            source: any saver, the same one or another; its sync methods are called, from this
                thread, or from one of the saver's own for ``acopy_from()``.
            thread_ids: the threads, as *source* knows them; None: all that it lists. A saver that
                can't list all threads raises its own error; langgraph-checkpoint-aws is one.
            progress: called with a thread's id, how many of its checkpoints are here, and how many
                *source* has. It is called at most twice a second, but always before the first
                checkpoint and after the last. An exception that it raises ends the call.

        Returns: how many threads *source* had, how many of their checkpoints this call copied, and
            how many were here before.

        Raises:
            TypeError: *source* is no saver, or *thread_ids* is a string.
            ValueError: an id can be no key.
            DynamoDBSaverError: *source* has no thread with an id of *thread_ids* (those before it
                are copied); a thread went on here and in *source*; it is being copied to or
                deleted; *source* does not return what it lists.
        Cost: of *source*, a list of each thread, then each checkpoint that is not here once, and of
            those that are the newest of each namespace and the parents of new ones; for None, a
            list of all threads before. Here, a query for each MB of a thread that is here already,
            and one for each of its checkpoints that *source* is asked about again; for each that is
            copied what put() costs, and a request for every 25 tasks that wrote. Write units as
            when a graph had written it. One checkpoint is in memory at a time.
        """
        if not isinstance(source, BaseCheckpointSaver):
            raise TypeError(f"source must be a checkpoint saver, not a {type(source).__name__}")
        _refuse_string("thread_ids", thread_ids)
        importer = _Importer(self._store, _Codec(self.serde), self.ttl_seconds, source)
        is_listed = thread_ids is None
        if thread_ids is None and isinstance(source, DynamoDBSaver):
            thread_ids = source.threads()
        elif thread_ids is None:
            thread_ids = dict.fromkeys(
                each.config.get("configurable", {})["thread_id"] for each in source.list(None)
            )
        return importer.copy(thread_ids, _Progress(progress), is_listed=is_listed)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Delete the checkpoints of threads but the newest of each namespace, or all.

        With the newest stay its pending writes, the ancestors that its ``DeltaChannel``s are
        rebuilt from, and in a format before 4 the parent that holds its pending sends. Segments
        that nothing names any more go in a later call, when the grace period is over.

        Args:
            thread_ids: threads that are not there are no error.
            strategy: ``"keep_latest"``, or ``"delete"`` or ``"delete_all"`` (LangGraph's Agent
                Server says so), which is delete_thread() for each.
            grace_seconds: how long a segment without a name is spared, for the sake of a put that
                builds on a checkpoint that is just being deleted; less than an hour is for threads
                that nobody writes to: 0 collects at once.

        Raises:
            ValueError: another *strategy*, or *grace_seconds* is no such number.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(); the thread is as it
                was.
            DynamoDBSaverError: as delete_thread().
        Cost: a query for each MB of the thread's checkpoints, segments and writes; a request for
            every 25 items deleted, one for each segment, many side by side; one more query for the
            newest of each namespace that is of a format before 4.
        """
        _refuse_string("thread_ids", thread_ids)
        if strategy not in ("keep_latest", "delete", "delete_all"):
            raise ValueError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
        if not _is_number(grace_seconds, (int, float)) or not 0 <= grace_seconds < float("inf"):
            raise ValueError(
                f"grace_seconds must be a number of seconds of at least 0, not {grace_seconds!r}"
            )
        remover = self._remover()
        for thread_id in [_thread_id(each) for each in thread_ids]:
            if strategy == "keep_latest":
                remover.prune(thread_id, grace_seconds)
            else:
                remover.delete_thread(thread_id)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the ancestors of the checkpoint that *config* names hold of each channel.

        ``seed`` is the newest value stored in one, if any; ``writes`` are those made since, oldest
        first.

        Raises: DamagedCheckpointError: an ancestor is missing before a value is found. It may have
            expired, or been pruned or deleted with its run.
        Cost: a query for each page of the chain, of 16 checkpoints, then four times as many; side
            by side, one for the writes of every 64 ancestors whose children may have updated one of
            the channels.
        """
        return self._reader().delta_history(_address(config), channels)

    def threads(self) -> Iterator[str]:
        """Return an iterator of the ids of the threads in the checkpoints table, in no order.

        A thread whose first put() never came, though a put_writes() did, is not there.

        Cost: a scan that skips the rest of a thread when a page ends in it.
        """
        return self._while_open(self._store.thread_ids())

    def has_thread(self, thread_id: str) -> bool:
        """Return whether the tables have anything of a thread, shown or hidden or expired.

        Raises: ValueError: *thread_id* can be no key.
        Cost: 1 request, or 2 where the checkpoints table has nothing.
        """
        return self._store.has_items(_thread_id(thread_id))

    def history(
        self, thread_id: str, *, checkpoint_ns: str | None = None
    ) -> Iterator[HistoryEntry]:
        """Return an iterator of a thread's checkpoints, newest first, without their values.

        Args:
            thread_id: the thread.
            checkpoint_ns: a namespace, the root's is ""; None: all.

        Raises:
            ValueError: *thread_id* or *checkpoint_ns* can be no key.
            DynamoDBSaverError: an unfinished deletion or copy hides the thread.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple().
        Cost: the queries of list(), but none for writes or values, except for the segments of
            values between nodes; one more where nothing is found.
        """
        if checkpoint_ns is not None:
            _text("checkpoint_ns", checkpoint_ns, max_bytes=_MAX_TEXT_BYTES)
        return self._while_open(self._inspector().history(_thread_id(thread_id), checkpoint_ns))

    def stats(self, thread_id: str) -> ThreadStats:
        """Measure all that a thread has stored; of a thread that is not there, nothing.

        Raises:
            ValueError: *thread_id* can be no key.
            DamagedCheckpointError: as get_tuple().
        Cost: a query for each MB of checkpoints, segments and writes.
        """
        return self._inspector().stats(_thread_id(thread_id))

    def verify(self, thread_id: str) -> ThreadCheck:
        """Check all that a thread has stored, and find what nothing needs.

        Each record, write and segment against its digest, each segment that is named, each ancestor
        that a ``DeltaChannel`` is rebuilt from. Expired items count as gone. No value is decoded.

        Raises: ValueError: *thread_id* can be no key.
        Cost: a query for each MB of checkpoints, segments and writes.
        """
        return self._inspector().verify(_thread_id(thread_id))

    def get_next_version(self, current: Any, channel: None = None) -> Any:  # noqa: ARG002  theirs
        """Return the version after *current*: 1, 2, 3 and so on.

        A string of another saver, whose thread was copied here, stays a string of that form:
        ``"00000000000000000000000000000002.0.5"`` is followed by one that starts with
        ``"00000000000000000000000000000003."``, as LangGraph compares the versions of a thread.
        """
        if isinstance(current, str):
            count = current.partition(".")[0]
            return f"{int(count) + 1:0{len(count)}}.{0:016}"
        return 1 if current is None else int(current) + 1

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        """Return what an iterator has read ahead only as long as the saver is open."""
        self._client.check_open()
        for item in items:
            yield item
            self._client.check_open()

    # Built for each call, as with_allowlist() gives a clone another serde than the saver's.

    def _reader(self) -> _Reader:
        return _Reader(self._store, _Codec(self.serde))

    def _writer(self, config: RunnableConfig) -> _Writer:
        ttl = _ttl(config.get("configurable", {}).get("ttl_seconds", self.ttl_seconds))
        return _Writer(self._store, _Codec(self.serde), ttl)

    def _remover(self) -> _Remover:
        return _Remover(self._store, self.serde)

    def _inspector(self) -> _Inspector:
        return _Inspector(self._store, self.serde)

    # The async methods run the ones above in threads of the saver's own, so that 64 runs at once
    # are not held to the event loop's default executor.

    async def _run(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        call = partial(method, *args, **kwargs)
        return await asyncio.wrap_future(self._callers.submit(call))

    async def asetup(self, *, run_index: bool = False) -> None:
        """Async setup()."""
        await self._run(self.setup, run_index=run_index)

    async def awarm(self) -> None:
        """Async warm()."""
        await self._run(self.warm)

    async def acheck(self, thread_id: str = "~") -> tuple[DeniedAction, ...]:
        """Async check()."""
        return await self._run(self.check, thread_id)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async get_tuple()."""
        return await self._run(self.get_tuple, config)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Async list()."""
        return self._iterate(self.list(config, filter=filter, before=before, limit=limit))

    async def _iterate(self, items: Iterator[T]) -> AsyncIterator[T]:
        while (item := await self._run(lambda: next(items, None))) is not None:
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async put()."""
        return await self._run(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Async put_writes()."""
        await self._run(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Async delete_thread()."""
        await self._run(self.delete_thread, thread_id)

    async def adelete_for_runs(
        self, run_ids: Sequence[str], *, force: bool = False, use_index: bool = True
    ) -> None:
        """Async delete_for_runs()."""
        await self._run(self.delete_for_runs, run_ids, force=force, use_index=use_index)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Async copy_thread()."""
        await self._run(self.copy_thread, source_thread_id, target_thread_id)

    async def acopy_from(
        self,
        source: BaseCheckpointSaver[Any],
        thread_ids: Iterable[Any] | None = None,
        *,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> CopyReport:
        """Async copy_from()."""
        return await self._run(self.copy_from, source, thread_ids, progress=progress)

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Async prune()."""
        await self._run(self.prune, thread_ids, strategy=strategy, grace_seconds=grace_seconds)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Async get_delta_channel_history()."""
        return await self._run(self.get_delta_channel_history, config=config, channels=channels)

    def athreads(self) -> AsyncIterator[str]:
        """Async threads()."""
        return self._iterate(self.threads())

    async def ahas_thread(self, thread_id: str) -> bool:
        """Async has_thread()."""
        return await self._run(self.has_thread, thread_id)

    def ahistory(
        self, thread_id: str, *, checkpoint_ns: str | None = None
    ) -> AsyncIterator[HistoryEntry]:
        """Async history()."""
        return self._iterate(self.history(thread_id, checkpoint_ns=checkpoint_ns))

    async def astats(self, thread_id: str) -> ThreadStats:
        """Async stats()."""
        return await self._run(self.stats, thread_id)

    async def averify(self, thread_id: str) -> ThreadCheck:
        """Async verify()."""
        return await self._run(self.verify, thread_id)


if __name__ == "__main__":
    raise SystemExit(
        "This file has no command line; install the package, and call langgraph-dynamodb, or "
        "python -m langgraph_checkpoint_dynamodb in a folder without this file"
    )
