/* Reads rows of eight numbers from standard input and prints the score of each: a model from plain C99. */
#include <stdio.h>
#include <stdlib.h>

#include "scorer.h"

enum { FEATURES = 8, MOST_ROWS = 1024 };

static int fail(const char* what) {
  fprintf(stderr, "from_c: %s: %s\n", what, scorer_last_error());
  return EXIT_FAILURE;
}

int main(void) {
  static float rows[MOST_ROWS * FEATURES];
  static float scores[MOST_ROWS];
  int64_t count = 0;
  while (count < MOST_ROWS * FEATURES && scanf("%f", &rows[count]) == 1) ++count;
  int64_t shape[2] = {count / FEATURES, FEATURES};

  aotbuild_model* model = NULL;
  if (scorer_create(NULL, &model) != AOTBUILD_OK) return fail("create");
  const aotbuild_tensor input = {
      .data = rows, .device = {AOTBUILD_CPU, 0}, .ndim = 2, .dtype = {AOTBUILD_FLOAT, 32, 1}, .shape = shape};
  /* Memory of the program's own: the call allocates nothing. */
  aotbuild_tensor output = {
      .data = scores, .device = {AOTBUILD_CPU, 0}, .ndim = 1, .dtype = {AOTBUILD_FLOAT, 32, 1}, .shape = shape};
  if (scorer_run(model, &input, 1, &output, 1, NULL) != AOTBUILD_OK) {
    const int status = fail("run");
    scorer_destroy(model);
    return status;
  }
  for (int64_t row = 0; row < shape[0]; ++row) printf("%.4f\n", scores[row]);
  scorer_destroy(model);
  return EXIT_SUCCESS;
}
