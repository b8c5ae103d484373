"""Results of MONAI 1.6.1 for transforms of label maps: python make_label_maps.py label_maps.npz

With scikit-image 0.25.2: version 0.26 takes the `min_size` that MONAI gives it for the largest size to remove.
"""
import json
import sys

import numpy as np
import torch
from monai import transforms
from monai.data import MetaTensor
from scipy import ndimage

AFFINE = np.diag([0.8, 1.5, 2.0, 1.0])


def labels(rng, shape, count, sigma=1.1):
    """Labels of smooth noise: components of many sizes."""
    noise = ndimage.gaussian_filter(rng.normal(size=(count + 1, *shape)), [0] + [sigma] * len(shape))
    noise[0] += 0.08
    return noise.argmax(0)


def shells(shape):
    """Nested shells, some with a gap, around single voxels of other labels."""
    map_ = np.zeros(shape, dtype=int)
    at = np.indices(shape)
    for center, radius, label in (((6, 6, 6), 5, 1), ((6, 6, 6), 3, 2), ((6, 6, 17), 4, 3), ((6, 5, 17), 2, 4), ((1, 1, 13), 3, 2)):
        distance = np.abs(at - np.reshape(center, (3, 1, 1, 1))).max(0)
        map_[distance == radius] = label
    map_[6, 6, 6] = 5
    map_[6, 2, 17] = 0  # opens the shell of label 3
    map_[2, 2, 2] = 0  # opens a corner of that of label 1 for diagonal neighbors
    return map_


def images():
    rng = np.random.default_rng(0)
    map_ = labels(rng, (13, 11, 12), 4)
    onehot = np.stack([map_ == label for label in range(5)])
    masks = np.stack([labels(rng, (13, 11, 12), 1) for _ in range(3)])
    # Between two labels where a linear inversion would interpolate.
    fraction = map_ * 0.5 + np.roll(map_, 1, 2) * 0.5
    flat = labels(rng, (23, 19), 3, 1.3)
    return {
        "u1": map_[None].astype(np.uint8),
        "i2": (map_[None] * 100 - 100).astype(np.int16),
        "i4": map_[None].astype(np.int32),
        "f4": map_[None].astype(np.float32),
        "fraction": fraction[None].astype(np.float32),
        "share": (fraction[None] / 4).astype(np.float32),
        "onehot": onehot.astype(np.float32),
        "masks": masks.astype(np.uint8),
        "binary": masks[:1].astype(np.float32),
        "flat": flat[None].astype(np.uint8),
        "flat_onehot": np.stack([flat == label for label in range(4)]).astype(np.float32),
        "shells": shells((13, 13, 24))[None].astype(np.uint8),
        "shells_onehot": np.stack([shells((13, 13, 24)) == label for label in range(6)]).astype(np.uint8),
        "constant": np.ones((1, 4, 4, 4), dtype=np.uint8),
        "zeros": np.zeros((1, 4, 4, 4), dtype=np.uint8),
        "tenths": (map_[None] * 0.1).astype(np.float32),
    }


CASES = {
    "KeepLargestConnectedComponentd": [
        ("u1 i4 f4 onehot masks binary flat flat_onehot shells", [
            {}, {"connectivity": 1}, {"connectivity": 2, "num_components": 2}, {"independent": False},
            {"applied_labels": 1}, {"applied_labels": [1, 0], "independent": False},
        ]),
        ("u1 f4 onehot flat shells_onehot", [{"applied_labels": [1, 2]}, {"applied_labels": [1, 3], "independent": False, "connectivity": 1}]),
        ("i2", [{}, {"applied_labels": [-100, 200]}, {"applied_labels": [100, 200], "independent": False}]),
        ("fraction", [{"applied_labels": [1, 2]}, {"applied_labels": [1, 2, 3], "independent": False}, {}]),
        ("share", [{"is_onehot": True, "applied_labels": 0}]),
        ("binary", [{"is_onehot": True, "applied_labels": [0]}]),
        ("u1 onehot", [{"applied_labels": []}, {"applied_labels": [], "independent": False}]),
    ],
    "RemoveSmallObjectsd": [
        ("u1 i4 f4 fraction share onehot masks binary flat flat_onehot constant", [
            {"min_size": 12}, {"min_size": 12, "connectivity": 3}, {"min_size": 20, "connectivity": 2},
            {"min_size": 30, "by_measure": True}, {"min_size": 15, "independent_channels": False},
        ]),
        ("u1", [{"min_size": 250}]),
        ("i2", [{"min_size": 10, "independent_channels": False}]),
        ("onehot masks", [{"min_size": 40, "connectivity": 4}, {}]),
    ],
    "FillHolesd": [
        ("u1 f4 i2 onehot masks binary flat flat_onehot shells shells_onehot", [{}, {"connectivity": 1}]),
        ("shells shells_onehot", [{"connectivity": 2}, {"applied_labels": [1]}, {"applied_labels": [2, 4]}, {"applied_labels": 3}]),
    ],
    "LabelToMaskd": [
        ("u1 i4 fraction onehot masks flat", [
            {"select_labels": [1, 2]}, {"select_labels": 2}, {"select_labels": [0, 1], "merge_channels": True},
        ]),
    ],
    "MapLabelValued": [
        ("u1 i2 f4 fraction masks flat", [
            {"orig_labels": [1, 2, 3], "target_labels": [3, 1, 300]},
            {"orig_labels": [1, 0.5, 100], "target_labels": [0.25, -2, 7]},
            {"orig_labels": [1, 1, 2], "target_labels": [5, 6, 2]},
            {"orig_labels": [3, 0], "target_labels": [0, 9], "dtype": "int16"},
            {"orig_labels": [3, 0, 2], "target_labels": [0, 9, 0.5], "dtype": "bool"},
        ]),
        ("tenths", [{"orig_labels": [0.1, 0.3], "target_labels": [5, 0.7]}]),
        ("i2", [{"orig_labels": [0], "target_labels": [9], "dtype": dtype} for dtype in ("uint8", "int8", "uint16", "uint64")]),
    ],
}

# Several transforms after each other, each a name with arguments.
CHAINS = [
    ("u1", [("AsDiscreted", {"to_onehot": 5}), ("MapLabelValued", {"orig_labels": [0], "target_labels": [2]}), ("AsDiscreted", {"argmax": True})]),
    ("zeros", [("AsDiscreted", {"to_onehot": 1}), ("LabelToMaskd", {"select_labels": [1]})]),
    ("zeros", [("AsDiscreted", {"to_onehot": 1}), ("LabelToMaskd", {"select_labels": [0]})]),
]


def unambiguous(image, name, args):
    """Whether no two components of equal size compete for being kept: MONAI's choice depends on the processor."""
    if name != "KeepLargestConnectedComponentd":
        return True
    from skimage import measure

    one_hot = args.get("is_onehot", len(image) > 1)
    applied = np.atleast_1d(args.get("applied_labels", np.arange(1, len(image)) if one_hot else np.unique(image[image != 0])))
    if not len(applied):
        return True
    masks = [image[label] > 0 if one_hot else image[0] == label for label in applied]
    if not args.get("independent", True):
        masks = [np.any(masks, 0)]
    for mask in masks:
        sizes = np.sort(np.bincount(measure.label(mask, connectivity=args.get("connectivity")).ravel())[1:])[::-1]
        keep = args.get("num_components", 1)
        if len(sizes) > keep and sizes[keep - 1] == sizes[keep]:
            return False
    return True


def main():
    arrays, count, dropped = {}, 0, 0
    maps = images()
    for name, image in maps.items():
        arrays[f"maps/{name}"] = image
    for name, groups in CASES.items():
        for kinds, sets in groups:
            for kind in kinds.split():
                for args in sets:
                    if max(np.atleast_1d(args.get("applied_labels", args.get("select_labels", 0))), default=0) >= len(maps[kind]) > 1:
                        continue
                    if not unambiguous(maps[kind], name, args):
                        dropped += 1
                        continue
                    given = dict(args)
                    if given.get("dtype"):
                        given["dtype"] = np.dtype(given["dtype"]).type
                    image = MetaTensor(torch.from_numpy(maps[kind].copy()), affine=torch.from_numpy(AFFINE))
                    out = getattr(transforms, name)("image", **given)({"image": image})["image"]
                    assert isinstance(out, MetaTensor) and np.array_equal(out.affine, AFFINE), (name, kind, args)
                    out = out.numpy()
                    arrays[f"{count}/json"] = np.frombuffer(json.dumps([name, kind, args, str(out.dtype)]).encode(), dtype=np.uint8)
                    arrays[f"{count}/out"] = np.ascontiguousarray(out.astype(np.uint8) if out.dtype == bool else out)
                    count += 1
    for at, (kind, steps) in enumerate(CHAINS):
        data = {"image": MetaTensor(torch.from_numpy(maps[kind].copy()), affine=torch.from_numpy(AFFINE))}
        for name, args in steps:
            data = getattr(transforms, name)("image", **args)(data)
        arrays[f"chain{at}/steps"] = np.frombuffer(json.dumps([kind, steps]).encode(), dtype=np.uint8)
        arrays[f"chain{at}/out"] = np.ascontiguousarray(data["image"].numpy().astype(np.uint8))
    np.savez_compressed(sys.argv[1], **arrays)
    print(count, "cases,", dropped, "with a tie left out")


if __name__ == "__main__":
    main()
