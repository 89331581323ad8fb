"""Imports everything that configs name: ``custom_imports = dict(imports=["pcs_detect.components"])``."""

from . import toolbox  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from . import (  # noqa: F401
    align,
    backbone,
    datasets,
    detections,
    hooks,
    loops,
    losses,
    mask_data,
    mask_head,
    mask_metric,
    metric,
    nms,
    overlaps,
    preprocessor,
    runner,
    weights,
)
