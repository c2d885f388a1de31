"""Released files: whole Rank-DETR checkpoints of three backbones, ImageNet backbones as a part."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet50
from torchvision.ops import FrozenBatchNorm2d

from zoo.checkpoint import convert as convert_file
from zoo.domains.detection.backbones import build_backbone
from zoo.domains.detection.convert import PARTS, convert
from zoo.domains.detection.network import RankDETRNetwork
from zoo.domains.detection.pretrained import fetch
from zoo.errors import InputError

R50 = "detection/rankdetr_coco_r50_12e"


def single_number(tensors):
    """Every tensor one repeated number of its own, both copies of a head the same: no memory is taken."""
    numbers = {name: number % 97 for number, name in enumerate(dict.fromkeys(map(plain, tensors)))}
    return {name: torch.tensor(float(numbers[plain(name)])).expand(tensor.shape) for name, tensor in tensors.items()}


def plain(name):
    return re.sub(r"^transformer\.decoder\.(class_embed|bbox_embed)", r"\1", name)


@pytest.fixture(scope="module")
def layouts():
    """The released layout of the three networks, written down independently of convert.py."""
    with torch.device("meta"):
        networks = {name: RankDETRNetwork(name) for name in ("resnet50", "swin_tiny", "swin_large")}
    return {name: single_number(official(network)) for name, network in networks.items()}


def official(network):
    """A network's tensors under the released names, the shared heads twice."""
    steps = (
        ("transformer.level_embeddings", "transformer.level_embeds"),
        ("neck.extra.", "neck.extra_convs.0."),
        (".feed_forward.inner.", ".ffns.0.layers.0.0."),
        (".feed_forward.outer.", ".ffns.0.layers.1."),
        (".self_attention.", ".attentions.0.attn."),
        ("transformer.proposal_norm.", "transformer.enc_output_norm."),
        ("transformer.proposal.", "transformer.enc_output."),
        ("transformer.position_norm.", "transformer.pos_trans_norm."),
        ("transformer.position.", "transformer.pos_trans."),
    )
    result = {}
    for name, tensor in network.state_dict().items():
        for ours, theirs in steps:
            name = name.replace(ours, theirs)
        if name.startswith("transformer.encoder"):
            name = name.replace(".attention.", ".attentions.0.")
        if name.startswith("transformer.decoder"):
            name = name.replace(".attention.", ".attentions.1.")
            name = re.sub(r"rank_layers\.(\d+)\.ranks", r"rank_aware_content_query.\1.weight", name)
            name = re.sub(r"rank_layers\.(\d+)\.before", r"pre_racq_trans.\1", name)
            name = re.sub(r"rank_layers\.(\d+)\.after", r"post_racq_trans.\1", name)
        if name.startswith("transformer."):
            name = re.sub(r"(layers\.\d+)\.norm(\d)\.", lambda f: f"{f[1]}.norms.{int(f[2]) - 1}.", name)
        name = re.sub(r"heads\.ranks\.(\d+)", r"rank_adaptive_classhead_emb.\1.weight", name)
        name = name.replace("heads.classes.", "class_embed.")
        name = re.sub(r"heads\.boxes\.(\d+)\.(\d)", lambda f: f"bbox_embed.{f[1]}.layers.{int(f[2]) // 2}", name)
        if (
            name.startswith("backbone.")
            and "patch_embed" not in name
            and "layers." not in name
            and "norm" not in name[:13]
        ):
            name = "backbone." + detectron(name.removeprefix("backbone."))
        result[name] = tensor
        if name.startswith(("class_embed", "bbox_embed")):
            result[f"transformer.decoder.{name}"] = tensor
        if name.endswith("relative_position_bias_table"):
            index = name.replace("bias_table", "index")
            result[index] = torch.zeros(49, 49, dtype=torch.long, device="meta")
    return result


def detectron(name):
    """A ResNet's tensor under detectron2's name."""
    name = re.sub(r"^layer(\d)", lambda f: f"res{int(f[1]) + 1}", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    return name if name.startswith("res") else f"stem.{name}"


def test_every_tensor_has_a_place(layouts):
    assert {name: len(layout) for name, layout in layouts.items()} == {
        "resnet50": 662, "swin_tiny": 584, "swin_large": 752,
    }  # fmt: skip
    for name, layout in layouts.items():
        state, notes = convert(layout)
        with torch.device("meta"):
            expected = RankDETRNetwork(name).state_dict()
        assert {key.removeprefix("network."): tensor.shape for key, tensor in state.items()} == {
            key: tensor.shape for key, tensor in expected.items()
        }
        heads = next(note for note in notes if "dropped 56 duplicates of class_embed and bbox_embed" in note)
        assert "transformer.decoder.bbox_embed.6.layers.2.bias" in heads
        if name != "resnet50":
            assert any(re.match(r"dropped \d+ buffers \(relative_position_index", note) for note in notes)
    assert sum(tensor.numel() for tensor in layouts["resnet50"].values()) == 53_258_328


@pytest.mark.facts
def test_names_are_those_of_the_check_file(layouts, check_files):
    sys.path.insert(0, str(check_files))
    try:
        import fill
    finally:
        sys.path.remove(str(check_files))
    doc = fill.load(check_files / "rank_detr_r50.json")
    assert {entry["name"]: tuple(entry["shape"]) for entry in doc["keys"]} == {
        name: tuple(tensor.shape) for name, tensor in layouts["resnet50"].items()
    }


def test_either_copy_of_a_head_is_enough_and_two_must_agree(layouts):
    whole = layouts["swin_tiny"]
    expected, _ = convert(whole)
    for kept in ("class_embed", "transformer.decoder.class_embed"):
        other = "transformer.decoder." if kept == "class_embed" else ""
        one = {name: value for name, value in whole.items()
               if not name.startswith((f"{other}class_embed", f"{other}bbox_embed"))}  # fmt: skip
        state, notes = convert(one)
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state)
        assert not any("duplicates" in note for note in notes)
    name = "class_embed.3.bias"
    with pytest.raises(
        InputError, match=f"{name} and transformer.decoder.{name} should be the same tensor, but differ"
    ):
        convert({**whole, f"transformer.decoder.{name}": torch.full((80,), 5000.0)})


def test_what_does_not_belong_is_named(layouts):
    whole = layouts["swin_tiny"]
    with pytest.raises(InputError, match=r"1 unexpected: transformer.decoder.norm.weight"):
        convert({**whole, "transformer.decoder.norm.weight": torch.ones(256)})
    with pytest.raises(InputError, match=r"neck.convs.0.conv.bias: holds values that are not finite"):
        convert({**whole, "neck.convs.0.conv.bias": torch.full((256,), torch.inf)})
    with pytest.raises(
        InputError, match="no released Rank-DETR: it has no transformer; it is a backbone: --part backbone"
    ):
        convert(resnet50().state_dict())
    with pytest.raises(InputError, match=r"it has no transformer; it begins with fc.weight"):
        convert({"fc.weight": torch.ones(2)})
    halves, notes = convert(
        {name: value.half() if value.is_floating_point() else value for name, value in whole.items()}
    )
    assert all(value.dtype == torch.float32 for value in halves.values())
    assert any("torch.float16 to float32" in note for note in notes)


@pytest.fixture(scope="module")
def classifier():
    """torchvision's ResNet-50 with norms that do something."""
    torch.manual_seed(0)
    network = resnet50(norm_layer=FrozenBatchNorm2d).eval()
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
            module.weight.uniform_(0.8, 1.2)
            module.bias.normal_(std=0.1)
    return network


def test_resnet_of_torchvision_and_of_detectron2(classifier):
    state = classifier.state_dict()
    counters = {f"{name.removesuffix('running_var')}num_batches_tracked": torch.tensor(7)
                for name in state if name.endswith("running_var")}  # fmt: skip
    ours, notes = PARTS["backbone"]({**state, **counters})
    assert any("dropped fc.weight, fc.bias" in note for note in notes)
    assert any("dropped 53 num_batches_tracked" in note for note in notes)
    theirs, notes = PARTS["backbone"]({detectron(name): value for name, value in state.items()})
    assert any("dropped stem.fc.weight, stem.fc.bias" in note for note in notes)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    backbone = build_backbone("resnet50").eval()
    backbone.load_state_dict(ours)
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(images))))
    with torch.no_grad():
        found, x = backbone(images), classifier.layer1(x)
        for stage, part in zip((classifier.layer2, classifier.layer3, classifier.layer4), found, strict=True):
            x = stage(x)
            torch.testing.assert_close(part, x, rtol=1e-4, atol=1e-4)


def test_swin_of_microsoft(layouts):
    inner = {name.removeprefix("backbone."): value for name, value in layouts["swin_tiny"].items()
             if name.startswith("backbone.")}  # fmt: skip
    file = {name: value for name, value in inner.items() if not re.match(r"norm\d\.", name)}
    file |= {"norm.weight": torch.ones(768), "norm.bias": torch.zeros(768), "head.weight": torch.ones(1000, 768),
             "head.bias": torch.ones(1000), "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49)}  # fmt: skip
    state, notes = PARTS["backbone"](file)
    told = "\n".join(notes)
    assert "dropped 13 buffers (relative_position_index, attn_mask)" in told
    assert "dropped head.weight, head.bias: the classifier" in told
    assert "dropped norm.weight, norm.bias: its norm" in told
    assert "started norm1, norm2 and norm3 of the three maps at 1 and 0" in told
    with torch.device("meta"):
        expected = build_backbone("swin_tiny").state_dict()
    assert {name: value.shape for name, value in state.items()} == {n: value.shape for n, value in expected.items()}
    assert torch.equal(state["norm3.weight"], torch.ones(768))
    name = "layers.2.blocks.5.attn.qkv.weight"
    assert torch.equal(state[name], file[name])


def test_other_backbones_are_refused():
    with pytest.raises(InputError, match=r"MSRA's Caffe2 ResNet-50 \(BGR, stride in the 1 x 1 convolutions\)"):
        PARTS["backbone"]({"conv1_w": torch.ones(1), "res2_0_branch2a_w": torch.ones(1)})
    with pytest.raises(InputError, match=r"no known backbone .*; it begins with cls_token"):
        PARTS["backbone"]({"cls_token": torch.ones(1)})


def test_pretrained_takes_a_local_file(classifier, tmp_path):
    file = tmp_path / "resnet50.pth"
    torch.save(classifier.state_dict(), file)
    backbone = build_backbone("resnet50", pretrained=str(file))
    assert torch.equal(backbone.layer4[2].conv3.weight, classifier.layer4[2].conv3.weight)
    with pytest.raises(InputError, match=r"pretrained weights of 'swin_tiny': \d+ tensors do not fit: patch_embed"):
        build_backbone("swin_tiny", pretrained=str(file))
    with pytest.raises(InputError, match=r"nothing.pth: there is no such weights file"):
        build_backbone("resnet50", pretrained=str(tmp_path / "nothing.pth"))
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(InputError, match=r"text.pth: cannot be read as weights .*zoo convert RECIPE FILE OUT --part"):
        build_backbone("resnet50", pretrained=str(tmp_path / "text.pth"))


def test_weights_out_of_reach_say_how_to_give_a_file(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    told = r"pretrained weights of 'resnet50' cannot be had from https://.* \(no route to host\); give a local file"
    with pytest.raises(InputError, match=told):
        fetch("resnet50", True)


@pytest.mark.facts
def test_a_released_r50_converts_loads_and_predicts(check_files, tmp_path):
    import zoo

    sys.path.insert(0, str(check_files))
    try:
        import fill
    finally:
        sys.path.remove(str(check_files))
    doc = fill.load(check_files / "rank_detr_r50.json")
    torch.save(fill.wrap(fill.make_checkpoint(doc), doc["wrapper"]), tmp_path / "model_final.pth")
    notes = convert_file(R50, tmp_path / "model_final.pth", tmp_path / "r50.safetensors")
    assert any("took 'model', set aside: iteration" in note for note in notes)
    model = zoo.load(tmp_path / "r50.safetensors")
    assert (len(model.class_names), model.class_names[0], model.class_names[67]) == (80, "person", "cell phone")
    image = fill.inputs(doc)["image"]
    found = model.predict([image.round().to(torch.uint8)], resize=False)[0]
    assert len(found.scores) == len(found.boxes) == len(found.class_names) <= 300
    with torch.no_grad():
        scores, places = model.network(image.unsqueeze(0)).logits.sigmoid().flatten().topk(20)
    expected = doc["expected"]["top20"]
    assert fill.compare(expected["scores"], scores.tolist(), rtol=1e-4, atol=1e-5) == []
    assert (places % 80).tolist() == expected["labels"]


def test_a_backbone_file_becomes_a_part_and_fills_a_network(classifier, tmp_path):
    """detectron2's pickle: arrays under "model", beside notes of its own."""
    import pickle

    from zoo.domains.detection import RankDETR

    arrays = {detectron(name): np.asarray(value) for name, value in classifier.state_dict().items()}
    file = tmp_path / "R-50.pkl"
    file.write_bytes(pickle.dumps({"model": arrays, "__author__": "torchvision", "matching_heuristics": True}))
    notes = convert_file(R50, file, tmp_path / "r50.safetensors", part="backbone")
    assert any("init_from: {backbone:" in note for note in notes)
    small = {"num_classes": 3, "encoder_layers": 0, "decoder_layers": 1, "ffn_dim": 8, "queries_one2one": 5,
             "queries_one2many": 0, "width": 8, "heads": 2}  # fmt: skip
    model = RankDETR("resnet50", **small, init_from={"backbone": str(tmp_path / "r50.safetensors")})
    assert torch.equal(model.network.backbone.layer4[2].conv3.weight, classifier.layer4[2].conv3.weight)
    assert Path(tmp_path / "r50.safetensors").stat().st_size > 90e6
