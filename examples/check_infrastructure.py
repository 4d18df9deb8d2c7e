# SPDX-License-Identifier: MIT
"""Compare every description of the two tables with one, and run a graph on what templates create.

``nox -s infrastructure`` runs this, with the folder in which it has synthesized the CDK app once
without the index on run_id, and once with it.

CloudFormation is moto's. It creates tables with their keys, index, billing and deletion protection,
but ignores expiry and point-in-time recovery, which are therefore compared as the templates say
them. It knows no AWS::Serverless: of the Lambda template it gets the tables, their parameter and
its condition, as they stand there.
"""

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict
from urllib.request import Request, urlopen

import botocore.session
import hcl2
from cfnlint.decode import decode_str
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from moto.server import ThreadedMotoServer

from langgraph_checkpoint_dynamodb import DynamoDBSaver

HERE = Path(__file__).parent
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}

# -- The tables ---------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is compared."""

    keys: list[str]
    types: dict[str, str]
    billing: str = "PAY_PER_REQUEST"
    expires_by: str | None = "ttl"
    recovery: bool = True
    protected: bool = True
    indexes: dict[str, tuple[list[str], str]] = field(default_factory=dict)


def expected(*, run_index: bool) -> dict[str, Table]:
    """Return both tables: the one description with which all others are compared."""
    checkpoints = Table(
        ["thread_id", "checkpoint_id"],
        {"thread_id": "S", "checkpoint_id": "S"},
    )
    if run_index:
        checkpoints = replace(
            checkpoints,
            types={**checkpoints.types, "run_id": "S"},
            indexes={"run_id": (["run_id", "thread_id"], "KEYS_ONLY")},
        )
    writes = Table(
        ["thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
        {"thread_id_checkpoint_id_checkpoint_ns": "S", "task_id_idx": "S"},
    )
    return {"checkpoints": checkpoints, "writes": writes}


# -- CloudFormation and the CDK -----------------------------------------


def templated(template: dict[str, Any], *, run_index: bool) -> dict[str, Table]:
    """Describe the tables of a template, whose only condition is the parameter RunIndex."""
    tables = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"}:
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                expect(f"{policy} of {name}", resource[policy], "Retain")
            own = resolved(resource["Properties"], run_index=run_index)
            # A global table, which TableV2 is, has some settings in its replicas.
            (replica,) = own.get("Replicas", [own])
            # The CDK appends a digest to an id: Checkpoints40F4D1E9.
            (table,) = (each for each in ("checkpoints", "writes") if name.lower().startswith(each))
            expect(f"name of {name}", own.get("TableName", table), table)
            recovery = replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
            tables[table] = table_of(
                own,
                billing=own["BillingMode"],
                expires_by=expiry(own["TimeToLiveSpecification"]),
                recovery=recovery,
                protected=replica["DeletionProtectionEnabled"],
            )
    return tables


def resolved(value: Any, *, run_index: bool) -> Any:
    """Resolve each Fn::If, as CloudFormation does: a property that is AWS::NoValue is not there."""
    if isinstance(value, dict):
        if "Fn::If" in value:
            condition, true, false = value["Fn::If"]
            expect("condition", condition, "HasRunIndex")
            return resolved(true if run_index else false, run_index=run_index)
        pairs = ((key, resolved(each, run_index=run_index)) for key, each in value.items())
        return {key: each for key, each in pairs if each != {"Ref": "AWS::NoValue"}}
    if isinstance(value, list):
        return [resolved(each, run_index=run_index) for each in value]
    return value


def table_of(description: dict[str, Any], **more: Any) -> Table:
    """Describe a table by what CloudFormation and DynamoDB call the same."""
    return Table(
        keys=key_names(description),
        types={
            str(each["AttributeName"]): str(each["AttributeType"])
            for each in description["AttributeDefinitions"]
        },
        indexes={
            each["IndexName"]: (key_names(each), each["Projection"]["ProjectionType"])
            for each in description.get("GlobalSecondaryIndexes", ())
        },
        **more,
    )


def key_names(described: dict[str, Any]) -> list[str]:
    """Return the hash key and the range key of a table or an index."""
    kinds = {each["KeyType"]: each["AttributeName"] for each in described["KeySchema"]}
    return [kinds["HASH"], kinds["RANGE"]]


def expiry(specification: dict[str, Any]) -> str | None:
    """Return the attribute that says when an item expires."""
    return specification["AttributeName"] if specification["Enabled"] else None


# -- Terraform ----------------------------------------------------------


def terraformed(text: str, *, run_index: bool) -> dict[str, Table]:
    """Describe the tables of a Terraform file, whose only condition is the variable run_index."""
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False)
    module = hcl2.loads(text, serialization_options=options)
    (variable,) = (each["run_index"] for each in module["variable"])
    expect("default of run_index", variable["default"], expected=False)
    tables = {}
    for resource in module["resource"]:
        ((name, own),) = resource["aws_dynamodb_table"].items()
        expect("name of a table", own["name"], name)
        for block in own.pop("dynamic", ()):
            ((kind, dynamic),) = block.items()
            expect("for_each", dynamic["for_each"], '${var.run_index ? ["run_id"] : []}')
            if run_index:
                own.setdefault(kind, []).extend(dynamic["content"])
        (ttl,) = own["ttl"]
        (recovery,) = own["point_in_time_recovery"]
        tables[name] = Table(
            keys=[own["hash_key"], own["range_key"]],
            types={each["name"]: each["type"] for each in own["attribute"]},
            billing=own["billing_mode"],
            expires_by=ttl["attribute_name"] if ttl["enabled"] else None,
            recovery=recovery["enabled"],
            protected=own["deletion_protection_enabled"],
            indexes={
                each["name"]: ([each["hash_key"], each["range_key"]], each["projection_type"])
                for each in own.get("global_secondary_index", ())
            },
        )
    return tables


# -- Tables that are there ----------------------------------------------


class Aws:
    """An empty account of moto's."""

    def __init__(self, url: str) -> None:
        self.where = {"endpoint_url": url, "region_name": "eu-central-1", **CREDENTIALS}
        session = botocore.session.get_session()
        self.cloudformation = session.create_client("cloudformation", **self.where)
        self.dynamodb = session.create_client("dynamodb", **self.where)
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # noqa: S310  moto's URL

    def create(self, template: dict[str, Any], *, run_index: bool) -> dict[str, str]:
        """Create a stack; return the names of its tables by their ids in the template."""
        parameter = {"ParameterKey": "RunIndex", "ParameterValue": str(run_index).lower()}
        self.cloudformation.create_stack(
            StackName="checkpoint-tables",
            TemplateBody=json.dumps(template),
            Parameters=[parameter] if run_index else [],
        )
        stack = self.cloudformation.describe_stack_resources(StackName="checkpoint-tables")
        return {
            each["LogicalResourceId"].lower(): each["PhysicalResourceId"]
            for each in stack["StackResources"]
        }

    def described(self, names: dict[str, str]) -> dict[str, Table]:
        """Describe tables by DynamoDB's own answers."""
        tables = {}
        for name, physical in names.items():
            table = self.dynamodb.describe_table(TableName=physical)["Table"]
            backups = self.dynamodb.describe_continuous_backups(TableName=physical)
            recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
            ttl = self.dynamodb.describe_time_to_live(TableName=physical)
            tables[name] = table_of(
                table,
                billing=table["BillingModeSummary"]["BillingMode"],
                expires_by=ttl["TimeToLiveDescription"].get("AttributeName"),
                recovery=recovery["PointInTimeRecoveryStatus"] == "ENABLED",
                protected=table["DeletionProtectionEnabled"],
            )
        return tables


class State(TypedDict, total=False):
    """The state of the graph that runs on the tables."""

    answer: str


def run_a_graph(where: dict[str, str], names: dict[str, str]) -> None:
    """Run a graph to its interrupt, resume it with another saver, and delete the second run."""
    builder = StateGraph(State)
    builder.add_node("ask", lambda _: {"answer": interrupt("go on?")})
    builder.add_edge(START, "ask")
    tables = (names["checkpoints"], names["writes"])

    def config(run_id: str) -> Any:
        return {"configurable": {"thread_id": "thread"}, "metadata": {"run_id": run_id}}

    with DynamoDBSaver(*tables, where, ttl_seconds=60) as saver:
        builder.compile(checkpointer=saver).invoke({}, config("first"))
    with DynamoDBSaver(*tables, where, ttl_seconds=60) as saver:
        graph = builder.compile(checkpointer=saver)
        expect("answer", graph.invoke(Command(resume="yes"), config("second")), {"answer": "yes"})
        saver.delete_for_runs(["second"])
        runs = {each.metadata.get("run_id") for each in saver.list(config("first"))}
        expect("runs that have checkpoints", runs, {"first"})


# -- All of it ----------------------------------------------------------


def check(url: str, synthesized: Path, *, run_index: bool) -> None:
    """Check all descriptions, with the index on run_id or without it."""
    tables = expected(run_index=run_index)
    index = "with the index" if run_index else "without the index"

    aws = Aws(url)
    with DynamoDBSaver("checkpoints", "writes", aws.where, ttl_seconds=60) as saver:
        saver.setup(run_index=run_index)
    # setup() leaves both of these to you.
    bare = {name: replace(table, recovery=False, protected=False) for name, table in tables.items()}
    found = aws.described({name: name for name in tables})
    expect(f"setup() {index}", found, bare)

    text = (HERE / "terraform" / "main.tf").read_text()
    expect(f"terraform/main.tf {index}", terraformed(text, run_index=run_index), tables)

    folder = synthesized / ("indexed" if run_index else "plain")
    template = json.loads((folder / "CheckpointTables.template.json").read_text())
    expect(f"cdk/app.py {index}", templated(template, run_index=run_index), tables)

    for name in ("cloudformation", "lambda"):
        template, errors = decode_str((HERE / name / "template.yaml").read_text())
        expect(f"errors of {name}/template.yaml", errors, [])
        label = f"{name}/template.yaml {index}"
        expect(label, templated(template, run_index=run_index), tables)

        aws = Aws(url)
        names = aws.create(only_tables(template), run_index=run_index)
        # moto ignores both of these; they were compared above.
        made = {
            key: replace(table, expires_by=None, recovery=False) for key, table in tables.items()
        }
        expect(f"the stack of {label}", aws.described(names), made)
        run_a_graph(aws.where, names)
        say(f"a graph ran on the stack of {label}")


def only_tables(template: dict[str, Any]) -> dict[str, Any]:
    """Take from a template what moto can create; of one without Lambda that is all."""
    tables = {
        name: resource
        for name, resource in template["Resources"].items()
        if not resource["Type"].startswith("AWS::Serverless::")
    }
    if tables == template["Resources"]:
        return template
    parts = ("AWSTemplateFormatVersion", "Parameters", "Conditions")
    return {**{part: template[part] for part in parts}, "Resources": tables}


def expect(subject: str, found: object, expected: object) -> None:
    """End with an error unless both are equal; say what is equal where that is a table."""
    if found != expected:
        sys.exit(f"{subject}\n  found:    {found!r}\n  expected: {expected!r}")
    if isinstance(found, dict) and any(isinstance(each, Table) for each in found.values()):
        say(f"{subject}: the same tables")


def say(line: str) -> None:
    """Tell the person who watches."""
    print(line, flush=True)


def main(arguments: Iterable[str]) -> None:
    """Check everything on one server of moto's."""
    (synthesized,) = arguments
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for run_index in (False, True):
            check(f"http://127.0.0.1:{port}", Path(synthesized), run_index=run_index)
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
