#!/usr/bin/env bash
# One would guess: if(a EQUAL b) and if(a GREATER_EQUAL b) compare integers exactly, as math(EXPR) computes with 64 bits,
# and are false where one side is no number.
# True (CMake 4.1.2): both sides are read as doubles, and only from the start of the text. Integers beyond 2^53 that
# differ are equal, and so are 1x and 1. math(EXPR) of the same two integers sees the difference.
# Seen: 9007199254740993 EQUAL 9007199254740992 is true, their difference by math(EXPR) is 1; "1x" EQUAL 1 is true.
# Who meets it: CMake code that checks ranges, sizes in bytes, addresses or identifiers which a user wrote: a limit near
# 2^63 is accepted or refused wrongly, and a misspelt number passes as its first digits.
# What to do: check the form with MATCHES "^[0-9]+$" and the length first; compare large integers by math(EXPR) of their
# difference, or leave the check to the program that uses the number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cmake==4.1.2
cat >"$folder/compare.cmake" <<'EOF'
set(large 9007199254740993)
set(smaller 9007199254740992)
if(NOT large EQUAL smaller OR large GREATER smaller)
  message(FATAL_ERROR "if() tells ${large} from ${smaller}")
endif()
math(EXPR difference "${large} - ${smaller}")
if(NOT difference STREQUAL "1")
  message(FATAL_ERROR "math(EXPR) gives ${difference}")
endif()
if(NOT "1x" EQUAL 1)
  message(FATAL_ERROR "1x is not 1")
endif()
message(STATUS "CMake ${CMAKE_VERSION}: ${large} EQUAL ${smaller}, math() says they differ by ${difference}; 1x EQUAL 1")
EOF
"$folder/venv/bin/cmake" -P "$folder/compare.cmake"
