#[=[.md:
## `aotbuild_add_model_benchmark`

    aotbuild_add_model_benchmark(<target> [EXCLUDE_FROM_ALL])

Adds the executable `<target>_benchmark`, which times the library with Google Benchmark.

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | a library of a model that was made with `BENCHMARK` | anything but a model; a model without `BENCHMARK` |
| `EXCLUDE_FROM_ALL` | | the executable is built only on demand | a value |
#]=]
function(aotbuild_add_model_benchmark)
  _aotbuild_parse(aotbuild_add_model_benchmark "${ARGV}")
  _aotbuild_check_model_library("${target}" BENCHMARK_SOURCE "the model was made without BENCHMARK; add it there")
  _aotbuild_report_problems("aotbuild_add_model_benchmark(${target})")
  _aotbuild_add_benchmark("${target}" "${arg_EXCLUDE_FROM_ALL}")
endfunction()

function(_aotbuild_add_benchmark target exclude)
  if(NOT TARGET benchmark::benchmark)
    find_package(benchmark QUIET)
    if(NOT TARGET benchmark::benchmark)
      message(FATAL_ERROR
        "aotbuild_add_model_benchmark(${target}): Google Benchmark was not found.\n"
        "Install it (Debian's libbenchmark-dev), or leave out BENCHMARK.")
    endif()
  endif()
  _aotbuild_add_model_program(${target} ${target}_benchmark BENCHMARK_SOURCE benchmark::benchmark "${exclude}")
endfunction()
