# SPDX-License-Identifier: MIT
"""A graph for LangGraph's Agent Server: a subgraph looks up a price, then asks a person.

It is compiled without a checkpointer: the server brings the one of langgraph.json. There is no
language model in it, so no API key is needed.
"""

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class State(TypedDict):
    """The state of the graph and of its subgraph."""

    article: str
    seconds: float  # how long the price list takes to answer; 0 where it is not given
    log: Annotated[list[str], add]


class Purchase(TypedDict):
    """The state of the subgraph. Its log starts empty, as the graph adds it to its own."""

    article: str
    seconds: float
    price: int
    log: list[str]


async def look_up(state: Purchase) -> dict[str, Any]:
    """Look up the price."""
    await asyncio.sleep(state.get("seconds", 0))
    return {"price": 10 * len(state["article"])}


def approve(state: Purchase) -> dict[str, Any]:
    """Stop until a person has answered."""
    answer = interrupt(f"buy {state['article']} for {state['price']} EUR?")
    return {"log": [f"{state['article']} for {state['price']} EUR: {answer}"]}


def close(state: State) -> dict[str, Any]:
    """End the order."""
    return {"log": [f"order {len(state['log'])} closed"]}


purchase = StateGraph(Purchase)
purchase.add_node("look_up", look_up)
purchase.add_node("approve", approve)
purchase.add_edge(START, "look_up")
purchase.add_edge("look_up", "approve")

builder = StateGraph(State)
builder.add_node("purchase", purchase.compile())
builder.add_node("close", close)
builder.add_edge(START, "purchase")
builder.add_edge("purchase", "close")
graph = builder.compile()
