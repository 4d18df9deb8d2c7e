# SPDX-License-Identifier: MIT
"""An agent that is killed in mid-run, goes on in another process, and waits for a person.

A purchasing agent looks up a price and the stock, side by side, and orders once a person agrees.
Three processes run it, one after the other, with nothing in common but two DynamoDB tables:

1. is killed when it knows the price, but not yet the stock;
2. looks up the stock, not the price again, and stops where a person has to agree;
3. brings the person's answer, and places the order.

The model is a script, so no API key is needed. On DynamoDB Local: ``nox -s demo``. On AWS, with
your credentials; the tables demo-checkpoints and demo-writes are made, and stay, empty::

    DEMO_ON_AWS=yes AWS_DEFAULT_REGION=eu-west-1 python examples/approval_agent.py

Without the variable, the region is that of your AWS profile.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

from langgraph_checkpoint_dynamodb import DynamoDBSaver

CHECKPOINTS, WRITES = "demo-checkpoints", "demo-writes"
CATALOGUE = [f"article {n}, {n * 7919 % 9973 / 10} EUR" for n in range(2000)]
KILLED = 9

# -- The agent ----------------------------------------------------------


class State(MessagesState):
    """What the agent knows. All of it is in every checkpoint."""

    catalogue: list[str]


@tool
def price(article: str) -> str:
    """Look up what an article costs."""
    note("tool", f"price of {article}")
    return "450 EUR"


@tool
def stock(article: str) -> str:
    """Look up how many of an article are left."""
    note("tool", f"stock of {article}")
    if "start" in sys.argv:
        time.sleep(1)  # in which the price is looked up and stored
        os._exit(KILLED)  # nothing is closed or saved any more, as in a power cut
    return "3 left"


@tool
def order(article: str) -> str:
    """Order an article."""
    note("tool", f"order of {article}")
    return f"1 {article} ordered"


def model(state: State) -> dict[str, list[AIMessage]]:
    """Do as a language model would: call tools, and sum up when there is nothing left to do."""
    known = [str(m.content) for m in state["messages"] if isinstance(m, ToolMessage)]
    if len(known) > 2:
        return {"messages": [AIMessage(f"{known[-1]}, for {known[0]}")]}
    tools = ["order"] if known else ["price", "stock"]
    args = {"article": "espresso machine"}
    calls = [ToolCall(name=name, args=args, id=f"call-{name}", type="tool_call") for name in tools]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def calls(state: State) -> list[ToolCall]:
    """Return the tool calls that the model asked for last."""
    last = state["messages"][-1]
    return last.tool_calls if isinstance(last, AIMessage) else []


def route(state: State) -> list[Send] | str:
    """Run each tool as a task of its own, so that one that is done is not done again."""
    if any(call["name"] == "order" for call in calls(state)):
        return "approval"
    return [Send("tools", [call]) for call in calls(state)] or END


def approval(state: State) -> Command[Literal["tools", "model"]]:
    """Stop here until a person has answered, in whichever process that is."""
    (call,) = calls(state)
    if interrupt(f"order 1 {call['args']['article']}?") == "yes":
        return Command(goto=Send("tools", [call]))
    refusal = ToolMessage("not ordered", tool_call_id=call["id"])
    return Command(goto="model", update={"messages": [refusal]})


graph = StateGraph(State)
graph.add_node("model", model)
graph.add_node("tools", ToolNode([price, stock, order]))
graph.add_node("approval", approval)
graph.add_edge(START, "model")
graph.add_conditional_edges("model", route, ["tools", "approval", END])
graph.add_edge("tools", "model")

# -- The three processes ------------------------------------------------

STORY = {
    "start": "A process starts the agent. It is killed as it looks up the stock.",
    "go-on": "A second process goes on from DynamoDB, up to the approval.",
    "approve": "A third one brings the answer.",
}


def run(step: str, thread: RunnableConfig) -> None:
    """Be one of the three processes."""
    with open_saver() as saver:
        agent = graph.compile(checkpointer=saver)
        if step == "start":
            request = HumanMessage("Get us an espresso machine.")
            agent.invoke({"messages": [request], "catalogue": CATALOGUE}, thread)
        elif step == "go-on":
            for task in agent.get_state(thread).tasks:
                state = "done" if task.result else "to do"
                say(f"found: task {task.id[:8]} of {task.name!r}, {state}")
            stopped = agent.invoke(None, thread)  # None: nothing new, go on
            say(f"agent: {stopped['__interrupt__'][0].value}")
        else:
            say("person: yes")
            ended = agent.invoke(Command(resume="yes"), thread)
            say(f"agent: {ended['messages'][-1].content}")


def open_saver() -> DynamoDBSaver:
    """Connect to the tables on DynamoDB Local or on AWS, and note what each request consumes."""
    if url := os.environ.get("DYNAMODB_LOCAL_URL"):
        credentials = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo"}
        where = {"endpoint_url": url, "region_name": "us-east-1", **credentials}
    elif os.environ.get("DEMO_ON_AWS"):
        where = {}  # region and credentials as the AWS CLI finds them
        if region := os.environ.get("AWS_REGION"):  # which botocore does not read
            where["region_name"] = region
    else:
        sys.exit("Run `nox -s demo`, or see the top of this file for AWS.")
    saver = DynamoDBSaver(CHECKPOINTS, WRITES, where)
    saver.client.meta.events.register("provide-client-params.dynamodb", ask_for_capacity)
    saver.client.meta.events.register("after-call.dynamodb", note_capacity)
    return saver


def ask_for_capacity(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Have DynamoDB say what a request consumed."""
    if "ReturnConsumedCapacity" in model.input_shape.members:
        params["ReturnConsumedCapacity"] = "TOTAL"


def note_capacity(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Note what a request consumed."""
    consumed = parsed.get("ConsumedCapacity", [])
    for part in consumed if isinstance(consumed, list) else [consumed]:
        note("request", f"{model.name} {part['TableName']}", part["CapacityUnits"])


def note(kind: str, what: str, units: float = 0) -> None:
    """Keep a fact for the process that counts, though this one may be killed."""
    if kind == "tool":
        say(f"tool: {what}")
    with Path(os.environ["DEMO_NOTES"]).open("a") as notes:
        notes.write(json.dumps([kind, what, units]) + "\n")


def say(line: str) -> None:
    """Tell the person who watches."""
    print(f"   {line}", flush=True)


# -- The process that starts them, and counts ---------------------------


def main() -> None:
    """Tell the story, then what it stored and what it consumed."""
    thread_id = f"demo-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder, open_saver() as saver:
        file = Path(folder, "notes")
        os.environ["DEMO_NOTES"] = str(file)
        saver.setup()
        for number, (step, told) in enumerate(STORY.items(), 1):
            print(f"{number}. {told}", flush=True)
            process = subprocess.run([sys.executable, __file__, step, thread_id], check=False)
            if process.returncode != (KILLED if step == "start" else 0):
                sys.exit(f"{step} ended with status {process.returncode}")
        notes = [json.loads(line) for line in file.read_text().splitlines()]
        tools = Counter(what.split()[0] for kind, what, _ in notes if kind == "tool")
        if tools != {"price": 1, "stock": 2, "order": 1}:
            sys.exit(f"these tools were called: {dict(tools)}")
        print("The price was looked up once, and the order placed once.\n")
        show_stored(saver, thread_id)
        show_consumed(notes)
        saver.delete_thread(thread_id)


def show_stored(saver: DynamoDBSaver, thread_id: str) -> None:
    """Show how many items of each kind the thread has, and their size."""
    checkpoints, writes = (
        saver.client.query(
            TableName=table,
            KeyConditionExpression=f"{hash_key} = :thread",
            ExpressionAttributeValues={":thread": {"S": thread_id}},
        )
        for table, hash_key in (
            (CHECKPOINTS, "thread_id"),
            (WRITES, "thread_id_checkpoint_id_checkpoint_ns"),
        )
    )
    count, size = Counter[str](), Counter[str]()
    kinds = {"~c": "subgraph", "~x": "chunk", "~t": "tombstone"}  # else a checkpoint
    for item in checkpoints["Items"] + writes["Items"]:
        if "checkpoint_id" in item:
            kind = f"{CHECKPOINTS} {kinds.get(item['checkpoint_id']['S'][:2], 'checkpoint')}"
        else:
            kind = f"{WRITES} write"
        count[kind] += 1
        size[kind] += sum(len(name) for name in item)
        size[kind] += sum(len(value) for typed in item.values() for value in typed.values())
    print(f"{'Stored':<34}{'items':>8}{'bytes':>8}")
    for kind in sorted(count):
        print(f"  {kind:<32}{count[kind]:>8}{size[kind]:>8}")
    print(f"The catalogue alone, {sum(map(len, CATALOGUE))} bytes, is in every checkpoint.\n")


def show_consumed(notes: list[tuple[str, str, float]]) -> None:
    """Show how many requests of each kind were made, and what they consumed."""
    requests = Counter(what for kind, what, _ in notes if kind == "request")
    print(f"{'Consumed':<34}{'requests':>8}{'units':>8}")
    for what in sorted(requests):
        units = sum(units for _, same, units in notes if same == what)
        unit = "write" if what.startswith(("Put", "BatchWrite")) else "read"
        print(f"  {what:<32}{requests[what]:>8}{units:>8} {unit}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        run(sys.argv[1], {"configurable": {"thread_id": sys.argv[2]}})
