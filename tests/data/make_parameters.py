"""Make parameters.npz: MONAI's dictionary transforms with various arguments, on an image [2,X,Y,Z].

    python make_parameters.py parameters.npz          # MONAI 1.6.1, torch 2.11.0

`CASE/json` is [transform, arguments] as UTF-8 bytes, `CASE/out` and `CASE/affine` are the result.
"""
import itertools
import json
import sys

import numpy as np
import torch
import monai.transforms as mt
from monai.data import MetaTensor

IMAGE = np.random.default_rng(5).integers(-3, 4, (2, 7, 8, 9), dtype=np.int16)
IMAGE[:, :2] = 0
IMAGE[:, :, -1] = 0
IMAGE[0] *= 40
AFFINE = np.array([[0.1, -1.2, 0.2, 5.0], [0.8, 0.1, -0.1, -7.5], [0.05, 0.3, 2.5, 100.25], [0, 0, 0, 1]])
CASES = [("Orientationd", dict(axcodes="".join(codes)))
         for order in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*order)]
CASES += [
    ("Orientationd", dict(as_closest_canonical=True)),
    ("Orientationd", dict(axcodes="xyz", labels=[["X", "x"], ["Y", "y"], ["Z", "z"]])),
    ("NormalizeIntensityd", dict()),
    ("NormalizeIntensityd", dict(nonzero=True)),
    ("NormalizeIntensityd", dict(nonzero=True, channel_wise=True)),
    ("NormalizeIntensityd", dict(subtrahend=2.5, divisor=0.5)),
    ("NormalizeIntensityd", dict(subtrahend=[1.0, -2.0], divisor=[3.0, 0.7], channel_wise=True)),
    ("NormalizeIntensityd", dict(subtrahend=10.0, nonzero=True)),
    ("ScaleIntensityd", dict()),
    ("ScaleIntensityd", dict(minv=-1.0, maxv=3.0, channel_wise=True)),
    ("ScaleIntensityd", dict(minv=None, maxv=None, factor=0.25)),
    ("ScaleIntensityd", dict(minv=None, maxv=2.0)),
    ("ScaleIntensityRanged", dict(a_min=-57, a_max=164, b_min=0.0, b_max=1.0, clip=True)),
    ("ScaleIntensityRanged", dict(a_min=-57, a_max=164, b_min=-1.0, b_max=1.0)),
    ("ScaleIntensityRanged", dict(a_min=-50, a_max=50)),
    ("ScaleIntensityRanged", dict(a_min=7, a_max=7, b_min=1.0, b_max=2.0)),
    ("ScaleIntensityRangePercentilesd", dict(lower=5, upper=95, b_min=0.0, b_max=1.0)),
    ("ScaleIntensityRangePercentilesd", dict(lower=0.5, upper=99.5, b_min=-1.0, b_max=1.0, clip=True, channel_wise=True)),
    ("ScaleIntensityRangePercentilesd", dict(lower=10, upper=90, b_min=0.0, b_max=10.0, relative=True)),
    ("GaussianSmoothd", dict(sigma=1.0)),
    ("GaussianSmoothd", dict(sigma=[0.4, 1.3, 0.0])),
    ("GaussianSmoothd", dict(sigma=0.8, approx="sampled")),
    ("GaussianSmoothd", dict(sigma=[0.7, 2.3, 1.1], approx="scalespace")),
    ("CenterSpatialCropd", dict(roi_size=[4, 5, 20])),
    ("CenterSpatialCropd", dict(roi_size=[-1, 3, 0])),
    ("SpatialPadd", dict(spatial_size=[10, 5, 12])),
    ("SpatialPadd", dict(spatial_size=11, method="end", mode="edge")),
    ("SpatialPadd", dict(spatial_size=[12, 13, -1], mode="reflect")),
    ("SpatialPadd", dict(spatial_size=[10, 13, 12], mode="symmetric")),
    ("SpatialPadd", dict(spatial_size=[10, 13, 12], mode="wrap")),
    ("SpatialPadd", dict(spatial_size=[10, 13, 12], mode="constant", value=-2.5)),
    ("DivisiblePadd", dict(k=[4, 5, 0])),
    ("DivisiblePadd", dict(k=16, method="end", mode="replicate")),
    ("BorderPadd", dict(spatial_border=2)),
    ("BorderPadd", dict(spatial_border=[1, 0, 2])),
    ("BorderPadd", dict(spatial_border=[1, 0, 2, 3, 0, 1], mode="constant", constant_values=7)),
    ("CropForegroundd", dict(source_key="image")),
    ("CropForegroundd", dict(source_key="image", margin=[3, 0, 2])),
    ("CropForegroundd", dict(source_key="image", margin=3, allow_smaller=True, channel_indices=1)),
    ("CropForegroundd", dict(source_key="image", k_divisible=[4, 1, 16], mode="edge")),
    ("CastToTyped", dict(dtype="uint8")),
]


def main():
    arrays = {"image": IMAGE, "affine": AFFINE}
    for number, (name, arguments) in enumerate(CASES):
        image = MetaTensor(torch.from_numpy(IMAGE.astype(np.float32)), affine=torch.from_numpy(AFFINE))
        if name == "CastToTyped":  # negative values would depend on the platform
            image = MetaTensor(image.abs() + 0.5, meta=image.meta)
        given = dict(arguments)
        if name == "CastToTyped":
            given["dtype"] = np.uint8
        out = getattr(mt, name)(keys="image", **given)({"image": image})["image"]
        case = f"{number:03d}_{name}"
        arrays[case + "/json"] = np.frombuffer(json.dumps([name, arguments]).encode(), np.uint8)
        arrays[case + "/out"] = np.ascontiguousarray(out.as_tensor().numpy())
        arrays[case + "/affine"] = out.affine.numpy()
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
