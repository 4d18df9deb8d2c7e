# SPDX-License-Identifier: MIT
"""Measures real LangGraph graphs with this saver and with langgraph-checkpoint-aws.

    nox -s bench -- --quick                         # all workloads, one timed run of each
    nox -s bench -- --pictures docs chat fanout     # some, three timed runs of each; writes docs

DynamoDB Local is at $DYNAMODB_LOCAL_URL. A workload runs with each saver in a process of its own,
first to count, then to take times. A timed run sleeps 5 ms before each request in the thread that
sends it: requests in sequence cost their number of sleeps, and parallel requests cost one.

The amplification of a saver is the write units that it was charged, divided by the write units of
all items that are stored at the end. It is 1.0 if each item was written once.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import operator
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, make_dataclass
from functools import partial, reduce
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict, cast

import botocore.session
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import create_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

URL = os.environ.get("DYNAMODB_LOCAL_URL", "http://127.0.0.1:8000")
LATENCY_SECONDS = 0.005
LIMIT_SECONDS = 240  # a longer run is cut, and its row says so
QUESTION_CHARACTERS, ANSWER_CHARACTERS = 400, 1200

# Dollars per million request units: on-demand, us-east-1, Standard table class, as AWS has charged
# since 2024-11-01. https://aws.amazon.com/dynamodb/pricing/on-demand/
DOLLARS_PER_MILLION_WRITE_UNITS = 0.625
DOLLARS_PER_MILLION_READ_UNITS = 0.125


# -- Text ---------------------------------------------------------------------------------------
# Words with the frequencies of English words: zlib makes 8 KiB of the text 2.5 times smaller.

SYLLABLES = (  # noqa: SIM905  as a list they fill a page
    "a an ar be ber ca can con de den di ed el en er es fe for ge gra ha hin i ic in ing ion ir is "
    "ka la le li lo ly ma men mi mo na ne ni no o of on or ou pa per pla po qu ra re ri ro sa se "
    "sha si so sta ta te ter the ti tion to tra tu u un ur va ve vi wa we wi y"
).split()


_dice, _words = random.Random(1), dict[str, None]()
while len(_words) < 2000:
    _words["".join(_dice.choices(SYLLABLES, k=_dice.choice((1, 2, 2, 2, 3, 3, 4))))] = None
WORDS = list(_words)
WEIGHTS = list(accumulate(1 / (rank + 2) for rank in range(len(WORDS))))


def prose(dice: random.Random, size: int) -> str:
    """Make *size* characters of text, different at each call."""
    text = ""
    while len(text) < size:
        sentence = " ".join(dice.choices(WORDS, cum_weights=WEIGHTS, k=dice.randint(5, 18)))
        text += f"{sentence.capitalize()}. "
    return text[:size]


# -- Meter --------------------------------------------------------------------------------------


def units_of(request: Any, answer: Any) -> float:
    """Return the units that AWS charges: those reported, and what DynamoDB Local leaves out."""
    used = answer.get("ConsumedCapacity", [])
    units: float = sum(each["CapacityUnits"] for each in ([used] if "TableName" in used else used))
    minimum = 1 if request.get("ConsistentRead") else 0.5
    # DynamoDB Local reports nothing for keys that are not there, queries that find nothing, and
    # refused conditional puts. AWS charges the minimum; a refused put by the size of its item.
    for table, found in answer.get("Responses", {}).items():
        wanted = request["RequestItems"][table]
        units += (1 if wanted.get("ConsistentRead") else 0.5) * (len(wanted["Keys"]) - len(found))
    if answer.get("Error", {}).get("Code") == "ConditionalCheckFailedException":
        return 1
    return units if answer.get("Items") != [] else max(units, minimum)


@dataclass
class Cost:
    """The measurements of one step of a workload."""

    failure: str = ""
    requests: int = 0
    write_units: float = 0
    read_units: float = 0
    amplification: float | None = None
    stored_bytes: int = 0
    by_turn: list[tuple[float, int]] = field(default_factory=list)  # write units, stored bytes
    spans: list[tuple[float, float]] = field(default_factory=list)
    round_trips: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    cpu_ms: dict[str, float] = field(default_factory=dict)  # by kind of call


class Meter:
    """Counts and delays the requests of clients."""

    def __init__(self, *, is_counting: bool) -> None:
        self.is_counting = is_counting
        self.latency_seconds = LATENCY_SECONDS
        self.step: Cost | None = None
        self.write_units = 0.0  # those outside of steps too
        self.has_deleted = False
        self._lock = threading.Lock()

    def hook(self, client: Any) -> None:
        """Count the requests of a client."""
        events = client.meta.events
        events.register("provide-client-params.dynamodb", self._ask_for_units)
        events.register("before-call.dynamodb", self._start)
        events.register("before-send.dynamodb", self._delay)
        events.register("response-received.dynamodb", self._end)

    def _ask_for_units(self, params: Any, model: Any, **_: Any) -> Any:
        if self.is_counting and "ReturnConsumedCapacity" in model.input_shape.members:
            return {**params, "ReturnConsumedCapacity": "TOTAL"}
        return None

    def _start(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        context["bench"] = (model.name, params["body"], time.perf_counter())

    def _delay(self, **_: Any) -> None:
        if self.step and not self.is_counting:
            time.sleep(self.latency_seconds)

    def _end(self, context: Any, parsed_response: Any, **_: Any) -> None:
        name, body, start = context["bench"]
        end = time.perf_counter()
        with self._lock:
            step = self.step or Cost()
            step.requests += 1
            step.spans.append((start, end))
            if not self.is_counting or parsed_response is None:
                return
            units = units_of(json.loads(body), parsed_response)
            if name in ("GetItem", "BatchGetItem", "Query", "Scan"):
                step.read_units += units
            else:
                step.write_units += units
                self.write_units += units
                self.has_deleted |= name == "DeleteItem" or b'"DeleteRequest"' in body


def longest_chain(spans: Sequence[tuple[float, float]]) -> int:
    """Return how many of the spans can follow each other without two of them overlapping."""
    chain, last_end = 0, 0.0
    for start, end in sorted(spans, key=lambda span: span[1]):
        if start >= last_end:
            chain, last_end = chain + 1, end
    return chain


# -- Savers -------------------------------------------------------------------------------------


def _this(tables: str, **options: Any) -> Any:
    make = importlib.import_module("langgraph_checkpoint_dynamodb").DynamoDBSaver
    saver = make(f"{tables}-checkpoints", f"{tables}-writes", **options)
    saver.setup()
    return saver


def _aws(tables: str, **options: Any) -> Any:
    create_table(tables, "PK", "SK")
    return importlib.import_module("langgraph_checkpoint_aws").DynamoDBSaver(tables, **options)


THIS, AWS, AWS_COMPRESSED = "this", "aws", "aws-compressed"
SAVERS: dict[str, Callable[..., Any]] = {
    THIS: _this,
    AWS: _aws,
    AWS_COMPRESSED: partial(_aws, enable_checkpoint_compression=True),
}


def create_table(name: str, hash_key: str, range_key: str) -> None:
    """Make a table with two keys that are strings, unless it is there."""
    client: Any = botocore.session.get_session().create_client("dynamodb")
    keys = {hash_key: "HASH", range_key: "RANGE"}
    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        )


# -- A run --------------------------------------------------------------------------------------

TURNS, FRESH = "turns", "get_state, fresh"
SAME = (True, "the same values")


def expect(found: object, wanted: object, what: str) -> None:
    """Fail a step whose answer is not what was stored."""
    if found != wanted:
        raise ValueError(f"{what}: {found!r}, and not {wanted!r}")


class Run:
    """A workload's means: a saver, a way to measure its steps, a seeded source of text."""

    def __init__(self, saver: str, *, is_counting: bool) -> None:
        self.is_counting = is_counting
        self.costs: dict[str, Cost] = {}
        self.dice = random.Random(7)
        self._name, self.meter = saver, Meter(is_counting=is_counting)
        self._prefix = f"bench-{uuid.uuid4().hex[:12]}"
        self._client: Any = botocore.session.get_session().create_client("dynamodb")
        self._deadline = time.monotonic() + LIMIT_SECONDS
        self._cpu_ms: dict[str, list[float]] = {}
        self.fresh_tables()
        self.saver = self.fresh_saver()

    def fresh_tables(self) -> None:
        """Go on with new tables, so that a step's figures are its own."""
        self._tables = f"{self._prefix}-{uuid.uuid4().hex[:6]}"
        self._threads: list[str] = []
        self.meter.write_units, self.meter.has_deleted = 0, False

    def fresh_saver(self, **options: Any) -> Any:
        """Make a saver that knows no thread yet, as a new process would."""
        self._newest = SAVERS[self._name](self._tables, **options)
        self.meter.hook(getattr(self._newest, "client", None))  # a peer may have none
        return self._newest

    def config(self, thread_id: str | None = None) -> Any:
        """Make the config of a thread."""
        self._threads.append(thread_id or uuid.uuid4().hex)
        configurable = {"thread_id": self._threads[-1], "checkpoint_ns": ""}
        return {"configurable": configurable, "recursion_limit": 1000}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block; an error is its result."""
        cost = self.costs[name] = self.meter.step = Cost()
        self._cpu_ms = {}
        cpu, start = time.process_time(), time.perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001  it is the figure
            cost.failure = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        finally:
            self.meter.step = None
        if self.is_counting:
            cost.stored_bytes = self._stored_bytes()
            cost.amplification = self._amplification() if cost.write_units else None
        else:
            cost.seconds = time.perf_counter() - start
            cost.cpu_seconds = time.process_time() - cpu
            cost.cpu_ms = {name: statistics.median(each) for name, each in self._cpu_ms.items()}
            cost.round_trips = longest_chain(cost.spans)
        cost.spans = []

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call, and keep the CPU time that all threads took for it."""
        start = time.process_time()
        answer = call()
        self._cpu_ms.setdefault(name, []).append(1000 * (time.process_time() - start))
        return answer

    def end_turn(self, turn: int) -> None:
        """Note what a conversation has cost so far."""
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"cut after {turn} turns and {LIMIT_SECONDS} seconds")
        if (cost := self.meter.step) and self.is_counting:
            cost.by_turn.append((cost.write_units, self._stored_bytes()))

    def _stored_bytes(self) -> int:
        """Add up the sizes of the tables (AWS bills 100 bytes more for each item)."""
        tables = (self._client.describe_table(TableName=name) for name in self.tables())
        return sum(table["Table"]["TableSizeBytes"] for table in tables)

    def _amplification(self) -> float | None:
        """Divide the units written to these tables by those of their items, if none was deleted."""
        if self._name != THIS or self.meter.has_deleted:
            return None
        stored = sum(self._newest.stats(name).total["write_units"] for name in self._threads)
        return self.meter.write_units / stored if stored else None

    def tables(self) -> list[str]:
        """Name the tables that are in use."""
        pages = self._client.get_paginator("list_tables").paginate()
        return [n for page in pages for n in page["TableNames"] if n.startswith(self._tables)]

    def close(self) -> None:
        """Delete all tables."""
        self._tables = self._prefix
        for table in self.tables():
            self._client.delete_table(TableName=table)


# -- Graphs -------------------------------------------------------------------------------------

ADD: Any = add_messages
DELTA_MESSAGES = Annotated[list, DeltaChannel(cast("Any", _messages_delta_reducer))]


def _typed(**channels: Any) -> Any:
    make: Any = TypedDict
    return make("State", channels)


def _graph(**channels: Any) -> Any:
    """Start a graph whose state has messages and these channels."""
    return StateGraph(_typed(**{"messages": Annotated[list, ADD], **channels}))


def _chain(builder: Any, **nodes: Any) -> Any:
    """Add nodes that follow each other from the start."""
    builder.add_sequence(list(nodes.items()))
    return builder.add_edge(START, next(iter(nodes)))


def _id(text: str) -> str:
    """Make an id for a text: figures are the same in each run."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


def _says(dice: random.Random, size: int, name: str | None = None) -> Callable[[Any], Any]:
    """Make a node that answers with *size* characters."""
    return lambda _: {"messages": [AIMessage(text := prose(dice, size), name=name, id=_id(text))]}


def _calls(dice: random.Random) -> Callable[[Any], Any]:
    """Make a node that calls a tool."""

    def call(_: Any) -> Any:
        query = prose(dice, 40)
        tool_call = {"name": "search", "args": {"query": query}, "id": _id(f"call {query}")}
        return {"messages": [AIMessage("", tool_calls=[tool_call], id=_id(query))]}

    return call


def _tool_message(state: Any, text: str) -> Any:
    called = state["messages"][-1].tool_calls[0]["id"]
    return ToolMessage(text, tool_call_id=called, id=_id(f"answer to {called}"))


def _finds(dice: random.Random, size: int) -> Callable[[Any], Any]:
    """Make a node that is the tool, and finds *size* characters."""
    return lambda state: {"messages": [_tool_message(state, prose(dice, size))]}


def _human(text: str, **values: Any) -> Any:
    return {"messages": [HumanMessage(text, id=_id(text))], **values}


def _chat(**channels: Any) -> Any:
    """Build the graph of a chat, three nodes a turn."""
    return _chain(
        _graph(step=int, **channels),
        plan=lambda state: {"step": state.get("step", 0) + 1},
        model=_says(random.Random(11), ANSWER_CHARACTERS),
        post=lambda state: {"step": state["step"] + 1},
    )


def _questions(run: Run, turns: int, **first: Any) -> Iterator[Any]:
    """Make the input of each turn: a question, and in the first turn *first* too."""
    for turn in range(turns):
        yield _human(prose(run.dice, QUESTION_CHARACTERS), **({} if turn else first))


def _play(run: Run, builder: Any, inputs: Iterable[Any], **wanted: Any) -> None:
    """Invoke a graph with each input; a fresh saver then has the *wanted* texts and lengths."""
    config = run.config()
    with run.step(TURNS):
        graph = builder.compile(checkpointer=run.saver)
        for turn, given in enumerate(inputs, 1):
            graph.invoke(given, config)
            run.end_turn(turn)
    saver = run.fresh_saver()
    with run.step(FRESH):
        values = builder.compile(checkpointer=saver).get_state(config).values
        for name, each in wanted.items():
            found = values.get(name, "")
            expect(found if isinstance(each, str) else len(found), each, name)


# -- Workloads ----------------------------------------------------------------------------------


def chat(run: Run, turns: int = 100) -> None:
    """A chat of 100 turns: three nodes a turn, questions of 400 characters, answers of 1,200."""
    _play(run, _chat(), _questions(run, turns), messages=2 * turns)


def window(run: Run) -> None:
    """A chat of 100 turns that keeps its last 40 messages."""
    last_40 = Annotated[list, lambda old, new: ADD(old, new)[-40:]]
    _play(run, _chat(messages=last_40), _questions(run, 100), messages=40)


def document(run: Run) -> None:
    """A document of 200 KB in the state, beside 50 turns with a tool."""
    text, dice, builder = prose(run.dice, 200 * 1024), random.Random(11), _graph(document=str)
    _chain(builder, call=_calls(dice), tool=_finds(dice, 300), answer=_says(dice, 200))
    _play(run, builder, _questions(run, 50, document=text), messages=200, document=text)


def fanout(run: Run) -> None:
    """100 Sends side by side, three rounds."""

    def sends(state: Any) -> Any:
        return [Send("work", {"number": n}) for n in range(100)] if state["round"] <= 3 else END

    text = prose(run.dice, 100)
    builder: Any = StateGraph(_typed(found=Annotated[list, operator.add], round=int))
    builder.add_node("spread", lambda state: {"round": state.get("round", 0) + 1})
    builder.add_node("work", lambda task: {"found": [f"{task['number']}: {text}"]})
    builder.add_edge(START, "spread").add_edge("work", "spread")
    _play(run, builder.add_conditional_edges("spread", sends, ["work", END]), [{}], found=300)


def subgraphs(run: Run) -> None:
    """A graph in a graph in a graph, each with a message a turn; 20 turns."""
    say = _says(random.Random(11), 200)
    middle = _chain(_graph(), say=say, inner=_chain(_graph(), say=say).compile())
    _play(run, _chain(_graph(), say=say, middle=middle.compile()), _questions(run, 20), messages=80)


def supervisor(run: Run, turns: int = 8) -> None:
    """A supervisor asks three workers in each of 8 turns; each is a subgraph with a tool."""
    names, dice = ("research", "math", "writing"), random.Random(11)

    def lead(state: Any) -> Any:
        since = max(n for n, each in enumerate(state["messages"]) if isinstance(each, HumanMessage))
        done = {message.name for message in state["messages"][since:]}
        for name in names:
            if name not in done:
                return Command(goto=name, update={"messages": [AIMessage(name, name="lead")]})
        return Command(goto=END, update=_says(dice, 500, "lead")(state))

    builder = _graph().add_node("lead", lead, destinations=(*names, END)).add_edge(START, "lead")
    for name in names:
        nodes = {"call": _calls(dice), "tool": _finds(dice, 700), "say": _says(dice, 900, name)}
        builder.add_node(name, _chain(_graph(), **nodes).compile()).add_edge(name, "lead")
    _play(run, builder, _questions(run, turns), messages=14 * turns)


def swarm(run: Run, turns: int = 25) -> None:
    """Three agents, each a subgraph, share a chat of 25 turns; each turn is handed over once."""
    names, dice = ("alice", "bob", "carol"), random.Random(11)

    def agent(name: str, peer: str) -> Any:
        def model(state: Any) -> Any:
            is_asked = isinstance(state["messages"][-1], HumanMessage)
            return (_calls(dice) if is_asked else _says(dice, 900, name))(state)

        def hand_over(state: Any) -> Any:
            if not state["messages"][-1].tool_calls:
                return {}
            update = {"messages": [*state["messages"], _tool_message(state, peer)], "active": peer}
            return Command(graph=Command.PARENT, update=update, goto=peer)

        return _chain(_graph(active=str), model=model, hand_over=hand_over).compile()

    builder = _graph(active=str)
    for name, peer in zip(names, (*names[1:], names[0]), strict=True):
        builder.add_node(name, agent(name, peer))
    builder.add_conditional_edges(START, lambda state: state.get("active") or names[0], [*names])
    _play(run, builder, _questions(run, turns), messages=4 * turns)


def deep(run: Run, turns: int = 12) -> None:
    """A deep agent, 12 turns: its messages and files are DeltaChannels, a subagent writes files."""

    def write(state: Any) -> Any:
        file = {f"notes/{len(state['files']):03}.md": prose(dice, 2000)}
        return {"messages": [_tool_message(state, "written")], "files": file}

    def task(state: Any) -> Any:
        found = subagent.invoke(_human(prose(dice, 300), files=state["files"]))
        answer = _tool_message(state, found["messages"][-1].content)
        return {"messages": [answer], "files": found["files"]}

    dice = random.Random(11)
    files = Annotated[dict, DeltaChannel(lambda old, new: reduce(operator.or_, new, old))]
    state, nodes = {"messages": DELTA_MESSAGES, "files": files}, {"call": _calls(dice)}
    subagent = _chain(_graph(**state), **nodes, tool=write, say=_says(dice, 500)).compile()
    builder = _chain(_graph(**state), **nodes, tool=task, say=_says(dice, 500))
    inputs = _questions(run, turns, files={"notes/000.md": prose(run.dice, 2000)})
    _play(run, builder, inputs, messages=4 * turns, files=turns + 1)


def delta(run: Run, turns: int = 25) -> None:
    """A chat of 25 turns whose messages are a DeltaChannel."""
    _play(run, _chat(messages=DELTA_MESSAGES), _questions(run, turns), messages=2 * turns)


def pictures(run: Run) -> None:
    """Pictures of 300 KB: in each of 6 turns one comes with the input, and a node makes another."""
    dice, builder = random.Random(11), _graph(pictures=Annotated[list, operator.add], step=int)

    def paint(_: Any) -> Any:
        return {"pictures": [dice.randbytes(300_000)]}

    _chain(builder, look=lambda state: {"step": state.get("step", 0) + 1}, paint=paint)
    _play(run, builder, map(paint, range(6)), pictures=12)


def large(run: Run) -> None:
    """One value of 3 MB."""
    text = prose(run.dice, 3_000_000)
    _play(run, _chat(document=str), [_human("Here it is.", document=text)], document=text)


def interrupts(run: Run) -> None:
    """20 interrupts, each answered; after each an update_state, and every fourth time a fork."""
    builder, config = _chat().add_edge("post", "ask"), run.config()
    builder.add_node("ask", lambda state: {"step": interrupt({"step": state["step"]})})
    with run.step(TURNS):
        graph = builder.compile(checkpointer=run.saver)
        for turn, question in enumerate(_questions(run, 20), 1):
            graph.invoke(question, config)
            expect(graph.get_state(config).next, ("ask",), "the next node")
            graph.invoke(Command(resume=turn), config)
            graph.update_state(config, {"step": 100 + turn}, as_node="ask")
            if turn % 4 == 0:
                *_, earlier = graph.get_state_history(config, limit=6)
                graph.update_state(earlier.config, {"step": -1}, as_node=START)
            run.end_turn(turn)
    saver = run.fresh_saver()
    with run.step(FRESH):
        expect(builder.compile(checkpointer=saver).get_state(config).values["step"], -1, "step")


def history(run: Run) -> None:
    """A thread of 500 checkpoints: list, filter, before, limit; copy, inspect, prune, delete it."""
    graph, config, copy = _chat().compile(checkpointer=run.saver), run.config(), run.config()
    is_ours = hasattr(run.saver, "stats")  # the other savers have no calls for an operator
    for question in _questions(run, 100):
        graph.invoke(question, config)
    thread_id, target = (each["configurable"]["thread_id"] for each in (config, copy))
    saver = run.fresh_saver()
    half = [*run.saver.list(config, limit=250)][-1].config
    for name, options, count in (
        ("list", {}, 500),
        ("list, limit=10", {"limit": 10}, 10),
        ("list, filter source=input", {"filter": {"source": "input"}}, 100),
        ("list, before, limit=10", {"before": half, "limit": 10}, 10),
    ):
        with run.step(name):
            expect(len([*saver.list(config, **options)]), count, "checkpoints")
    with run.step("copy_thread"):
        saver.copy_thread(thread_id, target)
        expect(len(graph.get_state(copy).values["messages"]), 200, "messages")
    for name in ("history", "stats", "verify") if is_ours else ():
        operator_ = run.fresh_saver()
        with run.step(name):
            found = getattr(operator_, name)(thread_id)
            expect(len(list(found)) > 0, *SAME)
    with run.step("prune"):
        saver.prune([target])
        expect(len(list(saver.list(copy))), 1, "checkpoints")
    if is_ours:
        with run.step("prune, grace_seconds=0"):
            run.fresh_saver().prune([target], grace_seconds=0)
        saver.copy_thread(thread_id, f"{target} 2")
        with run.step("set_ttl"):
            run.fresh_saver().set_ttl([f"{target} 2"], 86_400)
        with run.step("prune, keep_last=10"):
            run.fresh_saver().prune([f"{target} 2"], keep_last=10)
    with run.step("delete_thread"):
        saver.delete_thread(thread_id)
    expect(run.saver.get_tuple(config), None, "the deleted thread")


def threads(run: Run) -> None:
    """200 threads of two turns, 16 of them at once; the time is that of all."""

    def talk(number: int) -> int:
        config = run.config(f"thread-{number}")
        graph.invoke(_human(f"{number}: {prose(run.dice, 200)}"), config)
        return len(graph.invoke(_human("And then?"), config)["messages"])

    with run.step(TURNS), ThreadPoolExecutor(16) as pool:
        graph = _chat().compile(checkpointer=run.saver)
        expect(set(pool.map(talk, range(200))), {4}, "messages")


def coroutines(run: Run) -> None:
    """64 coroutines, each a chat of three turns; the time is that of all."""

    async def talk(number: int) -> int:
        config = run.config(f"coroutine-{number}")
        said = [_human(f"{number}: {prose(run.dice, 200)}") for _ in range(3)]
        return [len((await graph.ainvoke(each, config))["messages"]) for each in said][-1]

    async def all_at_once() -> Any:
        return await asyncio.gather(*map(talk, range(64)))

    with run.step(TURNS):
        graph = _chat().compile(checkpointer=run.saver)
        expect(set(asyncio.run(all_at_once())), {6}, "messages")


# -- Shapes -------------------------------------------------------------------------------------
# One node a turn, in states of several kinds. The question comes with the input, the
# answer from the node. A state without a reducer goes in and out whole.

_dice = random.Random(5)
POOL = prose(random.Random(5), 500_000)
LONG_TEXT = POOL[: 60 * 1024]
FILES = {f"src/file{n:02}.py": prose(_dice, 600) for n in range(80)}
DataclassChat: Any = make_dataclass("DataclassChat", ["messages"])
DataclassChat.__module__ = __name__  # where a serde looks
PydanticChat: Any = create_model("PydanticChat", __module__=__name__, messages=(list[Any], []))
PydanticState: Any = create_model("PydanticState", chat=(PydanticChat, PydanticChat()))


def _said(text: str) -> dict[str, Any]:
    return {"role": "user" if len(text) == QUESTION_CHARACTERS else "assistant", "content": text}


def _list(_: Any, text: str) -> Any:
    return {"messages": [_said(text)]}


def _messages(_: Any, text: str) -> Any:
    kind = HumanMessage if len(text) == QUESTION_CHARACTERS else AIMessage
    return {"messages": [kind(text, id=_id(text))]}


def _dict(found: Any, text: str) -> Any:
    return {**(found or {}), "messages": [*(found or {}).get("messages", ()), _said(text)]}


def _object(make: Any) -> Callable[[Any, str], Any]:
    def add(found: Any, text: str) -> Any:
        found = {"chat": found.chat} if isinstance(found, PydanticState) else found
        old = found["chat"].messages if found else ()
        return {"chat": make(messages=[*old, _said(text)])}

    return add


def _nested(found: Any, text: str) -> Any:
    session: Any = found["session"] if found else {"manual": LONG_TEXT, "talk": {"chat": None}}
    talk = {**session["talk"], "chat": _dict(session["talk"]["chat"], text)}
    return {"session": {**session, "talk": talk}}


def _files(found: Any, text: str) -> Any:
    if len(text) == QUESTION_CHARACTERS:
        return {"request": text, **({} if found else {"files": FILES})}
    return {"files": {[*FILES][zlib.crc32(text.encode()) % len(FILES)]: text[:600]}}


def _edited(found: Any, text: str) -> Any:
    if len(text) == QUESTION_CHARACTERS:
        return {"request": text, **({} if found else {"text": LONG_TEXT})}
    place = zlib.crc32(text.encode()) % (len(LONG_TEXT) - len(text))
    return {"text": found["text"][:place] + text + found["text"][place + len(text) :]}


class Shape(NamedTuple):
    """A kind of state, the way a text is added to it, and the limit in write units for 60 turns."""

    add: Callable[[Any, str], Any]
    state: Any  # None: an entrypoint that saves the state for its next call
    limit: int
    is_encrypted: bool = False


LIST = _typed(messages=Annotated[list, operator.add])
FILED = _typed(files=Annotated[dict, operator.or_], request=str)
SHAPES = {
    "TypedDict with a list": Shape(_list, LIST, 530),
    "MessagesState": Shape(_messages, MessagesState, 560),
    "StateGraph(dict)": Shape(_dict, dict, 680),
    "pydantic model": Shape(_object(PydanticChat), PydanticState, 700),
    "dataclass in a channel": Shape(_object(DataclassChat), _typed(chat=DataclassChat), 700),
    "entrypoint that saves a dict": Shape(_dict, None, 500),
    "nested dict beside a 60 KB manual": Shape(_nested, dict, 680),
    "dict of 80 files": Shape(_files, FILED, 640),
    "TypedDict with a list, encrypted": Shape(_list, LIST, 630, is_encrypted=True),
    "MessagesState, encrypted": Shape(_messages, MessagesState, 640, is_encrypted=True),
    "StateGraph(dict), encrypted": Shape(_dict, dict, 740, is_encrypted=True),
    "60 KB string, edited": Shape(_edited, _typed(text=str, request=str), 900),
    "string that grows": Shape(
        lambda old, new: {"text": (old or {"text": ""})["text"] + new}, dict, 700
    ),
}


def shapes(run: Run) -> None:
    """60 turns in states of several kinds, 1,600 characters each; a fresh saver reads the last."""
    for name, shape in SHAPES.items():
        run.fresh_tables()
        options: dict[str, Any] = {}
        if shape.is_encrypted:
            options["serde"] = EncryptedSerializer.from_pycryptodome_aes(key=bytes(range(32)))
        memory, config = InMemorySaver(), run.config()
        _talk(run, shape, memory, config)
        with run.step(name):
            saver, reader = run.fresh_saver(**options), run.fresh_saver(**options)
            _talk(run, shape, saver, config)
            expect(_state(reader, config) == _state(memory, config), *SAME)


def _talk(run: Run, shape: Shape, saver: Any, config: Any) -> None:
    dice, state = random.Random(6), None

    def answer(found: Any) -> Any:
        return shape.add(found, prose(dice, ANSWER_CHARACTERS))

    def respond(question: str, *, previous: Any = None) -> Any:
        saved = answer(shape.add(previous, question))
        return entrypoint.final(value=saved["messages"][-1]["content"], save=saved)

    graph: Any = entrypoint(checkpointer=saver)(respond)
    if shape.state:
        graph = _chain(StateGraph(shape.state), answer=answer).compile(checkpointer=saver)
    for turn in range(1, 61):
        question = prose(dice, QUESTION_CHARACTERS)
        state = graph.invoke(shape.add(state, question) if shape.state else question, config)
        run.end_turn(turn)


def _state(saver: Any, config: Any) -> Any:
    return saver.get_tuple(config).checkpoint["channel_values"]


# -- Single calls -------------------------------------------------------------------------------
# Limits of a put: write units, by MB of the history that it appends 1 KB to, and by the number of
# channels that all change; CPU time, in that of dumps_typed, by MB of messages.

GROWTH = {0.3: 3.3, 1.1: 3.6, 10: 4.5, 50: 6.0}
CHANNELS = {100: 25.0, 500: 120.0}
APPENDS = {0.2: 6.5, 1: 2.5, 10: 2.0}
PUTS = 20


class Thread:
    """A thread that is stored by calls of a new saver, without a graph."""

    def __init__(self, run: Run, **values: Any) -> None:
        run.fresh_tables()
        self.config: Any = run.config()
        self.values = values
        self.saver, self.reader = run.fresh_saver(), run.fresh_saver()
        self._step = -1
        self._versions: dict[str, Any] = dict.fromkeys(values)

    def put(self, *changed: str) -> None:
        """Store the next checkpoint, in which the channels *changed* are new."""
        new = {name: self.saver.get_next_version(self._versions[name], None) for name in changed}
        self._versions.update(new)
        self._step += 1
        checkpoint: Any = empty_checkpoint()
        # As a graph makes it. A checkpoint below 4 has its pending sends with its parent.
        checkpoint.update(v=4, channel_values=self.values, updated_channels=[*changed])
        checkpoint["channel_versions"] = dict(self._versions)
        metadata = {"source": "loop", "step": self._step, "parents": {}}
        self.config = self.saver.put(self.config, checkpoint, metadata, new)


def _cut(dice: random.Random, size: int) -> str:
    """Cut a text anywhere out of the pool, in less time than prose takes."""
    start = dice.randrange(len(POOL) - size)
    return POOL[start : start + size]


def _message(dice: random.Random, kind: Any = dict) -> Any:
    """Make a message of 1 KB."""
    text = _cut(dice, 970)
    return kind(content=text, id=_id(text))


def growth(run: Run) -> None:
    """20 puts that append 1 KB to histories of 0.3, 1.1, 10 and 50 MB; a fresh saver reads it."""
    for megabytes in GROWTH:
        history = [_message(run.dice) for _ in range(int(megabytes * 1000))]
        thread = Thread(run, messages=history)
        with suppress(Exception):  # the same follows in the step
            thread.put("messages")
        with run.step(f"{megabytes} MB"):
            for _ in range(PUTS):
                history.append(_message(run.dice))
                thread.put("messages")
            expect(_state(thread.reader, thread.config) == thread.values, *SAME)


def channels(run: Run) -> None:
    """20 puts of 100 and of 500 channels of 300 bytes that all change; a fresh saver reads them."""
    for count in CHANNELS:
        thread = Thread(run, **{f"channel{number}": "" for number in range(count)})
        with run.step(f"{count} channels"):
            for _ in range(PUTS):
                thread.values.update({name: _cut(run.dice, 300) for name in thread.values})
                thread.put(*thread.values)
            expect(_state(thread.reader, thread.config) == thread.values, *SAME)


def cpu(run: Run) -> None:
    """CPU of single calls; puts beside the serde's dumps_typed of the same value."""
    dice, repeats, run.meter.latency_seconds = run.dice, 2 if run.is_counting else 15, 0
    for megabytes in APPENDS:
        history = [_message(dice, AIMessage) for _ in range(int(megabytes * 1000))]
        thread = Thread(run, messages=history)
        with suppress(Exception):  # the same follows in the step
            thread.put("messages")
        with run.step(f"append, {megabytes} MB"):
            for _ in range(repeats):
                history.append(_message(dice, AIMessage))
                run.timed("dumps_typed", partial(thread.saver.serde.dumps_typed, history))
                run.timed("put", partial(thread.put, "messages"))
    strings: Any = [_cut(dice, dice.randint(15, 60)) for _ in range(205_000)]  # 8 MB
    for depth in (1, 11):
        with run.step(f"strings, {depth} deep"):
            thread = Thread(run, values=strings)
            run.timed("dumps_typed", partial(thread.saver.serde.dumps_typed, strings))
            run.timed("put", partial(thread.put, "values"))
        strings = reduce(lambda value, _: [value], range(10), strings)
    thread = Thread(run, messages=[_message(dice), _message(dice)], note=_cut(dice, 1000), step=0)
    with run.step("calls, 3 KB"):
        thread.put(*thread.values)
        for number in range(5 if run.is_counting else 200):
            thread.values["step"] = number
            run.timed("put", partial(thread.put, "step"))
            writes = [("messages", _cut(dice, 300)), ("branch:to:next", None)]
            put_writes = partial(thread.saver.put_writes, thread.config, writes, f"task {number}")
            run.timed("put_writes", put_writes)
            found = run.timed("get_tuple", partial(thread.saver.get_tuple, thread.config))
            expect(found.config, thread.config, "the config")


# -- All runs -----------------------------------------------------------------------------------


class Workload(NamedTuple):
    """A workload, whether it is timed, and the savers that it is for."""

    function: Callable[[Run], None]
    is_timed: bool = True
    savers: Sequence[str] = ()  # all


EACH = (
    *(window, document, fanout, subgraphs, supervisor, swarm, deep, pictures, interrupts),
    *(history, threads, coroutines, delta, large),
)
WORKLOADS: dict[str, Workload] = {
    "chat": Workload(chat),
    "chat20": Workload(partial(chat, turns=20)),
    "chat1000": Workload(partial(chat, turns=1000), is_timed=False),
    **{each.__name__: Workload(each) for each in EACH},
    "delta200": Workload(partial(delta, turns=200), is_timed=False),
    "shapes": Workload(shapes, is_timed=False, savers=(THIS, AWS)),
    "growth": Workload(growth, is_timed=False, savers=(THIS, AWS)),
    "channels": Workload(channels, is_timed=False, savers=(THIS, AWS)),
    "cpu": Workload(cpu, savers=(THIS, AWS)),
}

Results = dict[str, dict[str, dict[str, Any]]]  # workload, saver, step: fields of Cost


def run_once(saver: str, workload: str, *, is_counting: bool) -> dict[str, Cost]:
    """Run a workload, and return the cost of each of its steps."""
    run = Run(saver, is_counting=is_counting)
    try:
        WORKLOADS[workload].function(run)
    finally:
        run.close()
    return run.costs


def run_all(saver: str, workload: str, repeats: str) -> dict[str, Cost]:
    """Run a workload once to count, and then for the medians of *repeats* timed runs."""
    steps = run_once(saver, workload, is_counting=True)
    if not WORKLOADS[workload].is_timed or all(cost.failure for cost in steps.values()):
        return steps
    runs = [run_once(saver, workload, is_counting=False) for _ in range(int(repeats))]
    for name, cost in steps.items():
        timed = [run[name] for run in runs if name in run and not run[name].failure]
        for figure in ("seconds", "cpu_seconds", "round_trips") if timed else ():
            setattr(cost, figure, statistics.median(getattr(each, figure) for each in timed))
        for call in timed[0].cpu_ms if timed else ():
            cost.cpu_ms[call] = statistics.median(each.cpu_ms[call] for each in timed)
    return steps


def run_in_process(saver: str, workload: str, repeats: int) -> dict[str, Any]:
    """Run a workload in a process; what kills the process is the result."""
    dummy = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-1"}
    environment = {**os.environ, **dummy, "AWS_ENDPOINT_URL_DYNAMODB": URL}
    print(f"... {workload}, {saver}", file=sys.stderr, flush=True)
    command = [sys.executable, sys.argv[0], "--run", saver, workload, str(repeats)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        failure = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"": asdict(Cost(failure[:200]))}
    return dict(json.loads(done.stdout.splitlines()[-1]))


# -- Tables -------------------------------------------------------------------------------------


def dollars(cost: Mapping[str, Any]) -> float:
    """Return what AWS charges for a million times these units."""
    writes = cost["write_units"] * DOLLARS_PER_MILLION_WRITE_UNITS
    return float(writes + cost["read_units"] * DOLLARS_PER_MILLION_READ_UNITS)


COLUMNS: dict[str, Callable[[Any], Any]] = {
    "requests": lambda cost: f"{cost['requests']:,}",
    "write units": lambda cost: f"{cost['write_units']:,.0f}",
    "read units": lambda cost: f"{cost['read_units']:,.1f}",
    "$ per 1,000": lambda cost: f"{dollars(cost) / 1000:,.4f}",
    "amplification": lambda cost: cost["amplification"],
    "stored MB": lambda cost: cost["stored_bytes"] / 1e6,
    "round trips": lambda cost: cost["round_trips"],
    "s": lambda cost: cost["seconds"],
    "CPU s": lambda cost: cost["cpu_seconds"],
    "CPU ms of a call": lambda cost: ", ".join(f"{k} {v:,.2f}" for k, v in cost["cpu_ms"].items()),
}


def _print_row(*cells: Any) -> None:
    texts = (f"{cell:,.2f}" if isinstance(cell, float) else str(cell or "") for cell in cells)
    print(f"| {' | '.join(texts)} |")


def print_results(results: Results) -> None:
    """Print a table of each workload: its steps, with each saver."""
    for workload, by_saver in results.items():
        function: Any = WORKLOADS[workload].function
        about = getattr(function, "func", function).__doc__.partition("\n")[0]
        print(f"\n## {workload}: {about} {getattr(function, 'keywords', '')}\n")
        _print_row("step", "saver", *COLUMNS)
        _print_row(*["---"] * (len(COLUMNS) + 2))
        for step in dict.fromkeys(step for steps in by_saver.values() for step in steps):
            for saver, steps in by_saver.items():
                if cost := steps.get(step):
                    cells = [column(cost) for column in COLUMNS.values()]
                    _print_row(step, saver, *([cost["failure"]] if cost["failure"] else cells))


# -- Goals --------------------------------------------------------------------------------------


class Goal(NamedTuple):
    """A figure of a step, or of all, and its limit; with a peer, the least of theirs to ours."""

    workload: str
    step: str
    figure: str
    limit: float
    peer: str = ""


FIGURES: dict[str, Callable[[Any], Any]] = {  # those that are not fields of a cost
    "write_units a put": lambda cost: cost["write_units"] / PUTS,
    "CPU to dumps_typed": lambda cost: (
        cost["cpu_ms"] and cost["cpu_ms"]["put"] / cost["cpu_ms"]["dumps_typed"]
    ),
    "write_units of turns 991 to 1,000, to 6 to 15": lambda cost: (
        (units := [each[0] for each in cost["by_turn"]])
        and (units[999] - units[989]) / (units[14] - units[4])
    ),
}

GOALS = (
    *(Goal(name, "", "amplification", 1.05) for name in WORKLOADS),
    *(Goal(name, TURNS, "write_units", most) for name, most in (
        ("supervisor", 490), ("chat", 1260), ("window", 1300), ("document", 860), ("fanout", 330))),
    *(Goal(name, FRESH, "read_units", most) for name, most in (
        ("chat", 16), ("window", 6), ("document", 20.5), ("fanout", 4))),
    *(Goal("shapes", name, "write_units", shape.limit) for name, shape in SHAPES.items()),
    Goal("shapes", "", "write_units", 6650),
    *(Goal("growth", f"{size} MB", "write_units a put", most) for size, most in GROWTH.items()),
    *(Goal("channels", f"{count} channels", "write_units a put", most)
      for count, most in CHANNELS.items()),
    Goal("chat1000", TURNS, "write_units of turns 991 to 1,000, to 6 to 15", 3),
    *(Goal("cpu", f"append, {size} MB", "CPU to dumps_typed", most)
      for size, most in APPENDS.items()),
    *(Goal("cpu", f"strings, {depth} deep", "CPU to dumps_typed", 40)
      for depth in (1, 11)),
    *(Goal("chat", TURNS, figure, least, AWS) for figure, least in (
        ("write_units", 30), ("stored_bytes", 40), ("read_units", 4), ("cpu_seconds", 1))),
    Goal("chat", FRESH, "read_units", 1, AWS),
    Goal("chat", TURNS, "write_units", 9, AWS_COMPRESSED),
    Goal("document", TURNS, "write_units", 60, AWS),
    Goal("window", TURNS, "write_units", 10, AWS),
    Goal("delta", TURNS, "requests", 5, AWS),
    Goal("history", "list", "seconds", 15, AWS),
    Goal("history", "delete_thread", "seconds", 15, AWS),
    Goal("coroutines", TURNS, "seconds", 5, AWS),
)  # fmt: skip


def _figure(results: Results, goal: Goal, saver: str = THIS) -> float | None:
    """Return a figure, or of all steps the sum or the worst; None if it was not measured."""
    steps = results.get(goal.workload, {}).get(saver, {})
    costs = [cost for step, cost in steps.items() if goal.step in ("", step)]
    if any(cost["failure"] for cost in costs):
        return None
    figure = FIGURES.get(goal.figure, operator.itemgetter(goal.figure))
    found = [each for each in map(figure, costs) if each]
    return (max if goal.figure == "amplification" else sum)(found) if found else None


def print_goals(results: Results) -> None:
    """Print each figure that was measured, its limit, and whether it is within."""
    print("\n## Goals\n")
    _print_row("workload", "step", "figure", "limit", "measured", "reached")
    _print_row(*["---"] * 6)
    for goal in GOALS:
        found, theirs = (_figure(results, goal, saver) for saver in (THIS, goal.peer or THIS))
        if found is None or theirs is None:
            continue
        found = theirs / found if goal.peer else float(found)
        is_reached = found >= goal.limit if goal.peer else found <= goal.limit
        limit = f"{goal.peer} has {goal.limit:,} times" if goal.peer else f"{goal.limit:,}"
        _print_row(*goal[:3], limit, found, "yes" if is_reached else "NO")


# -- Command line -------------------------------------------------------------------------------


def main() -> None:
    """Run what the arguments name, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("workloads", nargs="*", metavar="workload", help=", ".join(WORKLOADS))
    add("--savers", default=",".join(SAVERS), help=f"some of: {','.join(SAVERS)}")
    add("--repeats", type=int, default=3, help="timed runs of each workload (3)")
    add("--quick", action="store_const", const=1, dest="repeats", help="one timed run of each")
    add("--json", type=Path, help="add the results to this file, and print all that it holds")
    add("--pictures", type=Path, help="write the tables of this folder's pages, draw the chat")
    add("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        steps = run_all(*options.run)
        print(json.dumps({step: asdict(cost) for step, cost in steps.items()}))
        return
    if unknown := {*options.workloads} - {*WORKLOADS}:
        parser.error(f"no workload {sorted(unknown)}")
    old = options.json.read_text() if options.json and options.json.exists() else "{}"
    results: Results = json.loads(old)
    for name in options.workloads or WORKLOADS:
        for saver in options.savers.split(","):
            if saver in (WORKLOADS[name].savers or SAVERS):
                results.setdefault(name, {})[saver] = run_in_process(saver, name, options.repeats)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    sample = prose(random.Random(1), 8192).encode()
    print(f"Prose: zlib makes it {len(sample) / len(zlib.compress(sample)):.2f} times smaller.")
    print_results(results)
    print_goals(results)
    programs, folder = Path(__file__).with_name(".ci"), [options.pictures] * bool(options.pictures)
    command = [sys.executable, programs / "tables.py", *folder]
    subprocess.run(command, input=json.dumps(results), text=True, check=True)
    if folder and "chat" in results:
        chats = json.dumps({saver: steps[TURNS] for saver, steps in results["chat"].items()})
        command = [sys.executable, programs / "pictures.py", *folder]
        subprocess.run(command, input=chats, text=True, check=True)


if __name__ == "__main__":
    main()
