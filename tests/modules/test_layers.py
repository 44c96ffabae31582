import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from patchdistill.modules.layers import FEATURES, SCORES, find_layer, output_of, pool, tensor_of  # noqa: E402

nn = torch.nn
X = torch.rand((5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
NAMES = ["", "stem", "stem.0", "stem.1", "body", "body.conv", "body.act", "flat", "head"]
# Containers answer after what is in them.
ORDER = ["stem.0", "stem.1", "stem", "body.conv", "body.act", "body", "flat", "head", ""]


class Network(nn.Module):
    """Runs its layers in another order than they are named in, one of them twice, and one never."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 2)
        self.body = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3), "act": nn.ReLU()})
        self.body.forward = lambda x: self.body.act(self.body.conv(x))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
        self.flat = nn.Flatten()
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = self.flat(self.body(self.stem(x)))
        return self.head(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().eval()


def n_hooks(network):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.modules())


@pytest.mark.parametrize("name", NAMES)
def test_output_is_what_a_plain_hook_catches(network, name):
    caught = []
    handle = dict(network.named_modules())[name].register_forward_hook(lambda m, i, output: caught.append(output))
    network(X)
    handle.remove()
    assert torch.equal(output_of(network, name)(X), caught[0])
    assert n_hooks(network) == 0


@pytest.mark.parametrize("name", NAMES)
def test_layers_behind_are_not_run(network, name):
    run = []
    for key, part in network.named_modules():
        part.register_forward_hook(lambda m, i, o, key=key: run.append(key))
    output_of(network, name)(X)
    # What is around the layer does not come to its end either.
    inside = [key for key in ORDER[: ORDER.index(name) + 1] if not name.startswith(f"{key}.") or key == name]
    assert run == inside


def test_without_a_layer_the_network_answers(network):
    assert output_of(network, None) is network
    assert output_of(torch.sin, None) is torch.sin


def test_a_layer_that_is_run_twice_gives_its_first_output():
    layer = nn.Linear(3, 3)
    assert torch.equal(output_of(nn.Sequential(layer, nn.ReLU(), layer), "0")(X[:, :, 0, :3]), layer(X[:, :, 0, :3]))


def test_hooks_of_others_stay_and_what_they_change_is_seen(network):
    network.stem.register_forward_hook(lambda m, i, output: output + 1)
    assert torch.equal(output_of(network, "stem")(X), network.stem(X))
    assert n_hooks(network) == 1


def test_hooks_are_removed_after_errors(network):
    with pytest.raises(RuntimeError, match="expected input"):
        output_of(network, "body")(X[:, :2])
    assert n_hooks(network) == 0
    assert network(X).shape == (5, 2)


def test_a_layer_that_is_not_run_is_named(network):
    with pytest.raises(ValueError, match="layer='unused' is not run when Network is called; name another one"):
        output_of(network, "unused")(X)
    assert n_hooks(network) == 0


def test_networks_that_catch_every_error_do_not_hide_the_layer():
    class Tolerant(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Tanh()

        def forward(self, x):
            try:
                return self.inner(x)
            except Exception:
                return self.inner(-x)

    assert torch.equal(output_of(Tolerant(), "inner")(X), torch.tanh(X))


@pytest.mark.parametrize("name", ["self_attn", "linear1", "norm2"])
def test_layers_of_an_encoder_answer_though_pytorch_could_take_a_short_cut(name):
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        assert tensor_of(output_of(encoder, name)(X[:, :, :, 0]), FEATURES).shape[:2] == (5, 3)


def test_the_search_for_a_layer(network):
    for name, part in network.named_modules():
        assert find_layer(network, name) is part


@pytest.mark.parametrize(
    ("name", "near"), [("body.conf", "'body.conv'"), ("stem0", "'stem.0'"), ("???", "'head', 'body'"), (3, "'head'")]
)
def test_near_matches_of_a_layer_that_is_not_there_are_listed(network, name, near):
    with pytest.raises(ValueError, match=f"is no layer of Network; near matches: .*{near}") as caught:
        output_of(network, name)
    assert repr(name) in str(caught.value)


def test_a_function_has_no_layers():
    with pytest.raises(ValueError, match="layer='conv1' is no layer of a builtin_function_or_method.*nn.Module"):
        output_of(torch.sin, "conv1")


# --- the tensor in an output


def test_tensors_are_found_in_what_networks_return():
    first, second = torch.zeros(2), torch.ones(2)
    for output in (first, (first, second), [first, second], ((first,), second), ({"logits": first}, second)):
        assert tensor_of(output, SCORES) is first
    both = {"logits": second, "last_hidden_state": first}
    assert tensor_of(both, FEATURES) is first and tensor_of(both, SCORES) is second
    assert tensor_of({"last_hidden_state": None, "logits": second}, FEATURES) is second


def test_tensors_are_found_in_outputs_of_transformers():
    outputs = pytest.importorskip("transformers").modeling_outputs
    first = torch.zeros(2)
    assert tensor_of(outputs.BaseModelOutput(last_hidden_state=first), FEATURES) is first
    assert tensor_of(outputs.ImageClassifierOutput(logits=first), FEATURES) is first
    with pytest.raises(TypeError, match=r"a BaseModelOutput with \['last_hidden_state'\], but a tensor is needed, or"):
        tensor_of(outputs.BaseModelOutput(last_hidden_state=first), SCORES)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (None, "a NoneType"),
        (3.0, "a float"),
        ((), "a tuple"),
        (np.zeros(2), "a ndarray"),
        ({"scores": 1}, r"a dict with \['scores'\]"),
        (({"a": None},), r"a dict with \['a'\]"),
    ],
)
def test_outputs_without_a_tensor_are_refused(output, found):
    with pytest.raises(TypeError, match=rf"returned {found}, but a tensor is needed, or one of \['last_hidden_state'"):
        tensor_of(output, FEATURES)


# --- one row per patch

AXES = st.integers(1, 5)
ENTRIES = st.floats(-100, 100, width=32)


@settings(max_examples=40)
@given(tokens=hnp.arrays(np.float32, st.tuples(AXES, AXES, AXES), elements=ENTRIES))
def test_tokens_are_pooled_as_by_loops(tokens):
    pooled = {how: pool(torch.from_numpy(tokens), how).numpy() for how in ("mean", "max", "cls")}
    for patch, rows in enumerate(tokens):
        assert_allclose(pooled["mean"][patch], sum(row.astype(float) for row in rows) / len(rows), atol=1e-4)
        assert_array_equal(pooled["max"][patch], [max(column) for column in rows.T])
        assert_array_equal(pooled["cls"][patch], rows[0])


@settings(max_examples=40)
@given(maps=hnp.arrays(np.float32, st.tuples(AXES, AXES, AXES, AXES), elements=ENTRIES))
def test_maps_are_pooled_as_by_loops(maps):
    last = torch.from_numpy(np.ascontiguousarray(maps.transpose(0, 2, 3, 1)))
    for how, reduce in (("mean", np.mean), ("max", np.max)):
        expected = [[reduce(plane.astype(float)) for plane in patch] for patch in maps]
        assert_allclose(pool(torch.from_numpy(maps), how), expected, atol=1e-4)
        assert_allclose(pool(last, how, channels_last=True), expected, atol=1e-4)


@pytest.mark.parametrize("how", ["mean", "max", "cls"])
def test_features_are_left_alone(how):
    features = torch.rand(3, 4)
    assert pool(features, how) is features
    assert pool(features, how, channels_last=True) is features


def test_maps_have_no_first_token():
    with pytest.raises(ValueError, match=r'pooling="cls".*returned maps, shape \(2, 3, 4, 5\); use "mean" or "max"'):
        pool(torch.zeros(2, 3, 4, 5), "cls")


@pytest.mark.parametrize("shape", [(), (2,), (2, 3, 4, 5, 6)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"The layer returned shape \(.*\), but features \(n, d\), tokens"):
        pool(torch.zeros(shape), "mean")
