"""Data sets in the formats of other tools, train and validation apart, streamed: memory does not grow with the data set."""

from .coco import coco, pcs_json
from .exporting import Exported
from .tar import webdataset
from .text import dota, yolo_obb

__all__ = ["Exported", "coco", "dota", "pcs_json", "webdataset", "yolo_obb"]
