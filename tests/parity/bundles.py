"""Bundle folders for the comparison: configs, configs derived from them, and seeded weights."""
import copy
import hashlib
import json
import os
import shutil

import torch
from monai.bundle import ConfigParser

from monai_env import cache_folder


def sha256(*parts):
    """Hex digest of bytes and strings, each prefixed with its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def content(path):
    with open(path, "rb") as data:
        return data.read()


def network_input(parser, path, size=96):
    """Center [1, 1, size, size, size] of a CT after the config's preprocessing, padded with edge values."""
    image = parser.get_parsed_content("preprocessing")({"image": path})["image"].as_tensor().float()
    for axis in (1, 2, 3):
        index = torch.arange(size) + (image.shape[axis] - size) // 2
        image = image.index_select(axis, index.clamp(0, image.shape[axis] - 1))
    return image[None].contiguous()


def randomised(network, seed):
    """Add seeded noise to norms and biases: initial values of 1 and 0 would hide swapped or missing parameters."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.GroupNorm):
                for tensor in (module.weight, module.bias):
                    tensor += 0.1 * torch.randn(tensor.shape, generator=noise)
            elif getattr(module, "bias", None) is not None:
                module.bias += 0.05 * torch.randn(module.bias.shape, generator=noise)


def levelled(network, image, std=3.0):
    """Scale the last convolution so that on `image` all logits have mean 0 and this deviation: all classes occur."""
    last = network.conv_final[-1].conv
    with torch.inference_mode():
        logits = network(image)[0].flatten(1).double()
    scale = (std / logits.std(1).clamp_min(1e-8)).float()
    with torch.no_grad():
        last.weight *= scale.view(-1, 1, 1, 1, 1)
        last.bias.copy_((last.bias - logits.mean(1).float()) * scale)


def weights(config, overrides, seed, image_path):
    """Path of a checkpoint (a state dict) for the config's network, which is created once and cached."""
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(overrides)
    network_def = json.dumps(parser.get("network_def"), sort_keys=True)
    key = sha256(content(__file__), network_def, json.dumps(overrides), seed, content(image_path), torch.__version__)[:24]
    path = cache_folder("parity", "weights", key + ".pt")
    if not os.path.exists(path):
        torch.manual_seed(seed)
        network = parser.get_parsed_content("network_def").eval()
        randomised(network, seed)
        if getattr(network, "use_conv_final", True):
            levelled(network, network_input(parser, image_path))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.save(network.state_dict(), path + ".partial")
        os.replace(path + ".partial", path)
    return path


def make(folder, configs, models, config=None):
    """Create a bundle in `folder` from `configs`, `config` (replaces inference.json) and models {name: path}."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(configs, os.path.join(folder, "configs"), copy_function=shutil.copyfile)
    if config is not None:
        with open(os.path.join(folder, "configs", "inference.json"), "w", encoding="utf-8") as text:
            json.dump(config, text, indent=4)
    os.makedirs(os.path.join(folder, "models"))
    for name, path in models.items():
        os.symlink(path, os.path.join(folder, "models", name))
    return folder


def derived(base):
    """{name: config} for features that the whole-body config does not use, on a small network at low resolution."""
    small = copy.deepcopy(base)
    small["displayable_configs"]["highres"] = False
    small["network_def"].update(out_channels=6, init_filters=8)
    steps = {step["_target_"]: step for step in small["postprocessing"]["transforms"]}
    activate, discretise, invert, save = (steps[name] for name in ("Activationsd", "AsDiscreted", "Invertd", "SaveImaged"))
    linear = {**invert, "nearest_interp": False}
    orders = {
        "linear inversion": [activate, linear, discretise, save],
        "probabilities": [activate, linear, save],
        "sigmoid, threshold": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            invert,
            save,
        ],
        "no linear head": [activate, discretise, invert, save],
    }
    out = {}
    for name, transforms in orders.items():
        config = copy.deepcopy(small)
        config["postprocessing"]["transforms"] = copy.deepcopy(transforms)
        if name == "probabilities":
            config["output_dtype"] = "$numpy.float32"
        if name == "no linear head":
            config["network_def"]["use_conv_final"] = False
        out[name] = config
    return out
