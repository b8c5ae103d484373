"""Compare trainings in MONAI and segbundle with the same config, data and seed, iteration by iteration.

Runs a small SegResNet on the sample set, with 0 and 4 workers, and a small UNet with batch norm and dropout, for two
epochs and a validation. Compared are: the cases of each batch and their crop positions; losses, to 1e-4; validation
metrics, to 1e-3; saved weights, to 1e-5 and UNet's to 2e-4 (AdamW changes a weight by up to 1e-3 in ten steps), which
are loaded with torch.load(weights_only=True) strictly into MONAI's network; TensorBoard tags and steps, read with TensorBoard. MONAI's
results are cached by their inputs.

Checkpoints: each program continues training from its own checkpoint of weights and optimizer and from that of the other
one, with equal losses; a checkpoint that is loaded and saved by MONAI returns to segbundle with the same bits.
"""
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import cases
import monai_env
from bundles import content, sha256

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMALL = {
    "batch_size": 2, "displayable_configs#highres": False, "train#trainer#max_epochs": 2, "val_interval": 2,
    "network_def#init_filters": 8, "network_def#blocks_down": [1, 1], "network_def#blocks_up": [1],
    "train#random_transforms#0#roi_size": [32, 32, 32], "validate#inferer#roi_size": [32, 32, 32],
}
# Without biases: before a norm their gradients are only rounding errors, which AdamW turns into full steps.
UNET = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 105, "channels": [8, 16, 32], "strides": [2, 2],
        "num_res_units": 2, "norm": "batch", "dropout": 0.1, "bias": False}
FORMAT = {"train#handlers#1#key_var_format": "{}: {:.9g} ", "validate#handlers#0#key_var_format": "{}: {:.12g} "}


def plan(folder, binary):
    """{name: (config, overrides)}"""
    data = os.path.join(folder, "data")
    subprocess.run([binary, "sample-data", "--output_dir", data, "--cases", "13", "--size", "72", "72", "72", "--spacing", "5"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = os.path.join(ROOT, "configs", "train.json")
    upstream = os.path.join(cases.UPSTREAM, "configs", "train.json")
    runs = {}
    if os.path.isfile(upstream):
        held = {"validate#dataset#data": "$[{'image': i, 'label': l} for i, l in zip(@images[-2:], @labels[-2:])]",
                "train#dataset#data": "$[{'image': i, 'label': l} for i, l in zip(@images[:-2], @labels[:-2])]",
                "validate#preprocessing#transforms#9#roi_size": [64, 64, 64]}
        for workers in (0, 4):
            runs[f"upstream, {workers} workers"] = (upstream, {**held, **loaders(workers)})
    runs["own config, 2 workers"] = (own, {"validate#crop#roi_size": [64, 64, 64], "num_workers": 2})
    runs = {name: (config, {"dataset_dir": data, **SMALL, **more}) for name, (config, more) in runs.items()}
    small = {key: value for key, value in SMALL.items() if not key.startswith("network_def")}
    runs["UNet"] = (with_network(folder, UNET), {
        "dataset_dir": data, **small, "train#random_transforms#0#roi_size": [16, 16, 16], "validate#crop#roi_size": [32, 32, 32],
        "num_workers": 0})
    return runs


def with_network(folder, network):
    """Write train.json of this repository with another network. Returns its path."""
    with open(os.path.join(ROOT, "configs", "train.json"), encoding="utf-8") as text:
        config = {**json.load(text), "network_def": network}
    path = os.path.join(folder, network["_target_"] + ".json")
    with open(path, "w", encoding="utf-8") as text:
        json.dump(config, text)
    return path


def with_checkpoints(folder):
    """Write train.json with an initial checkpoint (`start`) and a final one (`models/final.pt`). Returns its path."""
    with open(os.path.join(ROOT, "configs", "train.json"), encoding="utf-8") as text:
        config = copy.deepcopy(json.load(text))
    both = {"model": "@network", "optimizer": "@optimizer"}
    load = {"_target_": "CheckpointLoader", "_disabled_": "$@start is None", "load_path": "@start", "load_dict": both}
    save = {"_target_": "CheckpointSaver", "save_dir": "@ckpt_dir", "save_dict": both, "save_final": True, "final_filename": "final.pt"}
    config["start"] = None
    config["train"]["handlers"] += [load, save]
    path = os.path.join(folder, "checkpoints.json")
    with open(path, "w", encoding="utf-8") as text:
        json.dump(config, text)
    return path


def loaders(workers):
    return {"train#dataloader#num_workers": workers, "validate#dataloader#num_workers": workers}


def monai(folder, config, overrides):
    """Run MONAI, unless cached. Returns the folder of the run, which contains its report."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "monai_train.py")
    data = overrides["dataset_dir"]
    images = sorted(os.path.join(where, name) for where, _, names in os.walk(data) for name in names)
    parts = [content(script), content(config), json.dumps({**overrides, "dataset_dir": "", "start": os.path.basename(overrides.get("start", ""))}), str(monai_env.PACKAGES), os.cpu_count()]
    kept = monai_env.cache_folder("parity", "monai", sha256(*parts, *map(content, images))[:24])
    if os.path.isdir(kept):
        os.utime(kept)
        return kept
    os.makedirs(folder, exist_ok=True)
    job = {"bundle": folder, "config": config, "overrides": overrides, "report": os.path.join(folder, "report.json")}
    path = os.path.join(folder, "job.json")
    with open(path, "w", encoding="utf-8") as text:
        json.dump(job, text)
    run([sys.executable, script, path], folder)
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    partial = tempfile.mkdtemp(dir=os.path.dirname(kept))
    shutil.copytree(folder, os.path.join(partial, "run"))
    os.rename(os.path.join(partial, "run"), kept)
    os.rmdir(partial)
    return kept


def run(words, folder):
    log = os.path.join(folder, "log")
    with open(log, "w", encoding="utf-8") as out:
        code = subprocess.run(words, cwd=folder, stdout=out, stderr=subprocess.STDOUT).returncode
    with open(log, encoding="utf-8", errors="replace") as text:
        content = text.read()
    if code:
        raise RuntimeError(f"exit code {code}: {' '.join(words)}\n{content[-3000:]}")
    return content


def segbundle(folder, config, overrides, binary):
    """Run segbundle. Returns the same values as MONAI's report, from its log."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    words = [binary, "-v", "run", "--config_file", config, "--logging_file", "False"]
    for key, value in {**overrides, **FORMAT}.items():
        words += ["--" + key, str(value)]
    log = run(words, folder)
    batches = [re.sub(r"\S*/", "", batch) for batch in re.findall(r"iteration \d+: (\S+ from .*)", log)]
    losses = [float(x) for x in re.findall(r"train_loss: (\S+)", log)]
    validations = [{"val_accuracy": float(a), "val_mean_dice": float(d)} for a, d in re.findall(r"val_accuracy: (\S+) val_mean_dice: (\S+)", log)]
    return {"batches": batches, "losses": losses, "validations": validations}


def far(a, b):
    return abs(a - b) / max(abs(a), abs(b), 1e-30)


def compare(theirs, ours, folders, network):
    """Compare two runs. Returns (summary, [problems]); `network` is MONAI's network for the saved weights."""
    problems = []
    name = os.path.basename
    batches = [", ".join(f"{name(c)} from {s}" for c, s in zip(i["cases"], i["starts"])) for i in theirs["iterations"]]
    if batches != ours["batches"]:
        at = next((i for i, pair in enumerate(zip(batches, ours["batches"])) if pair[0] != pair[1]), min(len(batches), len(ours["batches"])))
        problems.append(f"batch {at + 1}: {batches[at:at + 1]}, segbundle {ours['batches'][at:at + 1]}")
    losses = [i["loss"] for i in theirs["iterations"]]
    worst = max((far(a, b) for a, b in zip(losses, ours["losses"])), default=1.0)
    if len(losses) != len(ours["losses"]) or not losses or worst > 1e-4:
        problems.append(f"losses {losses}, segbundle {ours['losses']}")
    metric = max((far(a[key], b[key]) for a, b in zip(theirs["validations"], ours["validations"]) for key in b), default=1.0)
    if len(theirs["validations"]) != len(ours["validations"]) or metric > 1e-3:
        problems.append(f"validations {theirs['validations']}, segbundle {ours['validations']}")
    weights = compare_weights(folders, network, problems)
    if events(folders[0]) != events(folders[1]):
        problems.append(f"TensorBoard {events(folders[0])}, segbundle {events(folders[1])}")
    return f"{len(losses)} iterations, losses within {worst:.0e}, metrics {metric:.0e}, weights {weights:.0e}", problems


def network_of(config, overrides):
    """Build the network of a config."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(ConfigParser.load_config_file(config))
    for key, value in overrides.items():
        if key.startswith("network_def"):
            parser[key] = value
    return parser.get_parsed_content("network_def")


def compare_weights(folders, network, problems):
    """Largest difference between the saved weights."""
    import torch

    theirs, ours = (torch.load(os.path.join(folder, "models", "model_lowres.pt"), weights_only=True) for folder in folders)
    network.load_state_dict(ours, strict=True)
    if list(theirs) != list(ours):
        problems.append("the saved weights have different names or another order")
        return 1.0
    worst = max((theirs[name] - ours[name]).abs().max().item() for name in theirs)
    # AdamW makes a whole step of 1e-4 even from a gradient near rounding, whose sign then decides. UNet's convolutions
    # before a batch norm have such gradients.
    if worst > (1e-5 if type(network).__name__ == "SegResNet" else 2e-4):
        problems.append(f"saved weights differ by {worst:.1e}")
    return worst


def events(folder):
    """Read {tag: steps} from all event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for name in sorted(os.listdir(os.path.join(folder, "eval"))):
        reader = EventAccumulator(os.path.join(folder, "eval", name)).Reload()
        for tag in reader.Tags()["scalars"]:
            found.setdefault(tag, []).extend(event.step for event in reader.Scalars(tag))
    return found


def check_checkpoints(folder, binary, overrides):
    """Compare trainings that continue from checkpoints. Returns (summary, [problems])."""
    import torch

    config = with_checkpoints(folder)
    short = {**overrides, "max_epochs": 1, "val_interval": 1, "val_cases": 1, "num_workers": 0, "validate#crop#roi_size": [32, 32, 32]}
    short.pop("train#trainer#max_epochs")
    place = lambda *names: os.path.join(folder, "checkpoints", *names)
    problems, worst = [], 0.0
    files = {"MONAI": os.path.join(monai(place("monai"), config, short), "models", "final.pt")}
    segbundle(place("segbundle"), config, short, binary)
    files["segbundle"] = place("segbundle", "models", "final.pt")
    for whose, start in files.items():
        # The cache key contains the content of the file, not its path.
        here = shutil.copyfile(start, os.path.join(overrides["dataset_dir"], f"start-{whose}.pt"))
        kept = monai(place("monai-from-" + whose), config, {**short, "start": here})
        ours = segbundle(place("segbundle-from-" + whose), config, {**short, "start": here}, binary)
        with open(os.path.join(kept, "report.json"), encoding="utf-8") as text:
            losses = [iteration["loss"] for iteration in json.load(text)["iterations"]]
        gap = max((far(a, b) for a, b in zip(losses, ours["losses"])), default=1.0)
        worst = max(worst, gap)
        if gap > 1e-4 or len(losses) != len(ours["losses"]):
            problems.append(f"continuing from {whose}'s checkpoint: losses {losses}, segbundle {ours['losses']}")
        os.remove(here)
    # Load and save with MONAI's network and optimizer; at a learning rate of 0 no step changes a value.
    loaded = torch.load(files["segbundle"], weights_only=True)
    network = network_of(config, short)
    network.load_state_dict(loaded["model"], strict=True)
    optimizer = torch.optim.AdamW(network.parameters())
    optimizer.load_state_dict(loaded["optimizer"])
    for group in optimizer.param_groups:
        group.update(lr=0.0, weight_decay=0.0)
    there = place("there.pt")
    torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict()}, there)
    segbundle(place("back"), config, {**short, "start": there}, binary)
    back = torch.load(place("back", "models", "final.pt"), weights_only=True)
    if list(back["model"]) != list(loaded["model"]) or not all(torch.equal(back["model"][n], t) for n, t in loaded["model"].items()):
        problems.append("weights that went through MONAI and back have other bits")
    return f"continuing from each other's checkpoints, losses within {worst:.0e}; through MONAI and back with equal bits", problems


def check(work, binary, only):
    """Run all comparisons. Returns [(name, summary, [problems])]."""
    rows, folder = [], os.path.join(work, "training")
    runs = plan(folder, binary)
    for name, (config, overrides) in runs.items():
        if only not in "training, " + name:
            continue
        slug = name.replace(", ", "_").replace(" ", "_")
        folders = [os.path.join(folder, side, slug) for side in ("monai", "segbundle")]
        try:
            folders[0] = monai(folders[0], config, overrides)
            with open(os.path.join(folders[0], "report.json"), encoding="utf-8") as text:
                theirs = json.load(text)
            ours = segbundle(folders[1], config, overrides, binary)
            rows.append((name, *compare(theirs, ours, folders, network_of(config, overrides))))
        except RuntimeError as error:
            rows.append((name, "", [str(error)]))
    if only in "training, checkpoints":
        try:
            rows.append(("checkpoints", *check_checkpoints(folder, binary, runs["own config, 2 workers"][1])))
        except RuntimeError as error:
            rows.append(("checkpoints", "", [str(error)]))
    return rows
