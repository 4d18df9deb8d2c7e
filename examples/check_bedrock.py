# SPDX-License-Identifier: MIT
"""Run the examples that call Amazon Bedrock, with a script in place of its model.

``nox -s bedrock`` runs this on DynamoDB Local. The script stands behind Bedrock's own address, so
that all of LangChain and boto3 is in use; it answers from what the conversation holds.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from langgraph_checkpoint_dynamodb import DynamoDBSaver

HERE = Path(__file__).parent
MODEL = "eu.amazon.nova-lite-v1:0"
SESSION_HEADER = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"
SESSION = "session-of-alice-0123456789-0123456789"  # AgentCore's have 33 characters at least
QUESTION = "My name is Alice. What is 17 * 23?"
SLOW = "Answer slowly: what is my name?"

# -- The model ----------------------------------------------------------

is_asked_slowly = threading.Event()


def answered(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the content of the model's next message: a call of a tool, or a text."""
    said = [part for message in request["messages"] for part in message["content"]]
    texts = [part["text"] for part in said if "text" in part]
    results = [part["toolResult"] for part in said if "toolResult" in part]
    numbers = re.search(r"(\d+) \* (\d+)", texts[-1])
    if numbers and "toolConfig" in request and "toolResult" not in said[-1]:
        given = {"a": int(numbers[1]), "b": int(numbers[2])}
        return [{"toolUse": {"toolUseId": "call-1", "name": "multiply", "input": given}}]
    if numbers and results:
        return [{"text": f"It is {results[-1]['content'][0]['text']}."}]
    if texts[-1] == SLOW:
        is_asked_slowly.set()
        time.sleep(2)
    names = re.findall(r"My name is (\w+)", "\n".join(texts))
    return [{"text": f"Your name is {names[0]}." if names else "I do not know you."}]


class Bedrock(BaseHTTPRequestHandler):
    """Bedrock's operation Converse."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a request."""
        if unquote(self.path) != f"/model/{MODEL}/converse":
            self.send_error(404)
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = answered(request)
        body = json.dumps(
            {
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": "tool_use" if "toolUse" in content[0] else "end_turn",
                "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
                "metrics": {"latencyMs": 1},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent."""


# -- The examples -------------------------------------------------------


def ask(thread_id: str, question: str) -> str:
    """Run the script bedrock_agent.py."""
    command = [sys.executable, str(HERE / "bedrock_agent.py"), thread_id, question]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def serving() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the container's program; give its port once it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(HERE / "agentcore" / "agent.py")]
    process = subprocess.Popen(command, env={**os.environ, "PORT": str(port)})
    try:
        deadline = time.monotonic() + 60
        while not is_healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("agentcore/agent.py does not serve")
            time.sleep(0.1)
        yield port, process
    finally:
        process.kill()
        process.wait()


def is_healthy(port: int) -> bool:
    """Ask the container's program as AgentCore does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return bool(json.loads(connection.getresponse().read())["status"] == "Healthy")
    except OSError:
        return False
    finally:
        connection.close()


def invoke(port: int, prompt: str, session: str | None = SESSION) -> tuple[int, Any]:
    """Send a request as AgentCore does."""
    headers = {"Content-Type": "application/json"}
    if session:
        headers[SESSION_HEADER] = session
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/invocations", json.dumps({"prompt": prompt}), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def check_script() -> None:
    """A second process knows what the first one was told, and another thread does not."""
    expect("an answer by a tool", ask("alice", QUESTION), "It is 391.\n")
    expect("the next process", ask("alice", "What is my name?"), "Your name is Alice.\n")
    expect("another thread", ask("bob", "What is my name?"), "I do not know you.\n")


def check_container() -> None:
    """A session goes on in the next container; a stop waits for the answer under way."""
    refused = (400, {"error": "the request has no session id"})
    with serving() as (port, process):
        expect("no session", invoke(port, QUESTION, session=None), refused)
        invoke(port, "My name is Alice.")
        slow: list[Any] = []
        thread = threading.Thread(target=lambda: slow.append(invoke(port, SLOW)))
        thread.start()
        if not is_asked_slowly.wait(30):
            sys.exit("the slow question did not reach the model")
        process.send_signal(signal.SIGTERM)
        thread.join()
        expect("an answer during the stop", slow, [(200, {"answer": "Your name is Alice."})])
        # uvicorn ends as the signal would have ended it, after it has shut down.
        expect("exit code", process.wait(30) in (0, -signal.SIGTERM), expected=True)
    with serving() as (port, _):
        known = (200, {"answer": "Your name is Alice."})
        expect("the next container", invoke(port, "What is my name?"), known)
    with DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"]) as saver:
        found = saver.verify(SESSION)
        expect("damage", (found.damaged, found.orphans), ([], {}))


def expect(subject: str, found: object, expected: object) -> None:
    """End with an error unless both are equal."""
    if found != expected:
        sys.exit(f"{subject}\n  found:    {found!r}\n  expected: {expected!r}")
    print(f"{subject}: {found!r}", flush=True)


def main() -> None:
    """Check both examples with one server in place of Bedrock."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bedrock)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = f"http://127.0.0.1:{server.server_port}"
    os.environ.update(
        BEDROCK_MODEL_ID=MODEL, CHECKPOINTS_TABLE="checkpoints", WRITES_TABLE="writes"
    )
    check_script()
    check_container()
    server.shutdown()


if __name__ == "__main__":
    main()
