"""RTMDet-R small, a modern one-stage detector without anchors, ImageNet, 36 epochs"""

_base_ = "./rtmdet_r_tiny.py"

model = dict(
    backbone=dict(
        deepen_factor=0.33,
        widen_factor=0.5,
        init_cfg=dict(
            checkpoint="https://mmassets.onedl.ai/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/cspnext-s_imagenet_600e.pth"
        ),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
