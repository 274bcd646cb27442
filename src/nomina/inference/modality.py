"""A scan of another modality than the model's is refused, before the network runs."""

from nomina.errors import VolumeError
from nomina.imaging.doctor_intensity import is_hounsfield, looks_like_offset_ct, sampled
from nomina.imaging.volume import Volume
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.shipped import shipped_of


def require_modality(checkpoint: Checkpoint, volume: Volume) -> None:
    """Refuse a scan that its header, or its grey values, show to be of another modality.

    Raises:
        VolumeError: It is.
    """
    trained, shown = checkpoint.config.modality, volume.modality
    said = f"the scan is {shown}"
    if shown is None and trained == "MR":
        sample = sampled(volume.array)
        if is_hounsfield(sample):
            shown, said = "CT", "the grey values of the scan are Hounsfield units of a CT"
        elif looks_like_offset_ct(sample):
            shown, said = (
                "CT",
                "the grey values of the scan are those of a CT, Hounsfield units plus about 1000 or 1024",
            )
    if shown is not None and shown != trained:
        others = " or ".join(shipped_of(shown))
        raise VolumeError(
            f"{said}, but checkpoint {checkpoint.name} was trained on "
            f"{trained}; use a {trained} scan or another checkpoint{f' ({others})' if others else ''}"
        )
