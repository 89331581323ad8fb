"""RTMDet-R narrow, the network that ships, random weights, microscope noise, 60 epochs

2.1 M parameters from stride 4. The statistics of batch norms are stored when training ends, so a crystal's score does not
depend on what else is in its tile. Training pictures are crops of 256 px from rendered pictures of 384 px, at scales of 0.67 to
2."""

_base_ = ["./rtmdet_r_tiny.py", "./_base_/narrow.py"]

model = dict(
    data_preprocessor=_base_.narrow.preprocessor,
    backbone=dict(widen_factor=0.25, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=48),
    bbox_head=dict(in_channels=48, feat_channels=48),
    test_cfg=dict(nms=dict(iou_threshold=0.5)),  # transparent crystals lie one above another
)
train_dataloader = dict(batch_size=_base_.narrow.batch)
train_cfg = _base_.narrow.loop
optim_wrapper = dict(optimizer=dict(lr=_base_.narrow.rate))
param_scheduler = _base_.narrow.rates
custom_hooks = _base_.narrow.averaged
