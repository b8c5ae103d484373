#!/usr/bin/env python3
"""Compare transforms of a label map of 512×512×397 voxels with 104 labels in MONAI and segbundle; part of `make bench`.

    python3 benches/compare_label_maps.py [--labels N] [--limit SECONDS]

The map is that of a synthetic phantom in which one voxel in 1000 got a random label. Both programs load it, apply one
transform to it and save the result; the seconds are those of the transform, the memory is VmHWM of the process. MONAI
processes one label after the other, which takes minutes: it is given the first N labels (default 4), and its seconds are
also extrapolated to all labels, which segbundle processes as well as the first N. MONAI is stopped after the limit.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "tests", "parity"))
import compare  # noqa: E402
import monai_env  # noqa: E402

SHAPE = (512, 512, 397)
LABELS = 104
# Exit code of `timeout` after the limit.
TIMEOUT = 124
TRANSFORMS = ["KeepLargestConnectedComponentd", "FillHolesd"]
# Arguments: config, seconds of which file.
MONAI = """
import json, sys, time
from monai.bundle import ConfigParser
parser = ConfigParser(json.load(open(sys.argv[1])))
load, change, save = parser.get_parsed_content("transforms")
data = load({"label": parser["label"]})
start = time.perf_counter()
data = change(data)
print("seconds", time.perf_counter() - start)
save(data)
"""


def label_map(binary, path):
    """Write the label map; like benches/metrics.rs, scaled to the exact shape by index."""
    import nibabel as nib
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "sample-data", "--output_dir", folder, "--cases", "1", "--size", *map(str, SHAPE), "--spacing", "1.5"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        [found] = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if os.path.basename(at).startswith("labels")]
        image = nib.load(found)
        voxels = np.asarray(image.dataobj).astype(np.uint8)
    for axis, size in enumerate(SHAPE):
        voxels = voxels.take((np.arange(size) * (voxels.shape[axis] / size)).astype(int), axis)
    random = np.random.default_rng(0)
    at = random.integers(0, voxels.size, voxels.size // 1000)
    voxels.reshape(-1)[at] = random.integers(0, LABELS + 1, at.size)
    nib.save(nib.Nifti1Image(voxels, np.diag([0.84, 0.84, 1.5, 1.0])), path)


def config(label, transform, labels):
    applied = list(range(1, labels + 1))
    transforms = [
        {"_target_": "LoadImaged", "keys": "label", "ensure_channel_first": True, "dtype": "uint8"},
        {"_target_": transform, "keys": "label", "applied_labels": applied},
        {"_target_": "SaveImaged", "keys": "label", "output_dir": "eval", "output_dtype": "uint8"},
    ]
    return {"label": label, "transforms": transforms, "run": ["$@dataset[0]"],
            "dataset": {"_target_": "Dataset", "data": [{"label": label}], "transform": {"_target_": "Compose", "transforms": "@transforms"}}}


def run(words, folder, job, limit=None):
    """Return the output, the peak memory in MiB and the saved file; None if the run was stopped after the limit."""
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as text:
        json.dump(job, text)
    log = os.path.join(folder, "log")
    if limit:
        words = ["timeout", str(limit), *words]
    try:
        _, peaks = compare.measured(words, folder, log)
    except compare.Failed as failed:
        if limit and failed.exit_code == TIMEOUT:
            return None
        raise
    with open(log, encoding="utf-8", errors="replace") as text:
        output = text.read()
    [saved] = [os.path.join(at, name) for at, _, names in os.walk(os.path.join(folder, "eval")) for name in names if name.endswith(".nii.gz")]
    return output, max(peaks.values()), saved


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=4, help="number of labels that MONAI processes (default: 4)")
    parser.add_argument("--limit", type=int, default=240, help="seconds after which a run of MONAI is stopped (default: 240)")
    args = parser.parse_args()
    monai_env.enter()
    import nibabel as nib
    import numpy as np

    binary = os.path.abspath(os.environ.get("SEGBUNDLE_BINARY") or os.path.join(ROOT, "target", "release", "segbundle"))
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} does not exist; run `make build` first")
    print(compare.machine(), flush=True)
    print(f"{'transform':<32}{'labels':>7}{'MONAI s':>10}{'ours s':>9}{'ratio':>8}{'MONAI MiB':>11}{'ours MiB':>10}  same", flush=True)
    with tempfile.TemporaryDirectory(prefix="segbundle-bench-") as work:
        label = os.path.join(work, "labels.nii.gz")
        label_map(binary, label)
        for transform in TRANSFORMS:
            seconds = None
            for labels in (args.labels, LABELS):
                job = config(label, transform, labels)
                at = os.path.join(work, f"{transform}{labels}")
                output, mib, ours = run([binary, "-v", "run", "--config_file", "config.json"], at + "ours", job)
                own = float(re.search(transform + r": ([\d.]+) s", output)[1])
                theirs, same = None, "-"
                if labels == args.labels:
                    theirs = run([sys.executable, "-W", "ignore", "-c", MONAI, "config.json"], at + "monai", job, args.limit)
                if theirs:
                    seconds = float(re.search(r"seconds ([\d.]+)", theirs[0])[1])
                    maps = [np.asarray(nib.load(path).dataobj) for path in (ours, theirs[2])]
                    same = "equal" if np.array_equal(*maps) else f"{int((maps[0] != maps[1]).sum())} voxels differ"
                shown = seconds and seconds * labels / args.labels
                note = "  MONAI extrapolated" if seconds and labels != args.labels else ""
                cells = [f"{shown:.1f}" if shown else f">{args.limit}", f"{own:.2f}", f"{(shown or args.limit) / own:.0f}x",
                         f"{theirs[1]:.0f}" if theirs else "-", f"{mib:.0f}"]
                print(f"{transform:<32}{labels:>7}{cells[0]:>10}{cells[1]:>9}{cells[2]:>8}{cells[3]:>11}{cells[4]:>10}  {same}{note}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
