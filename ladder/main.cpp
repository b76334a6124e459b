#include "ladder/climb.hpp"
#include "ladder/program.hpp"

int main(int argc, char** argv) {
  return seesaw::ladder::run_program("seesaw ladder",
                                     [&] { return seesaw::ladder::climb(argc, argv); });
}
