#!/usr/bin/env python3
"""Compare segbundle with MONAI on the same configs, weights and CTs; `make parity` runs this.

    python3 tests/parity/parity.py [--quick] [--only TEXT] [--keep FOLDER]

If ../shared exists, the unmodified whole-body bundle runs on real CTs, with overrides for the input list only (and
`displayable_configs#highres False` for the low-resolution runs); otherwise the configs of this repository run on the
sample set. Weights are random with a fixed seed, so that every class occurs and ties are frequent: a demanding test,
not a meaningful segmentation.

A case passes if file names, shape, affine, zooms, type, codes and units are equal, and each voxel that differs was
close to a tie in MONAI (margin between the two largest logits below 1e-3). Each set of runs must agree in 99.999 % of
its voxels. Linearly inverted probabilities must agree to 1e-4. MONAI's outputs are cached by their inputs. For
evaluations see evaluation.py, for transforms of label maps label_maps.py, for trainings training.py, for exports
bundle_tools.py.

SEGBUNDLE_BINARY: path of segbundle (default target/release/segbundle). SEGBUNDLE_MONAI_PYTHON: see monai_env.py.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import monai_env

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


@dataclass
class Run:
    """A config to run on a set of cases in both programs."""
    name: str
    pool: str
    configs: str
    models: dict
    cases: dict
    config: dict = None
    overrides: dict = field(default_factory=dict)
    margins: bool = True


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small CTs, no rotated or sheared copies")
    parser.add_argument("--only", default="", help="only runs whose name contains TEXT")
    parser.add_argument("--keep", help="work in this folder and keep it (outputs of both programs, logs)")
    return parser.parse_args()


def plan(work, binary, quick):
    """The list of runs."""
    import bundles
    import cases

    ours = os.path.join(ROOT, "configs")
    ct = cases.gather(os.path.join(work, "input"), binary, quick)
    real = cases.real("lung") is not None
    upstream = os.path.isdir(cases.UPSTREAM)
    configs = os.path.join(cases.UPSTREAM, "configs") if upstream else ours
    what = "upstream" if upstream else "own"
    if not (real and upstream):
        print("skipped: the unmodified whole-body bundle on real CTs (no ../shared); using the configs of this repository on the sample set")
    first = next(iter(ct.values()))
    inference = os.path.join(configs, "inference.json")
    low = {"displayable_configs#highres": False}
    calibration = cases.real("lung") or first
    models = {
        "model.pt": bundles.weights(inference, {}, 0, calibration),
        "model_lowres.pt": bundles.weights(inference, low, 1, calibration),
    }
    # The sample CTs are whole torsos: two of them at 1.5 mm take long enough.
    fine = ct if real else {name: ct[name] for name in [*ct][:1] + [*ct][-1:]}
    runs = [
        Run(f"{what}, 3 mm", what, configs, models, ct, overrides=low),
        Run(f"{what}, 1.5 mm", what, configs, models, fine),
    ]
    if upstream:
        small = "vertebra_pir" if "vertebra_pir" in ct else [*ct][0]
        runs.append(Run("own configs, --highres False", "own", ours, models, {small: ct[small]}, overrides={"highres": False}))
    lung = cases.real("lung_small")
    case = {"lung_small": shutil.copyfile(lung, os.path.join(work, "input", "lung_small.nii.gz"))} if lung else {[*ct][0]: first}
    with open(inference, encoding="utf-8") as text:
        base = json.load(text)
    for name, config in bundles.derived(base).items():
        folder = bundles.make(os.path.join(work, "derived", name.replace(", ", "_").replace(" ", "_")), configs, {}, config)
        path = bundles.weights(os.path.join(folder, "configs", "inference.json"), {}, 2, next(iter(case.values())))
        runs.append(Run(name, "derived", configs, {"model_lowres.pt": path}, case, config, margins=name != "probabilities"))
    return runs


def monai(run, folder, work):
    """Run MONAI on cases that are not cached. Returns {case: folder with `eval` and, if requested, margin.npy}."""
    import torch
    from bundles import content, sha256

    config = content(os.path.join(folder, "configs", "inference.json"))
    models = [content(path) for path in run.models.values()]
    fixed = [content(os.path.join(HERE, "monai_run.py")), config, json.dumps(run.overrides), str(run.margins), *models,
             str(monai_env.PACKAGES), torch.get_num_threads()]
    kept = {name: monai_env.cache_folder("parity", "monai", sha256(*fixed, name, content(path))[:24]) for name, path in run.cases.items()}
    missing = [name for name in kept if not os.path.isdir(kept[name])]
    for name in kept:
        if name not in missing:
            os.utime(kept[name])
    if missing:
        shutil.rmtree(os.path.join(folder, "eval"), ignore_errors=True)
        margins = os.path.join(folder, "margins")
        job = {"bundle": folder, "config": "configs/inference.json", "report": os.path.join(folder, "report.json"),
               "overrides": {**run.overrides, "datalist": [run.cases[name] for name in missing]},
               "margins": margins if run.margins else None}
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as text:
            json.dump(job, text)
        command([sys.executable, os.path.join(HERE, "monai_run.py"), os.path.join(folder, "job.json")], folder, os.path.join(folder, "log"))
        for name in missing:
            partial = tempfile.mkdtemp(dir=made(os.path.dirname(kept[name])))
            shutil.copytree(os.path.join(folder, "eval", name), os.path.join(partial, "eval", name))
            if run.margins:
                shutil.copyfile(os.path.join(margins, name + ".npy"), os.path.join(partial, "margin.npy"))
            os.rename(partial, kept[name])
    return kept, len(missing)


def made(folder):
    """Create `folder` if necessary and return it."""
    os.makedirs(folder, exist_ok=True)
    return folder


def command(words, cwd, log):
    """Run a command with its output in a file; on failure raise an error with the end of the output."""
    with open(log, "w", encoding="utf-8") as out:
        code = subprocess.run(words, cwd=cwd, stdout=out, stderr=subprocess.STDOUT).returncode
    if code:
        with open(log, encoding="utf-8", errors="replace") as text:
            tail = text.read()[-3000:]
        raise RuntimeError(f"exit code {code}: {' '.join(words)}\n{tail}")


def segbundle(run, folder, binary):
    """Run segbundle as a user would."""
    words = [binary, "run", "--config_file", "configs/inference.json", "--datalist", str(list(run.cases.values()))]
    for key, value in run.overrides.items():
        words += ["--" + key, str(value)]
    command(words, folder, os.path.join(folder, "log"))


def check(run, work, binary):
    """Run both programs. Returns {case: Verdict} and the seconds of each, None for MONAI if its outputs were cached."""
    import bundles
    import maps

    slug = "".join(c if c.isalnum() else "_" for c in run.name)
    folders = [bundles.make(os.path.join(work, side, slug), run.configs, run.models, run.config) for side in ("monai", "segbundle")]
    start = time.perf_counter()
    kept, computed = monai(run, folders[0], work)
    middle = time.perf_counter()
    segbundle(run, folders[1], binary)
    seconds = (middle - start if computed else None, time.perf_counter() - middle)
    images = [path for path in maps.saved_files(os.path.join(folders[1], "eval")) if path.endswith(".nii.gz")]
    verdicts = {}
    for name, cached in kept.items():
        expected = maps.saved_files(os.path.join(cached, "eval"))
        found = [path for path in images if path.split(os.sep)[0] == name]
        if found != expected:
            verdicts[name] = maps.Verdict(problems=[f"files {found}, expected {expected}"])
            continue
        [path] = expected
        margin = os.path.join(cached, "margin.npy") if run.margins else None
        paths = [os.path.join(folder, "eval", path) for folder in (cached, folders[1])]
        verdicts[name] = maps.compare(*paths, margin, run.cases[name])
    extra = [path for path in images if path.split(os.sep)[0] not in kept]
    if extra:
        verdicts["other files"] = maps.Verdict(problems=[f"unexpected {extra}"])
    return verdicts, seconds


def forget_old(days=14):
    """Remove cache entries that have not been used for a while."""
    folder = monai_env.cache_folder("parity", "monai")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if time.time() - os.path.getmtime(path) > days * 86400:
            shutil.rmtree(path, ignore_errors=True)


def report(verdicts, tally):
    """Print one line per case and update `tally` = [passed, failed]."""
    for name, verdict in verdicts.items():
        share = 100 * (1 - verdict.differing / verdict.voxels) if verdict.voxels else 0.0
        what = f"{verdict.classes:3} classes" if verdict.classes else ""
        print(f"  {name:<14}{verdict.voxels:>11} voxels {verdict.differing:>6} differ {share:10.5f} %  "
              f"worst margin {verdict.worst_margin:8.1e}  {what:<12}{'FAILED' if verdict.problems else 'ok'}")
        for problem in verdict.problems:
            print(f"      {problem}")
        tally[bool(verdict.problems)] += 1
    sys.stdout.flush()


def main():
    args = parse_args()
    monai_env.enter()
    import bundle_tools
    import evaluation
    import label_maps
    import maps
    import training

    binary = os.path.abspath(os.environ.get("SEGBUNDLE_BINARY") or os.path.join(ROOT, "target", "release", "segbundle"))
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is missing; build it with `make build`")
    work = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="segbundle-parity-")
    tally, pools = [0, 0], {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            missed = maps.self_test(folder)
        print(f"self-test of the comparison: {'ok' if not missed else 'FAILED: ' + ', '.join(missed)}", flush=True)
        tally[bool(missed)] += 1
        for run in plan(work, binary, args.quick):
            if args.only not in run.name:
                continue
            try:
                verdicts, (theirs, ours) = check(run, work, binary)
                print(f"{run.name}: MONAI {'cached' if theirs is None else f'{theirs:.1f} s'}, segbundle {ours:.1f} s")
            except RuntimeError as error:
                print(f"{run.name}:")
                verdicts = {"run": maps.Verdict(problems=[str(error)])}
            report(verdicts, tally)
            if run.margins:
                pools.setdefault(run.pool, []).extend(verdicts.values())
        for pool, verdicts in pools.items():
            voxels, differing = (sum(getattr(v, name) for v in verdicts) for name in ("voxels", "differing"))
            enough = voxels > 0 and 1 - differing / voxels >= maps.MIN_AGREEMENT
            print(f"pooled, {pool}: {differing} of {voxels} voxels differ, "
                  f"{100 * (1 - differing / max(voxels, 1)):.5f} % agree: {'ok' if enough else 'FAILED'}")
            tally[not enough] += 1
        for kind, comparison in (("label map", label_maps), ("evaluation", evaluation), ("training", training),
                                 ("bundle tools", bundle_tools)):
            for name, what, problems in comparison.check(work, binary, args.only):
                print(f"{kind}, {name}: {what}: {'FAILED' if problems else 'ok'}", *problems, sep="\n      ", flush=True)
                tally[bool(problems)] += 1
    finally:
        forget_old()
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{tally[0]} passed, {tally[1]} failed")
    return int(tally[1] > 0)


if __name__ == "__main__":
    sys.exit(main())
