# SPDX-License-Identifier: Apache-2.0
"""The package itself: what it exports, its version, its documentation."""
from __future__ import annotations

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest
from tree import ROOT

import vmxsim
from vmxsim import errors
from vmxsim.enums import Status

OPTIONAL = {"vmxsim.plot": "matplotlib", "vmxsim.strategies": "hypothesis", "vmxsim.pytest_plugin": "pytest"}
MODULES = sorted(f"vmxsim.{module.name}" for module in pkgutil.iter_modules(vmxsim.__path__))


def module(name: str) -> object:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ["vmxsim", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    found = module(name)
    names = {**vars(vmxsim), **vars(importlib.import_module("vmxsim.enums"))}
    result = doctest.testmod(found, extraglobs=names)  # type: ignore[arg-type]
    assert result.failed == 0


@pytest.mark.parametrize("name", [name for name in MODULES if "._" not in name])
def test_everything_public_is_documented(name: str) -> None:
    found = module(name)
    assert inspect.getdoc(found)
    for public in getattr(found, "__all__", []):
        value = getattr(found, public)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        assert inspect.getdoc(value), public
        if inspect.isclass(value) and name != "vmxsim.enums":
            for member, method in vars(value).items():
                if not member.startswith("_") and (inspect.isfunction(method) or isinstance(method, (property, classmethod))):
                    assert inspect.getdoc(getattr(value, member)), f"{public}.{member}"


def test_all_names_exist() -> None:
    assert vmxsim.__all__ == sorted(vmxsim.__all__, key=vmxsim.__all__.index)
    assert len(set(vmxsim.__all__)) == len(vmxsim.__all__)
    for name in vmxsim.__all__:
        assert hasattr(vmxsim, name)


def test_version_is_that_of_the_libraries() -> None:
    match = re.search(r"VERSION (\d+\.\d+\.\d+)", (ROOT / "CMakeLists.txt").read_text())
    assert match and vmxsim.__version__ == match[1]


def test_the_package_is_the_installed_one() -> None:
    assert ROOT / "bindings" not in pathlib.Path(vmxsim.__file__).parents
    assert (pathlib.Path(vmxsim.__file__).parent / "py.typed").exists()


def test_each_status_has_an_exception_that_is_a_builtin_too() -> None:
    classes = {getattr(errors, name) for name in errors.__all__} - {errors.VmxsimError, errors.Closed}
    assert {cls.status for cls in classes} == set(Status) - {Status.OK}
    for cls in classes | {errors.Closed}:
        assert issubclass(cls, errors.VmxsimError)
        assert any(base.__module__ == "builtins" and base not in (Exception, BaseException, object) for base in cls.__mro__)
