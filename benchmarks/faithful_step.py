"""One forward pass and one optimiser step of the `faithful` preset at full size, on synthetic slices.

python benchmarks/faithful_step.py [--batch-size 1]

Swin UNETR at feature size 48 on 512 × 512 pixels with 768-wide prompt vectors (Bio-ClinicalBERT's width,
random values: time does not depend on them).
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from nomina.config import load_config
from nomina.language.bank import PromptBank, Provenance
from nomina.language.prompts import all_sentences
from nomina.learning.losses import objective
from nomina.learning.prepared import STRUCTURE_PRESETS
from nomina.learning.recipe import Recipe
from nomina.networks.build import build_network
from nomina.networks.words import encode_prompts

WIDTH = 768


def main() -> None:
    """Measure and print one table row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=1)
    batch_size = parser.parse_args().batch_size
    recipe = load_config(Recipe, Path(__file__).parents[1] / "recipes" / "atm_net_spider.yaml")
    structures = STRUCTURE_PRESETS["spider18"]
    words = encode_prompts(random_bank(structures), structures)
    network = build_network(recipe.network, structures, text_width=WIDTH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.train.learning_rate)
    size = recipe.sampling.patch_size
    patch = torch.randn(batch_size, recipe.network.num_slices, *size)
    target = torch.randint(len(structures) + 1, (batch_size, *size))
    choices = torch.zeros(batch_size, len(words.statements), dtype=torch.long)
    visible = torch.ones(batch_size, len(structures), dtype=torch.bool)

    start = time.perf_counter()
    with torch.inference_mode():
        network.eval()(patch, words.predicted())
    forward_s = time.perf_counter() - start

    network.train()
    start = time.perf_counter()
    output = network.parts(patch, words.predicted(), target)
    parts = objective(output, target, choices, visible, recipe.losses, progress=1.0)
    torch.stack(list(parts.values())).sum().backward()
    optimiser.step()
    step_s = time.perf_counter() - start

    millions = sum(p.numel() for p in network.parameters()) / 1e6
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print("| parameters M | batch | patch | forward s | optimiser step s | peak memory GB | losses |")
    print("|---|---|---|---|---|---|---|")
    losses = ", ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
    print(
        f"| {millions:.1f} | {batch_size} | {size[0]}×{size[1]} | {forward_s:.1f} | {step_s:.1f} "
        f"| {peak_gb:.1f} | {losses} |"
    )


def random_bank(structures: tuple[str, ...]) -> PromptBank:
    """A bank of the right sentences with random vectors."""
    texts = all_sentences(structures)
    vectors = np.random.default_rng(0).normal(size=(len(texts), WIDTH)).astype(np.float32)
    provenance = Provenance(
        encoder="random", source="none", revision=None, pooling="none", lower_case=None, normalised=False,
        width=WIDTH, licence="CC0-1.0",
    )  # fmt: skip
    return PromptBank(texts, vectors, provenance)


if __name__ == "__main__":
    main()
