"""Every file that a target's generator writes, relative to its output folder."""

from __future__ import annotations

from aotbuild.spec.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Sources of kernels for each instruction set and method: as many as compile well in parallel, whatever the model.
SHARDS = 4
# Sources of C++ that hold the kernels that a project registered; beside them is one of C.
CUSTOM_SOURCES = 4


@record
class Files:
    """The names of files of one target, whichever of them a model has."""

    target: str

    def stem(self, method: str) -> str:
        """What the files of a method's code begin with; ``method`` is empty where the model has no METHODS."""
        return f"{self.target}.{method}" if method else self.target

    @property
    def stamp(self) -> str:
        return f"{self.target}.stamp"

    @property
    def depfile(self) -> str:
        return f"{self.target}.d"

    @property
    def manifest(self) -> str:
        return f"{self.target}.manifest.json"

    @property
    def default_header(self) -> str:
        return f"{self.target}.hpp"

    @property
    def c_header(self) -> str:
        return f"include/{self.target}.h"

    def header(self, name: str) -> str:
        """``name``: the value of HEADER."""
        return f"include/{name or self.default_header}"

    @property
    def library(self) -> str:
        """The source of the library's functions."""
        return f"src/{self.target}.cpp"

    @property
    def api(self) -> str:
        """The source that shared libraries have beside it: the entry by which programs find the model."""
        return f"src/{self.target}_api.cpp"

    @property
    def weights_source(self) -> str:
        return f"src/{self.target}_weights.cpp"

    @property
    def weights_blob(self) -> str:
        return f"{self.target}.weights.bin"

    def weights_file(self, name: str) -> str:
        """``name``: the value of WEIGHTS_FILE."""
        return name or f"{self.target}.safetensors"

    def weights_files(self, name: str, world_size: int) -> list[str]:
        """The weights file; with WORLD_SIZE that of each rank, ``net.rank0.safetensors``, as the runtime names it."""
        file = self.weights_file(name)
        stem, dot, extension = file.rpartition(".")
        if not stem:
            stem, dot, extension = file, "", ""
        return [f"{stem}.rank{rank}{dot}{extension}" for rank in range(world_size)] or [file]

    @property
    def test(self) -> str:
        return f"test/{self.target}_test.cpp"

    @property
    def golden(self) -> str:
        return f"test/{self.target}.golden.safetensors"

    @property
    def benchmark(self) -> str:
        return f"test/{self.target}_benchmark.cpp"

    def python_source(self, module: str) -> str:
        return f"python/{module}.cpp"

    def python_stub(self, module: str) -> str:
        return f"python/{module}.pyi"

    def custom(self, index: int) -> str:
        """A source of registered kernels; the last one is C."""
        return f"src/{self.target}_custom_{index}.{'c' if index == CUSTOM_SOURCES else 'cpp'}"

    def run(self, method: str, variant: str) -> str:
        """The source of a method's run function for an instruction set or a GPU, by its name in files."""
        return f"src/{self.stem(method)}_run_{variant}.cpp"

    def kernels_header(self, method: str, variant: str) -> str:
        return f"src/{self.stem(method)}_kernels_{variant}.hpp"

    def shard(self, method: str, variant: str, index: int) -> str:
        return f"src/{self.stem(method)}_kernels_{variant}_{index}.cpp"

    def images_source(self, method: str, variant: str) -> str:
        return f"src/{self.stem(method)}_images_{variant}.cpp"

    def images(self, method: str, variant: str) -> str:
        """The machine code of a GPU's kernels."""
        return f"{self.stem(method)}.images_{variant}.bin"

    def launcher(self, variant: str) -> str:
        """The source of the launcher of a hand-written kernel."""
        return f"src/{self.target}_{variant}.cpp"

    @property
    def kernels(self) -> str:
        """What `aotbuild report` reads of a GPU's kernels."""
        return f"{self.target}.kernels.json"


@record
class Group:
    """Sources that are compiled in the same way.

    ``kind``: ``library`` (tables and functions), ``api`` (the same, of shared libraries alone), ``kernels`` (what
    TorchInductor wrote, for ``isa``), ``launch`` (run functions that launch a GPU's kernels), ``embed`` (one source,
    which embeds the file ``embeds``), ``custom`` (kernels that the project registered).
    """

    kind: str
    sources: tuple[str, ...]
    isa: str = ""
    embeds: str = ""


@record
class Generated:
    """What a generator writes: ``groups`` are the sources, ``others`` the files beside them."""

    groups: tuple[Group, ...]
    others: tuple[str, ...]

    def sources(self, kinds: tuple[str, ...] = ()) -> list[str]:
        return [source for group in self.groups if not kinds or group.kind in kinds for source in group.sources]

    def all(self) -> Iterator[str]:
        yield from self.sources()
        yield from (group.embeds for group in self.groups if group.embeds)
        yield from self.others


@record
class ModelKeywords:
    """The keywords of `add_aot_model` that say which files there are. ``gpu``: architectures as files name them."""

    target: str
    header: str = ""
    methods: tuple[str, ...] = ()
    cpu: tuple[tuple[str, str], ...] = ()  # CPU_ISA, and its name in files
    gpu: tuple[str, ...] = ()
    weights: str = "embed"
    weights_file: str = ""
    python_module: str = ""
    test: bool = True
    benchmark: bool = False
    world_size: int = 0


def model_files(model: ModelKeywords) -> Generated:
    """The files of a model."""
    files = Files(model.target)
    methods = model.methods or ("",)
    groups = [Group("library", (files.library,)), Group("api", (files.api,))]
    others = [files.header(model.header), files.c_header, files.manifest]
    for isa, variant in model.cpu:
        shards = [
            source
            for method in methods
            for source in (
                files.run(method, variant),
                *(files.shard(method, variant, index) for index in range(SHARDS)),
            )
        ]
        groups.append(Group("kernels", tuple(shards), isa))
    if model.cpu:
        groups.append(Group("custom", tuple(files.custom(index) for index in range(CUSTOM_SOURCES + 1))))
    for variant in model.gpu:
        groups.append(Group("launch", tuple(files.run(method, variant) for method in methods)))
        for method in methods:
            source, images = files.images_source(method, variant), files.images(method, variant)
            groups.append(Group("embed", (source,), embeds=images))
    variants = [*(variant for _, variant in model.cpu), *model.gpu]
    others += [files.kernels_header(method, variant) for variant in variants for method in methods]
    if model.gpu:
        others.append(files.kernels)
    if model.weights == "file":
        groups.append(Group("library", (files.weights_source,)))
        others += files.weights_files(model.weights_file, model.world_size)
    else:  # with weights that are given at run time it holds the model's constants
        groups.append(Group("embed", (files.weights_source,), embeds=files.weights_blob))
    if model.test:
        others.append(files.test)
    if model.test or model.benchmark:
        others.append(files.golden)
    if model.benchmark:
        others.append(files.benchmark)
    if model.python_module:
        others += [files.python_source(model.python_module), files.python_stub(model.python_module)]
    return Generated(tuple(groups), tuple(others))


def kernel_files(target: str, header: str, gpu: tuple[str, ...]) -> Generated:
    """The files of a hand-written kernel."""
    files = Files(target)
    sources = (files.library, *(files.launcher(variant) for variant in gpu))
    embedded = [
        Group("embed", (files.images_source("", variant),), embeds=files.images("", variant)) for variant in gpu
    ]
    return Generated(
        (Group("library", sources), *embedded), (files.header(header), files.c_header, files.kernels, files.manifest)
    )
