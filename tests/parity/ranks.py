"""Compare trainings on two ranks in MONAI and segbundle, both started by torchrun on the CPU with gloo.

The configs of this repository, train.json with multi_gpu_train.json, run unchanged in both programs for two epochs and a
validation of three cases: MONAI refuses fewer than ranks. Compared are for each rank the cases of each batch, their crop
positions and the losses, to 1e-4; the validation metrics, to 1e-3; and the weights that rank 0 saves, to 1e-5. It is not yet
part of parity.py.
"""
import glob
import json
import os
import re
import subprocess
import sys

import training

RANKS = 2
ROOT = training.ROOT


def torchrun(words, folder):
    """Run a program on all ranks. Returns the log of each."""
    logs = os.path.join(folder, "logs")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}", "--redirects=3", "--log-dir", logs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    texts = []
    for rank in range(RANKS):
        paths = sorted(glob.glob(os.path.join(logs, "*", "attempt_0", str(rank), "*.log")))
        texts.append("".join(open(path, encoding="utf-8", errors="replace").read() for path in paths))
    if done.returncode:
        raise RuntimeError("\n".join([f"exit code {done.returncode}: {' '.join(words)}", done.stdout[-2000:], *(text[-2000:] for text in texts)]))
    return texts


def batches_of(report):
    """The cases of each iteration and the start of each crop, as segbundle logs them."""
    return [", ".join(f"{os.path.basename(c)} from {s}" for c, s in zip(i["cases"], i["starts"])) for i in report["iterations"]]


def check(work, binary, only):
    """Run the comparison. Returns [(name, summary, [problems])]."""
    if only not in "ranks, two ranks":
        return []
    folder = os.path.join(work, "ranks")
    folders = [os.path.join(folder, side) for side in ("monai", "segbundle")]
    for one in folders:
        os.makedirs(one, exist_ok=True)
    data = os.path.join(folder, "data")
    subprocess.run([binary, "sample-data", "--output_dir", data, "--cases", "9", "--size", "72", "72", "72", "--spacing", "5"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    configs = [os.path.join(ROOT, "configs", name) for name in ("train.json", "multi_gpu_train.json")]
    # Losses of every rank: the config leaves the handlers that log them to rank 0.
    overrides = {"dataset_dir": data, **training.SMALL, **training.FORMAT, "num_workers": 0, "val_cases": 3,
                 "validate#crop#roi_size": [64, 64, 64], "train#trainer#train_handlers": "@train#handlers"}
    # Rank 0 alone has the validation's handlers.
    overrides.pop("validate#handlers#0#key_var_format")
    try:
        job = {"bundle": folders[0], "config": configs, "overrides": overrides, "report": os.path.join(folders[0], "report.json")}
        path = os.path.join(folders[0], "job.json")
        with open(path, "w", encoding="utf-8") as text:
            json.dump(job, text)
        torchrun([os.path.join(os.path.dirname(os.path.abspath(__file__)), "monai_train.py"), path], folders[0])
        words = ["--no-python", binary, "-v", "run", "--config_file", str(configs), "--logging_file", "False"]
        for key, value in overrides.items():
            words += ["--" + key, str(value)]
        logs = torchrun(words, folders[1])
    except RuntimeError as error:
        return [("two ranks", "", [str(error)])]
    problems, worst, count = [], 0.0, 0
    for rank, log in enumerate(logs):
        with open(os.path.join(folders[0], f"report.json.{rank}"), encoding="utf-8") as text:
            theirs = json.load(text)
        batches = [re.sub(r"\S*/", "", batch) for batch in re.findall(r"iteration \d+: (\S+ from .*)", log)]
        if batches_of(theirs) != batches:
            problems.append(f"rank {rank}: batches {batches_of(theirs)}, segbundle {batches}")
        losses, ours = [i["loss"] for i in theirs["iterations"]], [float(x) for x in re.findall(r"train_loss: (\S+)", log)]
        gap = max((training.far(a, b) for a, b in zip(losses, ours)), default=1.0)
        worst, count = max(worst, gap), count + len(losses)
        if len(losses) != len(ours) or not losses or gap > 1e-4:
            problems.append(f"rank {rank}: losses {losses}, segbundle {ours}")
        for found in re.findall(r"val_accuracy: (\S+) val_mean_dice: (\S+)", log):
            expected = theirs["validations"][0]
            if any(training.far(expected[key], float(x)) > 1e-3 for key, x in zip(("val_accuracy", "val_mean_dice"), found)):
                problems.append(f"rank {rank}: validation {expected}, segbundle {found}")
    weights = training.compare_weights(folders, training.network_of(configs[0], overrides), problems)
    return [("two ranks", f"{count} losses within {worst:.0e}, weights {weights:.0e}", problems)]
