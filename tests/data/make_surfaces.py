"""Make surfaces.txt: MONAI's metrics of overlaps and surfaces on small label maps, for tests/all/surface_metrics.rs.

    python make_surfaces.py           (MONAI 1.6.1, SciPy 1.17.1, torch 2.11)

Each line is a name and the values of a tensor. `maps`: three predictions and their targets [3,2,9,8,7] of 6 classes:
touching blocks up to the border of the image, objects of one voxel, a class in neither map (5), and classes that are
absent from the prediction or the target of some cases. `channels`: overlapping channels [3,2,3,9,8,7]; `one` is the
first of them. `INPUT/METRIC,ARGUMENTS`: the metric's buffer [cases, channels], and `INPUT/METRIC,ARGUMENTS/REDUCTION`
its aggregated value.
"""
import itertools
import warnings

import numpy as np
import torch
from monai.metrics import (
    ConfusionMatrixMetric, DiceMetric, HausdorffDistanceMetric, MeanIoU, SurfaceDiceMetric, SurfaceDistanceMetric,
    compute_hausdorff_distance,
)
from monai.networks import one_hot

SHAPE = (9, 8, 7)
REDUCTIONS = ("none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel")
NAMES = (
    "sensitivity", "specificity", "precision", "negative predictive value", "miss rate", "fall out",
    "false discovery rate", "false omission rate", "prevalence threshold", "threat score", "accuracy",
    "balanced accuracy", "f1 score", "matthews correlation coefficient", "fowlkes mallows index", "informedness",
    "markedness",
)


def maps():
    out = np.zeros((3, 2) + SHAPE, np.uint8)
    for case in range(3):
        for side in range(2):
            label = out[case, side]
            label[1 + side:5, 2:6 + case % 2, 1:5] = 1
            label[5:9, 1 + side:5, 2:7] = 2      # touches class 1 and the border
            label[5:, 5:, case:3 + side] = 3
            label[0, 0, side * case] = 4          # one voxel
    out[1, 0][out[1, 0] == 3] = 0                  # absent from the prediction
    out[2, 1][out[2, 1] == 2] = 0                  # absent from the target
    out[1, :][out[1, :] == 4] = 0                  # absent from both
    noise = np.random.default_rng(0)
    wrong = noise.random(out.shape) < 0.03
    wrong[1] &= ~np.isin(out[1], (3, 4))
    out[2, 0][wrong[2, 0]] = 1
    out[0, 0][wrong[0, 0]] = noise.integers(0, 5, wrong[0, 0].sum())
    return out


def value(result):
    result = result[0] if isinstance(result, (list, tuple)) else result
    return result.float()


def main():
    warnings.simplefilter("ignore")
    labels = maps()
    channels = (np.random.default_rng(1).random((3, 2, 3) + SHAPE) < 0.4).astype(np.uint8)
    channels[0, :, 2] = 0
    channels[1, 0, 1] = 0
    tensors = {"maps": torch.from_numpy(labels), "channels": torch.from_numpy(channels)}
    hot = [[one_hot(torch.from_numpy(labels[case, side])[None, None], 6) for side in range(2)] for case in range(3)]
    layers = [[torch.from_numpy(channels[case, side])[None].float() for side in range(2)] for case in range(3)]

    one = [[side[:, :1] for side in pair] for pair in layers]

    def record(kind, key, metric, reductions=("mean",)):
        for prediction, target in {"maps": hot, "channels": layers, "one": one}[kind]:
            metric(prediction.clone(), target.clone())
        tensors[f"{kind}/{key}"] = metric.get_buffer().float()
        for reduction in reductions:
            tensors[f"{kind}/{key}/{reduction}"] = value(metric.aggregate(reduction=reduction))

    for kind in ("maps", "channels", "one"):
        count = {"maps": 6, "channels": 3, "one": 1}[kind]
        for background, ignore in itertools.product((True, False), (None, 0, 1, -1)):
            key = f"{int(background)},{ignore}"
            common = {"include_background": background, "ignore_index": ignore}
            record(kind, f"MeanIoU,{key}", MeanIoU(**common), REDUCTIONS if ignore is None else ("mean",))
            record(kind, f"MeanIoU empty,{key}", MeanIoU(ignore_empty=False, **common))
            record(kind, f"DiceMetric,{key}", DiceMetric(**common))
            record(kind, f"ConfusionMatrixMetric,{key}", ConfusionMatrixMetric(**common))
            record(kind, f"HausdorffDistanceMetric,{key}", HausdorffDistanceMetric(**common))
            record(kind, f"SurfaceDistanceMetric,{key}", SurfaceDistanceMetric(symmetric=True, **common))
            thresholds = [0.5, 1.0, 1.5, 0.0, 2.0, 1.0][:count - int(not background and count > 1)]
            for cells in (False, True):
                record(kind, f"SurfaceDiceMetric,{int(cells)},{key}", SurfaceDiceMetric(thresholds, use_subvoxels=cells, **common))
        for distance in ("euclidean", "chessboard", "taxicab"):
            for directed, percentile in itertools.product((False, True), (None, 0, 37.5, 95, 100)):
                metric = HausdorffDistanceMetric(distance_metric=distance, directed=directed, percentile=percentile)
                key = f"HausdorffDistanceMetric,{distance},{int(directed)},{percentile}"
                record(kind, key, metric, REDUCTIONS if percentile == 95 else ("mean",))
            metric = SurfaceDistanceMetric(distance_metric=distance)
            record(kind, f"SurfaceDistanceMetric,{distance}", metric)
        for name in NAMES:
            for sample in (False, True):
                metric = ConfusionMatrixMetric(metric_name=name, compute_sample=sample)
                record(kind, f"ConfusionMatrixMetric,{name},{int(sample)}", metric, REDUCTIONS)
    spacing = [0.7, 1.9, 3.1]
    tensors["spacing"] = torch.tensor(spacing, dtype=torch.float64)
    tensors["anisotropic"] = torch.cat([compute_hausdorff_distance(*pair, include_background=True, spacing=spacing) for pair in hot])
    with open("surfaces.txt", "w", encoding="utf-8") as file:
        for name, tensor in tensors.items():
            file.write("\t".join([name, *(f"{x:.9g}" for x in tensor.reshape(-1).tolist())]) + "\n")


if __name__ == "__main__":
    main()
