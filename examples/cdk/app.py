# SPDX-License-Identifier: MIT
"""The two tables in a stack of the AWS CDK.

pip install aws-cdk-lib
npx aws-cdk deploy --app "python app.py"                        # the two tables
npx aws-cdk deploy --app "python app.py" --context run_index=true   # with the index on run_id

The other settings of the context: checkpoints_table, writes_table, kms_key_arn, and tags, which are
an object of JSON: --context 'tags={"team": "agents"}'.
"""

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import App, Environment, RemovalPolicy, Stack, Tags, aws_kms
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct


class CheckpointTables(Stack):
    """The tables of DynamoDBSaver("checkpoints", "writes")."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        checkpoints_table: str = "checkpoints",
        writes_table: str = "writes",
        table_tags: Mapping[str, str] | None = None,
        kms_key_arn: str | None = None,
        run_index: bool = False,
        **options: Any,
    ) -> None:
        if kms_key_arn:  # TableV2 takes a key only in a stack that has a region
            options.setdefault("env", Environment(region=kms_key_arn.split(":")[3]))
        super().__init__(scope, construct_id, **options)
        self.encryption = None  # a key of DynamoDB's
        if kms_key_arn:
            key = aws_kms.Key.from_key_arn(self, "Key", kms_key_arn)
            self.encryption = dynamodb.TableEncryptionV2.customer_managed_key(key)
        checkpoints = self.table("Checkpoints", checkpoints_table, "thread_id", "checkpoint_id")
        hash_key = "thread_id_checkpoint_id_checkpoint_ns"
        self.table("Writes", writes_table, hash_key, "task_id_idx")
        for name, value in (table_tags or {}).items():
            Tags.of(self).add(name, value)
        if run_index:
            # delete_for_runs() queries it; without it, it scans the table.
            checkpoints.add_global_secondary_index(
                index_name="run_id",
                partition_key=string("run_id"),
                sort_key=string("thread_id"),
                projection_type=dynamodb.ProjectionType.KEYS_ONLY,
            )

    def table(
        self, construct_id: str, name: str, hash_key: str, range_key: str
    ) -> dynamodb.TableV2:
        """Add a table."""
        return dynamodb.TableV2(
            self,
            construct_id,
            table_name=name,
            partition_key=string(hash_key),
            sort_key=string(range_key),
            billing=dynamodb.Billing.on_demand(),
            time_to_live_attribute="ttl",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            encryption=self.encryption,
        )


def string(name: str) -> dynamodb.Attribute:
    """Return a key's attribute. All of them are strings."""
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


if __name__ == "__main__":
    app = App()
    names = ("checkpoints_table", "writes_table", "kms_key_arn")
    settings = {name: app.node.try_get_context(name) for name in names}
    # The command line gives texts, cdk.json an object and true.
    tags = app.node.try_get_context("tags") or {}
    CheckpointTables(
        app,
        "CheckpointTables",
        table_tags=json.loads(tags) if isinstance(tags, str) else tags,
        run_index=app.node.try_get_context("run_index") in {True, "true"},
        **{name: value for name, value in settings.items() if value},
    )
    app.synth()
