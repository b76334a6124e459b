import sys

from seesaw.compat.flash_mla.script import main

sys.exit(main(sys.argv[1:]))
