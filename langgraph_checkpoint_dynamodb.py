# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the langgraph-checkpoint-dynamodb authors
"""LangGraph checkpoints on Amazon DynamoDB: one file, two tables, botocore only.

    saver = DynamoDBSaver("checkpoints", "writes", {"region_name": "eu-central-1"})
    saver.setup()  # once: creates the two tables
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "alice"}}
    graph.invoke({"messages": [("user", "hello")]}, config)
    graph.get_state(config)  # any process, any time later

Words, as backup programs such as restic and borg use them:

    chunk        a piece of a value's bytes, at most 256 KB; it never changes
    chunk id     16 bytes: the BLAKE2b digest of a chunk's bytes
    recipe       how to build a value's bytes: a list of literal bytes and chunk ids
    manifest     what a checkpoint's item holds: the checkpoint without its values, the metadata,
                 and a recipe for each channel
    chunk index  this process's record of the chunks that a thread has stored
    token        8 random bytes in each checkpoint and write of a thread; a thread that is deleted
                 and started again gets a different token
    tombstone    an item that lists the ids of chunks which just lost a reference
    marker       an item that hides a thread's root, and with it the thread, while the thread is
                 deleted or copied to

The module in ten sentences: 1. A checkpoint item is a manifest. 2. A recipe's bytes and chunks,
joined, are the bytes that the serde wrote. 3. Content alone decides where a chunk ends, so equal
content gives equal chunks. 4. Chunks are stored before the item that refers to them. 5. The chunk
index says which chunks are stored or being stored, and a put sends only the others. 6. Content too
large for its item is chunked itself, and the item holds its recipe. 7. A write item holds a task's
pending writes in the same form. 8. An item is shown for its time to live, and stays stored, with
all that it needs, to the end of a period after that. 9. A marker hides a thread while it is deleted
or copied to. 10. Prune deletes checkpoints at once, and a chunk once nothing has referred to it for
an hour.

Invariants:

 1. An item must be written only when every chunk that it refers to is durable.
 2. The chunks, the writes and the ancestors (for a DeltaChannel) that a checkpoint needs must live
    at least as long as the checkpoint is shown.
 3. An older item of a thread must not be shown longer than a newer item of the thread.
 4. Reads must see the writes before them, unless the saver was told otherwise. Chunks are read
    eventually consistently, at half the price, and again consistently if they are not found.
 5. A missing chunk or a broken item must raise an exception that names thread, namespace and
    checkpoint.
 6. Expired items must never be returned, and two different (thread, namespace, id) must never share
    a key.
 7. A deletion, copy, prune or set_ttl that was cut off must finish when it is called again, or say
    in one sentence why it can't.
 8. Retries must be bounded by lack of progress, never by the size of the job.
 9. Arguments that pass the checks must fit DynamoDB's limits; arguments that can't fit are refused
    before the first request.
10. The sizes, counts and depth of stored bytes must be checked before the bytes are decoded.

Storage layout 1. The checkpoints table has the hash key ``thread_id`` and the range key
``checkpoint_id``; the writes table has ``thread_id_checkpoint_id_checkpoint_ns`` and
``task_id_idx``; all four are strings. The hash key is the thread's id in both. ``<ns>`` is
``<length>:<namespace>:``, the length counted in characters; ``<checkpoint>`` is the range key of a
checkpoint's item; ``<chunk id>`` is 32 hex digits; ``<ttl>`` and ``<idx>`` are decimal.

    table        item        range key                     other attributes (? = not on every item)
    -----------  ----------  ----------------------------  ----------------------------------------
    checkpoints  checkpoint  <id>                          checkpoint_ns parent_checkpoint_id?
                                                           run_id? type blob shown_until? ttl?
                                                           copied?
    checkpoints  subgraph    ~c<ns><id>                    the same
    checkpoints  tombstone   ~t<uuid>                      chunks stored_at ttl
    checkpoints  chunk       ~x<chunk id>[:<ttl>]          blob stored_at ttl?
    checkpoints  marker      }                             checkpoint_ns reason through
    writes       write       <checkpoint>:::<task>:::<idx> task_path idx type blob stored_at ttl?

Rules:
 1. The first byte of a ``blob`` says how the rest is packed: 0 not at all, 1 by zlib with the
    preset dictionary ``_DICTIONARY``, 2 by encryption (rule 9). A chunk's blob holds the chunk.
    Every other blob holds, in this order: 16 bytes of digest (rule 8), the token, 16 bytes of
    secret if it is encrypted, one byte of level, and the content.
 2. The serde's ``dumps_typed`` wrote the content; the attribute ``type`` names its type. Content of
    a checkpoint is [checkpoint, metadata, {channel: recipe}, flag]. The flag says whether the
    metadata held the thread's id, which is read from the hash key so that a copy has its own.
    Content of writes is [[idx, channel, *recipe], ...]. A recipe is [type, part, ...]. A part is
    bytes; or [ids], the 16 bytes of each chunk id joined; or [ids, skip], without the first
    ``skip`` bytes of the first chunk. The parts, joined, are the value's bytes, and ``type`` is the
    type that ``dumps_typed`` returned for the value.
 3. The level says how many times the content was replaced with its own recipe: 0 for most items.
    Content of over 64 KB is replaced, and so is a manifest that has over 3 KB once packed, or that
    refers to over 64 chunks.
 4. The chunks that an item refers to have the item's ``ttl`` in their keys, if it has one. Chunks
    are stored before the item, expire with it and are deleted after it: no reader misses a chunk.
 5. A write item holds one call's ordinary writes; ``idx`` lists them, as "0" or "0..2,4". The key
    of a task's first item has 0, that of a later item an index above all before it. Each index
    keeps its first value until that value expires. A special write (error, scheduled, interrupt,
    resume) has its own item, and its last value stays. Writes may be stored before their
    checkpoint. Writes that are an hour old and have no checkpoint, in a thread that has a newer
    one, are useless.
 6. Keys hold "#" and a digest instead of a namespace that has over 512 bytes or starts with "#".
    Keys of the writes table do the same for a thread's id that holds ":::", as the keys of
    layout 0 do, or that looks like such a digest.
 7. Numbers in attributes are seconds since the epoch. DynamoDB may delete an item from its ``ttl``
    on. A checkpoint is shown until its ``shown_until``; 0 means that a prune has hidden it, and
    keeps it for a DeltaChannel. A checkpoint without ``shown_until`` is shown until its ``ttl``, or
    forever. Checkpoints that ``copy_from()`` stored have ``copied``. One checkpoint may stand for
    all ancestors that ``copy_from()`` did not copy; its ``shown_until`` is 1. ``stored_at`` is when
    an item was sent.
 8. The digest is BLAKE2b-128 of all that follows it in the blob, keyed by the BLAKE2b-256 digest of
    the item's string attributes: name and value in turn, sorted by name, each after its length in
    4 bytes. The digest detects damage and, under encryption, a moved item. Without encryption its
    key is public, so the digest does not stop a forger.
 9. With LangGraph's EncryptedSerializer, values and content are chunked before encryption. Each
    blob is packed as without encryption; then the byte 0xC1, with which no msgpack begins, and the
    packed bytes are encrypted. The blob is the byte 2, the cipher's name, NUL and the ciphertext.
    Chunk ids are keyed with the secret of the items that refer to them.
10. The checkpoints table may have an index named ``run_id``, with the hash key ``run_id`` and the
    range key ``thread_id``: it holds the keys of the checkpoints that have a ``run_id``.
11. Layout 0, of langgraph-checkpoint-dynamodb 0.1.0, is read as it is. Its checkpoint item has
    ``metadata`` and no ``blob``, in the root namespace (checkpoints of subgraphs stand among the
    root's, without a prefix, and are not shown). Its write item has ``channel`` and ``value``, the
    hash key ``<thread>:::<checkpoint id>:::<namespace>`` and the range key ``<task>:::<idx>``.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import os
import random
import re
import sys
import threading
import time
import zlib
from bisect import bisect_left
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
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import blake2b
from itertools import chain, groupby, islice, pairwise
from pathlib import Path
from pickle import PicklingError
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar, cast
from uuid import UUID
from weakref import WeakSet

# Botocore has no types unless its stubs are installed: a copy of this file has to pass either way.
from botocore.exceptions import (  # type: ignore[import-untyped,unused-ignore]
    BotoCoreError,
    ClientError,
)
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    empty_checkpoint,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS

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
    "CopyReport",
    "DamagedCheckpointError",
    "DeniedAction",
    "DynamoDBSaver",
    "DynamoDBSaverError",
    "HistoryEntry",
    "Removal",
    "ThreadCheck",
    "ThreadStats",
    "UndecodableCheckpointError",
]
__version__ = "1.0.0"
# Release 0.1.0 was imported by this name.
sys.modules[f"{__name__}.saver"] = sys.modules[__name__]

A = TypeVar("A")
T = TypeVar("T")
_Item = dict[str, dict[str, Any]]

# -- Limits ---------------------------------------------------------------------------------------
# First DynamoDB's, from https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
# ServiceQuotas.html and the API reference of BatchGetItem and BatchWriteItem; then ours.

_MAX_ITEM_BYTES: Final = 400 * 1024
_MAX_HASH_KEY_BYTES: Final = 2048
_MAX_RANGE_KEY_BYTES: Final = 1024
_MAX_BATCH_GET_KEYS: Final = 100
_MAX_BATCH_WRITE_ITEMS: Final = 25
_MAX_IN_OPERANDS: Final = 100
# DynamoDB takes a 32-bit number as a Limit; a page of 1 MB hardly holds this many of our items.
_MAX_PAGE_ITEMS: Final = 4096
# The size of the first page if the caller named none; each page after it is larger.
_FIRST_PAGE_ITEMS: Final = 16
# Limit on a namespace, a task's path and a list of indices, which an item holds beside its keys.
_MAX_TEXT_BYTES: Final = 64 * 1024
_MAX_NAMESPACE_KEY_BYTES: Final = 512
# A put has to end within a third of the grace period (20 minutes); a partition takes 1 MB a second.
_MAX_VALUE_BYTES: Final = 1024**3
# Limits on what an item is decoded to: 400 KB could expand to gigabytes of objects.
_MAX_CONTENT_BYTES: Final = 32 * 1024 * 1024
_MAX_CONTENT_OBJECTS: Final = 500_000
_MAX_CHUNK_IDS: Final = 500_000
_MAX_LEVEL: Final = 3
# Each nested extension type of msgpack is decoded from a copy of its bytes. Only large ones count.
_MAX_NESTED_EXTENSIONS: Final = 20
_LARGE_EXTENSION_BYTES: Final = 64 * 1024
# A smaller value stays in the content: a chunk of its own would cost a write unit and a read unit,
# and save one unit.
_INLINE_VALUE_BYTES: Final = 1024
# A larger value of a write is chunked as a channel's is.
_INLINE_WRITE_BYTES: Final = 4 * 1024
# Larger content is chunked (rule 3). The limit on a packed manifest is lower, as the next manifest
# repeats most of it.
_INLINE_MANIFEST_BYTES: Final = 3 * 1024
_INLINE_CONTENT_BYTES: Final = 64 * 1024
# A manifest that refers to more chunks is chunked as well: ids do not compress, and the next
# manifest repeats all but the last of them.
_MAX_INLINE_IDS: Final = 64
# A chunk ends once it has the minimum size and the CRC-32 of its last element is divisible by the
# divisor, or once it has the maximum size: (minimum, maximum, divisor). Large chunks are cut first,
# then small ones from the rest.
_CHUNK_SIZES: Final = (
    (4 * 1024, 16 * 1024, 2),
    (1024, 8 * 1024, 1),
)
_LIST_CHUNK_SIZES: Final = (3 * 1024, 64 * 1024, 12 * 1024)
# Long texts are seldom edited, and best read in few chunks: (size of the text, its large chunks).
_TEXT_CHUNK_SIZES: Final = (
    (192 * 1024, (32 * 1024, 512 * 1024, 8)),
    (48 * 1024, (8 * 1024, 128 * 1024, 8)),
    (0, (4 * 1024, 64 * 1024, 8)),
)
# Content has no long texts but chunk ids, to which the next content adds some at the end.
_ID_CHUNK_SIZES: Final = ((512, 8 * 1024, 1),)
_MAX_CHUNK_BYTES: Final = 256 * 1024
# The end of a run becomes a chunk if it has this size, but not the end of a list that ends a value.
_MIN_LAST_CHUNK_BYTES: Final = 512
# Chunks are looked up by their last bytes, this many: different messages may end alike in fewer.
_CHUNK_END_BYTES: Final = 256
# A text may be cut after this pattern of two classes of bytes, found about once in 512 bytes.
_TEXT_CLASSES: Final = bytes((byte * 167 >> 3 ^ byte >> 1 ^ byte) & 1 for byte in range(256))
_TEXT_PATTERN: Final = b"\0\0\0\1\0\1\1\0\1"
_MIN_CUT_TEXT_BYTES: Final = 8 * 1024
# An entry of a dict is opened if it is larger than the value's size divided by this, an element of
# a list if it is larger than a large chunk.
_OPENED_PART: Final = 24
_MAX_OPENED_DEPTH: Final = 12
# A walk ends after this many objects if they average fewer than this many bytes, and the rest of
# the value is cut as text: Python walks small objects many times slower than serdes write them.
_MAX_SMALL_OBJECTS: Final = 8192
_SMALL_OBJECT_BYTES: Final = 64
# A range key may have 1,024 bytes. A write's holds its checkpoint's, the task's id, an index of up
# to 10 digits, and ":::" twice.
_MAX_CHECKPOINT_KEY_BYTES: Final = 768
_MAX_TASK_ID_BYTES: Final = 240
# Checkpoints of earlier formats have their pending sends in their parent's writes.
_FIRST_V_WITH_TASKS: Final = 4
# A scan for runs is made in this many parallel parts, which DynamoDB calls segments.
_SCAN_PARTS: Final = 4
_MAX_TTL_SECONDS: Final = 100 * 365 * 86_400
# One tombstone holds at most this many chunk ids.
_MAX_TOMBSTONE_IDS: Final = 16_000
_DEFAULT_ATTEMPTS: Final = 6
# Error codes of throttling. Botocore has retried such a request before it raises the error:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_REFUSALS: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
# A prune keeps chunks that were stored, or lost a reference, within the grace period. A put relies
# on a chunk for a third of the period after it was seen, and has another third to store its item.
_GRACE_SECONDS: Final = 3600.0
_MAX_SEEN_SECONDS: Final = _GRACE_SECONDS / 3
_MAX_PUT_SECONDS: Final = 2 * _GRACE_SECONDS / 3
# A list reads this many checkpoints at first, later up to this many, but no more once they refer to
# this many chunks, of 256 KB at most.
_MIN_LIST_AHEAD: Final = 8
_MAX_LIST_AHEAD: Final = 64
_MAX_LIST_CHUNKS: Final = 128
# A list of all namespaces finds subgraphs' checkpoints in a different order than it returns them:
# the list holds this many, and only the keys of further ones, which it reads again.
_MAX_LIST_HELD: Final = 1024
# The minimum time between two calls of a copy's progress.
_PROGRESS_SECONDS: Final = 0.5
# How long a call waits for chunks that another call is storing.
_SHARED_SECONDS: Final = 5.0
# At most this many checkpoints at once are stored again, with their chunks and writes.
_MAX_MOVED: Final = 16
# Approximate size of a Python object beside its bytes, for the limit of the cache.
_OBJECT_BYTES: Final = 200
# A thread's index keeps this many namespaces, the most recently used.
_MAX_INDEXED_NAMESPACES: Final = 256

# -- Errors ---------------------------------------------------------------------------------------
# Bad arguments are ValueError or TypeError; botocore's own errors pass through.


class DynamoDBSaverError(Exception):
    """The state of the tables, or an answer of DynamoDB, prevents the call."""


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


_RESTORE: Final = "restore the table's items from a backup, or go on from an earlier checkpoint"


class DamagedCheckpointError(_CheckpointError):
    """A checkpoint or write has changed since it was stored, or part of it is missing.

    ``thread_id``, ``checkpoint_ns``, ``checkpoint_id`` and ``table_name`` say where.
    """

    _advice = _RESTORE


class UndecodableCheckpointError(_CheckpointError):
    """This saver's serializer or key can't decode a stored checkpoint or write.

    This is not damage: a different serializer or key wrote it. ``thread_id``, ``checkpoint_ns``,
    ``checkpoint_id`` and ``table_name`` say where.
    """

    _advice = "the data are untouched: read them with the serializer and the key that wrote them"


def _closed() -> DynamoDBSaverError:
    return DynamoDBSaverError(
        "This saver is closed; use it inside its `with` block, or make another one"
    )


# -- Client ---------------------------------------------------------------------------------------
# Makes botocore's client for DynamoDB in a quarter of the usual time, imports not counted.

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


#: Objects with threads, locks or connections, which don't work in a forked child until renewed.
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
    """The client of a saver and its clones: the caller's, or one that is made on first use.

    In a forked child, a client of our own is made again: two processes on one connection would read
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
        """Return botocore's client; the first call makes it and sets its limits."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
                config = getattr(self._made.meta, "config", None)
                retries = getattr(config, "retries", None) or {}
                self.attempts: int = retries.get("total_max_attempts", _DEFAULT_ATTEMPTS)
                # Botocore's own default.
                self.connections: int = getattr(config, "max_pool_connections", 10)
                self.free_connections = threading.Semaphore(self.connections)
            return self._made

    def check_open(self) -> None:
        if self.is_closed:
            raise _closed()

    def close(self) -> None:
        """Refuse requests from now on; close a client of our own."""
        self.is_closed = True
        if self._made is not None and self._is_ours:
            self._made.close()


def _client_options(client_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options under botocore's names."""
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
        # Imported here and below: a saver with the caller's client needs none of these modules.
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
        # This module marshals items and checks arguments itself: a twentieth less CPU a call.
        parameter_validation=False,
        user_agent_extra=f"langgraph-checkpoint-dynamodb/{__version__}",
    )
    theirs: Any = options.get("config") or Config()

    def make(session: Any) -> Any:
        merged = ours.merge(theirs).merge(Config(retries=_retries(theirs.retries or {}, session)))
        return session.create_client("dynamodb", **{**options, "config": merged})

    # A stock session decides, and says what is wrong, if a later botocore lacks names that the lean
    # session uses, if the endpoint rules are not in force, or if no region is set. This may take
    # more time, and never changes what is sent.
    refusals = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
    with suppress(BotoCoreError, *refusals), _no_collection():
        client = make(_lean_session())
        if client.meta.region_name is not None and client._ruleset_resolver is not None:  # noqa: SLF001
            return client
    return make(botocore.session.get_session())


def _retries(given: Mapping[str, Any], session: Any) -> Any:
    """Return a caller's retries, with ours if neither the caller nor the operator has any.

    Ours name both mode and number: botocore 1.44 has different defaults than 1.43. Botocore itself
    adds an operator's retries, from the environment or the profile, to the caller's.
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
    """Pause Python's cyclic garbage collector.

    Botocore's modules and DynamoDB's model are many objects and no garbage: looking through them
    again and again takes a quarter of a cold start. The pause is safe. Reference counts still free
    memory, and other threads wait some 50 ms for cycles to be freed. The collector is on again
    afterwards if it was on before, even after an exception.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _lean_session() -> Any:
    """Return a botocore session that makes DynamoDB's client and loads nothing for other services.

    A stock session lists the folders of 440 services twice, parses 1.25 MB of endpoints that
    DynamoDB's rules override, and registers 120 handlers for events that DynamoDB does not have.
    This is three quarters of a client's cost, on each cold start.
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
            # STS and SSO, which may provide the credentials, get stock clients.
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
                return {"partitions": []}, path  # a path outside botocore would override the rules
            for suffix, unpacked in ((".json.gz", gzip.decompress), (".json", bytes)):
                with suppress(FileNotFoundError):
                    return json.loads(unpacked(Path(path + suffix).read_bytes())), path
            return super().load_data_with_path(name)  # type: ignore[no-any-return,unused-ignore]

    lean = Session(include_builtin_handlers=False)
    # Unlike Path.is_dir(), os.path.isdir() does not raise if permission is missing.
    if lean.get_config_variable("data_path") or os.path.isdir(Loader.CUSTOMER_DATA_PATH):  # noqa: PTH112
        return session.get_session()  # the user has models of their own
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
# The only code that sends requests: pages, batches, retries after throttling, parallel work, and
# the requests of setup().


# Messages of DynamoDB and its emulators about a table whose keys differ from the request's: "The
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
# attribute that is too long to be its key: https://docs.aws.amazon.com/amazondynamodb/latest/
# developerguide/GSI.OnlineOps.ViolationDetection.html. Both emulators refuse it even if the item
# lacks the index's other key.
_LONG_KEYS: Final = re.compile("size of all range keys|Size of hashkey|Size limit exceeded")


def _response(error: ClientError) -> dict[str, Any]:
    # The stubs declare each part optional.
    return cast("dict[str, Any]", error.response)


def _code(error: ClientError) -> str:
    return cast("str", _response(error)["Error"]["Code"])


def _run_into(future: Future[T], function: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  whoever waits for it gets it
            future.set_exception(error)


class _Pool:
    """Threads for calls: new threads in a forked child, and no calls after close()."""

    def __init__(self, max_workers: int, name: str, *initializer: Any) -> None:
        self._options = max_workers, name, *initializer
        self._is_closed = False
        self.after_fork()
        _renewed_after_fork(self)

    def after_fork(self) -> None:
        self._executor = ThreadPoolExecutor(*self._options)

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Start a call in the context of the caller.

        If no thread can be started, Python's pool raises, but leaves the call in its queue: a call
        that is cancelled then does nothing.
        """
        future: Future[T] = Future()
        run = partial(copy_context().run, function, *args)
        try:
            if not self._is_closed:
                self._executor.submit(_run_into, future, run)
                return future
        except RuntimeError:
            if not future.cancel():
                wait([future])
            if not self._is_closed:
                raise
        raise _closed()

    def close(self) -> None:
        """Refuse calls from now on, and wait for the calls that have begun."""
        self._is_closed = True
        self._executor.shutdown()


class _Workers:
    """Threads for requests side by side.

    A call on one of these threads never waits for the pool, as a pool that waits on itself stalls:
    the call does the work that it starts on its own thread.
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

        No call is left behind: after an exception, Ctrl-C included, no call begins, and this method
        waits for the calls under way.
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
    """The undone rest of a bulk call's request, and the number of attempts by botocore."""

    undone: Sequence[Any]
    attempts: int = 1
    error: ClientError | None = None


class _Page(NamedTuple):
    items: list[_Item]
    is_last: bool


def _groups(pages_after: Callable[[_Item | None], Iterator[_Page]]) -> Iterator[_Page]:
    """Yield one page, then skip the rest of the group in which the page ends, and so on.

    *pages_after* takes the last item read (None at first), and returns the pages that follow its
    group. The first page that holds an item is yielded.
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
        self.client = client
        self.name = name
        self.keys = keys
        self._workers = workers

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request; say what is wrong with the table if it causes an error.

        The request waits for a free connection: with more requests at once, urllib3 would open
        connections, drop them, and warn of each.
        """
        client = self.client.get()
        try:
            with self.client.free_connections:
                self.client.check_open()
                answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except ClientError as error:
            code = _code(error)
            if code == "ResourceNotFoundException":
                raise DynamoDBSaverError(
                    f"Table {self.name!r} does not exist in region {client.meta.region_name!r}; "
                    f"run setup(), or check the table's name and the client's region"
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
        """Raise DynamoDBSaverError if DynamoDB's message says that the table has different keys.

        DescribeTable would say more, but a graph need not have permission to call it.
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
            # The keys of the table itself are checked before the request.
            raise DynamoDBSaverError(
                f"An index of table {self.name!r} refuses a thread_id of over "
                f"{_MAX_RANGE_KEY_BYTES:,} bytes, even without a run_id ({message}); use a "
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
        """Put an item and return None; if *condition* fails, return the stored item.

        A conditional put that is sent again because its answer was lost returns its own item.
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

        With an *index*, which is eventually consistent: all, or those *after* a range key.
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

        Each later page has four times as many, unless DynamoDB's limit of 1 MB ends it.
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
            # An empty page need not be the last.
            yield _Page(answer["Items"], is_last=not last_key)
            if not last_key:
                return
            parameters["ExclusiveStartKey"] = last_key

    def batch_get(self, keys: Sequence[_Item], *, consistent: bool) -> list[_Item]:
        """Get items, in batches side by side; items that don't exist are left out."""
        found: list[_Item] = []

        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            request = {"Keys": batch, "ConsistentRead": consistent}
            answer = self.call("batch_get_item", RequestItems={self.name: request})
            found.extend(answer["Responses"].get(self.name, ()))
            undone = answer.get("UnprocessedKeys", {}).get(self.name)
            left: Sequence[_Item] = undone["Keys"] if undone else ()
            return left

        self._in_bulk("batch_get_item", send, _batches(keys, _MAX_BATCH_GET_KEYS))
        return found

    def batch_put(self, items: Iterable[_Item], stamp: Callable[[], _Item] = dict) -> None:
        """Put items; each batch gets the attributes that *stamp* returns when it is sent."""

        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            stamped = stamp()
            requests = [{"PutRequest": {"Item": item | stamped}} for item in batch]
            return [each["PutRequest"]["Item"] for each in self._undone_of(requests)]

        self._in_bulk("batch_write_item", send, _batches(list(items), _MAX_BATCH_WRITE_ITEMS))

    def batch_delete(self, keys: Iterable[_Item]) -> None:
        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            requests = [{"DeleteRequest": {"Key": key}} for key in batch]
            return [each["DeleteRequest"]["Key"] for each in self._undone_of(requests)]

        self._in_bulk("batch_write_item", send, _batches(list(keys), _MAX_BATCH_WRITE_ITEMS))

    def _undone_of(self, requests: Sequence[_Item]) -> Sequence[_Item]:
        answer = self.call("batch_write_item", RequestItems={self.name: requests})
        undone: Sequence[_Item] = answer.get("UnprocessedItems", {}).get(self.name, ())
        return undone

    def put_all(self, puts: Iterable[tuple[Any, ...]]) -> None:
        """Put items one by one, side by side, each with the arguments of put()."""

        def send(batch: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
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
        """Send batches side by side, in rounds; send again the items that *send* returns as undone.

        DynamoDB throttles a partition that gets more than it takes: https://docs.aws.amazon.com/
        amazondynamodb/latest/developerguide/bp-partition-key-design.html. If DynamoDB refused part
        of a round, the next comes after back-off and has half as many batches at once; if it took a
        whole round, the next has twice as many. A call of any size goes on as long as DynamoDB
        takes some of it. A call fails once nothing was taken in as many attempts in a row as the
        client makes for one request, botocore's own counted. With six attempts, this takes at most
        31 seconds if DynamoDB refuses whole requests and botocore sleeps, and at most 3 if DynamoDB
        answers that all items are undone.
        """
        self.client.get()
        most = min(self._workers.max_workers, self.client.connections)
        left, width, level = deque(batches), most, 0
        refused, since = 0, time.monotonic()
        while left:
            if level:  # exponential back-off with full jitter
                time.sleep(random.uniform(0, min(5.0, 0.05 * 2**level)))  # noqa: S311  no secret
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
            if refused >= self.client.attempts:
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
    """Makes a table, its index and its expiry, with an administrator's requests."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._client = table.client.get()

    def create(self, index: Mapping[str, Any] | None = None) -> None:
        """Create the table and its *index* unless the table exists, and wait until it serves.

        Raises: DynamoDBSaverError: the table exists with different keys.
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
                f"Table {name!r} exists with different keys: {complaint}; use a different name"
            )

    def create_index(self, index: Mapping[str, Any]) -> None:
        """Add an index to the table unless the index exists, and wait until it serves.

        Raises: DynamoDBSaverError: the index exists with different keys.
        """
        name = index["IndexName"]
        while True:
            table = self._table.call("describe_table", TableName=self._table.name)["Table"]
            indexes = {each["IndexName"]: each for each in table.get("GlobalSecondaryIndexes", ())}
            if found := indexes.get(name):
                keys = [each["AttributeName"] for each in index["KeySchema"]]
                if complaint := _complaint(found["KeySchema"], keys, table):
                    raise DynamoDBSaverError(
                        f"Table {self._table.name!r} has an index {name!r} with different keys: "
                        f"{complaint}; use a table without that index, or call setup() without "
                        f"run_index: delete_for_runs() then scans the table"
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
        # An index of a table with provisioned capacity needs capacity of its own.
        provisioned = {"ProvisionedThroughput": units} if any(units.values()) else {}
        # Another process may be adding it now; a table adds one index at a time.
        with _tolerated("ResourceInUseException", "LimitExceededException"):
            self._client.update_table(
                TableName=self._table.name,
                AttributeDefinitions=_definitions(self._table.keys, index),
                GlobalSecondaryIndexUpdates=[{"Create": {**index, **provisioned}}],
            )

    def turn_expiry_on(self) -> None:
        """Have DynamoDB delete items by their attribute ``ttl``.

        Raises: DynamoDBSaverError: DynamoDB deletes them by a different attribute.
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
                # Another process may have just turned it on.
                if self._expiry()["TimeToLiveStatus"] in is_off:
                    raise
        elif found["AttributeName"] != "ttl":
            raise DynamoDBSaverError(
                f"Table {name!r} expires items by {found['AttributeName']!r}, not by 'ttl'; "
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
    """Return the definitions of the key attributes, all of them strings."""
    schema = chain(_key_schema(keys), index["KeySchema"] if index else ())
    names = dict.fromkeys(each["AttributeName"] for each in schema)
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def _complaint(
    schema: Sequence[Mapping[str, str]], keys: Sequence[str], table: Mapping[str, Any]
) -> str:
    """Say how the keys of a table or its index differ from *keys*; "" if they don't."""
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


# -- Chunks ---------------------------------------------------------------------------------------
# Cuts a value's bytes. The bytes around a cut alone decide where a chunk ends (content-defined
# chunking), so equal content gives equal chunks in every process, and an edit changes only the
# chunks that it touches.

# msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), by an object's first byte.
# Fixed: how many bytes follow. Sized: the width of its length, and the bytes beside that length.
# Nested: the width of its count, and the number of objects for each count.
_MSGPACK_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4,
                         0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5,
                         0xD7: 9, 0xD8: 17}  # fmt: skip
_MSGPACK_SIZED: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1),
                         0xC9: (4, 1), 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
_MSGPACK_NESTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
# JsonPlusSerializer's extension types up to this one have msgpack inside: objects, pydantic models
# and the like; the last is a DeltaChannel's snapshot.
_MSGPACK_DELTA_SNAPSHOT: Final = 7

_Sizes = tuple[int, int, int]


class _SmallObjectsError(Exception):
    """Too many small msgpack objects follow byte *at*: walking over them would take too long."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class _Run(NamedTuple):
    """Part of a value: its start, then each position where a chunk may end."""

    positions: list[int]
    sizes: tuple[_Sizes, ...]
    is_list: bool = False


class _Walk:
    """Finds the runs of a value, at any depth, in one pass.

    A list may be cut between its elements, a dict between its entries, a long text at a pattern.
    The head of an opened object holds its length, which changes with every append, so it stays out
    of the runs. Content (rule 2) is opened more often, as the next content repeats most of it.
    """

    def __init__(self, data: bytes, *, is_content: bool) -> None:
        self.runs: list[_Run] = []
        self._data = data
        self._objects = 0
        self._entry_bytes = max(_INLINE_VALUE_BYTES, len(data) // _OPENED_PART)
        self._element_bytes = self._entry_bytes if is_content else _LIST_CHUNK_SIZES[1]
        self._text_bytes = 0 if is_content else _MIN_CUT_TEXT_BYTES

    def text(self, start: int, end: int) -> None:
        """Add a run of a text or of unknown bytes."""
        size = end - start
        classes, positions = self._data[start:end].translate(_TEXT_CLASSES), [start]
        at = classes.find(_TEXT_PATTERN)
        while at >= 0:
            positions.append(start + at + len(_TEXT_PATTERN))
            at = classes.find(_TEXT_PATTERN, at + 1)
        if positions[-1] < end:
            positions.append(end)
        large = [sizes for least, sizes in _TEXT_CHUNK_SIZES if size >= least]
        sizes = (*large, *_CHUNK_SIZES) if self._text_bytes else _ID_CHUNK_SIZES
        self.runs.append(_Run(positions, sizes))

    def open(self, at: int, depth: int = 0) -> int:
        """Open the object at *at*, add the runs in it, and return where it ends."""
        data, first = self._data, self._data[at]
        if first in _MSGPACK_SIZED:
            width, extra = _MSGPACK_SIZED[first]
            start = at + 1 + width + extra
            end = start + int.from_bytes(data[at + 1 : at + 1 + width], "big")
            if not extra and end - start > max(self._entry_bytes, self._text_bytes):
                self.text(start, min(end, len(data)))
            elif extra and data[start - 1] <= _MSGPACK_DELTA_SNAPSHOT:
                self._open_extension(data[start - 1], start, end, depth + 1)
            return end
        if depth == _MAX_OPENED_DEPTH or not (first in _MSGPACK_NESTED or 0x80 <= first < 0xA0):
            return self._end(at, len(data)) or at
        at, count, step = _msgpack_container(data, at)
        return self._open_list(at, count, depth) if step == 1 else self._open_dict(at, count, depth)

    def _open_extension(self, code: int, start: int, end: int, depth: int) -> None:
        """Open a snapshot's value, or an object: a short list of its class, arguments and so on."""
        mark = len(self.runs)
        with suppress(IndexError, KeyError):
            if code == _MSGPACK_DELTA_SNAPSHOT:
                found = self.open(start, depth)
            else:
                at, count, step = _msgpack_container(self._data, start)
                found = self._open_dict(at, count * step, depth, has_keys=False)
            if found == end:
                return
        del self.runs[mark:]  # it is not msgpack

    def _open_list(self, at: int, count: int, depth: int) -> int:
        run = _Run([at], _CHUNK_SIZES, is_list=True)
        self.runs.append(run)
        for _ in range(count):
            end = self._end(at, self._element_bytes)
            if not end:
                mark = len(self.runs)
                end = self.open(at, depth + 1)
                if len(self.runs) > mark:
                    run, at = _Run([end], _CHUNK_SIZES, is_list=True), end
                    self.runs.append(run)
                    continue
            run.positions.append(at := end)
        return at

    def _open_dict(self, at: int, count: int, depth: int, *, has_keys: bool = True) -> int:
        # Entries change in place, so all chunks are small.
        run = _Run([at], _CHUNK_SIZES)
        self.runs.append(run)
        for _ in range(count):
            value_at = (self._end(at, len(self._data)) or at) if has_keys else at
            end = self._end(value_at, self._entry_bytes)
            if not end:
                mark = len(self.runs)
                end = self.open(value_at, depth + 1)
                if len(self.runs) > mark:
                    if has_keys:
                        run.positions.append(value_at)
                    run, at = _Run([end], _CHUNK_SIZES), end
                    self.runs.append(run)
                    continue
            run.positions.append(at := end)
        return at

    def _end(self, at: int, max_bytes: int) -> int:
        """Return where the object at *at* ends; 0 if it has more than *max_bytes*.

        Raises: _SmallObjectsError: too many small objects.
        """
        data, start, pending = self._data, at, 1
        while pending:
            if at - start > max_bytes:
                return 0
            if self._objects > _MAX_SMALL_OBJECTS and at < self._objects * _SMALL_OBJECT_BYTES:
                raise _SmallObjectsError(start)
            some = min(pending, 256)
            pending -= some
            self._objects += some
            for _ in range(some):
                first = data[at]
                if first < 0x80 or first >= 0xE0:
                    at += 1
                elif first in _MSGPACK_FIXED:
                    at += 1 + _MSGPACK_FIXED[first]
                elif first in _MSGPACK_SIZED:
                    width, extra = _MSGPACK_SIZED[first]
                    at += 1 + width + extra + int.from_bytes(data[at + 1 : at + 1 + width], "big")
                elif 0xA0 <= first < 0xC0:
                    at += 1 + (first & 0x1F)
                else:
                    at, count, step = _msgpack_container(data, at)
                    pending += count * step
        return at if at - start <= max_bytes else 0


def _msgpack_container(data: bytes, at: int) -> tuple[int, int, int]:
    """Return where a container's elements start, their number, and the objects in each.

    Raises: KeyError: the object at *at* is neither an array nor a map.
    """
    first = data[at]
    if 0x80 <= first < 0xA0:
        return at + 1, first & 0x0F, 2 if first < 0x90 else 1
    width, step = _MSGPACK_NESTED[first]
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big"), step


def _ends(data: bytes, positions: Sequence[int], sizes: Sequence[_Sizes]) -> list[int]:
    """Return where the chunks of a run end: large chunks first, then small ones from the rest."""
    (smallest, largest, divisor), *finer = sizes
    start, ends = positions[0], []
    for before, end in pairwise(positions):
        size = end - start
        if size >= largest or (size >= smallest and zlib.crc32(data[before:end]) % divisor == 0):
            ends.append(end)
            start = end
    if finer:
        ends += _ends(data, positions[bisect_left(positions, start) :], finer)
    return ends


def _list_ends(data: bytes, positions: Sequence[int]) -> list[int]:
    """Return where the large chunks of a list end.

    These ends hardly depend on where the list starts, unlike those of _ends(): the minimum size is
    the distance from one element with such a CRC-32 to the next, whether a chunk ends at the first
    or not. A list that loses its first elements therefore keeps most of its chunks.
    """
    smallest, largest, usual = _LIST_CHUNK_SIZES
    start, candidate, ends = positions[0], -smallest, []
    for before, end in pairwise(positions):
        # Small elements are candidates less often.
        is_candidate = zlib.crc32(data[before:end]) % (usual // (end - before) or 1) == 0
        if end - start >= largest or (is_candidate and end - candidate >= smallest):
            ends.append(end)
            start = end
        if is_candidate:
            candidate = end
    return ends


def _run_ends(data: bytes, run: _Run, *, is_last: bool) -> list[int]:
    """Return the cuts of a run: the start of its first chunk, then where each chunk ends.

    The end of a list that ends its value stays inline: most lists grow there.
    """
    positions, sizes, is_list = run
    ends = [positions[0], *(_list_ends(data, positions) if is_list else ())]
    ends += _ends(data, positions[bisect_left(positions, ends[-1]) :], sizes)
    if positions[-1] - ends[-1] >= _MIN_LAST_CHUNK_BYTES and not (is_list and is_last):
        ends.append(positions[-1])
    return ends


def _cut(type_: str, data: bytes, *, is_content: bool = False) -> list[tuple[bytes, bool]]:
    """Cut a value's bytes into parts, in order; with each, say whether it is a chunk or inline."""
    if len(data) <= _INLINE_VALUE_BYTES:
        return [(data, False)]
    walk = _Walk(data, is_content=is_content)
    try:
        # A serde may use the name "msgpack" for a format of its own.
        if type_ != "msgpack" or walk.open(0) != len(data):
            walk.runs = []
    except (IndexError, KeyError):
        walk.runs = []
    except _SmallObjectsError as error:
        walk.text(error.at, len(data))
    if not any(len(run.positions) > 1 for run in walk.runs):
        walk.runs = []
        walk.text(0, len(data))
    parts: list[tuple[bytes, bool]] = []
    at = 0
    for run in walk.runs:
        ends = _run_ends(data, run, is_last=run is walk.runs[-1])
        if len(ends) > 1:
            parts.append((data[at : ends[0]], False))
            for start, end in pairwise(ends):
                starts = range(start, end, _MAX_CHUNK_BYTES)
                parts += [(data[each : min(each + _MAX_CHUNK_BYTES, end)], True) for each in starts]
            at = ends[-1]
    parts.append((data[at:], False))
    return [part for part in parts if part[0]]


def _check_msgpack(type_: str, data: bytes, max_objects: int | None = None) -> None:
    """Check how deep extension types are nested, and how many objects there are.

    Raises: ValueError: too deep or too many; its message completes "it has ...".
    """
    is_small = len(data) <= (_LARGE_EXTENSION_BYTES if max_objects is None else max_objects)
    # Only an extension type with a length of four bytes is large.
    has_few = max_objects is None and data.count(b"\xc9") <= _MAX_NESTED_EXTENSIONS
    if type_ != "msgpack" or is_small or has_few:
        return
    at = objects = 0
    ends: list[int] = []
    with suppress(IndexError, KeyError):  # the serde refuses bytes that are not msgpack
        while at < len(data):
            objects += 1
            while ends and at >= ends[-1]:
                ends.pop()
            inside, end = _msgpack_inside(data, at)
            is_large = end - inside > _LARGE_EXTENSION_BYTES
            if is_large:
                ends.append(end)
            if max_objects is not None and objects > max_objects:
                raise ValueError(f"more than {max_objects:,} msgpack objects")
            if len(ends) > _MAX_NESTED_EXTENSIONS:
                raise ValueError(
                    f"more than {_MAX_NESTED_EXTENSIONS} large extension types in each other"
                )
            at = inside if is_large or max_objects is not None else end


def _msgpack_inside(data: bytes, at: int) -> tuple[int, int]:
    """Return where the next object starts after this object's head, and where this object ends.

    The two differ only for an extension type with msgpack inside. A container counts as its head
    alone: its objects come after it.
    """
    first = data[at]
    if first < 0x80 or first >= 0xE0:
        return at + 1, at + 1
    if 0xA0 <= first < 0xC0:
        end = at + 1 + (first & 0x1F)
    elif first in _MSGPACK_FIXED:
        end = at + 1 + _MSGPACK_FIXED[first]
    elif first in _MSGPACK_SIZED:
        width, extra = _MSGPACK_SIZED[first]
        start = at + 1 + width + extra
        end = start + int.from_bytes(data[at + 1 : at + 1 + width], "big")
        if extra and data[start - 1] <= _MSGPACK_DELTA_SNAPSHOT:
            return start, end
    else:
        end, _, _ = _msgpack_container(data, at)
    return end, end


# -- Codec ----------------------------------------------------------------------------------------
# Packs and encrypts bytes for storage, and reverses both.

# The checkpoint and the table of an item, for errors.
_Place = tuple["_CheckpointKey", str]
# Bytes that most manifests, writes and messages hold: zlib need not learn them each time (rule 1).
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


class _PlainSerde:
    """Decodes as a serde does, but builds nothing except plain types.

    For calls that need no values, so that a forged item runs no code in them. An object is replaced
    with the data that the object would be made from. This works for LangGraph's own
    JsonPlusSerializer only; any other serde decodes its bytes itself.
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
            import json  # noqa: PLC0415  only older serializers wrote it

            return json.loads(data[1])
        return self._plain.loads_typed(data)


# The exceptions of msgpack, JSON and pickle. Other exceptions are not about the value: a serde may
# ask a service for a key.
_NOT_SERIALIZABLE: Final = (
    AttributeError, OverflowError, PicklingError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class _Codec:
    """Turns values into bytes, and bytes into stored blobs, with a saver's serde.

    With LangGraph's EncryptedSerializer, values are serialized and cut in plain, and each blob is
    compressed and encrypted by itself (rule 9). Any other serde that encrypts does so before values
    are cut, so equal values have different bytes. *is_plain*: no object is built, only the data
    that it would be made from is decoded.
    """

    def __init__(self, serde: SerializerProtocol, *, is_plain: bool = False) -> None:
        self._cipher = serde.cipher if type(serde) is EncryptedSerializer else None
        self.encrypts = self._cipher is not None
        inner = serde.serde if type(serde) is EncryptedSerializer else serde
        self._serde = _PlainSerde(inner) if is_plain else inner

    def dumps(self, value: Any, what: str = "a value") -> tuple[str, bytes]:
        """Encode a value; if the serde can't, say *what* it is."""
        try:
            type_, data = self._serde.dumps_typed(value)
        except _NOT_SERIALIZABLE as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{what}: {error}") from error
        data = bytes(data)
        if len(data) > _MAX_VALUE_BYTES:
            raise ValueError(f"A value has {len(data):,} bytes, and may have {_MAX_VALUE_BYTES:,}")
        try:
            _check_msgpack(type_, data)
        except ValueError as error:
            raise ValueError(f"A value can't be stored: it has {error}") from None
        return type_, data

    def loads(self, type_: str, data: bytes, place: _Place) -> Any:
        """Decode bytes, which may be damaged, forged or a different serde's."""
        try:
            _check_msgpack(type_, data)
            return self._serde.loads_typed((type_, data))
        except Exception as error:
            # A serde may raise anything.
            what = (
                f"Bytes of type {type_!r} can't be decoded ({type(error).__name__}); another "
                f"serializer may have written them"
            )
            raise UndecodableCheckpointError(what, *place) from error

    def seal(self, data: bytes) -> bytes:
        """Return a blob (rule 1)."""
        packer = zlib.compressobj(4, zdict=_DICTIONARY)
        packed = packer.compress(data) + packer.flush()
        packed = b"\x01" + packed if len(packed) < len(data) else b"\x00" + data
        if self._cipher is None:
            return packed
        name, encrypted = self._cipher.encrypt(_SEALED + packed)
        if "\0" in name:
            raise ValueError(f"The cipher's name {name!r} holds NUL; give it another")
        return b"\x02" + name.encode() + b"\0" + encrypted

    def unseal(self, blob: bytes, max_bytes: int, place: _Place) -> bytes:
        """Return the bytes that seal() was given, at most *max_bytes*."""
        if self._cipher is None and blob[:1] == b"\x02":
            what = "Bytes are encrypted; give the saver the EncryptedSerializer that wrote them"
            raise UndecodableCheckpointError(what, *place)
        if self._cipher:
            if blob[:1] != b"\x02":
                is_plain = blob[:1] in (b"\0", b"\1")
                raise _not_encrypted(place) if is_plain else _unknown_format(blob, place)
            name, _, encrypted = blob[1:].partition(b"\0")
            plain = self._decrypt(name.decode(errors="replace"), encrypted, place)
            if plain[:1] != _SEALED:
                raise _of_another_layout(place)
            blob = plain[1:]
        if blob[:1] == b"\x00":
            return blob[1:]
        if blob[:1] != b"\x01":
            raise _unknown_format(blob, place)
        unpacker = zlib.decompressobj(zdict=_DICTIONARY)
        with suppress(zlib.error):
            data = unpacker.decompress(memoryview(blob)[1:], max_bytes + 1)
            if len(data) <= max_bytes and unpacker.eof and not unpacker.unused_data:
                return data
        raise DamagedCheckpointError("Compressed bytes are damaged", *place)

    def open_layout_0(self, type_: str, data: bytes, place: _Place) -> tuple[str, bytes]:
        """Decrypt a value of layout 0, in which the serde itself encrypted each value."""
        if self._cipher is None:
            return type_, data
        inner, plus, name = type_.partition("+")
        if not plus:
            raise _not_encrypted(place)
        plain = self._decrypt(name, data, place)
        # A blob of layout 1 would otherwise pass for a value of type "bytes".
        if plain[:2] in (_SEALED + b"\0", _SEALED + b"\1"):
            raise _of_another_layout(place)
        return inner, plain

    def _decrypt(self, name: str, data: bytes, place: _Place) -> bytes:
        assert self._cipher is not None  # noqa: S101  the callers have checked
        try:
            return self._cipher.decrypt(name, data)
        except Exception as error:
            # A cipher may raise anything.
            what = (
                f"Bytes can't be decrypted with this key ({type(error).__name__}); another key "
                f"wrote them, unless somebody has changed them"
            )
            raise UndecodableCheckpointError(what, *place) from error


def _unknown_format(blob: bytes, place: _Place) -> DamagedCheckpointError:
    what = f"Bytes start with {blob[:1]!r}: a format written by a newer version, or damage"
    return DamagedCheckpointError(what, *place, f"read them with that version, or {_RESTORE}")


def _not_encrypted(place: _Place) -> UndecodableCheckpointError:
    what = (
        "An item is not encrypted, and this saver's serde encrypts: it is forged, or its thread "
        "began without encryption and has to be moved by copy_from() into new tables"
    )
    return UndecodableCheckpointError(what, *place)


def _of_another_layout(place: _Place) -> DamagedCheckpointError:
    what = "Encrypted bytes are those of another layout: they were moved or replaced"
    return DamagedCheckpointError(what, *place)


# No msgpack begins with this byte, so a blob of layout 1 can't pass for a value of layout 0.
_SEALED: Final = b"\xc1"
_SECRET_BYTES: Final = 16

# -- Keys -----------------------------------------------------------------------------------------
# The only code that knows how a key is spelled.

_SEPARATOR: Final = ":::"
_SUBGRAPH: Final = "~c"
_TOMBSTONE: Final = "~t"
_CHUNK: Final = "~x"
_MARKER: Final = "}"
_LAST: Final = "\U0010ffff"
_CHECKPOINTS_KEYS: Final = ("thread_id", "checkpoint_id")
_WRITES_KEYS: Final = ("thread_id_checkpoint_id_checkpoint_ns", "task_id_idx")
# The index by which delete_for_runs() finds the threads of a run (rule 10).
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


# Ranges of a thread's range keys, both ends included: no item has the second end as its key.
_ALL_ROOT: Final = ("", _after(_MARKER))
_ALL_SUBGRAPHS: Final = (_SUBGRAPH, _after(_SUBGRAPH))
_ALL_CHECKPOINTS: Final = ("", _TOMBSTONE)
_ALL_BUT_CHUNKS: Final = ("", _CHUNK)
_CHUNKS_AND_OTHERS: Final = (_CHUNK, _LAST)
_TOMBSTONES_AND_CHUNKS: Final = (_TOMBSTONE, _LAST)


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

    @property
    def layout_0_writes(self) -> str:
        # The hash key of its writes in layout 0. No hash key of layout 1 holds ":::".
        return _SEPARATOR.join((self.thread_id, self.checkpoint_id, self.checkpoint_ns))


def _hashed(part: str) -> str:
    return "#" + blake2b(part.encode(), digest_size=16).hexdigest()


def _writes_hash_key(thread_id: str) -> str:
    """Return the hash key of a thread's writes (rule 6): "a" -> "a", "a:::b" -> "#5c..."."""
    is_like_a_digest = thread_id.startswith("#") and len(thread_id) == len(_hashed(""))
    return _hashed(thread_id) if _SEPARATOR in thread_id or is_like_a_digest else thread_id


def _range_prefix(checkpoint_ns: str) -> str:
    """Return the prefix of a namespace's range keys (rule 6): "" -> "", "a" -> "~c1:a:"."""
    if not checkpoint_ns:
        return ""
    is_long = len(checkpoint_ns.encode()) > _MAX_NAMESPACE_KEY_BYTES
    part = _hashed(checkpoint_ns) if is_long or checkpoint_ns.startswith("#") else checkpoint_ns
    # The length keeps one namespace from being a prefix of another.
    return f"{_SUBGRAPH}{len(part)}:{part}:"


def _namespace_range(checkpoint_ns: str, through_id: str | None = None) -> tuple[str, str]:
    """Return the range of a namespace's checkpoints: up to an id, or all and the root's marker."""
    prefix = _range_prefix(checkpoint_ns)
    return prefix, prefix + through_id if through_id else _after(prefix or _MARKER)


def _checkpoints_key(thread_id: str, range_key: str) -> _Item:
    return {"thread_id": {"S": thread_id}, "checkpoint_id": {"S": range_key}}


def _writes_key(hash_key: str, range_key: str) -> _Item:
    return dict(zip(_WRITES_KEYS, ({"S": hash_key}, {"S": range_key}), strict=True))


def _chunk_range_key(chunk_id: bytes, ttl: float) -> str:
    suffix = f":{ttl:.0f}" if ttl < _FOREVER else ""
    return f"{_CHUNK}{chunk_id.hex()}{suffix}"


def _chunk_id_of(range_key: str) -> str:
    """Return the hex digits of the chunk id in a chunk's range key."""
    return range_key.removeprefix(_CHUNK).partition(":")[0]


def _item_key(item: _Item) -> _CheckpointKey:
    """Return which checkpoint an item is; a marker's id is ``_MARKER``."""
    # A forged item may name no namespace.
    checkpoint_ns = item.get("checkpoint_ns", {}).get("S", "")
    range_key = item["checkpoint_id"]["S"]
    # Layout 0 has subgraphs' checkpoints among the root's, with no prefix.
    checkpoint_id = range_key.removeprefix(_range_prefix(checkpoint_ns))
    return _CheckpointKey(item["thread_id"]["S"], checkpoint_ns, checkpoint_id)


def _prefix_of_write(range_key: str) -> str:
    """Return the prefix that the range keys of all writes of a checkpoint share."""
    at = 0
    if range_key.startswith(_SUBGRAPH):
        # A namespace may hold ":::" itself: its length says where it ends.
        length, _, _ = range_key.removeprefix(_SUBGRAPH).partition(":")
        if length.isdecimal():
            at = len(f"{_SUBGRAPH}{length}::") + int(length)
    end = range_key.find(_SEPARATOR, at)
    return range_key[: end + len(_SEPARATOR)] if end >= 0 else range_key


def _key_of_prefix(thread_id: str, prefix: str) -> _CheckpointKey:
    """Return the key of a checkpoint that is known only by its writes (rule 5)."""
    range_key = prefix.removesuffix(_SEPARATOR)
    length, _, rest = range_key.removeprefix(_SUBGRAPH).partition(":")
    if range_key.startswith(_SUBGRAPH) and length.isdecimal():
        # Of a hashed namespace, only the digest is known.
        return _CheckpointKey(thread_id, rest[: int(length)], rest[int(length) + 1 :])
    return _CheckpointKey(thread_id, "", range_key)


def _task_and_slot(item: _Item) -> tuple[str, int]:
    """Return a write item's task, and the index in its key (rule 5)."""
    range_key = item["task_id_idx"]["S"]
    prefix = "" if "channel" in item else _prefix_of_write(range_key)
    task_id, _, slot = range_key.removeprefix(prefix).rpartition(_SEPARATOR)
    return task_id, int(slot)


_KINDS: Final = {_TOMBSTONE: "tombstone", _CHUNK: "chunk"}


def _kind(item: _Item) -> str:
    """Return the kind of an item in the checkpoints table."""
    range_key = item["checkpoint_id"]["S"]
    if range_key == _MARKER:
        return "marker"
    if "checkpoint_ns" in item and (range_key < _MARKER or range_key.startswith(_SUBGRAPH)):
        return "checkpoint"
    return _KINDS.get(range_key[:2], "other")


def _is_layout_0(item: _Item) -> bool:
    """Say whether an item is a checkpoint of layout 0, which has a metadata attribute (rule 11)."""
    return _kind(item) == "checkpoint" and "metadata" in item


# -- Items ----------------------------------------------------------------------------------------
# The attributes and bytes of an item: an _encode and a _decode for each kind, side by side.

# A time that never comes: an item without a ttl lives for good.
_FOREVER: Final = math.inf
# The ``shown_until`` of a checkpoint that stands for others (rule 7).
_NEVER_SHOWN: Final = 1.0
_TOKEN_BYTES: Final = 8
_ID_BYTES: Final = 16
# The most bytes that a blob holds beside its content (rule 1).
_HEAD_BYTES: Final = 16 + _TOKEN_BYTES + _SECRET_BYTES + 1


class _Times(NamedTuple):
    """The times until which an item is shown and stored, in seconds since the epoch (rule 7).

    Chunks, writes and tombstones have no ``shown_until``.
    """

    shown_until: float
    ttl: float

    def outlast(self, other: _Times) -> _Times:
        """Return times that end no earlier than the *other* ones."""
        return _Times(*map(max, self, other))


_GOOD: Final = _Times(_FOREVER, _FOREVER)


def _number(item: _Item, name: str) -> int:
    # A forged item may hold anything. DynamoDB ignores such a ttl, too.
    digits = item.get(name, {}).get("N", "")
    return int(digits) if digits.isdecimal() else 0


def _times_of(item: _Item) -> _Times:
    ttl = _number(item, "ttl") or _FOREVER
    return _Times(_number(item, "shown_until") if "shown_until" in item else ttl, ttl)


def _encode_times(times: _Times) -> _Item:
    ends = times._asdict().items()
    return {name: {"N": f"{end:.0f}"} for name, end in ends if end < _FOREVER}


def _with_times(item: _Item, times: _Times) -> _Item:
    """Return a checkpoint's item with other times."""
    return {n: a for n, a in item.items() if n not in ("shown_until", "ttl")} | _encode_times(times)


def _encode_stored_at(now: float) -> _Item:
    return {"stored_at": {"N": f"{int(now)}"}}


def _is_stored_by(item: _Item, then: float) -> bool:
    return _number(item, "stored_at") <= then


def _item_bytes(item: _Item) -> int:
    """Return an item's size, within a byte for each number; each started KB takes a write unit.

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


class _Referrer(NamedTuple):
    """An item that refers to chunks: what their keys and ids are made with, and its place."""

    ttl: float
    secret: bytes
    place: _Place


# A function that reads the chunks that items refer to.
_Load = Callable[[Mapping[bytes, _Referrer], _Codec], Mapping[bytes, bytes]]


def _chunk_id(data: bytes, secret: bytes) -> bytes:
    return blake2b(data, digest_size=_ID_BYTES, key=secret).digest()


def _encode_chunk(thread_id: str, chunk_id: bytes, ttl: float, data: bytes, codec: _Codec) -> _Item:
    """Encode a chunk; the call that sends it adds ``stored_at``, maybe much later."""
    return {
        **_checkpoints_key(thread_id, _chunk_range_key(chunk_id, ttl)),
        "blob": {"B": codec.seal(data)},
        **_encode_times(_Times(_FOREVER, ttl)),
    }


def _decode_chunk(item: _Item, chunk_id: bytes, referrer: _Referrer, codec: _Codec) -> bytes:
    blob = item.get("blob", {}).get("B", b"")
    try:
        data = codec.unseal(blob, _MAX_CHUNK_BYTES, referrer.place)
    except UndecodableCheckpointError as error:
        # The item that refers to the chunk was decoded with the same key.
        raise DamagedCheckpointError(error.what, *referrer.place) from error
    if _chunk_id(data, referrer.secret) != chunk_id:
        name = _chunk_range_key(chunk_id, referrer.ttl)
        raise DamagedCheckpointError(f"Chunk {name!r} is not what was stored", *referrer.place)
    return data


def _encode_tombstone(
    thread_id: str, chunk_ids: Sequence[bytes], now: float, grace_seconds: float
) -> _Item:
    """Encode a tombstone, which outlives the grace period."""
    ttl = now + 2 * max(grace_seconds, _GRACE_SECONDS)
    return {
        **_checkpoints_key(thread_id, f"{_TOMBSTONE}{uuid6()}"),
        "chunks": {"B": b"".join(chunk_ids)},
        **_encode_stored_at(now),
        **_encode_times(_Times(_FOREVER, ttl)),
    }


def _decode_tombstone(item: _Item) -> list[str]:
    """Return the hex digits of the chunk ids in a tombstone."""
    ids = item.get("chunks", {}).get("B", b"")
    return [ids[at : at + _ID_BYTES].hex() for at in range(0, len(ids), _ID_BYTES)]


class _Marker(NamedTuple):
    """Hides the root's checkpoints up to *through* during a "deletion" or "copy of ..."."""

    reason: str
    through: str

    def refuse(self, whose: str) -> NoReturn:
        raise DynamoDBSaverError(
            f"{whose} has an unfinished {self.reason}; repeat that call to finish it first"
        )


def _encode_marker(thread_id: str, marker: _Marker) -> _Item:
    return {
        **_checkpoints_key(thread_id, _MARKER),
        "checkpoint_ns": {"S": ""},
        "reason": {"S": marker.reason},
        "through": {"S": marker.through},
    }


def _decode_marker(item: _Item) -> _Marker:
    # A forged marker that does not say how far it reaches hides all.
    reason, through = (item.get(name, {}).get("S") for name in ("reason", "through"))
    return _Marker(reason or "deletion", through or _LAST)


class _Chunks(NamedTuple):
    """Part of a recipe: the joined bytes of chunks, from byte *skip* on."""

    ids: tuple[bytes, ...]
    skip: int = 0


class _Recipe(NamedTuple):
    """How to build a value's bytes: each part is bytes or chunks."""

    type: str
    parts: tuple[bytes | _Chunks, ...]

    @property
    def ids(self) -> Iterator[bytes]:
        return chain.from_iterable(part.ids for part in self.parts if isinstance(part, _Chunks))

    def join(self, chunks: Mapping[bytes, bytes], max_bytes: int, place: _Place) -> bytes:
        """Return the value's bytes."""
        pieces: list[bytes] = []
        for part in self.parts:
            if isinstance(part, bytes):
                pieces.append(part)
            else:
                first, *others = [chunks[chunk_id] for chunk_id in part.ids]
                pieces += [first[part.skip :], *others]
        if sum(map(len, pieces)) > max_bytes:
            what = f"A recipe makes more than the {max_bytes:,} bytes that there may be"
            raise DamagedCheckpointError(what, *place)
        return b"".join(pieces)


def _encode_recipe(recipe: _Recipe) -> list[Any]:
    """Return a recipe for an item's content: lists, since some serdes don't keep tuples."""
    parts: list[Any] = [recipe.type]
    for part in recipe.parts:
        if isinstance(part, _Chunks):
            ids = b"".join(part.ids)
            parts.append([ids, part.skip] if part.skip else [ids])
        else:
            parts.append(part)
    return parts


def _decode_recipes(contents: Iterable[Any]) -> list[_Recipe]:
    """Decode an item's recipes, which may refer to a limited number of chunks in all."""
    left, recipes = _MAX_CHUNK_IDS, []
    for type_, *parts in contents:
        decoded: list[bytes | _Chunks] = []
        for part in parts:
            if isinstance(part, bytes):
                decoded.append(part)
                continue
            ids, skip = part if len(part) > 1 else (*part, 0)
            left -= len(_expect(ids, bytes)) // _ID_BYTES
            if left < 0 or not ids or len(ids) % _ID_BYTES or _expect(skip, int) < 0:
                raise ValueError
            starts = range(0, len(ids), _ID_BYTES)
            decoded.append(_Chunks(tuple(ids[at : at + _ID_BYTES] for at in starts), skip))
        recipes.append(_Recipe(_expect(type_, str), tuple(decoded)))
    return recipes


class _Blob(NamedTuple):
    """The parts of the blob of a checkpoint or of writes (rule 1)."""

    token: bytes
    secret: bytes
    level: int
    content: bytes


def _digest(item: _Item, data: bytes) -> bytes:
    """Return the digest of a blob's bytes, keyed by its item's strings (rule 8)."""
    strings = sorted((name, value["S"]) for name, value in item.items() if "S" in value)
    parts = [part.encode() for part in chain.from_iterable(strings)]
    place = b"".join(chain.from_iterable((len(part).to_bytes(4, "big"), part) for part in parts))
    return blake2b(data, digest_size=16, key=blake2b(place, digest_size=32).digest()).digest()


def _encode_blob(item: _Item, blob: _Blob, codec: _Codec) -> _Item:
    """Return the item with its blob."""
    data = blob.token + blob.secret + bytes([blob.level]) + blob.content
    return item | {"blob": {"B": codec.seal(_digest(item, data) + data)}}


def _decode_blob(item: _Item, codec: _Codec, place: _Place) -> _Blob:
    opened = codec.unseal(item["blob"]["B"], _HEAD_BYTES + _INLINE_CONTENT_BYTES, place)
    digest, data = opened[:16], opened[16:]
    if digest != _digest(item, data):
        what = "An item's bytes are not what was stored"
        if codec.encrypts:
            what = "Encrypted bytes are those of another place: they were moved or replaced"
        raise DamagedCheckpointError(what, *place)
    at = _TOKEN_BYTES + (_SECRET_BYTES if codec.encrypts else 0)
    return _Blob(data[:_TOKEN_BYTES], data[_TOKEN_BYTES:at], data[at], data[at + 1 :])


@dataclass(eq=False)
class _Draft:
    """An item that is being made: the chunks that it refers to, and the bytes of new ones."""

    thread_id: str
    codec: _Codec
    times: _Times
    token: bytes
    secret: bytes
    #: Returns a chunk that this process knows and that ends in the given bytes.
    find: Callable[[bytes], bytes | None] = lambda _: None
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    #: Stored chunks that the item refers to, each with an item through which it can be read.
    kept: dict[bytes, _Referrer] = field(default_factory=dict)

    @property
    def ids(self) -> Iterable[bytes]:
        return self.chunks.keys() | self.kept.keys()

    def recipe(self, type_: str, data: bytes, *, is_content: bool = False) -> _Recipe:
        """Cut a value's bytes, and note the chunks."""
        parts: list[bytes | _Chunks] = []
        cut = _cut(type_, data, is_content=is_content)
        for is_chunk, some in groupby(cut, key=lambda part: part[1]):
            if not is_chunk:
                parts.append(b"".join(part for part, _ in some))
                continue
            first, *others = [part for part, _ in some]
            # A list that lost its first elements starts inside a known chunk. Content must not: a
            # reader counts all bytes of its chunks.
            whole = (None if is_content else self.find(first)) or first
            named = [(_chunk_id(part, self.secret), part) for part in (whole, *others)]
            self.chunks.update(named)
            ids = tuple(chunk_id for chunk_id, _ in named)
            parts.append(_Chunks(ids, len(whole) - len(first)))
        return _Recipe(type_, tuple(parts))

    def finish(self, item: _Item, content: Any, max_packed_bytes: int) -> _Item:
        """Return an item with its content (rules 2 and 3).

        Raises: ValueError: the content is too large.
        """
        type_, data = self.codec.dumps(content, f"metadata of thread {self.thread_id!r}")
        what = "Writes" if "task_id_idx" in item else "A checkpoint's metadata and recipes"
        if len(data) > _MAX_CONTENT_BYTES or len(self.chunks) + len(self.kept) > _MAX_CHUNK_IDS:
            raise ValueError(
                f"{what} take {len(data):,} bytes and {len(self.chunks) + len(self.kept):,} "
                f"chunks, and may take {_MAX_CONTENT_BYTES:,} bytes and {_MAX_CHUNK_IDS:,} chunks; "
                f"move large data into channels"
            )
        try:
            _check_msgpack(type_, data, _MAX_CONTENT_OBJECTS)
        except ValueError as error:
            raise ValueError(f"{what} can't be stored: the content has {error}") from None
        item = item | {"type": {"S": type_}}
        for level in range(_MAX_LEVEL + 1):
            if len(data) <= _INLINE_CONTENT_BYTES:
                blob = _Blob(self.token, self.secret, level, data)
                finished = _encode_blob(item, blob, self.codec)
                if len(finished["blob"]["B"]) <= max_packed_bytes or level == _MAX_LEVEL:
                    return finished
            recipe = self.recipe(type_, data, is_content=True)
            _, data = self.codec.dumps(_encode_recipe(recipe))
            max_packed_bytes = max(max_packed_bytes, _INLINE_MANIFEST_BYTES)
        raise ValueError(
            f"{what} can't be stored: their recipe has {len(data):,} bytes, and may have "
            f"{_INLINE_CONTENT_BYTES:,}; store fewer or smaller values"
        )


def _delta_counters(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return, for each DeltaChannel, its updates and supersteps since its snapshot."""
    return metadata.get("counters_since_delta_snapshot") or {}


class _Manifest(NamedTuple):
    """A checkpoint without its values, and the recipes of the values."""

    key: _CheckpointKey
    table_name: str
    parent_key: _CheckpointKey | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    channels: dict[str, _Recipe]
    times: _Times
    blob: _Blob | None = None
    #: The chunks of its content.
    content_ids: tuple[bytes, ...] = ()
    is_copied: bool = False
    #: The item, if it was read.
    item: _Item | None = None

    @property
    def place(self) -> _Place:
        return self.key, self.table_name

    @property
    def referrer(self) -> _Referrer:
        secret = self.blob.secret if self.blob else b""
        return _Referrer(self.times.ttl, secret, self.place)

    @property
    def is_layout_0(self) -> bool:
        return self.blob is None

    @property
    def run_id(self) -> str | None:
        """The run that put this checkpoint, according to its metadata."""
        run_id = self.metadata.get("run_id")
        return run_id if isinstance(run_id, str) else None

    @property
    def value_ids(self) -> dict[bytes, None]:
        """The chunks of the channels' values, each once."""
        recipes = self.channels.values()
        return dict.fromkeys(chain.from_iterable(recipe.ids for recipe in recipes))

    @property
    def ids(self) -> dict[bytes, None]:
        """All chunks that the item refers to, each once."""
        return dict.fromkeys(self.content_ids) | self.value_ids

    @property
    def counters(self) -> Mapping[str, Any]:
        return _delta_counters(self.metadata)

    @property
    def pending_deltas(self) -> frozenset[str]:
        """The DeltaChannels whose values are rebuilt from ancestors.

        A channel may have counters before it has a version: its first write is among the parent's.
        """
        return frozenset(self.counters.keys() - self.channels.keys())

    def ends_chain(self, channel: str) -> bool:
        """Say whether a descendant rebuilds a DeltaChannel without this checkpoint's ancestors."""
        return channel in self.channels or channel not in self.checkpoint["channel_versions"]

    @property
    def takes_sends(self) -> bool:
        """Whether the checkpoint's pending sends are among its parent's writes.

        A checkpoint that copy_from() stored holds the sends that its source showed.
        """
        is_old = self.checkpoint["v"] < _FIRST_V_WITH_TASKS
        return is_old and TASKS not in self.checkpoint["channel_versions"]


def _encode_manifest(manifest: _Manifest, draft: _Draft) -> _Item:
    key, metadata = manifest.key, manifest.metadata
    own = metadata.get("thread_id") == key.thread_id
    channels = manifest.channels.items()
    content = [
        manifest.checkpoint,
        {name: value for name, value in metadata.items() if not own or name != "thread_id"},
        {name: _encode_recipe(recipe) for name, recipe in channels},
        own,
    ]
    item = {
        **_checkpoints_key(key.thread_id, key.range_key),
        "checkpoint_ns": {"S": key.checkpoint_ns},
        **_encode_times(manifest.times),
    }
    if manifest.parent_key:
        item["parent_checkpoint_id"] = {"S": manifest.parent_key.checkpoint_id}
    if run_id := manifest.run_id:
        item["run_id"] = {"S": run_id}
    if manifest.is_copied:
        item["copied"] = {"BOOL": True}
    has_few = len(draft.chunks) + len(draft.kept) <= _MAX_INLINE_IDS
    return draft.finish(item, content, _INLINE_MANIFEST_BYTES if has_few else 0)


class _Write(NamedTuple):
    """A pending write; writes sort in the order in which LangGraph applies them."""

    task_path: str
    task_id: str
    idx: int
    channel: str
    value: _Recipe


class _Writes(NamedTuple):
    """A decoded write item."""

    item: _Item
    place: _Place
    writes: list[_Write]
    blob: _Blob | None = None
    content_ids: tuple[bytes, ...] = ()

    @property
    def ttl(self) -> float:
        return _times_of(self.item).ttl

    @property
    def referrer(self) -> _Referrer:
        return _Referrer(self.ttl, self.blob.secret if self.blob else b"", self.place)

    @property
    def value_ids(self) -> dict[bytes, None]:
        return dict.fromkeys(chain.from_iterable(write.value.ids for write in self.writes))

    @property
    def ids(self) -> dict[bytes, None]:
        return dict.fromkeys(self.content_ids) | self.value_ids

    @property
    def is_special(self) -> bool:
        return any(write.idx < 0 for write in self.writes)


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
    """Return the ranges of indices; a range may be long, so it must not be made a set."""
    pairs = (part.partition("..") for part in idx.split(","))
    return [range(int(first), int(last or first) + 1) for first, _, last in pairs]


def _encode_writes(
    key: _CheckpointKey,
    task_id: str,
    task_path: str,
    slot: int,
    writes: Mapping[int, tuple[str, _Recipe]],
    draft: _Draft,
) -> _Item:
    """Encode writes; the call that sends them adds ``stored_at``."""
    idx = _text("the list of indices of writes", _encode_idx(writes), max_bytes=_MAX_TEXT_BYTES)
    range_key = f"{key.writes_prefix}{task_id}{_SEPARATOR}{slot}"
    item = {
        **_writes_key(_writes_hash_key(key.thread_id), range_key),
        "task_path": {"S": task_path},
        "idx": {"S": idx},
        **_encode_times(_Times(_FOREVER, draft.times.ttl)),
    }
    content = [[idx, channel, *_encode_recipe(value)] for idx, (channel, value) in writes.items()]
    return draft.finish(item, content, _MAX_ITEM_BYTES)


@contextmanager
def _well_formed(place: _Place) -> Iterator[None]:
    """Raise DamagedCheckpointError if content does not have the form that the layout says."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        what = f"An item's content is malformed ({type(error).__name__})"
        raise DamagedCheckpointError(what, *place) from error


def _expect(value: Any, type_: type[T]) -> T:
    if not isinstance(value, type_):
        raise TypeError(type_.__name__)
    return value


_WriteItems = dict[_CheckpointKey, list[_Item]]


class _Decoder(NamedTuple):
    """Decodes the items of a thread's checkpoints and writes; *load* reads chunks."""

    codec: _Codec
    load: _Load
    table_names: tuple[str, str]

    def _content(self, item: _Item, blob: _Blob, place: _Place) -> tuple[Any, tuple[bytes, ...]]:
        """Return an item's content, and the ids of the chunks that it is made of (rule 3)."""
        type_, data, ids = item["type"]["S"], blob.content, dict[bytes, None]()
        referrer = _Referrer(_times_of(item).ttl, blob.secret, place)
        if blob.level > _MAX_LEVEL:
            raise ValueError
        for _ in range(blob.level):
            (recipe,) = _decode_recipes([self._bounded(type_, data, place)])
            chunks = self._chunks_of_content(recipe, referrer)
            ids |= dict.fromkeys(chunks)
            data = recipe.join(chunks, _MAX_CONTENT_BYTES, place)
        return self._bounded(type_, data, place), tuple(ids)

    def _bounded(self, type_: str, data: bytes, place: _Place) -> Any:
        """Decode content, or its recipe, once its objects have been counted."""
        _check_msgpack(type_, data, _MAX_CONTENT_OBJECTS)
        return self.codec.loads(type_, data, place)

    def _chunks_of_content(self, recipe: _Recipe, referrer: _Referrer) -> dict[bytes, bytes]:
        """Read chunks batch by batch: a forged recipe of 64 KB may name a gigabyte of chunks."""
        chunks: dict[bytes, bytes] = {}
        size = 0
        for batch in _batches([*dict.fromkeys(recipe.ids)], _MAX_LIST_CHUNKS):
            found = self.load(dict.fromkeys(batch, referrer), self.codec)
            size += sum(map(len, found.values()))
            if size > _MAX_CONTENT_BYTES:
                what = f"Content is made of more than {_MAX_CONTENT_BYTES:,} bytes of chunks"
                raise DamagedCheckpointError(what, *referrer.place)
            chunks |= found
        return chunks

    def manifest(self, item: _Item) -> _Manifest:
        key = _item_key(item)
        place = (key, self.table_names[0])
        with _well_formed(place):
            blob: _Blob | None = None
            content_ids: tuple[bytes, ...] = ()
            if _is_layout_0(item):
                checkpoint, metadata, channels = self._layout_0(item, place)
            else:
                blob = _decode_blob(item, self.codec, place)
                content, content_ids = self._content(item, blob, place)
                checkpoint, metadata, plain, own = content
                channels = dict(zip(plain, _decode_recipes(plain.values()), strict=True))
                if own:
                    metadata = {**metadata, "thread_id": key.thread_id}
            for each in (checkpoint, metadata, checkpoint["channel_versions"]):
                _expect(each, dict)
            for name in chain(checkpoint["channel_versions"], channels):
                _expect(name, str)
            iter(checkpoint.get("updated_channels") or ())
            _expect(checkpoint["v"], int)
            parent_key = None
            if parent_id := item.get("parent_checkpoint_id", {}).get("S"):
                parent_key = key._replace(checkpoint_id=_checkpoint_id(parent_id))
            for each in (key, parent_key or key):
                _text("a range key", each.writes_prefix, max_bytes=_MAX_RANGE_KEY_BYTES)
            manifest = _Manifest(
                key,
                self.table_names[0],
                parent_key,
                checkpoint,
                metadata,
                channels,
                _times_of(item),
                blob,
                content_ids,
                "copied" in item,
                item,
            )
            for each in _expect(manifest.counters, dict).values():
                _ = each[0]
            return manifest

    def _layout_0(
        self, item: _Item, place: _Place
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, _Recipe]]:
        checkpoint, metadata = (
            self.codec.loads(
                *self.codec.open_layout_0(item["type"]["S"], item[name]["B"], place), place
            )
            for name in ("checkpoint", "metadata")
        )
        values = checkpoint.pop("channel_values").items()
        typed = {name: self.codec.dumps(value) for name, value in values}
        channels = {name: _Recipe(type_, (data,)) for name, (type_, data) in typed.items()}
        return checkpoint, metadata, channels

    def indices(self, item: _Item, key: _CheckpointKey) -> list[range]:
        """Return the indices of a write item, once its digest has been checked."""
        place = (key, self.table_names[1])
        with _well_formed(place):
            _decode_blob(item, self.codec, place)
            return _decode_idx(item["idx"]["S"])

    def writes(self, item: _Item, key: _CheckpointKey) -> _Writes:
        place = (key, self.table_names[1])
        with _well_formed(place):
            task_id, slot = _task_and_slot(item)
            if "channel" in item:  # layout 0, which gave special writes no index of their own
                # Its ciphertext is not bound to its key: it could have been moved.
                if item[_WRITES_KEYS[0]]["S"] != key.layout_0_writes:
                    what = "A write of layout 0 stands among those of layout 1"
                    raise DamagedCheckpointError(what, *place)
                channel = item["channel"]["S"]
                type_, data = self.codec.open_layout_0(item["type"]["S"], item["value"]["B"], place)
                idx = WRITES_IDX_MAP.get(channel, slot)
                value = _Recipe(type_, (data,))
                return _Writes(item, place, [_Write("", task_id, idx, channel, value)])
            blob = _decode_blob(item, self.codec, place)
            content, content_ids = self._content(item, blob, place)
            recipes = _decode_recipes(each[2:] for each in content)
            task_path = item["task_path"]["S"]
            writes = [
                _Write(task_path, task_id, _expect(idx, int), _expect(channel, str), value)
                for (idx, channel, *_), value in zip(content, recipes, strict=True)
            ]
            return _Writes(item, place, writes, blob, content_ids)

    def all_writes(self, found: _WriteItems) -> list[_Writes]:
        return [self.writes(item, key) for key, items in found.items() for item in items]


# -- Chunk index ----------------------------------------------------------------------------------
# This process's record of the threads that it uses, within one limit on memory. All namespaces of a
# thread share its index.


@dataclass(eq=False)
class _Claim:
    """Chunks that a call is storing, and chunks that other calls are storing for it."""

    since: float
    #: The earliest time at which a chunk that the call relies on was seen.
    oldest: float
    mine: list[bytes] = field(default_factory=list)
    others: dict[bytes, _Claim] = field(default_factory=dict)
    is_stored: Future[bool] = field(default_factory=Future)


class _Known(NamedTuple):
    """The checkpoint of a namespace that this process stored or read last."""

    manifest: _Manifest
    seen_at: float
    #: When the first of its known writes expires.
    writes_ttl: float


class _ChunkIndex:
    """This process's record of one thread.

    An entry says that a chunk is stored, and when the chunk was last seen: a call stored it, or a
    stored item referred to it. A put relies on an entry for a third of the grace period. An entry
    is for one ttl, as the chunk's key is (rule 4), so the chunk is stored as long as the put's
    item. Entries belong to a token: an item with a different token empties the index, as another
    process has deleted the thread and started or copied it again.
    """

    def __init__(self) -> None:
        self.token = b""
        self.secret = b""
        self.users = 0
        self.counted_bytes = 0
        self._lock = threading.Lock()
        #: The latest times of the thread's items that are known.
        self._times: _Times | None = None
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._doubted: set[_CheckpointKey] = set()
        #: For a checkpoint whose writes came before it: when the first of them expires.
        self._early_ttls: dict[_CheckpointKey, float] = {}
        self._chunks: dict[tuple[bytes, float], float | _Claim] = {}
        self._purge_at = 1024
        self._data: OrderedDict[bytes, bytes] = OrderedDict()
        #: The bytes of ``_data`` and ``_known``.
        self._held_bytes = 0
        #: By the last bytes of a chunk: the longest chunk in ``_data`` that ends in them.
        self._by_end: dict[bytes, bytes] = {}

    @property
    def size(self) -> int:
        """About how many bytes of memory the index takes."""
        return self._held_bytes + _OBJECT_BYTES * (1 + len(self._chunks) + len(self._data))

    @property
    def is_known(self) -> bool:
        """Whether this process has stored or read anything of the thread."""
        return self._times is not None

    def draft(
        self, key: _CheckpointKey, codec: _Codec, ttl_seconds: int | None, now: float
    ) -> _Draft:
        """Begin an item that is shown and stored at least as long as all known items (rule 7)."""
        with self._lock:
            self.token = self.token or os.urandom(_TOKEN_BYTES)
            self.secret = self.secret or (os.urandom(_SECRET_BYTES) if codec.encrypts else b"")
            times = self._times if self._times and self._times.shown_until > now else None
            if ttl_seconds is not None:
                own = _lifetime(ttl_seconds, key.thread_id, now)
                times = own.outlast(times) if times else own
            self._times = times or _GOOD
            return _Draft(
                key.thread_id, codec, self._times, self.token, self.secret, self._ending_in
            )

    def known(self, key: _CheckpointKey, now: float) -> _Known | None:
        """Return a checkpoint that a put may build on, if this process has just seen it."""
        with self._lock:
            known = self._known.get(key.checkpoint_ns)
        is_fresh = known and known.manifest.key == key and now - known.seen_at <= _MAX_SEEN_SECONDS
        return known if is_fresh else None

    def newest(self, checkpoint_ns: str) -> _CheckpointKey | None:
        """Return the checkpoint of a namespace that this process stored or read last."""
        with self._lock:
            known = self._known.get(checkpoint_ns)
        return known.manifest.key if known else None

    def doubt(self, key: _CheckpointKey) -> None:
        """Note that chunks of a checkpoint are missing: the next put on it stores them again."""
        with self._lock:
            self._chunks.clear()
            self._doubted.add(key)

    def learn(
        self, manifest: _Manifest, ids: Iterable[bytes], seen_at: float, *, is_own: bool = False
    ) -> None:
        """Note a stored checkpoint, and the chunks that its item refers to."""
        with self._lock:
            if not self._adopt(manifest.blob, is_own=is_own):
                return
            self._times = manifest.times.outlast(self._times or manifest.times)
            key, versions = manifest.key, dict(manifest.checkpoint["channel_versions"])
            if key not in self._doubted:
                self._add(ids, manifest.times.ttl, seen_at)
            blob = manifest.blob and manifest.blob._replace(content=b"")
            slim = manifest._replace(
                checkpoint={"channel_versions": versions}, metadata={}, blob=blob, content_ids=(),
                item=None,
            )  # fmt: skip
            before = self._known.pop(key.checkpoint_ns, None)
            writes_ttl = self._early_ttls.pop(key, manifest.times.ttl)
            if before and before.manifest.key == key:
                writes_ttl = min(writes_ttl, before.writes_ttl)
            self._known[key.checkpoint_ns] = _Known(slim, seen_at, writes_ttl)
            self._held_bytes += _manifest_bytes(slim)
            if not before and len(self._known) > _MAX_INDEXED_NAMESPACES:
                _, before = self._known.popitem(last=False)
            if before:
                self._held_bytes -= _manifest_bytes(before.manifest)

    def learn_writes(
        self, key: _CheckpointKey, ids: Iterable[bytes], blob: _Blob | None, ttl: float,
        seen_at: float, *, is_own: bool = False,
    ) -> None:  # fmt: skip
        """Note stored writes of a checkpoint, and their chunks.

        Callers leave out the chunks of special writes: a call that replaces such an item does not
        report that its chunks lost a reference.
        """
        with self._lock:
            if not self._adopt(blob, is_own=is_own):
                return
            self._add(ids, ttl, seen_at)
            known = self._known.get(key.checkpoint_ns)
            if known and known.manifest.key == key:
                self._known[key.checkpoint_ns] = known._replace(
                    writes_ttl=min(known.writes_ttl, ttl)
                )
            elif ttl < _FOREVER:
                self._early_ttls[key] = min(ttl, self._early_ttls.get(key, ttl))
                if len(self._early_ttls) > _MAX_INDEXED_NAMESPACES:
                    del self._early_ttls[next(iter(self._early_ttls))]

    def _adopt(self, blob: _Blob | None, *, is_own: bool) -> bool:
        """Say whether an item belongs to the index; an item that was read always does."""
        if blob is None:
            return True
        if blob.token == self.token:
            self.secret = blob.secret
            return True
        if is_own:
            return False
        if self.token:
            self._chunks.clear()
            self._known.clear()
            self._early_ttls.clear()
            self._times = None
            self._held_bytes = sum(map(len, self._data.values()))
        self.token, self.secret = blob.token, blob.secret
        return True

    def _add(self, ids: Iterable[bytes], ttl: float, seen_at: float) -> None:
        for chunk_id in ids:
            entry = self._chunks.get((chunk_id, ttl))
            if not isinstance(entry, _Claim):
                self._chunks[chunk_id, ttl] = max(entry or seen_at, seen_at)
        if len(self._chunks) > self._purge_at:
            self._chunks = {
                key: entry
                for key, entry in self._chunks.items()
                if isinstance(entry, _Claim) or seen_at - entry <= _MAX_SEEN_SECONDS
            }
            self._purge_at = 2 * len(self._chunks) + 1024

    def claim(self, ids: Iterable[bytes], ttl: float, now: float, *, is_trusted: bool) -> _Claim:
        """Claim the chunks that have to be stored: all of them unless *is_trusted*.

        Another call that began to store a chunk over 5 seconds ago may hang, and the chunk may be
        deleted meanwhile: this call stores it again.
        """
        claim = _Claim(now, now)
        with self._lock:
            for chunk_id in ids:
                entry = self._chunks.get((chunk_id, ttl)) if is_trusted else None
                if isinstance(entry, _Claim) and now - entry.since <= _SHARED_SECONDS:
                    claim.others[chunk_id] = entry
                    claim.oldest = min(claim.oldest, entry.since)
                elif not (
                    entry is None or isinstance(entry, _Claim) or now - entry > _MAX_SEEN_SECONDS
                ):
                    claim.oldest = min(claim.oldest, entry)
                else:
                    claim.mine.append(chunk_id)
                    self._chunks[chunk_id, ttl] = claim
        return claim

    def release(self, claim: _Claim, ttl: float, *, is_stored: bool) -> None:
        """End a claim: note its chunks as stored, or forget them."""
        with self._lock:
            mine = [each for each in claim.mine if self._chunks.get((each, ttl)) is claim]
            for chunk_id in mine:
                del self._chunks[chunk_id, ttl]
            if is_stored:
                self._add(mine, ttl, claim.since)
        claim.is_stored.set_result(is_stored)

    def _ending_in(self, data: bytes) -> bytes | None:
        """Return a chunk that ends in *data*, if the index holds one."""
        with self._lock:
            found = self._data.get(self._by_end.get(data[-_CHUNK_END_BYTES:], b""))
        return found if found and found.endswith(data) else None

    def recall(self, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of those chunks that the index holds."""
        found = {}
        with self._lock:
            for chunk_id in ids:
                if chunk_id in self._data:
                    self._data.move_to_end(chunk_id)
                    found[chunk_id] = self._data[chunk_id]
        return found

    def remember(self, chunks: Mapping[bytes, bytes]) -> None:
        with self._lock:
            for chunk_id, data in chunks.items():
                if chunk_id not in self._data:
                    self._held_bytes += len(data)
                self._data[chunk_id] = data
                end = data[-_CHUNK_END_BYTES:]
                if len(data) > len(self._data.get(self._by_end.get(end, b""), b"")):
                    self._by_end[end] = chunk_id

    def drop_data(self) -> bool:
        """Drop the bytes of the least recently used chunk, and say if there was one."""
        with self._lock:
            if not self._data:
                return False
            chunk_id, data = self._data.popitem(last=False)
            if self._by_end.get(data[-_CHUNK_END_BYTES:]) == chunk_id:
                del self._by_end[data[-_CHUNK_END_BYTES:]]
            self._held_bytes -= len(data)
            return True


def _manifest_bytes(manifest: _Manifest) -> int:
    recipes = manifest.channels.values()
    parts = [part for recipe in recipes for part in recipe.parts]
    sizes = (
        len(part) if isinstance(part, bytes) else _OBJECT_BYTES // 2 * len(part.ids)
        for part in parts
    )
    names = len(manifest.checkpoint["channel_versions"])
    return _OBJECT_BYTES * (4 + names + len(parts)) + sum(sizes)


class _Indexes:
    """The chunk indexes of threads: the most recently used, as many as fit."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._threads: OrderedDict[str, _ChunkIndex] = OrderedDict()

    @contextmanager
    def using(self, thread_id: str) -> Iterator[_ChunkIndex]:
        """Give a thread's index to a call, which keeps it even if the thread is forgotten.

        A forgotten thread gets a new index, so a call that began before does not affect calls that
        begin after.
        """
        with self._lock:
            index = self._threads.get(thread_id)
            if index is None:
                index = self._threads[thread_id] = _ChunkIndex()
            self._threads.move_to_end(thread_id)
            index.users += 1
        try:
            yield index
        finally:
            with self._lock:
                index.users -= 1
                if self._threads.get(thread_id) is index:
                    self._count(index)
                    self._trim()

    def forget(self, thread_id: str) -> None:
        """Forget a thread, and all that calls under way learn of it."""
        with self._lock:
            self._drop(thread_id)

    def _trim(self) -> None:
        """Drop idle threads, the least recently used first, then bytes of chunks, then the rest."""
        while self._bytes > self._max_bytes:
            last = next(reversed(self._threads))
            idle = next((each for each, index in self._threads.items() if not index.users), None)
            if idle not in (None, last):
                self._drop(idle)
            elif index := next((each for each in self._threads.values() if each.drop_data()), None):
                self._count(index)
            elif idle:
                self._drop(idle)
            else:
                return  # calls use the rest

    def _count(self, index: _ChunkIndex) -> None:
        size = index.size
        self._bytes += size - index.counted_bytes
        index.counted_bytes = size

    def _drop(self, thread_id: str) -> None:
        index = self._threads.pop(thread_id, None)
        if index:
            self._bytes -= index.counted_bytes


# -- Store ----------------------------------------------------------------------------------------
# The two tables as the items of threads: checkpoints, their writes and their chunks. A store has no
# serde, so clones of a saver share it.


class _Store:
    """A pair of tables, the worker threads that send requests, and the chunk indexes."""

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
        """Start with empty indexes: another thread of the parent may have been changing the old."""
        self.indexes = _Indexes(self._cache_bytes)

    def is_shown(self, item: _Item) -> bool:
        return self.clock() < _times_of(item).shown_until

    def is_stored(self, item: _Item) -> bool:
        """Say whether an item has not expired; a checkpoint that is stored may be hidden."""
        return self.clock() < _times_of(item).ttl

    def decoder(self, codec: _Codec) -> _Decoder:
        return _Decoder(codec, self.load, (self.checkpoints.name, self.writes.name))

    def thread_ids(self) -> Iterator[str]:
        """Scan the checkpoints table for threads; the rest of a found thread is skipped."""
        limit = _FIRST_PAGE_ITEMS

        def pages_after(last: _Item | None) -> Iterator[_Page]:
            start: dict[str, Any] = {"ConsistentRead": self.consistent_read}
            if last:
                # DynamoDB takes a start key that no item has: this key is after the whole thread.
                start["ExclusiveStartKey"] = _checkpoints_key(last["thread_id"]["S"], _LAST)
            return self.checkpoints.scan(_CHECKPOINTS_KEYS, limit, **start)

        for page in _groups(pages_after):
            self.checkpoints.check_items(page.items)
            found = list(dict.fromkeys(item["thread_id"]["S"] for item in page.items))
            yield from found
            # Long threads: small pages, as the rest is skipped; short threads: large pages.
            limit = min(limit * 2, 1024) if len(found) > 1 else max(limit // 2, _FIRST_PAGE_ITEMS)

    def has_items(self, thread_id: str) -> bool:
        queries = (
            self.checkpoints.items(thread_id, limit=1),
            self.writes.items(_writes_hash_key(thread_id), limit=1),
        )
        return any(item for items in queries for item in items)

    def shown(self, items: Iterable[_Item], checkpoint_ns: str) -> Iterator[_Item]:
        """Filter a namespace's items, newest first: skip those not shown or behind a marker."""
        hidden_through = ""
        for item in items:
            _, found_ns, checkpoint_id = _item_key(item)
            if checkpoint_id == _MARKER:
                hidden_through = _decode_marker(item).through
            # Layout 0 has subgraphs' checkpoints among the root's.
            elif (
                found_ns == checkpoint_ns and hidden_through < checkpoint_id and self.is_shown(item)
            ):
                yield item

    def checkpoint(self, key: _CheckpointKey, *, consistent: bool) -> _Item | None:
        """Read a checkpoint by its id, shown or not."""
        item = self.checkpoints.get(
            _checkpoints_key(key.thread_id, key.range_key), consistent=consistent
        )
        # Layout 0 has subgraphs' checkpoints among the root's.
        is_it = item and _item_key(item).checkpoint_ns == key.checkpoint_ns and self.is_stored(item)
        return item if is_it else None

    def checkpoints_of(
        self, keys: Iterable[_CheckpointKey], *, consistent: bool
    ) -> dict[_CheckpointKey, _Item]:
        """Read checkpoints that were seen before; those deleted since then are left out."""
        by_range_key = {key.range_key: key for key in keys}
        found = self.checkpoints.batch_get(
            [_checkpoints_key(key.thread_id, key.range_key) for key in by_range_key.values()],
            consistent=consistent,
        )
        return {by_range_key[item["checkpoint_id"]["S"]]: item for item in found}

    def subgraphs(
        self, thread_id: str, *, consistent: bool
    ) -> Iterator[tuple[str, list[_Item] | None]]:
        """Find the namespaces of a thread's subgraphs.

        A namespace that a page holds whole comes with its items, newest first. The next page starts
        after the namespace in which a page ends: at most one request for each namespace.
        """
        lower, upper = _ALL_SUBGRAPHS
        limit = _FIRST_PAGE_ITEMS
        seen = {""}  # a forged item may name any namespace

        def pages_after(last: _Item | None) -> Iterator[_Page]:
            start = lower
            if last:
                # A forged item may name a namespace other than its key's: go on after both.
                end = _namespace_range(_item_key(last).checkpoint_ns)[1]
                start = max(end, last["checkpoint_id"]["S"] + "\0")
            return self.checkpoints.query(
                thread_id, start, upper, limit=limit, consistent=consistent
            )

        for page in _groups(pages_after):
            by_namespace = groupby(page.items, key=lambda item: _item_key(item).checkpoint_ns)
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
        consistent: bool = True,
    ) -> _WriteItems:
        """Read the writes of a thread's checkpoints by one query, which reads all between them too.

        The writes of layout 0 follow for the checkpoints in *layout_0*.
        """
        found: _WriteItems = {key: [] for key in keys}
        by_prefix = {key.writes_prefix: key for key in keys}
        for item in self.writes.items(
            _writes_hash_key(keys[0].thread_id),
            min(by_prefix),
            _after(max(by_prefix)),
            consistent=consistent,
        ):
            if key := by_prefix.get(_prefix_of_write(item["task_id_idx"]["S"])):
                found[key].append(item)
        others = self.workers.side_by_side(self.layout_0_writes, layout_0)
        for key, items in zip(layout_0, others, strict=True):
            found[key] += items
        return {key: list(filter(self.is_stored, items)) for key, items in found.items()}

    def layout_0_writes(self, key: _CheckpointKey, attributes: Sequence[str] = ()) -> list[_Item]:
        """Read writes of layout 0 (rule 11), unless their hash key could be split in two ways."""
        hash_key = key.layout_0_writes
        if _SEPARATOR in key.checkpoint_ns or len(hash_key.encode()) > _MAX_HASH_KEY_BYTES:
            return []
        return list(self.writes.items(hash_key, attributes=attributes))

    def load(self, wanted: Mapping[bytes, _Referrer], codec: _Codec) -> dict[bytes, bytes]:
        """Return the bytes of chunks of a thread; read those that are not in the index.

        Chunks never change, so an eventually consistent read, at half the price, will do. Chunks
        that it does not find are read again, consistently.
        """
        if not wanted:
            return {}
        thread_id = next(iter(wanted.values())).place[0].thread_id
        with self.indexes.using(thread_id) as index:
            chunks = index.recall(wanted)
            read: dict[bytes, bytes] = {}
            for consistent in (False, True):
                by_key = {
                    _chunk_range_key(each, referrer.ttl): each
                    for each, referrer in wanted.items()
                    if each not in chunks and each not in read
                }
                keys = [_checkpoints_key(thread_id, range_key) for range_key in by_key]
                for item in self.checkpoints.batch_get(keys, consistent=consistent) if keys else ():
                    each = by_key[item["checkpoint_id"]["S"]]
                    read[each] = _decode_chunk(item, each, wanted[each], codec)
            chunks |= read
            for each, referrer in wanted.items():
                if each not in chunks:
                    what = f"Chunk {_chunk_range_key(each, referrer.ttl)!r} is missing"
                    raise DamagedCheckpointError(what, *referrer.place)
            index.remember(read)
        return chunks

    def store_item(
        self, index: _ChunkIndex, draft: _Draft, put: Callable[[float], T]
    ) -> tuple[T, float]:
        """Store a draft's chunks, then call *put*, which stores the item that refers to them.

        A call may be throttled, or its process frozen, until a prune has deleted chunks that it
        relies on. Each chunk existed when it was seen, and a prune keeps it for the grace period
        after that: an item that is stored within two thirds of the period is whole. If more time
        has passed, before or after *put*, all chunks are stored again. Also returns the time of the
        call of *put*.
        """
        for is_trusted in (True, False):
            oldest = self._store_chunks(index, draft, is_trusted=is_trusted)
            if (stored_at := self.clock()) - oldest <= _MAX_PUT_SECONDS:
                found = put(stored_at)
                if self.clock() - oldest <= _MAX_PUT_SECONDS:
                    return found, stored_at
        raise DynamoDBSaverError(
            f"An item of thread {draft.thread_id!r} took over {_MAX_PUT_SECONDS:.0f} seconds to "
            f"store with its {len(draft.chunks):,} chunks; it may be stored, but a prune may have "
            f"deleted some of them; call again, or raise the capacity of table "
            f"{self.checkpoints.name!r}"
        )

    def _store_chunks(self, index: _ChunkIndex, draft: _Draft, *, is_trusted: bool) -> float:
        """Store a draft's chunks, except those that are stored or that another call is storing.

        LangGraph passes a task's writes and the checkpoint after them at the same time, and both
        may hold the same chunks. *is_trusted* False: store all. Returns the earliest time at which
        a chunk that the call relies on was seen.
        """
        ttl, is_stored = draft.times.ttl, False
        claim = index.claim(draft.ids, ttl, self.clock(), is_trusted=is_trusted)
        try:
            self._put_chunks(draft, claim.mine)
            is_stored = True
        finally:
            index.release(claim, ttl, is_stored=is_stored)
        # Another call may fail or hang; this one goes on without it.
        wait({other.is_stored for other in claim.others.values()}, timeout=_SHARED_SECONDS)
        others = ((each, other.is_stored) for each, other in claim.others.items())
        failed = [each for each, stored in others if not (stored.done() and stored.result())]
        if failed:
            self._put_chunks(draft, failed)
        index.remember(draft.chunks)
        return claim.oldest

    def _put_chunks(self, draft: _Draft, ids: Sequence[bytes]) -> None:
        chunks = draft.chunks
        if kept := {each: draft.kept[each] for each in ids if each not in chunks}:
            chunks = self.load(kept, draft.codec) | chunks
        self.checkpoints.batch_put(
            [
                _encode_chunk(draft.thread_id, each, draft.times.ttl, chunks[each], draft.codec)
                for each in ids
            ],
            lambda: _encode_stored_at(self.clock()),
        )

    @contextmanager
    def forgetting(self, thread_id: str) -> Iterator[None]:
        """Forget a thread before its items are deleted, and then what calls learned meanwhile."""
        self.indexes.forget(thread_id)
        try:
            yield
        finally:
            self.indexes.forget(thread_id)

    def put_tombstones(
        self, thread_id: str, ids: Collection[bytes], grace_seconds: float = _GRACE_SECONDS
    ) -> None:
        """Note chunks that lose a reference now: a put under way may rely on them."""
        self.checkpoints.batch_put(
            _encode_tombstone(thread_id, batch, self.clock(), grace_seconds)
            for batch in _batches(sorted(ids), _MAX_TOMBSTONE_IDS)
        )

    def delete(self, thread_id: str, range_keys: Iterable[str]) -> None:
        self.checkpoints.batch_delete(_checkpoints_key(thread_id, key) for key in range_keys)

    def delete_layout_0_writes(self, keys: Iterable[_CheckpointKey]) -> None:
        found = self.workers.side_by_side(
            partial(self.layout_0_writes, attributes=_WRITES_KEYS), keys
        )
        self.writes.batch_delete(list(chain.from_iterable(found)))

    def marker(self, thread_id: str) -> _Marker | None:
        item = self.checkpoints.get(_checkpoints_key(thread_id, _MARKER))
        return _decode_marker(item) if item else None

    def refuse_marked(self, thread_id: str, whose: str) -> None:
        if marker := self.marker(thread_id):
            marker.refuse(whose)


# -- Read -----------------------------------------------------------------------------------------
# get_tuple(), list() and get_delta_channel_history(), and the reads of copies and history().


# The writes of checkpoints, or the error if they are damaged.
_Pending = dict[_CheckpointKey, "list[_Writes] | _CheckpointError"]


def _intact(found: list[_Writes] | _CheckpointError) -> list[_Writes]:
    if isinstance(found, _CheckpointError):
        raise found
    return found


class _Selection(NamedTuple):
    """The checkpoints that list() returns; None: all."""

    address: _Address | None
    filter: Mapping[str, Any]
    before_id: str | None
    limit: int | None


class _Reader:
    """Reads checkpoints as a caller sees them; *consistent* None: as the saver was told."""

    def __init__(self, store: _Store, codec: _Codec, *, consistent: bool | None = None) -> None:
        self._store = store
        self._codec = codec
        self._consistent = store.consistent_read if consistent is None else consistent
        self.decoder = store.decoder(codec)

    def get_tuple(self, address: _Address) -> CheckpointTuple | None:
        store, now = self._store, self._store.clock()
        with store.indexes.using(address.thread_id) as index:
            # Usually the newest checkpoint is the one that this process stored or read last.
            newest = index.newest(address.checkpoint_ns or "")
            likely = address.key(address.checkpoint_id) if address.checkpoint_id else newest
            pending = store.workers.start(self._pending, [likely]) if likely else None
            if likely and address.checkpoint_id:
                manifest = self.manifest(likely)
            else:
                found = self.namespace(address.thread_id, address.checkpoint_ns or "", 1)
                manifest = next(map(self.decoder.manifest, found), None)
            if manifest is None:
                if likely and likely == newest:
                    # Another process may have deleted the thread: forget all that was known of it.
                    store.indexes.forget(address.thread_id)
                return None
            if not pending or manifest.key != likely or manifest.is_layout_0:
                pending = store.workers.start(self._pending_of, [manifest])
            try:
                shown = next(self._tuples([manifest], pending.result, {}))
            except DamagedCheckpointError:
                index.doubt(manifest.key)
                raise
            # Only now it is certain that all their chunks exist.
            index.learn(manifest, manifest.ids, now)
            for writes in _intact(pending.result()[manifest.key]):
                ids = () if writes.is_special else writes.ids
                index.learn_writes(manifest.key, ids, writes.blob, writes.ttl, now)
            return shown

    def manifest(self, key: _CheckpointKey, *, is_shown: bool = True) -> _Manifest | None:
        """Read a checkpoint by its id, if it is shown; *is_shown* False: if it is stored."""
        item = self._store.checkpoint(key, consistent=self._consistent)
        if item is None or (is_shown and not self._store.is_shown(item)):
            return None
        return self.decoder.manifest(item)

    def value(self, recipe: _Recipe, chunks: Mapping[bytes, bytes], place: _Place) -> Any:
        data = recipe.join(chunks, _MAX_VALUE_BYTES, place)
        return self._codec.loads(recipe.type, data, place)

    def channel_value(self, manifest: _Manifest, channel: str) -> Any:
        recipe = manifest.channels[channel]
        chunks = self._store.load(dict.fromkeys(recipe.ids, manifest.referrer), self._codec)
        return self.value(recipe, chunks, manifest.place)

    def _pending_of(self, manifests: Sequence[_Manifest]) -> _Pending:
        layout_0 = [manifest.key for manifest in manifests if manifest.is_layout_0]
        return self._pending([manifest.key for manifest in manifests], layout_0)

    def _pending(
        self, keys: Sequence[_CheckpointKey], layout_0: Collection[_CheckpointKey] = ()
    ) -> _Pending:
        """Read the writes of a thread's checkpoints; keep an error until its checkpoint's turn."""
        pending: _Pending = {}
        found = self._store.writes_of(keys, layout_0, consistent=self._consistent)
        for key, items in found.items():
            try:
                pending[key] = [self.decoder.writes(item, key) for item in items]
            except _CheckpointError as error:  # noqa: PERF203  requests cost more
                pending[key] = error
        return pending

    def _tuples(
        self,
        manifests: Sequence[_Manifest],
        pending: Callable[[], _Pending],
        chunks: dict[bytes, bytes],
    ) -> Iterator[CheckpointTuple]:
        """Read the chunks that are not among *chunks*, then return the checkpoints one by one."""
        store = self._store
        sends = {
            manifest.key: store.workers.start(self._pending, [parent_key], [parent_key])
            for manifest in manifests
            if manifest.takes_sends and (parent_key := manifest.parent_key)
        }
        wanted: dict[bytes, _Referrer] = {}
        for manifest in manifests:
            wanted |= dict.fromkeys(manifest.value_ids, manifest.referrer)
        missing = {each: wanted[each] for each in wanted if each not in chunks}
        loaded = store.load(missing, self._codec)
        more: dict[bytes, _Referrer] = {}
        found = pending()
        for manifest in manifests:
            writes = found[manifest.key]
            if not isinstance(writes, _CheckpointError):
                more |= _wanted_by(writes)
        for each in chunks.keys() - wanted.keys() - more.keys():
            del chunks[each]  # of checkpoints that were returned before
        chunks |= loaded
        some = islice(((each, more[each]) for each in more if each not in chunks), _MAX_LIST_CHUNKS)
        chunks |= store.load(dict(some), self._codec)
        for manifest in manifests:
            parent = sends[manifest.key].result() if manifest.key in sends else {}
            yield self._tuple(manifest, found | parent, chunks)

    def _tuple(
        self, manifest: _Manifest, pending: _Pending, chunks: Mapping[bytes, bytes]
    ) -> CheckpointTuple:
        values = {
            name: self.value(recipe, chunks, manifest.place)
            for name, recipe in manifest.channels.items()
        }
        versions = dict(manifest.checkpoint["channel_versions"])
        parent_key = manifest.parent_key
        if parent_key and parent_key in pending and manifest.takes_sends:
            sends = self.loaded(_intact(pending[parent_key]), only={TASKS})
            if sends:
                values[TASKS] = [value for _, _, value in sends]
                with _well_formed(manifest.place):
                    versions[TASKS] = max(versions.values(), default=1)
        checkpoint = {**manifest.checkpoint, "channel_values": values, "channel_versions": versions}
        writes = self.loaded(_intact(pending[manifest.key]), chunks)
        if manifest.is_layout_0:
            _refuse_javascript(checkpoint, writes, manifest.place)
        return CheckpointTuple(
            _config(manifest.key),
            cast("Checkpoint", checkpoint),
            cast("CheckpointMetadata", manifest.metadata),
            _config(parent_key) if parent_key else None,
            writes,
        )

    def loaded(
        self,
        items: Sequence[_Writes],
        chunks: Mapping[bytes, bytes] = MappingProxyType({}),
        *,
        only: Collection[str] | None = None,
    ) -> list[PendingWrite]:
        """Return a checkpoint's writes, to all channels or *only* some, in LangGraph's order."""
        writes: dict[tuple[str, int], _Write] = {}
        for item in items:
            for write in item.writes:
                # The first value of an ordinary write stays, the last of a special one (rule 5).
                # Items of layout 0 come last here, but were stored first.
                if write.idx >= 0 or (write.task_id, write.idx) not in writes:
                    writes[write.task_id, write.idx] = write
        chosen = [each for each in sorted(writes.values()) if only is None or each.channel in only]
        needed = {chunk_id for write in chosen for chunk_id in write.value.ids}
        if missing := needed.difference(chunks):
            wanted = _wanted_by(items)
            found = self._store.load({each: wanted[each] for each in missing}, self._codec)
            chunks = {**chunks, **found}
        return [
            (write.task_id, write.channel, self.value(write.value, chunks, items[0].place))
            for write in chosen
        ]

    def list(self, selection: _Selection) -> Iterator[CheckpointTuple]:
        """Read a few checkpoints at a time, with their writes and chunks, and more each time.

        One query reads the writes of all checkpoints that are neighbours in a namespace. With a
        filter, many writes may lie between matching checkpoints: each then has its own query.
        """
        damaged: list[_CheckpointError] = []
        manifests = islice(_until_damaged(self._selected(selection), damaged), selection.limit)
        ahead, held = selection.limit or _MIN_LIST_AHEAD, next(manifests, None)
        chunks: dict[bytes, bytes] = {}
        while held:
            group, ids = [held], dict(held.value_ids)
            while (held := next(manifests, None)) and len(group) < min(ahead, _MAX_LIST_AHEAD):
                ids |= held.value_ids
                if len(ids) > _MAX_LIST_CHUNKS:
                    break
                group.append(held)
            yield from self._tuples(group, self._group_pending(group, selection), chunks)
            ahead *= 2
        if damaged:
            raise damaged[0]

    def _group_pending(
        self, manifests: Sequence[_Manifest], selection: _Selection
    ) -> Callable[[], _Pending]:
        """Start reading the writes of checkpoints: one query a namespace, or one a checkpoint."""
        groups: dict[tuple[str, ...], list[_Manifest]] = {}
        for manifest in manifests:
            part = 3 if selection.filter or manifest.is_layout_0 else 2
            groups.setdefault(manifest.key[:part], []).append(manifest)
        workers = self._store.workers
        futures = [workers.start(self._pending_of, group) for group in groups.values()]

        def pending() -> _Pending:
            return dict(chain.from_iterable(future.result().items() for future in futures))

        return pending

    def _selected(self, selection: _Selection) -> Iterator[_Manifest]:
        address, filter_, before_id, limit = selection
        _, checkpoint_ns, only_id = address or (None, None, None)
        # One page holds the wanted checkpoints, and the one that *before* names, which is skipped.
        page_limit = limit + bool(before_id) if limit and not filter_ else _FIRST_PAGE_ITEMS
        for thread_id in [address.thread_id] if address else self._store.thread_ids():
            if checkpoint_ns is None:
                items = self.all_namespaces(thread_id, page_limit, before_id, only_id)
            else:
                items = self.namespace(thread_id, checkpoint_ns, page_limit, before_id, only_id)
            for item in items:
                if _item_key(item).checkpoint_id < (before_id or _MARKER):
                    manifest = self.decoder.manifest(item)
                    metadata = manifest.metadata
                    if all(metadata.get(name) == value for name, value in filter_.items()):
                        yield manifest

    def namespace(
        self,
        thread_id: str,
        checkpoint_ns: str,
        limit: int,
        before_id: str | None = None,
        only_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of a namespace that are shown, newest first."""
        store, consistent = self._store, self._consistent
        if only_id:
            key = _CheckpointKey(thread_id, checkpoint_ns, only_id)
            item = store.checkpoint(key, consistent=consistent)
            yield from filter(store.is_shown, [item] if item else [])
            return
        range_ = _namespace_range(checkpoint_ns, before_id)
        items = store.checkpoints.items(
            thread_id, *range_, newest_first=True, limit=limit, consistent=consistent
        )
        if before_id:
            items = (item for item in items if _item_key(item).checkpoint_id < before_id)
            if not checkpoint_ns:  # then the marker is not in the range
                key_of_marker = _checkpoints_key(thread_id, _MARKER)
                marker = store.checkpoints.get(key_of_marker, consistent=consistent)
                items = chain([marker] if marker else [], items)
        yield from store.shown(items, checkpoint_ns)

    def all_namespaces(
        self,
        thread_id: str,
        limit: int,
        before_id: str | None = None,
        only_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of all namespaces of a thread that are shown, newest first."""

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
            shown = [
                item
                for item in self._store.shown(items, found_ns)
                if only_id in (None, _item_key(item).checkpoint_id)
            ]
            held += len(shown)
            # A map would keep the items in memory.
            keys = list(map(_item_key, shown))
            sources.append(iter(shown if held <= _MAX_LIST_HELD else keys))

        def id_of(each: _Item | _CheckpointKey) -> str:
            return (each if isinstance(each, _CheckpointKey) else _item_key(each)).checkpoint_id

        return self._read_again(heapq.merge(*sources, key=id_of, reverse=True))

    def _read_again(self, found: Iterator[_Item | _CheckpointKey]) -> Iterator[_Item]:
        """Return items; read those of which there is only a key, in batches."""
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

    def lineage(self, key: _CheckpointKey) -> Iterator[_Manifest]:
        """Read a checkpoint, then its ancestors, shown or kept for a DeltaChannel.

        Raises: DamagedCheckpointError: an ancestor is missing.
        """
        items = filter(
            self._store.is_stored,
            self._store.checkpoints.items(
                key.thread_id,
                *_namespace_range(key.checkpoint_ns, key.checkpoint_id),
                newest_first=True,
                limit=_FIRST_PAGE_ITEMS,
                consistent=self._consistent,
            ),
        )
        item, child = next(items, None), None
        seen: set[_CheckpointKey] = set()
        each: _CheckpointKey | None = key
        while each is not None:
            while item and _item_key(item) > each:
                item = next(items, None)
            manifest = None
            if each in seen:
                pass  # forged items may name each other as parents
            elif item and _item_key(item) == each:
                manifest = self.decoder.manifest(item)
            elif child:
                # The child has a smaller id: its machine's clock was behind the parent's.
                manifest = self.manifest(each, is_shown=False)
            if manifest is None:
                if child is None:
                    return
                what = (
                    f"An ancestor of checkpoint {child.key.checkpoint_id!r}, from which its "
                    f"DeltaChannels are rebuilt, is missing; it expired, or was pruned, or deleted "
                    f"with its run"
                )
                raise DamagedCheckpointError(what, each, self._store.checkpoints.name)
            seen.add(each)
            yield manifest
            child, each = manifest, manifest.parent_key

    def delta_history(
        self, address: _Address, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        histories: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
        checkpoint_ns, key = address.checkpoint_ns or "", None
        if address.checkpoint_id:
            key = address.key(address.checkpoint_id)
        elif item := next(self.namespace(address.thread_id, checkpoint_ns, 1), None):
            key = _item_key(item)
        steps = list(self._delta_steps(key, histories)) if key and channels else []
        batches = _batches([manifest for manifest, _ in steps], _MAX_LIST_AHEAD)
        found = self._store.workers.side_by_side(self._pending_of, batches)
        pending: _Pending = dict(chain.from_iterable(each.items() for each in found))
        for manifest, written in reversed(steps):
            for write in self.loaded(_intact(pending[manifest.key]), only=written):
                histories[write[1]]["writes"].append(write)
        return histories

    def _delta_steps(
        self, key: _CheckpointKey, histories: Mapping[str, DeltaChannelHistory]
    ) -> Iterator[tuple[_Manifest, set[str]]]:
        """Read ancestors, newest first, each with the channels that its writes may hold.

        The walk for a channel ends at the first ancestor that has its value, the seed, or that has
        no version of the channel: nothing was written before.
        """
        wanted = set(histories)
        for child, manifest in pairwise(self.lineage(key)):
            written = {name for name in wanted if _may_have_written(name, manifest, child)}
            if written:
                yield manifest, written
            for name in wanted & manifest.channels.keys():
                histories[name]["seed"] = self.channel_value(manifest, name)
            wanted = {name for name in wanted if not manifest.ends_chain(name)}
            if not wanted:
                return


def _wanted_by(items: Iterable[_Writes]) -> dict[bytes, _Referrer]:
    """Return the chunks that the values of writes are made of."""
    wanted: dict[bytes, _Referrer] = {}
    for item in items:
        wanted |= dict.fromkeys(item.value_ids, item.referrer)
    return wanted


def _refuse_javascript(
    checkpoint: Mapping[str, Any], writes: Iterable[PendingWrite], place: _Place
) -> None:
    """Refuse Sends and interrupts that are plain dicts: LangGraph drops these silently.

    The JavaScript saver writes the tables of layout 0; its Send is ``{"node": "n", "args": {}}``.
    """
    told = [
        *(value for _, channel, value in writes if channel in (TASKS, INTERRUPT)),
        checkpoint.get("pending_sends"),
        checkpoint["channel_values"].get(TASKS),
    ]
    lists = (value if isinstance(value, (list, tuple)) else [value] for value in told)
    # A Python object that the serializer did not build again is a dict with "lc".
    if any(isinstance(each, dict) and "lc" not in each for each in chain.from_iterable(lists)):
        raise UndecodableCheckpointError(
            "The JavaScript saver (@rwai/langgraphjs-checkpoint-dynamodb) stored Sends or "
            "interrupts that LangGraph for Python would drop",
            *place,
            "the data are untouched: finish the pending step of the thread in JavaScript, and go "
            "on in Python after it",
        )


def _until_damaged(
    manifests: Iterator[_Manifest], damaged: list[_CheckpointError]
) -> Iterator[_Manifest]:
    """Read ahead until a checkpoint is damaged, and keep the error until its turn comes."""
    try:
        yield from manifests
    except _CheckpointError as error:
        damaged.append(error)


def _may_have_written(channel: str, manifest: _Manifest, child: _Manifest) -> bool:
    """Say whether a DeltaChannel may have been written between a checkpoint and its child.

    The child's ``updated_channels`` alone does not tell: with durability "exit" it names only the
    channels of the last superstep, while the writes of all supersteps stand on the one parent. A
    channel is unwritten only if its count of updates is unchanged too.
    """
    updated = child.checkpoint.get("updated_channels")
    before, after = manifest.counters.get(channel, (0, 0)), child.counters.get(channel)
    return updated is None or channel in updated or after is None or after[0] != before[0]


# -- Move -----------------------------------------------------------------------------------------
# Stores items again: with different times, or in a different thread.


class _Mover:
    """Stores checkpoints again: their chunks first, then their writes, then themselves."""

    def __init__(
        self, store: _Store, codec: _Codec, target: str, ttl: float, token: bytes = b""
    ) -> None:
        self._store = store
        self._codec = codec
        self._target = target
        self._ttl = ttl
        self._token = token

    def store_again(
        self,
        index: _ChunkIndex,
        manifests: Iterable[_Manifest],
        writes: Iterable[_Writes],
        is_due: Callable[[float], bool],
    ) -> None:
        """Give a thread's checkpoints and write items the new ttl, if theirs *is_due*.

        Items that were deleted or changed in between stay so.
        """
        store = self._store
        draft = _Draft(self._target, self._codec, _Times(0, self._ttl), self._token, b"")
        due = [each for each in manifests if each.item and is_due(each.times.ttl)]
        due_writes = [each for each in writes if is_due(each.ttl)]
        for manifest in due:
            draft.kept |= dict.fromkeys(manifest.ids, manifest.referrer)
        for each in due_writes:
            draft.kept |= dict.fromkeys(each.ids, each.referrer)
        store.put_tombstones(self._target, draft.kept)
        store.store_item(index, draft, lambda _: self.renew(due, due_writes))

    def renew(self, manifests: Iterable[_Manifest], writes: Iterable[_Writes]) -> None:
        """Give write items, then checkpoints, the mover's token and its ttl, if that is not 0."""
        self._store.writes.put_all(
            self._again(each.item, each.blob, _Times(_FOREVER, self._ttl or each.ttl))
            for each in writes
        )
        self._store.checkpoints.put_all(
            self._again(each.item, each.blob, each.times._replace(ttl=self._ttl or each.times.ttl))
            for each in manifests
            if each.item
        )

    def show(self, manifests: Iterable[_Manifest], shown_until: float) -> None:
        """Have checkpoints shown until a different time, one after the other."""
        for manifest in manifests:
            if manifest.item:
                times = manifest.times._replace(shown_until=shown_until)
                self._store.checkpoints.put(*self._again(manifest.item, manifest.blob, times))

    def _again(
        self, item: _Item, blob: _Blob | None, times: _Times
    ) -> tuple[_Item, str, _Item | None, Mapping[str, str]]:
        """Return put()'s arguments: the item with other times, if nobody has changed it."""
        again = self._with_token(_with_times(item, times), blob)
        names = ("blob", "ttl", "shown_until")
        known = {name: item[name] for name in names if name in item}
        tests = (
            f"#{name} = :{name}" if name in known else f"attribute_not_exists(#{name})"
            for name in names
        )
        key = next(name for name in item if name in ("checkpoint_id", "task_id_idx"))
        return (
            again,
            " AND ".join([f"attribute_exists({key})", *tests]),
            {f":{name}": value for name, value in known.items()} or None,
            {f"#{name}": name for name in names},
        )

    def copy(
        self,
        index: _ChunkIndex,
        whole: Iterable[tuple[_Manifest, Sequence[_Writes]]],
        shown_until: float,
    ) -> None:
        """Store checkpoints with their writes in the target thread."""
        store = self._store
        draft = _Draft(self._target, self._codec, _Times(0, self._ttl), self._token, b"")
        checkpoints, writes = [], []
        for manifest, items in whole:
            draft.kept |= dict.fromkeys(manifest.ids, manifest.referrer)
            is_shown = manifest.item is not None and store.is_shown(manifest.item)
            times = _Times(shown_until if is_shown else manifest.times.shown_until, self._ttl)
            moved = _with_times(manifest.item or {}, times) | {"thread_id": {"S": self._target}}
            checkpoints.append(self._with_token(moved, manifest.blob))
            for each in items:
                draft.kept |= dict.fromkeys(each.ids, each.referrer)
                hash_key = _writes_hash_key(self._target)
                if each.blob is None:
                    hash_key = manifest.key._replace(thread_id=self._target).layout_0_writes
                    name = "target_thread_id with checkpoint_id"
                    _text(name, hash_key, max_bytes=_MAX_HASH_KEY_BYTES)
                moved = _with_times(each.item, _Times(_FOREVER, self._ttl))
                moved |= _writes_key(hash_key, each.item["task_id_idx"]["S"])
                writes.append(self._with_token(moved, each.blob))

        def put(stored_at: float) -> None:
            # Items of layout 0 have no such attribute.
            stamp = _encode_stored_at(stored_at)
            store.writes.batch_put(each | stamp if "blob" in each else each for each in writes)
            store.checkpoints.batch_put(checkpoints)

        store.store_item(index, draft, put)

    def _with_token(self, item: _Item, blob: _Blob | None) -> _Item:
        """Return an item with the mover's token; without one, or in layout 0, as it is."""
        if blob is None or not self._token:
            return item
        return _encode_blob(item, blob._replace(token=self._token), self._codec)


# -- Write ----------------------------------------------------------------------------------------
# put() and put_writes(): make the item, cut its values, ask the index, store the chunks, store the
# item.


def _lifetime(ttl_seconds: int, thread_id: str, now: float) -> _Times:
    """Return the times of an item that is stored now.

    It is shown for a time to live, and stored to the end of a period of that length. Each thread's
    periods end at a second of their own. This has three effects: a thread's items expire together;
    a write that is put shortly before its checkpoint stays stored while the checkpoint is shown; a
    thread in use stores its chunks once a period.
    """
    offset = zlib.crc32(thread_id.encode()) % ttl_seconds
    periods = (int(now) + ttl_seconds + ttl_seconds // 4 + offset) // ttl_seconds + 1
    return _Times(int(now) + ttl_seconds, periods * ttl_seconds - offset)


def _check_channel(name: str, value: Any) -> None:
    if not isinstance(value, str):  # the value may be a secret
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")


def _pairs(writes: Any) -> list[tuple[Any, Any]]:
    try:
        return [(channel, value) for channel, value in writes]
    except (TypeError, ValueError):  # its message may hold a secret, too
        raise TypeError("writes must be a sequence of pairs: a channel and a value") from None


def _channel_of(key: _CheckpointKey, name: str) -> str:
    return f"channel {name!r} of thread {key.thread_id!r}"


def _check_checkpoint(checkpoint: Checkpoint, metadata: Mapping[str, Any], thread_id: str) -> None:
    """Check what readers rely on, and what may be a key of the index of runs (rule 10)."""
    if not isinstance(checkpoint.get("v"), int):
        kind = type(checkpoint.get("v")).__name__
        raise TypeError(f"checkpoint['v'] must be an integer, not {kind}")
    for part in ("channel_versions", "channel_values"):
        for name in _dict(f"checkpoint[{part!r}]", checkpoint.get(part)):
            _check_channel("a channel of checkpoint", name)
    if isinstance(run_id := metadata.get("run_id"), str) and run_id:
        _text("metadata['run_id']", run_id, max_bytes=_MAX_HASH_KEY_BYTES)
        _text("thread_id of a run", thread_id, max_bytes=_MAX_RANGE_KEY_BYTES)


class _Writer:
    """Stores checkpoints and writes."""

    def __init__(self, store: _Store, codec: _Codec, ttl_seconds: int | None) -> None:
        self._store = store
        self._codec = codec
        # A parent that was just put must be found: values may be taken from it.
        self.reader = _Reader(store, codec, consistent=True)
        self._ttl_seconds = ttl_seconds

    def put(
        self,
        key: _CheckpointKey,
        parent_key: _CheckpointKey | None,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        *,
        is_copied: bool = False,
        is_shown: bool = True,
    ) -> None:
        store, thread_id = self._store, key.thread_id
        _check_checkpoint(checkpoint, metadata, thread_id)
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        with ExitStack() as stack:
            stack.enter_context(store.indexes.using(thread_id))  # no trim drops it meanwhile
            parent = self._parent(key, parent_key)
            index = stack.enter_context(store.indexes.using(thread_id))
            draft = index.draft(key, self._codec, self._ttl_seconds, store.clock())
            if parent and parent.manifest.blob:
                draft.secret = parent.manifest.blob.secret
            channels = self._channels(key, draft, checkpoint, new_versions, parent)
            blob = _Blob(draft.token, draft.secret, 0, b"")
            times = draft.times if is_shown else draft.times._replace(shown_until=_NEVER_SHOWN)
            manifest = _Manifest(
                key, store.checkpoints.name, parent_key, rest, metadata, channels, times, blob,
                is_copied=is_copied,
            )  # fmt: skip
            if parent_key and (deltas := manifest.pending_deltas):
                self._extend_ancestors(index, parent_key, parent, deltas, draft.times.ttl)
            item = _encode_manifest(manifest, draft)
            _, stored_at = store.store_item(index, draft, lambda _: store.checkpoints.put(item))
            index.learn(manifest, draft.ids, stored_at, is_own=True)

    def _parent(self, key: _CheckpointKey, parent_key: _CheckpointKey | None) -> _Known | None:
        """Return the parent; read it if this process does not know it.

        Another process has deleted the thread if a first checkpoint comes although this process
        knows one, or a child although its parent is not stored: the thread is then forgotten.
        """
        store, now = self._store, self._store.clock()
        with store.indexes.using(key.thread_id) as index:
            if parent_key is None:
                if key.checkpoint_ns and not index.is_known:
                    self._learn_root(index, key.thread_id)
                is_told = index.newest(key.checkpoint_ns) in (None, key)
            elif known := index.known(parent_key, now):
                return known
            elif found := self.reader.manifest(parent_key, is_shown=False):
                index.learn(found, found.ids, now)
                # Its writes have not been seen: in a thread with a ttl they may expire at any time.
                return _Known(found, now, 0 if found.times.ttl < _FOREVER else _FOREVER)
            else:
                is_told = False
        if not is_told:
            store.indexes.forget(key.thread_id)
        return None

    def _learn_root(self, index: _ChunkIndex, thread_id: str) -> None:
        """Learn a thread's times and token from its root, before something new is added to it."""
        if item := next(self.reader.namespace(thread_id, "", 1), None):
            # Not its chunks: nobody has seen that they exist.
            index.learn(self.reader.decoder.manifest(item), (), self._store.clock())

    def _channels(
        self,
        key: _CheckpointKey,
        draft: _Draft,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
        parent: _Known | None,
    ) -> dict[str, _Recipe]:
        """Cut a checkpoint's values; values that the parent has stored are not serialized again."""
        values, channels = checkpoint["channel_values"], {}
        if parent:
            known, referrer = parent.manifest, parent.manifest.referrer
            known_versions = known.checkpoint["channel_versions"]
            # A new period needs the values' bytes, too.
            lasts = not known.is_layout_0 and known.times.ttl == draft.times.ttl
            for name, version in checkpoint["channel_versions"].items():
                is_same = name not in new_versions and version == known_versions.get(name)
                if is_same and name in known.channels and (lasts or name not in values):
                    recipe = known.channels[name]
                    if known.is_layout_0:
                        data = recipe.join({}, _MAX_VALUE_BYTES, referrer.place)
                        recipe = draft.recipe(recipe.type, data)
                    else:
                        draft.kept |= dict.fromkeys(recipe.ids, referrer)
                    channels[name] = recipe
        for name, value in values.items():
            if name not in channels:
                channels[name] = draft.recipe(*self._codec.dumps(value, _channel_of(key, name)))
        return channels

    def _extend_ancestors(
        self,
        index: _ChunkIndex,
        parent_key: _CheckpointKey,
        parent: _Known | None,
        deltas: Collection[str],
        ttl: float,
    ) -> None:
        """Extend all that a checkpoint's DeltaChannels are rebuilt from to its ttl (rule 7).

        Stop if the parent and its writes already live long enough: its ancestors then do too.
        """
        if parent and min(parent.manifest.times.ttl, parent.writes_ttl) >= ttl:
            return
        due: list[_Manifest] = []
        for each in self.reader.lineage(parent_key):
            due.append(each)
            deltas = [name for name in deltas if not each.ends_chain(name)]
            if not deltas:
                break
        if not due:
            what = "The parent, from which DeltaChannels are rebuilt, is missing"
            raise DamagedCheckpointError(what, parent_key, self._store.checkpoints.name)
        store, decoder = self._store, self.reader.decoder
        mover = _Mover(store, self._codec, parent_key.thread_id, ttl)
        for batch in _batches(due, _MAX_MOVED):
            layout_0 = [each.key for each in batch if each.is_layout_0]
            found = store.writes_of([each.key for each in batch], layout_0)
            mover.store_again(index, batch, decoder.all_writes(found), lambda old: old < ttl)

    def put_writes(
        self, key: _CheckpointKey, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        ordinary: dict[int, tuple[str, str, bytes]] = {}
        special: dict[int, tuple[str, str, bytes]] = {}
        for position, (channel, value) in enumerate(_pairs(writes)):
            _check_channel("a channel of writes", channel)
            idx = WRITES_IDX_MAP.get(channel, position)
            data = self._codec.dumps(value, _channel_of(key, channel))
            (ordinary if idx >= 0 else special)[idx] = (channel, *data)
        with self._store.indexes.using(key.thread_id) as index:
            # No read if the index knows the thread: a fast node's writes come before a checkpoint.
            if not index.is_known:
                if found := self.reader.manifest(key, is_shown=False):
                    index.learn(found, found.ids, self._store.clock())
                else:
                    self._learn_root(index, key.thread_id)
            slot = 0
            while ordinary:
                standing = self.put_at(index, key, task_id, task_path, slot, ordinary)
                if standing is None:
                    break
                # Rule 5: every call that comes to this slot sees the same indices in it and in all
                # below, and goes on to the same next slot. An index thus has one first value.
                written = self.reader.decoder.indices(standing, key)
                ordinary = {
                    idx: write
                    for idx, write in ordinary.items()
                    if not any(idx in range_ for range_ in written)
                }
                slot = max(slot, *(range_[-1] for range_ in written)) + 1
            for idx, write in special.items():
                self.put_at(index, key, task_id, task_path, idx, {idx: write})

    def put_at(
        self,
        index: _ChunkIndex,
        key: _CheckpointKey,
        task_id: str,
        task_path: str,
        slot: int,
        writes: Mapping[int, tuple[str, str, bytes]],
        *,
        replaces: bool = False,
    ) -> _Item | None:
        """Put writes under *slot*; if an item is there that has to stay, return it."""
        store = self._store
        now = store.clock()
        draft = index.draft(key, self._codec, self._ttl_seconds, now)
        values = {
            idx: (channel, _write_recipe(type_, data, draft))
            for idx, (channel, type_, data) in writes.items()
        }
        item = _encode_writes(key, task_id, task_path, slot, values, draft)
        condition: tuple[Any, ...] = ()
        # An expired item may be replaced, though DynamoDB has yet to delete it.
        if slot >= 0 and not replaces:
            condition = (
                "attribute_not_exists(task_id_idx) OR #ttl <= :now",
                {":now": {"N": f"{int(now)}"}},
                {"#ttl": "ttl"},
            )
        standing, stored_at = store.store_item(
            index, draft, lambda at: store.writes.put(item | _encode_stored_at(at), *condition)
        )
        if standing is None:
            blob, ids = _Blob(draft.token, draft.secret, 0, b""), draft.ids if slot >= 0 else ()
            index.learn_writes(key, ids, blob, draft.times.ttl, stored_at, is_own=True)
        return standing


def _write_recipe(type_: str, data: bytes, draft: _Draft) -> _Recipe:
    """Return the recipe of a write's value; a large value is cut."""
    if len(data) <= _INLINE_WRITE_BYTES:
        return _Recipe(type_, (data,))
    return draft.recipe(type_, data)


# -- Remove ---------------------------------------------------------------------------------------
# delete_thread(), prune() and delete_for_runs().


class _Summary(NamedTuple):
    """The facts that decide whether a checkpoint is removed, and whether it can be rebuilt."""

    range_key: str
    times: _Times
    is_layout_0: bool
    #: Range keys of the chunks that it refers to.
    chunks: frozenset[str]
    is_shown: bool = False
    parent_key: _CheckpointKey | None = None
    run_id: str | None = None
    channels: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    pending_deltas: frozenset[str] = frozenset()
    takes_sends: bool = False

    def still_missing(self, channels: frozenset[str]) -> frozenset[str]:
        """Return which of a descendant's DeltaChannels need ancestors of this checkpoint too."""
        return (channels - self.channels) & self.versions


_Summaries = Mapping["_CheckpointKey", _Summary]


def _summary(manifest: _Manifest, range_key: str, *, is_shown: bool) -> _Summary:
    return _Summary(
        range_key,
        manifest.times,
        manifest.is_layout_0,
        frozenset(_chunk_range_key(each, manifest.times.ttl) for each in manifest.ids),
        is_shown,
        manifest.parent_key,
        manifest.run_id,
        frozenset(manifest.channels),
        frozenset(manifest.checkpoint["channel_versions"]),
        manifest.pending_deltas,
        manifest.takes_sends,
    )


def _ancestors(summaries: _Summaries, key: _CheckpointKey) -> Iterator[_CheckpointKey]:
    """Return a checkpoint's parent, its parent and so on, as far as they exist."""
    seen = {key}  # forged items may name each other as parents
    each = summaries[key].parent_key
    while each and each in summaries and each not in seen:
        yield each
        seen.add(each)
        each = summaries[each].parent_key


def _needed(summaries: _Summaries, key: _CheckpointKey) -> tuple[set[_CheckpointKey], bool]:
    """Return the ancestors that a checkpoint's DeltaChannels need, and whether all of them exist.

    For each channel, they go back to the first ancestor with its value or without a version of it.
    """
    summary, needed = summaries[key], set[_CheckpointKey]()
    missing = summary.pending_deltas
    for each in _ancestors(summaries, key):
        if not missing:
            break
        needed.add(each)
        summary = summaries[each]
        missing = summary.still_missing(missing)
    return needed, not missing or summary.parent_key is None


def _before_run(summaries: _Summaries, key: _CheckpointKey) -> _CheckpointKey | None:
    """Return the last ancestor before a checkpoint's run."""
    run_id = summaries[key].run_id
    others = (each for each in _ancestors(summaries, key) if summaries[each].run_id != run_id)
    return next(others, None) if run_id else None


class _Choice(NamedTuple):
    """The checkpoints of a thread that stay, and those of them with a new ``shown_until``."""

    kept: set[_CheckpointKey]
    shown_until: dict[_CheckpointKey, float]


class _Plan(NamedTuple):
    """The items of a thread that a call deletes, and the checkpoints that stay."""

    summaries: _Summaries
    choice: _Choice
    checkpoints: list[_CheckpointKey]
    #: Range keys of writes and chunks to delete, and of tombstones that are no longer needed.
    writes: list[str]
    chunks: list[str]
    tombstones: list[str]
    #: Range keys of chunks that lose a reference.
    lost: set[str]
    grace_seconds: float
    #: The start of the grace period: a chunk that was stored after it stays.
    then: float
    #: If another call is deleting the thread, or copying to it, the plan deletes nothing.
    marker: _Marker | None = None


class Removal(NamedTuple):
    """The numbers of checkpoints, write items and chunks that a call would delete."""

    checkpoints: int
    writes: int
    chunks: int


class _Remover:
    """Deletes threads, and checkpoints of threads, without decoding values."""

    def __init__(self, store: _Store, serde: SerializerProtocol) -> None:
        self._store = store
        self._codec = _Codec(serde, is_plain=True)
        self._decoder = store.decoder(self._codec)

    def delete_thread(self, thread_id: str) -> None:
        store = self._store
        with store.forgetting(thread_id):
            now = str(uuid6())
            root = store.checkpoints.query(thread_id, *_ALL_ROOT, newest_first=True, limit=2)
            ends = [
                _decode_marker(item).through if _kind(item) == "marker" else _item_key(item)[2]
                for item in next(root).items
            ]
            writes = store.writes.query(_writes_hash_key(thread_id), attributes=_WRITES_KEYS)
            first = next(writes)  # now both tables have answered
            marker = _Marker("deletion", max([now, *ends]))
            store.checkpoints.put(_encode_marker(thread_id, marker))
            self.empty(thread_id, chain([first], writes))
            store.delete(thread_id, [_MARKER])

    def empty(self, thread_id: str, writes: Iterable[_Page]) -> None:
        """Delete all of a thread but its marker: subgraphs first, and each item before its chunks.

        A hidden root leads no caller to a subgraph's state, but a new root could.
        """
        store = self._store
        attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "type", "metadata")
        for range_ in (_ALL_SUBGRAPHS, _ALL_ROOT):
            for page in store.checkpoints.query(thread_id, *range_, attributes=attributes):
                self._delete_checkpoints(thread_id, page.items)
        for page in writes:
            store.writes.batch_delete(page.items)
        for page in store.checkpoints.query(
            thread_id, *_TOMBSTONES_AND_CHUNKS, attributes=_CHECKPOINTS_KEYS
        ):
            store.checkpoints.batch_delete(page.items)

    def _delete_checkpoints(self, thread_id: str, items: Sequence[_Item]) -> None:
        # Writes of layout 0 are found only through their checkpoint, so they go first.
        self._store.delete_layout_0_writes(map(_item_key, filter(_is_layout_0, items)))
        range_keys = (item["checkpoint_id"]["S"] for item in items)
        self._store.delete(thread_id, (each for each in range_keys if each != _MARKER))

    def removal_of_thread(self, thread_id: str) -> Removal:
        """Count what delete_thread() would delete."""
        kinds = Counter(
            _kind(item)
            for item in self._store.checkpoints.items(
                thread_id, attributes=(*_CHECKPOINTS_KEYS, "checkpoint_ns")
            )
        )
        writes = self._store.writes.items(_writes_hash_key(thread_id), attributes=("task_id_idx",))
        return Removal(kinds["checkpoint"], sum(1 for _ in writes), kinds["chunk"])

    def prune(self, thread_id: str, keep_last: int, grace_seconds: float) -> None:
        self._sweep(thread_id, self._plan_prune(thread_id, keep_last, grace_seconds))

    def removal_of_prune(self, thread_id: str, keep_last: int, grace_seconds: float) -> Removal:
        """Count what prune() would delete."""
        plan = self._plan_prune(thread_id, keep_last, grace_seconds)
        return Removal(len(plan.checkpoints), len(plan.writes), len(plan.chunks))

    def _plan_prune(self, thread_id: str, keep_last: int, grace_seconds: float) -> _Plan:
        def choose(summaries: _Summaries) -> _Choice:
            by_namespace: dict[str, list[_CheckpointKey]] = {}
            for key in sorted(key for key, each in summaries.items() if each.is_shown):
                by_namespace.setdefault(key.checkpoint_ns, []).append(key)
            newest = {key for keys in by_namespace.values() for key in keys[-keep_last:]}
            kept = newest | self._sources(summaries, newest)
            with_deltas = {
                key.checkpoint_ns for key, each in summaries.items() if each.pending_deltas
            }
            for key in newest:
                # The checkpoint that a rollback of its run would return to has to be whole, too.
                if key.checkpoint_ns in with_deltas and (target := _before_run(summaries, key)):
                    kept |= {target, *_needed(summaries, target)[0]}
            hidden = {key for key in kept - newest if summaries[key].is_shown}
            return _Choice(kept, dict.fromkeys(hidden, 0))

        return self._plan(thread_id, choose, grace_seconds, spares_new=grace_seconds > 0)

    def _sources(self, summaries: _Summaries, keys: set[_CheckpointKey]) -> set[_CheckpointKey]:
        """Return the ancestors that checkpoints need, for DeltaChannels or for pending sends."""
        sources: set[_CheckpointKey] = set()
        for key in keys:
            sources |= _needed(summaries, key)[0]
            parent_key = summaries[key].takes_sends and summaries[key].parent_key
            if parent_key and parent_key in summaries and parent_key not in keys:
                sources |= self._with_sends(parent_key, summaries)
        return sources

    def _with_sends(self, key: _CheckpointKey, summaries: _Summaries) -> set[_CheckpointKey]:
        """Return a checkpoint if it has pending sends for its children."""
        found = self._store.writes_of([key], [key] if summaries[key].is_layout_0 else [])
        writes = chain.from_iterable(item.writes for item in self._decoder.all_writes(found))
        return {key} if any(each.channel == TASKS for each in writes) else set()

    def delete_for_runs(self, run_ids: Collection[str], *, force: bool, use_index: bool) -> None:
        def choose(summaries: _Summaries) -> _Choice:
            kept = {key for key, summary in summaries.items() if summary.run_id not in run_ids}
            shown = {key for key in kept if summaries[key].is_shown}
            if not force and (needed := self._sources(summaries, shown) - kept):
                key = min(needed)
                raise DynamoDBSaverError(
                    f"Checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, namespace "
                    f"{key.checkpoint_ns!r}, is of a run to be deleted, but another run's "
                    f"checkpoint takes a DeltaChannel or pending sends from it; keep the run, or "
                    f"pass force=True to delete it all the same"
                )
            return _Choice(kept, self._shown_again(summaries, kept, shown))

        thread_ids, damaged = self._threads_of_runs(run_ids, use_index=use_index)
        for thread_id in sorted(thread_ids):
            # A damaged thread must not keep the other threads from being cleaned up.
            try:
                plan = self._plan(thread_id, choose, _GRACE_SECONDS)
            except _CheckpointError as error:
                damaged.append(error)
                continue
            if plan.marker:
                plan.marker.refuse(f"Thread {thread_id!r}")
            self._sweep(thread_id, plan)
        if damaged:
            raise damaged[0]

    def _shown_again(
        self,
        summaries: _Summaries,
        kept: set[_CheckpointKey],
        shown: set[_CheckpointKey],
    ) -> dict[_CheckpointKey, float]:
        """Choose the newest checkpoint that a prune hid, for each namespace with none left to show.

        It is shown for as long as the deleted ones were, or until its own ttl. It is an ancestor of
        theirs, and no newer one has expired: the thread would go back in time.
        """
        again: dict[_CheckpointKey, float] = {}
        there = {key: summaries[key] for key in kept}
        gone = {key.checkpoint_ns: key for key in sorted(summaries) if summaries[key].is_shown}
        for checkpoint_ns in gone.keys() - {key.checkpoint_ns for key in shown}:
            newest = gone[checkpoint_ns]
            for each in (key for key in _ancestors(summaries, newest) if key in kept):
                if summaries[each].times.shown_until > 0:
                    break
                if _needed(there, each)[1]:
                    until = summaries[newest].times.shown_until
                    again[each] = min(until, summaries[each].times.ttl)
                    break
        return again

    # Prune and deletion for runs take three steps: find what is reachable, find the rest, delete.
    # A put under way may rely on an item that this call deletes, and refer to its chunks: the put
    # saw that item within two thirds of a grace period before its own item is stored. A chunk is
    # deleted only if nothing referred to it when this call started, if no item that was deleted in
    # the grace period before did, and if it was not stored since. Checkpoints are read first, then
    # writes, then tombstones. If another call deletes an item before it is read here, a tombstone
    # lists its chunks. A checkpoint that is put later refers to new chunks, and to chunks that its
    # parent or the parent's writes referred to. A tombstone also lists chunks that have references
    # left, as another call may be deleting these references.

    def _reachable(self, thread_id: str) -> tuple[dict[_CheckpointKey, _Summary], _Marker | None]:
        """Read and summarize all of a thread's checkpoints; return its marker, too."""
        summaries: dict[_CheckpointKey, _Summary] = {}
        marker: _Marker | None = None
        same: dict[Any, Any] = {}  # neighbours refer to mostly the same chunks
        for item in self._store.checkpoints.items(thread_id, *_ALL_CHECKPOINTS):
            if _kind(item) == "marker":
                marker = _decode_marker(item)
            elif _kind(item) == "checkpoint":
                # In layout 0, a subgraph's checkpoint has a different range key.
                key, range_key = _item_key(item), item["checkpoint_id"]["S"]
                if self._store.is_stored(item):
                    manifest = self._decoder.manifest(item)
                    is_shown = self._store.is_shown(item)
                    summary = _summary(manifest, range_key, is_shown=is_shown)
                else:
                    # DynamoDB may have deleted chunks of its content, which expired with it.
                    nothing: frozenset[str] = frozenset()
                    summary = _Summary(range_key, _times_of(item), _is_layout_0(item), nothing)
                chunks = frozenset(same.setdefault(each, each) for each in summary.chunks)
                versions = same.setdefault(summary.versions, summary.versions)
                summaries[key] = summary._replace(chunks=chunks, versions=versions)
        return summaries, marker

    def _plan(
        self,
        thread_id: str,
        choose: Callable[[_Summaries], _Choice],
        grace_seconds: float,
        *,
        spares_new: bool = False,
    ) -> _Plan:
        """Find what to delete beside the checkpoints that *choose* does not keep.

        *spares_new*: also keep writes whose checkpoint may still be on its way.
        """
        store = self._store
        then = store.clock() - grace_seconds
        summaries, marker = self._reachable(thread_id)
        if marker:
            everything = _Choice({*summaries}, {})
            return _Plan(summaries, everything, [], [], [], [], set(), grace_seconds, then, marker)
        stored = {key: each for key, each in summaries.items() if store.clock() < each.times.ttl}
        choice = choose(stored)
        gone = sorted(summaries.keys() - choice.kept, reverse=True)
        plan = _Plan(summaries, choice, gone, [], [], [], set(), grace_seconds, then)
        reachable: set[str] = set()
        for key, summary in summaries.items():
            (reachable if key in choice.kept else plan.lost).update(summary.chunks)
        stays = {key.writes_prefix: key for key in summaries}
        newest_ids = {key.checkpoint_ns: key.checkpoint_id for key in sorted(summaries)}
        for item in store.writes.items(_writes_hash_key(thread_id)):
            range_key = item["task_id_idx"]["S"]
            prefix = _prefix_of_write(range_key)
            key = stays.get(prefix) or _key_of_prefix(thread_id, prefix)
            # Writes without a checkpoint were left by a call that was cut off, or their checkpoint
            # is being stored: they stay for the grace period and, if new ones are to be spared,
            # until their namespace or the root has gone on.
            later = (newest_ids.get(each, "") for each in (key.checkpoint_ns, ""))
            is_new = spares_new and key.checkpoint_id > max(later)
            is_kept = key in choice.kept or (
                key not in summaries and (is_new or not _is_stored_by(item, then))
            )
            if store.is_stored(item):
                writes = self._decoder.writes(item, key)
                chunks = {_chunk_range_key(each, writes.ttl) for each in writes.ids}
                (reachable if is_kept else plan.lost).update(chunks)
            if not is_kept:
                plan.writes.append(range_key)
        self._find_chunks(thread_id, plan, reachable)
        return plan

    def _find_chunks(self, thread_id: str, plan: _Plan, reachable: set[str]) -> None:
        """Add the chunks and tombstones that are no longer needed to a plan."""
        spared: set[str] = set()
        for item in self._store.checkpoints.items(
            thread_id, *_TOMBSTONES_AND_CHUNKS, attributes=("checkpoint_id", "stored_at", "chunks")
        ):
            range_key = item["checkpoint_id"]["S"]
            kind, is_old = _kind(item), _is_stored_by(item, plan.then)
            if kind == "tombstone" and is_old:
                plan.tombstones.append(range_key)
            elif kind == "tombstone":
                spared.update(_decode_tombstone(item))
            elif kind == "chunk" and is_old and range_key not in reachable:
                plan.chunks.append(range_key)
        if plan.grace_seconds:
            spared.update(map(_chunk_id_of, plan.lost))
        plan.chunks[:] = [each for each in plan.chunks if _chunk_id_of(each) not in spared]

    def _sweep(self, thread_id: str, plan: _Plan) -> None:
        """Delete what a plan lists: checkpoints, then their writes, then chunks."""
        store = self._store
        with store.forgetting(thread_id):
            if plan.grace_seconds:
                ids = {bytes.fromhex(_chunk_id_of(each)) for each in plan.lost}
                store.put_tombstones(thread_id, ids, plan.grace_seconds)
            # With a new token: a process that reads it forgets the chunks that are deleted here.
            mover = _Mover(store, self._codec, thread_id, 0, os.urandom(_TOKEN_BYTES))
            for key, shown_until in plan.choice.shown_until.items():
                if item := store.checkpoint(key, consistent=True):
                    mover.show([self._decoder.manifest(item)], shown_until)
            # After a whole grace period, no process relies on them.
            if plan.chunks and plan.grace_seconds < _GRACE_SECONDS:
                self._renew_token(plan, mover)
            # Writes of layout 0 are found only through their checkpoint, so they go first.
            layout_0 = (key for key in plan.checkpoints if plan.summaries[key].is_layout_0)
            store.delete_layout_0_writes(layout_0)
            # The newest first: what is left of a call that is cut off has all its ancestors.
            has_deltas = any(each.pending_deltas for each in plan.summaries.values())
            size = _MAX_BATCH_WRITE_ITEMS if has_deltas else len(plan.checkpoints) or 1
            for batch in _batches(plan.checkpoints, size):
                store.delete(thread_id, (plan.summaries[key].range_key for key in batch))
            hash_key = _writes_hash_key(thread_id)
            store.writes.batch_delete(_writes_key(hash_key, range_key) for range_key in plan.writes)
            store.checkpoints.delete_all(
                (_checkpoints_key(thread_id, range_key) for range_key in plan.chunks),
                # A chunk stays if a put has stored it again since it was listed.
                ConditionExpression="stored_at <= :then",
                ExpressionAttributeValues={":then": {"N": str(int(plan.then))}},
            )
            store.delete(thread_id, plan.tombstones)

    def _renew_token(self, plan: _Plan, mover: _Mover) -> None:
        """Give all that stays shown the mover's token."""
        kept = sorted(plan.choice.kept - plan.choice.shown_until.keys())
        shown = [key for key in kept if plan.summaries[key].is_shown]
        for batch in _batches(shown, _MAX_MOVED):
            found = self._store.checkpoints_of(batch, consistent=True).values()
            writes = self._decoder.all_writes(self._store.writes_of(batch))
            mover.renew(map(self._decoder.manifest, found), writes)

    def _threads_of_runs(
        self, run_ids: Collection[str], *, use_index: bool
    ) -> tuple[set[str], list[_CheckpointError]]:
        """Find the threads that hold checkpoints of runs, by the table's index or by a scan.

        The query itself shows, at no cost, whether there is an index (rule 10). If there is none,
        or it is still being built or has different keys, AWS and DynamoDB Local answer
        ValidationException, and moto answers ResourceNotFoundException. All three answer the latter
        if there is no table. A role that may not query the index gets AccessDeniedException:
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
        """
        # Other run ids can't be keys of the index, so they are not in it.
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
                return self._decoder.manifest(item).run_id in run_ids
            except _CheckpointError as error:
                damaged.append(error)
                return False

        def scan(job: tuple[Sequence[str], int]) -> set[str]:
            batch, part = job
            values = {f":{index}": {"S": run_id} for index, run_id in enumerate(batch)}
            pages = self._store.checkpoints.scan(
                (*_CHECKPOINTS_KEYS, "checkpoint_ns", "run_id", "type", "metadata", "checkpoint"),
                # Layout 0 has the run's id only in the metadata.
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
# copy_thread(), set_ttl() and copy_from().


class _Copier:
    """Copies a thread within the tables, and changes a thread's times, without decoding values."""

    def __init__(self, store: _Store, serde: SerializerProtocol) -> None:
        self._store = store
        self._serde = serde
        self._codec = _Codec(serde, is_plain=True)
        self._decoder = store.decoder(self._codec)

    def copy(self, source: str, target: str, ttl_seconds: int | None) -> None:
        """Copy subgraphs first, then the root up to the checkpoint that was its newest before.

        The copy thus shows no subgraph without its root, and nothing that a run adds meanwhile. A
        copy that was cut off starts again from the beginning.
        """
        store = self._store
        reason = f"copy of {source}"
        has_items, marker = store.has_items(target), store.marker(target)
        if marker and marker.reason != reason:
            marker.refuse(f"target_thread_id {target!r}")
        reader = _Reader(store, self._codec, consistent=True)
        has_gone_on = marker and next(reader.namespace(target, "", 1), None)
        if (has_items and not marker) or has_gone_on:
            raise ValueError(
                f"target_thread_id {target!r} has items already; copy to a thread that has none"
            )
        newest = next(self._checkpoints(source, _ALL_ROOT, newest_first=True), None)
        if newest is None and next(self._checkpoints(source, _ALL_SUBGRAPHS), None) is None:
            left = f", or delete what an earlier copy left in {target!r}" if marker else ""
            raise DynamoDBSaverError(
                f"source_thread_id {source!r} has no checkpoint to copy; check the id{left}"
            )
        through = _item_key(newest[0]).checkpoint_id if newest else str(uuid6())
        with store.forgetting(target), store.indexes.using(target) as index:
            store.checkpoints.put(_encode_marker(target, _Marker(reason, through)))
            if has_items:
                writes = store.writes.query(_writes_hash_key(target), attributes=_WRITES_KEYS)
                _Remover(store, self._serde).empty(target, writes)
            now = store.clock()
            times = _lifetime(ttl_seconds, target, now) if ttl_seconds else _GOOD
            token = os.urandom(_TOKEN_BYTES)
            mover = _Mover(store, self._codec, target, times.ttl, token)
            for range_ in (_ALL_SUBGRAPHS, ("", through)):
                for items in self._checkpoints(source, range_):
                    for batch in _batches(items, _MAX_LIST_AHEAD):
                        mover.copy(index, self._with_writes(source, batch), times.shown_until)
            store.delete(target, [_MARKER])

    def _checkpoints(
        self, thread_id: str, range_: tuple[str, str], *, newest_first: bool = False
    ) -> Iterator[list[_Item]]:
        """Read the checkpoints of a thread that have not expired, a page at a time.

        Raises: DynamoDBSaverError: the thread is being copied to or deleted.
        """
        limit = 2 if newest_first else None
        pages = self._store.checkpoints.query(
            thread_id, *range_, newest_first=newest_first, limit=limit
        )
        for page in pages:
            for item in page.items:
                if _kind(item) == "marker":
                    _decode_marker(item).refuse(f"source_thread_id {thread_id!r}")
            stored = filter(self._store.is_stored, page.items)
            if found := [item for item in stored if _kind(item) == "checkpoint"]:
                yield found

    def _with_writes(
        self, source: str, items: Sequence[_Item]
    ) -> list[tuple[_Manifest, list[_Writes]]]:
        """Read the writes of checkpoints; leave out checkpoints that were deleted meanwhile."""
        store, decoder = self._store, self._decoder
        keys = list(map(_item_key, items))
        layout_0 = [key for key, item in zip(keys, items, strict=True) if _is_layout_0(item)]
        found = store.writes_of(keys, layout_0)
        # A prune deletes writes of layout 1 after their checkpoint, and so does a deletion, which
        # stores a marker first. If a checkpoint still exists now, and no marker does, all its
        # writes existed when they were read.
        store.refuse_marked(source, f"source_thread_id {source!r}")
        ends = items[0]["checkpoint_id"]["S"], items[-1]["checkpoint_id"]["S"]
        attributes = ("checkpoint_id", "shown_until", "ttl")
        there = {
            item["checkpoint_id"]["S"]: _times_of(item)
            for item in store.checkpoints.items(source, *ends, attributes=attributes)
        }
        whole = []
        for key, item in zip(keys, items, strict=True):
            # A prune may have hidden the checkpoint, and deleted what it alone needed.
            if times := there.get(item["checkpoint_id"]["S"]):
                manifest = decoder.manifest(_with_times(item, times))
                whole.append((manifest, [decoder.writes(write, key) for write in found[key]]))
        return whole

    def set_ttl(self, thread_id: str, ttl_seconds: int | None) -> None:
        """Give all items of a thread the same times; a cut-off call never sets the thread back.

        Items that are to be stored longer come first. Then the oldest checkpoints cease to be shown
        first, or the newest are shown longer first. Items that are to expire earlier come last.
        """
        store, now = self._store, self._store.clock()
        times = _lifetime(ttl_seconds, thread_id, now) if ttl_seconds else _GOOD
        store.refuse_marked(thread_id, f"thread_id {thread_id!r}")
        token = os.urandom(_TOKEN_BYTES)
        mover = _Mover(store, self._codec, thread_id, times.ttl, token)
        with store.forgetting(thread_id), store.indexes.using(thread_id) as index:
            self._store_all_again(index, mover, thread_id, lambda old: old < times.ttl)
            keys = [
                (_item_key(item), shown_until)
                for items in self._checkpoints(thread_id, _ALL_CHECKPOINTS)
                for item in items
                if now < (shown_until := _times_of(item).shown_until) != times.shown_until
            ]
            keys.sort(key=lambda each: each[0].checkpoint_id)
            shorter = [key for key, shown_until in keys if shown_until > times.shown_until]
            longer = [key for key, shown_until in keys if shown_until < times.shown_until]
            for batch in _batches([*shorter, *reversed(longer)], _MAX_MOVED):
                found = store.checkpoints_of(batch, consistent=True)
                # A prune may have hidden some meanwhile.
                there = (found[key] for key in batch if key in found)
                shown = map(self._decoder.manifest, filter(store.is_shown, there))
                mover.show(shown, times.shown_until)
            self._store_all_again(index, mover, thread_id, lambda old: old > times.ttl)
            self._expire_chunks(thread_id, times.ttl)

    def _store_all_again(
        self, index: _ChunkIndex, mover: _Mover, thread_id: str, is_due: Callable[[float], bool]
    ) -> None:
        """Store writes again, with or without a checkpoint, and then checkpoints."""
        store, decoder = self._store, self._decoder
        for page in store.writes.query(_writes_hash_key(thread_id)):
            for batch in _batches(list(filter(store.is_stored, page.items)), _MAX_MOVED):
                prefixes = (_prefix_of_write(item["task_id_idx"]["S"]) for item in batch)
                keys = [_key_of_prefix(thread_id, prefix) for prefix in prefixes]
                mover.store_again(index, [], map(decoder.writes, batch, keys), is_due)
        for items in self._checkpoints(thread_id, _ALL_CHECKPOINTS):
            for batch in _batches(items, _MAX_MOVED):
                manifests = list(map(decoder.manifest, batch))
                writes = (
                    decoder.writes(item, each.key)
                    for each in manifests
                    if each.is_layout_0
                    for item in filter(store.is_stored, store.layout_0_writes(each.key))
                )
                mover.store_again(index, manifests, writes, is_due)

    def _expire_chunks(self, thread_id: str, ttl: float) -> None:
        """Give the new ttl to chunks with a later ttl, as nothing refers to them any more."""
        store = self._store
        for page in store.checkpoints.query(thread_id, *_TOMBSTONES_AND_CHUNKS):
            chunks = [item for item in page.items if _kind(item) == "chunk"]
            store.checkpoints.batch_put(
                _with_times(item, _Times(_FOREVER, ttl))
                for item in chunks
                if _times_of(item).ttl > ttl
            )


class CopyReport(NamedTuple):
    """The report of ``copy_from()``; ``threads`` counts threads copied or found complete."""

    threads: int
    #: Checkpoints that this call copied, and checkpoints that were here before it.
    copied: int
    there_before: int
    #: The error of each thread that the source could not show.
    failed: dict[str, str]


class _Progress:
    """Reports how far a copy is: first and last, and in between at most twice a second."""

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
        """Report the latest state, unless it has been reported."""
        if self._tell and self._untold:
            self._tell(*self._untold)
            self._due = self.clock() + _PROGRESS_SECONDS
        self._untold = None


class _SourceError(Exception):
    """The source of a copy could not show a thread."""


class _Importer:
    """Copies threads from another saver, as if their graphs had run here.

    A checkpoint's writes are stored before it, so a checkpoint that is stored has all its writes.
    """

    def __init__(
        self,
        store: _Store,
        codec: _Codec,
        ttl_seconds: int | None,
        source: BaseCheckpointSaver[Any],
    ) -> None:
        self._store = store
        self._codec = codec
        self._source = source
        self._writer = _Writer(store, codec, ttl_seconds)

    def copy(
        self, source_ids: Iterable[Any], progress: _Progress, *, is_listed: bool
    ) -> CopyReport:
        """Copy threads; *is_listed*: the source listed them, and some may be gone by now."""
        threads = copied = there_before = 0
        failed: dict[str, str] = {}
        for source_id in source_ids:
            try:
                before, now = self._copy_thread(source_id, progress)
            except _SourceError as error:
                failed[_thread_id(source_id)] = str(error)
                continue
            if not before + now and not is_listed:
                raise DynamoDBSaverError(
                    f"The source shows no checkpoint of thread {source_id!r}; check the id, or "
                    f"leave it out of thread_ids"
                )
            threads += bool(before + now)
            copied += now
            there_before += before
        progress.finish()
        return CopyReport(threads, copied, there_before, failed)

    def _copy_thread(self, source_id: Any, progress: _Progress) -> tuple[int, int]:
        """Return how many of the thread's checkpoints were here, and how many were copied now."""
        thread_id = _thread_id(source_id)
        parents = self._listed(source_id)
        if not parents:
            return 0, 0
        keys = _oldest_first(parents)
        stored = self._stored(thread_id)
        there_before = len(stored.keys() & parents.keys())
        done = self._done(thread_id, keys, stored)
        progress(thread_id, done, len(keys))
        self._store.indexes.forget(thread_id)  # another process may have deleted the thread
        with self._store.indexes.using(thread_id) as index:
            here = [key for key in keys[:done] if key in stored]
            if here and (last := self._writer.reader.manifest(here[-1], is_shown=False)):
                index.learn(last, last.ids, self._store.clock())
            # If all checkpoints are here, a graph may have gone on from them, and its writes stay.
            for key in self._written_since(keys, done, parents, stored):
                writes = self._shown(source_id, key).pending_writes
                self._put_writes(index, key, writes, replaces=done < len(keys))
            there = {*stored}
            for number, key in enumerate(keys[done:], done + 1):
                # A call that was cut off has left writes of one checkpoint at most, the next.
                replaces = True if number == done + 1 else None
                self._copy_checkpoint(index, source_id, key, parents, there, replaces=replaces)
                there.add(key)
                progress(thread_id, number, len(keys))
        return there_before, len(keys) - done

    def _listed(self, source_id: Any) -> dict[_CheckpointKey, _CheckpointKey | None]:
        """Return the checkpoints that the source lists for a thread, each with its parent."""
        parents: dict[_CheckpointKey, _CheckpointKey | None] = {}
        with _from_source():
            listed = self._source.list({"configurable": {"thread_id": source_id}})
            for shown in listed:
                address = _address(shown.config)
                parent_id = shown.parent_config and _address(shown.parent_config).checkpoint_id
                key = address.key(address.checkpoint_id)
                parents[key] = address.key(parent_id) if parent_id else None
        return parents

    def _stored(self, thread_id: str) -> dict[_CheckpointKey, bool]:
        """Return the checkpoints that a thread shows here, and whether each was copied.

        Raises: DynamoDBSaverError: the thread is being copied to or deleted.
        """
        keys: dict[_CheckpointKey, bool] = {}
        times = ("shown_until", "ttl")
        attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "reason", "copied", *times)
        for item in self._store.checkpoints.items(
            thread_id, *_ALL_CHECKPOINTS, attributes=attributes
        ):
            if (kind := _kind(item)) == "marker":
                _decode_marker(item).refuse(f"Thread {thread_id!r}")
            # In layout 0, a subgraph's checkpoint has a different range key.
            if kind == "checkpoint" and self._store.is_shown(item):
                key = _item_key(item)
                if key.range_key == item["checkpoint_id"]["S"]:
                    keys[key] = "copied" in item
        return keys

    def _done(
        self, thread_id: str, keys: Sequence[_CheckpointKey], stored: Mapping[_CheckpointKey, bool]
    ) -> int:
        """Return how many of the source's checkpoints, oldest first, need no copy.

        They are copied in this order: all before the last that is here are here, or were pruned.

        Raises: DynamoDBSaverError: the thread went on both here and in the source, or the last
            checkpoint that was copied is gone from the source.
        """
        copied = [key for key, is_copied in stored.items() if is_copied]
        last = max(copied, key=lambda key: key.checkpoint_id, default=None)
        if last is not None and last not in keys:
            raise DynamoDBSaverError(
                f"Checkpoint {last.checkpoint_id!r} of thread {thread_id!r} was copied last and is "
                f"gone from the source; the copy stays as it is: pass thread_ids without it, or "
                f"copy the thread into other tables"
            )
        done = max((number for number, key in enumerate(keys, 1) if key in stored), default=0)
        last_id = keys[done - 1].checkpoint_id if done else ""
        newer = [key[2] for key in set(stored).difference(keys) if key[2] > last_id]
        if newer and done < len(keys):
            raise DynamoDBSaverError(
                f"Thread {thread_id!r} has gone on here, with checkpoint {min(newer)!r}, and in "
                f"the source, with {keys[done].checkpoint_id!r}; pass thread_ids without it, or "
                f"copy the thread into other tables"
            )
        return done

    def _written_since(
        self,
        keys: Sequence[_CheckpointKey],
        done: int,
        parents: Mapping[_CheckpointKey, _CheckpointKey | None],
        stored: Collection[_CheckpointKey],
    ) -> list[_CheckpointKey]:
        """Return the checkpoints here to which the source may have added writes since.

        These are the newest of each namespace, and the parents of new checkpoints.
        """
        here = [key for key in keys[:done] if key in stored]
        newest = {key.checkpoint_ns: key for key in sorted(here)}.values()
        due = {*newest, *(parents[key] for key in keys[done:])}
        return [key for key in here if key in due]

    def _shown(self, source_id: Any, key: _CheckpointKey) -> CheckpointTuple:
        """Return a checkpoint that the source has listed."""
        with _from_source():
            found = self._source.get_tuple(
                {"configurable": {**key._asdict(), "thread_id": source_id}}
            )
        if found is None:
            raise DynamoDBSaverError(
                f"The source lists checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, "
                f"namespace {key.checkpoint_ns!r}, and does not return it; if it was deleted or "
                f"expired since, call copy_from() again"
            )
        return found

    def _copy_checkpoint(
        self,
        index: _ChunkIndex,
        source_id: Any,
        key: _CheckpointKey,
        parents: Mapping[_CheckpointKey, _CheckpointKey | None],
        there: Collection[_CheckpointKey],
        *,
        replaces: bool | None,
    ) -> None:
        shown, parent_key = self._shown(source_id, key), parents[key]
        checkpoint, versions = shown.checkpoint.copy(), shown.checkpoint["channel_versions"]
        is_old = checkpoint["v"] < _FIRST_V_WITH_TASKS and TASKS not in versions
        if parent_key and parent_key in parents and is_old:
            # A source that takes no sends from the parent's writes shows none. With a version of
            # TASKS, the copy takes none either.
            writes = self._shown(source_id, parent_key).pending_writes or ()
            if any(channel == TASKS for _, channel, _ in writes):
                versions = {**versions, TASKS: max(versions.values(), default=1)}
                checkpoint["channel_versions"] = versions
        deltas = _delta_counters(shown.metadata).keys() - checkpoint["channel_values"].keys()
        if deltas and parent_key and parent_key not in there:
            self._put_ancestor(index, source_id, key, parent_key, sorted(deltas))
        self._put_writes(index, key, shown.pending_writes, replaces=replaces)
        # All versions count as new, and no value is taken from the parent: a source may show a
        # different value for the same version of a channel, or none, as for a DeltaChannel between
        # snapshots. Equal values have equal chunks.
        metadata = dict(shown.metadata)
        self._writer.put(key, parent_key, checkpoint, metadata, versions, is_copied=True)

    def _put_ancestor(
        self,
        index: _ChunkIndex,
        source_id: Any,
        key: _CheckpointKey,
        parent_key: _CheckpointKey,
        channels: Sequence[str],
    ) -> None:
        """Store all that DeltaChannels are rebuilt from under a parent that was not copied.

        After a prune, a source shows no ancestors, and still rebuilds the channels from them; or a
        prune has deleted them here. One checkpoint stands for them: it has the channels' values at
        their start, and all writes since. It is never shown.
        """
        if self._store.checkpoint(parent_key, consistent=True):
            return
        with _from_source():
            histories = self._source.get_delta_channel_history(
                config={"configurable": {**key._asdict(), "thread_id": source_id}},
                channels=channels,
            )
        values = {name: each["seed"] for name, each in histories.items() if "seed" in each}
        writes = chain.from_iterable(each["writes"] for each in histories.values())
        self._put_writes(index, parent_key, writes, replaces=None)
        versions: ChannelVersions = dict.fromkeys(values, 1)
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"], checkpoint["channel_versions"] = values, versions
        self._writer.put(parent_key, None, checkpoint, {}, versions, is_shown=False)

    def _put_writes(
        self,
        index: _ChunkIndex,
        key: _CheckpointKey,
        writes: Iterable[PendingWrite] | None,
        *,
        replaces: bool | None,
    ) -> None:
        """Put the source's writes, and delete all others.

        *replaces* None: there are no writes here yet. False: leave all as it is if nothing has
        changed, or if a graph has written here. LangGraph gets the writes back in the same order.
        The source shows neither their indices nor their task_path. A task's ordinary writes are
        therefore counted, after those that resumed it, as LangGraph counts them. Each slot's item
        gets its number as its path, which sorts before all of LangGraph's paths.
        """
        store, writes = self._store, list(writes or ())
        there = [] if replaces is None else store.writes_of([key])[key]
        if replaces is False and not self._is_outdated(key, there, writes):
            return
        slots: dict[tuple[str, int], dict[int, tuple[str, str, bytes]]] = {}
        part: dict[int, tuple[str, str, bytes]] = {}
        counts: dict[str, int] = {}
        last_id = None
        resumed = {
            task_id: len(value)
            for task_id, channel, value in writes
            if channel == RESUME and isinstance(value, list)
        }
        for task_id, channel, value in writes:
            idx = WRITES_IDX_MAP.get(channel, counts.get(task_id, resumed.get(task_id, 0)))
            if idx < 0 or task_id != last_id:
                part = slots[task_id, idx if idx < 0 or task_id in counts else 0] = {}
            if idx >= 0:
                counts[task_id] = idx + 1
            last_id = task_id if idx >= 0 else None
            part[idx] = (channel, *self._codec.dumps(value, _channel_of(key, channel)))
        gone = {_task_and_slot(item): {name: item[name] for name in _WRITES_KEYS} for item in there}
        due = [(*slot, f"{number:06}", part) for number, (slot, part) in enumerate(slots.items())]

        def put(each: tuple[str, int, str, dict[int, tuple[str, str, bytes]]]) -> None:
            task_id, slot, task_path, part = each
            self._writer.put_at(index, key, task_id, task_path, slot, part, replaces=True)

        store.workers.side_by_side(put, due)
        store.writes.batch_delete(name for slot, name in gone.items() if slot not in slots)

    def _is_outdated(
        self, key: _CheckpointKey, there: Sequence[_Item], writes: Sequence[PendingWrite]
    ) -> bool:
        """Say whether only copy_from() has written here, and the source shows other writes now."""
        reader = self._writer.reader
        items = [reader.decoder.writes(item, key) for item in there]
        if not all(each.task_path.isdecimal() for item in items for each in item.writes):
            return False
        here, now = (
            [(task_id, channel, self._codec.dumps(value)) for task_id, channel, value in some]
            for some in (reader.loaded(items), writes)
        )
        return here != now


@contextmanager
def _from_source() -> Iterator[None]:
    """Turn an error of the source into _SourceError, unlike errors of these tables."""
    try:
        yield
    except Exception as error:
        # A saver may raise anything.
        raise _SourceError(f"{type(error).__name__}: {error}") from error


def _oldest_first(parents: Mapping[_CheckpointKey, _CheckpointKey | None]) -> list[_CheckpointKey]:
    """Sort checkpoints by id, but each after its parent, even if a slow clock made its id."""
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
    """A checkpoint as ``history()`` shows it: no values, no writes, and only this metadata."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    step: int | None
    source: str | None
    ts: str
    #: The nodes that come next, as far as the channels between a StateGraph's nodes show.
    next: list[str]
    #: The size of its item, and the number of chunks that the item refers to.
    bytes: int
    chunks: int


class ThreadStats(NamedTuple):
    """How much a thread has stored, as ``stats()`` counts it.

    ``kinds`` has ``items``, ``bytes`` and ``write_units`` for each kind of item, and ``total`` has
    them for all. ``chunk_references`` is the number of references to chunks. If each reference had
    a chunk of its own, chunks would have ``unshared_chunk_bytes``. ``unreadable`` is the number of
    items that this serde can't decode; their references are not counted. ``shown_until`` and
    ``stored_until`` are the latest times of its shown checkpoints, in seconds since the epoch;
    None: for good, or no checkpoint is shown. ``is_pinned``: it is stored for good.
    """

    thread_id: str
    kinds: dict[str, dict[str, int]]
    total: dict[str, int]
    chunk_references: int
    unshared_chunk_bytes: int
    unreadable: int
    write_units_per_checkpoint: float
    bytes_per_checkpoint: int
    shown_until: int | None
    stored_until: int | None
    is_pinned: bool


class ThreadCheck(NamedTuple):
    """Whether a thread is complete and as it was stored, as ``verify()`` finds it.

    ``items`` counts items by kind. ``damaged`` has a sentence for each damage. ``orphans`` names,
    by range key, items that nothing needs; orphans are not damage. ``unfinished`` names the
    deletion or copy that hides the thread until it is called again. ``undecodable`` has a sentence
    for each item that a different serializer or key wrote: neither the item nor its chunks are
    checked. The times are those of ``ThreadStats``.
    """

    thread_id: str
    items: dict[str, int]
    damaged: list[str]
    orphans: dict[str, str]
    unfinished: str | None
    undecodable: list[str]
    shown_until: int | None
    stored_until: int | None
    is_pinned: bool


class _Inspector:
    """Reads all that a thread has stored; decodes only values of channels between nodes."""

    def __init__(self, store: _Store, serde: SerializerProtocol) -> None:
        self._store = store
        self._codec = _Codec(serde, is_plain=True)
        self._decoder = store.decoder(self._codec)
        self._reader = _Reader(store, self._codec)

    def history(self, thread_id: str, checkpoint_ns: str | None) -> Iterator[HistoryEntry]:
        """Read a thread's checkpoints in the order of list(), but no writes and no state."""
        if checkpoint_ns is None:
            items = self._reader.all_namespaces(thread_id, _FIRST_PAGE_ITEMS)
        else:
            items = self._reader.namespace(thread_id, checkpoint_ns, _FIRST_PAGE_ITEMS)
        is_empty = True
        for item in items:
            is_empty = False
            manifest = self._decoder.manifest(item)
            step, source, ts = map(
                (manifest.metadata | manifest.checkpoint).get, ("step", "source", "ts")
            )
            yield HistoryEntry(
                *manifest.key,
                manifest.parent_key and manifest.parent_key.checkpoint_id,
                step if isinstance(step, int) else None,
                source if isinstance(source, str) else None,
                str(ts),
                sorted(set(self._next_nodes(manifest))),
                _item_bytes(item),
                len(manifest.ids),
            )
        if is_empty:
            self._store.refuse_marked(thread_id, f"Thread {thread_id!r}")

    def _next_nodes(self, manifest: _Manifest) -> Iterator[str]:
        """Return the nodes that come next, as far as a StateGraph's channels between them show."""
        for name in manifest.channels:
            if name == "__start__":
                yield name
            elif name == TASKS or name.startswith(("branch:to:", "join:")):
                value = self._reader.channel_value(manifest, name)
                with _well_formed(manifest.place):
                    yield from _triggered(name, value)

    def _everything(self, thread_id: str) -> Iterator[tuple[str, _CheckpointKey, _Item]]:
        """Read all items of a thread, each with its kind and its checkpoint's key, if any.

        Chunks come last. An item that refers to a chunk was stored after the chunk and is read
        before it, so no such chunk is missed, even if the thread is written to meanwhile.
        """
        store, no_key = self._store, _CheckpointKey(thread_id, "", "")
        by_prefix: dict[str, _CheckpointKey] = {}
        for item in store.checkpoints.items(thread_id, *_ALL_BUT_CHUNKS):
            kind, key = _kind(item), no_key
            if kind == "checkpoint":
                key = _item_key(item)
                by_prefix[key.writes_prefix] = key
            yield kind, key, item
            if _is_layout_0(item):
                yield from (("write", key, write) for write in store.layout_0_writes(key))
        for item in store.writes.items(_writes_hash_key(thread_id)):
            prefix = _prefix_of_write(item["task_id_idx"]["S"])
            yield "write", by_prefix.get(prefix, _key_of_prefix(thread_id, prefix)), item
        for item in store.checkpoints.items(thread_id, *_CHUNKS_AND_OTHERS):
            yield _kind(item), no_key, item

    def stats(self, thread_id: str) -> ThreadStats:
        kinds: dict[str, Counter[str]] = {}
        references: Counter[str] = Counter()
        times = _LatestTimes(self._store)
        unshared_bytes = unreadable = 0
        for kind, key, item in self._everything(thread_id):
            size = _item_bytes(item)
            amounts = {"items": 1, "bytes": size, "write_units": -(-size // 1024)}
            kinds.setdefault(kind, Counter()).update(amounts)
            times.add(kind, item)
            if kind in ("checkpoint", "write") and self._store.is_stored(item):
                try:
                    references.update([*self._chunks_of(kind, key, item, {})])
                except _CheckpointError:
                    unreadable += 1
            elif kind == "chunk":
                unshared_bytes += size * references[item["checkpoint_id"]["S"]]
        total = sum(kinds.values(), Counter[str]())
        steps = kinds["checkpoint"]["items"] if "checkpoint" in kinds else 1
        return ThreadStats(
            thread_id,
            {kind: dict(amounts) for kind, amounts in kinds.items()},
            {name: total[name] for name in ("items", "bytes", "write_units")},
            references.total(),
            unshared_bytes,
            unreadable,
            round(total["write_units"] / steps, 2),
            round(total["bytes"] / steps),
            *times.found,
        )

    def _chunks_of(
        self, kind: str, key: _CheckpointKey, item: _Item, summaries: dict[_CheckpointKey, _Summary]
    ) -> dict[str, tuple[bytes, _Referrer]]:
        """Return by range key the chunks that an item refers to: their ids and the referrer.

        A checkpoint's summary is added to *summaries*.
        """
        decoded: _Manifest | _Writes
        if kind == "checkpoint":
            decoded = self._decoder.manifest(item)
            name, is_shown = item["checkpoint_id"]["S"], self._store.is_shown(item)
            summaries[key] = _summary(decoded, name, is_shown=is_shown)
        else:
            decoded = self._decoder.writes(item, key)
        referrer = decoded.referrer
        return {_chunk_range_key(each, referrer.ttl): (each, referrer) for each in decoded.ids}

    def verify(self, thread_id: str) -> ThreadCheck:
        counts: Counter[str] = Counter()
        damaged: list[str] = []
        undecodable: list[str] = []
        orphans: dict[str, str] = {}
        times = _LatestTimes(self._store)
        keys: set[_CheckpointKey] = set()
        summaries: dict[_CheckpointKey, _Summary] = {}
        referred: dict[str, tuple[bytes, _Referrer]] = {}
        for kind, key, item in self._everything(thread_id):
            times.add(kind, item)
            if kind == "checkpoint":
                keys.add(key)
            if not self._store.is_stored(item):
                counts["expired"] += 1
                continue
            counts[kind] += 1
            name = item["task_id_idx" if kind == "write" else "checkpoint_id"]["S"]
            is_needed = key in keys if kind == "write" else name in referred or bool(undecodable)
            if kind in _ORPHANS and not is_needed:
                orphans[name] = _ORPHANS[kind]
            try:
                if kind == "chunk" and name in referred:
                    _decode_chunk(item, *referred.pop(name), self._codec)
                elif kind in ("checkpoint", "write"):
                    referred |= self._chunks_of(kind, key, item, summaries)
            except _CheckpointError as error:
                is_damage = isinstance(error, DamagedCheckpointError)
                (damaged if is_damage else undecodable).append(str(error))
        for name, (_, referrer) in referred.items():
            missing = DamagedCheckpointError(f"Chunk {name!r} is missing", *referrer.place)
            damaged.append(str(missing))
        # An ancestor that can't be decoded may hold any channel's value.
        damaged += () if undecodable else map(str, self._cut_chains(summaries))
        unfinished = None
        if counts["marker"] and (marker := self._store.marker(thread_id)):
            unfinished = marker.reason
            orphans[_MARKER] = f"marker of an unfinished {unfinished}"
        return ThreadCheck(
            thread_id, dict(counts), damaged, orphans, unfinished, undecodable, *times.found
        )

    def _cut_chains(self, summaries: _Summaries) -> Iterator[DamagedCheckpointError]:
        """Return an error for each checkpoint with a DeltaChannel that can't be rebuilt.

        Hidden checkpoints, which are kept for other checkpoints, need not be whole.
        """
        for key, summary in summaries.items():
            if summary.is_shown and not _needed(summaries, key)[1]:
                what = "An ancestor from which a DeltaChannel is rebuilt is missing"
                yield DamagedCheckpointError(what, key, self._store.checkpoints.name)


# The words of verify() for an item that nothing needs.
_ORPHANS: Final = {
    "write": "write whose checkpoint is missing",
    "chunk": "chunk that nothing intact refers to",
}


class _LatestTimes:
    """The latest times of a thread's shown checkpoints."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._latest: _Times | None = None

    def add(self, kind: str, item: _Item) -> None:
        if kind == "checkpoint" and self._store.is_shown(item):
            times = _times_of(item)
            self._latest = times.outlast(self._latest) if self._latest else times

    @property
    def found(self) -> tuple[int | None, int | None, bool]:
        """The times until which the thread is shown and stored, and whether it is pinned."""
        if self._latest is None:
            return None, None, False
        shown_until, ttl = (None if each == _FOREVER else int(each) for each in self._latest)
        return shown_until, ttl, ttl is None


def _triggered(channel: str, value: Any) -> Iterator[str]:
    """Return the nodes that a StateGraph's channel between nodes triggers with its value."""
    if channel == TASKS:
        # A Send as plain types: [node, argument, ...]
        yield from (_expect(getattr(send, "node", None) or send[0], str) for send in value)
        return
    # A deferred node's channel also holds whether all other nodes are done.
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
# Checks of callers' arguments.


def _text(name: str, value: object, *, max_bytes: int) -> str:
    """Check a string that is stored as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name} is not valid Unicode: {value!r}; remove the surrogates") from None
    if size > max_bytes:
        raise ValueError(
            f"{name} has {size:,} bytes, and may have {max_bytes:,}: {value[:40]!r}...; use a "
            f"shorter one"
        )
    return value


def _thread_id(value: Any, name: str = "thread_id") -> str:
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        value = str(value)
    if value == "":
        raise ValueError(f"{name} is empty; give it a value")
    return _text(name, value, max_bytes=_MAX_HASH_KEY_BYTES)


def _checkpoint_id(value: object) -> str:
    """Check that an id is not empty, and can't be taken for another key."""
    part = _text("checkpoint_id", value, max_bytes=_MAX_CHECKPOINT_KEY_BYTES)
    if not part:
        raise ValueError("checkpoint_id is empty; give it a value")
    if _SEPARATOR in part or part.startswith(":") or part.endswith(":"):
        raise ValueError(
            f"checkpoint_id must not hold ':::', nor start or end with ':': {part!r}; use another"
        )
    if part >= _MARKER:
        raise ValueError(
            f"checkpoint_id must start with a character below '}}': {part!r}; "
            f"LangGraph's start with a hex digit"
        )
    return part


class _Address(NamedTuple):
    """The ids in a config's ``configurable``; None: not given."""

    thread_id: str
    checkpoint_ns: str | None
    checkpoint_id: str | None

    def key(self, checkpoint_id: Any) -> _CheckpointKey:
        """Check a checkpoint's id, alone and in its range key, and return its key."""
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
    """Check a table's name, or its ARN, as far as possible without a request."""
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
    # HowItWorks.NamingRulesDataTypes.html. DynamoDB itself says what is wrong with a name of fewer
    # than 3 characters.
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
    """Check that a serializer is None, or an object that serializes."""
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


def _check_prune(strategy: str, keep_last: int, grace_seconds: float) -> None:
    if strategy not in ("keep_latest", "delete", "delete_all"):
        raise ValueError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
    if not _is_number(keep_last) or keep_last < 1:
        raise ValueError(f"keep_last must be a whole number of at least 1, not {keep_last!r}")
    if not _is_number(grace_seconds, (int, float)) or not 0 <= grace_seconds < float("inf"):
        raise ValueError(
            f"grace_seconds must be a number of seconds of at least 0, not {grace_seconds!r}"
        )


def _thread_ids(values: Sequence[Any]) -> list[str]:
    _check_sequence("thread_ids", values)
    return [_thread_id(each) for each in values]


def _check_sequence(name: str, value: Any) -> None:
    """Refuse a string, too: it would be taken for the sequence of its characters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of strings, not {value!r}")


def _dict(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):  # the value may be a secret
        raise TypeError(f"{name} must be a dict, not a {type(value).__name__}")
    return value


def _client(client: Any, client_config: Mapping[str, Any] | None, max_workers: int) -> _Client:
    """Check a caller's client, or the options of a client to create."""
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
# check(): which actions the credentials allow.


class DeniedAction(NamedTuple):
    """An action that a graph's run needs and that the credentials do not allow on a table."""

    action: str
    table_name: str


def _denied(store: _Store, thread_id: str) -> Iterator[DeniedAction]:
    """Try each action that a graph's run needs, on a key that no item ever has.

    A put whose condition never holds, and a deletion of nothing, need the same permissions as
    requests that change something, and leave nothing to remove: a graph may not have permission to
    delete from the writes table.
    """
    range_key = f"~~{uuid6()}"  # after the keys of all items of a thread
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
            "BatchGetItem": partial(table.batch_get, [key], consistent=True),
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

    The constructor sends no request. It makes the client, unless an event loop runs in this thread.
    In that case ``async with``, or else the first async call, makes the client on another thread,
    and raises the client's errors. A saver may be used from many threads and event loops at once.
    A saver that makes its own client also works in the children of a fork; hooks on that client,
    and iterators that were begun, stay with the parent. ``close()`` ends the saver's threads, and
    its client unless the caller gave it; a saver is a context manager, sync and async, that closes
    itself. A deep copy, as of a graph, is the saver itself.

    Two writers on one thread fork it, as with every LangGraph saver: both checkpoints are stored,
    and the thread shows, and goes on from, the newest id.

    A thread's id can't be a key if it is empty or has over 2,048 bytes. A checkpoint's id can't be
    a key if it is empty, has over 768 bytes with its namespace's part of the key, holds ":::",
    starts or ends with ":", or does not start below "}". A namespace can't be part of a key if it
    has over 65,536 bytes. *Cost* counts requests. Unless it says otherwise, every 4 KB that are
    read cost a read unit, and every KB of an item that is written or deleted costs a write unit.

    Args:
        checkpoints_table_name: the table of checkpoints; ``setup()`` creates it.
        writes_table_name: the table of pending writes, a different one; ``setup()`` creates it.
        client_config: options of ``botocore``'s ``create_client``: ``region_name``,
            ``endpoint_url``, ``aws_access_key_id``, ``aws_secret_access_key``,
            ``aws_session_token``, ``config``, ``verify``, ``use_ssl``, ``api_version``; or the
            names that langgraph-checkpoint-dynamodb 0.1.0 documents: ``region``, ``endpoint``,
            ``accessKeyId``, ``secretAccessKey``, ``sessionToken``. A ``config`` overrides our
            defaults one by one: 6 attempts in botocore's standard retry mode, 5 seconds to
            connect, 10 to read, a pool of two times *max_workers* connections. If the environment
            or the profile sets ``AWS_MAX_ATTEMPTS``, ``AWS_RETRY_MODE``, ``max_attempts`` or
            ``retry_mode``, retries are as in any client of botocore. The number of attempts also
            bounds bulk work, which fails after that many in a row if a throttling table takes
            nothing.
        client: a low-level DynamoDB client of botocore or boto3, instead of *client_config*. It
            gets no more requests at once than the ``max_pool_connections`` of its config, which
            botocore sets to 10. The child of a fork has the same client: make a saver with a
            different client there.
        serde: turns values into bytes; by default LangGraph's ``JsonPlusSerializer``. A serde must
            keep plain lists, dicts, strings, integers, booleans, bytes and None as they are. With
            LangGraph's own ``EncryptedSerializer``, values are cut before they are encrypted. Any
            other serde that encrypts returns new bytes each time, which are all stored each time.
        ttl_seconds: how long a checkpoint is shown after it was put, at most 100 years. After that,
            it stays stored to the end of a period of that length; then DynamoDB deletes it. The
            config's ``configurable`` may name a different ``ttl_seconds``. An older item of a
            thread is never shown longer than a newer one. A shorter time therefore takes effect
            only when the longer one is over, and a thread that was put without a time is kept for
            good, until set_ttl(). None: a new thread is kept for good, and a thread that expires
            keeps its expiry.
        consistent_read: False reads checkpoints and writes at half the price, and may miss what was
            just written or deleted: not for threads that other processes delete, roll back or prune
            without a grace period. Chunks are read at half the price in any case. Reads on which a
            put, a deletion or a copy relies are consistent in any case.
        max_workers: how many async calls, and how many requests of calls that send many, run at
            once; both have threads of their own, started as they are needed.
        cache_bytes: about how much memory the saver uses for the threads that it reads and writes:
            which chunks are stored, and their bytes. A call reads less if its checkpoint is known.
            0: only the state of calls under way is kept; put and put_writes then first read the
            parent or the checkpoint, and store again all chunks that these do not refer to.
        clock: returns the time in seconds since the epoch; for tests.

    Raises:
        TypeError: *client_config* is not a mapping or has an unknown option, *client* is not a
            low-level client of DynamoDB, *serde* does not serialize, or *consistent_read* is not a
            boolean.
        ValueError: both *client* and *client_config* are given, an option is named twice, DynamoDB
            does not allow a table's name, both tables have the same name, or a number is out of
            range or a boolean.
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
                f"the two tables have different keys: name two tables"
            )
        if not isinstance(consistent_read, bool):
            raise TypeError(f"consistent_read must be True or False, not {consistent_read!r}")
        if not _is_number(max_workers) or max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
        if not _is_number(cache_bytes) or cache_bytes < 0:
            raise ValueError(
                f"cache_bytes must be a whole number of bytes, at least 0, not {cache_bytes!r}"
            )
        self.checkpoints_table_name = checkpoints_table_name
        self.writes_table_name = writes_table_name
        self.ttl_seconds = _ttl(ttl_seconds)
        self._client = _client(client, client_config, max_workers)
        if not _is_on_event_loop():
            self._client.get()
        self._callers = _Pool(max_workers, "dynamodb-saver-call")
        # Without the serde: with_allowlist() makes a shallow copy and gives it a different one.
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
        """The client that sends the requests; in a forked child a new one, unless it was given."""
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
        """End the saver's threads, and close its client unless the caller gave it.

        This waits for async calls that have begun. All other calls raise from then on, also those
        of the saver's clones and of a run that is under way; what the run has stored stays whole.
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

        If ``ttl_seconds`` is set, expiry is turned on for both. A second call changes nothing.

        Args:
            run_index: add the index by which ``delete_for_runs()`` finds the threads of a run, even
                to an existing table, and wait until it serves. On a large table this takes as long
                as DynamoDB needs to read the whole table. Each put with a ``run_id``, and each
                deletion, then costs a write unit more. The table then refuses thread ids of over
                1,024 bytes, as a thread's id is a key of the index. False: an existing index stays.

        Raises:
            DynamoDBSaverError: a table or its index exists with different keys, or a table expires
                items by a different attribute.
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

        Call this in a process that starts with time to spare, as in AWS Lambda's initialization:
        the first connection costs some 20 ms of a whole CPU, mostly to load the certificates of all
        authorities. The call raises if the table, the region or the permission to get an item is
        wrong; check() tries all permissions.

        Raises: DynamoDBSaverError: the checkpoints table does not exist, or has different keys.
        Cost: 1 request, half a read unit.
        """
        # No item has this key: checkpoints' start below "}", and keys that start "~" are longer.
        self._store.checkpoints.get(_checkpoints_key("~", "~"), consistent=False)

    def check(self, thread_id: str = "~") -> tuple[DeniedAction, ...]:
        """Return the actions that a graph's run needs and that are denied, with their tables.

        A graph needs some actions late: BatchWriteItem only for values of over 1 KB. Each action is
        tried here, on a key that no item ever has: nothing is stored.

        Args:
            thread_id: a thread, which need not exist, for credentials limited to some threads.

        Raises:
            ValueError: *thread_id* can't be a key.
            DynamoDBSaverError: a table does not exist, or has different keys.
        Cost: 7 requests; at most 4 read units and 3 write units.
        """
        return tuple(_denied(self._store, _thread_id(thread_id)))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* names, or the newest of its namespace, or None.

        Its pending writes come in the order of ``(task_path, task_id, idx)``. A checkpoint of a
        format before 4 gets its pending sends from its parent's writes, as in LangGraph's savers.

        Args:
            config: ``configurable`` holds ``thread_id`` and, optionally, ``checkpoint_ns`` (a
                subgraph's; the root's is "") and ``checkpoint_id``.

        Raises:
            ValueError: *config* names no thread, or an id or namespace that can't be a key.
            DamagedCheckpointError: part of the checkpoint is missing or has changed.
            UndecodableCheckpointError: another serializer or key wrote the checkpoint, or it waits
                for Sends or interrupts that the JavaScript saver stored.
        Cost: 2 requests, side by side if *config* has a ``checkpoint_id``, or if the newest is the
            checkpoint of its namespace that this process stored or read last. If this process
            stored or read a different one last, 3; if none, 2 one after the other. Beside the last
            or after it, one for each 100 chunks that are not in the cache, at half the price. One
            more before these if the manifest is over 3 KB once packed or refers to over 64 chunks,
            and one more after them for chunks that only pending writes refer to.
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
        """Return an iterator of checkpoints, newest first, that reads as it is used.

        Args:
            config: the thread; without ``checkpoint_ns``, all its namespaces; with
                ``checkpoint_id``, that checkpoint alone. None: all threads, one after the other.
            filter: items that the metadata must have, including those that the run's config added
                to the metadata.
            before: only checkpoints with a smaller id than this config's ``checkpoint_id``.
            limit: at most this many; 0 or less: none.

        Raises:
            TypeError: *filter* is not a dict, or *limit* is not an integer.
            ValueError: as get_tuple().
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(), when the
                checkpoint's turn comes.
        Cost: a query for each page: of 16 checkpoints or of *limit*, then of four times as many. A
            query in each namespace for the writes of 8 checkpoints or of *limit*, then of twice as
            many, up to 64; with a *filter*, a query for the writes of each checkpoint returned.
            Beside these, chunks, of which neighbours' shared ones are read once. One query more for
            each namespace, and subgraphs' checkpoints beyond the first 1,024 are read twice.
            *config* None: a scan. A list holds at most one checkpoint, or 128 chunks (32 MB), ahead
            of its reader.
        """
        if limit is not None and not _is_number(limit):
            raise TypeError(f"limit must be an integer, not {limit!r}")
        address = _address(config) if config else None
        wanted = {} if filter is None else _dict("filter", filter)
        configurable = _dict("before", before).get("configurable") if before else None
        before_id = (configurable or {}).get("checkpoint_id")
        selection = _Selection(
            address,
            wanted,
            _checkpoint_id(before_id) if before_id else None,
            limit if limit is None else max(limit, 0),
        )
        return self._while_open(self._reader().list(selection))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whole or not at all, and return its config.

        A chunk that the thread has stored already, in any namespace, is not stored again if this
        process knows it. ``get_checkpoint_metadata`` makes the stored metadata from *metadata* and
        *config*. A checkpoint id has one content: putting the same content again changes nothing,
        and putting different content under it is not guarded against a prune.

        Args:
            config: ``configurable`` holds ``thread_id``, ``checkpoint_ns``, the parent's
                ``checkpoint_id`` and, optionally, ``ttl_seconds`` instead of the saver's.
            checkpoint: each value may have up to 1 GB, and up to 20 large extension types of
                msgpack in each other.
            metadata: at most 32 MB and 500,000 msgpack objects, together with the checkpoint
                without its values. A ``run_id`` has at most 2,048 bytes, and its thread's id at
                most 1,024, as both may be keys of an index.
            new_versions: the channels whose values are new since the parent.

        Raises:
            TypeError: *checkpoint* has no integer as its ``v``, a channel's name is not a string,
                or the serde can't encode a value.
            ValueError: as get_tuple(); a ``run_id`` or its thread's id is too long; a value or the
                metadata are too large.
            DynamoDBSaverError: DynamoDB throttles, and took nothing in as many attempts as the
                client makes; the put took over 40 minutes; the table has different keys, or an
                index that does not take the thread's id.
            DamagedCheckpointError: a value that *checkpoint* leaves out is missing, or an ancestor
                that a ``DeltaChannel`` is rebuilt from is missing.
        Cost: 1 request; before it, one for every 25 new chunks, side by side. A get of the parent
            first, unless the parent is what this process stored or read last in the namespace, in
            the last 20 minutes; or a query of the root's newest for the first checkpoint of a
            subgraph, if this process knows nothing of the thread. If items expire, all that a
            ``DeltaChannel`` is rebuilt from is read and stored again once in ``ttl_seconds``.
        """
        address = _address(config)
        for name, value in (("metadata", metadata), ("new_versions", new_versions)):
            _dict(name, value)
        key = address.key(_dict("checkpoint", checkpoint).get("id"))
        parent_id = address.checkpoint_id
        self._writer(config).put(
            key,
            address.key(parent_id) if parent_id else None,
            checkpoint,
            dict(get_checkpoint_metadata(config, metadata)),
            new_versions,
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

        An ordinary write keeps the value that was stored first. A special write, whose channel is
        in ``WRITES_IDX_MAP``, replaces the one before.

        Args:
            config: ``configurable`` holds ``thread_id``, ``checkpoint_ns`` and ``checkpoint_id``.
            writes: pairs of a channel and a value, up to 1 GB.
            task_id: the task; at most 240 bytes.
            task_path: the task's place in the order of its superstep; at most 65,536 bytes.

        Raises:
            TypeError: a channel is not a string, or the serde can't encode a value.
            ValueError: as get_tuple(); *task_id* is empty or too long, *task_path* is too long, or
                a value is too large.
            DynamoDBSaverError: as put().
        Cost: 1 request for all ordinary writes, and 1 for each special write. One more for each
            earlier call of this task with fewer writes. Before them, one for every 25 new chunks of
            values over 4 KB. First a get of the checkpoint, if this process knows nothing of the
            thread, and a query of the root's newest if the checkpoint is not there.
        """
        address = _address(config)
        if not address.checkpoint_id:
            raise ValueError(
                'config["configurable"] has no "checkpoint_id"; pass the config that put() returned'
            )
        key = address.key(address.checkpoint_id)
        _text("task_id", task_id, max_bytes=_MAX_TASK_ID_BYTES)
        _text("task_path", task_path, max_bytes=_MAX_TEXT_BYTES)
        if not task_id:
            raise ValueError("task_id is empty; give it a value")
        self._writer(config).put_writes(key, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread: its checkpoints, its pending writes and their chunks.

        Only for threads at rest. The root is hidden at once, except from reads that name a
        ``checkpoint_id``. A call that is cut off leaves it hidden, and can be made again: until it
        is, start no new run on the thread, which would find the state of its subgraphs.

        Raises:
            ValueError: *thread_id* can't be a key.
            DynamoDBSaverError: a table does not exist, and nothing is hidden; or as put().
        Cost: a query for each MB of checkpoints, chunks and writes, and 4 more; a request for every
            25 items that are deleted, many side by side; 2 for the marker.
        """
        self._remover().delete_thread(_thread_id(thread_id))

    def delete_for_runs(
        self, run_ids: Sequence[str], *, force: bool = False, use_index: bool = True
    ) -> None:
        """Delete the checkpoints of runs, in all threads, with their pending writes.

        A call that was cut off can be made again; prune() deletes writes and chunks that it left.

        Args:
            run_ids: the ``run_id`` of the metadata. LangGraph takes it from the ``metadata`` or
                ``configurable`` of the run's config, not from the config's own ``run_id``.
            force: also delete checkpoints from which a ``DeltaChannel`` of another run's checkpoint
                is rebuilt, and parents whose writes hold its pending sends (formats before 4).
            use_index: find the threads by the index of ``setup(run_index=True)``, if there is one.
                The index is eventually consistent, so it may miss a thread to which the run has
                just put its first checkpoint. The index also lacks a thread if
                langgraph-checkpoint-dynamodb 0.1.0 stored all that the run has there. False: scan
                the table, which misses neither.

        Raises:
            TypeError: *run_ids* is a string, or holds something that is not a string.
            DynamoDBSaverError: another run's checkpoint needs a checkpoint of these runs, and
                *force* is False; or a thread is being copied to or deleted. The thread that the
                error names is unchanged, and so are threads whose ids sort after its id. Or the
                index may not be queried.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(). Threads with such
                checkpoints are unchanged, and the error names the first; the runs' checkpoints are
                deleted from all other threads.
        Cost: a query of the index for each run, side by side, at half a read unit for 4 KB, some
            20 checkpoints. Without an index these queries fail, and the checkpoints table is
            scanned, in four parts side by side. For each thread found, the cost of prune().
        """
        _check_sequence("run_ids", run_ids)
        doomed, remover = frozenset(run_ids), self._remover()
        for run_id in doomed:
            if not isinstance(run_id, str):
                raise TypeError(f"run_ids must hold strings, not {run_id!r}")
        if doomed:
            remover.delete_for_runs(doomed, force=force, use_index=use_index)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread: all its namespaces, checkpoints, pending writes and chunks.

        Only for threads at rest: checkpoints that a run adds to the source's root meanwhile are not
        copied. If metadata hold the source's id as ``thread_id``, a string, they hold the target's
        in the copy. The target shows its root once everything is copied. A call that was cut off
        can be made again, and starts from the beginning; until then, run no graph on the target.
        The copy has the times of this saver's ``ttl_seconds``.

        Raises:
            ValueError: the target is not empty, or is the source.
            DynamoDBSaverError: the source has no checkpoint; the source or the target is being
                copied to or deleted; or as put().
        Cost: 4 requests for every 64 checkpoints of the source; for chunks, 1 for every 100 that
            are read and 1 for every 25 that are written; 1 for every 25 other items, side by side;
            7 more. Read units for up to twice the source's size, write units as when it was
            first written.
        """
        source = _thread_id(source_thread_id, "source_thread_id")
        target = _thread_id(target_thread_id, "target_thread_id")
        if source == target:
            raise ValueError(f"source_thread_id and target_thread_id are both {source!r}")
        _Copier(self._store, self.serde).copy(source, target, self.ttl_seconds)

    def copy_from(
        self,
        source: BaseCheckpointSaver[Any],
        thread_ids: Iterable[Any] | None = None,
        *,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> CopyReport:
        """Copy threads from another saver: all namespaces, oldest checkpoints first, with writes.

        Afterwards both savers show the same. If a thread is here already, the checkpoints after its
        newest are copied, so a call that was cut off can be made again, and checkpoints that were
        pruned here stay deleted. A thread shows what has been copied so far: run no graph on it,
        here or there, until this returns. ``ttl_seconds`` counts from now on. A thread that the
        source can't show is left out and named in the report; the others are copied.

        Args:
            source: any saver, of this class or another. Its sync methods are called in this thread
                or, for ``acopy_from()``, in one of this saver's own.
            thread_ids: the threads, as *source* knows them; None: all that it lists. A saver that
                can't list all threads raises its own error, for instance langgraph-checkpoint-aws.
            progress: called with a thread's id, the number of its checkpoints here, and the number
                in *source*. Calls come at most twice a second, but always before the first
                checkpoint and after the last. An exception that *progress* raises ends the copy.

        Returns: how many threads *source* showed, how many of their checkpoints this call copied,
            how many were here before, and ``failed``: the error of each thread for which *source*
            raised one.

        Raises:
            TypeError: *source* is not a saver, or *thread_ids* is a string.
            ValueError: an id can't be a key.
            DynamoDBSaverError: *source* has no thread with an id of *thread_ids* (threads before it
                are copied); a thread went on both here and in *source*; the checkpoint that was
                copied last is gone from *source*; a thread is being copied to or deleted; *source*
                does not return a checkpoint that it lists.
        Cost: from *source*, a list of each thread, then one get of each checkpoint that is not here
            or is the newest of its namespace or the parent of a new one; the history of its
            ``DeltaChannel``s if the parent was pruned; for None, first a list of all threads. Here,
            a query for each MB of a thread that is here already, and one for each of its
            checkpoints that is got from *source* again. For each copied checkpoint, the cost of
            put(), and a request for each task that wrote, side by side. Write units as if a graph
            had written the thread. One checkpoint is in memory at a time.
        """
        if not isinstance(source, BaseCheckpointSaver):
            raise TypeError(f"source must be a checkpoint saver, not a {type(source).__name__}")
        if thread_ids is not None:
            _check_sequence("thread_ids", thread_ids)
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
        keep_last: int = 1,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Delete all checkpoints of threads but the newest of each namespace, or all.

        The newest keeps its pending writes. If the thread has ``DeltaChannel``s, it keeps the
        ancestors that they are rebuilt from, and the last checkpoint before its run with its own.
        In a format before 4, it keeps the parent that holds its pending sends. These are no longer
        shown. A later call deletes chunks that nothing refers to any more, once the grace
        period is over.

        Args:
            thread_ids: the threads. A thread that does not exist is not an error, and one that
                another call is deleting or copying to stays as it is.
            strategy: ``"keep_latest"``, or ``"delete"`` or ``"delete_all"`` (the word of
                LangGraph's Agent Server), which call delete_thread() for each.
            keep_last: how many checkpoints of each namespace stay, at least 1.
            grace_seconds: how long a chunk is kept after it lost its references, as a put may rely
                on a checkpoint that is being deleted. Less than an hour is only for threads in
                which no run is under way; 0 deletes chunks at once.

        Raises:
            ValueError: *strategy* is unknown, or *keep_last* or *grace_seconds* is out of range.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple(); the thread, and
                those after it in *thread_ids*, are unchanged.
            DynamoDBSaverError: as delete_thread().
        Cost: a query for each MB of the thread's checkpoints, chunks and writes; a request for
            every 25 items that are deleted, and for each chunk, many side by side; two for each
            ancestor that is hidden; one more query for the newest of each namespace if it is of a
            format before 4. With *grace_seconds* below an hour, if chunks are deleted, a put of
            each checkpoint that stays and of its write items.
        """
        _check_prune(strategy, keep_last, grace_seconds)
        remover = self._remover()
        for thread_id in _thread_ids(thread_ids):
            if strategy == "keep_latest":
                remover.prune(thread_id, keep_last, grace_seconds)
            else:
                remover.delete_thread(thread_id)

    def prune_preview(
        self,
        thread_id: str,
        *,
        strategy: str = "keep_latest",
        keep_last: int = 1,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> Removal:
        """Return how many checkpoints, write items and chunks prune() would delete now.

        The arguments are those of prune(), for one thread, and so are the errors. Nothing is
        written. ``strategy="delete"`` counts what delete_thread() would delete.

        Cost: the queries of prune().
        """
        _check_prune(strategy, keep_last, grace_seconds)
        (thread_id,) = _thread_ids([thread_id])
        if strategy != "keep_latest":
            return self._remover().removal_of_thread(thread_id)
        return self._remover().removal_of_prune(thread_id, keep_last, grace_seconds)

    def set_ttl(self, thread_ids: Sequence[str], ttl_seconds: int | None) -> None:
        """Have all items of threads expire *ttl_seconds* from now, whatever times they had.

        Only for threads at rest: run no graph on them until this returns. A call can give an expiry
        to threads that had none, keep threads for good, or let threads expire soon. The saver's own
        ``ttl_seconds`` goes on from there: a later put never shortens a thread's time, and a thread
        that is kept for good stays so. If a call is cut off, the thread shows its newest checkpoint
        longest, and the call can be made again.

        Args:
            thread_ids: the threads; a thread that does not exist is not an error.
            ttl_seconds: a whole number of seconds from 1, at most 100 years; None: for good.

        Raises:
            TypeError: *thread_ids* is a string.
            ValueError: an id can't be a key, or *ttl_seconds* is out of range.
            DynamoDBSaverError: a thread is being copied to or deleted; or as put().
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple().
        Cost: for each thread, three queries for each MB of its checkpoints, two for each MB of its
            writes, and one for each MB of its chunks. One or two puts of each checkpoint, one
            of each write item, and some four requests for every 16 of these items. Write units: up
            to twice as many as when the thread was first written. Nothing is deleted: DynamoDB
            deletes expired items.
        """
        ttl = _ttl(ttl_seconds)
        copier = _Copier(self._store, self.serde)
        for thread_id in _thread_ids(thread_ids):
            copier.set_ttl(thread_id, ttl)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's history in the ancestors of the checkpoint that *config* names.

        ``seed`` is the newest value that an ancestor stores, if any; ``writes`` are the writes
        since that ancestor, oldest first. Ancestors that are no longer shown are read, too.

        Raises: DamagedCheckpointError: an ancestor is missing before a value is found: it expired,
            or was pruned, or was deleted with its run.
        Cost: a query for each page of the chain: of 16 checkpoints, then of four times as many.
            Side by side, a query for the writes of every 64 ancestors whose children may have
            updated one of the channels.
        """
        _check_sequence("channels", channels)
        return self._reader().delta_history(_address(config), channels)

    def threads(self) -> Iterator[str]:
        """Return an iterator of the ids of the threads in the checkpoints table, in no order.

        A thread that has pending writes and no checkpoint is left out.

        Cost: a scan that skips the rest of a thread when a page ends in it.
        """
        return self._while_open(self._store.thread_ids())

    def has_thread(self, thread_id: str) -> bool:
        """Return whether the tables hold any item of a thread, even if it is hidden or expired.

        Raises: ValueError: *thread_id* can't be a key.
        Cost: 1 request, or 2 if the checkpoints table has nothing.
        """
        return self._store.has_items(_thread_id(thread_id))

    def history(
        self, thread_id: str, *, checkpoint_ns: str | None = None
    ) -> Iterator[HistoryEntry]:
        """Return an iterator of a thread's checkpoints, newest first, without their values.

        Args:
            thread_id: the thread.
            checkpoint_ns: a namespace, "" for the root; None: all.

        Raises:
            ValueError: *thread_id* or *checkpoint_ns* can't be a key.
            DynamoDBSaverError: an unfinished deletion or copy hides the thread.
            DamagedCheckpointError, UndecodableCheckpointError: as get_tuple().
        Cost: the queries of list(), but none for writes, and for values only the chunks of those
            between nodes; one more if nothing is found.
        """
        if checkpoint_ns is not None:
            _text("checkpoint_ns", checkpoint_ns, max_bytes=_MAX_TEXT_BYTES)
        return self._while_open(self._inspector().history(_thread_id(thread_id), checkpoint_ns))

    def stats(self, thread_id: str) -> ThreadStats:
        """Measure all that a thread has stored, and until when it is shown and stored.

        A thread that does not exist has nothing. Items that can't be decoded are counted, too, and
        ``unreadable`` is their number: stats() needs no key.

        Raises: ValueError: *thread_id* can't be a key.
        Cost: a query for each MB of checkpoints, chunks and writes.
        """
        return self._inspector().stats(_thread_id(thread_id))

    def verify(self, thread_id: str) -> ThreadCheck:
        """Check all that a thread has stored, and find items that nothing needs.

        Every checkpoint, write and chunk is checked by its digest. Every chunk that an item refers
        to has to exist, and every ancestor from which a shown checkpoint's ``DeltaChannel`` is
        rebuilt. Expired items count as gone. No value is decoded.

        Raises: ValueError: *thread_id* can't be a key.
        Cost: a query for each MB of checkpoints, chunks and writes.
        """
        return self._inspector().verify(_thread_id(thread_id))

    def get_next_version(self, current: Any, channel: None = None) -> Any:  # noqa: ARG002  theirs
        """Return the version after *current*: 1, 2, 3 and so on.

        A string version of another saver, whose thread was copied here, is followed by a string of
        that form: after ``"00000000000000000000000000000002.0.5"`` comes a version that starts with
        ``"00000000000000000000000000000003."``. LangGraph compares the versions of a thread.
        """
        if isinstance(current, str):
            count = current.partition(".")[0]
            return f"{int(count) + 1:0{len(count)}}.{0:016}"
        return 1 if current is None else int(current) + 1

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        """Return an iterator's items; raise once the saver is closed, even for items read ahead."""
        self._client.check_open()
        for item in items:
            yield item
            self._client.check_open()

    # Built for each call, as with_allowlist() gives a clone a different serde.

    def _reader(self) -> _Reader:
        return _Reader(self._store, _Codec(self.serde))

    def _writer(self, config: RunnableConfig) -> _Writer:
        ttl = _ttl(config.get("configurable", {}).get("ttl_seconds", self.ttl_seconds))
        return _Writer(self._store, _Codec(self.serde), ttl)

    def _remover(self) -> _Remover:
        return _Remover(self._store, self.serde)

    def _inspector(self) -> _Inspector:
        return _Inspector(self._store, self.serde)

    # The async methods run the methods above in the saver's own threads: the event loop's default
    # executor would run fewer than 64 at once.

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
        keep_last: int = 1,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Async prune()."""
        await self._run(
            self.prune,
            thread_ids,
            strategy=strategy,
            keep_last=keep_last,
            grace_seconds=grace_seconds,
        )

    async def aprune_preview(
        self,
        thread_id: str,
        *,
        strategy: str = "keep_latest",
        keep_last: int = 1,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> Removal:
        """Async prune_preview()."""
        return await self._run(
            self.prune_preview,
            thread_id,
            strategy=strategy,
            keep_last=keep_last,
            grace_seconds=grace_seconds,
        )

    async def aset_ttl(self, thread_ids: Sequence[str], ttl_seconds: int | None) -> None:
        """Async set_ttl()."""
        await self._run(self.set_ttl, thread_ids, ttl_seconds)

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
