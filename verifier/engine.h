/* Engines: ways to answer a query. Registry: verifier/engines.def. Each engine is one file verifier/engine_<id>.c.
 *
 * Verdict discipline: an engine reports `sat` only through ep_run_witness (which replays), and marks a polytope proved
 * only with a bound that came out of bounds/certify. */
#ifndef EP_VERIFIER_ENGINE_H
#define EP_VERIFIER_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/log.h"
#include "kernels/pool.h"
#include "verifier/certificate.h"
#include "verifier/config.h"
#include "verifier/query.h"
#include "verifier/replay.h"

typedef enum ep_verdict { EP_UNKNOWN, EP_SAT, EP_UNSAT, EP_TIMEOUT } ep_verdict;

/* One step of what was done, for -v and JSON. */
typedef struct ep_phase {
  const char *name;
  double seconds;
  uint64_t domains;   /* boxes or domains bounded, attack samples tried */
  uint32_t proved;    /* polytopes this phase proved */
  double worst_bound; /* smallest certified margin over the open polytopes, NAN = none */
} ep_phase;
#define EP_MAX_PHASES 16u

/* Live numbers for the progress line, written by engines, read by the program's timer. */
typedef struct ep_progress {
  _Atomic(const char *) phase;
  _Atomic uint64_t domains, open;
  _Atomic double worst_bound;
} ep_progress;

typedef struct ep_result {
  ep_verdict verdict;
  const char *reason; /* for unknown/timeout: "timeout", "memory limit", "interrupted", "bounds too loose", ... */
  bool has_witness;
  ep_witness witness;   /* x, y owned by the result */
  uint32_t n_by_solver; /* polytopes whose proof rests on an exact solver */
  uint32_t n_phase;
  ep_phase phase[EP_MAX_PHASES];
  double seconds;
} ep_result;

/* One query under way. Engines see the graph and query as const. */
typedef struct ep_run {
  ep_ctx *ctx;
  const ep_graph *g;
  const ep_query *q;
  const ep_config *cfg;
  ep_pool *pool;
  ep_progress progress;
  ep_result result;
  /* Polytopes proved so far (shared by the phases of `auto`): flat index poly_base[box] + poly. */
  uint32_t n_poly;
  const uint32_t *poly_base;
  bool *is_proved;
  ep_certificate *certificate; /* borrowed; NULL = none is wanted */
  pthread_mutex_t lock;        /* guards result.witness and result.phase */
} ep_run;

typedef struct ep_engine {
  const char *name, *help;
  bool can_sat, can_unsat, can_certify, knows_float32;
  ep_status (*run)(ep_run *run);
} ep_engine;
extern const ep_engine ep_engines[];
extern const size_t ep_n_engines;
const ep_engine *ep_engine_find(const char *name);

/* Checks query against graph, sets up the run. `pool` is borrowed. */
ep_status ep_run_init(ep_run *run, ep_ctx *ctx, const ep_graph *g, const ep_query *q, const ep_config *cfg,
                      ep_pool *pool);
void ep_run_clear(ep_run *run);
/* Runs the engine and settles the verdict: sat if a witness was accepted, unsat if every polytope is proved, else
 * timeout / unknown with the reason. A stop (deadline, interrupt, memory limit) is an answer, not a failure. */
ep_status ep_run_engine(ep_run *run, const ep_engine *engine);
/* Replays a candidate for box `box`; on success stores it and *is_sat is true. Thread-safe (first accepted wins;
 * deterministic engines call it in a fixed order). `s` is the caller's scratch. */
ep_status ep_run_witness(ep_run *run, uint32_t box, const double *x, ep_scratch *s, bool *is_sat);
/* Marks a polytope proved. The caller holds a certified bound. */
void ep_run_mark_proved(ep_run *run, uint32_t box, uint32_t poly);
/* The same where an exact solver found the polytope's encoding unsatisfiable: the proof rests on that solver, on
 * encoders/network.c and on the certified boxes it was given (ARCHITECTURE.md, trusted base). Counted in
 * result.n_by_solver, so that reports can tell. */
void ep_run_mark_refuted_by_solver(ep_run *run, uint32_t box, uint32_t poly);
bool ep_run_is_proved(const ep_run *run, uint32_t box, uint32_t poly);
uint32_t ep_run_n_open(const ep_run *run);
bool ep_run_is_box_open(const ep_run *run, uint32_t box);
/* Appends to result.phase (silently full after EP_MAX_PHASES). */
void ep_run_phase(ep_run *run, const ep_phase *phase);

#endif
