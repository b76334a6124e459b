// What a failed call left behind, and the names of status codes.
#include "boundary/error.hpp"

extern "C" {

const char* seesaw_last_error(void) { return seesaw::last_error_message(); }

const char* seesaw_status_name(seesaw_status status) {
  switch (status) {
    case SEESAW_OK:
      return "SEESAW_OK";
    case SEESAW_INVALID_ARGUMENT:
      return "SEESAW_INVALID_ARGUMENT";
    case SEESAW_NOT_SUPPORTED:
      return "SEESAW_NOT_SUPPORTED";
    case SEESAW_DEVICE_ERROR:
      return "SEESAW_DEVICE_ERROR";
    case SEESAW_INVALID_TYPE:
      return "SEESAW_INVALID_TYPE";
    case SEESAW_INTERNAL_ERROR:
      return "SEESAW_INTERNAL_ERROR";
  }
  return "unknown seesaw_status";
}

}  // extern "C"
