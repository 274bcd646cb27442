"""Options that commands of different kinds have in common, and checks that make a wrong value wrong usage."""

import re
from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer


def known_device(value: str) -> str:
    """A device's name, as typer's callback; whether it is there is seen when it is used."""
    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", value):
        raise typer.BadParameter(f"a device is auto, cpu, cuda or cuda:N, got {value!r}")
    return value


Given = TypeVar("Given", str | None, list[str] | None)


def known_scheme(value: Given) -> Given:
    """Names of label schemes or .yaml files of them, as typer's callback; a file is read when it is used."""
    from nomina.anatomy.schemes import require_scheme
    from nomina.errors import SchemeError

    names: Sequence[str] = [value] if isinstance(value, str) else value or []
    try:
        for name in names:
            require_scheme(name)
    except SchemeError as error:
        raise typer.BadParameter(str(error)) from error
    return value


def known_policy(value: str) -> str:
    """An empty-mask policy, as typer's callback."""
    from nomina.assessment.metrics.empty_masks import check_policy
    from nomina.errors import ConfigError

    try:
        return check_policy(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def known_size(value: str | None) -> str | None:
    """A size of memory, as typer's callback."""
    from nomina.errors import ConfigError
    from nomina.inference.plan import parse_size

    try:
        if value is not None:
            parse_size(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
TableAsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Device = Annotated[
    str,
    typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.", callback=known_device),
]
