"""The import names `actors` and `replication` are generic: a chat backend may have its own, and Python would take that one."""

from importlib.util import find_spec
from pathlib import Path

_MARKERS = {"actors": "follower.py", "replication": "replicator.py"}  # a file that only our package has


def check() -> None:
    """Raises ImportError that names the file which shadows one of our packages."""
    for package, marker in _MARKERS.items():
        spec = find_spec(package)
        if spec is None:
            raise ImportError(f"durable-rooms needs its package {package!r}, which is not installed; install durable-rooms again")
        folder = Path(spec.submodule_search_locations[0]) if spec.submodule_search_locations else None
        if folder is None or not (folder / marker).is_file():
            raise ImportError(
                f"the import name {package!r} belongs to durable-rooms, but {spec.origin or folder} comes first on "
                "sys.path and shadows it. "
                "Rename that module, or move it into a package of your own."
            )
