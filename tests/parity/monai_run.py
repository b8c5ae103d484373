"""One inference run in MONAI, in a process of its own: `python monai_run.py job.json`.

The job: {"bundle": folder, "config": path in it, "overrides": {id: value}, "margins": folder or null, "report": path}.
Nothing is changed in the config. With "margins" the postprocessing is watched, and for each case NAME.npy says how
clear each voxel's decision was, on the grid of the saved file (float32):
- argmax: the best channel's logit minus the second best's, [X,Y,Z];
- threshold: the logit's distance from the threshold, [C,X,Y,Z].
Where a voxel lies outside what the network saw, the decision is the fill's and the margin is infinite.
The report: seconds of the run (imports not counted), those within the network, and the number of windows.
"""
import json
import math
import os
import sys
import time

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Invertd, SaveImaged


def top_two_margin(values):
    """[C,X,Y,Z] → [1,X,Y,Z]: largest minus second largest over C; slab by slab, so that it needs little memory."""
    out = torch.empty(values.shape[1:], dtype=torch.float32)
    for start in range(0, values.shape[1], 8):
        best = values[:, start:start + 8].topk(2, dim=0).values
        out[start:start + 8] = best[0] - best[1]
    return out[None]


def margins_of(steps, data):
    """The margin of each voxel's decision on the saved grid, as an array [C or 1,X,Y,Z]."""
    cut = next(i for i, step in enumerate(steps) if isinstance(step, AsDiscreted))
    decide = steps[cut]
    if any(isinstance(step, Invertd) for step in steps[:cut]):
        # Decided after the inversion, on probabilities: their logarithms differ as the logits do.
        seen = dict(data)
        for step in steps[:cut]:
            seen = step(seen)
        values = seen["pred"].as_tensor().float().clamp_min(1e-30).log()
    else:
        values = data["pred"].as_tensor().float()
    if decide.argmax[0]:
        margin = top_two_margin(values)
    else:
        level = decide.threshold[0]
        margin = (values - math.log(level / (1 - level))).abs()
    # One is added so that a fill of zero is told from a tie.
    seen = {**data, "pred": MetaTensor(margin + 1)}
    for step in steps[cut + 1:]:
        if isinstance(step, Invertd):
            seen = step(seen)
    margin = np.asarray(seen["pred"], dtype=np.float32)
    return np.where(margin < 0.5, np.float32(np.inf), margin - 1)


def watch(post, folder):
    """Make `post(data)` also write the margins of its case into `folder`."""
    os.makedirs(folder, exist_ok=True)
    kind = type(post)

    def call(self, data, *pos, **kwargs):
        if any(isinstance(step, AsDiscreted) for step in self.transforms):
            name = os.path.basename(str(data["image"].meta["filename_or_obj"])).split(".")[0]
            np.save(os.path.join(folder, name + ".npy"), margins_of(self.transforms, data))
        return kind.__call__(self, data, *pos, **kwargs)

    if not any(isinstance(step, SaveImaged) for step in post.transforms):
        raise SystemExit("the postprocessing saves nothing")
    post.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def clock(network, report):
    """Count the network's calls and their seconds into `report`."""
    started = [0.0]

    def before(_module, _inputs):
        started[0] = time.perf_counter()

    def after(_module, _inputs, _output):
        report["network_seconds"] += time.perf_counter() - started[0]
        report["windows"] += 1

    network.register_forward_pre_hook(before)
    network.register_forward_hook(after)


def main():
    with open(sys.argv[1], encoding="utf-8") as text:
        job = json.load(text)
    os.chdir(job["bundle"])
    torch.zeros(1)
    report = {"network_seconds": 0.0, "windows": 0, "threads": torch.get_num_threads()}
    start = time.perf_counter()
    flow = ConfigWorkflow(config_file=job["config"], workflow_type="infer", **job["overrides"])
    flow.initialize()
    clock(flow.parser.get_parsed_content("network"), report)
    if job["margins"]:
        watch(flow.parser.get_parsed_content("postprocessing"), job["margins"])
    flow.run()
    flow.finalize()
    report["seconds"] = time.perf_counter() - start
    with open(job["report"], "w", encoding="utf-8") as text:
        json.dump(report, text)


if __name__ == "__main__":
    main()
