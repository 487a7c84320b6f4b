// aotbuild-tune: times the candidates of a tuning bundle. It needs NVIDIA's driver, and nothing of Python or CUDA.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "run.hpp"

namespace {

constexpr const char* kUsage =
    "usage: aotbuild-tune BUNDLE [--results FILE] [--device N] [--shard I/N] [--time-limit SECONDS]\n"
    "                     [--hang-limit SECONDS]\n\n"
    "Times every candidate of a bundle that `aotbuild tune bundle` made, and appends a line of JSON for each to FILE\n"
    "(BUNDLE/results.jsonl, with --shard BUNDLE/results.I.jsonl), which `aotbuild tune merge` reads. The same command\n"
    "goes on where an earlier one has stopped, for whatever reason.\n\n"
    "  --shard I/N     take every N-th kernel from the I-th on (I from 0), for N devices at a time\n"
    "  --time-limit    stop after so many seconds\n"
    "  --hang-limit    give a candidate up that shows no result for so many seconds (60)\n";

[[noreturn]] void refuse(const std::string& problem) {
  std::fprintf(stderr, "aotbuild-tune: %s\n%s", problem.c_str(), kUsage);
  std::exit(2);
}

double number_of(const char* option, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0)) refuse(std::string(option) + " " + text + " is not a number");
  return value;
}

aotbuild::tune::RunOptions parse(int argc, char** argv) {
  aotbuild::tune::RunOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (argument.rfind("--", 0) != 0) {
      if (!options.bundle.empty()) refuse("one bundle at a time");
      options.bundle = argument;
      continue;
    }
    if (i + 1 == argc) refuse(argument + " needs a value");
    const char* const value = argv[++i];
    if (argument == "--results") {
      options.results = value;
    } else if (argument == "--device") {
      options.device = static_cast<int>(number_of("--device", value));
    } else if (argument == "--shard") {
      char rest = '\0';
      if (std::sscanf(value, "%u/%u%c", &options.shard, &options.shards, &rest) != 2 ||
          options.shard >= options.shards) {
        refuse(std::string("--shard ") + value + " is not I/N with I below N");
      }
    } else if (argument == "--time-limit") {
      options.time_limit = number_of("--time-limit", value);
    } else if (argument == "--hang-limit") {
      options.hang_limit = number_of("--hang-limit", value);
    } else {
      refuse(argument + " is unknown");
    }
  }
  if (options.bundle.empty()) refuse("name the bundle's folder");
  if (options.results.empty()) {
    const std::string part = options.shards == 1 ? "" : "." + std::to_string(options.shard);
    options.results = options.bundle + "/results" + part + ".jsonl";
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) try {
  return aotbuild::tune::run(parse(argc, argv));
} catch (const std::exception& error) {
  const bool is_named = std::strncmp(error.what(), "aotbuild-tune", 13) == 0;
  std::fprintf(stderr, "%s%s\n", is_named ? "" : "aotbuild-tune: ", error.what());
  return 1;
}
