"""A checkpoint folder comes back as it was, or is refused by name."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from nomina.anatomy.schemes import load_scheme
from nomina.assessment.calibration import Logistic, VerdictCalibration
from nomina.config import to_plain
from nomina.errors import CheckpointError, OutputError
from nomina.inference.segmenter import Segmenter
from nomina.language.bank import PromptBank
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.vessel_prompts import VESSELS, all_vessel_sentences
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import Network, NetworkConfig, build_network
from nomina.networks.checkpoint import CheckpointConfig, load_checkpoint, save_checkpoint, store_calibration
from nomina.networks.contract import HEADER, check_contract, recorded_digest
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import LACAF, LACAFConfig
from nomina.networks.plain import PlainConfig
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.swin_unetr import SwinUNETRConfig

SMALL = ResidualUNetConfig(stage_channels=(8, 16), stage_blocks=(1, 1))
ATM = ATMNetConfig(backbone=SMALL, fusion_width=16, contrast_width=8, num_slices=1)
SWIN = ATMNetConfig(
    backbone=SwinUNETRConfig(feature_size=12), fusion_width=16, contrast_width=8, num_slices=1
)
PLAIN = PlainConfig(backbone=SMALL, num_slices=1)

Save = Callable[..., Network]


@pytest.fixture
def bank(make_bank: Callable[..., PromptBank], structures: tuple[str, ...]) -> PromptBank:
    return make_bank(structures)


@pytest.fixture
def save(bank: PromptBank, structures: tuple[str, ...]) -> Save:
    """Writes a checkpoint with random weights and returns the network."""

    def write(folder: Path, cfg: NetworkConfig = ATM, dtype: torch.dtype = torch.float32) -> Network:
        torch.manual_seed(0)
        network = build_network(cfg, structures, text_width=16).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        save_checkpoint(
            folder,
            weights=network.state_dict(),
            cfg=CheckpointConfig(network=cfg),
            structures=structures,
            bank=bank,
            run={"step": 7},
            dtype=dtype,
        )
        return network

    return write


@pytest.fixture
def folder(tmp_path: Path, save: Save) -> Path:
    save(tmp_path / "net")
    return tmp_path / "net"


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and make run.json agree, as somebody would who knows the format."""
    (folder / name).write_bytes(content)
    run = json.loads((folder / "run.json").read_text())
    run["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "run.json").write_text(json.dumps(run))


@pytest.mark.parametrize("cfg", [ATM, PLAIN, SWIN], ids=["atm_net", "plain", "swin"])
def test_what_is_loaded_gives_the_same_logits(
    tmp_path: Path, save: Save, bank: PromptBank, structures: tuple[str, ...], cfg: NetworkConfig
) -> None:
    network = save(tmp_path / "net", cfg)
    checkpoint = load_checkpoint(tmp_path / "net")
    patch = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = network(patch, checkpoint.words())
        torch.testing.assert_close(checkpoint.network(patch, checkpoint.words()), expected)
    assert checkpoint.structures == structures
    assert checkpoint.config == CheckpointConfig(network=cfg)
    assert checkpoint.bank.digest == bank.digest
    assert checkpoint.name == "net"
    assert checkpoint.run["step"] == 7
    assert not checkpoint.network.training


def test_a_network_of_blocks_comes_back_with_its_own_words(tmp_path: Path) -> None:
    cfg = LACAFConfig(
        backbone=GenesisUNetConfig(stage_channels=(8, 16), norm="instance"),
        **{"wording": "nomina", "pooling": "attention", "fusion": "attention", "adapter_blend": 0.2},
        **{"width": 16, "num_heads": 4, "norm_groups": 4},
    )
    bank = build_bank(load_encoder("minilm"), all_vessel_sentences(VESSELS))
    torch.manual_seed(0)
    network = build_network(cfg, VESSELS, text_width=384).eval()
    save_checkpoint(
        tmp_path / "net",
        weights=network.state_dict(),
        cfg=CheckpointConfig(network=cfg, modality="CT"),
        structures=VESSELS,
        bank=bank,
        run={},
    )
    checkpoint = load_checkpoint(tmp_path / "net")
    assert isinstance(checkpoint.network, LACAF)
    assert checkpoint.config == CheckpointConfig(network=cfg, modality="CT")
    words = checkpoint.words(paraphrase=1)
    sentences = ["a chest CT that shows the pulmonary artery", "a chest CT that shows the pulmonary vein"]
    assert torch.equal(words.channel, torch.from_numpy(bank.vectors_for(sentences)))
    patch = torch.randn(1, 1, 8, 8, 4)
    with torch.no_grad():
        assert torch.equal(checkpoint.network(patch, words), network(patch, words))
    segmenter = Segmenter.load(tmp_path / "net", device="cpu")
    assert segmenter.resolve(["right pulmonary veins"]) == ("right pulmonary vein",)


def test_half_precision_storage_rounds_the_weights_only_to_float16(tmp_path: Path, save: Save) -> None:
    network = save(tmp_path / "net", dtype=torch.float16)
    loaded = load_checkpoint(tmp_path / "net").network.state_dict()
    for name, value in network.state_dict().items():
        assert loaded[name].dtype == value.dtype
        torch.testing.assert_close(loaded[name], value.half().to(value.dtype), rtol=0, atol=0)


def test_the_digest_names_weights_and_words(tmp_path: Path, save: Save, folder: Path) -> None:
    save(tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").digest == load_checkpoint(folder).digest
    save(tmp_path / "other", PLAIN)
    assert load_checkpoint(tmp_path / "other").digest != load_checkpoint(folder).digest


def test_saving_replaces_the_folder_as_a_whole(tmp_path: Path, save: Save, folder: Path) -> None:
    (folder / "stray").write_text("of an older version")
    save(folder, PLAIN)
    assert not (folder / "stray").exists()
    assert load_checkpoint(folder).config.network == PLAIN
    assert os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "structures.json", "bank.npz", "run.json"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "structures.json", "bank.npz"])
def test_an_altered_byte_is_found_and_the_file_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is not the file that run.json records"):
        load_checkpoint(folder)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that opens and cannot be read")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "structures.json", "bank.npz"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", ["not json", "[]", '{"files": 3}', "{}"])
def test_a_damaged_run_record_is_refused(folder: Path, content: str) -> None:
    (folder / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        load_checkpoint(folder)


def test_another_format_is_refused_with_both_numbers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"format": 99}
    rewrite(folder, "config.json", json.dumps(config).encode())
    with pytest.raises(
        CheckpointError, match=r"has format 99, this version of nomina reads 1.*by nomina of an"
    ):
        load_checkpoint(folder)


def test_an_unknown_setting_is_refused_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["network"]["num_heads"] = 3
    rewrite(folder, "config.json", json.dumps(config).encode())
    with pytest.raises(CheckpointError, match="num_heads"):
        load_checkpoint(folder)


def test_structures_of_another_number_do_not_fit_the_weights(folder: Path) -> None:
    forget_contract(folder)
    rewrite(folder, "structures.json", b'["L5 vertebra", "L4 vertebra"]')
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit the network"):
        load_checkpoint(folder)


def test_structures_with_other_names_have_no_words(folder: Path) -> None:
    others = ["L3 vertebra", "L2 vertebra", "spinal canal", "L3-L4 disc", "L2-L3 disc"]
    forget_contract(folder)
    rewrite(folder, "structures.json", json.dumps(others).encode())
    with pytest.raises(
        CheckpointError, match=r"bank.npz does not fit structures.json.*has no embedding of .*L3"
    ):
        load_checkpoint(folder)


def forget_contract(folder: Path) -> None:
    """Weights as older versions wrote them: without a header."""
    path = folder / "model.safetensors"
    rewrite(folder, path.name, serialise(load_file(path)))


@pytest.mark.parametrize("promised", ["[" * 100_000, "[1]", "7", "{"])
def test_a_contract_that_is_damaged_is_refused(promised: str) -> None:
    with pytest.raises(CheckpointError, match=r"the header of model\.safetensors cannot be read"):
        check_contract(Path("folder"), {HEADER: promised}, {})


def test_weights_without_a_contract_still_load(folder: Path) -> None:
    forget_contract(folder)
    assert load_checkpoint(folder).run["step"] == 7


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            ("preparation", "in_plane_spacing_mm"),
            0.75,
            r"preparation.in_plane_spacing_mm 0.6, but config.json says 0.75",
        ),
        (
            ("preparation", "clip_percentiles"),
            [1, 99],
            r"preparation.clip_percentiles \[0.5, 99.5\], but config.json",
        ),
        (("window_px",), 224, "window_px None, but config.json says 224"),
        (("scheme",), "mrspineseg", "scheme 'spider', but config.json says 'mrspineseg'"),
        (("modality",), "CT", "modality 'MR', but config.json says 'CT'"),
    ],
)
def test_a_config_of_another_checkpoint_is_refused_by_setting(
    folder: Path, setting: tuple[str, ...], value: object, message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    section = config
    for key in setting[:-1]:
        section = section[key]
    section[setting[-1]] = value
    rewrite(folder, "config.json", json.dumps(config).encode())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder": "clip"}, "text bank's encoder 'random', but bank.npz says 'clip'"),
        ({"revision": "abc"}, "text bank's revision None, but bank.npz says 'abc'"),
        ({"template_version": "0"}, "templates of version 0, this nomina speaks 1"),
    ],
)
def test_a_text_bank_of_another_encoder_is_refused_by_name(
    folder: Path, bank: PromptBank, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    other = PromptBank(bank.texts, bank.vectors, replace(bank.provenance, **changed))
    other.save(tmp_path / "other.npz")
    rewrite(folder, "bank.npz", (tmp_path / "other.npz").read_bytes())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_text_bank_with_other_vectors_is_refused_by_its_hash(
    folder: Path, bank: PromptBank, tmp_path: Path
) -> None:
    other = PromptBank(bank.texts, bank.vectors * 2, bank.provenance)
    other.save(tmp_path / "other.npz")
    rewrite(folder, "bank.npz", (tmp_path / "other.npz").read_bytes())
    with pytest.raises(CheckpointError, match=f"sha256 '{bank.digest}', but bank.npz says '{other.digest}'"):
        load_checkpoint(folder)


def test_structures_in_another_order_are_refused(folder: Path, structures: tuple[str, ...]) -> None:
    """Any order fits the weights' shapes; only one gives each mask its own name."""
    rewrite(folder, "structures.json", json.dumps(structures[::-1]).encode())
    with pytest.raises(CheckpointError, match=r"trained with structures .*but structures\.json says"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("structures_json", "config", "message"),
    [
        ('["left tail"]', {}, "names 'left tail', which this version of nomina does not know"),
        ('["L6 vertebra"]', {}, "'spider' of config.json has no value for 'L6 vertebra'"),
        ('["L5 vertebra"]', {"scheme": "mine"}, "names label scheme 'mine', known are airrc"),
    ],
)
def test_names_that_nomina_cannot_number_are_refused(
    folder: Path, structures_json: str, config: dict[str, str], message: str
) -> None:
    plain = json.loads((folder / "config.json").read_text())
    rewrite(folder, "config.json", json.dumps(plain | config).encode())
    rewrite(folder, "structures.json", structures_json.encode())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_label_scheme_of_another_version_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = replace(load_scheme("spider"), version="2")
    monkeypatch.setattr("nomina.networks.contract.load_scheme", lambda name: newer)
    with pytest.raises(CheckpointError, match=r"trained on version 1 of its label scheme.*has version 2"):
        load_checkpoint(folder)


def test_the_digest_can_be_read_without_loading(folder: Path, tmp_path: Path) -> None:
    assert recorded_digest(folder) == load_checkpoint(folder).digest
    assert recorded_digest(tmp_path) is None


def test_a_damaged_record_claims_no_digest(tmp_path: Path, spoil_json: Callable[[Path], None]) -> None:
    spoil_json(tmp_path / "run.json")
    assert recorded_digest(tmp_path) is None


def test_a_folder_that_is_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint folder"):
        load_checkpoint(tmp_path / "nowhere")


def calibration_of(folder: Path) -> VerdictCalibration:
    return VerdictCalibration(
        found=Logistic(intercept=0.25, weights={"probability": 1.125, "level": 0.5}),
        missing=Logistic(intercept=1.0, weights={"unseen": 0.5, "level": 0.25, "distance": 1.0}),
        weights_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        fitted_on="made up",
    )


def test_a_verdict_calibration_comes_back_and_leaves_the_weights_alone(folder: Path) -> None:
    before, calibration = load_checkpoint(folder), calibration_of(folder)
    (folder / "MODEL_CARD.md").write_text("kept")
    assert before.config.verdicts is None
    store_calibration(folder, calibration)
    after = load_checkpoint(folder)
    assert after.config == replace(before.config, verdicts=calibration)
    assert calibration_of(folder) == calibration
    assert after.digest != before.digest
    assert {**after.run, "files": None} == {**before.run, "files": None}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["net"]
    assert (folder / "MODEL_CARD.md").read_text() == "kept"


def test_a_verdict_calibration_of_other_weights_is_refused(folder: Path) -> None:
    other = replace(calibration_of(folder), weights_sha256="12" * 32)
    with pytest.raises(CheckpointError, match=r"fitted for weights 121212121212…, model.safetensors is"):
        store_calibration(folder, other)
    plain = json.loads((folder / "config.json").read_text()) | {"verdicts": to_plain(other)}
    rewrite(folder, "config.json", json.dumps(plain).encode())
    with pytest.raises(CheckpointError, match="fit it again"):
        load_checkpoint(folder)


def test_a_calibration_of_verdicts_on_something_else_is_refused(folder: Path) -> None:
    other = replace(
        calibration_of(folder),
        subject="vessels",
        found=Logistic(intercept=0.0, weights={"probability": 1.0, "lungs": 0.5}),
        missing=Logistic(intercept=0.0, weights={"no_lung_tissue": 1.0, "no_vessels": 0.5}),
    )
    with pytest.raises(CheckpointError, match="gives verdicts on spine, the calibration is of verdicts on v"):
        store_calibration(folder, other)
    plain = json.loads((folder / "config.json").read_text()) | {"verdicts": to_plain(other)}
    rewrite(folder, "config.json", json.dumps(plain).encode())
    with pytest.raises(CheckpointError, match="fit it on this checkpoint's own"):
        load_checkpoint(folder)


def test_a_config_from_before_calibrations_still_loads(folder: Path) -> None:
    plain = json.loads((folder / "config.json").read_text())
    del plain["verdicts"]
    rewrite(folder, "config.json", json.dumps(plain).encode())
    assert load_checkpoint(folder).config.verdicts is None


def test_weights_that_are_saved_anew_lose_the_calibration(
    folder: Path, bank: PromptBank, structures: tuple[str, ...]
) -> None:
    store_calibration(folder, calibration_of(folder))
    old = load_checkpoint(folder)
    save_checkpoint(
        folder,
        weights=old.network.state_dict(),
        cfg=old.config,
        structures=structures,
        bank=bank,
        run={},
        dtype=torch.float16,
    )
    assert load_checkpoint(folder).config == replace(old.config, verdicts=None)


class _Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.safetensors", "bank.npz"])
def test_loading_executes_no_code(folder: Path, tmp_path: Path, name: str) -> None:
    trap = tmp_path / "executed"
    if name == "bank.npz":
        with (tmp_path / "bomb.npz").open("wb") as file:
            bomb = np.array([_Bomb(trap)], dtype=object)
            np.savez(file, header=bomb, vectors=bomb)
        content = (tmp_path / "bomb.npz").read_bytes()
    else:
        content = pickle.dumps({"weight": _Bomb(trap)})
    rewrite(folder, name, content)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not trap.exists()


def test_an_unwritable_place_is_said(tmp_path: Path, save: Save) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save(tmp_path / "file" / "net")
