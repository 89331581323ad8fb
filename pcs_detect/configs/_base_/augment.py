"""The noise of real micrographs, in training only, and the normalisation of grey values.

The steps are those of docs/method.md, in order, with every number that can be chosen; ``pcs_augment`` says what each means.
Off:
``--cfg-options model.data_preprocessor.augment=None``.
"""

grey = (132.6, 61.2)  # mean and standard deviation of the augmented training images, in 8-bit grey values

model = dict(
    data_preprocessor=dict(
        type="CrystalPreprocessor",
        mean=grey[0],
        std=grey[1],
        pad_size_divisor=32,
        seed=0,
        min_edge=0.0,  # px; crystals with a shorter side are no targets
        threshold=0,  # grey levels; crystals whose pixels span no more are no targets
        augment=[
            dict(
                type="Highlight",
                p=0.5,
                fill=0.2,
                second=0.5,
                outline=0.2,
                grey=(90, 165),
                width=(1, 2),
                kernels=(3, 5),
                sigma=None,
                mirrored=False,
            ),
            dict(type="Splines", p=0.2, curves=(1, 10), knots=(2, 4), widths=(0.5, 1.0, 1.5), offset=(-1.0, 1.0)),
            dict(type="Displace", p=0.05, reach=1, alternate=False),
            dict(type="GaussianNoise", p=0.4, sigma=(0.01, 0.06)),
            dict(type="ImpulseNoise", p=0.2, white=(0.0, 0.05), black=(0.0, 0.05)),
            dict(type="Brightness", p=1.0, base=2.0, exponent=(-1.0, 1.0)),
            dict(type="Contrast", p=1.0, base=1.5, exponent=(0.0, 1.0)),
            dict(type="InterferenceLayer", p=0.4, textures=(1, 10), scale=None, c=5.0, equalize_layer=True, bins=None),
            dict(type="PerlinLayer", p=0.4, textures=(1, 10), scale=None, c=5.0, equalize_layer=True, bins=None, offset=True),
            dict(type="Contrast", p=1.0, base=1.5, exponent=(0.0, 1.0)),
            dict(
                type="Overlay",
                p=0.2,
                round_chance=0.5,
                radius=(1.14, 1.34),
                jitter=0.1,
                band=(1, 31),
                kernels=(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31),
                sigma=None,
            ),
            dict(type="Blur", p=0.7, kernels=(3, 5, 7, 9), sigma=None),
            dict(type="Rotate90", p=1.0),
            dict(type="Flip", p=1.0),
        ],
    )
)
