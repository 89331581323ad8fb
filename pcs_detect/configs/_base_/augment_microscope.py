"""Rendered crystals as photographs show them: ``pcs_augment.microscope_pipeline``, which says what each step does.

Takes the place of ``augment.py``. ``size`` is that of the training images, px; the scale is drawn between its bounds, but never
below ``size`` over the side of a rendered picture.
"""

_base_ = "./augment.py"

model = dict(
    data_preprocessor=dict(
        min_edge=0.0,  # before scaling; crystals with a side below 3 px after it are dropped below
        augment=[dict(type="microscope_pipeline", size=256, scale=(0.5, 2.0), min_edge=3.0)],
    )
)
