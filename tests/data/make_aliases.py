"""Make aliases.txt: the names under which MONAI 1.6.1 finds the classes that segbundle supports, and their arguments.

    segbundle components | python tests/data/make_aliases.py > tests/data/aliases.txt

One block per class, separated by an empty line:

    class NAME PATH            as `segbundle components` lists it
    argument NAME [= DEFAULT]  in the order of the signature; required without a default
    alias NAME                 a short name or dotted path that can be used as `_target_`
    
    Defaults are Python's repr; for enums the value, for NumPy types the name, for functions `<function>`.

Dotted paths are attributes of the modules of monai, torch.optim, torch.nn, torch.utils.data and ignite that are this
class; short names are those of monai.bundle.ComponentLocator. Paths through modules that only import a class for their
own use (`monai.engines.trainer.Transform`) are omitted, since configs do not use them.
"""

import enum
import importlib
import inspect
import pkgutil
import sys
import warnings

warnings.simplefilter("ignore")

from monai.bundle import ComponentLocator  # noqa: E402

# Classes that receive the **kwargs of a signature.
KWARGS_OF = {
    "monai.data.DistributedSampler": ["torch.utils.data.DistributedSampler"],
    "monai.data.DataLoader": ["torch.utils.data.DataLoader"],
    "monai.data.ThreadDataLoader": ["monai.data.DataLoader", "torch.utils.data.DataLoader"],
}


def modules(root):
    yield root, importlib.import_module(root)
    for found in pkgutil.walk_packages(importlib.import_module(root).__path__, root + ".", onerror=lambda name: None):
        if "test" not in found.name.lower():
            try:
                yield found.name, importlib.import_module(found.name)
            except Exception:  # modules whose dependencies are not installed
                pass


def locate(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def default(value):
    if isinstance(value, enum.Enum):
        return repr(value.value)
    if inspect.isclass(value):
        return repr(value.__name__)
    return "<function>" if callable(value) else repr(value)


def public(module, home):
    """Whether a path through `module` is a public name: the module that defines the class, or a package above it."""
    return module == home or home.startswith(module + ".")


def main():
    locator = ComponentLocator()
    roots = ["monai", "torch.optim", "torch.nn", "torch.utils.data", "ignite"]
    everywhere = [(name, module) for root in roots for name, module in modules(root)]
    module_name, blocks = None, []
    for line in sys.stdin.read().splitlines():
        if not line.startswith(" "):
            module_name = line.strip()
            continue
        name = line.split()[0]
        if module_name.startswith("segbundle"):
            continue
        path = f"{module_name}.{name}"
        cls = locate(path)
        home = cls.__module__
        same = lambda other: inspect.isclass(other) and (other.__module__, other.__qualname__) == (home, cls.__qualname__)
        aliases = set()
        for module, content in everywhere:
            if public(module, home):
                aliases |= {f"{module}.{attribute}" for attribute, value in vars(content).items() if same(value)}
        short = {alias.rsplit(".", 1)[1] for alias in aliases}
        aliases |= {s for s in short if locator.get_component_module_name(s) == home}
        block = [f"class {name} {path}"]
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        for other in KWARGS_OF.get(path, []):
            known = {parameter.name for parameter in parameters}
            others = list(inspect.signature(locate(other).__init__).parameters.values())[1:]
            parameters += [parameter for parameter in others if parameter.name not in known]
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                block.append(f"argument {'*' * (1 + (parameter.kind == parameter.VAR_KEYWORD))}{parameter.name}")
            elif parameter.default is parameter.empty:
                block.append(f"argument {parameter.name}")
            else:
                block.append(f"argument {parameter.name} = {default(parameter.default)}")
        block += [f"alias {alias}" for alias in sorted(aliases)]
        blocks.append("\n".join(block))
    print("\n\n".join(blocks))


main()
