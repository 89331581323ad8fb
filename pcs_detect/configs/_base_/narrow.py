"""What the narrow networks are trained with: two data sets, each with its noise, in crops, and one schedule of 60 epochs.

Names for their files to use, since two bases cannot both say something of ``model``.
"""

_epochs = 60

_crop = dict(type="RandomCrop", size=256, scale=(0.5, 2.0))
_microscope = [dict(type="microscope_pipeline", size=256, scale=(0.5, 2.0), min_edge=2.0)]
_published = [_crop, dict(type="MinEdge", min_edge=2.0), dict(type="default_pipeline")]
# noise first, then seen larger or smaller, as a detector that looks at several scales sees it
_zoomed = [dict(type="default_pipeline"), _crop, dict(type="MinEdge", min_edge=2.0)]
_plain = [_crop, dict(type="MinEdge", min_edge=2.0), dict(type="Rotate90"), dict(type="Flip")]

narrow = dict(
    preprocessor=dict(
        # of eight pictures of the first data set, drops as microscopes show them, six look like photographs, one is as noisy
        # as the paper's, one is as rendered; of those that follow, scenes of the paper, seven have its noise, three of them
        # before the zoom
        augment=dict(
            _delete_=True,
            each=[
                [_microscope] * 6 + [_published] + [_plain],
                [_published] * 4 + [_zoomed] * 3 + [_plain],
            ],
        ),
        matched=0.5,  # half of all have their grey values matched, as photographs have
        fringes="remove",  # as of photographs
    ),
    batch=8,
    rate=0.001,
    loop=dict(max_epochs=_epochs, val_interval=10),
    rates=[
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
        dict(
            type="CosineAnnealingLR",
            eta_min_ratio=0.05,
            begin=_epochs // 2,
            end=_epochs,
            T_max=_epochs // 2,
            by_epoch=True,
            convert_to_iter_based=True,
        ),
    ],
    averaged=[dict(type="EMAHook", ema_type="mmdet.ExpMomentumEMA", momentum=0.002, update_buffers=True, priority=49)],
)
