/* A checker of RUP proofs for tests: every line of the proof must follow by unit propagation from the clauses and lines
 * before it, and the last one be empty. Slow and simple on purpose. */
#ifndef EP_TESTS_SUPPORT_RUP_H
#define EP_TESTS_SUPPORT_RUP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rup {
  int32_t *lit; /* clauses, each ended by 0 */
  size_t n, cap;
  int8_t *value; /* [n_var + 1] */
  uint32_t n_var;
} rup;

static inline void rup_push(rup *r, int32_t l) {
  if (r->n == r->cap) r->lit = realloc(r->lit, (r->cap = 2 * r->cap + 1024) * sizeof *r->lit);
  r->lit[r->n++] = l;
}

/* Unit propagation from the values set; true when a conflict comes up. */
static inline bool rup_conflicts(rup *r) {
  for (bool is_moving = true; is_moving;) {
    is_moving = false;
    for (size_t i = 0; i < r->n; i++) {
      int32_t open = 0;
      int n_open = 0;
      bool is_true = false;
      for (; r->lit[i]; i++) {
        int8_t v = r->value[abs(r->lit[i])];
        if (!v) {
          n_open += open != r->lit[i];
          open = r->lit[i];
        }
        is_true |= v && (v > 0) == (r->lit[i] > 0);
      }
      if (is_true || n_open > 1) continue;
      if (!n_open) return true;
      r->value[abs(open)] = open > 0 ? 1 : -1;
      is_moving = true;
    }
  }
  return false;
}

/* Checks a proof (lines of literals ended by 0, "%RUPD32" header and comments skipped) against clauses. */
static inline bool rup_check(uint32_t n_var, size_t n_lit, const int32_t *lit, FILE *proof) {
  rup r = {.value = calloc(n_var + 1, 1), .n_var = n_var};
  char line[65536];
  bool is_ok = true, is_refuted = false;
  for (size_t i = 0; i < n_lit; i++) rup_push(&r, lit[i]);
  while (is_ok && !is_refuted && fgets(line, sizeof line, proof)) {
    if (*line == '%' || *line == 'c') continue;
    memset(r.value, 0, n_var + 1);
    size_t from = r.n;
    char *p = line, *end;
    bool is_trivial = false;
    for (long l; (l = strtol(p, &end, 10)) != 0 && end != p; p = end) {
      rup_push(&r, (int32_t)l);
      is_trivial |= r.value[labs(l)] && (r.value[labs(l)] > 0) == (l > 0);
      r.value[labs(l)] = l > 0 ? -1 : 1;
    }
    size_t len = r.n - from;
    is_refuted = len == 0;
    r.n = from; /* the line itself must not help to prove itself */
    is_ok = is_trivial || rup_conflicts(&r);
    r.n = from + len;
    rup_push(&r, 0);
  }
  free(r.lit);
  free(r.value);
  return is_ok && is_refuted;
}

#endif
