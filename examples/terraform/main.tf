# The two tables of DynamoDBSaver("checkpoints", "writes").
#
#   terraform init && terraform apply
#   terraform apply -var run_index=true     # with the index on run_id

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "run_index" {
  description = "Add the index on run_id: delete_for_runs() then queries it and does not scan"
  type        = bool
  default     = false
}

resource "aws_dynamodb_table" "checkpoints" {
  name                        = "checkpoints"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "thread_id"
  range_key                   = "checkpoint_id"
  deletion_protection_enabled = true

  attribute {
    name = "thread_id"
    type = "S"
  }
  attribute {
    name = "checkpoint_id"
    type = "S"
  }
  dynamic "attribute" {
    for_each = var.run_index ? ["run_id"] : []
    content {
      name = "run_id"
      type = "S"
    }
  }
  dynamic "global_secondary_index" {
    for_each = var.run_index ? ["run_id"] : []
    content {
      name            = "run_id"
      hash_key        = "run_id"
      range_key       = "thread_id"
      projection_type = "KEYS_ONLY"
    }
  }
  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  # With a KMS key of your own:
  # server_side_encryption {
  #   enabled     = true
  #   kms_key_arn = aws_kms_key.checkpoints.arn
  # }
}

resource "aws_dynamodb_table" "writes" {
  name                        = "writes"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "thread_id_checkpoint_id_checkpoint_ns"
  range_key                   = "task_id_idx"
  deletion_protection_enabled = true

  attribute {
    name = "thread_id_checkpoint_id_checkpoint_ns"
    type = "S"
  }
  attribute {
    name = "task_id_idx"
    type = "S"
  }
  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  # With a KMS key of your own:
  # server_side_encryption {
  #   enabled     = true
  #   kms_key_arn = aws_kms_key.checkpoints.arn
  # }
}
