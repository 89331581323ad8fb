"""S2A-Net ResNet-50, anchors 8 .. 128, max-pool kept, ImageNet, 12 epochs (Table 1: AP 34.05, augmented 18.10)"""

_base_ = "./s2anet_r50_anchor16_pool_imagenet_12e.py"

model = dict(bbox_head_init=dict(anchor_generator=dict(scales=[2])))
