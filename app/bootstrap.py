"""Make `.venv`, install the locked requirements, and go on inside it. Standard library only.

A stamp in `.venv` says what is installed there, so that the next start costs milliseconds. It is written last and
removed before anything changes: an install that was interrupted leaves none, and the next start begins afresh.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
UV_REQUIREMENTS = Path(__file__).with_name("bootstrap_uv.txt")
RUNTIME = "requirements.txt"
DEVELOPMENT = "requirements-dev.txt"
DEVELOPMENT_COMMANDS = frozenset({"test"})
STAMP = "automateos.json"
LINES_SHOWN = 15

Install = Callable[[Path, Path], None]


class SetupError(Exception):
    """The environment cannot be made; the message is one sentence for the user."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the command line inside `.venv`, which is made first if need be."""
    chosen = DEVELOPMENT if arguments and arguments[0] in DEVELOPMENT_COMMANDS else RUNTIME
    try:
        python = ensure_environment(ROOT, chosen)
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"Cannot make {ROOT / '.venv'}: {error}.")
    except KeyboardInterrupt:
        sys.exit("Interrupted while installing: the next start begins afresh.")
    os.chdir(ROOT)
    command = [str(python), "-m", "app.cli", *arguments]
    os.execv(python, command)  # noqa: S606 - our own interpreter, and the user's own arguments


def ensure_environment(root: Path, requirements: str, install: Install | None = None) -> Path:
    """Return the interpreter of `root/.venv` once it holds `requirements`; several starts at once take turns.

    Raises:
        SetupError: when it cannot be installed.
    """
    venv = root / ".venv"
    if not is_current(venv, root / requirements):
        with _taking_turns(root):
            if not is_current(venv, root / requirements):
                _install(venv, root / requirements, install or install_requirements)
    return python_of(venv)


def python_of(venv: Path) -> Path:
    """Return the interpreter of an environment."""
    return venv / "bin" / "python"


def is_current(venv: Path, requirements: Path) -> bool:
    """Tell whether the stamp vouches for these requirements, under this Python, in this place."""
    stamp = _read_stamp(venv)
    return _is_usable(venv, stamp) and stamp.get(requirements.name) == _digest(requirements)


def write_stamp(venv: Path, requirements: Path) -> None:
    """Record what is installed; the development requirements contain the others."""
    names = {RUNTIME, DEVELOPMENT} if requirements.name == DEVELOPMENT else {requirements.name}
    digests = {name: _digest(requirements.with_name(name)) for name in names}
    stamp = venv / STAMP
    unfinished = stamp.with_suffix(".new")
    unfinished.write_text(json.dumps(_identity(venv) | digests))
    unfinished.replace(stamp)


def install_requirements(venv: Path, requirements: Path) -> None:
    """Install into `venv`, made first if it is not there: with uv where it can be had, else with pip."""
    uv = shutil.which("uv")
    if (
        uv
        and _succeeds(_make_with_uv(uv, venv))
        and _succeeds(_install_with_uv(uv, venv, requirements))
    ):
        return
    pip = _make_with_pip(venv)
    if _succeeds([*pip, "install", "--require-hashes", "-r", str(UV_REQUIREMENTS)]):
        own_uv = str(venv / "bin" / "uv")
        if _succeeds(_install_with_uv(own_uv, venv, requirements)):
            return
    if not _succeeds([*pip, "install", "--require-hashes", "-r", str(requirements)], show=True):
        raise SetupError(
            f"Installing {requirements.name} failed, as shown above: "
            "see that the package index can be reached, then start again."
        )


def _install(venv: Path, requirements: Path, install: Install) -> None:
    if venv.is_symlink():
        raise SetupError(
            f"{venv} is a link to an environment that lacks something: it is left alone, so remove the link."
        )
    started = time.monotonic()
    sys.stderr.write(f"Installing {requirements.name} into .venv (this once) ...\n")
    if _is_usable(venv, _read_stamp(venv)):
        (venv / STAMP).unlink()
    elif venv.exists():
        shutil.rmtree(venv)
    install(venv, requirements)
    _succeeds(_compile(venv, requirements.with_name("app")))
    write_stamp(venv, requirements)
    sys.stderr.write(f"Installed in {time.monotonic() - started:.1f} s.\n")


def _identity(venv: Path) -> dict[str, str]:
    return {"python": "{}.{}".format(*sys.version_info), "folder": str(venv)}


def _is_usable(venv: Path, stamp: dict[str, str]) -> bool:
    same = all(stamp.get(key) == value for key, value in _identity(venv).items())
    return same and python_of(venv).exists()


def _read_stamp(venv: Path) -> dict[str, str]:
    try:
        stamp = json.loads((venv / STAMP).read_bytes())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _taking_turns(root: Path) -> Iterator[None]:
    """Hold a lock that installers inherit, so that one that outlives a killed start still keeps others waiting."""
    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _make_with_uv(uv: str, venv: Path) -> list[str]:
    if python_of(venv).exists():
        return [uv, "--version"]
    return [uv, "venv", "--no-project", "--python", _base_python(), str(venv)]


def _install_with_uv(uv: str, venv: Path, requirements: Path) -> list[str]:
    python = str(python_of(venv))
    return [uv, "pip", "install", "--python", python, "--require-hashes", "-r", str(requirements)]


def _make_with_pip(venv: Path) -> list[str]:
    """Make the environment, and return the command of a pip that installs into it."""
    python = str(python_of(venv))
    if not python_of(venv).exists() and not _succeeds(
        [_base_python(), "-m", "venv", "--without-pip", str(venv)], show=True
    ):
        raise SetupError(f"Python could not make {venv}, as shown above.")
    outer_pip = [_base_python(), "-m", "pip", "--python", python]
    if _succeeds([*outer_pip, "--version"]):
        return outer_pip
    if _succeeds([python, "-m", "pip", "--version"]) or _succeeds([python, "-m", "ensurepip"]):
        return [python, "-m", "pip"]
    raise SetupError(
        "This Python has neither pip nor ensurepip: on Debian or Ubuntu run `apt install python3-venv`, then start again."
    )


def _compile(venv: Path, sources: Path) -> list[str]:
    """Return what compiles our own modules, as the installer has compiled the rest.

    Else every process of the first start does so, and under PYTHONDONTWRITEBYTECODE those of every start: half a second more.
    """
    return [str(python_of(venv)), "-m", "compileall", "-q", "-j", "0", str(sources)]


def _base_python() -> str:
    """Return the interpreter outside any environment: `.venv` itself may be the one that is replaced."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _succeeds(command: Sequence[str], *, show: bool = False) -> bool:
    """Run a command quietly; with `show`, the end of what a failing one printed is passed on."""
    try:
        result = subprocess.run(  # noqa: S603 - fixed commands
            command,
            env=_environment(),
            capture_output=True,
            text=True,
            close_fds=False,
            check=False,
        )
    except OSError:
        return False
    if show and result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        sys.stderr.write("\n".join(lines[-LINES_SHOWN:]) + "\n")
    return result.returncode == 0


def _environment() -> dict[str, str]:
    """Return ours, with what makes uv do as pip does: the machine's certificates, and bytecode, which halves a start."""
    own = {
        "UV_SYSTEM_CERTS": "1",
        "UV_COMPILE_BYTECODE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    return own | dict(os.environ)  # noqa: TID251 - handed on to the installers
