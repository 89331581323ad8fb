"""Mask R-CNN small enough for a CPU: ResNet-18 of half width, images fitted into 256 x 256 px, random, GroupNorm

With CLAHE: --cfg-options model.data_preprocessor.clahe="{'clip_limit': 2.0, 'tiles': (8, 8)}". Anchors of 2 strides, 8 .. 128
px. As in s2anet_tiny all parts are normalised, and anchors count as hits from lower overlaps on: it then learns from random
weights in a hundred steps.
"""

_base_ = "./_base_/mask_rcnn.py"

channels = 64
group_norm = dict(type="GN", num_groups=8)

model = dict(
    data_preprocessor=dict(size=256),
    backbone=dict(depth=18, base_channels=32, norm_cfg=group_norm, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, norm_cfg=group_norm),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[2])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, finest_scale=28),
        bbox_head=dict(in_channels=channels, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=channels, finest_scale=28),
        mask_head=dict(in_channels=channels, conv_out_channels=channels, num_convs=2, norm_cfg=group_norm),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.5)),
        rpn_proposal=dict(nms_pre=500, max_per_img=300),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=500)),
)

load_from = None
train_dataloader = dict(num_workers=0, persistent_workers=False, pin_memory=False)
val_dataloader = dict(num_workers=0, persistent_workers=False, pin_memory=False)
test_dataloader = val_dataloader

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.002, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
auto_scale_lr = dict(base_batch_size=4)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=20),
    dict(type="MultiStepLR", by_epoch=True, milestones=[8, 11], gamma=0.1),
]
