"""Which file system holds a path, from the system's table of mounts (Linux)."""

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"),
    *("orangefs", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs"),
    *("fuse.ceph", "fuse.davfs2", "fuse.glusterfs", "fuse.gcsfuse", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"),
}  # of another machine, or of the host of a virtual one: locks and shared memory end at its border
MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    type: str
    device: str
    options: frozenset[str]  # of the mount and of the file system

    @property
    def network(self) -> bool:
        return self.type in NETWORK

    @property
    def memory(self) -> bool:
        return self.type in MEMORY


def mount_of(path: Path, table: str | None = None) -> Mount | None:
    """The mount that holds a path; None where the system does not say."""
    if table is None:
        try:
            table = MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    real = path.resolve()
    found: Mount | None = None
    for line in table.splitlines():
        mount = parsed(line)
        if mount is not None and real.is_relative_to(mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount  # of two at one place the later one hides the earlier
    return found


def parsed(line: str) -> Mount | None:
    """`ID parent device root POINT OPTIONS optional… - TYPE SOURCE OPTIONS`, see proc_pid_mountinfo(5)."""
    left, _, right = line.partition(" - ")
    fields, system = left.split(" "), right.split(" ")
    if len(fields) < 6 or len(system) < 3:
        return None
    options = {*fields[5].split(","), *system[2].split(",")}
    if "ro" in fields[5].split(",") or "ro" in system[2].split(","):
        options.discard("rw")
    return Mount(unescaped(fields[4]), system[0], unescaped(system[1]), frozenset(options))


def unescaped(text: str) -> str:
    """Blanks stand there in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
