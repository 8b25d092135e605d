"""From the graph to kernels: stages, fusion, schedule, buffers."""
