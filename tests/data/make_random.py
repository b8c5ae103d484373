"""Make random.npz: MONAI's random dictionary transforms with seeded random states, for tests/all/random_transforms.rs.

    python make_random.py random.npz          (MONAI 1.6.1)

Each case is a Compose of the transforms, set_random_state(SEED), applied five times to the same sample. `CASE/json` is
[transforms with arguments, SEED] as UTF-8 bytes; `CASE/RUN/SAMPLE/KEY` the voxels, `…/affine` the image's affine.
Image [2,9,8,7] f32 and label [1,9,8,7] are formulas of the index. The label is float32, as returned by LoadImaged
(MONAI treats every voxel of uint8 labels as background: torch.any returns uint8, and ~1 is 254).
"""
import json
import sys

import monai.transforms as mt
import numpy as np
import torch
from monai.data import MetaTensor

N = 2 * 9 * 8 * 7
IMAGE = (((np.arange(N) * 7919) % 2003 - 1001) / np.float32(250)).astype(np.float32).reshape(2, 9, 8, 7)
LABEL = ((np.arange(N // 2) * 31) // 17 % 5 == 2).astype(np.uint8).reshape(1, 9, 8, 7)
AFFINE = np.diag([1.5, 2.0, 2.5, 1.0])
BOTH = dict(keys=["image", "label"])
IM = dict(keys="image")
CASES = {
    "spatial_crop": [("RandSpatialCropd", dict(BOTH, roi_size=[4, 5, 3]))],
    "spatial_crop_large": [("RandSpatialCropd", dict(BOTH, roi_size=[4, 20, -1]))],
    "spatial_crop_size": [("RandSpatialCropd", dict(BOTH, roi_size=2, max_roi_size=[5, 8, -1], random_size=True))],
    "spatial_crop_center": [("RandSpatialCropd", dict(BOTH, roi_size=3, random_size=True, random_center=False))],
    "pos_neg": [("RandCropByPosNegLabeld", dict(BOTH, label_key="label", spatial_size=[4, 3, 5], pos=1, neg=1, num_samples=3))],
    "pos_neg_image": [("RandCropByPosNegLabeld", dict(BOTH, label_key="label", spatial_size=[4, 4, -1], pos=1, neg=3, num_samples=2, image_key="image", image_threshold=3.0))],
    "pos_neg_smaller": [("RandCropByPosNegLabeld", dict(BOTH, label_key="label", spatial_size=[20, 5, 5], allow_smaller=True))],
    "flip": [("RandFlipd", dict(BOTH, prob=0.5, spatial_axis=0)), ("RandFlipd", dict(BOTH, prob=0.5, spatial_axis=[1, -1])), ("RandFlipd", dict(BOTH, prob=0.5))],
    "axis_flip": [("RandAxisFlipd", dict(BOTH, prob=0.6))],
    "rotate90": [("RandRotate90d", dict(BOTH, prob=0.8, max_k=3)), ("RandRotate90d", dict(BOTH, prob=0.8, spatial_axes=[0, 2])), ("RandRotate90d", dict(BOTH, prob=0.8, spatial_axes=[2, 1]))],
    "scale": [("RandScaleIntensityd", dict(IM, factors=0.3, prob=0.7))],
    "scale_channels": [("RandScaleIntensityd", dict(IM, factors=[0.5, -0.1], prob=0.7, channel_wise=True))],
    "shift": [("RandShiftIntensityd", dict(IM, offsets=0.1, prob=0.7))],
    "shift_channels": [("RandShiftIntensityd", dict(IM, offsets=[-1.0, 0.5], prob=0.7, channel_wise=True))],
    "noise": [("RandGaussianNoised", dict(IM, prob=0.7, mean=0.1, std=0.5))],
    "noise_fixed": [("RandGaussianNoised", dict(IM, prob=0.7, std=0.2, sample_std=False))],
    "smooth": [("RandGaussianSmoothd", dict(IM, prob=0.7))],
    "chain": [
        ("RandFlipd", dict(BOTH, prob=0.5, spatial_axis=1)),
        ("RandRotate90d", dict(BOTH, prob=0.5)),
        ("RandCropByPosNegLabeld", dict(BOTH, label_key="label", spatial_size=4, num_samples=2)),
        ("RandGaussianNoised", dict(IM, prob=0.5)),
        ("RandScaleIntensityd", dict(IM, factors=0.2, prob=0.5)),
        ("RandShiftIntensityd", dict(IM, offsets=0.2, prob=0.5)),
    ],
}

if __name__ == "__main__":
    out = {}
    for number, (name, steps) in enumerate(CASES.items()):
        seed = 1000 + 7 * number
        compose = mt.Compose([getattr(mt, step)(**arguments) for step, arguments in steps])
        compose.set_random_state(seed)
        out[f"{name}/json"] = np.frombuffer(json.dumps([steps, seed]).encode(), np.uint8)
        for run in range(5):
            sample = {"image": MetaTensor(torch.tensor(IMAGE), affine=AFFINE), "label": MetaTensor(torch.tensor(LABEL).float(), affine=AFFINE)}
            samples = compose(sample)
            for at, one in enumerate(samples if isinstance(samples, list) else [samples]):
                out[f"{name}/{run}/{at}/image"] = one["image"].numpy().astype(np.float32)
                out[f"{name}/{run}/{at}/label"] = one["label"].numpy().astype(np.uint8)
                out[f"{name}/{run}/{at}/affine"] = one["image"].affine.numpy().astype(np.float64)
    np.savez_compressed(sys.argv[1], **out)
