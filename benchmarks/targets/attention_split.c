/* attention.c as two kernels, forward and backward, the form for a graph that goes on after o. */
#define FUSED 0
#include "attention.c"
