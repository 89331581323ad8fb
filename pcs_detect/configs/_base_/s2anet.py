"""S2A-Net on a pyramid of five levels from C2, strides 4 .. 64, anchors of 4 strides: 16 .. 256 px.

Anchors are squares, one at each place; the first head refines them, the second sees features aligned with the
refined ones. Angles in [-pi/4, 3 pi/4) as published.
"""

_base_ = "./resnet50.py"

strides = [4, 8, 16, 32, 64]
focal = dict(type="mmdet.FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
smooth = dict(type="mmdet.SmoothL1Loss", beta=1 / 9, loss_weight=1.0)
coder = dict(
    type="DeltaXYWHTRBBoxCoder",
    angle_version="le135",
    norm_factor=1,
    edge_swap=False,
    proj_xy=True,
    target_means=(0.0, 0.0, 0.0, 0.0, 0.0),
    target_stds=(1.0, 1.0, 1.0, 1.0, 1.0),
)
head = dict(num_classes=1, in_channels=256, feat_channels=256, stacked_convs=2, loss_cls=focal, loss_bbox=smooth)
assignment = dict(
    assigner=dict(
        type="mmdet.MaxIoUAssigner",
        pos_iou_thr=0.5,
        neg_iou_thr=0.4,
        min_pos_iou=1e-3,  # with 0, a crystal that no refined anchor touches would claim every anchor of the image
        ignore_iof_thr=-1,
        iou_calculator=dict(type="NearbyRotatedOverlaps"),
    ),
    allowed_border=-1,
    pos_weight=-1,
    debug=False,
)

model = dict(
    type="RefineSingleStageDetector",
    neck=dict(
        type="mmdet.FPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=0,
        add_extra_convs="on_input",
        num_outs=5,
    ),
    bbox_head_init=dict(
        head,
        type="S2AHead",
        anchor_generator=dict(
            type="FakeRotatedAnchorGenerator", angle_version="le135", scales=[4], ratios=[1.0], strides=strides
        ),
        bbox_coder=dict(coder, use_box_type=False),
    ),
    bbox_head_refine=[
        dict(
            head,
            type="S2ARefineHead",
            frm_cfg=dict(type="CrystalAlignConv", feat_channels=256, kernel_size=3, strides=strides),
            anchor_generator=dict(type="PseudoRotatedAnchorGenerator", strides=strides),
            bbox_coder=coder,
        )
    ],
    train_cfg=dict(init=assignment, refine=[assignment], stage_loss_weights=[1.0]),
    test_cfg=dict(
        nms_pre=5000,  # of each level
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type="nms_nearby", iou_threshold=0.3),
        max_per_img=5000,
    ),
)
