# The two tables of DynamoDBSaver("checkpoints", "writes").
#
#   terraform init && terraform apply
#   terraform apply -var run_index=true     # with the index on run_id
#   terraform apply -var checkpoints_table=agent-checkpoints -var writes_table=agent-writes \
#     -var 'tags={"team": "agents"}' -var kms_key_arn=arn:aws:kms:...

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "checkpoints_table" {
  description = "The name of the table of checkpoints"
  type        = string
  default     = "checkpoints"
}

variable "writes_table" {
  description = "The name of the table of pending writes"
  type        = string
  default     = "writes"
}

variable "tags" {
  description = "The tags of both tables"
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "The ARN of a KMS key of yours that encrypts both tables; null: a key of DynamoDB's"
  type        = string
  default     = null
}

variable "run_index" {
  description = "Add the index on run_id: delete_for_runs() then queries it and does not scan"
  type        = bool
  default     = false
}

resource "aws_dynamodb_table" "checkpoints" {
  name                        = var.checkpoints_table
  tags                        = var.tags
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
  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      enabled     = true
      kms_key_arn = var.kms_key_arn
    }
  }
}

resource "aws_dynamodb_table" "writes" {
  name                        = var.writes_table
  tags                        = var.tags
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
  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      enabled     = true
      kms_key_arn = var.kms_key_arn
    }
  }
}
