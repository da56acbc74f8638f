"""Replication: what rooms commit arrives in one shared read replica, tagged by `room_id`.

room ─▶ outbox ─▶ collector ─▶ batch ─▶ replica
           ▲          └─▶ resync ──▶──┘    │
           └──────── acknowledge ◀─────────┘
"""

from replication.replica import SQLiteReplica
from replication.replicator import Replicator
from replication.status import ReplicaStatus

__all__ = ["ReplicaStatus", "Replicator", "SQLiteReplica"]
