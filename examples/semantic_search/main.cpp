// Finds the lines of a text that are closest in meaning to a query.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "encoder.hpp"
#include "tokenizer.hpp"

namespace {

constexpr const char* kUsage = R"(usage: semantic_search --corpus FILE [options]

Prints the lines of FILE that are closest in meaning to each query. Without --query and --queries it asks for queries.

  --corpus FILE    text to search, one entry a line
  --query TEXT     a query; may be given several times
  --queries FILE   queries, one a line
  --top N          how many lines to print for each query (default 3)
  --threads N      threads of the encoder (default: all cores)
  --time           print how long each step took
  --vocabulary F   the tokenizer's vocabulary (default: vocab.txt beside this program)
)";

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Arguments {
  std::string corpus;
  std::string vocabulary;
  std::vector<std::string> queries;
  bool interactive = true;
  std::size_t top = 3;
  int threads = 0;
  bool time = false;
};

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream stream(path);
  if (!stream) throw std::runtime_error("cannot open " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

int parse_count(const std::string& flag, const std::string& text) {
  std::size_t end = 0;
  int value = -1;
  try {
    value = std::stoi(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (text.empty() || end != text.size() || value < 1) {
    throw std::invalid_argument(flag + " takes a positive number, got \"" + text + "\"");
  }
  return value;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::invalid_argument(flag + " needs a value");
      return argv[++i];
    };
    if (flag == "--corpus") {
      arguments.corpus = value();
    } else if (flag == "--query") {
      arguments.queries.push_back(value());
      arguments.interactive = false;
    } else if (flag == "--queries") {
      for (std::string& line : read_lines(value())) arguments.queries.push_back(std::move(line));
      arguments.interactive = false;
    } else if (flag == "--top") {
      arguments.top = static_cast<std::size_t>(parse_count(flag, value()));
    } else if (flag == "--threads") {
      arguments.threads = parse_count(flag, value());
    } else if (flag == "--time") {
      arguments.time = true;
    } else if (flag == "--vocabulary") {
      arguments.vocabulary = value();
    } else if (flag == "--help" || flag == "-h") {
      std::cout << kUsage;
      std::exit(0);
    } else {
      throw std::invalid_argument("unknown argument " + flag);
    }
  }
  if (arguments.corpus.empty()) throw std::invalid_argument("--corpus is missing");
  if (arguments.vocabulary.empty()) {
    std::error_code no_proc;
    std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", no_proc);
    if (no_proc) program = argv[0];
    arguments.vocabulary = program.replace_filename("vocab.txt").string();
  }
  return arguments;
}

// Text to vectors of length one, so that the scalar product of two is the cosine of their angle.
class Embedder {
 public:
  Embedder(const std::string& vocabulary, const aotbuild::Options& options)
      : tokenizer_(vocabulary), encoder_(options) {}

  static constexpr std::int64_t kSize = search::Encoder::output_metadata[0].dims[1].max;

  // One row of kSize floats for each text. Texts of similar length share a batch, so that little is padded.
  std::vector<float> embed(const std::vector<std::string>& texts) const {
    std::vector<std::vector<std::int64_t>> tokens;
    tokens.reserve(texts.size());
    for (const std::string& text : texts) tokens.push_back(tokenizer_.encode(text, kMaxLength));
    std::vector<std::size_t> order(texts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return tokens[a].size() < tokens[b].size(); });

    std::vector<float> rows(texts.size() * kSize);
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t> mask;
    for (std::size_t first = 0; first < order.size(); first += kBatch) {
      const std::size_t count = std::min(kBatch, order.size() - first);
      const std::size_t length = tokens[order[first + count - 1]].size();
      ids.assign(count * length, 0);
      mask.assign(count * length, 0);
      for (std::size_t i = 0; i < count; ++i) {
        const std::vector<std::int64_t>& row = tokens[order[first + i]];
        const auto offset = static_cast<std::ptrdiff_t>(i * length);
        std::copy(row.begin(), row.end(), ids.begin() + offset);
        std::fill_n(mask.begin() + offset, row.size(), 1);
      }
      const search::Encoder::Outputs outputs =
          encoder_.run({{ids.data(), {count, length}}, {mask.data(), {count, length}}});
      for (std::size_t i = 0; i < count; ++i) {
        const auto embedding = outputs.output[static_cast<std::int64_t>(i)];
        std::copy(embedding.begin(), embedding.end(),
                  rows.begin() + static_cast<std::ptrdiff_t>(order[first + i] * kSize));
      }
    }
    return rows;
  }

 private:
  static constexpr std::size_t kBatch = 16;
  static constexpr auto kMaxLength = static_cast<std::size_t>(search::Encoder::input_metadata[0].dims[1].max);

  search::WordPieceTokenizer tokenizer_;
  search::Encoder encoder_;
};

void answer(const std::string& query, const Embedder& embedder, const std::vector<std::string>& lines,
            const std::vector<float>& rows, const Arguments& arguments) {
  const Clock::time_point start = Clock::now();
  const std::vector<float> vector = embedder.embed({query});
  std::vector<std::pair<float, std::size_t>> scores;
  scores.reserve(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i * Embedder::kSize);
    scores.emplace_back(std::inner_product(vector.begin(), vector.end(), row, 0.0F), i);
  }
  const std::size_t top = std::min(arguments.top, scores.size());
  std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(top), scores.end(),
                    [](const auto& a, const auto& b) { return a.first > b.first; });
  const double elapsed = milliseconds_since(start);

  std::cout << query << "\n" << std::fixed << std::setprecision(3);
  for (std::size_t i = 0; i < top; ++i) std::cout << "  " << scores[i].first << "  " << lines[scores[i].second] << "\n";
  if (arguments.time) std::cout << "  answered in " << elapsed << " ms\n";
  std::cout << std::flush;
}

void run(const Arguments& arguments) {
  Clock::time_point start = Clock::now();
  aotbuild::Options options;
  options.num_threads = arguments.threads;
  const Embedder embedder(arguments.vocabulary, options);
  const std::vector<std::string> lines = read_lines(arguments.corpus);
  const double loaded = milliseconds_since(start);

  start = Clock::now();
  const std::vector<float> rows = embedder.embed(lines);
  if (arguments.time) {
    std::cout << std::fixed << std::setprecision(3) << "loaded in " << loaded << " ms, embedded " << lines.size()
              << " lines in " << milliseconds_since(start) << " ms\n";
  }

  for (const std::string& query : arguments.queries) answer(query, embedder, lines, rows, arguments);
  if (!arguments.interactive) return;
  std::cout << lines.size() << " lines. Type a query, or an empty line to end.\n";
  for (std::string query; std::cout << "> " << std::flush, std::getline(std::cin, query) && !query.empty();) {
    answer(query, embedder, lines, rows, arguments);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::invalid_argument& error) {
    std::cerr << "semantic_search: " << error.what() << "\n\n" << kUsage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "semantic_search: " << error.what() << "\n";
    return 1;
  }
}
