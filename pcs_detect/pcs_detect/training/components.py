"""Imports everything that configs name: ``custom_imports = dict(imports=["pcs_detect.training.components"])``."""

from . import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from .data import datasets  # noqa: F401
from .engine import hooks, loops, mask_metric, metric, precision, runner, weights, write_detections  # noqa: F401
from .models import align, backbone, losses, mask_head, mask_preprocessor, nms, overlaps, preprocessor  # noqa: F401
