"""S2A-Net ResNet-50 as the authors' code has Table 1's last row: a stem of three convolutions, GroupNorm, random, 110 epochs"""

_base_ = "./s2anet_r50_anchor8_nopool_gn_110e.py"

model = dict(backbone=dict(deep_stem=True))
