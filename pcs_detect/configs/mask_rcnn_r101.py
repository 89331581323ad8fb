"""Mask R-CNN ResNet-101, images fitted into 512 x 512 px, COCO, 12 epochs (2021 paper: mAP 0.668 at 0.50, 0.302 at 0.65)"""

_base_ = "./_base_/mask_rcnn.py"
