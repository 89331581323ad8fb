"""S2A-Net ResNet-50, anchors 8 .. 128, max-pool skipped, ImageNet, 12 epochs (Table 1: AP 38.04, augmented 21.93)"""

_base_ = ["./_base_/s2anet_nopool.py", "./_base_/data.py", "./_base_/schedule_12.py", "./_base_/runtime.py"]
