"""The bootstrap's decisions, with an installer that only notes that it was called."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app import bootstrap


class Installer:
    """Makes what the bootstrap looks for; fails when told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken = False

    def __call__(self, venv: Path, requirements: Path) -> None:
        self.calls.append(requirements.name)
        bootstrap.python_of(venv).parent.mkdir(parents=True, exist_ok=True)
        bootstrap.python_of(venv).touch()
        (venv / f"half of {requirements.name}").touch()
        if self.broken:
            raise bootstrap.SetupError("no network")


def link_this_python(venv: Path, requirements: Path) -> None:
    del requirements
    bootstrap.python_of(venv).parent.mkdir(parents=True)
    bootstrap.python_of(venv).symlink_to(sys.executable)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / bootstrap.RUNTIME).write_text("one==1\n")
    (tmp_path / bootstrap.DEVELOPMENT).write_text("one==1\ntwo==2\n")
    return tmp_path


def test_the_second_start_installs_nothing(root: Path) -> None:
    install = Installer()

    for _ in range(2):
        bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    assert install.calls == [bootstrap.RUNTIME]


def test_the_development_requirements_serve_the_platform_too_but_not_the_other_way(
    root: Path,
) -> None:
    install = Installer()

    for name in (bootstrap.RUNTIME, bootstrap.DEVELOPMENT, bootstrap.RUNTIME):
        bootstrap.ensure_environment(root, name, install)

    assert install.calls == [bootstrap.RUNTIME, bootstrap.DEVELOPMENT]


def test_changed_requirements_are_installed_into_what_is_there(root: Path) -> None:
    install = Installer()
    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)
    kept = root / ".venv" / "kept"
    kept.touch()
    (root / bootstrap.RUNTIME).write_text("one==2\n")

    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    assert len(install.calls) == 2
    assert kept.exists()


def test_an_interrupted_install_is_begun_afresh(root: Path) -> None:
    install = Installer()
    install.broken = True
    with pytest.raises(bootstrap.SetupError):
        bootstrap.ensure_environment(root, bootstrap.DEVELOPMENT, install)
    install.broken = False

    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    left = {entry.name for entry in (root / ".venv").iterdir()}
    assert left == {"bin", f"half of {bootstrap.RUNTIME}", bootstrap.STAMP}


@pytest.mark.parametrize("stamp", ["", "[]", '{"python": "2.7"}'])
def test_a_stamp_that_does_not_fit_vouches_for_nothing(root: Path, stamp: str) -> None:
    install = Installer()
    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)
    (root / ".venv" / bootstrap.STAMP).write_text(stamp)

    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    assert len(install.calls) == 2


def test_an_environment_whose_python_went_away_is_made_again(root: Path) -> None:
    install = Installer()
    bootstrap.python_of(root / ".venv").parent.mkdir(parents=True)
    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)
    bootstrap.python_of(root / ".venv").unlink()

    bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    assert len(install.calls) == 2


def test_a_linked_environment_is_left_alone(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (root / ".venv").symlink_to(elsewhere)
    install = Installer()

    with pytest.raises(bootstrap.SetupError, match="is a link"):
        bootstrap.ensure_environment(root, bootstrap.RUNTIME, install)

    assert (install.calls, elsewhere.exists()) == ([], True)


def test_starts_at_once_install_once(root: Path) -> None:
    install = Installer()
    starts = [
        threading.Thread(
            target=bootstrap.ensure_environment, args=(root, bootstrap.RUNTIME, install)
        )
        for _ in range(4)
    ]

    for start in starts:
        start.start()
    for start in starts:
        start.join()

    assert install.calls == [bootstrap.RUNTIME]


def test_what_is_ours_is_compiled_with_the_rest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (root / "app").mkdir()
    (root / "app" / "ours.py").write_text("ours = 1\n")

    bootstrap.ensure_environment(root, bootstrap.RUNTIME, link_this_python)

    assert [file.name.partition(".")[0] for file in (root / "app").rglob("*.pyc")] == ["ours"]


def test_the_bootstrap_needs_the_standard_library_alone() -> None:
    code = "import sys, app.bootstrap; print(*{name.partition('.')[0] for name in sys.modules})"

    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=bootstrap.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    outside = set(result.stdout.split()) - set(sys.stdlib_module_names) - {"__main__", "app"}
    assert outside == set()
