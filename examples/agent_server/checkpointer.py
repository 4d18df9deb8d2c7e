# SPDX-License-Identifier: MIT
"""The saver that LangGraph's Agent Server uses, as langgraph.json names it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph_checkpoint_dynamodb import DynamoDBSaver


@asynccontextmanager
async def checkpointer() -> AsyncIterator[DynamoDBSaver]:
    """Give the server a saver, and close it when the server stops.

    `async with` makes the client on another thread: botocore reads files, and `langgraph dev`
    refuses any blocking call on its event loop.
    """
    tables = (
        os.environ.get("CHECKPOINTS_TABLE", "checkpoints"),
        os.environ.get("WRITES_TABLE", "writes"),
    )
    async with DynamoDBSaver(*tables) as saver:
        # The server rolls a run back by its id. With the index on run_id that is a query, without
        # it a scan of the whole table. Drop this line where Terraform or the like makes the tables.
        await saver.asetup(run_index=True)
        yield saver
