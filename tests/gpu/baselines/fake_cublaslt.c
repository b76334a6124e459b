/* A library of FAKE_VERSION that has the names of cuBLASLt's functions, if FAKE_FUNCTIONS, and none
 * of their sense: for what is decided before any of them is called. */
#include <stddef.h>

size_t cublasLtGetVersion(void) { return FAKE_VERSION; }

#ifdef FAKE_FUNCTIONS
void cublasLtCreate(void) {}
void cublasLtDestroy(void) {}
void cublasLtGetStatusName(void) {}
void cublasLtMatmul(void) {}
void cublasLtMatmulAlgoGetHeuristic(void) {}
void cublasLtMatmulDescInit_internal(void) {}
void cublasLtMatmulDescSetAttribute(void) {}
void cublasLtMatrixLayoutInit_internal(void) {}
void cublasLtMatrixLayoutSetAttribute(void) {}
void cublasLtMatmulPreferenceInit_internal(void) {}
void cublasLtMatmulPreferenceSetAttribute(void) {}
#endif
