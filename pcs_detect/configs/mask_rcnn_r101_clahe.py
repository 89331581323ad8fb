"""Mask R-CNN ResNet-101 after CLAHE, fitted into 512 x 512 px, COCO, 12 epochs (2021 paper: mAP 0.703 at 0.50, 0.430 at 0.65)

The paper does not say how many tiles it takes and where it clips; these are usual numbers.
"""

_base_ = "./_base_/mask_rcnn.py"

model = dict(data_preprocessor=dict(clahe=dict(clip_limit=2.0, tiles=(8, 8))))
