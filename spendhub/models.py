"""Tables of the project itself: only the snapshot versions."""

from spendhub.snapshots import SnapshotVersion

__all__ = ["SnapshotVersion"]
