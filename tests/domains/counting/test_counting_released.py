"""The released model: every stage, its outputs, its file converted; full size, built once."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from zoo.domains.counting import TreeFormer, convert


@pytest.fixture(scope="module")
def facts():
    """The check modules and the full-size model with the released tensors, converted."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "facts" / "check"
    if not folder.is_dir():
        pytest.skip("no check files")
    sys.path.insert(0, str(folder))
    import fill
    import stages

    sys.path.remove(str(folder))
    state, _ = convert(fill.make_checkpoint(fill.load(folder / "treeformer.json")))
    with torch.device("meta"):
        module = TreeFormer(token="first_patch")
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().to("cpu")  # Lightning remembers where it was built
    return SimpleNamespace(fill=fill, stages=stages, folder=folder, module=module, network=module.network)


def record(network, tag, got, digest):
    """Keeps the digest of every stage while the network runs."""

    def keep(module, name):
        return module.register_forward_hook(lambda _m, _i, out: got.__setitem__(f"{tag}.{name}", digest(out)))

    encoder, head = network.encoder, network.regression
    handles = []
    for stage in range(1, 5):
        handles.append(keep(encoder.get_submodule(f"patch_embed{stage}"), f"stage{stage}.patch_embed"))
        blocks = encoder.get_submodule(f"block{stage}")
        handles += [keep(block, f"stage{stage}.block{index}") for index, block in enumerate(blocks)]
    handles += [
        keep(head.get_submodule(name), f"regression.{name}") for name in ("ca2", "v3", "ca1", "v2", "ca0", "v1")
    ]
    for name, place in (("noise2", "u2"), ("noise1", "u1"), ("noise0", "u0")):
        handles.append(keep(head.get_submodule(name), place))
    tokens = lambda _m, inputs: got.update(  # noqa: E731
        {f"{tag}.token_stage{stage}": digest(value) for stage, value in zip((2, 3, 4), inputs[1], strict=True)}
    )
    return [*handles, head.register_forward_pre_hook(tokens)]


@pytest.mark.facts
def test_every_stage_is_the_released_one(facts):
    doc = facts.fill.load(facts.folder / "stages_treeformer.json")
    inputs = facts.fill.inputs(doc)
    facts.fill.check_fill(doc, None, inputs)
    got, digest = {}, facts.stages.digest
    for tag, image in (("256x256", inputs["square_image"]), ("192x320", inputs["image"])):
        handles = record(facts.network, tag, got, digest)
        with torch.no_grad():
            out = facts.network(image)
        for handle in handles:
            handle.remove()
        got |= {f"{tag}.feature{index}": digest(value) for index, value in enumerate(out.features)}
        for index, y in enumerate(out.maps):
            got[f"{tag}.y{index}"] = {**digest(y), "sum_over_1000": float(y.sum()) / 1000}
        got[f"{tag}.y0_normalised"] = digest(out.maps[0] / (out.maps[0].sum() + 1e-6))
        got[f"{tag}.token_counts_stage2_3_4"] = out.token_counts[0].tolist()
    supplied = [name for name in doc["expected"] if not name.startswith("tiled.")]
    assert set(supplied) == set(got)
    assert facts.stages.first_departure(doc, got) is None, facts.stages.report(doc, got)


@pytest.mark.facts
def test_the_released_outputs(facts):
    doc = facts.fill.load(facts.folder / "treeformer.json")
    with torch.no_grad():
        out = facts.network(facts.fill.inputs(doc)["image"])
    got = {
        "density_sums": [float(y.sum()) for y in out.maps],
        **{f"y{index}": facts.fill.digest(y) for index, y in enumerate(out.maps)},
        "y0_normalised": facts.fill.digest(out.maps[0] / (out.maps[0].sum() + 1e-6), 6),
        "token_counts_stage2_3_4": out.token_counts[0].tolist(),
        "features": [facts.fill.digest(value, 4) for value in out.features],
    }
    expected = {name: value for name, value in doc["expected"].items() if name != "tiled"}
    assert facts.fill.compare(expected, got, **doc["tolerance"]) == []


@pytest.mark.facts
def test_the_first_patch_is_the_top_left_place(facts):
    image = facts.fill.inputs(facts.fill.load(facts.folder / "treeformer.json"))["image"][:, :, :64, :96]
    encoder = facts.network.encoder
    with torch.no_grad():
        found = encoder(image)
        corners = [feature[:, :, 0, 0] for feature in found.features[1:]]
        assert all(torch.equal(token, corner) for token, corner in zip(found.tokens, corners, strict=True))
        encoder.token = "learned"
        learned = encoder(image)
        encoder.token = "first_patch"
    assert all(torch.equal(a, b) for a, b in zip(found.features, learned.features, strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(found.tokens, learned.tokens, strict=True))


@pytest.mark.facts
def test_the_released_windows(facts):
    doc = facts.fill.load(facts.folder / "treeformer.json")
    image = facts.fill.inputs(doc)["large_image"]
    found = facts.module.predict(image, tiling="official", preprocess=False)
    wanted = {name: doc["expected"]["tiled"][name] for name in ("count", "map")}
    got = {"count": float(found.count[0]), "map": facts.fill.digest(found.density)}
    assert facts.fill.compare(wanted, got, **doc["tolerance"]) == []
