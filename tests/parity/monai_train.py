"""One training in MONAI, in a process of its own: `python monai_train.py job.json`.

The job: {"bundle": folder, "config": path in it, "overrides": {id: value}, "report": path}. Nothing is changed in the
config. The report: of each iteration the loss, the cases, where each was cropped, and its seconds; of each epoch the
metrics of the validation, if there was one; and the process's peak memory. Under torchrun each rank writes a report of its
own, `path.RANK`.
"""
import json
import os
import resource
import sys
import time

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow


def main():
    with open(sys.argv[1], encoding="utf-8") as text:
        job = json.load(text)
    os.chdir(job["bundle"])
    report = {"iterations": [], "validations": [], "threads": torch.get_num_threads()}
    flow = ConfigWorkflow(config_file=job["config"], workflow_type="train", **job["overrides"])
    flow.initialize()
    trainer = flow.parser.get_parsed_content("train#trainer")
    evaluator = flow.parser.get_parsed_content("validate#evaluator")
    started = [0.0]

    def begin(_engine):
        started[0] = time.perf_counter()

    def iteration(engine):
        images = [item["image"] for item in engine.state.batch]
        report["iterations"].append({
            "loss": float(engine.state.output[0]["loss"]),
            "cases": [str(image.meta["filename_or_obj"]) for image in images],
            "starts": [image.applied_operations[-1]["extra_info"]["cropped"][::2] for image in images],
            "seconds": time.perf_counter() - started[0],
        })

    def validated(engine):
        report["validations"].append({"epoch": engine.state.epoch, **{k: float(v) for k, v in engine.state.metrics.items()}})

    trainer.add_event_handler(Events.ITERATION_STARTED, begin)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, iteration)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, validated)
    flow.run()
    flow.finalize()
    report["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report_path = job["report"] + ("." + os.environ["RANK"] if "RANK" in os.environ else "")
    with open(report_path, "w", encoding="utf-8") as text:
        json.dump(report, text, indent=1)


if __name__ == "__main__":
    main()
