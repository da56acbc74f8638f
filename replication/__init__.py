"""Replication: what rooms commit arrives in one shared read replica, tagged by `room_id`.

room ─▶ outbox ─▶ collector ─▶ batch ─▶ replica
           ▲          └─▶ resync ──▶──┘    │
           └──────── acknowledge ◀─────────┘
"""

from replication.replica import SQLiteReplica
from replication.replicator import Replicator
from replication.replicators import Replicators, replicators_of
from replication.status import ReplicaStatus

__all__ = ["ReplicaStatus", "Replicator", "Replicators", "SQLiteReplica", "replicators_of"]
