"""The same data sets on a Ray cluster, and what they will cost there. Ray itself is imported when it is used."""

from .cost import Estimate, estimate, measured
from .dispatch import ClusterError
from .driver import blender_version, connected, produce

__all__ = ["ClusterError", "Estimate", "blender_version", "connected", "estimate", "measured", "produce"]
