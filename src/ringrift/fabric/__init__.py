"""What one machine and forty have in common: a log of events, leased jobs, small keyed state, and immutable blobs.

Callers name the protocols; `LocalFabric` (SQLite WAL and a directory) is the embedded default, `MemoryFabric` serves
tests and simulation.
"""

from ringrift.fabric.database import Database
from ringrift.fabric.files import sync_directory, write_atomically
from ringrift.fabric.job import OPEN, Job, JobState
from ringrift.fabric.local import LocalFabric
from ringrift.fabric.memory import MemoryFabric
from ringrift.fabric.parcel import Parcel
from ringrift.fabric.protocol import (
    BlobInfo,
    Blobs,
    Entry,
    Fabric,
    Jobs,
    Lease,
    Leases,
    Log,
    LogEntry,
    Registry,
    kept_alive,
)
from ringrift.fabric.workers import Failing

__all__ = [
    "OPEN",
    "BlobInfo",
    "Blobs",
    "Database",
    "Entry",
    "Fabric",
    "Failing",
    "Job",
    "JobState",
    "Jobs",
    "Lease",
    "Leases",
    "LocalFabric",
    "Log",
    "LogEntry",
    "MemoryFabric",
    "Parcel",
    "Registry",
    "kept_alive",
    "sync_directory",
    "write_atomically",
]
