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
                                                           checkpoint? segments? digest run_id? ttl?
    checkpoints  subgraph    ~c<ns><id>                    the same
    checkpoints  head        ~h<ns>                        head ttl?
    checkpoints  pruned      ~p<uuid>                      segments stored_at ttl
    checkpoints  segment     ~s<digest>[:<expiry>]         segment stored_at ttl?
    checkpoints  veil        }                             checkpoint_ns veil through
    checkpoints  sub-veil    ~c<ns>}                       the same
    writes       write       <checkpoint>:::<task>:::<idx> task_path idx type writes? segments?
                                                           digest stored_at ttl?

Rules:
 1. ``checkpoint`` is a record: the checkpoint without its channel values, the metadata, and for
    each channel the bytes of its value: a head, how many bytes of its segments to skip, their
    names, a tail. Joined, they are what ``serde.dumps_typed`` made. A record or write too large
    for an item has its bytes in ``segments`` instead.
 2. A segment is part of such bytes, named for their BLAKE2b-128 digest and the second when it
    expires. It never changes, and it is stored before the item that names it, expires after it
    and is deleted after it: no reader sees a hole.
 3. A write item holds one call's ordinary writes; ``idx`` lists them. The first stands under 0,
    a later one under an index above all before it: each index keeps its first value. A special
    write (error, scheduled, interrupt, resume) has an item of its own, and the last value stays.
 4. A namespace of over 512 bytes, or that starts with "#", stands in keys as "#" and its digest.
 5. Writes may be stored before their checkpoint, and outlast it: a prune that was cut off leaves
    them. Those that are an hour old and have no checkpoint are of no use to anybody.
 6. While a copy or deletion is under way, a veil hides the checkpoints of its namespace up to
    ``through`` from every reader: read from the newest on, it comes before them.
 7. The first byte of ``checkpoint``, ``segment`` and ``writes``: 0 plain, 1 zlib with the preset
    dictionary ``_DICTIONARY``. ``digest`` is BLAKE2b-128 of those bytes, keyed by the item's
    strings. ``type`` is the serde's.
 8. A pruned item names segments that lost a checkpoint which named them: a put that is under way
    may name them again, so they are spared for a while.
 9. The checkpoints table may have an index named ``run_id``, with the hash key ``run_id`` and the
    range key ``thread_id``: it holds the keys of the checkpoints that have a ``run_id``.
10. A head is the id of the checkpoint that was put last in its namespace, where savers refuse
    concurrent updates.
11. Layout 0, of langgraph-checkpoint-dynamodb 0.1.0, is read as it is: a checkpoint item with
    ``metadata``, in the root namespace; a write item with ``channel`` and ``value``, the hash key
    ``<thread>:::<checkpoint id>:::<namespace>`` and the range key ``<task>:::<idx>``.
"""

from __future__ import annotations

import asyncio
import heapq
import random
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
from functools import partial
from hashlib import blake2b
from itertools import chain, count, groupby, islice, pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import TASKS

if TYPE_CHECKING:
    import argparse
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
    "ConcurrentUpdateError",
    "DamagedCheckpointError",
    "DynamoDBSaver",
    "DynamoDBSaverError",
]
__version__ = "1.0.0"

A = TypeVar("A")
K = TypeVar("K", bound=tuple[Any, ...])
T = TypeVar("T")
_Item = dict[str, dict[str, Any]]

# -- Limits ---------------------------------------------------------------------------------------
# DynamoDB's own, from https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
# ServiceQuotas.html and the API reference of BatchGetItem and BatchWriteItem; then ours.

_MAX_HASH_KEY_BYTES: Final = 2048
_MAX_BATCH_GET_KEYS: Final = 100
_MAX_BATCH_WRITE_ITEMS: Final = 25
_MAX_IN_OPERANDS: Final = 100
# Limit is a 32-bit number; and so many items of ours hardly fit in the 1 MB of a page.
_MAX_PAGE_ITEMS: Final = 4096

# An item may have 400 KB: this leaves 20 KB for its keys and other attributes.
_MAX_BLOB_BYTES: Final = 380 * 1024
_MAX_NAMESPACE_BYTES: Final = 512
# A value of at most this size, and no list or dict, stays in the record: a segment of its own
# would cost a write unit and a read unit to save one.
_INLINE_VALUE_BYTES: Final = 1024
# More than this in a record, and its largest values go to segments: what does not change then
# costs nothing at the next step.
_INLINE_RECORD_BYTES: Final = 3 * 1024
_MIN_SEALED_TAIL_BYTES: Final = 256
# A list or dict is cut after an element where a segment has the first size, and the number divides
# the element's CRC-32, or it has the second: large segments first, then small ones of what is left.
_SEGMENT_BYTES: Final = ((8 * 1024, 64 * 1024, 8), (2 * 1024, 16 * 1024, 2))
_SAMPLE_BYTES: Final = 128
_MAX_SEGMENT_BYTES: Final = 256 * 1024
# A range key may have 1,024 bytes, and a write's has its checkpoint's, the task's id, an index of
# up to 10 digits, and ":::" twice.
_MAX_CHECKPOINT_KEY_BYTES: Final = 768
_MAX_TASK_ID_BYTES: Final = 240
# Checkpoints of a format before this one have their pending sends in their parent's writes.
_FIRST_V_WITH_TASKS: Final = 4
_SCAN_SEGMENTS: Final = 4
# The names of so many segments fit one pruned item.
_MAX_PRUNED_REFS: Final = 10_000
# How many checkpoints' channels a process remembers, at about 10 KB each.
_KNOWN_CHECKPOINTS: Final = 1024
_DEFAULT_ATTEMPTS: Final = 6
# What may cancel a transaction, and is over when it is sent again. From the API reference of
# TransactWriteItems.
_CANCELLED_FOR_NOW: Final = frozenset(
    {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
)
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
# A list reads so many checkpoints' writes at first, and up to so many when it is read on; it
# forgets the segments of those that were returned when it holds so many.
_MIN_LIST_AHEAD: Final = 8
_MAX_LIST_AHEAD: Final = 64
_MAX_LIST_SEGMENTS: Final = 256
# A list of all namespaces finds subgraphs' checkpoints in another order than it returns them: it
# holds so many, and of others their keys, and reads these again.
_MAX_LIST_HELD: Final = 1024

# -- Errors ---------------------------------------------------------------------------------------
# Bad arguments are ValueError or TypeError; botocore's own errors pass through.


class DynamoDBSaverError(Exception):
    """What DynamoDB holds or answers keeps the call from being carried out."""


class DamagedCheckpointError(DynamoDBSaverError):
    """A stored checkpoint or write is not what was stored, or part of it is missing.

    ``thread_id``, ``checkpoint_ns``, ``checkpoint_id`` and ``table_name`` say where.
    """

    def __init__(self, what: str, key: _CheckpointKey, table_name: str) -> None:
        super().__init__(
            f"{what}: thread {key.thread_id!r}, namespace {key.checkpoint_ns!r}, checkpoint "
            f"{key.checkpoint_id!r}, table {table_name!r}; restore the table's items from a "
            f"backup, or go on from an earlier checkpoint, or delete the thread"
        )
        self.thread_id, self.checkpoint_ns, self.checkpoint_id = key
        self.table_name = table_name


class ConcurrentUpdateError(DynamoDBSaverError):
    """A checkpoint's parent is no longer the newest: another run has gone on from it.

    Nothing of the checkpoint is stored. ``thread_id``, ``checkpoint_ns`` and ``checkpoint_id`` name
    the parent (None: the namespace was empty), ``newest_id`` the newest now (None: it is empty).
    """

    def __init__(self, key: _CheckpointKey, parent_id: str | None, newest_id: str | None) -> None:
        super().__init__(
            f"The newest checkpoint of thread {key.thread_id!r}, namespace {key.checkpoint_ns!r}, "
            f"is {newest_id!r}, no longer {parent_id!r}: another run has gone on from there, or it "
            f"was deleted; run the graph again, or name a checkpoint_id to fork from it on purpose"
        )
        self.thread_id, self.checkpoint_ns, _ = key
        self.checkpoint_id, self.newest_id = parent_id, newest_id


# -- Keys -----------------------------------------------------------------------------------------
# The only code that knows how a key is spelled.

_SEPARATOR: Final = ":::"
_SUBGRAPH: Final = "~c"
_HEAD: Final = "~h"
_PRUNED: Final = "~p"
_SEGMENT: Final = "~s"
_VEIL: Final = "}"
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


class _CheckpointKey(NamedTuple):
    """Which checkpoint: a thread, a namespace in it and an id in that."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    @property
    def range_key(self) -> str:
        return _range_prefix(self.checkpoint_ns) + self.checkpoint_id

    @property
    def head(self) -> str:
        return _HEAD + _namespace_prefix(self.checkpoint_ns)

    @property
    def writes_prefix(self) -> str:
        # No id holds ":::" or ends in ":", so no other checkpoint's prefix starts with this one.
        return self.range_key + _SEPARATOR

    @property
    def layout_0_writes(self) -> str:
        # The hash key of its writes in layout 0: no thread's id, as none holds ":::".
        return _SEPARATOR.join((self.thread_id, self.checkpoint_id, self.checkpoint_ns))


def _namespace_part(checkpoint_ns: str) -> str:
    encoded = checkpoint_ns.encode()
    if len(encoded) > _MAX_NAMESPACE_BYTES or checkpoint_ns.startswith("#"):
        return "#" + blake2b(encoded, digest_size=16).hexdigest()
    return checkpoint_ns


def _namespace_prefix(checkpoint_ns: str) -> str:
    # The length keeps one namespace from being a prefix of another: "a" -> "1:a:"
    part = _namespace_part(checkpoint_ns)
    return f"{len(part)}:{part}:"


def _range_prefix(checkpoint_ns: str) -> str:
    return _SUBGRAPH + _namespace_prefix(checkpoint_ns) if checkpoint_ns else ""


def _after(prefix: str) -> str:
    # The smallest string above all that start with *prefix*: "~c1:a:" -> "~c1:a;"
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _text(name: str, value: object, *, max_bytes: int) -> str:
    """Check a string that becomes part of a key."""
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


def _key_part(name: str, value: object, *, max_bytes: int) -> str:
    """Check a thread or checkpoint id: not empty, and nothing that could be taken for a key."""
    part = _text(name, value, max_bytes=max_bytes)
    if not part:
        raise ValueError(f"{name} is empty; give it a value")
    if _SEPARATOR in part or part.endswith(":"):
        raise ValueError(f"{name} must not hold ':::' or end in ':': {part!r}; use another one")
    return part


def _thread_id(value: Any, name: str = "thread_id") -> str:
    if isinstance(value, (int, UUID)):
        value = str(value)
    return _key_part(name, value, max_bytes=_MAX_HASH_KEY_BYTES)


def _checkpoint_key(thread_id: str, checkpoint_ns: str, checkpoint_id: Any) -> _CheckpointKey:
    """Check a checkpoint's id, alone and with the keys it makes, and return its key."""
    checkpoint_id = _key_part("checkpoint_id", checkpoint_id, max_bytes=_MAX_CHECKPOINT_KEY_BYTES)
    if checkpoint_id >= _VEIL:
        raise ValueError(
            f"checkpoint_id must start with a character below '}}': {checkpoint_id!r}; "
            f"LangGraph's start with a hex digit"
        )
    key = _CheckpointKey(thread_id, checkpoint_ns, checkpoint_id)
    _text("checkpoint_id with its namespace", key.range_key, max_bytes=_MAX_CHECKPOINT_KEY_BYTES)
    return key


class _Address(NamedTuple):
    """What a config's ``configurable`` names; None: not named."""

    thread_id: str
    checkpoint_ns: str | None
    checkpoint_id: str | None

    def key(self, checkpoint_id: Any) -> _CheckpointKey:
        return _checkpoint_key(self.thread_id, self.checkpoint_ns or "", checkpoint_id)


def _address(config: RunnableConfig) -> _Address:
    configurable = config.get("configurable") if isinstance(config, dict) else None
    if not isinstance(configurable, dict) or configurable.get("thread_id") is None:
        raise ValueError(
            'config["configurable"] has no "thread_id"; pass '
            '{"configurable": {"thread_id": "..."}} to the graph or the saver'
        )
    checkpoint_ns = configurable.get("checkpoint_ns")
    if checkpoint_ns is not None:
        checkpoint_ns = _text("checkpoint_ns", checkpoint_ns, max_bytes=_MAX_BLOB_BYTES)
    return _Address(
        _thread_id(configurable["thread_id"]),
        checkpoint_ns,
        configurable.get("checkpoint_id") or None,
    )


# In the config of an older checkpoint that was asked for by its id: a run may go on from there.
# LangGraph keeps what starts with "__" out of the metadata.
_FORK_OF: Final = "__fork_of"


def _config(key: _CheckpointKey) -> RunnableConfig:
    return {"configurable": key._asdict()}


def _checkpoints_key(thread_id: str, range_key: str) -> _Item:
    return {"thread_id": {"S": thread_id}, "checkpoint_id": {"S": range_key}}


def _writes_key(hash_key: str, range_key: str) -> _Item:
    return {
        "thread_id_checkpoint_id_checkpoint_ns": {"S": hash_key},
        "task_id_idx": {"S": range_key},
    }


def _prefix_of_write(range_key: str) -> str:
    """Return the prefix that a write's range key shares with all of its checkpoint."""
    at = 0
    if range_key.startswith(_SUBGRAPH):
        # A namespace may hold ":::" itself: its length says where it ends.
        length, _, _ = range_key.removeprefix(_SUBGRAPH).partition(":")
        at = len(f"{_SUBGRAPH}{length}::") + int(length)
    return range_key[: range_key.index(_SEPARATOR, at) + len(_SEPARATOR)]


# -- Segments -------------------------------------------------------------------------------------
# How a value's bytes are cut, so that what one checkpoint shares with the next has one name.


class _Ref(NamedTuple):
    """The name of a segment: its bytes' digest, and when it expires (0: never)."""

    digest: bytes
    expires_at: int

    @property
    def range_key(self) -> str:
        expiry = f":{self.expires_at}" if self.expires_at else ""
        return f"{_SEGMENT}{self.digest.hex()}{expiry}"

    def outlives(self, expires_at: int) -> bool:
        return _lasts(self.expires_at, expires_at)


def _lasts(expires_at: int, until: int) -> bool:
    return not expires_at or 0 < until <= expires_at


def _digest(data: bytes, *identity: str) -> bytes:
    key = blake2b("\0".join(identity).encode(), digest_size=32).digest() if identity else b""
    return blake2b(data, digest_size=16, key=key).digest()


# msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), by an object's first byte:
# how many bytes follow; how long its length is, and what follows beside that many bytes; how long
# its count is, and how many objects it counts each time.
_MSGPACK_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4,
                         0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5,
                         0xD7: 9, 0xD8: 17}  # fmt: skip
_MSGPACK_SIZED: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1),
                         0xC9: (4, 1), 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
_MSGPACK_NESTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
# JsonPlusSerializer's extension type for a DeltaChannel's snapshot, with msgpack inside.
_MSGPACK_DELTA_SNAPSHOT: Final = 7


def _msgpack_end(data: bytes, at: int) -> int:
    """Return where the msgpack object that starts at *at* ends."""
    pending = 1
    while pending:
        first = data[at]
        at += 1
        pending -= 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0xA0:
            at, count, step = _msgpack_container(data, at - 1)
            pending += count * step
        elif first < 0xC0:
            at += first & 0x1F
        elif first in _MSGPACK_FIXED:
            at += _MSGPACK_FIXED[first]
        elif first in _MSGPACK_SIZED:
            width, extra = _MSGPACK_SIZED[first]
            at += width + extra + int.from_bytes(data[at : at + width], "big")
        else:
            at, count, step = _msgpack_container(data, at - 1)
            pending += count * step
    return at


def _msgpack_container(data: bytes, at: int) -> tuple[int, int, int]:
    """Return where a container's elements start, how many there are, of how many objects each.

    Raises: KeyError: at *at* is neither an array nor a map.
    """
    first = data[at]
    if 0x80 <= first < 0xA0:
        return at + 1, first & 0x0F, 2 if first < 0x90 else 1
    width, step = _MSGPACK_NESTED[first]
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big"), step


def _element_ends(data: bytes) -> list[int]:
    """Return where the head of a msgpack list or dict ends, and then each of its elements.

    Nothing if *data* is no such thing, as a serde may name its own format "msgpack".
    """
    try:
        at = 0
        if data[0] in (0xC7, 0xC8, 0xC9):
            width = _MSGPACK_SIZED[data[0]][0]
            if data[1 + width] == _MSGPACK_DELTA_SNAPSHOT:
                at = 2 + width
        at, count, step = _msgpack_container(data, at)
        ends = [at]
        for _ in range(count):
            for _ in range(step):
                at = _msgpack_end(data, at)
            ends.append(at)
    except (IndexError, KeyError):
        return []
    return ends if at == len(data) else []


class _Cut(NamedTuple):
    """A value's bytes: the head, the segments joined from byte *skip* on, the tail."""

    head: bytes
    skip: int
    segments: list[bytes]
    tail: bytes


def _cut(type_: str, data: bytes, former: Sequence[bytes] = ()) -> _Cut:
    """Cut a value's bytes, so that what they share with the *former* segments is the same again.

    A list or dict is cut where its content says so, first into large segments, then what is left
    into small ones: an append, an edit or a trimmed front moves no other cut, and a long list has
    few segments. Its head, which a new length changes, stays out of them.
    """
    if len(data) <= _INLINE_VALUE_BYTES:
        return _Cut(b"", 0, [], data)
    ends = _element_ends(data) if type_ == "msgpack" else []
    if not ends:
        return _Cut(b"", 0, list(_pieces(data)), b"")
    head, body = data[: ends[0]], data[ends[0] :]
    front = _trimmed_front(body, former)
    body = front + body
    ends = [end - len(head) + len(front) for end in ends]
    segments: list[bytes] = []
    start = 0
    for smallest, largest, odds in _SEGMENT_BYTES:
        before = max(start, len(front))
        for end in ends[bisect_right(ends, before) :]:
            size = end - start
            if size >= largest or (size >= smallest and zlib.crc32(body[before:end]) % odds == 0):
                segments.extend(_pieces(body[start:end]))
                start = end
            before = end
    if not segments:
        return _Cut(head, 0, [], body[len(front) :])
    return _Cut(head, len(front), segments, body[start:])


def _trimmed_front(body: bytes, former: Sequence[bytes]) -> bytes:
    """Return what the segment in which *body* now starts holds before that.

    A list that loses its first elements keeps that segment as it is, and skips what is gone.
    """
    at = b"".join(former).find(body[:_SAMPLE_BYTES])
    for segment in former:
        if 0 <= at < len(segment):
            return segment[:at]
        at -= len(segment)
    return b""


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _MAX_SEGMENT_BYTES):
        yield data[start : start + _MAX_SEGMENT_BYTES]


# -- Items ----------------------------------------------------------------------------------------
# What an item holds: an _encode and a _decode for each kind, side by side.


class _Channel(NamedTuple):
    """A channel's value as a record holds it."""

    type: str
    head: bytes
    skip: int
    refs: tuple[_Ref, ...]
    tail: bytes


class _Record(NamedTuple):
    """A checkpoint without its values, and where these are."""

    key: _CheckpointKey
    parent_id: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    channels: dict[str, _Channel]
    expires_at: int
    is_layout_0: bool = False

    @property
    def parent_key(self) -> _CheckpointKey | None:
        return self.key._replace(checkpoint_id=self.parent_id) if self.parent_id else None

    @property
    def refs(self) -> list[_Ref]:
        """The segments that the channels name, each once."""
        return list({ref: None for channel in self.channels.values() for ref in channel.refs})

    @property
    def pending_deltas(self) -> frozenset[str]:
        """The DeltaChannels whose values are rebuilt from ancestors."""
        counters = self.metadata.get("counters_since_delta_snapshot") or {}
        written = counters.keys() & self.checkpoint["channel_versions"].keys()
        return frozenset(written - self.channels.keys())


class _Known(NamedTuple):
    """What a put needs of the parent, so as to store only what is new."""

    versions: Mapping[str, Any]
    channels: Mapping[str, _Channel]
    expires_at: int
    good_until: float


_NOTHING_KNOWN: Final = _Known({}, {}, 0, 0.0)


class _Write(NamedTuple):
    """A pending write; writes sort in the order in which LangGraph applies them."""

    task_path: str
    task_id: str
    idx: int
    channel: str
    type: str
    value: bytes


class _Sealer:
    """Names segments, and keeps those that have yet to be stored."""

    def __init__(self, stored: Iterable[_Ref], expires_at: int, segments_expire_at: int) -> None:
        self.expires_at = expires_at
        self.fresh: dict[_Ref, bytes] = {}
        self._segments_expire_at = segments_expire_at
        self._stored = {ref.digest: ref for ref in stored if ref.outlives(expires_at)}

    def __call__(self, data: bytes) -> _Ref:
        digest = _digest(data)
        if (ref := self._stored.get(digest)) is None:
            ref = _Ref(digest, self._segments_expire_at)
            self.fresh[ref] = data
        return ref


# Where an item belongs, for errors; how segments of a checkpoint are read.
_Place = tuple[_CheckpointKey, str]
_Load = Callable[[_CheckpointKey, list[_Ref]], Mapping[_Ref, bytes]]


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
    packed = packer.compress(data) + packer.flush()
    return b"\x01" + packed if len(packed) < len(data) else b"\x00" + data


def _unpack(blob: bytes, place: _Place) -> bytes:
    if blob[:1] == b"\x01":
        unpacker = zlib.decompressobj(zdict=_DICTIONARY)
        with suppress(zlib.error):
            data = unpacker.decompress(memoryview(blob)[1:])
            if unpacker.eof and not unpacker.unused_data:
                return data
        raise DamagedCheckpointError("Compressed bytes are damaged", *place)
    if blob[:1] != b"\x00":
        what = f"Bytes start with {blob[:1]!r}: a format written by a newer version, or damage"
        raise DamagedCheckpointError(what, *place)
    return blob[1:]


def _encode_body(name: str, content: Any, serde: SerializerProtocol, seal: _Sealer) -> _Item:
    """Encode a record or writes: as the attribute *name* if it fits, else as segments (rule 1)."""
    type_, data = serde.dumps_typed(content)
    blob = _pack(data)
    if len(blob) > _MAX_BLOB_BYTES:
        name = "segments"
        refs = map(seal, _pieces(data))
        blob = _encode_refs(refs)
    return {"type": {"S": type_}, name: {"B": blob}}


def _decode_body(
    item: _Item, name: str, serde: SerializerProtocol, load: _Load, place: _Place
) -> Any:
    _verify(item, place)
    if name in item:
        data = _unpack(item[name]["B"], place)
    else:
        segments = load(place[0], refs := _body_refs(item))
        data = b"".join(segments[ref] for ref in refs)
    return serde.loads_typed((item["type"]["S"], data))


def _encode_refs(refs: Iterable[_Ref]) -> bytes:
    return b"".join(ref.digest + ref.expires_at.to_bytes(8, "big") for ref in refs)


def _body_refs(item: _Item) -> list[_Ref]:
    blob = item["segments"]["B"] if "segments" in item else b""
    return [
        _Ref(blob[at : at + 16], int.from_bytes(blob[at + 16 : at + 24], "big"))
        for at in range(0, len(blob), 24)
    ]


def _item_digest(item: _Item) -> bytes:
    """Return the digest of an item's bytes, keyed by its strings, its keys among them (rule 7)."""
    strings = sorted((name, value["S"]) for name, value in item.items() if "S" in value)
    blobs = [item[name]["B"] for name in ("checkpoint", "writes", "segments") if name in item]
    return _digest(b"".join(blobs), *chain.from_iterable(strings))


def _signed(item: _Item) -> _Item:
    return item | {"digest": {"B": _item_digest(item)}}


def _verify(item: _Item, place: _Place) -> None:
    if item.get("digest", {}).get("B") != _item_digest(item):
        raise DamagedCheckpointError("An item's bytes are not what was stored", *place)


def _encode_record(record: _Record, serde: SerializerProtocol, seal: _Sealer) -> _Item:
    key, parent_id, checkpoint, metadata, channels, expires_at, _ = record
    # Plain lists, as not every serde keeps a named tuple.
    plain = {
        name: [type_, head, skip, [list(ref) for ref in refs], tail]
        for name, (type_, head, skip, refs, tail) in channels.items()
    }
    item = {
        **_checkpoints_key(key.thread_id, key.range_key),
        "checkpoint_ns": {"S": key.checkpoint_ns},
        **_encode_body("checkpoint", [checkpoint, metadata, plain], serde, seal),
    }
    if parent_id:
        item["parent_checkpoint_id"] = {"S": parent_id}
    if isinstance(run_id := metadata.get("run_id"), str) and run_id:
        item["run_id"] = {"S": run_id}
    return _signed(item | _expiring(expires_at))


def _decode_record(item: _Item, serde: SerializerProtocol, load: _Load, table: str) -> _Record:
    key = _record_key(item)
    parent_id = item.get("parent_checkpoint_id", {}).get("S")
    if is_layout_0 := "metadata" in item:
        checkpoint, metadata = (
            serde.loads_typed((item["type"]["S"], item[name]["B"]))
            for name in ("checkpoint", "metadata")
        )
        typed = {name: serde.dumps_typed(v) for name, v in checkpoint.pop("channel_values").items()}
        channels = {
            name: _Channel(type_, b"", 0, (), data) for name, (type_, data) in typed.items()
        }
    else:
        content = _decode_body(item, "checkpoint", serde, load, (key, table))
        checkpoint, metadata, plain = content
        channels = {
            name: _Channel(type_, head, skip, tuple(_Ref(*ref) for ref in refs), tail)
            for name, (type_, head, skip, refs, tail) in plain.items()
        }
    expires_at = _expires_at(item)
    return _Record(key, parent_id, checkpoint, metadata, channels, expires_at, is_layout_0)


_KINDS: Final = {_HEAD: "head", _PRUNED: "pruned", _SEGMENT: "segment"}


def _kind(item: _Item) -> str:
    """Return what kind of item one of the checkpoints table is."""
    range_key = item["checkpoint_id"]["S"]
    if "through" in item:
        return "veil"
    if "checkpoint_ns" in item and (range_key < _VEIL or range_key.startswith(_SUBGRAPH)):
        return "checkpoint"
    return _KINDS.get(range_key[:2], "other")


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


def _record_key(item: _Item) -> _CheckpointKey:
    """Return which checkpoint an item is; of a veil, the id is ``_VEIL``."""
    checkpoint_ns, range_key = item["checkpoint_ns"]["S"], item["checkpoint_id"]["S"]
    # Layout 0 has subgraphs' checkpoints among the root's, with no prefix.
    checkpoint_id = range_key.removeprefix(_range_prefix(checkpoint_ns))
    return _CheckpointKey(item["thread_id"]["S"], checkpoint_ns, checkpoint_id)


def _encode_channels(
    checkpoint: Checkpoint,
    new_versions: ChannelVersions,
    parent: _Known,
    recall: Callable[[Iterable[_Ref]], Mapping[_Ref, bytes]],
    load: Callable[[list[_Ref]], Mapping[_Ref, bytes]],
    serde: SerializerProtocol,
    seal: _Sealer,
) -> dict[str, _Channel]:
    """Encode a checkpoint's values; what is as in the parent is not serialized again."""
    versions, values = checkpoint["channel_versions"], checkpoint["channel_values"]
    channels = {
        name: _seal_again(channel, load, seal)
        for name, channel in parent.channels.items()
        if name in versions
        and name not in new_versions
        and versions[name] == parent.versions.get(name)
        and (name not in values or all(ref.outlives(seal.expires_at) for ref in channel.refs))
    }
    for name, value in values.items():
        if name not in channels:
            type_, data = serde.dumps_typed(value)
            refs = parent.channels[name].refs if name in parent.channels else ()
            known = recall(refs)
            former = [known[ref] for ref in takewhile(known.__contains__, refs)]
            head, skip, pieces, tail = _cut(type_, bytes(data), former)
            channels[name] = _Channel(type_, head, skip, tuple(map(seal, pieces)), tail)
    inline = sum(len(channel.tail) for channel in channels.values())
    for name, channel in sorted(channels.items(), key=lambda each: -len(each[1].tail)):
        if inline <= _INLINE_RECORD_BYTES or len(channel.tail) < _MIN_SEALED_TAIL_BYTES:
            break
        inline -= len(channel.tail)
        tail_refs = map(seal, _pieces(channel.tail))
        channels[name] = channel._replace(refs=(*channel.refs, *tail_refs), tail=b"")
    return channels


def _seal_again(
    channel: _Channel, load: Callable[[list[_Ref]], Mapping[_Ref, bytes]], seal: _Sealer
) -> _Channel:
    """Return a channel whose segments last as long as what is sealed."""
    short = [ref for ref in channel.refs if not ref.outlives(seal.expires_at)]
    segments = load(short) if short else {}
    refs = tuple(seal(segments[ref]) if ref in segments else ref for ref in channel.refs)
    return channel._replace(refs=refs)


def _decode_channel(
    channel: _Channel, segments: Mapping[_Ref, bytes], serde: SerializerProtocol
) -> Any:
    body = b"".join(segments[ref] for ref in channel.refs)
    data = channel.head + body[channel.skip :] + channel.tail
    return serde.loads_typed((channel.type, data))


def _encode_writes(
    key: _CheckpointKey,
    task_id: str,
    task_path: str,
    slot: int,
    writes: Mapping[int, tuple[str, str, bytes]],
    serde: SerializerProtocol,
    seal: _Sealer,
    now: float,
) -> _Item:
    content = [[idx, *write] for idx, write in writes.items()]
    item = {
        **_writes_key(key.thread_id, f"{key.writes_prefix}{task_id}{_SEPARATOR}{slot}"),
        "task_path": {"S": task_path},
        "idx": {"NS": [str(idx) for idx in writes]},
        **_encode_body("writes", content, serde, seal),
    }
    return _signed(item | _stored(now, seal.expires_at))


def _decode_writes(
    item: _Item, key: _CheckpointKey, serde: SerializerProtocol, load: _Load, table: str
) -> list[_Write]:
    prefix = "" if "channel" in item else key.writes_prefix
    task_id, _, slot = item["task_id_idx"]["S"].removeprefix(prefix).rpartition(_SEPARATOR)
    if "channel" in item:  # layout 0, which gave special writes no index of their own
        channel, value = item["channel"]["S"], item["value"]["B"]
        idx = WRITES_IDX_MAP.get(channel, int(slot))
        return [_Write("", task_id, idx, channel, item["type"]["S"], value)]
    content = _decode_body(item, "writes", serde, load, (key, table))
    return [_Write(item["task_path"]["S"], task_id, *write) for write in content]


def _is_record(item: _Item) -> bool:
    return "thread_id" in item and "type" in item


def _is_layout_0(item: _Item) -> bool:
    """Say whether a checkpoint has no digest, as langgraph-checkpoint-dynamodb 0.1.0 gave none."""
    return _kind(item) == "checkpoint" and "digest" not in item


def _encode_segment(thread_id: str, ref: _Ref, data: bytes, now: float) -> _Item:
    return {
        **_checkpoints_key(thread_id, ref.range_key),
        "segment": {"B": _pack(data)},
        **_stored(now, ref.expires_at),
    }


def _decode_segment(item: _Item, ref: _Ref, place: _Place) -> bytes:
    data = _unpack(item.get("segment", {}).get("B", b""), place)
    if _digest(data) != ref.digest:
        what = f"Segment {ref.range_key!r} is not what was stored"
        raise DamagedCheckpointError(what, *place)
    return data


def _encode_head(key: _CheckpointKey, expires_at: int) -> _Item:
    return {
        **_checkpoints_key(key.thread_id, key.head),
        "head": {"S": key.checkpoint_id},
        **_expiring(expires_at),
    }


def _encode_pruned(thread_id: str, refs: Sequence[_Ref], now: float) -> _Item:
    return {
        **_checkpoints_key(thread_id, f"{_PRUNED}{uuid6()}"),
        "segments": {"B": _encode_refs(refs)},
        **_stored(now, int(now + 2 * _GRACE_SECONDS)),
    }


def _stored(now: float, expires_at: int) -> _Item:
    return {"stored_at": {"N": str(int(now))}, **_expiring(expires_at)}


def _expiring(expires_at: int) -> _Item:
    return {"ttl": {"N": str(expires_at)}} if expires_at else {}


def _expires_at(item: _Item) -> int:
    return int(item["ttl"]["N"]) if "ttl" in item else 0


def _moved(item: _Item, key: _CheckpointKey, target: str, table: str) -> _Item:
    """Return a checkpoint's item, or one of its writes, as one of another thread."""
    if "thread_id" in item:
        moved = item | {"thread_id": {"S": target}}
    elif "channel" in item:  # layout 0
        hash_key = key._replace(thread_id=target).layout_0_writes
        _text("target_thread_id with checkpoint_id", hash_key, max_bytes=_MAX_HASH_KEY_BYTES)
        moved = item | _writes_key(hash_key, item["task_id_idx"]["S"])
    else:
        moved = item | _writes_key(target, item["task_id_idx"]["S"])
    if "digest" not in item:  # layout 0
        return moved
    _verify(item, (key, table))
    return _signed(moved)


# -- Requests -------------------------------------------------------------------------------------
# The only code that calls the client: paging, batches, what a batch left undone, work side by side.

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


def _create_client(client_config: Mapping[str, Any], max_workers: int) -> Any:
    options: dict[str, Any] = {}
    for name, value in client_config.items():
        if (option := _CLIENT_OPTIONS.get(name)) is None:
            known = ", ".join(sorted(_CLIENT_OPTIONS))
            raise TypeError(f"client_config has no option {name!r}; it knows {known}")
        if option in options:
            raise ValueError(f"client_config names {option!r} twice, once as {name!r}; drop one")
        options[option] = value

    # Here and below, so that a saver with a client of the caller's loads none of it.
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    ours = Config(
        # Each thread of both pools may hold a connection.
        max_pool_connections=2 * max_workers,
        connect_timeout=5,
        read_timeout=10,
        # Said in full: botocore 1.44 has another mode and number than 1.43.
        retries={"mode": "standard", "total_max_attempts": _DEFAULT_ATTEMPTS},
        tcp_keepalive=True,
        user_agent_extra=f"langgraph-checkpoint-dynamodb/{__version__}",
    )
    options["config"] = ours.merge(options.get("config") or Config())
    # Where a botocore to come has other names than the lean session leans on, or the rules for
    # addresses are not in force, or no region is set, a stock session decides, and says what is
    # wrong: this may cost time, and never changes what is sent.
    with suppress(AttributeError, ImportError, LookupError, TypeError, ValueError, BotoCoreError):
        client = _lean_session().create_client("dynamodb", **options)
        if client.meta.region_name is not None and client._ruleset_resolver is not None:  # noqa: SLF001
            return client
    return botocore.session.get_session().create_client("dynamodb", **options)


def _lean_session() -> Any:
    """Return a botocore session that makes DynamoDB's client and loads nothing of other services.

    A stock session lists the folders of 440 services twice, parses 1.25 MB of addresses that
    DynamoDB's rules overrule, and registers 120 handlers for events that DynamoDB does not have:
    three quarters of what a client costs, on each cold start.
    """
    import gzip  # noqa: PLC0415
    import json  # noqa: PLC0415

    from botocore import handlers, loaders, session  # noqa: PLC0415

    class Session(session.Session):  # type: ignore[misc]  # botocore is untyped
        def create_client(self, service_name: str, *args: Any, **options: Any) -> Any:
            # Where credentials come from STS or SSO, those get stock clients.
            maker: Any = super() if service_name == "dynamodb" else session.get_session()
            return maker.create_client(service_name, *args, **options)

    class Loader(loaders.Loader):  # type: ignore[misc]  # the same
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
            return super().load_data_with_path(name)  # type: ignore[no-any-return]

    lean = Session(include_builtin_handlers=False)
    if lean.get_config_variable("data_path") or Path(Loader.CUSTOMER_DATA_PATH).is_dir():
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


def _back_off(attempt: int) -> None:
    """Sleep before every attempt except the first (0): exponential back-off with full jitter."""
    if attempt:
        time.sleep(random.uniform(0, min(5.0, 0.05 * 2**attempt)))  # noqa: S311  no secret


class _Job(NamedTuple):
    """A request of a bulk call: its items, and how its last attempts went."""

    items: Sequence[Any]
    level: int = 0  # of _back_off() before the next
    refused: int = 0  # attempts in a row, none of whose items was taken
    progress: int = 0  # of the whole bulk call when the first of them began
    since: float = 0.0  # and the time then


class _Pace:
    """How fast a bulk call goes, and whether it goes on.

    The number of requests in flight grows by one when all of a request is taken, and halves when
    some of it is refused. A call of any size goes on as long as anything of it is taken. It is over
    when a request was refused *attempts* times in a row and nothing else of the call was taken
    meanwhile. Attempts that botocore made count. With the default of six, a call ends after at
    most 31 seconds in which nothing was taken if DynamoDB refuses whole requests, since botocore
    sleeps up to 1, 2, 4, 8 and 16 seconds; after at most 3.1 if it answers that all items are
    undone. What the requests themselves take comes on top.
    """

    def __init__(self, most_in_flight: int, attempts: int = 1, items: int = 0) -> None:
        self.limit = self._most_in_flight = most_in_flight
        self.is_over = False
        self.undone = items
        self.refused = 0
        self.idle_seconds = 0.0
        self.error: ClientError | None = None
        self._attempts = attempts
        self._progress = 0  # answers that took something
        self._level = 0  # less by one with each success: the next refusal does not start at none
        self._lock = threading.Lock()

    def attempt(self, send: Callable[[Sequence[Any]], Sequence[Any]], job: _Job) -> _Job | None:
        """Send a job once, after back-off; *send* returns the items undone. Return the rest."""
        items, level, refused, progress, since = job
        if not self.is_over:
            _back_off(level)
        if self.is_over:  # by now
            return job
        if not refused or progress != self._progress:
            refused, progress, since = 0, self._progress, time.monotonic()
        attempts, error = 1, None
        try:
            undone = send(items)
        except ClientError as raised:
            if raised.response["Error"]["Code"] not in _REFUSALS:
                raise
            undone, error = items, raised
            attempts += raised.response["ResponseMetadata"].get("RetryAttempts", 0)
        with self._lock:
            taken = len(items) - len(undone)
            self.undone -= taken
            self._progress += bool(taken)
            if not undone:
                self.limit = min(self.limit + 1, self._most_in_flight)
                self._level = max(self._level - 1, 0)
                return None
            self.limit = max(self.limit // 2, 1)
            self.error = error or self.error
            if self._progress == progress:
                refused += attempts
                if refused >= self._attempts:
                    self.is_over = True
                    self.refused, self.idle_seconds = refused, time.monotonic() - since
            if not self.is_over:
                self._level = max(self._level, refused, 1)
            return _Job(undone, self._level, refused, progress, since)


def _done(function: Callable[..., T], *args: Any) -> Future[T]:
    """Call *function* here; otherwise as _Workers.start()."""
    future: Future[T] = Future()
    future.set_result(function(*args))
    return future


class _Workers:
    """Threads for requests side by side.

    What runs on them never waits for them, as a pool that waits on itself stalls: what it starts,
    it does itself.
    """

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._here = threading.local()
        self._pool = ThreadPoolExecutor(
            max_workers, "dynamodb-saver-request", setattr, (self._here, "is_worker", True)
        )

    def start(self, function: Callable[..., T], *args: Any) -> Future[T]:
        if getattr(self._here, "is_worker", False):
            return _done(function, *args)
        return self._pool.submit(copy_context().run, function, *args)

    def map(self, function: Callable[[A], T], arguments: Iterable[A]) -> list[T]:
        """Call *function* for each of *arguments*, in this thread and others, as drain() does."""
        answers: dict[int, T] = {}

        def call(job: tuple[int, A]) -> None:
            answers[job[0]] = function(job[1])

        self.drain(enumerate(arguments), call, _Pace(self.max_workers))
        return [answers[index] for index in range(len(answers))]

    def drain(self, jobs: Iterable[A], do: Callable[[A], A | None], pace: _Pace) -> None:
        """Call *do* for each job, and for the rest that it returns, side by side as *pace* says.

        Nothing goes on behind the caller's back: after an exception, Ctrl-C too, no job begins,
        and the requests in flight are waited for (a second Ctrl-C ends that).
        """
        _Lanes(self, jobs, do, pace).run()

    def close(self) -> None:
        self._pool.shutdown()


class _Lanes(Generic[A]):
    """Jobs that are done side by side: lane 0 is the caller's thread, the others are workers.

    A lane does one job after the other, and ends when so many in flight are too many.
    """

    def __init__(
        self, workers: _Workers, jobs: Iterable[A], do: Callable[[A], A | None], pace: _Pace
    ) -> None:
        self._workers = workers
        self._jobs = deque(jobs)
        self._do = do
        self._pace = pace
        self._lanes: dict[int, Future[None]] = {}
        self._errors: list[BaseException] = []

    def run(self) -> None:
        try:
            while self._jobs and not self._pace.is_over:
                for index in range(1, min(self._pace.limit, len(self._jobs))):
                    if index not in self._lanes or self._lanes[index].done():
                        self._lanes[index] = self._workers.start(self._run_lane, index)
                self._do_next()
                if not self._jobs:
                    self._await_lanes()  # a job in flight there may leave a rest
        finally:
            self._pace.is_over = True
            self._await_lanes()
        if self._errors:
            raise self._errors[0]

    def _run_lane(self, index: int) -> None:
        try:
            while self._jobs and index < self._pace.limit and not self._pace.is_over:
                self._do_next()
        except BaseException as error:  # noqa: BLE001  the caller's thread raises it
            self._pace.is_over = True
            self._errors.append(error)

    def _do_next(self) -> None:
        try:
            job = self._jobs.popleft()
        except IndexError:
            return  # another lane was faster
        if (rest := self._do(job)) is not None:
            self._jobs.appendleft(rest)

    def _await_lanes(self) -> None:
        # A lane that has not begun may never do so, in a pool that is busy with other calls.
        wait([each for each in self._lanes.values() if not each.cancel()])


class _Page(NamedTuple):
    items: list[_Item]
    is_last: bool


class _Table:
    """Requests to one table."""

    def __init__(self, client: Any, name: str, keys: tuple[str, str], workers: _Workers) -> None:
        self.name = name
        self._client = client
        self._keys = keys
        self._workers = workers
        retries = getattr(client.meta.config, "retries", None) or {}
        self._attempts: int = retries.get("total_max_attempts", _DEFAULT_ATTEMPTS)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            meta = self._client.meta
            raise DynamoDBSaverError(
                f"Table {self.name!r} does not exist in region {meta.region_name!r}; run setup(), "
                f"or check the table's name and the client's region"
            ) from error
        return answer

    def get(self, key: _Item, *, consistent: bool = True) -> _Item | None:
        answer = self._call("get_item", TableName=self.name, Key=key, ConsistentRead=consistent)
        return answer.get("Item")

    def put(
        self, item: _Item, condition: str | None = None, values: _Item | None = None
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
        try:
            self._call("put_item", **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            standing: _Item = cast("Any", error.response).get("Item", {})
            return standing
        return None

    def put_both(self, item: _Item, other: _Item, **condition: Any) -> bool:
        """Put two items or neither; return whether *condition* held for the other one."""
        puts = [
            {"Put": {"TableName": self.name, "Item": item}},
            {"Put": {"TableName": self.name, "Item": other, **condition}},
        ]
        for attempt in range(self._attempts):
            _back_off(attempt)
            try:
                self._call("transact_write_items", TransactItems=puts)
            except ClientError as error:
                # Another transaction, or a throttled partition, cancels one: botocore leaves it to
                # us to send it again.
                reasons = cast("Any", error.response).get("CancellationReasons", [])
                codes = {reason["Code"] for reason in reasons} - {"None"}
                if "ConditionalCheckFailed" in codes:
                    return False
                if attempt == self._attempts - 1 or not codes or codes - _CANCELLED_FOR_NOW:
                    raise
            else:
                return True
        raise AssertionError("the last attempt returns or raises")

    def delete(self, key: _Item, **condition: Any) -> None:
        """Delete an item, if *condition* holds."""
        with _tolerated("ConditionalCheckFailedException"):
            self._call("delete_item", TableName=self.name, Key=key, **condition)

    def query(
        self,
        hash_key: str,
        lower: str = "",
        upper: str | None = None,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        attributes: Sequence[str] = (),
        consistent: bool = True,
    ) -> Iterator[_Page]:
        """Query the items of a hash key: all, or those from *lower* to *upper*, both included."""
        condition, names, values = "#h = :h", {"#h": self._keys[0]}, {":h": {"S": hash_key}}
        if upper is not None:
            condition += " AND #r BETWEEN :l AND :u"
            names["#r"] = self._keys[1]
            values |= {":l": {"S": lower or "\0"}, ":u": {"S": upper}}
        return self._pages(
            "query",
            attributes,
            limit,
            names,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ScanIndexForward=not newest_first,
            ConsistentRead=consistent,
        )

    def items(self, *args: Any, **options: Any) -> Iterator[_Item]:
        """Query as query() does, and return the items of all pages."""
        return chain.from_iterable(page.items for page in self.query(*args, **options))

    def query_index(
        self,
        index: Mapping[str, Any],
        hash_key: str,
        after: str | None,
        attributes: Sequence[str],
        limit: int,
    ) -> Iterator[_Page]:
        """Query an index, which is eventually consistent: a hash key's items *after* some key."""
        names = {"#h": index["KeySchema"][0]["AttributeName"]}
        values = {":h": {"S": hash_key}}
        condition = "#h = :h"
        if after is not None:
            names["#r"], values[":r"] = index["KeySchema"][1]["AttributeName"], {"S": after}
            condition += " AND #r > :r"
        return self._pages(
            "query",
            attributes,
            limit,
            names,
            IndexName=index["IndexName"],
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
        )

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
            answer = self._call(operation, TableName=self.name, **parameters)
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
            answer = self._call("batch_get_item", RequestItems={self.name: request})
            found.extend(answer["Responses"].get(self.name, ()))
            undone = answer.get("UnprocessedKeys", {}).get(self.name)
            left: Sequence[_Item] = undone["Keys"] if undone else ()
            return left

        pace = _Pace(1, self._attempts, len(keys))
        for batch in _batches(keys, _MAX_BATCH_GET_KEYS):
            job: _Job | None = _Job(batch)
            while job and not pace.is_over:
                job = pace.attempt(send, job)
                yield from found
                found.clear()
        self._check("batch_get_item", pace)

    def batch_put(self, items: Iterable[_Item]) -> None:
        self._batch_write([{"PutRequest": {"Item": item}} for item in items])

    def batch_delete(self, keys: Iterable[_Item]) -> None:
        self._batch_write([{"DeleteRequest": {"Key": key}} for key in keys])

    def _batch_write(self, requests: Sequence[_Item]) -> None:
        def send(batch: Sequence[_Item]) -> Sequence[_Item]:
            answer = self._call("batch_write_item", RequestItems={self.name: batch})
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
        batches: Sequence[Sequence[Any]],
    ) -> None:
        pace = _Pace(self._workers.max_workers, self._attempts, sum(map(len, batches)))
        self._workers.drain(map(_Job, batches), partial(pace.attempt, send), pace)
        self._check(operation, pace)

    def _check(self, operation: str, pace: _Pace) -> None:
        """Raise DynamoDBSaverError if a bulk call ended before all was done."""
        if pace.undone:
            raise DynamoDBSaverError(
                f"{operation} left {pace.undone} items of table {self.name!r} undone after "
                f"{pace.refused} attempts: DynamoDB throttles, and took none for "
                f"{pace.idle_seconds:.1f} seconds; call again later, or raise total_max_attempts "
                f"in the retries of the client's config"
            ) from pace.error

    def create(self, index: Mapping[str, Any] | None = None) -> None:
        """Create the table, and its *index*, unless it is there, and wait until it serves.

        Raises: DynamoDBSaverError: it is there with other keys.
        """
        with _tolerated("ResourceInUseException"):
            self._client.create_table(
                TableName=self.name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=_key_schema(self._keys),
                AttributeDefinitions=_definitions(self._keys, index),
                **({"GlobalSecondaryIndexes": [index]} if index else {}),
            )
        waiter = self._client.get_waiter("table_exists")
        waiter.wait(TableName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        table = self._describe()
        if complaint := _complaint(table["KeySchema"], self._keys, table):
            raise DynamoDBSaverError(
                f"Table {self.name!r} exists with other keys: {complaint}; use another table name"
            )

    def create_index(self, index: Mapping[str, Any]) -> None:
        """Add an index to the table unless it is there, and wait until it serves.

        Raises: DynamoDBSaverError: it is there with other keys.
        """
        name = index["IndexName"]
        while True:
            table = self._describe()
            indexes = {each["IndexName"]: each for each in table.get("GlobalSecondaryIndexes", ())}
            if found := indexes.get(name):
                keys = [each["AttributeName"] for each in index["KeySchema"]]
                if complaint := _complaint(found["KeySchema"], keys, table):
                    raise DynamoDBSaverError(
                        f"Table {self.name!r} has an index {name!r} with other keys: {complaint}; "
                        f"delete the index and call setup(run_index=True) again"
                    )
                if found["IndexStatus"] == "ACTIVE":
                    return
            else:
                units = {
                    unit: table["ProvisionedThroughput"][unit]
                    for unit in ("ReadCapacityUnits", "WriteCapacityUnits")
                }
                # On a table with provisioned capacity an index needs some of its own.
                provisioned = {"ProvisionedThroughput": units} if any(units.values()) else {}
                # Another process may be adding it just now; a table adds one at a time.
                with _tolerated("ResourceInUseException", "LimitExceededException"):
                    self._client.update_table(
                        TableName=self.name,
                        AttributeDefinitions=_definitions(self._keys, index),
                        GlobalSecondaryIndexUpdates=[{"Create": {**index, **provisioned}}],
                    )
            time.sleep(1)

    def _describe(self) -> dict[str, Any]:
        table: dict[str, Any] = self._call("describe_table", TableName=self.name)["Table"]
        return table

    def turn_expiry_on(self) -> None:
        """Have DynamoDB delete items by their attribute ``ttl``.

        Raises: DynamoDBSaverError: it deletes them by another.
        """
        answer = self._call("describe_time_to_live", TableName=self.name)
        found = answer["TimeToLiveDescription"]
        if found["TimeToLiveStatus"] in ("DISABLED", "DISABLING"):
            specification = {"Enabled": True, "AttributeName": "ttl"}
            self._call(
                "update_time_to_live", TableName=self.name, TimeToLiveSpecification=specification
            )
        elif found["AttributeName"] != "ttl":
            raise DynamoDBSaverError(
                f"Table {self.name!r} expires items by {found['AttributeName']!r}, and must by "
                f"'ttl'; turn its time to live off, wait an hour and call setup() again"
            )


@contextmanager
def _tolerated(*codes: str) -> Iterator[None]:
    """Go on after an error of DynamoDB with one of these codes."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
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


# -- Cache ----------------------------------------------------------------------------------------
# What this process has stored or read of late.


class _Recent(Generic[K, T]):
    """The values kept or asked for last, as many as fit; keys start with a thread's id."""

    def __init__(self, max_size: int) -> None:
        self._left = max_size
        self._values: OrderedDict[K, tuple[T, int]] = OrderedDict()

    def get(self, key: K) -> T | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: K, value: T, size: int = 1) -> None:
        self.drop(key)
        self._values[key] = value, size
        self._left -= size
        while self._left < 0:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        _, size = self._values.pop(key, (None, 0))
        self._left += size

    def drop_thread(self, thread_id: str) -> None:
        for key in [key for key in self._values if key[0] == thread_id]:
            self.drop(key)


class _Knowledge:
    """What this process knows of checkpoints, and the segments that it keeps."""

    def __init__(self, cache_bytes: int) -> None:
        self._lock = threading.Lock()
        self._known: _Recent[_CheckpointKey, _Known] = _Recent(_KNOWN_CHECKPOINTS)
        self._newest: _Recent[tuple[str, str], _CheckpointKey] = _Recent(_KNOWN_CHECKPOINTS)
        self._segments: _Recent[tuple[str, _Ref], bytes] = _Recent(cache_bytes)

    def remember(self, record: _Record, seen_at: float) -> None:
        """Note a record that is stored, and for how long a put may build on it."""
        versions = dict(record.checkpoint["channel_versions"])
        good_until = seen_at + _GRACE_SECONDS / 2
        if record.expires_at:
            good_until = min(good_until, record.expires_at)
        with self._lock:
            known = _Known(versions, record.channels, record.expires_at, good_until)
            self._known.keep(record.key, known)
            if (newest := self._newest.get(record.key[:2])) is None or newest < record.key:
                self._newest.keep(record.key[:2], record.key)

    def recall(self, key: _CheckpointKey, now: float) -> _Known | None:
        with self._lock:
            known = self._known.get(key)
            return known if known and known.good_until > now else None

    def newest(self, thread_id: str, checkpoint_ns: str) -> _CheckpointKey | None:
        """Return the newest checkpoint of a namespace, as far as this process knows."""
        with self._lock:
            return self._newest.get((thread_id, checkpoint_ns))

    def remember_segments(self, thread_id: str, segments: Mapping[_Ref, bytes]) -> None:
        with self._lock:
            for ref, data in segments.items():
                self._segments.keep((thread_id, ref), data, len(data))

    def recall_segments(self, thread_id: str, refs: Iterable[_Ref]) -> dict[_Ref, bytes]:
        with self._lock:
            found = {ref: self._segments.get((thread_id, ref)) for ref in refs}
        return {ref: data for ref, data in found.items() if data is not None}

    def forget(self, thread_id: str) -> None:
        with self._lock:
            for recent in (self._known, self._newest, self._segments):
                recent.drop_thread(thread_id)


# -- Reading --------------------------------------------------------------------------------------
# What a thread's items show, below the saver's public methods.


_WriteItems = dict[_CheckpointKey, list[_Item]]


class _Parts(NamedTuple):
    """What is on its way to make a record a checkpoint."""

    segments: Mapping[_Ref, Future[dict[_Ref, bytes]]]
    sends: Future[_WriteItems] | None
    writes: Future[_WriteItems]


class _Reader:
    """Reads threads."""

    serde: SerializerProtocol
    consistent_read: bool
    _clock: Callable[[], float]
    _checkpoints: _Table
    _writes: _Table
    _workers: _Workers
    _knowledge: _Knowledge

    def _is_live(self, item: _Item) -> bool:
        return not 0 < _expires_at(item) <= self._clock()

    def _has_items(self, thread_id: str) -> bool:
        tables = (self._checkpoints, self._writes)
        return any(item for table in tables for item in table.items(thread_id, limit=1))

    def _load_segments(self, key: _CheckpointKey, refs: Collection[_Ref]) -> dict[_Ref, bytes]:
        """Return segments that a checkpoint names; what this process did not know is read."""
        known = self._knowledge.recall_segments(key.thread_id, refs)
        missing = {ref: key for ref in refs if ref not in known}
        read = self._read_segments(key.thread_id, missing)
        self._knowledge.remember_segments(key.thread_id, read)
        return known | read

    def _read_segments(
        self, thread_id: str, named_by: Mapping[_Ref, _CheckpointKey]
    ) -> dict[_Ref, bytes]:
        """Read segments of a thread, each of which a checkpoint names.

        As they never change, a read at half the price will do; those that are not there yet are
        read once more consistently.
        """
        segments: dict[_Ref, bytes] = {}
        for consistent in (False, True):
            by_key = {ref.range_key: ref for ref in named_by if ref not in segments}
            keys = [_checkpoints_key(thread_id, range_key) for range_key in by_key]
            for item in self._checkpoints.batch_get(keys, consistent=consistent):
                ref = by_key[item["checkpoint_id"]["S"]]
                place = (named_by[ref], self._checkpoints.name)
                segments[ref] = _decode_segment(item, ref, place)
        for ref, key in named_by.items():
            if ref not in segments:
                what = f"Segment {ref.range_key!r} is missing"
                raise DamagedCheckpointError(what, key, self._checkpoints.name)
        return segments

    def _decode_record(self, item: _Item) -> _Record:
        return _decode_record(item, self.serde, self._load_segments, self._checkpoints.name)

    def _read_record(self, key: _CheckpointKey) -> _Record | None:
        for item in self._newest_first(*key[:2], only_id=key.checkpoint_id):
            return self._decode_record(item)
        return None

    def _newest_record(self, thread_id: str, checkpoint_ns: str) -> _Record | None:
        for item in self._newest_first(thread_id, checkpoint_ns, limit=1):
            return self._decode_record(item)
        return None

    def _visible(self, items: Iterable[_Item], checkpoint_ns: str) -> Iterator[_Item]:
        """Drop, of a namespace's items newest first, what is expired or behind its veil."""
        hidden_through = ""
        for item in items:
            _, found_ns, checkpoint_id = _record_key(item)
            if checkpoint_id == _VEIL:
                hidden_through = item["through"]["S"]
            # Layout 0 has subgraphs' checkpoints among the root's.
            elif (
                found_ns == checkpoint_ns and hidden_through < checkpoint_id and self._is_live(item)
            ):
                yield item

    def _newest_first(
        self,
        thread_id: str,
        checkpoint_ns: str,
        *,
        limit: int | None = None,
        through_id: str | None = None,
        only_id: str | None = None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of a namespace, newest first: all, those up to an id, or one."""
        prefix = _range_prefix(checkpoint_ns)
        veil_key = _checkpoints_key(thread_id, prefix + _VEIL)

        def items() -> Iterator[_Item]:
            if only_id:
                keys = [veil_key, _checkpoints_key(thread_id, prefix + only_id)]
                found = self._checkpoints.batch_get(keys, consistent=self.consistent_read)
                yield from sorted(found, key=lambda item: _record_key(item)[2], reverse=True)
                return
            # Of a namespace's range keys, the veil's is the last.
            upper = _after(prefix or _VEIL)
            if through_id:
                upper = prefix + through_id
                veil = self._checkpoints.get(veil_key, consistent=self.consistent_read)
                yield from [veil] if veil else []
            yield from self._checkpoints.items(
                thread_id,
                prefix,
                upper,
                newest_first=True,
                limit=limit,
                consistent=self.consistent_read,
            )

        return self._visible(items(), checkpoint_ns)

    def _write_items(
        self, keys: Sequence[_CheckpointKey], *attributes: str, consistent: bool = True
    ) -> _WriteItems:
        """Read the writes of checkpoints by one query, with all that is between them."""
        found: _WriteItems = {key: [] for key in keys}
        by_prefix = {key.writes_prefix: key for key in keys}
        for item in self._writes.items(
            keys[0].thread_id,
            min(by_prefix),
            _after(max(by_prefix)),
            attributes=attributes,
            consistent=consistent,
        ):
            if key := by_prefix.get(_prefix_of_write(item["task_id_idx"]["S"])):
                found[key].append(item)
        return found

    def _layout_0_write_items(self, key: _CheckpointKey, *attributes: str) -> list[_Item]:
        return list(self._writes.items(key.layout_0_writes, attributes=attributes))

    def _pending(
        self, keys: Sequence[_CheckpointKey], layout_0: Iterable[_CheckpointKey] = ()
    ) -> _WriteItems:
        """Read the writes of checkpoints of a namespace, and of some those of layout 0 too."""
        found = self._write_items(keys, consistent=self.consistent_read)
        return found | {key: found[key] + self._layout_0_write_items(key) for key in layout_0}

    def _start_pending(self, records: Sequence[_Record]) -> Future[_WriteItems]:
        layout_0 = [record.key for record in records if record.is_layout_0]
        return self._workers.start(self._pending, [record.key for record in records], layout_0)

    def _in_order(self, key: _CheckpointKey, items: Iterable[_Item]) -> list[_Write]:
        """Decode a checkpoint's writes, and sort them as LangGraph applies them.

        Those of layout 0 come last in *items*, and were there before the others.
        """
        writes: dict[tuple[str, int], _Write] = {}
        for item in filter(self._is_live, items):
            for write in _decode_writes(
                item, key, self.serde, self._load_segments, self._writes.name
            ):
                # Of ordinary writes the first stays, of special ones the last.
                if write.idx >= 0 or (write.task_id, write.idx) not in writes:
                    writes[write.task_id, write.idx] = write
        return sorted(writes.values())

    def _loaded(self, write: _Write) -> PendingWrite:
        return write.task_id, write.channel, self.serde.loads_typed((write.type, write.value))

    def _start_parts(
        self,
        record: _Record,
        segments: dict[_Ref, Future[dict[_Ref, bytes]]],
        writes: Future[_WriteItems] | None,
    ) -> _Parts:
        """Start reading what a record needs beside what *segments* and *writes* have on its way."""
        missing = [ref for ref in record.refs if ref not in segments]
        for batch in _batches(missing, _MAX_BATCH_GET_KEYS):
            future = self._workers.start(self._load_segments, record.key, batch)
            segments.update(dict.fromkeys(batch, future))
        sends = None
        if (
            record.checkpoint["v"] < _FIRST_V_WITH_TASKS
            # What copy_from() brings has the sends that its source showed.
            and TASKS not in record.checkpoint["channel_versions"]
            and record.parent_key
        ):
            keys = [record.parent_key]
            sends = self._workers.start(self._pending, keys, keys)
        writes = writes or _done(self._pending, [record.key])
        return _Parts({ref: segments[ref] for ref in record.refs}, sends, writes)

    def _finish(self, record: _Record, parts: _Parts) -> CheckpointTuple:
        segments = {ref: future.result()[ref] for ref, future in parts.segments.items()}
        values = {
            name: _decode_channel(channel, segments, self.serde)
            for name, channel in record.channels.items()
        }
        versions = dict(record.checkpoint["channel_versions"])
        of_parent = parts.sends.result() if parts.sends else {}
        sends = [
            self._loaded(write)[2]
            for key, items in of_parent.items()
            for write in self._in_order(key, items)
            if write.channel == TASKS
        ]
        if sends:
            values[TASKS] = sends
            versions[TASKS] = max(versions.values(), default=1)
        checkpoint = {**record.checkpoint, "channel_values": values, "channel_versions": versions}
        writes = self._in_order(record.key, parts.writes.result()[record.key])
        return CheckpointTuple(
            _config(record.key),
            cast("Checkpoint", checkpoint),
            cast("CheckpointMetadata", record.metadata),
            _config(record.parent_key) if record.parent_key else None,
            [self._loaded(write) for write in writes],
        )

    def _finish_all(
        self, records: Iterator[_Record], limit: int, *, are_neighbours: bool
    ) -> Iterator[CheckpointTuple]:
        """Read what *limit* records need at first, then further ahead as more are asked for.

        One query has the writes of all that are neighbours in a namespace.
        """
        waiting: deque[tuple[_Record, _Parts]] = deque()
        segments: dict[_Ref, Future[dict[_Ref, bytes]]] = {}
        while batch := list(islice(records, min(limit, _MAX_LIST_AHEAD))):
            groups: dict[tuple[str, ...], list[_Record]] = {}
            for record in batch:
                apart = record.is_layout_0 or not are_neighbours
                groups.setdefault(record.key[: 3 if apart else 2], []).append(record)
            writes: dict[_CheckpointKey, Future[_WriteItems]] = {}
            for group in groups.values():
                future = self._start_pending(group)
                writes.update((record.key, future) for record in group)
            for record in batch:
                parts = self._start_parts(record, segments, writes[record.key])
                waiting.append((record, parts))
            # While half of these are returned, the next are on their way.
            while len(waiting) > len(batch) // 2:
                yield self._finish(*waiting.popleft())
            limit *= 2
            if len(segments) > _MAX_LIST_SEGMENTS:
                # Neighbours share segments: those of earlier records alone are done with.
                segments = {ref: f for _, parts in waiting for ref, f in parts.segments.items()}
        while waiting:
            yield self._finish(*waiting.popleft())

    def _subgraphs(self, thread_id: str) -> Iterator[tuple[str, list[_Item] | None]]:
        """Find the namespaces of a thread's subgraphs.

        With one that a page holds whole come its items, oldest first. A page ends in a namespace,
        and the next starts after it: a request for each namespace at most.
        """
        lower, limit = _SUBGRAPH, 16
        while lower:
            pages = self._checkpoints.query(
                thread_id, lower, _after(_SUBGRAPH), limit=limit, consistent=self.consistent_read
            )
            page = next(page for page in pages if page.items or page.is_last)
            by_namespace = groupby(page.items, key=lambda item: item["checkpoint_ns"]["S"])
            found = [(checkpoint_ns, list(items)) for checkpoint_ns, items in by_namespace]
            lower, limit = "", limit * 4
            if not page.is_last:
                cut_off, _ = found.pop()
                lower = _after(_range_prefix(cut_off))
                yield cut_off, None
            yield from found

    def _merged(
        self,
        thread_id: str,
        checkpoint_ns: str | None,
        limit: int | None,
        before_id: str | None,
        only_id: str | None,
    ) -> Iterator[_Item]:
        """Read the checkpoints of a namespace, or of all of a thread's, newest first."""

        def read(checkpoint_ns: str) -> Iterator[_Item]:
            return self._newest_first(
                thread_id, checkpoint_ns, limit=limit, through_id=before_id, only_id=only_id
            )

        def read_ahead(checkpoint_ns: str) -> Iterator[_Item]:
            items = read(checkpoint_ns)
            first = self._workers.start(lambda: next(items, None))

            def all_items() -> Iterator[_Item]:
                if (item := first.result()) is not None:
                    yield item
                    yield from items

            return all_items()

        if checkpoint_ns is not None:
            return read(checkpoint_ns)
        sources: list[Iterator[_Item | _CheckpointKey]] = [read_ahead("")]
        held = 0
        for found_ns, items in self._subgraphs(thread_id):
            if items is None:
                sources.append(read_ahead(found_ns))
                continue
            visible = [*self._visible(reversed(items), found_ns)]
            held += len(visible)
            if held <= _MAX_LIST_HELD:
                sources.append(iter(visible))
            else:
                ids = [_record_key(item).checkpoint_id for item in visible]
                sources.append(iter([_CheckpointKey(thread_id, found_ns, each) for each in ids]))

        def id_of(each: _Item | _CheckpointKey) -> str:
            return (each if isinstance(each, _CheckpointKey) else _record_key(each)).checkpoint_id

        return self._read_again(heapq.merge(*sources, key=id_of, reverse=True))

    def _read_again(self, found: Iterator[_Item | _CheckpointKey]) -> Iterator[_Item]:
        """Read what is there as a key alone, with those that follow it."""
        for each in found:
            if not isinstance(each, _CheckpointKey):
                yield each
                continue
            batch = [each, *islice(found, _MAX_BATCH_GET_KEYS - 1)]
            keys = [key for key in batch if isinstance(key, _CheckpointKey)]
            read = {
                item["checkpoint_id"]["S"]: item
                for item in self._checkpoints.batch_get(
                    [_checkpoints_key(key.thread_id, key.range_key) for key in keys],
                    consistent=self.consistent_read,
                )
            }
            for one in batch:
                if not isinstance(one, _CheckpointKey):
                    yield one
                elif one.range_key in read:  # it may have been deleted meanwhile
                    yield read[one.range_key]

    def _list_records(
        self,
        address: _Address | None,
        filter_: Mapping[str, Any],
        before_id: str | None,
        limit: int | None,
    ) -> Iterator[_Record]:
        # One page holds what is asked for, and the checkpoint that *before* names, which is not.
        page_limit = limit + bool(before_id) if limit and not filter_ else 16
        checkpoint_ns, only_id = (
            (address.checkpoint_ns, address.checkpoint_id) if address else (None, None)
        )
        for thread_id in [address.thread_id] if address else self.threads():
            for item in self._merged(thread_id, checkpoint_ns, page_limit, before_id, only_id):
                _, _, checkpoint_id = _record_key(item)
                if checkpoint_id < (before_id or _VEIL) and only_id in (None, checkpoint_id):
                    record = self._decode_record(item)
                    if all(record.metadata.get(name) == value for name, value in filter_.items()):
                        yield record

    def threads(self) -> Iterator[str]:
        """Return an iterator of the ids of the threads in the checkpoints table, in no order.

        A thread whose first put() never came, though a put_writes() did, is not there.

        Cost: a scan that skips the rest of a thread when a page ends in it.
        """
        start: dict[str, Any] = {"ConsistentRead": self.consistent_read}
        limit = 16
        while True:
            pages = self._checkpoints.scan(_CHECKPOINTS_KEYS, limit, **start)
            page = next(page for page in pages if page.items or page.is_last)
            thread_ids = list(dict.fromkeys(item["thread_id"]["S"] for item in page.items))
            yield from thread_ids
            if page.is_last:
                return
            # DynamoDB takes a start key that no item has: this one is after all of its thread.
            start["ExclusiveStartKey"] = _checkpoints_key(thread_ids[-1], "\U0010ffff")
            # Long threads: small pages, as the rest is skipped; short ones: large pages.
            limit = min(limit * 2, 1024) if len(thread_ids) > 1 else max(limit // 2, 16)

    def _lineage(self, address: _Address) -> Iterator[_Record]:
        """Read a checkpoint, or the newest, and then its ancestors."""
        thread_id, checkpoint_ns, checkpoint_id = address
        items = self._newest_first(
            thread_id, checkpoint_ns or "", limit=16, through_id=checkpoint_id
        )
        item = next(items, None)
        if item is None or (checkpoint_id and _record_key(item).checkpoint_id != checkpoint_id):
            return
        child = self._decode_record(item)
        yield child
        while (key := child.parent_key) is not None:
            while item and _record_key(item) > key:
                item = next(items, None)
            if item and _record_key(item) == key:
                record = self._decode_record(item)
            elif (found := self._read_record(key)) is not None:
                # Of two machines, one with a clock behind has given the child a smaller id.
                record = found
            else:
                what = (
                    f"An ancestor of checkpoint {child.key.checkpoint_id!r}, from which its "
                    f"DeltaChannels are rebuilt, is missing; it expired, or was pruned, or deleted "
                    f"with its run"
                )
                raise DamagedCheckpointError(what, key, self._checkpoints.name)
            yield record
            child = record


# -- Changing -------------------------------------------------------------------------------------
# What is stored, deleted and copied, below the saver's public methods.


class _Summary(NamedTuple):
    """What is to be known of a checkpoint to decide whether it goes."""

    parent_key: _CheckpointKey | None
    run_id: Any
    is_live: bool
    is_layout_0: bool
    stored: frozenset[str]
    pending_deltas: frozenset[str]
    refs: frozenset[_Ref]


_Summaries = Mapping[_CheckpointKey, _Summary]


def _newest(summaries: _Summaries) -> set[_CheckpointKey]:
    """Return the newest checkpoint of each namespace, and what it is rebuilt from."""
    newest = {key.checkpoint_ns: key for key in sorted(summaries)}.values()
    return {*newest, *_delta_ancestors(summaries, newest)}


def _delta_ancestors(summaries: _Summaries, kept: Iterable[_CheckpointKey]) -> set[_CheckpointKey]:
    """Return the ancestors that the DeltaChannels of checkpoints are rebuilt from.

    These go back to one that holds a value.
    """
    ancestors: set[_CheckpointKey] = set()
    for key in kept:
        summary = summaries[key]
        parent_key, missing = summary.parent_key, summary.pending_deltas
        while missing and parent_key and parent_key in summaries:
            ancestors.add(parent_key)
            missing -= summaries[parent_key].stored
            parent_key = summaries[parent_key].parent_key
    return ancestors


def _ttl(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(
            f"ttl_seconds must be a whole number of at least 1, or None, not {value!r}"
        )
    return value


class _Threads(_Reader):
    """Changes threads; DynamoDBSaver adds LangGraph's methods and their checks."""

    ttl_seconds: int | None

    def _expiry(self, config: RunnableConfig, thread_id: str, now: float) -> tuple[int, int]:
        """Return when a thread's items, and when its segments, expire that are stored now."""
        ttl = _ttl(config.get("configurable", {}).get("ttl_seconds", self.ttl_seconds))
        if ttl is None:
            return 0, 0
        # A segment lives for one to two lifetimes of a checkpoint, to the end of a period that
        # starts at another time for each thread: an active thread stores it once in a period.
        offset = zlib.crc32(thread_id.encode()) % ttl
        return int(now) + ttl, ((int(now) + offset) // ttl + 2) * ttl - offset

    def _parent(self, address: _Address, now: float, *, needed: bool) -> _Known:
        """Return what the parent's record holds, if it is known or needed."""
        if not address.checkpoint_id:
            return _NOTHING_KNOWN
        key = address.key(address.checkpoint_id)
        known = self._knowledge.recall(key, now)
        if known is None and needed and (record := self._read_record(key)):
            versions = record.checkpoint["channel_versions"]
            known = _Known(versions, record.channels, record.expires_at, now)
        return known or _NOTHING_KNOWN

    def _stored_refs(
        self, config: RunnableConfig, parent: _Known, thread_id: str, now: float
    ) -> Iterator[_Ref]:
        """Return the segments that the parent names, or the checkpoints which a subgraph runs in.

        These LangGraph gives as ``checkpoint_map``. A graph hands its messages down to a subgraph.
        """
        outer = (config.get("configurable", {}).get("checkpoint_map") or {}).items()
        found = (self._knowledge.recall(_CheckpointKey(thread_id, *pair), now) for pair in outer)
        for known in (parent, *filter(None, found)):
            for channel in known.channels.values():
                yield from channel.refs

    def _store_segments(
        self, thread_id: str, segments: Mapping[_Ref, bytes], *, is_lasting: bool = True
    ) -> None:
        now = self._clock()
        self._checkpoints.batch_put(
            _encode_segment(thread_id, ref, data, now) for ref, data in segments.items()
        )
        if is_lasting:
            self._knowledge.remember_segments(thread_id, segments)

    def _known_head(self, key: _CheckpointKey, parent_id: str | None) -> str | None:
        """Return what the head of a checkpoint's namespace is, if it may be replaced.

        That is so where it is the parent, or the checkpoint itself, put before; or where it is out
        of date, since a saver that keeps no head has put the parent, which is the newest.
        """
        head = self._checkpoints.get(_checkpoints_key(key.thread_id, key.head))
        found = head["head"]["S"] if head else None
        if found is None or found not in (parent_id, key.checkpoint_id):
            # Read after the head: what is put in between has changed it.
            newest = next(self._newest_first(*key[:2], limit=1), None)
            newest_id = _record_key(newest).checkpoint_id if newest else None
            if newest_id != parent_id:
                raise ConcurrentUpdateError(key, parent_id, newest_id)
        return found

    def _put_as_head(
        self, record: _Record, item: _Item, segments: Mapping[_Ref, bytes], *, is_fork: bool
    ) -> None:
        """Store a checkpoint if its parent is the head, which it becomes in the same transaction.

        A transaction writes at twice the price. Nothing cheaper is sound: two writes one after the
        other leave, if cut off between, a head without a checkpoint or one without a head.
        """
        key, parent_id = record.key, record.parent_id
        head = _encode_head(key, record.expires_at)
        # Where segments come first, so does a look at the head: what is refused stores nothing.
        expected = self._known_head(key, parent_id) if segments and not is_fork else parent_id
        self._store_segments(key.thread_id, segments)
        while True:
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(head)"}
            if is_fork:
                condition = {}
            elif expected:
                condition = {
                    "ConditionExpression": "head = :expected",
                    "ExpressionAttributeValues": {":expected": {"S": expected}},
                }
            if self._checkpoints.put_both(item, head, **condition):
                return
            expected = self._known_head(key, parent_id)

    def _renew(self, address: _Address, delta_channels: Iterable[str], expires_at: int) -> None:
        """Have the checkpoints that DeltaChannels are rebuilt from last until *expires_at*."""
        missing = set(delta_channels)
        short: list[_Record] = []
        for record in self._lineage(address):
            if not _lasts(record.expires_at, expires_at):
                short.append(record)
            missing -= record.channels.keys()
            if not missing:
                break
        for batch in _batches(short, 16):
            self._store_again(batch, expires_at)

    def _encode_again(self, item: _Item, key: _CheckpointKey, seal: _Sealer) -> _Item:
        """Return an item of writes with another expiry."""
        writes = _decode_writes(item, key, self.serde, self._load_segments, self._writes.name)
        by_idx = {write.idx: (write.channel, write.type, write.value) for write in writes}
        task_path, task_id = writes[0][:2]
        slot = int(item["task_id_idx"]["S"].rpartition(_SEPARATOR)[2])
        return _encode_writes(
            key, task_id, task_path, slot, by_idx, self.serde, seal, self._clock()
        )

    def _store_again(self, records: Sequence[_Record], expires_at: int) -> None:
        """Store checkpoints with another expiry: segments first, then writes, then records.

        What was deleted or has changed in between stays so.
        """
        seal = _Sealer((), expires_at, expires_at)
        record_items: list[_Item] = []
        write_items: list[tuple[_Item, _Item]] = []
        found = self._write_items([record.key for record in records])
        for record in records:
            load = partial(self._load_segments, record.key)
            channels = {
                name: _seal_again(channel, load, seal) for name, channel in record.channels.items()
            }
            renewed = record._replace(channels=channels, expires_at=expires_at)
            record_items.append(_encode_record(renewed, self.serde, seal))
            for item in found[record.key]:
                if not _lasts(_expires_at(item), expires_at):
                    again = self._encode_again(item, record.key, seal)
                    write_items.append((again, item["digest"]))
        self._store_segments(records[0].key.thread_id, seal.fresh)
        self._writes.put_all(
            (item, "digest = :digest", {":digest": digest}) for item, digest in write_items
        )
        self._checkpoints.put_all(
            (item, "attribute_exists(checkpoint_id)", None) for item in record_items
        )

    def _delete(self, thread_id: str, range_keys: Iterable[str]) -> None:
        self._checkpoints.batch_delete(_checkpoints_key(thread_id, key) for key in range_keys)

    def _delete_layout_0_writes(self, keys: Iterable[_CheckpointKey]) -> None:
        found = self._workers.map(lambda key: self._layout_0_write_items(key, *_WRITES_KEYS), keys)
        self._writes.batch_delete(list(chain.from_iterable(found)))

    def _veil(self, thread_id: str) -> _Item | None:
        return self._checkpoints.get(_checkpoints_key(thread_id, _VEIL))

    def _draw_veils(self, thread_id: str, reason: str, source: str) -> None:
        """Hide what a thread has, or gets from *source*, but nothing that a later run adds."""
        newest = next(self._newest_first(source, "", limit=1), None)
        through = max(str(uuid6()), newest["checkpoint_id"]["S"] if newest else "")
        self._checkpoints.batch_put(
            {
                **_checkpoints_key(thread_id, _range_prefix(checkpoint_ns) + _VEIL),
                "checkpoint_ns": {"S": checkpoint_ns},
                "veil": {"S": reason},
                "through": {"S": through},
            }
            for checkpoint_ns in ("", *(found_ns for found_ns, _ in self._subgraphs(source)))
        )

    def _survey(self, thread_id: str) -> dict[_CheckpointKey, _Summary]:
        """Read all of a thread's checkpoints."""
        summaries: dict[_CheckpointKey, _Summary] = {}
        same: dict[_Ref, _Ref] = {}  # most checkpoints name what their neighbours do
        for item in self._checkpoints.items(thread_id, "", _PRUNED):
            if _kind(item) == "checkpoint":
                record = self._decode_record(item)
                refs = (*record.refs, *_body_refs(item))
                summaries[record.key] = _Summary(
                    record.parent_key,
                    record.metadata.get("run_id"),
                    self._is_live(item),
                    record.is_layout_0,
                    frozenset(record.channels),
                    record.pending_deltas,
                    frozenset(same.setdefault(ref, ref) for ref in refs),
                )
        return summaries

    def _segments_stored_by(self, thread_id: str, then: float) -> tuple[set[str], list[str]]:
        """Return what of a thread's segments may be collected, and the pruned items done with.

        Spared are segments stored since *then*, and those which lost a checkpoint since.
        """
        segments: set[str] = set()
        spared: set[str] = set()
        done: list[str] = []
        attributes = ("checkpoint_id", "stored_at", "segments")
        for item in self._checkpoints.items(
            thread_id, _PRUNED, _after(_SEGMENT), attributes=attributes
        ):
            range_key = item["checkpoint_id"]["S"]
            is_old = int(item["stored_at"]["N"]) <= then
            if not range_key.startswith(_PRUNED):
                segments |= {range_key} if is_old else set()
            elif is_old:
                done.append(range_key)
            else:
                spared.update(ref.range_key for ref in _body_refs(item))
        return segments - spared, done

    def _shrink(
        self,
        thread_id: str,
        choose: Callable[[_Summaries], set[_CheckpointKey]],
        grace_seconds: float,
    ) -> None:
        """Delete a thread's checkpoints but those that *choose* returns, and collect segments.

        Each goes before its writes: no reader sees one without them. Writes of no checkpoint, as
        a call that was cut off leaves them, go too, but not those of the grace period: their
        checkpoint may be on its way.

        A put that is under way may build on a checkpoint that this deletes, and name its segments:
        it saw that checkpoint within half a grace period. So a segment goes only if no checkpoint
        named it when this started, nor one that was deleted in the grace period before, and if it
        was not stored since. Checkpoints are read first: one that another call deletes before that
        is told of by a pruned item, and one that is put after it names what its parent did.
        """
        now = self._clock()
        then = now - grace_seconds
        summaries = self._survey(thread_id)
        kept = choose({key: each for key, each in summaries.items() if each.is_live})
        doomed = sorted(summaries.keys() - kept, reverse=True)
        segments, done = self._segments_stored_by(thread_id, then)
        named = {ref for key in kept for ref in summaries[key].refs}
        self._knowledge.forget(thread_id)
        if grace_seconds:
            lost = {ref for key in doomed for ref in summaries[key].refs} - named
            self._checkpoints.batch_put(
                _encode_pruned(thread_id, batch, now)
                for batch in _batches(sorted(lost), _MAX_PRUNED_REFS)
            )
            named |= lost
        # Those of layout 0 only their checkpoint tells of: they go first.
        self._delete_layout_0_writes(key for key in doomed if summaries[key].is_layout_0)
        self._delete(thread_id, (key.range_key for key in doomed))
        named |= self._delete_writes(
            thread_id,
            kept={key.writes_prefix for key in kept},
            doomed={key.writes_prefix for key in doomed},
            then=then,
        )
        self._collect(thread_id, segments - {ref.range_key for ref in named}, then)
        self._delete(thread_id, done)

    def _delete_writes(
        self, thread_id: str, *, kept: Collection[str], doomed: Collection[str], then: float
    ) -> set[_Ref]:
        """Delete the writes of doomed checkpoints, and those stored by *then* that have none.

        Return the segments that a thread's writes named.
        """
        refs: set[_Ref] = set()
        attributes = (*_WRITES_KEYS, "segments", "stored_at")
        for page in self._writes.query(thread_id, attributes=attributes):
            keys: list[_Item] = []
            for item in page.items:
                refs.update(_body_refs(item))
                prefix = _prefix_of_write(item["task_id_idx"]["S"])
                is_old = int(item["stored_at"]["N"]) <= then
                if prefix in doomed or (is_old and prefix not in kept):
                    keys.append({name: item[name] for name in _WRITES_KEYS})
            self._writes.batch_delete(keys)
        return refs

    def _collect(self, thread_id: str, range_keys: Iterable[str], then: float) -> None:
        """Delete segments, but none that a put has stored again since they were listed."""
        keys = [_checkpoints_key(thread_id, range_key) for range_key in range_keys]
        condition: dict[str, Any] = {
            "ConditionExpression": "stored_at <= :then",
            "ExpressionAttributeValues": {":then": {"N": str(int(then))}},
        }
        self._checkpoints.delete_all(keys, **condition)

    def _threads_of_runs(self, run_ids: Collection[str], *, use_index: bool) -> set[str]:
        """Find the threads that hold checkpoints of runs, by the table's index or by a scan.

        Whether there is an index, the query itself says at no cost. Where there is none, or it is
        still being built, or has other keys, AWS and DynamoDB Local answer ValidationException;
        moto says ResourceNotFoundException, as all three do where there is no table.
        """
        if use_index:
            try:
                return set().union(*self._workers.map(self._threads_of_run, run_ids))
            except DynamoDBSaverError:
                pass
            except ClientError as error:
                if error.response["Error"]["Code"] != "ValidationException":
                    raise
        return self._scan_for_runs(run_ids)

    def _threads_of_run(self, run_id: str) -> set[str]:
        thread_ids: set[str] = set()
        last: str | None = None
        while True:
            pages = self._checkpoints.query_index(_RUN_INDEX, run_id, last, ("thread_id",), 100)
            page = next(page for page in pages if page.items or page.is_last)
            thread_ids.update(item["thread_id"]["S"] for item in page.items)
            if page.is_last:
                return thread_ids
            # What the run holds of the thread in which the page ends is skipped.
            last = page.items[-1]["thread_id"]["S"]

    def _scan_for_runs(self, run_ids: Collection[str]) -> set[str]:

        def scan(job: tuple[Sequence[str], int]) -> set[str]:
            batch, segment = job
            values = {f":{index}": {"S": run_id} for index, run_id in enumerate(batch)}
            pages = self._checkpoints.scan(
                ("thread_id", "run_id", "type", "metadata"),
                # Layout 0 keeps the run's id in the metadata alone.
                FilterExpression=f"run_id IN ({', '.join(values)}) OR attribute_exists(metadata)",
                ExpressionAttributeValues=values,
                Segment=segment,
                TotalSegments=_SCAN_SEGMENTS,
                ConsistentRead=True,
            )
            return {
                item["thread_id"]["S"]
                for page in pages
                for item in page.items
                if "run_id" in item or self._run_id_in_metadata(item) in run_ids
            }

        batches = _batches(sorted(run_ids), _MAX_IN_OPERANDS)
        jobs = [(batch, segment) for batch in batches for segment in range(_SCAN_SEGMENTS)]
        return set().union(*self._workers.map(scan, jobs))

    def _run_id_in_metadata(self, item: _Item) -> Any:
        return self.serde.loads_typed((item["type"]["S"], item["metadata"]["B"])).get("run_id")

    def _refuse_veiled(self, source: str) -> None:
        if veil := self._veil(source):
            raise DynamoDBSaverError(
                f"source_thread_id {source!r} is under an unfinished {veil['veil']['S']}; finish "
                f"that first, by the same call"
            )

    def _copy_segments(
        self, source: str, target: str, named_by: Mapping[_Ref, _CheckpointKey]
    ) -> None:
        batches = map(dict, _batches(list(named_by.items()), _MAX_BATCH_WRITE_ITEMS))
        # So many at once are held in memory, and are one bulk call to what throttles.
        while some := list(islice(batches, _COPY_BATCHES)):
            read = self._workers.map(partial(self._read_segments, source), some)
            # Not remembered: a whole thread's would drive out those of the threads in use.
            self._store_segments(
                target, dict(chain.from_iterable(map(dict.items, read))), is_lasting=False
            )

    def _copy_page(
        self, items: Sequence[_Item], source: str, target: str, copied: set[_Ref]
    ) -> None:
        """Copy checkpoints with their segments, but those *copied* already, and their writes."""
        items = [item for item in items if self._is_live(item) and "checkpoint_ns" in item]
        if not items:
            return
        keys = [_record_key(item) for item in items]
        writes = self._write_items(keys)
        layout_0 = [key for key, item in zip(keys, items, strict=True) if _is_layout_0(item)]
        found = self._workers.map(self._layout_0_write_items, layout_0)
        for key, others in zip(layout_0, found, strict=True):
            writes[key] += others
        # A prune deletes writes after their checkpoint, a deletion behind a veil: what is still
        # there now, with no veil before it, had all its writes when they were read.
        self._refuse_veiled(source)
        range_keys = [item["checkpoint_id"]["S"] for item in items]
        still_there = {
            item["checkpoint_id"]["S"]
            for item in self._checkpoints.items(
                source, range_keys[0], range_keys[-1], attributes=("checkpoint_id",)
            )
        }
        items = [item for item in items if item["checkpoint_id"]["S"] in still_there]
        writes = {key: writes[key] for key in map(_record_key, items)}
        named_by: dict[_Ref, _CheckpointKey] = {}
        for key, item in chain(
            ((_record_key(item), item) for item in items),
            ((key, item) for key, found in writes.items() for item in found),
        ):
            refs = self._decode_record(item).refs if _is_record(item) else []
            named_by |= {ref: key for ref in (*_body_refs(item), *refs) if ref not in copied}
        self._copy_segments(source, target, named_by)
        copied.update(named_by)
        self._checkpoints.batch_put(
            _moved(item, _record_key(item), target, self._checkpoints.name) for item in items
        )
        self._writes.batch_put(
            _moved(item, key, target, self._writes.name)
            for key, found in writes.items()
            for item in found
        )

    def _stored_keys(self, thread_id: str) -> set[_CheckpointKey]:
        """Return the checkpoints that a thread has.

        Raises: DynamoDBSaverError: it is being copied to or deleted.
        """
        keys: set[_CheckpointKey] = set()
        attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "veil", "ttl")
        for item in self._checkpoints.items(thread_id, "", _PRUNED, attributes=attributes):
            if "veil" in item:
                raise DynamoDBSaverError(
                    f"Thread {thread_id!r} is under an unfinished {item['veil']['S']}; finish that "
                    f"first, by the same call"
                )
            # A subgraph's checkpoint of layout 0 has another range key.
            if "checkpoint_ns" in item and self._is_live(item):
                key = _record_key(item)
                if key.range_key == item["checkpoint_id"]["S"]:
                    keys.add(key)
        return keys

    def _encode_shown_writes(
        self, key: _CheckpointKey, writes: Iterable[PendingWrite], seal: _Sealer
    ) -> list[_Item]:
        """Encode the writes that another saver shows, so that they come back in the same order.

        It shows neither their indices nor their task_path. So the ordinary writes of a task are
        counted, and a path, which goes before all of LangGraph's, follows where the order of task
        and index alone would put a write before the one that is shown before it.
        """
        parts: dict[tuple[str, int], dict[int, tuple[str, str, bytes]]] = {}
        counts: dict[str, int] = {}
        part: dict[int, tuple[str, str, bytes]] = {}
        open_task = None
        for task_id, channel, value in writes:
            idx = WRITES_IDX_MAP.get(channel, counts.get(task_id, 0))
            if idx < 0 or task_id != open_task:
                part = parts[task_id, idx] = {}
            if idx >= 0:
                counts[task_id] = idx + 1
            open_task = task_id if idx >= 0 else None
            type_, data = self.serde.dumps_typed(value)
            part[idx] = (channel, type_, bytes(data))
        items = []
        path, before = 0, ("", min(WRITES_IDX_MAP.values()))
        for (task_id, slot), part in parts.items():
            path += (task_id, slot) < before
            before = task_id, slot
            task_path = f"{path:06}" if path else ""
            items.append(
                _encode_writes(key, task_id, task_path, slot, part, self.serde, seal, self._clock())
            )
        return items

    def _put_shown_writes(
        self,
        key: _CheckpointKey,
        writes: Iterable[PendingWrite],
        is_due: Callable[[_Item], bool] = lambda _: True,
    ) -> None:
        """Put those of another saver's writes that are due."""
        seal = _Sealer((), *self._expiry({}, key.thread_id, self._clock()))
        items = [item for item in self._encode_shown_writes(key, writes, seal) if is_due(item)]
        self._store_segments(key.thread_id, seal.fresh if items else {})
        self._writes.batch_put(items)

    def _complete_writes(
        self, key: _CheckpointKey, writes: Iterable[PendingWrite], *, replace: bool
    ) -> None:
        """Put those of another saver's writes that are missing or, if *replace*, not the same."""
        stored = {
            item["task_id_idx"]["S"]: item.get("digest")
            for item in self._write_items([key], "task_id_idx", "digest")[key]
        }

        def is_due(item: _Item) -> bool:
            range_key = item["task_id_idx"]["S"]
            return range_key not in stored or (replace and stored[range_key] != item["digest"])

        self._put_shown_writes(key, writes, is_due)


# -- Saver ----------------------------------------------------------------------------------------


def _oldest_first(
    parents: Mapping[_CheckpointKey, _CheckpointKey | None],
) -> list[_CheckpointKey]:
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


def _may_have_written(channel: str, record: _Record, child: _Record) -> bool:
    """Say whether a DeltaChannel may have been written between a checkpoint and its child.

    The child's ``updated_channels`` alone does not tell: with durability "exit" it names what the
    last superstep of many wrote, and the writes of all of them stand on the one parent. So the
    channel's count of updates must stand still too.
    """
    updated = child.checkpoint.get("updated_channels")
    before = (record.metadata.get("counters_since_delta_snapshot") or {}).get(channel, (0, 0))
    after = (child.metadata.get("counters_since_delta_snapshot") or {}).get(channel)
    return updated is None or channel in updated or after is None or after[0] != before[0]


def _thread_ids_of(source: BaseCheckpointSaver[Any]) -> Iterable[Any]:
    """Return the threads that a saver has."""
    if isinstance(source, DynamoDBSaver):
        return source.threads()
    return dict.fromkeys(
        each.config.get("configurable", {})["thread_id"] for each in source.list(None)
    )


def _shown_by(
    source: BaseCheckpointSaver[Any], thread_id: Any, key: _CheckpointKey
) -> CheckpointTuple:
    """Return a checkpoint that another saver has listed."""
    configurable = {**key._asdict(), "thread_id": thread_id}
    found = source.get_tuple({"configurable": configurable})
    if found is None:
        raise DynamoDBSaverError(
            f"The source lists checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, "
            f"namespace {key.checkpoint_ns!r}, and does not return it; where it was deleted or "
            f"expired since, call copy_from() again"
        )
    return found


def _refuse_string(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise TypeError(f"{name} must be a sequence of strings, not the string {value!r}")


class DynamoDBSaver(_Threads, BaseCheckpointSaver[Any]):
    """Keeps LangGraph checkpoints and their pending writes in two DynamoDB tables.

    No request is made here; the client is built here, so that no event loop waits for it. A saver
    may be used from many threads and event loops at once. ``close()`` ends its threads, and its
    client unless it was given; the saver is a context manager, sync and async, that closes itself.

    Args:
        checkpoints_table_name: the table of checkpoints; ``setup()`` creates it.
        writes_table_name: the table of pending writes; ``setup()`` creates it.
        client_config: what ``botocore``'s ``create_client`` takes: ``region_name``,
            ``endpoint_url``, ``aws_access_key_id``, ``aws_secret_access_key``,
            ``aws_session_token``, ``config``, ``verify``, ``use_ssl``, ``api_version``; or the
            names that langgraph-checkpoint-dynamodb 0.1.0 documents: ``region``, ``endpoint``,
            ``accessKeyId``, ``secretAccessKey``, ``sessionToken``. A ``config`` overrides our
            defaults one by one: 6 attempts in botocore's standard retry mode, 5 seconds to
            connect, 10 to read, a pool of three times *max_workers* connections. Its
            ``total_max_attempts`` also bounds how often a batch left undone is sent again.
        client: a low-level DynamoDB client of botocore or boto3, instead of *client_config*.
        serde: how values become bytes; LangGraph's ``JsonPlusSerializer`` unless given. Of plain
            values, it must keep lists, dicts, strings, integers, bytes and None.
        ttl_seconds: how long an item lives after it is written; None: for ever. The config's
            ``configurable`` may name another for a thread. DynamoDB deletes expired items within
            days; they are never returned. What a ``DeltaChannel`` is rebuilt from lives up to
            twice as long.
        consistent_read: False reads at half the price, and may miss what was just written.
        refuse_concurrent_updates: True makes put() raise ConcurrentUpdateError, and store nothing,
            where its parent is no longer the newest checkpoint of its namespace, as when a user
            sends twice. A run that was given the ``checkpoint_id`` of an older one forks from it
            all the same. All savers that write to a thread should have it. put() then writes at
            twice the price, 2 units more, and with new segments asks for the head first.
        max_workers: how many async calls, and how many requests of calls that fan out, run at
            once; each has threads of its own, started as they are needed.
        cache_bytes: how much of the values of the threads that it reads and writes the saver keeps
            in memory, so as not to read it again; 0: nothing.
        clock: returns the time in seconds since the epoch; for tests.

    Raises:
        TypeError: *client_config* has an unknown option.
        ValueError: both *client* and *client_config* are given, an option is named twice, a
            number is out of range, or *refuse_concurrent_updates* comes without consistent reads.
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
        refuse_concurrent_updates: bool = False,
        max_workers: int = 64,
        cache_bytes: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(serde=serde)
        if client is not None and client_config is not None:
            raise ValueError("client and client_config are both given; drop one")
        for name, value in (
            ("checkpoints_table_name", checkpoints_table_name),
            ("writes_table_name", writes_table_name),
        ):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be a table's name, not {value!r}")
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
        self.checkpoints_table_name = checkpoints_table_name
        self.writes_table_name = writes_table_name
        self.ttl_seconds = _ttl(ttl_seconds)
        if refuse_concurrent_updates and not consistent_read:
            raise ValueError("refuse_concurrent_updates needs consistent reads; drop one of both")
        self.consistent_read = consistent_read
        self.refuse_concurrent_updates = refuse_concurrent_updates
        self.client = client or _create_client(client_config or {}, max_workers)
        self._closes_client = client is None
        self._clock = clock
        self._workers = _Workers(max_workers)
        self._checkpoints = _Table(
            self.client, checkpoints_table_name, _CHECKPOINTS_KEYS, self._workers
        )
        self._writes = _Table(self.client, writes_table_name, _WRITES_KEYS, self._workers)
        self._callers = ThreadPoolExecutor(max_workers, "dynamodb-saver-call")
        self._knowledge = _Knowledge(cache_bytes)

    def close(self) -> None:
        """End the saver's threads and, unless it was given, its client, for clones too."""
        self._callers.shutdown()
        self._workers.close()
        if self._closes_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def setup(self, *, run_index: bool = False) -> None:
        """Create both tables with on-demand billing, and wait until they serve.

        Where ``ttl_seconds`` is set, their expiry is turned on. A second call changes nothing.

        Args:
            run_index: add the index by which ``delete_for_runs()`` finds the threads of a run, also
                to a table that is there already; wait until it serves, which on a large table
                takes as long as DynamoDB needs to read it all. Each put with a ``run_id`` then
                costs a write unit more, and so does each deletion. False: an index that is there
                stays.

        Raises:
            DynamoDBSaverError: a table or its index exists with other keys, or a table expires by
                another attribute.
        Cost: 3 requests for each table, 2 more with expiry, 1 with an index; one a second while
            a table or index is created.
        """
        self._checkpoints.create(_RUN_INDEX if run_index else None)
        self._writes.create()
        if run_index:
            self._checkpoints.create_index(_RUN_INDEX)
        if self.ttl_seconds is not None:
            for table in (self._checkpoints, self._writes):
                table.turn_expiry_on()

    def warm(self) -> None:
        """Open a connection now, so that no later call waits for the first one.

        For where a process starts with time to spare, as in AWS Lambda's initialization: the first
        connection costs some 20 ms of a whole CPU, most of them to load the certificates of all
        authorities. Where the table, the region or the permission is wrong, this says so.

        Raises:
            DynamoDBSaverError: there is no table of checkpoints.
        Cost: 1 request, half a read unit.
        """
        # No key of ours: a checkpoint's starts with another character, all others go on after it.
        self._checkpoints.get(_checkpoints_key("~", "~"), consistent=False)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* names, or the newest of its namespace, or None.

        Its pending writes come in the order of ``(task_path, task_id, idx)``. A checkpoint of a
        format before 4 gets its pending sends from its parent's writes, as in LangGraph's savers.

        Args:
            config: ``configurable`` holds ``thread_id``, and maybe ``checkpoint_ns`` (a subgraph's;
                the root's is "") and ``checkpoint_id``.

        Raises:
            ValueError: *config* names no thread, or a key that DynamoDB can't hold.
            DamagedCheckpointError: part of the checkpoint is missing or not what was stored.
        Cost: 2 requests, side by side by id, else one after the other; beside the second or after
            it, one for each 100 segments. A read unit for each 4 KB of checkpoint, of writes and,
            at half the price, of segments.
        """
        address = _address(config)
        writes = newest = None
        if address.checkpoint_id:
            key = address.key(address.checkpoint_id)
            writes = self._workers.start(self._pending, [key])
            if self.refuse_concurrent_updates:
                items = self._newest_first(*key[:2], limit=1)
                newest = self._workers.start(lambda: next(items, None))
            record = self._read_record(key)
        else:
            checkpoint_ns = address.checkpoint_ns or ""
            # Most often the newest is the one that this process stored or read last.
            if likely := self._knowledge.newest(address.thread_id, checkpoint_ns):
                writes = self._workers.start(self._pending, [likely])
            record = self._newest_record(address.thread_id, checkpoint_ns)
            if record and record.key != likely:
                writes = None
        if record is None:
            return None
        if record.is_layout_0:
            writes = self._start_pending([record])
        self._knowledge.remember(record, self._clock())
        found = self._finish(record, self._start_parts(record, {}, writes))
        if newest and (item := newest.result()) and _record_key(item) != record.key:
            # LangGraph hands this on to the puts of a run that goes on from here.
            named = {**record.key._asdict(), _FORK_OF: record.key.checkpoint_id}
            found = found._replace(config={"configurable": named})
        return found

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
            filter: what the metadata must equal, by key; the metadata hold what the run's config
                added.
            before: only checkpoints with a smaller id than this config's ``checkpoint_id``.
            limit: at most so many; 0: none.

        Raises:
            TypeError: *filter* is no dict.
            ValueError: as get_tuple().
            DamagedCheckpointError: as get_tuple(), when the checkpoint's turn comes.
        Cost: a query for each page, of 16 checkpoints or of *limit*, then four times as many; a
            query for the writes of 8 checkpoints or of *limit*, then twice as many, up to 64, in
            each namespace, and with a *filter* for those of each checkpoint returned; each segment
            once where neighbours share it. One query more for each namespace, and the checkpoints
            of subgraphs beyond the first 1,024 are read twice. None: a scan.
        """
        if filter is not None and not isinstance(filter, dict):
            # Not its value: metadata may be anybody's secret.
            raise TypeError(f"filter must be a dict, not a {type(filter).__name__}")
        if limit is not None and not isinstance(limit, int):
            raise TypeError(f"limit must be an integer, not {limit!r}")
        address = _address(config) if config else None
        if address and address.checkpoint_id:
            address.key(address.checkpoint_id)
        before_id = None
        if before and (before_id := (before.get("configurable") or {}).get("checkpoint_id")):
            before_id = _checkpoint_key("", "", before_id).checkpoint_id
        records = self._list_records(address, filter or {}, before_id, limit)
        if limit is not None:
            limit = max(limit, 0)
            records = islice(records, limit)
        # What is between those that a filter takes may be much.
        return self._finish_all(records, limit or _MIN_LIST_AHEAD, are_neighbours=not filter)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whole or, if this raises, not at all, and return its config.

        What the parent's record holds already, and is the same, is not stored again; nor what the
        checkpoints hold which a subgraph's put is part of. The metadata are what
        ``get_checkpoint_metadata`` makes of *metadata* and *config*.

        Args:
            config: ``configurable`` holds ``thread_id``, ``checkpoint_ns``, the parent's
                ``checkpoint_id``, and maybe ``checkpoint_map`` (the outer graphs' checkpoint ids
                by namespace) and ``ttl_seconds`` (None: for ever).
            checkpoint: a value may have any size.
            metadata: any size too.
            new_versions: the channels whose values are new since the parent.

        Raises:
            ValueError: as get_tuple().
            ConcurrentUpdateError: the saver has ``refuse_concurrent_updates``, and the parent is
                no longer the newest.
        Cost: 1 request; before it, one for every 25 new segments, side by side. A write unit for
            each KB. A get of the parent first, where this process neither stored nor read it in
            the last half hour and *checkpoint* leaves out a value that it may have. Where items
            expire, all that a ``DeltaChannel`` is rebuilt from is read and stored again once in
            ``ttl_seconds``.
        """
        address = _address(config)
        key = address.key(checkpoint["id"])
        now = self._clock()
        merged = dict(get_checkpoint_metadata(config, metadata))
        is_delta = bool(merged.get("counters_since_delta_snapshot"))
        values = checkpoint["channel_values"].keys()
        left_out = checkpoint["channel_versions"].keys() - values - new_versions.keys()
        parent = self._parent(address, now, needed=bool(left_out) or is_delta)
        stored = self._stored_refs(config, parent, key.thread_id, now)
        expires_at, segments_expire_at = self._expiry(config, key.thread_id, now)
        if is_delta:
            # What other checkpoints are rebuilt from lives for one to two lifetimes, so that
            # it has to be renewed once in a lifetime.
            expires_at = segments_expire_at
        seal = _Sealer(stored, expires_at, segments_expire_at)
        record = _Record(
            key,
            address.checkpoint_id,
            {name: value for name, value in checkpoint.items() if name != "channel_values"},
            merged,
            _encode_channels(
                checkpoint,
                new_versions,
                parent,
                partial(self._knowledge.recall_segments, key.thread_id),
                partial(self._load_segments, key),
                self.serde,
                seal,
            ),
            expires_at,
        )
        pending = record.pending_deltas
        if pending and not _lasts(parent.expires_at, expires_at):
            self._renew(address, pending, expires_at)
        item = _encode_record(record, self.serde, seal)
        if self.refuse_concurrent_updates:
            forked = config.get("configurable", {}).get(_FORK_OF, "")
            is_fork = forked == address.checkpoint_id
            self._put_as_head(record, item, seal.fresh, is_fork=is_fork)
        else:
            self._store_segments(key.thread_id, seal.fresh)
            self._checkpoints.put(item)
        self._knowledge.remember(record, now)
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
            writes: pairs of a channel and a value of any size.
            task_id: the task; at most 1,000 bytes.
            task_path: where the task stands in the order of its superstep.

        Raises:
            ValueError: as get_tuple(), or *task_id* is empty or too long.
        Cost: 1 request, and one for each special write beside others; one more for each earlier
            call of this task with fewer writes; before them, one for every 25 segments of writes
            too large for an item. A write unit for each KB.
        """
        address = _address(config)
        key = address.key(address.checkpoint_id or "")
        _text("task_id", task_id, max_bytes=_MAX_TASK_ID_BYTES)
        _text("task_path", task_path, max_bytes=_MAX_BLOB_BYTES)
        if not task_id:
            raise ValueError("task_id is empty; give it a value")
        ordinary: dict[int, tuple[str, str, bytes]] = {}
        special: dict[int, tuple[str, str, bytes]] = {}
        for position, (channel, value) in enumerate(writes):
            idx = WRITES_IDX_MAP.get(channel, position)
            type_, data = self.serde.dumps_typed(value)
            (ordinary if idx >= 0 else special)[idx] = (channel, type_, bytes(data))
        now = self._clock()
        # Longer than the checkpoint, as a DeltaChannel may be rebuilt from them.
        _, expires_at = self._expiry(config, key.thread_id, now)

        def put(slot: int, part: Mapping[int, tuple[str, str, bytes]]) -> _Item | None:
            seal = _Sealer((), expires_at, expires_at)
            item = _encode_writes(key, task_id, task_path, slot, part, self.serde, seal, now)
            self._store_segments(key.thread_id, seal.fresh)
            unless_there = "attribute_not_exists(task_id_idx)"
            return self._writes.put(item, unless_there if slot >= 0 else None)

        slot = 0
        while ordinary and (existing := put(slot, ordinary)):
            # Rule 3: whoever comes to this slot sees the same indices in it and in all below, and
            # goes on to the same next one, so that an index has one first value.
            written = {int(idx) for idx in existing["idx"]["NS"]}
            ordinary = {idx: write for idx, write in ordinary.items() if idx not in written}
            slot = max(slot, *written) + 1
        for idx, write in special.items():
            put(idx, {idx: write})

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread: its checkpoints, its pending writes, and all that they name.

        A call that is cut off leaves the thread hidden, and can be made again.

        Raises:
            ValueError: *thread_id* can be no key.
        Cost: a query for each MB of checkpoints, segments and writes; one more for each namespace;
            for every 25 items deleted a request, many side by side. A read unit for each 4 KB, a
            write unit for each KB of each item.
        """
        thread_id = _thread_id(thread_id)
        self._knowledge.forget(thread_id)
        self._draw_veils(thread_id, "deletion", thread_id)
        for page in self._writes.query(thread_id, attributes=_WRITES_KEYS):
            self._writes.batch_delete(page.items)
        attributes = (*_CHECKPOINTS_KEYS, "checkpoint_ns", "digest", "through")
        for page in self._checkpoints.query(thread_id, attributes=attributes):
            self._delete_layout_0_writes(map(_record_key, filter(_is_layout_0, page.items)))
            veils: list[str] = []
            others: list[str] = []
            for item in page.items:
                (veils if _kind(item) == "veil" else others).append(item["checkpoint_id"]["S"])
            self._delete(thread_id, others)
            self._delete(thread_id, veils)

    def delete_for_runs(
        self, run_ids: Sequence[str], *, force: bool = False, use_index: bool = True
    ) -> None:
        """Delete the checkpoints of runs, in all threads, with their pending writes.

        Args:
            run_ids: what the metadata hold as ``run_id``; LangGraph takes it from the ``metadata``
                or ``configurable`` of the run's config, and not from the config's own ``run_id``.
            force: delete also what a ``DeltaChannel`` of another run's checkpoint is rebuilt from.
            use_index: find the threads by the index of ``setup(run_index=True)``, where there is
                one. An index is eventually consistent, so a thread to which the run has put its
                first checkpoint just now may be missed; and a thread of which all that the run
                has stored was stored by langgraph-checkpoint-dynamodb 0.1.0 is not in it. False:
                scan the table, which misses neither.

        Raises:
            TypeError: *run_ids* is a string, or holds something else.
            DynamoDBSaverError: another run's checkpoint needs one of these, and *force* is False;
                the thread that the error names is as it was.
        Cost: a query of the index for each run, side by side, of half a read unit for 4 KB, some
            20 checkpoints; without an index these fail, and the checkpoints table is scanned, in
            four parts side by side. For each thread found, what prune() costs.
        """
        _refuse_string("run_ids", run_ids)
        doomed = frozenset(run_ids)
        for run_id in doomed:
            if not isinstance(run_id, str):
                raise TypeError(f"run_ids must hold strings, not {run_id!r}")
        if not doomed:
            return

        def others(summaries: _Summaries) -> set[_CheckpointKey]:
            kept = {key for key, summary in summaries.items() if summary.run_id not in doomed}
            needed = _delta_ancestors(summaries, kept) - kept
            if needed and not force:
                key = min(needed)
                raise DynamoDBSaverError(
                    f"Checkpoint {key.checkpoint_id!r} of thread {key.thread_id!r}, namespace "
                    f"{key.checkpoint_ns!r}, is of a run to be deleted, but a DeltaChannel of "
                    f"another run's checkpoint is rebuilt from it; keep the run, or pass "
                    f"force=True to delete it all the same"
                )
            return kept

        for thread_id in sorted(self._threads_of_runs(doomed, use_index=use_index)):
            self._shrink(thread_id, others, _GRACE_SECONDS)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread: all its namespaces, checkpoints, pending writes and segments.

        The target shows its checkpoints when all are there. A call that is cut off can be made
        again. A source without checkpoints is no error.

        Raises:
            ValueError: the target is not empty, or is the source.
            DynamoDBSaverError: the source itself is being copied to or deleted.
        Cost: 4 requests for each MB of the source; 2 for every 25 segments, and one for every 25
            other items, side by side; 8 more. Read units for twice the source's size, write units
            as when it was first written.
        """
        source = _thread_id(source_thread_id, "source_thread_id")
        target = _thread_id(target_thread_id, "target_thread_id")
        if source == target:
            raise ValueError(f"source_thread_id and target_thread_id are both {source!r}")
        reason = f"copy of {source}"
        if self._has_items(target):
            veil = self._veil(target)
            if veil is None or veil["veil"]["S"] != reason:
                raise ValueError(
                    f"target_thread_id {target!r} has items already; delete_thread() it, or copy "
                    f"to another thread"
                )
        self._refuse_veiled(source)
        self._draw_veils(target, reason, source)
        copied: set[_Ref] = set()
        for page in self._checkpoints.query(source, "", _PRUNED):
            self._copy_page(page.items, source, target, copied)
        prefixes = ["", *(_range_prefix(found_ns) for found_ns, _ in self._subgraphs(target))]
        self._delete(target, (prefix + _VEIL for prefix in prefixes))

    def copy_from(
        self,
        source: BaseCheckpointSaver[Any],
        thread_ids: Iterable[Any] | None = None,
        *,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> None:
        """Copy threads from another saver: all namespaces, oldest checkpoints first, with writes.

        What is shown here then is what *source* shows. Of a thread that is here already, what
        comes after its newest checkpoint is copied, so a call that is cut off can be made again,
        and what was pruned here since stays gone. A thread shows what is there of it while it is
        copied: run no graph on it, here or there, until this is done. ``ttl_seconds`` counts from
        now on.

        Args:
            source: any saver, the same one or another; its sync methods are called, from this
                thread, or from one of the saver's own for ``acopy_from()``.
            thread_ids: the threads, as *source* knows them; None: all that it lists. A saver that
                can't list all threads raises its own error; langgraph-checkpoint-aws is one.
            progress: called with a thread's id, how many of its checkpoints are here, and how many
                *source* has: once before it is copied, and after each checkpoint. What it raises
                ends the call.

        Raises:
            TypeError: *source* is no saver, or *thread_ids* is a string.
            ValueError: an id can be no key.
            DynamoDBSaverError: a thread went on here and in *source*; it is being copied to or
                deleted; *source* does not return what it lists.
        Cost: of *source*, a list of each thread, then each checkpoint once; for None, a list of
            all threads before. Here, a query for each MB of a thread that is here already; for each
            checkpoint what put() costs, and a request for every 25 tasks that wrote. Write units
            as when a graph had written it. One checkpoint is in memory at a time.
        """
        if not isinstance(source, BaseCheckpointSaver):
            raise TypeError(f"source must be a checkpoint saver, not a {type(source).__name__}")
        _refuse_string("thread_ids", thread_ids)
        for thread_id in _thread_ids_of(source) if thread_ids is None else thread_ids:
            self._copy_thread_from(source, thread_id, progress or (lambda *_: None))

    def _copy_thread_from(
        self,
        source: BaseCheckpointSaver[Any],
        source_id: Any,
        progress: Callable[[str, int, int], object],
    ) -> None:
        thread_id = _thread_id(source_id)
        parents: dict[_CheckpointKey, _CheckpointKey | None] = {}
        for shown in source.list({"configurable": {"thread_id": source_id}}):
            address = _address(shown.config)
            parent_id = shown.parent_config and _address(shown.parent_config).checkpoint_id
            key = address.key(address.checkpoint_id)
            parents[key] = address.key(parent_id) if parent_id else None
        keys = _oldest_first(parents)
        stored = self._stored_keys(thread_id)
        # They were put in this order: all before the last that is here have their writes.
        done = max((number for number, key in enumerate(keys, 1) if key in stored), default=0)
        last_id = keys[done - 1].checkpoint_id if done else ""
        newer = [key.checkpoint_id for key in stored - parents.keys() if key[2] > last_id]
        if newer and done < len(keys):
            raise DynamoDBSaverError(
                f"Thread {thread_id!r} has gone on here, with checkpoint {min(newer)!r}, and in "
                f"the source, with {keys[done].checkpoint_id!r}; delete_thread() one of them, or "
                f"leave it out of thread_ids"
            )
        progress(thread_id, done, len(keys))
        if done:
            writes = _shown_by(source, source_id, keys[done - 1]).pending_writes or ()
            # Once all is here, a graph may have gone on from it, and its writes stay.
            self._complete_writes(keys[done - 1], writes, replace=done < len(keys))
        for key in keys[done:]:
            self._copy_checkpoint(source, source_id, key, parents[key], stored)
            stored.add(key)
            done += 1
            progress(thread_id, done, len(keys))

    def _copy_checkpoint(
        self,
        source: BaseCheckpointSaver[Any],
        source_id: Any,
        key: _CheckpointKey,
        parent_key: _CheckpointKey | None,
        stored: Collection[_CheckpointKey],
    ) -> None:
        shown = _shown_by(source, source_id, key)
        checkpoint, versions = shown.checkpoint.copy(), shown.checkpoint["channel_versions"]
        if parent_key is not None and parent_key in stored:
            now = self._clock()
            known = self._knowledge.recall(parent_key, now)
            if known is None and (record := self._read_record(parent_key)):
                self._knowledge.remember(record, now)
            if checkpoint["v"] < _FIRST_V_WITH_TASKS and TASKS not in versions:
                # A source that takes no sends from the parent's writes shows none: nor shall we.
                writes = _shown_by(source, source_id, parent_key).pending_writes or ()
                if any(channel == TASKS for _, channel, _ in writes):
                    versions = {**versions, TASKS: max(versions.values(), default=1)}
                    checkpoint["channel_versions"] = versions
        # Nothing is taken from the parent for its version's sake: of two checkpoints with the same
        # version of a channel, a source may show another value, or none, as of a DeltaChannel
        # between snapshots. What is the same has segments that the parent names.
        parent_id = parent_key and parent_key.checkpoint_id
        configurable = {
            **key._asdict(),
            "checkpoint_id": parent_id,
            "checkpoint_map": shown.metadata.get("parents"),
            _FORK_OF: parent_id,  # it may have had children before
        }
        self.put({"configurable": configurable}, checkpoint, shown.metadata, versions)
        self._put_shown_writes(key, shown.pending_writes or ())

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Delete the checkpoints of threads but the newest of each namespace, or all.

        With the newest stay its pending writes, and the ancestors that its ``DeltaChannel``s are
        rebuilt from. Segments that nothing names any more go in a later call, when the grace
        period is over.

        Args:
            thread_ids: threads that are not there are no error.
            strategy: ``"keep_latest"``, or ``"delete"``, which is delete_thread() for each.
            grace_seconds: how long a segment without a name is spared, for the sake of a put that
                builds on a checkpoint that is just being deleted; less than an hour is for threads
                that nobody writes to: 0 collects at once.

        Raises:
            ValueError: another *strategy*, or *grace_seconds* is no such number.
        Cost: a query for each MB of the thread's checkpoints, segments and writes; a request for
            every 25 items deleted, one for each segment, many side by side.
        """
        _refuse_string("thread_ids", thread_ids)
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
        if not isinstance(grace_seconds, (int, float)) or not 0 <= grace_seconds < float("inf"):
            raise ValueError(
                f"grace_seconds must be a number of seconds of at least 0, not {grace_seconds!r}"
            )
        for thread_id in [_thread_id(each) for each in thread_ids]:
            if strategy == "delete":
                self.delete_thread(thread_id)
            else:
                self._shrink(thread_id, _newest, grace_seconds)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the ancestors of the checkpoint that *config* names hold of each channel.

        ``seed`` is the newest value stored in one, if any; ``writes`` are those made since, oldest
        first.

        Raises:
            DamagedCheckpointError: an ancestor is missing before a value is found. It may have
                expired, or been pruned or deleted with its run.
        Cost: a query for each page of the chain, of 16 checkpoints, then four times as many; side
            by side, one for the writes of every 64 ancestors whose children may have updated one of
            the channels.
        """
        histories: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
        wanted = set(histories)
        address = _address(config)
        if address.checkpoint_id:
            address.key(address.checkpoint_id)
        steps: list[tuple[_Record, set[str]]] = []
        for child, record in pairwise(self._lineage(address) if wanted else ()):
            written = {name for name in wanted if _may_have_written(name, record, child)}
            if written:
                steps.append((record, written))
            for name in wanted & record.channels.keys():
                channel = record.channels[name]
                segments = self._load_segments(record.key, channel.refs) if channel.refs else {}
                histories[name]["seed"] = _decode_channel(channel, segments, self.serde)
                wanted.remove(name)
            if not wanted:
                break
        batches = _batches([record for record, _ in steps], _MAX_LIST_AHEAD)
        futures = [self._start_pending(batch) for batch in batches]
        items = {key: found for future in futures for key, found in future.result().items()}
        for record, written in reversed(steps):
            for write in self._in_order(record.key, items[record.key]):
                if write.channel in written:
                    histories[write.channel]["writes"].append(self._loaded(write))
        return histories

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

    # The async methods run the ones above in threads of the saver's own, so that 64 runs at once
    # are not held to the event loop's default executor.

    async def _run(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        call = copy_context().run
        return await asyncio.wrap_future(self._callers.submit(call, method, *args, **kwargs))

    async def asetup(self, *, run_index: bool = False) -> None:
        """Async setup()."""
        await self._run(self.setup, run_index=run_index)

    async def awarm(self) -> None:
        """Async warm()."""
        await self._run(self.warm)

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
    ) -> None:
        """Async copy_from()."""
        await self._run(self.copy_from, source, thread_ids, progress=progress)

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


# -- Command line ---------------------------------------------------------------------------------
# ``python -m langgraph_checkpoint_dynamodb``. What it alone needs is imported when it runs.

_HINTS: Final = {
    "NoRegionError": "pass --region or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "set them as for the AWS CLI",
    "NotImplementedError": "name with --serde the serializer that the saver has",
}
_ORPHANS: Final = {
    "segment": "segment that nothing intact names",
    "veil": "veil of an unfinished ",
    "write": "write whose checkpoint is missing",
}


class _Line(NamedTuple):
    """What tells whether a checkpoint's DeltaChannels can be rebuilt."""

    parent_key: _CheckpointKey | None
    stored: frozenset[str]
    pending_deltas: frozenset[str]


class _Operator(DynamoDBSaver):
    """A saver with what its operator asks about a thread."""

    def holds(self, thread_id: str) -> bool:
        """Say whether the table of checkpoints has anything of a thread."""
        return self._has_items(_thread_id(thread_id))

    def expect(self, thread_id: str) -> None:
        """Raise DynamoDBSaverError unless the table of checkpoints has something of a thread."""
        if not self.holds(thread_id):
            table = self.checkpoints_table_name
            raise DynamoDBSaverError(f"Table {table!r} has nothing of thread {thread_id!r}")

    def history(self, thread_id: str, checkpoint_ns: str | None) -> Iterator[dict[str, Any]]:
        """Read a thread's checkpoints in the order of list(), but no writes, and no state."""
        for item in self._merged(_thread_id(thread_id), checkpoint_ns, 16, None, None):
            record = self._decode_record(item)
            yield {
                **record.key._asdict(),
                "parent_checkpoint_id": record.parent_id,
                "step": record.metadata.get("step"),
                "source": record.metadata.get("source"),
                "ts": record.checkpoint["ts"],
                "next": sorted(set(self._next_nodes(record))),
                "bytes": _item_bytes(item),
                "segments": len(record.refs) + len(_body_refs(item)),
            }

    def _next_nodes(self, record: _Record) -> Iterator[str]:
        """Return the nodes that come next, as far as a StateGraph's channels between them tell."""
        for name, channel in record.channels.items():
            waited_for, _, node = name.rpartition(":")
            if name == "__start__":
                yield name
            elif name == TASKS or name.startswith(("branch:to:", "join:")):
                segments = self._load_segments(record.key, channel.refs)
                value = _decode_channel(channel, segments, self.serde)
                if name == TASKS:
                    yield from (send.node for send in value)
                    continue
                # A deferred node's channel holds beside it whether all other nodes are done.
                value, is_open = value if isinstance(value, (list, tuple)) else (value, True)
                # "join:a+b:c" waits for a and b; a name may hold "+", so lengths are compared.
                if name.startswith("join:"):
                    is_open = is_open and len("join:" + "+".join(value)) == len(waited_for)
                if is_open:
                    yield node

    def _everything(self, thread_id: str) -> Iterator[tuple[str, _CheckpointKey, _Item]]:
        """Read all that a thread has: each item with its kind and, of one, its checkpoint's key.

        Segments come last. What names one was stored after it and is read before it: none that is
        named can be missed, though the thread is written to meanwhile.
        """
        no_key = _CheckpointKey(thread_id, "", "")
        by_prefix: dict[str, _CheckpointKey] = {}
        for item in self._checkpoints.items(thread_id, "", _SEGMENT):
            kind, key = _kind(item), no_key
            if kind == "checkpoint":
                key = _record_key(item)
                by_prefix[key.writes_prefix] = key
            yield kind, key, item
            if _is_layout_0(item):
                yield from (("write", key, write) for write in self._layout_0_write_items(key))
        for item in self._writes.items(thread_id):
            prefix = _prefix_of_write(item["task_id_idx"]["S"])
            orphan = no_key._replace(checkpoint_id=prefix.removesuffix(_SEPARATOR))
            yield "write", by_prefix.get(prefix, orphan), item
        for item in self._checkpoints.items(thread_id, _SEGMENT, "\U0010ffff"):
            yield _kind(item), no_key, item

    def _named(
        self, key: _CheckpointKey, item: _Item, record: _Record | None
    ) -> dict[str, tuple[_Ref, _Place]]:
        """Return the segments that a checkpoint, with its *record*, or a write names.

        Raises: DamagedCheckpointError: the write's bytes are not true.
        """
        refs, place = _body_refs(item), (key, self.writes_table_name)
        if record:
            refs, place = [*refs, *record.refs], (key, self.checkpoints_table_name)
        elif "channel" not in item:  # layout 0 has no digest
            _verify(item, place)
        return {ref.range_key: (ref, place) for ref in refs}

    def stats(self, thread_id: str) -> dict[str, Any]:
        """Measure what a thread has stored, and count how often its segments are named."""
        kinds: dict[str, Counter[str]] = {}
        named: Counter[str] = Counter()
        unshared_bytes = 0
        for kind, key, item in self._everything(thread_id):
            size = _item_bytes(item)
            amounts = {"items": 1, "bytes": size, "write_units": -(-size // 1024)}
            kinds.setdefault(kind, Counter()).update(amounts)
            if kind in ("checkpoint", "write"):
                record = self._decode_record(item) if kind == "checkpoint" else None
                named.update(list(self._named(key, item, record)))
            elif kind == "segment":
                unshared_bytes += size * named[item["checkpoint_id"]["S"]]
        total = sum(kinds.values(), Counter[str]())
        steps = kinds["checkpoint"]["items"] if "checkpoint" in kinds else 1
        return {
            "thread_id": thread_id,
            "kinds": kinds,
            "total": total,
            "segments_named": named.total(),
            "unshared_segment_bytes": unshared_bytes,
            "write_units_per_checkpoint": round(total["write_units"] / steps, 2),
            "bytes_per_checkpoint": round(total["bytes"] / steps),
        }

    def _cut_chains(
        self, lines: Mapping[_CheckpointKey, _Line]
    ) -> Iterator[DamagedCheckpointError]:
        """Return an error for each checkpoint with a DeltaChannel that can't be rebuilt."""
        delta_channels = {name for line in lines.values() for name in line.pending_deltas}
        lost: dict[_CheckpointKey | None, set[str]] = {None: set()}
        for key in _oldest_first({key: line.parent_key for key, line in lines.items()}):
            parent_key, stored, pending_deltas = lines[key]
            lost[key] = lost.get(parent_key, delta_channels) - stored
            if names := sorted(lost[key] & pending_deltas):
                what = f"An ancestor from which DeltaChannel {names[0]!r} is rebuilt is missing"
                yield DamagedCheckpointError(what, key, self.checkpoints_table_name)

    def verify(self, thread_id: str) -> dict[str, Any]:
        """Check all that a thread has stored, and find what nothing needs.

        Expired items count as gone.
        """
        lines: dict[_CheckpointKey, _Line] = {}
        counts: Counter[str] = Counter()
        damaged: list[str] = []
        orphans: dict[str, str] = {}
        named: dict[str, tuple[_Ref, _Place]] = {}
        keys: set[_CheckpointKey] = set()
        for kind, key, item in self._everything(thread_id):
            if kind == "checkpoint":
                keys.add(key)
            if not self._is_live(item):
                counts["expired"] += 1
                continue
            counts[kind] += 1
            name = item["task_id_idx" if kind == "write" else "checkpoint_id"]["S"]
            try:
                if kind == "checkpoint":
                    record = self._decode_record(item)
                    stored = frozenset(record.channels)
                    lines[key] = _Line(record.parent_key, stored, record.pending_deltas)
                    named.update(self._named(key, item, record))
                elif kind == "write":
                    named.update(self._named(key, item, None))
                elif name in named:
                    _decode_segment(item, *named.pop(name))
                elif kind in ("segment", "veil"):
                    orphans[name] = _ORPHANS[kind] + item.get("veil", {}).get("S", "")
            except DamagedCheckpointError as error:
                damaged.append(str(error))
            if kind == "write" and key not in keys:
                orphans[name] = _ORPHANS[kind]
        damaged += [
            str(DamagedCheckpointError(f"Segment {name!r} is missing", *place))
            for name, (_, place) in named.items()
        ]
        damaged += map(str, self._cut_chains(lines))
        return {"thread_id": thread_id, "items": counts, "damaged": damaged, "orphans": orphans}


def _shown(text: str) -> str:
    """Return a text that neither ends a line nor moves a terminal's cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _line(cells: Iterable[Any], widths: Iterable[str]) -> str:
    padded = (f"{_shown(str(cell)):{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _print(args: argparse.Namespace, answer: Mapping[str, Any], *lines: str) -> None:
    """Print an answer: as one line of JSON, or as *lines* for people."""
    import json  # noqa: PLC0415

    for line in [json.dumps(answer)] if args.json else lines:
        sys.stdout.write(f"{line}\n")


@contextmanager
def _progress(saver: DynamoDBSaver, args: argparse.Namespace) -> Iterator[None]:
    """Count on stderr, where that is a terminal, a command's requests."""
    requests = count(1)

    def show(**_: Any) -> None:
        if (number := next(requests)) % 10 == 0:
            sys.stderr.write(f"\r{args.command}: {number:,} requests")
            sys.stderr.flush()

    if sys.stderr.isatty():
        saver.client.meta.events.register("after-call.dynamodb", show)
    try:
        yield
    finally:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{args.command}: {next(requests) - 1:,} requests\n")


def _is_agreed(saver: DynamoDBSaver, args: argparse.Namespace, what: str) -> bool:
    if args.yes:
        return True
    tables = f"{saver.checkpoints_table_name!r} and {saver.writes_table_name!r}"
    sys.stderr.write(f"Delete {what} in {tables} at {saver.client.meta.endpoint_url}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _run_setup(saver: _Operator, args: argparse.Namespace) -> int:
    """Create the two tables where they are missing."""
    saver.setup(run_index=args.run_index)
    tables = [saver.checkpoints_table_name, saver.writes_table_name]
    _print(args, {"tables": tables}, "tables {!r} and {!r} are there".format(*tables))
    return 0


def _run_threads(saver: _Operator, args: argparse.Namespace) -> int:
    """Print the ids of all threads, in no order."""
    for thread_id in saver.threads():
        _print(args, {"thread_id": thread_id}, _shown(thread_id))
    return 0


def _run_show(saver: _Operator, args: argparse.Namespace) -> int:
    """Print a thread's checkpoints, newest first."""
    saver.expect(args.thread)
    widths = ("<36", ">5", "<6", "<19", ">7", ">8", "<20", "")
    names = ("checkpoint_id", "step", "source", "ts", "bytes", "segments", "next", "checkpoint_ns")
    if not args.json:
        _print(args, {}, _line(names, widths))
    for row in islice(saver.history(args.thread, args.namespace), args.limit):
        shown = {**row, "ts": row["ts"][:19], "next": ",".join(row["next"])}
        _print(args, row, _line((shown[name] for name in names), widths))
    return 0


def _run_stats(saver: _Operator, args: argparse.Namespace) -> int:
    """Measure what a thread has stored."""
    saver.expect(args.thread)
    with _progress(saver, args):
        found = saver.stats(args.thread)
    names, widths = ("items", "bytes", "write_units"), ("<10", ">9", ">14", ">11")
    rows = {**found["kinds"], "total": found["total"]}
    _print(
        args,
        found,
        _line(("kind", *names), widths),
        *(_line((kind, *(f"{row[n]:,}" for n in names)), widths) for kind, row in rows.items()),
        "segments are named {segments_named:,} times, and would have {unshared_segment_bytes:,} "
        "bytes unshared".format(**found),
        "a checkpoint with its writes and segments takes {write_units_per_checkpoint:,} write "
        "units and {bytes_per_checkpoint:,} bytes".format(**found),
    )
    return 0


def _run_verify(saver: _Operator, args: argparse.Namespace) -> int:
    """Check all that threads have stored, and list what nothing needs."""
    code = 0
    for thread_id in args.threads:
        saver.expect(thread_id)
        with _progress(saver, args):
            found = saver.verify(thread_id)
        verdict, code = ("DAMAGED", 1) if found["damaged"] else ("whole", code)
        counts = ", ".join(f"{number:,} {kind}" for kind, number in found["items"].items())
        _print(
            args,
            found,
            f"thread {thread_id!r} is {verdict}: {counts}",
            *(f"damaged: {_shown(what)}" for what in found["damaged"]),
            *(_shown(f"orphan: {name}: {what}") for name, what in found["orphans"].items()),
        )
    return code


def _run_copy(saver: _Operator, args: argparse.Namespace) -> int:
    """Copy a thread to one that is not there."""
    saver.expect(args.source)
    with _progress(saver, args):
        saver.copy_thread(args.source, args.target)
    answer = {"source_thread_id": args.source, "target_thread_id": args.target}
    _print(args, answer, f"thread {args.target!r} is a copy of {args.source!r}")
    return 0


def _remove(
    saver: _Operator,
    args: argparse.Namespace,
    what: str,
    done: str,
    remove: Callable[[str], None],
) -> int:
    """Call *remove* for each thread that is there, if deleting *what* of it is agreed to."""
    for thread_id in args.threads:
        if found := saver.holds(thread_id):
            if not _is_agreed(saver, args, what.format(repr(thread_id))):
                return 1
            with _progress(saver, args):
                remove(thread_id)
        verdict = done if found else "not there"
        _print(args, {"thread_id": thread_id, done: found}, f"thread {thread_id!r} is {verdict}")
    return 0


def _run_delete(saver: _Operator, args: argparse.Namespace) -> int:
    """Delete threads."""
    return _remove(saver, args, "thread {}", "deleted", saver.delete_thread)


def _run_prune(saver: _Operator, args: argparse.Namespace) -> int:
    """Delete the checkpoints of threads but the newest of each namespace, or all."""
    kept = "" if args.strategy == "delete" else " but the newest of each namespace"
    options = {"strategy": args.strategy, "grace_seconds": args.grace_seconds}
    what = "all checkpoints of thread {}" + kept
    return _remove(saver, args, what, "pruned", lambda each: saver.prune([each], **options))


def _whole_number(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415
    import os  # noqa: PLC0415

    common = argparse.ArgumentParser(add_help=False)
    for name in ("checkpoints", "writes"):
        variable = f"{name.upper()}_TABLE"
        common.add_argument(
            f"--{name}-table",
            metavar="NAME",
            default=os.environ.get(variable, name),
            help=f"the table of {name}; default: ${variable}, else {name}",
        )
    common.add_argument("--region", help="default: as for the AWS CLI; so are the credentials")
    common.add_argument("--endpoint-url", metavar="URL", help="of DynamoDB Local, say")
    common.add_argument(
        "--serde",
        metavar="MODULE:NAME",
        help="the saver's serializer, or what returns it when called; default: LangGraph's own",
    )
    common.add_argument("--json", action="store_true", help="print each answer as a line of JSON")
    parser = argparse.ArgumentParser(
        prog="python -m langgraph_checkpoint_dynamodb",
        description="Looks after LangGraph threads in DynamoDB.",
        epilog="Exit code: 0 all is well; 1 something is damaged, not there or failed, or the "
        "answer was no; 2 the command line is wrong; 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    added: dict[str, argparse.ArgumentParser] = {}
    for run, operands in (
        (_run_setup, ""),
        (_run_threads, ""),
        (_run_show, "THREAD"),
        (_run_stats, "THREAD"),
        (_run_verify, "THREAD ..."),
        (_run_copy, "SOURCE TARGET"),
        (_run_delete, "THREAD ..."),
        (_run_prune, "THREAD ..."),
    ):
        name = run.__name__.removeprefix("_run_")
        usage = f"{parser.prog} {name} [OPTION ...] {operands}"
        added[name] = commands.add_parser(
            name, parents=[common], usage=usage, help=run.__doc__, description=run.__doc__
        )
        added[name].set_defaults(run=run, command=name)
        if operands.endswith("..."):
            added[name].add_argument("threads", metavar="THREAD", nargs="+")
        else:
            for operand in operands.split():
                added[name].add_argument(operand.lower(), metavar=operand)
    number: dict[str, Any] = {"type": _whole_number, "metavar": "N"}
    grace: dict[str, Any] = {**number, "default": _GRACE_SECONDS}
    strategies = ("keep_latest", "delete")
    options: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("setup", "--ttl-seconds", {**number, "help": "as the saver has it: turns expiry on"}),
        ("setup", "--run-index", {"action": "store_true", "help": "with an index on run_id"}),
        ("show", "--namespace", {"metavar": "NS", "help": "a subgraph's; '': the root graph's"}),
        ("show", "--limit", {**number, "help": "the newest N"}),
        ("prune", "--strategy", {"choices": strategies, "default": strategies[0]}),
        (
            "prune",
            "--grace-seconds",
            {**grace, "help": "as of DynamoDBSaver.prune(); default: 3600"},
        ),
        ("prune", "--yes", {"action": "store_true", "help": "do not ask"}),
        ("delete", "--yes", {"action": "store_true", "help": "do not ask"}),
    )
    for name, option, settings in options:
        added[name].add_argument(option, **settings)
    return parser


def _main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Raises: SystemExit: the command line is wrong, or asks for help.
    """
    import os  # noqa: PLC0415
    import pkgutil  # noqa: PLC0415

    parser = _parser()
    args = parser.parse_args(argv)
    if "yes" in args and not args.yes and not (sys.stdin and sys.stdin.isatty()):
        parser.error("it asks before it deletes, and here is no terminal; pass --yes")
    client_config = {"region_name": args.region, "endpoint_url": args.endpoint_url}
    try:
        serde: Any = pkgutil.resolve_name(args.serde) if args.serde else None
    except (AttributeError, ImportError, ValueError) as error:
        parser.error(f"argument --serde: {error}")
    made: Any = serde
    try:
        if callable(serde):
            made = serde()
        with _Operator(
            args.checkpoints_table,
            args.writes_table,
            {name: value for name, value in client_config.items() if value is not None},
            serde=made,
            ttl_seconds=getattr(args, "ttl_seconds", None),
        ) as saver:
            code: int = args.run(saver, args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command can be run again\n")
        return 130
    except BrokenPipeError:
        # Whoever reads has enough; Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        BotoCoreError,
        ClientError,
        DynamoDBSaverError,
        NotImplementedError,
        ValueError,
    ) as error:
        hint = _HINTS.get(type(error).__name__)
        message = " ".join(str(error).split())
        sys.stderr.write(
            f"error: {message.rstrip('.')}; {hint}\n" if hint else f"error: {message}\n"
        )
        return 1
    return code


if __name__ == "__main__":
    raise SystemExit(_main())
