# SPDX-License-Identifier: MIT
"""Measures a fresh process until DynamoDB has answered it once, with this saver and with others.

    nox -s bench -- coldstart

CPU time of processes of their own, in turn, after ``import langgraph.checkpoint.base``, which an
agent needs in any case. DynamoDB Local is at $DYNAMODB_LOCAL_URL.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

MODULE = Path(__file__).resolve().parent.parent / "langgraph_checkpoint_dynamodb.py"
URL = os.environ.get("DYNAMODB_LOCAL_URL", "http://127.0.0.1:8000")


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


def main() -> None:
    """Run each way some times, in turn, and print medians, spreads and what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="processes of each way (15)")
    parser.add_argument("--quick", action="store_const", const=5, dest="repeats", help="5 of them")
    repeats = parser.parse_args().repeats
    costs: dict[str, list[Paid]] = {start.title: [] for start in STARTS}
    with tempfile.TemporaryDirectory() as folder:
        module = shutil.copy(MODULE, folder)
        subprocess.run([sys.executable, "-m", "compileall", "-q", module], check=True)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_DYNAMODB": URL,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }
        subprocess.run([sys.executable, "-c", COLD_TABLE], env=environment, check=True)
        for repeat in range(repeats + 1):
            print(f"... cold starts, {repeat} of {repeats}", file=sys.stderr, flush=True)
            for start in STARTS:
                code = COLD_START.format(**start._asdict())
                done = subprocess.run(
                    [sys.executable, "-c", code, folder],
                    env={**environment, **dict(start.environment)},
                    check=True,
                    stdout=subprocess.PIPE,
                )
                if repeat:  # the first time fills the caches of files
                    costs[start.title].append(Paid(*json.loads(done.stdout)))
    _print_costs(costs)
    _print_goals(costs)


if __name__ == "__main__":
    main()
