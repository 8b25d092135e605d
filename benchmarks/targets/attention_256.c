/* attention.c with four times as many positions: a block of scores no longer fits L1. */
#define POSITIONS 256
#include "attention.c"
