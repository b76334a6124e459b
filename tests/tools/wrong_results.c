/* Preloaded into the command: every kernel but the reference spoils one number of its results. So
 * the tests see what `seesaw run --verify` does about a wrong kernel. SEESAW_TEST_SPOIL: out or
 * lse. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <seesaw/seesaw.h>

typedef seesaw_status (*run_function)(const seesaw_dense_decode_plan*,
                                      const seesaw_dense_decode_args*);

static void spoil(const seesaw_dense_decode_args* args) {
  const char* which = getenv("SEESAW_TEST_SPOIL");
  if (which != NULL && strcmp(which, "out") == 0) {
    *(uint16_t*)args->out.data ^= 0x4000; /* the exponent of the first bfloat16 */
  } else if (which != NULL && strcmp(which, "lse") == 0) {
    *(float*)args->lse.data += 0.01F;
  }
}

seesaw_status seesaw_dense_decode_run(const seesaw_dense_decode_plan* plan,
                                      const seesaw_dense_decode_args* args) {
  void* symbol = dlsym(RTLD_NEXT, "seesaw_dense_decode_run");
  run_function real;
  memcpy(&real, &symbol, sizeof(real)); /* ISO C has no cast from data to function pointers */
  const seesaw_status status = real(plan, args);
  seesaw_dense_decode_plan_info info = {.struct_size = sizeof(info)};
  if (status == SEESAW_OK && seesaw_dense_decode_plan_get_info(plan, &info) == SEESAW_OK &&
      strcmp(info.kernel, "reference.dense_decode") != 0) {
    spoil(args);
  }
  return status;
}
