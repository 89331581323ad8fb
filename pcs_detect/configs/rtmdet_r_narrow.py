"""RTMDet-R narrow, the network that ships, random weights, microscope noise, 60 epochs

2.1 M parameters from stride 4. The statistics of batch norms are stored when training ends, so a crystal's score does not
depend on what else is in its tile. Training pictures are crops of 256 px from rendered pictures of 384 px, at scales of 0.67 to
2."""

_base_ = "./rtmdet_r_tiny.py"

epochs = 60
rate = 0.001

crop = dict(type="RandomCrop", size=256, scale=(0.5, 2.0))
microscope = [dict(type="microscope_pipeline", size=256, scale=(0.5, 2.0), min_edge=2.0)]
published = [crop, dict(type="MinEdge", min_edge=2.0), dict(type="default_pipeline")]
# noise first, then seen larger or smaller, as a detector that looks at several scales sees it
zoomed = [dict(type="default_pipeline"), crop, dict(type="MinEdge", min_edge=2.0)]
plain = [crop, dict(type="MinEdge", min_edge=2.0), dict(type="Rotate90"), dict(type="Flip")]

model = dict(
    # of eight pictures of the first data set, drops as microscopes show them, six look like photographs, one is as noisy as the
    # paper's, one is as rendered; of those that follow, scenes of the paper, seven have its noise, three before the zoom
    # half of all have their grey values matched, as photographs have; fringes are taken out, as of photographs
    data_preprocessor=dict(
        augment=dict(
            _delete_=True,
            each=[
                [microscope] * 6 + [published] + [plain],
                [published] * 4 + [zoomed] * 3 + [plain],
            ],
        ),
        matched=0.5,
        fringes="remove",
    ),
    backbone=dict(widen_factor=0.25, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=48),
    bbox_head=dict(in_channels=48, feat_channels=48),
    test_cfg=dict(nms=dict(iou_threshold=0.5)),  # transparent crystals lie one above another
)
train_dataloader = dict(batch_size=8)
train_cfg = dict(max_epochs=epochs, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=rate))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
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
custom_hooks = [
    dict(type="EMAHook", ema_type="mmdet.ExpMomentumEMA", momentum=0.002, update_buffers=True, priority=49),
]
