#include "ladder/climb.hpp"

int main(int argc, char** argv) { return seesaw::ladder::climb(argc, argv); }
