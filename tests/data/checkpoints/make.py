"""Make the checkpoints in this folder: python make.py (torch 2.11.0). Values are consecutive numbers, not random."""
import collections
import os
import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))
ramp = torch.arange(12, dtype=torch.float32).reshape(3, 4)
flat = collections.OrderedDict()
flat["plain"] = ramp / 4
flat["transposed"] = ramp.t()
flat["row"] = ramp[1]  # shares its storage with transposed
flat["param"] = torch.nn.Parameter(torch.tensor([[1.5, -2.0]]))
flat["scalar"] = torch.tensor(7)
flat["empty"] = torch.zeros(0, 3)
for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
    flat[str(dtype).removeprefix("torch.")] = torch.tensor([0, 1, 5]).to(dtype)
flat._metadata = collections.OrderedDict(version=1)
torch.save(flat, "flat.pt")
torch.save({k: v for k, v in flat.items() if k in ("plain", "row")}, "legacy.pt", _use_new_zipfile_serialization=False)

torch.manual_seed(0)
net = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
net(torch.ones(1, 3)).sum().backward()
optimizer.step()
torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "big": 2**40, "name": "tiny",
            "losses": [0.5, None, True], "classes": {1, 2}, "shape": ramp.shape, "dtype": torch.float32}, "training.pt")
torch.save({"state_dict": {"w": ramp}, "epoch": 1}, "nested.pt")
torch.save(net, "module.pt")  # pickles the class, which is refused
torch.jit.script(net).save("script.pt")
