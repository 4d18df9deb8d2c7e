# SPDX-License-Identifier: MIT
"""What real LangGraph graphs cost through this saver and through others, side by side.

    nox -s bench -- --quick         # all workloads, fewer runs of them; some 15 minutes
    nox -s bench                    # all runs, with what they install; hours
    nox -s bench -- chat fanout     # some workloads
    nox -s bench -- coldstart       # what a fresh process pays until it has its first answer
    python bench.py --savers this,aws --pictures docs chat

DynamoDB Local is at $DYNAMODB_LOCAL_URL. Every run is a process of its own with tables of its own:
first one that counts, then some that are timed, the savers in turn. A timed run sleeps before each
request in the thread that sends it, so that requests which a saver sends one after another cost it
their number of sleeps, and requests side by side cost it one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib
import inspect
import json
import math
import operator
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
URL = os.environ.get("DYNAMODB_LOCAL_URL", "http://127.0.0.1:8000")
LATENCIES_MS = (0, 5, 20)
LIMIT_SECONDS = 240  # a run that takes longer is cut, and shown so
QUESTION_CHARACTERS, ANSWER_CHARACTERS = 400, 1200
THIS, AWS, AWS_COMPRESSED = "this", "aws", "aws-compressed"
QUICK_SAVERS, QUICK_LATENCIES_MS = (THIS, AWS, AWS_COMPRESSED), (0, 5)


# -- Text ---------------------------------------------------------------------------------------
# Neither random bytes nor one sentence again and again: words whose frequency falls as that of
# English words does. zlib makes 8 KiB of it 2.5 times smaller.

SYLLABLES = (  # noqa: SIM905  as a list they fill a page
    "a an ar be ber ca can con de den di ed el en er es fe for ge gra ha hin i ic in ing ion ir is "
    "ka la le li lo ly ma men mi mo na ne ni no o of on or ou pa per pla po qu ra re ri ro sa se "
    "sha si so sta ta te ter the ti tion to tra tu u un ur va ve vi wa we wi y"
).split()


def _words(count: int) -> list[str]:
    dice = random.Random(1)
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(dice.choices(SYLLABLES, k=dice.choice((1, 2, 2, 2, 3, 3, 4))))] = None
    return list(words)


WORDS = _words(2000)
WEIGHTS = list(accumulate(1 / (rank + 2) for rank in range(len(WORDS))))


def prose(dice: random.Random, size: int) -> str:
    """Make *size* characters of text, another one at each call."""
    text = ""
    while len(text) < size:
        sentence = " ".join(dice.choices(WORDS, cum_weights=WEIGHTS, k=dice.randint(5, 18)))
        text += f"{sentence.capitalize()}. "
    return text[:size]


def compression_of_prose() -> float:
    """Return how many times smaller zlib makes 8 KiB of prose; it must stay a fair text."""
    texts = [prose(random.Random(seed), 8192).encode() for seed in range(10)]
    ratio = sum(map(len, texts)) / sum(len(zlib.compress(text)) for text in texts)
    if not 2.3 < ratio < 2.7:
        raise ValueError(f"prose compresses {ratio:.2f} times; it should 2.5 times")
    return ratio


# -- Sizes --------------------------------------------------------------------------------------
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html


def size_of_item(item: Mapping[str, Any]) -> int:
    """Return an item's size by DynamoDB's rules: its attributes' names and values."""
    return sum(len(name.encode()) + _size_of_value(value) for name, value in item.items())


def _size_of_value(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    if kind == "S":
        return len(value.encode())
    if kind == "B":  # base64 in a request as it is sent
        return len(base64.b64decode(value)) if isinstance(value, str) else len(value)
    if kind == "N":
        digits = len(value.lstrip("-").replace(".", "").strip("0"))
        return math.ceil(digits / 2) + 1 + int(value.startswith("-"))
    if kind in ("NS", "SS", "BS"):
        return sum(_size_of_value({kind[0]: each}) for each in value)
    if kind in ("L", "M"):
        parts = value if kind == "L" else value.values()
        names = 0 if kind == "L" else sum(len(name.encode()) for name in value)
        return 3 + names + sum(1 + _size_of_value(part) for part in parts)
    return 1


def _write_units(item: Mapping[str, Any]) -> int:
    return max(1, math.ceil(size_of_item(item) / 1024))


def _read_units(size: int, request: Mapping[str, Any]) -> float:
    return max(1, math.ceil(size / 4096)) * (1 if request.get("ConsistentRead") else 0.5)


# What AWS charges for a request, computed from the sizes of what it sent or got; None where these
# do not tell: where items are deleted or replaced by smaller ones, as the old size counts, and
# where attributes or items are left out of the answer, as what was read counts.


def _units_of_put(request: Any, _: Any) -> float | None:
    return _write_units(request["Item"])


def _units_of_get(request: Any, answer: Any) -> float | None:
    if "ProjectionExpression" in request:
        return None
    return _read_units(size_of_item(answer.get("Item", {})), request)


def _units_of_query(request: Any, answer: Any) -> float | None:
    if request.keys() & {"ProjectionExpression", "FilterExpression", "Select"}:
        return None
    return _read_units(sum(map(size_of_item, answer["Items"])), request)


def _units_of_batch_get(request: Any, answer: Any) -> float | None:
    ((table, wanted),) = request["RequestItems"].items()
    if "ProjectionExpression" in wanted or answer.get("UnprocessedKeys"):
        return None
    found = answer["Responses"].get(table, [])
    missing = len(wanted["Keys"]) - len(found)
    return sum(_read_units(size_of_item(item), wanted) for item in [*found, *[{}] * missing])


def _units_of_batch_write(request: Any, answer: Any) -> float | None:
    writes = [each for table in request["RequestItems"].values() for each in table]
    if answer.get("UnprocessedItems") or any("DeleteRequest" in each for each in writes):
        return None
    return sum(_write_units(each["PutRequest"]["Item"]) for each in writes)


def _misses(request: Any, answer: Any) -> bool:
    """Say whether a query found nothing, or a key of a batch is not there."""
    if "Responses" in answer:
        wanted = sum(len(each["Keys"]) for each in request["RequestItems"].values())
        return wanted > sum(map(len, answer["Responses"].values()))
    return bool(answer.get("Items") == [])


UNITS: dict[str, Callable[[Any, Any], float | None]] = {
    "PutItem": _units_of_put,
    "GetItem": _units_of_get,
    "Query": _units_of_query,
    "Scan": _units_of_query,
    "BatchGetItem": _units_of_batch_get,
    "BatchWriteItem": _units_of_batch_write,
}


# -- Meter --------------------------------------------------------------------------------------


@dataclass
class Cost:
    """What was measured of one step of a workload."""

    failure: str = ""
    requests: dict[str, int] = field(default_factory=dict)
    write_units: float = 0.0
    read_units: float = 0.0
    stored_bytes: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    waves: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)  # the median of each kind of call
    checked: int = 0  # how many requests' units were computed too
    differing: dict[str, int] = field(default_factory=dict)  # not what DynamoDB Local said
    units_by_turn: list[float] = field(default_factory=list)
    bytes_by_turn: list[tuple[int, int]] = field(default_factory=list)


class Meter:
    """Hooks into every DynamoDB client that this process makes, whoever makes it."""

    def __init__(self, latency_ms: float, *, counting: bool) -> None:
        self.step: Cost | None = None
        self.requests: Counter[str] = Counter()
        self.spans: list[tuple[float, float]] = []
        self._latency = latency_ms / 1000
        self._counting = counting
        self._lock = threading.Lock()

    def install(self) -> None:
        """Hook into the clients that are made from now on."""
        from botocore.client import BaseClient

        create: Callable[..., None] = BaseClient.__init__

        def create_and_hook(client: Any, *args: Any, **kwargs: Any) -> None:
            create(client, *args, **kwargs)
            if client.meta.service_model.service_name == "dynamodb":
                self._hook(client)

        BaseClient.__init__ = create_and_hook

    def _hook(self, client: Any) -> None:
        events = client.meta.events
        is_async = inspect.iscoroutinefunction(type(client)._make_api_call)  # noqa: SLF001
        events.register("before-call.dynamodb", self._start)
        events.register("before-send.dynamodb", self._delay_async if is_async else self._delay)
        events.register("response-received.dynamodb", self._end)
        if self._counting:
            events.register("provide-client-params.dynamodb", self._ask_for_units)

    def _ask_for_units(self, params: Any, model: Any, **_: Any) -> Any:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            return {**params, "ReturnConsumedCapacity": "TOTAL"}
        return None

    def _start(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        context["bench"] = (model.name, params["body"], time.perf_counter())

    def _delay(self, **_: Any) -> None:
        if self.step and self._latency:
            time.sleep(self._latency)

    async def _delay_async(self, **_: Any) -> None:
        if self.step and self._latency:
            await asyncio.sleep(self._latency)

    def _end(self, context: Any, parsed_response: Any, **_: Any) -> None:
        operation, body, start = context["bench"]
        end = time.perf_counter()
        with self._lock:
            if self.step is None:
                return
            self.requests[operation] += 1
            self.spans.append((start, end))
            if self._counting and parsed_response is not None:
                self._count_units(self.step, operation, json.loads(body), parsed_response)

    def _count_units(self, step: Cost, operation: str, request: Any, answer: Any) -> None:
        capacity = answer.get("ConsumedCapacity") or []
        capacity = [capacity] if isinstance(capacity, dict) else capacity
        units: float = sum(each["CapacityUnits"] for each in capacity)
        if answer.get("Error", {}).get("Code") == "ConditionalCheckFailedException":
            # It is charged by the size of the item that stands there, but not reported.
            units = _write_units(answer.get("Item") or request.get("Item") or {})
        rule = None
        if operation in UNITS and "Error" not in answer:
            rule = UNITS[operation](request, answer)
        if rule is not None and _misses(request, answer):
            units = rule  # AWS charges the least there is, DynamoDB Local nothing
        if rule is not None:
            step.checked += 1
            if not math.isclose(rule, units):
                step.differing[operation] = step.differing.get(operation, 0) + 1
        if operation in ("GetItem", "BatchGetItem", "Query", "Scan"):
            step.read_units += units
        else:
            step.write_units += units


def longest_chain(spans: Sequence[tuple[float, float]]) -> int:
    """Return how many of the spans can follow each other without two of them overlapping."""
    chain, last_end = 0, 0.0
    for start, end in sorted(spans, key=lambda span: span[1]):
        if start >= last_end:
            chain, last_end = chain + 1, end
    return chain


# -- Savers -------------------------------------------------------------------------------------
# Each is made as its documentation says. What it needs may be in an environment of its own: two
# of them are imported by the same name as this one.


class Saver(NamedTuple):
    """A saver to measure: what it is called on PyPI, its environment, and how it is made."""

    title: str
    environment: str
    make: Callable[..., Any]


def _import(module: str) -> Any:
    return importlib.import_module(module)


def _this(tables: str, **options: Any) -> Any:
    module = _import("langgraph_checkpoint_dynamodb")
    saver = module.DynamoDBSaver(f"{tables}-checkpoints", f"{tables}-writes", **options)
    saver.setup()
    return saver


def _aws(tables: str, *, compress: bool = False, **options: Any) -> Any:
    _create_table(tables, "PK", "SK")
    module = _import("langgraph_checkpoint_aws")
    return module.DynamoDBSaver(tables, enable_checkpoint_compression=compress, **options)


def _skamalj(tables: str) -> Any:
    return _import("langgraph_dynamodb_checkpoint").DynamoDBSaver(tables)


def _original(tables: str) -> Any:
    module = _import("langgraph_checkpoint_dynamodb.saver")
    checkpoints, writes = f"{tables}-checkpoints", f"{tables}-writes"
    _create_table(checkpoints, "thread_id", "checkpoint_id")
    _create_table(writes, "thread_id_checkpoint_id_checkpoint_ns", "task_id_idx")
    return module.DynamoDBSaver(checkpoints_table_name=checkpoints, writes_table_name=writes)


def _amazon(tables: str) -> Any:
    module = _import("langgraph_checkpoint_dynamodb")
    table = module.DynamoDBTableConfig(table_name=tables)
    return module.DynamoDBSaver(module.DynamoDBConfig(table_config=table), deploy=True)


def _memory(_: str) -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


SAVERS: dict[str, Saver] = {
    THIS: Saver("this saver", "this", _this),
    AWS: Saver("langgraph-checkpoint-aws", "aws", _aws),
    AWS_COMPRESSED: Saver(
        "langgraph-checkpoint-aws, compressing", "aws", partial(_aws, compress=True)
    ),
    "skamalj": Saver("langgraph-dynamodb-checkpoint", "skamalj", _skamalj),
    "amazon": Saver("langgraph-checkpoint-amazon-dynamodb", "amazon", _amazon),
    "original": Saver("langgraph-checkpoint-dynamodb 0.1.0", "original", _original),
    "memory": Saver("InMemorySaver", "this", _memory),
}


def _client(**options: Any) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.get_session().create_client("dynamodb", config=Config(**options))


def _tables(client: Any, prefix: str) -> list[str]:
    pages = client.get_paginator("list_tables").paginate()
    return [name for page in pages for name in page["TableNames"] if name.startswith(prefix)]


def _create_table(name: str, hash_key: str, range_key: str) -> None:
    client = _client()
    if name in _tables(client, name):
        return
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": hash_key, "AttributeType": "S"},
            {"AttributeName": range_key, "AttributeType": "S"},
        ],
    )


# -- A run --------------------------------------------------------------------------------------
# One workload with one saver, in a process of its own.


class WrongAnswerError(Exception):
    """The saver gave something else back than what was stored."""


def expect(found: object, wanted: object, what: str) -> None:
    """Fail a step whose answer is not what was stored."""
    if found != wanted:
        raise WrongAnswerError(f"{what}: {found!r}, and not {wanted!r}")


class Run:
    """What a workload is given: a saver, a way to measure its steps, a seeded source of text."""

    def __init__(self, saver: str, latency_ms: float, *, counting: bool) -> None:
        self.counting = counting
        self.costs: dict[str, Cost] = {}
        self.dice = random.Random(7)
        self.meter = Meter(latency_ms, counting=counting)
        self.meter.install()
        self._make = SAVERS[saver].make
        self._prefix = self._tables = f"bench-{uuid.uuid4().hex[:12]}"
        self._client = _client()
        self._deadline = time.monotonic() + LIMIT_SECONDS
        self._cpu_ms: dict[str, list[float]] = {}
        self.saver = self.fresh_saver()

    def fresh_tables(self) -> None:
        """Go on with tables of their own, so that what a step has stored is its own."""
        self._tables = f"{self._prefix}-{uuid.uuid4().hex[:6]}"

    def fresh_saver(self, **options: Any) -> Any:
        """Make a saver that knows no thread yet, as a new process would."""
        saver = self._make(self._tables, **options)
        if self.counting:
            for name in ("put", "put_writes", "aput", "aput_writes", "get_tuple", "aget_tuple"):
                setattr(saver, name, self._counted(name, getattr(saver, name)))
        return saver

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if step := self.meter.step:
                step.calls[name] = step.calls.get(name, 0) + 1
            return method(*args, **kwargs)

        return call

    def bare_table(self) -> tuple[Any, str]:
        """Make a table, and a client with connections for 64 threads, and give both."""
        name = f"{self._tables}-bare"
        _create_table(name, "thread_id", "checkpoint_id")
        return _client(max_pool_connections=64), name

    def prose(self, size: int) -> str:
        """Make text, the same in each run."""
        return prose(self.dice, size)

    def size(self, counted: int, timed: int) -> int:
        """Choose how much is done: a run that is only timed need not do all."""
        return counted if self.counting else timed

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block; what it raises is its result."""
        cost = self.costs[name] = Cost()
        meter = self.meter
        meter.requests, meter.spans, meter.step = Counter(), [], cost
        self._cpu_ms = {}
        cpu, start = time.process_time(), time.perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001  it is the figure
            reason = " ".join(str(error).split())
            cost.failure = f"{type(error).__name__}: {reason[:160]}"
            if os.environ.get("BENCH_TRACEBACK"):
                traceback.print_exc()
        finally:
            meter.step = None
        cost.seconds, cost.cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        cost.cpu_ms = {name: statistics.median(each) for name, each in self._cpu_ms.items()}
        cost.requests = dict(meter.requests)
        cost.waves = longest_chain(meter.spans)
        if self.counting:
            cost.stored_bytes = self._stored_bytes()

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Make one of the calls whose median CPU time the step tells, that of all threads."""
        start = time.process_time()
        answer = call()
        self._cpu_ms.setdefault(name, []).append(1000 * (time.process_time() - start))
        return answer

    def end_turn(self, turn: int) -> None:
        """Note what a conversation has cost so far."""
        cost = self.meter.step
        if cost is None:
            return
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"cut after {turn} turns and {LIMIT_SECONDS} seconds")
        if self.counting:
            cost.units_by_turn.append(cost.write_units)
            if turn in (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100) or not turn % 100:
                self.meter.step = None
                cost.bytes_by_turn.append((turn, self._stored_bytes()))
                self.meter.step = cost

    def _stored_bytes(self) -> int:
        """Add up the sizes of all items (AWS bills 100 bytes more for each)."""
        pages = (
            page
            for table in _tables(self._client, self._tables)
            for page in self._client.get_paginator("scan").paginate(TableName=table)
        )
        return sum(size_of_item(item) for page in pages for item in page["Items"])

    def close(self) -> None:
        """Delete the tables."""
        for table in _tables(self._client, self._prefix):
            self._client.delete_table(TableName=table)


def run(saver: str, workload: str, latency_ms: float, *, counting: bool) -> dict[str, Any]:
    """Run a workload once, and return the cost of each of its steps."""
    run = Run(saver, latency_ms, counting=counting)
    try:
        WORKLOADS[workload].function(run)
    finally:
        run.close()
    return {name: asdict(cost) for name, cost in run.costs.items()}


# -- Graphs -------------------------------------------------------------------------------------
# LangGraph is imported by the process of a run, from the saver's own environment.


def _config(thread_id: str | None = None) -> Any:
    return {"configurable": {"thread_id": thread_id or uuid.uuid4().hex}, "recursion_limit": 1000}


def _graph(**channels: Any) -> Any:
    """Start a graph whose state has these channels."""
    from langgraph.graph import StateGraph

    return StateGraph(_typed(**channels))


def _typed(**channels: Any) -> Any:
    make: Any = TypedDict
    return make("State", channels)


def _chat(reducer: Any = None, **channels: Any) -> Any:
    """Build the graph of a chat, three nodes a turn: plan, model, post."""
    from langchain_core.messages import AIMessage
    from langgraph.graph import START
    from langgraph.graph.message import add_messages

    def plan(state: Any) -> Any:
        return {"step": state.get("step", 0) + 1}

    def model(_: Any) -> Any:
        return {"messages": [AIMessage(prose(dice, ANSWER_CHARACTERS))]}

    def post(state: Any) -> Any:
        return {"step": state["step"] + 1}

    dice = random.Random(11)
    builder = _graph(messages=Annotated[list, reducer or add_messages], step=int, **channels)
    builder.add_sequence([plan, model, post])
    builder.add_edge(START, "plan")
    return builder


def _human(text: str, **values: Any) -> Any:
    from langchain_core.messages import HumanMessage

    return {"messages": [HumanMessage(text)], **values}


def _talk(run: Run, graph: Any, config: Any, turns: int, first: Mapping[str, Any] = {}) -> None:
    for turn in range(1, turns + 1):
        graph.invoke(_human(run.prose(QUESTION_CHARACTERS), **(first if turn == 1 else {})), config)
        run.end_turn(turn)


def _read_fresh(run: Run, builder: Any, config: Any, count: int) -> Any:
    saver = run.fresh_saver()
    with run.step("get_state, fresh"):
        values = builder.compile(checkpointer=saver).get_state(config).values
        expect(len(values.get("messages", ())), count, "messages")
    return values


# -- Workloads ----------------------------------------------------------------------------------


def chat(run: Run, turns: int = 100) -> None:
    """A chat of 100 turns: three nodes a turn, questions of 400 characters, answers of 1,200."""
    builder, config = _chat(), _config()
    with run.step("turns"):
        _talk(run, builder.compile(checkpointer=run.saver), config, turns)
    _read_fresh(run, builder, config, 2 * turns)


def chat20(run: Run) -> None:
    """The same, 20 turns."""
    chat(run, 20)


def chat1000(run: Run) -> None:
    """The same, 1,000 turns."""
    chat(run, 1000)


def window(run: Run) -> None:
    """A chat of 100 turns that keeps its last 40 messages."""
    from langgraph.graph.message import add_messages

    def last_40(old: Any, new: Any) -> Any:
        merged: Any = add_messages(old, new)
        return merged[-40:]

    turns = run.size(100, 30)
    builder, config = _chat(last_40), _config()
    with run.step("turns"):
        _talk(run, builder.compile(checkpointer=run.saver), config, turns)
    _read_fresh(run, builder, config, 40)


def document(run: Run) -> None:
    """A document of 200 KB in the state, beside 50 turns with a tool."""
    from langchain_core.messages import AIMessage, ToolMessage
    from langgraph.graph import START
    from langgraph.graph.message import add_messages

    def call(_: Any) -> Any:
        tool_call = {"name": "search", "args": {"query": prose(dice, 40)}, "id": uuid.uuid4().hex}
        return {"messages": [AIMessage("", tool_calls=[tool_call])]}

    def tool(state: Any) -> Any:
        (tool_call,) = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage(prose(dice, 300), tool_call_id=tool_call["id"])]}

    def answer(_: Any) -> Any:
        return {"messages": [AIMessage(prose(dice, 200))]}

    dice = random.Random(11)
    turns = run.size(50, 10)
    builder = _graph(messages=Annotated[list, add_messages], document=str)
    builder.add_sequence([call, tool, answer])
    builder.add_edge(START, "call")
    config, text = _config(), run.prose(200 * 1024)
    with run.step("turns"):
        graph = builder.compile(checkpointer=run.saver)
        _talk(run, graph, config, turns, {"document": text})
    values = _read_fresh(run, builder, config, 4 * turns)
    expect(values.get("document") == text, True, "document")  # noqa: FBT003


def fanout(run: Run) -> None:
    """100 Sends side by side, three rounds."""
    from langgraph.graph import END, START
    from langgraph.types import Send

    def spread(state: Any) -> Any:
        return {"round": state.get("round", 0) + 1}

    def work(task: Any) -> Any:
        return {"found": [f"{task['number']}: {text}"]}

    def join(state: Any) -> Any:
        return {"seen": len(state["found"])}

    text = run.prose(100)
    builder = _graph(found=Annotated[list, operator.add], round=int, seen=int)
    for node in (spread, work, join):
        builder.add_node(node)
    builder.add_edge(START, "spread")
    builder.add_conditional_edges(
        "spread", lambda _: [Send("work", {"number": n}) for n in range(100)], ["work"]
    )
    builder.add_edge("work", "join")
    builder.add_conditional_edges(
        "join", lambda state: "spread" if state["round"] < 3 else END, ["spread", END]
    )
    config = _config()
    with run.step("3 rounds"):
        builder.compile(checkpointer=run.saver).invoke({}, config)
    saver = run.fresh_saver()
    with run.step("get_state, fresh"):
        values = builder.compile(checkpointer=saver).get_state(config).values
        expect(len(values["found"]), 300, "found")


def subgraphs(run: Run) -> None:
    """A graph in a graph in a graph, each with a message a turn; 20 turns."""
    from langchain_core.messages import AIMessage
    from langgraph.graph import START
    from langgraph.graph.message import add_messages

    def say(_: Any) -> Any:
        return {"messages": [AIMessage(prose(dice, 200))]}

    dice = random.Random(11)
    messages = Annotated[list, add_messages]
    innermost = _graph(messages=messages).add_node("say", say).add_edge(START, "say")
    middle = _graph(messages=messages).add_node("say", say)
    middle.add_node("inner", innermost.compile()).add_edge(START, "say").add_edge("say", "inner")
    outer = _graph(messages=messages).add_node("say", say)
    outer.add_node("middle", middle.compile()).add_edge(START, "say").add_edge("say", "middle")
    turns, config = run.size(20, 5), _config()
    with run.step("turns"):
        _talk(run, outer.compile(checkpointer=run.saver), config, turns)
    _read_fresh(run, outer, config, 4 * turns)


def interrupts(run: Run) -> None:
    """20 interrupts, each answered; after each an update_state, and every fourth time a fork."""
    from langgraph.graph import START
    from langgraph.types import Command, interrupt

    def ask(state: Any) -> Any:
        return {"step": interrupt({"step": state["step"]})}

    builder, config = _chat(), _config()
    builder.add_node(ask)
    builder.add_edge("post", "ask")
    forks = 0
    with run.step("20 interrupts"):
        graph = builder.compile(checkpointer=run.saver)
        for turn in range(1, 21):
            graph.invoke(_human(run.prose(QUESTION_CHARACTERS)), config)
            expect(graph.get_state(config).next, ("ask",), "the next node")
            graph.invoke(Command(resume=turn), config)
            graph.update_state(config, {"step": 100 + turn}, as_node="ask")
            if turn % 4 == 0:
                *_, earlier = graph.get_state_history(config, limit=6)
                graph.update_state(earlier.config, {"step": -1}, as_node=START)
                forks += 1
            run.end_turn(turn)
    saver = run.fresh_saver()
    with run.step("get_state, fresh"):
        state = builder.compile(checkpointer=saver).get_state(config)
        expect(state.values["step"], -1, "step")


def history(run: Run) -> None:
    """A thread of 500 checkpoints: list, filter, before, limit; then copy, delete, prune it."""
    builder = _chat()
    graph, config = builder.compile(checkpointer=run.saver), _config()
    target = uuid.uuid4().hex
    _talk(run, graph, config, 100)
    saver = run.fresh_saver()
    with run.step("list"):
        found = [each.checkpoint["id"] for each in saver.list(config)]
        expect(len(found), 500, "checkpoints")
    with run.step("list, limit=10"):
        expect(len(list(saver.list(config, limit=10))), 10, "checkpoints")
    with run.step("list, filter source=input"):
        expect(len(list(saver.list(config, filter={"source": "input"}))), 100, "checkpoints")
    with run.step("list, before, limit=10"):
        before = {"configurable": {**config["configurable"], "checkpoint_id": found[249]}}
        older = [each.checkpoint["id"] for each in saver.list(config, before=before, limit=10)]
        expect(older == found[250:260], True, "the next ten")  # noqa: FBT003
    with run.step("copy_thread"):
        saver.copy_thread(config["configurable"]["thread_id"], target)
        expect(len(graph.get_state(_config(target)).values["messages"]), 200, "messages")
    with run.step("delete_thread"):
        saver.delete_thread(config["configurable"]["thread_id"])
    expect(run.saver.get_tuple(config), None, "the deleted thread")
    if run.costs["copy_thread"].failure:
        _talk(run, graph, _config(target), 100)
    with run.step("prune"):
        saver.prune([target])
    if not run.costs["prune"].failure:
        expect(len(list(saver.list(_config(target)))), 1, "checkpoints after prune")


def threads(run: Run) -> None:
    """200 threads of two turns, 16 of them at once; the time is that of all."""
    builder = _chat()
    with run.step("200 threads, 16 at once"):
        graph = builder.compile(checkpointer=run.saver)

        def talk(number: int) -> int:
            config = _config(f"thread-{number}")
            graph.invoke(_human(f"{number}: {run.prose(200)}"), config)
            return len(graph.invoke(_human("And then?"), config)["messages"])

        with ThreadPoolExecutor(16) as pool:
            expect(set(pool.map(talk, range(200))), {4}, "messages")


def coroutines(run: Run) -> None:
    """64 coroutines, each a chat of three turns; the time is that of all."""
    builder = _chat()

    async def talk(graph: Any, number: int) -> int:
        config = _config(f"coroutine-{number}")
        for _ in range(3):
            values = await graph.ainvoke(_human(f"{number}: {run.prose(200)}"), config)
        return len(values["messages"])

    async def all_at_once() -> set[int]:
        graph = builder.compile(checkpointer=run.saver)
        return set(await asyncio.gather(*(talk(graph, number) for number in range(64))))

    with run.step("64 coroutines"):
        expect(asyncio.run(all_at_once()), {6}, "messages")


def delta(run: Run, turns: int = 25) -> None:
    """A chat of 25 turns whose messages are a DeltaChannel."""
    from langgraph.channels import DeltaChannel
    from langgraph.graph.message import _messages_delta_reducer

    reducer: Any = _messages_delta_reducer
    builder, config = _chat(DeltaChannel(reducer)), _config()
    with run.step("turns"):
        _talk(run, builder.compile(checkpointer=run.saver), config, turns)
    _read_fresh(run, builder, config, 2 * turns)


def delta200(run: Run) -> None:
    """The same, 200 turns."""
    delta(run, 200)


def large(run: Run) -> None:
    """One value of 3 MB."""
    builder, config, text = _chat(document=str), _config(), run.prose(3_000_000)
    with run.step("a turn"):
        graph = builder.compile(checkpointer=run.saver)
        graph.invoke(_human("Here it is.", document=text), config)
    saver = run.fresh_saver()
    with run.step("get_state, fresh"):
        values = builder.compile(checkpointer=saver).get_state(config).values
        expect(values.get("document") == text, True, "the document is the same")  # noqa: FBT003


def bare(run: Run) -> None:
    """No saver, but calls of botocore, 64 at once: what as many requests cost at least."""
    client, table = run.bare_table()

    def query(number: int) -> Any:
        return client.query(
            TableName=table,
            KeyConditionExpression="thread_id = :thread",
            ExpressionAttributeValues={":thread": {"S": f"thread-{number}"}},
            ConsistentRead=True,
        )

    def put(number: int) -> Any:
        key = {"thread_id": {"S": f"thread-{number}"}, "checkpoint_id": {"S": "1"}}
        return client.put_item(TableName=table, Item={**key, "checkpoint": {"B": bytes(800)}})

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(query, range(64)))  # opens the connections
        with run.step("500 queries"):
            list(pool.map(query, range(500)))
        with run.step("2,000 puts"):
            list(pool.map(put, range(2000)))


# -- Shapes -------------------------------------------------------------------------------------
# What one node a turn costs in states of several kinds. The question comes with the input, the
# answer from the node. A state without a reducer goes in and out whole.


class Talk(NamedTuple):
    """A graph before it has a saver, and what it is given in a turn that follows *state*."""

    compile: Callable[..., Any]
    ask: Callable[[Any], Any]


@dataclass
class Chat:
    """A chat in a channel of its own."""

    messages: list[Any]


def _node(state: Any, answer: Callable[[Any], Any]) -> Callable[..., Any]:
    """Give what compiles a graph of one node."""
    from langgraph.graph import START, StateGraph

    builder: Any = StateGraph(state)
    compile_: Callable[..., Any] = (
        builder.add_node("answer", answer).add_edge(START, "answer").compile
    )
    return compile_


def _whole(dice: random.Random, state: Any, add: Callable[[Any, str], Any]) -> Talk:
    """Make a graph whose whole state comes with the input, and anew from the node."""
    return Talk(
        _node(state, lambda found: add(found, prose(dice, ANSWER_CHARACTERS))),
        lambda found: add(found, prose(dice, QUESTION_CHARACTERS)),
    )


def _said(text: str) -> dict[str, Any]:
    return {"role": "user" if len(text) == QUESTION_CHARACTERS else "assistant", "content": text}


def _more(state: Any, text: str) -> dict[str, Any]:
    return {**(state or {}), "messages": [*(state or {}).get("messages", ()), _said(text)]}


def _list(dice: random.Random) -> Talk:
    """Make a list of dicts that grows by a reducer."""
    state = _typed(messages=Annotated[list, operator.add])
    return _whole(dice, state, lambda _, text: {"messages": [_said(text)]})


def _messages(dice: random.Random) -> Talk:
    """Make LangGraph's own MessagesState."""
    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.graph import MessagesState

    def add(_: Any, text: str) -> Any:
        kind = HumanMessage if len(text) == QUESTION_CHARACTERS else AIMessage
        return {"messages": [kind(text, id=str(uuid.UUID(int=dice.getrandbits(128))))]}

    return _whole(dice, MessagesState, add)


def _dict(dice: random.Random) -> Talk:
    """Make a state that is one dict."""
    return _whole(dice, dict, _more)


def _pydantic(dice: random.Random) -> Talk:
    """Make a pydantic model as state that holds another, which is stored as such."""
    import pydantic

    made: Any = globals().get("PydanticChat")  # the same in each talk, and where a serde looks
    if made is None:
        made = pydantic.create_model("PydanticChat", __module__=__name__, messages=(list[Any], []))
        globals()["PydanticChat"] = made
    state = pydantic.create_model("PydanticState", __module__=__name__, chat=(made, made()))

    def add(found: Any, text: str) -> Any:
        old = found["chat"] if isinstance(found, dict) else getattr(found, "chat", made())
        return {"chat": made(messages=[*old.messages, _said(text)])}

    return _whole(dice, state, add)


def _dataclass(dice: random.Random) -> Talk:
    """Make a dataclass in a channel."""

    def add(found: Any, text: str) -> Any:
        return {"chat": Chat([*(found["chat"].messages if found else ()), _said(text)])}

    return _whole(dice, _typed(chat=Chat), add)


def _entrypoint(dice: random.Random) -> Talk:
    """Make a function that saves a dict for its next call."""
    from langgraph.func import entrypoint

    def respond(question: str, *, previous: Any = None) -> Any:
        answer = prose(dice, ANSWER_CHARACTERS)
        saved = _more(_more(previous, question), answer)
        return entrypoint.final(value=answer, save=saved)

    def compile_(checkpointer: Any) -> Any:
        return entrypoint(checkpointer=checkpointer)(respond)

    return Talk(compile_, lambda _: prose(dice, QUESTION_CHARACTERS))


def _nested(dice: random.Random) -> Talk:
    """Make a dict that holds a chat two levels deep, beside a manual of 60 KB."""
    manual = prose(dice, 60 * 1024)

    def add(found: Any, text: str) -> Any:
        first: dict[str, Any] = {"manual": manual, "talk": {"chat": None}}
        session = found["session"] if found else first
        chat = _more(session["talk"]["chat"], text)
        return {"session": {**session, "talk": {**session["talk"], "chat": chat}}}

    return _whole(dice, dict, add)


def _files(dice: random.Random) -> Talk:
    """Make a dict of 80 files of 600 characters, of which a turn writes one anew."""
    first = {f"src/file{number:02}.py": prose(dice, 600) for number in range(80)}

    def answer(state: Any) -> Any:
        return {"files": {dice.choice([*state["files"]]): prose(dice, 600)}}

    def ask(found: Any) -> Any:
        return {"request": prose(dice, QUESTION_CHARACTERS), **({} if found else {"files": first})}

    return Talk(_node(_typed(files=Annotated[dict, operator.or_], request=str), answer), ask)


def _edited(dice: random.Random) -> Talk:
    """Make a string of 60 KB, of which a turn replaces 1,200 characters."""
    first = prose(dice, 60 * 1024)

    def answer(state: Any) -> Any:
        text, new = state["text"], prose(dice, ANSWER_CHARACTERS)
        place = dice.randrange(len(text) - len(new))
        return {"text": text[:place] + new + text[place + len(new) :]}

    def ask(found: Any) -> Any:
        return {"request": prose(dice, QUESTION_CHARACTERS), **({} if found else {"text": first})}

    return Talk(_node(_typed(text=str, request=str), answer), ask)


def _grown(dice: random.Random) -> Talk:
    """Make a string that grows by 1,600 characters a turn."""
    return _whole(dice, dict, lambda found, text: {"text": (found or {"text": ""})["text"] + text})


class Shape(NamedTuple):
    """A kind of state, and the write units that 60 turns of it may cost."""

    make: Callable[[random.Random], Talk]
    wanted: int
    is_encrypted: bool = False


SHAPES = {
    "TypedDict with a list": Shape(_list, 530),
    "MessagesState": Shape(_messages, 560),
    "StateGraph(dict)": Shape(_dict, 680),
    "pydantic model": Shape(_pydantic, 700),
    "dataclass in a channel": Shape(_dataclass, 700),
    "entrypoint that saves a dict": Shape(_entrypoint, 500),
    "nested dict beside a 60 KB manual": Shape(_nested, 680),
    "dict of 80 files": Shape(_files, 640),
    "TypedDict with a list, encrypted": Shape(_list, 630, is_encrypted=True),
    "MessagesState, encrypted": Shape(_messages, 640, is_encrypted=True),
    "StateGraph(dict), encrypted": Shape(_dict, 740, is_encrypted=True),
    "60 KB string, edited": Shape(_edited, 900),
    "string that grows": Shape(_grown, 700),
}


def shapes(run: Run) -> None:
    """60 turns in states of several kinds, 1,600 characters each; a fresh saver reads the last."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    for name, shape in SHAPES.items():
        run.fresh_tables()
        options: dict[str, Any] = {}
        if shape.is_encrypted:
            options["serde"] = EncryptedSerializer.from_pycryptodome_aes(key=bytes(range(32)))
        memory, config = InMemorySaver(), _config()
        _talk_in_shape(run, shape, memory, config)
        wanted = _state(memory, config)
        try:
            saver, reader = run.fresh_saver(**options), run.fresh_saver(**options)
        except TypeError as error:  # it takes no serde
            with run.step(name):
                raise error from None
            continue
        with run.step(name):
            _talk_in_shape(run, shape, saver, config)
            found = _state(reader, config)
            expect(found == wanted, True, "the state is that of InMemorySaver")  # noqa: FBT003


def _talk_in_shape(run: Run, shape: Shape, saver: Any, config: Any) -> None:
    talk = shape.make(random.Random(5))
    graph, state = talk.compile(checkpointer=saver), None
    for turn in range(1, 61):
        state = graph.invoke(talk.ask(state), config)
        run.end_turn(turn)


def _state(saver: Any, config: Any) -> Any:
    return saver.get_tuple(config).checkpoint["channel_values"]


# -- Single calls -------------------------------------------------------------------------------


class Thread:
    """A thread that is stored by calls of a saver, without a graph."""

    def __init__(self, saver: Any, channel_values: dict[str, Any]) -> None:
        self.config: Any = {"configurable": {"thread_id": uuid.uuid4().hex, "checkpoint_ns": ""}}
        self.channel_values = channel_values
        self._saver, self._step = saver, -1
        self._versions: dict[str, Any] = dict.fromkeys(channel_values)

    def put(self, *changed: str) -> None:
        """Store the next checkpoint, in which the channels *changed* are new."""
        from langgraph.checkpoint.base import empty_checkpoint

        new = {name: self._saver.get_next_version(self._versions[name], None) for name in changed}
        self._versions.update(new)
        self._step += 1
        checkpoint: Any = empty_checkpoint()
        checkpoint["channel_values"] = self.channel_values
        checkpoint["channel_versions"] = dict(self._versions)
        metadata = {"source": "loop", "step": self._step, "parents": {}}
        self.config = self._saver.put(self.config, checkpoint, metadata, new)

    def put_writes(self, text: str) -> None:
        """Store two writes of a task of this checkpoint."""
        writes = [("messages", text), ("branch:to:next", None)]
        self._saver.put_writes(self.config, writes, str(uuid.UUID(int=self._step)))

    def get_tuple(self) -> Any:
        """Read the checkpoint that was stored last."""
        return self._saver.get_tuple(self.config)


class Texts:
    """Messages of a megabyte and more, in less time than their prose would take."""

    def __init__(self, dice: random.Random) -> None:
        self._dice, self._pool = dice, prose(dice, 500_000)

    def text(self, size: int) -> str:
        """Cut a text anywhere out of the pool."""
        start = self._dice.randrange(len(self._pool) - size)
        return self._pool[start : start + size]

    def message(self) -> dict[str, Any]:
        """Make a message of 1 KB as a dict."""
        identity = str(uuid.UUID(int=self._dice.getrandbits(128)))
        return {"role": "user", "content": self.text(950), "id": identity}

    def object(self) -> Any:
        """Make a message of 1 KB as LangChain has it."""
        from langchain_core.messages import AIMessage

        return AIMessage(self.text(950), id=str(uuid.UUID(int=self._dice.getrandbits(128))))

    def row(self) -> dict[str, Any]:
        """Make a dict of 90 bytes."""
        return {"number": self._dice.getrandbits(30), "name": self.text(16), "note": self.text(40)}


# MB of history, and the write units that a put may cost which appends a message of 1 KB.
GROWTH = {0.3: 3.3, 1.1: 4.5, 10: 5.5, 50: 5.5}
GROWTH_PUTS = 20


def growth(run: Run) -> None:
    """Puts that append 1 KB to histories of 0.3, 1.1, 10 and 50 MB; a fresh saver reads it."""
    texts = Texts(run.dice)
    for megabytes in GROWTH:
        run.fresh_tables()
        history = [texts.message() for _ in range(int(megabytes * 1000))]
        thread, reader = Thread(run.fresh_saver(), {"messages": history}), run.fresh_saver()
        with suppress(Exception):  # the same follows in the step
            thread.put("messages")
        with run.step(f"{GROWTH_PUTS} puts, {megabytes} MB"):
            for _ in range(GROWTH_PUTS):
                history.append(texts.message())
                thread.put("messages")
            found = _state(reader, thread.config)
            expect(found == {"messages": history}, True, "the history is the same")  # noqa: FBT003


TEN_MB = "put, 10 MB of messages"
SMALL = "calls, 3 KB"


def cpu(run: Run) -> None:
    """CPU of single calls; puts append to a history, beside the serde's dumps_typed of it."""
    texts = Texts(run.dice)
    for step, make, count in (
        ("put, 0.1 MB of messages", texts.object, 100),
        ("put, 1 MB of messages", texts.object, 1000),
        (TEN_MB, texts.object, 10_000),
        ("put, 9 MB of 100,000 dicts", texts.row, 100_000),
    ):
        run.fresh_tables()
        saver = run.fresh_saver()
        history = [make() for _ in range(count)]
        thread = Thread(saver, {"messages": history})
        with suppress(Exception):  # the same follows in the step
            thread.put("messages")
        with run.step(step):
            for _ in range(run.size(2, 15)):
                history.append(make())
                run.timed("dumps_typed", partial(saver.serde.dumps_typed, history))
                run.timed("put", partial(thread.put, "messages"))
    run.fresh_tables()
    thread = Thread(run.fresh_saver(), {"messages": [texts.message(), texts.message()], "step": 0})
    thread.channel_values["note"] = texts.text(1000)
    with run.step(SMALL):
        thread.put("messages", "step")
        for number in range(run.size(5, 200)):
            thread.channel_values["step"] = number
            run.timed("put", partial(thread.put, "step"))
            run.timed("put_writes", partial(thread.put_writes, texts.text(300)))
            expect(run.timed("get_tuple", thread.get_tuple).config, thread.config, "the config")


class Workload(NamedTuple):
    """A workload, which of LATENCIES_MS it is timed with, and which savers take part.

    A long one has no peers in the quick form.
    """

    function: Callable[[Run], None]
    latencies_ms: tuple[int, ...] = LATENCIES_MS
    has_saver: bool = True
    savers: tuple[str, ...] = tuple(SAVERS)
    is_long: bool = False


WORKLOADS: dict[str, Workload] = {
    "chat": Workload(chat, (0,)),
    "chat20": Workload(chat20),
    "chat1000": Workload(chat1000, (), is_long=True),
    "window": Workload(window),
    "document": Workload(document),
    "fanout": Workload(fanout),
    "subgraphs": Workload(subgraphs),
    "interrupts": Workload(interrupts),
    "history": Workload(history),
    "threads": Workload(threads),
    "coroutines": Workload(coroutines),
    "delta": Workload(delta, (0,)),
    "delta200": Workload(delta200, (), is_long=True),
    "large": Workload(large),
    "shapes": Workload(shapes, (), savers=(THIS, AWS)),
    "growth": Workload(growth, (), savers=(THIS, AWS)),
    "cpu": Workload(cpu, (0,), savers=(THIS, AWS)),
    "bare": Workload(bare, has_saver=False),
}


# -- All runs -----------------------------------------------------------------------------------

Results = dict[str, dict[str, dict[str, dict[str, Any]]]]  # workload, step, saver -> Cost, timings


def _python(environments: Path | None, name: str) -> Path:
    """Return the Python of the environment *name*; this one where there are no others."""
    if environments is None or name == THIS:
        return Path(sys.executable)
    return environments / name / ("Scripts" if os.name == "nt" else "bin") / "python"


def _run_in_process(
    saver: str, workload: str, latency_ms: float, environments: Path | None, *, counting: bool
) -> dict[str, Any]:
    """Run a workload in the saver's environment; what kills the process is each step's result."""
    python = _python(environments, SAVERS[saver].environment)
    job = {"saver": saver, "workload": workload, "latency_ms": latency_ms, "counting": counting}
    dummy = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-1"}
    environment = {**os.environ, **dummy, "AWS_ENDPOINT_URL_DYNAMODB": URL, "AGENTSTATE_QUIET": "1"}
    try:
        done = subprocess.run(
            [python, Path(__file__), "--run", json.dumps(job)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * LIMIT_SECONDS,
            check=False,
        )
    except OSError as error:
        return {"": {**asdict(Cost()), "failure": f"not installed: {error}"}}
    except subprocess.TimeoutExpired:
        failure = f"TimeoutExpired: killed after {3 * LIMIT_SECONDS} seconds"
        return {"": {**asdict(Cost()), "failure": failure}}
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"": {**asdict(Cost()), "failure": last_line[:200]}}
    costs: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return costs


class Plan(NamedTuple):
    """What is run, and how."""

    workloads: Sequence[str]
    savers: Sequence[str]
    environments: Path | None
    repeats: int
    is_quick: bool = False

    @property
    def latencies_ms(self) -> tuple[int, ...]:
        """Those of LATENCIES_MS that are timed."""
        return QUICK_LATENCIES_MS if self.is_quick else LATENCIES_MS

    def savers_of(self, workload: Workload) -> list[str]:
        """Those that take part in a workload."""
        if not workload.has_saver or (self.is_quick and workload.is_long):
            return [THIS]
        return [name for name in self.savers if name in workload.savers]


def run_all(plan: Plan, results: Results) -> Iterator[str]:
    """Run every workload with every saver: once to count, then *repeats* times for each latency.

    Each comes when its figures are in *results*, beside what these held of others.
    """
    for workload in plan.workloads:
        steps = results.setdefault(workload, {})
        savers = plan.savers_of(WORKLOADS[workload])
        for saver in savers:
            _progress(f"{workload}, {SAVERS[saver].title}")
            costs = _run_in_process(saver, workload, 0, plan.environments, counting=True)
            for step, cost in costs.items():
                cost.update(waves=None, seconds={}, cpu_seconds=None, cpu_ms={})
                steps.setdefault(step, {})[saver] = cost
        _spread_failures(steps)
        for latency_ms in WORKLOADS[workload].latencies_ms:
            if latency_ms in plan.latencies_ms:
                _time(steps, workload, latency_ms, plan._replace(savers=savers))
        yield workload


def _spread_failures(steps: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Make the failure of a whole run that of each step; alone, it stays the only one."""
    if len(steps) > 1:
        for saver, cost in steps.pop("", {}).items():
            for by_saver in steps.values():
                by_saver.setdefault(saver, cost)


def _time(
    steps: dict[str, dict[str, dict[str, Any]]], workload: str, latency_ms: int, plan: Plan
) -> None:
    """Add the medians of timed runs, the savers in turn, to what was counted."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for repeat in range(plan.repeats):
        for saver in plan.savers:
            if all(costs[saver]["failure"] for costs in steps.values() if saver in costs):
                continue
            _progress(f"{workload}, {SAVERS[saver].title}, {latency_ms} ms added, {repeat + 1}")
            timed = _run_in_process(saver, workload, latency_ms, plan.environments, counting=False)
            for step, cost in timed.items():
                if saver in steps.get(step, {}) and not cost["failure"]:
                    found.setdefault((step, saver), []).append(cost)
    for (step, saver), costs in found.items():
        into = steps[step][saver]
        into["seconds"][str(latency_ms)] = statistics.median(cost["seconds"] for cost in costs)
        if latency_ms == 0:
            into["cpu_seconds"] = statistics.median(cost["cpu_seconds"] for cost in costs)
            into["cpu_ms"] = {
                name: statistics.median(cost["cpu_ms"][name] for cost in costs)
                for name in costs[0]["cpu_ms"]
            }
        if latency_ms == max(plan.latencies_ms):
            into["waves"] = round(statistics.median(cost["waves"] for cost in costs))


def _progress(line: str) -> None:
    print(f"... {line}", file=sys.stderr, flush=True)


# -- Tables -------------------------------------------------------------------------------------

OPERATIONS = {
    "PutItem": "put", "BatchWriteItem": "batch write", "Query": "query", "GetItem": "get",
    "BatchGetItem": "batch get", "DeleteItem": "delete", "UpdateItem": "update", "Scan": "scan",
}  # fmt: skip


def print_results(results: Results) -> None:
    """Print a table for each step of each workload."""
    for workload, steps in results.items():
        print(f"\n## {workload}: {WORKLOADS[workload].function.__doc__}")
        for step, by_saver in steps.items():
            print(f"\n### {step}\n" if step else "")
            print("| saver | requests | write units | read units | stored MB | waves "
                  "| s, 0 ms | s, 5 ms | s, 20 ms | CPU s | CPU ms of a call "
                  "| of which |")  # fmt: skip
            print("|---|---|---|---|---|---|---|---|---|---|---|---|")
            for saver, cost in by_saver.items():
                if saver != "memory" or cost["cpu_seconds"]:
                    title = SAVERS[saver].title if WORKLOADS[workload].has_saver else "botocore"
                    print("| " + " | ".join(_cells(title, cost)) + " |")


def _cells(title: str, cost: Mapping[str, Any]) -> list[str]:
    if cost["failure"]:
        return [title, cost["failure"], *[""] * 10]
    seconds = [cost["seconds"].get(str(latency_ms)) for latency_ms in LATENCIES_MS]
    operations = sorted(cost["requests"].items(), key=lambda pair: -pair[1])
    return [
        title,
        f"{sum(cost['requests'].values()):,}",
        f"{cost['write_units']:,.0f}",
        f"{cost['read_units']:,.1f}",
        f"{cost['stored_bytes'] / 1e6:,.2f}",
        f"{cost['waves']:,}" if cost["waves"] is not None else "",
        *("" if each is None else f"{each:,.2f}" for each in seconds),
        f"{cost['cpu_seconds']:,.2f}" if cost["cpu_seconds"] is not None else "",
        ", ".join(f"{name} {each:,.2f}" for name, each in cost.get("cpu_ms", {}).items()),
        ", ".join(f"{count:,} {OPERATIONS.get(name, name)}" for name, count in operations),
    ]


def print_check(results: Results) -> None:
    """Say how the units that DynamoDB Local reports compare with AWS's published rules."""
    costs = [cost for steps in results.values() for by in steps.values() for cost in by.values()]
    checked = sum(cost["checked"] for cost in costs)
    differing = sum(sum(cost["differing"].values()) for cost in costs)
    print(
        f"\nUnits are what DynamoDB Local reports as ConsumedCapacity; those of {checked:,} "
        f"requests were also computed from the sizes of the items, by AWS's rules (a write unit "
        f"for each KB begun of each item, a read unit for each 4 KB begun, half where eventually "
        f"consistent; a query adds its items up first): {differing:,} differ. Queries that find "
        f"nothing, and keys of a batch that are not there, for which DynamoDB Local reports 0, "
        f"count as AWS counts them: 1, or half. A refused conditional put counts by the item that "
        f"stands."
    )


# -- What is to be reached ----------------------------------------------------------------------


class Goal(NamedTuple):
    """A figure of this saver's, and what it must be."""

    what: str
    wanted: str
    measure: Callable[[Results], tuple[str, bool]]


class NotMeasuredError(Exception):
    """A workload was not run, or its step failed."""


def _cost(results: Results, workload: str, step: str, saver: str = THIS) -> dict[str, Any]:
    cost = results.get(workload, {}).get(step, {}).get(saver)
    if cost is None:
        raise NotMeasuredError(f"{workload} was not run with {SAVERS[saver].title}")
    if cost["failure"]:
        raise NotMeasuredError(f"{SAVERS[saver].title}: {cost['failure']}")
    return cost


def _figure(cost: Mapping[str, Any], name: str) -> float:
    if name == "requests":
        return float(sum(cost["requests"].values()))
    value = cost["seconds"].get(name.rpartition(" ")[2]) if "seconds at " in name else cost[name]
    if value is None:
        raise NotMeasuredError(f"no {name} ms")
    return float(value)


def _times(
    name: str, factor: float, workload: str, step: str, peer: str = AWS
) -> Callable[[Results], tuple[str, bool]]:
    """Measure how many times the peer's figure is this saver's."""

    def measure(results: Results) -> tuple[str, bool]:
        ours = _figure(_cost(results, workload, step), name)
        theirs = _figure(_cost(results, workload, step, peer), name)
        ratio = theirs / ours
        return f"{ours:,.2f} to {theirs:,.2f}: {ratio:,.1f}x", ratio >= factor

    return measure


def _at_most_twice_the_floor(results: Results) -> tuple[str, bool]:
    cost = _cost(results, "chat", "turns")
    floor = cost["calls"]["put"] + cost["calls"]["put_writes"]
    ratio = cost["write_units"] / floor
    return f"{cost['write_units']:,.0f} to {floor:,}: {ratio:.2f}x", ratio <= 2


def _late_turns(results: Results) -> tuple[str, bool]:
    units = [0.0, *_cost(results, "chat1000", "turns")["units_by_turn"]]
    early, late = (units[15] - units[5]) / 10, (units[1000] - units[990]) / 10
    return f"{late:.1f} to {early:.1f}: {late / early:.2f}x", late <= 3 * early


def _a_request_a_call(results: Results) -> tuple[str, bool]:
    cost = _cost(results, "fanout", "3 rounds")
    puts = cost["requests"]["PutItem"] - cost["calls"]["put"]
    calls = cost["calls"]["put_writes"]
    return f"{puts:,} for {calls:,} calls", puts <= calls


def _waves_of_a_short_list(results: Results) -> tuple[str, bool]:
    waves = _figure(_cost(results, "history", "list, limit=10"), "waves")
    return f"{waves:.0f}", waves <= 3


def _units_at_most(
    wanted: float, workload: str, step: str, puts: int = 1
) -> Callable[[Results], tuple[str, bool]]:
    """Measure write units, of a step or of each of its puts."""

    def measure(results: Results) -> tuple[str, bool]:
        units = _figure(_cost(results, workload, step), "write_units") / puts
        return f"{units:,.0f}" if puts == 1 else f"{units:,.2f}", units <= wanted

    return measure


def _cpu_of_a_large_put(results: Results) -> tuple[str, bool]:
    found = _cost(results, "cpu", TEN_MB)["cpu_ms"]
    if not found:
        raise NotMeasuredError("cpu was not timed")
    ratio = found["put"] / found["dumps_typed"]
    return f"{found['put']:,.0f} to {found['dumps_typed']:,.0f} ms: {ratio:,.2f}x", ratio <= 1.3


FRESH, TURNS = "get_state, fresh", "turns"
GOALS = (
    Goal("write units, chat of 100 turns", "30x fewer", _times("write_units", 30, "chat", TURNS)),
    Goal("the same against one a put and put_writes", "at most 2x", _at_most_twice_the_floor),
    Goal("the same, the peer compressing", "9x fewer",
         _times("write_units", 9, "chat", TURNS, AWS_COMPRESSED)),
    Goal("stored bytes, chat of 100 turns", "40x fewer",
         _times("stored_bytes", 40, "chat", TURNS)),
    Goal("write units, 200 KB document, 50 turns", "60x fewer",
         _times("write_units", 60, "document", TURNS)),
    Goal("write units, sliding window", "10x fewer", _times("write_units", 10, "window", TURNS)),
    Goal("read units, get_state after the chat, a fresh saver", "no more",
         _times("read_units", 1, "chat", FRESH)),
    Goal("read units, the chat in one process", "4x fewer",
         _times("read_units", 4, "chat", TURNS)),
    Goal("requests, DeltaChannel, 25 turns", "5x fewer", _times("requests", 5, "delta", TURNS)),
    Goal("write units of turn 1,000 against turn 10", "at most 3x", _late_turns),
    Goal("puts of writes, fan-out", "one a put_writes", _a_request_a_call),
    Goal("list of 500, 5 ms added", "15x faster", _times("seconds at 5", 15, "history", "list")),
    Goal("waves, list with limit=10", "at most 3", _waves_of_a_short_list),
    Goal("delete_thread of 500, 5 ms added", "15x faster",
         _times("seconds at 5", 15, "history", "delete_thread")),
    Goal("64 coroutines, 5 ms added", "5x the throughput",
         _times("seconds at 5", 5, "coroutines", "64 coroutines")),
    Goal("CPU, chat of 100 turns, LangGraph's own included", "less",
         _times("cpu_seconds", 1, "chat", TURNS)),
    *(Goal(f"write units, 60 turns, {name}", f"at most {shape.wanted}",
           _units_at_most(shape.wanted, "shapes", name))
      for name, shape in SHAPES.items()),
    *(Goal(f"write units, a put that appends 1 KB to {megabytes} MB", f"at most {wanted}",
           _units_at_most(wanted, "growth", f"{GROWTH_PUTS} puts, {megabytes} MB", GROWTH_PUTS))
      for megabytes, wanted in GROWTH.items()),
    Goal("CPU, a put that appends to 10 MB of messages, to dumps_typed of them", "at most 1.3x",
         _cpu_of_a_large_put),
)  # fmt: skip


def print_goals(results: Results) -> None:
    """Print what was to be reached, what was measured, and whether it is enough."""
    print(f"\n## To reach, against {SAVERS[AWS].title} in the same run\n")
    print("| what | wanted | measured | reached |\n|---|---|---|---|")
    for goal in GOALS:
        try:
            measured, is_reached = goal.measure(results)
            verdict = "yes" if is_reached else "NO"
        except NotMeasuredError as error:
            measured, verdict = f"not measured: {error}", ""
        print(f"| {goal.what} | {goal.wanted} | {measured} | {verdict} |")


# -- Pictures -----------------------------------------------------------------------------------


Lines = dict[str, list[tuple[int, float]]]  # by saver: turn and figure


def draw(results: Results, folder: Path) -> None:
    """Draw what a chat of 100 turns has cost by turn, and what it has left in the tables."""
    by_saver = {
        saver: cost
        for saver, cost in results["chat"][TURNS].items()
        if cost["units_by_turn"] and saver != "memory"
    }
    units: Lines = {s: list(enumerate(cost["units_by_turn"], 1)) for s, cost in by_saver.items()}
    _draw(
        folder / "write-units.svg", "Write units that a chat has used (log scale)", units, "{:,.0f}"
    )
    stored: Lines = {
        saver: [(turn, size / 1e6) for turn, size in cost["bytes_by_turn"]]
        for saver, cost in by_saver.items()
    }
    _draw(
        folder / "stored-bytes.svg",
        "MB that a chat has left in DynamoDB (log scale)",
        stored,
        "{:,.1f} MB",
    )


def _draw(path: Path, title: str, lines: Lines, figure_format: str) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "", "svg.fonttype": "none", "font.size": 11})
    figure, axes = plt.subplots(figsize=(10, 3.8), layout="constrained")
    axes.set(yscale="log", xlabel="turns of the chat", xlim=(0, 100))
    figure.suptitle(title, x=0.01, horizontalalignment="left", weight="bold", fontsize=13)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, axis="y", color="#e6e6e6")
    for saver, points in lines.items():
        axes.plot(*zip(*points, strict=True), color=_color(saver), linewidth=_width(saver))
    lowest, highest = (math.log10(limit) for limit in axes.get_ylim())
    # Each label at its line's end, but none over another.
    above = math.inf
    for saver, points in sorted(lines.items(), key=lambda line: -line[1][-1][1]):
        turn, value = points[-1]
        above = min((math.log10(value) - lowest) / (highest - lowest), above - 0.075)
        cut = "" if turn == 100 else f", then fails (turn {turn})"
        axes.text(
            1.02,
            above,
            f"{figure_format.format(value)}  {SAVERS[saver].title}{cut}",
            transform=axes.transAxes,
            va="center",
            color=_color(saver),
            weight="bold" if saver == THIS else "normal",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def _color(saver: str) -> str:
    return "#0b7a3b" if saver == THIS else "#6e747c"


def _width(saver: str) -> float:
    return 3 if saver == THIS else 1.5


# -- Cold start ---------------------------------------------------------------------------------
# CPU time of processes of their own, in turn, after `import langgraph.checkpoint.base`, which an
# agent needs in any case.


class Start(NamedTuple):
    """A way to DynamoDB's first answer, in three steps of code."""

    title: str
    imports: str
    makes: str
    asks: str = "made.get_item(TableName='coldstart', Key=KEY)"
    environment: tuple[tuple[str, str], ...] = ()


BOTO3, STOCK, LEAN = "boto3.client", "botocore, stock", "this saver"
IMPORTED = "this saver, imported only"
STARTS = (
    Start(
        "boto3, client and resource, as 0.1.0 makes them",
        "import boto3",
        "made = boto3.client('dynamodb'); beside = boto3.resource('dynamodb')",
    ),
    Start(BOTO3, "import boto3", "made = boto3.client('dynamodb')"),
    Start(
        STOCK,
        "import botocore.session",
        "made = botocore.session.get_session().create_client('dynamodb')",
    ),
    Start(
        "botocore with this saver's data loader",
        "import botocore.session; from langgraph_checkpoint_dynamodb import _lean_session",
        """
session = botocore.session.get_session()
session.register_component("data_loader", _lean_session().get_component("data_loader"))
made = session.create_client("dynamodb")
""",
    ),
    # The saver loads the rest of botocore as it makes the client.
    Start(
        LEAN,
        "from langgraph_checkpoint_dynamodb import DynamoDBSaver",
        "made = DynamoDBSaver('checkpoints', 'writes').client",
    ),
    Start(
        "this saver, where it makes a stock client",
        "from langgraph_checkpoint_dynamodb import DynamoDBSaver",
        "made = DynamoDBSaver('checkpoints', 'writes').client",
        environment=(("AWS_DATA_PATH", "nowhere"),),  # models of the user's own
    ),
    Start(IMPORTED, "from langgraph_checkpoint_dynamodb import DynamoDBSaver", "pass", "pass"),
    Start(
        "langgraph-checkpoint-aws's saver",
        "from langgraph_checkpoint_aws import DynamoDBSaver",
        "made = DynamoDBSaver('checkpoints').client",
    ),
    Start(
        "langgraph-checkpoint-aws's saver, imported only",
        "from langgraph_checkpoint_aws import DynamoDBSaver",
        "pass",
        "pass",
    ),
    # The floor: neither has retries, rules for addresses, hooks or mocks.
    Start(
        "botocore's SigV4Auth and URLLib3Session, no client",
        """
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
""",
        "made = URLLib3Session()",
        """
request = AWSRequest("POST", os.environ["AWS_ENDPOINT_URL_DYNAMODB"], HEADERS, BODY)
SigV4Auth(Credentials("bench", "bench"), "dynamodb", "eu-central-1").add_auth(request)
answer = made.send(request.prepare())
assert answer.status_code == 200 and answer.content == b"{}", answer.content
""",
    ),
    Start(
        "http.client and hmac by hand",
        "import datetime, hashlib, hmac, http.client",
        "made = http.client.HTTPConnection(os.environ['AWS_ENDPOINT_URL_DYNAMODB'][7:])",
        """
def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
time_ = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
signed = {"host": f"{made.host}:{made.port}", "x-amz-date": time_} | HEADERS
names = ";".join(sorted(signed, key=str.lower)).lower()
lines = "".join(f"{n.lower()}:{signed[n]}\\n" for n in sorted(signed, key=str.lower))
scope = f"{time_[:8]}/eu-central-1/dynamodb/aws4_request"
asked = f"POST\\n/\\n\\n{lines}\\n{names}\\n{hashlib.sha256(BODY).hexdigest()}"
digest = hashlib.sha256(asked.encode()).hexdigest()
key = b"AWS4bench"
for part in scope.split("/"):
    key = sign(key, part)
signature = sign(key, f"AWS4-HMAC-SHA256\\n{time_}\\n{scope}\\n{digest}").hex()
signed["authorization"] = (
    f"AWS4-HMAC-SHA256 Credential=bench/{scope}, SignedHeaders={names}, Signature={signature}"
)
made.request("POST", "/", BODY, signed)
answer = made.getresponse()
assert answer.status == 200 and answer.read() == b"{}", answer.status
""",
    ),
)

COLDSTART = "coldstart"  # beside the workloads
COLD_START = """
import json, os, resource, sys, time
import langgraph.checkpoint.base
sys.path.insert(0, sys.argv[1])
KEY = {{"thread_id": {{"S": "thread"}}, "checkpoint_id": {{"S": "checkpoint"}}}}
BODY = json.dumps({{"TableName": "coldstart", "Key": KEY}}).encode()
HEADERS = {{
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
}}
times = [time.process_time()]
{imports}
times.append(time.process_time())
{makes}
times.append(time.process_time())
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{asks}
times.append(time.process_time())
print(json.dumps([*(1000 * (b - a) for a, b in zip(times, times[1:])), memory / 1024]))
"""


class Paid(NamedTuple):
    """CPU milliseconds of the steps, and the largest resident size before the request, in MB."""

    imports: float
    makes: float
    answer: float
    peak: float

    @property
    def ready(self) -> float:
        """Until there is a client."""
        return self.imports + self.makes


def coldstart(repeats: int, python: Path) -> None:
    """Run each way *repeats* times, and print medians, spreads and what is to be reached."""
    costs: dict[str, list[Paid]] = {start.title: [] for start in STARTS}
    with tempfile.TemporaryDirectory() as folder:
        module = shutil.copy(HERE / "langgraph_checkpoint_dynamodb.py", folder)
        subprocess.run([python, "-m", "compileall", "-q", module], check=True)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_DYNAMODB": URL,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }
        subprocess.run([python, "-c", COLD_TABLE], env=environment, check=True)
        for repeat in range(repeats + 1):
            _progress(f"cold starts, {repeat} of {repeats}")
            for start in STARTS:
                code = COLD_START.format(**start._asdict())
                done = subprocess.run(
                    [python, "-c", code, folder],
                    env={**environment, **dict(start.environment)},
                    check=True,
                    stdout=subprocess.PIPE,
                )
                if repeat:  # the first time fills the caches of files
                    costs[start.title].append(Paid(*json.loads(done.stdout)))
    _print_costs(costs)
    _print_goals(costs)


COLD_TABLE = """
import botocore.session
client = botocore.session.get_session().create_client("dynamodb")
if "coldstart" not in client.list_tables()["TableNames"]:
    names = {"thread_id": "HASH", "checkpoint_id": "RANGE"}
    client.create_table(
        TableName="coldstart",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in names.items()],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in names],
    )
"""


def _median(costs: list[Paid], figure: str) -> float:
    return float(statistics.median(getattr(cost, figure) for cost in costs))


def _print_costs(costs: dict[str, list[Paid]]) -> None:
    print(f"CPU ms, medians of {len(costs[BOTO3])}; client ready from the least to the most\n")
    print("| way | import | client | client ready | of boto3.client | first GetItem | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for title, some in costs.items():
        ready = sorted(cost.ready for cost in some)
        cells = [
            title,
            f"{_median(some, 'imports'):.1f}",
            f"{_median(some, 'makes'):.1f}",
            f"{_median(some, 'ready'):.1f} ({ready[0]:.0f} to {ready[-1]:.0f})",
            f"{_median(some, 'ready') / _median(costs[BOTO3], 'ready'):.2f}",
            f"{_median(some, 'answer'):.1f}",
            f"{_median(some, 'peak'):.1f}",
        ]
        print("| " + " | ".join(cells) + " |")


def _print_goals(costs: dict[str, list[Paid]]) -> None:
    """Compare the medians; of two ways, the median of what they took in the same turn."""

    def ratio(figure: str, other: str) -> float:
        pairs = zip(costs[LEAN], costs[other], strict=True)
        return float(statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs))

    goals = (
        ("client ready, of boto3.client", ratio("ready", BOTO3), 0.48),
        ("client ready, of botocore's", ratio("ready", STOCK), 0.55),
        ("MB beside botocore's", _median(costs[LEAN], "peak") - _median(costs[STOCK], "peak"), -7),
        ("ms of the import alone", _median(costs[IMPORTED], "imports"), 10),
    )
    print()
    for what, found, limit in goals:
        print(f"{'reached' if found <= limit else 'missed '} {what}: {found:.2f}, at most {limit}")


# -- Command line -------------------------------------------------------------------------------


def main() -> None:
    """Run what the arguments name, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [COLDSTART, *WORKLOADS]
    parser.add_argument("workloads", nargs="*", metavar="workload", help=", ".join(names))
    parser.add_argument("--savers", help=f"some of: {','.join(SAVERS)}")
    parser.add_argument(
        "--repeats", type=int, help="timed runs of each (3); 5 times as many cold starts"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"15 minutes on two cores: all workloads, but only {', '.join(QUICK_SAVERS)}, one "
        f"timed run of each where there are 3, and of {LATENCIES_MS} ms only "
        f"{QUICK_LATENCIES_MS} (waves are those at {max(QUICK_LATENCIES_MS)} ms); "
        f"{', '.join(name for name, each in WORKLOADS.items() if each.is_long)} without peers",
    )
    parser.add_argument("--environments", type=Path, help="a folder with one for each peer")
    parser.add_argument(
        "--json",
        type=Path,
        help="keep the results beside those that it holds; with --show, read it",
    )
    parser.add_argument("--show", action="store_true", help="run nothing")
    parser.add_argument("--pictures", type=Path, help="draw into this folder")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _be_a_run(**json.loads(options.run))
        return
    repeats = options.repeats or (1 if options.quick else 3)
    workloads = options.workloads or names
    for name in workloads:
        if name not in names:
            parser.error(f"no workload {name!r}; there are {', '.join(names)}")
    if COLDSTART in workloads and not options.show:
        coldstart(5 * repeats, _python(options.environments, SAVERS[AWS].environment))
    if workloads == [COLDSTART]:
        return
    results: Results = {}
    with suppress(FileNotFoundError):
        results = json.loads(options.json.read_text()) if options.json else {}
    if not options.show:
        print(f"Prose: zlib makes 8 KiB of it {compression_of_prose():.2f} times smaller.")
        savers = QUICK_SAVERS if options.quick else tuple(SAVERS)
        savers = tuple(options.savers.split(",")) if options.savers else savers
        workloads = [name for name in workloads if name != COLDSTART]
        plan = Plan(workloads, savers, options.environments, repeats, options.quick)
        for _ in run_all(plan, results):
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    print_results(results)
    print_check(results)
    print_goals(results)
    if options.pictures:
        draw(results, options.pictures)


def _be_a_run(saver: str, workload: str, latency_ms: float, *, counting: bool) -> None:
    if SAVERS[saver].environment != THIS:
        # Two of the others are imported by the name of the module beside this file.
        sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    print(json.dumps(run(saver, workload, latency_ms, counting=counting)))


if __name__ == "__main__":
    main()
