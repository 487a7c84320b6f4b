// Says which shape pictures show: files in the PPM format, or frames of a camera that come one after the other.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "classifier.hpp"

namespace {

constexpr std::array<const char*, 3> kNames = {"circle", "square", "triangle"};  // as shapes.py has them

struct Picture {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> bytes;  // rows of red, green and blue
};

// A number of the header, which white space and comments may precede.
std::int64_t read_number(std::istream& in) {
  while ((in >> std::ws).peek() == '#') in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  std::int64_t number = 0;
  if (!(in >> number) || number <= 0 || number > 65535) throw std::runtime_error("the header of a PPM is wrong");
  return number;
}

// The next picture of a stream of binary PPMs (P6); false where the stream ends.
bool read_picture(std::istream& in, Picture* picture) {
  if ((in >> std::ws).peek() == std::istream::traits_type::eof()) return false;
  std::array<char, 2> magic{};
  if (!in.read(magic.data(), magic.size()) || magic != std::array<char, 2>{'P', '6'}) {
    throw std::runtime_error("this is not a binary PPM, which begins with P6");
  }
  picture->width = read_number(in);
  picture->height = read_number(in);
  if (read_number(in) != 255) throw std::runtime_error("only PPMs with 255 levels are read");
  in.get();  // the one white space before the bytes
  picture->bytes.resize(static_cast<std::size_t>(3 * picture->width * picture->height));
  if (!in.read(reinterpret_cast<char*>(picture->bytes.data()), static_cast<std::streamsize>(picture->bytes.size()))) {
    throw std::runtime_error("the picture ends before its last row");
  }
  return true;
}

void classify(const Classifier& classifier, std::istream& in, const std::string& name) {
  Picture picture;
  while (read_picture(in, &picture)) {
    const auto outputs = classifier.run({{picture.bytes.data(), {picture.height, picture.width, 3}}});
    const auto best = std::max_element(outputs.probabilities.begin(), outputs.probabilities.end());
    std::cout << name << ": " << kNames[static_cast<std::size_t>(best - outputs.probabilities.begin())] << ' ' << *best
              << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Classifier classifier;
    std::cout << std::fixed << std::setprecision(1);
    for (int i = 1; i < argc; ++i) {
      const std::string name = argv[i];
      if (name == "-") {
        classify(classifier, std::cin, "frame");
        continue;
      }
      std::ifstream file(name, std::ios::binary);
      if (!file) throw std::runtime_error("cannot open " + name);
      classify(classifier, file, name);
    }
  } catch (const std::exception& error) {
    std::cerr << "image_classifier: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
