"""The model as a package of Spack: programs that use it need neither aotbuild nor PyTorch."""

from spack.package import depends_on, license, version
from spack_repo.builtin.build_systems.cmake import CMakePackage


class Scorer(CMakePackage):
    """A score of table rows, compiled ahead of time from PyTorch."""

    homepage = "https://example.org/scorer"
    git = "https://example.org/scorer.git"

    license("Apache-2.0")

    version("main", branch="main")

    depends_on("cxx", type="build")
    depends_on("cmake@3.24:", type="build")
    depends_on("py-aotbuild", type="build")
    depends_on("sleef", type=("build", "link"))

    def cmake_args(self):
        return [self.define("aotbuild_DIR", self.spec["py-aotbuild"].package.cmake_directory())]
