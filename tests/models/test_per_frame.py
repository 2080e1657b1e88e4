"""Other people's networks as networks of clips, against calling them frame by frame; the four kinds of one's own."""

import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.errors import DataError
from compressvqa.models import PerFrame, WholeClip
from compressvqa.registry import models

torch.set_num_threads(1)


def clips(frames=3, side=32, batch=2):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(batch, frames, 3, side, side, generator=generator) for _ in range(2))


class Net(nn.Module):
    """A plain network of pictures: (N, 3, H, W) to (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.last = nn.Linear(8, 1)

    def forward(self, x):
        return self.last(self.layers(x))


class Pair(nn.Module):
    """Not the same in both arguments."""

    def forward(self, first, second):
        return (2 * first - second).mean(dim=(1, 2, 3))


class Total(nn.Module):
    """One number for the whole batch, as torchmetrics' functions give."""

    def forward(self, x):
        return x.mean()


class Still3D(nn.Module):
    """(B, 3, T, H, W) to (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 6, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 1)
        )

    def forward(self, x):
        assert x.shape[1] == 3
        return self.layers(x)


@pytest.fixture
def name(request):
    """A name that is free again afterwards."""
    mine = f"mine-{request.node.name}"
    yield mine
    models._entries.pop(mine, None)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("at_once", [None, 1, 4])
def test_it_is_the_mean_over_frames_with_its_sign(lower, at_once):
    torch.manual_seed(0)
    net, (x, _) = Net().eval(), clips()
    with torch.no_grad():
        expected = sum(net(x[:, t])[:, 0] for t in range(3)) / 3 * (-1 if lower else 1)
        found = PerFrame(net, lower_is_better=lower, at_once=at_once)(x)
    torch.testing.assert_close(found, expected)


def test_two_pictures_come_in_the_order_that_is_said():
    reference, distorted = clips()
    there = (2 * reference - distorted).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(PerFrame(Pair())(reference, distorted), there)
    back = (2 * distorted - reference).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(PerFrame(Pair(), order="distorted-first")(reference, distorted), back)


def test_some_frames_of_one_size_normalised():
    (x, _), seen = clips(6, 40), []

    class Kept(nn.Module):
        def forward(self, pictures):
            seen.append(pictures)
            return pictures.mean(dim=(1, 2, 3))

    PerFrame(Kept(), frames=2, size=32, fit="crop", normalise=True)(x)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    cropped = x[:, [1, 4], :, 4:-4, 4:-4].flatten(0, 1)
    torch.testing.assert_close(seen[0], (cropped - mean[:, None, None]) / deviation[:, None, None])


def test_one_number_for_a_batch_is_taken_only_frame_by_frame():
    x, _ = clips()
    with pytest.raises(DataError, match=r"Total returns \(\) for 6 inputs: .* \(try: at_once=1"):
        PerFrame(Total())(x)
    torch.testing.assert_close(PerFrame(Total(), at_once=1)(x), x.mean(dim=(1, 2, 3, 4)))


def test_a_whole_clip_has_the_channels_first():
    torch.manual_seed(0)
    net, (x, _) = Still3D().eval(), clips()
    with torch.no_grad():
        torch.testing.assert_close(WholeClip(net)(x), net(x.permute(0, 2, 1, 3, 4))[:, 0])
        turned = WholeClip(net, lower_is_better=True)(x)
        torch.testing.assert_close(turned, -net(x.permute(0, 2, 1, 3, 4))[:, 0])

    class Ours(nn.Module):
        def forward(self, reference, distorted):
            return (2 * reference - distorted).mean(dim=(1, 2, 3, 4))

    back = WholeClip(Ours(), channels_first=False, order="distorted-first")(*clips())
    torch.testing.assert_close(back, Ours()(*reversed(clips())))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PerFrame(len), "not a torch.nn.Module"),
        (lambda: PerFrame(Net), "type is not a torch.nn.Module"),
        (lambda: PerFrame(Net(), order="distorted"), r"no order 'distorted' \(try: distorted-first\)"),
        (lambda: PerFrame(Net(), at_once=0), "0 frames at once"),
        (lambda: PerFrame(nn.Conv2d(3, 2, 1))(clips()[0]), r"Conv2d returns \(6, 2, 32, 32\) for 6 inputs"),
        (lambda: PerFrame(Pair())(clips(3)[0], clips(1)[1]), "differ"),
        (
            lambda: WholeClip(nn.MaxPool3d(2, return_indices=True))(clips()[0]),
            "MaxPool3d returns a tuple, not a tensor",
        ),
        (PerFrame(Net()), "one or two clips"),
    ],
)
def test_faults_are_one_line(make, words):
    with pytest.raises(DataError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def survives(name, inputs, tmp_path, share, **how):
    """Pruned with its proof, saved, and loaded by its name to the bit."""
    torch.manual_seed(0)
    model = cv.create_model(name).eval()
    pruned = cv.prune(model, inputs, ratios=0.5, **how)
    assert pruned.max_error is not None
    small = pruned.model.eval()
    assert sum(p.numel() for p in small.parameters()) < share * sum(p.numel() for p in model.parameters())
    loaded = cv.load(cv.save(small, tmp_path / "net"))
    with torch.no_grad():
        assert torch.equal(small(*inputs), loaded(*inputs))


def test_a_plain_module_of_one_s_own(name, tmp_path):
    @cv.register_model(name, mode="NR")
    def mine() -> nn.Module:
        """A plain module."""
        return PerFrame(Net(), size=32)

    survives(name, clips(2, 40)[:1], tmp_path, 0.5)


def test_a_video_module_of_one_s_own(name, tmp_path):
    @cv.register_model(name, mode="NR")
    def mine() -> nn.Module:
        """A plain module of clips."""
        return WholeClip(Still3D(), frames=4)

    survives(name, clips(6)[:1], tmp_path, 0.6)


def test_a_timm_network_of_one_s_own(name, tmp_path):
    @cv.register_model(name, mode="NR")
    def mine() -> nn.Module:
        """timm's network with one class."""
        return PerFrame(cv.create_model("timm/test_vit", num_classes=1, img_size=32), size=32, normalise=True)

    survives(name, clips(2, 40)[:1], tmp_path, 0.4, attention="heads")


@pytest.mark.parametrize(
    ("metric", "settings", "how"),
    [
        ("cnniqa", {}, {}),
        ("lpips", {"order": "distorted-first", "lower_is_better": True}, {}),
        pytest.param("topiq_nr", {}, {"attention": "heads"}, marks=pytest.mark.slow),
        pytest.param("dbcnn", {}, {}, marks=pytest.mark.slow),
    ],
)
def test_a_metric_of_pyiqa(metric, settings, how, name, tmp_path):
    pytest.importorskip("pyiqa")
    network = cv.create_model(f"pyiqa/{metric}").eval()
    inputs = clips(2, 96, batch=1)[: 2 if settings else 1]
    with torch.no_grad():
        # pyiqa's own call: the distorted picture first, one frame at a time.
        frames = [network(*(clip[:, t] for clip in reversed(inputs))).reshape(1) for t in range(2)]
        expected = sum(frames) / 2 * (-1 if settings else 1)
        torch.testing.assert_close(PerFrame(network, **settings)(*inputs), expected, rtol=1e-4, atol=1e-5)

    @cv.register_model(name, mode="FR" if settings else "NR")
    def mine() -> nn.Module:
        """A metric of pyiqa."""
        return PerFrame(cv.create_model(f"pyiqa/{metric}"), **settings)

    survives(name, inputs, tmp_path, 0.5, **how)
