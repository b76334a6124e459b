// Device memory of the laboratory, by the name that the tests know it.
#pragma once

#include "lab/device/device_memory.hpp"
