"""Where a file lives: SQLite's locks and shared memory, and leases, hold on a disk of this machine alone."""

from __future__ import annotations

import re
from pathlib import Path

from ringrift.errors import DataError

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|ncpfs|9p|ceph|glusterfs|lustre|beegfs|gpfs|orangefs|pvfs2|ocfs2|gfs2?|afs|coda"
    r"|fuse\.(sshfs|s3fs|ceph|glusterfs|gcsfuse|rclone|mount-s3|goofys|juicefs|mfs|moosefs|smbnetfs|blobfuse2?)"
    r"|fuse\.ceph-fuse|fuse\.s3fs-fuse"
)


def network_file_system(path: Path, mountinfo: str) -> str | None:
    """The type of the file system that holds `path` (absolute) where that is a network's, else none.

    `mountinfo` is the text of `/proc/self/mountinfo`.
    """
    best, found = -1, ""
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split(" ")
        if separator and len(fields) > 4:
            point = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields[4]))
            if path.is_relative_to(point) and len(point.parts) >= best:  # of two at one place the later covers
                best, found = len(point.parts), source.split(" ")[0]
    return found if NETWORK.fullmatch(found) else None


def refuse_network(path: Path) -> None:
    """Raises `DataError` for a path on a network file system; asks only where the system tells what is mounted."""
    if MOUNTS.exists() and (kind := network_file_system(path.resolve(), MOUNTS.read_text(errors="surrogateescape"))):
        raise DataError(
            f"{path} is on a network file system ({kind}), where databases get damaged: give a directory on a disk of"
            " this machine"
        )
