"""What does a selection cost and save in front of networks of the size that is used: a ResNet-50 and a ViT-B?

The networks are those of `transformers`, with random weights, at 224 x 224 pixels; 180 patches of each picture.
Selection is on natural-scene statistics, or on the features of the network itself, for which all patches have to go
through it. On a GPU training is counted as well, one epoch; on a CPU inference alone, on few pictures. The time depends
neither on what is in the pictures nor on the weights.
"""

import numpy as np
import torch
from _common import arguments, real_pictures, write_results
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from patchdistill import ResidualPatchSelector
from patchdistill.embedding import PatchStatistics, TorchEmbedder
from patchdistill.models import BagNetRegressor, FrozenModuleRegressor, PatchMean, Preprocess, compute_report
from patchdistill.sampling import GridSampler

RATES = (0.45, 0.10)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def networks(smoke):
    """Networks by name, with the name of the part that gives features, and the size of their input."""
    if smoke:
        small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        resnet = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=1)
        vit, size = ViTConfig(**small, image_size=32, patch_size=8, num_labels=1), 32
    else:
        resnet, vit, size = ResNetConfig(num_labels=1), ViTConfig(num_labels=1), 224
    return {
        "ResNet-50": (ResNetForImageClassification(resnet), "resnet", size),
        "ViT-B": (ViTForImageClassification(vit), "vit", size),
    }


def pipelines(network, part, size, device, n_patches):
    """Pipelines whose cost is compared: of one network, all patches or kept ones."""
    if device == "cpu":
        model = FrozenModuleRegressor(network, field="pixels", size=size, batch_size=12, **IMAGENET)
    else:
        whole = nn.Sequential(Preprocess(size, **IMAGENET), network)
        model = BagNetRegressor(
            PatchMean,
            module__network=whole,
            dataset__field="pixels",
            device=device,
            batch_size=1,
            max_epochs=1,
            lr=1e-4,
            verbose=0,
        )
    statistics = [("embedding", PatchStatistics())]
    own = [("embedding", TorchEmbedder(getattr(network, part), size=size, device=device, batch_size=12, **IMAGENET))]
    selections = {"all patches": []}
    for rate in RATES:
        by_columns = ("selection", ResidualPatchSelector(rate=rate, normalize="columns"))
        selections[f"{rate:.0%}, statistics"] = [*statistics, by_columns]
    selections["10%, features of the network"] = [*own, ("selection", ResidualPatchSelector(rate=0.10))]
    sampler = GridSampler(n_patches=n_patches)
    return {name: Pipeline([("sampling", sampler), *steps, ("model", model)]) for name, steps in selections.items()}


def gflop(network, size):
    """Operations of one patch, forward, in units of 10^9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size, device=next(network.parameters()).device))
    return round(counter.get_total_flops() / 1e9, 3)


def account(compared, pictures, labels, device):
    """Cost of every pipeline: with training on a GPU, of inference alone on the CPU."""
    if device != "cpu":
        return compute_report(compared, pictures, labels)
    for pipeline in compared.values():
        pipeline.fit(pictures, labels)
    return compute_report(compared, pictures, count_flops=False)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    options = parser.parse_args()
    n_pictures = 2 if options.smoke or options.device == "cpu" else 20
    width, n_patches = (192, 6) if options.smoke else (1280, 180)
    pictures = list(real_pictures(limit=n_pictures, width=width).values())
    labels = np.linspace(0, 1, len(pictures))
    torch.set_num_threads(1)
    results = {}
    with threadpool_limits(1):
        for name, (network, part, size) in networks(options.smoke).items():
            compared = pipelines(network, part, size, options.device, n_patches)
            report = account(compared, pictures, labels, options.device)
            print(name, report, sep="\n", flush=True)
            results[name] = {
                "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
                "gflop_per_patch": gflop(network, size),
                "stages": [{**stage, "seconds": round(stage["seconds"], 4)} for stage in report.to_dict()["stages"]],
                "share_of_all_patches": {variant: round(report.ratio(variant), 4) for variant in report.variants},
            }
    device = torch.cuda.get_device_name() if options.device != "cpu" else "cpu, 1 thread"
    name = "bench_large_models" if options.device == "cpu" else "bench_large_models_cuda"
    write_results(
        name,
        {"device": device, "torch": torch.__version__, "n_pictures": len(pictures), "n_patches": n_patches, **results},
        options.out,
    )


if __name__ == "__main__":
    main()
