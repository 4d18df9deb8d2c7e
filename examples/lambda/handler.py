# SPDX-License-Identifier: MIT
"""A chat agent on AWS Lambda that knows each of its users: one thread a user.

Invoked with ``{"user": "alice", "text": "hello"}``, it returns ``{"text": "..."}``. Who invokes it
vouches for the user. The model is a script, so that it runs without an API key.

What stands at the top level is made once, while Lambda initializes the function's environment,
and serves all invocations that come to it.
"""

import gc

gc.disable()  # nearly all that is loaded below stays: no use in looking for garbage in it

import os
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_checkpoint_dynamodb import DynamoDBSaver


def model(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Answer as a language model would: from all that was said in the thread."""
    said = [str(message.content) for message in state["messages"] if message.type == "human"]
    if len(said) == 1:
        return {"messages": [AIMessage(f"Hello. You said {said[0]!r}.")]}
    return {"messages": [AIMessage(f"That was message {len(said)}. The first was {said[0]!r}.")]}


saver = DynamoDBSaver(
    os.environ["CHECKPOINTS_TABLE"],
    os.environ["WRITES_TABLE"],
    ttl_seconds=int(os.environ["DAYS_TO_LIVE"]) * 86_400,
    max_workers=8,
)
saver.warm()  # opens the connection before a user waits for it: half a read unit
builder = StateGraph(MessagesState).add_node("model", model).add_edge(START, "model")
agent = builder.compile(checkpointer=saver)


def handler(event: dict[str, str], _context: object) -> dict[str, Any]:
    """Answer one message of a user."""
    state = agent.invoke(
        {"messages": [HumanMessage(event["text"])]},
        {"configurable": {"thread_id": event["user"]}},
    )
    return {"text": state["messages"][-1].content}


gc.freeze()  # what is there by now is never looked at again
gc.enable()
