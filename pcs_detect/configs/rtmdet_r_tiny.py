"""RTMDet-R tiny, a modern one-stage detector without anchors, ImageNet, 36 epochs

As in mmrotate but for the pyramid, which has one more level: from stride 4 where the original has 8, or a crystal of 5 px would
touch one place of the finest level at most. The backbone has that level anyway, so its weights fit.
Several processes on GPUs share the statistics of their batch norms, on CPUs each has its own.
"""

_base_ = ["./_base_/augment.py", "./_base_/data.py", "./_base_/schedule_12.py", "./_base_/runtime.py"]

epochs = 36
rate = 0.00025  # for 8 images per step
norm = dict(type="BN")
activation = dict(type="SiLU")

model = dict(
    type="mmdet.RTMDet",
    backbone=dict(
        type="CrystalCSPNeXt",
        in_channels=1,
        grey=_base_.grey,
        arch="P5",
        expand_ratio=0.5,
        deepen_factor=0.167,
        widen_factor=0.375,
        channel_attention=True,
        out_indices=(1, 2, 3, 4),
        norm_cfg=norm,
        act_cfg=activation,
        init_cfg=dict(
            type="Pretrained",
            prefix="backbone.",
            checkpoint="https://mmassets.onedl.ai/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/cspnext-tiny_imagenet_600e.pth",
        ),
    ),
    neck=dict(
        type="mmdet.CSPNeXtPAFPN",
        in_channels=[48, 96, 192, 384],
        out_channels=96,
        num_csp_blocks=1,
        expand_ratio=0.5,
        norm_cfg=norm,
        act_cfg=activation,
    ),
    bbox_head=dict(
        type="RotatedRTMDetSepBNHead",
        num_classes=1,
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        angle_version="le90",
        anchor_generator=dict(type="mmdet.MlvlPointGenerator", offset=0, strides=[4, 8, 16, 32]),
        bbox_coder=dict(type="DistanceAnglePointCoder", angle_version="le90"),
        loss_cls=dict(type="mmdet.QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type="OverlapLoss", loss_weight=2.0),
        with_objectness=False,
        exp_on_reg=True,  # else distances, and so sides, can become negative
        share_conv=True,
        pred_kernel_size=1,
        use_hbbox_loss=False,
        scale_angle=False,
        loss_angle=None,
        norm_cfg=norm,
        act_cfg=activation,
    ),
    train_cfg=dict(
        assigner=dict(type="mmdet.DynamicSoftLabelAssigner", iou_calculator=dict(type="NearbyRotatedOverlaps"), topk=13),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=5000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type="nms_nearby", iou_threshold=0.3),
        max_per_img=5000,
    ),
)

train_cfg = dict(max_epochs=epochs)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=rate, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.05,
        begin=epochs // 2,
        end=epochs,
        T_max=epochs // 2,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type="EMAHook", ema_type="mmdet.ExpMomentumEMA", momentum=0.0002, update_buffers=True, priority=49)]
