"""Compare the bundle tools with MONAI's on the same networks: ckpt_export and verify_net_in_out.

The exported networks are loaded by torch.jit.load and load_net_with_metadata; their outputs for two sizes of input,
names of parameters, metadata and configs must equal those of MONAI's export. The networks are those of this repository
and, if ../shared exists, of published bundles.
"""
import contextlib
import io
import json
import os
import subprocess

import cases
import torch
from monai.bundle import ConfigParser, ckpt_export, verify_net_in_out
from monai.data import load_net_with_metadata

NET = "network_def"
SIZES = ((96, 96, 96), (64, 32, 32))
SMALL = {f"{NET}#init_filters": 8}
# Overrides of the metadata, and whether both programs must accept the network then.
PRED = "_meta_#network_data_format#outputs#pred#"
IMAGE = "_meta_#network_data_format#inputs#image#"
CHANGES = (({}, True), ({PRED + "num_channels": 7}, False), ({PRED + "dtype": "float16"}, False),
           ({IMAGE + "num_channels": 2}, False),
           ({IMAGE + "spatial_shape": ["16*n", "2**p", "*"], "n": 2, "p": 5, "any": 48}, True))


def configs():
    """{name: folder of a bundle's configs}"""
    found = {"own SegResNet": os.path.join(cases.ROOT, "configs")}
    for name in ("wholeBody_ct_segmentation", "spleen_ct_segmentation"):
        folder = os.path.join(os.path.dirname(cases.UPSTREAM), name, "configs")
        if os.path.isdir(folder):
            found[name] = folder
    return found


def run(binary, command, folder, options):
    words = [f"--{key}={value}" for key, value in options.items()]
    return subprocess.run([binary, command, NET, "--config_file", os.path.join(folder, "inference.json"), *words],
                          capture_output=True, text=True)


def quiet(function, folder, **options):
    """Call a function of MONAI without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        function(NET, config_file=os.path.join(folder, "inference.json"),
                 meta_file=os.path.join(folder, "metadata.json"), **options)


def refusal(folder, **options):
    """Why MONAI's verify_net_in_out refuses the network, or None: it compares the output with the metadata, and torch
    the input with the weights."""
    try:
        quiet(verify_net_in_out, folder, **options)
    except ValueError as error:
        if "doesn't match" not in str(error):
            raise
        return str(error)
    except RuntimeError as error:
        if "channels" not in str(error):
            raise
        return str(error)
    return None


def exports(name, folder, work, binary):
    parser = ConfigParser()
    parser.read_config(os.path.join(folder, "inference.json"))
    for key, value in SMALL.items():
        if key in parser:
            parser[key] = value
    torch.manual_seed(0)
    net = parser.get_parsed_content(NET).eval()
    options = {"ckpt_file": os.path.join(work, f"{name}.pt"), **{k: v for k, v in SMALL.items() if k in parser}}
    torch.save(net.state_dict(), options["ckpt_file"])
    paths = [os.path.join(work, f"{name}.{who}.ts") for who in ("monai", "own")]
    quiet(ckpt_export, folder, filepath=paths[0], **options)
    output = run(binary, "ckpt_export", folder, {"filepath": paths[1], **options})
    if output.returncode:
        return [output.stderr.strip()]
    (monai, meta, files), (own, own_meta, own_files) = (load_net_with_metadata(path, more_extra_files=["inference.json"]) for path in paths)
    problems = []
    if list(monai.state_dict()) != list(own.state_dict()):
        problems.append("the names of the tensors differ")
    if meta != own_meta or json.loads(files["inference.json"]) != json.loads(own_files["inference.json"]):
        problems.append("the metadata or the config differ")
    for size in SIZES:
        x = torch.rand(1, parser[NET]["in_channels"], *size)
        with torch.no_grad():
            worst = (monai.eval()(x) - own.eval()(x)).abs().max().item()
        if worst > 0:
            problems.append(f"the outputs for {size} differ by {worst}")
    return problems


def verdicts(folder, binary):
    problems = []
    for change, accepted in CHANGES:
        refused = refusal(folder, device="cpu", **change)
        output = run(binary, "verify_net_in_out", folder, {"device": "cpu", **change})
        if (refused is None) != accepted:
            problems.append(f"{change}: MONAI was expected to {'accept' if accepted else 'refuse'} it: {refused}")
        # 2: the network or the metadata are wrong; any other failure is no verdict.
        if output.returncode != (0 if accepted else 2):
            problems.append(f"{change}: exit code {output.returncode}; {output.stdout}{output.stderr}")
    return problems


def check(work, binary, only):
    for name, folder in configs().items():
        if only in name:
            yield name, "exported TorchScript", exports(name, folder, work, binary)
            yield name, "verify_net_in_out", verdicts(folder, binary)
