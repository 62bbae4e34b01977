/* The three parts of the study and what they share. */
#ifndef EP_BENCHMARKS_EXPRESSIVITY_STUDY_H
#define EP_BENCHMARKS_EXPRESSIVITY_STUDY_H

#include "benchmarks/expressivity/functions.h"

typedef struct study {
  ep_ctx *ctx;
  const char *folder; /* results go there */
  uint64_t seed;
  uint32_t functions, boxes; /* per cell of the table: functions, and boxes for each */
  uint32_t dims;             /* of the maximum, at most */
  uint32_t n_net;            /* networks for max(x, y) from files */
  char *const *net;
  uint64_t unexpected; /* results that contradict the theory */
} study;

/* classes x relaxations: gaps.csv, table.csv, table.svg, turns.csv, turns.svg */
ep_status study_table(study *s);
/* networks for max(x, y): maximum.csv */
ep_status study_maximum(study *s);
/* max over [0,1]^d: dimension.csv, dimension.svg */
ep_status study_dimension(study *s);

#endif
