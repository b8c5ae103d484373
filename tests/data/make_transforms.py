"""Make transforms.npz: MONAI's preprocessing and its inversion on small images.

    python make_transforms.py transforms.npz          # MONAI 1.6.1, torch 2.11.0, on x86-64 with AVX-512
    python make_transforms.py large.npz A.nii.gz ...  # the same for files, the first one also rotated and sheared;
                                                      # tests read it from SEGBUNDLE_LARGE_TRANSFORMS

For each case: image [X,Y,Z] int16, affine, the arguments; MONAI's resampled image and affine; random labels on the new
grid and MONAI's nearest inversion of them; a random channel and its linear inversion.
"""
import sys

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CenterSpatialCropd, Orientationd, Spacingd, SpatialPadd
from monai.transforms.utils import convert_applied_interp_mode


def rotation(x, y, z):
    """Rotation by angles in degrees about x, then y, then z."""
    out = np.eye(3)
    for (i, j), degrees in (((1, 2), x), ((0, 2), y), ((0, 1), z)):
        turn = np.eye(3)
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turn[i, i], turn[j, j], turn[i, j], turn[j, i] = cos, cos, -sin, sin
        out = turn @ out
    return out


def affine(axes, origin=(31.5, -87.25, 412.0), single=True):
    """Round to float32, the precision of a NIfTI header."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = axes, origin
    return out.astype(np.float32).astype(np.float64) if single else out


SHEAR = np.array([[1, 0, 0], [0, 1, np.tan(np.deg2rad(15))], [0, 0, 1]])
PIR = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
LAS = np.diag([-1, 1, 1])
# name: affine, shape, Spacingd arguments, size to pad and to crop to after resampling
CASES = {
    "axis_1.5": (affine(LAS @ np.diag([0.9, 1.1, 2.5])), (23, 21, 12), dict(pixdim=1.5), None, None),
    "axis_3": (affine(LAS @ np.diag([1.5, 1.5, 1.5])), (24, 22, 13), dict(pixdim=3.0), None, None),
    "pir": (affine(PIR @ np.diag([1.2, 0.8, 3.0])), (21, 25, 10), dict(pixdim=(1.5, 1.5, 2.0)), (24, 16, 20), (20, 0, 12)),
    "rotated": (affine(rotation(12, -7, 20) @ np.diag([-1.2, -1.7, 3.3])), (20, 18, 12), dict(pixdim=1.5), None, None),
    "rotated_3": (affine(rotation(3, 2, -5) @ np.diag([1.5, 1.5, 1.5])), (24, 20, 16), dict(pixdim=3.0), None, None),
    "sheared": (affine(SHEAR @ np.diag([0.8, 0.8, 3.0])), (26, 24, 11), dict(pixdim=1.5), None, None),
    "diagonal": (affine(rotation(0, 0, 30) @ np.diag([1.2, 1.2, 2.0])), (18, 16, 10), dict(pixdim=1.6, diagonal=True), None, None),
    "corners": (affine(np.diag([0.9, 1.1, 2.5])), (15, 17, 9), dict(pixdim=1.5, align_corners=True, scale_extent=True), None, None),
    "zeros": (affine(np.diag([1.0, 1.0, 2.0])), (14, 15, 9), dict(pixdim=0.7, padding_mode="zeros"), None, None),
    "reflection": (affine(rotation(0, 10, 0) @ np.diag([1.0, 1.3, 2.0])), (14, 15, 9), dict(pixdim=0.9, padding_mode="reflection"), None, None),
    "nearest": (affine(LAS @ np.diag([0.75, 0.75, 3.0])), (24, 22, 9), dict(pixdim=1.5, mode="nearest"), None, None),
    "kept": (affine(np.diag([0.8, 0.8, 2.0])), (12, 14, 9), dict(pixdim=(1.5, 1.5, 2.0), min_pixdim=(0.5, 1.0, None), max_pixdim=2.0), None, None),
    "unchanged": (affine(np.diag([1.5, 1.5, 1.5004])), (9, 8, 7), dict(pixdim=1.5), None, None),
    "one_slice": (affine(np.diag([0.9, 0.9, 5.0])), (20, 18, 1), dict(pixdim=1.5), None, None),
}


def run(image, matrix, arguments, pad, crop, rng, classes=4):
    """Arrays of a case."""
    chain = [Orientationd(keys="image", axcodes="RAS"), Spacingd(keys="image", **arguments)]
    chain += [SpatialPadd(keys="image", spatial_size=pad)] if pad else []
    chain += [CenterSpatialCropd(keys="image", roi_size=crop)] if crop else []
    chain = Compose(chain)
    out = chain({"image": MetaTensor(torch.from_numpy(image[None].astype(np.float32)), affine=torch.from_numpy(matrix))})["image"]
    arrays = {"image": image, "affine": matrix, "out": out.as_tensor().numpy(), "out_affine": out.affine.numpy()}
    label = rng.integers(0, classes, out.shape[1:], dtype=np.uint8)
    channel = rng.normal(size=out.shape[1:]).astype(np.float32).round(2)
    for name, values, nearest in (("label", label, True), ("channel", channel, False)):
        meta = MetaTensor(torch.from_numpy(values[None].astype(np.float32)), meta=out.meta)
        operations = out.applied_operations
        meta.applied_operations = convert_applied_interp_mode(operations, "nearest", None) if nearest else operations
        back = chain.inverse({"image": meta})["image"].as_tensor().numpy()[0]
        arrays[name], arrays[name + "_inverse"] = values, back.astype(values.dtype)
    return arrays


def files(paths):
    """Cases from image files, each at 1.5 and 3 mm."""
    import nibabel

    for number, path in enumerate(paths):
        file = nibabel.load(path)
        matrix, image = file.affine, np.ascontiguousarray(file.dataobj, np.int16)
        turns = {"": np.eye(3)}
        if number == 0:
            turns |= {"_rotated": rotation(7, -4, 11), "_sheared": SHEAR}
        for turn, axes in turns.items():
            moved = matrix.copy()
            moved[:3] = axes @ matrix[:3]
            for pixdim in (1.5, 3.0):
                yield f"{number}{turn}_{pixdim}", affine(moved[:3, :3], moved[:3, 3]), image, dict(pixdim=pixdim)


def main():
    if sys.argv[2:]:
        arrays = {}
        for seed, (name, matrix, image, arguments) in enumerate(files(sys.argv[2:])):
            for key, value in run(image, matrix, arguments, None, None, np.random.default_rng(seed), 105).items():
                arrays[f"{name}/{key}"] = value
        np.savez(sys.argv[1], **{key: np.ascontiguousarray(value) for key, value in arrays.items()})
        return
    arrays = {}
    for seed, (name, (matrix, shape, arguments, pad, crop)) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        image = rng.integers(-1000, 1500, shape, dtype=np.int16)
        for key, value in run(image, matrix, arguments, pad, crop, rng).items():
            arrays[f"{name}/{key}"] = value
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
