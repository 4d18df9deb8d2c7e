# SPDX-License-Identifier: MIT
"""LangChain's create_agent with a model of Amazon Bedrock, whose threads are in DynamoDB.

All that it needs is the id of a model, or of an inference profile, that your account may call::

    pip install langchain langchain-aws "langgraph-checkpoint-dynamodb>=1"
    export BEDROCK_MODEL_ID=...
    python bedrock_agent.py alice "My name is Alice. What is 17 * 23?"
    python bedrock_agent.py alice "What is my name?"

The second call is another process, and knows the name. Region and credentials come from where the
AWS CLI takes them. The tables ``checkpoints`` and ``writes`` are created if they do not exist.
"""

import os
import sys

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from langgraph_checkpoint_dynamodb import DynamoDBSaver


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two whole numbers."""
    return a * b


def main() -> None:
    """Ask the agent one question in a thread, and print its answer."""
    if len(sys.argv) != 3 or "BEDROCK_MODEL_ID" not in os.environ:
        sys.exit("usage: BEDROCK_MODEL_ID=... python bedrock_agent.py THREAD QUESTION")
    thread_id, question = sys.argv[1:]
    model = init_chat_model(f"bedrock_converse:{os.environ['BEDROCK_MODEL_ID']}")
    with DynamoDBSaver("checkpoints", "writes") as saver:
        saver.setup()
        agent = create_agent(model, tools=[multiply], checkpointer=saver)
        state = agent.invoke(
            {"messages": [HumanMessage(question)]}, {"configurable": {"thread_id": thread_id}}
        )
        print(state["messages"][-1].text)


if __name__ == "__main__":
    main()
