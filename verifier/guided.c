#include "verifier/guided.h"

#include <math.h>

enum { SHRINKS = 2 }; /* times that an exclusion is asked for again with only the signs of the last one */

typedef struct guided {
  ep_run *run;
  uint32_t box;
  const ep_binary *b;
  ep_lit no_zero;
  const ep_backend *be;
  ep_solver *proposer, *judge;
  uint32_t n;              /* open signs of the layer between them */
  ep_lit *sign;            /* [n] */
  ep_lit *proposal, *core; /* [n] */
  double excluded;         /* sum of the exclusions' lengths */
} guided;

/* The literals of the layer that are no constants, each once. */
static void open_signs(guided *q, uint32_t value, bool *is_seen) {
  const ep_bit *bits = q->b->bits[value];
  for (uint32_t i = 0; i < q->b->g->val[value].n; i++) {
    ep_lit l = bits[i].pos;
    if (l == EP_BIT_TRUE || l == EP_BIT_FALSE || is_seen[l / 2]) continue;
    is_seen[l / 2] = true;
    q->sign[q->n++] = l;
  }
}

/* A solver for part of the problem; both number the variables alike. */
static ep_status solver_of(guided *q, const ep_prob *part, double until_s, ep_solver **out) {
  ep_cnf *cnf;
  EP_TRY(ep_cnf_create(part, EP_CARD_AUTO, &cnf));
  ep_status st = q->be->create_proving(q->run->ctx, part, cnf, NULL, out);
  ep_cnf_destroy(cnf);
  if (st == EP_OK) q->be->limit(*out, &(ep_effort){.until_s = until_s});
  return st;
}

static ep_status open_halves(guided *q, const ep_binary_cut *cut, double until_s) {
  ep_prob first = *q->b->prob, second = *q->b->prob;
  first.n_clause = cut->n_clause;
  first.n_card = cut->n_card;
  second.clause += cut->n_clause;
  second.n_clause -= cut->n_clause;
  second.card += cut->n_card;
  second.n_card -= cut->n_card;
  EP_TRY(solver_of(q, &first, until_s, &q->proposer));
  EP_TRY(solver_of(q, &second, until_s, &q->judge));
  for (uint32_t k = 0; k < q->b->n_pixel; k++) {
    ep_bit bit = q->b->pixel[k].bit;
    ep_lit clause[3] = {ep_lit_not(q->no_zero)}; /* no_zero's own clauses stand behind the cut */
    uint32_t n = 1;
    if (bit.pos < EP_BIT_FALSE) clause[n++] = bit.pos;
    if (bit.not_neg < EP_BIT_FALSE) clause[n++] = ep_lit_not(bit.not_neg);
    q->be->decide_first(q->proposer, n - 1, clause + 1);
    EP_TRY(q->be->add_clause(q->proposer, n, clause));
  }
  return EP_OK;
}

static bool value_of(void *arg, uint32_t var) {
  const guided *q = arg;
  return q->be->bool_value(q->proposer, var);
}

/* The proposal against the judge: SAT, or UNSAT with the signs that are enough for it in core[0..*n_core). */
static ep_status judge(guided *q, uint32_t *n_core, ep_answer_kind *answer) {
  for (uint32_t i = 0; i < q->n; i++) q->core[i] = q->proposal[i];
  *n_core = q->n;
  for (int k = 0; k <= SHRINKS; k++) {
    ep_assume a = {.n = *n_core, .lit = q->core, .failed = q->proposal};
    EP_TRY(q->be->check(q->judge, &a, answer));
    if (*answer != EP_ANSWER_UNSAT) return EP_OK;
    bool is_shorter = a.n_failed < *n_core;
    for (uint32_t i = 0; i < a.n_failed; i++) q->core[i] = q->proposal[i];
    *n_core = a.n_failed;
    if (!is_shorter) break;
  }
  return EP_OK;
}

/* Proposals until there are none, or one is a counterexample. *is_stuck: one might be, but replay cannot show it. */
static ep_status search(guided *q, ep_assume *assume, double *x, ep_guided_stats *stats, bool *is_stuck,
                        ep_goal_outcome *out) {
  ep_scratch *s = ep_pool_scratch(q->run->pool);
  bool is_found = false;
  for (;;) {
    ep_answer_kind answer;
    uint32_t n_core;
    *out = EP_GOAL_OPEN;
    EP_TRY(q->be->check(q->proposer, assume, &answer));
    if (answer == EP_ANSWER_UNSAT) *out = EP_GOAL_REFUTED;
    if (answer != EP_ANSWER_SAT) return EP_OK;
    stats->proposals++;
    for (uint32_t i = 0; i < q->n; i++)
      q->proposal[i] =
          q->be->bool_value(q->proposer, q->sign[i] / 2) == !(q->sign[i] & 1) ? q->sign[i] : ep_lit_not(q->sign[i]);
    EP_TRY(judge(q, &n_core, &answer));
    if (answer == EP_ANSWER_UNKNOWN) return EP_OK;
    if (answer == EP_ANSWER_SAT) {
      ep_binary_input(q->b, value_of, q, x);
      EP_TRY(ep_goal_try_input(q->run, q->box, x, s, &is_found));
      if (is_found) return *out = EP_GOAL_FOUND, EP_OK;
      *is_stuck = true; /* what is excluded now was not refuted: other inputs may lead to the same signs */
      for (uint32_t i = 0; i < q->n; i++) q->core[i] = q->proposal[i];
      n_core = q->n;
    }
    q->excluded += n_core;
    for (uint32_t i = 0; i < n_core; i++) q->core[i] = ep_lit_not(q->core[i]);
    EP_TRY(q->be->add_clause(q->proposer, n_core, q->core));
    atomic_fetch_add(&q->run->progress.domains, 1);
  }
}

ep_status ep_guided_decide(ep_run *run, uint32_t box, const ep_binary *b, ep_lit no_zero, const ep_backend *be,
                           double until_s, double *x, ep_guided_stats *stats, ep_goal_outcome *out) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  guided q = {.run = run, .box = box, .b = b, .no_zero = no_zero, .be = be};
  *out = EP_GOAL_OPEN;
  *stats = (ep_guided_stats){0};
  if (!b->n_cut) return EP_OK;
  const ep_binary_cut *cut = &b->cut[0];
  uint32_t n = b->g->val[cut->value].n;
  ep_status st = EP_E_NOMEM;
  bool *is_seen = EP_SCRATCH(s, bool, b->prob->n_bool + 1u);
  q.sign = EP_SCRATCH(s, ep_lit, n + 1u);
  q.proposal = EP_SCRATCH(s, ep_lit, n + 1u);
  q.core = EP_SCRATCH(s, ep_lit, n + 1u);
  if (!is_seen || !q.sign || !q.proposal || !q.core) goto done;
  for (uint32_t i = 0; i < b->prob->n_bool; i++) is_seen[i] = false;
  open_signs(&q, cut->value, is_seen);
  EP_GOTO(open_halves(&q, cut, until_s));
  bool is_stuck = false;
  EP_GOTO(search(&q, &(ep_assume){.n = 1, .lit = &q.no_zero}, x, stats, &is_stuck, out));
  if (*out == EP_GOAL_REFUTED) st = search(&q, NULL, x, stats, &is_stuck, out);
  if (*out == EP_GOAL_REFUTED && is_stuck) *out = EP_GOAL_OPEN;
  stats->core = stats->proposals && q.n ? q.excluded / (double)stats->proposals / q.n : 0;
done:
  if (q.proposer) be->destroy(q.proposer);
  if (q.judge) be->destroy(q.judge);
  ep_scratch_restore(s, m);
  return st;
}
