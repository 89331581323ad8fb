"""Mask R-CNN, ResNet-101 and pyramid, images fitted into 512 x 512 px and padded with black, from COCO (2021 paper).

Anchors of 8 strides, 32 .. 512 px, in three shapes each. One class. The whole detector starts from COCO weights; their last
layers, for 80 classes, do not fit and start anew. Statistics of batch norms stay those of COCO, everything else learns.
"""

_base_ = ["./augment.py", "./data.py", "./schedule_12.py", "./runtime.py"]

weights = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r101_fpn_2x_coco/"
    "mask_rcnn_r101_fpn_2x_coco_bbox_mAP-0.408__segm_mAP-0.366_20200505_071027-14b391c7.pth"
)
strides = [4, 8, 16, 32, 64]
proposals = dict(nms_pre=2000, max_per_img=2000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0)
overlaps = dict(type="mmdet.BboxOverlaps2D")
assigner = dict(type="mmdet.MaxIoUAssigner", match_low_quality=True, ignore_iof_thr=-1, iou_calculator=overlaps)
sampler = dict(type="mmdet.RandomSampler", neg_pos_ub=-1)
roi_layer = dict(type="RoIAlign", sampling_ratio=0)
extractor = dict(type="mmdet.SingleRoIExtractor", out_channels=256, featmap_strides=strides[:4])

model = dict(
    type="mmdet.MaskRCNN",
    data_preprocessor=dict(type="MaskPreprocessor", size=512),
    backbone=dict(
        type="CrystalResNet",
        depth=101,
        in_channels=1,
        grey=_base_.grey,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", prefix="backbone.", checkpoint=weights),
    ),
    neck=dict(type="mmdet.FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type="mmdet.RPNHead",
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(type="mmdet.AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=strides),
        bbox_coder=dict(type="mmdet.DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type="mmdet.CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="mmdet.L1Loss", loss_weight=1.0),
    ),
    roi_head=dict(
        type="CrystalMaskRoIHead",
        bbox_roi_extractor=dict(extractor, roi_layer=dict(roi_layer, output_size=7)),
        bbox_head=dict(
            type="mmdet.Shared2FCBBoxHead",
            in_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=1,
            reg_predictor_cfg=dict(type="mmdet.Linear"),
            cls_predictor_cfg=dict(type="mmdet.Linear"),
            bbox_coder=dict(type="mmdet.DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False,
            loss_cls=dict(type="mmdet.CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="mmdet.L1Loss", loss_weight=1.0),
        ),
        mask_roi_extractor=dict(extractor, roi_layer=dict(roi_layer, output_size=14)),
        mask_head=dict(
            type="mmdet.FCNMaskHead",
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            num_classes=1,
            loss_mask=dict(type="mmdet.CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(sampler, num=256, pos_fraction=0.5, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=proposals,
        rcnn=dict(
            assigner=dict(assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
            sampler=dict(sampler, num=512, pos_fraction=0.25, add_gt_as_proposals=True),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=proposals,
        rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=2000, mask_thr_binary=0.5),
    ),
)
load_from = weights
val_evaluator = dict(_delete_=True, type="MaskMetric")
test_evaluator = val_evaluator
