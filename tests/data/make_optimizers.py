"""Make optimizers.pt and optimizer_states.pt: 30 steps of optimizers and schedules, for tests/all/optimizers.rs.

    python make_optimizers.py        (torch 2.11, MONAI 1.6.1; one thread)

Parameters and gradients are formulas of the index and the step, the same as in the test.
"""
import math

import torch
from monai.optimizers import WarmupCosineSchedule
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import (CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, PolynomialLR,
                                      StepLR)

torch.set_num_threads(1)
SHAPES = [(4, 3, 3), (70,), (5,)]


def values(shape, a, m):
    n = torch.Size(shape).numel()
    return ((((torch.arange(n) + 1) * a) % m - m // 2).float() / m).reshape(shape)


OPTIMIZERS = {
    "adamw": (AdamW, dict(lr=1e-2, weight_decay=1e-5)),
    "adamw_amsgrad": (AdamW, dict(lr=3e-3, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, amsgrad=True)),
    "adam": (Adam, dict(lr=1e-2, weight_decay=0.01)),
    "adam_maximize": (Adam, dict(maximize=True, weight_decay=0.02, amsgrad=True)),
    "sgd": (SGD, dict(lr=0.1)),
    "sgd_momentum": (SGD, dict(lr=0.05, momentum=0.9, dampening=0.1, weight_decay=1e-3)),
    "sgd_nesterov": (SGD, dict(lr=0.05, momentum=0.95, nesterov=True, weight_decay=1e-3, maximize=True)),
}
SCHEDULES = {
    "step": lambda o: StepLR(o, 4, 0.3),
    "multi_step": lambda o: MultiStepLR(o, [3, 7, 7, 20], 0.5),
    "exponential": lambda o: ExponentialLR(o, 0.93),
    "cosine": lambda o: CosineAnnealingLR(o, 7, 1e-5),
    "linear": lambda o: LinearLR(o, 0.25, 0.9, 11),
    "polynomial": lambda o: PolynomialLR(o, 12, 0.9),
    "lambda": lambda o: LambdaLR(o, lambda epoch: math.cos(epoch)),
    "warmup_cosine": lambda o: WarmupCosineSchedule(o, 5, 25, end_lr=1e-4, warmup_multiplier=0.1),
}

if __name__ == "__main__":
    out, states = {}, {}
    for name, (make, arguments) in OPTIMIZERS.items():
        parameters = [torch.nn.Parameter(values(shape, 7919, 2003)) for shape in SHAPES]
        # The last parameter has no gradient; the middle one has its own group and learning rate.
        optimizer = make([{"params": [parameters[0], parameters[2]]}, {"params": [parameters[1]], "lr": 0.02}], **arguments)
        for step in range(30):
            for parameter in parameters[:2]:
                parameter.grad = values(parameter.shape, 31 + 2 * step, 997)
            optimizer.step()
            if step == 14:
                states[name] = {key: value for key, value in optimizer.state_dict().items()}
                states[name] = torch.save(states[name], f"/tmp/_{name}.pt") or torch.load(f"/tmp/_{name}.pt")
                for i, parameter in enumerate(parameters):
                    states[f"{name}.{i}"] = parameter.detach().clone()
        for i, parameter in enumerate(parameters):
            out[f"{name}.{i}"] = parameter.detach().clone()
    for name, make in SCHEDULES.items():
        optimizer = SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.003)])
        schedule = make(optimizer)
        rates = [schedule.get_last_lr()]
        for _ in range(30):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
            if len(rates) == 11 and name != "multi_step":  # a Counter, which weights_only loading rejects
                states[f"schedule.{name}"] = schedule.state_dict()
        out[f"schedule.{name}"] = torch.tensor(rates, dtype=torch.float64)
    torch.save(out, "optimizers.pt")
    torch.save(states, "optimizer_states.pt")
