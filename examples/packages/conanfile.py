"""The model as a package of Conan 2: programs that use it need neither aotbuild nor PyTorch."""

from __future__ import annotations

import subprocess

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout


class Scorer(ConanFile):
    name = "scorer"
    version = "1.0.0"
    license = "Apache-2.0"
    description = "A score of table rows, compiled ahead of time from PyTorch"
    topics = ("pytorch", "inference")
    package_type = "shared-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "CMakeLists.txt", "scorer.py"

    def layout(self) -> None:
        cmake_layout(self)

    def validate(self) -> None:
        check_min_cppstd(self, 17)

    def generate(self) -> None:
        # The environment that runs Conan has aotbuild, with PyTorch: neither becomes a part of the package.
        found = subprocess.run(["aotbuild", "--cmakedir"], check=True, capture_output=True, text=True)
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["aotbuild_DIR"] = found.stdout.strip()
        toolchain.generate()

    def build(self) -> None:
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self) -> None:
        CMake(self).install()

    def package_info(self) -> None:
        # aotbuild_install has written scorerConfig.cmake; Conan's own would know less.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = ["lib/cmake/scorer"]
        self.cpp_info.libs = ["scorer"]
