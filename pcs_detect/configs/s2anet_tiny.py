"""S2A-Net small enough for a CPU: ResNet-18 of half width, anchors 8 .. 128, random, GroupNorm

Max-pooling is kept (strides 4 .. 64): without it every level has four times the places, and so the time. The heads are
normalised too, and anchors count as hits from lower overlaps on, since few squares reach 0.5 with a thin crystal: from
random weights it then learns in forty steps what takes it two hundred otherwise.
"""

_base_ = ["./_base_/s2anet.py", "./_base_/data.py", "./_base_/schedule_12.py", "./_base_/runtime.py"]

channels = 64
group_norm = dict(type="GN", num_groups=8)

model = dict(
    backbone=dict(depth=18, base_channels=32, norm_cfg=group_norm, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, norm_cfg=group_norm),
    bbox_head_init=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=1,
        norm_cfg=group_norm,
        anchor_generator=dict(scales=[2]),
    ),
    bbox_head_refine=[
        dict(
            refine,
            in_channels=channels,
            feat_channels=channels,
            stacked_convs=1,
            norm_cfg=group_norm,
            frm_cfg=dict(refine.frm_cfg, feat_channels=channels),
        )
        for refine in _base_.model.bbox_head_refine
    ],
)

first = dict(_base_.assignment.assigner, pos_iou_thr=0.35, neg_iou_thr=0.25)
refined = dict(_base_.assignment.assigner, pos_iou_thr=0.4, neg_iou_thr=0.3)
model["train_cfg"] = dict(init=dict(_base_.assignment, assigner=first), refine=[dict(_base_.assignment, assigner=refined)])

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
