"""S2A-Net ResNet-50, anchors 16 .. 256, max-pool kept, ImageNet, 12 epochs (Table 1: AP 33.48, augmented 18.44)"""

_base_ = ["./_base_/s2anet.py", "./_base_/data.py", "./_base_/schedule_12.py", "./_base_/runtime.py"]
