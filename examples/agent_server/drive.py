# SPDX-License-Identifier: MIT
"""Start LangGraph's Agent Server with this example, use all that touches checkpoints, and stop it.

A run with a subgraph stops at an interrupt; the server is restarted; the run resumes; its thread is
copied, forked, rolled back and deleted. Each step checks what the server answers, and what
is left in DynamoDB. On DynamoDB Local: ``nox -s server``. On AWS, with your credentials, in tables
of names that no other agent uses::

    pip install "langgraph-cli[inmem]" "langgraph-checkpoint-dynamodb>=1"
    export CHECKPOINTS_TABLE=demo-checkpoints WRITES_TABLE=demo-writes
    python examples/agent_server/drive.py
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from langgraph_checkpoint_dynamodb import DynamoDBSaver

# The server calls no host but DynamoDB's: it counts no use of it, traces nothing, looks for no
# newer version. The flags do the rest: no browser, no watching of files, no tunnel unless asked.
QUIET = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING_V2": "false",
}
FLAGS = ["--no-browser", "--no-reload", "--host", "127.0.0.1"]
KEYS = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "LANGSMITH_CONTROL_PLANE_API_KEY")


class Story:
    """The steps, on a server that may be restarted between them."""

    def __init__(self, folder: Path, saver: DynamoDBSaver) -> None:
        self.folder = folder
        self.saver = saver

    def tell(self) -> None:
        """Do all steps in order."""
        with self.server() as client:
            thread = self.stops_at_the_interrupt(client)
        with self.server() as client:
            self.resumes(client, thread)
            copy = self.copies(client, thread)
            self.forks(client, copy)
            self.rolls_back(client, thread)
            self.deletes(client, thread, copy)

    @contextlib.contextmanager
    def server(self) -> Iterator[SyncLangGraphClient]:
        """Run `langgraph dev` until the block ends; give a client of it once it serves."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "langgraph_cli", "dev", *FLAGS, "--port", str(port)]
        env = {key: value for key, value in os.environ.items() if key not in KEYS} | QUIET
        started = time.monotonic()
        log = self.folder / "server.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            url = f"http://127.0.0.1:{port}"
            while not answers(url):
                if process.poll() is not None or time.monotonic() > started + 60:
                    sys.exit(f"the server does not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.1)
            say(f"the server serves after {time.monotonic() - started:.1f} s")
            with get_sync_client(url=url) as client:
                yield client
        except BaseException:
            print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stops_at_the_interrupt(self, client: SyncLangGraphClient) -> str:
        """Run the graph until its subgraph asks a person; return the thread's id."""
        thread: str = client.threads.create()["thread_id"]
        client.runs.wait(thread, "agent", input={"article": "lamp"})

        state: Any = client.threads.get_state(thread, subgraphs=True)
        (task,) = state["tasks"]
        expect([each["value"] for each in task["interrupts"]], ["buy lamp for 40 EUR?"])
        expect(task["state"]["values"]["price"], 40)
        say("a run stopped at the interrupt in its subgraph")
        return thread

    def resumes(self, client: SyncLangGraphClient, thread: str) -> None:
        """Bring the person's answer to a server that did not start the run."""
        state: Any = client.runs.wait(thread, "agent", command={"resume": "yes"})

        expect(state["log"], ["lamp for 40 EUR: yes", "order 1 closed"])
        say("another server resumed it")

    def copies(self, client: SyncLangGraphClient, thread: str) -> str:
        """Copy the thread; return the copy's id, which its checkpoints carry in their metadata."""
        client.threads.copy(thread)
        (copy,) = {each["thread_id"] for each in client.threads.search()} - {thread}

        history, copied = client.threads.get_history(thread), client.threads.get_history(copy)
        expect([each["values"] for each in copied], [each["values"] for each in history])
        expect({(each["metadata"] or {})["thread_id"] for each in copied}, {copy})
        expect({(each["metadata"] or {})["thread_id"] for each in history}, {thread})
        say(f"a copy has the same {len(copied)} checkpoints, and its own id in their metadata")
        return copy

    def forks(self, client: SyncLangGraphClient, thread: str) -> None:
        """Go back to the checkpoint before the order, change the article, and order again."""
        first: Any = client.threads.get_state(thread)
        before: Any = next(
            each for each in client.threads.get_history(thread) if each["next"] == ["purchase"]
        )
        forked = client.threads.update_state(
            thread, {"article": "chair"}, checkpoint_id=before["checkpoint"]["checkpoint_id"]
        )
        fork = forked["checkpoint"]["checkpoint_id"]
        client.runs.wait(thread, "agent", input=None, checkpoint_id=fork)
        state: Any = client.runs.wait(thread, "agent", command={"resume": "no"})

        expect(state["log"], ["chair for 50 EUR: no", "order 1 closed"])
        history: Any = client.threads.get_history(thread)
        found = [each for each in history if each["checkpoint"] == first["checkpoint"]]
        expect([each["values"] for each in found], [first["values"]])
        say("a fork of the copy ordered something else; the first branch is there")

    def rolls_back(self, client: SyncLangGraphClient, thread: str) -> None:
        """Roll back a run that has stored checkpoints: the thread is what it was before."""
        history = client.threads.get_history(thread)
        stored = self.stored(thread)
        run = client.runs.create(thread, "agent", input={"article": "desk", "seconds": 60})
        deadline = time.monotonic() + 20
        while not self.runs_in_a_subgraph(thread, run["run_id"]):
            if time.monotonic() > deadline:
                sys.exit("the run that is to be rolled back has stored nothing in 20 s")
            time.sleep(0.1)
        client.runs.cancel(thread, run["run_id"], action="rollback", wait=True)

        while self.stored(thread) != stored:
            if time.monotonic() > deadline:
                sys.exit(f"{self.stored(thread) - stored} is left of the run that was rolled back")
            time.sleep(0.1)
        expect(client.threads.get_history(thread), history)
        say("a rollback left nothing of its run, in the graph and in the subgraph")

    def runs_in_a_subgraph(self, thread: str, run: str) -> bool:
        """Say whether a run has stored a checkpoint of the subgraph."""
        config: Any = {"configurable": {"thread_id": thread}}
        return any(
            each.config.get("configurable", {})["checkpoint_ns"]
            for each in self.saver.list(config, filter={"run_id": run})
        )

    def deletes(self, client: SyncLangGraphClient, thread: str, copy: str) -> None:
        """Delete a thread by itself, the other one by a prune: nothing is left in DynamoDB."""
        client.threads.delete(thread)
        client.threads.prune([copy], strategy="delete")

        expect(client.threads.search(), [])
        expect([*self.stored(thread), *self.stored(copy)], [])
        say("both threads are deleted, in DynamoDB too")

    def stored(self, thread: str) -> set[tuple[str, str]]:
        """Return namespace and id of each checkpoint of a thread, as DynamoDB has them."""
        config: Any = {"configurable": {"thread_id": thread}}
        found = [each.config.get("configurable", {}) for each in self.saver.list(config)]
        return {(each["checkpoint_ns"], each["checkpoint_id"]) for each in found}


def answers(url: str) -> bool:
    """Say whether the server is ready."""
    try:
        return httpx.get(f"{url}/ok", timeout=5).is_success
    except httpx.TransportError:
        return False


def expect(found: object, expected: object) -> None:
    """End with an error unless both are equal."""
    if found != expected:
        sys.exit(f"found:    {found!r}\nexpected: {expected!r}")


def say(line: str) -> None:
    """Tell the person who watches."""
    print(line, flush=True)


def main() -> None:
    """Tell the story in a folder of its own, where `langgraph dev` leaves its files."""
    tables = (
        os.environ.get("CHECKPOINTS_TABLE", "checkpoints"),
        os.environ.get("WRITES_TABLE", "writes"),
    )
    with tempfile.TemporaryDirectory() as tmp, DynamoDBSaver(*tables) as saver:
        folder = Path(tmp, "agent_server")
        shutil.copytree(Path(__file__).parent, folder)
        Story(folder, saver).tell()


if __name__ == "__main__":
    main()
