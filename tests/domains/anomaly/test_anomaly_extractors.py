"""Extractors: what a network gets of a frame, widths, C3D and R3D in the released layouts, weights that do not fit."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, interpolate, max_pool3d

from zoo.domains.anomaly import C3D, R3D, C3DFeatures, ImageFeatures, R3DFeatures, VideoFeatures, c3d_weights
from zoo.domains.anomaly.c3d import mean_clip
from zoo.errors import InputError


def frame(height=240, width=320, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "resize", "crop", "top", "left", "mean", "std"),
    [
        ("r2plus1d_18", (128, 171), 112, 8, 30, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
        ("r3d_18", (128, 171), 112, 8, 30, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
        ("s3d", (256, 256), 224, 16, 16, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
        ("mvit_v2_s", (256, 256), 224, 16, 16, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
    ],
)
def test_frames_of_video_networks(name, resize, crop, top, left, mean, std):
    extractor, image = VideoFeatures(name, pretrained=False), frame()
    found = extractor.transform.normalise(extractor.frame(image))
    unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    small = interpolate(unit, resize, mode="bilinear", align_corners=False)[0, :, top : top + crop, left : left + crop]
    expected = (small - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_frames_of_c3d_in_every_scaling():
    image = frame()
    small = interpolate(torch.from_numpy(image).permute(2, 0, 1)[None].float(), (128, 171), mode="bilinear")
    crop = small[0, :, 8:120, 30:142]
    caffe, raw, port = (C3DFeatures("w", scaling=scaling) for scaling in ("caffe", "raw", "ekosman"))
    clip = caffe.frame(image)[None, None]
    torch.testing.assert_close(raw.scaled(clip)[0, 0], crop)
    mean = torch.tensor([124.0, 117.0, 104.0]).view(3, 1, 1)
    torch.testing.assert_close(caffe.scaled(clip)[0, 0], crop - mean)  # without the mean clip
    assert C3DFeatures("w").scaling == "caffe"
    torch.testing.assert_close(port.scaled(clip)[0, 0], (crop - mean) * 0.0167, atol=1e-5, rtol=0)
    turned = C3DFeatures("w", channels="bgr").scaled(clip)[0, 0]
    torch.testing.assert_close(turned, (crop - mean).flip(0))


def test_the_mean_clip_of_caffe_is_subtracted(tmp_path):
    rng = np.random.default_rng(0)
    cube = rng.random((3, 16, 128, 171)).astype(np.float32) * 100
    np.save(tmp_path / "mean.npy", cube)
    np.save(tmp_path / "small.npy", cube[:, :, 8:120, 30:142])
    np.save(tmp_path / "colours.npy", np.array([90.0, 98.0, 102.0]))
    extractor = C3DFeatures("w", mean=str(tmp_path / "mean.npy"))
    extractor._cube = mean_clip(tmp_path / "mean.npy")
    clips = torch.rand(2, 16, 3, 112, 112) * 255
    expected = clips - torch.from_numpy(cube[:, :, 8:120, 30:142]).transpose(0, 1)
    torch.testing.assert_close(extractor.scaled(clips), expected)
    assert torch.equal(mean_clip(tmp_path / "mean.npy"), mean_clip(tmp_path / "small.npy"))
    assert mean_clip(tmp_path / "colours.npy").flatten().tolist() == [90, 98, 102]
    np.save(tmp_path / "bad.npy", np.zeros((3, 8, 112, 112)))
    with pytest.raises(InputError, match=r"extractor\.mean: .*bad\.npy has shape \(3, 8, 112, 112\), expected"):
        mean_clip(tmp_path / "bad.npy")
    with pytest.raises(InputError, match=r"extractor\.mean belongs to extractor\.scaling: caffe"):
        C3DFeatures("w", scaling="ekosman", mean="mean.npy")


def test_sizes_and_counts_of_c3d_are_those_of_the_sheet():
    with torch.device("meta"):
        network = C3D()
        stages = network.stages(torch.empty(1, 3, 16, 112, 112))
    assert count(network) == 61_214_464
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7), (512, 1, 4, 4),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"expected shape \(N, 3, 16, 112, 112\), got \(1, 3, 8, 112, 112\)"):
        network(torch.empty(1, 3, 8, 112, 112, device="meta"))


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A file in the layout of ``c3d.pickle``; the classifier layers are small here, they are dropped anyway."""
    torch.manual_seed(0)
    state = {name: tensor.half() for name, tensor in C3D().state_dict().items()}
    for layer, shape in (("fc7", (8, 4096)), ("fc8", (4, 8))):
        state |= {f"{layer}.weight": torch.ones(shape), f"{layer}.bias": torch.ones(shape[0])}
    file = tmp_path_factory.mktemp("c3d") / "c3d.pickle"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file, state


@pytest.mark.facts
def test_c3d_from_its_released_file_step_by_step(released, capsys):
    file, state = released
    extractor = C3DFeatures(str(file))
    network = extractor.network(torch.device("cpu"))
    told = capsys.readouterr().err
    assert f"{file}: dropped fc7.weight, fc7.bias, fc8.weight, fc8.bias: classifier" in told
    assert f"{file}: no mean clip is given (extractor.mean), (124.0, 117.0, 104.0) is subtracted from" in told
    clips = torch.rand(1, 16, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        rows = extractor.encode(network, clips)
        maps = (clips - torch.tensor([124.0, 117.0, 104.0]).view(3, 1, 1)).transpose(1, 2)
        for name, pool in (("conv1", (1, 2, 2)), ("conv2", 2), ("conv3a", 0), ("conv3b", 2), ("conv4a", 0),
                           ("conv4b", 2), ("conv5a", 0), ("conv5b", 2)):  # fmt: skip
            maps = conv3d(maps, state[f"{name}.weight"].float(), state[f"{name}.bias"].float(), padding=1).clamp_min(0)
            if pool:
                maps = max_pool3d(maps, pool, pool, (0, 1, 1) if name == "conv5b" else 0)
        expected = (maps.flatten(1) @ state["fc6.weight"].float().T + state["fc6.bias"].float()).clamp_min(0)
    torch.testing.assert_close(rows, expected, atol=1e-3, rtol=1e-4)
    assert rows.shape == (1, 4096)
    assert 0.05 < (rows == 0).float().mean() < 0.95


def test_weights_of_c3d_are_taken_strictly(tmp_path):
    with torch.device("meta"):
        names = C3D().state_dict()
    state = {name: torch.zeros(1) for name in names} | {"fc8.bias": torch.zeros(1)}
    kept, notes = c3d_weights(state)
    assert set(kept) == set(names)
    assert notes == ["dropped fc8.bias: classifier after fc6"]
    with pytest.raises(InputError, match=r"C3DFeatures needs the weights .*: --model\.extractor\.weights FILE"):
        C3DFeatures().build()
    with pytest.raises(InputError, match=r"extractor\.weights: there is no weights file gone\.pickle"):
        C3DFeatures("gone.pickle").build()
    (tmp_path / "bad.pickle").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.pickle: cannot be read as weights"):
        C3DFeatures(str(tmp_path / "bad.pickle")).build()
    torch.save({"conv9.weight": torch.zeros(1)}, tmp_path / "other.pickle")
    with pytest.raises(InputError, match=r"other\.pickle: 19 tensors do not fit: conv1\.weight is missing; "):
        C3DFeatures(str(tmp_path / "other.pickle")).build()


@pytest.mark.parametrize(("depth", "parameters"), [(101, 85_245_120), (152, 117_403_840)])
def test_r3d_is_that_of_the_sheet(depth, parameters):
    with torch.device("meta"):
        network = R3D(depth)
        rows = network(torch.empty(2, 3, 16, 112, 160))
    assert count(network) == parameters
    assert rows.shape == (2, 2048)
    names = set(network.state_dict())
    assert {"conv1.weight", "layer1.0.downsample.0.weight", "layer4.0.downsample.1.running_mean",
            f"layer3.{22 if depth == 101 else 35}.bn3.bias"} <= names  # fmt: skip
    assert not any(name.startswith(("fc", "layer1.1.downsample")) for name in names)


@pytest.mark.facts
def test_r3d_takes_its_released_file(tmp_path):
    torch.manual_seed(0)
    small = R3D(101)
    for module in small.modules():  # a file in the released layout needs no particular numbers
        if isinstance(module, nn.BatchNorm3d):
            module.running_var.fill_(2.0)
    state = {f"module.{name}": tensor for name, tensor in small.state_dict().items()}
    file = tmp_path / "r3d101.pth"
    torch.save({"state_dict": {**state, "module.fc.weight": torch.ones(1), "module.fc.bias": torch.ones(1)},
                "epoch": 200}, file)  # fmt: skip
    extractor = R3DFeatures(101, str(file), size=[32, 40])
    network = extractor.network(torch.device("cpu"))
    clip = torch.stack([extractor.frame(frame(48, 64, seed)) for seed in range(16)])[None]
    assert clip.shape == (1, 16, 3, 32, 40)
    with torch.inference_mode():
        rows = extractor.encode(network, clip)
        mean, std = torch.tensor([0.4345, 0.4051, 0.3775]), torch.tensor([0.2768, 0.2713, 0.2737])
        unit = (clip / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        expected = small.eval()(unit.transpose(1, 2))
    torch.testing.assert_close(rows, expected)
    assert R3DFeatures(101, "w").frame(frame(48, 64)).shape == (3, 48, 64)  # no size: as it is
    with pytest.raises(InputError, match=r"extractor\.depth must be 101 or 152, got 50"):
        R3DFeatures(50)
    with pytest.raises(InputError, match=r"extractor\.size is \[height, width\]"):
        R3DFeatures(101, "w", size=[224])


@pytest.mark.parametrize(("name", "width"), [("r2plus1d_18", 512), ("s3d", 1024), ("r3d_18", 512)])
@pytest.mark.slow
def test_video_networks_give_rows_of_their_width(name, width):
    extractor = VideoFeatures(name, pretrained=False)
    network = extractor.network(torch.device("cpu"))
    clips = torch.stack([extractor.frame(frame(60, 80, seed)) for seed in range(16)])[None]
    with torch.inference_mode():
        rows = extractor.encode(network, clips)
    assert rows.shape == (1, width) == (1, extractor.width)
    assert extractor.network(torch.device("cpu")) is network
    again = VideoFeatures(name, pretrained=False)
    with torch.inference_mode():  # no weights: numbers of a fixed seed
        assert torch.equal(again.encode(again.network(torch.device("cpu")), clips), rows)


def test_a_local_file_of_torchvision_is_taken_strictly(tmp_path):
    from torchvision.models.video import r3d_18

    torch.manual_seed(3)
    network = r3d_18()
    torch.save(network.state_dict(), tmp_path / "r3d.pth")
    built = VideoFeatures("r3d_18", str(tmp_path / "r3d.pth")).build()
    assert torch.equal(built.layer4[1].conv2[0].weight, network.layer4[1].conv2[0].weight)
    state = network.state_dict()
    state["fc.bias"] = torch.zeros(10)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth: 1 tensors do not fit: fc\.bias has shape \(10,\)"):
        VideoFeatures("r3d_18", str(tmp_path / "bad.pth")).build()


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    from torchvision.models.video import R3D_18_Weights

    def unreachable(self, *args, **options):
        assert options["weights_only"] is True
        raise OSError("no route to host")

    monkeypatch.setattr(R3D_18_Weights, "get_state_dict", unreachable)
    with pytest.raises(InputError, match=r"r3d_18 cannot be had \(no route.*https://.*--model\.extractor\.pretrained"):
        VideoFeatures("r3d_18").build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VideoFeatures("r2plus1d"), r"extractor\.name must be one of .*did you mean 'r2plus1d_18'"),
        (lambda: ImageFeatures("resnet18", frames=17), r"extractor\.frames must be from 1 to extractor\.clip \(16\)"),
        (lambda: ImageFeatures("resnet18", frames=1, reduce="change"), "the change needs at least two frames"),
        (lambda: ImageFeatures("resnet18", reduce="max"), "extractor.reduce must be one of mean, change, got 'max'"),
        (lambda: ImageFeatures("resnet18", fps=0), "extractor.fps must be above 0, got 0"),
        (lambda: C3DFeatures(scaling="cafe"), "extractor.scaling must be .* did you mean 'caffe'"),
        (lambda: C3DFeatures(batch=0), "extractor.batch must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_what_features_depend_on(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = C3DFeatures(str(tmp_path / "a")).made_by()
    assert first["extractor"] == "C3DFeatures"
    assert C3DFeatures(str(tmp_path / "a"), batch=9).made_by() == first  # how fast makes no difference
    assert C3DFeatures(str(tmp_path / "a"), scaling="ekosman").made_by() != first
    assert C3DFeatures(str(tmp_path / "a"), scaling="raw").made_by()["mean"] is None
    assert first["mean"] == [124.0, 117.0, 104.0]
    (tmp_path / "a").write_bytes(b"2")
    assert C3DFeatures(str(tmp_path / "a")).made_by() != first
