# SPDX-License-Identifier: MIT
"""An agent for Amazon Bedrock AgentCore Runtime, or any other container: docs/containers.md."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bedrock_agentcore.runtime import BedrockAgentCoreApp, RequestContext
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage
from starlette.exceptions import HTTPException

from langgraph_checkpoint_dynamodb import DynamoDBSaver

# Made once, at the start of the process, and shared by all requests.
saver = DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"], max_workers=16)
model = init_chat_model(f"bedrock_converse:{os.environ['BEDROCK_MODEL_ID']}")
agent = create_agent(model, checkpointer=saver)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Open a connection before the first request; close the saver after the last one."""
    await saver.awarm()
    yield
    saver.close()


app = BedrockAgentCoreApp(lifespan=lifespan)


@app.entrypoint
async def invoke(payload: dict[str, Any], context: RequestContext) -> dict[str, str]:
    """Answer one request. The session is the thread."""
    if context.session_id is None:
        raise HTTPException(400, "the request has no session id")
    state = await agent.ainvoke(
        {"messages": [HumanMessage(payload["prompt"])]},
        {"configurable": {"thread_id": context.session_id}},
    )
    return {"answer": state["messages"][-1].text}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8080")), timeout_graceful_shutdown=10)
