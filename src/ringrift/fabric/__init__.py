"""What one machine and forty have in common: immutable blobs, small keyed state, and leases.

Callers name the protocols; `LocalFabric` (SQLite WAL and a directory) is the embedded default.
"""

from ringrift.fabric.database import Database
from ringrift.fabric.files import sync_directory, write_atomically
from ringrift.fabric.local import LocalFabric
from ringrift.fabric.protocol import BlobInfo, Blobs, Entry, Fabric, Lease, Leases, Registry, kept_alive

__all__ = [
    "BlobInfo",
    "Blobs",
    "Database",
    "Entry",
    "Fabric",
    "Lease",
    "Leases",
    "LocalFabric",
    "Registry",
    "kept_alive",
    "sync_directory",
    "write_atomically",
]
