# SPDX-License-Identifier: MIT
"""Compare every description of the two tables with one, and run a graph on what templates create.

``nox -s infrastructure`` runs this, with the folder in which it has synthesized the CDK app twice:
with the defaults of its parameters, and with all of them set.

CloudFormation is moto's. It creates tables with their keys, index, billing and deletion protection,
but ignores expiry, point-in-time recovery and KMS keys, which are therefore compared as the
templates say them. It knows no AWS::Serverless: of the Lambda template it gets the tables,
their parameter and its condition, as they stand there.
"""

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
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
class Settings:
    """The values of the parameters; those of Terraform's variables and the CDK's context."""

    run_index: bool = False
    checkpoints_table: str = "checkpoints"
    writes_table: str = "writes"
    tags: dict[str, str] = field(default_factory=dict)
    kms_key_arn: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """The names of the tables."""
        return {"checkpoints": self.checkpoints_table, "writes": self.writes_table}

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the CloudFormation template; its tags are those of the stack."""
        return {
            "RunIndex": str(self.run_index).lower(),
            "CheckpointsTable": self.checkpoints_table,
            "WritesTable": self.writes_table,
            "KmsKey": self.kms_key_arn or "",
        }


DEFAULTS = Settings()
ALL_SET = Settings(
    run_index=True,
    checkpoints_table="agent-checkpoints",
    writes_table="agent-writes",
    tags={"team": "agents", "stage": "test"},
    kms_key_arn="arn:aws:kms:eu-central-1:123456789012:key/5a1e0000-0000-4000-8000-000000000000",
)


@dataclass(frozen=True)
class Table:
    """What is compared."""

    name: str
    keys: list[str]
    types: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    kms_key: str | None = None
    billing: str = "PAY_PER_REQUEST"
    expires_by: str | None = "ttl"
    recovery: bool = True
    protected: bool = True
    indexes: dict[str, tuple[list[str], str]] = field(default_factory=dict)


def expected(settings: Settings) -> dict[str, Table]:
    """Return both tables: the one description with which all others are compared."""
    more: dict[str, Any] = {"tags": settings.tags, "kms_key": settings.kms_key_arn}
    checkpoints = Table(
        settings.checkpoints_table,
        ["thread_id", "checkpoint_id"],
        {"thread_id": "S", "checkpoint_id": "S"},
        **more,
    )
    if settings.run_index:
        checkpoints = replace(
            checkpoints,
            types={**checkpoints.types, "run_id": "S"},
            indexes={"run_id": (["run_id", "thread_id"], "KEYS_ONLY")},
        )
    writes = Table(
        settings.writes_table,
        ["thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
        {"thread_id_checkpoint_id_checkpoint_ns": "S", "task_id_idx": "S"},
        **more,
    )
    return {"checkpoints": checkpoints, "writes": writes}


# -- CloudFormation and the CDK -----------------------------------------


def templated(template: dict[str, Any], parameters: dict[str, str]) -> dict[str, Table]:
    """Describe the tables of a template with these parameters."""
    values, tables = values_of(template, parameters), {}
    for name, resource in template["Resources"].items():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"}:
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                expect(f"{policy} of {name}", resource[policy], "Retain")
            own = resolved(resource["Properties"], values)
            # A global table, which TableV2 is, has some settings in its replicas.
            (replica,) = own.get("Replicas", [own])
            # The CDK appends a digest to an id: Checkpoints40F4D1E9.
            (table,) = (each for each in ("checkpoints", "writes") if name.lower().startswith(each))
            recovery = replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
            tables[table] = table_of(
                {"TableName": table, **own},
                tags={each["Key"]: each["Value"] for each in replica.get("Tags", ())},
                kms_key=kms_key(own, replica),
                billing=own["BillingMode"],
                expires_by=expiry(own["TimeToLiveSpecification"]),
                recovery=recovery,
                protected=replica["DeletionProtectionEnabled"],
            )
    return tables


def kms_key(own: dict[str, Any], replica: dict[str, Any]) -> str | None:
    """Return the KMS key that a table names."""
    specification = {**own.get("SSESpecification", {}), **replica.get("SSESpecification", {})}
    if not specification:
        return None
    kind = (specification.pop("SSEEnabled"), specification.pop("SSEType"))
    expect("kind of encryption", kind, (True, "KMS"))
    return str(specification["KMSMasterKeyId"])


def values_of(template: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Return the values of a template's parameters and conditions by their names."""
    values = {
        name: parameters.get(name, parameter.get("Default"))
        for name, parameter in template.get("Parameters", {}).items()
    }
    for name, condition in template.get("Conditions", {}).items():
        values[name] = resolved(condition, values)
    return values


def resolved(value: Any, values: dict[str, Any]) -> Any:
    """Resolve intrinsic functions, as CloudFormation does; AWS::NoValue takes its property away."""
    if not isinstance(value, dict):
        return [resolved(each, values) for each in value] if isinstance(value, list) else value
    if "Fn::If" in value:
        condition, true, false = value["Fn::If"]
        return resolved(true if values[condition] else false, values)
    if "Fn::Equals" in value:
        first, second = resolved(value["Fn::Equals"], values)
        return first == second
    if "Fn::Not" in value:
        (negated,) = resolved(value["Fn::Not"], values)
        return not negated
    if "Ref" in value and value["Ref"] in values:
        return values[value["Ref"]]
    pairs = ((key, resolved(each, values)) for key, each in value.items())
    return {key: each for key, each in pairs if each != {"Ref": "AWS::NoValue"}}


def table_of(description: dict[str, Any], **more: Any) -> Table:
    """Describe a table by what CloudFormation and DynamoDB call the same."""
    return Table(
        name=description["TableName"],
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


def terraformed(text: str, settings: Settings) -> dict[str, Table]:
    """Describe the tables of a Terraform file, whose variables are the settings."""
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False)
    module = hcl2.loads(text, serialization_options=options)
    defaults = {name: body["default"] for each in module["variable"] for name, body in each.items()}
    expect("defaults of the variables", defaults, asdict(DEFAULTS))
    variables = {f"${{var.{name}}}": value for name, value in asdict(settings).items()}
    is_there = {
        '${var.run_index ? ["run_id"] : []}': settings.run_index,
        "${var.kms_key_arn == null ? [] : [var.kms_key_arn]}": settings.kms_key_arn is not None,
    }
    tables = {}
    for resource in module["resource"]:
        ((name, own),) = resource["aws_dynamodb_table"].items()
        for block in own.pop("dynamic", ()):
            ((kind, dynamic),) = block.items()
            if is_there[dynamic["for_each"]]:
                own.setdefault(kind, []).extend(dynamic["content"])
        (ttl,) = own["ttl"]
        (recovery,) = own["point_in_time_recovery"]
        keys = [
            variables[each["kms_key_arn"]]
            for each in own.get("server_side_encryption", ())
            if each["enabled"]
        ]
        tables[name] = Table(
            name=variables[own["name"]],
            keys=[own["hash_key"], own["range_key"]],
            types={each["name"]: each["type"] for each in own["attribute"]},
            tags=variables[own["tags"]],
            kms_key=keys[0] if keys else None,
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
        self.cloudwatch = session.create_client("cloudwatch", **self.where)
        self.dynamodb = session.create_client("dynamodb", **self.where)
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # noqa: S310  moto's URL

    def create(self, template: dict[str, Any], parameters: dict[str, str]) -> dict[str, str]:
        """Create a stack; return the names of its resources by their ids in the template."""
        self.cloudformation.create_stack(
            StackName="checkpoints",
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
                if name in template["Parameters"]
            ],
        )
        stack = self.cloudformation.describe_stack_resources(StackName="checkpoints")
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


# -- Alarms -------------------------------------------------------------


def check_alarms(url: str, settings: Settings) -> None:
    """Put the alarms of alarms.yaml, which moto's CloudFormation can't; compare what they watch."""
    template = decoded("cloudformation/alarms.yaml")
    topic = "arn:aws:sns:eu-central-1:123456789012:on-call"
    values = values_of(template, {**settings.parameters, "Topic": topic})
    aws = Aws(url)
    for name, resource in template["Resources"].items():
        properties = resolved(resource["Properties"], values)
        aws.cloudwatch.put_metric_alarm(AlarmName=name, **properties)
    watched: dict[str, set[tuple[str, str]]] = {}
    for alarm in aws.cloudwatch.describe_alarms()["MetricAlarms"]:
        expect(f"actions of {alarm['AlarmName']}", alarm["AlarmActions"], [topic])
        for query in alarm["Metrics"]:
            if metric := query.get("MetricStat", {}).get("Metric"):
                expect("namespace", metric["Namespace"], "AWS/DynamoDB")
                dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
                name = metric["MetricName"]
                by_operation = ["Operation"] if name in BY_OPERATION else []
                expect(f"dimensions of {name}", sorted(dimensions), [*by_operation, "TableName"])
                watched.setdefault(dimensions["TableName"], set()).add(
                    (name, dimensions.get("Operation", ""))
                )
    expect("what the alarms watch", watched, expected_metrics(settings))
    say(f"cloudformation/alarms.yaml: alarms for {' and '.join(sorted(watched))}")


# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
BY_OPERATION = ("SystemErrors", "SuccessfulRequestLatency")


def expected_metrics(settings: Settings) -> dict[str, set[tuple[str, str]]]:
    """Return the metrics of each table: the errors of all operations that a graph's runs take."""
    batches = {"BatchGetItem", "BatchWriteItem"}
    operations = {
        settings.checkpoints_table: {"GetItem", "Query", "PutItem", *batches},
        settings.writes_table: {"Query", "PutItem", "BatchWriteItem"},
    }
    throttled = {("ReadThrottleEvents", ""), ("WriteThrottleEvents", "")}
    slow = {("SuccessfulRequestLatency", name) for name in ("Query", "PutItem")}
    return {
        table: throttled | slow | {("SystemErrors", name) for name in names}
        for table, names in operations.items()
    }


# -- All of it ----------------------------------------------------------


def check(url: str, synthesized: Path, settings: Settings) -> None:
    """Check all descriptions with these parameters."""
    tables = expected(settings)
    with_ = "with its defaults" if settings == DEFAULTS else "with all parameters"

    aws = Aws(url)
    names = (settings.checkpoints_table, settings.writes_table)
    with DynamoDBSaver(*names, aws.where, ttl_seconds=60) as saver:
        saver.setup(run_index=settings.run_index)
    # setup() leaves all of these to you.
    bare = {
        name: replace(table, tags={}, kms_key=None, recovery=False, protected=False)
        for name, table in tables.items()
    }
    expect(f"setup() {with_}", aws.described(settings.names), bare)

    text = (HERE / "terraform" / "main.tf").read_text()
    expect(f"terraform/main.tf {with_}", terraformed(text, settings), tables)

    folder = synthesized / ("defaults" if settings == DEFAULTS else "all-set")
    template = json.loads((folder / "CheckpointTables.template.json").read_text())
    expect(f"cdk/app.py {with_}", templated(template, {}), tables)

    # A stack's tags are not in its template; the Lambda function's has no parameters but the index.
    tables = {name: replace(table, tags={}) for name, table in tables.items()}
    check_stack(url, "cloudformation", settings, tables)
    own = expected(Settings(run_index=settings.run_index))
    check_stack(url, "lambda", settings, own)
    check_alarms(url, settings)


def check_stack(url: str, name: str, settings: Settings, tables: dict[str, Table]) -> None:
    """Compare a template with the tables, create its stack, and run a graph on it."""
    template = decoded(f"{name}/template.yaml")
    with_ = "with its defaults" if settings == DEFAULTS else "with all parameters"
    label = f"{name}/template.yaml {with_}"
    expect(label, templated(template, settings.parameters), tables)

    aws = Aws(url)
    names = aws.create(only_tables(template), settings.parameters)
    # moto ignores all of these; they were compared above. If it makes up a name, so do we.
    made = {
        key: replace(
            table,
            name=table.name if name == "cloudformation" else names[key],
            kms_key=None,
            expires_by=None,
            recovery=False,
        )
        for key, table in tables.items()
    }
    expect(f"the stack of {label}", aws.described(names), made)
    run_a_graph(aws.where, names)
    say(f"a graph ran on the stack of {label}")


def decoded(path: str) -> dict[str, Any]:
    """Return a template that has no errors."""
    template, errors = decode_str((HERE / path).read_text())
    expect(f"errors of {path}", errors, [])
    return dict(template)


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
        for settings in (DEFAULTS, ALL_SET):
            check(f"http://127.0.0.1:{port}", Path(synthesized), settings)
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
