"""Small labelled scans as files, in the layouts of the datasets and as prepared datasets."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.volume import LabelMap, Volume
from nomina.language.bank import PromptBank, Provenance
from nomina.language.prompts import TEMPLATE_VERSION, all_sentences
from nomina.learning import fit as fit_module
from nomina.learning.prepare_case import prepare_case
from nomina.learning.prepared import (
    PrepareConfig,
    PreparedDataset,
    PreparedEntry,
    chest_config,
    open_prepared,
    write_array,
    write_index,
)
from nomina.learning.recipe import BlockRecipe, DataSource, Recipe, TrainConfig, WordsConfig
from nomina.learning.sampling import SamplingConfig
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.residual_unet import ResidualUNetConfig

WriteImage = Callable[..., None]
Arrays = tuple[np.ndarray, np.ndarray]

STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors: one thread is faster, and sums are taken in one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_prepared() -> Callable[..., PreparedDataset]:
    """Writes scans and class indices (axes R, A, S) as a prepared dataset of a short spine."""

    def make(
        folder: Path,
        cases: Mapping[str, Arrays],
        spacing_mm: float = 1.0,
        dataset: str = "boxes",
        annotated: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> PreparedDataset:
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for case_id, (image, labels) in cases.items():
            write_array(folder, case_id, "image", image.astype(np.float16))
            write_array(folder, case_id, "labels", labels.astype(np.uint8))
            affine = np.diag([4.0, spacing_mm, spacing_mm, 1.0])
            counts = {name: int((labels == n).sum()) for n, name in enumerate(STRUCTURES, start=1)}
            entries.append(
                PreparedEntry(
                    folder=folder,
                    id=case_id,
                    patient=case_id.split("_")[0],
                    dataset=dataset,
                    shape=image.shape,
                    affine=tuple(map(tuple, affine.tolist())),
                    spacing_mm=(4.0, spacing_mm, spacing_mm),
                    voxel_counts=counts,
                    num_ignored_voxels=int((labels == 255).sum()),
                    sequence="T2",
                    annotated=annotated.get(case_id),
                )
            )
        preparation = ImagePreparation(in_plane_spacing_mm=spacing_mm)
        config = PrepareConfig(structures=STRUCTURES, image=preparation)
        write_index(PreparedDataset(folder, config, tuple(entries), is_complete=True))
        return open_prepared(folder)

    return make


@pytest.fixture(scope="session")
def short_spine() -> Callable[..., Arrays]:
    """Scan and class indices of two vertebrae over two discs before a canal; `shift` moves it up."""

    def make(seed: int = 0, size: tuple[int, int, int] = (3, 32, 40), shift: int = 0) -> Arrays:
        labels = np.zeros(size, dtype=np.uint8)
        labels[:, 6:10, 2:-2] = 3
        for level, (disc, vertebra) in enumerate(((4, 1), (5, 2))):
            bottom = 4 + 14 * level + shift
            labels[:, 12:24, bottom : bottom + 4] = disc
            labels[:, 12:24, bottom + 4 : bottom + 14] = vertebra
        look = np.array([-1.0, 0.5, 0.5, 1.5, 0.0, 0.0])
        noise = np.random.default_rng(seed).normal(0, 0.1, size)
        scan = look[labels] + noise
        return ((scan - scan.mean()) / scan.std()).astype(np.float32), labels

    return make


@pytest.fixture(scope="session")
def write_image() -> WriteImage:
    """Writes an array with axes R, A, S to any format SimpleITK knows."""

    def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] = (4.0, 0.8, 0.7)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
        image.SetSpacing(spacing_mm)
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS axes in SimpleITK's LPS world
        image.SetOrigin((11.0, -23.0, 5.5))
        SimpleITK.WriteImage(image, str(path))

    return write


@pytest.fixture(scope="session")
def spine() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Scan and SPIDER labels of a stack of boxes: vertebrae 1 to 3, 104, discs 201 to 203 and the canal."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = np.zeros((5, 48, 96), dtype=np.uint16)
        labels[1:4, 8:16, 4:92] = 100
        for n in (1, 2, 3):
            bottom = 6 + (n - 1) * 26
            labels[:, 18:38, bottom : bottom + 6] = 200 + n
            labels[:, 18:38, bottom + 6 : bottom + 26] = n
        labels[:, 18:38, 86:] = 104
        scan = rng.normal(100, 10, labels.shape) + 5 * (labels % 100)
        return scan.clip(0).astype(np.uint16), labels

    return make


@pytest.fixture(scope="session")
def write_table() -> Callable[[Path, int], str]:
    """Writes random vectors of every sentence about the short spine; returns the encoder's name."""

    def write(path: Path, seed: int) -> str:
        texts = all_sentences(STRUCTURES)
        vectors = np.random.default_rng(seed).normal(size=(len(texts), 16))
        provenance = Provenance(
            encoder=f"random-{seed}",
            source="none",
            revision=None,
            pooling="none",
            lower_case=None,
            normalised=False,
            width=16,
            licence="CC0-1.0",
            template_version=TEMPLATE_VERSION,
        )
        PromptBank(texts, vectors.astype(np.float32), provenance).save(path)
        return f"table:{path}"

    return write


@pytest.fixture
def tiny_recipe(
    tmp_path: Path,
    make_prepared: Callable[..., PreparedDataset],
    short_spine: Callable[..., Arrays],
    write_table: Callable[[Path, int], str],
) -> Recipe:
    """Five steps of a small ATM-Net on one patient, validated on another."""
    cases = {"p1_t1": short_spine(0), "p1_t2": short_spine(1, shift=4), "p2_t2": short_spine(2)}
    make_prepared(tmp_path / "boxes", cases)
    split = tmp_path / "split.json"
    split.write_text('{"train": ["p1"], "validation": ["p2"]}')
    backbone = ResidualUNetConfig(stage_channels=(8, 16), stage_blocks=(1, 1))
    return Recipe(
        name="tiny",
        data=(DataSource(folder=str(tmp_path / "boxes"), split=str(split)),),
        network=ATMNetConfig(backbone=backbone, fusion_width=16, contrast_width=8, num_slices=3),
        words=WordsConfig(encoder=write_table(tmp_path / "words.npz", 0)),
        sampling=SamplingConfig(patch_size=(32, 40)),
        train=TrainConfig(
            steps=5, batch_size=2, precision="fp32", validate_every=2, log_every=1, save_minutes=0.0
        ),
    )


@pytest.fixture
def spider_folder(
    tmp_path: Path, write_image: WriteImage, spine: Callable[[int], tuple[np.ndarray, ...]]
) -> Path:
    """Three scans of two patients in SPIDER's layout."""
    root = tmp_path / "spider"
    for seed, stem in enumerate(("1_t1", "1_t2", "2_t2_SPACE")):
        scan, labels = spine(seed)
        write_image(root / "images" / f"{stem}.mha", scan)
        write_image(root / "masks" / f"{stem}.mha", labels)
    return root


class Chest:
    """A CT of boxes at 10 mm with vessels on both sides, in any of the 48 axis orders."""

    shape = (34, 26, 30)
    """Along R, A, S; the world's origin is the middle."""
    scan: np.ndarray
    """Hounsfield units: spine behind, heart to the left, the base of the right lung higher."""
    vessels: np.ndarray
    """1 artery, 2 vein; the right side has a third more."""
    sided: np.ndarray
    """As LA-CAF numbers them: 1 left artery, 2 left vein, 3 right artery, 4 right vein."""
    names = MappingProxyType({1: "pulmonary artery", 2: "pulmonary vein"})
    orders = tuple(
        itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
    )
    """All ways to store three axes: their order, and which of them run backwards."""

    def __init__(self) -> None:
        self.scan = np.full(self.shape, -1000.0)
        self.scan[3:31, 3:23] = 40
        self.scan[5:15, 6:20, 4:26] = -850
        self.scan[19:29, 6:20, 7:26] = -850
        self.scan[16:18, 4:7] = 400
        self.scan[11:19, 13:20, 7:15] = 40
        self.vessels = np.zeros(self.shape, dtype=np.uint8)
        for first, last in ((7, 10), (22, 26)):
            self.vessels[first:last, 9:11, 10:20] = 1
            self.vessels[first:last, 12:14, 10:20] = 2
        self.sided = self.vessels.copy()
        self.sided[17:][self.vessels[17:] > 0] += 2

    @property
    def grid(self) -> Grid:
        affine = np.diag([10.0, 10.0, 10.0, 1.0])
        affine[:3, 3] = [-5 * (size - 1) for size in self.shape]
        return Grid(self.shape, affine)

    def stored(self, array: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
        """The same voxels at the same places in another axis order."""
        turned = array.transpose(order)[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
        affine = np.array(self.grid.affine)[:, [*order, 3]]
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += (turned.shape[axis] - 1) * affine[:3, axis]
                affine[:3, axis] *= -1
        return Volume(np.ascontiguousarray(turned), Grid(turned.shape, affine), modality="CT")

    def write(self, path: Path, image: Volume) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".mhd":
            SimpleITK.WriteImage(to_sitk(image.array.astype(np.int16), image.grid), str(path))
        else:
            array = image.array.astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(array, image.grid.affine), path)

    def label_map(self, array: np.ndarray, names: Mapping[int, str] | None = None) -> LabelMap:
        return LabelMap(array.astype(np.uint8), self.grid, names=names or self.names)

    @property
    def volume(self) -> Volume:
        return Volume(self.scan.astype(np.int16), self.grid, modality="CT")

    @staticmethod
    def x_mm(label_map: LabelMap, name: str) -> float:
        """World x of a structure's middle after canonicalisation; negative is the patient's left."""
        canonical = label_map.canonical()
        return float(canonical.grid.to_world(np.argwhere(canonical.mask(name)))[:, 0].mean())


@pytest.fixture(scope="session")
def chest() -> Chest:
    """A chest of boxes; do not change its arrays."""
    return Chest()


@pytest.fixture(scope="session")
def make_chests(
    box_chest: Callable[..., tuple[Volume, LabelMap]],
) -> Callable[..., PreparedDataset]:
    """Writes chests of boxes as a prepared dataset of 4 mm cubes; hidden structures become background."""

    def make(
        folder: Path,
        count: int,
        *,
        first: int = 0,
        annotated: tuple[str, ...] | None = None,
        has_sides: bool = True,
    ) -> PreparedDataset:
        folder.mkdir(parents=True, exist_ok=True)
        config = chest_config(CTPreparation(spacing_mm=4.0))
        entries = []
        for seed in range(first, first + count):
            volume, truth = box_chest(seed)
            if not has_sides:
                names = {value: name.split(" ", 1)[1] for value, name in truth.names.items()}
                truth = replace(truth, names=names)
            shown = tuple(dict.fromkeys(truth.names.values())) if annotated is None else annotated
            kept = [value for value, name in truth.names.items() if name in shown]
            truth = replace(truth, array=np.where(np.isin(truth.array, kept), truth.array, 0))
            prepared = prepare_case(volume, truth, config)
            assert prepared.halves is not None
            for kind in ("image", "labels", "halves"):
                write_array(folder, f"box{seed}", kind, getattr(prepared, kind))
            counts = np.bincount(prepared.labels.ravel(), minlength=256)
            entries.append(
                PreparedEntry(
                    folder=folder,
                    id=f"box{seed}",
                    patient=f"box{seed}",
                    dataset="boxes",
                    shape=prepared.grid.shape,
                    affine=tuple(map(tuple, prepared.grid.affine.tolist())),
                    spacing_mm=prepared.grid.spacing_mm,
                    voxel_counts={n: int(counts[i]) for i, n in enumerate(config.structures, start=1)},
                    num_ignored_voxels=int(counts[255]),
                    annotated=shown,
                )
            )
        write_index(PreparedDataset(folder, config, tuple(entries), is_complete=True))
        return open_prepared(folder)

    return make


class Killed(BaseException):
    """Stands for kill -9: nothing in the training loop can catch it."""


@pytest.fixture
def train_killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains a recipe into a folder until the step of a number is to be taken."""
    real_step = fit_module._train_step

    def train(recipe: Recipe | BlockRecipe, out: Path, *, at: int) -> None:
        def step_or_die(run: Any, network: Any, optimiser: Any, step: int) -> dict[str, float]:
            if step == at:
                raise Killed
            return real_step(run, network, optimiser, step)

        with monkeypatch.context() as patched:
            patched.setattr(fit_module, "_train_step", step_or_die)
            with pytest.raises(Killed):
                fit_module.fit(recipe, out, accelerator="cpu")

    return train


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
