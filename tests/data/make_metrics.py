"""Make metrics.pt: MONAI's DiceMetric and ignite's Accuracy on three cases, for tests/all/metrics.rs.

    python make_metrics.py           (MONAI 1.6.1, ignite 0.5.5)
"""
import torch
from ignite.metrics import Accuracy
from monai.metrics import DiceMetric
from monai.networks import one_hot


def labels(case, a, classes):
    n = 6 * 5 * 4
    return ((torch.arange(n) * a + case * 13) // 7 % classes).reshape(1, 1, 6, 5, 4)


PAIRS = [(labels(case, 5, 7), labels(case, 6, 5 + case)) for case in range(3)]  # targets lack classes

if __name__ == "__main__":
    out = {}
    for reduction in ("none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel"):
        for background in (True, False):
            for empty in (True, False):
                metric = DiceMetric(include_background=background, reduction=reduction, ignore_empty=empty)
                for prediction, target in PAIRS:
                    metric(one_hot(prediction, 7), one_hot(target, 7))
                out[f"{reduction}.{int(background)}{int(empty)}"] = metric.aggregate().float()
    for multilabel in (False, True):
        accuracy = Accuracy(is_multilabel=multilabel)
        for prediction, target in PAIRS:
            accuracy.update((one_hot(prediction, 7), one_hot(target, 7)))
        out[f"accuracy.{int(multilabel)}"] = torch.tensor(accuracy.compute(), dtype=torch.float64)
    ignoring = DiceMetric(reduction="mean_batch", ignore_index=2)
    for prediction, target in PAIRS:
        ignoring(one_hot(prediction, 7), one_hot(target, 7))
    out["ignore"] = ignoring.aggregate()
    torch.save(out, "metrics.pt")
