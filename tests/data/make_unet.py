"""Make the files in unet/: MONAI's UNet, its layers and one inference, for tests/all/unet.rs.

    python make_unet.py            (MONAI 1.6.1, torch 2.11, pytorch-ignite, nibabel; one thread)

names.txt       names and shapes of the state dict of each variant, in PyTorch's order
golden.pt       for each variant: output in training mode, gradients of its mean square, buffers afterwards, and output in
evaluation mode; for each layer: output and gradient of its sum
model.pt        a checkpoint written by MONAI's CheckpointSaver, for the network of inference.json
image.nii.gz    a synthetic image with two ellipsoids
labels.nii.gz   MONAI's output for it with inference.json
"""
import json
import os
import shutil
import tempfile

import nibabel
import numpy as np
import torch
from monai.bundle import run
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from monai.networks.nets import UNet

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unet")
BASE = dict(spatial_dims=3, in_channels=2, out_channels=3, channels=(4, 8, 16), strides=(2, 2))
VARIANTS = {
    "plain": {},
    "residual_batch": dict(num_res_units=2, norm="batch"),
    "dropout": dict(num_res_units=3, norm="BATCH", dropout=0.15),
    "anisotropic": dict(strides=((1, 2, 2), (2, 2, 1)), kernel_size=(1, 3, 3), up_kernel_size=(3, 3, 1), num_res_units=1, bias=False,
                        act=("leakyrelu", {"negative_slope": 0.1, "inplace": True}), norm=("group", {"num_groups": 1})),
    "flat": dict(spatial_dims=2, num_res_units=2, norm=("instance", {"affine": True}), act=("prelu", {"init": 0.1})),
    "ordering": dict(adn_ordering="AND", act=("elu", {"alpha": 0.7}), dropout=("alphadropout", {"p": 0.2}),
                     norm=("batch", {"affine": False, "momentum": None})),
    "strides_of_one": dict(channels=(4, 4, 4), strides=(1, 2), num_res_units=2, norm=("instance", {"track_running_stats": True}), act="gelu"),
    "no_norm": dict(adn_ordering="A", act="mish", channels=(4, 8), strides=(2, 3)),
}
LAYERS = {
    "act": ["elu", "relu", "leakyrelu", "prelu", "relu6", "selu", "celu", "gelu", "sigmoid", "tanh", ("softmax", {"dim": 1}),
            ("logsoftmax", {"dim": 1}), ("swish", {"alpha": 1.5}), "memswish", "mish", "geglu"],
    "norm": ["instance", "batch", "instance_nvfuser", "syncbatch", ("group", {"num_groups": 2}), ("layer", {"normalized_shape": (3, 4)}),
             ("localresponse", {"size": 3, "alpha": 0.1})],
}
torch.set_num_threads(1)


def variant(name, changes, out, names):
    torch.manual_seed(11)
    net = UNet(**{**BASE, **changes}).train()
    x = torch.randn(2, 2, *(8, 8, 4)[:net.dimensions])
    names += [f"{name} {k} {list(v.shape)}\n" for k, v in net.state_dict().items()]
    y = net(x)
    y.square().mean().backward()
    grads = [p.grad for p in net.parameters()]
    out[f"{name}/train"] = y.detach()
    # Norm and first four elements of each parameter's gradient.
    out[f"{name}/gradients"] = torch.cat([torch.cat([g.norm()[None], g.flatten()[:4]]) for g in grads])
    out[f"{name}/buffers"] = torch.cat([torch.zeros(0)] + [b.float().flatten() for b in net.buffers()])
    with torch.no_grad():
        out[f"{name}/eval"] = net.eval()(x)


def layer(kind, spec, out):
    name = spec if isinstance(spec, str) else spec[0]
    x = (torch.arange(96).float() * 0.37).sin().mul(3).reshape(2, 4, 1, 3, 4).requires_grad_()
    made = get_act_layer(spec) if kind == "act" else get_norm_layer(spec, 3, 4)
    y = made.eval()(x)
    (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
    out[f"{kind}/{name}"], out[f"{kind}/{name}/gradient"] = y.detach(), x.grad


def image():
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in (22, 19, 15)], indexing="ij")
    ct = np.full(i.shape, -120.0)
    ct[i**2 + j**2 / 0.8 + k**2 < 0.8] = 40
    ct[(i - 0.2) ** 2 + (j + 0.1) ** 2 + k**2 < 0.2] = 130
    ct += 25 * np.sin(7 * i + 3 * j) + 10 * np.cos(11 * k)
    affine = np.array([[-1.9, 0, 0, 20], [0, 2.1, 0, -15], [0, 0, 2.6, 5], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(ct.astype(np.int16), affine), os.path.join(HERE, "image.nii.gz"))


def inference():
    with open(os.path.join(HERE, "inference.json"), encoding="utf-8") as text:
        arguments = {k: v for k, v in json.load(text)["network_def"].items() if k != "_target_"}
    torch.manual_seed(3)
    net = UNet(**arguments)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if ".adn." in name:
                tensor.add_(0.2 * torch.randn(tensor.shape))
        ct = nibabel.load(os.path.join(HERE, "image.nii.gz")).get_fdata()[:16, :16, :12]
        x = torch.as_tensor((ct + 57) / 221).clip(0, 1).float()[None, None]
        for _ in range(5):
            net(x + 0.1 * torch.randn(2, 1, 16, 16, 12))
        # Chosen so that both labels are about equally frequent.
        scores = net.eval()(x)
        net.state_dict()["model.2.1.conv.unit0.conv.bias"][1] -= (scores[:, 1] - scores[:, 0]).median()
    torch.save({"model": net.state_dict()}, os.path.join(HERE, "model.pt"))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("image.nii.gz", "model.pt", "inference.json"):
            shutil.copy(os.path.join(HERE, name), folder)
        os.chdir(folder)
        run(config_file="inference.json")
        shutil.copy("eval/image/image_trans.nii.gz", os.path.join(HERE, "labels.nii.gz"))
        os.chdir(HERE)
    print("voxels per label:", np.unique(nibabel.load("labels.nii.gz").get_fdata(), return_counts=True))


if __name__ == "__main__":
    out, names = {}, []
    for name, changes in VARIANTS.items():
        variant(name, changes, out, names)
    for kind, specs in LAYERS.items():
        for spec in specs:
            layer(kind, spec, out)
    torch.save(out, os.path.join(HERE, "golden.pt"))
    with open(os.path.join(HERE, "names.txt"), "w", encoding="utf-8") as text:
        text.writelines(names)
    image()
    inference()
