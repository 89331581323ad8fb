"""S2A-Net ResNet-50, anchors 8 .. 128, max-pool skipped, random, GroupNorm, 110 epochs (Table 1: AP 60.22, augmented 33.53)"""

_base_ = "./s2anet_r50_anchor8_nopool_imagenet_110e.py"

group_norm = dict(type="GN", num_groups=32, requires_grad=True)

model = dict(
    backbone=dict(norm_cfg=group_norm, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(norm_cfg=group_norm),
)
