"""Compare the transforms of label maps in MONAI and segbundle: one config with a chain of transforms per result.

The label map is that of a synthetic phantom with 104 structures; every hundredth voxel got a random label, so that the
structures have many components and holes. The saved maps must be equal. MONAI's are cached by their inputs.
"""
import json
import os
import shutil
import subprocess
import sys

import bundles
import monai_env

KEEP, SMALL, HOLES = "KeepLargestConnectedComponentd", "RemoveSmallObjectsd", "FillHolesd"
ONE_HOT, LABELS = ("AsDiscreted", {"to_onehot": 105}), ("AsDiscreted", {"argmax": True})
CHAINS = {
    "largest": [(KEEP, {})],
    "largest_of_union": [(KEEP, {"applied_labels": [1, 3, 5, 18], "independent": False, "connectivity": 1, "num_components": 3})],
    "largest_one_hot": [ONE_HOT, (KEEP, {"applied_labels": [1, 5, 7, 93]}), LABELS],
    "blobs": [ONE_HOT, (SMALL, {"min_size": 1000, "by_measure": True}), LABELS],
    "blobs_of_mask": [("LabelToMaskd", {"select_labels": [5, 18, 44]}), (SMALL, {"min_size": 20, "connectivity": 3})],
    "holes": [(HOLES, {"applied_labels": [5, 7, 93]})],
    "holes_few_neighbors": [(HOLES, {"applied_labels": [1, 5], "connectivity": 1})],
    "mapped": [("MapLabelValued", {"orig_labels": [0, 5, 7], "target_labels": [7, 0, 300]})],
}


def config(label):
    """A config that writes `eval/labels/labels_<chain>.nii.gz` for each chain."""
    steps = [{"_target_": "LoadImaged", "keys": "label"}, {"_target_": "EnsureChannelFirstd", "keys": "label"}]
    for name, chain in CHAINS.items():
        steps.append({"_target_": "CopyItemsd", "keys": "label", "names": [name]})
        steps += [{"_target_": target, "keys": name, **args} for target, args in chain]
        steps.append({"_target_": "SaveImaged", "keys": name, "output_dir": "eval", "output_postfix": name, "output_dtype": "int16"})
    return {
        "dataset": {"_target_": "Dataset", "data": [{"label": label}], "transform": {"_target_": "Compose", "transforms": steps}},
        "run": ["$@dataset[0]"],
    }


def noisy(path, out):
    """Copy a label map with a random label in every hundredth voxel."""
    import nibabel as nib
    import numpy as np

    image, random = nib.load(path), np.random.default_rng(0)
    voxels = np.asarray(image.dataobj).astype(np.uint8)
    replaced = random.random(voxels.shape) < 0.01
    voxels[replaced] = random.integers(0, 105, int(replaced.sum()))
    nib.save(nib.Nifti1Image(voxels, image.affine), out)


def run(words, folder):
    done = subprocess.run([*words, "run", "--config_file", "config.json"], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(words)}\n{done.stdout[-3000:]}")


def check(work, binary, only):
    """Run the comparison. Returns [(name, summary, [problems])]."""
    import nibabel as nib
    import numpy as np

    if only not in "label maps":
        return []
    folder = os.path.join(work, "label_maps")
    os.makedirs(folder)
    subprocess.run([binary, "sample-data", "--output_dir", os.path.join(folder, "phantom"), "--cases", "1", "--size", "60", "56", "64",
                    "--spacing", "5"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = sorted(os.path.join(at, name) for at, _, names in os.walk(os.path.join(folder, "phantom")) for name in names if "labels" in at)
    label = os.path.join(folder, "labels.nii.gz")
    noisy(found[0], label)
    key = bundles.sha256("label maps", json.dumps(CHAINS), bundles.content(label), str(monai_env.PACKAGES))[:24]
    kept = monai_env.cache_folder("parity", "monai", key)
    sides = {}
    for side, words in (("monai", [sys.executable, "-m", "monai.bundle"]), ("segbundle", [binary])):
        sides[side] = os.path.join(folder, side)
        os.makedirs(sides[side])
        with open(os.path.join(sides[side], "config.json"), "w", encoding="utf-8") as text:
            json.dump(config(label), text)
        if side == "monai" and os.path.isdir(kept):
            os.utime(kept)
            continue
        try:
            run(words, sides[side])
        except RuntimeError as error:
            return [(side, "", [str(error)])]
        if side == "monai":
            partial = kept + f".partial-{os.getpid()}"
            shutil.copytree(os.path.join(sides[side], "eval"), partial)
            os.rename(partial, kept)
    rows = []
    before = np.asarray(nib.load(label).dataobj).astype(int)
    for name in CHAINS:
        file = os.path.join("labels", f"labels_{name}.nii.gz")
        theirs, ours = (nib.load(os.path.join(at, file)) for at in (kept, os.path.join(sides["segbundle"], "eval")))
        a, b = (np.asarray(image.dataobj).astype(int) for image in (theirs, ours))
        problems = [] if np.array_equal(theirs.affine, ours.affine) else ["the affines differ"]
        differing = int((a != b).sum()) if a.shape == b.shape else a.size
        if differing:
            problems.append(f"{differing} voxels differ")
        rows.append((name, f"{a.size} voxels, {int((a != before).sum())} changed", problems))
    return rows
