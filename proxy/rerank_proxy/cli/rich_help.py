"""The help of a command on a terminal."""

from collections.abc import Mapping, Sequence

import click
from rich_click import RichCommand, RichContext, RichGroup, RichHelpConfiguration

_MAX_WIDTH = 120
_FEW = 1
"""Groups of a command without settings."""


def rich_help(
    command: click.Command,
    ctx: click.Context,
    groups: Mapping[str, Sequence[click.Parameter]],
    others: Sequence[click.Parameter],
    after: str,
) -> str:
    """Return the help of a command with colours, in panels of its groups of options.

    Args:
        groups: The options of each.
        others: Options that are in no group, which get a panel of their own.
        after: What follows, as it is.
    """
    config = RichHelpConfiguration(
        theme="default-slim",
        enable_theme_env_var=False,
        max_width=_MAX_WIDTH,
        text_markup=None,
        option_groups={
            ctx.command_path: [
                {"name": group, "options": [each.opts[-1] for each in options]}
                for group, options in groups.items()
            ]
        },
    )
    if len(groups) > _FEW:  # of settings, whose values are named as their options, which take the width
        config.options_table_column_types = ["required", "opt_short", "opt_long", "help"]
    settings = {**command.context_settings, "rich_help_config": config}
    rich: RichCommand
    if isinstance(command, click.Group):
        rich = RichGroup(name=command.name, commands=command.commands, context_settings=settings)
    else:
        rich = RichCommand(name=command.name, context_settings=settings)
    shown = {each for options in (*groups.values(), others) for each in options}
    rich.params, rich.help = [each for each in command.params if each in shown], command.help
    rich_ctx = RichContext(rich, info_name=ctx.info_name, parent=ctx.parent, **settings)
    return f"{rich.get_help(rich_ctx).rstrip()}\n{after}"
