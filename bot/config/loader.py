"""Reads the settings from their sources: the environment, `.env` and `threadline.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bot.config import env_file
from bot.config import file as config_file
from bot.config.file import ConfigFile
from bot.config.presets import KEY_VARIABLES
from bot.config.problems import describe_problem, raise_any
from bot.config.settings import Settings
from bot.config.variables import Variables

# Settings in which ` #` does not start a comment.
PROSE = frozenset({"system_prompt"})


def load(environ: Mapping[str, str], dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings from `environ`, the file `dotenv`, and the `threadline.toml` beside it.

    Raises one SettingsError for all invalid settings. Problems in `threadline.toml` alone are kept
    in `Settings.file`; `bot.config.models.resolve` raises them.
    """
    variables = read_variables(environ, dotenv)
    file = read_file(variables, dotenv)
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        if value := variables.get(name.upper(), prose=name in PROSE):
            values[name] = value
    try:
        settings = Settings(**values)
    except ValidationError as error:
        secret = {name for name, field in Settings.model_fields.items() if _is_secret(field)}
        found = [describe_problem(each, values, secret) for each in error.errors()]
        raise_any([*found, *file.problems])
        raise
    settings._variables, settings._file = variables, file
    return settings


def read_variables(environ: Mapping[str, str], dotenv: Path | None) -> Variables:
    """Read the environment and the file `dotenv`."""
    file = env_file.read(dotenv) if dotenv is not None else {}
    filled = {name: value for name, value in file.items() if value.strip()}
    return Variables(environ, filled, dotenv)


def read_file(variables: Variables, dotenv: Path | None) -> ConfigFile:
    """Read the `threadline.toml` beside the file `dotenv`, or the file that THREADLINE_CONFIG
    names."""
    settings = Settings.model_fields
    if named := variables.get("THREADLINE_CONFIG"):
        return config_file.read(Path(named), required=True, settings=settings)
    if dotenv is None:
        return ConfigFile()
    path = dotenv.with_name(config_file.DEFAULT_NAME)
    return config_file.read(path, required=False, settings=settings)


def unknown_names(environ: Mapping[str, str], dotenv: Path | None = Path(".env")) -> dict[str, str]:
    """Unknown names that look like settings, each with the name that was probably meant."""
    variables = read_variables(environ, dotenv)
    known = [name.upper() for name in Settings.model_fields]
    known += sorted({*KEY_VARIABLES, *read_file(variables, dotenv).variables()} - {*known})
    file = env_file.read(dotenv) if dotenv is not None else {}
    return env_file.find_misspelled(known, file, environ)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)
