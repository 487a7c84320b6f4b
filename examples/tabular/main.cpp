// Predicts a price for each row of a CSV file, whose columns may stand in any order.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "trees.hpp"

namespace {

constexpr std::array<const char*, 5> kColumns = {"area", "rooms", "built", "garden",
                                                 "distance"};  // as the model has them

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

// The place of each of kColumns in the header.
std::array<std::size_t, kColumns.size()> places(const std::vector<std::string>& header) {
  std::array<std::size_t, kColumns.size()> result{};
  for (std::size_t column = 0; column < kColumns.size(); ++column) {
    std::size_t place = 0;
    while (place < header.size() && header[place] != kColumns[column]) ++place;
    if (place == header.size()) throw std::runtime_error(std::string("the table has no column ") + kColumns[column]);
    result[column] = place;
  }
  return result;
}

// The rows' values one after the other, in the order of kColumns.
std::vector<float> read_table(std::istream& in) {
  std::string line;
  if (!std::getline(in, line)) throw std::runtime_error("the table is empty");
  const auto place = places(split(line));
  std::vector<float> values;
  for (int number = 2; std::getline(in, line); ++number) {
    const std::vector<std::string> cells = split(line);
    for (const std::size_t column : place) {
      std::size_t used = 0;
      const std::string cell = column < cells.size() ? cells[column] : "";
      try {
        values.push_back(std::stof(cell, &used));
      } catch (const std::exception&) {
        used = 0;
      }
      if (used == 0 || used != cell.size()) {
        throw std::runtime_error("line " + std::to_string(number) + ": '" + cell + "' is not a number");
      }
    }
  }
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::runtime_error("name the table: tabular homes.csv");
    std::ifstream file(argv[1]);
    if (!file) throw std::runtime_error(std::string("cannot open ") + argv[1]);
    const std::vector<float> values = read_table(file);
    const auto rows = static_cast<std::int64_t>(values.size() / kColumns.size());
    const Trees trees;
    const auto outputs = trees.run({{values.data(), {rows, std::int64_t{kColumns.size()}}}});
    std::cout << std::fixed << std::setprecision(0);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < kColumns.size(); ++column) {
        std::cout << values[static_cast<std::size_t>(row) * kColumns.size() + column]
                  << (column + 1 < kColumns.size() ? " " : "");
      }
      std::cout << ": " << outputs.prices(row) << " thousand\n";
    }
  } catch (const std::exception& error) {
    std::cerr << "tabular: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
