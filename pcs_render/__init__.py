"""Photorealistic images of protein crystals in suspension, with exact labels.

The examples of this package begin with a data set of three scenes, whose pictures are plain grey where Blender would render:

    >>> import io
    >>> import numpy as np
    >>> from PIL import Image
    >>> from pcs_render import cluster, export, generate, habits, labels, production, report, settings, shards
    >>> model = settings.Settings(width=64, height=48, shapes="cube", area=(16.0, 400.0), long_side=48.0)
    >>> cubes = [s.vertices for s in habits.shapes(model)]
    >>> scenes = [generate.scene(model, seed=7, image=i, shapes=cubes) for i in range(3)]
    >>> png = io.BytesIO()
    >>> Image.new("L", (64, 48), 128).save(png, "PNG")
    >>> records = [production.record(s, png.getvalue(), seconds=2.0) for s in scenes]
    >>> about = {"seed": 7, "settings": model.to_dict(), "profile": {"name": "grey"}, "versions": {"blender": "none"}}
    >>> with shards.Writer.create_or_resume("data", count=3, **about) as writer:
    ...     summary = writer.write_shard(0, records)
"""

__version__ = "0.3.0"
