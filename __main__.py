# SPDX-License-Identifier: MIT
"""What ``python -m langgraph_checkpoint_dynamodb`` runs where the wheel is installed."""

from langgraph_checkpoint_dynamodb import _main

raise SystemExit(_main())
