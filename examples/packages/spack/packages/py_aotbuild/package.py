"""aotbuild as a package of Spack, for those that hold models."""

from spack.package import depends_on, join_path, license, version
from spack_repo.builtin.build_systems.python import PythonPackage


class PyAotbuild(PythonPackage):
    """PyTorch models as CMake targets."""

    homepage = "https://example.org/aotbuild"
    git = "https://example.org/aotbuild.git"

    license("Apache-2.0")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("python@3.10:", type=("build", "run"))
    depends_on("py-scikit-build-core@1.1:", type="build")
    depends_on("py-pybind11@3:", type=("build", "run"))
    depends_on("py-torch@2.11:2.15", type=("build", "run"))
    depends_on("py-numpy@1.26:", type=("build", "run"))
    depends_on("py-jinja2@3.1:", type=("build", "run"))
    depends_on("py-safetensors@0.5:", type=("build", "run"))
    depends_on("py-tomli@2:", type=("build", "run"), when="^python@:3.10")
    depends_on("cmake@3.24:", type=("build", "run"))
    depends_on("nlohmann-json", type=("build", "run"))
    depends_on("sleef", type=("build", "run"))
    depends_on("eigen@3.4:3", type=("build", "run"))

    def cmake_directory(self):
        """The folder of aotbuildConfig.cmake."""
        return join_path(self.prefix, self.spec["python"].package.platlib, "aotbuild", "cmake")
