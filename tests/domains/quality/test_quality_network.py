"""The dual-branch network: the released outputs stage by stage, parameter counts, any backbone, wrong inputs."""

import re
import sys
from types import SimpleNamespace

import pytest
import timm
import torch

from zoo.domains.quality import DualBranch, convert
from zoo.errors import InputError

SMALL = "test_efficientnet"


@pytest.fixture(scope="module")
def facts():
    """The check modules, the released tensors and the full-size network that holds them."""
    from pathlib import Path

    folder = Path(__file__).resolve().parents[4] / "shared" / "facts" / "check"
    sys.path.insert(0, str(folder))
    try:
        import fill
        import stages
    finally:
        sys.path.remove(str(folder))
    doc = fill.load(folder / "dn_piqa.json")
    released = fill.make_checkpoint(doc)
    fill.check_fill(doc, released, fill.inputs(doc))
    network = DualBranch().eval()
    state, notes = convert(released)
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in state.items()})
    return SimpleNamespace(
        fill=fill, stages=stages, doc=doc, released=released, network=network, notes=notes,
        steps=fill.load(folder / "stages_dn_piqa.json"),
    )  # fmt: skip


@pytest.mark.facts
def test_sizes_are_the_released_ones(facts):
    assert len(facts.released) == 728
    assert sum(parameter.numel() for parameter in facts.network.parameters()) == 174_082_929
    assert sum(parameter.numel() for parameter in facts.network.full.parameters()) == 86_878_584
    assert [type(layer).__name__ for layer in facts.network.head] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert facts.network.head[0].weight.shape == (128, 2543)
    assert facts.network.head[2].p == 0.1
    rates = [getattr(block.drop_path1, "drop_prob", 0.0)
             for stage in facts.network.full.layers for block in stage.blocks]  # fmt: skip
    torch.testing.assert_close(torch.tensor(rates), torch.linspace(0, 0.1, 24))


@pytest.mark.facts
def test_released_outputs_stage_by_stage(facts):
    got: dict[str, object] = {}

    def keep(name):
        def hook(module, inputs, output):
            got[name] = facts.stages.digest(output.flatten(1, 2) if output.ndim == 4 else output)

        return hook

    handles = []
    for name in ("full", "face"):
        branch = getattr(facts.network, name)
        handles.append(branch.patch_embed.register_forward_hook(keep(f"{name}.patch_embed")))
        handles.append(branch.norm.register_forward_hook(keep(f"{name}.norm")))
        for stage, layer in enumerate(branch.layers):
            handles.append(layer.blocks[-1].register_forward_hook(keep(f"{name}.stage{stage}.last_block")))
            for number, block in enumerate(layer.blocks[:2]):
                handles.append(block.register_forward_hook(keep(f"{name}.stage{stage}.block{number}")))
            if stage:
                handles.append(layer.downsample.register_forward_hook(keep(f"{name}.stage{stage - 1}.downsample")))
    x = facts.fill.inputs(facts.steps)
    with torch.no_grad():
        output = facts.network(x["image"], x["face"], x["liqe"])
    for handle in handles:
        handle.remove()
    got["full.features"] = facts.stages.digest(output.full_features)
    got["face.features"] = facts.stages.digest(output.face_features)
    joined = torch.cat([output.full_features, output.face_features, x["liqe"]], 1)
    got["head.joined"] = facts.stages.digest(joined)
    got["head.hidden_before_relu"] = facts.stages.digest(output.hidden)
    got["score"] = output.score.tolist()
    found = facts.stages.check(facts.steps, got)
    assert set(facts.steps["expected"]) <= set(found)
    assert facts.stages.first_departure(facts.steps, got) is None, facts.stages.report(facts.steps, got)


@pytest.mark.facts
def test_converts_with_zero_difference_to_timms_own_loading(facts):
    from timm.models.swin_transformer import checkpoint_filter_fn

    assert facts.notes == [
        "full: dropped 35 buffers (relative_position_index, attn_mask): computed when the network is built",
        "full: moved each downsample to the stage after it, as timm 1.x has it",
        "face: dropped 35 buffers (relative_position_index, attn_mask): computed when the network is built",
        "face: moved each downsample to the stage after it, as timm 1.x has it",
    ]
    x = facts.fill.inputs(facts.doc)
    prefixes = {
        "full": ("feature_extraction.feature_extraction.", "image"),
        "face": ("feature_extraction_face.feature_extraction.feature_extraction.", "face"),
    }
    with torch.no_grad():
        output = facts.network(x["image"], x["face"], x["liqe"])
        for branch, (prefix, given) in prefixes.items():
            model = timm.create_model("swin_base_patch4_window12_384", num_classes=0).eval()
            own = {name.removeprefix(prefix): tensor for name, tensor in facts.released.items()
                   if name.startswith(prefix)}  # fmt: skip
            assert len(own) == 362
            loaded = model.load_state_dict(checkpoint_filter_fn(own, model), strict=True)
            assert not loaded.missing_keys
            assert torch.equal(model(x[given]), getattr(output, f"{branch}_features"))
            del model
    head = {name.removeprefix("quality."): tensor for name, tensor in facts.released.items()
            if name.startswith("quality.")}  # fmt: skip
    got = {
        "score": output.score.item(),
        "full_features": facts.fill.digest(output.full_features, 16),
        "face_features": facts.fill.digest(output.face_features, 16),
        "hidden_before_relu": facts.fill.digest(output.hidden, 8),
    }
    assert not facts.fill.compare(facts.doc["expected"], got, **facts.doc["tolerance"])
    assert all(torch.equal(facts.network.head.state_dict()[name], tensor) for name, tensor in head.items())


@pytest.mark.parametrize(
    ("name", "width"),
    [("test_efficientnet", 256), ("test_vit", 64), ("test_convnext", 64), ("mobilenetv3_small_050", 1024)],
)
def test_any_backbone_of_timm_by_name(name, width):
    network = DualBranch(name, liqe=False, crop=96).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 3, 96, 96), torch.randn(2, 3, 96, 96))
    assert output.score.shape == (2,)
    assert output.full_features.shape == output.face_features.shape == (2, width)
    assert output.hidden.shape == (2, 128)
    assert network.head[0].in_features == 2 * width


@pytest.mark.parametrize(
    ("branches", "liqe", "width"),
    [("both", True, 1007), ("full", True, 751), ("face", False, 256), ("both", False, 512)],
)
def test_inputs_are_joined_in_the_released_order(branches, liqe, width):
    network = DualBranch(SMALL, branches=branches, liqe=liqe).eval()
    image, face, aux = torch.randn(2, 3, 96, 96), torch.randn(2, 3, 96, 96), torch.randn(2, 495) * 20
    with torch.no_grad():
        output = network(image, face, aux)
        parts = [part for part in (output.full_features, output.face_features) if part is not None]
        joined = torch.cat([*parts, *([aux] if liqe else [])], 1)
        assert joined.shape[1] == width
        hidden = joined @ network.head[0].weight.T + network.head[0].bias
        score = (hidden.clamp(min=0) @ network.head[3].weight.T + network.head[3].bias).squeeze(1)
    torch.testing.assert_close(output.hidden, hidden)
    torch.testing.assert_close(output.score, score)
    assert (output.full_features is None) == (branches == "face")
    assert (output.face_features is None) == (branches == "full")


def test_branches_share_no_weights():
    network = DualBranch(SMALL)
    own = {parameter.data_ptr() for parameter in network.full.parameters()}
    assert not own & {parameter.data_ptr() for parameter in network.face.parameters()}


def test_half_precision_logits_are_promoted():
    network = DualBranch(SMALL).eval()
    image, aux = torch.randn(1, 3, 64, 64), (torch.randn(1, 495) * 20).half()
    with torch.no_grad():
        torch.testing.assert_close(network(image, image, aux).score, network(image, image, aux.float()).score)


IMAGE = torch.zeros(2, 3, 64, 64)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((IMAGE, IMAGE, None), "aux: expected shape (B, 495), the raw LIQE logits, got None"),
        ((IMAGE, IMAGE, torch.zeros(2, 494)), "aux: expected shape (B, 495), the raw LIQE logits, got shape (2, 494)"),
        ((None, IMAGE, torch.zeros(2, 495)), "image: expected shape (B, 3, S, S), normalised, got None"),
        (
            (IMAGE, IMAGE[0], torch.zeros(2, 495)),
            "face: expected shape (B, 3, S, S), normalised, got shape (3, 64, 64)",
        ),
        ((IMAGE, IMAGE, torch.zeros(3, 495)), "image, face and aux differ in batch size: 2, 2, 3"),
    ],
)
def test_wrong_inputs_are_named(inputs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DualBranch(SMALL).eval()(*inputs)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="timm has no model 'swin_bas_patch4_window12_384'; did you mean 'swin_base"):
        DualBranch("swin_bas_patch4_window12_384")
    with pytest.raises(ValueError, match="branches: 'all' given, expected one of both, full, face"):
        DualBranch(SMALL, branches="all")
    with pytest.raises(ValueError, match="hidden must be at least 1, dropout and drop_path in"):
        DualBranch(SMALL, dropout=1.0)
