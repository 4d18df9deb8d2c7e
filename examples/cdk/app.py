# SPDX-License-Identifier: MIT
"""The two tables in a stack of the AWS CDK.

pip install aws-cdk-lib
npx aws-cdk deploy --app "python app.py"                        # the two tables
npx aws-cdk deploy --app "python app.py" --context run_index=true   # with the index on run_id
"""

from typing import Any

from aws_cdk import App, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct


class CheckpointTables(Stack):
    """The tables of DynamoDBSaver("checkpoints", "writes")."""

    def __init__(
        self, scope: Construct, construct_id: str, *, run_index: bool = False, **options: Any
    ) -> None:
        super().__init__(scope, construct_id, **options)
        checkpoints = self.table("checkpoints", "thread_id", "checkpoint_id")
        self.table("writes", "thread_id_checkpoint_id_checkpoint_ns", "task_id_idx")
        if run_index:
            # delete_for_runs() queries it; without it, it scans the table.
            checkpoints.add_global_secondary_index(
                index_name="run_id",
                partition_key=string("run_id"),
                sort_key=string("thread_id"),
                projection_type=dynamodb.ProjectionType.KEYS_ONLY,
            )

    def table(self, name: str, hash_key: str, range_key: str) -> dynamodb.TableV2:
        """Add a table."""
        return dynamodb.TableV2(
            self,
            name.capitalize(),
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
            # A KMS key of your own: encryption=dynamodb.TableEncryptionV2.customer_managed_key(key)
        )


def string(name: str) -> dynamodb.Attribute:
    """Return a key's attribute. All of them are strings."""
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


if __name__ == "__main__":
    app = App()
    # The command line gives "true", cdk.json true.
    run_index = app.node.try_get_context("run_index") in {True, "true"}
    CheckpointTables(app, "CheckpointTables", run_index=run_index)
    app.synth()
