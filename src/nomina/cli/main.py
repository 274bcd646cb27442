"""`nomina`: the command line's frame; a command is imported from the file of its name when it runs."""

import importlib
import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nomina.errors import NominaError

COMMANDS = {
    "segment": "Segment what the words name, in one scan or many.",
    "replay": "Make a label map again from its run card, and say what differs.",
    "demo": "Segment a phantom with known truth, or any scan, and draw a picture.",
    "doctor": "Say in words what is wrong with a scan, before anyone trusts a mask made from it.",
    "prompt": "Show what a phrase names: its expression, structures with SNOMED CT codes, and label values.",
    "labels": "Label schemes: show them, convert label maps, check that a label map follows one.",
    "relevel": "Renumber the vertebrae and discs of a label map by what is known of one or more; masks stay.",
    "vote": "Give every branch of lung arteries and veins one class, by vote; say what changed.",
    "evaluate": "Score predicted label maps against references: overlap, distances, level names, label-free.",
    "measure": "Measure a label map: heights, angles and canal of a spine, volumes, blood in lung vessels.",
    "prepare": "Bring labelled scans, or phantoms, to the form that training reads.",
    "phantom": "Write spine or chest phantoms with known truth.",
    "train": "Train a network as a recipe says.",
    "bench": "Train and measure a grid of networks and inference modes, and make one table.",
}
"""Commands and what they do, in the order of `nomina --help`; a test compares with the commands' words."""

USER_ERROR = 1
"""Exit code when the user can put it right; wrong usage exits 2, Ctrl-C 130."""

INTERRUPTED = 130


class _LazyGroup(TyperGroup):
    """Knows names and summaries of the commands; imports a command when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> Any:
    """The command in `nomina.cli.<name>`: the function of that name, or `app` with commands of its own."""
    module = importlib.import_module(f"nomina.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    single = typer.Typer(add_completion=False)
    single.command(name)(getattr(module, name))
    return typer.main.get_command(single)


def _with_hyphens(token: str) -> str:
    """`--skip_existing` means `--skip-existing`."""
    return token.replace("_", "-")


# A traceback with local variables could show patient data.
app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_hyphens},
)
for _name, _summary in COMMANDS.items():
    app.command(_name, help=_summary)(lambda: None)


def _show_version(is_asked: bool | None) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"nomina {version('nomina')}")
        raise typer.Exit


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Name the anatomy, get the mask: 3D medical image segmentation from words. Research use only."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=verbose, show_path=False)
    logging.basicConfig(format="%(message)s", handlers=[handler])
    logging.getLogger("nomina").setLevel(logging.DEBUG if verbose else logging.WARNING)


def main() -> None:
    """Entry point of `nomina`: errors that the user can put right are one message on stderr."""
    try:
        app(prog_name="nomina")
    except NominaError as error:
        typer.secho(f"nomina: {error}", err=True, fg=typer.colors.RED)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
