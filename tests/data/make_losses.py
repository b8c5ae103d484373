"""Make losses.pt: values and gradients of losses of MONAI and torch, for tests/all/losses.rs.

    python make_losses.py            (MONAI 1.6.1, torch 2.11; one thread)

Inputs are formulas of the index, the same as in the test. For the large case only the value, the sum of the gradient's
absolute values and a few of its elements are stored.
"""
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss

torch.set_num_threads(1)


def logits(shape):
    n = torch.Size(shape).numel()
    return (((torch.arange(n) * 7919) % 2003 - 1001).float() / 250).reshape(shape)


def labels(shape, classes):
    n = torch.Size(shape).numel()
    return ((torch.arange(n) * 31) // 17 % classes).reshape(shape)


S, L = (2, 5, 9, 8, 7), (2, 6, 33, 32, 31)
SM = dict(to_onehot_y=True, softmax=True)
W5 = torch.tensor([0.5, 1.0, 2.0, 0.25, 3.0])
CASES = {
    "dice_ce": (DiceCELoss, SM, S),
    "dice_ce_large": (DiceCELoss, SM, L),
    "dice_ce_no_background": (DiceCELoss, dict(SM, include_background=False), S),
    "dice_ce_batch": (DiceCELoss, dict(SM, batch=True), S),
    "dice_ce_batch_large": (DiceCELoss, dict(SM, batch=True), L),
    "dice_ce_squared": (DiceCELoss, dict(SM, squared_pred=True), S),
    "dice_ce_jaccard_sum": (DiceCELoss, dict(SM, jaccard=True, reduction="sum", smooth_nr=0.0, smooth_dr=1e-3), S),
    "dice_ce_weight": (DiceCELoss, dict(SM, weight=W5, lambda_dice=0.7, lambda_ce=0.2), S),
    "dice_ce_smoothing": (DiceCELoss, dict(SM, label_smoothing=0.1), S),
    "dice_ce_sigmoid_onehot": (DiceCELoss, dict(sigmoid=True), S, "onehot"),
    "dice": (DiceLoss, SM, S),
    "dice_none": (DiceLoss, dict(SM, reduction="none"), S),
    "dice_weight": (DiceLoss, dict(SM, weight=[1.0, 2.0, 0.5, 3.0], include_background=False), S),
    "dice_ignore": (DiceLoss, dict(SM, ignore_index=2), S),
    "dice_soft": (DiceLoss, dict(sigmoid=True, soft_label=True), S, "soft"),
    "dice_binary": (DiceLoss, dict(sigmoid=True), (2, 1, 9, 8, 7), "onehot"),
    "dice_ce_binary": (DiceCELoss, dict(sigmoid=True), (2, 1, 9, 8, 7), "onehot"),
    "dice_focal": (DiceFocalLoss, SM, S),
    "dice_focal_alpha": (DiceFocalLoss, dict(SM, alpha=0.25, gamma=1.5, weight=W5, reduction="sum"), S),
    "focal_softmax": (FocalLoss, dict(to_onehot_y=True, use_softmax=True, alpha=0.25), S),
    "ce": (torch.nn.CrossEntropyLoss, {}, S, "labels"),
    "ce_weight": (torch.nn.CrossEntropyLoss, dict(weight=W5), S, "labels"),
    "ce_ignore": (torch.nn.CrossEntropyLoss, dict(ignore_index=1, reduction="sum"), S, "labels"),
    "ce_smoothing": (torch.nn.CrossEntropyLoss, dict(label_smoothing=0.2), S, "labels"),
    "ce_none": (torch.nn.CrossEntropyLoss, dict(reduction="none"), S, "labels"),
}

if __name__ == "__main__":
    out = {}
    for name, (make, arguments, shape, *kind) in CASES.items():
        x = logits(shape).requires_grad_()
        classes = max(shape[1], 2)
        y = labels((shape[0], 1, *shape[2:]), classes)
        match kind:
            case ["onehot"]:
                y = (labels(shape, 2) == 1).float()
            case ["soft"]:
                y = labels(shape, 11).float() / 10
            case ["labels"]:
                y = y[:, 0]
        loss = make(**arguments)(x, y)
        loss.sum().backward()
        out[name] = loss.detach().clone()
        grad = x.grad.flatten()
        out[name + ".grad"] = grad[:: max(1, grad.numel() // 1000)].clone()
        out[name + ".grad_sum"] = grad.double().abs().sum().float()
    torch.save(out, "losses.pt")
