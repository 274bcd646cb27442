"""The errors nomina raises on purpose.

    NominaError                 anything the user can put right; the command line prints it and exits 1
    ├── ConfigError             a recipe or setting is not valid                       (ValueError)
    ├── VolumeError             a file is not a readable 3D volume, or its header lies (ValueError)
    │   └── DicomError          a DICOM series is incomplete, mixed or unreadable
    ├── GridMismatchError       two arrays that must share a grid do not               (ValueError)
    ├── SchemeError             a label map contradicts its label scheme               (ValueError)
    ├── CaseError               a labelled case cannot be used for training            (ValueError)
    ├── PromptError             words that name no known structure                     (ValueError)
    ├── EncoderError            a text encoder is missing or unsuitable                (RuntimeError)
    ├── CheckpointError         a checkpoint folder is incomplete or altered           (RuntimeError)
    └── OutputError             a result cannot be written                             (OSError)

Messages say what is wrong (name and value), what was expected and what to do.
"""


class NominaError(Exception):
    """Root of every error that nomina raises on purpose."""


class ConfigError(NominaError, ValueError):
    """A recipe or a setting is not valid."""


class VolumeError(NominaError, ValueError):
    """A file is not a readable 3D volume, or its header contradicts itself."""

    code: str
    """Which fault it is, e.g. "truncated", for programs and for `nomina doctor`."""

    def __init__(self, message: str, *, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


class DicomError(VolumeError):
    """A DICOM series is incomplete, mixed or unreadable."""


class GridMismatchError(NominaError, ValueError):
    """Two arrays that must lie on the same grid do not."""


class SchemeError(NominaError, ValueError):
    """A label map contradicts the label scheme it claims."""


class CaseError(NominaError, ValueError):
    """A labelled case cannot be used."""


class PromptError(NominaError, ValueError):
    """Words that name no known structure."""


class EncoderError(NominaError, RuntimeError):
    """A text encoder is missing or does not fit."""


class CheckpointError(NominaError, RuntimeError):
    """A checkpoint folder is incomplete, altered or made for something else."""


class OutputError(NominaError, OSError):
    """A result cannot be written."""
