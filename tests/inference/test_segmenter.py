"""The segmenter's promises that hold for any weights: geometry, words, honesty, provenance."""

import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from nomina.anatomy.resolve import resolve_targets
from nomina.anatomy.structures import structure
from nomina.errors import CheckpointError, ConfigError, PromptError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference import slices as slices_module
from nomina.inference.block_plan import BlockMemoryPlan
from nomina.inference.parts import only_asked
from nomina.inference.segmenter import Segmenter
from nomina.language.facts import facts_from_label_map
from nomina.language.prompts import all_said, image_statements
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.plain import PlainConfig

Heard = tuple[dict[str, str], int, Segmentation]


@pytest.fixture(scope="module")
def segmenter(small_checkpoint: Path) -> Segmenter:
    return Segmenter.load(small_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def scan() -> Volume:
    array = np.random.default_rng(1).normal(size=(5, 40, 56)).astype(np.float32)
    affine = np.diag([4.0, 1.1, 0.9, 1.0])
    affine[:3, 3] = (-10, 20, 30)
    return Volume(array, Grid(array.shape, affine), modality="MR")


def test_the_label_map_lies_on_the_scan_and_holds_only_what_was_asked(
    segmenter: Segmenter, scan: Volume
) -> None:
    result = segmenter(scan, ["spinal canal", "L4-5 disk"])
    assert result.label_map.grid.matches(scan.grid)
    assert set(result.label_map.present()) <= {"spinal canal", "L4-L5 disc"}
    assert [verdict.structure for verdict in result.verdicts] == ["spinal canal", "L4-L5 disc"]
    assert result.label_map.names[structure("spinal canal").label] == "spinal canal"


def test_asking_for_less_gives_the_same_masks(segmenter: Segmenter, scan: Volume) -> None:
    everything = segmenter(scan, None).label_map
    canal = segmenter(scan, ["spinal canal"]).label_map
    np.testing.assert_array_equal(canal.array > 0, everything.mask("spinal canal"))
    assert everything.array.any()


@pytest.mark.parametrize(
    "prompts",
    [
        ["L4"],
        ["the disc below L4", "canal"],
        ["canal", "the disc below L4"],
        ["everything but the canal"],
        ["all vertebrae, not L4"],
        ["canal at the level of L4"],
    ],
    ids=", ".join,
)
def test_what_is_asked_alone_is_what_is_cut_from_everything(
    segmenter: Segmenter, scan: Volume, prompts: list[str]
) -> None:
    everything, alone = segmenter(scan, None), segmenter(scan, prompts)
    cut = only_asked(everything, resolve_targets(prompts, within=segmenter.checkpoint.structures))
    np.testing.assert_array_equal(alone.label_map.array, cut.label_map.array)
    assert alone.verdicts == cut.verdicts


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[::2])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_a_reoriented_scan_gives_the_same_masks_in_the_world(
    segmenter: Segmenter,
    scan: Volume,
    stored_as: Callable[..., Volume],
    order: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
) -> None:
    other = stored_as(scan, order, flips)
    straight = segmenter(scan, None).label_map
    turned = segmenter(other, None).label_map
    assert turned.grid.matches(other.grid)
    np.testing.assert_array_equal(turned.canonical().array, straight.canonical().array)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
    ids=["Python", "torch", "GPU"],
)
def test_memory_that_runs_out_is_said_with_what_to_do(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("nomina.inference.segmenter.segment_slices", run_out)
    with pytest.raises(
        VolumeError, match=r"memory ran out .* expected.*; free memory.*--max-memory"
    ) as found:
        segmenter(scan, ["L4 vertebra"])
    assert found.value.code == "no-memory"


def test_another_error_of_torch_is_not_called_a_lack_of_memory(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr("nomina.inference.segmenter.segment_slices", fail)
    with pytest.raises(RuntimeError, match="sizes differ"):
        segmenter(scan, ["L4 vertebra"])


def test_volumes_of_verdicts_are_those_of_the_masks(segmenter: Segmenter, scan: Volume) -> None:
    result = segmenter(scan, None)
    for verdict in result.verdicts:
        mask = result.label_map.mask(verdict.structure)
        if verdict.presence in ("present", "uncertain") and verdict.volume_ml:
            assert verdict.volume_ml == pytest.approx(mask.sum() * scan.grid.voxel_volume_ml, abs=1e-3)
        else:
            assert not mask.any()


def test_what_the_doctor_warns_of_is_kept_with_the_result(segmenter: Segmenter, scan: Volume) -> None:
    assert segmenter(scan, ["L4"]).provenance["findings"] == []
    lost = replace(scan, grid=Grid(scan.grid.shape, np.eye(4)), modality=None)
    note = "The header names no direction; axes were read as left, posterior, superior."
    provenance = segmenter(replace(lost, notes=(note, "Skipped 2 files.")), ["L4"]).provenance
    codes = [finding["code"] for finding in provenance["findings"]]
    assert codes == ["directions-unset", "default-spacing"]
    assert set(provenance["findings"][0]) == {"code", "severity", "sentence", "remedy"}
    # Said as a warning, so not said again as a note.
    assert "Skipped 2 files." in provenance["notes"]
    assert note not in provenance["notes"]


def test_a_fault_in_the_values_is_kept_too(segmenter: Segmenter, scan: Volume) -> None:
    array = scan.array.copy()
    array[2] = 0.0
    codes = [f["code"] for f in segmenter(replace(scan, array=array), ["L4"]).provenance["findings"]]
    assert codes == ["blank-slices"]


def test_nothing_in_the_call_could_carry_a_reference() -> None:
    assert list(inspect.signature(Segmenter.__call__).parameters) == [
        "self", "volume", "prompts", "mode", "progress", "plan", "regions",
    ]  # fmt: skip
    # Of regions only the lobes are used, to cut the mask when the network is done (test_segment_regions.py).
    # What a user declares has calls of its own: `told`, and `anchored`, which takes words alone.
    assert list(inspect.signature(Segmenter.anchored).parameters) == [
        "self", "volume", "prompts", "anchors", "mode", "progress", "plan",
    ]  # fmt: skip


def test_the_oracle_is_stamped_and_says_the_reference(segmenter: Segmenter, scan: Volume) -> None:
    value = structure("L4 vertebra").label
    array = np.zeros(scan.array.shape, dtype=np.uint8)
    array[1:4, 10:20, 10:30] = value
    reference = LabelMap(array, scan.grid, names={value: "L4 vertebra"}, scheme="nomina")
    oracle = segmenter.oracle(scan, None, reference)
    assert oracle.provenance["mode"] == "oracle"
    noise = np.random.default_rng(0).permutation(array.ravel()).reshape(array.shape)
    same_facts = segmenter.oracle(scan, None, LabelMap(noise, scan.grid, names=reference.names))
    # Only facts are heard: neither place nor shape of the reference reaches the network.
    np.testing.assert_array_equal(same_facts.label_map.array, oracle.label_map.array)


def test_constant_and_predicted_words_are_both_served_and_recorded(
    segmenter: Segmenter, scan: Volume
) -> None:
    constant = segmenter(scan, None, mode="constant")
    predicted = segmenter(scan, None, mode="predicted")
    assert constant.provenance["mode"] == "constant"
    assert predicted.provenance["encoder"]["encoder"] == "minilm"
    # The two wordings must reach the logits.
    words = segmenter.checkpoint.words()
    patch = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        said = segmenter.checkpoint.network(patch, words.predicted())
        unsaid = segmenter.checkpoint.network(patch, words.constant(1))
    assert not torch.allclose(said, unsaid)


def heard(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, run: Callable[[], Segmentation]) -> Heard:
    """Which sentences the network was made to hear in the last pass, by statement, and the masks."""
    passes = []
    real = slices_module.predict_slices

    def listen(network, image, words, **options):
        passes.append(words)
        return real(network, image, words, **options)

    with monkeypatch.context() as patched:
        patched.setattr(slices_module, "predict_slices", listen)
        result = run()
    last, statements = passes[-1], image_statements(segmenter.checkpoint.structures)
    stated = torch.ones(1, len(statements), dtype=torch.bool) if last.stated is None else last.stated
    said = {
        statement.name: statement.options[int(weights[0].argmax())]
        for statement, weights, is_said in zip(statements, last.weights, stated[0], strict=True)
        if is_said and weights[0].max() == 1
    }
    return said, len(passes), result


def test_the_header_alone_says_the_weighting_and_nothing_else(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted = replace(scan, sequence="T1")
    said, _, result = heard(segmenter, monkeypatch, lambda: segmenter(weighted, None, mode="header"))
    assert said == {"sequence": "T1"}
    assert result.provenance["mode"] == "header"
    unknown, _, silent = heard(segmenter, monkeypatch, lambda: segmenter(scan, None, mode="header"))
    assert unknown == {}
    constant = segmenter(scan, None, mode="constant")
    np.testing.assert_array_equal(silent.label_map.array, constant.label_map.array)


def test_the_self_prompt_says_what_the_first_pass_found(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segmenter(scan, None, mode="constant").label_map
    expected = all_said(facts_from_label_map(first))
    said, num_passes, result = heard(segmenter, monkeypatch, lambda: segmenter(scan, ["L4"], mode="self"))
    assert num_passes == 2
    assert said == expected
    assert result.provenance["mode"] == "self"
    assert [verdict.structure for verdict in result.verdicts] == ["L4 vertebra"]


def test_what_a_user_declares_is_heard_as_it_is_and_alone(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"lowest_vertebra": "L4 vertebra"}
    said, _, result = heard(segmenter, monkeypatch, lambda: segmenter.told(scan, None, declared))
    assert (said, result.provenance["mode"]) == (declared, "user")
    assert segmenter.told(scan, "L4 vertebra", declared).prompts == ("L4 vertebra",)
    wrong = segmenter.told(scan, None, {"lowest_vertebra": "L5 vertebra"}, teller="shifted")
    assert wrong.provenance["mode"] == "shifted"
    # A wrong word must be able to do harm: it reaches the masks.
    assert (wrong.label_map.array != result.label_map.array).any()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lowest_vertebra": "L5"}, r"lowest_vertebra.*'L5'.*expected one of L5 vertebra, L4 vertebra"),
        ({"sacrum": "visible"}, r"cannot be told about sacrum.*lowest_vertebra"),
        ({"lowest": "L5 vertebra"}, "no statement about 'lowest'"),
        ({}, "nothing was told"),
    ],
)
def test_what_a_user_declares_in_vain_is_refused_with_the_options(
    segmenter: Segmenter, scan: Volume, said: dict[str, str], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        segmenter.told(scan, None, said)


def test_facts_of_a_reference_that_the_model_cannot_say_are_passed_over(
    segmenter: Segmenter, scan: Volume
) -> None:
    said = {"lowest_vertebra": "L3 vertebra", "sacrum": "visible"}
    result = segmenter.told(scan, None, said, teller="oracle")
    assert result.provenance["mode"] == "oracle"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mode", ["constnat", "oracle", "class prompts", ""])
def test_an_unknown_mode_is_refused_with_the_known_ones(
    segmenter: Segmenter, scan: Volume, mode: Any
) -> None:
    known = "predicted, constant, self, header"
    with pytest.raises(ConfigError, match=f"mode must be one of {known} .*'{mode}'"):
        segmenter(scan, None, mode=mode)
    with pytest.raises(ConfigError, match=known):
        segmenter.anchored(scan, None, ["lowest disc is L5/S1"], mode=mode)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_teller_is_refused(segmenter: Segmenter, scan: Volume) -> None:
    with pytest.raises(ConfigError, match=r"teller must be one of user, simulated user.*'constant'"):
        segmenter.told(scan, None, {"lowest_vertebra": "L5 vertebra"}, teller=cast(Any, "constant"))


def test_a_plan_for_a_network_of_blocks_is_refused(segmenter: Segmenter, scan: Volume) -> None:
    foreign = BlockMemoryPlan.__new__(BlockMemoryPlan)
    with pytest.raises(ConfigError, match=r"BlockMemoryPlan.*Segmenter\.plan"):
        segmenter(scan, None, plan=foreign)
    with pytest.raises(ConfigError, match="BlockMemoryPlan"):
        segmenter.anchored(scan, None, ["lowest disc is L5/S1"], plan=foreign)


def test_a_network_without_words_hears_none_whatever_older_run_cards_say(
    segmenter: Segmenter, scan: Volume
) -> None:
    checkpoint, network = segmenter.checkpoint, segmenter.checkpoint.config.network
    assert isinstance(network, ATMNetConfig)
    config = PlainConfig(backbone=network.backbone, num_slices=network.num_slices)
    plain = build_network(config, checkpoint.structures, text_width=checkpoint.bank.vectors.shape[1]).eval()
    silent = Segmenter(replace(checkpoint, network=plain, config=replace(checkpoint.config, network=config)))
    assert silent(scan, None).provenance["mode"] == "none"
    assert silent(scan, None, mode="predicted").provenance["mode"] == "none"
    with pytest.raises(ConfigError, match=r"mode must be one of none .*'constant'"):
        silent(scan, None, mode="constant")


def test_the_same_scan_gives_the_same_bits(segmenter: Segmenter, scan: Volume) -> None:
    first, second = segmenter(scan, None), segmenter(scan, None)
    np.testing.assert_array_equal(first.label_map.array, second.label_map.array)
    assert first.verdicts == second.verdicts


def test_progress_rises_to_nearly_one(segmenter: Segmenter, scan: Volume) -> None:
    seen: list[float] = []
    segmenter(scan, None, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.95)


def test_unknown_words_are_refused_before_the_scan_is_looked_at(segmenter: Segmenter, scan: Volume) -> None:
    with pytest.raises(PromptError, match="C3"):
        segmenter(scan, ["C3 vertebra"])
    with pytest.raises(PromptError):
        segmenter(scan, [])


def test_a_ct_without_a_header_that_says_so_is_no_mr(segmenter: Segmenter, scan: Volume) -> None:
    hu = np.where(scan.array > np.median(scan.array), 40, -1000).astype(np.int16)
    with pytest.raises(VolumeError, match=r"Hounsfield units of a CT, but checkpoint .* was trained on MR"):
        segmenter(replace(scan, array=hu, modality=None), None)


def test_a_ct_without_its_offset_is_no_mr(segmenter: Segmenter, scan: Volume) -> None:
    noise = np.random.default_rng(0).normal(0, 20, scan.array.shape)
    stored = np.where(scan.array > np.median(scan.array), 1060, 10) + noise
    stored[np.random.default_rng(1).random(stored.shape) < 0.05] = 1700
    with pytest.raises(VolumeError, match=r"Hounsfield units plus about 1000 or 1024, but checkpoint"):
        segmenter(replace(scan, array=stored.astype(np.int16), modality=None), None)


def test_another_modality_is_refused(segmenter: Segmenter, scan: Volume) -> None:
    with pytest.raises(VolumeError, match="CT"):
        segmenter(replace(scan, modality="CT"), None)


def test_a_scan_that_the_model_cannot_read_is_refused_before_the_network_runs(
    segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomina.inference.segmenter.forward_bytes", lambda checkpoint: pytest.fail("it ran"))
    fresh = Segmenter(segmenter.checkpoint)
    hu = np.where(scan.array > np.median(scan.array), 40, -1000).astype(np.int16)
    axial = Grid(hu.shape, np.diag([1.0, 1.0, 5.0, 1.0]))
    ct = replace(scan, array=hu, grid=axial, modality=None)
    for work in (fresh, fresh.plan):
        with pytest.raises(VolumeError, match="trained on MR"):
            work(ct, None)
        with pytest.raises(VolumeError, match="axial"):
            work(replace(scan, grid=axial), None)


def test_an_axial_scan_is_refused(segmenter: Segmenter) -> None:
    array = np.random.default_rng(0).normal(size=(40, 40, 6)).astype(np.float32)
    with pytest.raises(VolumeError, match="axial"):
        segmenter(Volume(array, Grid(array.shape, np.diag([1.0, 1.0, 5.0, 1.0]))), None)


def test_a_scan_of_one_value_is_refused(segmenter: Segmenter, scan: Volume) -> None:
    with pytest.raises(VolumeError, match="contrast"):
        segmenter(replace(scan, array=np.ones_like(scan.array)), None)


def test_a_scan_whose_rows_hold_one_value_each_is_refused(segmenter: Segmenter, scan: Volume) -> None:
    steps = np.broadcast_to(np.arange(scan.grid.shape[2], dtype=np.float32), scan.grid.shape)
    with pytest.raises(VolumeError, match="every axial row holds one value"):
        segmenter(replace(scan, array=steps.copy()), None)


def test_a_gpu_that_is_not_there_is_refused(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU"):
        Segmenter.load(small_checkpoint, device="cuda")


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match="nonesuch"):
        Segmenter.load("nonesuch")


@pytest.mark.parametrize("device", ["abacus", "mps:x", "meta"])
def test_a_device_of_another_kind_is_refused(small_checkpoint: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="device must be auto, cpu, cuda"):
        Segmenter.load(small_checkpoint, device=device)


def test_one_phrase_may_stand_alone(segmenter: Segmenter, scan: Volume) -> None:
    assert segmenter(scan, "L4 vertebra").prompts == ("L4 vertebra",)


def test_narrow_integers_do_not_hide_the_content(segmenter: Segmenter, scan: Volume) -> None:
    """The range of these values overflows in their own type."""
    low, high = float(scan.array.min()), float(scan.array.max())
    narrow = ((scan.array - low) / (high - low) * 255 - 128).astype(np.int8)
    wide = narrow.astype(np.int16)
    assert segmenter(replace(scan, array=narrow), None).verdicts == (
        segmenter(replace(scan, array=wide), None).verdicts
    )
