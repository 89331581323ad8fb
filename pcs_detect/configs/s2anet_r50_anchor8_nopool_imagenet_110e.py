"""S2A-Net ResNet-50, anchors 8 .. 128, max-pool skipped, ImageNet, 110 epochs (Table 1: AP 58.24, augmented 29.46)"""

_base_ = ["./_base_/s2anet_nopool.py", "./_base_/data.py", "./_base_/schedule_110.py", "./_base_/runtime.py"]
