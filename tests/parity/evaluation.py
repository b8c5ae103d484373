"""Compare evaluations in MONAI and segbundle: the CSV files of MetricsSaver for the same weights, images and labels.

Upstream's train.json and evaluate.json run unmodified on a real CT with its label map, if ../shared exists, and the
configs of this repository on three synthetic phantoms with a small network, both with all metrics of overlaps and
surfaces. metrics.csv, the values by case and their summary should be equal byte for byte; where a voxel is close to a
tie or additions have another order, numbers may differ by 1e-5, those of surfaces by 1e-3, relative to numbers above 1.
MONAI's files are cached by their inputs.
"""
import math
import os
import shutil
import subprocess
import sys

import bundles
import cases
import monai_env

ROOT = cases.ROOT
# Metrics that are added to the config's own.
OVERLAPS = {
    "val_iou": {"_target_": "MeanIoUHandler", "include_background": False},
    "val_sensitivity": {"_target_": "ConfusionMatrix", "include_background": False, "metric_name": "sensitivity", "save_details": False},
    "val_mcc": {"_target_": "ConfusionMatrix", "metric_name": "mcc", "compute_sample": True, "save_details": False},
}
SURFACES = {
    "val_hausdorff": {"_target_": "HausdorffDistance", "include_background": True},
    "val_hausdorff_95": {"_target_": "HausdorffDistance", "percentile": 95},
    "val_hausdorff_taxicab": {"_target_": "HausdorffDistance", "distance_metric": "taxicab", "directed": True},
    "val_hausdorff_chessboard": {"_target_": "HausdorffDistance", "distance_metric": "chessboard"},
    "val_surface_distance": {"_target_": "SurfaceDistance", "symmetric": True},
    **{f"val_surface_dice{name}": {"_target_": "IgniteMetricHandler", "metric_fn": {
        "_target_": "SurfaceDiceMetric", "class_thresholds": [1.5] * 104, "use_subvoxels": subvoxels}}
       for name, subvoxels in (("", False), ("_subvoxels", True))},
}
METRICS = {**OVERLAPS, **SURFACES}
OVERRIDES = {
    "validate#additional_metrics": {name: {**metric, "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
                                    for name, metric in METRICS.items()},
    "validate#handlers#2#metrics": "*",
    "validate#handlers#2#metric_details": "*",
}
DETAILED = ["val_mean_dice"] + [name for name, metric in METRICS.items() if metric.get("save_details", True)]
FILES = ["metrics.csv"] + [f"{name}_{kind}.csv" for name in DETAILED for kind in ("raw", "summary")]
LOW = {"displayable_configs#highres": False}
SMALL = {**LOW, "network_def#init_filters": 8, "network_def#blocks_down": [1, 1], "network_def#blocks_up": [1],
         "validate#inferer#roi_size": [32, 32, 32], "val_cases": 3}
TOLERANCE = 1e-5
# One voxel moves percentiles of the distances of a small structure.
SURFACE_TOLERANCE = 1e-3


def plan(folder, binary):
    """{name: (configs folder, data folder, overrides)}"""
    phantoms = os.path.join(folder, "phantoms")
    subprocess.run([binary, "sample-data", "--output_dir", phantoms, "--cases", "5", "--size", "60", "56", "64", "--spacing", "5"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = {"own configs": (os.path.join(ROOT, "configs"), phantoms, SMALL)}
    image = cases.real("abdomen_slab")
    if image and os.path.isdir(cases.UPSTREAM):
        data = os.path.join(folder, "abdomen")
        for source, kind in ((image, "imagesTr"), (os.path.join(os.path.dirname(image), "label_v1_full.nii.gz"), "labelsTr")):
            os.makedirs(os.path.join(data, kind))
            shutil.copyfile(source, os.path.join(data, kind, "abdomen.nii.gz"))
        runs["upstream"] = (os.path.join(cases.UPSTREAM, "configs"), data, LOW)
    return runs


def run(words, folder, overrides):
    """Run a program's `run` command in a bundle."""
    words += ["run", "--config_file", "['configs/train.json','configs/evaluate.json']"]
    for key, value in overrides.items():
        words += ["--" + key, str(value)]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(words)}\n{done.stdout[-3000:]}")


def texts(folder, data):
    """The text of each CSV file, with paths relative to the data folder, which differs between runs."""
    read = {}
    for name in FILES:
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as text:
            read[name] = text.read().replace(data + os.sep, "")
    return read


def monai(folder, overrides, key):
    """Run MONAI, unless cached. Returns the text of each of its CSV files."""
    kept = monai_env.cache_folder("parity", "monai", key)
    if os.path.isdir(kept):
        os.utime(kept)
        return texts(kept, overrides["dataset_dir"])
    run([sys.executable, "-m", "monai.bundle"], folder, {**overrides, "validate#dataloader#num_workers": 0})
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    partial = kept + f".partial-{os.getpid()}"
    os.makedirs(partial)
    read = texts(os.path.join(folder, "eval"), overrides["dataset_dir"])
    for name, text in read.items():
        with open(os.path.join(partial, name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
    os.rename(partial, kept)
    return read


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def compare(theirs, ours):
    """Compare the texts of the files. Returns (summary, [problems])."""
    equal, worst, problems = 0, {}, []
    for name in FILES:
        if theirs[name] == ours[name]:
            equal += 1
            continue
        lines = [text[name].splitlines() for text in (theirs, ours)]
        if [len(line.split(",")) for line in lines[0]] != [len(line.split(",")) for line in lines[1]]:
            problems.append(f"{name}: {len(lines[1])} lines, expected {len(lines[0])} with as many values")
            continue
        for line, other in zip(*lines):
            metric = line.split(",")[0] if name == "metrics.csv" else name.rsplit("_", 1)[0]
            for a, b in zip(line.split(","), other.split(",")):
                x, y = number(a), number(b)
                if a != b and x is not None and y is not None and math.isnan(x) == math.isnan(y):
                    worst[metric] = max(worst.get(metric, 0.0), abs(x - y) / max(1.0, abs(x)))
                elif a != b:
                    problems.append(f"{name}: {b!r}, expected {a!r}")
    for metric, value in worst.items():
        if not value <= (SURFACE_TOLERANCE if metric in SURFACES else TOLERANCE):
            problems.append(f"{metric} differs by up to {value:.1e}")
    differences = ", ".join(f"{metric} {value:.0e}" for metric, value in worst.items())
    return f"{equal} of {len(FILES)} files are equal byte for byte; largest differences: {differences or 'none'}", problems


def check(work, binary, only):
    """Run all comparisons. Returns [(name, summary, [problems])]."""
    rows, folder = [], os.path.join(work, "evaluation")
    for name, (configs, data, overrides) in plan(folder, binary).items():
        if only not in "evaluation, " + name:
            continue
        images = sorted(os.path.join(where, file) for where, _, files in os.walk(data) for file in files if file.endswith(".nii.gz"))
        weights = bundles.weights(os.path.join(configs, "inference.json"), {k: v for k, v in overrides.items() if k.split("#")[0] in ("displayable_configs", "network_def")},
                                  1, cases.real("lung") or images[0])
        models = {"model.pt": weights, "model_lowres.pt": weights}
        overrides = {"dataset_dir": data, **overrides, **OVERRIDES}
        parts = [bundles.content(os.path.join(configs, file)) for file in ("train.json", "evaluate.json")]
        key = bundles.sha256("evaluation, relative paths", *parts, str({**overrides, "dataset_dir": ""}), bundles.content(weights), str(monai_env.PACKAGES),
                             os.cpu_count(), *map(bundles.content, images))[:24]
        folders = [bundles.make(os.path.join(folder, side, name.split()[0]), configs, models) for side in ("monai", "segbundle")]
        try:
            theirs = monai(folders[0], overrides, key)
            run([binary], folders[1], overrides)
            rows.append((name, *compare(theirs, texts(os.path.join(folders[1], "eval"), data))))
        except (OSError, RuntimeError) as error:
            rows.append((name, "", [str(error)]))
    return rows
